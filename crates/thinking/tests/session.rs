//! The rules of a session: a table of which command is allowed when, and properties of proposals that hold however
//! their text is cut into pieces.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use thinking::{
    session::{ProposalRules, Protocol, limits},
    thinker::{
        Append, Code, Command, Cut, Delta, Failure, FinishReason, Message, Open, Prompt, Propose,
        Sampling, TextHash, ThoughtStart,
    },
    trigger::{Phrase, TriggerKind, Watch},
};

fn open(committed: &str) -> Command {
    Command::Open(Open {
        question_id: "q".into(),
        prompt: Prompt::Raw("What is 7 times 8?".into()),
        committed: committed.into(),
        sampling: Sampling::default(),
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    })
}

fn append(text: &str) -> Command {
    Command::Append(Append::text(text))
}

fn ask(max_tokens: u32) -> Propose {
    Propose { max_tokens, stop: Vec::new(), watch: None, seed: 1, report_entropy: false }
}

/// Carries a command out. The rules of a proposal are dropped, so the proposal remains unfinished.
fn carry_out(protocol: &mut Protocol, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Open(open) => protocol.open(open)?,
        Command::Append(append) => protocol.append(append)?,
        Command::Propose(propose) => drop(protocol.propose(propose)?),
        Command::Commit { bytes } => drop(protocol.commit(*bytes)?.to_owned()),
        Command::Cancel => {}
        Command::Cut(cut) => drop(protocol.cut(*cut)?),
    }
    Ok(())
}

/// Returns a session in the given state. "So " is committed, and "né" is proposed.
fn in_state(state: &str) -> Protocol {
    let mut protocol = Protocol::default();
    if state == "unopened" {
        return protocol;
    }
    carry_out(&mut protocol, &open("So ")).unwrap();
    if state == "idle" {
        return protocol;
    }
    let mut rules = protocol.propose(&ask(9)).unwrap();
    if state == "proposing" {
        return protocol;
    }
    assert_eq!(rules.push("né", 1), None);
    protocol.finish(rules, FinishReason::Cancelled);
    protocol
}

const NOT_OPEN: &str = "the session is not open; send open first";
const ALREADY_OPEN: &str = "the session is already open; start another one";
const PROPOSAL_OPEN: &str = "a proposal is open; commit it first";
const NO_PROPOSAL: &str = "no proposal is open to commit; propose first";
const NO_TOKENS: &str = "max_tokens is 0; ask for at least 1";

#[test]
fn each_command_is_allowed_or_refused_by_the_state() {
    let allowed = "";
    let (propose, commit) = (|n| Command::Propose(ask(n)), |bytes| Command::Commit { bytes });
    let edge = |bytes: u64| {
        format!(
            "cannot commit {bytes} of the proposal's 3 bytes: that is past its end or inside a character; count its bytes"
        )
    };
    let (inside, beyond, far) = (edge(2), edge(4), edge(u64::MAX));
    // While the session is proposing, no command is due, and any that comes is refused.
    let cut = |bytes, accept| Command::Cut(Cut { bytes, accept });
    let (no_edge, nothing) = (
        "cannot cut to 4 of the committed text's 3 bytes: that is past its end or inside a character; count its bytes",
        "there is no objection at byte 1 to accept; cut without accept",
    );
    let table: [(Command, [&str; 4]); 12] = [
        // unopened, idle, proposing, proposed
        (Command::Cancel, [allowed; 4]),
        (open(""), [allowed, ALREADY_OPEN, ALREADY_OPEN, ALREADY_OPEN]),
        (append("x"), [NOT_OPEN, allowed, PROPOSAL_OPEN, PROPOSAL_OPEN]),
        (propose(1), [NOT_OPEN, allowed, PROPOSAL_OPEN, PROPOSAL_OPEN]),
        (propose(0), [NOT_OPEN, NO_TOKENS, PROPOSAL_OPEN, PROPOSAL_OPEN]),
        (commit(3), [NOT_OPEN, NO_PROPOSAL, NO_PROPOSAL, allowed]),
        (commit(2), [NOT_OPEN, NO_PROPOSAL, NO_PROPOSAL, &inside]),
        (commit(4), [NOT_OPEN, NO_PROPOSAL, NO_PROPOSAL, &beyond]),
        (cut(1, false), [NOT_OPEN, allowed, PROPOSAL_OPEN, PROPOSAL_OPEN]),
        (cut(4, false), [NOT_OPEN, no_edge, PROPOSAL_OPEN, PROPOSAL_OPEN]),
        (cut(1, true), [NOT_OPEN, nothing, PROPOSAL_OPEN, PROPOSAL_OPEN]),
        (commit(u64::MAX), [NOT_OPEN, NO_PROPOSAL, NO_PROPOSAL, &far]),
    ];
    for (command, row) in &table {
        for (state, message) in ["unopened", "idle", "proposing", "proposed"].iter().zip(row) {
            let mut protocol = in_state(state);
            let before = protocol.committed().to_owned();
            let expected = match *message {
                "" => Ok(()),
                message => Err(Failure::new(Code::InvalidArgument, message)),
            };
            let outcome = carry_out(&mut protocol, command);
            assert_eq!(outcome, expected, "{command:?} when {state}");
            if outcome.is_err() {
                assert_eq!(protocol.committed(), before, "{command:?} when {state}");
            }
        }
    }
}

fn copies(count: usize, bytes: usize) -> Vec<String> {
    vec!["x".repeat(bytes); count]
}

fn phrases(count: usize, bytes: usize) -> Vec<Phrase> {
    let phrase = |text| Phrase { kind: TriggerKind::Reflection, text };
    copies(count, bytes).into_iter().map(phrase).collect()
}

/// Commands at the limit of a list, and one text or one byte beyond it, each with the expected result.
fn beyond_limits() -> Vec<(Command, Result<(), String>)> {
    let watching = |watch| Command::Propose(Propose { watch: Some(watch), ..ask(1) });
    let empty = Watch { phrases: Vec::new(), ..watch() };
    type Asking<'a> = &'a dyn Fn(usize, usize) -> Command;
    let lists: [(limits::ListLimit, Asking); 4] = [
        (limits::STOPS, &|count, bytes| {
            Command::Propose(Propose { stop: copies(count, bytes), ..ask(1) })
        }),
        (limits::DELIMITERS, &|count, bytes| {
            watching(Watch { delimiters: copies(count, bytes), ..empty.clone() })
        }),
        (limits::UNTIL, &|count, bytes| {
            watching(Watch { until: copies(count, bytes), ..empty.clone() })
        }),
        (limits::PHRASES, &|count, bytes| {
            watching(Watch { phrases: phrases(count, bytes), ..empty.clone() })
        }),
    ];
    let mut table = Vec::new();
    for (limit, command) in lists {
        let limits::ListLimit { field, texts: most, bytes } = limit;
        let refused = |found: usize, most: usize, unit: &str| {
            Err(format!("{field} holds {found} {unit}, more than the limit of {most}; send fewer"))
        };
        table.push((command(most, bytes / most), Ok(())));
        table.push((command(most + 1, 1), refused(most + 1, most, "texts")));
        table.push((command(1, bytes), Ok(())));
        table.push((command(1, bytes + 1), refused(bytes + 1, bytes, "bytes")));
    }
    for (more, expected) in [
        (0, Ok(())),
        (
            1,
            Err("TriggerWatch.window_chars holds 1025 characters, more than the limit of 1024; send fewer"
                .to_owned()),
        ),
    ] {
        let window_chars = limits::MOST_WINDOW_CHARS + more;
        table.push((watching(Watch { window_chars, ..empty.clone() }), expected));
    }
    table
}

#[test]
fn no_command_asks_for_more_than_the_limits() {
    for (command, expected) in beyond_limits() {
        let mut protocol = in_state("idle");
        let expected = expected.map_err(|line| Failure::new(Code::InvalidArgument, line));
        assert_eq!(limits::check(&command).map_err(Failure::from), expected);
        assert_eq!(carry_out(&mut protocol, &command), expected);
    }
    for (count, expected) in [
        (1024, Ok(())),
        (1025, Err("Open.messages holds 1025 messages, more than the limit of 1024; send fewer")),
    ] {
        let Command::Open(mut command) = open("") else { unreachable!() };
        let message = Message { role: "user".into(), content: "x".into() };
        command.prompt = Prompt::Messages(vec![message; count]);
        let command = Command::Open(command);
        let expected = expected.map_err(|line| Failure::new(Code::InvalidArgument, line));
        assert_eq!(limits::check(&command).map_err(Failure::from), expected);
        assert_eq!(carry_out(&mut in_state("unopened"), &command), expected);
    }
}

#[test]
fn the_committed_text_is_what_was_opened_appended_and_kept() {
    let mut protocol = Protocol::default();
    let mut expected = String::new();
    let holds = |protocol: &Protocol, expected: &str| {
        let warmed = protocol.warmed();
        assert_eq!(protocol.committed(), expected);
        assert_eq!(warmed.committed_bytes, expected.len() as u64);
        assert_eq!(warmed.hash, TextHash::of(expected));
        assert_eq!((warmed.tokens, warmed.prefill_tokens, warmed.prefill_us), (0, 0, 0));
    };
    holds(&protocol, "");
    carry_out(&mut protocol, &open("数 ")).unwrap();
    protocol.append(&Append::text("and")).unwrap();
    expected.push_str("数 and");
    holds(&protocol, &expected);
    for kept in ["", " só", " só é"] {
        let mut rules = protocol.propose(&ask(9)).unwrap();
        assert_eq!(rules.push(" só é", 3), None);
        let finished = protocol.finish(rules, FinishReason::ContextFull);
        assert_eq!((finished.reason, finished.tokens), (FinishReason::ContextFull, 3));
        assert_eq!(finished.bytes, " só é".len() as u64);
        holds(&protocol, &expected);
        assert_eq!(protocol.commit(kept.len() as u64), Ok(kept));
        expected.push_str(kept);
        holds(&protocol, &expected);
    }
}

#[test]
fn a_proposal_begins_where_the_committed_text_ends() {
    let mut protocol = Protocol::default();
    carry_out(&mut protocol, &open("So.\n")).unwrap();
    protocol.append(&Append::text("\n")).unwrap();
    let mut rules = protocol.propose(&Propose { watch: Some(watch()), ..ask(9) }).unwrap();
    let Some(FinishReason::Trigger(found)) = rules.push("Wait a", 1) else { panic!("{rules:?}") };
    assert_eq!((found.cut, found.start, found.end), (0, 0, 4));
}

fn watch() -> Watch {
    let phrase = |text: &str| Phrase { kind: TriggerKind::Reflection, text: text.into() };
    Watch {
        delimiters: vec!["\n\n".into()],
        window_chars: 12,
        phrases: vec![phrase("wait"), phrase("wait,"), phrase("st é")],
        from_next_break: false,
        until: Vec::new(),
    }
}

fn stops(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Returns why a proposal of these pieces was over, and after how many of them.
fn over(propose: &Propose, pieces: &[(&str, u32)]) -> (Option<FinishReason>, usize) {
    let mut rules = ProposalRules::new(propose, "");
    for (index, (text, tokens)) in pieces.iter().enumerate() {
        let reason = rules.push(text, *tokens);
        if reason.is_some() {
            return (reason, index + 1);
        }
    }
    (None, pieces.len())
}

#[test]
fn a_stop_text_counts_wherever_it_begins() {
    let stop = |texts: &[&str]| Propose { stop: stops(texts), ..ask(99) };
    let end = |end| Some(FinishReason::Stop { end });
    let table: [(&[&str], &[&str], _); 8] = [
        (&["op"], &["st", "o", "p"], (end(4), 3)),
        (&["op"], &["stop"], (end(4), 1)),
        (&["op"], &["stopover op"], (end(4), 1)),
        (&["ver", "op"], &["stopover"], (end(4), 1)),
        (&["数学"], &["é数", "é数学学"], (end(2 + 3 + 2 + 6), 2)),
        (&["aab"], &["aa", "ab"], (end(4), 2)),
        (&["", "x"], &["a", "b"], (None, 2)),
        (&[], &["a", ""], (None, 2)),
    ];
    for (texts, pieces, expected) in table {
        let pieces: Vec<_> = pieces.iter().map(|&piece| (piece, 1)).collect();
        assert_eq!(over(&stop(texts), &pieces), expected, "{texts:?} in {pieces:?}");
    }
}

#[test]
fn the_greatest_length_counts_tokens_and_comes_last() {
    let text = [("a", 1), ("", 1), ("b", 1), ("c", 1)];
    assert_eq!(over(&ask(3), &text), (Some(FinishReason::MaxTokens), 3));
    assert_eq!(over(&ask(5), &text), (None, 4));
    assert_eq!(over(&ask(2), &[("abc", 7)]), (Some(FinishReason::MaxTokens), 1));
    let stop = Propose { stop: stops(&["b"]), ..ask(3) };
    assert_eq!(over(&stop, &text), (Some(FinishReason::Stop { end: 2 }), 3));
}

#[test]
fn what_is_complete_first_in_the_text_ends_the_proposal() {
    let both = |stop| Propose { stop: stops(&[stop]), watch: Some(watch()), ..ask(99) };
    // "wait" is confirmed by the comma.
    for (stop, text, expected) in [
        (".\n", "So.\n\nWait, no", Some(3 + 1)),
        ("Wait", "So.\n\nWait, no", Some(5 + 4)),
        (" no", "So.\n\nWait, no", None),
        ("t,", "So.\n\nWait, no", None),
    ] {
        let (reason, _) = over(&both(stop), &[(text, 1)]);
        match (reason, expected) {
            (Some(FinishReason::Stop { end }), Some(expected)) => assert_eq!(end, expected),
            (Some(FinishReason::Trigger(found)), None) => assert_eq!(found.cut, 5),
            (reason, _) => panic!("{stop:?} in {text:?}: {reason:?}"),
        }
    }
}

#[test]
fn an_end_of_text_counts_as_a_token_and_confirms_a_phrase() {
    for (text, triggers) in [("\n\nwait", true), ("\n\nwai", false)] {
        let mut rules = ProposalRules::new(&Propose { watch: Some(watch()), ..ask(99) }, "");
        assert_eq!(rules.push(text, 2), None);
        let reason = rules.end_of_text();
        assert_eq!(matches!(reason, FinishReason::Trigger(_)), triggers, "{text:?}: {reason:?}");
        assert_eq!(rules.tokens(), 3);
    }
}

#[test]
fn deltas_hold_back_nothing_and_settle_what_no_rule_can_cut() {
    let mut rules = ProposalRules::new(&Propose { watch: Some(watch()), ..ask(99) }, "");
    let mut next = |text: &str, reason: Option<FinishReason>| {
        assert_eq!(rules.push(text, 1), None);
        rules.delta(reason.as_ref()).map(|delta| (delta.text, delta.tokens, delta.settled_bytes))
    };
    assert_eq!(next("", None), None);
    assert_eq!(next("So.", None), Some(("So.".into(), 2, 3)));
    assert_eq!(next("\n\nLet", None), Some(("\n\nLet".into(), 1, 5)));
    assert_eq!(next(" us", None), Some((" us".into(), 1, 5)));
    // Once it is over for another reason, no trigger can follow.
    assert_eq!(next(" s", Some(FinishReason::Cancelled)), Some((" s".into(), 1, 13)));
}

/// Everything that the rules return for a text that comes in these pieces and then ends.
#[derive(Debug)]
struct Outcome {
    reason: FinishReason,
    text: String,
    /// The settled bytes, by the number of bytes read.
    settled: BTreeMap<usize, u64>,
}

fn outcome<'a>(
    propose: &Propose,
    committed: &str,
    pieces: impl Iterator<Item = &'a str>,
) -> Result<Outcome, TestCaseError> {
    let mut rules = ProposalRules::new(propose, committed);
    let (mut text, mut settled, mut pushed, mut told) = (String::new(), BTreeMap::new(), 0, 0);
    let mut reason = None;
    for piece in pieces {
        reason = rules.push(piece, 1);
        pushed += 1;
        if let Some(delta) = rules.delta(reason.as_ref()) {
            let Delta { text: new, tokens, settled_bytes, .. } = delta;
            text.push_str(&new);
            told += tokens;
            prop_assert_eq!(told, pushed);
            settled.insert(text.len(), settled_bytes);
        }
        if reason.is_some() {
            break;
        }
    }
    prop_assert_eq!(rules.text(), &text);
    prop_assert_eq!(rules.tokens(), pushed);
    let reason = reason.unwrap_or_else(|| rules.end_of_text());
    Ok(Outcome { reason, text, settled })
}

/// Cuts a text into pieces of these many characters, repeating the lengths.
fn pieces<'a>(text: &'a str, lengths: &'a [usize]) -> impl Iterator<Item = &'a str> {
    let mut lengths = lengths.iter().cycle();
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(*lengths.next()?).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// Texts in which stop texts, breaks and phrases are frequent.
fn texts(most: usize) -> impl Strategy<Value = String> {
    let words =
        ["\n", "\n\n", "Wait", "wait", ",", " ", "a", "é", "数", "学", "🙂", "st", "op", "."];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..most)
        .prop_map(|words| words.concat())
}

fn proposes() -> impl Strategy<Value = Propose> {
    let all = ["stop", "op.", "\n\n\n", "é数", "🙂", "t,", "数学a", ""];
    let stop = prop::sample::subsequence(all.to_vec(), 0..4).prop_map(|texts| stops(&texts));
    let watch = prop::option::weighted(
        0.7,
        any::<bool>().prop_map(|from_next_break| Watch { from_next_break, ..watch() }),
    );
    (stop, watch).prop_map(|(stop, watch)| Propose { stop, watch, ..ask(u32::MAX) })
}

/// Finds where the first stop text ends by checking every place.
fn naive_stop(text: &str, stops: &[String]) -> Option<usize> {
    let ends = |end: &usize| {
        text.is_char_boundary(*end)
            && stops.iter().any(|stop| !stop.is_empty() && text[..*end].ends_with(stop.as_str()))
    };
    (1..=text.len()).find(ends)
}

proptest! {
    #[test]
    fn rules_do_not_depend_on_how_the_text_is_cut(
        propose in proposes(),
        committed in texts(4),
        text in texts(24),
        lengths in prop::collection::vec(0usize..9, 1..6),
    ) {
        prop_assume!(lengths.iter().any(|&length| length > 0));
        let one_by_one = outcome(&propose, &committed, pieces(&text, &[1]))?;
        let cut = outcome(&propose, &committed, pieces(&text, &lengths))?;
        prop_assert_eq!(&cut.reason, &one_by_one.reason);
        // A piece is never cut, so it may continue past the end.
        prop_assert!(cut.text.starts_with(&one_by_one.text) && text.starts_with(&cut.text));
        let went_on = cut.settled.range(..one_by_one.text.len());
        for (read, settled) in went_on {
            prop_assert_eq!(settled, &one_by_one.settled[read], "after {} bytes", read);
        }
        let last = |outcome: &Outcome| outcome.settled.values().last().copied();
        if let FinishReason::Stop { end } = cut.reason {
            // What follows the stop text in its piece is settled too: nothing more is cut.
            prop_assert!(end <= cut.text.len() as u64);
            prop_assert_eq!(last(&cut), Some(cut.text.len() as u64));
        } else {
            prop_assert_eq!(last(&cut), last(&one_by_one));
        }
    }

    #[test]
    fn without_a_watch_the_first_stop_text_ends_the_proposal(
        propose in proposes(),
        text in texts(24),
        lengths in prop::collection::vec(1usize..9, 1..6),
    ) {
        let propose = Propose { watch: None, ..propose };
        let expected = naive_stop(&text, &propose.stop)
            .map_or(FinishReason::EndOfText, |end| FinishReason::Stop { end: end as u64 });
        prop_assert_eq!(outcome(&propose, "", pieces(&text, &lengths))?.reason, expected);
    }
}
