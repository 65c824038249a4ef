//! `specthink-lab sweep`: runs a sweep from its arguments and prints the outcome.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::Path,
};

use cli::{
    Bar, CliError, Exit, NodeEndpoints, NodePlace, NodeWay, grader, run_header, until_enough,
};
use grading::math_verify::Grader;
use lab::sweep::{PlannedPolicy, SweepEnd, SweepPlan, SweepProgress, SweepRun, SweptPair};
use pair::Builtin;
use runs::{DataFile, LogHeader};
use tokio::sync::Notify;

use crate::{
    args::{Choice, SweepArgs},
    catalogue,
    exit::cli_error,
    pairs::ModelPair,
    print, profiles, report,
};

pub(crate) fn run(args: &SweepArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, CliError> {
    asked(args, builtin, tables, report::after)
}

/// Asks the open questions, and prints neither tables nor a report.
pub(crate) fn without_tables(
    args: &SweepArgs,
    builtin: Option<&dyn Builtin>,
) -> Result<Exit, CliError> {
    asked(args, builtin, |_| Ok(()), |_| Ok(()))
}

/// Asks the open questions. Then calls `show` with the sweep, complete or not, and `report` with its folder.
fn asked(
    args: &SweepArgs,
    builtin: Option<&dyn Builtin>,
    show: impl Fn(&SweepRun<'_>) -> Result<(), CliError>,
    report: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<Exit, CliError> {
    let pairs = args.pairs().all(builtin)?;
    let plan = plan(args, &pairs)?;
    let out = args.asking.out()?;
    let grader = grader(&args.asking.run)?;
    let reach = |pair: &ModelPair| pair.endpoints(plan.uses_large(), builtin);
    let endpoints = pairs.iter().map(reach).collect::<Result<Vec<_>, _>>()?;
    let swept: Vec<SweptPair> =
        pairs.iter().zip(&endpoints).map(swept).collect::<Result<_, _>>()?;
    until_enough(async |enough| {
        let mut sweep = SweepRun::open(&plan, &swept, out).await.map_err(cli_error)?;
        for (_, endpoints) in pairs.iter().zip(&endpoints).filter(|(pair, _)| pair.name.is_none()) {
            endpoints.source.announce();
        }
        let ended = ask(&mut sweep, &plan, grader, &enough, show).await;
        let reported = tokio::task::block_in_place(|| report(out));
        match reported {
            Ok(()) => ended,
            Err(why) if ended.is_ok() => Err(why),
            Err(why) => {
                // Why the sweep ended matters more, and is printed last. Standard error may be closed.
                let _ = writeln!(io::stderr(), "no report was written: {why}");
                ended
            }
        }
    })
}

/// Returns the checked plan of the sweep over these pairs.
fn plan(args: &SweepArgs, pairs: &[ModelPair]) -> Result<SweepPlan, CliError> {
    let data = args.asking.data.as_ref().ok_or_else(|| {
        let message =
            "no data set: give a file of JSON lines, such as models/arithmetic/test.jsonl";
        CliError::new(Exit::Usage, message)
    })?;
    let twice = |what: &str, texts: &[String]| {
        let mut seen = BTreeSet::new();
        match texts.iter().find(|text| !seen.insert(*text)) {
            Some(text) => {
                Err(CliError::new(Exit::Usage, format!("{what} {text} is given twice: remove one")))
            }
            None => Ok(()),
        }
    };
    twice("--policy", &args.policy)?;
    twice("--seed", &args.asking.seed.iter().map(u64::to_string).collect::<Vec<_>>())?;
    let links = profiles(&catalogue(&args.links)?, &args.link)?;
    twice("--link", &links.iter().map(|link| link.name.clone()).collect::<Vec<_>>())?;
    let choices = args.policies()?;
    let data = DataFile::read(data, args.asking.run.skip_bad)?;
    let mut policies = Vec::new();
    for choice in choices {
        let header = header(&choice, &data, args, pairs)?;
        policies.push(PlannedPolicy { name: choice.name, header, share_of: choice.share_of });
    }
    Ok(SweepPlan {
        data,
        limit: args.asking.run.limit,
        policies,
        links,
        seeds: args.asking.seed.clone(),
        shaping: args.shaping.chosen(),
        parallel: args.asking.run.parallel,
    })
}

/// Returns the header of a policy's logs. It is the same for all pairs, even if it depends on their nodes' prices.
fn header(
    choice: &Choice,
    data: &DataFile,
    args: &SweepArgs,
    pairs: &[ModelPair],
) -> Result<LogHeader, CliError> {
    // Every cell has its own seed.
    let of =
        |pair: &ModelPair| run_header(data, &choice.args, 0, &args.asking.run, &pair.answering);
    let header = of(&pairs[0])?;
    for pair in &pairs[1..] {
        if of(pair)?.policy != header.policy {
            let message = format!(
                "policy {:?}: the pairs' endpoints have different prices, and a sweep asks the same of all pairs: \
                 add prices=FILE to the policy, or sweep the pairs one by one",
                choice.name
            );
            return Err(CliError::new(Exit::Usage, message));
        }
    }
    Ok(header)
}

fn swept((pair, endpoints): (&ModelPair, &NodeEndpoints)) -> Result<SweptPair, CliError> {
    // A sweep shapes and counts the bytes on the link to one node.
    let node = |place: &NodePlace| {
        place.node().cloned().ok_or_else(|| {
            let what = match place.way {
                NodeWay::Name(_) => "a name of several nodes, and a sweep asks one: give its address",
                _ => "a server, and a sweep asks nodes: put a node in front of it, with large-node --upstream",
            };
            CliError::new(Exit::Usage, format!("{} is {what}", place.label()))
        })
    };
    let small = endpoints.small.iter().map(node).collect::<Result<_, _>>()?;
    let large = endpoints.large.first().map(node).transpose()?;
    Ok(SweptPair { name: pair.name.clone(), small, large })
}

/// Asks the open questions of all cells, then shows the results.
async fn ask(
    sweep: &mut SweepRun<'_>,
    plan: &SweepPlan,
    grader: Grader,
    enough: &Notify,
    show: impl Fn(&SweepRun<'_>) -> Result<(), CliError>,
) -> Result<Exit, CliError> {
    let all = sweep.answers();
    let mut bar = Bar::new(all as u64, (all - sweep.open_answers()) as u64);
    bar.skipped(&plan.data.data.skipped);
    if !sweep.is_locked() {
        bar.note(
            "the folder cannot be locked: make sure that no other sweep writes to it meanwhile",
        );
    }
    let watch = |progress: SweepProgress<'_>| match progress {
        SweepProgress::Cell(name) => bar.begin(&name),
        SweepProgress::Row(row) => bar.see(row),
    };
    let ended = sweep.run(grader, enough, watch).await.map_err(cli_error)?;
    bar.finish();
    show(sweep)?;
    end(ended, sweep.open_answers(), all)
}

/// Prints the tables of the cells.
fn tables(sweep: &SweepRun<'_>) -> Result<(), CliError> {
    for (pair, table) in sweep.tables().map_err(cli_error)? {
        print(&match pair {
            Some(pair) => format!("{pair}:\n\n{table}\n"),
            None => table,
        })?;
    }
    Ok(())
}

/// Returns the exit code. An incomplete sweep is an error.
fn end(ended: SweepEnd, open: usize, all: usize) -> Result<Exit, CliError> {
    let again = "run the same command again to resume";
    let of = |pair: Option<String>| pair.map_or_else(String::new, |pair| format!("{pair}: "));
    let (exit, why) = match ended {
        SweepEnd::Complete if open > 0 => {
            let message = format!("{open} of {all} questions failed: {again}");
            return Err(CliError::new(Exit::NodeFailed, message));
        }
        SweepEnd::Complete => return Ok(Exit::Ok),
        SweepEnd::Cancelled => (Exit::Cancelled, "stopped".to_owned()),
        SweepEnd::NodesGone { pair, reason } => (Exit::NodeFailed, format!("{}{reason}", of(pair))),
        SweepEnd::NoLink { pair, error } => {
            let error = cli_error(error);
            (error.exit, format!("{}{error}", of(pair)))
        }
    };
    Err(CliError::new(exit, format!("{why}; {open} of {all} answers remain: {again}")))
}
