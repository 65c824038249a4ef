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

use crate::{args::ReportArgs, exit::cli_error, print};

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

/// Writes the report at the end of a sweep and prints where it is. A failure is printed, not returned: the sweep itself
/// succeeded.
pub(crate) fn after(out: &Path) {
    let made = || -> Result<PathBuf, CliError> {
        made(&[out.to_owned()], &Prices::example()?, &beside(out)).map_err(cli_error)
    };
    let line = match made() {
        Ok(page) => format!("report: {}", page.display()),
        Err(why) => format!("there is no report: {why}"),
    };
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Makes the report of these sweeps, and says where its page is.
fn made(sweeps: &[PathBuf], prices: &Prices, out: &Path) -> Result<PathBuf, ReportError> {
    let results = Results::read(sweeps)?;
    Report::new(&results, prices)?.write(out)
}

fn beside(sweep: &Path) -> PathBuf {
    sweep.join(REPORT)
}
