//! A proposal from the ask until the policy keeps or forgets it.
//!
//! ```text
//!  ask --> Asked --first text--> Writing
//!   |        |                      |
//!   |        '------ its end -------+--> Held --its session is lost--> Loose
//!   |                               |
//!   |                               +--> CutShort   its node is lost, and no other one continues
//!   |                               '--> Loose      lost sessions used its tokens up
//!   '--> Unasked   no session takes it: it is late at once
//! ```
//!
//! If its session is lost and opened again, a proposal keeps its state and is asked for again. A proposal that is
//! cancelled is moved to the session that still writes it ([`crate::session`]).

mod text;

use std::time::Duration;

use thinking::{
    policy::Ask,
    thinker::{Delta, FinishReason, Finished, Propose, Timing},
    trigger::Watch,
};

pub(crate) use self::text::ProposedText;
use crate::{LONGEST, micros};

/// Overlaps are numbered from here on, so that all other asks have the numbers, and with them the seeds, that they
/// would have without overlaps.
pub(crate) const FIRST_OVERLAP: u32 = 1 << 31;

/// The longest possible token.
const LONGEST_TOKEN_BYTES: usize = 1024;
/// The greatest average length of many tokens: the longest ones that are written often are runs of spaces.
const LONG_TOKEN_BYTES: usize = 128;

/// A proposal. See the module documentation.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// What was asked.
    pub(crate) ask: Ask,
    /// Its number.
    pub(crate) number: u32,
    /// Its seed.
    pub(crate) seed: u64,
    /// The length of the committed text that it continues.
    pub(crate) base: usize,
    /// Its text so far.
    pub(crate) text: ProposedText,
    /// Its state.
    pub(crate) state: State,
    /// When it was asked for.
    pub(crate) asked_at: Duration,
    /// When its first text arrived.
    pub(crate) first_text_at: Option<Duration>,
    /// Whether a second node was asked for it, or would have been.
    pub(crate) is_hedged: bool,
    /// The entropy of its first token, if requested and reported.
    pub(crate) first_token_entropy: Option<f32>,
    /// Tokens that its node prefilled after it was asked and before it wrote.
    late_prefill_tokens: u32,
    /// How long that took, in microseconds.
    pub(crate) late_prefill_us: u64,
    /// Whether the time that it took is in the ledger.
    pub(crate) is_counted: bool,
}

/// The state of a proposal.
#[derive(Debug)]
pub(crate) enum State {
    /// No session was asked for it.
    Unasked,
    /// Its session was asked for it, and has sent no text.
    Asked {
        /// When its first text is late.
        late_at: Option<Duration>,
    },
    /// Its session is sending its text.
    Writing,
    /// It is complete, and its session holds it as its open proposal.
    Held(Completion),
    /// It is complete, and no session holds it.
    Loose(Completion),
    /// Its node was lost, and what was shown of it is all there is.
    CutShort(Completion),
}

/// The end of a proposal.
#[derive(Debug)]
pub(crate) struct Completion {
    /// What its node reported; positions are relative to the whole proposal.
    pub(crate) finished: Finished,
    /// When it ended.
    at: Duration,
}

impl Proposal {
    /// A proposal that a session is asked for now.
    pub(crate) fn new(ask: Ask, number: u32, seed: u64, base: usize, now: Duration) -> Self {
        let late_at = ask.first_text_within.map(|within| now + within.min(LONGEST));
        Proposal {
            ask,
            number,
            seed,
            base,
            text: ProposedText::new(),
            state: State::Asked { late_at },
            asked_at: now,
            first_text_at: None,
            is_hedged: false,
            first_token_entropy: None,
            late_prefill_tokens: 0,
            late_prefill_us: 0,
            is_counted: false,
        }
    }

    /// Returns what to ask a session for: the ask, minus what was already written of it.
    pub(crate) fn propose(&self) -> Propose {
        let mut watch = self.ask.watch.clone();
        if let Some(watch) = &mut watch {
            watch.from_next_break &= !is_beyond(watch, self.text.before_session());
        }
        Propose {
            max_tokens: self.tokens_left(),
            stop: self.ask.stop.clone(),
            watch,
            seed: self.seed,
            report_entropy: self.ask.report_entropy,
        }
    }

    /// Returns how many tokens may still be written.
    pub(crate) fn tokens_left(&self) -> u32 {
        self.ask.max_tokens.saturating_sub(self.text.carried_tokens())
    }

    /// Returns whether it is never part of the answer, whatever the policy does with it.
    pub(crate) fn is_aside(&self) -> bool {
        self.ask.aside.is_some()
    }

    /// Returns how many tokens are part of the answer if its first bytes are kept, and how many are then discarded.
    pub(crate) fn tokens_kept(&self, bytes: usize) -> (u32, u32) {
        let (kept, discarded) = (self.text.tokens_to(bytes), self.text.tokens_discarded(bytes));
        if self.is_aside() { (0, kept.saturating_add(discarded)) } else { (kept, discarded) }
    }

    /// Returns whether a session is writing it.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Asked { .. } | State::Writing)
    }

    /// Returns whether its session holds it, or will hold it, as its open proposal.
    pub(crate) fn is_attached(&self) -> bool {
        self.is_running() || matches!(self.state, State::Held(_))
    }

    /// Returns whether it is written while the large node is waited for.
    pub(crate) fn is_overlap(&self) -> bool {
        self.number >= FIRST_OVERLAP
    }

    /// Returns how it ended, if it did.
    pub(crate) fn finished(&self) -> Option<&Finished> {
        self.completion().map(|completion| &completion.finished)
    }

    fn completion(&self) -> Option<&Completion> {
        match &self.state {
            State::Held(end) | State::Loose(end) | State::CutShort(end) => Some(end),
            State::Unasked | State::Asked { .. } | State::Writing => None,
        }
    }

    /// Returns when its first text is late, unless that has arrived.
    pub(crate) fn late_at(&self) -> Option<Duration> {
        match self.state {
            State::Unasked => Some(self.asked_at),
            State::Asked { late_at } => late_at,
            _ => None,
        }
    }

    /// Returns where the text that may be shown now ends.
    pub(crate) fn showable(&self) -> usize {
        if self.ask.provisional { 0 } else { self.text.settled() }
    }

    /// Returns whether a node was lost while it was written: its times then say nothing about a node that is well.
    pub(crate) fn was_disturbed(&self) -> bool {
        matches!(self.state, State::CutShort(_)) || self.text.was_disturbed()
    }

    /// Returns the time from the ask to its end, or to now, in microseconds.
    pub(crate) fn wall_us(&self, now: Duration) -> u64 {
        let end = self.completion().map_or(now, |completion| completion.at);
        micros(end.saturating_sub(self.asked_at))
    }

    /// Returns the time from its end to now, in microseconds.
    pub(crate) fn since_end_us(&self, now: Duration) -> u64 {
        self.completion().map_or(0, |completion| micros(now.saturating_sub(completion.at)))
    }

    /// Returns the time from the ask to its first text, in microseconds.
    pub(crate) fn first_text_us(&self) -> Option<u64> {
        self.first_text_at.map(|at| micros(at.saturating_sub(self.asked_at)))
    }

    /// Returns how many tokens had to be prefilled after it was asked for.
    pub(crate) fn prefill_tokens(&self) -> u32 {
        let told = self.finished().map_or(0, |finished| finished.prefill_tokens);
        self.late_prefill_tokens.saturating_add(told)
    }

    /// Notes that its node prefilled before it wrote.
    pub(crate) fn prefilled(&mut self, tokens: u32, us: u64, now: Duration) {
        self.late_prefill_tokens = self.late_prefill_tokens.saturating_add(tokens);
        // Prefill before the ask delayed nobody.
        self.late_prefill_us = self.late_prefill_us.saturating_add(us).min(self.wall_us(now));
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// What is wrong with the piece, which is then ignored.
    pub(crate) fn push(&mut self, delta: Delta, now: Duration) -> Result<(), &'static str> {
        let tokens = self.text.tokens_made().saturating_add(delta.tokens);
        let bytes = self.text.len() + delta.text.len();
        let most_bytes = LONGEST_TOKEN_BYTES + LONG_TOKEN_BYTES * tokens as usize;
        if tokens > self.ask.max_tokens || bytes > most_bytes {
            return Err("it wrote more than it was asked for");
        }
        if tokens == 0 && bytes > 0 {
            return Err("it wrote text without tokens");
        }
        if self.text.len() == 0 && self.ask.report_entropy {
            self.first_token_entropy = delta.first_token_entropy.filter(|it| it.is_finite());
        }
        if !delta.text.is_empty() {
            self.first_text_at.get_or_insert(now);
            self.state = State::Writing;
        }
        self.text.push(delta, now.saturating_sub(self.asked_at));
        Ok(())
    }

    /// Ends the proposal as its node reports it.
    ///
    /// # Errors
    /// What is wrong with the report, which is then ignored: the proposal continues.
    pub(crate) fn finish(
        &mut self,
        mut finished: Finished,
        now: Duration,
    ) -> Result<(), &'static str> {
        let carried = self.text.carried() as u64;
        // The node's numbers may be anything.
        let moved = |position: u64| position.saturating_add(carried);
        finished.bytes = moved(finished.bytes);
        finished.tokens = finished.tokens.saturating_add(self.text.carried_tokens());
        let last_cut = match &mut finished.reason {
            FinishReason::Stop { end } => {
                *end = moved(*end);
                *end
            }
            FinishReason::Trigger(found) => {
                found.cut = moved(found.cut);
                found.start = moved(found.start);
                found.end = moved(found.end);
                found.cut
            }
            _ => 0,
        };
        if finished.bytes != self.text.len() as u64 {
            return Err("the text it sent and the length it reports differ");
        }
        if !(self.text.tokens_made()..=self.ask.max_tokens).contains(&finished.tokens) {
            return Err("the tokens it sent, or was asked for, and those it reports differ");
        }
        let is_place =
            |at: u64| usize::try_from(at).is_ok_and(|at| self.text.as_str().is_char_boundary(at));
        if !is_place(last_cut) {
            return Err("it reports a place that its text does not have");
        }
        // No rule can cut off more of it.
        self.text.settle(match &finished.reason {
            FinishReason::Trigger(found) => usize::try_from(found.cut).unwrap_or_default(),
            _ => self.text.len(),
        });
        self.text.complete(finished.tokens);
        self.state = State::Held(Completion { finished, at: now });
        Ok(())
    }

    /// Notes that its session is lost. Text that was written but not shown is lost with it; a complete proposal stays.
    pub(crate) fn lose_session(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Unasked) {
            State::Held(end) => State::Loose(end),
            other => other,
        };
        if self.is_running() {
            self.text.carry_over();
        }
    }

    /// Ends the proposal because no session is left to continue it. The text so far is all there is; if there is none,
    /// the proposal counts as never asked for.
    pub(crate) fn stop(&mut self, now: Duration) {
        self.state = match self.first_text_at {
            Some(_) => State::CutShort(self.end_here(now)),
            None => State::Unasked,
        };
    }

    /// Ends the proposal because lost sessions used up its tokens.
    pub(crate) fn use_up(&mut self, now: Duration) {
        self.state = State::Loose(self.end_here(now));
    }

    /// Returns the end of a proposal that has no more text than it has now.
    fn end_here(&mut self, now: Duration) -> Completion {
        // From its first text on, its node was generating tokens.
        let decode_us = self.first_text_at.map_or(0, |first| micros(now.saturating_sub(first)));
        let finished = Finished {
            reason: FinishReason::MaxTokens,
            tokens: self.text.tokens_made(),
            bytes: self.text.len() as u64,
            prefill_tokens: 0,
            cached_tokens: 0,
            timing: Timing { decode_us, ..Timing::default() },
            passes_milli: 0,
        };
        self.text.complete(finished.tokens);
        Completion { finished, at: now }
    }
}

/// Returns whether a text is past the window of the break before it, or contains a break: the watch of the following
/// text then need not begin with the next break.
fn is_beyond(watch: &Watch, text: &str) -> bool {
    let has_break = watch.delimiters.iter().any(|delimiter| text.contains(delimiter.as_str()));
    has_break || text.chars().count() >= usize::try_from(watch.window_chars).unwrap_or(usize::MAX)
}
