//! Checks that text has the same tokens in however many pieces it comes, and costs no more.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::{prelude::*, test_runner::Config};
use text::Tokenizer;

use super::*;

/// With merges, and with different rules for where text is cut.
const TOKENIZERS: [&str; 3] = ["tokenizers/qwen2.5", "tokenizers/smollm2", "tiny-qwen2"];

/// Returns a tokenizer, and the count of bytes that it encoded.
fn encoder(name: &str) -> (Encoder, Arc<AtomicU64>) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name);
    let encoded_bytes = Arc::new(AtomicU64::new(0));
    let tokenizer = Tokenizer::from_json(&path.join("tokenizer.json")).unwrap();
    (Encoder::new(tokenizer, Arc::clone(&encoded_bytes)), encoded_bytes)
}

/// Returns the tokens of a text that comes in pieces, and the length of the longest tail in between.
fn in_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a str>,
    thought: Thought,
    encoder: &Encoder,
) -> (Vec<u32>, usize) {
    let (mut tail, mut ids, mut longest) = (Tail::new(0, thought), Vec::new(), 0);
    for piece in pieces {
        let joined = tail.joined(piece, usize::MAX, encoder).unwrap();
        ids.truncate(joined.start);
        ids.extend(joined.ids);
        tail = joined.tail;
        longest = longest.max(tail.text.len());
    }
    (ids, longest)
}

/// Cuts a text into pieces of these lengths in characters, over and over.
fn cut<'a>(text: &'a str, lengths: &[usize]) -> Vec<&'a str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    for &length in lengths.iter().cycle() {
        let end = rest.char_indices().nth(length).map_or(rest.len(), |(at, _)| at);
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
        if rest.is_empty() {
            return pieces;
        }
    }
    pieces
}

fn text() -> impl Strategy<Value = String> {
    let ordinary = "([a-z]{1,9}[,.]? |[0-9]{1,5} |\n|\n\n|<think>|</think>|\\$x\\^2\\$ ){0,60}";
    let without_spaces = prop_oneof![
        "[数学的是一二三我们可以，。]{200,900}",
        "([a-z]{3,9}|[0-9]{2,7}|[,;:/=+-]{1,3}|é|\n){150,400}",
        "[A-Za-z0-9+/]{600,2500}",
        "(the|there|therefore|answer|because|is|number|value|[a-e]|ing|,|\n|1|2){300,900}",
    ];
    prop_oneof![
        ordinary.prop_map(String::from),
        without_spaces.clone().prop_map(String::from),
        (ordinary, without_spaces, ordinary)
            .prop_map(|(before, long, after)| format!("{before}{long}{after}")),
    ]
}

#[test]
fn text_that_comes_in_pieces_takes_the_tokens_of_the_whole() {
    let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
    for name in TOKENIZERS {
        let (encoder, _) = encoder(name);
        let short = prop::collection::vec(1usize..9, 1..6);
        let lengths = prop_oneof![prop::collection::vec(1usize..120, 1..6), short];
        proptest!(config.clone(), |(text in text(), lengths in lengths)| {
            let whole = encoder.committed(&text, Thought::Unopened).unwrap().ids;
            let (ids, longest) = in_pieces(cut(&text, &lengths), Thought::Unopened, &encoder);
            prop_assert_eq!(ids, whole, "{}", name);
            prop_assert!(longest <= LONGEST_TAIL + 64, "a tail of {} bytes", longest);
        });
    }
}

#[test]
fn text_without_spaces_costs_what_other_text_costs() {
    for name in TOKENIZERS {
        for piece in
            ["数学的是一二三我们", "abcdefghijklmnopqrstuvwxyz0", "one two three four five "]
        {
            let (encoder, encoded_bytes) = encoder(name);
            let cost = |appends: usize| {
                let before = encoded_bytes.load(Ordering::Relaxed);
                in_pieces(vec![piece; appends], Thought::Open, &encoder);
                encoded_bytes.load(Ordering::Relaxed) - before
            };
            let (some, many) = (cost(200), cost(2000));
            assert!(
                many <= 11 * some,
                "{name}: {some} bytes for 200 of {piece:?}, {many} for 2000"
            );
        }
    }
}

#[test]
fn a_text_that_does_not_fit_is_given_up_when_the_context_is_full() {
    let (encoder, encoded_bytes) = encoder(TOKENIZERS[0]);
    let text = "so it goes on ".repeat(1 << 16);
    let failure = Tail::new(0, Thought::Open).joined(&text, 100, &encoder).unwrap_err();
    assert_eq!(failure.code, thinking::thinker::Code::ContextTooLong);
    assert!(failure.message.contains("holds 100;"), "{failure}");
    assert_eq!(encoded_bytes.load(Ordering::Relaxed), PIECE as u64);
}
