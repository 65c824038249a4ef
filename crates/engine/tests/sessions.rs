//! What a session of the engine promises beyond the contract of every Thinker: what is kept warm, what is computed, and
//! what is refused before it is computed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use candle_core::{Device, Tensor};
use common::{Caller, ask, engine, fixture, greedy, open};
use engine::{Engine, EngineOptions, LoadOptions};
use text::{Thought, Tokenizer};
use thinking::{
    thinker::{
        Code, Command, EVENT_QUEUE, Event, FinishReason, Open, Prompt, Propose, Sampling, TextHash,
        Thinker, ThoughtStart,
    },
    trigger::Watch,
};

fn options() -> EngineOptions {
    EngineOptions::default()
}

#[tokio::test]
async fn a_warm_session_prefills_nothing_before_its_first_token() {
    for model in ["tiny-llama", "tiny-qwen2"] {
        let engine = engine(model, options());
        let (mut caller, opened, warmed) = Caller::open(&engine, open("So ")).await;
        assert_eq!(warmed.prefill_tokens, opened.prompt_tokens + warmed.tokens);
        assert_eq!(caller.propose(ask(8)).await.finished.prefill_tokens, 0);
        let text_bytes = 0;
        let kept = caller.commit(text_bytes).await;
        assert_eq!((kept.tokens, kept.prefill_tokens), (0, 0));
        let warmed = caller.append("we see that").await;
        assert!(warmed.prefill_tokens >= warmed.tokens && warmed.tokens > 0, "{warmed:?}");
        let before = engine.computed_tokens();
        let proposal = caller.propose(ask(5)).await;
        assert_eq!(proposal.finished.prefill_tokens, 0);
        // The first token is drawn from logits that are there already; the last is not computed.
        assert_eq!(engine.computed_tokens() - before, u64::from(proposal.finished.tokens) - 1);
    }
}

#[tokio::test]
async fn a_commit_cuts_the_cache_back_and_computes_nothing_again() {
    let engine = engine("tiny-llama", options());
    let (mut caller, ..) = Caller::open(&engine, open("")).await;
    let proposal = caller.propose(ask(12)).await;
    assert_eq!(proposal.finished.tokens, 12);
    let before = engine.computed_tokens();
    let warmed = caller.commit(5).await;
    // One token per byte.
    assert_eq!((warmed.tokens, warmed.prefill_tokens), (5, 0));
    assert_eq!(warmed.hash, TextHash::of(&proposal.text[..5]));
    assert_eq!(engine.computed_tokens(), before);
    let again = caller.propose(ask(7)).await;
    assert_eq!(again.text, proposal.text[5..]);
    assert_eq!(again.finished.prefill_tokens, 0);
}

#[tokio::test]
async fn a_prompt_leaves_the_thought_as_it_is_asked_to() {
    // One token per byte, and one for each mark; the template ends with "<think>" and a line break.
    let engine = engine("tiny-llama", options());
    assert_eq!(engine.card().thought, ThoughtStart::Open);
    let mut tokens = Vec::new();
    for thought in
        [ThoughtStart::Unknown, ThoughtStart::Open, ThoughtStart::Unopened, ThoughtStart::Over]
    {
        let (_, opened, _) = Caller::open(&engine, Open { thought, ..open("") }).await;
        tokens.push(opened.prompt_tokens);
    }
    let own = tokens[0];
    assert_eq!(tokens, [own, own, own - 2, own + 4]);
}

#[tokio::test]
async fn the_first_closing_mark_is_a_token_and_later_ones_are_letters() {
    let engine = engine("tiny-llama", options());
    let (mut caller, ..) = Caller::open(&engine, open("")).await;
    assert_eq!(caller.append("So</think>").await.tokens, 3);
    assert_eq!(caller.append("a</think>").await.tokens, 9);
    // It may come in pieces, after other text, and with the session.
    let (mut caller, ..) = Caller::open(&engine, open("So</thi")).await;
    assert_eq!(caller.append("nk>").await.tokens, 0, "four letters more are four tokens fewer");
    let (_, _, warmed) = Caller::open(&engine, open("So</think>a</think>")).await;
    assert_eq!(warmed.tokens, 12);
}

#[tokio::test]
async fn text_that_comes_in_pieces_takes_the_tokens_of_the_whole() {
    let text = " therefore the answer is 42, because 6 times 7 equals 42. Let me check";
    let tokenizer = Tokenizer::from_json(&fixture("tiny-qwen2/tokenizer.json")).unwrap();
    let whole = tokenizer.encode_committed(text, Thought::Open).unwrap().ids.len() as u32;
    let engine = engine("tiny-qwen2", options());
    for size in [1, 3, 8, 100] {
        let (mut caller, ..) = Caller::open(&engine, open("So")).await;
        let (mut expected, mut computed) = (open("So").committed, 0);
        for piece in text.as_bytes().chunks(size) {
            let piece = std::str::from_utf8(piece).unwrap();
            expected.push_str(piece);
            let warmed = caller.append(piece).await;
            assert_eq!(warmed.hash, TextHash::of(&expected));
            computed += warmed.prefill_tokens;
        }
        // The last word of each piece may be computed again, but not the text before it.
        assert!(computed <= whole + 3 * (text.len() / size) as u32 + 3, "{computed} in {size}s");
        let (mut fresh, ..) = Caller::open(&engine, open(&expected)).await;
        let (ours, theirs) = (caller.propose(ask(24)).await, fresh.propose(ask(24)).await);
        assert_eq!(ours.text, theirs.text);
    }
}

#[tokio::test]
async fn token_ids_are_taken_only_where_they_spell_the_text() {
    let tokenizer = Tokenizer::from_json(&fixture("tiny-qwen2/tokenizer.json")).unwrap();
    let engine = engine("tiny-qwen2", options());
    let text = "the answer";
    // One token per letter: not what the tokenizer would give.
    let letters: Vec<u32> = text
        .chars()
        .flat_map(|c| tokenizer.encode_committed(&c.to_string(), Thought::Open).unwrap().ids)
        .collect();
    let whole = tokenizer.encode_committed(text, Thought::Open).unwrap().ids;
    assert!(whole.len() < letters.len());
    let cases = [
        (letters.clone(), letters.len()),
        (letters[1..].to_vec(), whole.len()),
        (vec![1_000_000], whole.len()),
        // Control tokens spell no text.
        (letters.iter().copied().chain(tokenizer.end_of_text().to_vec()).collect(), whole.len()),
    ];
    for (ids, expected) in cases {
        let (mut caller, ..) = Caller::open(&engine, open("")).await;
        let warmed = caller.append_ids(text, ids.clone()).await;
        assert_eq!(warmed.tokens as usize, expected, "{ids:?}");
        assert_eq!(warmed.hash, TextHash::of(text));
    }
}

#[tokio::test]
async fn deltas_carry_ids_that_spell_their_text() {
    let tokenizer = Tokenizer::from_json(&fixture("tiny-qwen2/tokenizer.json")).unwrap();
    let engine = engine("tiny-qwen2", options());
    let sampling = Sampling { temperature: 1.5, ..greedy() };
    let mut spelled = 0;
    for seed in 0..8 {
        let (mut caller, ..) = Caller::open(&engine, Open { sampling, ..open("") }).await;
        let proposal = caller.propose(Propose { seed, ..ask(60) }).await;
        for delta in &proposal.deltas {
            assert!(!delta.text.is_empty());
            let broken = delta.text.contains('\u{fffd}');
            assert!(broken || tokenizer.spells(&delta.token_ids, &delta.text), "{delta:?}");
            spelled += usize::from(delta.token_ids.len() > 1);
        }
    }
    // Characters of several tokens were among them.
    assert!(spelled > 0);
}

#[tokio::test]
async fn a_session_too_many_is_refused_and_room_comes_back() {
    let engine = engine("tiny-llama", EngineOptions { max_sessions: 2, ..options() });
    let (first, ..) = Caller::open(&engine, open("")).await;
    let (_second, ..) = Caller::open(&engine, open("")).await;
    let mut third = Caller(engine.session());
    third.send(Command::Open(open(""))).await;
    let failure = third.failed().await;
    assert_eq!(failure.code, Code::Overloaded);
    assert!(failure.retry_after_ms.is_some());
    drop(first);
    // The engine sees the dropped session in its next turn, which this one wakes.
    let (mut fourth, ..) = Caller::open(&engine, open("")).await;
    fourth.propose(ask(1)).await;
}

#[tokio::test]
async fn what_does_not_fit_the_context_is_refused_before_it_is_computed() {
    let engine = engine("tiny-llama", EngineOptions { context_tokens: Some(60), ..options() });
    assert_eq!(engine.card().context_tokens, 60);
    let mut caller = Caller(engine.session());
    caller.send(Command::Open(Open { prompt: Prompt::Raw("x".repeat(60)), ..open("") })).await;
    let failure = caller.failed().await;
    assert_eq!(failure.code, Code::ContextTooLong);
    assert!(failure.message.contains("61") && failure.message.contains("60"), "{failure}");
    assert_eq!(engine.computed_tokens(), 0);

    // Text that cannot fit however it is encoded is not encoded at all.
    let mut caller = Caller(engine.session());
    caller.send(Command::Open(Open { prompt: Prompt::Raw("x".repeat(1 << 20)), ..open("") })).await;
    let failure = caller.failed().await;
    assert_eq!(failure.code, Code::ContextTooLong);
    assert!(failure.message.starts_with("a text of 1048576 bytes does not fit"), "{failure}");

    let (mut caller, opened, _) = Caller::open(&engine, open("")).await;
    let room = 60 - opened.prompt_tokens as usize;
    let before = engine.computed_tokens();
    caller.send(Command::Append(thinking::thinker::Append::text("x".repeat(room + 1)))).await;
    assert_eq!(caller.failed().await.code, Code::ContextTooLong);
    assert_eq!(engine.computed_tokens(), before);
}

#[tokio::test]
async fn a_full_context_ends_a_proposal() {
    let engine = engine("tiny-llama", EngineOptions { context_tokens: Some(60), ..options() });
    let (mut caller, opened, _) = Caller::open(&engine, open("")).await;
    let room = 60 - opened.prompt_tokens;
    let proposal = caller.propose(ask(1000)).await;
    assert_eq!(proposal.finished.reason, FinishReason::ContextFull);
    assert_eq!(proposal.finished.tokens, room);
    caller.commit(proposal.text.len()).await;
    let nothing = caller.propose(ask(1000)).await.finished;
    assert_eq!((nothing.reason, nothing.tokens), (FinishReason::ContextFull, 0));
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_else() {
    let engine = engine("tiny-llama", options());
    let (mut quick, ..) = Caller::open(&engine, open("Quick")).await;
    for start in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let (mut slow, ..) = Caller::open(&engine, open(start)).await;
        let expected = slow.propose(ask(600)).await;
        slow.commit(0).await;
        // A proposal that ends early never fills its queue.
        if expected.finished.tokens < 2 * EVENT_QUEUE as u32 {
            continue;
        }
        slow.send(Command::Propose(ask(600))).await;
        for _ in 0..10 {
            quick.propose(ask(100)).await;
            quick.commit(0).await;
        }
        // It waits with a full queue, and continues where it was.
        assert_eq!(slow.0.events.len(), EVENT_QUEUE);
        assert_eq!(slow.proposal().await.text, expected.text);
        return;
    }
    panic!("no proposal is long enough to fill a queue");
}

#[tokio::test]
async fn sessions_decode_together_as_they_do_alone() {
    let engine = engine("tiny-llama", options());
    let texts: Vec<String> = (0..6).map(|n| "so and so ".repeat(n)).collect();
    let mut alone = Vec::new();
    for text in &texts {
        let (mut caller, ..) = Caller::open(&engine, open(text)).await;
        alone.push(caller.propose(ask(40)).await.text);
    }
    let mut callers = Vec::new();
    for text in &texts {
        let (caller, ..) = Caller::open(&engine, open(text)).await;
        callers.push(caller);
    }
    for caller in &callers {
        caller.send(Command::Propose(ask(40))).await;
    }
    for (caller, expected) in callers.iter_mut().zip(alone) {
        assert_eq!(caller.proposal().await.text, expected);
    }
}

#[tokio::test]
async fn paragraphs_tell_the_entropy_of_their_first_token() {
    let engine = engine("tiny-llama", options());
    let (mut caller, ..) = Caller::open(&engine, open("")).await;
    let watch = Some(Watch {
        delimiters: vec!["\n".into()],
        window_chars: 5,
        phrases: vec![],
        from_next_break: false,
        until: Vec::new(),
    });
    let propose = Propose { report_entropy: true, watch, ..ask(200) };
    let proposal = caller.propose(propose).await;
    let mut text = String::new();
    let mut told = BTreeSet::new();
    for delta in &proposal.deltas {
        let first = text.is_empty() || text.ends_with('\n');
        assert_eq!(delta.first_token_entropy.is_some(), first, "after {text:?}");
        if let Some(entropy) = delta.first_token_entropy {
            assert!((0.0..=(264f32).ln()).contains(&entropy));
            told.insert(entropy.to_bits());
        }
        text.push_str(&delta.text);
    }
    assert!(told.len() > 2, "{text:?}");
}

#[tokio::test]
async fn bad_rules_and_empty_prompts_are_refused() {
    let engine = engine("tiny-qwen2", options());
    for bad in [
        Open { sampling: Sampling { temperature: -1.0, ..greedy() }, ..open("") },
        Open { prompt: Prompt::Raw(String::new()), ..open("") },
    ] {
        let mut caller = Caller(engine.session());
        caller.send(Command::Open(bad)).await;
        let failure = caller.failed().await;
        assert_eq!(failure.code, Code::InvalidArgument);
        assert!(!failure.message.contains('\n'));
        assert!(caller.next().await.is_none());
    }
}

#[tokio::test]
async fn a_dropped_engine_ends_its_sessions_with_a_word() {
    let engine = engine("tiny-llama", options());
    let (mut caller, ..) = Caller::open(&engine, open("")).await;
    caller.send(Command::Propose(ask(1000))).await;
    assert!(matches!(caller.next().await, Some(Event::Delta(_))));
    drop(engine);
    assert_eq!(caller.failed().await.code, Code::Unavailable);
    assert!(caller.next().await.is_none());
}

#[tokio::test]
async fn a_deadline_long_past_is_told_at_once() {
    let engine = engine("tiny-llama", options());
    let (mut caller, ..) =
        Caller::open(&engine, Open { deadline: Some(Duration::from_millis(200)), ..open("") })
            .await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let late = caller.propose(ask(5)).await.finished;
    assert_eq!((late.reason, late.tokens), (FinishReason::Deadline, 0));
}

#[tokio::test]
async fn a_session_that_is_left_alone_ends_some_time_after_its_deadline() {
    let deadline_grace = Duration::from_millis(50);
    let one = EngineOptions { max_sessions: 1, deadline_grace, ..options() };
    let engine = engine("tiny-llama", one);
    let late = Open { deadline: Some(Duration::from_secs(1)), ..open("") };
    // One session asks for nothing more, and one does not read what it asked for. Nobody drops them, and still there is
    // room for the next.
    let mut idle = Caller(engine.session());
    idle.send(Command::Open(late.clone())).await;
    assert_eq!(idle.failed().await.code, Code::DeadlineExceeded);
    assert!(idle.next().await.is_none());
    let mut deaf = Caller(engine.session());
    deaf.send(Command::Open(late)).await;
    deaf.send(Command::Propose(ask(1000))).await;
    while engine_is_full(&engine).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(deaf.failed().await.code, Code::DeadlineExceeded);
}

/// Returns whether one more session is refused.
async fn engine_is_full(engine: &Engine) -> bool {
    let mut caller = Caller(engine.session());
    caller.send(Command::Open(open(""))).await;
    match caller.next().await {
        Some(Event::Opened(_)) => false,
        Some(Event::Failed(failure)) if failure.code == Code::Overloaded => true,
        other => panic!("{other:?}"),
    }
}

/// Writes tiny-llama with a token ("q") that has no usable weights.
fn with_broken_weights(directory: &std::path::Path) {
    let source = fixture("tiny-llama");
    for entry in std::fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.join(entry.file_name())).unwrap();
    }
    let path = directory.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let name = "model.embed_tokens.weight";
    let row = Tensor::full(f32::NAN, (1, 32), &Device::Cpu).unwrap();
    let broken =
        tensors[name].slice_assign(&[usize::from(b'q')..usize::from(b'q') + 1, 0..32], &row);
    tensors.insert(name.to_owned(), broken.unwrap());
    candle_core::safetensors::save(&tensors, &path).unwrap();
}

#[tokio::test]
async fn a_session_with_unusable_logits_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    with_broken_weights(directory.path());
    let load = LoadOptions::default();
    let engine = Engine::load(&directory.path().into(), &load, options(), &mut |_| {}).unwrap();
    let (mut sound, ..) = Caller::open(&engine, open("")).await;
    let (mut broken, ..) = Caller::open(&engine, open("q")).await;
    sound.send(Command::Propose(ask(100))).await;
    broken.send(Command::Propose(ask(100))).await;
    let failure = broken.failed().await;
    assert_eq!(failure.code, Code::Internal);
    assert!(failure.message.contains("logits"), "{failure}");
    assert!(broken.next().await.is_none());
    assert!(sound.proposal().await.finished.tokens > 1);
    let (mut another, ..) = Caller::open(&engine, open("")).await;
    another.propose(ask(3)).await;
}
