//! What a server's stream says, whatever its dialect.

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Chunk {
    /// Text; whole characters.
    pub(crate) text: String,
    /// Text of the thought, before `text`, where the server tells it apart.
    pub(crate) thought: String,
    /// The tokens that it tells, which may be fewer than the text has.
    pub(crate) ids: Vec<u32>,
    /// How many tokens were made in this stream so far, where the server says.
    pub(crate) tokens_so_far: Option<u32>,
    /// Why the server made an end, if it did.
    pub(crate) end: Option<ServerEnd>,
    /// What the prompt cost, where it is said.
    pub(crate) usage: Option<Usage>,
}

/// Why a server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerEnd {
    /// The model ended its answer.
    EndOfText,
    /// As many tokens as were asked for, or as the context holds.
    Length,
}

/// What a request cost, as the server counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: u32,
    /// How many of them it had in its cache, where it says.
    pub(crate) cached_tokens: Option<u32>,
}

impl Usage {
    /// Tokens of the prompt that were computed, and those that were cached: where the server does not say it, those
    /// that an earlier request had.
    pub(crate) fn split(self, asked_tokens: u32) -> (u32, u32) {
        let cached = self.cached_tokens.unwrap_or(asked_tokens).min(self.prompt_tokens);
        (self.prompt_tokens - cached, cached)
    }
}
