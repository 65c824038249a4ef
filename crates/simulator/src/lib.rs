//! Answers over simulated nodes and links, in virtual time, each made from one seed.
//!
//! A seed draws a [`Scenario`]: a policy with its limits, nodes and links, and what goes wrong with
//! them. [`simulate`] lets the answer's machine write over it while a
//! [`Witness`](conductor::invariants::Witness) checks what must hold of every answer. The same seed
//! gives the same answer, on any machine.
//!
//! Simulated nodes keep the contract of sessions by `thinking::session` and behave beside that as
//! ours do (`host`). Here live no runtime, no clock and no I/O.

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
    /// How it came out; `None` when its policy cannot be built.
    pub outcome: Option<Outcome>,
    /// What did not hold.
    pub breach: Option<Breach>,
    /// How many things happened.
    pub steps: u64,
    /// What happened, one line each, if that was wanted.
    pub trace: Vec<String>,
}

/// Simulates the answer of a seed. `traced`: with all that happens.
pub fn simulate(seed: u64, traced: bool) -> Simulated {
    world::run(&Scenario::of(seed), traced)
}

/// Simulates the answer of a seed over pools of nodes: they come and go, are looked at from time to time, and crash and
/// start again several times each.
pub fn simulate_pooled(seed: u64, traced: bool) -> Simulated {
    world::run(&Scenario::pooled(seed), traced)
}

/// Simulates the answer of a scenario.
pub fn simulate_scenario(scenario: &Scenario) -> Simulated {
    world::run(scenario, false)
}

/// The command that simulates the answer of a seed with all that happens.
pub fn command(seed: u64, pooled: bool) -> String {
    let pooled = if pooled { " --pooled" } else { "" };
    format!("cargo run -p specthink-lab -- simulate --seed {seed} --trace{pooled}")
}
