//! The engine's thread: which session computes what, and when.
//!
//! Each turn takes in commands, draws a token for every session that has logits, computes the next
//! token of all proposing sessions in one forward pass, and one chunk of prefill for one session, in
//! rotation. With nothing to do the thread sleeps until a caller wakes it or a deadline comes. How
//! one session goes through its commands is told in [`crate::slot`].
//!
//! When the memory for caches is used up, sessions that wait for their callers give theirs up first,
//! then those that came later. The oldest session always gets what it needs, so there is no standstill.

#![expect(
    clippy::disallowed_methods,
    reason = "the engine's own thread waits by the system's clock"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

use text::Tokenizer;
use thinking::thinker::{Code, Failure, ModelCard, SessionServer};
use tokio::sync::mpsc;

use crate::{
    kv::KvStore,
    model::Decoder,
    prompt::PromptTemplate,
    session::SessionText,
    slot::{Slot, Work},
};

/// While others are waiting for their next token, a chunk of prefill is this much shorter.
const BESIDE_DECODING: usize = 4;

/// Sessions beside the open ones that may wait for their first command.
const UNOPENED: usize = 256;

/// What all sessions of an engine share.
pub(crate) struct Node {
    pub(crate) decoder: Decoder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: PromptTemplate,
    pub(crate) card: ModelCard,
    /// Longest session in tokens.
    pub(crate) context: usize,
    pub(crate) max_sessions: usize,
    pub(crate) prefill_chunk_tokens: usize,
    /// How long after its deadline a session is kept that waits for its caller.
    pub(crate) deadline_grace: Duration,
    /// Tokens computed since the start.
    pub(crate) computed_tokens: Arc<AtomicU64>,
}

/// Runs sessions until no more can come.
pub(crate) struct Scheduler {
    node: Node,
    kv: KvStore,
    arrivals: mpsc::Receiver<SessionServer>,
    /// In the order in which they came.
    slots: Vec<Slot>,
    turn: u64,
    /// Which slot's prefill comes next.
    rotation: usize,
}

/// What a turn came to.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Something was computed: there may be more.
    Worked,
    /// Nothing to do until somebody wakes the thread.
    Idle,
    /// The engine is being dropped.
    Over,
}

/// Wakes the engine's thread.
struct WakeThread(Thread);

impl Wake for WakeThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Scheduler {
    pub(crate) fn new(node: Node, kv: KvStore, arrivals: mpsc::Receiver<SessionServer>) -> Self {
        Scheduler { node, kv, arrivals, slots: Vec::new(), turn: 0, rotation: 0 }
    }

    /// The thread's whole life.
    pub(crate) fn run(mut self) {
        let waker = Waker::from(Arc::new(WakeThread(std::thread::current())));
        loop {
            // A defect in a turn ends the sessions it may have hurt, not the node.
            match catch_unwind(AssertUnwindSafe(|| self.turn(&mut Context::from_waker(&waker)))) {
                Ok(Turn::Worked) => {}
                Ok(Turn::Idle) => self.rest(),
                Ok(Turn::Over) => return,
                Err(_) => {
                    tracing::error!(sessions = self.slots.len(), "the engine panicked");
                    self.fail_all(
                        Code::Internal,
                        "the engine had a defect; ask again and report it",
                    );
                }
            }
        }
    }

    /// Sleeps until a caller wakes the thread, or a session is kept no longer.
    fn rest(&self) {
        match self.slots.iter().filter_map(Slot::overdue).min() {
            Some(first) => {
                std::thread::park_timeout(first.saturating_duration_since(Instant::now()));
            }
            None => std::thread::park(),
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Turn {
        self.turn += 1;
        if self.admit(context) {
            self.fail_all(Code::Unavailable, "the node is shutting down; use another one");
            for slot in &mut self.slots {
                slot.pump(&self.node, &mut self.kv, 0, context);
            }
            return Turn::Over;
        }
        for index in 0..self.slots.len() {
            let open = self.slots.iter().filter(|slot| slot.is_open()).count();
            self.slots[index].pump(&self.node, &mut self.kv, open, context);
        }
        self.slots.retain(|slot| !slot.is_over());
        let decoded = self.decode();
        let prefilled = self.prefill(decoded);
        self.kv.count_held();
        if decoded || prefilled { Turn::Worked } else { Turn::Idle }
    }

    /// Takes in new sessions. Answers whether no more will come.
    fn admit(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            match self.arrivals.poll_recv(context) {
                Poll::Ready(Some(server)) => {
                    let mut slot = Slot::new(server);
                    if self.slots.len() >= self.node.max_sessions + UNOPENED {
                        let message = "too many sessions that were never opened; try again later";
                        slot.fail(Failure::new(Code::Overloaded, message));
                    }
                    self.slots.push(slot);
                }
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
    }

    fn fail_all(&mut self, code: Code, message: &str) {
        for slot in &mut self.slots {
            slot.fail(Failure::new(code, message));
        }
    }

    /// One token for every proposing session, in one pass. Answers whether there was any.
    fn decode(&mut self) -> bool {
        let ready: Vec<usize> = (0..self.slots.len())
            .filter(|&index| self.slots[index].work() == Work::Decode && self.make_ready(index, 1))
            .collect();
        if ready.is_empty() {
            return false;
        }
        let slots = self.slots.iter_mut().enumerate();
        let chosen = slots.filter(|(index, _)| ready.contains(index));
        let mut chosen: Vec<&mut Slot> = chosen.map(|(_, slot)| slot).collect();
        self.node.compute(&mut chosen, Work::Decode, 1, self.turn);
        true
    }

    /// One chunk for one session that has much to compute. Answers whether there was any.
    fn prefill(&mut self, decoded: bool) -> bool {
        let chunk = self.node.prefill_chunk_tokens;
        let chunk = if decoded { (chunk / BESIDE_DECODING).max(1) } else { chunk };
        let (first, count) = (self.rotation, self.slots.len());
        for index in (0..count).map(|step| (first + step) % count) {
            if self.slots[index].work() == Work::Prefill && self.make_ready(index, chunk) {
                self.rotation = index + 1;
                let slots = &mut [&mut self.slots[index]];
                self.node.compute(slots, Work::Prefill, chunk, self.turn);
                return true;
            }
        }
        false
    }

    /// Takes the memory for a session's next so many tokens. Answers whether it has it.
    fn make_ready(&mut self, index: usize, most: usize) -> bool {
        let Some(text) = self.slots[index].text() else { return false };
        text.revive(&mut self.kv);
        let blocks = text.missing_blocks(most);
        if blocks == 0 {
            return true;
        }
        while !self.kv.make_room(blocks) {
            if !self.evict_for(index) {
                return false;
            }
        }
        let Some(text) = self.slots[index].text() else { return false };
        let Err(error) = text.reserve(most) else { return true };
        let message = format!("no memory for the session: {error}; lower the node's --kv-memory");
        self.slots[index].fail(Failure::new(Code::Internal, message));
        false
    }

    /// Takes the cache of the session that waited longest for its caller, else of the one that came
    /// last, if it came after this one. Answers whether there was any.
    fn evict_for(&mut self, index: usize) -> bool {
        let holds = |slot: &Slot| slot.computed_tokens() > 0;
        let others =
            self.slots.iter().enumerate().filter(|(other, slot)| *other != index && holds(slot));
        let (resting, working): (Vec<_>, Vec<_>) =
            others.partition(|(_, slot)| slot.work() == Work::None);
        let longest = resting.iter().min_by_key(|(_, slot)| slot.last_used());
        let last = working.last().filter(|(other, _)| *other > index);
        let Some(&(victim, _)) = longest.or(last) else { return false };
        self.slots[victim].evict(&self.kv)
    }
}

impl Node {
    /// Computes up to `most` tokens of each of these sessions in one pass. When the pass fails each
    /// session is tried alone, so that only the one at fault fails.
    fn compute(&self, slots: &mut [&mut Slot], work: Work, most: usize, turn: u64) {
        let began = Instant::now();
        let before: Vec<usize> = slots.iter().map(|slot| slot.computed_tokens()).collect();
        let outcome = self.forward(slots, most);
        let time = began.elapsed();
        match (outcome, slots) {
            (Ok(()), slots) => {
                for (slot, before) in slots.iter_mut().zip(before) {
                    let tokens = slot.computed_tokens() - before;
                    self.computed_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
                    slot.note_computed(work, tokens, time, turn);
                }
            }
            (Err(why), [slot]) => {
                tracing::error!(why, "a forward pass failed");
                let message = format!(
                    "the model could not be computed: {why}; ask again or use another node"
                );
                slot.fail(Failure::new(Code::Internal, message));
            }
            (Err(_), slots) => {
                for (slot, before) in slots.iter_mut().zip(before) {
                    if let Some(text) = slot.text() {
                        text.forget_computed(before);
                    }
                    self.compute(&mut [slot], work, most, turn);
                }
            }
        }
    }

    /// One pass. The error is one line.
    fn forward(&self, slots: &mut [&mut Slot], most: usize) -> Result<(), String> {
        let mut texts: Vec<&mut SessionText> =
            slots.iter_mut().filter_map(|slot| slot.text()).collect();
        let mut rows: Vec<_> = texts.iter_mut().map(|text| text.row(most)).collect();
        let pass = catch_unwind(AssertUnwindSafe(|| {
            let logits = self.decoder.forward(&mut rows)?;
            Ok::<_, crate::ForwardError>(logits.to_vec2::<f32>()?)
        }));
        let logits = pass
            .map_err(|_| "the computation panicked".to_owned())?
            .map_err(|error| error.to_string())?;
        let complete = texts.iter_mut().filter(|text| text.uncomputed() == 0);
        for (text, logits) in complete.zip(logits) {
            text.set_logits(logits);
        }
        Ok(())
    }
}
