//! Helpers shared by the engine's tests: engines over the tiny models, and a caller that expects certain events.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::{fs, path::PathBuf, time::Duration};

use engine::{Engine, EngineOptions, LoadOptions};
use tempfile::TempDir;
use thinking::thinker::{
    Append, Command, Delta, Event, Failure, Finished, Message, Open, Opened, Prompt, Propose,
    Sampling, Session, Thinker, ThoughtStart, Warmed,
};

/// Long enough for a busy machine; only a hanging engine takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a directory under `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name)
}

/// Makes a directory to use in place of `/`, as on a machine with this much memory available.
pub(crate) fn machine(available_kib: u64) -> TempDir {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("proc")).unwrap();
    let meminfo = format!("MemTotal: 1048576 kB\nMemAvailable: {available_kib} kB\n");
    fs::write(root.path().join("proc/meminfo"), meminfo).unwrap();
    root
}

/// Loads an engine over a tiny model.
pub(crate) fn engine(name: &str, options: EngineOptions) -> Engine {
    Engine::load(&fixture(name).as_path().into(), &LoadOptions::default(), options, &mut |_| {})
        .unwrap()
}

pub(crate) fn greedy() -> Sampling {
    Sampling { temperature: 0.0, top_k: 0, top_p: 0.0, min_p: 0.0, repetition_penalty: 1.0 }
}

pub(crate) fn question(text: &str) -> Prompt {
    Prompt::Messages(vec![Message { role: "user".into(), content: text.into() }])
}

pub(crate) fn open(committed: &str) -> Open {
    Open {
        question_id: "test".into(),
        prompt: question("What is 7 times 8?"),
        committed: committed.into(),
        sampling: greedy(),
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    }
}

pub(crate) fn ask(max_tokens: u32) -> Propose {
    Propose { max_tokens, stop: Vec::new(), watch: None, seed: 1, report_entropy: false }
}

/// A finished proposal.
pub(crate) struct Proposal {
    pub(crate) text: String,
    pub(crate) deltas: Vec<Delta>,
    pub(crate) finished: Finished,
}

/// A caller that panics at anything it did not expect.
pub(crate) struct Caller(pub(crate) Session);

impl Caller {
    pub(crate) async fn open(thinker: &dyn Thinker, open: Open) -> (Caller, Opened, Warmed) {
        let mut caller = Caller(thinker.session());
        caller.send(Command::Open(open)).await;
        let opened = match caller.next().await {
            Some(Event::Opened(opened)) => *opened,
            other => panic!("expected Opened, came {other:?}"),
        };
        let warmed = caller.warmed().await;
        (caller, opened, warmed)
    }

    pub(crate) async fn send(&self, command: Command) {
        self.0.commands.send(command).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.0.events.recv()).await.expect("the engine hangs")
    }

    pub(crate) async fn warmed(&mut self) -> Warmed {
        match self.next().await {
            Some(Event::Warmed(warmed)) => warmed,
            other => panic!("expected Warmed, came {other:?}"),
        }
    }

    pub(crate) async fn append(&mut self, text: &str) -> Warmed {
        self.append_ids(text, Vec::new()).await
    }

    pub(crate) async fn append_ids(&mut self, text: &str, token_ids: Vec<u32>) -> Warmed {
        self.send(Command::Append(Append { token_ids, ..Append::text(text) })).await;
        self.warmed().await
    }

    pub(crate) async fn commit(&mut self, bytes: usize) -> Warmed {
        self.send(Command::Commit { bytes: bytes as u64 }).await;
        self.warmed().await
    }

    pub(crate) async fn propose(&mut self, propose: Propose) -> Proposal {
        self.send(Command::Propose(propose)).await;
        self.proposal().await
    }

    /// Reads up to `Finished`.
    pub(crate) async fn proposal(&mut self) -> Proposal {
        let (mut text, mut deltas) = (String::new(), Vec::new());
        loop {
            match self.next().await {
                Some(Event::Delta(delta)) => {
                    text.push_str(&delta.text);
                    deltas.push(delta);
                }
                Some(Event::Finished(finished)) => return Proposal { text, deltas, finished },
                other => panic!("expected Delta or Finished, came {other:?}"),
            }
        }
    }

    /// Reads up to `Failed`.
    pub(crate) async fn failed(&mut self) -> Failure {
        loop {
            match self.next().await {
                Some(Event::Failed(failure)) => return failure,
                Some(_) => {}
                None => panic!("the events ended without Failed"),
            }
        }
    }
}
