//! How a GGUF file's text is cut before the merges: by the rules that it names, or by its family's if it names none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{gguf, letters, string};
use text::{GgufMetadata, GgufValue, Thought, Tokenizer};

const PRE: &str = "tokenizer.ggml.pre";

/// Makes a file whose merges join ".r", two digits, and "aB".
fn file(pre: Option<&str>, architecture: &str, more: &[(&str, i64)]) -> Tokenizer {
    let joined = [(".r", 1), ("12", 1), ("aB", 1)];
    let mut metadata: GgufMetadata = gguf(&[&joined, more].concat(), "");
    let merges = [". r", "1 2", "a B"].map(string);
    metadata.insert("tokenizer.ggml.merges".into(), GgufValue::Array(merges.into()));
    metadata.insert("general.architecture".into(), string(architecture));
    match pre {
        Some(name) => metadata.insert(PRE.into(), string(name)),
        None => metadata.remove(PRE),
    };
    Tokenizer::from_gguf(&metadata).unwrap()
}

fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode_committed(text, Thought::Open).unwrap().ids;
    ids.iter().map(|&id| letters(tokenizer, &[id])).collect()
}

#[test]
fn a_file_without_a_name_is_cut_as_its_family_is() {
    type Tokens = &'static [(&'static str, i64)];
    let families: [(&str, Tokens, &str); 6] = [
        ("qwen2", &[], "qwen2"),
        ("qwen3", &[], "qwen2"),
        ("llama", &[("<|begin_of_text|>", 3), ("<|eot_id|>", 3)], "llama-bpe"),
        ("llama", &[("<|reserved_special_token_0|>", 3)], "llama-bpe"),
        ("llama", &[("[INST]", 3), ("[/INST]", 3)], "tekken"),
        ("llama", &[("<repo_name>", 3), ("<file_sep>", 3)], "smollm"),
    ];
    for (architecture, more, name) in families {
        let named = file(Some(name), architecture, more);
        for pre in [None, Some("default")] {
            let unnamed = file(pre, architecture, more);
            assert_eq!(unnamed.fingerprint(), named.fingerprint(), "{architecture} as {name}");
            assert!(unnamed.notes().is_empty());
        }
    }
}

#[test]
fn a_file_that_shows_nothing_is_cut_as_for_gpt_2_and_says_so() {
    let unnamed = file(None, "llama", &[]);
    assert_eq!(unnamed.fingerprint(), file(Some("gpt-2"), "llama", &[]).fingerprint());
    let [note] = unnamed.notes() else { panic!("{:?}", unnamed.notes()) };
    assert!(note.contains(PRE) && !note.contains('\n'), "{note}");
    assert!(file(Some("gpt-2"), "llama", &[]).notes().is_empty());
}

#[test]
fn rules_differ_in_digits_letters_and_punctuation() {
    for (name, expected) in [
        ("qwen2", ["x", ".r", "1", "2", "aB"].as_slice()),
        ("smaug-bpe", &["x", ".r", "12", "aB"]),
        ("gpt-2", &["x", ".", "r", "12", "aB"]),
        ("smollm", &["x", ".", "r", "1", "2", "aB"]),
        ("tekken", &["x", ".r", "1", "2", "a", "B"]),
        ("gpt-4o", &["x", ".r", "12", "a", "B"]),
        ("deepseek-coder", &["x", ".", "r", "1", "2", "aB"]),
        ("deepseek-llm", &["x", ".", "r", "12", "aB"]),
        ("deepseek-v3", &["x", ".r", "12", "aB"]),
    ] {
        assert_eq!(pieces(&file(Some(name), "llama", &[]), "x.r12aB"), expected, "{name}");
    }
}

#[test]
fn llama_3s_rules_have_many_names() {
    let llama = file(Some("llama-bpe"), "llama", &[]);
    for name in ["llama3", "llama-v3", "smaug-bpe", "falcon3", "pixtral", "midm-2.0", "lfm2"] {
        assert_eq!(file(Some(name), "llama", &[]).fingerprint(), llama.fingerprint(), "{name}");
    }
}

#[test]
fn whatever_the_rules_text_comes_back() {
    let names = [
        "qwen2",
        "deepseek-r1-qwen",
        "f2llmv2",
        "kormo",
        "megrez",
        "stablelm2",
        "hunyuan",
        "solar-open",
        "llama-bpe",
        "dbrx",
        "glm4",
        "chatglm-bpe",
        "tekken",
        "gpt-4o",
        "llama4",
        "deepseek-llm",
        "deepseek-coder",
        "deepseek-v3",
        "hunyuan-dense",
        "seed-coder",
        "minicpm5",
        "poro-chat",
        "viking",
        "smollm",
        "starcoder",
        "refact",
        "command-r",
        "codeshell",
        "exaone",
        "minerva-7b",
        "mellum2",
        "gpt-2",
        "olmo",
        "phi-2",
        "mpt",
        "jais",
        "trillion",
        "granite-docling",
        "gigachat",
        "a.x-4.0",
        "mellum",
    ];
    let text = "I'll say: x.r12aB, 1234567 (two  spaces)\n\n Foo/Bar\n";
    for name in names {
        assert_eq!(pieces(&file(Some(name), "llama", &[]), text).concat(), text, "{name}");
    }
}
