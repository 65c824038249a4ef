//! Nodes in this process, and the command as a child process.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use thinking::{
    testing::{Options, Script, ScriptedThinker, pieces},
    thinker::Thinker,
};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};
use transport::{ServerConfig, Token, bind, serve};

/// A Thinker that is being served; stops when it is dropped.
pub(crate) struct Served {
    pub(crate) url: String,
    _stop: oneshot::Sender<()>,
    _task: JoinHandle<()>,
}

/// Serves a Thinker on a free port.
pub(crate) fn served(runtime: &Runtime, thinker: Arc<dyn Thinker>) -> Served {
    served_to(runtime, thinker, None)
}

/// Serves a Thinker on a free port. Clients must show this token, if there is one.
pub(crate) fn served_to(
    runtime: &Runtime,
    thinker: Arc<dyn Thinker>,
    token: Option<&str>,
) -> Served {
    let token = token.map(|token| Token::new(token).unwrap());
    served_by(runtime, thinker, |config| config.token = token)
}

/// Serves a Thinker on a free port, with a change to the configuration.
pub(crate) fn served_by(
    runtime: &Runtime,
    thinker: Arc<dyn Thinker>,
    change: impl FnOnce(&mut ServerConfig),
) -> Served {
    runtime.block_on(async {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let mut config = ServerConfig::new(Options::default().card);
        change(&mut config);
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            serve(listener, thinker, config, shutdown).await.unwrap();
        });
        Served { url, _stop: stop, _task: task }
    })
}

/// Returns a small model that doubts once.
pub(crate) fn small() -> Arc<ScriptedThinker> {
    Arc::new(ScriptedThinker::new(Script::function(|committed, _| {
        let tokens: &[&str] = match committed {
            "" => &["Add", " 数学", ".", "\n\n", "Wait", ",", " no", "."],
            text if text.contains("Hmm") => &["So", " 4", "."],
            _ => &["Wait", ",", " no", "."],
        };
        tokens.iter().map(|token| (*token).to_owned()).collect()
    })))
}

/// Returns a large model that answers.
pub(crate) fn large() -> Arc<ScriptedThinker> {
    let tokens = ["Hmm", ",", " yes", " 🙂", "\n\n"];
    Arc::new(ScriptedThinker::new(Script::function(move |_, _| tokens.map(str::to_owned).to_vec())))
}

/// Returns a small model that gets one product wrong.
pub(crate) fn wrong() -> Arc<ScriptedThinker> {
    Arc::new(ScriptedThinker::new(Script::function(|committed, _| {
        let rest = "7 x 8 is 54 then".get(committed.len()..).unwrap_or_default();
        pieces(rest).map(str::to_owned).collect()
    })))
}

/// Returns a large model that knows better. It objects only if it can review.
pub(crate) fn right(can_review: bool) -> Arc<ScriptedThinker> {
    let mut options = Options::default();
    options.card.can_review = can_review;
    Arc::new(ScriptedThinker::with_options(Script::text("7 x 8 is 56 then"), options))
}

/// Runs the command to its end, in an environment that holds nothing that would change its behaviour.
pub(crate) fn specthink(arguments: &[impl AsRef<OsStr>], input: Option<&[u8]>) -> Output {
    let mut command = command();
    command.args(arguments);
    to_its_end(command, input)
}

/// Returns the command, in an environment that holds nothing that would change its behaviour.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_specthink"));
    command
        .env_remove("RUST_LOG")
        .env_remove("SPECTHINK_LOG")
        .env_remove("NO_COLOR")
        .env_remove("SPECTHINK_TOKEN");
    command
}

/// Runs a command with this on its standard input.
pub(crate) fn to_its_end(mut command: Command, input: Option<&[u8]>) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses its arguments does not read.
    let _ = stdin.write_all(input.unwrap_or_default());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}
