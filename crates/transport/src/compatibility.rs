//! Compatibility with release 0.1.0: today's code reads what it wrote, and writes what it reads.
//!
//! The fixtures in `tests/fixtures/wire-0.1.0` are messages of that release with every field set. Today's code must
//! read them with their original meaning and must write the same bytes for the same values, so that old and new
//! programs work together. Fields added since are absent from the fixtures: the values given here for them are what
//! their absence means.

use std::{collections::BTreeMap, fs, io::Write, path::PathBuf, time::Duration};

use prost::Message as _;
use proto::v1 as wire;
use thinking::{
    thinker::{
        Append, Code, Command, Delta, Event, Failure, FinishReason, Finished, Message, ModelCard,
        Open, Opened, Prompt, Propose, Sampling, TextHash, ThoughtStart, Timing, Warmed,
    },
    trigger::{Phrase, TriggerKind, TriggerMatch, Watch},
};
use tonic::{Status, codegen::http::HeaderMap};

use crate::{
    PROTOCOL_VERSION,
    connect::Peer,
    convert::{
        card_to_wire, client_heartbeat, command_from_wire, command_to_wire, description_from_wire,
        event_from_wire, event_to_wire, node_heartbeat,
    },
    status::{failure_from_status, on_the_way, status_from_failure},
};

/// A field that no message has, as a later version might add.
const UNKNOWN_FIELD: [u8; 3] = [0xa0, 0x38, 0x01];

/// Every failure code by name, with the code that a client reads from a 0.1.0 node's status for it.
const CODES: [(&str, Code, Code); 10] = [
    ("invalid_argument", Code::InvalidArgument, Code::InvalidArgument),
    ("unsupported_version", Code::UnsupportedVersion, Code::UnsupportedVersion),
    ("context_too_long", Code::ContextTooLong, Code::ContextTooLong),
    ("message_too_large", Code::MessageTooLarge, Code::ContextTooLong),
    ("unauthenticated", Code::Unauthenticated, Code::Unauthenticated),
    ("overloaded", Code::Overloaded, Code::Overloaded),
    ("unavailable", Code::Unavailable, Code::Unavailable),
    ("deadline_exceeded", Code::DeadlineExceeded, Code::DeadlineExceeded),
    ("template", Code::Template, Code::InvalidArgument),
    ("internal", Code::Internal, Code::Internal),
];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/wire-0.1.0"))
}

fn fixture(name: &str) -> Vec<u8> {
    let path = folder().join(name).with_extension("bin");
    fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn card() -> ModelCard {
    ModelCard {
        name: "Qwen2.5-1.5B-Instruct".into(),
        family: "qwen2".into(),
        parameters: 1_543_714_304,
        quantisation: "Q4_K".into(),
        context_tokens: 32_768,
        device: "cuda:0".into(),
        tokenizer_fingerprint: "5f0b1c2d".into(),
        thought: ThoughtStart::Unknown,
        can_review: false,
        can_report_entropy: false,
    }
}

fn open(prompt: Prompt) -> Command {
    Command::Open(Open {
        question_id: "algebra-17".into(),
        prompt,
        committed: "So x = 5.\n\n数学 🙂".into(),
        sampling: Sampling {
            temperature: 0.75,
            top_k: 50,
            top_p: 0.5,
            min_p: 0.125,
            repetition_penalty: 1.25,
        },
        deadline: Some(Duration::from_millis(90_001)),
        thought: ThoughtStart::Unknown,
        review: None,
    })
}

fn commands() -> Vec<(&'static str, Command)> {
    let message =
        |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    let messages = Prompt::Messages(vec![
        message("system", "Reason step by step."),
        message("user", "What is 7 times 8?"),
    ]);
    let phrase = |kind, text: &str| Phrase { kind, text: text.into() };
    let watch = Watch {
        delimiters: vec!["\n\n".into(), "\r\n\r\n".into()],
        window_chars: 80,
        phrases: vec![
            phrase(TriggerKind::Affirmation, "yes"),
            phrase(TriggerKind::Reflection, "wait"),
            phrase(TriggerKind::Verification, "let me check"),
        ],
        from_next_break: true,
        until: Vec::new(),
    };
    let propose = Propose {
        max_tokens: 512,
        stop: vec!["</think>".into(), "\n\n".into()],
        watch: Some(watch),
        seed: 0x0123_4567_89ab_cdef,
        report_entropy: true,
    };
    let token_ids = vec![14_190, 11, 0, 421];
    let append = Append { token_ids, ..Append::text("Wait, if x = 5 then") };
    vec![
        ("open-messages", open(messages)),
        ("open-raw-prompt", open(Prompt::Raw("7 times 8 is".into()))),
        ("append", Command::Append(append)),
        ("propose", Command::Propose(propose)),
        ("commit", Command::Commit { bytes: 1234 }),
        ("cancel", Command::Cancel),
    ]
}

fn finished(reason: FinishReason) -> Event {
    let timing = Timing { queue_us: 11, prefill_us: 2200, decode_us: 330_000 };
    let (prefill_tokens, cached_tokens) = (3, 0); // It knew no cached ones.
    Event::Finished(Finished {
        reason,
        tokens: 42,
        bytes: 160,
        prefill_tokens,
        cached_tokens,
        timing,
        passes_milli: 0,
    })
}

fn found(kind: TriggerKind, phrase: &str) -> FinishReason {
    FinishReason::Trigger(TriggerMatch {
        kind,
        phrase: phrase.into(),
        cut: 120,
        start: 121,
        end: 125,
    })
}

fn failure(code: Code) -> Failure {
    Failure { retry_after_ms: Some(1500), ..Failure::new(code, "it is so: 100 % of é") }
}

fn events() -> Vec<(String, Event)> {
    let delta = Delta {
        text: "Wait, 数学".into(),
        tokens: 4,
        token_ids: vec![14_190, 11, 0, 421],
        settled_bytes: 7,
        first_token_entropy: Some(1.5),
    };
    let warmed = Warmed {
        committed_bytes: 300,
        hash: TextHash(0xcbf2_9ce4_8422_2325),
        tokens: 9,
        prefill_tokens: 8,
        prefill_us: 7000,
        reviewed_bytes: 0,
        passes_milli: 0,
    };
    let kinds = [
        (
            "opened",
            Event::Opened(Box::new(Opened { card: card(), prompt_tokens: 33, cached_tokens: 32 })),
        ),
        ("delta", Event::Delta(delta)),
        ("warmed", Event::Warmed(warmed)),
        ("finished-end_of_text", finished(FinishReason::EndOfText)),
        ("finished-max_tokens", finished(FinishReason::MaxTokens)),
        ("finished-stop", finished(FinishReason::Stop { end: 158 })),
        ("finished-affirmation", finished(found(TriggerKind::Affirmation, "yes"))),
        ("finished-reflection", finished(found(TriggerKind::Reflection, "wait"))),
        ("finished-verification", finished(found(TriggerKind::Verification, "let me check"))),
        ("finished-cancelled", finished(FinishReason::Cancelled)),
        ("finished-deadline", finished(FinishReason::Deadline)),
        ("finished-context_full", finished(FinishReason::ContextFull)),
    ];
    let failed =
        CODES.map(|(name, code, _)| (format!("failed-{name}"), Event::Failed(failure(code))));
    kinds.into_iter().map(|(name, event)| (name.to_owned(), event)).chain(failed).collect()
}

fn description() -> wire::DescribeResponse {
    wire::DescribeResponse {
        protocol_version: PROTOCOL_VERSION,
        model: Some(card_to_wire(card())),
        load: None,
    }
}

/// The headers of a 0.1.0 node's status for every code, by the code's name.
fn status_headers() -> BTreeMap<String, HeaderMap> {
    let text = fs::read_to_string(folder().join("statuses.txt")).unwrap();
    let parts = text.trim_end().split("\n\n");
    parts
        .map(|part| {
            let (name, lines) = part.split_once('\n').unwrap();
            let mut headers = HeaderMap::new();
            for line in lines.lines() {
                let (header, value) = line.split_once(": ").unwrap();
                let header: tonic::codegen::http::HeaderName = header.parse().unwrap();
                headers.insert(header, value.parse().unwrap());
            }
            (name.to_owned(), headers)
        })
        .collect()
}

#[test]
fn commands_of_0_1_0_are_read_and_written() {
    for (name, command) in commands() {
        let old = fixture(name);
        let read = wire::Command::decode(old.as_slice()).unwrap();
        assert_eq!(command_from_wire(read), Ok(Some(command.clone())), "{name}");
        assert_eq!(command_to_wire(command).encode_to_vec(), old, "{name}");
    }
    let heartbeat = wire::Command::decode(fixture("client-heartbeat").as_slice()).unwrap();
    assert_eq!(command_from_wire(heartbeat), Ok(None));
}

#[test]
fn events_of_0_1_0_are_read_and_written() {
    for (name, event) in events() {
        let old = fixture(&name);
        let read = wire::Event::decode(old.as_slice()).unwrap();
        assert_eq!(event_from_wire(read), Ok(Some(event.clone())), "{name}");
        assert_eq!(event_to_wire(event).encode_to_vec(), old, "{name}");
    }
    let heartbeat = wire::Event::decode(fixture("node-heartbeat").as_slice()).unwrap();
    assert_eq!(event_from_wire(heartbeat), Ok(None));
}

#[test]
fn the_card_of_0_1_0_is_read_and_written() {
    let old = fixture("describe");
    let read = wire::DescribeResponse::decode(old.as_slice()).unwrap();
    assert_eq!(description_from_wire(read), Ok((1, card(), None)));
    assert_eq!(description().encode_to_vec(), old);
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    for (name, command) in commands() {
        let later = [fixture(name), UNKNOWN_FIELD.to_vec()].concat();
        let read = wire::Command::decode(later.as_slice()).unwrap();
        assert_eq!(command_from_wire(read), Ok(Some(command)), "{name}");
    }
    for (name, event) in events() {
        let later = [fixture(&name), UNKNOWN_FIELD.to_vec()].concat();
        let read = wire::Event::decode(later.as_slice()).unwrap();
        assert_eq!(event_from_wire(read), Ok(Some(event)), "{name}");
    }
}

#[test]
fn statuses_of_0_1_0_are_read_as_it_read_them() {
    let address = "http://gpu:7102".parse().unwrap();
    let old = status_headers();
    assert_eq!(old.len(), CODES.len());
    for (name, code, read_code) in CODES {
        let status = Status::from_header_map(&old[name]).unwrap();
        let read = failure_from_status(&address, Peer::Http2, &status);
        let Failure { message, retry_after_ms, .. } = failure(code);
        let message = format!("http://gpu:7102: {message}");
        assert_eq!(read, Failure { retry_after_ms, ..on_the_way(read_code, message) }, "{name}");
    }
}

#[test]
fn statuses_for_0_1_0_are_as_it_knows_them() {
    let old = status_headers();
    for (name, code, _) in CODES {
        let mut headers = HeaderMap::new();
        status_from_failure(failure(code)).add_header(&mut headers).unwrap();
        // 0.1.0 ignores these details.
        assert!(headers.remove(Status::GRPC_STATUS_DETAILS).is_some(), "{name}");
        assert_eq!(headers, old[name], "{name}");
    }
}

/// Wrote the fixtures, with the encoder of 0.1.0; `statuses.txt` was written by hand.
///
/// ```text
/// cargo test -p transport compatibility -- --ignored
/// ```
///
/// Existing files are never overwritten: what an old release wrote does not change.
#[test]
#[ignore = "makes fixtures that do not exist yet"]
fn make_fixtures() {
    let write = |name: &str, bytes: Vec<u8>| {
        let path = folder().join(name).with_extension("bin");
        if let Ok(mut file) = fs::File::create_new(path) {
            file.write_all(&bytes).unwrap();
        }
    };
    for (name, command) in commands() {
        write(name, command_to_wire(command).encode_to_vec());
    }
    for (name, event) in events() {
        write(&name, event_to_wire(event).encode_to_vec());
    }
    write("client-heartbeat", client_heartbeat().encode_to_vec());
    write("node-heartbeat", node_heartbeat().encode_to_vec());
    write("describe", description().encode_to_vec());
}
