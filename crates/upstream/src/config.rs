//! How a server is reached and what it is taken for. Nothing connects here.

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
    /// Any other that has OpenAI's `/v1/completions`.
    Completions,
    /// One that has chats only, and goes on with the last message by `continue_final_message`.
    ChatContinue,
    /// One that has chats only, and goes on with the last message where that has `prefix`.
    ChatPrefix,
    /// One that has chats only, and goes on with a last message of the assistant's.
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

    /// What it is called in arguments and files.
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

    /// Whether it is known only how it is asked, and not whose it is: who serves it to others bills each request.
    pub(crate) fn may_be_billed(self) -> bool {
        self == ServerKind::Completions || self.is_chat_only()
    }

    /// Whether texts are continued as answers in a chat.
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
            format!("{text:?} is no kind of server: write {near}; known are {}", names.join(", "))
        })
    }
}

/// A secret that is shown to a server. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Arc<str>);

impl ApiKey {
    /// A key from its text.
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

/// How a server is reached, and what is known of it before it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Where it is.
    pub address: UpstreamAddress,
    /// What people call it, beside its address.
    pub name: Option<String>,
    /// What the model is called in its card; absent: as the server calls it.
    pub card_name: Option<String>,
    /// The model that is asked for; absent: the only one that it serves.
    pub model: Option<String>,
    /// What it is; absent: it is asked.
    pub kind: Option<ServerKind>,
    /// Shown with every request.
    pub key: Option<ApiKey>,
    /// The model's `tokenizer.json`, or the folder that holds it: needed where the server cannot render messages.
    pub tokenizer: Option<PathBuf>,
    /// The longest session in tokens, where the server does not say.
    pub context_tokens: Option<u32>,
    /// Leave out what the server does not know, instead of refusing it.
    pub lenient: bool,
    /// Have text of the other side computed ahead; absent: where the server is one's own, which is every kind but
    /// [`ServerKind::Completions`] and those that have chats only.
    pub keep_warm: Option<bool>,
    /// Review, though each piece costs a pass over the whole text: for [`ServerKind::Vllm`].
    pub reviews_in_full: bool,
    /// Trust this authority (PEM) and no others; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// Allow plain text, the key too, to another machine.
    pub insecure: bool,
    /// How long reaching the server may take.
    pub connect_timeout: Duration,
    /// How often a server that says nothing is asked whether it lives.
    pub heartbeat: Duration,
    /// A server that answers nothing for this long, not even whether it lives, is given up.
    pub silence: Duration,
}

impl UpstreamConfig {
    /// The usual settings for a server.
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

    /// What to call the server in journals and figures: its address, behind its name where it has one.
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
        /// Where it would go.
        address: UpstreamAddress,
    },
    /// The authority's file, or the TLS library.
    #[error("cannot set up TLS for {address}: {why}; check the file of the authority")]
    Tls {
        /// The server.
        address: UpstreamAddress,
        /// The reason.
        why: String,
    },
    /// The tokenizer.
    #[error("the tokenizer of {address}: {why}")]
    Tokenizer {
        /// The server.
        address: UpstreamAddress,
        /// The reason.
        why: TokenizerError,
    },
}
