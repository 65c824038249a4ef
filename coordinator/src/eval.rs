//! `specthink eval`: runs a policy over a data set.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use cli::{
    Bar, CliError, Exit, NodeEndpoints, Nodes, Watching, grader, known_prices, run_header,
    until_enough, written,
};
use grading::{dataset::Problem, math_verify::Grader};
use pair::Builtin;
use pool::Pool;
use runs::{DataFile, EvalError, EvalLog, Figures, LogHeader, PreparedRun, Row, RunEnd, RunSource};
use serde::Serialize;
use thinking::policy::{Role, TokenPrices};
use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};

use crate::args::EvalArgs;

/// Everything the run needs, checked. Nothing is connected yet.
struct Plan {
    args: EvalArgs,
    data: DataFile,
    header: LogHeader,
    nodes: Nodes,
    /// What tokens cost, if known.
    prices: Option<TokenPrices>,
}

pub(crate) fn run(args: EvalArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, CliError> {
    let plan = Plan::new(args, builtin)?;
    let grader = grader(&plan.args.run)?;
    let log = match &plan.args.log {
        Some(path) => EvalLog::open(path, &plan.header)?,
        None => EvalLog::in_memory(),
    };
    until_enough(async |enough| eval(plan, grader, log, &enough).await)
}

impl Plan {
    fn new(args: EvalArgs, builtin: Option<&dyn Builtin>) -> Result<Plan, CliError> {
        let data = DataFile::read(&args.data, args.run.skip_bad)?;
        let header = run_header(&data, &args.policy, args.seed.seed, &args.run, &args.answering)?;
        let wants_large = args.policy.policy.uses_large();
        let prices = known_prices(&args.policy, &args.answering.nodes)?;
        let nodes = NodeEndpoints::new(
            &args.answering.nodes,
            &args.answering.security,
            wants_large,
            builtin,
        )?
        .connect()?;
        Ok(Plan { args, data, header, nodes, prices })
    }

    /// Returns the problems of this run.
    fn problems(&self) -> &[Problem] {
        self.data.problems(self.args.run.limit)
    }
}

impl RunSource for Plan {
    fn prepare(&self, problem: &Problem) -> Result<PreparedRun, EvalError> {
        let kind = self.header.policy.kind();
        let of = |role, pool: &Pool| pool.candidates(|card| kind.fits(role, card));
        let (small, large) =
            (of(Role::Small, &self.nodes.small), of(Role::Large, &self.nodes.large));
        let mut run = self.header.run(problem, small, large)?;
        run.settings = self.nodes.hedged(run.settings);
        Ok(PreparedRun { run, journal: None })
    }
}

async fn eval(
    plan: Plan,
    grader: Grader,
    mut log: EvalLog,
    enough: &Notify,
) -> Result<Exit, CliError> {
    let began = Instant::now();
    let all = plan.problems().len() as u64;
    let open = plan.problems().iter().filter(|problem| !log.is_graded(&problem.id));
    let open: Vec<Problem> = open.cloned().collect();
    plan.nodes.source.announce();
    if !open.is_empty() {
        plan.nodes.settle(Watching::Several).await?;
    }
    let mut bar = Bar::new(all, all - open.len() as u64);
    bar.skipped(&plan.data.data.skipped);
    if !log.is_locked() {
        bar.note(
            "the log cannot be locked there: make sure that no other run writes to it meanwhile",
        );
    }
    let parallel = usize::from(plan.args.run.parallel);
    let see = |row: &Row| bar.see(row);
    let grader = Arc::new(Mutex::new(grader));
    let ended = runs::run(open, &plan, parallel, &grader, &mut log, enough.notified(), see).await?;
    bar.finish();
    let rows = plan.problems().iter().filter_map(|problem| log.rows().get(&problem.id));
    let figures = Figures::new(rows.clone());
    let figures = match &plan.prices {
        Some(prices) => figures.priced(prices, rows),
        None => figures,
    };
    written(write(&plan, &figures, began.elapsed()))?;
    end(&ended, &figures, all, plan.args.log.is_some())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    /// How many broken lines of the data set were skipped.
    skipped: usize,
}

fn write(plan: &Plan, figures: &Figures, wall: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if plan.args.json {
        let skipped = plan.data.data.skipped.len();
        serde_json::to_writer(&mut out, &Printed { figures, skipped })?;
        writeln!(out)?;
    } else {
        figures.write(&mut out, wall)?;
        if !plan.data.data.skipped.is_empty() {
            writeln!(
                out,
                "skipped    {} broken lines of the data set",
                plan.data.data.skipped.len()
            )?;
        }
    }
    out.flush()
}

/// Returns the exit code. A run that is not complete is an error.
fn end(ended: &RunEnd, figures: &Figures, all: u64, has_log: bool) -> Result<Exit, CliError> {
    let open = all.saturating_sub(figures.graded);
    let again = match has_log {
        true => "run the same command again to resume",
        false => "with --log FILE the next run could resume where this one ended",
    };
    match ended {
        RunEnd::Cancelled => {
            let message = format!("stopped with {open} of {all} questions still open: {again}");
            Err(CliError::new(Exit::Cancelled, message))
        }
        RunEnd::NodesGone(reason) => {
            let message = format!("{reason}; {open} of {all} questions are still open: {again}");
            Err(CliError::new(Exit::NodeFailed, message))
        }
        RunEnd::Complete if figures.failed > 0 => {
            let message = format!("{} of {all} questions failed: {again}", figures.failed);
            Err(CliError::new(Exit::NodeFailed, message))
        }
        RunEnd::Complete => Ok(Exit::Ok),
    }
}
