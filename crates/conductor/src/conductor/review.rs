//! Reviews: the large node judges what the small one writes, while it is written.
//!
//! - The small node's text goes to the large one before it is committed. It is committed and shown as far as the
//!   verdicts go, so nothing that was shown is ever taken back.
//! - An objection ends the proposal at its place, and the policy is told. Then both sessions are cut back to the
//!   committed text, and the large model's replacement is put there without an ask.
//! - A complete proposal is passed to the policy once its end is judged.
//! - Text is accepted without a verdict if the reviewer is late or lost, or if the policy overrules it.

use std::{sync::Arc, time::Duration};

use thinking::{
    draw::splitmix64,
    policy::{Need, Policy as _, ReviewConfig, Role, Why},
    thinker::{Code, Failure, FinishReason, ModelCard, Objection, Review},
};

use super::{Awaiting, Conductor, Due, turns::Defect};
use crate::{
    port::Ended,
    progress::{Abandoned, Objected, Progress},
    session::SessionState,
};

/// How many bytes of the rejected token are reported at most.
const TOLD_BYTES: usize = 64;
/// The index, in the sequence of the question's seed, of the seed for a review's draws; asks have lower ones.
const REVIEW_DRAWS: u64 = u64::MAX;
/// The most tokens of an objection: a character never takes more.
const MOST_TOKENS: u32 = 16;
/// The most bytes of an objection's text.
const MOST_BYTES: usize = 1024;

impl Conductor {
    /// Returns the session that judges what the small node writes, if there is one.
    fn reviewer(&self) -> Option<&SessionState> {
        let large = &self.sides.large;
        let session = large.session.as_ref().filter(|session| session.reviews())?;
        Some(session).filter(|session| large.at_work() == Some(session.node))
    }

    /// Returns what a session on the large node is asked to judge, from this byte of the answer on.
    pub(super) fn review_from(&self, role: Role, bytes: usize) -> Option<Review> {
        let ReviewConfig { gap, skip_openings, draw, .. } =
            self.policy.review().filter(|_| role == Role::Large)?;
        let draw = draw.then(|| splitmix64(self.question.seed, REVIEW_DRAWS));
        Some(Review { gap, from_byte: bytes as u64, skip_openings, draw })
    }

    /// Returns how much of the small node's proposal may be committed and shown now.
    pub(super) fn passed(&self, showable: usize, base: usize) -> usize {
        match self.reviewer() {
            None => showable,
            Some(session) => showable.min(session.reviewed.max(self.stands).saturating_sub(base)),
        }
    }

    /// Sends the large node what the small one has written, to be judged.
    pub(super) fn send_draft(&mut self) {
        let Some(ReviewConfig { piece_tokens, .. }) = self.policy.review() else { return };
        if self.reviewer().is_none() {
            return;
        }
        let (small, large) = (&self.sides.small, &mut self.sides.large);
        if let (Some(draft), Some(session)) = (small.draft(), &mut large.session)
            && session.given.bytes >= self.committed.len()
        {
            session.send_draft(draft, self.stands, piece_tokens, &mut self.step);
        }
    }

    /// Returns whether the small node's proposal is complete: then it survives the loss of its session.
    pub(super) fn has_draft(&self) -> bool {
        let draft = self.sides.small.proposal.as_ref();
        draft.is_some_and(|draft| draft.finished().is_some())
    }

    /// Makes the large node forget what it was sent of a text that no longer exists.
    pub(super) fn forget_draft(&mut self) {
        let committed = self.committed.text();
        if let Some(session) = &mut self.sides.large.session
            && (session.given.bytes > committed.len() || session.is_objecting)
        {
            // Committed text stays, judged or not. The node's number may be any byte, so round it down to a character
            // boundary.
            let judged = match session.reviews() {
                true => committed.floor_char_boundary(session.reviewed),
                false => committed.len(),
            };
            session.cut(&committed[..judged], None, &mut self.step);
        }
    }

    /// Returns whether the small node's complete proposal now waits for the verdict on its end.
    pub(super) fn awaits_verdict(&mut self) -> bool {
        let Some(proposal) = &self.sides.small.proposal else { return false };
        let reason = proposal.finished().map(|finished| &finished.reason);
        if reason == Some(&FinishReason::Deadline) || self.reviewer().is_none() {
            return false;
        }
        self.awaiting = Awaiting::Verdict;
        self.heard_at = self.step.now;
        self.send_draft();
        true
    }

    /// Handles further verdicts. `to_end`: they reach the end of a complete proposal.
    pub(super) fn judged(&mut self, to_end: bool) -> Result<(), Ended> {
        if to_end
            && self.awaiting == Awaiting::Verdict
            && self.reviewer().is_some_and(|session| !session.is_cutting())
        {
            return self.let_stand();
        }
        self.show_settled(Role::Small)
    }

    /// Accepts what the small node has written, without further verdicts.
    fn let_stand(&mut self) -> Result<(), Ended> {
        let Some(proposal) = &self.sides.small.proposal else { return Ok(()) };
        let is_over = proposal.finished().is_some() && self.awaiting == Awaiting::Verdict;
        self.stands = self.stands.max(proposal.base + proposal.text.settled());
        self.show_settled(Role::Small)?;
        if is_over && self.due.is_empty() {
            self.count_draft();
            self.due.push_back(Due::Finished(Role::Small));
        }
        Ok(())
    }

    /// Counts what is not counted yet of the time that the small node's proposal took, now that it is waited for no
    /// longer: its writing, and the wait for the verdict on its end.
    pub(super) fn count_draft(&mut self) {
        let Some(draft) = &mut self.sides.small.proposal else { return };
        self.ledger.finished(draft, &self.step);
        if self.awaiting == Awaiting::Verdict {
            self.ledger.summary.time.verdicts_us += draft.since_end_us(self.step.now);
            self.awaiting = Awaiting::Finished(Role::Small);
        }
    }

    /// Accepts what the small node wrote because no large node is left, or none in time, to judge it.
    pub(super) fn do_without_review(&mut self) -> Result<(), Ended> {
        match self.policy.review() {
            Some(_) => self.let_stand(),
            None => Ok(()),
        }
    }

    /// Returns when the awaited verdicts are late.
    pub(super) fn verdict_late_at(&self) -> Option<Duration> {
        let since = self.judging_since()?;
        self.policy.review_within().map(|within| since + within.min(crate::LONGEST))
    }

    /// Returns since when verdicts have been awaited, if any are.
    pub(super) fn judging_since(&self) -> Option<Duration> {
        let since = self.reviewer()?.judging_since()?;
        let waits = self.awaiting == Awaiting::Verdict;
        let draft = self.sides.small.draft();
        let draft = draft.filter(|it| waits || it.text.settled() > it.text.shown())?;
        Some(since.max(self.verdicts_from).max(draft.first_text_at.unwrap_or_default()))
    }

    /// Handles late verdicts: what was written is accepted.
    pub(super) fn verdict_late(&mut self) -> Result<(), Ended> {
        let (Some(since), Some(proposal)) = (self.judging_since(), &self.sides.small.proposal)
        else {
            return Ok(());
        };
        let waited_us = crate::micros(self.step.now.saturating_sub(since));
        let ask = proposal.number;
        let stands = proposal.base + proposal.text.settled();
        self.stands = self.stands.max(stands);
        self.verdicts_from = self.step.now;
        self.ledger.summary.abandoned += 1;
        self.step.tell(Progress::Unreviewed(Abandoned { ask, waited_us }));
        let large = self.reviewer().filter(|it| it.is_accepted() && !it.is_behind());
        if let Some(from) = large.map(|it| it.reviewed) {
            self.overrule(from, true);
        }
        self.let_stand()
    }

    /// Handles an objection of the large node to what the small one wrote.
    pub(super) fn objected(&mut self, role: Role, objection: Objection) -> Result<(), Ended> {
        let Some(session) = self.sides.of(role).session.as_ref().filter(|it| it.reviews()) else {
            return self.fault(role, "it objects without being asked to");
        };
        if session.is_cutting() {
            return Ok(());
        }
        let place = usize::try_from(objection.at_byte).ok();
        let bytes = objection.bytes as usize;
        let is_given =
            |at: &usize| at.checked_add(bytes).is_some_and(|end| end <= session.given.bytes);
        let place = place.filter(is_given);
        let Some(at) = place.filter(|at| self.committed.is_place(*at)) else {
            return self.fault(role, "it objects to a place that its text does not have");
        };
        if objection.instead.as_ref().is_some_and(|it| it.is_empty() || it.len() > MOST_BYTES)
            || !(1..=MOST_TOKENS).contains(&objection.tokens)
        {
            return self.fault(role, "it objects with a replacement that is empty or far too long");
        }
        if at < self.committed.len().max(self.stands) {
            return self.fault(role, "it objects to text that is already accepted");
        }
        let draft = self.sides.small.proposal.as_ref();
        let local = draft.and_then(|draft| at.checked_sub(draft.base));
        let (Some(draft), Some(local)) = (draft, local) else {
            return self.fault(role, "it objects to text that nobody wrote");
        };
        let ended = draft.finished().map(|it| &it.reason) == Some(&FinishReason::EndOfText);
        if objection.bytes == 0 && !(ended && session.told_end_of == Some(draft.number)) {
            return self.fault(role, "it objects to an end that it was not sent");
        }
        let Some(rest) = draft.text.as_str().get(local..) else {
            return self.fault(role, "it objects to a place inside a character");
        };
        let stood = &rest[..rest.floor_char_boundary(TOLD_BYTES.min(objection.bytes as usize))];
        let objected = Objected {
            ask: draft.number,
            at_byte: objection.at_byte,
            stood: stood.to_owned(),
            instead: objection.instead.clone(),
            gap: objection.gap,
            rank: objection.rank,
            log_p: objection.log_p,
            tokens: objection.tokens,
        };
        self.ledger.objected(&objected);
        self.step.tell(Progress::Objected(Box::new(objected)));
        if let Some(session) = &mut self.sides.large.session {
            session.reviewed = session.reviewed.max(at);
            session.is_objecting = true;
        }
        self.show_settled(Role::Small)?;
        if self.due.is_empty() {
            self.objection = Some(objection);
            self.due.push_back(Due::Objected);
        }
        Ok(())
    }

    /// Carries out the policy's decision to accept what is objected to.
    pub(super) fn overruled(&mut self) -> Result<(), Ended> {
        let Some(objection) = self.objection.take() else { return Ok(()) };
        let at = usize::try_from(objection.at_byte).unwrap_or(usize::MAX);
        self.stands = self.stands.max(at + objection.bytes as usize);
        self.overrule(at, false);
        if objection.bytes > 0 {
            return self.show_settled(Role::Small);
        }
        self.let_stand()
    }

    /// Continues as if an objection had not been made: the large node is sent the text from there on again.
    fn overrule(&mut self, at: usize, is_late: bool) {
        let draft = self.sides.small.proposal.as_ref();
        let more = draft.map_or("", |draft| {
            let from = self.committed.len().saturating_sub(draft.base);
            draft.text.as_str().get(from..).unwrap_or_default()
        });
        let mut text = format!("{}{more}", self.committed.text());
        text.truncate(text.floor_char_boundary(at));
        if let Some(session) = &mut self.sides.large.session {
            match is_late {
                true => session.cut_late(&text, &mut self.step),
                false => session.cut(&text, None, &mut self.step),
            }
            // An end that is accepted is not reported again.
            session.told_end_of =
                draft.filter(|it| it.base + it.text.len() == at).map(|it| it.number);
        }
        self.warm(true);
    }

    /// Keeps the first bytes of the small node's proposal, and appends the large node's replacement.
    pub(super) fn correct(&mut self, bytes: u64, ending: bool) -> Result<(), Defect> {
        let Some(Objection { instead: Some(text), tokens, token_ids, .. }) = self.objection.take()
        else {
            return Err(Defect::new("it corrects text that nobody objects to"));
        };
        self.keep_text(Role::Small, bytes)?;
        self.stands = self.stands.min(self.committed.len());
        let large = self.sides.large.session.as_mut();
        let fingerprint = large.map(|session| {
            session.cut(self.committed.text(), Some(&text), &mut self.step);
            Arc::clone(&session.fingerprint)
        });
        if let Some(loops) = &mut self.loops {
            loops.pass(&text);
        }
        self.committed.push(&text, &token_ids, fingerprint.as_ref());
        self.ledger.corrected(Why::Review, text, tokens, &mut self.step);
        if !ending {
            self.warm(true);
        }
        Ok(())
    }

    /// Returns why a node that accepted a session cannot do what the policy needs from it, if it cannot.
    ///
    /// # Errors
    /// If it is the first large one, since then no node could ever do it.
    pub(super) fn unfit(
        &self,
        role: Role,
        card: &ModelCard,
    ) -> Result<Option<&'static str>, Ended> {
        let reviews = self.sides.large.session.as_ref().is_some_and(SessionState::reviews);
        let why = match (role, self.policy.need()) {
            (Role::Large, _) if reviews && !card.can_review => CANNOT_REVIEW,
            (Role::Large, Some(Need::Asides)) if !card.can_review => CANNOT_BE_ASKED_ASIDE,
            (Role::Small, Some(Need::Entropies)) if !card.can_report_entropy => CANNOT_TELL_ENTROPY,
            _ => return Ok(None),
        };
        if role == Role::Large && self.ledger.summary.large.model.is_empty() {
            let node = self.ledger.summary.large.node.clone();
            return Err(Ended::Failed { node, failure: Failure::new(Code::InvalidArgument, why) });
        }
        Ok(Some(why))
    }
}

/// Why a node cannot review.
const CANNOT_REVIEW: &str = "it cannot review another model's text; update the node, give an \
    SGLang server the tokenizer of its model (a vLLM server also needs --review-upstream full), \
    or use another policy";
/// Why a node cannot give marks.
const CANNOT_BE_ASKED_ASIDE: &str = "it cannot take back text that it was given, which the score policy needs; update \
    it, or use a node with a model of its own or another policy";
/// Why a node cannot report entropies.
const CANNOT_TELL_ENTROPY: &str = "it cannot report the entropy of a token, which the entropy policy needs; update \
    it, or use a node with a model of its own or another policy";
