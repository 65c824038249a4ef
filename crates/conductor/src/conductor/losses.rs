//! When a node is lost, breaks the contract of sessions, or holds another text than ours.
//!
//! Of either side the next candidate goes on at once, with a session that begins with the committed
//! text. Where none is left the answer fails without a small node, and goes on without a large one.

use thinking::{
    policy::{End, Role},
    thinker::{Code, Failure},
};

use super::{Awaiting, Conductor};
use crate::{
    port::{Ended, NodeId},
    progress::{Progress, Resumed},
    session::Sent,
};

/// How often a node's text is sent again as a whole before it is given up.
const REPAIRS: u32 = 8;

impl Conductor {
    /// A node broke the contract of a session: it is given up.
    pub(super) fn fault(&mut self, role: Role, what: &str) -> Result<(), Ended> {
        self.lost(role, Failure::new(Code::Internal, format!("it broke the protocol: {what}")))
    }

    /// A node is gone, silent, refuses, or broke the contract.
    pub(super) fn lost(&mut self, role: Role, failure: Failure) -> Result<(), Ended> {
        let (side, now) = (self.sides.of_mut(role), self.step.now);
        let Some(session) = &side.session else { return Ok(()) };
        let (node, was_accepted) = (session.node, session.is_accepted());
        let was_at_work = side.at_work() == Some(node);
        let is_full = role == Role::Small && failure.code == Code::ContextTooLong;
        if is_full && was_accepted {
            // As if it had reached the end of its context by itself.
            return Err(Ended::Complete(End::ContextFull));
        }
        let side = self.sides.of_mut(role);
        side.lose(node, failure.code, self.settings.rejoin_after, now);
        self.close(role, self.blame(&failure));
        if self.is_late() {
            return self.lost_late(role);
        }
        if !was_at_work {
            // A try failed: it is out still, and was asked for nothing.
            return Ok(());
        }
        if role == Role::Large && self.sides.large.hedge.is_some() {
            // It was asked for the same already.
            self.promote_hedge();
            return Ok(());
        }
        if let Some(next) = self.sides.of_mut(role).next_spare() {
            return self.resume(node, next, failure);
        }
        let name = self.sides.of(role).name(node).to_owned();
        match role {
            // What there is of the answer fits no node that is left.
            Role::Small if is_full && self.awaiting != Awaiting::Opened => {
                Err(Ended::Complete(End::ContextFull))
            }
            Role::Small => Err(Ended::Failed { node: name, failure }),
            Role::Large => {
                self.degrade(about("large node", &name, &failure));
                self.do_without();
                self.do_without_review()
            }
        }
    }

    /// Whether the question's time is up.
    pub(super) fn is_late(&self) -> bool {
        self.question.deadline.is_some_and(|deadline| deadline <= self.step.now)
    }

    /// What a node is to blame for. When the time is up nodes fail a session whose text is not in the cache by then.
    pub(super) fn blame(&self, failure: &Failure) -> Option<Failure> {
        let is_to_blame = !(self.is_late() && failure.code == Code::DeadlineExceeded);
        is_to_blame.then(|| failure.clone())
    }

    /// A node is gone when the time is up: nobody takes its place, and the answer is cut off where it cannot go on
    /// without it. What it has finished stays: the policy is about to hear of it.
    fn lost_late(&mut self, role: Role) -> Result<(), Ended> {
        let proposal = self.sides.of(role).proposal.as_ref();
        let is_finished = proposal.is_some_and(|proposal| proposal.finished().is_some());
        if role == Role::Small || (self.awaiting == Awaiting::Finished(role) && !is_finished) {
            return Err(Ended::Complete(End::Deadline));
        }
        self.do_without();
        self.do_without_review()
    }

    /// No large node is left for what was asked of it.
    fn do_without(&mut self) {
        let Some(proposal) = &mut self.sides.large.proposal else { return };
        proposal.lose_session();
        if !proposal.is_running() {
            return;
        }
        // A node may give less than was asked for: to the policy this one did.
        proposal.stop(self.step.now);
        match (self.awaiting == Awaiting::Finished(Role::Large), proposal.finished().is_some()) {
            (true, true) => self.complete(Role::Large),
            (true, false) => self.give_up(),
            (false, _) => {}
        }
    }

    /// The next node goes on.
    fn resume(&mut self, from: NodeId, to: NodeId, failure: Failure) -> Result<(), Ended> {
        let role = from.role;
        if !self.wants_session(role) {
            // Nobody goes on at once: the next takeover opens a session of its own.
            self.let_go(role);
            return Ok(());
        }
        let name = |node| self.sides.of(role).name(node).to_owned();
        let (from, next) = (name(from), name(to));
        self.ledger.summary.model_mut(role).node.clone_from(&next);
        match role {
            Role::Small => self.ledger.summary.resumes += 1,
            Role::Large => self.ledger.summary.large_resumes += 1,
        }
        self.step.tell(Progress::Resumed(Box::new(Resumed {
            role,
            from,
            code: failure.code,
            reason: failure.message,
            to: next,
            committed_bytes: self.committed.len() as u64,
        })));
        self.reopen(to);
        Ok(())
    }

    /// A node's text is not ours: it gets ours again, as a whole.
    pub(super) fn repair(&mut self, role: Role, sent: Sent) -> Result<(), Ended> {
        // The report comes before anything the node wrote on top of the wrong text, so nothing of
        // that has been shown.
        self.ledger.summary.hash_repairs += 1;
        let again = sent == Sent::Open && self.committed.len() > 0;
        if again || self.ledger.summary.hash_repairs > REPAIRS {
            return self.fault(role, "its text differs from ours, also after sending it again");
        }
        let session = self.sides.of(role).session.as_ref();
        let Some(node) = session.map(|session| session.node) else { return Ok(()) };
        let committed_bytes = self.committed.len() as u64;
        self.step.tell(Progress::Repaired { role, committed_bytes });
        self.close(role, None);
        self.reopen(node);
        Ok(())
    }

    /// Whether a side needs a session now: with `resend` the large one does only while it writes.
    fn wants_session(&self, role: Role) -> bool {
        let proposal = self.sides.of(role).proposal.as_ref();
        let is_running = proposal.is_some_and(|proposal| proposal.is_running());
        role == Role::Small || !self.settings.resend || is_running
    }

    /// A side's session is gone, and its proposal goes on without it.
    fn let_go(&mut self, role: Role) {
        if let Some(proposal) = &mut self.sides.of_mut(role).proposal {
            proposal.lose_session();
        }
        if role == Role::Small && !self.has_draft() {
            self.forget_draft();
        }
    }

    /// Opens a session with all that is committed, and asks again for what was asked.
    pub(super) fn reopen(&mut self, node: NodeId) {
        let (role, now) = (node.role, self.step.now);
        if self.awaiting.role() == role {
            self.heard_at = now;
        }
        self.let_go(role);
        if !self.wants_session(role) {
            return;
        }
        let inserted = match (&self.awaiting, role) {
            (Awaiting::Inserted { text, .. }, Role::Small) => Some(text.clone()),
            _ => None,
        };
        self.open(node, self.committed.len() - inserted.as_ref().map_or(0, String::len));
        let side = self.sides.of_mut(role);
        let Some(session) = &mut side.session else { return };
        if let Some(text) = inserted {
            session.insert(&text, &mut self.step);
        }
        match side.proposal.as_mut().filter(|proposal| proposal.is_running()) {
            Some(proposal) if proposal.tokens_left() == 0 => {
                proposal.use_up(now);
                self.complete(role);
            }
            Some(_) => self.propose(role),
            None => {}
        }
    }
}

/// A failure in one line that names the node; most name it themselves.
fn about(what: &str, node: &str, failure: &Failure) -> String {
    let message = &failure.message;
    if failure.names_thinker() {
        format!("{what}: {message}")
    } else {
        format!("{what} {node}: {message}")
    }
}
