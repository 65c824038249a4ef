//! The command `specthink-lab`: its arguments and output. The crate [`lab`] does the work; exit codes are those of
//! `specthink`.

mod args;
mod exit;
mod journals;
mod pairs;
mod plan;
mod replay;
mod report;
mod simulate;
mod size;
mod sweep;
mod tune;

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::CommandFactory as _;
use cli::{CliError, Exit, fail, start_logging, until_enough, usage, written};
use lab::{
    calibrate::{self, Effort},
    link::{LinkError, LinkProfile, Links},
};
use machines::Speeds;
use pair::Builtin;
use thinking::shown::visible;

use self::{
    args::{Args, CalibrateArgs, Command, LinksArgs, MachinesArgs},
    exit::cli_error,
};

/// Runs the command with these arguments, the program's name first, and returns its exit code. An error is printed to
/// standard error in one line. `builtin` is the pair of nodes that answers when none is named.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    builtin: Option<&dyn Builtin>,
) -> ExitCode {
    let args = match Args::read(arguments.into_iter().collect()) {
        Ok(args) => args,
        Err(args::Refused::Clap(error)) => return usage(&error),
        Err(args::Refused::File(error)) => return fail(&error),
    };
    let done =
        start_logging(args.verbose, args.log_format, None).and_then(|()| match args.command {
            Command::Links(links) => show_links(&links),
            Command::Machines(machines) => show_machines(&machines),
            Command::Calibrate(args) => measure(&args),
            Command::Sweep(sweep) => sweep::run(&sweep, builtin),
            Command::Replay(args) => replay::run(&args),
            Command::Plan(args) => plan::run(&args),
            Command::Size(args) => size::run(&args),
            Command::Tune(args) => tune::run(&args, builtin),
            Command::Report(args) => report::run(&args),
            Command::Simulate(args) => simulate::run(&args),
            Command::Manual(manual) => {
                let written = manual.write(Args::command());
                written.map(|()| Exit::Ok).map_err(|why| CliError::new(Exit::Internal, why))
            }
        });
    match done {
        Ok(exit) => exit.into(),
        Err(error) => fail(&error),
    }
}

/// Returns the built-in links and those of the file.
fn catalogue(args: &LinksArgs) -> Result<Links, CliError> {
    let read = || -> Result<Links, LinkError> {
        let shipped = Links::shipped()?;
        match &args.links_file {
            Some(path) => Ok(shipped.and(Links::read(path)?)),
            None => Ok(shipped),
        }
    };
    read().map_err(cli_error)
}

/// The argument that means all named links.
const ALL: &str = "all";

/// Returns links by name or description. Returns all named links if none is given, and for `all`.
fn profiles(links: &Links, asked: &[String]) -> Result<Vec<LinkProfile>, CliError> {
    if asked.is_empty() {
        return Ok(links.iter().cloned().collect());
    }
    let mut profiles = Vec::new();
    for text in asked {
        match text.as_str() {
            ALL => profiles.extend(links.iter().cloned()),
            text => {
                let link = links.link(text);
                profiles.push(link.map_err(cli_error)?);
            }
        }
    }
    Ok(profiles)
}

fn print(text: &str) -> Result<Exit, CliError> {
    let mut out = io::stdout().lock();
    // Names of links, policies and questions come from third-party files.
    let text = if out.is_terminal() { visible(text) } else { Cow::Borrowed(text) };
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush())).map(|()| Exit::Ok)
}

fn show_links(args: &LinksArgs) -> Result<Exit, CliError> {
    let links = catalogue(args)?;
    let width = links.iter().map(|link| link.name.len()).max().unwrap_or(0);
    let line = |link: &LinkProfile| format!("{:width$}  {link}\n", link.name);
    print(&links.iter().map(line).collect::<String>())
}

fn show_machines(args: &MachinesArgs) -> Result<Exit, CliError> {
    let machines = args.catalogue()?;
    let mut text = "Tokens a second, of all sessions together:\n\n\
                    | speeds | how they are known | decode of 1 | of 8 | of 32 | prefill |\n\
                    | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for Speeds { name, curve, kind, .. } in machines.all() {
        let [one, eight, many] = [1, 8, 32].map(|n| f64::from(n) / curve.step_s(n));
        let prefill = curve.prefill_tokens_per_s();
        text.push_str(&format!(
            "| {name} | {kind} | {one:.1} | {eight:.0} | {many:.0} | {prefill:.0} |\n"
        ));
    }
    text.push_str("\nSources (docs/machines.md has the formula of the estimates):\n\n");
    for (name, basis) in machines.sources() {
        text.push_str(&format!("- {name}: {basis}\n"));
    }
    print(&text)
}

fn measure(args: &CalibrateArgs) -> Result<Exit, CliError> {
    let profiles = profiles(&catalogue(&args.links)?, &args.link)?;
    let effort = Effort::with_pings_for(args.time);
    let measured = until_enough(async |enough| {
        let mut measured = Vec::new();
        for profile in &profiles {
            let one = tokio::select! {
                one = calibrate::calibrate(args.shaping.chosen(), profile, 1, effort) => one,
                () = enough.notified() => return Err(CliError::new(Exit::Cancelled, "stopped")),
            };
            measured.push(one.map_err(cli_error)?);
        }
        Ok(measured)
    })?;
    print(&calibrate::table(&measured))
}
