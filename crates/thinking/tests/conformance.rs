//! The conformance kit passes a correct Thinker and fails broken ones.

#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

use std::{sync::Arc, time::Duration};

use thinking::{
    testing::{
        END_OF_TEXT, Fault, FaultKind, KitSettings, Options, Script, ScriptedThinker,
        assert_conforms, conformance,
    },
    thinker::{
        Code, Command, Event, Failure, FinishReason, Open, Prompt, Propose, Sampling, Session,
        TextHash, Thinker, ThoughtStart,
    },
};

fn settings(thinker: &Arc<ScriptedThinker>) -> KitSettings {
    let counted = Arc::clone(thinker);
    KitSettings {
        computed_tokens: Some(Arc::new(move || counted.computed_tokens())),
        exact_resume: true,
        wait: Duration::from_secs(20),
        ..KitSettings::default()
    }
}

#[tokio::test]
async fn scripted_thinker_conforms() {
    let thinker = Arc::new(ScriptedThinker::new(Script::babble()));
    assert_conforms(&*thinker, &settings(&thinker)).await;
    thinker.idle().await;
}

#[tokio::test]
async fn scripted_thinker_conforms_with_delays_and_short_texts() {
    let options = Options { token_delay: Duration::from_millis(1), ..Options::default() };
    let script = Script::function(|committed, propose| {
        let end = (TextHash::of(committed).0 ^ propose.seed) % 7;
        let mut tokens = vec!["\n\n数".to_owned(); end as usize];
        tokens.push(END_OF_TEXT.into());
        tokens
    });
    let thinker = Arc::new(ScriptedThinker::with_options(script, options));
    assert_conforms(&*thinker, &settings(&thinker)).await;
}

/// What a broken Thinker gets wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    WrongHash,
    SettledFalls,
    KeepsAllOfACommit,
    LosesText,
    IgnoresSeed,
    IgnoresStop,
    IgnoresWatch,
    IgnoresCancel,
    IgnoresDeadline,
    TalksAfterFailed,
    WrongTokenCount,
    SilentAppend,
}

/// A relay in front of a correct Thinker that breaks one rule.
struct Broken(ScriptedThinker, Defect);

impl Thinker for Broken {
    fn session(&self) -> Session {
        let (outer, mut server) = Session::channel();
        let mut inner = self.0.session();
        let defect = self.1;
        tokio::spawn(async move {
            let (mut number, mut asking) = (0, true);
            loop {
                tokio::select! {
                    command = server.commands.recv(), if asking => match command {
                        Some(command) => {
                            number += 1;
                            if let Some(command) = spoil_command(command, defect, number) {
                                let _ = inner.commands.send(command).await;
                            }
                        }
                        None => {
                            inner.commands = tokio::sync::mpsc::channel(1).0;
                            asking = false;
                        }
                    },
                    event = inner.events.recv() => {
                        let Some(event) = event else { return };
                        for event in spoil_event(event, defect) {
                            if server.events.send(event).await.is_err() {
                                return;
                            }
                        }
                    }
                    () = server.events.closed() => return,
                }
            }
        });
        outer
    }
}

fn spoil_command(command: Command, defect: Defect, number: u64) -> Option<Command> {
    Some(match (command, defect) {
        (Command::Commit { .. }, Defect::KeepsAllOfACommit) => Command::Commit { bytes: 0 },
        (Command::Propose(p), Defect::IgnoresSeed) => {
            Command::Propose(Propose { seed: number, ..p })
        }
        (Command::Propose(p), Defect::IgnoresStop) => {
            Command::Propose(Propose { stop: Vec::new(), ..p })
        }
        (Command::Propose(p), Defect::IgnoresWatch) => {
            Command::Propose(Propose { watch: None, ..p })
        }
        (Command::Propose(p), Defect::IgnoresCancel | Defect::IgnoresDeadline) => {
            Command::Propose(Propose { max_tokens: p.max_tokens.min(2000), ..p })
        }
        (Command::Cancel, Defect::IgnoresCancel) => return None,
        (Command::Open(open), Defect::IgnoresDeadline) => {
            Command::Open(Open { deadline: None, ..open })
        }
        (command, _) => command,
    })
}

fn spoil_event(event: Event, defect: Defect) -> Vec<Event> {
    match (event, defect) {
        (Event::Warmed(mut warmed), Defect::WrongHash) => {
            warmed.hash.0 ^= 1;
            vec![Event::Warmed(warmed)]
        }
        (Event::Warmed(warmed), Defect::SilentAppend) if warmed.tokens == 0 => Vec::new(),
        (Event::Delta(mut delta), Defect::SettledFalls) => {
            delta.settled_bytes = u64::MAX;
            vec![Event::Delta(delta)]
        }
        (Event::Delta(_), Defect::LosesText) => Vec::new(),
        (Event::Finished(mut finished), Defect::WrongTokenCount) => {
            finished.tokens += 1;
            vec![Event::Finished(finished)]
        }
        (Event::Failed(failure), Defect::TalksAfterFailed) => {
            vec![Event::Failed(failure.clone()), Event::Failed(failure)]
        }
        (event, _) => vec![event],
    }
}

/// Returns a case that must find the defect.
fn finders(defect: Defect) -> &'static str {
    match defect {
        Defect::WrongHash => "open_is_answered_by_opened_then_warmed",
        Defect::SettledFalls | Defect::LosesText => "proposal_keeps_max_tokens",
        Defect::KeepsAllOfACommit => "commit_keeps_a_part_nothing_or_all",
        Defect::IgnoresSeed => "same_seed_gives_same_text_after_commit_of_nothing",
        Defect::IgnoresStop => "stop_text_ends_at_its_token",
        Defect::IgnoresWatch => "trigger_watch_ends_where_the_matcher_matches",
        Defect::IgnoresCancel => "cancel_ends_the_proposal_and_keeps_the_session",
        Defect::IgnoresDeadline => "deadline_of_zero_is_kept",
        Defect::TalksAfterFailed => "propose_before_open_is_refused",
        Defect::WrongTokenCount => "proposal_keeps_max_tokens",
        Defect::SilentAppend => "empty_append_is_warmed",
    }
}

#[tokio::test]
async fn broken_thinkers_are_found_out() {
    let defects = [
        Defect::WrongHash,
        Defect::SettledFalls,
        Defect::KeepsAllOfACommit,
        Defect::LosesText,
        Defect::IgnoresSeed,
        Defect::IgnoresStop,
        Defect::IgnoresWatch,
        Defect::IgnoresCancel,
        Defect::IgnoresDeadline,
        Defect::TalksAfterFailed,
        Defect::WrongTokenCount,
        Defect::SilentAppend,
    ];
    let settings = KitSettings { wait: Duration::from_millis(150), ..KitSettings::default() };
    for defect in defects {
        let broken = Broken(ScriptedThinker::new(Script::babble()), defect);
        let violations = conformance(&broken, &settings).await;
        let found = violations.iter().any(|violation| violation.case == finders(defect));
        assert!(found, "{defect:?} must be found by {}: {violations:#?}", finders(defect));
    }
}

fn open(deadline: Option<Duration>) -> Command {
    Command::Open(Open {
        question_id: "q".into(),
        prompt: Prompt::Raw("What is 7 times 8?".into()),
        committed: String::new(),
        sampling: Sampling::default(),
        deadline,
        thought: ThoughtStart::Unknown,
        review: None,
    })
}

fn propose(max_tokens: u32) -> Command {
    let (stop, watch) = (Vec::new(), None);
    Command::Propose(Propose { max_tokens, stop, watch, seed: 1, report_entropy: false })
}

async fn talk(thinker: &ScriptedThinker, commands: Vec<Command>) -> Vec<Event> {
    let Session { commands: sender, mut events, .. } = thinker.session();
    for command in commands {
        sender.send(command).await.expect("the session takes commands");
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some(event) = events.recv().await {
        all.push(event);
    }
    all
}

#[tokio::test]
async fn scripted_lists_are_said_one_per_proposal() {
    let thinker =
        ScriptedThinker::new(Script::lists([vec!["One", " two"], vec!["Three", "<eos>"]]));
    let commands = vec![
        open(None),
        propose(2),
        Command::Commit { bytes: 4 },
        propose(9),
        Command::Commit { bytes: 5 },
    ];
    let events = talk(&thinker, commands.clone()).await;
    let finished: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Finished(f) => Some((f.reason.clone(), f.tokens, f.bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(finished, [(FinishReason::MaxTokens, 2, 7), (FinishReason::EndOfText, 2, 5)]);
    let Some(Event::Warmed(warmed)) = events.last() else { panic!("{events:?}") };
    assert_eq!(warmed.hash, TextHash::of("One Three"));
    let carried_out: Vec<Command> = thinker.commands().into_iter().map(|(_, c)| c).collect();
    assert_eq!(carried_out, commands);
}

#[tokio::test]
async fn scripted_text_goes_on_from_the_committed_text() {
    let thinker = ScriptedThinker::new(Script::text("One two three"));
    let commands =
        vec![open(None), propose(1), Command::Commit { bytes: 2 }, propose(9), Command::Cancel];
    let events = talk(&thinker, commands).await;
    let text: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Delta(delta) => Some(delta.text.as_str()),
            _ => None,
        })
        .collect();
    // The cancel is in the queue before the second proposal begins.
    assert_eq!(text, ["One"]);
}

#[tokio::test]
async fn scripted_faults_happen_where_they_were_ordered() {
    let fault =
        |session, command, after_tokens, kind| Fault { session, command, after_tokens, kind };
    let lost = Failure::new(Code::Unavailable, "the node is lost");
    let faults = vec![
        fault(Some(0), 1, 2, FaultKind::Fail(lost.clone())),
        fault(Some(1), 0, 0, FaultKind::Vanish),
    ];
    let options = Options { faults, ..Options::default() };
    let thinker = ScriptedThinker::with_options(Script::babble(), options);
    let events = talk(&thinker, vec![open(None), propose(5)]).await;
    assert_eq!(events.len(), 5, "{events:?}");
    assert_eq!(events.last(), Some(&Event::Failed(lost)));
    assert_eq!(talk(&thinker, vec![open(None)]).await, []);
    assert_eq!(talk(&thinker, vec![open(None), propose(1)]).await.len(), 4);
}

#[tokio::test]
async fn silent_thinker_stays_silent_until_it_is_given_up() {
    let silence = Fault { session: None, command: 1, after_tokens: 0, kind: FaultKind::Silence };
    let options = Options { faults: vec![silence], ..Options::default() };
    let thinker = ScriptedThinker::with_options(Script::babble(), options);
    let mut session = thinker.session();
    session.commands.send(open(None)).await.unwrap();
    session.commands.send(propose(1)).await.unwrap();
    assert!(matches!(session.events.recv().await, Some(Event::Opened(_))));
    assert!(matches!(session.events.recv().await, Some(Event::Warmed(_))));
    let more = tokio::time::timeout(Duration::from_millis(50), session.events.recv()).await;
    assert!(more.is_err(), "{more:?}");
    drop(session);
    tokio::time::timeout(Duration::from_secs(20), thinker.idle()).await.unwrap();
}

#[tokio::test]
async fn scripted_context_is_a_limit() {
    let mut options = Options::default();
    options.card.context_tokens = 7;
    let thinker = ScriptedThinker::with_options(Script::babble(), options);
    let events = talk(&thinker, vec![open(None), propose(9)]).await;
    let Some(Event::Finished(finished)) = events.last() else { panic!("{events:?}") };
    assert_eq!((&finished.reason, finished.tokens), (&FinishReason::ContextFull, 2));
}
