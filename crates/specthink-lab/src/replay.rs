//! `specthink-lab replay`: journals to a table of what their answers would have cost over other links.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use answer::journal::Journal;
use cli::{CliError, Exit};
use grading::quantile::quantile;
use lab::{
    link::LinkProfile,
    replay::{Conditions, RecordedOver, Recording, Replayed, replay},
    sweep::link_of,
};
use thinking::shown::one_line;

use crate::{args::ReplayArgs, catalogue, exit::cli_error, print, profiles};

const HEADER: &str = "\
| link | answers | latency median | p95 | hand-over median | p95 | network share | up | down | diverged |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";
/// How many skipped journals are printed with their reasons; the others are counted.
const SHOWN: usize = 10;

pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, CliError> {
    let links = profiles(&catalogue(&args.links)?, &args.link)?;
    let (recordings, left_out) = recordings(args)?;
    tell(&left_out);
    if recordings.is_empty() {
        let message = "there is no journal that can be replayed; give files that `ask --journal` wrote, or a cell \
                       of a sweep over loopback, such as sweep/strict/loopback";
        return Err(CliError::new(Exit::Journal, message));
    }
    let mut rows = args.rows.as_deref().map(create).transpose()?;
    let mut table = HEADER.to_owned();
    for link in &links {
        let conditions = Conditions::over(link.clone(), args.seed);
        let replayed = recordings.iter().map(|recording| replay(recording, &conditions));
        let replayed: Vec<Replayed> = replayed.collect::<Result<_, _>>().map_err(cli_error)?;
        if let Some((path, file)) = &mut rows {
            let written = replayed.iter().try_for_each(|replayed| {
                serde_json::to_writer(&mut *file, replayed).map_err(io::Error::other)?;
                file.write_all(b"\n")
            });
            written.map_err(|why| cannot_write(path, &why))?;
        }
        table.push_str(&row(&link.name, &replayed));
    }
    if let Some((path, mut file)) = rows {
        file.flush().map_err(|why| cannot_write(path, &why))?;
    }
    print(&table)
}

fn create(path: &Path) -> Result<(&Path, io::BufWriter<fs::File>), CliError> {
    let file = fs::File::create(path).map_err(|why| cannot_write(path, &why))?;
    Ok((path, io::BufWriter::new(file)))
}

fn cannot_write(path: &Path, why: &io::Error) -> CliError {
    let mend = "give --rows a file in a folder that can be written";
    CliError::new(Exit::Journal, format!("cannot write {}: {why}; {mend}", path.display()))
}

/// What can be replayed of the paths, and why the rest cannot.
fn recordings(args: &ReplayArgs) -> Result<(Vec<Recording>, Vec<String>), CliError> {
    let over = if args.recorded_over_link { RecordedOver::Link } else { RecordedOver::Loopback };
    let mut files = Vec::new();
    for path in &args.journal {
        let found = journals(path, &mut files);
        found.map_err(|why| {
            let mend = "give journals, or folders with journals";
            CliError::new(Exit::Journal, format!("cannot read {}: {why}; {mend}", path.display()))
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

/// What can be replayed of a journal. `links` keeps what is known of the folders of journals.
fn recording(
    file: &Path,
    over: RecordedOver,
    links: &mut HashMap<PathBuf, Option<LinkProfile>>,
) -> Result<Recording, String> {
    let journal = Journal::open(file).map_err(|error| error.to_string())?;
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let link = links.entry(folder.to_owned()).or_insert_with(|| link_of(folder)).clone();
    // Without the large node nothing crossed the link.
    let link = link.filter(|link| journal.header.large.is_some() && !link.is_unlimited());
    if let Some(link) = link.filter(|_| over == RecordedOver::Loopback) {
        return Err(format!(
            "{}: it was recorded over {}, whose part would be taken for the nodes'; give --recorded-over-link, \
             or journals over loopback",
            file.display(),
            link.name
        ));
    }
    Recording::new(&journal, over).map_err(|error| format!("{}: {error}", file.display()))
}

/// The file, or the journals in the folder and below, in the order of their names. Other files in a folder are none of
/// our business; a file that is named is taken for a journal.
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

fn tell(left_out: &[String]) {
    let mut text = String::new();
    for why in left_out.iter().take(SHOWN) {
        let _ = writeln!(text, "left out: {}", one_line(why));
    }
    if let Some(more) = left_out.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "left out: {more} more journals");
    }
    // Nobody to tell is no reason to stop.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn row(link: &str, replayed: &[Replayed]) -> String {
    let sorted = |mut values: Vec<u64>| {
        values.sort_unstable();
        values
    };
    // Of one that diverged the end is not known.
    let whole: Vec<&Replayed> =
        replayed.iter().filter(|answer| answer.diverged.is_none()).collect();
    let walls = sorted(whole.iter().map(|answer| answer.time.total_us).collect());
    let takeovers = whole.iter().flat_map(|answer| &answer.takeovers);
    let handoffs = sorted(takeovers.filter_map(|takeover| takeover.handoff_us).collect());
    let network: u64 = whole.iter().map(|answer| answer.time.network_us()).sum();
    let all: u64 = walls.iter().sum();
    let each = whole.len().max(1) as u64;
    let bytes = |sent: bool| {
        let traffic = whole.iter().map(|answer| answer.large_traffic);
        let bytes = traffic.map(|t| if sent { t.sent_bytes } else { t.received_bytes });
        bytes.sum::<u64>() / each
    };
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
    let cell = |sorted: &[u64], share| quantile(sorted, share).map_or_else(|| "-".to_owned(), ms);
    format!(
        "| {link} | {} | {} | {} | {} | {} | {:.1} % | {} B | {} B | {} |\n",
        replayed.len(),
        cell(&walls, 0.5),
        cell(&walls, 0.95),
        cell(&handoffs, 0.5),
        cell(&handoffs, 0.95),
        100.0 * network as f64 / all.max(1) as f64,
        bytes(true),
        bytes(false),
        replayed.len() - whole.len(),
    )
}

#[cfg(test)]
mod tests {
    use lab::replay::{Divergence, Race};

    use super::*;

    #[test]
    fn what_diverged_is_counted_and_in_no_other_figure() {
        let took = |total_us: u64, diverged: Option<Divergence>| {
            let mut answer: Replayed = serde_json::from_value(serde_json::json!({
                "question": "q", "link": "geo", "seed": 0, "handling_us": 0, "takeovers": [],
                "time": answer::account::TimeSplit::default(),
                "small_traffic": { "sent_bytes": 0, "received_bytes": 0 },
                "large_traffic": { "sent_bytes": 10, "received_bytes": 20 },
            }))
            .unwrap();
            (answer.time.total_us, answer.diverged) = (total_us, diverged);
            answer
        };
        let diverged = Divergence { why: Race::Deadline, at_us: 900 };
        let line = row("geo", &[took(2_000, None), took(900, Some(diverged)), took(4_000, None)]);
        let expected = "| geo | 3 | 2.0 ms | 4.0 ms | - | - | 0.0 % | 10 B | 20 B | 1 |\n";
        assert_eq!(line, expected);
    }
}
