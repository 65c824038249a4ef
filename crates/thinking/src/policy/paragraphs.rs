//! Baselines that decide for every paragraph who writes it, from a model's opinion of the paragraph instead of a phrase
//! in it.
//!
//! - `entropy` (GlimpRouter, arXiv 2601.05110): the small writer begins the paragraph with one token. If it was unsure
//!   of that token, the large writer writes the paragraph instead.
//! - `score` (SpecReason, arXiv 2504.07891): the small writer writes the paragraph, and the large one gives it a mark
//!   from 0 to 9. If the mark is low, the paragraph is forgotten and the large writer writes it again.
//!
//! Where the large writer writes nothing, because it is late or beyond a target, the small one writes the paragraph
//! unquestioned.

use super::{
    Action, Ask, End, Measured, Need, Policy, PolicyEvent, Role, Why,
    baselines::{Budget, LONGEST_STRETCH_TOKENS, forced_end},
};
use crate::thinker::FinishReason;

/// Where a paragraph ends.
const BREAK: &str = "\n\n";

/// What the large writer is asked about a paragraph. The answer is a digit, which is a token of its own in any
/// tokenizer.
const MARK_QUESTION: &str = "\n\nHow sure is it that the last step is right, from 0 (it is wrong) to 9 (it is right)? \
                             \\boxed{";

/// The state of either policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// The small writer begins or writes a paragraph that is in question.
    Questioned,
    /// The large writer marks a paragraph of this many bytes, after which the answer ends if `end` is set.
    Marked {
        bytes: u64,
        end: Option<End>,
    },
    /// The small writer writes unquestioned.
    Unquestioned,
    /// The large writer writes the paragraph.
    Takeover,
    Ended(End),
}

/// Asks a writer for a paragraph, or for the rest of one.
fn paragraph(role: Role, why: Why) -> Ask {
    Ask { stop: vec![BREAK.to_owned()], ..Ask::new(role, why, LONGEST_STRETCH_TOKENS) }
}

/// What the two policies have in common.
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

    /// Lets the small writer continue, unquestioned, to the next break.
    fn go_on(&mut self) -> Action {
        self.ask(State::Unquestioned, paragraph(Role::Small, Why::Turn))
    }

    /// Keeps a complete stretch as a whole. `next` begins the next paragraph.
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
            // A node may write less than it was asked for, or nothing.
            None => self.go_on(),
        };
        vec![keep, action]
    }
}

/// The `entropy` policy. See the module documentation.
#[derive(Debug)]
pub(super) struct ByEntropy {
    /// The entropy above which the large writer writes a paragraph, in nats.
    over: f32,
    paragraphs: Paragraphs,
    /// The entropy for the proposal that is complete.
    entropy: Option<f32>,
}

impl ByEntropy {
    /// A policy in which the large writer takes over if the entropy is above this many nats.
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
            // Ends the answer on an event that no driver sends in this state.
            _ => vec![paragraphs.end(End::Cancelled)],
        }
    }
}

/// The `score` policy. See the module documentation.
#[derive(Debug)]
pub(super) struct ByScore {
    /// The lowest mark at which a paragraph is kept.
    least: u32,
    paragraphs: Paragraphs,
}

impl ByScore {
    /// A policy in which a paragraph with a mark below `least` is written again.
    pub(super) fn new(least: u32, max_tokens: u32) -> Self {
        ByScore { least, paragraphs: Paragraphs::new(max_tokens) }
    }

    fn draft(paragraphs: &mut Paragraphs) -> Action {
        let draft = Ask { provisional: true, ..paragraph(Role::Small, Why::Turn) };
        paragraphs.ask(State::Questioned, draft)
    }

    /// Handles a paragraph that the small writer has written.
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

    /// Handles the large writer's mark for a paragraph of this many bytes, after which the answer ends if `end` is set.
    /// If it gave no mark, the paragraph is kept.
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
