//! A policy over a data set: every question is asked once, its answer graded, and what came of it
//! written to a log that an interrupted run takes up again.
//!
//! [`run`] drives many answers at a time; the [`log`] keeps them; [`Figures`] are made from the log's
//! rows alone. How questions are read and answers graded is in the crate `grading`.

mod figures;
pub mod log;

use std::{pin::pin, time::Duration};

use futures_util::{StreamExt as _, stream};
use grading::{dataset::Problem, math_verify::Grader};

pub use self::{
    figures::Figures,
    log::{EvalError, EvalLog, Graded, Header, Row},
};
use crate::{
    driver::{Ended, Outcome, answer},
    progress::{Observer, Stamped},
    question::Run,
};

/// After so many failures in a row the nodes are taken for gone, and the run stops.
pub const PATIENCE_FAILURES: u32 = 5;

/// How a run over a data set ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Every question was asked.
    Complete,
    /// It was cancelled.
    Cancelled,
    /// Too many questions in a row failed; the last reason.
    NodesGone(String),
}

/// Asks all problems, `parallel` at a time, and appends a row for each to the log as it is graded.
/// `see` is told of every row.
///
/// # Errors
/// When the log cannot be written, or an answer cannot be graded.
pub async fn run(
    runs: Vec<(Problem, Run)>,
    parallel: usize,
    grader: &mut Grader,
    log: &mut EvalLog,
    cancel: impl Future<Output = ()>,
    mut see: impl FnMut(&Row),
) -> Result<RunEnd, EvalError> {
    let answers = stream::iter(runs).map(|(problem, run)| async move {
        let seed = run.question.seed;
        let outcome = answer(run, &mut Nobody, std::future::pending()).await;
        (problem, seed, outcome)
    });
    let mut answers = pin!(answers.buffer_unordered(parallel.max(1)));
    let mut cancel = pin!(cancel);
    let mut failures = 0;
    loop {
        let next = tokio::select! {
            // What is complete is kept, also when the signal comes at the same moment.
            biased;
            next = answers.next() => next,
            () = &mut cancel => return Ok(RunEnd::Cancelled),
        };
        let Some((problem, seed, outcome)) = next else { return Ok(RunEnd::Complete) };
        let row = tokio::task::block_in_place(|| graded(&problem, seed, outcome, grader))?;
        log.append(&row)?;
        see(&row);
        match row {
            Row::Graded(_) => failures = 0,
            Row::Failed { reason, .. } => {
                failures += 1;
                if failures >= PATIENCE_FAILURES {
                    return Ok(RunEnd::NodesGone(reason));
                }
            }
        }
    }
}

fn graded(
    problem: &Problem,
    seed: u64,
    outcome: Outcome,
    grader: &mut Grader,
) -> Result<Row, EvalError> {
    if let Ended::Failed { node, failure } = &outcome.ended {
        let reason = format!("{node}: {failure}");
        return Ok(Row::Failed { id: problem.id.clone(), reason });
    }
    let text = outcome.text();
    let verdict = grader
        .grade(&problem.answer, &text)
        .map_err(|why| EvalError::Grade { id: problem.id.clone(), why: why.to_string() })?;
    Ok(Row::Graded(Box::new(Graded {
        id: problem.id.clone(),
        seed,
        gold: problem.answer.clone(),
        answer: verdict.answer,
        right: verdict.right,
        text,
        summary: outcome.summary,
    })))
}

/// The seed of one question: another for every id, the same in every run.
pub fn question_seed(seed: u64, id: &str) -> u64 {
    // FNV-1a; then mixed, so that near seeds and ids do not give near results.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    thinking::draw::splitmix64(seed, hash)
}

/// Time as people write it: `4 m 12 s`.
pub fn minutes(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} m {} s", seconds / 60, seconds % 60),
    }
}

/// Sees nothing: the outcome says all that a row needs.
struct Nobody;

impl Observer for Nobody {
    fn see(&mut self, _: &Stamped) {}
}
