//! What happens when nodes are lost, late, refuse or report falsehoods.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use answer::{Ended, Progress, Settings};
use thinking::{
    policy::{End, Strict, StrictConfig},
    testing::{FaultKind, Script},
    thinker::{Code, Command},
};

use crate::support::{
    Liar, STORY, answered, fails, fault, large_script, question, run, small_script, thinker,
    unlimited,
};

/// The story without the large model.
const ALONE: &str = "We add 数学.\n\nWait, is it 5?";

#[tokio::test(start_paused = true)]
async fn a_large_node_that_refuses_leaves_the_small_one_alone() {
    for (code, message) in [
        (Code::Unavailable, "cannot reach large: refused"),
        (Code::Overloaded, "64 sessions are open"),
        (Code::Unauthenticated, "no token"),
    ] {
        let small = thinker(small_script(), vec![]);
        let large = thinker(large_script(), vec![fault(0, 0, fails(code, message))]);
        let (outcome, seen) = answered(run(&[small], Some(large))).await;
        assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
        assert_eq!(outcome.text(), ALONE);
        let reason = outcome.summary.degraded.unwrap();
        assert!(reason.contains("large") && reason.contains(message), "{reason}");
        assert_eq!(seen.count(|p| matches!(p, Progress::Degraded { .. })), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_large_node_the_answer_is_degraded_when_one_is_wanted() {
    let (outcome, _) = answered(run(&[thinker(small_script(), vec![])], None)).await;
    // The doubt was cut off for a takeover; now the small model writes it itself.
    assert_eq!(outcome.text(), ALONE);
    assert_eq!(outcome.summary.degraded.as_deref(), Some("no large node is given"));
    let (outcome, _) = answered(run(&[thinker(Script::text("No doubt."), vec![])], None)).await;
    assert_eq!((outcome.text().as_str(), outcome.summary.degraded), ("No doubt.", None));
}

#[tokio::test(start_paused = true)]
async fn a_large_node_that_dies_in_a_takeover_leaves_its_text() {
    // Open, one append, propose.
    let large = thinker(large_script(), vec![fault(2, 2, fails(Code::Unavailable, "it crashed"))]);
    let small = thinker(small_script(), vec![]);
    let mut run = run(&[small.clone()], Some(large));
    run.settings = Settings { keep_warm: false, ..Settings::default() };
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), "We add 数学.\n\nHmm,So 4.");
    assert_eq!(outcome.summary.degraded.as_deref(), Some("large node large: it crashed"));
    assert_eq!(outcome.summary.large.tokens, 2);
    assert!(outcome.summary.takeovers[0].interrupted);
    assert_eq!(outcome.summary.hash_repairs, 0, "the small node got the large one's text");
}

#[tokio::test(start_paused = true)]
async fn a_silent_large_node_is_given_up_after_its_time() {
    let large = thinker(large_script(), vec![fault(2, 0, FaultKind::Silence)]);
    let mut run = run(&[thinker(small_script(), vec![])], Some(large.clone()));
    run.settings =
        Settings { large_timeout: Duration::from_secs(5), keep_warm: false, ..Settings::default() };
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), ALONE);
    let reason = outcome.summary.degraded.unwrap();
    assert_eq!(reason, "large node large: it gave no sign of life for 5s");
    assert!(outcome.summary.time.large.network_us >= 5_000_000, "the wait is accounted for");
    tokio::task::yield_now().await;
    assert_eq!(large.open_sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_small_node_is_replaced_at_any_point() {
    let whole = "Add 数学 🙂 and\n\nso on, and on.";
    let tokens = 14;
    for after in 0..=tokens {
        let first = thinker(Script::text(whole), vec![fault(1, after, FaultKind::Vanish)]);
        let second = thinker(Script::text(whole), vec![]);
        let large = thinker(large_script(), vec![]);
        let (outcome, seen) = answered(run(&[first, second.clone()], Some(large))).await;
        assert_eq!(outcome.text(), whole, "lost after {after} tokens");
        assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
        assert_eq!(outcome.transcript.spans().len(), 1, "one span, although two nodes wrote it");
        let lost = u32::from(second.started_sessions() > 0);
        assert_eq!(outcome.summary.resumes, lost);
        assert_eq!(seen.count(|p| matches!(p, Progress::Resumed(_))), lost as usize);
        if lost == 1 {
            let Command::Open(open) = &second.commands()[0].1 else { panic!("no open") };
            assert!(whole.starts_with(&open.committed), "it continues from what was shown");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_small_node_gets_what_is_left_of_the_budget_and_the_watch() {
    let first = thinker(small_script(), vec![fault(1, 3, FaultKind::Vanish)]);
    let second = Script::function(|committed, _| {
        let tokens: &[&str] = match committed {
            "We add 数学" => &[".", "\n\n", "Wait", ",", " is"],
            _ => &["So", " 4", "."],
        };
        tokens.iter().map(|token| (*token).to_owned()).collect()
    });
    let second = thinker(second, vec![]);
    let large = thinker(large_script(), vec![]);
    let (outcome, _) = answered(run(&[first, second.clone()], Some(large))).await;
    assert_eq!(outcome.text(), STORY, "the trigger is found where the text continues");
    let Command::Propose(propose) = &second.commands()[1].1 else { panic!("no propose") };
    assert_eq!(propose.max_tokens, 197);
    assert_eq!(outcome.transcript.spans()[0].tokens, 5);
    assert_eq!(outcome.summary.small.model, "scripted");
}

#[tokio::test(start_paused = true)]
async fn a_small_node_lost_while_the_large_one_writes_is_replaced_too() {
    // Open, propose, commit, then the appends of the large model's text.
    let first = thinker(small_script(), vec![fault(3, 0, fails(Code::Internal, "broken"))]);
    let second = thinker(small_script(), vec![]);
    let large = thinker(large_script(), vec![]);
    let (outcome, _) = answered(run(&[first, second], Some(large))).await;
    assert_eq!((outcome.text().as_str(), outcome.summary.resumes), (STORY, 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_small_nodes_loss_is_an_error_that_keeps_the_text() {
    let small =
        thinker(small_script(), vec![fault(1, 3, fails(Code::Unavailable, "it was unplugged"))]);
    let large = thinker(large_script(), vec![]);
    let (outcome, _) = answered(run(&[small], Some(large))).await;
    assert_eq!(outcome.text(), "We add 数学");
    let Ended::Failed { node, failure } = outcome.ended else { panic!("it did not fail") };
    assert_eq!((node.as_str(), failure.code), ("small-0", Code::Unavailable));
    assert_eq!(outcome.summary.failure.unwrap().message, "it was unplugged");
    assert_eq!(outcome.summary.small.tokens, 3);
}

#[tokio::test(start_paused = true)]
async fn a_small_node_lost_while_it_takes_in_the_policys_sentence() {
    let config = || StrictConfig {
        reflections_before_recap: 0,
        recap_sentence: "Check:".into(),
        ..StrictConfig::default()
    };
    // Open, propose, commit, append of the sentence.
    let first = thinker(small_script(), vec![fault(3, 0, FaultKind::Vanish)]);
    let second = thinker(small_script(), vec![]);
    let mut run = run(&[first, second], Some(thinker(large_script(), vec![])));
    run.policy = unlimited(Strict::new(config(), 200));
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), "We add 数学.\n\nCheck:Hmm, no 🙂\n\nSo 4.");
    assert_eq!((outcome.summary.inserted_tokens, outcome.summary.resumes), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn another_text_on_a_node_is_mended_by_sending_ours() {
    for warmed in 0..3 {
        for small_lies in [true, false] {
            let liar = |script| {
                Arc::new(Liar {
                    truthful: thinker(script, vec![]),
                    warmed,
                    sessions: 1,
                    started: AtomicU32::new(0),
                })
            };
            let run = if small_lies {
                run(&[liar(small_script())], Some(thinker(large_script(), vec![])))
            } else {
                run(&[thinker(small_script(), vec![])], Some(liar(large_script())))
            };
            let (outcome, seen) = answered(run).await;
            assert_eq!(outcome.text(), STORY, "lie {warmed}, small {small_lies}");
            assert_eq!(outcome.summary.hash_repairs, 1, "lie {warmed}, small {small_lies}");
            assert_eq!(seen.count(|p| matches!(p, Progress::Repaired { .. })), 1);
            assert_eq!(outcome.summary.degraded, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_agrees_is_given_up() {
    let liar = Liar {
        truthful: thinker(large_script(), vec![]),
        warmed: 0,
        sessions: u32::MAX,
        started: AtomicU32::new(0),
    };
    let (outcome, _) =
        answered(run(&[thinker(small_script(), vec![])], Some(Arc::new(liar)))).await;
    assert_eq!(outcome.text(), ALONE);
    assert!(outcome.summary.degraded.unwrap().contains("differs from ours"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_small_node_ends_at_its_time_or_the_deadline() {
    let silent = || thinker(small_script(), vec![fault(1, 2, FaultKind::Silence)]);
    let (outcome, _) = answered(run(&[silent()], None)).await;
    let Ended::Failed { failure, .. } = outcome.ended else { panic!("it did not fail") };
    assert_eq!(failure.message, "it gave no sign of life for 120s");
    let mut run = run(&[silent()], None);
    run.question.deadline = Some(Duration::from_secs(3));
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.ended, Ended::Complete(End::Deadline));
    assert_eq!(outcome.text(), "We add");
    assert!(outcome.summary.time.total_us < 5_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_this_process_is_no_silence_of_a_node() {
    let small = thinker(Script::text("one two three"), vec![]);
    let mut seen = crate::support::Seen::default();
    let pause = async {
        tokio::time::sleep(Duration::from_millis(15)).await;
        tokio::time::advance(Duration::from_secs(500)).await;
        std::future::pending().await
    };
    let outcome = answer::answer(run(&[small], None), &mut seen, pause).await;
    assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
    assert_eq!(outcome.text(), "one two three");
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_node_made_and_nobody_saw_is_counted() {
    // "Wait" may still become a trigger, so it is not shown when the node is lost.
    let first = thinker(small_script(), vec![fault(1, 6, FaultKind::Vanish)]);
    let second = thinker(small_script(), vec![]);
    let (outcome, _) = answered(run(&[first, second], Some(thinker(large_script(), vec![])))).await;
    assert_eq!(outcome.text(), STORY);
    assert_eq!(outcome.summary.small.discarded_tokens, 3, "\"Wait\" once, \"Wait,\" once");
}

#[tokio::test(start_paused = true)]
async fn no_small_node_is_a_plain_error() {
    let mut nobody = run(&[], None);
    nobody.question = question(1);
    let mut seen = crate::support::Seen::default();
    let outcome = answer::answer(nobody, &mut seen, std::future::pending()).await;
    assert!(matches!(outcome.ended, Ended::Failed { .. }));
}
