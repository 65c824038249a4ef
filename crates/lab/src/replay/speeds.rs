//! A recording as it would have been on machines of other speeds.
//!
//! Every ask's times are computed from its tokens, and text that a node reads costs passes of its speed ([`Reading`]).
//! What the programs took to handle messages stays as recorded.
//!
//! A node that has prefilled all of its text has the logits of the next token, so the first token of an ask takes no
//! pass, and each further one takes a decode step.

use std::time::Duration;

use machines::SpeedCurve;
use thinking::{policy::Role, thinker::Timing};

use super::{
    error::ReplayError,
    recording::{Piece, RecordedAsk, Recording},
};

/// How fast the nodes compute that a recording is re-timed on. Without a curve, a node is as fast as the recorded one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeSpeeds {
    /// The small node.
    pub small: Option<SpeedCurve>,
    /// The large node.
    pub large: Option<SpeedCurve>,
}

impl NodeSpeeds {
    fn of(&self, role: Role) -> Option<&SpeedCurve> {
        match role {
            Role::Small => self.small.as_ref(),
            Role::Large => self.large.as_ref(),
        }
    }
}

impl Recording {
    /// The recording on machines of these speeds, each node with its machine to itself.
    ///
    /// # Errors
    /// When a node's time decided something in it, such as a takeover that was given up because it was late: on other
    /// machines that would have been decided otherwise.
    pub fn at(mut self, speeds: &NodeSpeeds) -> Result<Recording, ReplayError> {
        if *speeds == NodeSpeeds::default() {
            return Ok(self);
        }
        if let Some(what) = self.decided_by_time() {
            let (question, what) = (self.question().to_owned(), what.to_owned());
            return Err(ReplayError::DecidedByTime { question, what });
        }
        for ask in &mut self.asks {
            if let Some(curve) = speeds.of(ask.role) {
                retime(ask, curve);
            }
        }
        self.small.speeds = speeds.small.clone();
        if let Some(large) = &mut self.large {
            large.speeds = speeds.large.clone();
        }
        Ok(self)
    }
}

/// Gives an ask the times of a node that decodes for this session alone.
fn retime(ask: &mut RecordedAsk, curve: &SpeedCurve) {
    let Timing { queue_us, prefill_us, decode_us } = ask.timing;
    let first_token_us = decode_us / u64::from(ask.tokens.max(1));
    let handled_first_us = ask.first_us.saturating_sub(queue_us + prefill_us + first_token_us);
    let handled_first_us = handled_first_us.min(ask.handling_us);
    let handled_rest_us = ask.handling_us - handled_first_us;

    let step_us = micros(curve.step_s(1));
    let prefill_us = micros(curve.pass_s(ask.prefill_tokens));
    let first_tokens = ask.pieces.first().map_or(0, |piece| piece.tokens);
    let first_steps = u64::from(first_tokens.saturating_sub(1));
    let rest_steps = u64::from(ask.tokens.saturating_sub(first_tokens.max(1)));
    let steps_us = |steps: u64| step_us.saturating_mul(steps);
    ask.first_us =
        handled_first_us.saturating_add(prefill_us).saturating_add(steps_us(first_steps));
    ask.rest_us = handled_rest_us.saturating_add(steps_us(rest_steps));
    let mut tokens = 0;
    for Piece { after_us, tokens: more, .. } in &mut ask.pieces {
        tokens += *more;
        *after_us = steps_us(u64::from(tokens.saturating_sub(first_tokens))).min(ask.rest_us);
    }
    ask.timing = Timing { queue_us: 0, prefill_us, decode_us: steps_us(first_steps + rest_steps) };
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

/// What a node of a given speed reads. Text that arrives before a pass begins is read in that pass.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// When the last pass begins, and its tokens.
    pass: Option<(Duration, u32)>,
}

impl Reading {
    /// The time that this many more tokens take, for a node that is free at `free_at`.
    pub(super) fn takes(
        &mut self,
        curve: &SpeedCurve,
        now: Duration,
        free_at: Duration,
        tokens: u32,
    ) -> Duration {
        let (begins_at, before) = match self.pass {
            Some((begins_at, before)) if now < begins_at => (begins_at, before),
            _ => (free_at, 0),
        };
        let all = before.saturating_add(tokens);
        self.pass = Some((begins_at, all));
        Duration::from_secs_f64((curve.pass_s(all) - curve.pass_s(before)).max(0.0))
    }

    /// Something else follows: what is read then is of another pass.
    pub(super) fn ends(&mut self) {
        self.pass = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decode step of one session takes 10 ms, and a pass of 100 tokens 20 ms.
    fn curve() -> SpeedCurve {
        let text = "prefill_tokens_per_s = 5000\nprefill_chunk_tokens = 100\n\
                    decode = [{ sessions = 1, tokens_per_s = 100 }, { sessions = 2, tokens_per_s = 199 }]\n";
        SpeedCurve::parse("c.toml", text).unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pieces_that_wait_for_a_pass_are_read_in_it() {
        let curve = curve();
        let mut reading = Reading::default();
        assert_eq!(reading.takes(&curve, ms(0), ms(0), 100), ms(20), "an idle node begins at once");
        // Two pieces arrive during that pass and are read in the next one.
        let first = reading.takes(&curve, ms(5), ms(20), 60);
        let second = reading.takes(&curve, ms(6), ms(20) + first, 40);
        assert!(first > ms(10) && first < ms(20), "{first:?}");
        assert_eq!(first + second, ms(20));
        // One that comes while that pass is computed is read in another one.
        assert_eq!(reading.takes(&curve, ms(30), ms(40), 100), ms(20));
        reading.ends();
        assert_eq!(reading.takes(&curve, ms(31), ms(90), 0), ms(0), "no tokens, no pass");
    }
}
