//! Baselines: one model alone, and switching by a schedule that ignores the text.

use super::{Action, Ask, End, Policy, PolicyEvent, Role, Why};
use crate::{
    draw::{splitmix64, uniform},
    thinker::FinishReason,
};

/// After this many tokens of a stretch a baseline decides again, even if no paragraph ended.
pub(super) const LONGEST_STRETCH_TOKENS: u32 = 1024;

/// Returns the end of the answer that a proposal's finish reason forces, if any.
pub(super) fn forced_end(reason: &FinishReason) -> Option<End> {
    match reason {
        FinishReason::EndOfText => Some(End::EndOfText),
        FinishReason::Cancelled => Some(End::Cancelled),
        FinishReason::Deadline => Some(End::Deadline),
        FinishReason::ContextFull => Some(End::ContextFull),
        FinishReason::MaxTokens | FinishReason::Stop { .. } | FinishReason::Trigger(_) => None,
    }
}

/// A budget of generated tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: u32,
}

impl Budget {
    pub(super) fn new(tokens: u32) -> Self {
        Budget { left: tokens }
    }

    pub(super) fn left(self) -> u32 {
        self.left
    }

    /// Subtracts the tokens of a proposal. An empty one costs a token too, so that no policy asks forever.
    pub(super) fn spend(&mut self, tokens: u32) {
        self.left = self.left.saturating_sub(tokens.max(1));
    }
}

/// One writer alone: `small-only` and `large-only`.
#[derive(Debug, Clone)]
pub struct Solo {
    role: Role,
    budget: Budget,
    asked: bool,
}

impl Solo {
    /// A policy in which this writer writes everything, up to this many tokens.
    pub fn new(role: Role, max_tokens: u32) -> Self {
        Solo { role, budget: Budget::new(max_tokens), asked: false }
    }
}

impl Policy for Solo {
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut end = None;
        match event {
            PolicyEvent::Started { .. } if !self.asked => {}
            PolicyEvent::Finished { text, tokens, reason } if self.asked => {
                actions.push(Action::Keep { role: self.role, bytes: text.len() as u64 });
                self.budget.spend(tokens);
                end = forced_end(reason);
            }
            _ => end = Some(End::Cancelled),
        }
        if self.budget.left() == 0 {
            end = end.or(Some(End::MaxTokens));
        }
        self.asked = end.is_none();
        actions.push(match end {
            Some(end) => Action::End(end),
            None => Action::Ask(Ask::new(self.role, Why::Turn, self.budget.left())),
        });
        actions
    }
}

/// Who writes the next stretch: a paragraph, except with [`Schedule::Tokens`].
#[derive(Debug, Clone)]
enum Schedule {
    /// One draw per paragraph: the n-th of a seeded sequence.
    Random { seed: u64, drawn: u64 },
    /// Single tokens of the large writer at random places. The n-th draw of a seeded sequence gives the number of
    /// tokens that the small writer writes before each.
    Tokens { seed: u64, drawn: u64 },
    /// Turns within a period of tokens. What a turn overruns is subtracted from the writer's next one.
    Periodic { period_tokens: u64, period: u64, turn: Role },
}

/// Switches writers by a schedule: `random` and `periodic` at paragraph breaks, `random-token` anywhere.
#[derive(Debug, Clone)]
pub(super) struct Scheduled {
    schedule: Schedule,
    /// The large writer's share of the tokens, from 0 to 1.
    share: f64,
    delimiters: Vec<String>,
    budget: Budget,
    /// Who was asked last; `None` before the first ask.
    writer: Option<Role>,
    small_tokens: u64,
    large_tokens: u64,
    ended: bool,
}

impl Scheduled {
    /// Every paragraph is the large writer's with probability `share`, drawn from the seed.
    pub(super) fn random(share: f64, seed: u64, max_tokens: u32) -> Self {
        Scheduled::new(Schedule::Random { seed, drawn: 0 }, share, max_tokens)
    }

    /// Every token is the large writer's with probability `share`, drawn from the seed.
    pub(super) fn tokens(share: f64, seed: u64, max_tokens: u32) -> Self {
        Scheduled::new(Schedule::Tokens { seed, drawn: 0 }, share, max_tokens)
    }

    /// In every period of `period_tokens` tokens the small writer writes first and the large writer the last `share`,
    /// each to the end of its paragraph.
    pub(super) fn periodic(share: f64, period_tokens: u32, max_tokens: u32) -> Self {
        let period_tokens = u64::from(period_tokens.max(1));
        let schedule = Schedule::Periodic { period_tokens, period: 1, turn: Role::Small };
        Scheduled::new(schedule, share, max_tokens)
    }

    fn new(schedule: Schedule, share: f64, max_tokens: u32) -> Self {
        Scheduled {
            schedule,
            share: if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) },
            delimiters: vec!["\n\n".into()],
            budget: Budget::new(max_tokens),
            writer: None,
            small_tokens: 0,
            large_tokens: 0,
            ended: false,
        }
    }

    /// Returns who writes next, and the most tokens to ask for.
    fn next(&mut self) -> (Role, u32) {
        if let Schedule::Tokens { seed, drawn } = &mut self.schedule {
            if self.writer == Some(Role::Small) {
                return (Role::Large, 1);
            }
            *drawn += 1;
            // The number of tokens before the large writer's next one follows a geometric distribution.
            let draw = uniform(splitmix64(*seed, *drawn));
            let tokens = ((1.0 - draw).ln() / (1.0 - self.share).ln()).floor();
            return match tokens {
                tokens if tokens >= 1.0 => (Role::Small, tokens.min(f64::from(u32::MAX)) as u32),
                _ if self.share > 0.0 => (Role::Large, 1),
                _ => (Role::Small, u32::MAX),
            };
        }
        (self.next_writer(), LONGEST_STRETCH_TOKENS)
    }

    fn next_writer(&mut self) -> Role {
        match &mut self.schedule {
            // This schedule does not decide by paragraph.
            Schedule::Tokens { .. } => Role::Small,
            Schedule::Random { seed, drawn } => {
                *drawn += 1;
                let draw = uniform(splitmix64(*seed, *drawn));
                if draw < self.share { Role::Large } else { Role::Small }
            }
            Schedule::Periodic { period_tokens, period, turn } => {
                let due = |period: u64, share: f64| (period * *period_tokens) as f64 * share;
                // The loop ends within two periods of what was written. If the share is 0 or 1, one of the writers is
                // never due.
                loop {
                    let (written, share) = match turn {
                        Role::Small => (self.small_tokens, 1.0 - self.share),
                        Role::Large => (self.large_tokens, self.share),
                    };
                    if (written as f64) < due(*period, share) {
                        return *turn;
                    }
                    if *turn == Role::Large {
                        *period += 1;
                    }
                    *turn = turn.other();
                }
            }
        }
    }
}

impl Policy for Scheduled {
    fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut end = None;
        match (event, self.writer) {
            (PolicyEvent::Started { .. }, None) if !self.ended => {}
            (PolicyEvent::Finished { text, tokens, reason }, Some(role)) if !self.ended => {
                actions.push(Action::Keep { role, bytes: text.len() as u64 });
                self.budget.spend(tokens);
                match role {
                    Role::Small => self.small_tokens += u64::from(tokens),
                    Role::Large => self.large_tokens += u64::from(tokens),
                }
                end = forced_end(reason);
            }
            _ => end = Some(End::Cancelled),
        }
        if self.budget.left() == 0 {
            end = end.or(Some(End::MaxTokens));
        }
        if let Some(end) = end {
            self.ended = true;
            actions.push(Action::End(end));
            return actions;
        }
        let (role, most) = self.next();
        let stop = match self.schedule {
            Schedule::Tokens { .. } => Vec::new(),
            _ => self.delimiters.clone(),
        };
        self.writer = Some(role);
        let why = if role == Role::Large { Why::Schedule } else { Why::Turn };
        let max_tokens = self.budget.left().min(most);
        actions.push(Action::Ask(Ask { stop, ..Ask::new(role, why, max_tokens) }));
        actions
    }
}
