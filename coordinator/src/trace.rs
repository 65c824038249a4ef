//! `specthink trace`: shows a journal again, with the renderer that showed the live answer.

use std::io::{self, Write};

use answer::{
    journal::Journal,
    progress::{Observer, Progress},
};
use cli::{CliError, Exit, written};

use crate::{
    args::TraceArgs,
    config::look,
    render::{Renderer, write_summary},
};

pub(crate) fn run(args: &TraceArgs) -> Result<Exit, CliError> {
    let journal = Journal::open(&args.file).map_err(|error| CliError::new(Exit::Journal, error))?;
    let mut renderer = Renderer::new(io::stdout(), look(args.look.color));
    for stamped in &journal.events {
        renderer.see(stamped);
    }
    written(renderer.finish())?;
    // Standard error may be closed; the text is complete all the same.
    let _ = tell_the_end(&journal);
    Ok(Exit::Ok)
}

fn tell_the_end(journal: &Journal) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let ended = journal.events.iter().rev().find_map(|stamped| match &stamped.progress {
        Progress::Ended(summary) => Some(summary),
        _ => None,
    });
    match ended {
        Some(summary) => write_summary(&mut out, summary, None)?,
        None => writeln!(out, "--\nthe journal ends before the answer: the run was interrupted")?,
    }
    if journal.truncated {
        writeln!(out, "the journal's last line is incomplete and is left out")?;
    }
    Ok(())
}
