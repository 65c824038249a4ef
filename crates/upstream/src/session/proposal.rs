//! One proposal, made from a server's stream by the rules of [`thinking::session`].

use thinking::{
    session::ProposalRules,
    thinker::{Code, Event, Failure, FinishReason, Propose},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    open_session::{Ask, OpenSession},
    pace::Pace,
};
use crate::{
    chunk::{Chunk, ServerEnd, Usage},
    chunk_stream::ChunkStream,
    failure,
    server::Server,
    token_text::OwnChunks,
};

/// A proposal that is being made.
pub(crate) struct Proposal<'a> {
    pub(crate) rules: ProposalRules,
    pub(crate) own: OwnChunks,
    pub(crate) first_text_at: Option<Instant>,
    /// Tokens of the prompt that the server had to compute.
    pub(crate) prefill_tokens: u32,
    /// Tokens of the prompt that the server had cached.
    pub(crate) cached_tokens: u32,
    /// Tokens of the prompt that an earlier request contained.
    asked_tokens: u32,
    events: &'a mpsc::Sender<Event>,
    signs: &'a watch::Sender<()>,
    /// The number of generated tokens that the server reported.
    told_tokens: u32,
    /// Whether the server counted every token, so that none was estimated.
    is_told: bool,
    /// The ids of the text that no delta has contained yet; `None` if they are not known.
    unsent_ids: Option<Vec<u32>>,
    /// Why the server ended the stream.
    ended: Option<ServerEnd>,
    pace: Pace,
}

impl<'a> Proposal<'a> {
    pub(crate) fn new(
        rules: ProposalRules,
        events: &'a mpsc::Sender<Event>,
        signs: &'a watch::Sender<()>,
    ) -> Self {
        Proposal {
            rules,
            own: OwnChunks::default(),
            first_text_at: None,
            prefill_tokens: 0,
            cached_tokens: 0,
            asked_tokens: 0,
            events,
            signs,
            told_tokens: 0,
            is_told: false,
            unsent_ids: Some(Vec::new()),
            ended: None,
            pace: Pace::default(),
        }
    }

    /// Runs the proposal to its end and returns why it ended. Cancel-safe: it may be dropped at any point.
    pub(crate) async fn make(
        &mut self,
        server: &Server,
        open: &mut OpenSession<'_>,
        committed: &str,
        propose: &Propose,
    ) -> Result<FinishReason, Failure> {
        let asked = open.ask(committed, propose.max_tokens, propose.seed).await?;
        let Some(Ask { call, max_tokens, tokens, asked_tokens, mut marks }) = asked else {
            return Ok(FinishReason::ContextFull);
        };
        self.asked_tokens = asked_tokens;
        self.note(Usage { prompt_tokens: tokens, cached_tokens: None });
        let dialect = open.served.dialect.as_ref();
        let stream = ChunkStream::open(&server.http, dialect, self.signs, &call).await;
        let mut stream = match stream {
            Err(failure) if failure.code == Code::ContextTooLong => {
                return Ok(FinishReason::ContextFull);
            }
            stream => stream?,
        };
        let began = Instant::now();
        while let Some(chunk) = stream.next().await? {
            let chunk = open.with_marks(chunk, marks.as_mut())?;
            if let Some(usage) = chunk.usage {
                open.check_count(usage)?;
            }
            if !chunk.text.is_empty() {
                self.pace.push(began.elapsed());
            }
            if let Some(reason) = self.take(chunk, open).await {
                return Ok(reason);
            }
        }
        if self.pace.is_held_back() {
            server.warn_of_buffering();
        }
        match self.ended {
            Some(ServerEnd::EndOfText) => {
                let uncounted = self.told_tokens.saturating_sub(self.rules.tokens() + 1);
                let full = self.rules.push("", uncounted);
                Ok(full.unwrap_or_else(|| self.rules.end_of_text()))
            }
            Some(ServerEnd::Length) => {
                let uncounted = max_tokens.saturating_sub(self.rules.tokens());
                let uncounted = if self.is_told { 0 } else { uncounted };
                Ok(self.rules.push("", uncounted).unwrap_or(FinishReason::ContextFull))
            }
            None => {
                let what = "stopped in mid-answer: the stream ended without its last event";
                Err(failure::unavailable(&server.http.config.address, what))
            }
        }
    }

    /// Records what the prompt cost.
    fn note(&mut self, usage: Usage) {
        (self.prefill_tokens, self.cached_tokens) = usage.split(self.asked_tokens);
    }

    /// Handles an event of the stream. Returns why the proposal is over, if it is.
    async fn take(&mut self, chunk: Chunk, open: &OpenSession<'_>) -> Option<FinishReason> {
        if let Some(usage) = chunk.usage {
            self.note(usage);
        }
        self.ended = chunk.end.or(self.ended);
        let made = match chunk.tokens_so_far {
            Some(so_far) => so_far.saturating_sub(self.told_tokens),
            None if chunk.ids.is_empty() => u32::from(!chunk.text.is_empty()),
            None => chunk.ids.len() as u32,
        };
        self.is_told |= chunk.tokens_so_far.is_some() || !chunk.ids.is_empty();
        self.told_tokens = self.told_tokens.saturating_add(made);
        // The token that ended the text has no text of its own, and is counted with the end.
        let is_last = self.ended == Some(ServerEnd::EndOfText);
        let counted = if is_last { u32::from(!chunk.text.is_empty()) } else { made };
        let is_whole = chunk.ids.len() == made as usize && !is_last;
        if counted == 0 && chunk.text.is_empty() {
            return None;
        }
        self.first_text_at.get_or_insert_with(Instant::now);
        let reason = self.rules.push(&chunk.text, counted);
        match &mut self.unsent_ids {
            Some(ids) if is_whole => ids.extend(&chunk.ids),
            ids => *ids = None,
        }
        let ids = is_whole.then_some(chunk.ids);
        self.own.push(ids, &chunk.text, self.rules.text().len());
        // Reserve a place in the queue first: a delta that was taken out must not be lost.
        if reason.is_none()
            && let Ok(place) = self.events.reserve().await
            && let Some(mut delta) = self.rules.delta(None)
        {
            let ids = self.unsent_ids.replace(Vec::new()).unwrap_or_default();
            if open.spells(&ids, &delta.text) {
                delta.token_ids = ids;
            }
            place.send(Event::Delta(delta));
        }
        reason
    }

    /// Sends the last delta.
    pub(crate) async fn send_rest(&mut self, reason: &FinishReason) {
        if let Some(delta) = self.rules.delta(Some(reason)) {
            // A caller that has gone needs none.
            let _ = self.events.send(Event::Delta(delta)).await;
        }
    }
}
