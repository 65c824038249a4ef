//! Grading by Python's math-verify, in a child process.
//!
//! The process is started once, asked one pair at a time, and killed if it is late. The next pair then starts a new
//! one. What does not live here: our own comparison ([`crate::grade`]).

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    answer::find,
    grade::{Judge, Verdict, exactly_equal, grade_from},
    thought::{TextStart, after_thoughts},
};

/// The program that the child process runs.
const SCRIPT: &str = include_str!("math_verify.py");
/// The limit for starting. Importing sympy on a busy machine takes long.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a process that closed its output may take to exit.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Why there is no verdict. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum GradeError {
    /// The program does not exist.
    #[error("no program {program}: install Python 3, give its path, or grade without math-verify")]
    NotFound {
        /// What was to be started.
        program: String,
    },
    /// The program cannot be started.
    #[error("cannot start {program}: {why}; give a Python 3 that you may run")]
    NotStarted {
        /// What was to be started.
        program: String,
        /// What the system says.
        why: String,
    },
    /// Python does not have the package.
    #[error("{program} has no math-verify ({why}): pip install \"math-verify[antlr4_13_2]\"")]
    NoPackage {
        /// The Python.
        program: String,
        /// What Python says.
        why: String,
    },
    /// The process exited.
    #[error(
        "math-verify's process ended ({how}); check that the program is a Python 3 that has math-verify"
    )]
    Died {
        /// How.
        how: String,
    },
    /// The process did not answer in time and was killed.
    #[error(
        "math-verify took more than {limit_s} s for this answer and was stopped; check it by hand"
    )]
    TimedOut {
        /// The limit in seconds.
        limit_s: f64,
    },
    /// The process gave an unexpected answer.
    #[error("math-verify's process answered {reply:?}; check that {program} is a Python 3")]
    BadReply {
        /// The program.
        program: String,
        /// What it said.
        reply: String,
    },
    /// math-verify itself failed on the pair.
    #[error("math-verify failed on this answer: {why}; check it by hand")]
    Failed {
        /// What it says.
        why: String,
    },
}

/// Python's math-verify, in a child process.
#[derive(Debug)]
pub struct MathVerify {
    program: OsString,
    args: Vec<OsString>,
    limit: Duration,
    /// `None` after the process was late or has exited.
    running: Option<Running>,
}

/// A process that is ready to be asked.
#[derive(Debug)]
struct Running {
    child: Child,
    input: ChildStdin,
    /// Its output, line by line. The reading thread ends with the process's output, or when this receiver is dropped.
    lines: Receiver<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    gold: &'a str,
    response: &'a str,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    ready: bool,
    missing: Option<String>,
    equivalent: Option<bool>,
    error: Option<String>,
}

impl MathVerify {
    /// Starts `program`, a Python 3 with math-verify. Each answer may take `limit`.
    pub fn start(program: impl Into<OsString>, limit: Duration) -> Result<Self, GradeError> {
        let args = ["-u".into(), "-c".into(), SCRIPT.into()];
        Self::start_command(program.into(), args.into(), limit)
    }

    fn start_command(
        program: OsString,
        args: Vec<OsString>,
        limit: Duration,
    ) -> Result<Self, GradeError> {
        let mut judge = MathVerify { program, args, limit, running: None };
        judge.running = Some(judge.spawn()?);
        Ok(judge)
    }

    /// Returns whether math-verify finds that the text ends in the right answer.
    pub fn equivalent(&mut self, gold: &str, text: &str) -> Result<bool, GradeError> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.spawn()?,
        };
        let request = serde_json::to_string(&Request { gold, response: text });
        let request = request.map_err(|error| GradeError::Failed { why: error.to_string() })?;
        // A long text would block on the pipe of a process that does not read. The script always reads.
        if writeln!(running.input, "{request}").and_then(|()| running.input.flush()).is_err() {
            return Err(running.end());
        }
        let line = running.line(self.limit)?;
        let reply = self.reply(&line)?;
        // Only a process that answered properly is kept. Any other is dropped, and thereby killed.
        match (reply.equivalent, reply.error) {
            (Some(equivalent), _) => {
                self.running = Some(running);
                Ok(equivalent)
            }
            (None, Some(why)) => {
                self.running = Some(running);
                Err(GradeError::Failed { why })
            }
            (None, None) => Err(self.bad_reply(&line)),
        }
    }

    fn spawn(&self) -> Result<Running, GradeError> {
        let program = || self.program.to_string_lossy().into_owned();
        let mut command = Command::new(&self.program);
        // Ctrl-C is meant for the parent, and this process ends with the parent.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => GradeError::NotFound { program: program() },
                _ => GradeError::NotStarted { program: program(), why: error.to_string() },
            })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            let _ = child.kill();
            let why = "its input and output are not connected".to_owned();
            return Err(GradeError::NotStarted { program: program(), why });
        };
        let (send, lines) = sync_channel(1);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut running = Running { child, input, lines };
        let line = running.line(START_LIMIT)?;
        let reply = self.reply(&line)?;
        match (reply.ready, reply.missing) {
            (true, _) => Ok(running),
            (false, Some(why)) => Err(GradeError::NoPackage { program: program(), why }),
            (false, None) => Err(self.bad_reply(&line)),
        }
    }

    fn reply(&self, line: &str) -> Result<Reply, GradeError> {
        serde_json::from_str(line).map_err(|_| self.bad_reply(line))
    }

    fn bad_reply(&self, line: &str) -> GradeError {
        let reply = line.chars().take(200).collect();
        GradeError::BadReply { program: self.program.to_string_lossy().into_owned(), reply }
    }
}

impl Running {
    /// Returns the next line of its output.
    fn line(&mut self, limit: Duration) -> Result<String, GradeError> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                Err(GradeError::TimedOut { limit_s: limit.as_secs_f64() })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.end()),
        }
    }

    /// Returns how it exited, after it closed its output.
    #[expect(clippy::disallowed_methods, reason = "a thread waits here, by the system's clock")]
    fn end(&mut self) -> GradeError {
        let until = Instant::now() + END_LIMIT;
        let how = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status.to_string(),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                Ok(None) => break "it closed its output".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        GradeError::Died { how }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Decides whether answers are right.
#[derive(Debug)]
pub enum Grader {
    /// This crate alone.
    Own,
    /// math-verify, asked about everything that is not exactly equal.
    MathVerify(MathVerify),
}

impl Grader {
    /// Grades a text that ends in an answer and does not begin inside a thought.
    ///
    /// # Errors
    /// When math-verify fails or has exited.
    pub fn grade(&mut self, gold: &str, text: &str) -> Result<Verdict, GradeError> {
        self.grade_from(gold, text, TextStart::Answer)
    }

    /// Grades a text that ends in an answer. math-verify sees only what follows the last thought. A text that ends
    /// within a thought is wrong. [`find`] says why a text has no answer.
    ///
    /// # Errors
    /// When math-verify fails or has exited.
    pub fn grade_from(
        &mut self,
        gold: &str,
        text: &str,
        start: TextStart,
    ) -> Result<Verdict, GradeError> {
        let (Grader::MathVerify(python), Some(shown)) = (self, after_thoughts(text, start)) else {
            return Ok(grade_from(gold, text, start));
        };
        let answer = find(text, start).ok();
        if answer.as_deref().is_some_and(|answer| exactly_equal(gold, answer)) {
            return Ok(Verdict { answer, right: true, judge: Judge::Own });
        }
        let right = python.equivalent(gold, shown)?;
        Ok(Verdict { answer, right, judge: Judge::MathVerify })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use super::{GradeError, Grader, MathVerify};
    use crate::{grade::Judge, thought::TextStart};

    /// Starts a stand-in for Python: `sh` with a script.
    fn fake(script: &str, limit: Duration) -> Result<MathVerify, GradeError> {
        MathVerify::start_command("sh".into(), vec!["-c".into(), script.into()], limit)
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn answers_come_in_order_and_plain_equality_is_ours() {
        let script = r#"echo '{"ready": true}'
            while read -r line; do case "$line" in
                *gold\":\"5*) echo '{"equivalent": true}';;
                *gold\":\"6*) echo '{"error": "ValueError: no"}';;
                *) echo '{"equivalent": false}';;
            esac; done"#;
        let mut grader = Grader::MathVerify(fake(script, LONG).unwrap());
        let five = grader.grade("5", "\\boxed{five}").unwrap();
        assert!(five.right && five.judge == Judge::MathVerify);
        let six = grader.grade("6", "\\boxed{5}").unwrap_err();
        let line = "math-verify failed on this answer: ValueError: no; check it by hand";
        assert_eq!(six.to_string(), line);
        assert!(!grader.grade("7", "\\boxed{5}").unwrap().right);
        let own = grader.grade("\\frac{1}{2}", "\\boxed{\\frac{2}{4}}").unwrap();
        assert!(own.right && own.judge == Judge::Own);
    }

    #[test]
    fn thoughts_are_not_shown() {
        // Fails if it sees the 6 of a thought, or is asked needlessly.
        let script = r#"echo '{"ready": true}'
            while read -r line; do case "$line" in
                *6*) echo '{"error": "a thought was shown"}';;
                *) echo '{"equivalent": true}';;
            esac; done"#;
        let mut grader = Grader::MathVerify(fake(script, LONG).unwrap());
        let seven = grader.grade("seven", "<think>6</think>\\boxed{7}").unwrap();
        assert!(seven.right && seven.judge == Judge::MathVerify);
        for (text, start) in
            [("<think>\\boxed{6}", TextStart::Answer), ("\\boxed{6}", TextStart::Thought)]
        {
            let open = grader.grade_from("6", text, start).unwrap();
            assert!(!open.right && open.answer.is_none() && open.judge == Judge::Own, "{text}");
        }
    }

    #[test]
    fn a_late_process_is_killed_and_replaced() {
        let script = r#"echo '{"ready": true}'; read -r line; case "$line" in
            *slow*) exec sleep 600;; *) echo '{"equivalent": true}'; read -r line;; esac"#;
        let mut judge = fake(script, Duration::from_millis(200)).unwrap();
        let late = judge.equivalent("1", "slow").unwrap_err();
        assert!(matches!(late, GradeError::TimedOut { .. }), "{late}");
        judge.limit = LONG;
        assert!(judge.equivalent("1", "fast").unwrap());
    }

    #[test]
    fn an_ended_process_is_told_about_and_replaced() {
        let script = r#"echo '{"ready": true}'; read -r line; case "$line" in
            *die*) exit 3;; *) echo '{"equivalent": true}'; read -r line;; esac"#;
        let mut judge = fake(script, LONG).unwrap();
        let died = judge.equivalent("1", "die").unwrap_err();
        assert!(matches!(&died, GradeError::Died { how } if how.contains('3')), "{died}");
        assert!(judge.equivalent("1", "live").unwrap());
    }

    #[test]
    fn what_is_missing_is_named() {
        let absent = MathVerify::start("/nowhere/python3", LONG).unwrap_err();
        assert!(matches!(absent, GradeError::NotFound { .. }), "{absent}");
        let package =
            fake(r#"echo '{"missing": "No module named math_verify"}'"#, LONG).unwrap_err();
        assert!(
            package.to_string().ends_with("pip install \"math-verify[antlr4_13_2]\""),
            "{package}"
        );
        let other = fake("echo hello", LONG).unwrap_err();
        assert!(matches!(other, GradeError::BadReply { .. }), "{other}");
        let silent = fake("exit 1", LONG).unwrap_err();
        assert!(matches!(silent, GradeError::Died { .. }), "{silent}");
    }
}
