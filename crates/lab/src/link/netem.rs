//! A link of real packets: its own network namespace, a pair of virtual devices into it, and the kernel's netem at both
//! ends. Needs root, a kernel with netem, and iproute2.
//!
//! The far end is a listener inside the namespace. Nothing is left behind, however the process ends: the system removes
//! a namespace with its last user, and its devices with it. Resets and byte counts are up to the proxy behind the
//! listener.

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
/// The shortest phase of an outage: external programs switch it on and off and could not keep up with a shorter one.
const SHORTEST_PHASE: Duration = Duration::from_millis(100);

/// Sets up a link with this profile and returns the listener at its far end, whose connections come over the link. The
/// link stays up until the returned `Held` is dropped.
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
    /// The discipline for what it sends.
    discipline: Discipline,
}

impl Netem {
    /// Blocks for some tens of milliseconds.
    fn build(profile: &LinkProfile) -> Result<(Netem, net::TcpListener), NetemError> {
        // Needed only while `tc` reads it.
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

    /// Keeps the link up, and blocks everything during its outages.
    async fn hold(mut self, outages: Option<Outages>) {
        let begun = Instant::now();
        let Some(outages) = outages else { return std::future::pending().await };
        loop {
            let (up, until) = outages.phase(begun.elapsed());
            let switching = spawn_blocking(move || (self.switch(up), self));
            // The task does not panic, so an error means that the runtime is shutting down.
            let Ok((switched, netem)) = switching.await else { return };
            self = netem;
            if let Err(why) = switched {
                warn!(%why, "cannot switch the link's outage; trying again");
                sleep(SHORTEST_PHASE).await;
                continue;
            }
            sleep_until(begun + until).await;
        }
    }

    fn switch(&self, up: bool) -> Result<(), NetemError> {
        let change = |end: &End| {
            let (name, arguments) = (&end.name, end.discipline.change(up));
            // No table is read, so any folder will do.
            run("tc", &format!("qdisc change dev {name} root netem {arguments}"), Path::new("/"))
        };
        let [near, far] = &self.ends;
        change(near)?;
        self.inside(|| change(far))
    }
}

impl End {
    /// Configures this end. Each segment leaves as one packet, as on a wire: the kernel must not merge segments, and
    /// must not send ARP requests.
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

/// Returns a number for a new link on this machine. The system caches facts about an address, so numbers are not reused
/// soon, and different processes start at different ones.
fn number() -> u32 {
    static NEXT: LazyLock<AtomicU32> =
        LazyLock::new(|| AtomicU32::new(RandomState::new().hash_one(id()) as u32));
    NEXT.fetch_add(1, Relaxed) % ROOM
}

/// Returns both ends of a link: the client's and the server's. The addresses are from the block for network
/// measurements (RFC 2544, RFC 6890), four for each link.
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
    // An interrupt from the keyboard is for us to handle, not for the program.
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

/// An unnamed network namespace.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    fn new() -> io::Result<Namespace> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net").map(Namespace)
        })?
    }

    /// Runs a function inside the namespace, on its own thread, because a thread that enters it cannot leave.
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
