//! Round trips: every value of our types survives the wire, and every message is either understood or refused with a
//! reason.

use proptest::{collection::vec, option, prelude::*, sample::select};
use prost::Message as _;

use thinking::thinker::{Append, Objection, Review, TextEnd};

use super::*;

fn text() -> impl Strategy<Value = String> {
    // Any text, with the cases that matter made likely.
    prop_oneof![
        any::<String>(),
        select(vec!["", "\n\n", "Wait, 数学 é 🙂"]).prop_map(str::to_owned)
    ]
}

/// Text that is already one line, so that the wire does not change it.
fn line() -> impl Strategy<Value = String> {
    text().prop_map(|text| one_line(&text))
}

fn kind() -> impl Strategy<Value = TriggerKind> {
    select(vec![TriggerKind::Affirmation, TriggerKind::Reflection, TriggerKind::Verification])
}

prop_compose! {
    fn sampling()(temperature in 0f32..4.0, top_k: u32, top_p in 0f32..=1.0, min_p in 0f32..=1.0,
                  repetition_penalty in 0f32..3.0) -> Sampling {
        Sampling { temperature, top_k, top_p, min_p, repetition_penalty }
    }
}

prop_compose! {
    fn message()(role in text(), content in text()) -> Message {
        Message { role, content }
    }
}

fn prompt() -> impl Strategy<Value = Prompt> {
    prop_oneof![vec(message(), 1..4).prop_map(Prompt::Messages), text().prop_map(Prompt::Raw)]
}

const FURTHEST_MS: u64 = 365 * 24 * 3_600_000;

fn thought() -> impl Strategy<Value = ThoughtStart> {
    use ThoughtStart::{Open, Over, Unknown, Unopened};
    prop_oneof![Just(Unknown), Just(Unopened), Just(Open), Just(Over)]
}

prop_compose! {
    fn review()(gap in 0f32..20.0, from_byte: u64, skip_openings: bool,
                draw in option::of(any::<u64>())) -> Review {
        Review { gap, from_byte, skip_openings, draw }
    }
}

prop_compose! {
    fn append()(text in text(), token_ids in vec(any::<u32>(), 0..5), exempt: bool,
                end in select(vec![TextEnd::Open, TextEnd::Stretch, TextEnd::Answer])) -> Append {
        Append { text, token_ids, end, exempt }
    }
}

prop_compose! {
    fn objection()(at_byte: u64, bytes: u32, gap in 0f32..20.0, rank: u32, log_p in -20f32..0.0,
                   instead in option::of(text()), tokens: u32,
                   token_ids in vec(any::<u32>(), 0..3)) -> Objection {
        Objection { at_byte, bytes, gap, rank, log_p, instead, tokens, token_ids }
    }
}

prop_compose! {
    fn opening()(question_id in line(), prompt in prompt(), committed in text(),
                 sampling in sampling(), deadline_ms in option::of(0..=FURTHEST_MS),
                 thought in thought(), review in option::of(review())) -> Open {
        let deadline = deadline_ms.map(Duration::from_millis);
        Open { question_id, prompt, committed, sampling, deadline, thought, review }
    }
}

prop_compose! {
    fn watch()(delimiters in vec(text(), 0..3), window_chars: u32, from_next_break: bool,
               phrases in vec((kind(), text()), 0..4), until in vec(text(), 0..2)) -> Watch {
        let phrases = phrases.into_iter().map(|(kind, text)| Phrase { kind, text }).collect();
        Watch { delimiters, window_chars, phrases, from_next_break, until }
    }
}

prop_compose! {
    fn propose()(max_tokens: u32, stop in vec(text(), 0..3), watch in option::of(watch()),
                 seed: u64, report_entropy: bool) -> Propose {
        Propose { max_tokens, stop, watch, seed, report_entropy }
    }
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        opening().prop_map(Command::Open),
        append().prop_map(Command::Append),
        (any::<u64>(), any::<bool>())
            .prop_map(|(bytes, accept)| Command::Cut(Cut { bytes, accept })),
        propose().prop_map(Command::Propose),
        any::<u64>().prop_map(|bytes| Command::Commit { bytes }),
        Just(Command::Cancel),
    ]
}

prop_compose! {
    fn card()(name in line(), family in line(), parameters: u64, quantisation in line(),
              context_tokens: u32, device in line(), tokenizer_fingerprint in line(),
              thought in thought(), can_review: bool, can_report_entropy: bool) -> ModelCard {
        ModelCard {
            name, family, parameters, quantisation, context_tokens, device, tokenizer_fingerprint, thought,
            can_review, can_report_entropy,
        }
    }
}

prop_compose! {
    fn found()(kind in kind(), phrase in text(), cut: u64, start: u64, end: u64) -> TriggerMatch {
        TriggerMatch { kind, phrase, cut, start, end }
    }
}

fn reason() -> impl Strategy<Value = FinishReason> {
    prop_oneof![
        Just(FinishReason::EndOfText),
        Just(FinishReason::MaxTokens),
        any::<u64>().prop_map(|end| FinishReason::Stop { end }),
        found().prop_map(FinishReason::Trigger),
        Just(FinishReason::Cancelled),
        Just(FinishReason::Deadline),
        Just(FinishReason::ContextFull),
    ]
}

prop_compose! {
    fn finished()(reason in reason(), tokens: u32, bytes: u64, prefill_tokens: u32, cached_tokens: u32,
                  queue_us: u64, prefill_us: u64, decode_us: u64, passes_milli: u32) -> Finished {
        let timing = Timing { queue_us, prefill_us, decode_us };
        Finished { reason, tokens, bytes, prefill_tokens, cached_tokens, timing, passes_milli }
    }
}

prop_compose! {
    fn delta()(text in text(), tokens: u32, token_ids in vec(any::<u32>(), 0..5),
               settled_bytes: u64, first_token_entropy in option::of(0f32..20.0)) -> Delta {
        Delta { text, tokens, token_ids, settled_bytes, first_token_entropy }
    }
}

prop_compose! {
    pub(crate) fn failing()(code in select(CODES.to_vec()), message in line(),
                 retry_after_ms in option::of(any::<u64>())) -> Failure {
        Failure { retry_after_ms, ..Failure::new(code, message) }
    }
}

pub(crate) const CODES: [Code; 10] = [
    Code::InvalidArgument,
    Code::UnsupportedVersion,
    Code::ContextTooLong,
    Code::MessageTooLarge,
    Code::Unauthenticated,
    Code::Overloaded,
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Template,
    Code::Internal,
];

prop_compose! {
    fn warmed()(committed_bytes: u64, hash: u64, tokens: u32, prefill_tokens: u32, prefill_us: u64,
                reviewed_bytes: u64, passes_milli: u32) -> Warmed {
        let hash = TextHash(hash);
        Warmed {
            committed_bytes, hash, tokens, prefill_tokens, prefill_us, reviewed_bytes, passes_milli,
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (card(), any::<u32>(), any::<u32>()).prop_map(|(card, prompt_tokens, cached_tokens)| {
            Event::Opened(Box::new(Opened { card, prompt_tokens, cached_tokens }))
        }),
        delta().prop_map(Event::Delta),
        finished().prop_map(Event::Finished),
        warmed().prop_map(Event::Warmed),
        objection().prop_map(|it| Event::Objection(Box::new(it))),
        failing().prop_map(Event::Failed),
    ]
}

proptest! {
    #[test]
    fn commands_survive_the_wire_in_their_order(commands in vec(command(), 1..6)) {
        let sent: Vec<Vec<u8>> =
            commands.iter().map(|command| command_to_wire(command.clone()).encode_to_vec()).collect();
        let read: Vec<Command> = sent
            .iter()
            .map(|bytes| wire::Command::decode(bytes.as_slice()).unwrap())
            .map(|command| command_from_wire(command).unwrap().unwrap())
            .collect();
        prop_assert_eq!(read, commands);
    }

    #[test]
    fn events_survive_the_wire_in_their_order(events in vec(event(), 1..6)) {
        let sent: Vec<Vec<u8>> =
            events.iter().map(|event| event_to_wire(event.clone()).encode_to_vec()).collect();
        let read: Vec<Event> = sent
            .iter()
            .map(|bytes| wire::Event::decode(bytes.as_slice()).unwrap())
            .map(|event| event_from_wire(event).unwrap().unwrap())
            .collect();
        prop_assert_eq!(read, events);
    }

    #[test]
    fn texts_hash_alike_at_both_ends(parts in vec(text(), 0..6)) {
        let mut here = TextHash::default();
        let mut there = TextHash::default();
        for part in parts {
            here.push(&part);
            let append = Command::Append(Append::text(part));
            let bytes = command_to_wire(append).encode_to_vec();
            let command = wire::Command::decode(bytes.as_slice()).unwrap();
            let Some(Command::Append(append)) = command_from_wire(command).unwrap() else {
                panic!("an append stays one");
            };
            there.push(&append.text);
        }
        prop_assert_eq!(here, there);
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(command) = wire::Command::decode(bytes.as_slice()) {
            let _ = command_from_wire(command);
        }
        if let Ok(event) = wire::Event::decode(bytes.as_slice()) {
            let _ = event_from_wire(event);
        }
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Failure>, words: &str) {
    let failure = result.unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument);
    assert!(failure.message.contains(words), "{failure}");
    assert!(!failure.message.contains('\n'));
}

fn finished_with(reason: i32) -> wire::Event {
    let finished = wire::Finished { reason, ..wire::Finished::default() };
    wire::Event { event: Some(wire::event::Event::Finished(finished)) }
}

#[test]
fn what_has_no_meaning_is_named() {
    refusal(event_from_wire(finished_with(99)), "Finished.reason has the value 99");
    refusal(event_from_wire(finished_with(0)), "Finished.reason has the value 0");
    refusal(event_from_wire(finished_with(3)), "Finished.stop_end is missing");
    refusal(event_from_wire(finished_with(4)), "Finished.trigger is missing");
    refusal(event_from_wire(wire::Event { event: None }), "is the node newer?");
    refusal(command_from_wire(wire::Command { command: None }), "is it newer than the node?");
    let opened = wire::event::Event::Opened(wire::Opened::default());
    refusal(event_from_wire(wire::Event { event: Some(opened) }), "Opened.model is missing");
    refusal(description_from_wire(wire::DescribeResponse::default()), "DescribeResponse.model");

    let phrases = vec![wire::TriggerPhrase { kind: 7, text: "Hm".into() }];
    let watch = Some(wire::TriggerWatch { phrases, ..wire::TriggerWatch::default() });
    let propose = wire::Propose { max_tokens: 1, watch, ..wire::Propose::default() };
    let propose = wire::Command { command: Some(wire::command::Command::Propose(propose)) };
    refusal(command_from_wire(propose), "TriggerPhrase.kind has the value 7");
}

fn wire_open(change: impl FnOnce(&mut wire::Open)) -> wire::Command {
    let mut open = wire::Open { protocol_version: 1, ..wire::Open::default() };
    change(&mut open);
    wire::Command { command: Some(wire::command::Command::Open(open)) }
}

#[test]
fn another_version_two_prompts_and_none_are_refused() {
    for version in [0, 2, u32::MAX] {
        let open = wire_open(|open| open.protocol_version = version);
        let failure = command_from_wire(open).unwrap_err();
        assert_eq!(failure.code, Code::UnsupportedVersion);
        assert!(failure.message.contains(&format!("version {version} ")), "{failure}");
    }
    let both = wire_open(|open| {
        open.raw_prompt = Some("?".into());
        open.messages.push(wire::Message::default());
    });
    refusal(command_from_wire(both), "both messages and raw_prompt");
    refusal(command_from_wire(wire_open(|_| {})), "neither messages nor raw_prompt");
}

/// Sets a terminal's title, reverses the reading direction and starts a new line.
const HOSTILE: &str = "a\x1b]0;title\x07\nerror: \u{202e}b\u{9b}2J";
const SHOWN: &str = "a\u{fffd}]0;title\u{fffd} error: \u{fffd}b\u{fffd}2J";

#[test]
fn names_and_reasons_can_be_shown_from_here_on() {
    let hostile = || HOSTILE.to_owned();
    let card = card_from_wire(wire::ModelCard {
        name: hostile(),
        family: hostile(),
        quantisation: hostile(),
        device: hostile(),
        tokenizer_fingerprint: hostile(),
        ..wire::ModelCard::default()
    });
    let ModelCard { name, family, quantisation, device, tokenizer_fingerprint, .. } = card;
    for shown in [name, family, quantisation, device, tokenizer_fingerprint] {
        assert_eq!(shown, SHOWN);
    }
    let failed = wire::Failed { message: hostile(), ..wire::Failed::default() };
    assert_eq!(failure_from_wire(failed).message, SHOWN);
    let open = wire_open(|open| {
        open.question_id = hostile();
        open.raw_prompt = Some(hostile());
    });
    let Ok(Some(Command::Open(open))) = command_from_wire(open) else { panic!() };
    assert_eq!((open.question_id.as_str(), open.prompt), (SHOWN, Prompt::Raw(hostile())));
    let delta = wire::Delta { text: hostile(), ..wire::Delta::default() };
    let event = wire::Event { event: Some(wire::event::Event::Delta(delta)) };
    let Ok(Some(Event::Delta(delta))) = event_from_wire(event) else { panic!() };
    assert_eq!(delta.text, HOSTILE, "an answer is what was written");
}

#[test]
fn a_deadline_beyond_all_clocks_is_a_year() {
    let open = wire_open(|open| {
        open.deadline_ms = Some(u64::MAX);
        open.raw_prompt = Some("?".into());
    });
    let Ok(Some(Command::Open(open))) = command_from_wire(open) else { panic!() };
    assert_eq!(open.deadline, Some(FURTHEST_DEADLINE));
    let far = Command::Open(Open { deadline: Some(Duration::MAX), ..open });
    let Some(wire::command::Command::Open(far)) = command_to_wire(far).command else { panic!() };
    assert_eq!(far.deadline_ms, Some(FURTHEST_MS));
}

#[test]
fn signs_of_life_concern_the_connection_alone() {
    assert_eq!(command_from_wire(client_heartbeat()), Ok(None));
    assert_eq!(event_from_wire(node_heartbeat()), Ok(None));
}

#[test]
fn a_failure_from_the_future_keeps_its_line() {
    let failed = wire::Failed { code: 99, message: "the sky fell".into(), retry_after_ms: Some(3) };
    let event = wire::Event { event: Some(wire::event::Event::Failed(failed)) };
    let Ok(Some(Event::Failed(failure))) = event_from_wire(event) else { panic!() };
    assert_eq!((failure.code, failure.retry_after_ms), (Code::Internal, Some(3)));
    assert_eq!(failure.message, "the sky fell");
}
