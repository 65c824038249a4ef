//! A proposal as it streams in: what of it may be shown, and what it cost.

use thinking::{
    policy::Ask,
    thinker::{Delta, FinishReason, Finished, Timing},
};
use tokio::time::Instant;

use super::{LONGEST, micros};

/// Overlaps are numbered from here on, so that other asks have the numbers, and with them the seeds, that they would
/// have without.
pub(super) const FIRST_OVERLAP: u32 = 1 << 31;

/// A proposal between the ask and the moment when the policy keeps or forgets it.
#[derive(Debug)]
pub(super) struct Draft {
    /// What was asked.
    pub(super) ask: Ask,
    /// Its number.
    pub(super) number: u32,
    /// Its seed.
    pub(super) seed: u64,
    /// Length of the committed text it goes on from.
    pub(super) base: usize,
    /// Its text so far.
    pub(super) text: String,
    pieces: Vec<Piece>,
    /// Bytes that no rule can cut any more.
    settled: usize,
    /// Bytes that are committed and shown; always the first ones.
    pub(super) shown: usize,
    /// Bytes that an earlier session wrote and the present one holds as committed text.
    pub(super) carried: usize,
    /// Tokens of those.
    carried_tokens: u32,
    /// Tokens that earlier sessions wrote and took with them.
    lost_tokens: u32,
    /// Whether the session still holds it as its open proposal.
    pub(super) attached: bool,
    /// Whether it was cut short: its node was lost, or the answer ended.
    pub(super) interrupted: bool,
    /// When it was asked for.
    pub(super) asked_at: Instant,
    /// When its first text is late.
    pub(super) late_at: Option<Instant>,
    /// When its first text came.
    pub(super) first_text_at: Option<Instant>,
    /// Prefill that the node reported after it was asked and before it wrote.
    pub(super) late_prefill_tokens: u32,
    /// The time that took, in microseconds.
    pub(super) late_prefill_us: u64,
    /// How it ended.
    pub(super) finished: Option<Finished>,
    /// When it ended.
    finished_at: Option<Instant>,
}

#[derive(Debug)]
struct Piece {
    end: usize,
    tokens: u32,
    token_ids: Vec<u32>,
}

impl Draft {
    pub(super) fn new(ask: Ask, number: u32, seed: u64, base: usize) -> Self {
        let asked_at = Instant::now();
        Draft {
            late_at: ask.first_text_within.map(|within| asked_at + within.min(LONGEST)),
            ask,
            number,
            seed,
            base,
            text: String::new(),
            pieces: Vec::new(),
            settled: 0,
            shown: 0,
            carried: 0,
            carried_tokens: 0,
            lost_tokens: 0,
            attached: true,
            interrupted: false,
            asked_at,
            first_text_at: None,
            late_prefill_tokens: 0,
            late_prefill_us: 0,
            finished: None,
            finished_at: None,
        }
    }

    /// Whether its session is still writing it.
    pub(super) fn is_running(&self) -> bool {
        self.attached && self.finished.is_none()
    }

    /// Whether it was asked for to be written while the large node is waited for.
    pub(super) fn is_overlap(&self) -> bool {
        self.number >= FIRST_OVERLAP
    }

    /// When it will be late, unless it has begun.
    pub(super) fn may_be_late_at(&self) -> Option<Instant> {
        self.late_at.filter(|_| self.finished.is_none() && self.first_text_at.is_none())
    }

    /// Takes a piece.
    pub(super) fn push(&mut self, delta: Delta) {
        if self.first_text_at.is_none() && !delta.text.is_empty() {
            self.first_text_at = Some(Instant::now());
        }
        self.text.push_str(&delta.text);
        self.pieces.push(Piece {
            end: self.text.len(),
            tokens: delta.tokens,
            token_ids: delta.token_ids,
        });
        let settled = usize::try_from(delta.settled_bytes).unwrap_or(usize::MAX);
        let settled = self.edge(self.carried.saturating_add(settled));
        self.settled = self.settled.max(settled);
    }

    /// Takes its end; positions become those of the whole proposal. Answers whether the node's
    /// count of bytes is ours.
    pub(super) fn finish(&mut self, mut finished: Finished) -> bool {
        let carried = self.carried as u64;
        // The node's numbers may be anything.
        let moved = |position: u64| position.saturating_add(carried);
        finished.bytes = moved(finished.bytes);
        finished.tokens = finished.tokens.saturating_add(self.carried_tokens);
        match &mut finished.reason {
            FinishReason::Stop { end } => *end = moved(*end),
            FinishReason::Trigger(found) => {
                found.cut = moved(found.cut);
                found.start = moved(found.start);
                found.end = moved(found.end);
            }
            _ => {}
        }
        let agrees = finished.bytes == self.text.len() as u64;
        self.finished = Some(finished);
        self.finished_at = Some(Instant::now());
        agrees
    }

    /// The greatest character's edge that is not after `bytes`.
    fn edge(&self, bytes: usize) -> usize {
        self.text.floor_char_boundary(bytes)
    }

    /// Where the text that may be shown now ends.
    pub(super) fn showable(&self) -> usize {
        if self.ask.provisional { 0 } else { self.settled.max(self.shown) }
    }

    /// Its text and token ids from what is shown to `end`, piece by piece; a piece that is cut has
    /// no ids.
    pub(super) fn pieces_to(&self, end: usize) -> impl Iterator<Item = (&str, &[u32])> {
        let mut at = self.shown;
        let first = self.pieces.partition_point(|piece| piece.end <= at);
        let mut begin = first.checked_sub(1).map_or(self.carried, |before| self.pieces[before].end);
        self.pieces[first..].iter().map_while(move |piece| {
            if at >= end {
                return None;
            }
            let to = piece.end.min(end);
            let whole = begin == at && to == piece.end;
            let ids: &[u32] = if whole { &piece.token_ids } else { &[] };
            let text = &self.text[at..to];
            (at, begin) = (to, piece.end);
            Some((text, ids))
        })
    }

    /// Tokens of the first `bytes` bytes; a token that is cut counts.
    pub(super) fn tokens_to(&self, bytes: usize) -> u32 {
        if let Some(finished) = &self.finished
            && bytes == self.text.len()
        {
            return finished.tokens;
        }
        let mut start = self.carried;
        let mut tokens = if bytes > 0 { self.carried_tokens } else { 0 };
        for piece in &self.pieces {
            if start >= bytes {
                break;
            }
            if piece.end > start {
                tokens = tokens.saturating_add(piece.tokens);
            }
            start = piece.end;
        }
        tokens
    }

    /// Whether a node was lost while it was written: then its times tell nothing of a node that is well.
    pub(super) fn was_disturbed(&self) -> bool {
        self.interrupted || self.carried > 0 || self.lost_tokens > 0
    }

    /// Tokens made so far.
    pub(super) fn tokens_made(&self) -> u32 {
        match &self.finished {
            Some(finished) => finished.tokens,
            None => {
                let pieces = self.pieces.iter().map(|piece| piece.tokens);
                pieces.fold(self.carried_tokens, u32::saturating_add)
            }
        }
    }

    /// Tokens made for nothing when the first `bytes` bytes are kept.
    pub(super) fn tokens_discarded(&self, bytes: usize) -> u32 {
        let rest = self.tokens_made().saturating_sub(self.tokens_to(bytes));
        rest.saturating_add(self.lost_tokens)
    }

    /// From the ask to its end, or to now, in microseconds.
    pub(super) fn wall_us(&self) -> u64 {
        micros(self.finished_at.unwrap_or_else(Instant::now) - self.asked_at)
    }

    /// Goes back to what is shown, because the session that wrote the rest is gone; another session
    /// holds the shown text as committed text.
    pub(super) fn carry_over(&mut self) {
        let (made, carried_tokens) = (self.tokens_made(), self.tokens_to(self.shown));
        self.lost_tokens = self.lost_tokens.saturating_add(made.saturating_sub(carried_tokens));
        self.carried_tokens = carried_tokens;
        self.text.truncate(self.shown);
        self.pieces.clear();
        self.carried = self.shown;
        self.settled = self.shown;
    }

    /// Ends with what is shown: no session makes more of it.
    pub(super) fn end_here(&mut self) {
        self.attached = false;
        // From its first text on the node was making tokens.
        let decode_us = self.first_text_at.map_or(0, |first| micros(first.elapsed()));
        self.finish(Finished {
            reason: FinishReason::MaxTokens,
            tokens: 0,
            bytes: 0,
            prefill_tokens: 0,
            timing: Timing { decode_us, ..Timing::default() },
        });
    }

    /// Tokens it may still make.
    pub(super) fn tokens_left(&self) -> u32 {
        self.ask.max_tokens.saturating_sub(self.carried_tokens)
    }
}
