//! `specthink-lab report`: from folders to a folder.

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
            let message = "several folders have one report: give --out DIR, where it shall go";
            return Err(CliError::new(Exit::Usage, message));
        }
    };
    let prices = args.prices.read()?;
    let page = made(&args.folder, &prices, &out).map_err(cli_error)?;
    print(&format!("{}\n", page.display()))
}

/// Writes the report at the end of a sweep and says where it is.
///
/// # Errors
/// When it cannot be made or written.
pub(crate) fn after(out: &Path) -> Result<(), CliError> {
    let page = made(&[out.to_owned()], &Prices::example()?, &beside(out)).map_err(|why| {
        let again = format!("`specthink-lab report {}` makes it", out.display());
        CliError::new(
            why.exit(),
            format!("the report is missing: {why}; the answers are there, and {again}"),
        )
    })?;
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "report: {}", one_line(&page.display().to_string()));
    Ok(())
}

/// Makes the report of these sweeps, and says where its page is.
fn made(sweeps: &[PathBuf], prices: &Prices, out: &Path) -> Result<PathBuf, ReportError> {
    let results = Results::read(sweeps)?;
    Report::new(&results, prices)?.write(out)
}

fn beside(sweep: &Path) -> PathBuf {
    sweep.join(REPORT)
}
