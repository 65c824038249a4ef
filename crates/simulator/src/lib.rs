//! Answers over simulated nodes and links, in virtual time, each derived from one seed.
//!
//! A seed draws a [`Scenario`]: a policy with its limits, nodes and links, and what goes wrong with them. [`simulate`]
//! runs the answer's machine over it while a [`Witness`](conductor::invariants::Witness) checks what must hold for
//! every answer. The same seed gives the same answer on any machine.
//!
//! Simulated nodes keep the contract of sessions with `thinking::session` and otherwise behave as ours do (`host`). The
//! crate has no runtime, clock or I/O.

mod babble;
mod checks;
mod draw;
mod host;
mod lies;
mod model;
mod pools;
pub mod scenario;
mod trace;
mod world;

use conductor::{Outcome, invariants::Breach};

pub use self::scenario::Scenario;

/// A simulated answer.
#[derive(Debug)]
pub struct Simulated {
    /// The outcome; `None` if its policy cannot be built.
    pub outcome: Option<Outcome>,
    /// The invariant that did not hold, if any.
    pub breach: Option<Breach>,
    /// How many events were simulated.
    pub steps: u64,
    /// What happened, one line each, if requested.
    pub trace: Vec<String>,
}

/// Simulates the answer of a seed. With `traced`, records everything that happens.
pub fn simulate(seed: u64, traced: bool) -> Simulated {
    world::run(&Scenario::of(seed), traced)
}

/// Simulates the answer of a seed over pools of nodes, which come and go, are checked from time to time, and crash and
/// restart several times each.
pub fn simulate_pooled(seed: u64, traced: bool) -> Simulated {
    world::run(&Scenario::pooled(seed), traced)
}

/// Simulates the answer of a scenario.
pub fn simulate_scenario(scenario: &Scenario) -> Simulated {
    world::run(scenario, false)
}

/// Returns the command that simulates the answer of a seed and prints everything that happens.
pub fn command(seed: u64, pooled: bool) -> String {
    let pooled = if pooled { " --pooled" } else { "" };
    format!("cargo run -p specthink-lab -- simulate --seed {seed} --trace{pooled}")
}
