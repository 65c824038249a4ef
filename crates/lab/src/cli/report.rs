//! `specthink-lab report`: from folders to a folder.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use answer::prices::Prices;
use coordinator::cli::{Exit, Stop};

use super::{args::ReportArgs, print};
use crate::{
    report::{Report, ReportError},
    results::Results,
    sweep::REPORT,
};

impl From<ReportError> for Stop {
    fn from(error: ReportError) -> Self {
        let exit = match error {
            ReportError::Draw(_) => Exit::Internal,
            ReportError::Sweep(_) | ReportError::Write { .. } => Exit::Journal,
        };
        Stop::new(exit, error)
    }
}

pub(super) fn run(args: &ReportArgs) -> Result<Exit, Stop> {
    let out = match (&args.out, args.folder.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [folder]) => beside(folder),
        (None, _) => {
            let message = "several folders have one report: give --out DIR, where it shall go";
            return Err(Stop::new(Exit::Usage, message));
        }
    };
    let prices = args.prices.read()?;
    let results = Results::read(&args.folder)?;
    let page = Report::new(&results, &prices)?.write(&out)?;
    print(&format!("{}\n", page.display()))
}

/// Makes the report at the end of a sweep and says where it is. A report that cannot be made is told and no more: the
/// results are what counts.
pub(super) fn after(out: &Path) {
    let made = || -> Result<PathBuf, Stop> {
        let results = Results::read(&[out.to_owned()])?;
        Ok(Report::new(&results, &Prices::example()?)?.write(&beside(out))?)
    };
    let line = match made() {
        Ok(page) => format!("report: {}", page.display()),
        Err(why) => format!("there is no report: {why}"),
    };
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

fn beside(sweep: &Path) -> PathBuf {
    sweep.join(REPORT)
}
