//! A run over a data set, from arguments: the header of its log, and the grader. The caller drives the run and chooses
//! the nodes.

use std::time::Duration;

use grading::math_verify::{Grader, MathVerify};
use runs::{DataFile, LogHeader, log};

use crate::{
    answering::{sampling, settings},
    args::{AnsweringArgs, GraderKind, PolicyArgs, RunArgs},
    exit::{CliError, Exit},
    policy,
};

/// How long math-verify may take for one answer.
const GRADE_LIMIT: Duration = Duration::from_secs(10);

/// Checks the arguments of a run together, and returns the header of its log. The header holds everything that the
/// results depend on, except the models.
///
/// When they do not fit together, or the policy's file is invalid.
pub fn header(
    data: &DataFile,
    policy: &PolicyArgs,
    seed: u64,
    run: &RunArgs,
    AnsweringArgs { nodes, writing, .. }: &AnsweringArgs,
) -> Result<LogHeader, CliError> {
    let sampling = sampling(writing)?;
    let spec = policy::spec(policy, nodes)?;
    Ok(LogHeader {
        specthink_eval: log::VERSION,
        data_set: data.name.clone(),
        data_set_sha256: data.sha256.clone(),
        sampling,
        seed,
        max_tokens: writing.max_tokens,
        deadline_ms: writing
            .deadline
            .or(spec.deadline())
            .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        system: writing.system.clone(),
        settings: settings(nodes, policy),
        policy: spec,
        grader: run.grader.to_string(),
    })
}

/// Returns the grader. Starts Python if that was asked for.
///
/// # Errors
/// When it cannot be started.
pub fn grader(args: &RunArgs) -> Result<Grader, CliError> {
    match args.grader {
        GraderKind::Own => Ok(Grader::Own),
        GraderKind::MathVerify => MathVerify::start(&args.python, GRADE_LIMIT)
            .map(Grader::MathVerify)
            .map_err(|error| CliError::new(Exit::Grader, error)),
    }
}
