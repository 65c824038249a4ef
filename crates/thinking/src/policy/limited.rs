//! Limits: wraps any policy and gives takeovers up where they are unavailable or cost too much.
//!
//! This makes quality depend on the network, or on what one is ready to pay. If the large writer is unreachable, its
//! first text is late, or a takeover is beyond the targets (`target`), the small writer continues in its place. The
//! inner policy sees an empty stretch, a case that every policy handles, since a node may write less than it was asked
//! for. The wrapper does two things itself so that the answer makes progress:
//! - The small writer is not cut off at the same place again: its watch begins with the next paragraph break.
//! - If the inner policy would ask the large writer again at the same place, the small one stands in for it; at the
//!   next paragraph break the large one is asked again.
//!
//! Takeovers may be limited to the thought: once a closing mark is in the answer's text, all of them are skipped.
//!
//! With an overlap the small writer does not wait: it writes on provisionally while the large one is asked. Whichever
//! comes first decides, the large writer's first text or the end of the provisional stretch; see [`Action::Overlap`].
//!
//! There is no clock here: the ask carries its time limit, and the conductor reports when it has passed.
//!
//! If an answer repeats itself in a loop ([`crate::loops`]), the proposal is cut off in the middle. The first time, the
//! large writer leads out of the loop in place of the small one; the inner policy takes that text for the small
//! writer's. The second time, the answer ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

use super::{
    Action, Ask, End, Measured, Need, Policy, PolicyEvent, ReviewConfig, Role, Targets, Why,
    baselines::Budget, target::Allowance,
};
use crate::{thinker::FinishReason, thought::MARKS, trigger::Watch};

/// How many tokens the large writer gets to lead out of a loop: the length of the paper's longest recap.
const LOOP_TOKENS: u32 = 200;

/// What to do about an answer that repeats itself in a loop.
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
    /// The large writer takes over; if it happens again, the answer ends.
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

    /// Returns its name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Limits on takeovers and loops. By default there are none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// The longest time from the ask to the large writer's first text.
    pub deadline: Option<Duration>,
    /// How many tokens the small writer may write in the meantime; once it has, the takeover is late.
    pub overlap_tokens: Option<u32>,
    /// The targets for the answer's share, latency and cost.
    pub targets: Targets,
    /// Whether takeovers stop once the thought is over. By default they continue in the answer proper, as in the
    /// authors' loop.
    pub thought_only: bool,
    /// What to do about loops.
    pub loops: LoopRule,
    /// If set, the large writer judges what the small one writes, and its objections are handled like this.
    pub review: Option<ReviewConfig>,
}

/// Returns the marks that close a thought.
fn closing_marks() -> [&'static str; 4] {
    MARKS.map(|(_, close)| close)
}

/// What is known of an answer's kept text.
#[derive(Debug, Default)]
struct KeptText {
    /// Its end, where a mark may have begun.
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

/// A policy whose takeovers are given up where they cost too much. See the module documentation.
pub struct Limited {
    inner: Box<dyn Policy>,
    limits: Limits,
    allowance: Allowance,
    /// Who was asked last.
    writer: Role,
    /// Who writes in place of the writer that the inner policy believes was asked, if anyone.
    stands_in: Option<Role>,
    /// How many loops were found.
    loops: u32,
    /// How often the small writer tried again at the place of the last objection.
    tries: u32,
    /// How many takeovers were beyond the targets.
    beyond: u32,
    /// Whether the small writer is at a place where a takeover was skipped; reset when a paragraph ends.
    passed_over: bool,
    /// How the small writer was last asked for a turn. What it writes during an overlap is a turn too.
    stop: Vec<String>,
    watch: Option<Watch>,
    /// Whether the small writer writes on while the large one is asked.
    overlapping: bool,
    /// Tokens of the last ask, or of the overlap's text if that continues.
    room: u32,
    overlap_room: u32,
    /// Whether the small writer's latest stretch is neither kept nor forgotten yet.
    undecided: bool,
    /// Counts as the policies do, so that an overlap never exceeds the answer's limit.
    budget: Budget,
    /// What the small and the large writer wrote last, and what was kept. Only used if takeovers are limited to the
    /// thought.
    written: [String; 2],
    kept: KeptText,
}

impl Limited {
    /// Wraps the policy `inner` in these limits, for an answer of at most `max_tokens` generated tokens.
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

    /// Returns whether proposals are to be cut off where the answer repeats itself in a loop.
    pub fn cuts_loops(&self) -> bool {
        self.limits.loops != LoopRule::Off
    }

    /// Returns how to handle the large writer's objections, if it judges what the small one writes.
    pub fn review(&self) -> Option<ReviewConfig> {
        self.limits.review
    }

    /// Returns how long a verdict may take before the text is accepted unjudged.
    pub fn review_within(&self) -> Option<Duration> {
        self.limits.deadline
    }

    /// Returns how many loops were found.
    pub fn loops(&self) -> u32 {
        self.loops
    }

    /// Sends an event to the inner policy, and corrects the writer in its actions if another one stood in.
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

    /// Skips a takeover: for the inner policy the large writer wrote nothing.
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
                // It would have continued to the answer's end.
                ask.stop.push("\n\n".to_owned());
            }
            (ask.role, ask.why) = (Role::Small, Why::Turn);
        }
        actions
    }

    /// Handles a late first text of the large writer.
    fn late(&mut self) -> Vec<Action> {
        self.allowance.late();
        let mut actions = self.pass_over();
        if std::mem::take(&mut self.overlapping) {
            if let Some(Action::Ask(_)) = actions.last() {
                // What the inner policy asks for is being written already.
                actions.pop();
                self.writer = Role::Small;
                self.room = self.overlap_room;
            } else {
                actions.insert(0, Action::Keep { role: Role::Small, bytes: 0 });
            }
        }
        actions
    }

    /// Reduces a takeover to what the targets allow, or skips it if they allow none. Also skips every takeover after
    /// the thought if takeovers are limited to it.
    fn afford(&mut self, actions: &mut Vec<Action>) {
        let Some(Action::Ask(ask)) = actions.last_mut() else { return };
        if ask.role != Role::Large {
            return;
        }
        let is_too_late = self.limits.thought_only && self.kept.is_thought_over;
        if is_too_late {
            // Skipped, but not because of a target.
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
        // The large writer was not asked, so there is nothing to keep or forget.
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

    /// Handles a loop: for the inner policy the stretch was shorter than asked for.
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

    /// Asks the large writer to continue in place of the small one, if the targets allow it.
    fn lead_out(&mut self, actions: &mut [Action]) {
        self.hand_over(actions, Why::Loop, LOOP_TOKENS, Vec::new());
    }

    fn hand_over(&mut self, actions: &mut [Action], why: Why, most: u32, stop: Vec<String>) {
        let Some(Action::Ask(ask)) = actions.last_mut() else { return };
        // A draft or probe that the inner policy will judge is left to the small writer.
        let is_draft = ask.provisional && !ask.report_entropy;
        if ask.role == Role::Large || is_draft {
            return;
        }
        // A probe's length is not that of the text after it.
        let room = if ask.provisional { self.budget.left() } else { ask.max_tokens };
        let takeover = Ask { stop, ..Ask::new(Role::Large, why, room.min(most)) };
        if self.allowance.grant(&takeover).is_none() {
            self.beyond += 1;
            return;
        }
        self.stands_in = Some(Role::Large);
        *ask = takeover;
    }

    /// Handles an objection: for the inner policy the small writer's stretch was shorter than asked for.
    fn objected(&mut self, text: &str, tokens: u32, instead: Option<(&str, u32)>) -> Vec<Action> {
        let Some(review) = self.limits.review else { return vec![Action::Overrule] };
        let Some((instead, instead_tokens)) = instead else {
            let reason = &FinishReason::EndOfText;
            return self.finished(PolicyEvent::Finished { text, tokens, reason }, text, tokens);
        };
        // It is the same place if nothing was written since the last objection.
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
            // There is no room for the replacement: the stretch ends here.
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

    /// Puts the large writer's replacement after the text that was kept last.
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

    /// Returns whether this many tokens of the large writer are within the targets.
    fn affords(&self, tokens: u32) -> bool {
        let ask = Ask::new(Role::Large, Why::Review, tokens);
        let is_too_late = self.limits.thought_only && self.kept.is_thought_over;
        !is_too_late && self.allowance.grant(&ask).is_some()
    }

    /// Records what the actions keep of what was written.
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

    /// Adds to an ask what the inner policy does not know about.
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

    /// Returns what the small writer writes while the large one is asked, if anything.
    fn overlap(&mut self) -> Option<Action> {
        // A late takeover costs one token.
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
            // The large writer's context may be the smaller one: then only its stretch is over, not the answer.
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
            // The large writer must lead out of the loop, so the small one does not continue it meanwhile.
            if ask.role == Role::Large && !matches!(ask.why, Why::Loop | Why::Review) {
                actions.extend(self.overlap());
            }
        }
        actions
    }
}
