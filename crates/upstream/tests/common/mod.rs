//! Helpers shared by the upstream tests.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde_json::Value;
use thinking::thinker::{
    Append, Command, Event, Failure, Finished, Open, Prompt, Propose, Sampling, Session,
    ThoughtStart, Warmed,
};
use upstream::{
    UpstreamConfig,
    testing::{FakeServer, write_tokenizer},
};

/// The default settings for a fake server.
pub(crate) fn config(server: &FakeServer) -> UpstreamConfig {
    UpstreamConfig::new(server.address().parse().unwrap())
}

/// The same, without requests that compute text ahead.
pub(crate) fn asked_only(server: &FakeServer) -> UpstreamConfig {
    UpstreamConfig { keep_warm: Some(false), ..config(server) }
}

/// The settings for the real server named in the environment.
pub(crate) fn real() -> UpstreamConfig {
    let var = |name: &str| std::env::var(name).ok();
    UpstreamConfig {
        kind: var("SPECTHINK_UPSTREAM_KIND").map(|kind| kind.parse().unwrap()),
        model: var("SPECTHINK_UPSTREAM_MODEL"),
        tokenizer: var("SPECTHINK_UPSTREAM_TOKENIZER").map(PathBuf::from),
        reviews_in_full: var("SPECTHINK_UPSTREAM_REVIEWS").is_some(),
        lenient: true,
        ..UpstreamConfig::new(var("SPECTHINK_UPSTREAM").unwrap().parse().unwrap())
    }
}

/// Returns the requests for continuations.
pub(crate) fn continuations(server: &FakeServer) -> Vec<Value> {
    let routes =
        ["/completion", "/v1/completions", "/generate", "/api/generate", "/v1/chat/completions"];
    let asked = server.requests().into_iter().filter(|one| routes.contains(&one.path.as_str()));
    asked.map(|one| one.body).filter(|body| !is_test(body)).collect()
}

/// Returns whether a request is part of testing the server, and not of a session.
fn is_test(body: &Value) -> bool {
    let question = body["messages"][0]["content"].as_str();
    question.is_some_and(|question| question.starts_with("Colours:"))
}

/// The tokenizer of the fake server's model.
pub(crate) fn tokenizer() -> PathBuf {
    static WRITTEN: LazyLock<PathBuf> = LazyLock::new(|| {
        // One per test program, because they may run at the same time.
        let name = concat!("tokenizer-", env!("CARGO_CRATE_NAME"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        write_tokenizer(&folder).unwrap();
        folder
    });
    WRITTEN.clone()
}

/// The tokenizer of another model, with a chat template.
pub(crate) fn other_tokenizer() -> PathBuf {
    fixture("tiny-qwen2")
}

/// A model among the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name)
}

/// Without the fields that plain completions do not know.
pub(crate) fn plain_sampling() -> Sampling {
    Sampling { top_k: 0, ..Sampling::default() }
}

/// A caller that panics at any unexpected event.
pub(crate) struct Caller(pub(crate) Session);

impl Caller {
    pub(crate) async fn open(&self, committed: &str, sampling: Sampling) {
        self.open_with_thought(committed, sampling, ThoughtStart::Unknown).await;
    }

    pub(crate) async fn open_with_thought(
        &self,
        committed: &str,
        sampling: Sampling,
        thought: ThoughtStart,
    ) {
        let open = Open {
            question_id: "test".into(),
            prompt: Prompt::question("What is 7 times 8?".into(), None),
            committed: committed.into(),
            sampling,
            deadline: None,
            thought,
            review: None,
        };
        self.send(Command::Open(open)).await;
    }

    pub(crate) async fn opened(&mut self) {
        for _ in 0..2 {
            let event = self.next().await;
            assert!(matches!(event, Some(Event::Opened(_) | Event::Warmed(_))), "{event:?}");
        }
    }

    pub(crate) async fn ask(&self, max_tokens: u32, seed: u64, stop: &[&str]) {
        let stop = stop.iter().map(|stop| (*stop).to_owned()).collect();
        let propose = Propose { max_tokens, stop, watch: None, seed, report_entropy: false };
        self.send(Command::Propose(propose)).await;
    }

    pub(crate) async fn proposal(&mut self) -> (String, Finished) {
        let mut text = String::new();
        loop {
            match self.next().await {
                Some(Event::Delta(delta)) => text.push_str(&delta.text),
                Some(Event::Finished(finished)) => return (text, finished),
                other => panic!("expected Delta or Finished, came {other:?}"),
            }
        }
    }

    pub(crate) async fn commit(&mut self, bytes: usize) {
        self.send(Command::Commit { bytes: bytes as u64 }).await;
        assert!(matches!(self.next().await, Some(Event::Warmed(_))));
    }

    pub(crate) async fn append(&mut self, text: &str) -> Warmed {
        self.send_append(text).await;
        self.warmed().await
    }

    pub(crate) async fn send_append(&self, text: &str) {
        let append = Append::text(text);
        self.send(Command::Append(append)).await;
    }

    pub(crate) async fn warmed(&mut self) -> Warmed {
        match self.next().await {
            Some(Event::Warmed(warmed)) => warmed,
            other => panic!("expected Warmed, came {other:?}"),
        }
    }

    /// Returns the failure that ends the session, whatever comes before.
    pub(crate) async fn failed(&mut self) -> Failure {
        loop {
            match self.next().await {
                Some(Event::Failed(failure)) => return failure,
                Some(_) => {}
                None => panic!("the session ended without a failure"),
            }
        }
    }

    async fn send(&self, command: Command) {
        // A session that has already failed reports it in its events.
        let _ = self.0.commands.send(command).await;
    }

    pub(crate) async fn next(&mut self) -> Option<Event> {
        self.0.events.recv().await
    }
}
