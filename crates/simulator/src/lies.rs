//! Nodes that report falsehoods: how each lie changes what the node would have sent.

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
    /// Its proposals' ends report another length.
    EndBytes,
    /// It reports everything as settled.
    Settled,
    /// It writes more than it was asked for.
    More,
    /// Like [`Lie::More`], in pieces that have no tokens after the first.
    MoreForNothing,
    /// It reports a wrong hash of its committed text.
    Hash,
    /// It sends every event twice.
    Twice,
    /// It ends proposals for this reason, which does not apply.
    Reason(Reason),
    /// Its times and prefilled tokens are the greatest numbers.
    Costs,
    /// It reports that it has judged everything, and more.
    Passes,
    /// It reports that it has judged up to an arbitrary place, perhaps inside a character.
    PassesHalf,
    /// It objects to the wrong place.
    Place,
    /// Its objections have an empty replacement.
    NoText,
    /// Its objections report far too many tokens.
    MuchText,
    /// It objects without being asked to.
    Unasked,
}

/// A reason for a proposal's end that does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody cancelled.
    Cancelled,
    /// There is no deadline, or it has not passed.
    Deadline,
    /// There is room left.
    ContextFull,
    /// A stop text past the proposal's end.
    Stop,
    /// A trigger phrase at a place outside the proposal.
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

    /// Returns whether the node never stops by itself.
    pub(crate) fn is_endless(self) -> bool {
        matches!(self, Lie::More | Lie::MoreForNothing)
    }

    /// Changes an ask into what the node takes it for.
    pub(crate) fn misheard(self, propose: &mut Propose) {
        if self.is_endless() {
            propose.max_tokens = u32::MAX;
            propose.stop.clear();
            propose.watch = None;
        }
    }

    /// Returns what the node sends instead.
    pub(crate) fn told(self, mut event: Event) -> Vec<Event> {
        match (self, &mut event) {
            (Lie::NoTokens, Event::Delta(delta)) => delta.tokens = 0,
            // Only the first piece settles no text before it.
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
