//! Nodes that do not tell the truth: what becomes of what they would have said.

use thinking::{
    thinker::{Event, FinishReason, Objection, Propose},
    trigger::{TriggerKind, TriggerMatch},
};

/// What a node lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Its pieces have no tokens.
    NoTokens,
    /// Its pieces have far too many tokens.
    ManyTokens,
    /// Its proposals' ends have far too many tokens.
    EndTokens,
    /// Its proposals' ends have another length.
    EndBytes,
    /// Everything is settled.
    Settled,
    /// It writes on beyond what it was asked for.
    More,
    /// As [`Lie::More`], in pieces that have no tokens after the first.
    MoreForNothing,
    /// Its committed text is another one.
    Hash,
    /// It says things twice.
    Twice,
    /// It ends proposals for reasons that are none: this one.
    Reason(Reason),
    /// Its times and prefilled tokens are the greatest numbers.
    Costs,
    /// It has judged everything, and more.
    Passes,
    /// It has judged up to any place, within a character too.
    PassesHalf,
    /// What it objects to is somewhere else.
    Place,
    /// It has no text for what it objects to.
    NoText,
    /// It has too much.
    MuchText,
    /// It objects unasked.
    Unasked,
}

/// A reason for a proposal's end that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody cancelled.
    Cancelled,
    /// There is no deadline, or time is left.
    Deadline,
    /// There is room.
    ContextFull,
    /// A stop text beyond the proposal's end.
    Stop,
    /// A trigger phrase at no place of the proposal.
    Trigger,
}

impl Lie {
    /// Every lie.
    pub const ALL: [Lie; 21] = [
        Lie::NoTokens,
        Lie::ManyTokens,
        Lie::EndTokens,
        Lie::EndBytes,
        Lie::Settled,
        Lie::More,
        Lie::MoreForNothing,
        Lie::Hash,
        Lie::Twice,
        Lie::Reason(Reason::Cancelled),
        Lie::Reason(Reason::Deadline),
        Lie::Reason(Reason::ContextFull),
        Lie::Reason(Reason::Stop),
        Lie::Reason(Reason::Trigger),
        Lie::Costs,
        Lie::Passes,
        Lie::PassesHalf,
        Lie::Place,
        Lie::NoText,
        Lie::MuchText,
        Lie::Unasked,
    ];

    /// Whether the node never stops by itself.
    pub(crate) fn is_endless(self) -> bool {
        matches!(self, Lie::More | Lie::MoreForNothing)
    }

    /// What the node takes an ask for.
    pub(crate) fn misheard(self, propose: &mut Propose) {
        if self.is_endless() {
            propose.max_tokens = u32::MAX;
            propose.stop.clear();
            propose.watch = None;
        }
    }

    /// What the node says instead.
    pub(crate) fn told(self, mut event: Event) -> Vec<Event> {
        match (self, &mut event) {
            (Lie::NoTokens, Event::Delta(delta)) => delta.tokens = 0,
            // The first piece is the only one that settles nothing before it.
            (Lie::MoreForNothing, Event::Delta(delta)) => {
                delta.tokens = u32::from(delta.settled_bytes == delta.text.len() as u64);
            }
            (Lie::ManyTokens, Event::Delta(delta)) => {
                delta.tokens = delta.tokens.saturating_mul(1 << 20)
            }
            (Lie::Settled, Event::Delta(delta)) => delta.settled_bytes = u64::MAX,
            (Lie::EndTokens, Event::Finished(finished)) => finished.tokens = u32::MAX - 7,
            (Lie::EndBytes, Event::Finished(finished)) => finished.bytes += 3,
            (Lie::Hash, Event::Warmed(warmed)) => warmed.hash.0 ^= 1,
            (Lie::Costs, Event::Warmed(warmed)) => {
                (warmed.tokens, warmed.prefill_tokens) = (u32::MAX, u32::MAX);
                warmed.passes_milli = u32::MAX;
                warmed.prefill_us = u64::MAX;
            }
            (Lie::Costs, Event::Opened(opened)) => {
                (opened.prompt_tokens, opened.cached_tokens) = (u32::MAX, u32::MAX);
            }
            (Lie::Costs, Event::Finished(finished)) => {
                finished.prefill_tokens = u32::MAX;
                finished.passes_milli = u32::MAX;
                finished.timing.queue_us = u64::MAX;
                finished.timing.prefill_us = u64::MAX;
                finished.timing.decode_us = u64::MAX;
            }
            (Lie::Reason(reason), Event::Finished(finished)) => {
                finished.reason = reason.of(finished.bytes);
            }
            (Lie::Passes, Event::Warmed(warmed)) => warmed.reviewed_bytes = u64::MAX,
            (Lie::PassesHalf, Event::Warmed(warmed)) => {
                warmed.reviewed_bytes = warmed.committed_bytes / 2 + 1;
            }
            (Lie::Place, Event::Objection(objection)) => {
                objection.at_byte = objection.at_byte.wrapping_sub(7);
            }
            (Lie::NoText, Event::Objection(objection)) => objection.instead = Some(String::new()),
            (Lie::MuchText, Event::Objection(objection)) => objection.tokens = u32::MAX,
            (Lie::Unasked, Event::Warmed(warmed)) => {
                let objection = Objection {
                    at_byte: warmed.committed_bytes,
                    bytes: 0,
                    gap: 9.0,
                    rank: 1,
                    log_p: -9.0,
                    instead: Some(" no".to_owned()),
                    tokens: 1,
                    token_ids: Vec::new(),
                };
                return vec![Event::Objection(Box::new(objection)), event];
            }
            (Lie::Twice, _) => return vec![event.clone(), event],
            _ => {}
        }
        vec![event]
    }
}

impl Reason {
    fn of(self, bytes: u64) -> FinishReason {
        match self {
            Reason::Cancelled => FinishReason::Cancelled,
            Reason::Deadline => FinishReason::Deadline,
            Reason::ContextFull => FinishReason::ContextFull,
            Reason::Stop => FinishReason::Stop { end: bytes + 5 },
            Reason::Trigger => FinishReason::Trigger(TriggerMatch {
                kind: TriggerKind::Reflection,
                phrase: "wait".to_owned(),
                cut: bytes.wrapping_sub(1),
                start: bytes,
                end: 0,
            }),
        }
    }
}
