//! The engine's thread: which session computes what, and when.
//!
//! Each turn takes in commands, draws a token for every session that has logits, computes the next
//! token of all proposing sessions in one forward pass, and one chunk of prefill for one session, in
//! rotation. With nothing to do the thread sleeps until a caller wakes it or a deadline comes. How
//! one session goes through its commands is told in [`crate::slot`].

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

use thinking::thinker::{Code, Failure, ModelCard, SessionServer};
use tokio::sync::mpsc;

use crate::{
    model::Decoder,
    session::SessionText,
    slot::{Slot, Work},
    template::ChatTemplate,
    tokenizer::Tokenizer,
};

/// While others are waiting for their next token, a chunk of prefill is this much shorter.
const BESIDE_DECODING: usize = 4;

/// Sessions beside the open ones that may wait for their first command.
const UNOPENED: usize = 256;

/// What all sessions of an engine share.
pub(crate) struct Node {
    pub(crate) decoder: Decoder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: ChatTemplate,
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
    arrivals: mpsc::Receiver<SessionServer>,
    slots: Vec<Slot>,
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
    pub(crate) fn new(node: Node, arrivals: mpsc::Receiver<SessionServer>) -> Self {
        Scheduler { node, arrivals, slots: Vec::new(), rotation: 0 }
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
        if self.admit(context) {
            self.fail_all(Code::Unavailable, "the node is shutting down; use another one");
            for slot in &mut self.slots {
                slot.pump(&self.node, 0, context);
            }
            return Turn::Over;
        }
        for index in 0..self.slots.len() {
            let open = self.slots.iter().filter(|slot| slot.is_open()).count();
            self.slots[index].pump(&self.node, open, context);
        }
        self.slots.retain(|slot| !slot.is_over());
        let decoded = self.decode();
        let prefilled = self.prefill(decoded);
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
        let work = Work::Decode;
        let mut slots: Vec<_> = self.slots.iter_mut().filter(|slot| slot.work() == work).collect();
        if slots.is_empty() {
            return false;
        }
        self.node.compute(&mut slots, work, 1);
        true
    }

    /// One chunk for one session that has much to compute. Answers whether there was any.
    fn prefill(&mut self, decoded: bool) -> bool {
        let waiting = |slot: &Slot| slot.work() == Work::Prefill;
        let count = self.slots.len();
        let in_turn = (0..count).map(|step| (self.rotation + step) % count);
        let Some(index) = in_turn.into_iter().find(|&index| waiting(&self.slots[index])) else {
            return false;
        };
        self.rotation = index + 1;
        let chunk = self.node.prefill_chunk_tokens;
        let chunk = if decoded { (chunk / BESIDE_DECODING).max(1) } else { chunk };
        self.node.compute(&mut [&mut self.slots[index]], Work::Prefill, chunk);
        true
    }
}

impl Node {
    /// Computes up to `most` tokens of each of these sessions in one pass. When the pass fails each
    /// session is tried alone, so that only the one at fault fails.
    fn compute(&self, slots: &mut [&mut Slot], work: Work, most: usize) {
        let began = Instant::now();
        let before: Vec<usize> = slots.iter().map(|slot| slot.computed_tokens()).collect();
        let outcome = self.forward(slots, most);
        let time = began.elapsed();
        match (outcome, slots) {
            (Ok(()), slots) => {
                for (slot, before) in slots.iter_mut().zip(before) {
                    let tokens = slot.computed_tokens() - before;
                    self.computed_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
                    slot.note_computed(work, tokens, time);
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
                    self.compute(&mut [slot], work, most);
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
