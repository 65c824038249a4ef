//! One node's session: what was sent, what must be answered, how far its text goes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use thinking::thinker::{
    Append, Code, Command, Event, Failure, Open, Opened, Propose, Session, Warmed,
};
use tokio::{sync::mpsc::error::TrySendError, time::Instant};

use super::{
    draft::Draft,
    written::{Mark, Written},
};
use crate::question::Node;

/// Unanswered commands after which text is no longer sent ahead but gathered. Far below the queue
/// of a session, so that sending never has to wait: a slow node cannot hold up the other one.
const UNANSWERED: usize = 16;
/// Ends of proposals that were given up and have not arrived, with which a node is not asked for more: it is far
/// behind, and what is sent to it would only queue up.
const OWED: usize = 8;
/// Text sent ahead is gathered to this many bytes, or to a line's end: prefilling a few tokens at
/// once costs a node about what one costs.
const CHUNK_BYTES: usize = 32;

/// What an awaited `Warmed` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Open,
    Append,
    Commit,
    /// Text of the policy, whose tokens the policy wants to know.
    Insert,
}

/// How a node's report on its text compares with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Agrees(Sent),
    Differs(Sent),
    Unexpected,
}

/// A proposal that was cancelled and forgotten before its end was here; the end is still to come.
#[derive(Debug)]
pub(super) struct Forgotten {
    pub(super) draft: Draft,
    /// Of its tokens, those that are in the books already.
    pub(super) counted_tokens: u32,
}

/// One node's session.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) node: Node,
    session: Session,
    unanswered: VecDeque<(Sent, Mark)>,
    /// How far its committed text goes once it has carried out everything sent.
    pub(super) given: Mark,
    /// Proposals of which something may still come, before anything of the present one.
    pub(super) forgotten: VecDeque<Forgotten>,
    /// When it last gave a sign, or was last asked for one.
    pub(super) heard: Instant,
    /// Whether it has, or will have, an open proposal.
    pub(super) proposing: bool,
    pub(super) opened: Option<Opened>,
    /// Of its tokenizer; empty until the session is accepted.
    pub(super) fingerprint: Arc<str>,
    pub(super) opened_at: Instant,
    /// How long opening took.
    pub(super) opened_in: Option<Duration>,
    /// The session's queue was full: it takes no commands.
    stuck: bool,
}

impl Link {
    /// Opens a session with committed text.
    pub(super) fn open(node: Node, open: Open) -> Self {
        let given = Mark::of(&open.committed);
        let mut link = Link {
            session: node.thinker.session(),
            node,
            unanswered: VecDeque::new(),
            given,
            forgotten: VecDeque::new(),
            heard: Instant::now(),
            proposing: false,
            opened: None,
            fingerprint: "".into(),
            opened_at: Instant::now(),
            opened_in: None,
            stuck: false,
        };
        link.send(Command::Open(open));
        link.unanswered.push_back((Sent::Open, given));
        link
    }

    /// The next event; a session that ends without a word has failed.
    pub(super) async fn next(&mut self) -> Event {
        if self.stuck {
            return Event::Failed(Failure::new(
                Code::Unavailable,
                "the node takes no commands: its queue is full",
            ));
        }
        match self.session.events.recv().await {
            Some(event) => event,
            None => Event::Failed(Failure::new(
                Code::Unavailable,
                "the node closed the session without giving a reason",
            )),
        }
    }

    fn send(&mut self, command: Command) {
        // A closed queue needs no care here: the events say why.
        if let Err(TrySendError::Full(_)) = self.session.commands.try_send(command) {
            self.stuck = true;
        }
    }

    /// The session is accepted.
    pub(super) fn accept(&mut self, opened: Opened) {
        self.fingerprint = opened.card.tokenizer_fingerprint.as_str().into();
        self.opened = Some(opened);
        self.opened_in = Some(self.opened_at.elapsed());
    }

    /// Sends committed text ahead if that is worth a message now. `all`: also a few bytes.
    pub(super) fn warm(&mut self, written: &Written, all: bool) {
        let pending = written.text().get(self.given.bytes..).unwrap_or_default();
        let worth = all || pending.len() >= CHUNK_BYTES || pending.ends_with('\n');
        if worth && self.opened.is_some() && self.unanswered.len() < UNANSWERED {
            self.catch_up(written);
        }
    }

    /// Sends all committed text that it has not got, unless a proposal is open.
    pub(super) fn catch_up(&mut self, written: &Written) {
        let pending = written.text().get(self.given.bytes..).unwrap_or_default();
        if pending.is_empty() || self.proposing {
            return;
        }
        let token_ids = written.token_ids_from(self.given.bytes, &self.fingerprint);
        let append = Append { text: pending.to_owned(), token_ids };
        self.given.push(pending);
        self.send(Command::Append(append));
        self.unanswered.push_back((Sent::Append, self.given));
    }

    /// Sends the policy's own text, which is the last of what is written.
    pub(super) fn insert(&mut self, text: &str) {
        self.given.push(text);
        self.send(Command::Append(Append { text: text.to_owned(), token_ids: Vec::new() }));
        self.unanswered.push_back((Sent::Insert, self.given));
    }

    /// Asks for a proposal, after everything that is written. Does not ask, and answers so, a node that is so far
    /// behind that there is no hope of it in time.
    pub(super) fn propose(&mut self, written: &Written, propose: Propose) -> bool {
        if self.forgotten.len() >= OWED {
            return false;
        }
        self.catch_up(written);
        self.proposing = true;
        self.send(Command::Propose(propose));
        true
    }

    /// Commits the first bytes of the open proposal, which are `kept`.
    pub(super) fn commit(&mut self, kept: &str) {
        self.proposing = false;
        self.given.push(kept);
        self.send(Command::Commit { bytes: kept.len() as u64 });
        self.unanswered.push_back((Sent::Commit, self.given));
    }

    /// Ends the proposal that is being written and keeps its first bytes, which are `kept`. What still comes of it
    /// stands for nothing.
    pub(super) fn forget(&mut self, kept: &str, draft: Draft) {
        if self.forgotten.is_empty() {
            self.heard = Instant::now();
        }
        self.send(Command::Cancel);
        self.commit(kept);
        let counted_tokens = draft.tokens_made();
        self.forgotten.push_back(Forgotten { draft, counted_tokens });
    }

    /// Compares the node's report on its text with ours.
    pub(super) fn check(&mut self, warmed: &Warmed) -> Report {
        let Some((sent, mark)) = self.unanswered.pop_front() else {
            return Report::Unexpected;
        };
        if warmed.committed_bytes == mark.bytes as u64 && warmed.hash == mark.hash {
            Report::Agrees(sent)
        } else {
            Report::Differs(sent)
        }
    }
}
