//! The witness of shells over real sessions, as debug assertions.

use std::time::Duration;

use super::{Known, Witness};
use crate::{
    LONGEST,
    port::{Effect, Input, Outcome},
    question::{Question, Settings},
};

/// A [`Witness`] that panics in debug builds, for shells over real sessions. In other builds it does nothing.
#[derive(Debug)]
pub struct DebugWitness {
    witness: Option<Witness>,
    input: Option<Input>,
}

impl DebugWitness {
    /// Watches an answer from its start.
    pub fn new(question: &Question, settings: Settings) -> Self {
        // Real clocks are late.
        let known = Known { paused: LONGEST, ..Known::default() };
        let witness =
            cfg!(debug_assertions).then(|| Witness::new(question.clone(), settings, known));
        DebugWitness { witness, input: None }
    }

    /// Notes the input that the machine is about to take in.
    #[inline]
    pub fn take(&mut self, input: &Input) {
        if self.witness.is_some() {
            self.input = Some(input.clone());
        }
    }

    /// Checks what the machine returned.
    #[inline]
    pub fn step(&mut self, now: Duration, effects: &[Effect], wake_at: Duration) {
        if let Some(witness) = &mut self.witness {
            let checked = witness.step(now, self.input.take().as_ref(), effects, wake_at);
            debug_assert!(checked.is_ok(), "{checked:?}");
        }
    }

    /// Checks the outcome of an answer that is over.
    pub fn end(self, outcome: &Outcome) {
        if let Some(witness) = self.witness {
            let checked = witness.end(outcome);
            debug_assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
