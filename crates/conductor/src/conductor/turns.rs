//! Carries out a policy's actions: keep, insert, ask, overlap. Nothing here waits.

use std::time::Duration;

use thinking::{
    draw::splitmix64,
    policy::{Action, Ask, Measured, Policy as _, PolicyEvent, Role, Why},
    thinker::{Code, Failure},
    transcript::Writer,
};

use super::{Awaiting, Conductor, Due};
use crate::{
    port::Ended,
    progress::{Asked, Kept, Progress},
    proposal::{FIRST_OVERLAP, Proposal, State},
    side::Sides,
};

/// A policy asked for something that would change shown text or has no meaning.
#[derive(Debug)]
pub(super) struct Defect(String);

impl Defect {
    pub(super) fn new(what: &str) -> Self {
        Defect(what.to_owned())
    }
}

impl From<Defect> for Ended {
    fn from(defect: Defect) -> Self {
        let message = format!("the policy is defective: {}", defect.0);
        Ended::Failed { node: "policy".to_owned(), failure: Failure::new(Code::Internal, message) }
    }
}

impl Conductor {
    /// Tells the policy what is due and carries out its actions.
    pub(super) fn advance(&mut self, due: Due) -> Result<(), Ended> {
        let event = match due {
            Due::OverlapStands => return self.overlap_stands(),
            Due::Started { prompt_tokens } => PolicyEvent::Started { prompt_tokens },
            Due::Inserted { tokens } => PolicyEvent::Inserted { tokens },
            Due::Late => PolicyEvent::Late,
            Due::Finished(role) => {
                let Some(proposal) = &self.sides.of(role).proposal else { return Ok(()) };
                let Some(finished) = proposal.finished() else { return Ok(()) };
                let (text, tokens) = (proposal.text.as_str(), finished.tokens);
                PolicyEvent::Finished { text, tokens, reason: &finished.reason }
            }
            Due::Objected => {
                let Some(objection) = &self.objection else { return Ok(()) };
                let Some(proposal) = &self.sides.small.proposal else { return Ok(()) };
                let place = usize::try_from(objection.at_byte).unwrap_or_default();
                let text = &proposal.text.as_str()[..place.saturating_sub(proposal.base)];
                let instead = objection.instead.as_deref();
                let tokens = proposal.text.tokens_to(text.len());
                PolicyEvent::Objected { text, tokens, instead, instead_tokens: objection.tokens }
            }
            Due::Looped(role) => {
                let Some(proposal) = &self.sides.of(role).proposal else { return Ok(()) };
                let shown = proposal.text.shown();
                let text = &proposal.text.as_str()[..shown];
                PolicyEvent::Looped { text, tokens: proposal.text.tokens_to(shown) }
            }
        };
        let measured = self.measured();
        self.policy.measured(&measured);
        let actions = self.policy.step(event);
        if due == Due::Objected && !actions.contains(&Action::Overrule) {
            self.count_draft();
        }
        self.ledger.summary.passed_over = self.policy.passed_over();
        self.ledger.summary.loops = self.policy.loops();
        let kept = |action: &Action| matches!(action, Action::Keep { .. } | Action::Correct { .. });
        let asks = actions.last().is_some_and(|last| !kept(last));
        self.perform(actions)?;
        self.objection = None;
        // The text of an overlap whose takeover is late continues without an ask.
        let goes_on = due == Due::Late
            && self.awaiting == Awaiting::Finished(Role::Small)
            && self.sides.small.proposal.is_some();
        if !asks && !goes_on {
            return Err(Defect("it neither asks for more nor ends".to_owned()).into());
        }
        Ok(())
    }

    fn perform(&mut self, actions: Vec<Action>) -> Result<(), Ended> {
        // Nothing more will be written, so no node needs a warm prefix.
        let ending = matches!(actions.last(), Some(Action::End(_)));
        for action in actions {
            match action {
                Action::Keep { role, bytes } => {
                    self.keep(role, bytes, ending)?;
                    self.unless_stopped()?;
                }
                Action::Correct { bytes } => {
                    self.correct(bytes, ending)?;
                    self.unless_stopped()?;
                }
                Action::Overrule => self.overruled()?,
                Action::Insert { text, why } => {
                    self.insert(text, why)?;
                    self.unless_stopped()?;
                }
                Action::Ask(ask) => self.ask(ask)?,
                Action::Overlap(ask) => self.overlap(ask)?,
                Action::End(end) => return Err(Ended::Complete(end)),
            }
        }
        Ok(())
    }

    fn ask(&mut self, ask: Ask) -> Result<(), Defect> {
        let (role, number) = (ask.role, self.asks);
        self.asks += 1;
        self.begin(ask, number)?;
        self.awaiting = Awaiting::Finished(role);
        self.heard_at = self.step.now;
        Ok(())
    }

    /// Asks the small node while the large one is waited for.
    fn overlap(&mut self, ask: Ask) -> Result<(), Defect> {
        if ask.role != Role::Small || self.awaiting != Awaiting::Finished(Role::Large) {
            return Err(Defect("it overlaps an ask that is not the large model's".to_owned()));
        }
        let number = FIRST_OVERLAP + self.overlaps;
        self.overlaps += 1;
        self.begin(ask, number)
    }

    fn begin(&mut self, ask: Ask, number: u32) -> Result<(), Defect> {
        let role = ask.role;
        if ask.aside.is_some() && (role != Role::Large || !ask.provisional) {
            return Err(Defect::new("its aside is not provisional, or not for the large model"));
        }
        if self.sides.of(role).proposal.is_some() {
            self.keep(role, 0, true)?;
        }
        if self.sides.of(role).is_empty() && self.ledger.summary.degraded.is_none() {
            self.degrade("no large node is given".to_owned());
        }
        self.open_side(role);
        let seed = ask_seed(self.question.seed, number);
        let mut proposal = Proposal::new(ask, number, seed, self.committed.len(), self.step.now);
        self.step.tell(Progress::Ask(Asked {
            ask: number,
            role,
            why: proposal.ask.why,
            max_tokens: proposal.ask.max_tokens,
            provisional: proposal.ask.provisional,
            seed,
            committed_bytes: proposal.base as u64,
        }));
        self.ledger.summary.model_mut(role).asks += 1;
        let side = self.sides.of_mut(role);
        // A node that is being tried is not asked for anything. One that is far behind is not asked for what can do
        // without it: a takeover is then late at once, and an overlap begins if it becomes an ordinary turn.
        let takes_asks = side.at_work().is_some();
        let can_wait = role == Role::Large || proposal.is_overlap();
        let session = side.session.as_ref();
        let is_asked = session.is_some_and(|s| takes_asks && !(can_wait && s.is_far_behind()));
        if !is_asked {
            proposal.state = State::Unasked;
        }
        side.proposal = Some(proposal);
        if is_asked {
            self.propose(role);
        }
        Ok(())
    }

    /// Asks a side's session for its proposal.
    pub(super) fn propose(&mut self, role: Role) {
        let Sides { small, large } = &mut self.sides;
        let (side, draft) = match role {
            Role::Small => (small, None),
            Role::Large => (large, small.proposal.as_ref()),
        };
        let (Some(session), Some(proposal)) = (&mut side.session, &side.proposal) else { return };
        if let Some(aside) = &proposal.ask.aside {
            let draft = draft.map_or("", |draft| draft.text.as_str());
            session.put_aside(&self.committed, draft, aside, &mut self.step);
        }
        session.propose(&self.committed, proposal, &mut self.step);
    }

    /// Makes the large session forget an aside.
    fn take_back_aside(&mut self) {
        let draft = self.sides.small.proposal.as_ref().map_or("", |draft| draft.text.as_str());
        let text = format!("{}{draft}", self.committed.text());
        if let Some(session) = &mut self.sides.large.session
            && session.given.bytes > text.len()
        {
            session.cut(&text, None, &mut self.step);
        }
    }

    /// Keeps the first bytes of a proposal, but never less than what was shown of it.
    pub(super) fn keep(&mut self, role: Role, bytes: u64, ending: bool) -> Result<(), Defect> {
        let is_aside = self.sides.of(role).proposal.as_ref().is_some_and(Proposal::is_aside);
        self.keep_text(role, if is_aside { 0 } else { bytes })?;
        if is_aside {
            self.take_back_aside();
        }
        if role == Role::Small {
            self.stands = self.stands.min(self.committed.len());
            self.forget_draft();
        }
        if !ending {
            self.warm(true);
        }
        Ok(())
    }

    /// Does the same, but informs only the node that wrote it.
    pub(super) fn keep_text(&mut self, role: Role, bytes: u64) -> Result<(), Defect> {
        let Some(proposal) = &self.sides.of(role).proposal else {
            return Err(Defect(format!(
                "it keeps a proposal of the {role:?} model, which has none"
            )));
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(proposal.text.shown());
        if !proposal.text.as_str().is_char_boundary(bytes) {
            let have = proposal.text.len();
            return Err(Defect(format!("it keeps {bytes} bytes of {have}, inside a character")));
        }
        if let Some(loops) = &mut self.loops {
            loops.pass(&proposal.text.as_str()[proposal.text.shown()..bytes]);
        }
        self.show(role, bytes)?;
        if role == Role::Large && self.settings.resend && self.sides.large.at_work().is_some() {
            self.close(role, None);
        }
        let side = self.sides.of_mut(role);
        let Some(proposal) = side.proposal.take() else { return Ok(()) };
        let (tokens, discarded_tokens) = proposal.tokens_kept(bytes);
        self.step.tell(Progress::Kept(Kept {
            ask: proposal.number,
            role,
            bytes: bytes as u64,
            tokens,
            discarded_tokens,
        }));
        let interrupted = matches!(proposal.state, State::CutShort(_));
        self.ledger.kept(&proposal, bytes, interrupted, &self.step);
        if let Some(session) = side.session.as_mut().filter(|_| proposal.is_attached()) {
            let kept = proposal.text.as_str()[proposal.text.carried()..bytes].to_owned();
            if proposal.is_running() {
                session.cancel(&kept, proposal, &mut self.step);
            } else {
                session.commit(&kept, &mut self.step);
            }
        }
        Ok(())
    }

    fn insert(&mut self, text: String, why: Why) -> Result<(), Defect> {
        let Some(session) = &mut self.sides.small.session else { return Ok(()) };
        if session.proposing {
            return Err(Defect("it inserts text while a proposal is open".to_owned()));
        }
        // What the session does not have yet goes first, in a message of its own, because the policy wants to know the
        // tokens of its own text only.
        session.catch_up(&self.committed, &mut self.step);
        if let Some(loops) = &mut self.loops {
            loops.pass(&text);
        }
        self.committed.push(&text, &[], None);
        session.insert(&text, &mut self.step);
        self.ledger.show(Writer::Policy, why, text.clone(), &mut self.step);
        self.warm(true);
        self.awaiting = Awaiting::Inserted { text, why };
        self.heard_at = self.step.now;
        Ok(())
    }

    /// Shows what is settled of a proposal that is being written, and cuts the proposal off if the answer is found to
    /// repeat itself in a loop.
    pub(super) fn show_settled(&mut self, role: Role) -> Result<(), Ended> {
        let Some(proposal) = &self.sides.of(role).proposal else { return Ok(()) };
        let shown = proposal.text.shown();
        let end = match role {
            Role::Small => self.passed(proposal.showable(), proposal.base),
            Role::Large => proposal.showable(),
        };
        let end = proposal.text.as_str().floor_char_boundary(end);
        let text = proposal.text.as_str().get(shown..end).unwrap_or_default();
        let looped_at = self.loops.as_mut().and_then(|loops| loops.read(text));
        self.show(role, looped_at.map_or(end, |bytes| shown + bytes))?;
        self.unless_stopped()?;
        match looped_at {
            Some(_) => self.cut_off(role),
            None => self.warm(false),
        }
        Ok(())
    }

    /// Commits a proposal's text up to `end` and shows it.
    fn show(&mut self, role: Role, end: usize) -> Result<(), Defect> {
        let side = self.sides.of_mut(role);
        let Some(proposal) = side.proposal.as_mut().filter(|p| p.text.shown() < end) else {
            return Ok(());
        };
        if proposal.base + proposal.text.shown() != self.committed.len() {
            return Err(Defect(format!(
                "it keeps text of the {role:?} model that does not follow the answer's end"
            )));
        }
        // The ids are those of the session that wrote the text.
        let writer = side.session.as_ref().filter(|_| proposal.is_attached());
        let fingerprint = writer.map(|session| &session.fingerprint);
        for (text, token_ids) in proposal.text.pieces_to(end) {
            self.committed.push(text, token_ids, fingerprint);
        }
        let text = proposal.text.show(end);
        self.ledger.show(role.into(), proposal.ask.why, text, &mut self.step);
        Ok(())
    }

    /// Returns what a policy may want to know in addition to the event that comes next.
    fn measured(&self) -> Measured {
        let now = self.step.now;
        // While the large node has a proposal, nobody waits for the small one's.
        let proposal = match self.awaiting {
            Awaiting::Finished(_) => {
                self.sides.large.proposal.as_ref().or(self.sides.small.proposal.as_ref())
            }
            Awaiting::Opened | Awaiting::Inserted { .. } | Awaiting::Verdict => None,
        };
        let begun = proposal.filter(|proposal| !proposal.was_disturbed());
        let first_text = begun.and_then(Proposal::first_text_us);
        let wall_us = proposal.map_or(0, |proposal| proposal.wall_us(now));
        Measured {
            elapsed: now,
            large_opened: self.sides.large.session.as_ref().map(|s| s.opening_time(now)),
            first_text: first_text.map(Duration::from_micros),
            wall: Duration::from_micros(wall_us),
            first_token_entropy: proposal.and_then(|proposal| proposal.first_token_entropy),
        }
    }
}

/// Returns the seed of an ask; the seeds of neighbouring questions and asks are unrelated.
fn ask_seed(seed: u64, ask: u32) -> u64 {
    splitmix64(seed, u64::from(ask) + 1)
}
