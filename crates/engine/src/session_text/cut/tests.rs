//! Checks that tokens, text and places stay in step, and which tokens a cut leaves.

use std::path::Path;

use proptest::{prelude::*, test_runner::Config};
use text::Tokenizer;
use thinking::thinker::{Append, ClientId};

use super::*;
use crate::{
    model::{Decode, LoadOptions, load_model},
    prompt::Beginning,
    tail::Joined,
};

const PROMPT: [u32; 3] = [1, 2, 3];

#[derive(Debug, Clone)]
enum Step {
    Append(String),
    /// With one token for every byte, as its writer has it.
    Given(String),
    /// The model's own text, with one token for every byte.
    Own(String),
    /// Keeps this percentage of the text.
    Cut(usize),
    /// The same, and then own text is written there.
    Write(usize, String),
}

fn step() -> impl Strategy<Value = Step> {
    let text = || "([a-z]{1,6} |数|é|🙂|the|ing|\n\n|[0-9]{1,3}){1,6}";
    prop_oneof![
        3 => text().prop_map(Step::Append),
        1 => text().prop_map(Step::Given),
        2 => text().prop_map(Step::Own),
        3 => (0usize..=100).prop_map(Step::Cut),
        1 => (0usize..=100, text()).prop_map(|(percent, text)| Step::Write(percent, text)),
    ]
}

fn session(decoder: &dyn Decode) -> SessionText {
    let tail = Tail::new(PROMPT.len(), Thought::Over);
    let (ids, spans) = Default::default();
    let committed = Joined { start: PROMPT.len(), ids, spans, tail };
    let beginning = Beginning { prompt: PROMPT.to_vec(), thought: Thought::Over, committed };
    SessionText::new(ClientId::default(), beginning, None, decoder.new_cache(), 1 << 20)
}

/// Returns tokens of single bytes: not those that the tokenizer would give.
fn bytes_of(text: &str, tokenizer: &Tokenizer) -> Vec<u32> {
    let ids = 0..tokenizer.vocabulary_size() as u32;
    let of_byte: Vec<u32> = ids.filter(|id| tokenizer.piece(*id).len() == 1).collect();
    let id = |byte: u8| *of_byte.iter().find(|id| tokenizer.piece(**id) == [byte]).unwrap();
    text.bytes().map(id).collect()
}

fn cut(session: &mut SessionText, kept: &str, encoder: &Encoder) {
    let tail = session.cut_back(kept);
    let joined = tail.joined(&kept[tail.start_byte()..], 1 << 20, encoder).unwrap();
    session.append(joined, false);
}

/// Asserts that the tokens spell the text and are where `places` says.
fn assert_sound(session: &SessionText, text: &str, tokenizer: &Tokenizer) {
    assert_eq!(session.tokens[..PROMPT.len()], PROMPT);
    let mut at = 0;
    for (number, id) in session.tokens.iter().enumerate().skip(PROMPT.len()) {
        let end = at + tokenizer.piece(*id).len();
        let span = (text.floor_char_boundary(at), text.ceil_char_boundary(end));
        assert_eq!(session.places.span(number), Some(span), "token {number} of {text:?}");
        assert_eq!(tokenizer.piece(*id), &text.as_bytes()[at..end], "{text:?}");
        at = end;
    }
    assert_eq!((at, session.tail.end_byte()), (text.len(), text.len()));
    assert!(session.tail.start() <= session.tokens.len());
}

#[test]
fn tokens_spell_the_text_whatever_is_cut() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tiny-qwen2"));
    let decoder = load_model(&path.into(), &LoadOptions::default(), &mut |_| {}).unwrap().decoder;
    let tokenizer = Tokenizer::from_json(&path.join("tokenizer.json")).unwrap();
    let encoder = Encoder::new(tokenizer, Default::default());
    let tokenizer = encoder.tokenizer();
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..20))| {
        let (mut session, mut text) = (session(&*decoder), String::new());
        let mut is_of_others = true;
        for step in steps {
            match step {
                Step::Append(more) => {
                    text.push_str(&more);
                    session.append_at_once(&Append::text(more), &encoder).unwrap().unwrap();
                }
                Step::Given(more) => {
                    is_of_others = false;
                    text.push_str(&more);
                    let token_ids = bytes_of(&more, tokenizer);
                    let append = Append { token_ids, ..Append::text(more) };
                    session.append_at_once(&append, &encoder).unwrap().unwrap();
                }
                Step::Cut(percent) => {
                    text.truncate(text.floor_char_boundary(text.len() * percent / 100));
                    cut(&mut session, &text, &encoder);
                }
                Step::Own(_) | Step::Write(..) => {
                    is_of_others = false;
                    let (percent, own) = match step {
                        Step::Write(percent, own) => (percent, own),
                        Step::Own(own) => (100, own),
                        _ => unreachable!(),
                    };
                    text.truncate(text.floor_char_boundary(text.len() * percent / 100));
                    let ids = bytes_of(&own, tokenizer);
                    session.cut_and_write(&text, &own, &ids, &encoder).unwrap();
                    text.push_str(&own);
                }
            }
            assert_sound(&session, &text, tokenizer);
        }
        if is_of_others {
            let whole = encoder.committed(&text, Thought::Over).unwrap().ids;
            prop_assert_eq!(&session.tokens[PROMPT.len()..], whole);
        }
    });
}

#[test]
fn own_text_keeps_its_tokens_up_to_a_cut_and_that_of_others_those_of_the_whole() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tiny-qwen2"));
    let decoder = load_model(&path.into(), &LoadOptions::default(), &mut |_| {}).unwrap().decoder;
    let tokenizer = Tokenizer::from_json(&path.join("tokenizer.json")).unwrap();
    let encoder = Encoder::new(tokenizer, Default::default());
    let whole = |text: &str| encoder.committed(text, Thought::Over).unwrap().ids;
    let (mut session, others, own) = (session(&*decoder), "so the answer ", "therefore 数 ");
    session.append_at_once(&Append::text(others), &encoder).unwrap();
    let ids = bytes_of(own, encoder.tokenizer());
    session.cut_and_write(others, own, &ids, &encoder).unwrap();
    session.append_at_once(&Append::text("the answer is 42"), &encoder).unwrap();
    let text = [others, own, "the answer is 42"].concat();
    // Behind its own text, within it, at a character of three tokens, and before it.
    let (from, expected) =
        (others.len(), |own: usize| [whole(others), ids[..own].to_vec()].concat());
    cut(&mut session, &text[..from + own.len() + 6], &encoder);
    assert_eq!(session.tokens[3..], [expected(own.len()), whole("the an")].concat());
    for bytes in [own.len(), own.len() - 1, own.len() - 4, 3] {
        cut(&mut session, &text[..from + bytes], &encoder);
        assert_eq!(session.tokens[3..], expected(bytes), "{bytes}");
    }
    cut(&mut session, "so the answ", &encoder);
    session.append_at_once(&Append::text("er is"), &encoder).unwrap();
    assert_eq!(session.tokens[3..], whole("so the answer is"));
}
