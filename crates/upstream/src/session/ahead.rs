//! Computes text ahead: a request that is only made to fill the server's cache.

use std::pin::Pin;

use thinking::thinker::{Failure, Message, Sampling};
use tokio::{sync::watch, time::Instant};

use super::computed::ComputedText;
use crate::{
    border::fills_block,
    chat::AnswerSoFar,
    chunk::Usage,
    chunk_stream::ChunkStream,
    dialect::{Place, PromptForm, Stretch},
    discover::Served,
    http::Http,
};

/// The future that computes a text ahead. Dropping it drops the connection.
pub(crate) type Computing<'a> =
    Pin<Box<dyn Future<Output = Result<ComputedText, Failure>> + Send + 'a>>;

/// A text to compute ahead.
pub(crate) struct AheadText<'a> {
    pub(crate) http: &'a Http,
    pub(crate) served: &'a Served,
    pub(crate) signs: &'a watch::Sender<()>,
    pub(crate) sampling: Sampling,
    pub(crate) slot: Option<u32>,
    pub(crate) prompt: SessionPrompt,
    /// Its approximate number of tokens.
    pub(crate) about_tokens: u32,
    /// Tokens that an earlier request already contained.
    pub(crate) asked_tokens: u32,
}

/// The text in the form in which the server continues it.
pub(crate) enum SessionPrompt {
    Text(String),
    /// Token ids, and the text after them that is not encoded yet.
    Ids(Vec<u32>, String),
    /// A conversation, and the answer so far.
    Chat(Vec<Message>, Option<AnswerSoFar>),
}

impl SessionPrompt {
    /// Returns what the server is sent, once all of it is encoded.
    pub(crate) fn form(&self) -> PromptForm<'_> {
        match self {
            SessionPrompt::Ids(ids, _) => PromptForm::Ids(ids),
            SessionPrompt::Text(text) => PromptForm::Text(text),
            SessionPrompt::Chat(messages, answer) => {
                PromptForm::Chat { messages, answer: answer.as_ref() }
            }
        }
    }
}

impl AheadText<'_> {
    /// Computes the text, if it fits and fills a block of the server's cache that was not full before.
    pub(crate) async fn compute(self) -> Result<ComputedText, Failure> {
        let AheadText { http, served, about_tokens, asked_tokens, .. } = self;
        let began = Instant::now();
        let (mut encoded, mut prompt) = (None, self.prompt);
        if let SessionPrompt::Ids(ids, tail) = &mut prompt
            && !tail.is_empty()
        {
            let tail_ids = served.encode(http, tail, Place::Committed).await?;
            let tail_ids = tail_ids.unwrap_or_default();
            ids.extend(&tail_ids);
            encoded = Some((tail.len(), tail_ids));
        }
        let tokens = match &prompt {
            SessionPrompt::Ids(ids, _) => ids.len() as u32,
            SessionPrompt::Text(_) | SessionPrompt::Chat(..) => about_tokens,
        };
        let (usage, prefill_us, judged) = (None, 0, None);
        let mut computed =
            ComputedText { encoded, about_tokens, tokens, usage, prefill_us, judged };
        let context_tokens = served.card.context_tokens;
        if tokens >= context_tokens || !fills_block(asked_tokens, tokens, served.block_tokens) {
            return Ok(computed);
        }
        let call = served.dialect.ahead(&Stretch {
            model: &served.model,
            prompt: prompt.form(),
            max_tokens: 1,
            context_tokens,
            seed: 0,
            sampling: &self.sampling,
            slot: self.slot,
        });
        let dialect = served.dialect.as_ref();
        let mut stream = ChunkStream::open(http, dialect, self.signs, &call).await?;
        let mut usage = Usage { prompt_tokens: tokens, cached_tokens: None };
        while let Some(chunk) = stream.next().await? {
            usage = chunk.usage.unwrap_or(usage);
        }
        if !matches!(prompt, SessionPrompt::Ids(..)) {
            computed.tokens = usage.prompt_tokens;
        }
        computed.usage = Some(usage);
        computed.prefill_us = began.elapsed().as_micros() as u64;
        Ok(computed)
    }
}
