//! A link of real packets: a network namespace of its own, a pair of virtual devices into it, and the kernel's netem at both
//! ends. Needs root, a kernel with netem, and iproute2.
//!
//! The far end is a listener inside the namespace. Nothing is left behind, however the process ends: a namespace goes
//! with the last one who holds it, and its devices go with it. What does not live here: resets and counting
//! bytes, which the proxy behind the listener does.

use std::{
    fs::File,
    io,
    net::{self, Ipv4Addr},
    os::fd::AsRawFd as _,
    process::{Command, id},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    task::{AbortHandle, spawn, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{
    LinkProfile, NetemError, Way,
    discipline::{DELAYS, Discipline, delays},
    shaper::Outages,
};

/// Where `tc` looks for distributions of delays.
const TC_LIB_DIR: &str = "TC_LIB_DIR";

/// The two ends of a link and what they need. Dropping it takes the link down.
#[derive(Debug)]
pub(super) struct Netem {
    ends: [End; 2],
    namespace: Namespace,
    /// Keeps the distribution of delays for `tc`.
    tables: TempDir,
}

/// Keeps a link up until it is dropped.
#[derive(Debug)]
pub(super) struct Up(AbortHandle);

impl Drop for Up {
    fn drop(&mut self) {
        self.0.abort();
    }
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

/// Puts a link of this profile up, and gives the listener at its far end: who connects to that comes over the link. It
/// stays up until what is given with it is dropped.
pub(super) async fn up(profile: &LinkProfile, seed: u64) -> Result<(TcpListener, Up), NetemError> {
    let asked = profile.clone();
    let built = spawn_blocking(move || Netem::build(&asked)).await;
    let (netem, listener) = built.map_err(|why| NetemError::Listen(io::Error::other(why)))??;
    let listener = TcpListener::from_std(listener).map_err(NetemError::Listen)?;
    let held = spawn(netem.run(Outages::of(profile, seed)));
    Ok((listener, Up(held.abort_handle())))
}

impl Netem {
    /// Blocks for some tens of milliseconds.
    fn build(profile: &LinkProfile) -> Result<(Netem, net::TcpListener), NetemError> {
        let tables = tempfile::tempdir().map_err(NetemError::Files)?;
        let table = tables.path().join(format!("{DELAYS}.dist"));
        std::fs::write(table, delays()).map_err(NetemError::Files)?;
        let namespace = Namespace::new().map_err(NetemError::NotAllowed)?;
        let number = id().wrapping_mul(64).wrapping_add(LINKS.fetch_add(1, Relaxed) % 64);
        let ends = ends(number, profile);
        let netem = Netem { ends, namespace, tables };
        let [near, far] = &netem.ends;
        let place = format!("/proc/{}/fd/{}", id(), netem.namespace.0.as_raw_fd());
        let devices = format!(
            "link add {} address {} type veth peer name {} address {} netns {place}",
            near.name, near.hardware, far.name, far.hardware
        );
        run("ip", &devices, &netem.tables)?;
        netem.set_up(near, far)?;
        netem.inside(|| netem.set_up(far, near))?;
        let listen = || net::TcpListener::bind((far.address, 0)).map_err(NetemError::Listen);
        let listener = netem.inside(listen)?;
        listener.set_nonblocking(true).map_err(NetemError::Listen)?;
        Ok((netem, listener))
    }

    fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NetemError> + Send,
    ) -> Result<T, NetemError> {
        self.namespace.run(work).map_err(NetemError::NotAllowed)?
    }

    /// A packet leaves for each segment, as on a wire: the kernel shall neither join them nor ask who is there.
    fn set_up(&self, end: &End, other: &End) -> Result<(), NetemError> {
        let End { name, address, discipline, .. } = end;
        let (peer, hardware) = (other.address, other.hardware);
        let lines = [
            ("ip", format!("address add {address}/30 dev {name}")),
            ("ip", format!("link set dev {name} addrgenmode none gso_max_segs 1 up")),
            ("ip", format!("neighbour add {peer} lladdr {hardware} dev {name} nud permanent")),
            ("tc", format!("qdisc add dev {name} root netem {}", discipline.arguments(true))),
        ];
        lines.iter().try_for_each(|(program, line)| run(program, line, &self.tables))
    }

    /// Holds the link, and lets nothing pass in its outages.
    async fn run(self, outages: Option<Outages>) {
        let begun = Instant::now();
        let Some(outages) = outages else { return std::future::pending().await };
        let mut netem = self;
        loop {
            let (up, until) = outages.phase(begun.elapsed());
            let switched = spawn_blocking(move || netem.switch(up).map(|()| netem)).await;
            // What cannot be switched any more is going with the process.
            let Ok(Ok(held)) = switched else { return };
            netem = held;
            sleep_until(begun + until).await;
        }
    }

    fn switch(&self, up: bool) -> Result<(), NetemError> {
        let change = |end: &End| {
            let (name, arguments) = (&end.name, end.discipline.arguments(up));
            run("tc", &format!("qdisc change dev {name} root netem {arguments}"), &self.tables)
        };
        let [near, far] = &self.ends;
        change(near)?;
        self.inside(|| change(far))
    }
}

/// Links of this process so far.
static LINKS: AtomicU32 = AtomicU32::new(0);

/// Both ends of a process's link: the client's and the server's. Addresses are from the block for measuring
/// networks (RFC 2544, RFC 6890), four for each link.
fn ends(number: u32, profile: &LinkProfile) -> [End; 2] {
    let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number % (1 << 15) * 4;
    let end = |name, host, hardware, way| End {
        name,
        address: Ipv4Addr::from(network + host),
        hardware,
        discipline: Discipline::new(profile, way),
    };
    [
        end(format!("lab{}", number % 1_000_000_000), 1, "02:00:00:00:00:01", Way::Up),
        end("far".to_owned(), 2, "02:00:00:00:00:02", Way::Down),
    ]
}

fn run(program: &'static str, line: &str, tables: &TempDir) -> Result<(), NetemError> {
    let mut command = Command::new(program);
    command.args(line.split(' ')).env(TC_LIB_DIR, tables.path());
    let ended = command.output().map_err(|why| NetemError::Tool { program, why })?;
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
        })
    }

    /// Does something inside, on a thread of its own: that a thread is inside is for good.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let ended = thread::scope(|scope| scope.spawn(work).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
