//! A node as a process: arguments, logs, signals, exit code. What it does is in `node`.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use flags::Signals;
use tokio::{pin, select, sync::oneshot};
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Defaults, NodeArgs},
    config::NodeConfig,
    error::{NodeError, NodeExit},
    progress::Console,
    serve::ReadyNode,
    threads,
};

/// After the end: how long a step of computing that is still under way may take to notice.
const LAST_STEP: Duration = Duration::from_secs(1);

/// The whole of a node's `main`.
pub fn main_with(defaults: &Defaults) -> ExitCode {
    let args = match NodeArgs::parse_with(defaults, std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // Nothing can be done about a standard error that is gone.
            let _ = error.print();
            return if error.use_stderr() { NodeExit::Usage.into() } else { NodeExit::Ok.into() };
        }
    };
    let is_elsewhere = args.upstream.upstream.is_some();
    let fixed =
        if is_elsewhere { Ok(None) } else { threads::fix(args.threads, args.model.is_none()) };
    let result = match fixed {
        Ok(Some(code)) => return code,
        Ok(None) => whole(defaults, args),
        Err(why) => Err(NodeError::Internal(format!("cannot start with --threads: {why}"))),
    };
    match result {
        Ok(()) => NodeExit::Ok.into(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}: {error}", defaults.program);
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
    log(args.verbose)?;
    let config = NodeConfig::new(defaults, args, |name| std::env::var_os(name))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The network needs little; the cores are the model's.
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
    let mut signals = Signals::new()
        .map_err(|why| NodeError::Internal(format!("cannot listen to signals: {why}")))?;
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
    select! {
        result = &mut serving => return result,
        () = signals.next() => {}
    }
    console.note(&format!(
        "stopping: no new sessions, running ones have {}; another signal stops at once",
        humantime::format_duration(drain)
    ));
    let _ = stop.send(());
    select! {
        result = &mut serving => result,
        () = signals.next() => {
            // Not by returning: that would wait for the step that the model is computing.
            console.note(&NodeError::Forced.to_string());
            std::process::exit(NodeExit::Forced as i32)
        }
    }
}

fn log(verbose: u8) -> Result<(), NodeError> {
    let filter = log_filter(verbose, |name| std::env::var(name).ok())?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(flags::takes_colour(std::io::stderr().is_terminal()))
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// What is logged: the filter in `SPECTHINK_LOG`, or in `RUST_LOG` where that is unset, or as `-v` says.
fn log_filter(verbose: u8, var: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, NodeError> {
    for name in ["SPECTHINK_LOG", "RUST_LOG"] {
        if let Some(filter) = var(name) {
            return EnvFilter::try_new(&filter).map_err(|why| {
                NodeError::Usage(format!("{name} '{}': {why}", filter.escape_debug()))
            });
        }
    }
    Ok(EnvFilter::new(match verbose {
        0 => "warn",
        1 => "warn,engine=info,node=info,transport=info,upstream=info",
        _ => "info,engine=debug,node=debug,transport=debug,upstream=debug",
    }))
}

#[cfg(test)]
mod tests {
    use super::log_filter;

    #[test]
    fn the_log_is_what_our_variable_says_then_the_usual_one_then_the_flag() {
        for (ours, usual, verbose, filter) in [
            (Some("transport=debug"), Some("trace"), 2, "transport=debug"),
            (None, Some("node=trace"), 2, "node=trace"),
            (None, None, 0, "warn"),
        ] {
            let var = |name: &str| match name {
                "SPECTHINK_LOG" => ours.map(str::to_owned),
                "RUST_LOG" => usual.map(str::to_owned),
                _ => None,
            };
            assert_eq!(log_filter(verbose, var).unwrap().to_string(), filter);
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_its_variable() {
        for name in ["SPECTHINK_LOG", "RUST_LOG"] {
            let var = |asked: &str| (asked == name).then(|| "a=b=c".to_owned());
            let refused = log_filter(0, var).unwrap_err().to_string();
            assert!(refused.contains(&format!("{name} 'a=b=c'")), "{refused}");
        }
    }
}
