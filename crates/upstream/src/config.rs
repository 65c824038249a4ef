//! How to reach a server, and what kind it is assumed to be. Nothing connects here.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use text::TokenizerError;

use crate::address::UpstreamAddress;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// llama.cpp's `llama-server`.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Ollama.
    Ollama,
    /// Any other server with OpenAI's `/v1/completions`.
    Completions,
    /// A chat-only server that continues the last message if the request sets `continue_final_message`.
    ChatContinue,
    /// A chat-only server that continues the last message if that message sets `prefix`.
    ChatPrefix,
    /// A chat-only server that continues a last message of the assistant.
    ChatAssistant,
}

impl ServerKind {
    /// All kinds.
    pub const ALL: [ServerKind; 8] = [
        ServerKind::LlamaCpp,
        ServerKind::Vllm,
        ServerKind::Sglang,
        ServerKind::Ollama,
        ServerKind::Completions,
        ServerKind::ChatContinue,
        ServerKind::ChatPrefix,
        ServerKind::ChatAssistant,
    ];

    /// Returns the kind's name in arguments and files.
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::LlamaCpp => "llama-cpp",
            ServerKind::Vllm => "vllm",
            ServerKind::Sglang => "sglang",
            ServerKind::Ollama => "ollama",
            ServerKind::Completions => "completions",
            ServerKind::ChatContinue => "chat-continue",
            ServerKind::ChatPrefix => "chat-prefix",
            ServerKind::ChatAssistant => "chat-assistant",
        }
    }

    /// Returns whether the server may be a paid service: the kind says only how to call it, and services bill each
    /// request.
    pub(crate) fn may_be_billed(self) -> bool {
        self == ServerKind::Completions || self.is_chat_only()
    }

    /// Returns whether texts are continued as answers in a chat.
    pub(crate) fn is_chat_only(self) -> bool {
        matches!(
            self,
            ServerKind::ChatContinue | ServerKind::ChatPrefix | ServerKind::ChatAssistant
        )
    }
}

impl FromStr for ServerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = ServerKind::ALL.map(ServerKind::name);
        let known = ServerKind::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| {
            let near = thinking::names::nearest(text, &names);
            format!(
                "{text:?} is not a kind of server: write {near}; known kinds are {}",
                names.join(", ")
            )
        })
    }
}

/// A secret that is shown to a server. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Arc<str>);

impl ApiKey {
    /// Creates a key from its text.
    pub fn new(text: &str) -> ApiKey {
        ApiKey(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// How to reach a server, and what is known of it before it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The server's address.
    pub address: UpstreamAddress,
    /// A display name, in addition to its address.
    pub name: Option<String>,
    /// The model's name in its card; absent: the server's name for it.
    pub card_name: Option<String>,
    /// The model to request; absent: the only one that the server has.
    pub model: Option<String>,
    /// The kind of server; absent: it is detected.
    pub kind: Option<ServerKind>,
    /// Shown with every request.
    pub key: Option<ApiKey>,
    /// The model's `tokenizer.json`, or the folder that holds it: needed if the server cannot render messages.
    pub tokenizer: Option<PathBuf>,
    /// The longest session in tokens, if the server does not report it.
    pub context_tokens: Option<u32>,
    /// Leave out fields that the server does not know, and do not refuse them.
    pub lenient: bool,
    /// Compute appended text ahead. Absent: do so if the server is the user's own, which is assumed of every kind
    /// except [`ServerKind::Completions`] and the chat-only ones.
    pub keep_warm: Option<bool>,
    /// Allow reviews with [`ServerKind::Vllm`], where each piece costs a pass over the whole text.
    pub reviews_in_full: bool,
    /// Trust this authority (PEM) and no others; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// Allow plain text to another machine, including the key.
    pub insecure: bool,
    /// How long connecting to the server may take.
    pub connect_timeout: Duration,
    /// How often the health of a silent server is checked.
    pub heartbeat: Duration,
    /// The client gives up on a server that answers nothing for this long, not even health checks.
    pub silence: Duration,
}

impl UpstreamConfig {
    /// The default settings for a server.
    pub fn new(address: UpstreamAddress) -> Self {
        UpstreamConfig {
            address,
            name: None,
            card_name: None,
            model: None,
            kind: None,
            key: None,
            tokenizer: None,
            context_tokens: None,
            lenient: false,
            keep_warm: None,
            reviews_in_full: false,
            ca: None,
            insecure: false,
            connect_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(20),
        }
    }

    /// What to call the server in journals and figures: its address, preceded by its name if it has one.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.address),
            None => self.address.to_string(),
        }
    }
}

/// A configuration that cannot work. One line.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Plain text would leave the machine.
    #[error(
        "{address} is another machine and the connection would be plain text: write https://, or allow it with \
         --insecure"
    )]
    Plaintext {
        /// The server's address.
        address: UpstreamAddress,
    },
    /// The authority's file is unusable, or the TLS library failed.
    #[error("cannot set up TLS for {address}: {why}; check the file of the authority")]
    Tls {
        /// The server.
        address: UpstreamAddress,
        /// The reason.
        why: String,
    },
    /// The tokenizer cannot be loaded.
    #[error("the tokenizer of {address}: {why}")]
    Tokenizer {
        /// The server.
        address: UpstreamAddress,
        /// The reason.
        why: TokenizerError,
    },
}
