//! The line of every error, as snapshots.

use std::io::ErrorKind;

use error_lines::error_lines;

use crate::{TemplateError, TokenizerError};

#[test]
fn tokenizer_errors() {
    insta::assert_snapshot!(error_lines!(TokenizerError {
        Read { path: "qwen3/tokenizer.json".into(), source: ErrorKind::NotFound.into() },
        Damaged {
            path: "qwen3/tokenizer.json".into(),
            why: "EOF while parsing an object at line 7 column 12".into(),
        },
        Metadata { key: "tokenizer.ggml.merges", why: "missing".into() },
        Unsupported { origin: "the GGUF file".into(), what: "the tokenizer model \"t5\"".into() },
        Encode("the word \"x\" is not in the vocabulary".into()),
        NoToken { id: 200000, vocabulary_size: 151936 },
    }));
}

#[test]
fn template_errors() {
    insta::assert_snapshot!(error_lines!(TemplateError {
        Unusable("the model has no chat template".into()),
        TooCostly,
        Refused("conversation roles must alternate".into()),
    }));
}
