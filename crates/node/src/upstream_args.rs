//! The flags for a model that another server computes, and the configuration made from them.

use std::{ffi::OsString, path::PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use transport::Token;
use upstream::{ApiKey, ServerKind, UpstreamAddress, UpstreamConfig};

use crate::error::NodeError;

/// The variable that holds the server's key if no file is given.
const KEY_VARIABLE: &str = "SPECTHINK_UPSTREAM_TOKEN";

/// The server that computes the model, if this process does not.
#[derive(Debug, Clone, clap::Args)]
pub struct UpstreamArgs {
    /// Compute nothing here: serve the model of a server that speaks OpenAI's completions API, such as
    /// http://127.0.0.1:8000 (llama.cpp, vLLM and others; see docs/upstream.md).
    #[arg(
        long,
        value_name = "URL",
        env = "SPECTHINK_UPSTREAM",
        value_parser = address,
        conflicts_with_all = ["model", "file", "revision", "dtype", "kv_memory", "threads", "pace"],
        help_heading = "Upstream"
    )]
    pub upstream: Option<UpstreamAddress>,

    /// The model to use, of those that the server has. [default: its only one]
    #[arg(long, value_name = "NAME", requires = "upstream", help_heading = "Upstream")]
    pub upstream_model: Option<String>,

    /// The kind of server: llama-cpp, vllm, sglang, ollama or completions; or, for a chat-only server, how it continues
    /// an answer: chat-continue, chat-prefix or chat-assistant. [default: detected]
    #[arg(long, value_name = "KIND", requires = "upstream", help_heading = "Upstream")]
    pub upstream_kind: Option<ServerKind>,

    /// A file with the server's key; the environment variable SPECTHINK_UPSTREAM_TOKEN does the same.
    #[arg(long, value_name = "FILE", requires = "upstream", help_heading = "Upstream")]
    pub upstream_token_file: Option<PathBuf>,

    /// The tokenizer of the server's model: tokenizer.json or the folder that holds it, or the name of a Hugging Face
    /// repository, from which only these files are downloaded. Needed if the server cannot render messages; useful if
    /// both sides' models share a tokenizer, so that tokens need not be encoded again.
    #[arg(long, value_name = "PATH|NAME", requires = "upstream", help_heading = "Upstream")]
    pub tokenizer: Option<String>,

    /// Leave out sampling parameters that the server does not know. Without this flag they are refused.
    #[arg(long, requires = "upstream", help_heading = "Upstream")]
    pub upstream_lenient: bool,

    /// Have the server compute the other side's text ahead of a takeover: on or off. [default: on, but off for
    /// completions and chats, where prompts may cost money]
    #[arg(
        long,
        value_name = "on|off",
        value_parser = PossibleValuesParser::new(["on", "off"]).map(|word| word == "on"),
        hide_possible_values = true,
        requires = "upstream",
        help_heading = "Upstream"
    )]
    pub upstream_keep_warm: Option<bool>,

    /// Allow reviews on a server that computes the whole text, cached or not, for each judged paragraph, as vLLM does.
    /// Needs the tokenizer of its model. SGLang reviews without this flag.
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
    /// Returns the server's configuration, if there is a server. `var` looks up an environment variable.
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
