//! The state that a node's session will have once the node has carried out everything that it was sent.

use std::{collections::VecDeque, time::Duration};

use thinking::thinker::{COMMAND_QUEUE, Command, Cut, Event, Objection, Open};

use super::{Checked, Invariant, breach};
use crate::port::NodeId;

/// How many tokens the nodes of one role reported.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    pub(super) tokens: u64,
}

impl Heard {
    /// Adds a session that is over.
    pub(super) fn add(&mut self, session: &Held) {
        let unfinished = session.proposals.iter().map(|proposal| proposal.tokens);
        self.tokens += session.finished_tokens + unfinished.sum::<u64>();
    }
}

/// One session. See the module documentation.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) node: NodeId,
    /// When it last gave a sign of life.
    pub(super) sign_at: Duration,
    text: String,
    /// How many of the text's first bytes were compared with what is shown.
    compared: usize,
    /// Requested proposals whose end has not arrived, oldest first.
    proposals: VecDeque<Written>,
    /// The text of the complete proposal that is neither kept nor forgotten, if there is one.
    open: Option<String>,
    /// The commands that are not answered, oldest first.
    unanswered: VecDeque<Kind>,
    finished_tokens: u64,
    /// Whether the last command asks for a proposal.
    can_cancel: bool,
    /// What its node objects to.
    objection: Option<Objection>,
    /// How far its node's verdicts go.
    pub(super) reviewed: u64,
    /// Whether it was asked to judge what others write.
    pub(super) reviews: bool,
    /// Whether its node accepted it.
    pub(super) is_accepted: bool,
}

/// A proposal that its node has not ended.
#[derive(Debug, Default)]
struct Written {
    seed: u64,
    text: String,
    tokens: u64,
    is_cancelled: bool,
    is_committed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Cut,
    Propose,
    Cancel,
}

impl Held {
    /// A session that is opened now.
    pub(super) fn new(node: NodeId, open: &Open, now: Duration) -> Self {
        Held {
            node,
            objection: None,
            reviewed: open.committed.len() as u64,
            reviews: open.review.is_some(),
            is_accepted: false,
            sign_at: now,
            text: open.committed.clone(),
            compared: 0,
            proposals: VecDeque::new(),
            open: None,
            unanswered: VecDeque::from([Kind::Text]),
            finished_tokens: 0,
            can_cancel: false,
        }
    }

    /// Returns the seed of the proposal that its node is writing.
    pub(super) fn writing(&self) -> Option<u64> {
        self.proposals.front().map(|proposal| proposal.seed)
    }

    /// Returns the seed of the last proposal that was requested and not cancelled.
    pub(super) fn wanted(&self) -> Option<u64> {
        self.proposals.back().filter(|proposal| !proposal.is_cancelled).map(|p| p.seed)
    }

    /// Checks and carries out a command that is sent.
    pub(super) fn send(&mut self, command: &Command) -> Checked {
        let last = self.proposals.back_mut().filter(|proposal| !proposal.is_committed);
        let is_open = last.is_some() || self.open.is_some();
        let could_cancel = std::mem::take(&mut self.can_cancel);
        let is_allowed = match command {
            Command::Open(_) => false,
            Command::Append(append) => {
                self.text.push_str(&append.text);
                !is_open
            }
            Command::Cut(cut) => !is_open && self.cut(*cut),
            Command::Propose(propose) => {
                self.can_cancel = true;
                let seed = propose.seed;
                self.proposals.push_back(Written { seed, ..Written::default() });
                !is_open && propose.max_tokens > 0
            }
            Command::Cancel => match last {
                Some(proposal) => {
                    proposal.is_cancelled = true;
                    could_cancel
                }
                // Its end crossed the cancel on the wire.
                None => self.open.is_some(),
            },
            Command::Commit { bytes } => {
                let proposed = match (last, self.open.take()) {
                    (_, Some(text)) => Some(text),
                    (Some(proposal), None) if proposal.is_cancelled => {
                        proposal.is_committed = true;
                        Some(proposal.text.clone())
                    }
                    _ => None,
                };
                let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
                let kept = proposed.as_ref().and_then(|text| text.get(..bytes));
                self.text.push_str(kept.unwrap_or_default());
                kept.is_some()
            }
        };
        self.unanswered.push_back(match command {
            Command::Propose(_) => Kind::Propose,
            Command::Cancel => Kind::Cancel,
            Command::Cut(_) => Kind::Cut,
            _ => Kind::Text,
        });
        if !is_allowed {
            let seen = format!("{:?} is sent {command:?} out of order", self.node);
            return breach(Invariant::Contract, seen);
        }
        if self.unanswered.len() > COMMAND_QUEUE {
            let seen = format!("{:?} is sent {}", self.node, self.unanswered.len());
            return breach(Invariant::BoundedQueue, seen);
        }
        Ok(())
    }

    /// Cuts the text back. Returns whether the cut is valid between proposals.
    fn cut(&mut self, cut: Cut) -> bool {
        let bytes = usize::try_from(cut.bytes).unwrap_or(usize::MAX);
        let objection = self.objection.take().filter(|it| it.at_byte == cut.bytes);
        if !self.text.is_char_boundary(bytes) {
            return false;
        }
        self.reviewed = self.reviewed.min(cut.bytes);
        self.text.truncate(bytes);
        self.compared = self.compared.min(bytes);
        let instead = objection.filter(|_| cut.accept);
        let has_text = instead.as_ref().is_some_and(|it| it.instead.is_some());
        if let Some(Objection { instead: Some(text), tokens, .. }) = instead {
            self.text.push_str(&text);
            self.finished_tokens += u64::from(tokens);
        }
        has_text == cut.accept
    }

    /// Notes an event that the contract allows.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Delta(delta) => {
                if let Some(proposal) = self.proposals.front_mut() {
                    proposal.text.push_str(&delta.text);
                    proposal.tokens += u64::from(delta.tokens);
                }
            }
            Event::Finished(finished) => {
                let Some(proposal) = self.proposals.pop_front() else { return };
                self.finished_tokens += u64::from(finished.tokens);
                if !proposal.is_committed {
                    self.open = Some(proposal.text);
                }
                self.answered(Kind::Propose);
                if self.unanswered.front() == Some(&Kind::Cancel) {
                    self.unanswered.pop_front();
                }
            }
            Event::Opened(_) => self.is_accepted = true,
            Event::Warmed(warmed) => {
                self.answered(Kind::Text);
                if !self.unanswered.contains(&Kind::Cut) {
                    self.reviewed = self.reviewed.max(warmed.reviewed_bytes);
                }
            }
            Event::Objection(objection) if !self.unanswered.contains(&Kind::Cut) => {
                self.reviewed = self.reviewed.max(objection.at_byte);
                self.objection = Some((**objection).clone());
            }
            _ => {}
        }
    }

    fn answered(&mut self, kind: Kind) {
        let is_text = |front: &Kind| kind == Kind::Text && *front == Kind::Cut;
        if self.unanswered.front().is_some_and(|front| *front == kind || is_text(front)) {
            self.unanswered.pop_front();
        }
    }

    /// Returns whether it holds a complete proposal.
    pub(super) fn has_complete(&self) -> bool {
        self.open.is_some()
    }

    /// Returns its text, followed by the proposal that it writes or holds.
    pub(super) fn draft(&self) -> String {
        let proposed = self.proposals.back().map(|proposal| &proposal.text).or(self.open.as_ref());
        format!("{}{}", self.text, proposed.map_or("", String::as_str))
    }

    /// Returns its text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Checks that its text is a prefix of the committed text.
    pub(super) fn is_beginning_of(&mut self, committed: &str) -> Checked {
        let rest = committed.get(self.compared..).unwrap_or_default();
        if rest.starts_with(&self.text[self.compared..]) {
            self.compared = self.text.len();
            return Ok(());
        }
        let seen = format!("{:?} holds {:?}, committed is {committed:?}", self.node, self.text);
        breach(Invariant::ShownIsHeld, seen)
    }
}
