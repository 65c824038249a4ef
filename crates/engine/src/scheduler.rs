//! The engine's thread: which session computes what, and when.
//!
//! Each turn takes in commands, draws a token for every session that has logits, computes the next token of all
//! proposing sessions in one forward pass, and computes one chunk of prefill, for sessions in rotation. With nothing to
//! do, the thread sleeps until a caller wakes it or a deadline comes; while there are sessions, for at most a second.
//! [`crate::active_session`] takes one session through its commands.
//!
//! When the memory for caches is used up, sessions that wait for their callers give theirs up first, then those that
//! came later. The oldest session always gets what it needs, so there is always progress.

#![expect(
    clippy::disallowed_methods,
    reason = "the engine's own thread waits by the system's clock"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

use machines::SpeedCurve;
use thinking::thinker::{ClientId, Code, Failure, SessionServer};
use tokio::sync::mpsc;

use crate::{
    active_session::{ActiveSession, Pass, Work},
    device::one_line,
    error::ForwardError,
    host::ModelHost,
    kv::KvStore,
    model::{BatchRow, WantedLogits},
    session_text::SessionText,
};

/// While other sessions decode, a chunk of prefill is shorter by this factor.
const BESIDE_DECODING: usize = 4;

/// Logits read from the device at once, in rows of the vocabulary.
const READ_ROWS: usize = 32;

/// How often the thread turns, to show that it is alive, while no session has anything to compute.
const IDLE_TURN: Duration = Duration::from_secs(1);

/// How many sessions, besides the open ones, may wait for their first command.
const UNOPENED: usize = 256;

/// A new session.
pub(crate) struct Arrival {
    pub(crate) client: ClientId,
    pub(crate) server: SessionServer,
}

/// Runs sessions until no more can arrive.
pub(crate) struct Scheduler {
    host: ModelHost,
    kv: KvStore,
    arrivals: mpsc::Receiver<Arrival>,
    /// In order of arrival.
    sessions: Vec<ActiveSession>,
    turn: u64,
    /// Which session's prefill comes next.
    rotation: usize,
}

/// The outcome of a turn.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Something was computed: there may be more.
    Worked,
    /// There is nothing to do until something wakes the thread.
    Idle,
    /// The engine is being dropped.
    Over,
    /// The device has failed for good, for this reason.
    Lost(String),
}

/// The device has failed for good, for this reason.
#[derive(Debug)]
struct DeviceLost(String);

/// Wakes the engine's thread.
struct WakeThread(Thread);

impl Wake for WakeThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Scheduler {
    pub(crate) fn new(host: ModelHost, kv: KvStore, arrivals: mpsc::Receiver<Arrival>) -> Self {
        Scheduler { host, kv, arrivals, sessions: Vec::new(), turn: 0, rotation: 0 }
    }

    /// Runs the thread until the engine is dropped, or its device fails for good. Returns why it did.
    pub(crate) fn run(&mut self) -> Option<String> {
        let waker = Waker::from(Arc::new(WakeThread(std::thread::current())));
        loop {
            // A panic in a turn ends the sessions that it may have broken, not the node.
            match catch_unwind(AssertUnwindSafe(|| self.turn(&mut Context::from_waker(&waker)))) {
                Ok(Turn::Worked) => {}
                Ok(Turn::Idle) => self.rest(),
                Ok(Turn::Over) => return None,
                Ok(Turn::Lost(why)) => return Some(why),
                Err(_) => {
                    tracing::error!(sessions = self.sessions.len(), "the engine panicked");
                    self.fail_all(Code::Internal, "the engine hit a bug; ask again and report it");
                }
            }
        }
    }

    /// Ends, and leaves the device as it is: its libraries panic when they are closed on a device that has failed.
    pub(crate) fn abandon(self) {
        std::mem::forget(self.host);
    }

    /// Sleeps until something wakes the thread, something is due, or the next idle turn.
    fn rest(&self) {
        match self.longest_rest(Instant::now()) {
            Some(longest) => std::thread::park_timeout(longest),
            None => std::thread::park(),
        }
    }

    /// Returns how long the thread may sleep if nothing wakes it; `None` means without limit.
    fn longest_rest(&self, now: Instant) -> Option<Duration> {
        if self.sessions.is_empty() {
            return None;
        }
        let first = self.sessions.iter().filter_map(ActiveSession::due).min();
        let left = first.map(|first| first.saturating_duration_since(now));
        Some(left.unwrap_or(IDLE_TURN).min(IDLE_TURN))
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Turn {
        self.turn += 1;
        self.host.decoder.pulse().fetch_add(1, Ordering::Relaxed);
        if self.admit(context) {
            self.end_all("the node is shutting down; use another one", context);
            return Turn::Over;
        }
        for index in 0..self.sessions.len() {
            let open = self.sessions.iter().filter(|session| session.is_open()).count();
            self.sessions[index].pump(&self.host, &mut self.kv, open, context);
        }
        self.sessions.retain(|session| !session.is_over());
        let computed = self.compute();
        self.kv.count_held();
        match computed {
            Ok(true) => Turn::Worked,
            Ok(false) => Turn::Idle,
            Err(DeviceLost(why)) => {
                self.end_all("the node's device has failed; use another node", context);
                Turn::Lost(why)
            }
        }
    }

    /// Computes what sessions wait for, in at most two passes. Returns whether there was any.
    fn compute(&mut self) -> Result<bool, DeviceLost> {
        let decoded = self.decode()?;
        Ok(self.prefill(decoded)? || decoded)
    }

    /// Fails all sessions for good, and delivers that.
    fn end_all(&mut self, message: &str, context: &mut Context<'_>) {
        self.fail_all(Code::Unavailable, message);
        for session in &mut self.sessions {
            session.pump(&self.host, &mut self.kv, 0, context);
        }
    }

    /// Takes in new sessions. Returns whether no more will come.
    fn admit(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            match self.arrivals.poll_recv(context) {
                Poll::Ready(Some(Arrival { client, server })) => {
                    let mut session = ActiveSession::new(client, server);
                    if self.sessions.len() >= self.host.max_sessions + UNOPENED {
                        let message = "too many sessions that were never opened; try again later";
                        session.fail(Failure::new(Code::Overloaded, message));
                    }
                    self.sessions.push(session);
                }
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
    }

    fn fail_all(&mut self, code: Code, message: &str) {
        for session in &mut self.sessions {
            session.fail(Failure::new(code, message));
        }
    }

    /// Computes one token for every proposing session, in one pass. Returns whether there was any.
    fn decode(&mut self) -> Result<bool, DeviceLost> {
        let mut ready = Vec::new();
        for index in 0..self.sessions.len() {
            if self.sessions[index].work() == Work::Decode && self.make_ready(index, 1, &[])? {
                ready.push(index);
            }
        }
        if ready.is_empty() {
            return Ok(false);
        }
        let sessions = self.sessions.iter_mut().enumerate();
        let chosen = sessions.filter(|(index, _)| ready.contains(index));
        let mut chosen: Vec<Share<'_>> = chosen.map(|(_, session)| (session, 1)).collect();
        compute(&self.host, &mut chosen, Work::Decode, self.turn)?;
        Ok(true)
    }

    /// Computes one chunk of prefill in one pass: of the first session in rotation what fits, and of others all that
    /// they wait for, if that fits too. Returns whether there was any.
    fn prefill(&mut self, decoded: bool) -> Result<bool, DeviceLost> {
        let chunk = self.host.prefill_chunk_tokens;
        let chunk = if decoded { (chunk / BESIDE_DECODING).max(1) } else { chunk };
        let (first, count) = (self.rotation, self.sessions.len());
        let (mut left, mut shares) = (chunk, vec![0; count]);
        for index in (0..count).map(|step| (first + step) % count) {
            let most = self.sessions[index].uncomputed_tokens();
            if self.sessions[index].work() != Work::Prefill || (left < chunk && left < most) {
                continue;
            }
            let most = most.min(left);
            if self.make_ready(index, most, &shares)? {
                if left == chunk {
                    self.rotation = index + 1;
                }
                (left, shares[index]) = (left - most, most);
            }
        }
        let sessions = self.sessions.iter_mut().zip(shares);
        let mut chosen: Vec<Share<'_>> = sessions.filter(|(_, most)| *most > 0).collect();
        if chosen.is_empty() {
            return Ok(false);
        }
        compute(&self.host, &mut chosen, Work::Prefill, self.turn)?;
        Ok(true)
    }

    /// Reserves cache blocks for the session's next `most` tokens. Sessions that already have a share in the pass keep
    /// their caches. Returns whether it got the blocks.
    fn make_ready(
        &mut self,
        index: usize,
        most: usize,
        shares: &[usize],
    ) -> Result<bool, DeviceLost> {
        let Some(text) = self.sessions[index].text() else { return Ok(false) };
        text.revive(&mut self.kv);
        let blocks = text.missing_blocks(most);
        if blocks == 0 {
            return Ok(true);
        }
        while !self.kv.make_room(blocks) {
            if !self.evict_for(index, shares) {
                return Ok(false);
            }
        }
        let Some(text) = self.sessions[index].text() else { return Ok(false) };
        let Err(error) = text.reserve(most) else { return Ok(true) };
        let error = one_line(&error);
        if self.host.decoder.is_lost() {
            return Err(DeviceLost(error));
        }
        let message = format!("no memory for the session: {error}; lower the node's --kv-memory");
        self.sessions[index].fail(Failure::new(Code::Internal, message));
        Ok(false)
    }

    /// Takes the cache of the session that has waited longest for its caller, or else of the one that came last, if it
    /// came after this one. Returns whether there was any.
    fn evict_for(&mut self, index: usize, shares: &[usize]) -> bool {
        let has_share = |other: usize| shares.get(other).is_some_and(|most| *most > 0);
        let others = self.sessions.iter().enumerate().filter(|(other, session)| {
            *other != index && !has_share(*other) && session.computed_tokens() > 0
        });
        let (resting, working): (Vec<_>, Vec<_>) =
            others.partition(|(_, session)| session.is_resting());
        let longest = resting.iter().min_by_key(|(_, session)| session.last_used());
        let last = working.last().filter(|(other, _)| *other > index);
        let Some(&(victim, _)) = longest.or(last) else { return false };
        self.sessions[victim].evict(&self.kv)
    }
}

/// A session in a pass, and how many of its tokens are computed at most.
type Share<'a> = (&'a mut ActiveSession, usize);

/// Computes tokens of each of these sessions in one pass. If the pass fails, each session is tried alone, so that only
/// the one at fault fails.
fn compute(
    host: &ModelHost,
    sessions: &mut [Share<'_>],
    work: Work,
    turn: u64,
) -> Result<(), DeviceLost> {
    let began = Instant::now();
    let before: Vec<usize> = sessions.iter().map(|(it, _)| it.computed_tokens()).collect();
    let outcome = forward(host, sessions);
    if let Err(PassFailure { cause, .. }) = &outcome
        && host.decoder.is_lost()
    {
        return Err(DeviceLost(cause.clone()));
    }
    if let Some(pace) = host.pace.as_ref().filter(|_| outcome.is_ok()) {
        let tokens: usize = sessions.iter().map(|(it, _)| it.computed_tokens()).sum();
        let tokens = tokens.saturating_sub(before.iter().sum());
        keep_pace(pace, began, u32::try_from(tokens).unwrap_or(u32::MAX));
    }
    let time = began.elapsed();
    match (outcome, sessions) {
        (Ok(()), sessions) => {
            host.meter.step(work.name(), time);
            let is_shared = host.decoder.facts().is_batched;
            let part_milli = if is_shared { 1000 / sessions.len().max(1) as u32 } else { 1000 };
            for ((session, _), before) in sessions.iter_mut().zip(before) {
                let tokens = session.computed_tokens() - before;
                host.computed_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
                session.note_computed(work, tokens, Pass { time, turn, part_milli });
            }
        }
        (Err(PassFailure { line, .. }), [(session, _)]) => {
            tracing::error!(why = line, "a forward pass failed");
            let message = format!("the forward pass failed: {line}; ask again or use another node");
            session.fail(Failure::new(Code::Internal, message));
        }
        (Err(_), sessions) => {
            for ((session, most), before) in sessions.iter_mut().zip(before) {
                if let Some(text) = session.text() {
                    text.forget_computed(before);
                }
                compute(host, &mut [(session, *most)], work, turn)?;
            }
        }
    }
    Ok(())
}

/// Waits until a pass over this many tokens has taken as long as the pace says.
fn keep_pace(pace: &SpeedCurve, began: Instant, tokens: u32) {
    let time = Duration::from_secs_f64(pace.pass_s(tokens));
    std::thread::sleep(time.saturating_sub(began.elapsed()));
}

/// Why a pass failed.
struct PassFailure {
    /// In one line, with what to do.
    line: String,
    /// What the device or the computation said, alone.
    cause: String,
}

impl From<ForwardError> for PassFailure {
    fn from(error: ForwardError) -> Self {
        PassFailure { line: error.to_string(), cause: error.cause() }
    }
}

/// Runs one pass.
fn forward(host: &ModelHost, sessions: &mut [Share<'_>]) -> Result<(), PassFailure> {
    let texts = sessions.iter_mut().filter_map(|(session, most)| Some((session.text()?, *most)));
    let mut texts: Vec<(&mut SessionText, usize)> = texts.collect();
    let pass = catch_unwind(AssertUnwindSafe(|| pass(host, &mut texts)));
    let panicked = || "the computation panicked".to_owned();
    pass.map_err(|_| PassFailure { line: panicked(), cause: panicked() })?.map_err(Into::into)
}

fn pass(host: &ModelHost, texts: &mut [(&mut SessionText, usize)]) -> Result<(), ForwardError> {
    let (mut rows, mut behind) = (Vec::new(), Vec::new());
    for (number, (text, most)) in texts.iter_mut().enumerate() {
        let start = text.computed();
        let row = text.row(*most);
        behind.extend(behind_row(&row, start).map(|token| (number, token)));
        rows.push(row);
    }
    let logits = host.decoder.forward(&mut rows)?;
    drop(rows);
    let mut behind = behind.into_iter();
    for first in (0..logits.dim(0)?).step_by(READ_ROWS) {
        let some = READ_ROWS.min(logits.dim(0)? - first);
        let read = logits.narrow(0, first, some)?.to_vec2::<f32>()?;
        for (row, (number, token)) in read.into_iter().zip(&mut behind) {
            texts[number].0.read(token, row, host.encoder.tokenizer());
        }
    }
    Ok(())
}

/// Returns, for each of a row's logits, the number of the token that follows it in its session.
fn behind_row(row: &BatchRow<'_>, start: usize) -> std::ops::Range<usize> {
    let end = start + row.tokens.len();
    match row.logits {
        WantedLogits::None => end..end,
        WantedLogits::Last => end..end + 1,
        WantedLogits::All => start + 1..end + 1,
        WantedLogits::From(first) => start + first + 1..end + 1,
    }
}

#[cfg(test)]
mod tests;
