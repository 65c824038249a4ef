//! Token ids equal those of Python's `tokenizers`, from tokenizer.json and from GGUF metadata alike, on code, scripts,
//! emoji, combining marks and odd white space. tests/fixtures/make_tokenizer_fixtures.py makes the fixtures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashMap;

use common::fixture;
use proptest::prelude::*;
use serde_json::Value as Json;
use text::{Detokenizer, GgufMetadata, GgufValue as Value, Thought, Tokenizer, TokenizerError};

struct Case {
    text: String,
    prompt_ids: Vec<u32>,
    committed_ids: Vec<u32>,
}

fn read(name: &str, file: &str) -> Json {
    let path = fixture("tokenizers").join(name).join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn cases(name: &str) -> Vec<Case> {
    let ids = |value: &Json| {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let case = |case: &Json| Case {
        text: case["text"].as_str().unwrap().to_owned(),
        prompt_ids: ids(&case["prompt_ids"]),
        committed_ids: ids(&case["committed_ids"]),
    };
    read(name, "expected.json").as_array().unwrap().iter().map(case).collect()
}

fn metadata(name: &str) -> GgufMetadata {
    fn value(json: &Json) -> Value {
        match json {
            Json::Bool(yes) => Value::Bool(*yes),
            Json::String(text) => Value::String(text.clone()),
            Json::Number(number) => Value::Integer(number.as_i64().unwrap()),
            Json::Array(items) => Value::Array(items.iter().map(value).collect()),
            other => panic!("{other}"),
        }
    }
    let json = read(name, "gguf.json");
    json.as_object().unwrap().iter().map(|(key, json)| (key.clone(), value(json))).collect()
}

fn from_json(name: &str) -> Tokenizer {
    Tokenizer::from_json(&fixture("tokenizers").join(name).join("tokenizer.json")).unwrap()
}

fn decoded(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let (mut detokenizer, mut text) = (Detokenizer::new(), String::new());
    for &id in ids {
        detokenizer.push(tokenizer.piece(id), &mut text);
    }
    assert!(detokenizer.is_clean());
    text
}

const NAMES: [&str; 2] = ["qwen2.5", "smollm2"];

#[test]
fn ids_equal_those_of_python() {
    for name in NAMES {
        let origins = [from_json(name), Tokenizer::from_gguf(&metadata(name)).unwrap()];
        for tokenizer in &origins {
            let cases = cases(name);
            assert!(cases.len() > 10);
            for case in cases {
                let text = &case.text;
                let encoded = tokenizer.encode_committed(text, Thought::Unopened).unwrap();
                assert_eq!(encoded.ids, case.committed_ids, "{name}: committed {text:?}");
                let prompt = tokenizer.encode_prompt(text).unwrap();
                assert_eq!(prompt, case.prompt_ids, "{name}: prompt {text:?}");
            }
        }
        assert_eq!(origins[0].fingerprint(), origins[1].fingerprint(), "{name}");
    }
}

#[test]
fn different_tokenizers_have_different_fingerprints() {
    let [one, other] = NAMES.map(from_json);
    assert_ne!(one.fingerprint(), other.fingerprint());
    // Other rules over the same vocabulary and merges: one digit at a time, or three.
    let mut changed = metadata("qwen2.5");
    changed.insert("tokenizer.ggml.pre".into(), Value::String("llama-bpe".into()));
    let changed = Tokenizer::from_gguf(&changed).unwrap();
    assert_ne!(one.fingerprint(), changed.fingerprint());
}

/// Nodes of different releases compare fingerprints, so a tokenizer must keep its own.
#[test]
fn fingerprints_stay_what_they_were() {
    let fingerprints = NAMES.map(|name| from_json(name).fingerprint().to_owned());
    assert_eq!(fingerprints, ["e83691c37b24b5ef", "f4bdeea9e3a17672"]);
}

#[test]
fn committed_text_comes_back_byte_for_byte() {
    let tokenizer = from_json("smollm2");
    for case in cases("smollm2") {
        assert_eq!(decoded(&tokenizer, &case.committed_ids), case.text);
        assert!(tokenizer.spells(&case.committed_ids, &case.text));
    }
    // Qwen composes characters first, so a decomposed text comes back composed.
    let tokenizer = from_json("qwen2.5");
    let ids = tokenizer.encode_committed("e\u{301}", Thought::Unopened).unwrap().ids;
    assert_eq!(decoded(&tokenizer, &ids), "\u{e9}");
    assert!(!tokenizer.spells(&ids, "e\u{301}"));
}

#[test]
fn control_tokens_are_meant_in_prompts_and_are_text_elsewhere() {
    for tokenizer in [from_json("qwen2.5"), Tokenizer::from_gguf(&metadata("qwen2.5")).unwrap()] {
        let end = tokenizer.encode_prompt("<|im_end|>").unwrap();
        assert_eq!(end.len(), 1);
        assert!(tokenizer.is_end_of_text(end[0]));
        assert_eq!(tokenizer.piece(end[0]), b"");
        let committed = tokenizer.encode_committed("<|im_end|>", Thought::Unopened).unwrap().ids;
        assert!(committed.len() > 1);
        assert_eq!(decoded(&tokenizer, &committed), "<|im_end|>");
        // An added token that is not a control token is one token in both.
        let call = tokenizer.encode_committed("<tool_call>", Thought::Unopened).unwrap().ids;
        assert_eq!(call, tokenizer.encode_prompt("<tool_call>").unwrap());
        assert_eq!((call.len(), decoded(&tokenizer, &call).as_str()), (1, "<tool_call>"));
    }
}

#[test]
fn a_begin_of_text_token_goes_before_raw_prompts_only() {
    let mut changed = metadata("qwen2.5");
    let end = Tokenizer::from_gguf(&changed).unwrap().encode_prompt("<|endoftext|>").unwrap()[0];
    changed.insert("tokenizer.ggml.bos_token_id".into(), Value::Integer(end.into()));
    changed.insert("tokenizer.ggml.add_bos_token".into(), Value::Bool(true));
    let tokenizer = Tokenizer::from_gguf(&changed).unwrap();
    assert_eq!(tokenizer.bos_text(), Some("<|endoftext|>"));
    let prompt = tokenizer.encode_prompt("Hi").unwrap();
    assert_eq!(tokenizer.encode_raw_prompt("Hi").unwrap(), [&[end], &*prompt].concat());
    assert_eq!(tokenizer.encode_committed("Hi", Thought::Unopened).unwrap().ids, prompt);
}

#[test]
fn broken_metadata_is_told_in_one_line() {
    type Break = fn(&mut GgufMetadata);
    let cases: [(Break, &str); 7] = [
        (|m| drop(m.remove("tokenizer.ggml.model")), "tokenizer.ggml.model is missing"),
        (
            |m| drop(m.insert("tokenizer.ggml.model".into(), Value::String("bert".into()))),
            "\"bert\"",
        ),
        (|m| drop(m.insert("tokenizer.ggml.pre".into(), Value::String("new".into()))), "\"new\""),
        (|m| drop(m.remove("tokenizer.ggml.tokens")), "tokenizer.ggml.tokens is missing"),
        (|m| drop(m.insert("tokenizer.ggml.token_type".into(), Value::Array(vec![]))), "0 entries"),
        (
            |m| {
                let merge = Value::String("no_merge".into());
                m.insert("tokenizer.ggml.merges".into(), Value::Array(vec![merge]));
            },
            "no_merge",
        ),
        (
            |m| {
                let merge = Value::String("zzzz qqqq".into());
                m.insert("tokenizer.ggml.merges".into(), Value::Array(vec![merge]));
            },
            "tokenizer.ggml.merges",
        ),
    ];
    for (change, expected) in cases {
        let mut metadata = metadata("smollm2");
        change(&mut metadata);
        let message = Tokenizer::from_gguf(&metadata).unwrap_err().to_string();
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn broken_files_are_told_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    let missing = Tokenizer::from_json(&path).unwrap_err();
    assert!(matches!(missing, TokenizerError::Read { .. }), "{missing}");
    std::fs::write(&path, "{\"version\":\"1.0\"").unwrap();
    let damaged = Tokenizer::from_json(&path).unwrap_err();
    assert!(matches!(damaged, TokenizerError::Damaged { .. }), "{damaged}");
    assert!(!damaged.to_string().contains('\n'));
}

/// A vocabulary in SentencePiece's style: "▁" for spaces, bytes as "<0x0A>".
const METASPACE: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
        "vocab": {"<unk>": 0, "<0x0A>": 1, "<0xC3>": 2, "<0xA9>": 3, "▁": 4, "a": 5, "b": 6, "▁a": 7},
        "merges": ["▁ a"]}
}"#;

#[test]
fn a_space_is_added_before_prompts_but_not_before_committed_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    std::fs::write(&path, METASPACE).unwrap();
    let tokenizer = Tokenizer::from_json(&path).unwrap();
    assert_eq!(tokenizer.encode_prompt("ab a").unwrap(), [7, 6, 7]);
    let committed = tokenizer.encode_committed("ab a\né", Thought::Unopened).unwrap().ids;
    assert_eq!(committed, [5, 6, 7, 1, 2, 3]);
    assert_eq!(decoded(&tokenizer, &committed), "ab a\né");
}

proptest! {
    /// Incremental decoding gives the same as decoding everything at once, for any tokens.
    #[test]
    fn any_ids_decode_as_in_one_go(ids in prop::collection::vec(0u32..700, 0..40)) {
        thread_local! {
            static BOTH: (Tokenizer, tokenizers::Tokenizer) = {
                let path = fixture("tokenizers/smollm2/tokenizer.json");
                (Tokenizer::from_json(&path).unwrap(), tokenizers::Tokenizer::from_file(path).unwrap())
            };
        }
        BOTH.with(|(tokenizer, reference)| {
            let (mut detokenizer, mut text) = (Detokenizer::new(), String::new());
            // The full stop ends a character that was never completed.
            let stop = tokenizer.encode_committed(".", Thought::Unopened).unwrap().ids[0];
            for &id in ids.iter().chain([&stop]) {
                detokenizer.push(tokenizer.piece(id), &mut text);
            }
            let all: Vec<u32> = ids.iter().copied().chain([stop]).collect();
            prop_assert_eq!(text, reference.decode(&all, true).unwrap());
            Ok(())
        })?;
    }

    /// Committed text without characters to compose comes back unchanged.
    #[test]
    fn text_survives_encoding(text in "[ -~\n\t数学かな🙂é]{0,40}") {
        for name in NAMES {
            thread_local! {
                static ALL: HashMap<&'static str, Tokenizer> =
                    NAMES.into_iter().map(|name| (name, from_json(name))).collect();
            }
            ALL.with(|all| {
                let tokenizer = &all[name];
                let ids = tokenizer.encode_committed(&text, Thought::Unopened).unwrap().ids;
                prop_assert_eq!(&decoded(tokenizer, &ids), &text);
                Ok(())
            })?;
        }
    }
}
