//! Journals of an earlier release, which do not record the pieces of proposals: they are replayed as before.

use std::path::Path;

use answer::journal::Journal;
use lab::replay::{RecordedOver, Recording};

use crate::over;

/// Journals, links, and that release's replay totals in microseconds.
const TOTALS_US: [(&str, &str, u64); 12] = [
    ("strict", "loopback", 4_927_481),
    ("strict", "rtt=20ms", 5_285_407),
    ("strict", "rtt=700ms", 17_554_000),
    ("strict", "4g-good", 6_366_556),
    ("instruct", "loopback", 5_145_553),
    ("instruct", "rtt=20ms", 5_365_553),
    ("instruct", "rtt=700ms", 12_845_553),
    ("instruct", "4g-good", 6_028_608),
    ("paper", "loopback", 6_533_125),
    ("paper", "rtt=20ms", 6_593_125),
    ("paper", "rtt=700ms", 8_633_125),
    ("paper", "4g-good", 6_779_075),
];

#[test]
fn an_older_journal_is_replayed_as_it_was() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/journal-0.1.0");
    for (name, link, total_us) in TOTALS_US {
        let journal = Journal::open(&fixtures.join(format!("{name}.jsonl"))).unwrap();
        let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
        let replayed = over(&recording, link);
        assert_eq!(replayed.diverged, None, "{name} over {link}");
        // Pieces now end at character boundaries, which moves a little text.
        let apart_us = replayed.time.total_us.abs_diff(total_us);
        assert!(apart_us <= total_us / 1000, "{name} over {link}: {}", replayed.time.total_us);
    }
}
