//! What each command does to a session, and how its proposal is made. [`thinking::session`] says which command is
//! allowed; the parent decides when it is a command's turn.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use thinking::{
    session::{HashedText, Refusal, limits, review::ReviewRules},
    thinker::{
        Append, COMMAND_QUEUE, Code, Command, Event, Failure, FinishReason, Finished, Open, Opened,
        Propose, Review, TextEnd, TextHash, Timing, Warmed,
    },
};
use tokio::sync::oneshot::error::RecvError;

use super::{ActiveSession, AppendedText, OpenSession, Phase, Preparing, Running, Warming};
use crate::{
    host::ModelHost,
    kv::KvStore,
    prompt::{self, Beginning},
    proposal::Proposal,
    reading::Reading,
    redraw::Redraw,
    sample::{SampleError, Sampler, entropy_nats},
    session_text::SessionText,
    tail::Joined,
};

impl ActiveSession {
    pub(super) fn carry_out(
        &mut self,
        command: Command,
        host: &ModelHost,
        kv: &mut KvStore,
        open_sessions: usize,
    ) -> Result<(), Failure> {
        limits::check(&command)?;
        match command {
            Command::Open(open) => self.open(open, host, open_sessions),
            Command::Append(append) => self.append(append, host),
            Command::Propose(ask) => self.propose(ask, kv),
            Command::Commit { bytes } => self.commit(bytes, host),
            Command::Cut(cut) => self.cut(cut, host),
            Command::Cancel => Ok(()),
        }
    }

    /// Checks what is cheap to check; the rest does not run on the engine's thread.
    fn open(&mut self, open: Open, host: &ModelHost, open_sessions: usize) -> Result<(), Failure> {
        let (encoder, context) = (&host.encoder, host.context);
        let bytes = prompt::check_bytes(&open, encoder, context)?;
        self.protocol.check_open(&open)?;
        if open.review.is_some() && !host.card.can_review {
            let message = "the node's model gives logits for the last token of a text only, so it cannot review; \
                           ask a node that can";
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        self.question_id = open.question_id;
        // A deadline beyond the clock's range is no deadline.
        self.deadline = open.deadline.and_then(|left| Instant::now().checked_add(left));
        self.overdue = self.deadline.and_then(|at| at.checked_add(host.deadline_grace));
        if open_sessions >= host.max_sessions {
            let message = format!(
                "all {} sessions of this node are taken; try again later or raise the node's limit",
                host.max_sessions
            );
            let retry_after_ms = Some(1000);
            return Err(Failure { retry_after_ms, ..Failure::new(Code::Overloaded, message) });
        }
        let invalid = |error: SampleError| Failure::new(Code::InvalidArgument, error.to_string());
        let sampler = Box::new(Sampler::new(open.sampling).map_err(invalid)?);
        let (prompt, committed, thought) = (open.prompt, open.committed, open.thought);
        let review = open.review;
        let beginning = host.preparer.prepare(bytes, move |encoder| {
            let beginning = prompt::begin(&prompt, thought, &committed, encoder, context)?;
            Ok::<_, Failure>((beginning, HashedText::behind(TextHash::default(), committed)))
        });
        self.phase = Phase::Preparing(Preparing::Open { sampler, review, beginning });
        Ok(())
    }

    fn append(&mut self, append: Append, host: &ModelHost) -> Result<(), Failure> {
        self.protocol.check_append()?;
        let session = self.session.as_mut().ok_or(Refusal::NotOpen)?;
        if self.protocol.is_objecting() {
            return self.append_unread(&append, host);
        }
        if let Some(tokens) = session.text.append_at_once(&append, &host.encoder)? {
            self.protocol.append(&append)?;
            self.warm(tokens, 0, host);
            return Ok(());
        }
        let Append { text, token_ids, end, exempt } = append;
        let tail = session.text.tail_for(&text, &host.encoder)?;
        let (context, committed) = (host.context, self.protocol.hash());
        let joined = host.preparer.prepare(text.len(), move |encoder| {
            let joined = tail.joined(&text, context, encoder)?;
            Ok::<_, Failure>((joined, HashedText::behind(committed, text)))
        });
        let of = AppendedText { end, exempt, is_drifted: !token_ids.is_empty() };
        self.phase = Phase::Preparing(Preparing::Append { of, joined });
        Ok(())
    }

    /// Continues with a command whose tokens are ready. Returns whether they were.
    pub(super) fn take_prepared(
        &mut self,
        host: &ModelHost,
        kv: &mut KvStore,
        context: &mut Context<'_>,
    ) -> bool {
        let outcome = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Preparing(Preparing::Open { sampler, review, mut beginning }) => {
                match Pin::new(&mut beginning).poll(context) {
                    Poll::Pending => {
                        let open = Preparing::Open { sampler, review, beginning };
                        self.phase = Phase::Preparing(open);
                        return false;
                    }
                    Poll::Ready(beginning) => {
                        prepared(beginning).map(|it| self.opened(it, *sampler, review, host, kv))
                    }
                }
            }
            Phase::Preparing(Preparing::Append { of, mut joined }) => {
                match Pin::new(&mut joined).poll(context) {
                    Poll::Pending => {
                        self.phase = Phase::Preparing(Preparing::Append { of, joined });
                        return false;
                    }
                    Poll::Ready(joined) => prepared(joined).map(|it| self.appended(it, of, host)),
                }
            }
            Phase::Preparing(Preparing::Cut(mut joined)) => {
                match Pin::new(&mut joined).poll(context) {
                    Poll::Pending => {
                        self.phase = Phase::Preparing(Preparing::Cut(joined));
                        return false;
                    }
                    Poll::Ready(joined) => prepared(joined).map(|it| self.was_cut(it, host)),
                }
            }
            other => {
                self.phase = other;
                return false;
            }
        };
        if let Err(failure) = outcome {
            self.fail(failure);
        }
        true
    }

    fn opened(
        &mut self,
        (beginning, committed): (Beginning, HashedText),
        sampler: Sampler,
        review: Option<Review>,
        host: &ModelHost,
        kv: &mut KvStore,
    ) {
        self.protocol.opened(committed, review);
        let prompt_tokens = beginning.prompt.len() as u32;
        let tokens = beginning.committed.ids.len() as u32;
        let cache = host.decoder.new_cache();
        let reading = review.map(|Review { gap, draw, .. }| {
            Reading::new(
                gap,
                beginning.prompt.len(),
                draw.map(|seed| Redraw::new(sampler.clone(), seed)),
            )
        });
        let mut text = SessionText::new(self.client, beginning, reading, cache, host.context);
        if let Some(rules) = self.protocol.review() {
            text.look_ahead(rules, self.protocol.committed(), host.encoder.tokenizer());
        }
        let cached = text.adopt(kv);
        kv.count_cached(cached);
        self.session = Some(OpenSession { text, sampler });
        let question_id = &self.question_id;
        tracing::debug!(
            question_id,
            prompt_tokens,
            committed_tokens = tokens,
            cached_tokens = cached,
            "session opened"
        );
        let opened =
            Opened { card: host.card.clone(), prompt_tokens, cached_tokens: cached as u32 };
        self.outbox.push_back(Event::Opened(Box::new(opened)));
        self.warm(tokens, 0, host);
    }

    fn appended(
        &mut self,
        (joined, text): (Joined, HashedText),
        of: AppendedText,
        host: &ModelHost,
    ) {
        self.protocol.appended(text, of.end, of.exempt);
        if let Some(session) = &mut self.session {
            let tokens = session.text.append(joined, of.is_drifted);
            self.warm(tokens, 0, host);
        }
    }

    /// Queues a `Warmed` answer for the text that was just committed.
    pub(super) fn warm(&mut self, tokens: u32, left_to_draw: usize, host: &ModelHost) {
        self.look_ahead(host);
        let answer = Warmed { tokens, ..self.protocol.warmed() };
        if !matches!(self.phase, Phase::Warming(_)) {
            self.phase = Phase::Warming(Warming::default());
        }
        if let Phase::Warming(warming) = &mut self.phase {
            warming.answers.push(answer);
            warming.left_to_draw = left_to_draw;
        }
    }

    /// Takes in a queued append before the previous one is computed. Returns whether it did.
    pub(super) fn merge_append(&mut self, host: &ModelHost) -> bool {
        let Some(Command::Append(append)) = &self.next else { return false };
        let Phase::Warming(warming) = &mut self.phase else { return false };
        if warming.next_waits || warming.answers.len() >= COMMAND_QUEUE || warming.instead.is_some()
        {
            return false;
        }
        // The end of a text is judged before more text comes.
        let ended = |rules: &ReviewRules| rules.end() != TextEnd::Open;
        if self.protocol.review().is_some_and(ended) || self.protocol.is_objecting() {
            return false;
        }
        let Some(session) = &mut self.session else { return false };
        // An append that fails is left for its turn, so that the answers before it are not lost. It is not tried again
        // until then.
        let Ok(Some(tokens)) = session.text.append_at_once(append, &host.encoder) else {
            warming.next_waits = true;
            return false;
        };
        // Never refused: no proposal is open while text warms.
        if self.protocol.append(append).is_err() {
            return false;
        }
        self.next = None;
        self.warm(tokens, 0, host);
        true
    }

    /// Answers the commands whose text is computed, or no longer needs to be. Returns whether there were any.
    pub(super) fn answer_warmed(&mut self, kv: &mut KvStore, is_given_up: bool) -> bool {
        let Phase::Warming(warming) = &mut self.phase else { return false };
        let Some(session) = &mut self.session else { return false };
        if session.text.uncomputed() > warming.left_to_draw && !is_given_up {
            return false;
        }
        session.text.share(kv);
        let reviewed_bytes = self.protocol.warmed().reviewed_bytes;
        for answer in &mut warming.answers {
            answer.reviewed_bytes = reviewed_bytes.min(answer.committed_bytes);
        }
        if let Some(last) = warming.answers.last_mut() {
            last.prefill_tokens = warming.prefill_tokens;
            last.prefill_us = warming.prefill.as_micros() as u64;
            last.passes_milli = std::mem::take(&mut self.passes_milli);
        }
        self.outbox.extend(warming.answers.drain(..).map(Event::Warmed));
        self.phase = Phase::Idle;
        true
    }

    fn propose(&mut self, ask: Propose, kv: &mut KvStore) -> Result<(), Failure> {
        let rules = self.protocol.propose(&ask)?;
        let is_objecting = self.protocol.is_objecting();
        let session = self.session.as_mut().ok_or(Refusal::NotOpen)?;
        let mut uncomputed = 0;
        if !is_objecting {
            session.text.revive(kv);
            uncomputed = session.text.prepare_draw();
        }
        let text = &session.text;
        self.phase = Phase::Proposing(Box::new(Running {
            proposal: Proposal::new(&ask, rules, text.tokens().len()),
            began: Instant::now(),
            prefill_tokens: uncomputed.saturating_sub(1) as u32,
            prefill: Duration::ZERO,
            decode: Duration::ZERO,
        }));
        let is_full = text.is_full();
        if is_objecting {
            self.finish(FinishReason::Cancelled);
        } else if is_full {
            self.finish(FinishReason::ContextFull);
        }
        Ok(())
    }

    fn commit(&mut self, bytes: u64, host: &ModelHost) -> Result<(), Failure> {
        let kept = self.protocol.commit(bytes)?;
        let session = self.session.as_mut().ok_or(Refusal::NotOpen)?;
        let Phase::Proposed(own) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return Err(Refusal::NoProposal.into());
        };
        let tokens = session.text.commit(&own, kept, &host.encoder)?;
        self.warm(tokens, 1, host);
        Ok(())
    }

    /// Draws the next token if its logits are known. Returns whether it did.
    pub(super) fn draw(&mut self, host: &ModelHost) -> bool {
        let Phase::Proposing(running) = &mut self.phase else { return false };
        let Some(OpenSession { text, sampler }) = &mut self.session else { return false };
        let Some(logits) = text.logits() else { return false };
        let (began, tokenizer) = (Instant::now(), host.encoder.tokenizer());
        // A model's matrix may have more rows than the tokenizer has tokens.
        let logits = &logits[..logits.len().min(tokenizer.vocabulary_size())];
        let proposal = &mut running.proposal;
        if proposal.wants_entropy(self.protocol.committed()) {
            proposal.tell_entropy(entropy_nats(logits));
        }
        let token = match sampler.draw(logits, text.tokens(), proposal.draws()) {
            Ok(token) => token,
            Err(error) => {
                self.fail(Failure::new(Code::Internal, error.to_string()));
                return true;
            }
        };
        let mut reason = if tokenizer.is_end_of_text(token) {
            Some(proposal.push_end_of_text())
        } else {
            text.push_own(token);
            proposal.push(token, tokenizer)
        };
        if reason.is_none() && text.is_full() {
            reason = Some(FinishReason::ContextFull);
        }
        running.decode += began.elapsed();
        match reason {
            Some(reason) => self.finish(reason),
            None => self.outbox.extend(proposal.delta(None).map(Event::Delta)),
        }
        true
    }

    pub(super) fn finish(&mut self, reason: FinishReason) {
        let Phase::Proposing(running) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        let Running { mut proposal, began, prefill_tokens, prefill, decode } = *running;
        self.outbox.extend(proposal.delta(Some(&reason)).map(Event::Delta));
        let micros = |time: Duration| time.as_micros() as u64;
        let (rules, own) = proposal.into_parts();
        let finished = Finished {
            prefill_tokens,
            timing: Timing {
                queue_us: micros(began.elapsed().saturating_sub(prefill + decode)),
                prefill_us: micros(prefill),
                decode_us: micros(decode),
            },
            passes_milli: std::mem::take(&mut self.passes_milli),
            ..self.protocol.finish(rules, reason)
        };
        tracing::debug!(question_id = self.question_id, ?finished, "proposal finished");
        self.outbox.push_back(Event::Finished(finished));
        self.phase = Phase::Proposed(own);
    }
}

/// Returns what was prepared, or why it failed.
fn prepared<T>(outcome: Result<Result<T, Failure>, RecvError>) -> Result<T, Failure> {
    outcome.unwrap_or_else(|_| {
        let message = "encoding the text hit a bug; ask again and report it";
        Err(Failure::new(Code::Internal, message))
    })
}
