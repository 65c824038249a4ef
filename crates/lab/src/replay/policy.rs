//! The policy of a replay: it does what the recorded one did, whatever it hears.
//!
//! What it hears is compared with what the recorded one heard, by its kind and its tokens. Where that differs, what
//! the recorded one would have done is not known, and it ends the answer as cancelled, which no recorded one does.

use std::sync::Arc;

use thinking::policy::{Action, End, Policy, PolicyEvent};

/// What the recorded policy did after something that it heard.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) heard: Heard,
    pub(super) actions: Vec<Action>,
}

/// What a policy heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Started,
    /// The end of a proposal of so many tokens; of none where a takeover was given up.
    Finished {
        tokens: u32,
    },
    Inserted,
}

/// The policy. See the module.
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
            // The limits around it tell it of an empty stretch instead, and answers with loops or a review are not
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
