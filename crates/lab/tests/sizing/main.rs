//! Sizing: recorded answers on shared nodes. Compared with formulas, with hand-made journals, and with many concurrent
//! answers over scripted nodes, in paused time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../batched/mod.rs"]
mod batched;
#[path = "../by_hand/mod.rs"]
mod by_hand;
mod driven;
mod formulas;
mod nodes;

use lab::sizing::{AnswerTrace, Fleet, NodePool, TraceStep};
use machines::SpeedCurve;
use thinking::policy::Role;

/// A curve of these figures.
fn curve(prefill_tokens_per_s: f64, figures: &[(u32, f64)]) -> SpeedCurve {
    let figures = figures.iter().map(|(sessions, speed)| {
        format!("[[decode]]\nsessions = {sessions}\ntokens_per_s = {speed}\n")
    });
    let text =
        format!("prefill_tokens_per_s = {prefill_tokens_per_s}\n{}", figures.collect::<String>());
    SpeedCurve::parse("curve.toml", &text).unwrap()
}

/// Large nodes only: every user has a small one.
fn large(nodes: u32, curve: SpeedCurve) -> Fleet {
    Fleet { large: NodePool { nodes, curve }, small: None }
}

/// A step with no time between the nodes.
fn step(role: Role, node_s: f64, late_tokens: u32, tokens: u32) -> TraceStep {
    TraceStep {
        role,
        up_s: 0.0,
        node_s,
        first_down_s: 0.0,
        end_down_s: 0.0,
        late_tokens,
        tokens,
        forgotten_tokens: 0,
        reads: [0, 0],
    }
}

fn trace(steps: Vec<TraceStep>) -> AnswerTrace {
    AnswerTrace { steps, ..AnswerTrace::default() }
}
