//! One session as the scheduler sees it: its channels, its commands one after the other, and what
//! work it has. Events are never waited for: what does not fit the caller's queue stays in the
//! outbox, and the session rests until there is room.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use thinking::thinker::{
    COMMAND_QUEUE, Code, Command, Event, Failure, FinishReason, Finished, Open, Opened, Propose,
    SessionServer, Timing, Warmed,
};
use tokio::sync::mpsc::{OwnedPermit, error::SendError, error::TrySendError};

use crate::{
    kv::KvStore,
    proposal::Proposal,
    sample::{SampleError, Sampler, entropy_nats},
    scheduler::Node,
    session::{SessionText, cannot_encode, check_encodable},
};

type Room = Pin<Box<dyn Future<Output = Result<OwnedPermit<Event>, SendError<()>>> + Send>>;

/// One session.
pub(crate) struct Slot {
    server: SessionServer,
    /// Ready when the caller gave the session up.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Ready when the caller's queue has room; present while the outbox is not empty.
    room: Option<Room>,
    outbox: VecDeque<Event>,
    /// A command that was read ahead.
    next: Option<Command>,
    question_id: String,
    deadline: Option<Instant>,
    /// When the session ends whatever it waits for: the caller had the time since the deadline.
    overdue: Option<Instant>,
    /// The turn in which something was last computed for it.
    last_used: u64,
    session: Option<OpenSession>,
    phase: Phase,
}

/// What there is of a session after `Open`.
struct OpenSession {
    text: SessionText,
    sampler: Sampler,
}

enum Phase {
    /// Waits for a command.
    Idle,
    /// Computes committed text.
    Warming(Warming),
    /// Makes a proposal.
    Proposing(Box<Running>),
    /// Has a finished proposal that waits for its commit.
    Proposed(Box<Proposal>),
    /// Nothing follows what is in the outbox.
    Over,
}

/// Committed text that is being computed.
#[derive(Default)]
struct Warming {
    /// An answer for each command whose text it is.
    answers: Vec<Warmed>,
    /// Tokens that may stay uncomputed: after a commit the last one, which the next draw computes
    /// anyway, and which an append might follow.
    left_to_draw: usize,
    prefill_tokens: u32,
    prefill: Duration,
}

/// A proposal that is being made.
struct Running {
    proposal: Proposal,
    began: Instant,
    prefill_tokens: u32,
    prefill: Duration,
    decode: Duration,
}

/// What a session needs computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing, or nothing now.
    None,
    /// One token.
    Decode,
    /// Many tokens.
    Prefill,
}

impl Slot {
    pub(crate) fn new(server: SessionServer) -> Self {
        let events = server.events.clone();
        Slot {
            server,
            gone: Box::pin(async move { events.closed().await }),
            room: None,
            outbox: VecDeque::new(),
            next: None,
            question_id: String::new(),
            deadline: None,
            overdue: None,
            last_used: 0,
            session: None,
            phase: Phase::Idle,
        }
    }

    /// Takes in what the caller sent and hands out what it can take. Afterwards `context` is woken
    /// when either may go on.
    pub(crate) fn pump(
        &mut self,
        node: &Node,
        kv: &mut KvStore,
        open_sessions: usize,
        context: &mut Context<'_>,
    ) {
        if self.gone.as_mut().poll(context).is_ready() {
            self.outbox.clear();
            self.end();
            return;
        }
        while self.flush(context) && self.step(node, kv, open_sessions, context) {}
        if self.overdue().is_some_and(|overdue| overdue <= Instant::now()) {
            // What the caller did not read in time is not worth keeping a cache for.
            self.outbox.clear();
            let message = "the deadline passed long ago and nothing more was asked or read; allow more time or open a new session";
            self.fail(Failure::new(Code::DeadlineExceeded, message));
            self.flush(context);
        }
    }

    /// Whether the session can be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.outbox.is_empty()
    }

    /// When the session ends whatever it waits for. None: never, or it has ended.
    pub(crate) fn overdue(&self) -> Option<Instant> {
        self.overdue.filter(|_| !matches!(self.phase, Phase::Over))
    }

    /// Whether the session holds a cache.
    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// What it needs computed now.
    pub(crate) fn work(&self) -> Work {
        let Some(session) = &self.session else { return Work::None };
        if !self.outbox.is_empty() {
            return Work::None;
        }
        match (&self.phase, session.text.uncomputed()) {
            (Phase::Proposing(_), 1) => Work::Decode,
            (Phase::Proposing(_) | Phase::Warming(_), 1..) => Work::Prefill,
            _ => Work::None,
        }
    }

    /// When something was last computed for it, in turns.
    pub(crate) fn last_used(&self) -> u64 {
        self.last_used
    }

    /// Gives up its cache for others. Answers whether there was something in it.
    pub(crate) fn evict(&mut self, kv: &KvStore) -> bool {
        let Some(session) = &mut self.session else { return false };
        let evicted = session.text.evict(kv);
        if evicted {
            tracing::debug!(question_id = self.question_id, "session evicted");
        }
        evicted
    }

    /// The text, for computing it.
    pub(crate) fn text(&mut self) -> Option<&mut SessionText> {
        self.session.as_mut().map(|session| &mut session.text)
    }

    /// Ends the session with a failure.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let (question_id, message) = (&self.question_id, &failure.message);
        tracing::info!(question_id, code = ?failure.code, message, "session failed");
        self.outbox.push_back(Event::Failed(failure));
        self.session = None;
        self.server.commands.close();
        self.phase = Phase::Over;
    }

    /// Sends what the caller's queue takes. Answers whether the outbox is empty.
    fn flush(&mut self, context: &mut Context<'_>) -> bool {
        while let Some(event) = self.outbox.pop_front() {
            if self.room.is_none() {
                match self.server.events.try_send(event) {
                    Ok(()) => continue,
                    Err(TrySendError::Full(event) | TrySendError::Closed(event)) => {
                        self.outbox.push_front(event);
                    }
                }
            } else {
                self.outbox.push_front(event);
            }
            let events = &self.server.events;
            let room = self.room.get_or_insert_with(|| Box::pin(events.clone().reserve_owned()));
            match room.as_mut().poll(context) {
                Poll::Pending => return false,
                Poll::Ready(permit) => {
                    self.room = None;
                    match (permit, self.outbox.pop_front()) {
                        (Ok(permit), Some(event)) => drop(permit.send(event)),
                        _ => {
                            self.outbox.clear();
                            self.end();
                        }
                    }
                }
            }
        }
        true
    }

    /// One step with an empty outbox. Answers whether there may be another at once.
    fn step(
        &mut self,
        node: &Node,
        kv: &mut KvStore,
        open_sessions: usize,
        context: &mut Context<'_>,
    ) -> bool {
        let closed = self.read_ahead(context);
        match &self.phase {
            Phase::Over => false,
            Phase::Idle | Phase::Proposed(_) => match self.next.take() {
                Some(command) => {
                    if let Err(failure) = self.carry_out(command, node, kv, open_sessions) {
                        self.fail(failure);
                    }
                    true
                }
                None if closed => {
                    self.end();
                    false
                }
                None => false,
            },
            Phase::Warming(_) => {
                if self.is_late() {
                    let message =
                        "the deadline passed before the text was in the cache; allow more time";
                    self.fail(Failure::new(Code::DeadlineExceeded, message));
                    return true;
                }
                self.merge_append(node) || self.answer_warmed(kv)
            }
            Phase::Proposing(_) if matches!(self.next, Some(Command::Cancel)) => {
                self.next = None;
                self.finish(FinishReason::Cancelled);
                true
            }
            Phase::Proposing(_) if self.is_late() => {
                self.finish(FinishReason::Deadline);
                true
            }
            Phase::Proposing(_) => self.draw(node),
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Reads one command ahead. Answers whether no more will come.
    fn read_ahead(&mut self, context: &mut Context<'_>) -> bool {
        if self.next.is_some() {
            return false;
        }
        match self.server.commands.poll_recv(context) {
            Poll::Ready(Some(command)) => {
                self.next = Some(command);
                false
            }
            Poll::Ready(None) => true,
            Poll::Pending => false,
        }
    }

    fn end(&mut self) {
        let drifted_appends =
            self.session.as_ref().map_or(0, |session| session.text.drifted_appends());
        tracing::debug!(question_id = self.question_id, drifted_appends, "session ended");
        self.session = None;
        self.phase = Phase::Over;
    }

    fn carry_out(
        &mut self,
        command: Command,
        node: &Node,
        kv: &mut KvStore,
        open_sessions: usize,
    ) -> Result<(), Failure> {
        let invalid = |message: &str| Err(Failure::new(Code::InvalidArgument, message));
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        match (command, &mut self.session, phase) {
            (Command::Cancel, _, phase) => {
                self.phase = phase;
                Ok(())
            }
            (Command::Open(open), None, _) => self.open(open, node, kv, open_sessions),
            (Command::Open(_), Some(_), _) => {
                invalid("the session is open already; start another one")
            }
            (_, None, _) => invalid("the first command must be open"),
            (Command::Append(append), Some(session), Phase::Idle) => {
                let tokens = session.text.append(&append, &node.tokenizer)?;
                self.warm(tokens, 0);
                Ok(())
            }
            (Command::Propose(ask), Some(_), Phase::Idle) => self.propose(ask, kv),
            (Command::Commit { bytes }, Some(session), Phase::Proposed(proposal)) => {
                let tokens = session.text.commit(&proposal, bytes, &node.tokenizer)?;
                self.warm(tokens, 1);
                Ok(())
            }
            (Command::Commit { .. }, ..) => invalid("no proposal is open to commit; propose first"),
            _ => invalid("a proposal is open; commit it first"),
        }
    }

    fn open(
        &mut self,
        open: Open,
        node: &Node,
        kv: &mut KvStore,
        open_sessions: usize,
    ) -> Result<(), Failure> {
        self.question_id = open.question_id;
        // A deadline too far to count is none.
        self.deadline = open.deadline.and_then(|left| Instant::now().checked_add(left));
        self.overdue = self.deadline.and_then(|at| at.checked_add(node.deadline_grace));
        if open_sessions >= node.max_sessions {
            return Err(Failure {
                code: Code::Overloaded,
                message: format!(
                    "all {} sessions of this node are taken; try again later or raise the node's limit",
                    node.max_sessions
                ),
                retry_after_ms: Some(1000),
            });
        }
        let invalid = |error: SampleError| Failure::new(Code::InvalidArgument, error.to_string());
        let sampler = Sampler::new(open.sampling).map_err(invalid)?;
        let rendered = node.template.render(&open.prompt)?;
        check_encodable(&rendered, node.context, &node.tokenizer)?;
        let prompt = match open.prompt {
            thinking::thinker::Prompt::Raw(_) => node.tokenizer.encode_raw_prompt(&rendered),
            thinking::thinker::Prompt::Messages(_) => node.tokenizer.encode_prompt(&rendered),
        };
        let prompt = prompt.map_err(cannot_encode)?;
        let prompt_tokens = prompt.len() as u32;
        let mut text = SessionText::new(prompt, node.decoder.new_cache(), node.context)?;
        let committed = thinking::thinker::Append { text: open.committed, token_ids: Vec::new() };
        let tokens = text.append(&committed, &node.tokenizer)?;
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
            Opened { card: node.card.clone(), prompt_tokens, cached_tokens: cached as u32 };
        self.outbox.push_back(Event::Opened(opened));
        self.warm(tokens, 0);
        Ok(())
    }

    /// Owes the caller a `Warmed` for the text that was just committed.
    fn warm(&mut self, tokens: u32, left_to_draw: usize) {
        let Some(session) = &self.session else { return };
        let answer = Warmed {
            committed_bytes: session.text.committed().len() as u64,
            hash: session.text.hash(),
            tokens,
            prefill_tokens: 0,
            prefill_us: 0,
        };
        if !matches!(self.phase, Phase::Warming(_)) {
            self.phase = Phase::Warming(Warming::default());
        }
        if let Phase::Warming(warming) = &mut self.phase {
            warming.answers.push(answer);
            warming.left_to_draw = left_to_draw;
        }
    }

    /// Takes a queued append in before anything is computed for the last one. Answers whether it did.
    fn merge_append(&mut self, node: &Node) -> bool {
        let Some(Command::Append(append)) = &self.next else { return false };
        let Phase::Warming(warming) = &self.phase else { return false };
        if warming.answers.len() >= COMMAND_QUEUE {
            return false;
        }
        let Some(session) = &mut self.session else { return false };
        // One that fails is left for its turn, so that the answers before it are not lost.
        let Ok(tokens) = session.text.append(append, &node.tokenizer) else { return false };
        self.next = None;
        self.warm(tokens, 0);
        true
    }

    /// Answers the commands whose text is computed. Answers whether it did.
    fn answer_warmed(&mut self, kv: &mut KvStore) -> bool {
        let Phase::Warming(warming) = &mut self.phase else { return false };
        let Some(session) = &mut self.session else { return false };
        if session.text.uncomputed() > warming.left_to_draw {
            return false;
        }
        session.text.share(kv);
        if let Some(last) = warming.answers.last_mut() {
            last.prefill_tokens = warming.prefill_tokens;
            last.prefill_us = warming.prefill.as_micros() as u64;
        }
        self.outbox.extend(warming.answers.drain(..).map(Event::Warmed));
        self.phase = Phase::Idle;
        true
    }

    fn propose(&mut self, ask: Propose, kv: &mut KvStore) -> Result<(), Failure> {
        if ask.max_tokens == 0 {
            let message = "max_tokens is 0; ask for at least 1";
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        session.text.revive(kv);
        let uncomputed = session.text.prepare_draw();
        let text = &session.text;
        self.phase = Phase::Proposing(Box::new(Running {
            proposal: Proposal::new(ask, text.tokens().len(), text.committed()),
            began: Instant::now(),
            prefill_tokens: uncomputed.saturating_sub(1) as u32,
            prefill: Duration::ZERO,
            decode: Duration::ZERO,
        }));
        if text.is_full() {
            self.finish(FinishReason::ContextFull);
        }
        Ok(())
    }

    /// Draws the next token if its logits are known. Answers whether it did.
    fn draw(&mut self, node: &Node) -> bool {
        let Phase::Proposing(running) = &mut self.phase else { return false };
        let Some(OpenSession { text, sampler }) = &mut self.session else { return false };
        let Some(logits) = text.logits() else { return false };
        let began = Instant::now();
        // A model's matrix may have more rows than the tokenizer has tokens.
        let logits = &logits[..logits.len().min(node.tokenizer.vocabulary_size())];
        let proposal = &mut running.proposal;
        if proposal.wants_entropy(text.committed()) {
            proposal.tell_entropy(entropy_nats(logits));
        }
        let token = match sampler.draw(logits, text.tokens(), proposal.draws()) {
            Ok(token) => token,
            Err(error) => {
                self.fail(Failure::new(Code::Internal, error.to_string()));
                return true;
            }
        };
        let mut reason = if node.tokenizer.is_end_of_text(token) {
            Some(proposal.push_end_of_text())
        } else {
            text.push_own(token);
            proposal.push(token, &node.tokenizer)
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

    fn finish(&mut self, reason: FinishReason) {
        let Phase::Proposing(running) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        let Running { mut proposal, began, prefill_tokens, prefill, decode } = *running;
        self.outbox.extend(proposal.delta(Some(&reason)).map(Event::Delta));
        let micros = |time: Duration| time.as_micros() as u64;
        let finished = Finished {
            reason,
            tokens: proposal.made(),
            bytes: proposal.text().len() as u64,
            prefill_tokens,
            timing: Timing {
                queue_us: micros(began.elapsed().saturating_sub(prefill + decode)),
                prefill_us: micros(prefill),
                decode_us: micros(decode),
            },
        };
        tracing::debug!(question_id = self.question_id, ?finished, "proposal finished");
        self.outbox.push_back(Event::Finished(finished));
        self.phase = Phase::Proposed(Box::new(proposal));
    }

    /// How many of its tokens are in the cache.
    pub(crate) fn computed_tokens(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.text.computed())
    }

    /// Notes a part of its work as done.
    pub(crate) fn note_computed(&mut self, work: Work, tokens: usize, time: Duration, turn: u64) {
        self.last_used = turn;
        match (&mut self.phase, work) {
            (Phase::Proposing(running), Work::Decode) => running.decode += time,
            (Phase::Proposing(running), _) => running.prefill += time,
            (Phase::Warming(warming), _) => {
                warming.prefill_tokens += tokens as u32;
                warming.prefill += time;
            }
            _ => {}
        }
    }
}
