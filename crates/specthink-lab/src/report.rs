//! `specthink-lab report`: writes the report of the given sweep folders.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use answer::prices::Prices;
use cli::{CliError, Exit};
use lab::{
    report::{Report, ReportError},
    results::Results,
    sweep::REPORT,
};
use thinking::shown::one_line;

use crate::{
    args::ReportArgs,
    exit::{Ends as _, cli_error},
    print,
};

pub(crate) fn run(args: &ReportArgs) -> Result<Exit, CliError> {
    let out = match (&args.out, args.folder.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [folder]) => beside(folder),
        (None, _) => {
            let message = "several folders make one report: give its folder with --out DIR";
            return Err(CliError::new(Exit::Usage, message));
        }
    };
    let prices = args.prices.read()?;
    let page = made(&args.folder, &prices, &out).map_err(cli_error)?;
    print(&format!("{}\n", page.display()))
}

/// Writes the report at the end of a sweep and prints its path.
///
/// # Errors
/// When it cannot be made or written.
pub(crate) fn after(out: &Path) -> Result<(), CliError> {
    let page = made(&[out.to_owned()], &Prices::example()?, &beside(out)).map_err(|why| {
        let again = format!("`specthink-lab report {}` writes it", out.display());
        CliError::new(
            why.exit(),
            format!("the report is missing: {why}; the answers are saved, and {again}"),
        )
    })?;
    // If standard error is closed, there is nobody to tell.
    let _ = writeln!(io::stderr(), "report: {}", one_line(&page.display().to_string()));
    Ok(())
}

/// Writes the report of these sweeps and returns the path of its page.
fn made(sweeps: &[PathBuf], prices: &Prices, out: &Path) -> Result<PathBuf, ReportError> {
    let results = Results::read(sweeps)?;
    Report::new(&results, prices)?.write(out)
}

fn beside(sweep: &Path) -> PathBuf {
    sweep.join(REPORT)
}
