//! Nodes as real processes: start them, read their output, send them signals, wait for them. A process that a test
//! forgets is killed.

#![expect(clippy::disallowed_methods, reason = "processes run by the system's clock")]

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long to wait for anything that ends by itself. Generous, since it only bounds a test that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A signal to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT, as from Ctrl-C.
    Interrupt,
    /// SIGHUP: reload the files, for programs that serve.
    Hangup,
    /// SIGKILL: a crash.
    Kill,
    /// SIGSTOP: the process hangs.
    Stop,
    /// SIGCONT: the process continues.
    Continue,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    stdout: Vec<String>,
    stderr: Option<JoinHandle<String>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or `None` if a signal killed it.
    pub code: Option<i32>,
    /// Lines of its standard output.
    pub stdout: Vec<String>,
    /// All of its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a program with exactly these arguments and environment variables. Variables that would change a node's
    /// settings are removed first.
    pub fn spawn<A: AsRef<OsStr>>(program: &str, args: &[A], env: &[(&str, &str)]) -> Process {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars() {
            if name.starts_with("SPECTHINK_") || name.starts_with("HF_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(args)
            // A developer's proxy must not affect connections on loopback.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start {program}: {why}"));
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Process { child, lines, stdout: Vec::new(), stderr: Some(stderr) }
    }

    /// Starts a node on a free loopback port and waits until it listens. `args` follow `--model MODEL --listen
    /// 127.0.0.1:0 --threads 1`.
    pub fn node<A: AsRef<OsStr>>(program: &str, model: &OsStr, args: &[A]) -> Process {
        let first = ["--model".as_ref(), model, "--listen".as_ref(), "127.0.0.1:0".as_ref()];
        let first = first.into_iter().chain(["--threads".as_ref(), "1".as_ref()]);
        let args: Vec<&OsStr> = first.chain(args.iter().map(AsRef::as_ref)).collect();
        let mut node = Process::spawn(program, &args, &[]);
        node.wait_for("listening on ");
        node
    }

    /// Waits for a line of standard output that starts with a text, and returns the rest of it.
    ///
    /// # Panics
    /// If the process ends without such a line.
    pub fn wait_for(&mut self, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.stdout.push(line);
                    let line = self.stdout.last().map(String::as_str).unwrap_or_default();
                    if let Some(rest) = line.strip_prefix(start) {
                        return rest.to_owned();
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line '{start}...' in {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = self.end();
                    panic!("it ended without a line '{start}...': {ended:?}");
                }
            }
        }
    }

    /// Returns the URL on which the node listens.
    pub fn url(&self) -> String {
        let line = self.stdout.iter().find_map(|line| line.strip_prefix("listening on "));
        line.expect("it listens").to_owned()
    }

    /// Returns what it has written to standard output, up to the last line that was waited for.
    pub fn stdout(&self) -> &[String] {
        &self.stdout
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Interrupt => "-INT",
            Signal::Hangup => "-HUP",
            Signal::Kill => "-KILL",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the process is gone already");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait(mut self) -> Ended {
        self.end()
    }

    fn end(&mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("it can be waited for") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = self.child.kill();
                    panic!("it did not end in {PATIENCE:?}; standard output: {:?}", self.stdout);
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        self.stdout.extend(self.lines.iter());
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ended { code: status.code(), stdout: std::mem::take(&mut self.stdout), stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Returns the one line of standard error, without the program's name.
    ///
    /// # Panics
    /// If it is not one line that starts with the program's name.
    pub fn line(&self, program: &str) -> &str {
        let rest = self.stderr.strip_prefix(program).and_then(|rest| rest.strip_prefix(": "));
        let line = rest.and_then(|rest| rest.strip_suffix('\n')).unwrap_or_default();
        assert!(!line.is_empty() && !line.contains('\n'), "not one line of {program}: {self:?}");
        line
    }
}
