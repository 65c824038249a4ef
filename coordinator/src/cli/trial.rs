//! A policy over a data set, from arguments: the file, what the log's header says, and the run of each question. Who
//! drives it, and over which nodes, is the caller's business.

use std::{path::Path, time::Duration};

use answer::question::{Node, Question, Run};
use grading::{
    dataset::{Dataset, Problem, bytes, parse},
    math_verify::{Grader, MathVerify},
};
use sha2::{Digest as _, Sha256};
use thinking::{policy::PolicyError, thinker::Prompt};

use super::{
    args::{GraderKind, NodesArgs, PolicyArgs, RunArgs, WritingArgs},
    config::{sampling, settings},
    exit::{Exit, Stop},
    policy,
};
use crate::eval::{self, EvalError, Header, question_name, question_seed};

/// How long math-verify may think about one answer.
const GRADE_LIMIT: Duration = Duration::from_secs(10);

/// A data set's file, read.
pub struct DataFile {
    /// Its name, as it was given.
    pub name: String,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// What is in it.
    pub data: Dataset,
}

impl DataFile {
    /// Reads a data set. `skip_bad` leaves broken lines out.
    ///
    /// # Errors
    /// When it cannot be read, or a line is broken.
    pub fn read(path: &Path, skip_bad: bool) -> Result<DataFile, Stop> {
        let bytes = bytes(path).map_err(|error| Stop::new(Exit::DataSet, error))?;
        let name = path.display().to_string();
        let data = parse(&name, &bytes, skip_bad);
        Ok(DataFile {
            name,
            sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            data: data.map_err(|error| Stop::new(Exit::DataSet, error))?,
        })
    }

    /// Its first problems, as many as are wanted.
    pub fn problems(&self, limit: Option<u64>) -> &[Problem] {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        &self.data.problems[..self.data.problems.len().min(limit)]
    }
}

/// One policy with one seed over a data set, checked.
pub struct Trial {
    /// Everything that its results depend on, but for the models.
    pub header: Header,
}

impl Trial {
    /// Checks the arguments together.
    ///
    /// # Errors
    /// When they make no sense, or the policy's file holds something wrong.
    pub fn new(
        data: &DataFile,
        policy: &PolicyArgs,
        seed: u64,
        (run, writing, nodes): (&RunArgs, &WritingArgs, &NodesArgs),
    ) -> Result<Trial, Stop> {
        let sampling = sampling(writing)?;
        let spec = policy::spec(policy)?;
        let header = Header {
            specthink_eval: eval::log::VERSION,
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
            grader: match run.grader {
                GraderKind::Own => "own".to_owned(),
                GraderKind::MathVerify => "math-verify".to_owned(),
            },
        };
        Ok(Trial { header })
    }

    /// The run of one problem over these nodes.
    ///
    /// # Errors
    /// When the policy cannot be made.
    pub fn run(
        &self,
        problem: &Problem,
        small: &[Node],
        large: Option<&Node>,
    ) -> Result<Run, PolicyError> {
        let Header { sampling, max_tokens, settings, deadline_ms, .. } = self.header;
        let seed = question_seed(self.header.seed, &problem.id);
        let policy = self.header.policy.build(seed, max_tokens)?;
        Ok(Run {
            question: Question {
                id: question_name(&problem.id),
                prompt: Prompt::question(problem.question.clone(), self.header.system.clone()),
                sampling,
                seed,
                max_tokens,
                deadline: deadline_ms.map(Duration::from_millis),
            },
            small: small.to_vec(),
            large: large.cloned(),
            policy,
            settings,
        })
    }
}

/// Who grades. Starts Python where that is asked for.
///
/// # Errors
/// When it cannot be started.
pub fn grader(args: &RunArgs) -> Result<Grader, Stop> {
    match args.grader {
        GraderKind::Own => Ok(Grader::Own),
        GraderKind::MathVerify => MathVerify::start(&args.python, GRADE_LIMIT)
            .map(Grader::MathVerify)
            .map_err(|error| Stop::new(Exit::Grader, error)),
    }
}

impl From<EvalError> for Stop {
    fn from(error: EvalError) -> Self {
        let exit = match error {
            EvalError::Grade { .. } => Exit::Grader,
            EvalError::Policy(_) => Exit::Usage,
            _ => Exit::Journal,
        };
        Stop::new(exit, error)
    }
}
