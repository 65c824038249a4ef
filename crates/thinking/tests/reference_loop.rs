//! Replays recorded runs of the authors' published loop against the `paper` policy.
//!
//! The tokens of the recorded models are fed back. The policy must make the same calls in the same order and end with
//! the same text, counts and takeovers. `REFERENCE_LOOP_FIXTURE` names another file of the same format (described in
//! tests/fixtures/README.md).

use std::collections::HashSet;

use serde::Deserialize;
use thinking::{
    policy::{Action, Ask, Paper, PaperConfig, PaperReport, Policy, PolicyEvent, Role, Why},
    testing::{END_OF_TEXT, pieces},
    thinker::FinishReason,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    seed: serde_json::Value,
    prompt: String,
    max_tokens: u32,
    config: PaperConfig,
    calls: Vec<Call>,
    result: Outcome,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    role: Role,
    prompt_chars: usize,
    prompt_tail: String,
    max_tokens: u32,
    stop: Option<Vec<String>>,
    tokens: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    text: String,
    #[serde(flatten)]
    report: PaperReport,
}

/// Returns the text of the tokens, without ends of text.
fn shown<'a>(tokens: impl IntoIterator<Item = &'a String>) -> String {
    tokens.into_iter().filter(|token| *token != END_OF_TEXT).map(String::as_str).collect()
}

/// A driver that uses recorded tokens.
struct Replay<'a> {
    policy: Paper,
    calls: std::slice::Iter<'a, Call>,
    /// The tokens of prompt and answer.
    ids: Vec<String>,
    /// The open proposals of the small and of the large writer.
    open: [Option<&'a [String]>; 2],
}

fn tokens_of(text: &str) -> Vec<String> {
    pieces(text).map(str::to_owned).collect()
}

impl<'a> Replay<'a> {
    /// Returns the next call, which must be the recorded one.
    fn ask(&mut self, ask: &Ask, delimiters: &[String]) -> Result<&'a Call, String> {
        let call = self.calls.next().ok_or_else(|| format!("no call was recorded for {ask:?}"))?;
        let given: Vec<char> = self.ids.concat().chars().collect();
        let tail: String = given[given.len().saturating_sub(32)..].iter().collect();
        // The authors stop a turn at the delimiters and at the text of the end-of-text token.
        let mut stop = ask.stop.clone();
        if ask.why == Why::Turn {
            assert_eq!(stop, delimiters);
            stop.push(END_OF_TEXT.into());
        }
        let stop = (!stop.is_empty()).then_some(stop);
        let asked = (ask.role, given.len(), tail, ask.max_tokens, &stop);
        let recorded =
            (call.role, call.prompt_chars, call.prompt_tail.clone(), call.max_tokens, &call.stop);
        if asked != recorded {
            return Err(format!("asked {asked:?}, recorded {recorded:?}"));
        }
        let open = &mut self.open[ask.role as usize];
        if open.replace(&call.tokens).is_some() {
            return Err(format!("asked while a proposal of {:?} is open", ask.role));
        }
        Ok(call)
    }

    /// Keeps all or nothing, as the loop does. Returns the tokens kept. An end of text alone has no bytes, so the
    /// policy's own count decides whether it was kept.
    fn keep(&mut self, role: Role, bytes: u64, counted: usize) -> Result<&'a [String], String> {
        let tokens = self.open[role as usize].take().ok_or("kept where nothing was open")?;
        let text = shown(tokens);
        match bytes as usize {
            0 if text.is_empty() && self.ids.len() + tokens.len() > counted => Ok(&[]),
            0 if text.is_empty() => Ok(tokens),
            0 => Ok(&[]),
            bytes if bytes == text.len() => Ok(tokens),
            _ => Err(format!("kept {bytes} bytes of {text:?}")),
        }
    }

    fn run(&mut self, run: &Run) -> Result<(), String> {
        let prompt_tokens = self.ids.len();
        let mut actions =
            self.policy.step(PolicyEvent::Started { prompt_tokens: prompt_tokens as u32 });
        loop {
            let counted = prompt_tokens + self.policy.report().new_tokens as usize;
            // In reverse order: what is thrown away comes before what is kept.
            let (mut next, mut kept) = (None, Vec::new());
            for action in std::mem::take(&mut actions).into_iter().rev() {
                match action {
                    Action::Keep { role, bytes } => {
                        let tokens = self.keep(role, bytes, counted)?;
                        self.ids.extend_from_slice(tokens);
                        kept.push(tokens.len());
                    }
                    other => next = Some(other),
                }
            }
            if self.ids.len() != counted || kept.iter().filter(|tokens| **tokens > 0).count() > 1 {
                return Err(format!("{counted} tokens counted, {kept:?} kept: {}", self.ids.len()));
            }
            actions = match next {
                Some(Action::Ask(ask)) => {
                    let call = self.ask(&ask, &run.config.trigger_tokens)?;
                    let text = shown(&call.tokens);
                    let reason = reason(call, &text, &ask);
                    let tokens = call.tokens.len() as u32;
                    self.policy.step(PolicyEvent::Finished { text: &text, tokens, reason: &reason })
                }
                Some(Action::Insert { text, .. }) => {
                    let tokens = tokens_of(&text);
                    let count = tokens.len() as u32;
                    self.ids.extend(tokens);
                    self.policy.step(PolicyEvent::Inserted { tokens: count })
                }
                Some(Action::End(_)) => return Ok(()),
                other => return Err(format!("a step ended with {other:?}")),
            };
        }
    }
}

/// Returns the finish reason that a node would have given for this call.
fn reason(call: &Call, text: &str, ask: &Ask) -> FinishReason {
    if call.tokens.last().is_some_and(|token| token == END_OF_TEXT) {
        return FinishReason::EndOfText;
    }
    let ends =
        ask.stop.iter().filter_map(|stop| text.find(stop.as_str()).map(|at| at + stop.len()));
    match ends.min() {
        Some(end) => FinishReason::Stop { end: end as u64 },
        None => FinishReason::MaxTokens,
    }
}

fn replay(run: &Run) -> Result<(), String> {
    let mut replay = Replay {
        policy: Paper::new(run.config.clone(), run.max_tokens),
        calls: run.calls.iter(),
        ids: tokens_of(&run.prompt),
        open: [None, None],
    };
    replay.run(run)?;
    if let Some(call) = replay.calls.next() {
        return Err(format!("ended before the recorded {call:?}"));
    }
    let text = shown(&replay.ids);
    if text != run.result.text {
        return Err(format!("text {text:?}, recorded {:?}", run.result.text));
    }
    let report = replay.policy.report();
    if *report != run.result.report {
        return Err(format!("reported {report:#?}, recorded {:#?}", run.result.report));
    }
    Ok(())
}

fn fixture() -> Vec<Run> {
    let built_in = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/reference_loop.json");
    let path = std::env::var("REFERENCE_LOOP_FIXTURE").unwrap_or_else(|_| built_in.to_owned());
    let json = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn paper_policy_replays_every_run_of_the_reference_loop() {
    let runs = fixture();
    assert!(!runs.is_empty(), "the fixture holds no runs");
    let mut wrong = Vec::new();
    for run in &runs {
        if let Err(why) = replay(run) {
            wrong.push(format!("run with seed {}: {why}", run.seed));
        }
    }
    assert!(wrong.is_empty(), "{} of {} runs: {}", wrong.len(), runs.len(), wrong[0]);
}

#[test]
fn reference_loop_replay_notices_a_changed_call() {
    let mut noticed = HashSet::new();
    for change in 0..4 {
        let mut runs = fixture();
        let Some(run) = runs.iter_mut().find(|run| run.calls.len() > 1) else {
            panic!("the fixture has no run of two calls");
        };
        match change {
            0 => run.calls[1].max_tokens += 1,
            1 => drop(run.calls.pop()),
            2 => run.result.report.attempts += 1,
            _ => run.result.text.push('.'),
        }
        noticed.extend(replay(run).is_err().then_some(change));
    }
    assert_eq!(noticed.len(), 4, "{noticed:?}");
}
