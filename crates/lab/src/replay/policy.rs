//! The policy of a replay: it repeats what the recorded policy did, whatever its input.
//!
//! Its input is compared with the recorded one by kind and tokens. If they differ, the recorded policy's reaction is
//! not known, and it ends the answer as cancelled, which no recorded policy does.

use std::sync::Arc;

use thinking::policy::{Action, End, Policy, PolicyEvent};

/// What the recorded policy did after an input.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) heard: Heard,
    pub(super) actions: Vec<Action>,
}

/// An input of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Started,
    /// The end of a proposal with this many tokens; 0 if a takeover was given up.
    Finished {
        tokens: u32,
    },
    Inserted,
}

/// The policy of a replay; see the module.
#[derive(Debug)]
pub(super) struct RecordedPolicy {
    turns: Arc<[Turn]>,
    done: usize,
}

impl RecordedPolicy {
    pub(super) fn new(turns: Arc<[Turn]>) -> Self {
        RecordedPolicy { turns, done: 0 }
    }
}

impl Policy for RecordedPolicy {
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let heard = match event {
            PolicyEvent::Started { .. } => Heard::Started,
            PolicyEvent::Finished { tokens, .. } => Heard::Finished { tokens },
            PolicyEvent::Inserted { .. } => Heard::Inserted,
            // The limits around the policy turn these into an empty stretch, and answers with loops or a review are not
            // replayed.
            PolicyEvent::Late | PolicyEvent::Looped { .. } | PolicyEvent::Objected { .. } => {
                Heard::Finished { tokens: 0 }
            }
        };
        let turn = self.turns.get(self.done).filter(|turn| turn.heard == heard);
        self.done += 1;
        turn.map_or_else(|| vec![Action::End(End::Cancelled)], |turn| turn.actions.clone())
    }
}
