//! Impatience: any policy, with takeovers that are given up when the large writer's first text is late.
//!
//! Quality then depends on the network: over a slow link the small writer does by itself what the large one would have
//! done. The policy inside hears of a stretch in which nothing was written, which every policy knows: a node may give
//! less than was asked for. Two things it need not know of are done here, both so that the answer goes on:
//! - The small writer is not cut off at the same place again: its watch begins with the next paragraph break.
//! - Where the policy inside would ask the large writer again at the same place, the small one stands in for it.
//!
//! No clock is here: how long is too long is said with the ask, and whoever carries it out tells when it was.

use std::time::Duration;

use super::{Action, Ask, Event, Policy, Role, Why};
use crate::thinker::FinishReason;

/// How long a takeover is waited for. By default as long as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    /// The longest time from the ask to the large writer's first text.
    pub deadline: Option<Duration>,
}

/// A policy whose takeovers are given up when they are late. See the module.
pub struct Impatient {
    inner: Box<dyn Policy>,
    patience: Patience,
    /// Who was asked last.
    writer: Role,
    /// The small writer writes what the policy inside takes for the large one's.
    stands_in: bool,
    /// Until a paragraph ends, the small writer is at a place that was passed over.
    passed_over: bool,
    /// The paragraph breaks of the small writer's latest watch.
    delimiters: Vec<String>,
}

impl Impatient {
    /// The policy `inner` with this much patience.
    pub fn new(inner: Box<dyn Policy>, patience: Patience) -> Self {
        Impatient {
            inner,
            patience,
            writer: Role::Small,
            stands_in: false,
            passed_over: false,
            delimiters: Vec::new(),
        }
    }

    /// The large writer's first text is late: to the policy inside it wrote nothing.
    fn late(&mut self) -> Vec<Action> {
        self.passed_over = true;
        let reason = FinishReason::MaxTokens;
        let mut actions = self.inner.step(Event::Finished { text: "", tokens: 0, reason: &reason });
        if let Some(Action::Ask(ask)) = actions.last_mut()
            && ask.role == Role::Large
        {
            self.stands_in = true;
            (ask.role, ask.why) = (Role::Small, Why::Turn);
        }
        actions
    }

    fn finished(&mut self, event: Event<'_>, text: &str) -> Vec<Action> {
        let ends = |delimiter: &String| text.contains(delimiter.as_str());
        if self.writer == Role::Small && self.delimiters.iter().any(ends) {
            self.passed_over = false;
        }
        let stood_in = std::mem::take(&mut self.stands_in);
        let mut actions = self.inner.step(event);
        for action in actions.iter_mut().filter(|_| stood_in) {
            if let Action::Keep { role: role @ Role::Large, .. } = action {
                *role = Role::Small;
            }
        }
        actions
    }

    fn ask(&mut self, ask: &mut Ask) {
        self.writer = ask.role;
        match (ask.role, &mut ask.watch) {
            (Role::Large, _) => ask.first_text_within = self.patience.deadline,
            (Role::Small, Some(watch)) => {
                self.delimiters.clone_from(&watch.delimiters);
                watch.from_next_break |= self.passed_over;
            }
            (Role::Small, None) => {}
        }
    }
}

impl Policy for Impatient {
    fn step(&mut self, event: Event<'_>) -> Vec<Action> {
        let mut actions = match event {
            Event::Late => self.late(),
            Event::Finished { text, .. } => self.finished(event, text),
            event => self.inner.step(event),
        };
        if let Some(Action::Ask(ask)) = actions.last_mut() {
            self.ask(ask);
        }
        actions
    }
}
