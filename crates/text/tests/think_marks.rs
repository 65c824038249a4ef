//! The marks around thoughts: visible in what a model writes, tokens where they are marks, letters elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{gguf, letters, prompt, tokenizer_of};
use text::{Thought, Tokenizer};

const TEMPLATE: &str = "{% for m in messages %}{{ m.content }}<|endoftext|>{% endfor %}";

/// Makes a tokenizer that has the marks as tokens of a kind: control, user-defined or normal.
fn thinker(kind: i64) -> Tokenizer {
    Tokenizer::from_gguf(&gguf(&[("<think>", kind), ("</think>", kind)], TEMPLATE)).unwrap()
}

/// Returns the marks among tokens, in order.
fn marks<'a>(tokenizer: &'a Tokenizer, ids: &[u32]) -> Vec<&'a str> {
    let names = ids.iter().map(|&id| std::str::from_utf8(tokenizer.piece(id)).unwrap());
    names.filter(|name| name.contains("think>")).collect()
}

#[test]
fn a_mark_that_a_model_draws_is_seen_whatever_its_kind() {
    for kind in [3, 4, 1] {
        let tokenizer = thinker(kind);
        let ids = tokenizer.encode_prompt("a</think>b").unwrap();
        assert_eq!((ids.len(), letters(&tokenizer, &ids).as_str()), (3, "a</think>b"));
        assert!(tokenizer.spells(&ids, "a</think>b"));
        assert!(!tokenizer.is_end_of_text(ids[1]));
        assert!(tokenizer.notes().is_empty());
    }
}

#[test]
fn only_the_marks_of_an_answer_are_tokens_in_committed_text() {
    for kind in [3, 4, 1] {
        let tokenizer = thinker(kind);
        for (thought, text, expected) in [
            (Thought::Unopened, "<think>\na</think>b", vec!["<think>", "</think>"]),
            (Thought::Unopened, "a</think>b</think>", vec!["</think>"]),
            (Thought::Open, "<think>a", vec![]),
            (Thought::Open, "a </think>\n\nb <think> </think>", vec!["</think>"]),
            (Thought::Over, "what does </think> mean?", vec![]),
        ] {
            let encoded = tokenizer.encode_committed(text, thought).unwrap();
            assert_eq!(marks(&tokenizer, &encoded.ids), expected, "{thought:?} {text:?}");
            assert!(tokenizer.spells(&encoded.ids, text), "{text:?}");
            let pieces = encoded.spans.iter().map(|&(start, end)| &text[start..end]);
            assert_eq!(pieces.collect::<String>(), text);
        }
    }
}

#[test]
fn what_people_type_is_letters_and_what_a_model_thought_is_not() {
    for kind in [3, 4, 1] {
        let tokenizer = thinker(kind);
        let typed = "is <think> a mark, and </think>?";
        for role in ["user", "system"] {
            let ids = prompt(&tokenizer, &[(role, typed)]);
            assert!(marks(&tokenizer, &ids).is_empty(), "{role}");
            assert_eq!(letters(&tokenizer, &ids), typed);
        }
        let ids = prompt(&tokenizer, &[("assistant", "<think>so</think>4<|endoftext|>")]);
        assert_eq!(marks(&tokenizer, &ids), ["<think>", "</think>"]);
        assert!(letters(&tokenizer, &ids).contains("<|endoftext|>"));
    }
}

#[test]
fn a_tokenizer_without_the_marks_spells_them() {
    let tokenizer = Tokenizer::from_gguf(&gguf(&[], TEMPLATE)).unwrap();
    let encoded = tokenizer.encode_committed("<think>a</think>", Thought::Unopened).unwrap();
    assert_eq!(encoded.ids.len(), "<think>a</think>".len());
}

#[test]
fn other_marks_around_thoughts_are_known_too() {
    let pairs = [("[THINK]", "[/THINK]"), ("<|begin_of_thought|>", "<|end_of_thought|>")];
    for (open, close) in pairs {
        let metadata = gguf(&[(open, 3), (close, 3)], TEMPLATE);
        let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
        let text = format!("{open}a{close}b");
        let encoded = tokenizer.encode_committed(&text, Thought::Unopened).unwrap();
        assert_eq!((encoded.ids.len(), letters(&tokenizer, &encoded.ids)), (4, text));
    }
}

#[test]
fn a_template_says_how_far_the_thought_of_an_answer_is() {
    let question = "{{ messages[-1].content }}";
    for (end, expected) in [
        ("", Thought::Unopened),
        ("<|assistant|>\n", Thought::Unopened),
        ("{% if add_generation_prompt %}<think>\n{% endif %}", Thought::Open),
        ("<think>\n\n</think>\n\n", Thought::Over),
        ("</think>", Thought::Over),
    ] {
        let template = format!("<think>{question}</think>{question}{end}");
        let tokenizer = Tokenizer::from_gguf(&gguf(&[], &template)).unwrap();
        assert_eq!(tokenizer.template().thought(), expected, "{end:?}");
    }
}

#[test]
fn a_fingerprint_does_not_depend_on_the_kind_of_a_mark() {
    let json = |special: bool| {
        format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "decoder": {{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": false}}, "added_tokens": [{{"id": 1, "content": "</think>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": {special}}}],
            "model": {{"type": "BPE", "vocab": {{"a": 0}}, "merges": []}}}}"#
        )
    };
    let [one, other] = [true, false].map(|special| {
        tokenizer_of(&[("tokenizer.json", &json(special))]).fingerprint().to_owned()
    });
    assert_eq!(one, other);
}
