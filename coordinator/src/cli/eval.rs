//! `specthink eval`: a policy over a data set.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use grading::{
    dataset::{Dataset, Problem, bytes, parse},
    math_verify::{Grader, MathVerify},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use thinking::policy::PolicyError;
use tokio::sync::Notify;

use super::{
    args::{EvalArgs, GraderKind},
    builtin::Builtin,
    config::{Nodes, connect, prompt, sampling, settings},
    exit::{Exit, Stop},
    policy::{self, Chosen},
    signals::heed_signals,
};
use crate::{
    eval::{self, EvalError, EvalLog, Figures, Header, Row, RunEnd, question_seed},
    question::{Question, Run},
};

/// How long math-verify may think about one answer.
const GRADE_LIMIT: Duration = Duration::from_secs(10);
/// Where no bar can be drawn, a line is printed every so many questions.
const LINE_EVERY: u64 = 50;

/// Everything the run needs, checked. Nothing is connected yet.
struct Plan {
    args: EvalArgs,
    data: Dataset,
    header: Header,
    chosen: Chosen,
    nodes: Nodes,
}

pub(super) fn run(args: EvalArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, Stop> {
    let plan = Plan::new(args, builtin)?;
    let grader = grader(&plan.args)?;
    let log = match &plan.args.log {
        Some(path) => EvalLog::open(path, &plan.header).map_err(stop)?,
        None => EvalLog::in_memory(),
    };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|why| Stop::new(Exit::Internal, format!("cannot start the runtime: {why}")))?;
    let enough = Arc::new(Notify::new());
    let signals = runtime.spawn(heed_signals(Arc::clone(&enough)));
    let ended = runtime.block_on(eval(plan, grader, log, &enough));
    signals.abort();
    runtime.shutdown_background();
    ended
}

impl Plan {
    fn new(args: EvalArgs, builtin: Option<&dyn Builtin>) -> Result<Plan, Stop> {
        let sampling = sampling(&args.writing)?;
        let chosen = policy::choose(&args.policy, args.writing.max_tokens)?;
        let nodes = connect(&args.nodes, args.policy.policy, &args.security, builtin)?;
        let data_set = |why: &dyn std::fmt::Display| Stop::new(Exit::DataSet, why);
        let bytes = bytes(&args.data).map_err(|error| data_set(&error))?;
        let name = args.data.display().to_string();
        let data = parse(&name, &bytes, args.skip_bad).map_err(|error| data_set(&error))?;
        let header = Header {
            specthink_eval: eval::log::VERSION,
            data_set: name,
            data_set_sha256: Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect(),
            policy: chosen.note.clone(),
            sampling,
            seed: args.writing.seed,
            max_tokens: args.writing.max_tokens,
            deadline_ms: args
                .writing
                .deadline
                .or(chosen.deadline)
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            system: args.writing.system.clone(),
            settings: settings(&args.nodes, args.policy.policy),
            grader: match args.grader {
                GraderKind::Own => "own".to_owned(),
                GraderKind::MathVerify => "math-verify".to_owned(),
            },
        };
        Ok(Plan { args, data, header, chosen, nodes })
    }

    /// The run of one problem.
    fn prepare(&self, problem: &Problem) -> Result<Run, PolicyError> {
        let Header { sampling, max_tokens, settings, deadline_ms, .. } = self.header;
        let seed = question_seed(self.header.seed, &problem.id);
        let policy = self.chosen.policy(seed)?;
        Ok(Run {
            question: Question {
                id: format!("eval-{}", problem.id),
                prompt: prompt(problem.question.clone(), self.header.system.clone(), false),
                sampling,
                seed,
                max_tokens,
                deadline: deadline_ms.map(Duration::from_millis),
            },
            small: self.nodes.small.clone(),
            large: self.nodes.large.clone(),
            policy,
            settings,
        })
    }

    /// The problems that the run is about.
    fn problems(&self) -> &[Problem] {
        let limit = self.args.limit.and_then(|limit| usize::try_from(limit).ok());
        let count = self.data.problems.len().min(limit.unwrap_or(usize::MAX));
        &self.data.problems[..count]
    }
}

fn grader(args: &EvalArgs) -> Result<Grader, Stop> {
    match args.grader {
        GraderKind::Own => Ok(Grader::Own),
        GraderKind::MathVerify => MathVerify::start(&args.python, GRADE_LIMIT)
            .map(Grader::MathVerify)
            .map_err(|error| Stop::new(Exit::Grader, error)),
    }
}

async fn eval(
    plan: Plan,
    mut grader: Grader,
    mut log: EvalLog,
    enough: &Notify,
) -> Result<Exit, Stop> {
    let began = Instant::now();
    let all = plan.problems().len() as u64;
    let open = plan.problems().iter().filter(|problem| !log.is_graded(&problem.id));
    let open: Vec<Problem> = open.cloned().collect();
    plan.nodes.origin.announce();
    let mut progress = Progress::new(all, all - open.len() as u64, &plan);
    let parallel = usize::from(plan.args.parallel);
    let prepare = |problem: &Problem| plan.prepare(problem);
    let see = |row: &Row| progress.see(row);
    let ended =
        eval::run(open, prepare, parallel, &mut grader, &mut log, enough.notified(), see).await;
    let ended = ended.map_err(stop)?;
    progress.bar.finish_and_clear();
    let rows = plan.problems().iter().filter_map(|problem| log.rows().get(&problem.id));
    let figures = Figures::new(rows);
    let output = |why| Stop::new(Exit::Internal, format!("cannot write standard output: {why}"));
    write(&plan, &figures, began.elapsed()).map_err(output)?;
    end(&ended, &figures, all, plan.args.log.is_some())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    /// Broken lines of the data set.
    skipped: usize,
}

fn write(plan: &Plan, figures: &Figures, wall: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if plan.args.json {
        let skipped = plan.data.skipped.len();
        serde_json::to_writer(&mut out, &Printed { figures, skipped })?;
        writeln!(out)?;
    } else {
        figures.write(&mut out, wall)?;
        if !plan.data.skipped.is_empty() {
            writeln!(out, "skipped    {} broken lines of the data set", plan.data.skipped.len())?;
        }
    }
    out.flush()
}

/// The exit code: a run that is not complete is no success.
fn end(ended: &RunEnd, figures: &Figures, all: u64, has_log: bool) -> Result<Exit, Stop> {
    let open = all.saturating_sub(figures.graded);
    let again = match has_log {
        true => "run the same command again to go on",
        false => "with --log FILE the next run would go on where this one ended",
    };
    match ended {
        RunEnd::Cancelled => {
            let message = format!("stopped with {open} of {all} questions open: {again}");
            Err(Stop::new(Exit::Cancelled, message))
        }
        RunEnd::NodesGone(reason) => {
            let message = format!("{reason}; {open} of {all} questions are open: {again}");
            Err(Stop::new(Exit::NodeFailed, message))
        }
        RunEnd::Complete if figures.failed > 0 => {
            let message = format!("{} of {all} questions failed: {again}", figures.failed);
            Err(Stop::new(Exit::NodeFailed, message))
        }
        RunEnd::Complete => Ok(Exit::Ok),
    }
}

fn stop(error: EvalError) -> Stop {
    let exit = match error {
        EvalError::Grade { .. } => Exit::Grader,
        EvalError::Policy(_) => Exit::Usage,
        _ => Exit::Journal,
    };
    Stop::new(exit, error)
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    draws: bool,
    right: u64,
    graded: u64,
}

impl Progress {
    fn new(all: u64, done: u64, plan: &Plan) -> Progress {
        let draws = io::stderr().is_terminal();
        let bar = if draws { ProgressBar::new(all) } else { ProgressBar::hidden() };
        bar.set_length(all);
        // The template is ours and valid; the default look would do as well.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} (left: {eta})")
        {
            bar.set_style(style);
        }
        bar.set_position(done);
        bar.reset_eta();
        if done > 0 {
            say(&format!("{done} of {all} questions are graded already"));
        }
        for skipped in &plan.data.skipped {
            say(&format!("skipped line {}: {}", skipped.line, skipped.fault));
        }
        Progress { bar, draws, right: 0, graded: 0 }
    }

    fn see(&mut self, row: &Row) {
        match row {
            Row::Graded(graded) => {
                self.graded += 1;
                self.right += u64::from(graded.right);
            }
            Row::Failed { id, reason } => {
                self.bar.suspend(|| say(&format!("{id} failed: {reason}")));
            }
        }
        let (right, graded) = (self.right, self.graded);
        self.bar.set_message(format!("{right} of {graded} right"));
        self.bar.inc(1);
        let done = self.bar.position();
        if !self.draws && done.is_multiple_of(LINE_EVERY) {
            say(&format!("{done} of {} asked", self.bar.length().unwrap_or(done)));
        }
    }
}

/// Standard error may be gone; the run is not less for it.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
