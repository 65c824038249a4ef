//! The journal: what is written can be read again, even if the writing was interrupted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{self, Cursor, Write};

use answer::{
    Observer, Progress, Question, Settings, Stamped, Summary, Writer,
    account::ModelTotals,
    journal::{Header, Journal, JournalError, JournalOutline, JournalReader, JournalWriter},
    progress::{Correction, DeltaLog, LoggedDelta, NodeFinished, Rejoined, Text},
};
use thinking::{
    beginning::AnswerBeginning,
    policy::{PolicySpec, Role, Why},
    stops::StopTexts,
    thinker::{Code, Failure, Prompt, Sampling, Timing},
};

fn header() -> Header {
    let question = Question {
        id: "q".to_owned(),
        prompt: Prompt::Raw("2+2=".to_owned()),
        sampling: Sampling::default(),
        seed: u64::MAX,
        max_tokens: 10,
        beginning: AnswerBeginning::default(),
        stop: StopTexts::default(),
        deadline: None,
    };
    Header::new(
        &question,
        PolicySpec::default(),
        Settings::default(),
        vec!["http://s:1".to_owned()],
        None,
    )
}

fn text(at_us: u64, writer: Writer, text: &str) -> Stamped {
    Stamped { at_us, progress: Progress::Text(Text::new(writer, Why::Turn, text)) }
}

fn written(events: &[Stamped]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = JournalWriter::new(&mut bytes, &header()).unwrap();
    for event in events {
        writer.see(event);
    }
    writer.finish().unwrap();
    bytes
}

#[test]
fn a_writer_that_nobody_finishes_leaves_what_it_gathered() {
    let mut bytes = Vec::new();
    let mut writer = JournalWriter::new(&mut bytes, &header()).unwrap();
    writer.see(&text(1, Writer::Small, "数"));
    drop(writer);
    assert_eq!(Journal::read(&bytes[..], "j").unwrap().events, [text(1, Writer::Small, "数")]);
}

#[test]
fn a_correction_is_a_line_of_its_own_and_is_read_again() {
    let corrected = |stood: &str, text: &str| {
        let correction = Some(Correction { stood: stood.to_owned(), gap: 2.5 });
        let text = Text { correction, ..Text::new(Writer::Large, Why::Review, text) };
        Stamped { at_us: 1, progress: Progress::Text(text) }
    };
    let goes_on =
        Stamped { at_us: 1, progress: Progress::Text(Text::new(Writer::Large, Why::Review, "!")) };
    let bytes = written(&[corrected("54", "5"), corrected("", "6"), goes_on]);
    let events = Journal::read(&bytes[..], "j").unwrap().events;
    assert_eq!(events, [corrected("54", "5"), corrected("", "6!")]);
}

#[test]
fn a_journal_is_read_event_by_event_and_at_a_glance() {
    let end = |length: usize| {
        let mut summary = Summary { corrections: 7, ..Summary::default() };
        // Longer than the part of a file's end that is read at a time.
        summary.stopped_by = Some("n".repeat(length));
        Stamped { at_us: 9, progress: Progress::Ended(Box::new(summary)) }
    };
    for length in [0, 100_000, 300_000] {
        let events = [text(1, Writer::Small, "a\n"), text(2, Writer::Large, "数"), end(length)];
        let bytes = written(&events);
        let mut reader = JournalReader::new(&bytes[..], "j").unwrap();
        assert_eq!(reader.header().question.id, "q");
        let read: Vec<Stamped> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!((read.as_slice(), reader.is_truncated()), (&events[..], false));
        let outline = JournalOutline::read(Cursor::new(&bytes), "j").unwrap();
        assert_eq!(outline.header.question.id, "q");
        let corrections = |outline: JournalOutline| outline.summary.map(|it| it.corrections);
        assert_eq!(corrections(outline), Some(7), "{length}");
        // The end is missing, or incomplete.
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        for end in [first + 1, bytes.len() - 1, bytes.len() - 20] {
            let outline = JournalOutline::read(Cursor::new(&bytes[..end]), "j").unwrap();
            assert_eq!(corrections(outline), None, "{length}: {end}");
        }
        let mut reader = JournalReader::new(&bytes[..bytes.len() - 20], "j").unwrap();
        assert_eq!((reader.by_ref().count(), reader.is_truncated()), (2, true));
    }
    assert!(JournalOutline::read(Cursor::new(b"no journal\n"), "j").is_err());
}

#[test]
fn an_older_journal_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    // An empty file, such as one made by mktemp, counts as no file.
    std::fs::write(&path, "").unwrap();
    JournalWriter::create(&path, &header()).unwrap().finish().unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = JournalWriter::create(&path, &header()).map(|_| ()).unwrap_err();
    assert!(matches!(error, JournalError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("run.jsonl already exists"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn a_journal_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    for (name, make) in [
        ("new.jsonl", JournalWriter::create as fn(&_, &_) -> _),
        ("again.jsonl", JournalWriter::replace),
    ] {
        let path = folder.path().join(name);
        make(&path, &header()).unwrap().finish().unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// If the file system has no locks, another run may have opened the same empty file.
#[test]
fn what_another_run_wrote_into_an_empty_file_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    std::fs::write(&path, "").unwrap();
    let mut writer = JournalWriter::create(&path, &header()).unwrap();
    let mut other = std::fs::File::options().append(true).open(&path).unwrap();
    other.write_all(b"another run's line\n").unwrap();
    writer.see(&ended());
    writer.finish().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().nth(1), Some("another run's line"), "{text}");
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn an_empty_file_is_one_runs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    std::fs::write(&path, "").unwrap();
    let other = std::fs::File::options().append(true).open(&path).unwrap();
    other.try_lock().unwrap();
    let error = JournalWriter::create(&path, &header()).map(|_| ()).unwrap_err();
    assert!(matches!(error, JournalError::Exists { .. }), "{error}");
    drop(other);
    JournalWriter::create(&path, &header()).unwrap().finish().unwrap();
}

#[test]
fn a_journal_that_is_made_again_takes_its_place_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.jsonl");
    let events = |path| Journal::open(path).unwrap().events;
    let write = |event: &Stamped| {
        let mut writer = JournalWriter::replace(&path, &header()).unwrap();
        writer.see(event);
        writer
    };
    // A run that never calls `finish` leaves what it has, if there is nothing better.
    drop(write(&text(1, Writer::Small, "begun")));
    assert_eq!(events(&path), [text(1, Writer::Small, "begun")]);
    let writer = write(&ended());
    assert_eq!(events(&path), [text(1, Writer::Small, "begun")], "not yet");
    writer.finish().unwrap();
    assert_eq!(events(&path), [ended()]);
    drop(write(&text(1, Writer::Small, "again")));
    assert_eq!(events(&path), [ended()]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

fn ended() -> Stamped {
    Stamped { at_us: 9, progress: Progress::Ended(Box::default()) }
}

#[test]
fn what_a_journal_of_others_says_of_nodes_can_be_shown() {
    let hostile = "a\x1b]0;title\x07\nerror: \u{202e}b";
    let shown = "a\u{fffd}]0;title\u{fffd} error: \u{fffd}b";
    let summary = |text: &str| {
        let totals =
            ModelTotals { node: text.into(), model: text.into(), ..ModelTotals::default() };
        Summary {
            failure: Some(Failure::new(Code::Internal, text)),
            degraded: Some(text.into()),
            small: totals.clone(),
            large: totals,
            ..Summary::default()
        }
    };
    let ended = |text| Stamped { at_us: 9, progress: Progress::Ended(Box::new(summary(text))) };
    let journal = Journal::read(&written(&[ended(hostile)])[..], "j").unwrap();
    assert_eq!(journal.events, [ended(shown)]);
}

#[test]
fn a_journal_from_before_takeovers_could_be_given_up_is_read() {
    let text = String::from_utf8(written(&[ended()])).unwrap();
    let later = r#""abandoned":0,"passed_over":0,"#;
    assert!(text.contains(later), "{text}");
    let older = text.replace(later, "");
    assert_eq!(Journal::read(older.as_bytes(), "j").unwrap().events, [ended()]);
}

#[test]
fn a_journal_from_before_a_large_node_could_come_back_is_read() {
    let text = String::from_utf8(written(&[ended()])).unwrap();
    let after = r#","rejoin_after":{"secs":1,"nanos":0}"#;
    assert!(text.contains(r#","rejoins":0"#) && text.contains(after), "{text}");
    let older = text.replace(r#","rejoins":0"#, "").replace(after, "");
    let journal = Journal::read(older.as_bytes(), "j").unwrap();
    assert_eq!(journal.events, [ended()]);
    assert_eq!(journal.header.settings.rejoin_after, None, "as it was");
}

#[test]
fn a_large_node_that_came_back_is_read_again() {
    let rejoined =
        Rejoined { node: "large".to_owned(), away_us: 3, attempts: 2, committed_bytes: 7 };
    let events = [Stamped { at_us: 5, progress: Progress::Rejoined(rejoined) }, ended()];
    let bytes = written(&events);
    let line = r#"{"at_us":5,"event":"rejoined","node":"large","away_us":3,"attempts":2,"committed_bytes":7}"#;
    assert!(String::from_utf8_lossy(&bytes).contains(line));
    assert_eq!(Journal::read(&bytes[..], "j").unwrap().events, events);
}

#[test]
fn pieces_of_one_writer_are_gathered_into_a_line() {
    let bytes = written(&[
        text(1, Writer::Small, "one"),
        text(2, Writer::Small, " 数 🙂"),
        text(3, Writer::Large, "two\n"),
        ended(),
    ]);
    let journal = Journal::read(&bytes[..], "j").unwrap();
    assert_eq!(journal.header, header_like(&journal));
    assert_eq!(
        journal.events,
        [text(1, Writer::Small, "one 数 🙂"), text(3, Writer::Large, "two\n"), ended()]
    );
    assert!(journal.is_complete() && !journal.truncated);
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 4, "one line each");
    let slow = written(&[
        text(0, Writer::Small, "a"),
        text(300_000, Writer::Small, "b"),
        text(300_001, Writer::Small, "c"),
    ]);
    assert_eq!(Journal::read(&slow[..], "j").unwrap().events.len(), 2, "text does not wait long");
}

/// Returns the header with the time from the journal.
fn header_like(journal: &Journal) -> Header {
    Header { unix_ms: journal.header.unix_ms, ..header() }
}

#[test]
fn a_journal_that_breaks_off_anywhere_keeps_its_whole_lines() {
    let bytes = written(&[text(1, Writer::Small, "数学"), text(2, Writer::Large, "b"), ended()]);
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in first_line..bytes.len() {
        let journal = Journal::read(&bytes[..end], "j").unwrap();
        let whole = bytes[first_line..end].iter().filter(|byte| **byte == b'\n').count();
        let at_edge = bytes[end - 1] == b'\n';
        // A line that lacks only its newline is complete.
        let complete_but_for_end = bytes[end] == b'\n';
        assert_eq!(journal.events.len(), whole + usize::from(complete_but_for_end));
        assert_eq!(journal.truncated, !at_edge && !complete_but_for_end, "cut at {end}");
    }
}

#[test]
fn what_is_no_journal_or_another_version_is_one_line() {
    let read = |bytes: &[u8]| Journal::read(bytes, "j.jsonl").unwrap_err();
    for bytes in [&b""[..], b"hello\n", b"{}\n", b"\xff\xfe\n", b"{\"specthink_journal\":1}\n"] {
        let error = read(bytes);
        assert!(matches!(error, JournalError::NotAJournal { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    let error = read(b"{\"specthink_journal\":2,\"program\":\"specthink 9.0\",\"new\":[]}\n");
    assert_eq!(
        error.to_string(),
        "j.jsonl is a journal of version 2, but this program reads version 1: use the specthink that \
         wrote it (specthink 9.0)"
    );
    let mut damaged = written(&[text(1, Writer::Small, "a")]);
    damaged.extend(b"{\"at_us\":2,\"event\":\"nonsense\"}\n");
    let error = read(&damaged).to_string();
    assert!(error.starts_with("j.jsonl, line 3: "), "{error}");
}

#[test]
fn a_full_disk_is_told_at_the_end_and_stops_nothing() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = JournalWriter::new(Full(2), &header()).unwrap();
    for at_us in 0..10 {
        writer.see(&text(at_us * 1_000_000, Writer::Small, "a"));
        writer.see(&ended());
    }
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.starts_with("the journal is incomplete: "), "{error}");
}

#[test]
fn the_pieces_of_a_proposal_take_little_of_a_line() {
    let delta = |n: u64| LoggedDelta { at_us: 10_000 * n, end: 4 * n, tokens: 1, settled: 4 * n };
    let finished = NodeFinished {
        ask: 0,
        role: Role::Small,
        reason: "stop".to_owned(),
        trigger: None,
        tokens: 3,
        bytes: 12,
        prefill_tokens: 0,
        timing: Timing::default(),
        first_text_us: Some(10_000),
        wall_us: 30_000,
        deltas: (1..=3).map(delta).collect(),
    };
    let events = [
        Stamped { at_us: 30_000, progress: Progress::Finished(Box::new(finished.clone())) },
        ended(),
    ];
    let text = String::from_utf8(written(&events)).unwrap();
    let told = r#","deltas":{"us":[10000,10000,10000],"bytes":[4,4,4]}"#;
    assert!(text.contains(told), "{text}");
    assert_eq!(Journal::read(text.as_bytes(), "j").unwrap().events, events);
    // Earlier programs ignore the key, as ours ignores those of later ones. Without it, the pieces are not known.
    let older = text.replace(told, r#","later":{"us":[1]}"#);
    let older = Journal::read(older.as_bytes(), "j").unwrap();
    let unknown = NodeFinished { deltas: DeltaLog::default(), ..finished };
    assert_eq!(older.events[0].progress, Progress::Finished(Box::new(unknown)));
}
