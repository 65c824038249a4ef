//! The command `specthink` and its subcommands: one question, a data set, a server, a journal shown again,
//! certificates, and checks of nodes and servers.
//!
//! What it shares with `specthink-lab` is in the crate [`cli`]. What answers questions is in the crate `answer`.

mod args;
mod ask;
mod certs;
mod config;
mod doctor;
mod eval;
mod probe;
mod render;
mod serve_args;
mod serve_config;
mod serving;
mod trace;

use std::{ffi::OsString, process::ExitCode};

use clap::CommandFactory as _;
use cli::{CliError, Exit, fail, start_logging, usage};
use pair::Builtin;
use traces::TraceExporter;

use self::{args::Command, serve_config::ArgsError};

/// Runs the command with these arguments, starting with the program's name, and returns its exit code. An error is one
/// line on standard error. `builtin` is the pair of nodes that answers when no node is named.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    builtin: Option<&dyn Builtin>,
) -> ExitCode {
    let args = match serve_config::parse(arguments.into_iter().collect()) {
        Ok(args) => args,
        Err(ArgsError::Usage(error)) => return usage(&error),
        Err(ArgsError::File(mistakes)) => return serving::tell(&mistakes),
    };
    let exporter = match TraceExporter::start("specthink", args.otlp.as_deref()) {
        Ok(exporter) => exporter,
        Err(error) => return fail(&CliError::new(Exit::Usage, error)),
    };
    let logging = start_logging(args.verbose, args.log_format, exporter.as_ref());
    let done = logging.and_then(|()| match args.command {
        Command::Ask(ask) => config::Config::new(*ask, builtin).and_then(ask::run),
        Command::Eval(eval) => eval::run(*eval, builtin),
        Command::Serve(serve) if serve.check.is_some() => serving::check(&serve, builtin),
        Command::Serve(serve) => serving::run(*serve, builtin),
        Command::Trace(trace) => trace::run(&trace),
        Command::Certs(certs) => certs::run(&certs),
        Command::Doctor(doctor) => doctor::run(*doctor, builtin),
        Command::Probe(probe) => probe::run(&probe),
        Command::Manual(manual) => {
            let written = manual.write(args::Args::command());
            written.map(|()| Exit::Ok).map_err(|why| CliError::new(Exit::Internal, why))
        }
    });
    match done {
        Ok(exit) => exit.into(),
        Err(error) => fail(&error),
    }
}
