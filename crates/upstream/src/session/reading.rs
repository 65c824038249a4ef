//! Judges text that this server did not generate, by a request that reports the model's probability of each of its
//! tokens.
//!
//! The tokens are the server's; their positions in the text come from our own tokenizer for its model. Which tokens are
//! judged, and what is objected to, is in [`thinking::session::review`].

use text::{Thought, Tokenizer, before_last_word, spans_of_ids};
use thinking::{
    session::review::ReviewRules,
    thinker::{Code, Failure, Objection, Sampling, TextEnd},
};
use tokio::{sync::watch, time::Instant};

use super::computed::{ComputedText, Judged};
use crate::{
    chunk::{ServerEnd, Usage},
    chunk_stream::ChunkStream,
    dialect::{Place, PromptForm, Stretch},
    discover::Served,
    failure,
    http::Http,
    odds::{TokenOdds, Verdict},
    token_text::{AtTail, whole_tokens},
};

/// No character has more tokens than this.
const CHARACTER_TOKENS: u32 = 16;

/// A text whose end is to be judged.
pub(crate) struct UnreadText<'a> {
    pub(crate) http: &'a Http,
    pub(crate) served: &'a Served,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) signs: &'a watch::Sender<()>,
    /// The review rules, as they were when this was the text.
    pub(crate) rules: ReviewRules,
    pub(crate) committed: String,
    pub(crate) at: AtTail,
    /// The approximate number of all tokens.
    pub(crate) about_tokens: u32,
}

impl UnreadText<'_> {
    /// Judges the text as far as later text cannot change its tokens.
    pub(crate) async fn judge(mut self) -> Result<ComputedText, Failure> {
        let began = Instant::now();
        let known = self.at.tail_ids.is_some();
        let tail_ids = self.tail_ids().await?;
        let spans = spans_of_ids(&tail_ids, &self.at.tail, self.at.tail_from, self.tokenizer);
        let tokens = (self.at.ids.len() + tail_ids.len()) as u32;
        let mut computed = ComputedText {
            encoded: (!known).then(|| (self.at.tail.len(), tail_ids.clone())),
            about_tokens: self.about_tokens,
            tokens,
            usage: None,
            prefill_us: 0,
            judged: None,
        };
        let is_open = self.rules.end() == TextEnd::Open;
        let last = if is_open { self.settled_tokens(&spans) } else { tail_ids.len() };
        let end = self.end_to_judge();
        let unread = spans.partition_point(|&(_, end)| end <= self.rules.reviewed());
        let is_judged = |token: &usize| self.rules.judges(spans[*token].0, &self.committed);
        let first = (unread..last).find(is_judged).unwrap_or(last);
        let mut objection = None;
        if first < last || end.is_some() {
            let (odds, usage) = self.ask(&tail_ids[..last], first, end).await?;
            computed.usage = Some(usage);
            for token in unread..last {
                if self.rules.judges(spans[token].0, &self.committed) {
                    let verdict = self.verdict(&odds[token - first], false)?;
                    if self.rules.objects_to(verdict.gap) {
                        objection = self.objection(&tail_ids, &spans, token, verdict).await?;
                        if objection.is_some() {
                            break;
                        }
                    }
                }
                self.pass(&spans, token);
            }
            if let (None, Some(_), Some(odds)) = (&objection, end, odds.last()) {
                let verdict = self.verdict(odds, true)?;
                match self.rules.objects_to(verdict.gap) {
                    true => objection = self.objection(&tail_ids, &spans, last, verdict).await?,
                    false => self.rules.passed_end(),
                }
            }
        } else {
            (unread..last).for_each(|token| self.pass(&spans, token));
        }
        if objection.is_none() && !is_open {
            self.rules.passed(self.committed.len());
        }
        let is_end = self.rules.end() == TextEnd::Answer && objection.is_none();
        computed.judged = Some(Judged {
            reviewed: objection.as_ref().map_or(self.rules.reviewed(), |it| it.at_byte as usize),
            objection,
            stands_as_end: is_end.then_some(self.committed.len()),
        });
        computed.prefill_us = began.elapsed().as_micros() as u64;
        Ok(computed)
    }

    /// Returns the server's tokens of the tail.
    async fn tail_ids(&mut self) -> Result<Vec<u32>, Failure> {
        let ids = match self.at.tail_ids.take() {
            Some(ids) => ids,
            None if self.at.tail.is_empty() => Vec::new(),
            None => {
                let encoded =
                    self.served.encode(self.http, &self.at.tail, Place::Committed).await?;
                encoded.unwrap_or_default()
            }
        };
        if self.tokenizer.spells(&ids, &self.at.tail) {
            return Ok(ids);
        }
        let what = "cuts a text into tokens that do not spell it by the tokenizer that was given, so that they cannot \
                    be judged; give that of its model";
        Err(self.failed(Code::InvalidArgument, what))
    }

    /// Returns how many of the tail's first tokens cannot change, whatever text follows.
    fn settled_tokens(&self, spans: &[(usize, usize)]) -> usize {
        let from = self.at.tail_from;
        let spans: Vec<_> = spans.iter().map(|(start, end)| (start - from, end - from)).collect();
        before_last_word(&self.at.tail, &spans).1
    }

    /// Returns the token that ends an answer, if ending this answer here is to be judged.
    fn end_to_judge(&mut self) -> Option<u32> {
        if !self.rules.judges_end() {
            return None;
        }
        let end = self.tokenizer.end_of_text().first().copied();
        if end.is_none() {
            self.rules.passed_end();
        }
        end
    }

    /// Requests the odds of the tail's tokens from `first` on, and of an end after them.
    async fn ask(
        &self,
        tail_ids: &[u32],
        first: usize,
        end: Option<u32>,
    ) -> Result<(Vec<TokenOdds>, Usage), Failure> {
        let ids = [&self.at.ids[..], tail_ids, end.as_slice()].concat();
        let context = self.served.card.context_tokens;
        if ids.len() as u64 >= u64::from(context) {
            let what = format!("holds {context} tokens, and the text to judge has {}", ids.len());
            return Err(self.failed(Code::ContextTooLong, &what));
        }
        let from = self.at.ids.len() + first;
        let dialect = self.served.dialect.as_ref();
        let call = dialect.odds(&self.served.model, &ids, from);
        let call = call.ok_or_else(|| self.failed(Code::InvalidArgument, "cannot review"))?;
        let answer = self.http.waited_json(self.signs, dialect.health(), &call).await?;
        self.signs.send_replace(());
        let told = dialect.odds_told(&answer, &ids, from);
        told.filter(|(odds, _)| odds.len() == ids.len() - from).ok_or_else(|| {
            let what = format!("answers {} without the log-probabilities of a text", call.path);
            self.failed(Code::Unavailable, &what)
        })
    }

    fn verdict(&self, odds: &TokenOdds, is_end: bool) -> Result<Verdict, Failure> {
        odds.verdict(self.tokenizer, is_end).ok_or_else(|| {
            self.failed(Code::Internal, "reports log-probabilities that are not numbers")
        })
    }

    /// Records that a token passed. A character of several tokens passes with the last of them.
    fn pass(&mut self, spans: &[(usize, usize)], token: usize) {
        let end = spans[token].1;
        self.rules.passed(spans.get(token + 1).map_or(end, |next| next.0.min(end)));
    }

    /// Makes the objection to a token of the tail, or to an end after it. Returns `None` if the model has no whole
    /// character to put there.
    async fn objection(
        &self,
        tail_ids: &[u32],
        spans: &[(usize, usize)],
        token: usize,
        verdict: Verdict,
    ) -> Result<Option<Objection>, Failure> {
        let end = self.committed.len();
        let (start, end) = spans.get(token).copied().unwrap_or((end, end));
        let is_edge = token == 0 || spans[token - 1].1 <= start;
        let piece = std::str::from_utf8(self.tokenizer.piece(verdict.best)).unwrap_or_default();
        let instead = if is_edge && self.tokenizer.is_end_of_text(verdict.best) {
            Some((None, Vec::new()))
        } else if is_edge && !piece.is_empty() {
            Some((Some(piece.to_owned()), vec![verdict.best]))
        } else {
            self.whole_characters(tail_ids, start - self.at.tail_from).await?
        };
        Ok(instead.map(|(instead, token_ids)| Objection {
            at_byte: start as u64,
            bytes: (end - start) as u32,
            gap: verdict.gap,
            rank: verdict.rank,
            log_p: verdict.log_p,
            tokens: token_ids.len() as u32,
            instead,
            token_ids,
        }))
    }

    /// Returns the likeliest tokens after the first bytes of the tail that complete whole characters, or an end.
    async fn whole_characters(
        &self,
        tail_ids: &[u32],
        bytes: usize,
    ) -> Result<Option<(Option<String>, Vec<u32>)>, Failure> {
        let (tokens, end) = whole_tokens(tail_ids, &self.at.tail, bytes, self.tokenizer);
        let rest = self.tokenizer.encode_committed(&self.at.tail[end..bytes], Thought::Over);
        let rest = rest.map_err(|error| self.failed(Code::Internal, &error.to_string()))?;
        let ids = [&self.at.ids[..], &tail_ids[..tokens], &rest.ids].concat();
        let dialect = self.served.dialect.as_ref();
        let call = dialect.stretch(&Stretch {
            model: &self.served.model,
            prompt: PromptForm::Ids(&ids),
            max_tokens: CHARACTER_TOKENS,
            context_tokens: self.served.card.context_tokens,
            seed: 0,
            sampling: &Sampling { temperature: 0.0, top_k: 0, ..Sampling::default() },
            slot: None,
        });
        let mut stream = ChunkStream::open(self.http, dialect, self.signs, &call).await?;
        let mut token_ids = Vec::new();
        while let Some(chunk) = stream.next().await? {
            token_ids.extend(&chunk.ids);
            if !chunk.text.is_empty() {
                let is_spelled = self.tokenizer.spells(&token_ids, &chunk.text);
                return Ok(is_spelled.then_some((Some(chunk.text), token_ids)));
            }
            if chunk.end == Some(ServerEnd::EndOfText) {
                return Ok(Some((None, Vec::new())));
            }
        }
        Ok(None)
    }

    fn failed(&self, code: Code, what: &str) -> Failure {
        failure::noticed(&self.http.config.address, code, what)
    }
}
