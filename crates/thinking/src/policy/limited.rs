//! Limits: any policy, with takeovers that are given up where they cannot be had, or cost more than they may.
//!
//! Quality then depends on the network, or on what one is ready to pay: where the large writer is
//! out, its first text is late, or a takeover is beyond the targets (`target`), the small writer
//! does by itself what the large one would have done. The policy inside hears of a stretch in which
//! nothing was written, which every policy knows: a node may give less than was asked for. Two
//! things it need not know of are done here, both so that the answer goes on:
//! - The small writer is not cut off at the same place again: its watch begins with the next paragraph break.
//! - Where the policy inside would ask the large writer again at the same place, the small one stands in for it; at the
//!   next paragraph break the large one is asked again.
//!
//! Takeovers may be for the thought alone: once a mark that closes one is in the answer's text, all are passed over.
//!
//! With an overlap the small writer does not wait: it writes on provisionally while the large one is asked. What comes
//! first counts, the large writer's first text or the end of the provisional stretch; see [`Action::Overlap`].
//!
//! No clock is here: how long is too long is said with the ask, and whoever carries it out tells when it was.
//!
//! An answer that goes round in a loop ([`crate::loops`]) is cut off in mid-proposal. The first time the large writer
//! leads out of it, in the place of the small one: for the policy inside the small one wrote what it writes. The second
//! time the answer ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

use super::{
    Action, Ask, End, Measured, Need, Policy, PolicyEvent, ReviewConfig, Role, Targets, Why,
    baselines::Budget, target::Allowance,
};
use crate::{thinker::FinishReason, thought::MARKS, trigger::Watch};

/// Tokens that the large writer has to lead out of a loop: as many as the paper's longest recap.
const LOOP_TOKENS: u32 = 200;

/// What is done about an answer that goes round in a loop.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum LoopRule {
    /// The large writer takes over; when it happens again, the answer ends.
    HandOver,
    /// The answer ends.
    End,
    /// Nothing.
    #[default]
    Off,
}

impl LoopRule {
    /// Every rule.
    pub const ALL: &'static [LoopRule] = LoopRule::VARIANTS;

    /// Its name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What takeovers and loops may cost. By default whatever they do.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// The longest time from the ask to the large writer's first text.
    pub deadline: Option<Duration>,
    /// Tokens that the small writer may write meanwhile; when it has, the takeover is late.
    pub overlap_tokens: Option<u32>,
    /// What the answer is to come to.
    pub targets: Targets,
    /// None once the thought is over. By default they go on in the answer proper, as in the authors' loop.
    pub thought_only: bool,
    /// What is done about loops.
    pub loops: LoopRule,
    /// The large writer judges what the small one writes, and this is done about its objections.
    pub review: Option<ReviewConfig>,
}

/// The marks that close a thought.
fn closing_marks() -> [&'static str; 4] {
    MARKS.map(|(_, close)| close)
}

/// How far an answer's kept text is.
#[derive(Debug, Default)]
struct KeptText {
    /// Its end, in which a mark may have begun.
    end: String,
    is_thought_over: bool,
}

impl KeptText {
    fn push(&mut self, text: &str) {
        self.end.push_str(text);
        self.is_thought_over |= closing_marks().iter().any(|mark| self.end.contains(mark));
        let longest = closing_marks().map(str::len).into_iter().max().unwrap_or(0);
        let unneeded = self.end.len().saturating_sub(longest);
        self.end.drain(..self.end.floor_char_boundary(unneeded));
    }
}

/// A policy whose takeovers are given up where they cost too much. See the module.
pub struct Limited {
    inner: Box<dyn Policy>,
    limits: Limits,
    allowance: Allowance,
    /// Who was asked last.
    writer: Role,
    /// Who writes what the policy inside takes for the other one's, if anybody does.
    stands_in: Option<Role>,
    /// Loops that were found.
    loops: u32,
    /// How often the small writer tried again at the place of the last objection.
    tries: u32,
    /// Takeovers that were beyond the targets.
    beyond: u32,
    /// Until a paragraph ends, the small writer is at a place that was passed over.
    passed_over: bool,
    /// How the small writer was last asked for a turn: what it writes meanwhile is one.
    stop: Vec<String>,
    watch: Option<Watch>,
    /// The small writer writes on while the large one is asked.
    overlapping: bool,
    /// Tokens of the last ask, or of what is written meanwhile where that goes on.
    room: u32,
    overlap_room: u32,
    /// The small writer's latest stretch is neither kept nor forgotten.
    undecided: bool,
    /// As the policies count, so that what is written meanwhile never is too much.
    budget: Budget,
    /// What the small and the large writer wrote last, and what was kept: only where takeovers are for the thought
    /// alone.
    written: [String; 2],
    kept: KeptText,
}

impl Limited {
    /// The policy `inner` within these limits, for an answer of at most `max_tokens` produced tokens.
    pub fn new(inner: Box<dyn Policy>, limits: Limits, max_tokens: u32) -> Self {
        Limited {
            inner,
            limits,
            allowance: Allowance::new(limits.targets, max_tokens),
            writer: Role::Small,
            stands_in: None,
            loops: 0,
            tries: 0,
            beyond: 0,
            passed_over: false,
            stop: Vec::new(),
            watch: None,
            overlapping: false,
            room: 0,
            overlap_room: 0,
            undecided: false,
            budget: Budget::new(max_tokens),
            written: Default::default(),
            kept: KeptText::default(),
        }
    }

    /// Whether proposals are to be cut off where the answer goes round in a loop.
    pub fn cuts_loops(&self) -> bool {
        self.limits.loops != LoopRule::Off
    }

    /// What is done about the large writer's objections, where it judges what the small one writes.
    pub fn review(&self) -> Option<ReviewConfig> {
        self.limits.review
    }

    /// How long a verdict may take; then what was written stands.
    pub fn review_within(&self) -> Option<Duration> {
        self.limits.deadline
    }

    /// How many loops were found.
    pub fn loops(&self) -> u32 {
        self.loops
    }

    /// Tells the policy inside, for which nobody stood in.
    fn tell(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let stood_in = self.stands_in.take();
        let mut actions = self.inner.step(event);
        for action in &mut actions {
            if let (Action::Keep { role, .. }, Some(writer)) = (action, stood_in)
                && *role == writer.other()
            {
                *role = writer;
            }
        }
        self.note(&actions);
        actions
    }

    /// Passes a takeover over: for the inner policy the large writer wrote nothing.
    fn pass_over(&mut self) -> Vec<Action> {
        self.passed_over = true;
        self.budget.spend(0);
        let reason = FinishReason::MaxTokens;
        let mut actions = self.tell(PolicyEvent::Finished { text: "", tokens: 0, reason: &reason });
        if let Some(Action::Ask(ask)) = actions.last_mut()
            && ask.role == Role::Large
        {
            self.stands_in = Some(Role::Small);
            if ask.why == Why::Turn {
                // It would have gone on to the answer's end.
                ask.stop.push("\n\n".to_owned());
            }
            (ask.role, ask.why) = (Role::Small, Why::Turn);
        }
        actions
    }

    /// The large writer's first text is late.
    fn late(&mut self) -> Vec<Action> {
        self.allowance.late();
        let mut actions = self.pass_over();
        if std::mem::take(&mut self.overlapping) {
            if let Some(Action::Ask(_)) = actions.last() {
                // What it asks for is being written already.
                actions.pop();
                self.writer = Role::Small;
                self.room = self.overlap_room;
            } else {
                actions.insert(0, Action::Keep { role: Role::Small, bytes: 0 });
            }
        }
        actions
    }

    /// A takeover that is within the targets in part is asked for in part; what is not is passed over, and all behind a
    /// thought where they are for that alone.
    fn afford(&mut self, actions: &mut Vec<Action>) {
        let Some(Action::Ask(ask)) = actions.last_mut() else { return };
        if ask.role != Role::Large {
            return;
        }
        let is_too_late = self.limits.thought_only && self.kept.is_thought_over;
        if is_too_late {
            // Not because of a target.
        } else if let Some(grant) = self.allowance.grant(ask) {
            ask.max_tokens = grant.max_tokens;
            let within = [ask.first_text_within, grant.first_text_within];
            ask.first_text_within = within.into_iter().flatten().min();
            return;
        } else {
            self.beyond += 1;
        }
        actions.pop();
        let instead = self.pass_over().into_iter();
        // It was not asked, so there is nothing of it.
        actions.extend(
            instead.filter(|action| !matches!(action, Action::Keep { role: Role::Large, .. })),
        );
    }

    fn finished(&mut self, event: PolicyEvent<'_>, text: &str, tokens: u32) -> Vec<Action> {
        self.budget.spend(tokens);
        self.allowance.finished(self.writer, text.len(), tokens);
        self.overlapping = false;
        if self.limits.thought_only {
            text.clone_into(&mut self.written[self.writer as usize]);
        }
        if self.writer == Role::Small {
            self.undecided = true;
            let mut breaks = self.watch.iter().flat_map(|watch| &watch.delimiters);
            self.passed_over &= !breaks.any(|delimiter| text.contains(delimiter.as_str()));
        }
        self.tell(event)
    }

    /// The answer goes round in a loop: for the inner policy the stretch gave less than was asked for.
    fn looped(&mut self, text: &str, tokens: u32) -> Vec<Action> {
        self.loops += 1;
        let reason = &FinishReason::MaxTokens;
        let event = PolicyEvent::Finished { text, tokens, reason };
        let mut actions = self.finished(event, text, tokens);
        if self.loops == 1 && self.limits.loops == LoopRule::HandOver {
            self.lead_out(&mut actions);
        } else {
            actions.retain(|action| matches!(action, Action::Keep { .. }));
            actions.push(Action::End(End::Loop));
        }
        actions
    }

    /// Asks the large writer for what the small one would go on with, if it is within the targets.
    fn lead_out(&mut self, actions: &mut [Action]) {
        self.hand_over(actions, Why::Loop, LOOP_TOKENS, Vec::new());
    }

    fn hand_over(&mut self, actions: &mut [Action], why: Why, most: u32, stop: Vec<String>) {
        let Some(Action::Ask(ask)) = actions.last_mut() else { return };
        // What the policy inside would ask about goes on by itself.
        let is_draft = ask.provisional && !ask.report_entropy;
        if ask.role == Role::Large || is_draft {
            return;
        }
        // A probe is short, and not what it leads to.
        let room = if ask.provisional { self.budget.left() } else { ask.max_tokens };
        let takeover = Ask { stop, ..Ask::new(Role::Large, why, room.min(most)) };
        if self.allowance.grant(&takeover).is_none() {
            self.beyond += 1;
            return;
        }
        self.stands_in = Some(Role::Large);
        *ask = takeover;
    }

    /// The large writer objects: for the inner policy the small one's stretch gave less than was asked for.
    fn objected(&mut self, text: &str, tokens: u32, instead: Option<(&str, u32)>) -> Vec<Action> {
        let Some(review) = self.limits.review else { return vec![Action::Overrule] };
        let Some((instead, instead_tokens)) = instead else {
            let reason = &FinishReason::EndOfText;
            return self.finished(PolicyEvent::Finished { text, tokens, reason }, text, tokens);
        };
        // A place is told from another by what was written since the last objection.
        let is_same_place = text.is_empty() && self.tries > 0;
        self.tries = if is_same_place { self.tries } else { 0 };
        let tries_again = self.tries < review.resample;
        let is_whole = review.tokens > 1 && !tries_again;
        if !tries_again && !self.affords(review.tokens) {
            self.beyond += 1;
            return vec![Action::Overrule];
        }
        self.tries = if tries_again { self.tries + 1 } else { 0 };
        let own = if tries_again || is_whole { 0 } else { instead_tokens };
        if tokens.saturating_add(own) > self.room {
            // There is no room for it: the stretch ends here.
            let (tokens, reason) = (self.room, &FinishReason::MaxTokens);
            return self.finished(PolicyEvent::Finished { text, tokens, reason }, text, tokens);
        }
        if own > 0 {
            self.budget.spend(own);
        }
        let reason = &FinishReason::MaxTokens;
        let event = PolicyEvent::Finished { text, tokens: tokens.saturating_add(own), reason };
        let mut actions = self.finished(event, text, tokens);
        if is_whole {
            let stop = vec!["\n\n".to_owned()];
            self.hand_over(&mut actions, Why::Review, review.tokens, stop);
        } else if !tries_again {
            self.corrected(&mut actions, instead, own);
        }
        actions
    }

    /// Puts what the large writer would have in the place of what was kept last.
    fn corrected(&mut self, actions: &mut [Action], instead: &str, tokens: u32) {
        for action in actions.iter_mut() {
            if let Action::Keep { role: Role::Small, bytes } = *action {
                *action = Action::Correct { bytes };
            }
        }
        self.allowance.finished(Role::Large, instead.len(), tokens);
        self.allowance.kept(Role::Large, instead.len() as u64);
        if self.limits.thought_only {
            self.kept.push(instead);
        }
    }

    /// Whether so many tokens of the large writer are within the targets.
    fn affords(&self, tokens: u32) -> bool {
        let ask = Ask::new(Role::Large, Why::Review, tokens);
        let is_too_late = self.limits.thought_only && self.kept.is_thought_over;
        !is_too_late && self.allowance.grant(&ask).is_some()
    }

    /// What is kept of what was written.
    fn note(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Keep { role, bytes } = action {
                self.allowance.kept(*role, *bytes);
                if self.limits.thought_only {
                    let written = self.written[*role as usize].as_str();
                    let kept = usize::try_from(*bytes).ok().and_then(|bytes| written.get(..bytes));
                    self.kept.push(kept.unwrap_or_default());
                }
                self.undecided &= *role != Role::Small;
            }
        }
    }

    /// Adds to an ask what the policy inside does not know of.
    fn ask(&mut self, ask: &mut Ask) {
        self.writer = ask.role;
        let ahead = self.limits.review.and_then(|review| review.ahead_tokens);
        if let Some(ahead) = ahead.filter(|_| ask.role == Role::Small && ask.watch.is_none()) {
            ask.max_tokens = ask.max_tokens.min(ahead);
        }
        self.room = ask.max_tokens;
        if ask.role == Role::Large {
            let within = [self.limits.deadline, ask.first_text_within];
            ask.first_text_within = within.into_iter().flatten().min();
            return;
        }
        if let Some(watch) = &mut ask.watch {
            watch.from_next_break |= self.passed_over;
            if self.limits.thought_only {
                watch.until = closing_marks().map(str::to_owned).to_vec();
            }
        }
        if ask.why == Why::Turn {
            self.stop.clone_from(&ask.stop);
            self.watch.clone_from(&ask.watch);
        }
    }

    /// What the small writer writes while the large one is asked, if anything.
    fn overlap(&mut self) -> Option<Action> {
        // One is what a late takeover costs.
        let left = self.budget.left().saturating_sub(1);
        let max_tokens = self.limits.overlap_tokens?.min(left);
        if self.undecided || max_tokens == 0 {
            return None;
        }
        self.overlapping = true;
        self.overlap_room = max_tokens;
        Some(Action::Overlap(Ask {
            stop: self.stop.clone(),
            watch: self.watch.clone().map(|watch| Watch { from_next_break: true, ..watch }),
            provisional: true,
            ..Ask::new(Role::Small, Why::Turn, max_tokens)
        }))
    }
}

impl Policy for Limited {
    fn measured(&mut self, measured: &Measured) {
        self.allowance.measured(measured);
        self.inner.measured(measured);
    }

    fn need(&self) -> Option<Need> {
        self.inner.need()
    }

    fn passed_over(&self) -> u32 {
        self.beyond
    }

    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let mut actions = match event {
            PolicyEvent::Late => self.late(),
            PolicyEvent::Looped { text, tokens } => self.looped(text, tokens),
            PolicyEvent::Objected { text, tokens, instead, instead_tokens } => {
                self.objected(text, tokens, instead.map(|text| (text, instead_tokens)))
            }
            // The large writer's context may be the smaller one: then its stretch is over, and not the answer.
            PolicyEvent::Finished { text, tokens, reason: FinishReason::ContextFull }
                if self.writer == Role::Large =>
            {
                let reason = &FinishReason::MaxTokens;
                self.finished(PolicyEvent::Finished { text, tokens, reason }, text, tokens)
            }
            PolicyEvent::Finished { text, tokens, .. } => self.finished(event, text, tokens),
            PolicyEvent::Inserted { tokens } => {
                self.budget.spend(tokens);
                self.inner.step(event)
            }
            PolicyEvent::Started { prompt_tokens } => {
                self.allowance.started(prompt_tokens);
                self.inner.step(event)
            }
        };
        self.afford(&mut actions);
        if let Some(Action::Ask(ask)) = actions.last_mut() {
            self.ask(ask);
            // Out of a loop the small writer is led, and does not go on with it meanwhile.
            if ask.role == Role::Large && !matches!(ask.why, Why::Loop | Why::Review) {
                actions.extend(self.overlap());
            }
        }
        actions
    }
}
