//! What a session of the engine says about text that others write, compared with logits that are computed in one pass:
//! the same however the text came, whatever was cached, and whoever shared the pass.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;

use common::{Caller, ask, engine, fixture, open};
use engine::{BatchRow, Decode, Engine, EngineOptions, LoadOptions, WantedLogits, load_model};
use futures_util::future::join_all;
use text::{Detokenizer, Thought, Tokenizer};
use thinking::thinker::{
    Append, Command, Cut, Event, FinishReason, Objection, Open, Prompt, Review, Sampling, TextEnd,
    TextHash, Warmed,
};

const MODELS: [&str; 2] = ["tiny-llama", "tiny-qwen2"];
const PROMPT: &str = "What is 7 times 8?";
const TEXT: &str = "So, 7 times 8 is 56.\n\nWait, let us see: 数学 and é, then 🙂🙂 and so on; \
                    therefore the answer is 42, because 6 times 7 equals 42. 数Let me check 数學.";

/// A model that is run token by token, and what it makes us expect from the engine.
struct Reference {
    decoder: Box<dyn Decode>,
    tokenizer: Tokenizer,
}

/// What a session must say about the token that begins at a byte.
#[derive(Debug, Clone)]
struct Expected {
    span: (usize, usize),
    gap: f32,
    rank: u32,
    log_p: f32,
}

impl Reference {
    fn new(model: &str) -> Reference {
        let path = fixture(model);
        let load = LoadOptions::default();
        let decoder = load_model(&path.as_path().into(), &load, &mut |_| {}).unwrap().decoder;
        let tokenizer = Tokenizer::from_json(&path.join("tokenizer.json")).unwrap();
        Reference { decoder, tokenizer }
    }

    fn prompt(&self) -> Vec<u32> {
        self.tokenizer.encode_raw_prompt(PROMPT).unwrap()
    }

    fn logits(&self, tokens: &[u32]) -> Vec<Vec<f32>> {
        let cache = &mut *self.decoder.new_cache();
        let mut rows = [BatchRow { tokens, cache, logits: WantedLogits::All }];
        let mut logits = self.decoder.forward(&mut rows).unwrap().to_vec2::<f32>().unwrap();
        logits.iter_mut().for_each(|row| row.truncate(self.tokenizer.vocabulary_size()));
        logits
    }

    /// Returns the likeliest token that can be written or ends the text.
    fn best(&self, logits: &[f32]) -> u32 {
        let can_be_written =
            |id: &u32| self.tokenizer.is_end_of_text(*id) || !self.tokenizer.piece(*id).is_empty();
        let ids = (0..logits.len() as u32).filter(can_be_written);
        ids.reduce(|a, b| if logits[b as usize] > logits[a as usize] { b } else { a }).unwrap()
    }

    fn expected(&self, span: (usize, usize), logits: &[f32], stands: &[u32]) -> Expected {
        let own = stands.iter().map(|id| logits[*id as usize]).fold(f32::NEG_INFINITY, f32::max);
        let gap = (logits[self.best(logits) as usize] - own).max(0.0);
        let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        let log_p = (f64::from(own) - total.ln()) as f32;
        let rank = logits.iter().filter(|logit| **logit > own).count() as u32;
        Expected { span, gap, rank, log_p }
    }

    /// Returns the verdicts on each token of a text, and then on its end.
    fn verdicts(&self, text: &str) -> Vec<Expected> {
        let mut tokens = self.prompt();
        let begins = tokens.len();
        let encoded = self.tokenizer.encode_committed(text, Thought::Unopened).unwrap();
        tokens.extend(&encoded.ids);
        let logits = self.logits(&tokens);
        let of_tokens = encoded.spans.iter().enumerate().map(|(at, span)| {
            self.expected(*span, &logits[begins - 1 + at], &encoded.ids[at..=at])
        });
        let end = (text.len(), text.len());
        let of_end = self.expected(end, &logits[tokens.len() - 1], self.tokenizer.end_of_text());
        of_tokens.chain([of_end]).collect()
    }

    /// Returns what the model writes after a text, token by token until it is whole characters.
    fn instead(&self, text: &str) -> (Option<String>, Vec<u32>) {
        let mut tokens = self.prompt();
        tokens.extend(self.tokenizer.encode_committed(text, Thought::Unopened).unwrap().ids);
        let (mut detokenizer, mut instead, mut ids) = (Detokenizer::new(), String::new(), vec![]);
        while ids.len() < 8 {
            let best = self.best(self.logits(&tokens).last().unwrap());
            if self.tokenizer.is_end_of_text(best) {
                break;
            }
            tokens.push(best);
            ids.push(best);
            detokenizer.push(self.tokenizer.piece(best), &mut instead);
            if detokenizer.is_clean() {
                return (Some(instead), ids);
            }
        }
        (Some(instead).filter(|it| !it.is_empty()), Vec::new())
    }
}

/// Returns a gap that `count` of these exceed and that none is close to.
fn gap_over(verdicts: &[Expected], count: usize) -> f32 {
    let mut gaps: Vec<f32> = verdicts.iter().map(|it| it.gap).collect();
    gaps.sort_by(|a, b| b.total_cmp(a));
    match count {
        0 => gaps[0] + 1.0,
        _ => f32::midpoint(gaps[count - 1], gaps[count]),
    }
}

fn reviewing(committed: &str, gap: f32, from_byte: usize) -> Open {
    let from_byte = from_byte as u64;
    let review = Some(Review { gap, from_byte, skip_openings: false, draw: None });
    Open { prompt: Prompt::Raw(PROMPT.into()), review, ..open(committed) }
}

impl Caller {
    /// Reads up to `Warmed`.
    async fn judged(&mut self) -> (Option<Objection>, Warmed) {
        let mut objection = None;
        loop {
            match self.next().await {
                Some(Event::Opened(_)) => {}
                Some(Event::Objection(it)) if objection.is_none() => objection = Some(*it),
                Some(Event::Warmed(warmed)) => return (objection, warmed),
                other => panic!("expected Objection or Warmed, came {other:?}"),
            }
        }
    }

    async fn append_judged(&mut self, text: &str, end: TextEnd) -> (Option<Objection>, Warmed) {
        self.send(Command::Append(Append { end, ..Append::text(text) })).await;
        self.judged().await
    }

    async fn cut(&mut self, bytes: usize, accept: bool) -> Warmed {
        self.send(Command::Cut(Cut { bytes: bytes as u64, accept })).await;
        self.warmed().await
    }
}

/// Opens a session with the first bytes of a text, sends the rest in pieces of `chars` characters, and then how the
/// text ends. Returns the first objection.
async fn review(
    engine: &Engine,
    gap: f32,
    from_byte: usize,
    (opened, chars): (usize, usize),
    end: TextEnd,
) -> Option<Objection> {
    let mut caller = Caller(thinking::thinker::Thinker::session(engine));
    caller.send(Command::Open(reviewing(&TEXT[..opened], gap, from_byte))).await;
    let (mut first, _) = caller.judged().await;
    let rest = &TEXT[opened..];
    let starts: Vec<usize> = rest.char_indices().map(|(at, _)| at).step_by(chars).collect();
    for (number, start) in starts.iter().enumerate() {
        let piece = &rest[*start..starts.get(number + 1).copied().unwrap_or(rest.len())];
        let (objection, warmed) = caller.append_judged(piece, TextEnd::Open).await;
        assert!(first.is_none() || objection.is_none(), "one at a time");
        assert!(first.is_none() || warmed.prefill_tokens == 0, "{warmed:?}");
        first = first.or(objection);
    }
    let (objection, warmed) = caller.append_judged("", end).await;
    assert_eq!(warmed.hash, TextHash::of(TEXT));
    let first = first.or(objection);
    let reviewed = first.as_ref().map_or(TEXT.len(), |it| it.at_byte as usize);
    assert_eq!(warmed.reviewed_bytes as usize, reviewed.max(from_byte.min(TEXT.len())));
    first
}

/// An objection that is expected, and what would stand there instead.
type ExpectedObjection<'a> = Option<(&'a Expected, (Option<String>, Vec<u32>))>;

impl Reference {
    fn objection<'a>(&self, expected: Option<&'a Expected>) -> ExpectedObjection<'a> {
        expected.map(|it| (it, self.instead(&TEXT[..it.span.0])))
    }
}

fn assert_expected(found: Option<Objection>, expected: &ExpectedObjection<'_>) {
    let (Some(found), Some((expected, (instead, ids)))) = (&found, expected) else {
        assert!(found.is_none() && expected.is_none(), "{found:?} for {expected:?}");
        return;
    };
    let (start, end) = expected.span;
    assert_eq!((found.at_byte, found.bytes), (start as u64, (end - start) as u32), "{expected:?}");
    assert!((found.gap - expected.gap).abs() < 1e-3, "{found:?} for {expected:?}");
    assert!((found.log_p - expected.log_p).abs() < 1e-3, "{found:?} for {expected:?}");
    assert!(found.rank.abs_diff(expected.rank) <= 1, "{found:?} for {expected:?}");
    assert_eq!((&found.instead, &found.token_ids), (instead, ids), "{expected:?}");
    assert!(ids.is_empty() || found.tokens as usize == ids.len());
}

#[tokio::test]
async fn the_first_token_over_the_gap_is_objected_to_however_the_text_came() {
    let roomy = EngineOptions { prefill_chunk_tokens: Some(24), ..EngineOptions::default() };
    // There is room for one of several sessions.
    let (context_tokens, kv_memory_bytes) = (Some(256), Some(9 * 8192));
    let tight = EngineOptions { context_tokens, kv_memory_bytes, ..roomy.clone() };
    for (model, options) in
        [(MODELS[0], roomy.clone()), (MODELS[0], tight.clone()), (MODELS[1], roomy)]
    {
        let is_tight = options == tight;
        let reference = Reference::new(model);
        let verdicts = reference.verdicts(TEXT);
        let engine = engine(model, options);
        for over in [0, 1, 2, 5, verdicts.len() / 3] {
            let gap = gap_over(&verdicts, over);
            let place = |byte: usize| TEXT.floor_char_boundary(byte);
            for from in [0, place(30), place(70), place(TEXT.len() - 9)] {
                let is_over = |it: &&Expected| it.span.0 >= from && it.gap > gap;
                let expected = reference.objection(verdicts.iter().find(is_over));
                // Many at once; all except the first find their beginning computed.
                let ways =
                    [(0, 1), (0, 3), (0, 1000), (place(25), 10), (place(81), 4), (TEXT.len(), 1)];
                let found = ways.map(|way| review(&engine, gap, from, way, TextEnd::Answer));
                for found in join_all(found).await {
                    assert_expected(found, &expected);
                }
            }
        }
        assert_eq!(engine.kv_usage().evicted_tokens > 0, is_tight);
    }
}

/// A draw depends on the text, the place and a seed, and not on the pieces in which the text came.
#[tokio::test]
async fn what_stands_instead_may_be_drawn() {
    let sampling = Sampling { temperature: 1.5, top_k: 0, top_p: 1.0, ..Sampling::default() };
    for model in MODELS {
        let engine = engine(model, EngineOptions::default());
        let drawn = async |seed, chars| {
            let mut caller = Caller(thinking::thinker::Thinker::session(&engine));
            let open = reviewing("", 0.01, 0);
            let review = open.review.map(|review| Review { draw: seed, ..review });
            caller.send(Command::Open(Open { review, sampling, ..open })).await;
            caller.judged().await;
            let starts: Vec<usize> = TEXT.char_indices().map(|(at, _)| at).step_by(chars).collect();
            for (number, start) in starts.iter().enumerate() {
                let end = starts.get(number + 1).copied().unwrap_or(TEXT.len());
                let (objection, _) = caller.append_judged(&TEXT[*start..end], TextEnd::Open).await;
                if let Some(objection) = objection {
                    return objection;
                }
            }
            panic!("nothing is objected to")
        };
        let likeliest = drawn(None, 1000).await;
        let mut insteads = BTreeSet::new();
        for seed in 0..12 {
            let found = drawn(Some(seed), 1000).await;
            assert_eq!(found, drawn(Some(seed), 3).await, "{seed}");
            let essence = |it: &Objection| (it.at_byte, it.bytes, it.rank);
            assert_eq!(essence(&found), essence(&likeliest), "the place is the same");
            let at = found.at_byte as usize;
            assert_ne!(found.instead.as_deref(), Some(&TEXT[at..at + found.bytes as usize]));
            insteads.insert(found.instead);
        }
        assert!(insteads.len() > 3, "{insteads:?}");
    }
}

#[tokio::test]
async fn the_end_is_judged_where_the_writer_ends_the_answer() {
    for model in MODELS {
        let reference = Reference::new(model);
        let verdicts = reference.verdicts(TEXT);
        let end = verdicts.last().unwrap();
        assert!(end.gap > 0.1, "{end:?}");
        let engine = engine(model, EngineOptions::default());
        for (gap, end_of, expected) in [
            (end.gap - 0.05, TextEnd::Answer, Some(end)),
            (end.gap - 0.05, TextEnd::Stretch, None),
            (end.gap + 0.05, TextEnd::Answer, None),
        ] {
            let expected = reference.objection(expected);
            for way in [(0, 7), (0, 1000), (TEXT.len(), 1)] {
                let found = review(&engine, gap, TEXT.len(), way, end_of).await;
                assert_expected(found, &expected);
            }
        }
    }
}

/// The model's own text keeps its tokens: what follows an accepted token follows its ids.
#[tokio::test]
async fn what_is_accepted_is_its_own_text_of_its_own_tokens() {
    for model in MODELS {
        let reference = Reference::new(model);
        let engine = engine(model, EngineOptions::default());
        let mut of_several = 0;
        for (from, _) in TEXT.char_indices().step_by(2) {
            let (mut caller, ..) = Caller::open(&engine, reviewing("", 0.01, from)).await;
            let (objection, _) = caller.append_judged(TEXT, TextEnd::Stretch).await;
            let Some(Objection { at_byte, instead: Some(instead), token_ids, .. }) = objection
            else {
                continue;
            };
            of_several += usize::from(token_ids.len() > 1);
            let at = at_byte as usize;
            // What comes before the cut is stored as text only.
            let before = engine.computed_tokens();
            let (second, warmed) =
                caller.append_judged(&"and more ".repeat(100), TextEnd::Open).await;
            assert_eq!((second, warmed.prefill_tokens), (None, 0));
            let proposal = caller.propose(ask(3)).await;
            assert_eq!(
                (proposal.text.as_str(), proposal.finished.reason),
                ("", FinishReason::Cancelled)
            );
            caller.commit(0).await;
            assert_eq!(engine.computed_tokens(), before);

            let warmed = caller.cut(at, true).await;
            let kept = [&TEXT[..at], &instead].concat();
            assert_eq!(
                (warmed.hash, warmed.reviewed_bytes),
                (TextHash::of(&kept), kept.len() as u64)
            );
            let mut tokens = reference.prompt();
            let ids =
                reference.tokenizer.encode_committed(&TEXT[..at], Thought::Unopened).unwrap().ids;
            tokens.extend(ids.iter().chain(&token_ids));
            let mut expected = Vec::new();
            for _ in 0..3 {
                let logits = reference.logits(&tokens);
                let row = logits.last().unwrap();
                let likeliest =
                    |a: u32, b: u32| if row[b as usize] > row[a as usize] { b } else { a };
                let next = (0..row.len() as u32).reduce(likeliest).unwrap();
                if reference.tokenizer.is_end_of_text(next) {
                    break;
                }
                tokens.push(next);
                expected.extend_from_slice(reference.tokenizer.piece(next));
            }
            let proposal = caller.propose(ask(3)).await;
            assert!(String::from_utf8_lossy(&expected).starts_with(&proposal.text));
            assert!(expected.is_empty() || !proposal.text.is_empty());
        }
        assert!(
            model != "tiny-qwen2" || of_several > 0,
            "no character of several tokens was among them"
        );
    }
}

/// Wherever text of others is cut, the session continues like one that was opened with the rest.
#[tokio::test]
async fn a_cut_leaves_the_tokens_of_a_text_of_that_length() {
    for model in MODELS {
        let reference = Reference::new(model);
        let engine = engine(model, EngineOptions::default());
        for (number, (place, _)) in TEXT.char_indices().rev().enumerate().step_by(3) {
            let gap = f32::MAX;
            let (mut caller, ..) = Caller::open(&engine, reviewing("So", gap, 0)).await;
            let mut committed = format!("So{TEXT}");
            for piece in [&TEXT[..11], &TEXT[11..]] {
                caller.append_judged(piece, TextEnd::Open).await;
            }
            let warmed = caller.cut(2 + place, false).await;
            committed.truncate(2 + place);
            assert_eq!(warmed.hash, TextHash::of(&committed));
            assert!(warmed.prefill_tokens <= 6, "{warmed:?}");
            if number % 2 == 0 {
                let more = if number % 4 == 0 { "erefore it goes on" } else { " 数 and" };
                committed.push_str(more);
                caller.append_judged(more, TextEnd::Open).await;
            }
            let ids =
                reference.tokenizer.encode_committed(&committed, Thought::Unopened).unwrap().ids;
            let (mut fresh, opened, _) = Caller::open(&engine, reviewing(&committed, gap, 0)).await;
            let total = opened.prompt_tokens as usize + ids.len();
            let (ours, theirs) = (caller.propose(ask(12)).await, fresh.propose(ask(12)).await);
            assert_eq!(ours.text, theirs.text, "behind {committed:?}, {total} tokens");
        }
    }
}

#[tokio::test]
async fn own_text_is_cut_where_its_tokens_end() {
    for model in MODELS {
        let engine = engine(model, EngineOptions::default());
        let (mut caller, ..) = Caller::open(&engine, reviewing("", f32::MAX, 0)).await;
        caller.append_judged("So we see ", TextEnd::Open).await;
        let proposal = caller.propose(ask(12)).await;
        caller.commit(proposal.text.len()).await;
        caller.append_judged("and more 数", TextEnd::Open).await;
        let mut end = 0;
        let ends = proposal.deltas.iter().map(|delta| {
            end += delta.text.len();
            end
        });
        for end in ends.collect::<Vec<_>>().into_iter().rev() {
            let warmed = caller.cut(10 + end, false).await;
            assert_eq!(warmed.prefill_tokens, 0, "{end} of {:?}", proposal.text);
            // What it wrote, it would write again.
            let again = caller.propose(ask(3)).await;
            let rest = &proposal.text[end..];
            assert!(rest.starts_with(&again.text) || again.text.starts_with(rest), "behind {end}");
            caller.commit(0).await;
        }
        // Part of a token of its own is encoded again.
        let within = proposal.text.char_indices().nth(1).map_or(0, |(at, _)| at);
        let warmed = caller.cut(10, false).await;
        assert_eq!(warmed.committed_bytes, 10);
        let again = caller.propose(ask(12)).await;
        assert_eq!(again.text, proposal.text);
        caller.commit(again.text.len()).await;
        let warmed = caller.cut(10 + within, false).await;
        let kept = ["So we see ", &proposal.text[..within]].concat();
        assert_eq!(warmed.hash, TextHash::of(&kept));
    }
}

#[tokio::test]
async fn an_objection_comes_before_the_rest_is_computed() {
    let reference = Reference::new("tiny-llama");
    let text = TEXT.repeat(4);
    let gap = gap_over(&reference.verdicts(TEXT), 1 + TEXT.len() / 4);
    let options = EngineOptions { prefill_chunk_tokens: Some(16), ..EngineOptions::default() };
    let engine = engine("tiny-llama", options);
    let (mut caller, opened, _) = Caller::open(&engine, reviewing("", gap, 100)).await;
    let (objection, warmed) = caller.append_judged(&text, TextEnd::Open).await;
    let at = objection.as_ref().unwrap().at_byte;
    assert!(u64::from(warmed.prefill_tokens) <= at + 16 + 8, "{warmed:?}");
    assert!(engine.computed_tokens() <= u64::from(opened.prompt_tokens) + at + 16 + 8);
    // Text that was not computed is text all the same: the cut may be further back, or not as far.
    let place = text.floor_char_boundary(at as usize + 40);
    let warmed = caller.cut(place, false).await;
    assert_eq!(warmed.hash, TextHash::of(&text[..place]));
    let (again, _) = caller.append_judged("", TextEnd::Open).await;
    assert_eq!(again.map(|it| it.at_byte), Some(at), "it is judged again");
}

/// Others' ids may cut a text differently.
#[tokio::test]
async fn a_review_makes_its_own_tokens() {
    let reference = Reference::new("tiny-qwen2");
    let engine = engine("tiny-qwen2", EngineOptions::default());
    let text = "the answer is ";
    let ids_of =
        |text: &str| reference.tokenizer.encode_committed(text, Thought::Unopened).unwrap().ids;
    let letters: Vec<u32> = text.chars().flat_map(|c| ids_of(&c.to_string())).collect();
    assert!(ids_of(text).len() < letters.len());
    let (mut caller, ..) = Caller::open(&engine, reviewing("", f32::MAX, 0)).await;
    let warmed = caller.append_ids(text, letters).await;
    assert_eq!(warmed.tokens as usize, ids_of(text).len());
}
