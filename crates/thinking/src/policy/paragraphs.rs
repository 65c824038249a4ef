//! Baselines that decide for every paragraph who writes it, by what a model says of it and not by a phrase in it.
//!
//! - `entropy` (GlimpRouter, arXiv 2601.05110): the small writer begins the paragraph with one token. Where it was
//!   unsure of that, the large writer writes the paragraph instead.
//! - `score` (SpecReason, arXiv 2504.07891): the small writer writes the paragraph, and the large one gives it a mark
//!   from 0 to 9. Where that is low the paragraph is forgotten, and the large writer writes it again.
//!
//! What the large writer has nothing for, because it is late or beyond a target, the small one writes unquestioned.

use super::{
    Action, Ask, End, Measured, Need, Policy, PolicyEvent, Role, Why,
    baselines::{Budget, LONGEST_STRETCH_TOKENS, forced_end},
};
use crate::thinker::FinishReason;

/// Where a paragraph ends.
const BREAK: &str = "\n\n";

/// What the large writer is asked of a paragraph. A digit follows in any tokenizer as a token of its own.
const MARK_QUESTION: &str = "\n\nHow sure is it that the last step is right, from 0 (it is wrong) to 9 (it is right)? \
                             \\boxed{";

/// Who writes what, in either of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// The small writer begins or writes a paragraph that is in question.
    Questioned,
    /// The large writer says what it holds of it: of so many bytes, behind which the answer ends so.
    Marked {
        bytes: u64,
        end: Option<End>,
    },
    /// The small writer writes, and is not questioned.
    Unquestioned,
    /// The large writer writes the paragraph.
    Takeover,
    Ended(End),
}

/// A writer's paragraph, or the rest of one.
fn paragraph(role: Role, why: Why) -> Ask {
    Ask { stop: vec![BREAK.to_owned()], ..Ask::new(role, why, LONGEST_STRETCH_TOKENS) }
}

/// What both have in common.
#[derive(Debug)]
struct Paragraphs {
    budget: Budget,
    state: State,
}

impl Paragraphs {
    fn new(max_tokens: u32) -> Self {
        Paragraphs { budget: Budget::new(max_tokens), state: State::New }
    }

    fn end(&mut self, end: End) -> Action {
        self.state = State::Ended(end);
        Action::End(end)
    }

    fn ask(&mut self, state: State, ask: Ask) -> Action {
        let max_tokens = ask.max_tokens.min(self.budget.left());
        if max_tokens == 0 {
            return self.end(End::MaxTokens);
        }
        self.state = state;
        Action::Ask(Ask { max_tokens, ..ask })
    }

    /// The small writer writes on, unquestioned, to the next break.
    fn go_on(&mut self) -> Action {
        self.ask(State::Unquestioned, paragraph(Role::Small, Why::Turn))
    }

    /// A stretch that is kept as a whole is complete. `next`: what begins the next paragraph.
    fn kept(
        &mut self,
        role: Role,
        text: &str,
        reason: &FinishReason,
        next: impl FnOnce(&mut Self) -> Action,
    ) -> Vec<Action> {
        let keep = Action::Keep { role, bytes: text.len() as u64 };
        let is_stop = matches!(reason, FinishReason::Stop { .. });
        let action = match forced_end(reason) {
            Some(end) => self.end(end),
            None if text.ends_with(BREAK) || is_stop => next(self),
            // A node may give less than was asked for, or nothing.
            None => self.go_on(),
        };
        vec![keep, action]
    }
}

/// `entropy`. See the module.
#[derive(Debug)]
pub(super) struct ByEntropy {
    /// The entropy over which the large writer writes a paragraph, in nats.
    over: f32,
    paragraphs: Paragraphs,
    /// That of the proposal that is complete.
    entropy: Option<f32>,
}

impl ByEntropy {
    /// The large writer writes where the entropy is over so many nats.
    pub(super) fn new(over: f32, max_tokens: u32) -> Self {
        ByEntropy { over, paragraphs: Paragraphs::new(max_tokens), entropy: None }
    }

    fn probe(paragraphs: &mut Paragraphs) -> Action {
        let probe =
            Ask { provisional: true, report_entropy: true, ..Ask::new(Role::Small, Why::Probe, 1) };
        paragraphs.ask(State::Questioned, probe)
    }
}

impl Policy for ByEntropy {
    fn measured(&mut self, measured: &Measured) {
        self.entropy = measured.first_token_entropy;
    }

    fn need(&self) -> Option<Need> {
        Some(Need::Entropies)
    }

    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let paragraphs = &mut self.paragraphs;
        if let PolicyEvent::Finished { tokens, .. } = event {
            paragraphs.budget.spend(tokens);
        }
        match (event, paragraphs.state) {
            (PolicyEvent::Started { .. }, State::New) => vec![Self::probe(paragraphs)],
            (PolicyEvent::Finished { reason, .. }, State::Questioned)
                if forced_end(reason).is_none()
                    && self.entropy.is_some_and(|it| it > self.over) =>
            {
                let forget = Action::Keep { role: Role::Small, bytes: 0 };
                let takeover = paragraph(Role::Large, Why::Entropy);
                vec![forget, paragraphs.ask(State::Takeover, takeover)]
            }
            (
                PolicyEvent::Finished { text, reason, .. },
                State::Questioned | State::Unquestioned,
            ) => paragraphs.kept(Role::Small, text, reason, Self::probe),
            (PolicyEvent::Finished { text, reason, .. }, State::Takeover) => {
                paragraphs.kept(Role::Large, text, reason, Self::probe)
            }
            (_, State::Ended(end)) => vec![Action::End(end)],
            // An event that no driver sends here ends the answer.
            _ => vec![paragraphs.end(End::Cancelled)],
        }
    }
}

/// `score`. See the module.
#[derive(Debug)]
pub(super) struct ByScore {
    /// The least mark with which a paragraph stands.
    least: u32,
    paragraphs: Paragraphs,
}

impl ByScore {
    /// A paragraph with a lower mark is written again.
    pub(super) fn new(least: u32, max_tokens: u32) -> Self {
        ByScore { least, paragraphs: Paragraphs::new(max_tokens) }
    }

    fn draft(paragraphs: &mut Paragraphs) -> Action {
        let draft = Ask { provisional: true, ..paragraph(Role::Small, Why::Turn) };
        paragraphs.ask(State::Questioned, draft)
    }

    /// The small writer has a paragraph in hand.
    fn drafted(paragraphs: &mut Paragraphs, text: &str, reason: &FinishReason) -> Vec<Action> {
        let (bytes, end) = (text.len() as u64, forced_end(reason));
        let has_time = matches!(end, None | Some(End::EndOfText));
        if text.is_empty() || !has_time || paragraphs.budget.left() == 0 {
            return paragraphs.kept(Role::Small, text, reason, Self::draft);
        }
        let aside = Some(MARK_QUESTION.to_owned());
        let ask = Ask { provisional: true, aside, ..Ask::new(Role::Large, Why::Score, 1) };
        vec![paragraphs.ask(State::Marked { bytes, end }, ask)]
    }

    /// The large writer said what it holds of so many bytes, behind which the answer ends so. One that gives no mark
    /// has nothing against them.
    fn marked(&mut self, said: &str, bytes: u64, end: Option<End>) -> Vec<Action> {
        let (role, paragraphs) = (Role::Small, &mut self.paragraphs);
        let mark = said.chars().find_map(|digit| digit.to_digit(10));
        let forget = Action::Keep { role: Role::Large, bytes: 0 };
        if mark.is_some_and(|mark| mark < self.least) && paragraphs.budget.left() > 0 {
            let takeover = paragraph(Role::Large, Why::Score);
            let again = paragraphs.ask(State::Takeover, takeover);
            return vec![forget, Action::Keep { role, bytes: 0 }, again];
        }
        let next = match end {
            Some(end) => paragraphs.end(end),
            None => Self::draft(paragraphs),
        };
        vec![forget, Action::Keep { role, bytes }, next]
    }
}

impl Policy for ByScore {
    fn need(&self) -> Option<Need> {
        Some(Need::Asides)
    }

    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let paragraphs = &mut self.paragraphs;
        if let PolicyEvent::Finished { tokens, .. } = event {
            paragraphs.budget.spend(tokens);
        }
        match (event, paragraphs.state) {
            (PolicyEvent::Started { .. }, State::New) => vec![Self::draft(paragraphs)],
            (PolicyEvent::Finished { text, reason, .. }, State::Questioned) => {
                Self::drafted(paragraphs, text, reason)
            }
            (PolicyEvent::Finished { text, .. }, State::Marked { bytes, end }) => {
                self.marked(text, bytes, end)
            }
            (PolicyEvent::Finished { text, reason, .. }, State::Unquestioned) => {
                paragraphs.kept(Role::Small, text, reason, Self::draft)
            }
            (PolicyEvent::Finished { text, reason, .. }, State::Takeover) => {
                paragraphs.kept(Role::Large, text, reason, Self::draft)
            }
            (_, State::Ended(end)) => vec![Action::End(end)],
            _ => vec![paragraphs.end(End::Cancelled)],
        }
    }
}
