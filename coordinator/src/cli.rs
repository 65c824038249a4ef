//! The command `specthink`: arguments, one validated configuration, the commands, exit codes.

mod args;
mod ask;
mod bar;
mod builtin;
mod config;
mod endpoint;
mod eval;
mod exit;
mod policy;
mod signals;
mod trace;
mod trial;

use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;

use self::args::{Args, Command};
// What commands over the same nodes are made of: these here, and the lab's.
pub use self::{
    args::{
        GraderKind, NamedNode, NamedNodes, NodesArgs, PolicyArgs, RunArgs, SecurityArgs, SeedArgs,
        WritingArgs,
    },
    bar::Bar,
    builtin::{Builtin, Pair, prepare},
    config::{Origin, Places, connect, remote},
    exit::{Exit, Stop, usage},
    signals::until_enough,
    trial::{DataFile, Trial, grader},
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
    match builtin::prepare(builtin, args.command.nodes()) {
        Ok(None) => {}
        Ok(Some(code)) => return code,
        Err(stop) => return fail(&stop),
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

/// Says how a command failed, and ends it.
pub fn fail(stop: &Stop) -> ExitCode {
    // When standard error is gone too there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "error: {stop}");
    stop.exit.into()
}

/// The log goes to standard error and is off by default: `-v` turns it on, or a filter in
/// `SPECTHINK_LOG`, or in `RUST_LOG` where that is unset.
pub fn start_logging(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let ours = match verbose {
        0 => "off",
        1 => "coordinator=info,transport=info",
        _ => "coordinator=debug,transport=debug",
    };
    let named = || std::env::var("SPECTHINK_LOG").or_else(|_| std::env::var("RUST_LOG")).ok();
    let filter = match verbose {
        0 => named().and_then(|filter| EnvFilter::try_new(filter).ok()),
        _ => None,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(ours)))
        .with_writer(std::io::stderr)
        .with_ansi(flags::takes_colour(std::io::stderr().is_terminal()));
    // A second start in one process (tests) keeps the first log.
    let _ = log.try_init();
}
