//! What a model's files say about its text besides the vocabulary: which tokens begin and end it, and the chat
//! template.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::Path,
};

use serde_json::Value;

use crate::{
    error::{TokenizerError, first_line},
    metadata::{GgufMetadata, GgufValue, text, token_id, token_ids},
};

/// Tokens that templates know by name.
const TOKEN_NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];
/// Those of them that are empty if a model has none.
const ALWAYS: [&str; 2] = ["bos_token", "eos_token"];

/// Begin and end of text, and the chat template.
#[derive(Debug, Default)]
pub(super) struct SpecialText {
    /// The begin-of-text token's text.
    pub(super) bos: Option<String>,
    /// The end-of-text token's text.
    pub(super) eos: Option<String>,
    /// The texts of special tokens by their names in chat templates.
    pub(super) tokens: BTreeMap<String, String>,
    /// The chat template's source.
    pub(super) chat_template: Option<String>,
    /// Ids that the files name as ends of text.
    pub(super) ends: BTreeSet<u32>,
}

impl SpecialText {
    /// Reads the files beside tokenizer.json; each may be missing.
    pub(super) fn from_directory(directory: &Path) -> Result<Self, TokenizerError> {
        let read = |name: &str| {
            let path = directory.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(source) => Err(TokenizerError::Read { path, source }),
            }
        };
        let read_json = |name: &str| match read(name)? {
            None => Ok(Value::Null),
            Some(text) => serde_json::from_str(&text).map_err(|error| TokenizerError::Damaged {
                path: directory.join(name),
                why: first_line(&error.to_string()),
            }),
        };
        let config = read_json("tokenizer_config.json")?;
        let template_file = match read("chat_template.jinja")? {
            Some(template) => Some(template),
            None => template_in(&read_json("chat_template.json")?),
        };
        let mut special = SpecialText {
            tokens: named_tokens(|name| token_text(&config[name])),
            bos: token_text(&config["bos_token"]),
            eos: token_text(&config["eos_token"]),
            chat_template: template_file.or_else(|| template_in(&config)),
            ends: BTreeSet::new(),
        };
        for name in ["generation_config.json", "config.json"] {
            let ids = &read_json(name)?["eos_token_id"];
            let one_or_many = ids.as_array().map_or(std::slice::from_ref(ids), Vec::as_slice);
            special.ends.extend(
                one_or_many
                    .iter()
                    .filter_map(Value::as_u64)
                    .filter_map(|id| u32::try_from(id).ok()),
            );
        }
        Ok(special)
    }

    /// Reads the metadata of a GGUF file.
    pub(super) fn from_gguf(metadata: &GgufMetadata) -> Self {
        let key = |name: &str| format!("tokenizer.ggml.{name}_token_id");
        let id = |name: &str| token_id(metadata, &key(name));
        let ids = |name: &str| token_ids(metadata, &key(name));
        let token = |id: Option<u32>| match metadata.get("tokenizer.ggml.tokens") {
            Some(GgufValue::Array(tokens)) => match tokens.get(id? as usize)? {
                GgufValue::String(token) => Some(token.clone()),
                _ => None,
            },
            _ => None,
        };
        let named = |name: &str| {
            // The third is misspelt in the format itself.
            token(id(match name.strip_suffix("_token")? {
                "unk" => "unknown",
                "pad" => "padding",
                "sep" => "seperator",
                other => other,
            }))
        };
        SpecialText {
            tokens: named_tokens(named),
            bos: token(id("bos")),
            eos: token(id("eos")),
            chat_template: template_of_gguf(metadata),
            ends: ["eos", "eot", "eom"].into_iter().flat_map(ids).collect(),
        }
    }
}

/// Returns a token's text. A token is written as a string or as an object with its text.
fn token_text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

/// Returns the tokens that templates know, if they exist; those that begin and end a text always.
fn named_tokens(text: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let named = TOKEN_NAMES.iter().filter_map(|name| {
        let text = text(name).or_else(|| ALWAYS.contains(name).then(String::new))?;
        Some(((*name).to_owned(), text))
    });
    named.collect()
}

/// Returns the template of a configuration, which is one text, or a list or a map of named ones.
fn template_in(config: &Value) -> Option<String> {
    let template = &config["chat_template"];
    if let Some(source) = template.as_str() {
        return Some(source.to_owned());
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let listed = template.as_array().into_iter().flatten();
    let listed = listed.filter_map(|one| Some((text(&one["name"])?, text(&one["template"])?)));
    let mapped = template.as_object().into_iter().flatten();
    let mapped = mapped.filter_map(|(name, source)| Some((name.clone(), text(source)?)));
    choose(listed.chain(mapped).collect())
}

/// Returns the template of a GGUF file, where named ones have keys of their own.
fn template_of_gguf(metadata: &GgufMetadata) -> Option<String> {
    const KEY: &str = "tokenizer.chat_template";
    let named = metadata.keys().filter_map(|key| {
        let name = key.strip_prefix(KEY)?.strip_prefix('.')?;
        Some((name.to_owned(), text(metadata, key)?.to_owned()))
    });
    text(metadata, KEY).map(str::to_owned).or_else(|| choose(named.collect()))
}

/// Returns the one of named templates that is for conversations without tools and documents: "default" if there is one,
/// as in transformers; else the first by name whose name does not say that it is for something else; else the first.
fn choose(mut named: Vec<(String, String)>) -> Option<String> {
    const FOR_SOMETHING_ELSE: [&str; 2] = ["tool_use", "rag"];
    named.sort();
    let with = |is: &dyn Fn(&str) -> bool| named.iter().find(|(name, _)| is(name));
    let chosen = with(&|name| name == "default")
        .or_else(|| with(&|name| !FOR_SOMETHING_ELSE.contains(&name)))
        .or_else(|| named.first())?;
    Some(chosen.1.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<SpecialText, TokenizerError> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        SpecialText::from_directory(directory.path())
    }

    #[test]
    fn a_directory_may_say_nothing() {
        let special = read(&[]).unwrap();
        assert_eq!((special.bos, special.eos, special.chat_template), (None, None, None));
        assert!(special.ends.is_empty());
    }

    #[test]
    fn ends_of_text_come_from_every_file() {
        let special = read(&[
            ("config.json", r#"{"eos_token_id": 5}"#),
            ("generation_config.json", r#"{"eos_token_id": [7, 5, 9]}"#),
            ("tokenizer_config.json", r#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}"#),
        ])
        .unwrap();
        assert_eq!(special.ends.into_iter().collect::<Vec<_>>(), [5, 7, 9]);
        assert_eq!((special.bos.as_deref(), special.eos.as_deref()), (Some("<s>"), Some("</s>")));
    }

    #[test]
    fn a_gguf_file_names_its_ends_of_text_by_their_ids() {
        let string = |text: &str| GgufValue::String(text.to_owned());
        let tokens = GgufValue::Array(["<s>", "</s>"].map(string).into());
        let special = SpecialText::from_gguf(&GgufMetadata::from([
            ("tokenizer.ggml.tokens".to_owned(), tokens),
            ("tokenizer.ggml.bos_token_id".to_owned(), GgufValue::Integer(0)),
            ("tokenizer.ggml.eos_token_id".to_owned(), GgufValue::Integer(1)),
            (
                "tokenizer.ggml.eot_token_id".to_owned(),
                GgufValue::Array([7, 9].map(GgufValue::Integer).into()),
            ),
            ("tokenizer.ggml.eom_token_id".to_owned(), GgufValue::Integer(-1)),
        ]));
        assert_eq!(special.ends.into_iter().collect::<Vec<_>>(), [1, 7, 9]);
        assert_eq!((special.bos.as_deref(), special.eos.as_deref()), (Some("<s>"), Some("</s>")));
    }

    #[test]
    fn templates_are_found_wherever_they_stand() {
        let named = r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        let mapped = r#"{"chat_template": {"rag": "r", "plain": "p", "tool_use": "t"}}"#;
        let other = r#"{"chat_template": [{"name": "tool_use", "template": "t"}]}"#;
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("tokenizer_config.json", r#"{"chat_template": "c"}"#)], "c"),
            (&[("tokenizer_config.json", named)], "d"),
            (&[("tokenizer_config.json", mapped)], "p"),
            (&[("tokenizer_config.json", other)], "t"),
            (&[("chat_template.json", r#"{"chat_template": "j"}"#)], "j"),
            (
                &[
                    ("tokenizer_config.json", r#"{"chat_template": "c"}"#),
                    ("chat_template.jinja", "f"),
                ],
                "f",
            ),
        ];
        for (files, expected) in cases {
            assert_eq!(read(files).unwrap().chat_template.as_deref(), Some(expected));
        }
    }

    #[test]
    fn named_templates_of_a_gguf_file_have_keys_of_their_own() {
        let read = |named: &[&str]| {
            let value = |name: &&str| {
                let key = format!("tokenizer.chat_template{name}");
                (key, GgufValue::String((*name).to_owned()))
            };
            SpecialText::from_gguf(&named.iter().map(value).collect()).chat_template
        };
        for (named, expected) in [
            (&["", ".default", ".tool_use"][..], Some("")),
            (&[".tool_use", ".default"], Some(".default")),
            (&[".a", ".default"], Some(".default")),
            (&[".tool_use", ".rag", ".zoo"], Some(".zoo")),
            (&[".tool_use", ".rag"], Some(".rag")),
            (&[], None),
        ] {
            assert_eq!(read(named).as_deref(), expected, "{named:?}");
        }
    }

    #[test]
    fn templates_know_the_tokens_that_the_files_name() {
        let special = read(&[(
            "tokenizer_config.json",
            r#"{"bos_token": {"content": "<s>"}, "pad_token": "<pad>", "unk_token": null, "name": "x"}"#,
        )])
        .unwrap();
        let tokens: Vec<(&str, &str)> =
            special.tokens.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(tokens, [("bos_token", "<s>"), ("eos_token", ""), ("pad_token", "<pad>")]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let error = read(&[("generation_config.json", "{")]).unwrap_err().to_string();
        assert!(error.contains("generation_config.json") && !error.contains('\n'), "{error}");
    }
}
