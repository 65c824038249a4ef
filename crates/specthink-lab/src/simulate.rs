//! `specthink-lab simulate`: answers over simulated nodes and links, and what did not hold of them.

use cli::{CliError, Exit};
use simulator::{Simulated, command, simulate};

use crate::{args::SimulateArgs, print};

/// Simulates the seeds up to the first one of which something does not hold.
pub(crate) fn run(args: &SimulateArgs) -> Result<Exit, CliError> {
    if let Some(seed) = args.seed {
        return one(seed, args.trace);
    }
    let mut steps = 0;
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let simulated = simulate(seed, false);
        check(seed, &simulated)?;
        steps += simulated.steps;
    }
    print(&format!("{} answers, {steps} steps: everything holds\n", args.seeds))
}

fn one(seed: u64, traced: bool) -> Result<Exit, CliError> {
    let simulated = simulate(seed, traced);
    let trace: String = simulated.trace.iter().map(|line| format!("{line}\n")).collect();
    print(&trace)?;
    check(seed, &simulated)?;
    print(&format!("seed {seed}, {} steps: everything holds\n", simulated.steps))
}

fn check(seed: u64, simulated: &Simulated) -> Result<(), CliError> {
    let Some(breach) = &simulated.breach else { return Ok(()) };
    let alone = command(seed);
    let message = format!("seed {seed}: {breach}; all that happens: {alone}");
    Err(CliError::new(Exit::Internal, message))
}
