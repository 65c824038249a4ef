//! Why a link cannot be had: what is wrong with a description, and where it stands; or why it cannot be put up.

use std::io;

use super::NotARate;

/// Why there is no such link. Each is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No profile has that name.
    #[error(
        "no link is called {name:?}; {nearest}, or describe one, such as rtt=90ms,down=100mbit,loss=0.5%"
    )]
    Unknown {
        /// The name.
        name: String,
        /// The names most like it, as a phrase.
        nearest: String,
    },
    /// A description is bad.
    #[error("link {link:?}: {fault}")]
    Bad {
        /// The description.
        link: String,
        /// What is wrong with it.
        fault: LinkFault,
    },
    /// There is no such file.
    #[error("no file {path}: check the path")]
    Missing {
        /// The path.
        path: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {why}; give a TOML file that you may read")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system says.
        why: String,
    },
    /// The file is no TOML, or not of links.
    #[error(
        "{path}, line {line}: {why}; write [[link]], then lines such as name = \"home\" and rtt = \"90ms\""
    )]
    NotLinks {
        /// The path.
        path: String,
        /// The line's number, from 1.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// The file has no link.
    #[error(
        "{path} has no link: write [[link]], then lines such as name = \"home\" and rtt = \"90ms\""
    )]
    Empty {
        /// The path.
        path: String,
    },
    /// A profile in a file is bad.
    #[error("{path}, link {link}: {fault}")]
    BadInFile {
        /// The path.
        path: String,
        /// The profile's name, or its number from 1.
        link: String,
        /// What is wrong with it.
        fault: LinkFault,
    },
}

/// What is wrong with a link's description, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// Nothing stands between two commas, or nothing at all.
    #[error("an element is empty; remove the comma that is too much")]
    EmptyElement,
    /// An element has no value.
    #[error(
        "{element:?} has no value; write rtt=90ms, and a profile's name only in the first place"
    )]
    NoValue {
        /// The element.
        element: String,
    },
    /// No such property.
    #[error("a link has no {key:?}; did you mean {nearest}?")]
    UnknownKey {
        /// The key.
        key: String,
        /// The property most like it.
        nearest: &'static str,
    },
    /// A property is there twice.
    #[error("{key} is there twice; leave one")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// A value cannot be read or is out of range.
    #[error("{key}={value} will not do; give {must_be}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it must be.
        must_be: String,
    },
    /// More jitter than delay.
    #[error(
        "jitter={jitter} is more than rtt={rtt}; rtt is the least a round trip takes: raise it or lower jitter"
    )]
    JitterAboveRtt {
        /// The jitter.
        jitter: String,
        /// The round-trip time.
        rtt: String,
    },
    /// It is never up.
    #[error(
        "outage={outage} leaves no time between outages; write how long, then how often: 5s/60s"
    )]
    NeverUp {
        /// The outage.
        outage: String,
    },
    /// A profile in a file has no name that a description could use.
    #[error("{name:?} is no name; give letters, digits, '-', '_' or '.', as in name = \"home-5g\"")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two profiles of a file have one name.
    #[error("another link before it has this name; rename one")]
    SameName,
}

impl LinkFault {
    pub(super) fn not_a_rate(key: &'static str, value: &str, why: NotARate) -> Self {
        let must_be = format!("{why}, or unlimited");
        LinkFault::BadValue { key, value: value.to_owned(), must_be }
    }
}

/// Why a link cannot be put up. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum NotUp {
    /// Loopback cannot be used.
    #[error("cannot use loopback: {0}; allow this program to listen on 127.0.0.1")]
    Loopback(io::Error),
    /// Neither can the kernel's netem.
    #[error("--netem: {0}, or leave --netem out: the proxy needs none of this")]
    Netem(#[from] NetemError),
}

/// Why there is no link of real packets.
#[derive(Debug, thiserror::Error)]
pub enum NetemError {
    /// Another system.
    #[error("network namespaces are Linux's: run it there")]
    NotLinux,
    /// A namespace cannot be made, entered or used.
    #[error(
        "cannot use a network namespace: {0}; run as root, with the capabilities SYS_ADMIN and NET_ADMIN"
    )]
    NotAllowed(io::Error),
    /// A program is not there.
    #[error("cannot run {program}: {why}; install iproute2")]
    Tool {
        /// Its name.
        program: &'static str,
        /// The system's reason.
        why: io::Error,
    },
    /// The kernel lacks it.
    #[error("this kernel has no netem; load it as root (modprobe sch_netem), where it was built")]
    NoNetem,
    /// A program did not do what it should.
    #[error("`{command}` failed: {said}; see whether this machine allows that")]
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// Outages that come and go too quickly.
    #[error(
        "outage={outage} is too quick to be switched; let it last 100ms, and 100ms between two"
    )]
    TooShort {
        /// The outage.
        outage: String,
    },
    /// A file that `tc` needs cannot be written.
    #[error(
        "cannot write to the folder for temporary files: {0}; set TMPDIR to one that can be written"
    )]
    Files(io::Error),
}
