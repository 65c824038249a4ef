//! The state of one session: what was sent, what is still unanswered, how far its text goes.
//!
//! - Its text is a prefix of the committed text, followed by at most one open proposal.
//! - The number of unanswered commands never exceeds a session's queue, so sending never has to wait and a slow node
//!   cannot hold up the other one.
//! - Everything from a cancelled proposal arrives before anything from a later one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use thinking::thinker::{
    Append, Command, Cut, FinishReason, Finished, Open, Opened, TextEnd, ThoughtStart, Warmed,
};

use crate::{
    committed::{CommittedText, TextPosition},
    port::{Effect, NodeId, Step},
    proposal::Proposal,
};

/// With this many unanswered commands, text is no longer sent ahead but collected.
const UNANSWERED: usize = 16;
/// With this many cancelled proposals whose ends have not arrived, a node is asked only for what is necessary: it is
/// far behind, and anything else would only queue up.
const OWED: usize = 8;
/// Text sent ahead is collected up to this many bytes, or to the end of a line, since prefilling a few tokens at once
/// costs a node about as much as prefilling one.
const CHUNK_BYTES: usize = 32;

/// Which command an awaited `Warmed` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Open,
    Append,
    /// Text that is not committed yet, sent to be judged.
    Draft,
    /// The end of such text.
    DraftEnd,
    /// A cut.
    Cut,
    /// A cut because verdicts were late.
    LateCut,
    /// The given beginning of the answer, whose tokens count as the prompt's do.
    Beginning,
    Commit,
    /// The policy's text, whose tokens the policy wants to know.
    Insert,
}

/// How a node's report on its text compares with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    Agrees(Sent),
    Differs(Sent),
    Unexpected,
}

/// A proposal that was cancelled before its end arrived; the end is still to come.
#[derive(Debug)]
pub(crate) struct CancelledProposal {
    pub(crate) proposal: Proposal,
    /// How many of its tokens have been counted already.
    pub(crate) counted_tokens: u32,
}

/// One node's session.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) node: NodeId,
    unanswered: VecDeque<Unanswered>,
    /// How far its committed text goes once it has carried out everything sent.
    pub(crate) given: TextPosition,
    /// Cancelled proposals from which something may still arrive.
    pub(crate) cancelled: VecDeque<CancelledProposal>,
    /// When it last gave a sign of life, or was last given a reason to.
    pub(crate) heard_at: Duration,
    /// Whether it has, or will have, an open proposal.
    pub(crate) proposing: bool,
    /// Its tokenizer's fingerprint; empty until the session is accepted.
    pub(crate) fingerprint: Arc<str>,
    /// The state of the thought where the answer's text begins, if known: what was requested, otherwise what its
    /// template leaves.
    pub(crate) thought: ThoughtStart,
    /// Whether it judges what the other side writes.
    reviews: bool,
    /// How far its verdicts go, in bytes of the answer.
    pub(crate) reviewed: usize,
    /// The proposal of the other side whose end it was told about.
    pub(crate) told_end_of: Option<u32>,
    /// Whether it objects and waits for a cut.
    pub(crate) is_objecting: bool,
    opened_at: Duration,
    /// How long opening took; `None` until it is accepted.
    opened_in: Option<Duration>,
}

/// A command whose `Warmed` is awaited.
#[derive(Debug, Clone, Copy)]
struct Unanswered {
    sent: Sent,
    at: Duration,
    position: TextPosition,
}

impl SessionState {
    /// Opens a session with committed text.
    pub(crate) fn open(node: NodeId, open: Open, step: &mut Step) -> Self {
        let (given, thought) = (TextPosition::after(&open.committed), open.thought);
        let reviews = open.review.is_some();
        step.effects.push(Effect::Open(node, Box::new(open)));
        let first = Unanswered { sent: Sent::Open, at: step.now, position: given };
        SessionState {
            node,
            unanswered: VecDeque::from([first]),
            reviews,
            reviewed: given.bytes,
            told_end_of: None,
            is_objecting: false,
            given,
            cancelled: VecDeque::new(),
            heard_at: step.now,
            proposing: false,
            fingerprint: "".into(),
            thought,
            opened_at: step.now,
            opened_in: None,
        }
    }

    /// Notes that the session is accepted. Returns how long that took; `None` if it was accepted before.
    pub(crate) fn accept(&mut self, opened: &Opened, now: Duration) -> Option<Duration> {
        if self.opened_in.is_some() {
            return None;
        }
        self.fingerprint = opened.card.tokenizer_fingerprint.as_str().into();
        if self.thought.is_unknown() {
            self.thought = opened.card.thought;
        }
        self.opened_in = Some(now.saturating_sub(self.opened_at));
        self.opened_in
    }

    /// Returns whether its node accepted it.
    pub(crate) fn is_accepted(&self) -> bool {
        self.opened_in.is_some()
    }

    /// Returns how long opening took, or has taken so far.
    pub(crate) fn opening_time(&self, now: Duration) -> Duration {
        self.opened_in.unwrap_or_else(|| now.saturating_sub(self.opened_at))
    }

    /// Returns whether it judges what the other side writes.
    pub(crate) fn reviews(&self) -> bool {
        self.reviews
    }

    /// Sends committed text ahead if that is worth a message now. `all`: even if it is only a few bytes.
    pub(crate) fn warm(&mut self, committed: &CommittedText, all: bool, step: &mut Step) {
        let pending = committed.from(self.given.bytes);
        let worth = all || pending.len() >= CHUNK_BYTES || pending.ends_with('\n');
        if worth && self.opened_in.is_some() && self.unanswered.len() < UNANSWERED {
            self.catch_up(committed, step);
        }
    }

    /// Sends all committed text that it does not have yet, unless a proposal is open.
    pub(crate) fn catch_up(&mut self, committed: &CommittedText, step: &mut Step) {
        let pending = committed.from(self.given.bytes);
        if pending.is_empty() || self.proposing {
            return;
        }
        let token_ids = committed.token_ids_from(self.given.bytes, &self.fingerprint);
        // Committed text is exempt: it was judged before it was committed, or not at all.
        let append = Append { token_ids, exempt: self.reviews, ..Append::text(pending) };
        self.append(append, Sent::Append, step);
    }

    /// Sends what the other side writes ahead, to be judged, if that is worth a message now: all that is settled of a
    /// proposal whose first bytes are committed. `stands`: the answer's first bytes that are not to be judged.
    pub(crate) fn send_draft(
        &mut self,
        draft: &Proposal,
        stands: usize,
        piece_tokens: u32,
        step: &mut Step,
    ) {
        while self.opened_in.is_some() && !self.proposing && self.unanswered.len() < UNANSWERED {
            let Some(from) = self.given.bytes.checked_sub(draft.base) else { return };
            let to = draft.text.settled();
            let exempt_to = stands.saturating_sub(draft.base).clamp(from, to.max(from));
            let exempt = from < exempt_to;
            if !exempt && self.is_behind() {
                return;
            }
            let to = if exempt { exempt_to } else { to };
            let end = match draft.finished() {
                None => TextEnd::Open,
                Some(_) if exempt || self.told_end_of == Some(draft.number) => TextEnd::Open,
                Some(Finished { reason: FinishReason::EndOfText, .. }) => TextEnd::Answer,
                Some(_) => TextEnd::Stretch,
            };
            let Some(text) = draft.text.as_str().get(from..to) else { return };
            let is_end = end != TextEnd::Open;
            let is_worth = exempt || is_end || draft.text.tokens_between(from, to) >= piece_tokens;
            if !is_worth || (text.is_empty() && !is_end) {
                return;
            }
            if is_end {
                self.told_end_of = Some(draft.number);
            }
            let sent = if is_end { Sent::DraftEnd } else { Sent::Draft };
            self.append(Append { end, exempt, ..Append::text(text) }, sent, step);
        }
    }

    /// Cuts its text back to this prefix of the answer. `accepted` is the replacement to put there, if it objected.
    pub(crate) fn cut(&mut self, text: &str, accepted: Option<&str>, step: &mut Step) {
        self.given = TextPosition::after(text);
        self.reviewed = self.given.bytes;
        self.told_end_of = None;
        self.is_objecting = false;
        let cut = Cut { bytes: text.len() as u64, accept: accepted.is_some() };
        self.given.push(accepted.unwrap_or_default());
        step.send(self.node, Command::Cut(cut));
        self.owe(Sent::Cut, step.now);
    }

    /// Cuts its text back to this prefix of the answer because its verdicts are late. Nothing is judged until that is
    /// done.
    pub(crate) fn cut_late(&mut self, text: &str, step: &mut Step) {
        self.cut(text, None, step);
        if let Some(last) = self.unanswered.back_mut() {
            last.sent = Sent::LateCut;
        }
    }

    /// Returns whether a cut is in progress: until it is done, objections concern text that is already dropped.
    pub(crate) fn is_cutting(&self) -> bool {
        self.unanswered.iter().any(|it| matches!(it.sent, Sent::Cut | Sent::LateCut))
    }

    /// Returns whether it has not carried out a cut for late verdicts yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.unanswered.iter().any(|it| it.sent == Sent::LateCut)
    }

    /// Returns since when its verdicts, or its opening, have been awaited, if they are.
    pub(crate) fn judging_since(&self) -> Option<Duration> {
        let is_draft =
            |it: &&Unanswered| matches!(it.sent, Sent::Open | Sent::Draft | Sent::DraftEnd);
        self.unanswered.iter().find(is_draft).map(|it| it.at)
    }

    fn owe(&mut self, sent: Sent, at: Duration) {
        self.unanswered.push_back(Unanswered { sent, at, position: self.given });
    }

    /// Sends the given beginning of the answer, which is all of the committed text.
    pub(crate) fn begin(&mut self, text: &str, step: &mut Step) {
        let append = Append::text(text);
        self.append(append, Sent::Beginning, step);
    }

    /// Sends the policy's own text, which is the end of the committed text.
    pub(crate) fn insert(&mut self, text: &str, step: &mut Step) {
        let append = Append::text(text);
        self.append(append, Sent::Insert, step);
    }

    fn append(&mut self, append: Append, sent: Sent, step: &mut Step) {
        self.given.push(&append.text);
        step.send(self.node, Command::Append(append));
        self.owe(sent, step.now);
    }

    /// Returns whether its node is so far behind that a proposal cannot come in time.
    pub(crate) fn is_far_behind(&self) -> bool {
        self.cancelled.len() >= OWED
    }

    /// Asks for a proposal, after all committed text.
    pub(crate) fn propose(
        &mut self,
        committed: &CommittedText,
        proposal: &Proposal,
        step: &mut Step,
    ) {
        self.catch_up(committed, step);
        self.proposing = true;
        step.send(self.node, Command::Propose(proposal.propose()));
    }

    /// Sends it text to continue from that is not part of the answer, after the other side's open proposal.
    pub(crate) fn put_aside(
        &mut self,
        committed: &CommittedText,
        draft: &str,
        aside: &str,
        step: &mut Step,
    ) {
        self.catch_up(committed, step);
        for text in [draft, aside] {
            self.append(Append::text(text), Sent::Append, step);
        }
    }

    /// Keeps the first bytes of the open proposal, which are `kept`, and forgets the rest.
    pub(crate) fn commit(&mut self, kept: &str, step: &mut Step) {
        self.proposing = false;
        self.given.push(kept);
        step.send(self.node, Command::Commit { bytes: kept.len() as u64 });
        self.owe(Sent::Commit, step.now);
    }

    /// Ends the proposal that is being written and keeps its first bytes, which are `kept`. What still arrives of it is
    /// ignored.
    pub(crate) fn cancel(&mut self, kept: &str, proposal: Proposal, step: &mut Step) {
        if self.cancelled.is_empty() {
            self.heard_at = step.now;
        }
        step.send(self.node, Command::Cancel);
        self.commit(kept, step);
        let counted_tokens = proposal.text.tokens_made();
        self.cancelled.push_back(CancelledProposal { proposal, counted_tokens });
    }

    /// Compares the node's report on its text with ours.
    pub(crate) fn check(&mut self, warmed: &Warmed) -> Report {
        let Some(Unanswered { sent, position, .. }) = self.unanswered.pop_front() else {
            return Report::Unexpected;
        };
        if self.reviews && !self.is_cutting() {
            let reviewed = usize::try_from(warmed.reviewed_bytes).unwrap_or(usize::MAX);
            self.reviewed = self.reviewed.max(reviewed.min(position.bytes));
        }
        if warmed.committed_bytes == position.bytes as u64 && warmed.hash == position.hash {
            Report::Agrees(sent)
        } else {
            Report::Differs(sent)
        }
    }
}
