//! Opens many sessions on a node and lets them idle, to measure how many it holds, how long opening took, and how much
//! memory each takes on the node.
//!
//! `cargo run --release -p transport --example idle_sessions -- http://127.0.0.1:7101 10000 PID_OF_THE_NODE`
//!
//! The node needs `--max-sessions` of at least the same number, and both need an open-files limit that allows the
//! connections: 100 sessions share one.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{error::Error, fs};

use futures_util::future::join_all;
use thinking::thinker::{
    Command, Event, Open, Prompt, Sampling, Session, Thinker as _, ThoughtStart,
};
use tokio::time::Instant;
use transport::{Remote, RemoteConfig};

/// Sessions per connection.
const PER_CONNECTION: usize = 100;
/// Sessions opened concurrently: a node refuses more than it can handle.
const AT_ONCE: usize = 10;

/// Resident memory of a process, in KiB.
fn memory_kib(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Opens a session and waits until it is warm.
async fn opened(remote: &Remote) -> Result<Session, Box<dyn Error>> {
    let mut session = remote.session();
    let open = Open {
        question_id: "idle".to_owned(),
        prompt: Prompt::question("2 + 2?".to_owned(), None),
        committed: String::new(),
        sampling: Sampling::default(),
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    };
    session.commands.send(Command::Open(open)).await?;
    loop {
        match session.events.recv().await.ok_or("the node closed the session")? {
            Event::Warmed(_) => return Ok(session),
            Event::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, count, pid] = &arguments[..] else {
        return Err("give the node's address, how many sessions, and the node's process id".into());
    };
    let count: usize = count.parse()?;
    let (before, began) = (memory_kib(pid), Instant::now());
    let mut sessions = Vec::new();
    let mut remote = Remote::new(RemoteConfig::new(url.parse()?))?;
    while sessions.len() < count {
        if sessions.len() % PER_CONNECTION == 0 {
            remote = Remote::new(RemoteConfig::new(url.parse()?))?;
        }
        let more = (0..AT_ONCE).map(|_| opened(&remote));
        for session in join_all(more).await {
            sessions.push(session?);
        }
    }
    let (held, time) = (sessions.len(), began.elapsed().as_secs_f64());
    let each = memory_kib(pid).saturating_sub(before) as f64 / held.max(1) as f64;
    println!("{held} sessions open after {time:.1} s, {each:.1} KiB of the node's memory each");
    Ok(())
}
