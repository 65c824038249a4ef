//! `strict`: the paper's rules without the leaks of the authors' loop. The default.
//!
//! The small writer writes on while it is watched: nothing is probed, thrown away and sampled again. At the first
//! trigger phrase after a paragraph break, its text is cut back to the break and the large writer takes over: for n1
//! tokens after an affirmation or a reflection, for n1 + n2 after a verification, and for n2 more if the large writer's
//! own stretch announces a verification. After more than n3 reflections the recap sentence is inserted and the large
//! writer gets a longer stretch, which grows each time. Budgets count generated tokens and are never exceeded.

use serde::{Deserialize, Serialize};

use super::{
    Action, Ask, End, Policy, PolicyEvent, Role, Why,
    baselines::{Budget, forced_end},
    keywords::Keywords,
};
use crate::{
    thinker::FinishReason,
    trigger::{TriggerKind, TriggerMatch, Watch},
};

/// The parameters of `strict`. Keys that are left out get the paper's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StrictConfig {
    /// The paragraph breaks.
    pub delimiters: Vec<String>,
    /// The trigger phrases.
    pub keywords: Keywords,
    /// Length of the window after a break, in characters: about n1 tokens.
    pub window_chars: u32,
    /// Tokens of a takeover (n1).
    pub takeover_tokens: u32,
    /// Further tokens for a verification (n2).
    pub verification_tokens: u32,
    /// How many reflections are allowed before the next one brings the recap sentence (n3).
    pub reflections_before_recap: u32,
    /// How much each recap adds to that number.
    pub reflections_growth: u32,
    /// The greatest value of that number.
    pub reflections_max: u32,
    /// The recap sentence; if empty, there are no recaps.
    pub recap_sentence: String,
    /// Tokens of the stretch after the recap sentence.
    pub recap_tokens: u32,
    /// How many tokens each recap adds to the next such stretch.
    pub recap_tokens_growth: u32,
    /// The longest such stretch, in tokens.
    pub recap_tokens_max: u32,
    /// How many tokens the large writer begins the answer with; if 0, the small one begins.
    pub begin_tokens: u32,
    /// Whether the large writer takes over at every break, phrase or not: for a small model that does not reason and so
    /// never writes a trigger phrase.
    pub every_break: bool,
    /// Whether a takeover ends at its first paragraph break. The beginning of an answer does not.
    pub end_at_break: bool,
}

impl Default for StrictConfig {
    fn default() -> Self {
        StrictConfig {
            delimiters: vec!["\n\n".into()],
            keywords: Keywords::default(),
            window_chars: 80,
            takeover_tokens: 20,
            verification_tokens: 125,
            reflections_before_recap: 15,
            reflections_growth: 5,
            reflections_max: 30,
            recap_sentence: "Let me check whether there are some wrong steps:".into(),
            recap_tokens: 125,
            recap_tokens_growth: 25,
            recap_tokens_max: 200,
            begin_tokens: 0,
            every_break: false,
            end_at_break: true,
        }
    }
}

impl StrictConfig {
    /// The paper's values for a small model that does not reason.
    pub fn instruct() -> Self {
        StrictConfig { begin_tokens: 100, every_break: true, ..StrictConfig::default() }
    }

    /// Returns what is wrong with the values, as (key, what it must be).
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.takeover_tokens == 0 {
            return Some(("takeover_tokens", "at least 1"));
        }
        if self.recap_tokens == 0 || self.recap_tokens_max == 0 {
            return Some(("recap_tokens", "at least 1, and so must recap_tokens_max"));
        }
        if self.delimiters.is_empty() || self.delimiters.iter().any(String::is_empty) {
            return Some(("delimiters", "a list of at least one text, none of them empty"));
        }
        if self.keywords.has_empty() {
            return Some(("keywords", "lists of non-empty texts"));
        }
        None
    }

    /// Returns the watch for the small writer's turns; `None` if every break hands over.
    pub(super) fn watch(&self) -> Option<Watch> {
        let watch = || Watch {
            delimiters: self.delimiters.clone(),
            window_chars: self.window_chars,
            phrases: self.keywords.phrases(),
            from_next_break: false,
            until: Vec::new(),
        };
        (!self.every_break).then(watch)
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    New,
    /// The small writer writes.
    Turn,
    /// The recap sentence is being inserted.
    Recap,
    /// The large writer writes. `extendable`: whether a verification may still extend the takeover.
    Takeover {
        extendable: bool,
    },
    Ended(End),
}

/// The default policy. See the module documentation.
#[derive(Debug, Clone)]
pub struct Strict {
    config: StrictConfig,
    budget: Budget,
    state: State,
    /// Reflections since the last recap.
    reflections: u32,
    recap_after: u32,
    recap_tokens: u32,
}

impl Strict {
    /// The policy with these parameters, for an answer of at most `max_tokens` generated tokens.
    pub fn new(config: StrictConfig, max_tokens: u32) -> Self {
        Strict {
            budget: Budget::new(max_tokens),
            state: State::New,
            reflections: 0,
            recap_after: config.reflections_before_recap,
            recap_tokens: config.recap_tokens,
            config,
        }
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

    /// Lets the small writer continue.
    fn turn(&mut self) -> Action {
        let every = self.config.every_break;
        let ask = Ask {
            stop: if every { self.config.delimiters.clone() } else { Vec::new() },
            watch: self.config.watch(),
            ..Ask::new(Role::Small, Why::Turn, u32::MAX)
        };
        self.ask(State::Turn, ask)
    }

    /// Lets the large writer take over.
    fn take_over(&mut self, why: Why, max_tokens: u32, extendable: bool) -> Action {
        let ends_at_break = self.config.end_at_break && why != Why::Begin;
        let ask = Ask {
            stop: if ends_at_break { self.config.delimiters.clone() } else { Vec::new() },
            ..Ask::new(Role::Large, why, max_tokens)
        };
        self.ask(State::Takeover { extendable }, ask)
    }

    /// Returns the action that follows a trigger phrase.
    fn triggered(&mut self, found: &TriggerMatch) -> Action {
        let n1 = self.config.takeover_tokens;
        match found.kind {
            TriggerKind::Affirmation => self.take_over(Why::Affirmation, n1, true),
            TriggerKind::Verification => {
                let tokens = n1.saturating_add(self.config.verification_tokens);
                self.take_over(Why::Verification, tokens, false)
            }
            TriggerKind::Reflection => {
                self.reflections = self.reflections.saturating_add(1);
                // A text never has more tokens than bytes, so the sentence is sure to fit.
                let room = self.budget.left() as usize > self.config.recap_sentence.len();
                let recap = self.reflections > self.recap_after
                    && !self.config.recap_sentence.is_empty()
                    && room;
                if !recap {
                    return self.take_over(Why::Reflection, n1, true);
                }
                self.state = State::Recap;
                Action::Insert { text: self.config.recap_sentence.clone(), why: Why::Recap }
            }
        }
    }

    /// Lets the large writer continue after the recap sentence.
    fn recap(&mut self) -> Action {
        let tokens = self.recap_tokens;
        let config = &self.config;
        self.reflections = 0;
        self.recap_tokens =
            tokens.saturating_add(config.recap_tokens_growth).min(config.recap_tokens_max);
        self.recap_after =
            self.recap_after.saturating_add(config.reflections_growth).min(config.reflections_max);
        self.take_over(Why::ExcessiveReflection, tokens, false)
    }

    fn turn_finished(&mut self, text: &str, reason: &FinishReason) -> Vec<Action> {
        let role = Role::Small;
        if let FinishReason::Trigger(found) = reason {
            // A cut outside the text comes from a broken node: keep all of the text.
            let cut = usize::try_from(found.cut).ok().filter(|cut| text.is_char_boundary(*cut));
            let bytes = cut.unwrap_or(text.len()) as u64;
            return vec![Action::Keep { role, bytes }, self.triggered(found)];
        }
        let keep = Action::Keep { role, bytes: text.len() as u64 };
        let next = match (forced_end(reason), reason) {
            (Some(end), _) => self.end(end),
            (None, FinishReason::Stop { .. }) if self.config.every_break => {
                self.take_over(Why::Schedule, self.config.takeover_tokens, true)
            }
            // A node may write less than it was asked for.
            (None, _) => self.turn(),
        };
        vec![keep, next]
    }

    fn takeover_finished(
        &mut self,
        text: &str,
        reason: &FinishReason,
        extendable: bool,
    ) -> Vec<Action> {
        let keep = Action::Keep { role: Role::Large, bytes: text.len() as u64 };
        let next = match forced_end(reason) {
            Some(end) => self.end(end),
            None if extendable
                && self.config.verification_tokens > 0
                && self.config.keywords.verifies(text) =>
            {
                self.take_over(Why::Verification, self.config.verification_tokens, false)
            }
            None => self.turn(),
        };
        vec![keep, next]
    }
}

impl Policy for Strict {
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        match (event, self.state) {
            (PolicyEvent::Started { .. }, State::New) => vec![match self.config.begin_tokens {
                0 => self.turn(),
                tokens => self.take_over(Why::Begin, tokens, false),
            }],
            (PolicyEvent::Finished { text, tokens, reason }, State::Turn) => {
                self.budget.spend(tokens);
                self.turn_finished(text, reason)
            }
            (PolicyEvent::Finished { text, tokens, reason }, State::Takeover { extendable }) => {
                self.budget.spend(tokens);
                self.takeover_finished(text, reason, extendable)
            }
            (PolicyEvent::Inserted { tokens }, State::Recap) => {
                self.budget.spend(tokens);
                vec![self.recap()]
            }
            (_, State::Ended(end)) => vec![Action::End(end)],
            // Ends the answer on an event that no driver sends in this state.
            _ => vec![self.end(End::Cancelled)],
        }
    }
}
