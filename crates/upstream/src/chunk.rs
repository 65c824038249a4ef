//! One event of a server's stream, independent of its dialect.

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Chunk {
    /// Text in whole characters.
    pub(crate) text: String,
    /// Text of the thought, before `text`, if the server reports it separately.
    pub(crate) thought: String,
    /// The tokens that the server reports, possibly fewer than the text has.
    pub(crate) ids: Vec<u32>,
    /// How many tokens this stream has generated so far, if the server says.
    pub(crate) tokens_so_far: Option<u32>,
    /// Why the server ended the stream, if it did.
    pub(crate) end: Option<ServerEnd>,
    /// What the prompt cost, if reported.
    pub(crate) usage: Option<Usage>,
}

/// Why a server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerEnd {
    /// The model ended its answer.
    EndOfText,
    /// The number of requested tokens is reached, or the context is full.
    Length,
}

/// The cost of a request, as the server counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: u32,
    /// How many of them were in its cache, if it says.
    pub(crate) cached_tokens: Option<u32>,
}

impl Usage {
    /// Returns how many tokens of the prompt were computed and how many were cached. If the server does not report the
    /// cached ones, those of an earlier request count as cached.
    pub(crate) fn split(self, asked_tokens: u32) -> (u32, u32) {
        let cached = self.cached_tokens.unwrap_or(asked_tokens).min(self.prompt_tokens);
        (self.prompt_tokens - cached, cached)
    }
}
