//! Whatever a session went through, it continues like a fresh one that was opened with its text.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Caller, ask, engine, open};
use engine::{Engine, EngineOptions};
use proptest::{prelude::*, test_runner::Config};
use thinking::thinker::{Command, Cut};

#[derive(Debug, Clone)]
enum Step {
    Append(String),
    /// Proposes this many tokens and commits this percentage of the text.
    Propose(u32, usize),
    /// Cuts the text back to this percentage.
    Cut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        "[a-d ,.\n]{0,12}".prop_map(Step::Append),
        (1u32..16, 0usize..=100).prop_map(|(tokens, percent)| Step::Propose(tokens, percent)),
        (0usize..=100).prop_map(Step::Cut),
    ]
}

async fn run(engine: &Engine, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut caller, ..) = Caller::open(engine, open("")).await;
    let mut committed = String::new();
    for step in steps {
        let warmed = match step {
            Step::Append(text) => {
                committed.push_str(text);
                caller.append(text).await
            }
            Step::Cut(percent) => {
                committed.truncate(committed.len() * percent / 100);
                let bytes = committed.len() as u64;
                caller.send(Command::Cut(Cut { bytes, accept: false })).await;
                caller.warmed().await
            }
            Step::Propose(tokens, percent) => {
                let text = caller.propose(ask(*tokens)).await.text;
                // One token per byte, and only ASCII is written.
                let bytes = text.len() * percent / 100;
                committed.push_str(&text[..bytes]);
                caller.commit(bytes).await
            }
        };
        prop_assert_eq!(warmed.committed_bytes, committed.len() as u64);
    }
    let (mut fresh, ..) = Caller::open(engine, open(&committed)).await;
    let (ours, theirs) = (caller.propose(ask(20)).await, fresh.propose(ask(20)).await);
    prop_assert_eq!(ours.text, theirs.text, "after {:?}", committed);
    prop_assert_eq!(ours.finished.prefill_tokens, 0);
    Ok(())
}

#[test]
fn a_session_goes_on_as_a_fresh_one_with_its_text() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let options = EngineOptions { prefill_chunk_tokens: Some(7), ..EngineOptions::default() };
    let engine = engine("tiny-llama", options);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 0..8))| {
        runtime.block_on(run(&engine, &steps))?;
    });
}
