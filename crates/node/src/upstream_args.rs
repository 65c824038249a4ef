//! The flags for a model that another server computes, and the configuration that they become.

use std::{ffi::OsString, path::PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use transport::Token;
use upstream::{ApiKey, ServerKind, UpstreamAddress, UpstreamConfig};

use crate::error::NodeError;

/// The variable that holds the server's key when no file is given.
const KEY_VARIABLE: &str = "SPECTHINK_UPSTREAM_TOKEN";

/// Where the model lives, when it is not in this process.
#[derive(Debug, Clone, clap::Args)]
pub struct UpstreamArgs {
    /// Compute nothing here: serve the model of a server that speaks OpenAI's completions, such as
    /// http://127.0.0.1:8000 (llama.cpp, vLLM and others; see docs/upstream.md).
    #[arg(
        long,
        value_name = "URL",
        env = "SPECTHINK_UPSTREAM",
        value_parser = address,
        conflicts_with_all = ["model", "file", "revision", "dtype", "kv_memory", "threads"],
        help_heading = "Upstream"
    )]
    pub upstream: Option<UpstreamAddress>,

    /// Which of the server's models. [default: the only one that it serves]
    #[arg(long, value_name = "NAME", requires = "upstream", help_heading = "Upstream")]
    pub upstream_model: Option<String>,

    /// What the server is: llama-cpp, vllm, sglang, ollama or completions; or, where it has chats only, how it goes on
    /// with an answer: chat-continue, chat-prefix or chat-assistant. [default: it is asked]
    #[arg(long, value_name = "KIND", requires = "upstream", help_heading = "Upstream")]
    pub upstream_kind: Option<ServerKind>,

    /// A file with the server's key; the environment variable SPECTHINK_UPSTREAM_TOKEN does the same.
    #[arg(long, value_name = "FILE", requires = "upstream", help_heading = "Upstream")]
    pub upstream_token_file: Option<PathBuf>,

    /// The tokenizer of the server's model: tokenizer.json or the folder that holds it, or the name of a Hugging Face
    /// repository, of which only these files are downloaded. For servers that cannot render messages; and for a model
    /// that shares its tokenizer with the other side's, so that tokens travel.
    #[arg(long, value_name = "PATH|NAME", requires = "upstream", help_heading = "Upstream")]
    pub tokenizer: Option<String>,

    /// Leave out how tokens are to be drawn where the server does not know it, instead of refusing it.
    #[arg(long, requires = "upstream", help_heading = "Upstream")]
    pub upstream_lenient: bool,

    /// Have text of the other side computed ahead of a takeover: on or off. [default: on, but off for completions
    /// and chats, where prompts may cost money]
    #[arg(
        long,
        value_name = "on|off",
        value_parser = PossibleValuesParser::new(["on", "off"]).map(|word| word == "on"),
        hide_possible_values = true,
        requires = "upstream",
        help_heading = "Upstream"
    )]
    pub upstream_keep_warm: Option<bool>,

    /// Review over a server that computes the whole text for each paragraph that is judged, as vLLM does, cached or
    /// not. It needs the tokenizer of its model. SGLang reviews without it.
    #[arg(
        long,
        value_name = "full",
        value_parser = PossibleValuesParser::new(["full"]),
        hide_possible_values = true,
        requires = "tokenizer",
        help_heading = "Upstream"
    )]
    pub review_upstream: Option<String>,
}

fn address(text: &str) -> Result<UpstreamAddress, String> {
    text.parse().map_err(|error: upstream::UpstreamAddressError| error.to_string())
}

impl UpstreamArgs {
    /// How the server is reached, where there is one. `var` looks up an environment variable.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub(crate) fn config(
        self,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<UpstreamConfig>, NodeError> {
        let Some(address) = self.upstream else { return Ok(None) };
        let mut config = UpstreamConfig::new(address);
        let token = match &self.upstream_token_file {
            Some(path) => Some(Token::from_file(path)?),
            None => {
                var(KEY_VARIABLE).map(|text| Token::new(&text.to_string_lossy())).transpose()?
            }
        };
        config.key = token.map(|token| ApiKey::new(&token.reveal()));
        config.model = self.upstream_model;
        config.kind = self.upstream_kind;
        config.lenient = self.upstream_lenient;
        config.keep_warm = self.upstream_keep_warm;
        config.reviews_in_full = self.review_upstream.is_some();
        Ok(Some(config))
    }
}
