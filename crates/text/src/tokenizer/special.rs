//! What a model's files say about its text beside the vocabulary: which tokens begin and end it, and
//! the chat template.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path};

use serde_json::Value;

use crate::{
    error::{TokenizerError, first_line},
    metadata::{GgufMetadata, GgufValue, text, token_id},
};

use super::pieces::Pieces;

/// Control tokens that end a turn in the families we serve, whatever else the files say.
const END_NAMES: [&str; 6] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<｜end▁of▁sentence｜>",
];

/// Begin and end of text, and the chat template.
#[derive(Debug, Default)]
pub(super) struct SpecialText {
    /// The begin-of-text token's text.
    pub(super) bos: Option<String>,
    /// The end-of-text token's text.
    pub(super) eos: Option<String>,
    /// The chat template's source.
    pub(super) chat_template: Option<String>,
    /// Ids that the files name as ends of text.
    ends: BTreeSet<u32>,
}

impl SpecialText {
    /// Reads the files that stand beside tokenizer.json; each may be missing.
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
        let id = |name: &str| token_id(metadata, &format!("tokenizer.ggml.{name}_token_id"));
        let token = |id: Option<u32>| match metadata.get("tokenizer.ggml.tokens") {
            Some(GgufValue::Array(tokens)) => match tokens.get(id? as usize)? {
                GgufValue::String(token) => Some(token.clone()),
                _ => None,
            },
            _ => None,
        };
        SpecialText {
            bos: token(id("bos")),
            eos: token(id("eos")),
            chat_template: text(metadata, "tokenizer.chat_template").map(str::to_owned),
            ends: ["eos", "eot", "eom"].into_iter().filter_map(id).collect(),
        }
    }

    /// Every token that ends the text: those the files name, and those known by name.
    pub(super) fn end_of_text_ids(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        pieces: &Pieces,
    ) -> Vec<u32> {
        let eos = self.eos.as_deref().and_then(|token| tokenizer.token_to_id(token));
        let known = END_NAMES.iter().filter_map(|name| tokenizer.token_to_id(name));
        let known = known.filter(|&id| pieces.is_control(id));
        self.ends
            .iter()
            .copied()
            .chain(eos)
            .chain(known)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

/// A token is written as a text or as an object with its text.
fn token_text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

/// A template is one text, or a list of named ones, of which "default" is meant.
fn template_in(config: &Value) -> Option<String> {
    let template = &config["chat_template"];
    if let Some(source) = template.as_str() {
        return Some(source.to_owned());
    }
    let named = template.as_array()?;
    let default = named.iter().find(|one| one["name"] == "default").or_else(|| named.first())?;
    default["template"].as_str().map(str::to_owned)
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
            ("tokenizer.ggml.eot_token_id".to_owned(), GgufValue::Integer(7)),
            ("tokenizer.ggml.eom_token_id".to_owned(), GgufValue::Integer(-1)),
        ]));
        assert_eq!(special.ends.into_iter().collect::<Vec<_>>(), [1, 7]);
        assert_eq!((special.bos.as_deref(), special.eos.as_deref()), (Some("<s>"), Some("</s>")));
    }

    #[test]
    fn templates_are_found_wherever_they_stand() {
        let named = r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("tokenizer_config.json", r#"{"chat_template": "c"}"#)], "c"),
            (&[("tokenizer_config.json", named)], "d"),
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
    fn a_damaged_file_is_named() {
        let error = read(&[("generation_config.json", "{")]).unwrap_err().to_string();
        assert!(error.contains("generation_config.json") && !error.contains('\n'), "{error}");
    }
}
