//! What happens when a node is lost, breaks the contract of sessions, or holds another text than ours.
//!
//! On either side the next candidate continues at once, in a session that begins with the committed text. If none is
//! left, the answer fails without a small node, and continues without a large one.

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

/// How often a node's text is sent again as a whole before the node is given up.
const REPAIRS: u32 = 8;

impl Conductor {
    /// Gives up a node that broke the contract of a session.
    pub(super) fn fault(&mut self, role: Role, what: &str) -> Result<(), Ended> {
        self.lost(role, Failure::new(Code::Internal, format!("it broke the protocol: {what}")))
    }

    /// Handles the loss of a node: it has exited, is silent, refuses, or broke the contract.
    pub(super) fn lost(&mut self, role: Role, failure: Failure) -> Result<(), Ended> {
        let (side, now) = (self.sides.of_mut(role), self.step.now);
        let Some(session) = &side.session else { return Ok(()) };
        let (node, was_accepted) = (session.node, session.is_accepted());
        let was_at_work = side.at_work() == Some(node);
        let is_full = role == Role::Small && failure.code == Code::ContextTooLong;
        if is_full && was_accepted {
            // As if it had reached the end of its context while writing.
            return Err(Ended::Complete(End::ContextFull));
        }
        let side = self.sides.of_mut(role);
        side.lose(node, failure.code, self.settings.rejoin_after, now);
        self.close(role, self.blame(&failure));
        if self.is_late() {
            return self.lost_late(role);
        }
        if !was_at_work {
            // A try failed: the node is still away, and was not asked for anything.
            return Ok(());
        }
        if role == Role::Large {
            // A node that has written all it could leaves nothing for the second one.
            self.settle_hedge();
            if self.sides.large.hedge.is_some() {
                // The second node was already asked for the same takeover.
                self.promote_hedge();
                return Ok(());
            }
        }
        if let Some(next) = self.sides.of_mut(role).next_spare() {
            return self.resume(node, next, failure);
        }
        let name = self.sides.of(role).name(node).to_owned();
        match role {
            // The answer so far does not fit any remaining node.
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

    /// Returns whether the question's deadline has passed.
    pub(super) fn is_late(&self) -> bool {
        self.question.deadline.is_some_and(|deadline| deadline <= self.step.now)
    }

    /// Returns the failure if the node is to blame for it. It is not to blame if the deadline has passed and it fails a
    /// session whose text is not in the cache yet.
    pub(super) fn blame(&self, failure: &Failure) -> Option<Failure> {
        let is_to_blame = !(self.is_late() && failure.code == Code::DeadlineExceeded);
        is_to_blame.then(|| failure.clone())
    }

    /// Handles the loss of a node after the deadline: no other node takes its place, and the answer is cut off if it
    /// cannot continue without the node. A proposal that it has finished stays, since the policy is about to be told of
    /// it.
    fn lost_late(&mut self, role: Role) -> Result<(), Ended> {
        let proposal = self.sides.of(role).proposal.as_ref();
        let is_finished = proposal.is_some_and(|proposal| proposal.finished().is_some());
        if role == Role::Small || (self.awaiting == Awaiting::Finished(role) && !is_finished) {
            return Err(Ended::Complete(End::Deadline));
        }
        self.do_without();
        self.do_without_review()
    }

    /// Handles the lack of any large node for what was asked of it.
    fn do_without(&mut self) {
        let Some(proposal) = &mut self.sides.large.proposal else { return };
        proposal.lose_session();
        if !proposal.is_running() {
            return;
        }
        // A node may write less than it was asked for; to the policy, this one did.
        proposal.stop(self.step.now);
        match (self.awaiting == Awaiting::Finished(Role::Large), proposal.finished().is_some()) {
            (true, true) => self.complete(Role::Large),
            (true, false) => self.give_up(),
            (false, _) => {}
        }
    }

    /// Lets the next node continue.
    fn resume(&mut self, from: NodeId, to: NodeId, failure: Failure) -> Result<(), Ended> {
        let role = from.role;
        if !self.wants_session(role) {
            // No node continues now: the next takeover opens a session of its own.
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

    /// Repairs a node whose text differs from ours, by sending it the whole text again.
    pub(super) fn repair(&mut self, role: Role, sent: Sent) -> Result<(), Ended> {
        // The report arrives before anything the node wrote after the wrong text, so none of that has been shown.
        self.ledger.summary.hash_repairs += 1;
        let again = sent == Sent::Open && self.committed.len() > 0;
        if again || self.ledger.summary.hash_repairs > REPAIRS {
            return self.fault(role, "its text differs from ours, even after it was sent again");
        }
        let session = self.sides.of(role).session.as_ref();
        let Some(node) = session.map(|session| session.node) else { return Ok(()) };
        let committed_bytes = self.committed.len() as u64;
        self.step.tell(Progress::Repaired { role, committed_bytes });
        self.close(role, None);
        self.reopen(node);
        Ok(())
    }

    /// Returns whether a side needs a session now. With `resend` the large side needs one only while it writes.
    fn wants_session(&self, role: Role) -> bool {
        let proposal = self.sides.of(role).proposal.as_ref();
        let is_running = proposal.is_some_and(|proposal| proposal.is_running());
        role == Role::Small || !self.settings.resend || is_running
    }

    /// Lets a side's proposal continue without its session, which is lost.
    fn let_go(&mut self, role: Role) {
        if let Some(proposal) = &mut self.sides.of_mut(role).proposal {
            proposal.lose_session();
        }
        if role == Role::Small && !self.has_draft() {
            self.forget_draft();
        }
    }

    /// Opens a session with all committed text, and asks again for what was asked.
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

/// Returns a failure as one line that names the node; most failures name it themselves.
fn about(what: &str, node: &str, failure: &Failure) -> String {
    let message = &failure.message;
    if failure.names_thinker() {
        format!("{what}: {message}")
    } else {
        format!("{what} {node}: {message}")
    }
}
