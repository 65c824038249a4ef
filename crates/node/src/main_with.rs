//! A node as a process: arguments, logs, signals, exit code.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use flags::{Hangups, Signals, usage_line};
use hub::Console;
use manual::ManualArgs;
use thinking::shown::one_line;
use tokio::{pin, select, sync::oneshot};
use traces::TraceExporter;

use crate::{
    args::{Defaults, NodeArgs, command},
    config::NodeConfig,
    error::{NodeError, NodeExit},
    serve::ReadyNode,
    threads,
};

/// How long a computing step that is still running at the end may take to notice the end.
const LAST_STEP: Duration = Duration::from_secs(1);

/// The log filters without `-v`, with one, and with two.
const LOG_LEVELS: [&str; 3] = [
    "warn",
    "warn,engine=info,node=info,reload=info,transport=info,upstream=info",
    "info,engine=debug,flags=debug,node=debug,reload=debug,transport=debug,upstream=debug",
];

/// The entire `main` of a node.
pub fn main_with(defaults: &Defaults) -> ExitCode {
    let args = match NodeArgs::parse_with(defaults, std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            if !error.use_stderr() {
                // Help or the version. If standard output is closed, nothing can be done about it.
                let _ = error.print();
                return NodeExit::Ok.into();
            }
            let line = usage_line(&error.to_string());
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            return ended(defaults, Err(NodeError::Usage(format!("{line}; see --help"))));
        }
    };
    if let Some(folder) = args.manual {
        let written = ManualArgs { folder }.write(command(defaults));
        return ended(defaults, written.map_err(NodeError::Manual));
    }
    let is_elsewhere = args.upstream.upstream.is_some();
    let fixed =
        if is_elsewhere { Ok(None) } else { threads::fix(args.threads, args.model.is_none()) };
    let result = match fixed {
        Ok(Some(code)) => return code,
        Ok(None) => whole(defaults, args),
        Err(why) => Err(NodeError::Internal(format!("cannot start with --threads: {why}"))),
    };
    ended(defaults, result)
}

/// Prints why the node failed, if it did, and returns its exit code.
fn ended(defaults: &Defaults, result: Result<(), NodeError>) -> ExitCode {
    match result {
        Ok(()) => NodeExit::Ok.into(),
        Err(error) => {
            let line = one_line(&error.to_string());
            let _ = writeln!(std::io::stderr(), "{}: {line}", defaults.program);
            error.exit().into()
        }
    }
}

impl From<NodeExit> for ExitCode {
    fn from(exit: NodeExit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

fn whole(defaults: &Defaults, args: NodeArgs) -> Result<(), NodeError> {
    let exporter = TraceExporter::start(defaults.program, args.otlp.as_deref())
        .map_err(|error| NodeError::Usage(error.to_string()))?;
    let spans = exporter.as_ref().and_then(TraceExporter::layer);
    flags::start_logging(args.verbose, args.log_format, LOG_LEVELS, spans)
        .map_err(|error| NodeError::Usage(error.to_string()))?;
    flags::raise_open_files();
    let config = NodeConfig::new(defaults, args, |name| std::env::var_os(name))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The network needs little; the cores are for the model.
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|why| NodeError::Internal(format!("cannot start: {why}")))?;
    let result = runtime.block_on(until_signals(config, &Console::stdio()));
    runtime.shutdown_timeout(LAST_STEP);
    result
}

/// Runs until the first signal, drains, and stops at once at the second.
async fn until_signals(config: NodeConfig, console: &Console) -> Result<(), NodeError> {
    let drain = config.server.drain;
    let reload_now = Arc::clone(&config.server.reload_now);
    let deaf = |why| NodeError::Internal(format!("cannot listen for signals: {why}"));
    let mut signals = Signals::new().map_err(deaf)?;
    let mut hangups = Hangups::new().map_err(deaf)?;
    let node = select! {
        node = ReadyNode::start(config, console) => node?,
        () = signals.next() => {
            console.note("stopped while loading");
            return Ok(());
        }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = node.serve(async {
        let _ = stopped.await;
    });
    pin!(serving);
    loop {
        select! {
            result = &mut serving => return result,
            () = hangups.next() => reload_now.notify_one(),
            () = signals.next() => break,
        }
    }
    console.note(&format!(
        "stopping: no new sessions, running ones have {}; another signal stops at once",
        humantime::format_duration(drain)
    ));
    let _ = stop.send(());
    select! {
        result = &mut serving => result,
        () = signals.next() => {
            // Do not return: that would wait for the model's current step.
            console.note(&NodeError::Forced.to_string());
            std::process::exit(NodeExit::Forced as i32)
        }
    }
}
