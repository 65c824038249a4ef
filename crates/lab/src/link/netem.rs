//! A link of real packets: a network namespace of its own, a pair of virtual devices into it, and
//! the kernel's netem at both ends. Needs root, a kernel with netem, and iproute2.
//!
//! The far end is a listener inside the namespace. Nothing is left behind, however the process ends: a namespace goes
//! with the last one who holds it, and its devices go with it. What does not live here: resets and counting
//! bytes, which the proxy behind the listener does.

use std::{
    collections::hash_map::RandomState,
    fs::{self, File},
    hash::BuildHasher as _,
    io,
    net::{self, Ipv4Addr},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Command, id},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, spawn, spawn_blocking},
    time::{Instant, sleep, sleep_until},
};
use tracing::warn;

use super::{
    LinkProfile, NetemError, Way,
    discipline::{DELAYS, Discipline, delays},
    shaper::Outages,
};

/// Where `tc` looks for distributions of delays.
const TC_LIB_DIR: &str = "TC_LIB_DIR";
/// Programs switch an outage on and off; shorter phases they would not keep up with.
const SHORTEST_PHASE: Duration = Duration::from_millis(100);

/// Puts a link of this profile up, and gives the listener at its far end: who connects to that comes over the link. It
/// stays up until what is given with it is dropped.
pub(super) async fn up(
    profile: &LinkProfile,
    seed: u64,
) -> Result<(TcpListener, Held), NetemError> {
    if let Some(outage) = profile.outage
        && outage.lasts.min(outage.every - outage.lasts) < SHORTEST_PHASE
    {
        return Err(NetemError::TooShort { outage: outage.to_string() });
    }
    let asked = profile.clone();
    let built = spawn_blocking(move || Netem::build(&asked)).await;
    let (netem, listener) =
        built.map_err(|why| NetemError::NotAllowed(io::Error::other(why)))??;
    let listener = TcpListener::from_std(listener).map_err(NetemError::NotAllowed)?;
    #[expect(clippy::disallowed_methods, reason = "`Held` owns it; dropping that aborts it")]
    let held = spawn(netem.hold(Outages::of(profile, seed)));
    Ok((listener, Held(held.abort_handle())))
}

/// Keeps a link up until it is dropped.
#[derive(Debug)]
pub(super) struct Held(AbortHandle);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The two ends of a link and what they need. Dropping it takes the link down.
#[derive(Debug)]
struct Netem {
    ends: [End; 2],
    namespace: Namespace,
}

/// One of the two devices.
#[derive(Debug)]
struct End {
    name: String,
    address: Ipv4Addr,
    hardware: &'static str,
    /// Of what it sends.
    discipline: Discipline,
}

impl Netem {
    /// Blocks for some tens of milliseconds.
    fn build(profile: &LinkProfile) -> Result<(Netem, net::TcpListener), NetemError> {
        // Only for as long as `tc` reads it.
        let tables = tempfile::tempdir().map_err(NetemError::Files)?;
        fs::write(tables.path().join(DELAYS), delays()).map_err(NetemError::Files)?;
        let namespace = Namespace::new().map_err(NetemError::NotAllowed)?;
        let netem = Netem { ends: ends(number(), profile), namespace };
        let [near, far] = &netem.ends;
        let place = format!("/proc/{}/fd/{}", id(), netem.namespace.0.as_raw_fd());
        run(
            "ip",
            &format!(
                "link add {} address {} type veth peer name {} address {} netns {place}",
                near.name, near.hardware, far.name, far.hardware
            ),
            tables.path(),
        )?;
        near.set_up(far, tables.path())?;
        netem.inside(|| far.set_up(near, tables.path()))?;
        let listen = || net::TcpListener::bind((far.address, 0)).map_err(NetemError::NotAllowed);
        let listener = netem.inside(listen)?;
        listener.set_nonblocking(true).map_err(NetemError::NotAllowed)?;
        Ok((netem, listener))
    }

    fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NetemError> + Send,
    ) -> Result<T, NetemError> {
        self.namespace.run(work).map_err(NetemError::NotAllowed)?
    }

    /// Keeps the link up, and lets nothing pass in its outages.
    async fn hold(mut self, outages: Option<Outages>) {
        let begun = Instant::now();
        let Some(outages) = outages else { return std::future::pending().await };
        loop {
            let (up, until) = outages.phase(begun.elapsed());
            let switching = spawn_blocking(move || (self.switch(up), self));
            // It does not panic; then the runtime is going.
            let Ok((switched, netem)) = switching.await else { return };
            self = netem;
            if let Err(why) = switched {
                warn!(%why, "the link's outage could not be switched; trying again");
                sleep(SHORTEST_PHASE).await;
                continue;
            }
            sleep_until(begun + until).await;
        }
    }

    fn switch(&self, up: bool) -> Result<(), NetemError> {
        let change = |end: &End| {
            let (name, arguments) = (&end.name, end.discipline.change(up));
            // No table is read, so it may be anywhere.
            run("tc", &format!("qdisc change dev {name} root netem {arguments}"), Path::new("/"))
        };
        let [near, far] = &self.ends;
        change(near)?;
        self.inside(|| change(far))
    }
}

impl End {
    /// A packet leaves for each segment, as on a wire: the kernel shall neither join them nor ask who is there.
    fn set_up(&self, other: &End, tables: &Path) -> Result<(), NetemError> {
        let End { name, address, discipline, .. } = self;
        let (peer, hardware) = (other.address, other.hardware);
        let lines = [
            ("ip", format!("address add {address}/30 dev {name}")),
            ("ip", format!("link set dev {name} gso_max_segs 1 up")),
            ("ip", format!("neighbour add {peer} lladdr {hardware} dev {name} nud permanent")),
            ("tc", format!("qdisc add dev {name} root netem {}", discipline.begin())),
        ];
        lines.iter().try_for_each(|(program, line)| run(program, line, tables))
    }
}

/// How many links the block of addresses has room for.
const ROOM: u32 = 1 << 15;

/// Tells the links of this machine apart. What the system remembers of an address is of another link's, so none comes
/// again soon, and different processes begin at different ones.
fn number() -> u32 {
    static NEXT: LazyLock<AtomicU32> =
        LazyLock::new(|| AtomicU32::new(RandomState::new().hash_one(id()) as u32));
    NEXT.fetch_add(1, Relaxed) % ROOM
}

/// Both ends of a link: the client's and the server's. Addresses are from the block for measuring networks (RFC 2544,
/// RFC 6890), four for each link.
fn ends(number: u32, profile: &LinkProfile) -> [End; 2] {
    let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number * 4;
    let end = |name, host, hardware, way| End {
        name,
        address: Ipv4Addr::from(network + host),
        hardware,
        discipline: Discipline::new(profile, way),
    };
    [
        end(format!("lab{number}"), 1, "02:00:00:00:00:01", Way::Up),
        end("far".to_owned(), 2, "02:00:00:00:00:02", Way::Down),
    ]
}

fn run(program: &'static str, line: &str, tables: &Path) -> Result<(), NetemError> {
    let mut command = Command::new(program);
    command.args(line.split(' ')).env(TC_LIB_DIR, tables);
    // An interrupt from the keyboard is ours to answer, not the program's.
    let ended = command.process_group(0).output();
    let ended = ended.map_err(|why| NetemError::Tool { program, why })?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().next().unwrap_or("it does not say why").trim().to_owned();
    if said.contains("qdisc kind is unknown") {
        return Err(NetemError::NoNetem);
    }
    Err(NetemError::Refused { command: format!("{program} {line}"), said })
}

/// A network namespace that has no name.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    fn new() -> io::Result<Namespace> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net").map(Namespace)
        })?
    }

    /// Does something inside, on a thread of its own: that a thread is inside is for good.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })?
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
