//! Runs a policy over a data set: asks every question once, grades the answer, and writes the result to a log from
//! which an interrupted run resumes.
//!
//! [`run`] drives many answers at a time. The [`log`] stores them. [`Figures`] are computed from the log's rows alone.
//! The crate `grading` reads questions and grades answers.
//!
//! What does not live here: command line, terminal and wire. A [`RunSource`] supplies the nodes.

mod data;
#[cfg(test)]
mod error_tests;
mod figures;
pub mod log;

use std::{cell::Cell, fs::File, panic::resume_unwind, pin::pin, sync::Arc, time::Duration};

use answer::{
    Ended, Outcome, answer,
    journal::JournalWriter,
    progress::{Observer, Stamped},
    question::Run,
};
use futures_util::{StreamExt as _, stream};
use grading::{
    dataset::Problem,
    math_verify::{GradeError, Grader},
    thought::{TextStart, after_thoughts},
};
use thinking::thinker::{Code, Failure, TextHash, ThoughtStart};
use tokio::{sync::Mutex, task::spawn_blocking};

pub use self::{
    data::DataFile,
    figures::Figures,
    log::{EvalError, EvalLog, Graded, LogHeader, Row},
};

/// After this many failures in a row the nodes are considered lost, and the run stops.
const PATIENCE_FAILURES: u32 = 5;
/// How often an overloaded node is asked.
const OVERLOADED_TRIES: u32 = 30;
/// How often an unreachable node is asked. It may be restarting.
const UNAVAILABLE_TRIES: u32 = 3;
/// The wait before the next try if the node does not name one, and the longest wait.
const RETRY_AFTER_MS: (u64, u64) = (1_000, 10_000);

/// How a run over a data set ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// Every question was asked.
    Complete,
    /// The run was cancelled.
    Cancelled,
    /// Too many questions in a row failed. Holds the last reason.
    NodesGone(String),
}

/// The run of a problem, ready to be started.
pub struct PreparedRun {
    /// The run.
    pub run: Run,
    /// The journal of the run. It is complete before the problem's row is written.
    pub journal: Option<JournalWriter<File>>,
}

/// Prepares the runs of problems.
pub trait RunSource {
    /// Prepares the run of a problem. Called again for each retry.
    ///
    /// # Errors
    /// When it cannot be prepared. That ends the run over the data set.
    fn prepare(&self, problem: &Problem) -> Result<PreparedRun, EvalError>;

    /// Returns the failure that invalidates an answer, such as a node that was lost. The problem is then asked again,
    /// and fails after the last try. By default every answer is valid, even a degraded one.
    fn invalidated_by(&self, _outcome: &Outcome) -> impl Future<Output = Option<Failure>> {
        std::future::ready(None)
    }
}

/// Asks all problems, `parallel` at a time, and appends a row for each to the log as it is graded. Calls `see` with
/// every row. Answers are graded one after another, while the next ones are being asked.
///
/// # Errors
/// When the log cannot be written, no answer can be graded, or the source fails.
pub async fn run(
    problems: Vec<Problem>,
    source: &impl RunSource,
    parallel: usize,
    grader: &Arc<Mutex<Grader>>,
    log: &mut EvalLog,
    cancel: impl Future<Output = ()>,
    mut see: impl FnMut(&Row),
) -> Result<RunEnd, EvalError> {
    let answers = stream::iter(problems).map(|problem| async {
        let asked = ask(&problem, source).await;
        asked.map(|(seed, outcome)| (problem, seed, outcome))
    });
    let cancelled = Cell::new(false);
    let cancel = async {
        cancel.await;
        cancelled.set(true);
    };
    // After a cancel nothing more is asked, but complete answers are still graded.
    let answers = answers.buffer_unordered(parallel.max(1)).take_until(cancel);
    let rows = answers.map(|answered| async {
        let (problem, seed, outcome) = answered?;
        let mut grader = Arc::clone(grader).lock_owned().await;
        let graded = spawn_blocking(move || graded(&problem, seed, outcome, &mut grader));
        graded.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()))
    });
    // Unbounded, so that answers are polled while others wait for their grade.
    let mut rows = pin!(rows.buffer_unordered(usize::MAX));
    let mut failures = 0;
    while let Some(row) = rows.next().await {
        let row = row?;
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
    Ok(if cancelled.get() { RunEnd::Cancelled } else { RunEnd::Complete })
}

/// Asks one problem, and retries while a node is overloaded or unreachable.
async fn ask(problem: &Problem, source: &impl RunSource) -> Result<(u64, Outcome), EvalError> {
    let mut tries = 0;
    loop {
        let PreparedRun { run, mut journal } = source.prepare(problem)?;
        let seed = run.question.seed;
        let mut nobody = Nobody;
        let observer: &mut dyn Observer = match &mut journal {
            Some(journal) => journal,
            None => &mut nobody,
        };
        let mut outcome = answer(run, observer, std::future::pending()).await;
        journal.map_or(Ok(()), JournalWriter::finish)?;
        if let Some(failure) = source.invalidated_by(&outcome).await {
            outcome.ended = Ended::Failed { node: String::new(), failure };
        }
        tries += 1;
        let Ended::Failed { failure, .. } = &outcome.ended else { return Ok((seed, outcome)) };
        let most = match failure.code {
            Code::Overloaded => OVERLOADED_TRIES,
            Code::Unavailable => UNAVAILABLE_TRIES,
            _ => 0,
        };
        if tries >= most {
            return Ok((seed, outcome));
        }
        let (usual, longest) = RETRY_AFTER_MS;
        let wait = failure.retry_after_ms.unwrap_or(usual).min(longest);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// Returns whether the question is at fault, so that no node of this model can answer it.
fn of_question(failure: &Failure) -> bool {
    matches!(failure.code, Code::ContextTooLong | Code::MessageTooLarge)
}

fn graded(
    problem: &Problem,
    seed: u64,
    outcome: Outcome,
    grader: &mut Grader,
) -> Result<Row, EvalError> {
    let mut row = Graded {
        id: problem.id.clone(),
        seed,
        gold: problem.answer.clone(),
        answer: None,
        right: false,
        grader_error: None,
        open_thought: false,
        text: outcome.text(),
        summary: outcome.summary,
    };
    match outcome.ended {
        Ended::Failed { failure, .. } if of_question(&failure) => {}
        Ended::Failed { node, failure } => {
            // Without a node it is a failure of the source, whose message says what it concerns.
            let is_named = failure.names_thinker() || node.is_empty();
            let reason = if is_named { failure.to_string() } else { format!("{node}: {failure}") };
            return Ok(Row::Failed { id: problem.id.clone(), reason });
        }
        Ended::Complete(_) => {
            let start = match row.summary.thought {
                ThoughtStart::Open => TextStart::Thought,
                _ => TextStart::Answer,
            };
            row.open_thought = after_thoughts(&row.text, start).is_none();
            match grader.grade_from(&problem.answer, &row.text, start) {
                Ok(verdict) => (row.answer, row.right) = (verdict.answer, verdict.right),
                // This depends on the answer alone, and would happen again.
                Err(why @ (GradeError::TimedOut { .. } | GradeError::Failed { .. })) => {
                    row.grader_error = Some(why.to_string());
                }
                Err(why) => {
                    return Err(EvalError::Grade { id: problem.id.clone(), why: why.to_string() });
                }
            }
        }
    }
    Ok(Row::Graded(Box::new(row)))
}

/// Returns the seed of a question: different for every id, and the same in every run.
pub fn question_seed(seed: u64, id: &str) -> u64 {
    // Mixed after hashing, so that similar seeds and ids do not give similar results.
    thinking::draw::splitmix64(seed, TextHash::of(id).0)
}

/// Returns the name of a question in the nodes' logs and in journals.
pub fn question_name(id: &str) -> String {
    format!("eval-{id}")
}

/// Formats a time for people: `4 m 12 s`.
fn minutes(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} m {} s", seconds / 60, seconds % 60),
    }
}

/// Ignores all progress. The outcome holds everything that a row needs.
struct Nobody;

impl Observer for Nobody {
    fn see(&mut self, _: &Stamped) {}
}

#[cfg(test)]
mod tests {
    use super::question_seed;

    #[test]
    fn a_question_has_the_seed_that_logs_of_before_have() {
        assert_eq!(question_seed(0, ""), 0x0803_5f29_acc1_08b3);
        assert_eq!(question_seed(1, "gsm8k-17"), 0x7374_d2e3_a093_be91);
    }
}
