//! Two served scripted Thinkers, and a command that runs a sweep with them.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::Arc,
};

use serde_json::Value;
use tempfile::TempDir;
use thinking::{
    testing::{Options, Script, ScriptedThinker},
    thinker::{Command as Asked, Thinker},
};
use tokio::{runtime::Runtime, sync::oneshot};
use transport::{ServerConfig, bind, serve};

pub(crate) const DATA: &str = r#"{"id":"a","question":"2+2?","answer":"4"}
{"id":"b/c","question":"2+3?","answer":"5"}
"#;
pub(crate) const RTT_US: u64 = 40_000;
pub(crate) const LINK: &str = "rtt=40ms";

pub(crate) struct Bench {
    runtime: Runtime,
    pub(crate) folder: TempDir,
    pub(crate) small: Arc<ScriptedThinker>,
    pub(crate) large: Arc<ScriptedThinker>,
    pub(crate) urls: [String; 2],
    _small: oneshot::Sender<()>,
    large_stop: Option<oneshot::Sender<()>>,
}

fn served(
    runtime: &Runtime,
    thinker: Arc<dyn Thinker>,
    address: &str,
) -> (String, oneshot::Sender<()>) {
    runtime.block_on(async {
        let listener = bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let config = ServerConfig::new(Options::default().card);
        tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            serve(listener, thinker, config, shutdown).await.unwrap();
        });
        (url, stop)
    })
}

impl Bench {
    pub(crate) fn new() -> Bench {
        // The small model doubts once; the large one answers.
        let small = Script::function(|committed, _| {
            let tokens: &[&str] = match committed {
                "" => &["Add", ".", "\n\n", "Wait", ",", " no", "."],
                text if text.contains("Hmm") => &["So", " 4", "."],
                _ => &["Wait", ",", " no", "."],
            };
            tokens.iter().map(|token| (*token).to_owned()).collect()
        });
        let large =
            Script::function(|_, _| ["Hmm", ",", " yes", "\n\n"].map(str::to_owned).to_vec());
        Bench::of(DATA, [small, large].map(ScriptedThinker::new))
    }

    /// Serves the small model and the large one, with this data set.
    pub(crate) fn of(data: &str, thinkers: [ScriptedThinker; 2]) -> Bench {
        let (runtime, folder) = (Runtime::new().unwrap(), TempDir::new().unwrap());
        fs::write(folder.path().join("data.jsonl"), data).unwrap();
        let [small, large] = thinkers.map(Arc::new);
        let (small_url, small_stop) = served(&runtime, small.clone(), "127.0.0.1:0");
        let (large_url, large_stop) = served(&runtime, large.clone(), "127.0.0.1:0");
        Bench {
            runtime,
            folder,
            small,
            large,
            urls: [small_url, large_url],
            _small: small_stop,
            large_stop: Some(large_stop),
        }
    }

    /// Stops the large node, after it has finished what is in flight.
    pub(crate) fn stop_large(&mut self) {
        self.large_stop = None;
    }

    /// Starts the large node again, at the same address.
    pub(crate) fn start_large(&mut self) {
        let address = self.urls[1].trim_start_matches("http://").to_owned();
        self.large_stop = Some(served(&self.runtime, self.large.clone(), &address).1);
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Returns the command that sweeps the data over [`LINK`], with more flags.
    pub(crate) fn command(&self, flags: &[&str]) -> Command {
        let mut command = self.command_without_nodes(flags);
        command.args(["--small", &self.urls[0], "--large", &self.urls[1]]);
        command
    }

    pub(crate) fn command_without_nodes(&self, flags: &[&str]) -> Command {
        let data = self.folder.path().join("data.jsonl");
        let mut command = Command::new(env!("CARGO_BIN_EXE_specthink-lab"));
        command.arg("sweep").arg(data).arg("--out").arg(self.out()).args(["--link", LINK]);
        command.args(flags);
        for name in ["RUST_LOG", "SPECTHINK_LOG", "SPECTHINK_TOKEN"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn sweep(&self, flags: &[&str]) -> Output {
        self.command(flags).output().unwrap()
    }

    pub(crate) fn cell(&self, policy: &str) -> PathBuf {
        self.out().join(policy).join(LINK).join("seed-0")
    }

    /// Returns the complete rows of a policy's log.
    pub(crate) fn rows(&self, policy: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.cell(policy).join("log.jsonl")).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) const TWO: [&str; 4] = ["--policy", "strict", "--policy", "small-only"];

pub(crate) fn asked(thinker: &ScriptedThinker) -> usize {
    thinker.commands().iter().filter(|(_, command)| matches!(command, Asked::Open(_))).count()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}
