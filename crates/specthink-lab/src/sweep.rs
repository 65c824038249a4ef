//! `specthink-lab sweep`: from arguments to a sweep, and what is said of it.

use std::collections::BTreeSet;

use cli::{Bar, Exit, NodePlace, Places, Stop, grader, run_header, until_enough};
use grading::math_verify::Grader;
use lab::sweep::{PlannedPolicy, SweepEnd, SweepPlan, SweepProgress, SweepRun, SweptPair};
use pair::Builtin;
use runs::DataFile;
use tokio::sync::Notify;

use crate::{args::SweepArgs, catalogue, exit::stop, pairs::ModelPair, print, profiles, report};

pub(crate) fn run(args: &SweepArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, Stop> {
    let pairs = args.pairs().all(builtin)?;
    let plan = plan(args)?;
    let out = args
        .out
        .as_ref()
        .ok_or_else(|| Stop::new(Exit::Usage, "no folder for the results: give --out FOLDER"))?;
    let grader = grader(&args.run)?;
    let places = |pair: &ModelPair| pair.places(plan.uses_large(), builtin);
    let places = pairs.iter().map(places).collect::<Result<Vec<_>, _>>()?;
    let swept = pairs.iter().zip(&places).map(swept).collect::<Result<Vec<_>, _>>()?;
    until_enough(async |enough| {
        let mut sweep = SweepRun::open(&plan, &swept, out).await.map_err(stop)?;
        for (_, places) in pairs.iter().zip(&places).filter(|(pair, _)| pair.name.is_none()) {
            places.origin.announce();
        }
        let ended = ask(&mut sweep, &plan, grader, &enough).await;
        tokio::task::block_in_place(|| report::after(out));
        ended
    })
}

/// What the arguments ask for, checked.
fn plan(args: &SweepArgs) -> Result<SweepPlan, Stop> {
    let data = args.data.as_ref().ok_or_else(|| {
        let message =
            "no data set: give a file of JSON lines, such as models/arithmetic/test.jsonl";
        Stop::new(Exit::Usage, message)
    })?;
    let twice = |what: &str, texts: &[String]| {
        let mut seen = BTreeSet::new();
        match texts.iter().find(|text| !seen.insert(*text)) {
            Some(text) => {
                Err(Stop::new(Exit::Usage, format!("{what} {text} is there twice: leave one")))
            }
            None => Ok(()),
        }
    };
    twice("--policy", &args.policy)?;
    twice("--seed", &args.seed.iter().map(u64::to_string).collect::<Vec<_>>())?;
    let links = profiles(&catalogue(&args.links)?, &args.link)?;
    twice("--link", &links.iter().map(|link| link.name.clone()).collect::<Vec<_>>())?;
    let choices = args.policies()?;
    let data = DataFile::read(data, args.run.skip_bad)?;
    let terms = (&args.run, &args.writing, &args.nodes);
    let mut policies = Vec::new();
    for choice in choices {
        // Every cell has its own seed.
        let header = run_header(&data, &choice.args, 0, terms)?;
        policies.push(PlannedPolicy { name: choice.name, header, share_of: choice.share_of });
    }
    Ok(SweepPlan {
        data,
        limit: args.run.limit,
        policies,
        links,
        seeds: args.seed.clone(),
        shaping: args.shaping.chosen(),
        parallel: args.run.parallel,
    })
}

fn swept((pair, places): (&ModelPair, &Places)) -> Result<SweptPair, Stop> {
    // A sweep is about the link to a node, whose bytes it shapes and counts.
    let node = |place: &NodePlace| {
        place.node().cloned().map_err(|address| {
            let mend = "put a node before it with large-node --upstream";
            let message = format!("{address} is a server, and a sweep asks nodes: {mend}");
            Stop::new(Exit::Usage, message)
        })
    };
    let small = places.small.iter().map(node).collect::<Result<_, _>>()?;
    let large = places.large.first().map(node).transpose()?;
    Ok(SweptPair { name: pair.name.clone(), small, large })
}

/// Asks what is open in all cells, then prints what they say.
async fn ask(
    sweep: &mut SweepRun<'_>,
    plan: &SweepPlan,
    grader: Grader,
    enough: &Notify,
) -> Result<Exit, Stop> {
    let all = sweep.answers();
    let mut bar = Bar::new(all as u64, (all - sweep.open_answers()) as u64);
    bar.skipped(&plan.data.data.skipped);
    let watch = |progress: SweepProgress<'_>| match progress {
        SweepProgress::Cell(name) => bar.begin(&name),
        SweepProgress::Row(row) => bar.see(row),
    };
    let ended = sweep.run(grader, enough, watch).await.map_err(stop)?;
    bar.finish();
    for (pair, table) in sweep.tables().map_err(stop)? {
        print(&match pair {
            Some(pair) => format!("{pair}:\n\n{table}\n"),
            None => table,
        })?;
    }
    end(ended, sweep.open_answers(), all)
}

/// The exit code: a sweep that is not complete is no success.
fn end(ended: SweepEnd, open: usize, all: usize) -> Result<Exit, Stop> {
    let again = "run the same command again to go on";
    let of = |pair: Option<String>| pair.map_or_else(String::new, |pair| format!("{pair}: "));
    let (exit, why) = match ended {
        SweepEnd::Complete if open > 0 => {
            let message = format!("{open} of {all} questions failed: {again}");
            return Err(Stop::new(Exit::NodeFailed, message));
        }
        SweepEnd::Complete => return Ok(Exit::Ok),
        SweepEnd::Cancelled => (Exit::Cancelled, "stopped".to_owned()),
        SweepEnd::NodesGone { pair, reason } => (Exit::NodeFailed, format!("{}{reason}", of(pair))),
        SweepEnd::NoLink { pair, error } => {
            let stop = stop(error);
            (stop.exit, format!("{}{stop}", of(pair)))
        }
    };
    Err(Stop::new(exit, format!("{why}; {open} of {all} answers are open: {again}")))
}
