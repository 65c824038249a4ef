//! The command `specthink`: arguments, one validated configuration, the commands, exit codes.

mod args;
mod ask;
mod builtin;
mod config;
mod eval;
mod exit;
mod policy;
mod signals;
mod trace;

use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;

use self::args::{Args, Command};
pub use self::{
    builtin::{Builtin, Pair},
    exit::{Exit, Stop},
};

/// Runs the command with these arguments, the program's name first. Answers its exit code; what went
/// wrong is on standard error, in one line. `builtin` is the pair of nodes that answers when none is
/// named.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    builtin: Option<&dyn Builtin>,
) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return exit::usage(&error),
    };
    let nodes = args.command.nodes();
    let builtin = nodes.and_then(|nodes| builtin::answering(builtin, nodes));
    match builtin.map(Builtin::prepare).transpose() {
        Ok(None | Some(None)) => {}
        Ok(Some(Some(code))) => return code,
        Err(why) => return fail(&builtin::no_pair(why)),
    }
    start_logging(args.verbose);
    let done = match args.command {
        Command::Ask(ask) => config::Config::new(*ask, builtin).and_then(ask::run),
        Command::Eval(eval) => eval::run(*eval, builtin),
        Command::Trace(trace) => trace::run(&trace),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(stop) => fail(&stop),
    }
}

fn fail(stop: &Stop) -> ExitCode {
    // When standard error is gone too there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "error: {stop}");
    stop.exit.into()
}

/// The log goes to standard error and is off by default: `-v` and `RUST_LOG` turn it on.
fn start_logging(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let ours = match verbose {
        0 => "off",
        1 => "coordinator=info,transport=info",
        _ => "coordinator=debug,transport=debug",
    };
    let filter = match verbose {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours)),
        _ => EnvFilter::new(ours),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(config::takes_colour(std::io::stderr().is_terminal()));
    // A second start in one process (tests) keeps the first log.
    let _ = log.try_init();
}
