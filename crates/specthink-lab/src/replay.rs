//! `specthink-lab replay`: prints a table of what the answers in journals would have cost over other links.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use cli::{CliError, Exit};
use grading::quantile::quantile;
use lab::replay::{Conditions, Recording, Replayed, replay};

use crate::{
    args::ReplayArgs,
    catalogue,
    exit::cli_error,
    journals::{recorded, tell},
    print, profiles,
};

const HEADER: &str = "\
| link | answers | latency median | p95 | hand-over median | p95 | network share | up | down | diverged |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, CliError> {
    let links = profiles(&catalogue(&args.links)?, &args.link)?;
    let (speeds, machines) = args.speeds.read()?;
    let recorded = recorded(&args.journals)?;
    let recordings = recorded.into_iter().map(|one| one.recording.at(&speeds));
    let (recordings, left_out): (Vec<_>, Vec<_>) = recordings.partition(Result::is_ok);
    let left_out: Vec<String> =
        left_out.into_iter().filter_map(|one| Some(one.err()?.to_string())).collect();
    let recordings: Vec<Recording> = recordings.into_iter().flatten().collect();
    if let Some(first) = left_out.first().filter(|_| recordings.is_empty()) {
        return Err(CliError::new(Exit::Journal, format!("no answer can be used: {first}")));
    }
    tell(&left_out);
    let mut rows = args.rows.as_deref().map(create).transpose()?;
    let mut table = machines.map_or_else(String::new, |machines| {
        format!("Re-timed with {machines}; docs/machines.md says how.\n\n")
    });
    table.push_str(HEADER);
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
    let remedy = "give --rows a file in a folder that can be written";
    CliError::new(Exit::Journal, format!("cannot write {}: {why}; {remedy}", path.display()))
}

fn row(link: &str, replayed: &[Replayed]) -> String {
    let sorted = |mut values: Vec<u64>| {
        values.sort_unstable();
        values
    };
    // The end of a diverged answer is unknown.
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
