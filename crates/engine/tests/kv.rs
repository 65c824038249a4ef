//! Caches of keys and values: sessions share beginnings, and a budget takes from some sessions what others need,
//! without changing a word of any answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Caller, ask, engine, fixture, machine, open};
use engine::{Engine, EngineOptions, LoadError, LoadOptions};
use futures_util::future::join_all;
use proptest::{prelude::*, test_runner::Config};
use thinking::thinker::{ClientId, Command, Event, Finished, Thinker as _};

/// Room for one session of 256 tokens.
const TIGHT: EngineOptions = EngineOptions {
    name: None,
    max_sessions: 16,
    prefill_chunk_tokens: Some(24),
    context_tokens: Some(256),
    kv_memory_bytes: Some(9 * 8192),
    memory_root: None,
    deadline_grace: std::time::Duration::from_secs(10),
    threads: None,
    pace: None,
};

#[tokio::test]
async fn a_question_asked_again_finds_its_beginning_computed() {
    let engine = engine("tiny-llama", EngineOptions::default());
    let text = "So we go on and on, step by step. ".repeat(4);
    let (mut first, opened, warmed) = Caller::open(&engine, open(&text)).await;
    assert_eq!(opened.cached_tokens, 0);
    let tokens = opened.prompt_tokens + warmed.tokens;
    let expected = first.propose(ask(30)).await.text;

    // With all of the text, and with part of it.
    for (committed, shared) in [(text.as_str(), tokens), (&text[..100], opened.prompt_tokens + 100)]
    {
        let before = engine.computed_tokens();
        let (mut again, opened, warmed) = Caller::open(&engine, open(committed)).await;
        // Whole blocks of 32 tokens, and never the last token.
        assert_eq!(opened.cached_tokens, (shared - 1) / 32 * 32);
        assert_eq!(warmed.prefill_tokens, shared - opened.cached_tokens);
        assert_eq!(engine.computed_tokens() - before, u64::from(warmed.prefill_tokens));
        if committed == text {
            assert_eq!(again.propose(ask(30)).await.text, expected);
        }
    }
    // Two sessions that continue a shared block each write into a copy of their own.
    first.commit(3).await;
    assert_eq!(first.propose(ask(27)).await.text, expected[3..]);
    assert_eq!(engine.kv_usage().evicted_tokens, 0);
}

#[tokio::test]
async fn clients_do_not_learn_what_others_asked() {
    let engine = engine("tiny-llama", EngineOptions::default());
    let text = "So we go on and on, step by step. ".repeat(4);
    let mut seen = Vec::new();
    for client in [1, 1, 2, 2, 1] {
        let mut caller = Caller(engine.session_of(ClientId(client)));
        caller.send(Command::Open(open(&text))).await;
        let Some(Event::Opened(opened)) = caller.next().await else { panic!("no session") };
        let computed = caller.warmed().await.prefill_tokens;
        seen.push((opened.cached_tokens > 0, computed));
    }
    // What is reported, and what had to be computed, which takes time.
    let (first, again) = (seen[0], seen[1]);
    assert!(!first.0 && again.0 && again.1 < 33, "{seen:?}");
    assert_eq!(seen, [first, again, first, again, again]);
}

#[tokio::test]
async fn sessions_that_share_a_beginning_hold_it_once() {
    let engine = engine("tiny-llama", EngineOptions::default());
    let text = "The same beginning for all. ".repeat(6);
    let (first, ..) = Caller::open(&engine, open(&text)).await;
    let alone = engine.kv_usage().held_bytes;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(Caller::open(&engine, open(&text)).await.0);
    }
    // Each has a last block of its own.
    let held = engine.kv_usage().held_bytes;
    assert!(held <= alone + 5 * 2 * 8192, "{alone} for one, {held} for six");
    drop(first);
}

#[tokio::test]
async fn sessions_beyond_the_budget_take_turns_and_say_the_same() {
    let roomy = engine("tiny-llama", EngineOptions { kv_memory_bytes: None, ..TIGHT });
    let tight = engine("tiny-llama", TIGHT);
    let texts: Vec<String> = (0..6).map(|n| format!("{n} and on. ").repeat(8)).collect();
    let mut said = Vec::new();
    for engine in [&roomy, &tight] {
        let callers = texts.iter().map(|text| async move {
            let (mut caller, ..) = Caller::open(engine, open(text)).await;
            let mut said = String::new();
            for _ in 0..4 {
                let proposal = caller.propose(ask(15)).await;
                caller.commit(proposal.text.len()).await;
                said.push_str(&proposal.text);
            }
            said
        });
        said.push(join_all(callers).await);
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(roomy.kv_usage().evicted_tokens, 0);
    let usage = tight.kv_usage();
    assert!(usage.evicted_tokens > 0 && usage.recomputed_tokens > 0, "{usage:?}");
    assert!(usage.held_bytes <= usage.budget_bytes, "{usage:?}");
}

#[tokio::test]
async fn memory_stays_within_the_budget_over_a_thousand_questions() {
    let engine = engine("tiny-llama", TIGHT);
    for question in 0..1000 {
        let text = format!("Some words that every answer begins with, and number {question}.");
        let (mut caller, ..) = Caller::open(&engine, open(&text)).await;
        caller.propose(ask(4)).await;
        let usage = engine.kv_usage();
        assert!(usage.held_bytes <= usage.budget_bytes, "{usage:?}");
    }
    assert!(engine.kv_usage().cached_tokens >= 999 * 32);
}

#[test]
fn a_budget_that_holds_no_session_is_refused() {
    let options = EngineOptions { kv_memory_bytes: Some(8 * 8192), ..TIGHT };
    let model = &fixture("tiny-llama").as_path().into();
    let error = Engine::load(model, &LoadOptions::default(), options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LoadError::Options(_)));
    let line = error.to_string();
    assert!(
        line.contains("64.0 KiB") && line.contains("72.0 KiB") && line.contains("256"),
        "{line}"
    );
}

#[tokio::test]
async fn caches_never_take_more_than_the_machine_has() {
    // tiny-llama's context is 1024 tokens: 33 blocks of 8 KiB.
    for (asked, budget_bytes, context) in [(None, 48 << 10, 160), (Some(1 << 40), 84 << 10, 288)] {
        let machine = machine(96);
        let options = EngineOptions {
            context_tokens: None,
            kv_memory_bytes: asked,
            memory_root: Some(machine.path().to_owned()),
            ..TIGHT
        };
        let engine = engine("tiny-llama", options);
        assert_eq!(engine.card().context_tokens, context);
        assert!(engine.notes().iter().any(|note| note.contains("cut from 1024 tokens")));
        let text = "So we go on and on. ".repeat(6);
        for number in 0..8 {
            let (mut caller, ..) = Caller::open(&engine, open(&format!("{number}{text}"))).await;
            caller.propose(ask(4)).await;
            let usage = engine.kv_usage();
            assert_eq!(usage.budget_bytes, budget_bytes);
            assert!(usage.held_bytes <= budget_bytes, "{usage:?}");
        }
    }
}

/// What a caller does next.
#[derive(Debug, Clone)]
enum Step {
    Append(String),
    /// Proposes this many tokens and commits this percentage of the text.
    Propose(u32, usize),
    /// Proposes and cancels at once; commits everything.
    Cancel,
    /// Drops the session and opens it again with its text.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => "[a-d ,.\n]{0,12}".prop_map(Step::Append),
        4 => (1u32..16, 0usize..=100).prop_map(|(tokens, percent)| Step::Propose(tokens, percent)),
        1 => Just(Step::Cancel),
        1 => Just(Step::Reopen),
    ]
}

/// Takes the steps. Returns what was committed before each proposal, what the proposal said, and how it finished.
async fn run(engine: &Engine, number: usize, steps: &[Step]) -> Vec<(String, String, Finished)> {
    // Three blocks with the prompt, so that five sessions do not fit.
    let mut committed = format!("{number} is where this one begins, not where it ends. ");
    let (mut caller, ..) = Caller::open(engine, open(&committed)).await;
    let mut said = Vec::new();
    for step in steps {
        match step {
            Step::Append(text) => {
                committed.push_str(text);
                caller.append(text).await;
            }
            Step::Reopen => caller = Caller::open(engine, open(&committed)).await.0,
            Step::Propose(..) | Step::Cancel => {
                let (tokens, percent) = match step {
                    Step::Propose(tokens, percent) => (*tokens, *percent),
                    _ => (40, 100),
                };
                caller.send(Command::Propose(ask(tokens))).await;
                if matches!(step, Step::Cancel) {
                    caller.send(Command::Cancel).await;
                }
                let proposal = caller.proposal().await;
                // One token per byte, and only ASCII is written.
                let bytes = proposal.text.len() * percent / 100;
                said.push((committed.clone(), proposal.text.clone(), proposal.finished));
                committed.push_str(&proposal.text[..bytes]);
                caller.commit(bytes).await;
            }
        }
    }
    said
}

/// Many sessions at once, with room for one and a little: each says what a fresh session with its text says when it is
/// alone and has all the room.
#[test]
fn many_sessions_in_any_order_say_what_fresh_ones_say() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let tight = engine("tiny-llama", TIGHT);
    let fresh = engine("tiny-llama", EngineOptions::default());
    let config = Config { cases: 16, failure_persistence: None, ..Config::default() };
    let all = prop::collection::vec(prop::collection::vec(step(), 1..7), 2..7);
    proptest!(config, |(all in all)| {
        runtime.block_on(async {
            let said = all.iter().enumerate().map(|(number, steps)| run(&tight, number, steps));
            let said = join_all(said).await;
            for (committed, text, finished) in said.into_iter().flatten() {
                let (mut caller, ..) = Caller::open(&fresh, open(&committed)).await;
                let expected = caller.propose(ask(finished.tokens.max(1))).await;
                if finished.tokens > 0 {
                    prop_assert_eq!(&text, &expected.text, "after {:?}", committed);
                }
            }
            Ok(())
        })?;
        let usage = tight.kv_usage();
        prop_assert!(usage.held_bytes <= usage.budget_bytes, "{:?}", usage);
    });
    assert!(tight.kv_usage().evicted_tokens > 0, "the budget never took effect");
}
