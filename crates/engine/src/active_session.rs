//! One session as the scheduler sees it: its channels, its commands one after the other, and the work it needs. Sending
//! an event never blocks: what does not fit the caller's queue stays in the outbox, and the session rests until there
//! is room.

#![expect(
    clippy::disallowed_methods,
    reason = "the engine's own thread waits by the system's clock"
)]

mod commands;
mod review;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use thinking::{
    session::{HashedText, Protocol},
    thinker::{
        ClientId, Code, Command, Event, Failure, FinishReason, Review, SessionServer, TextEnd,
        Warmed,
    },
};
use tokio::sync::mpsc::{OwnedPermit, error::SendError, error::TrySendError};

use self::review::Instead;
use crate::{
    host::ModelHost,
    kv::KvStore,
    preparer::Pending,
    prompt::Beginning,
    proposal::{OwnTokens, Proposal},
    sample::Sampler,
    session_text::SessionText,
    tail::Joined,
};

type Room = Pin<Box<dyn Future<Output = Result<OwnedPermit<Event>, SendError<()>>> + Send>>;

/// One session.
pub(crate) struct ActiveSession {
    client: ClientId,
    server: SessionServer,
    /// Ready when the caller has given the session up.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Ready when the caller's queue has room; present only while the outbox is not empty.
    room: Option<Room>,
    outbox: VecDeque<Event>,
    /// The next command, read ahead.
    next: Option<Command>,
    question_id: String,
    deadline: Option<Instant>,
    /// When the session ends whatever it waits for: a grace period after the deadline.
    overdue: Option<Instant>,
    /// The last turn in which something was computed for it.
    last_used: u64,
    /// Its share of passes that were not reported to the caller yet, in thousandths of a pass.
    passes_milli: u32,
    protocol: Protocol,
    session: Option<OpenSession>,
    phase: Phase,
}

/// The parts of a session that exist after `Open`.
struct OpenSession {
    text: SessionText,
    sampler: Sampler,
}

enum Phase {
    /// Waiting for a command.
    Idle,
    /// Waiting for the tokens of a command's text.
    Preparing(Preparing),
    /// Computing committed text.
    Warming(Warming),
    /// Making a proposal.
    Proposing(Box<Running>),
    /// A finished proposal waits for its commit.
    Proposed(OwnTokens),
    /// Nothing follows the events in the outbox.
    Over,
}

/// A command whose text is being encoded.
enum Preparing {
    Open {
        sampler: Box<Sampler>,
        review: Option<Review>,
        beginning: Pending<Result<(Beginning, HashedText), Failure>>,
    },
    Append {
        of: AppendedText,
        joined: Pending<Result<(Joined, HashedText), Failure>>,
    },
    /// The end of the text that a cut leaves.
    Cut(Pending<Result<Joined, Failure>>),
}

/// What is known about appended text besides its tokens.
#[derive(Clone, Copy)]
struct AppendedText {
    end: TextEnd,
    exempt: bool,
    /// Whether it came with tokens that do not spell it.
    is_drifted: bool,
}

/// Committed text that is being computed.
#[derive(Default)]
struct Warming {
    /// One answer for each command whose text this is.
    answers: Vec<Warmed>,
    /// Whether the next command is an append that waits for its turn: it is long, or does not fit.
    next_waits: bool,
    /// How many tokens may stay uncomputed. After a commit it is the last one: the next draw computes it anyway, and an
    /// append might come first.
    left_to_draw: usize,
    prefill_tokens: u32,
    prefill: Duration,
    /// What would stand in place of what is objected to, while it takes more tokens to make.
    instead: Option<Box<Instead>>,
}

/// A proposal that is being made.
struct Running {
    proposal: Proposal,
    began: Instant,
    prefill_tokens: u32,
    prefill: Duration,
    decode: Duration,
}

/// A pass that a session took part in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// How long it took.
    pub(crate) time: Duration,
    /// In which turn.
    pub(crate) turn: u64,
    /// The session's share of it, in thousandths.
    pub(crate) part_milli: u32,
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

impl Work {
    /// Returns its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::None => "none",
            Work::Decode => "decode",
            Work::Prefill => "prefill",
        }
    }
}

impl ActiveSession {
    pub(crate) fn new(client: ClientId, server: SessionServer) -> Self {
        let events = server.events.clone();
        ActiveSession {
            client,
            server,
            gone: Box::pin(async move { events.closed().await }),
            room: None,
            outbox: VecDeque::new(),
            next: None,
            question_id: String::new(),
            deadline: None,
            overdue: None,
            last_used: 0,
            passes_milli: 0,
            protocol: Protocol::default(),
            session: None,
            phase: Phase::Idle,
        }
    }

    /// Takes in the caller's commands and sends the events that fit. Afterwards `context` is woken when either can
    /// continue.
    pub(crate) fn pump(
        &mut self,
        host: &ModelHost,
        kv: &mut KvStore,
        open_sessions: usize,
        context: &mut Context<'_>,
    ) {
        if self.gone.as_mut().poll(context).is_ready() {
            self.outbox.clear();
            self.end();
            return;
        }
        while self.flush(context) && self.step(host, kv, open_sessions, context) {}
        if self.overdue().is_some_and(|overdue| overdue <= Instant::now()) {
            // If the caller did not read in time, the rest is not worth keeping a cache for.
            self.outbox.clear();
            let message = "the deadline passed long ago and nothing has been asked or read since; \
                           allow more time or open a new session";
            self.fail(Failure::new(Code::DeadlineExceeded, message));
            self.flush(context);
        }
    }

    /// Returns whether the session can be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.outbox.is_empty()
    }

    /// Returns when the session ends whatever it waits for; `None` if it never does or has ended.
    pub(crate) fn overdue(&self) -> Option<Instant> {
        self.overdue.filter(|_| !matches!(self.phase, Phase::Over))
    }

    /// Returns when something is due even if nothing wakes the thread: the deadline of the work in progress, or the
    /// end.
    pub(crate) fn due(&self) -> Option<Instant> {
        let is_at_something = self.outbox.is_empty()
            && matches!(self.phase, Phase::Preparing(_) | Phase::Warming(_) | Phase::Proposing(_));
        let deadline = self.deadline.filter(|_| is_at_something);
        deadline.into_iter().chain(self.overdue()).min()
    }

    /// Returns whether the session holds a cache or is about to.
    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some() || matches!(self.phase, Phase::Preparing(_))
    }

    /// Returns what it needs computed now.
    pub(crate) fn work(&self) -> Work {
        let Some(session) = &self.session else { return Work::None };
        if !self.outbox.is_empty() {
            return Work::None;
        }
        match (&self.phase, session.text.uncomputed()) {
            (Phase::Proposing(_), 1) => Work::Decode,
            (Phase::Warming(warming), 1) if warming.instead.is_some() => Work::Decode,
            (Phase::Proposing(_) | Phase::Warming(_), 1..) => Work::Prefill,
            _ => Work::None,
        }
    }

    /// Returns whether it waits for its caller, who may take their time. A session that will continue by itself does
    /// not rest, even if there is nothing to compute for it at the moment.
    pub(crate) fn is_resting(&self) -> bool {
        !self.outbox.is_empty()
            || matches!(self.phase, Phase::Idle | Phase::Proposed(_) | Phase::Over)
    }

    /// Returns the last turn in which something was computed for it.
    pub(crate) fn last_used(&self) -> u64 {
        self.last_used
    }

    /// Gives up its cache for other sessions. Returns whether it held anything.
    pub(crate) fn evict(&mut self, kv: &KvStore) -> bool {
        let Some(session) = &mut self.session else { return false };
        let evicted = session.text.evict(kv);
        if evicted {
            tracing::debug!(question_id = self.question_id, "session evicted");
        }
        evicted
    }

    /// Returns the text, to compute it.
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

    /// Sends the events that the caller's queue takes. Returns whether the outbox is empty.
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

    /// Takes one step with an empty outbox. Returns whether another may follow at once.
    fn step(
        &mut self,
        host: &ModelHost,
        kv: &mut KvStore,
        open_sessions: usize,
        context: &mut Context<'_>,
    ) -> bool {
        let closed = self.read_ahead(context);
        match &self.phase {
            Phase::Over => false,
            Phase::Idle | Phase::Proposed(_) => match self.next.take() {
                Some(command) => {
                    if let Err(failure) = self.carry_out(command, host, kv, open_sessions) {
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
            Phase::Preparing(_) | Phase::Warming(_) if self.is_late() => {
                let message =
                    "the deadline passed before the text was in the cache; allow more time";
                self.fail(Failure::new(Code::DeadlineExceeded, message));
                true
            }
            Phase::Preparing(_) => self.take_prepared(host, kv, context),
            Phase::Warming(_) => self.go_on_warming(host, kv),
            Phase::Proposing(_) if matches!(self.next, Some(Command::Cancel)) => {
                self.next = None;
                self.finish(FinishReason::Cancelled);
                true
            }
            Phase::Proposing(_) if self.is_late() => {
                self.finish(FinishReason::Deadline);
                true
            }
            Phase::Proposing(_) => self.draw(host),
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Reads one command ahead. Returns whether no more will come.
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

    /// Returns the length of its committed text.
    #[cfg(test)]
    pub(crate) fn committed_bytes(&self) -> usize {
        self.protocol.committed().len()
    }

    /// Returns how many of its tokens are not in the cache.
    pub(crate) fn uncomputed_tokens(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.text.uncomputed())
    }

    /// Returns how many of its tokens are in the cache.
    pub(crate) fn computed_tokens(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.text.computed())
    }

    /// Records a pass that computed tokens of this session.
    pub(crate) fn note_computed(&mut self, work: Work, tokens: usize, pass: Pass) {
        let Pass { time, turn, part_milli } = pass;
        self.last_used = turn;
        self.passes_milli = self.passes_milli.saturating_add(part_milli);
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
