//! One ask of a journal: its result, its pieces, and its cost on the node.
//!
//! Older journals do not record the pieces. Then tokens are spread evenly between the first text and the end, and the
//! matcher with which the node watched them computes what is settled.

use answer::progress::{Asked, DeltaLog, NodeFinished};
use thinking::{
    policy::Role,
    thinker::{FinishReason, Timing},
    trigger::{Matcher, Watch},
};

use super::recording::{AskEnd, Piece, RecordedAsk, RecordedOver};

/// No proposal has more text.
const MOST_BYTES: usize = 16 << 20;

/// What a journal says about an ask.
#[derive(Debug)]
pub(super) struct AskNotes {
    pub(super) asked: Asked,
    pub(super) at_us: u64,
    /// How it ended; `None` while it runs.
    pub(super) ended: Option<AskEnd>,
    pub(super) finished: Option<NodeFinished>,
    /// How much of it became part of the answer, in bytes.
    pub(super) kept: u64,
    /// How long its node reported to have read after the ask and before the first text.
    pub(super) late_us: u64,
    pub(super) late_tokens: u32,
}

impl AskNotes {
    pub(super) fn new(asked: Asked, at_us: u64) -> Self {
        let (ended, finished) = (None, None);
        AskNotes { asked, at_us, ended, finished, kept: 0, late_us: 0, late_tokens: 0 }
    }

    /// Returns whether the kept text of this role ends at this position of the answer.
    pub(super) fn ends_at(&self, role: Role, committed_bytes: u64) -> bool {
        let end = self.asked.committed_bytes.checked_add(self.kept);
        self.asked.role == role && self.kept > 0 && end == Some(committed_bytes)
    }

    /// Converts the ask for replay. `answer` is the whole answer's text.
    ///
    /// # Errors
    /// Which events contradict each other.
    pub(super) fn recorded(
        self,
        answer: &str,
        watch: Option<&Watch>,
        over: RecordedOver,
    ) -> Result<RecordedAsk, String> {
        let Asked { ask: number, role, max_tokens, .. } = self.asked;
        let ended = self.ended.unwrap_or(AskEnd::GivenUp);
        let (base, kept) = (place(self.asked.committed_bytes), place(self.kept));
        let (late_us, late_tokens) = (self.late_us, self.late_tokens);
        let finished = self.finished.unwrap_or_else(|| never_finished(&self.asked, ended));
        let bytes = place(finished.bytes);
        if bytes > MOST_BYTES {
            return Err(format!("ask {number} has more text than a model writes"));
        }
        let text = answer.get(base..base.saturating_add(kept)).filter(|_| kept <= bytes);
        let Some(text) = text else {
            return Err(format!("more is kept of ask {number} than it has text"));
        };
        // The discarded text is not recorded, and nothing depends on its words.
        let text = text.to_owned() + &".".repeat(bytes - kept);
        let Some(reason) = finished.finish_reason() else {
            return Err(format!("ask {number} ended as {:?}, which is not known", finished.reason));
        };
        let (first_us, rest_us, handling_us) = costs(&finished, late_us, over);
        let pieces = if finished.deltas.is_empty() {
            let watch = watch.filter(|_| role == Role::Small).cloned();
            let matcher = watch.map(|watch| Matcher::new(watch, &answer[..base]));
            evenly(finished.tokens, &text, rest_us, kept, matcher)
        } else {
            let pieces = told(&finished, &text, rest_us, kept, over);
            pieces.ok_or_else(|| format!("the pieces of ask {number} are not what its end says"))?
        };
        Ok(RecordedAsk {
            number,
            role,
            max_tokens,
            ended,
            text,
            pieces,
            reason,
            tokens: finished.tokens,
            prefill_tokens: finished.prefill_tokens.saturating_sub(late_tokens),
            timing: finished.timing,
            first_us,
            rest_us,
            handling_us,
        })
    }
}

fn place(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Reconstructs the end of an ask that was cancelled and whose end never arrived, from the time that it took so far.
fn never_finished(asked: &Asked, ended: AskEnd) -> NodeFinished {
    let wall_us = match ended {
        AskEnd::Overtaken { after_us } => after_us,
        AskEnd::Finished | AskEnd::GivenUp => 0,
    };
    NodeFinished {
        ask: asked.ask,
        role: asked.role,
        reason: <&str>::from(&FinishReason::Cancelled).to_owned(),
        trigger: None,
        tokens: 0,
        bytes: 0,
        prefill_tokens: 0,
        timing: Timing::default(),
        first_text_us: None,
        wall_us,
        deltas: DeltaLog::default(),
    }
}

/// Returns the time to the first text, the time from there to the end, and the time for handling messages in both, in
/// microseconds.
fn costs(finished: &NodeFinished, late_us: u64, over: RecordedOver) -> (u64, u64, u64) {
    let Timing { queue_us, prefill_us, decode_us } = finished.timing;
    let computed_us = queue_us + prefill_us + decode_us;
    let (first_us, all_us) = match over {
        RecordedOver::Link => {
            let tokens = u64::from(finished.tokens.max(1));
            (computed_us - decode_us + decode_us / tokens, computed_us)
        }
        RecordedOver::Loopback => {
            let wait_us = finished.first_text_us.unwrap_or(finished.wall_us);
            (wait_us.saturating_sub(late_us), finished.wall_us.saturating_sub(late_us))
        }
    };
    let handling_us = all_us.saturating_sub(computed_us);
    (first_us.min(all_us), all_us.saturating_sub(first_us), handling_us)
}

/// Returns the pieces as they arrived; over a link, their times are the link's. Returns `None` if they do not add up to
/// the proposal.
fn told(
    finished: &NodeFinished,
    text: &str,
    rest_us: u64,
    kept: usize,
    over: RecordedOver,
) -> Option<Vec<Piece>> {
    let first_us = finished.first_text_us.unwrap_or(0);
    let steps = finished.deltas.iter().count().saturating_sub(1).max(1) as u64;
    let pieces: Vec<Piece> = (0..)
        .zip(finished.deltas.iter())
        .map(|(before, delta)| Piece {
            after_us: match over {
                RecordedOver::Loopback => delta.at_us.saturating_sub(first_us).min(rest_us),
                RecordedOver::Link => rest_us * before / steps,
            },
            end: place(delta.end),
            tokens: delta.tokens,
            settled: place(delta.settled).min(kept),
        })
        .collect();
    let tokens: u64 = pieces.iter().map(|piece| u64::from(piece.tokens)).sum();
    let is_whole = pieces.last().is_some_and(|last| last.end == text.len())
        && pieces.iter().all(|piece| text.is_char_boundary(piece.end))
        && tokens <= u64::from(finished.tokens);
    is_whole.then_some(pieces)
}

/// Splits the text into pieces of one token each, as evenly as characters allow. A node's matcher computes what is
/// settled of the kept part.
fn evenly(
    tokens: u32,
    text: &str,
    rest_us: u64,
    kept: usize,
    mut matcher: Option<Matcher>,
) -> Vec<Piece> {
    // A token without text, such as the end of text, has no piece.
    let count = (tokens as usize).min(text.len());
    let steps = count.saturating_sub(1).max(1) as u64;
    let mut begin = 0;
    let piece = |n: usize| {
        let end = text.ceil_char_boundary(text.len() * n / count);
        let watched = &text[begin..end.min(kept).max(begin)];
        begin = end.min(kept).max(begin);
        // A phrase within the kept text did not stop the proposal.
        matcher.take_if(|matcher| matcher.push(watched).is_some());
        let settled = matcher.as_ref().map_or(end as u64, Matcher::settled_bytes);
        let after_us = rest_us * (n as u64 - 1) / steps;
        Piece { after_us, end, tokens: 1, settled: place(settled).min(kept) }
    };
    (1..=count).map(piece).collect()
}
