//! Every token that ends a turn does so whatever its file says about its kind, and spells no text.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{fixture, gguf, letters, prompt, string, tokenizer_of};
use text::{GgufValue, Thought, Tokenizer};

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Returns the one token of a prompt of this text.
fn id(tokenizer: &Tokenizer, name: &str) -> u32 {
    let ids = tokenizer.encode_prompt(name).unwrap();
    assert_eq!(ids.len(), 1, "{name}");
    ids[0]
}

#[test]
fn a_known_end_of_turn_ends_it_whatever_kind_the_file_gives_it() {
    for kind in [3, 4, 1] {
        for name in ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|EOT|>"] {
            let metadata = gguf(&[(name, kind)], "{{ messages[-1].content }}");
            let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
            let end = id(&tokenizer, name);
            assert!(tokenizer.is_end_of_text(end), "{name} of type {kind}");
            assert_eq!(tokenizer.piece(end), b"");
            let typed = tokenizer.encode_committed(name, Thought::Open).unwrap().ids;
            assert_eq!(letters(&tokenizer, &typed), name);
            assert_eq!(letters(&tokenizer, &prompt(&tokenizer, &[("user", name)])), name);
            let notes = tokenizer.notes().concat();
            assert_eq!(notes.contains(name), kind != 3, "{notes}");
        }
    }
}

#[test]
fn a_name_that_also_stands_in_texts_ends_a_turn_only_as_a_control_token() {
    for (kind, is_end) in [(3, true), (4, false), (1, false)] {
        let metadata = gguf(&[("</s>", kind)], "{{ messages[-1].content }}");
        let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
        assert_eq!(tokenizer.end_of_text().len(), 1 + usize::from(is_end), "type {kind}");
    }
}

#[test]
fn what_the_template_writes_behind_an_answer_ends_a_turn() {
    let template = |end: &str| CHATML.replace("<|im_end|>", end);
    for (end, template) in [
        ("<|fin|>", template("<|fin|>")),
        ("<|fin|>", template(" \n<|fin|>")),
        ("[over]", template("[over]")),
        (
            "<｜fin｜>",
            "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<｜fin｜>{% endfor %}"
                .to_owned(),
        ),
        // No turn has an end of its own: the token that begins the next one is drawn instead.
        (
            "<|user|>",
            "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}".to_owned(),
        ),
    ] {
        for kind in [3, 4, 1] {
            let tokenizer = Tokenizer::from_gguf(&gguf(&[(end, kind)], &template)).unwrap();
            assert!(tokenizer.is_end_of_text(id(&tokenizer, end)), "{end} of type {kind}");
            assert_eq!(tokenizer.end_of_text().len(), 2, "{end} of type {kind}");
        }
    }
}

#[test]
fn a_template_that_ends_no_answer_says_nothing() {
    for template in [
        "{{ messages[-1].content }}",
        "{% for m in messages %}{{ m.content }}\n{% endfor %}",
        "{% for m in messages %}{{ m.content }}<|not_a_token|>{% endfor %}",
        "{% for m in messages %}{{ m.content }}</think>{% endfor %}",
        "{{ raise_exception('one question only') }}",
        "{% for m in messages %}{{ m.content }}<{% endfor %}",
    ] {
        let metadata = gguf(&[("<|fin|>", 3), ("</think>", 3)], template);
        let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
        assert_eq!(tokenizer.end_of_text().len(), 1, "{template}");
        assert!(tokenizer.notes().is_empty(), "{template}");
    }
}

#[test]
fn every_id_that_a_gguf_file_names_ends_a_turn() {
    let mut metadata = gguf(&[("<|a|>", 4), ("<|b|>", 1), ("<|c|>", 3), ("word", 1)], "");
    let ids: Vec<i64> = (97..=100).collect();
    let [a, b, c, word] = ids[..] else { unreachable!() };
    let mut set =
        |name: &str, value| metadata.insert(format!("tokenizer.ggml.{name}_token_id"), value);
    set("eos", GgufValue::Array([a, c].map(GgufValue::Integer).into()));
    set("eot", GgufValue::Integer(b));
    set("eom", GgufValue::Integer(word));
    let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
    let ends = |id: i64| tokenizer.is_end_of_text(id as u32);
    assert!(ends(a) && ends(b) && ends(c) && ends(word));
    assert_eq!([a, b, c].map(|id| tokenizer.piece(id as u32)), [b""; 3]);
    // A word does not become a control token because a file ends texts with it.
    assert_eq!(tokenizer.piece(word as u32), b"word");
}

#[test]
fn a_tokenizer_json_may_forget_that_a_token_is_special() {
    let json = std::fs::read_to_string(fixture("tiny-qwen2/tokenizer.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for token in json["added_tokens"].as_array_mut().unwrap() {
        token["special"] = false.into();
    }
    let renamed = json.to_string().replace("<|im_end|>", "<|fin|>");
    let template = CHATML.replace("<|im_end|>", "<|fin|>");
    for (json, template, name) in
        [(json.to_string(), CHATML, "<|im_end|>"), (renamed, template.as_str(), "<|fin|>")]
    {
        let tokenizer =
            tokenizer_of(&[("tokenizer.json", &json), ("chat_template.jinja", template)]);
        let end = id(&tokenizer, name);
        assert!(tokenizer.is_end_of_text(end));
        assert_eq!(tokenizer.piece(end), b"");
        assert_eq!(
            letters(&tokenizer, &prompt(&tokenizer, &[("user", name)])).matches(name).count(),
            1
        );
    }
}

#[test]
fn a_turn_ends_with_what_a_tokenizers_configuration_calls_the_end_of_text() {
    let json = std::fs::read_to_string(fixture("tiny-qwen2/tokenizer.json")).unwrap();
    let tokenizer = tokenizer_of(&[
        ("tokenizer.json", &json.replace("<|im_end|>", "<|fin|>")),
        ("tokenizer_config.json", r#"{"eos_token": "<|fin|>"}"#),
        ("chat_template.jinja", "{{ messages[-1].content }}"),
    ]);
    assert!(tokenizer.is_end_of_text(id(&tokenizer, "<|fin|>")));
}

#[test]
fn a_string_where_an_id_belongs_names_nothing() {
    let mut metadata = gguf(&[], "");
    metadata.insert("tokenizer.ggml.eot_token_id".into(), string("<|x|>"));
    assert_eq!(Tokenizer::from_gguf(&metadata).unwrap().end_of_text().len(), 1);
}
