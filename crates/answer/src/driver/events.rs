//! What a session reports, taken in.

use thinking::{
    policy::{PolicyEvent, Role},
    thinker::{Code, Delta, Failure, FinishReason, Finished, Opened, Warmed},
};
use tokio::time::Instant;

use super::{
    Awaiting, Driver, Ended,
    draft::Draft,
    link::{Report, Sent},
    micros,
};
use crate::progress::{Abandoned, NodeFinished, NodeOpened, NodeWarmed, Progress, reason_name};

impl Driver<'_> {
    pub(super) fn opened(&mut self, role: Role, opened: Opened) -> Option<Ended> {
        let Some(link) = self.link(role).filter(|link| link.opened.is_none()) else {
            return self.fault(role, "it accepted the question twice");
        };
        link.accept(opened.clone());
        let (node, open_us) = (link.node.name.clone(), micros(link.opened_at.elapsed()));
        let totals = self.summary.model_mut(role);
        totals.model.clone_from(&opened.card.name);
        totals.prompt_tokens = u64::from(opened.prompt_tokens);
        totals.cached_tokens += u64::from(opened.cached_tokens);
        self.tell(Progress::Opened(NodeOpened {
            role,
            node,
            card: opened.card,
            prompt_tokens: opened.prompt_tokens,
            cached_tokens: opened.cached_tokens,
            open_us,
        }));
        if role == Role::Large {
            self.rejoined();
        }
        if role == Role::Small && self.awaiting == Awaiting::Opened {
            // The large node may still be opening: commands queue, and nobody waits for it before
            // the policy wants it.
            return self.advance(PolicyEvent::Started { prompt_tokens: opened.prompt_tokens });
        }
        self.warm(true);
        None
    }

    pub(super) fn warmed(&mut self, role: Role, warmed: &Warmed) -> Option<Ended> {
        let report = match self.link(role) {
            Some(link) => link.check(warmed),
            None => return None,
        };
        let sent = match report {
            Report::Agrees(sent) => sent,
            Report::Differs(sent) => return self.repair(role, sent),
            Report::Unexpected => return self.fault(role, "it reported text it was not given"),
        };
        self.tally_warmed(role, warmed);
        self.tell(Progress::Warmed(NodeWarmed {
            role,
            committed_bytes: warmed.committed_bytes,
            tokens: warmed.tokens,
            prefill_tokens: warmed.prefill_tokens,
            prefill_us: warmed.prefill_us,
        }));
        if let (Sent::Insert, Awaiting::Inserted { why, .. }) = (sent, &self.awaiting) {
            self.tally_inserted(*why, warmed);
            return self.advance(PolicyEvent::Inserted { tokens: warmed.tokens });
        }
        self.warm(false);
        None
    }

    pub(super) fn delta(&mut self, role: Role, delta: Delta) -> Option<Ended> {
        if let Some(forgotten) = self.link(role).and_then(|link| link.forgotten.front_mut()) {
            forgotten.draft.push(delta);
            return None;
        }
        let Some(draft) = self.draft(role).as_mut().filter(|draft| draft.is_running()) else {
            return self.fault(role, "it wrote without being asked");
        };
        draft.push(delta);
        let (end, begun) = (draft.showable(), draft.first_text_at.is_some());
        if begun && let Some(ended) = self.end_overlap(role) {
            return Some(ended);
        }
        if let Err(defect) = self.show(role, end) {
            return Some(defect.into());
        }
        self.warm(false);
        None
    }

    pub(super) fn finished(&mut self, role: Role, finished: Finished) -> Option<Ended> {
        const DIFFERS: &str = "the text it sent and the length it reports differ";
        if let Some(mut forgotten) = self.link(role).and_then(|link| link.forgotten.pop_front()) {
            let agrees = forgotten.draft.finish(finished);
            self.tally_forgotten(role, &forgotten);
            self.tell_finished(&forgotten.draft);
            return if agrees { None } else { self.fault(role, DIFFERS) };
        }
        let Some(draft) = self.draft(role).as_mut().filter(|draft| draft.is_running()) else {
            return self.fault(role, "it finished without being asked");
        };
        if !draft.finish(finished) {
            return self.fault(role, DIFFERS);
        }
        if role == Role::Small && self.overlapping() {
            return self.give_up();
        }
        if let Some(ended) = self.end_overlap(role) {
            return Some(ended);
        }
        self.complete(role)
    }

    /// The large node came first: what the small one wrote meanwhile is forgotten.
    fn end_overlap(&mut self, first: Role) -> Option<Ended> {
        if first != Role::Large || !self.overlapping() {
            return None;
        }
        self.keep(Role::Small, 0, false).err().map(Ended::from)
    }

    /// The takeover's first text is late, or will never come: the small model goes on. That the
    /// policy keeps nothing of it ends it.
    pub(super) fn give_up(&mut self) -> Option<Ended> {
        let overlapping = self.overlapping();
        let draft = self.large_draft.take()?;
        let abandoned = Abandoned { ask: draft.number, waited_us: draft.wall_us() };
        if !overlapping {
            self.tally_finished(&draft);
        }
        self.large_draft = Some(draft);
        self.summary.abandoned += 1;
        self.tell(Progress::Abandoned(abandoned));
        if overlapping {
            self.awaiting = Awaiting::Finished(Role::Small);
            self.heard = Instant::now();
        }
        let ended = self.advance(PolicyEvent::Late);
        if ended.is_some() {
            return ended;
        }
        // What was written meanwhile is an ask like any other from here on, if the policy lets it be.
        let draft = self.small_draft.as_mut().filter(|draft| overlapping && draft.is_overlap())?;
        draft.ask.provisional = false;
        if draft.finished.is_some() {
            return self.complete(Role::Small);
        }
        let end = draft.showable();
        let shown = self.show(Role::Small, end);
        self.warm(false);
        shown.err().map(Ended::from)
    }

    /// A draft is finished: tells the observer and the policy.
    pub(super) fn complete(&mut self, role: Role) -> Option<Ended> {
        let draft = self.draft(role).take()?;
        let Some(finished) = draft.finished.as_ref() else {
            *self.draft(role) = Some(draft);
            return None;
        };
        if role == Role::Large && !draft.interrupted {
            self.tries = 0;
        }
        self.tell_finished(&draft);
        self.tally_finished(&draft);
        // The policy reads the text while the driver may change everything else.
        let (text, tokens, reason) = (draft.text.clone(), finished.tokens, finished.reason.clone());
        *self.draft(role) = Some(draft);
        self.advance(PolicyEvent::Finished { text: &text, tokens, reason: &reason })
    }

    fn tell_finished(&mut self, draft: &Draft) {
        // Of what was cut short no node said that it finished it.
        let Some(finished) = draft.finished.as_ref().filter(|_| !draft.interrupted) else { return };
        self.tell(Progress::Finished(NodeFinished {
            ask: draft.number,
            role: draft.ask.role,
            reason: reason_name(&finished.reason).to_owned(),
            trigger: match &finished.reason {
                FinishReason::Trigger(found) => Some(found.clone()),
                _ => None,
            },
            tokens: finished.tokens,
            bytes: finished.bytes,
            prefill_tokens: draft.prefill_tokens(),
            timing: finished.timing,
            first_text_us: draft.first_text_at.map(|at| micros(at - draft.asked_at)),
            wall_us: draft.wall_us(),
        }));
    }

    /// A node broke the contract of a session: it is given up.
    pub(super) fn fault(&mut self, role: Role, what: &str) -> Option<Ended> {
        self.lost(role, Failure::new(Code::Internal, format!("it broke the protocol: {what}")))
    }
}
