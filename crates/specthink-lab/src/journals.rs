//! Recorded answers from the given journals, and why some are left out.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use answer::{Progress, Summary, journal::Journal};
use cli::{CliError, Exit};
use lab::{
    link::LinkProfile,
    replay::{RecordedOver, Recording},
    sweep::link_of,
};
use thinking::shown::one_line;

use crate::args::JournalsArgs;

/// How many skipped journals are printed with their reasons; the rest are counted.
const SHOWN: usize = 10;

/// A recorded answer.
pub(crate) struct Recorded {
    pub(crate) recording: Recording,
    /// Its summary, with what it cost.
    pub(crate) summary: Box<Summary>,
}

/// Returns the journals that can be replayed. Prints why the others cannot.
///
/// # Errors
/// When they cannot be read, or none can be replayed.
pub(crate) fn recorded(args: &JournalsArgs) -> Result<Vec<Recorded>, CliError> {
    let (recorded, left_out) = recordings(args)?;
    tell(&left_out);
    if recorded.is_empty() {
        let message = "there is no journal that can be replayed; give files that `ask --journal` wrote, or a cell \
                       of a sweep over loopback, such as sweep/strict/loopback";
        return Err(CliError::new(Exit::Journal, message));
    }
    Ok(recorded)
}

/// Returns the recordings under the paths, and why the other journals cannot be replayed.
fn recordings(args: &JournalsArgs) -> Result<(Vec<Recorded>, Vec<String>), CliError> {
    let over = if args.recorded_over_link { RecordedOver::Link } else { RecordedOver::Loopback };
    let mut files = Vec::new();
    for path in &args.journal {
        let found = journals(path, &mut files);
        found.map_err(|why| {
            let remedy = "give journals, or folders with journals";
            CliError::new(Exit::Journal, format!("cannot read {}: {why}; {remedy}", path.display()))
        })?;
    }
    let (mut recordings, mut left_out, mut links) = (Vec::new(), Vec::new(), HashMap::new());
    for file in files {
        match recording(&file, over, &mut links) {
            Ok(recording) => recordings.push(recording),
            Err(why) => left_out.push(why),
        }
    }
    Ok((recordings, left_out))
}

/// Reads a journal for replay. `links` caches the link of each folder of journals.
fn recording(
    file: &Path,
    over: RecordedOver,
    links: &mut HashMap<PathBuf, Option<LinkProfile>>,
) -> Result<Recorded, String> {
    let journal = Journal::open(file).map_err(|error| error.to_string())?;
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let link = links.entry(folder.to_owned()).or_insert_with(|| link_of(folder)).clone();
    // Without a large node nothing crossed the link.
    let link = link.filter(|link| journal.header.large.is_some() && !link.is_unlimited());
    if let Some(link) = link.filter(|_| over == RecordedOver::Loopback) {
        return Err(format!(
            "{}: it was recorded over {}, and the link's time would be attributed to the nodes; give \
             --recorded-over-link, or journals over loopback",
            file.display(),
            link.name
        ));
    }
    let recording = Recording::new(&journal, over);
    let recording = recording.map_err(|error| format!("{}: {error}", file.display()))?;
    let end = journal.events.into_iter().next_back().map(|last| last.progress);
    let Some(Progress::Ended(summary)) = end else {
        return Err(format!("{}: the journal has no end", file.display()));
    };
    Ok(Recorded { recording, summary })
}

/// Collects the file, or the journals in the folder and below, sorted by name. Other files in a folder are ignored. A
/// file that is named directly is assumed to be a journal.
fn journals(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return fs::metadata(path).map(|_| ());
    }
    let mut entries = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() || is_journal(&entry)? {
            journals(&entry, files)?;
        }
    }
    Ok(())
}

fn is_journal(path: &Path) -> io::Result<bool> {
    const BEGIN: &[u8] = b"{\"specthink_journal\"";
    let mut begin = Vec::new();
    fs::File::open(path)?.take(BEGIN.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == BEGIN)
}

/// Prints why journals are left out.
pub(crate) fn tell(left_out: &[String]) {
    let mut text = String::new();
    for why in left_out.iter().take(SHOWN) {
        let _ = writeln!(text, "left out: {}", one_line(why));
    }
    if let Some(more) = left_out.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "left out: {more} more journals");
    }
    // A closed standard error is no reason to stop.
    let _ = io::stderr().write_all(text.as_bytes());
}
