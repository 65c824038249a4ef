//! What a policy may ask for, carried out: keep, insert, ask. Nothing here waits.

use thinking::{
    draw::splitmix64,
    policy::{Action, Ask, Policy, PolicyEvent, Role, Why},
    thinker::{Code, Failure, Propose},
    transcript::{Span, Writer},
};
use tokio::time::Instant;

use super::{
    Awaiting, Driver, Ended,
    draft::{Draft, FIRST_OVERLAP},
    link::Link,
};
use crate::progress::{Asked, Kept, Progress, Text};

/// A policy asked for something that would change shown text, or has no meaning.
#[derive(Debug)]
pub(super) struct Defect(String);

impl From<Defect> for Ended {
    fn from(defect: Defect) -> Self {
        let message = format!("the policy is defective: {}", defect.0);
        Ended::Failed { node: "policy".to_owned(), failure: Failure::new(Code::Internal, message) }
    }
}

impl Driver<'_> {
    /// Tells the policy what happened and carries out what it answers.
    pub(super) fn advance(&mut self, event: PolicyEvent<'_>) -> Option<Ended> {
        let measured = self.measured();
        self.policy.measured(&measured);
        let actions = self.policy.step(event);
        self.summary.passed_over = self.policy.passed_over();
        self.perform(actions)
    }

    fn perform(&mut self, actions: Vec<Action>) -> Option<Ended> {
        // Nothing more will be written: then nobody needs a warm prefix.
        let ending = matches!(actions.last(), Some(Action::End(_)));
        for action in actions {
            let done = match action {
                Action::Keep { role, bytes } => self.keep(role, bytes, ending),
                Action::Insert { text, why } => self.insert(text, why),
                Action::Ask(ask) => self.ask(ask),
                Action::Overlap(ask) => self.overlap(ask),
                Action::End(end) => return Some(Ended::Complete(end)),
            };
            if let Err(defect) = done {
                return Some(defect.into());
            }
        }
        None
    }

    /// Sees to it that there is a session on the large node; answers whether there is one that takes asks.
    fn reach_large(&mut self) -> bool {
        if self.away.is_some() {
            return false;
        }
        if let (None, Some(node)) = (&self.large, &self.resend_to) {
            self.large = Some(Link::open(node.clone(), self.open(self.written.text())));
        }
        if self.large.is_none() && self.summary.degraded.is_none() {
            self.degrade("no large node is given".to_owned());
        }
        self.large.is_some()
    }

    fn ask(&mut self, ask: Ask) -> Result<(), Defect> {
        let (role, number) = (ask.role, self.asks);
        self.asks += 1;
        self.begin(ask, number)?;
        self.awaiting = Awaiting::Finished(role);
        self.heard = Instant::now();
        Ok(())
    }

    /// Asks the small node while the large one is waited for.
    fn overlap(&mut self, ask: Ask) -> Result<(), Defect> {
        if ask.role != Role::Small || self.awaiting != Awaiting::Finished(Role::Large) {
            return Err(Defect("it overlaps an ask that is none of the large model".to_owned()));
        }
        let number = FIRST_OVERLAP + self.overlaps;
        self.overlaps += 1;
        self.begin(ask, number)
    }

    fn begin(&mut self, ask: Ask, number: u32) -> Result<(), Defect> {
        let role = ask.role;
        if self.draft(role).is_some() {
            self.keep(role, 0, true)?;
        }
        let reached = role == Role::Small || self.reach_large();
        let seed = ask_seed(self.question.seed, number);
        let mut draft = Draft::new(ask, number, seed, self.written.len());
        self.tell(Progress::Ask(Asked {
            ask: number,
            role,
            why: draft.ask.why,
            max_tokens: draft.ask.max_tokens,
            provisional: draft.ask.provisional,
            seed,
            committed_bytes: draft.base as u64,
        }));
        self.summary.model_mut(role).asks += 1;
        let propose = propose(&draft);
        let link = match role {
            Role::Small => Some(&mut self.small),
            Role::Large => self.large.as_mut(),
        };
        let link = link.filter(|_| reached);
        if !link.is_some_and(|link| link.propose(&self.written, propose)) {
            // Nobody was asked: it is late at once.
            draft.attached = false;
            draft.late_at = Some(draft.asked_at);
        }
        *self.draft(role) = Some(draft);
        Ok(())
    }

    /// Keeps the first bytes of a draft, but never less than what was shown of it.
    pub(super) fn keep(&mut self, role: Role, bytes: u64, ending: bool) -> Result<(), Defect> {
        let Some(draft) = self.draft(role) else {
            return Err(Defect(format!(
                "it keeps a proposal of the {role:?} model, which has none"
            )));
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(draft.shown);
        if !draft.text.is_char_boundary(bytes) {
            let have = draft.text.len();
            return Err(Defect(format!("it keeps {bytes} bytes of {have}, inside a character")));
        }
        self.show(role, bytes)?;
        let Some(draft) = self.draft(role).take() else {
            return Ok(());
        };
        if role == Role::Large && self.resend_to.is_some() && self.away.is_none() {
            self.large = None;
        }
        let tokens = draft.tokens_to(bytes);
        self.tell(Progress::Kept(Kept {
            ask: draft.number,
            role,
            bytes: bytes as u64,
            tokens,
            discarded_tokens: draft.tokens_discarded(bytes),
        }));
        self.tally_kept(&draft, bytes);
        let kept = draft.text[draft.carried..bytes].to_owned();
        if let Some(link) = self.link(role).filter(|_| draft.attached) {
            if draft.is_running() {
                link.forget(&kept, draft);
            } else {
                link.commit(&kept);
            }
        }
        if !ending {
            self.warm(true);
        }
        Ok(())
    }

    fn insert(&mut self, text: String, why: Why) -> Result<(), Defect> {
        if self.small.proposing {
            return Err(Defect("it inserts text while a proposal is open".to_owned()));
        }
        // What is still owed goes first, in a message of its own: the policy wants to know the
        // tokens of its own text alone.
        self.small.catch_up(&self.written);
        self.written.push(&text, &[], &"".into());
        self.small.insert(&text);
        self.tell_text(Writer::Policy, why, text.clone());
        self.warm(true);
        self.awaiting = Awaiting::Inserted { text, why };
        self.heard = Instant::now();
        Ok(())
    }

    /// Commits a draft's text up to `end` and shows it.
    pub(super) fn show(&mut self, role: Role, end: usize) -> Result<(), Defect> {
        let fingerprint =
            self.link(role).map_or_else(|| "".into(), |link| link.fingerprint.clone());
        let draft = match role {
            Role::Small => &mut self.small_draft,
            Role::Large => &mut self.large_draft,
        };
        let Some(draft) = draft.as_mut().filter(|draft| draft.shown < end) else {
            return Ok(());
        };
        if draft.base + draft.shown != self.written.len() {
            return Err(Defect(format!(
                "it keeps text of the {role:?} model that does not follow the answer's end"
            )));
        }
        for (text, token_ids) in draft.pieces_to(end) {
            self.written.push(text, token_ids, &fingerprint);
        }
        let text = draft.text[draft.shown..end].to_owned();
        draft.shown = end;
        let why = draft.ask.why;
        self.tell_text(role.into(), why, text);
        Ok(())
    }

    fn tell_text(&mut self, writer: Writer, why: Why, text: String) {
        if text.is_empty() {
            return;
        }
        if self.summary.time.first_text_us.is_none() {
            self.summary.time.first_text_us = Some(self.elapsed_us());
        }
        // What it cost is added when that is known.
        self.transcript.push(Span { writer, why, text: text.clone(), tokens: 0, elapsed_us: 0 });
        self.tell(Progress::Text(Text { writer, why, text }));
    }

    /// Sends both nodes ahead what they have not got. `all`: also a few bytes.
    pub(super) fn warm(&mut self, all: bool) {
        if self.settings.keep_warm {
            for link in [Some(&mut self.small), self.large.as_mut()].into_iter().flatten() {
                Link::warm(link, &self.written, all);
            }
        }
    }
}

/// The proposal that a draft's ask stands for, less what was already made of it.
pub(super) fn propose(draft: &Draft) -> Propose {
    Propose {
        max_tokens: draft.tokens_left(),
        stop: draft.ask.stop.clone(),
        watch: draft.ask.watch.clone(),
        seed: draft.seed,
        report_entropy: false,
    }
}

/// The seed of an ask: neighbouring seeds and asks have nothing in common.
fn ask_seed(seed: u64, ask: u32) -> u64 {
    splitmix64(seed, u64::from(ask) + 1)
}
