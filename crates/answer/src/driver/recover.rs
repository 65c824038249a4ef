//! When a node is lost, late, or holds another text than ours.

use thinking::{policy::Role, thinker::Failure};
use tokio::time::Instant;

use super::{
    Awaiting, Driver, Ended,
    actions::propose,
    link::{Link, Sent},
    tally::Meter,
};
use crate::{
    LOG_TARGET,
    progress::{Progress, Resumed},
    question::Node,
};

/// How often a node's text is sent again as a whole before it is given up.
const REPAIRS: u32 = 8;

impl Driver<'_> {
    /// A node is gone, late, refuses, or broke the contract.
    pub(super) fn lost(&mut self, role: Role, failure: Failure) -> Option<Ended> {
        match role {
            Role::Large => self.lost_large(&failure),
            Role::Small => self.lost_small(failure),
        }
    }

    fn lost_large(&mut self, failure: &Failure) -> Option<Ended> {
        let link = self.large.take()?;
        for forgotten in &link.forgotten {
            self.tally_forgotten(Role::Large, forgotten);
        }
        tracing::warn!(target: LOG_TARGET, node = link.node.name, code = ?failure.code, "large node lost: {failure}");
        // One that was out is out still.
        if self.away.is_none() {
            self.degrade(about("large node", &link.node.name, &failure.message));
        }
        self.stay_away(link.node, failure.code);
        let draft = self.large_draft.as_mut()?;
        draft.attached = false;
        if self.awaiting != Awaiting::Finished(Role::Large) {
            return None;
        }
        if draft.first_text_at.is_none() {
            return self.give_up();
        }
        // A node may give less than was asked for: to the policy this one did.
        draft.carry_over();
        draft.interrupted = true;
        draft.end_here();
        self.complete(Role::Large)
    }

    /// The large node is out. Marks the answer; the first reason stands.
    pub(super) fn degrade(&mut self, reason: String) {
        self.summary.degraded.get_or_insert_with(|| reason.clone());
        self.tell(Progress::Degraded { reason });
    }

    fn lost_small(&mut self, failure: Failure) -> Option<Ended> {
        let lost = self.small.node.name.clone();
        tracing::warn!(target: LOG_TARGET, node = lost, code = ?failure.code, "small node lost: {failure}");
        let Some(next) = self.spare.pop_front() else {
            return Some(Ended::Failed { node: lost, failure });
        };
        self.summary.resumes += 1;
        let bytes = self.written.len() as u64;
        self.tell(Progress::Resumed(Resumed::new(&lost, &failure, &next.name, bytes)));
        self.meters.push(Meter::start(Role::Small, &next));
        self.summary.small.node.clone_from(&next.name);
        self.reopen(Role::Small, next)
    }

    /// A node's text is not ours: it gets ours again, as a whole.
    pub(super) fn repair(&mut self, role: Role, sent: Sent) -> Option<Ended> {
        // The report comes before anything the node wrote on top of the wrong text, so nothing of
        // that has been shown.
        self.summary.hash_repairs += 1;
        let again = sent == Sent::Open && !self.written.text().is_empty();
        if again || self.summary.hash_repairs > REPAIRS {
            return self.fault(role, "its text differs from ours, also after sending it again");
        }
        let node = match self.link(role) {
            Some(link) => link.node.clone(),
            None => return None,
        };
        let committed_bytes = self.written.len() as u64;
        tracing::warn!(target: LOG_TARGET, node = node.name, committed_bytes, "the node's text differs: sent again");
        self.tell(Progress::Repaired { role, committed_bytes });
        self.reopen(role, node)
    }

    /// Opens a session with all that is written, and asks again for what was asked.
    fn reopen(&mut self, role: Role, node: Node) -> Option<Ended> {
        let inserted = match (&self.awaiting, role) {
            (Awaiting::Inserted { text, .. }, Role::Small) => Some(text.clone()),
            _ => None,
        };
        let begin = self.written.len() - inserted.as_ref().map_or(0, String::len);
        let open = self.open(&self.written.text()[..begin]);
        let mut link = Link::open(node, open);
        if let Some(text) = inserted {
            link.insert(&text);
        }
        if self.awaiting.role() == role {
            self.heard = Instant::now();
        }
        let mut spent_up = false;
        if let Some(draft) = self.draft(role) {
            if !draft.is_running() {
                draft.attached = false;
            } else {
                draft.carry_over();
                spent_up = draft.tokens_left() == 0;
                if spent_up {
                    draft.end_here();
                } else {
                    let propose = propose(draft);
                    link.propose(&self.written, propose);
                }
            }
        }
        let lost = match role {
            Role::Small => Some(std::mem::replace(&mut self.small, link)),
            Role::Large => self.large.replace(link),
        };
        for forgotten in lost.iter().flat_map(|lost| &lost.forgotten) {
            self.tally_forgotten(role, forgotten);
        }
        if spent_up { self.complete(role) } else { None }
    }
}

/// A failure in one line that names the node; most name it themselves.
fn about(what: &str, node: &str, message: &str) -> String {
    if message.contains(node) {
        format!("{what}: {message}")
    } else {
        format!("{what} {node}: {message}")
    }
}
