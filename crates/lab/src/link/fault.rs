//! Errors of links: what is wrong with a description and where, or why a link cannot be set up.

use std::io;

use super::NotARate;

/// Why a link is not available. Each is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No profile has that name.
    #[error(
        "no link is called {name:?}; {nearest}, or describe one, such as rtt=90ms,down=100mbit,loss=0.5%"
    )]
    Unknown {
        /// The name.
        name: String,
        /// The most similar names, as a phrase.
        nearest: String,
    },
    /// A description is invalid.
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
        /// The system's reason.
        why: String,
    },
    /// The file is not TOML, or not a file of links.
    #[error(
        "{path}, line {line}: {why}; write [[link]], then lines such as name = \"home\" and rtt = \"90ms\""
    )]
    NotLinks {
        /// The path.
        path: String,
        /// The line's number, from 1.
        line: usize,
        /// The parser's message.
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
    /// A profile in a file is invalid.
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
    /// There is nothing between two commas, or nothing at all.
    #[error("an element is empty; remove the extra comma")]
    EmptyElement,
    /// An element has no value.
    #[error("{element:?} has no value; write rtt=90ms, and a profile's name only at the start")]
    NoValue {
        /// The element.
        element: String,
    },
    /// The property does not exist.
    #[error("a link has no {key:?}; did you mean {nearest}?")]
    UnknownKey {
        /// The key.
        key: String,
        /// The most similar property.
        nearest: &'static str,
    },
    /// A property is given twice.
    #[error("{key} is given twice; keep one")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// A value cannot be parsed or is out of range.
    #[error("{key}={value} is not valid; give {must_be}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it must be.
        must_be: String,
    },
    /// The jitter is larger than the delay.
    #[error(
        "jitter={jitter} is more than rtt={rtt}; rtt is the least a round trip takes: raise it or lower jitter"
    )]
    JitterAboveRtt {
        /// The jitter.
        jitter: String,
        /// The round-trip time.
        rtt: String,
    },
    /// The link is never up.
    #[error(
        "outage={outage} leaves no time between outages; write how long, then how often: 5s/60s"
    )]
    NeverUp {
        /// The outage.
        outage: String,
    },
    /// A profile in a file has a name that a description could not use.
    #[error(
        "{name:?} is not a valid name; use letters, digits, '-', '_' or '.', as in name = \"home-5g\""
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// Two profiles of a file have the same name.
    #[error("an earlier link has this name; rename one")]
    SameName,
}

impl LinkFault {
    pub(super) fn not_a_rate(key: &'static str, value: &str, why: NotARate) -> Self {
        let must_be = format!("{why}, or unlimited");
        LinkFault::BadValue { key, value: value.to_owned(), must_be }
    }
}

/// Why a link cannot be set up. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum NotUp {
    /// Loopback cannot be used.
    #[error("cannot use loopback: {0}; allow this program to listen on 127.0.0.1")]
    Loopback(io::Error),
    /// The kernel's netem cannot be used.
    #[error("--netem: {0}, or leave out --netem: the proxy needs none of this")]
    Netem(#[from] NetemError),
}

/// Why a link of real packets is not available.
#[derive(Debug, thiserror::Error)]
pub enum NetemError {
    /// Not on Linux.
    #[error("network namespaces exist only on Linux: run it there")]
    NotLinux,
    /// A namespace cannot be created, entered or used.
    #[error(
        "cannot use a network namespace: {0}; run as root, with the capabilities SYS_ADMIN and NET_ADMIN"
    )]
    NotAllowed(io::Error),
    /// A program cannot be run.
    #[error("cannot run {program}: {why}; install iproute2")]
    Tool {
        /// Its name.
        program: &'static str,
        /// The system's reason.
        why: io::Error,
    },
    /// The kernel has no netem.
    #[error("this kernel has no netem; load it as root (modprobe sch_netem), if it was built")]
    NoNetem,
    /// A program failed.
    #[error("`{command}` failed: {said}; check whether this machine allows it")]
    Refused {
        /// The command line.
        command: String,
        /// The program's error message.
        said: String,
    },
    /// The outages begin and end too quickly.
    #[error(
        "outage={outage} is too short to switch; give at least 100ms, with at least 100ms between two"
    )]
    TooShort {
        /// The outage.
        outage: String,
    },
    /// A file that `tc` needs cannot be written.
    #[error("cannot write to the folder for temporary files: {0}; set TMPDIR to a writable one")]
    Files(io::Error),
}
