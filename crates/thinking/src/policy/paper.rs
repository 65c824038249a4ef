//! `paper`: the authors' published loop to the letter, including its leaks.
//!
//! It keeps these properties of the loop on purpose. At every paragraph break the small writer writes a probe, which is
//! thrown away if it shows no keyword, so that the next turn writes the same place again. Keywords are substrings. The
//! limit includes the prompt's tokens and is checked only between rounds. Takeovers are recorded with their budgets. An
//! end of text is searched for in the last `max_target_tokens` tokens, so the loop continues if a long extension
//! follows one.
//!
//! One thing differs: the loop looks for the delimiter in the text of a turn's last five tokens, while this policy uses
//! the turn's stop. The two disagree only for a delimiter of more than five tokens.

use serde::{Deserialize, Serialize};

use super::{
    Action, Ask, End, Policy, PolicyEvent, Role, Why,
    baselines::forced_end,
    keywords::{Keywords, Leaning},
};
use crate::thinker::FinishReason;

/// The longest turn of the small writer, in tokens: a constant in the authors' source.
const TURN_TOKENS: u32 = 1024;

/// The authors' configuration, with their keys. Keys that are left out get the published values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaperConfig {
    /// Which of the authors' programs reads the file. Accepted and ignored.
    pub mode: Option<String>,
    /// The large model. Accepted and ignored, since nodes report what they serve.
    pub target_model_name: Option<String>,
    /// The small model. Accepted and ignored.
    pub speculative_model_name: Option<String>,
    /// The large model's GPU. Accepted and ignored.
    pub target_model_gpu: Option<u32>,
    /// The small model's GPU. Accepted and ignored.
    pub speculative_model_gpu: Option<u32>,
    /// The paragraph breaks.
    #[serde(rename = "TRIGGER_TOKENS")]
    pub trigger_tokens: Vec<String>,
    /// The keywords.
    #[serde(rename = "TARGET_VALIDATION_KEYWORDS")]
    pub keywords: Keywords,
    /// Text inserted before every probe.
    pub help_think_word: Option<String>,
    /// The sentence inserted after too many reflections.
    pub help_recap_words: String,
    /// Whether the large writer is tried at every paragraph break, keyword or not.
    pub not_reasoning: bool,
    /// Whether a try always keeps the large writer's text; otherwise only if the two texts lean apart.
    pub choose_large: bool,
    /// Tokens of a probe and of a sentence takeover (the paper's n1).
    pub max_target_tokens: u32,
    /// Whether the large writer begins the answer.
    pub begin: bool,
    /// How many tokens it begins with.
    pub begin_token_num: u32,
    /// Tokens of an extension after a verification (n2), and of the first extension after too many reflections.
    pub original_recap_token_num: u32,
    /// How many reflections come before the sentence is inserted (n3).
    pub recap_after_negative_num: u32,
    /// How many tokens each such extension adds to the next.
    pub add_each_recap: u32,
    /// How many reflections it adds to the number before the next.
    pub add_each_neg: u32,
    /// The longest such extension, in tokens.
    pub max_recap_token_num: u32,
    /// The greatest number of reflections before one.
    pub max_negative_num: u32,
    /// Time limit for an answer in seconds; no limit if absent, zero or negative. The authors' loop loses the whole
    /// answer when it expires. A policy has no clock: see [`PaperConfig::deadline_s`].
    pub time_out: Option<f64>,
}

impl Default for PaperConfig {
    fn default() -> Self {
        PaperConfig {
            mode: None,
            target_model_name: None,
            speculative_model_name: None,
            target_model_gpu: None,
            speculative_model_gpu: None,
            trigger_tokens: vec!["\n\n".into()],
            keywords: Keywords::default(),
            help_think_word: None,
            help_recap_words: "Let me check whether there are some wrong steps:".into(),
            not_reasoning: false,
            choose_large: true,
            max_target_tokens: 20,
            begin: false,
            begin_token_num: 100,
            original_recap_token_num: 125,
            recap_after_negative_num: 15,
            add_each_recap: 25,
            add_each_neg: 5,
            max_recap_token_num: 200,
            max_negative_num: 30,
            time_out: None,
        }
    }
}

impl PaperConfig {
    /// The published values for a small model that does not reason.
    pub fn instruct() -> Self {
        PaperConfig { not_reasoning: true, begin: true, ..PaperConfig::default() }
    }

    /// Returns the time limit for an answer in seconds, if any. A caller may set it as the deadline, which keeps the
    /// text.
    pub fn deadline_s(&self) -> Option<f64> {
        self.time_out.filter(|seconds| *seconds > 0.0)
    }

    /// Returns what is wrong with the values, as (key, what it must be).
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let at_least_1 = [
            ("max_target_tokens", self.max_target_tokens),
            ("begin_token_num", self.begin_token_num),
            ("original_recap_token_num", self.original_recap_token_num),
            ("max_recap_token_num", self.max_recap_token_num),
        ];
        if let Some((key, _)) = at_least_1.into_iter().find(|(_, value)| *value == 0) {
            return Some((key, "at least 1"));
        }
        if self.trigger_tokens.iter().any(String::is_empty) {
            return Some(("TRIGGER_TOKENS", "a list of non-empty texts"));
        }
        if self.keywords.has_empty() {
            return Some(("TARGET_VALIDATION_KEYWORDS", "lists of non-empty texts"));
        }
        None
    }
}

/// What the loop reports in addition to the text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperReport {
    /// Tokens of the answer, including ends of text.
    pub new_tokens: u64,
    /// What the large writer wrote, in order.
    pub takeovers: Vec<PaperTakeover>,
    /// How often the large writer was asked.
    pub attempts: u64,
}

/// A stretch of the large writer, with the authors' field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperTakeover {
    /// Where it starts, in tokens of the answer.
    pub pos: u64,
    /// Its budget, which the authors record as its length.
    pub token_num: u32,
    /// Its text. The misspelled name is the authors'.
    #[serde(rename = "traget")]
    pub target: String,
    /// What the small writer would have written; only for sentence takeovers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculative: Option<String>,
}

/// A proposal that is neither kept nor thrown away yet.
#[derive(Debug, Clone)]
struct Heard {
    text: String,
    tokens: u32,
    ended: bool,
    leaning: Leaning,
}

#[derive(Debug, Clone)]
enum State {
    /// Before the first round.
    New,
    /// The small writer's turn.
    Turn,
    /// The help word is being inserted.
    ThinkWord,
    /// The small writer's probe.
    Probe,
    /// The large writer writes in place of the probe.
    Sentence { probe: Heard },
    /// The recap sentence is being inserted.
    RecapWords,
    /// The large writer writes an extension of at most this many tokens.
    Extension { tokens: u32 },
    /// Over.
    Ended(End),
}

/// The authors' loop as a policy. See the module documentation.
#[derive(Debug, Clone)]
pub struct Paper {
    config: PaperConfig,
    /// The limit on prompt and answer, in tokens, checked between rounds.
    max_tokens: u64,
    state: State,
    /// Tokens of prompt and answer at the end of the last round.
    token_num: u64,
    prompt_tokens: u64,
    /// Tokens after the last end of text in the answer.
    since_end: Option<u64>,
    begin: bool,
    reflections: u64,
    recap_tokens: u32,
    recap_after: u32,
    report: PaperReport,
}

impl Paper {
    /// The loop with this configuration. It stops when prompt and answer have more than `max_tokens` tokens. Like the
    /// authors' loop, it checks this only between rounds.
    pub fn new(config: PaperConfig, max_tokens: u32) -> Self {
        Paper {
            max_tokens: max_tokens.into(),
            state: State::New,
            token_num: 0,
            prompt_tokens: 0,
            since_end: None,
            begin: config.begin,
            reflections: 0,
            recap_tokens: config.original_recap_token_num,
            recap_after: config.recap_after_negative_num,
            report: PaperReport::default(),
            config,
        }
    }

    /// Returns the report so far.
    pub fn report(&self) -> &PaperReport {
        &self.report
    }

    fn end(&mut self, end: End) -> Action {
        self.state = State::Ended(end);
        Action::End(end)
    }

    /// Adds kept tokens to the answer.
    fn add(&mut self, tokens: u32, ended: bool) {
        self.report.new_tokens = self.report.new_tokens.saturating_add(tokens.into());
        self.since_end = if ended {
            Some(0)
        } else {
            self.since_end.map(|since| since.saturating_add(tokens.into()))
        };
    }

    fn record(&mut self, token_num: u32, target: String, speculative: Option<String>) {
        let pos = self.report.new_tokens;
        self.report.takeovers.push(PaperTakeover { pos, token_num, target, speculative });
    }

    /// Ends a round and starts the next.
    fn round(&mut self) -> Action {
        self.token_num = self.prompt_tokens.saturating_add(self.report.new_tokens);
        if self.since_end.is_some_and(|since| since < self.config.max_target_tokens.into()) {
            return self.end(End::EndOfText);
        }
        self.start_round()
    }

    fn start_round(&mut self) -> Action {
        if self.token_num > self.max_tokens {
            return self.end(End::MaxTokens);
        }
        if std::mem::take(&mut self.begin) {
            return self.extend(self.config.begin_token_num, Why::Begin);
        }
        self.state = State::Turn;
        let stop = self.config.trigger_tokens.clone();
        Action::Ask(Ask { stop, ..Ask::new(Role::Small, Why::Turn, TURN_TOKENS) })
    }

    /// Handles the end of a paragraph: a recap sentence, or a help word and a probe.
    fn after_break(&mut self) -> Action {
        if self.reflections >= self.recap_after.into() {
            if self.config.help_recap_words.is_empty() {
                return self.recap();
            }
            self.state = State::RecapWords;
            let text = self.config.help_recap_words.clone();
            return Action::Insert { text, why: Why::Recap };
        }
        match self.config.help_think_word.clone().filter(|word| !word.is_empty()) {
            Some(text) => {
                self.state = State::ThinkWord;
                Action::Insert { text, why: Why::Probe }
            }
            None => self.probe(),
        }
    }

    fn probe(&mut self) -> Action {
        self.state = State::Probe;
        Action::Ask(self.short_ask(Role::Small, Why::Probe, true))
    }

    fn short_ask(&self, role: Role, why: Why, provisional: bool) -> Ask {
        Ask { provisional, ..Ask::new(role, why, self.config.max_target_tokens) }
    }

    fn recap(&mut self) -> Action {
        let tokens = self.recap_tokens;
        self.reflections = 0;
        let grown = tokens.saturating_add(self.config.add_each_recap);
        self.recap_tokens = grown.min(self.config.max_recap_token_num);
        let later = self.recap_after.saturating_add(self.config.add_each_neg);
        self.recap_after = later.min(self.config.max_negative_num);
        self.extend(tokens, Why::ExcessiveReflection)
    }

    fn extend(&mut self, max_tokens: u32, why: Why) -> Action {
        self.report.attempts += 1;
        self.state = State::Extension { tokens: max_tokens };
        Action::Ask(Ask { max_tokens, ..self.short_ask(Role::Large, why, false) })
    }

    /// Handles a complete probe: asks the large writer, or starts the next round.
    fn judge_probe(&mut self, probe: Heard) -> Vec<Action> {
        let forget = Action::Keep { role: Role::Small, bytes: 0 };
        let why = match probe.leaning {
            Leaning::Positive => Why::Affirmation,
            Leaning::Negative if self.config.keywords.verifies_somewhere(&probe.text) => {
                Why::Verification
            }
            Leaning::Negative => Why::Reflection,
            Leaning::Neutral if self.config.not_reasoning => Why::Schedule,
            Leaning::Neutral => return vec![forget, self.round()],
        };
        self.report.attempts += 1;
        // If the large writer's text is kept in any case, it can be shown as it comes.
        let sure = self.config.choose_large;
        let ask = Action::Ask(self.short_ask(Role::Large, why, !sure));
        self.state = State::Sentence { probe };
        if sure { vec![forget, ask] } else { vec![ask] }
    }

    /// Handles the case that both have written the place: decides which text stays, and what follows from it.
    fn judge_sentence(&mut self, probe: Heard, large: Heard) -> Vec<Action> {
        let apart = match probe.leaning {
            Leaning::Negative => large.leaning >= Leaning::Neutral,
            Leaning::Positive => large.leaning < Leaning::Neutral,
            Leaning::Neutral => false,
        };
        let keep = |role, heard: &Heard| Action::Keep { role, bytes: heard.text.len() as u64 };
        let forget = |role| Action::Keep { role, bytes: 0 };
        let mut actions = Vec::new();
        let kept = if self.config.choose_large || apart {
            if !self.config.choose_large {
                actions.push(forget(Role::Small));
            }
            actions.push(keep(Role::Large, &large));
            let budget = self.config.max_target_tokens;
            self.record(budget, large.text.clone(), Some(probe.text));
            large
        } else {
            actions.push(forget(Role::Large));
            actions.push(keep(Role::Small, &probe));
            probe
        };
        self.add(kept.tokens, kept.ended);
        if kept.leaning == Leaning::Negative {
            self.reflections += 1;
        }
        actions.push(if self.config.keywords.verifies_somewhere(&kept.text) {
            self.extend(self.config.original_recap_token_num, Why::Verification)
        } else {
            self.round()
        });
        actions
    }

    fn finished(&mut self, text: &str, tokens: u32, reason: &FinishReason) -> Vec<Action> {
        let heard = |keywords: &Keywords| Heard {
            text: text.to_owned(),
            tokens,
            ended: *reason == FinishReason::EndOfText,
            leaning: keywords.leaning(text),
        };
        // Cut short from outside: text that was shown stays, the rest is dropped.
        let cut_short = forced_end(reason).filter(|end| *end != End::EndOfText);
        match std::mem::replace(&mut self.state, State::New) {
            State::Turn => {
                self.add(tokens, *reason == FinishReason::EndOfText);
                let keep = Action::Keep { role: Role::Small, bytes: text.len() as u64 };
                let next = match forced_end(reason) {
                    Some(end) => self.end(end),
                    None if matches!(reason, FinishReason::Stop { .. }) => self.after_break(),
                    None => self.round(),
                };
                vec![keep, next]
            }
            State::Probe => match cut_short {
                Some(end) => vec![Action::Keep { role: Role::Small, bytes: 0 }, self.end(end)],
                None => self.judge_probe(heard(&self.config.keywords)),
            },
            State::Sentence { probe } => {
                let large = heard(&self.config.keywords);
                let mut actions = self.judge_sentence(probe, large);
                if let Some(end) = cut_short {
                    actions.pop();
                    actions.push(self.end(end));
                }
                actions
            }
            State::Extension { tokens: budget } => {
                self.record(budget, text.to_owned(), None);
                self.add(tokens, *reason == FinishReason::EndOfText);
                let keep = Action::Keep { role: Role::Large, bytes: text.len() as u64 };
                let next = match cut_short {
                    Some(end) => self.end(end),
                    None => self.round(),
                };
                vec![keep, next]
            }
            other => {
                self.state = other;
                vec![self.unexpected()]
            }
        }
    }

    /// Ends the answer on an event that no driver sends in this state.
    fn unexpected(&mut self) -> Action {
        match self.state {
            State::Ended(end) => Action::End(end),
            _ => self.end(End::Cancelled),
        }
    }
}

impl Policy for Paper {
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        match (event, &self.state) {
            (PolicyEvent::Started { prompt_tokens }, State::New) => {
                self.prompt_tokens = prompt_tokens.into();
                vec![self.start_round()]
            }
            (PolicyEvent::Finished { text, tokens, reason }, _) => {
                self.finished(text, tokens, reason)
            }
            (PolicyEvent::Inserted { tokens }, State::ThinkWord) => {
                self.add(tokens, false);
                vec![self.probe()]
            }
            (PolicyEvent::Inserted { tokens }, State::RecapWords) => {
                self.add(tokens, false);
                vec![self.recap()]
            }
            _ => vec![self.unexpected()],
        }
    }
}
