//! `specthink-lab simulate`: checks the invariants of answers over simulated nodes and links.

use cli::{CliError, Exit};
use simulator::{Scenario, Simulated, command, simulate, simulate_pooled};

use crate::{args::SimulateArgs, print};

/// Simulates the seeds, up to the first one that violates an invariant.
pub(crate) fn run(args: &SimulateArgs) -> Result<Exit, CliError> {
    if let Some(seed) = args.seed {
        return one(seed, args);
    }
    let (mut steps, mut lives) = (0, 0);
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let simulated = simulated(seed, args.pooled, false);
        check(seed, args.pooled, &simulated)?;
        steps += simulated.steps;
        lives += if args.pooled { Scenario::pooled(seed).lives() } else { 0 };
    }
    let lives = if args.pooled { format!(", {lives} node lifetimes") } else { String::new() };
    print(&format!("{} answers, {steps} steps{lives}: all invariants hold\n", args.seeds))
}

fn one(seed: u64, args: &SimulateArgs) -> Result<Exit, CliError> {
    let simulated = simulated(seed, args.pooled, args.trace);
    let trace: String = simulated.trace.iter().map(|line| format!("{line}\n")).collect();
    print(&trace)?;
    check(seed, args.pooled, &simulated)?;
    print(&format!("seed {seed}, {} steps: all invariants hold\n", simulated.steps))
}

fn simulated(seed: u64, pooled: bool, traced: bool) -> Simulated {
    if pooled { simulate_pooled(seed, traced) } else { simulate(seed, traced) }
}

fn check(seed: u64, pooled: bool, simulated: &Simulated) -> Result<(), CliError> {
    let Some(breach) = &simulated.breach else { return Ok(()) };
    let alone = command(seed, pooled);
    let message = format!("seed {seed}: {breach}; to see every step, run: {alone}");
    Err(CliError::new(Exit::Internal, message))
}
