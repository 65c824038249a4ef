//! What happens when nothing goes wrong.

use std::{sync::Arc, time::Duration};

use answer::{Ended, Progress, Settings, Writer};
use thinking::{
    policy::{End, Paper, PaperConfig, Role, Solo, Strict, StrictConfig, Why},
    testing::Script,
    thinker::{Append, Command},
};

use crate::support::{
    STORY, answered, check, large_script, question, run, small_script, strict, thinker, unlimited,
};

#[tokio::test(start_paused = true)]
async fn a_takeover_from_end_to_end() {
    let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
    let (outcome, seen) = answered(run(&[small.clone()], Some(large.clone()))).await;
    assert_eq!(outcome.text(), STORY);
    assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
    let spans: Vec<_> = outcome
        .transcript
        .spans()
        .iter()
        .map(|s| (s.writer, s.why, s.text.as_str(), s.tokens))
        .collect();
    assert_eq!(
        spans,
        [
            (Writer::Small, Why::Turn, "We add 数学.\n\n", 5),
            (Writer::Large, Why::Reflection, "Hmm, no 🙂\n\n", 5),
            (Writer::Small, Why::Turn, "So 4.", 4),
        ]
    );
    let summary = &outcome.summary;
    assert_eq!((summary.small.tokens, summary.large.tokens), (9, 5));
    assert_eq!(summary.small.discarded_tokens, 2, "\"Wait,\" was cut off");
    assert_eq!(summary.takeovers.len(), 1);
    assert_eq!((summary.degraded.as_deref(), summary.hash_repairs), (None, 0));
    let takeover = &summary.takeovers[0];
    assert_eq!((takeover.why, takeover.tokens), (Why::Reflection, 5));
    assert_eq!(takeover.handoff_us, Some(10_000), "one token's time and nothing else");
    assert_eq!(takeover.spent.decode_us, 50_000);
    // Both asks of the small model and the commit are one sequence, without a wait in between.
    let small_commands: Vec<Command> = small.commands().into_iter().map(|(_, c)| c).collect();
    assert!(matches!(small_commands[1], Command::Propose(_)));
    assert_eq!(small_commands[2], Command::Commit { bytes: "We add 数学.\n\n".len() as u64 });
    assert_eq!(seen.count(|p| matches!(p, Progress::Ask(_))), 3);
}

#[tokio::test(start_paused = true)]
async fn keep_warm_leaves_nothing_to_prefill_at_a_takeover() {
    let mut left = Vec::new();
    for keep_warm in [true, false] {
        let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
        let mut run = run(&[small], Some(large.clone()));
        run.settings = Settings { keep_warm, ..Settings::default() };
        let (outcome, _) = answered(run).await;
        assert_eq!(outcome.text(), STORY);
        left.push(outcome.summary.takeovers[0].prefill_tokens);
        let before: String = large
            .commands()
            .into_iter()
            .filter_map(|(_, command)| match command {
                Command::Append(Append { text, .. }) => Some(text),
                _ => None,
            })
            .collect();
        assert!(before.starts_with("We add 数学.\n\n"), "{before:?}");
        assert!(!before.contains("Wait"), "what may be cut is never sent ahead: {before:?}");
    }
    assert_eq!(left[0], 0);
    assert!(left[1] > 0, "without it the takeover waits for the prefill");
}

#[tokio::test(start_paused = true)]
async fn a_slow_large_node_never_stalls_the_small_one() {
    let text = "one two three four.\n\nfive six.\n".repeat(40);
    let small = thinker(Script::text(text.clone()), vec![]);
    let slow = Arc::new(thinking::testing::ScriptedThinker::with_options(
        large_script(),
        thinking::testing::Options {
            prefill_delay: Duration::from_secs(60),
            ..thinking::testing::Options::default()
        },
    ));
    let mut run = run(&[small.clone()], Some(slow.clone()));
    (run.question, run.policy) = (question(2000), strict(2000));
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), text);
    let alone_us = 10_000 * outcome.summary.small.tokens;
    assert_eq!(outcome.summary.time.total_us, alone_us, "the small model's own time");
    let appends = slow.commands().len();
    assert!(appends < 40, "text that the large node could not take yet was collected: {appends}");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_discarded_probe_is_shown_or_sent() {
    let small = Script::lists([
        vec!["Add", ".", "\n\n"],
        vec!["nothing", " to", " see"],
        vec!["Done", ".", "<eos>"],
        vec![],
    ]);
    let (small, large) = (thinker(small, vec![]), thinker(large_script(), vec![]));
    let mut run = run(&[small], Some(large.clone()));
    let config = PaperConfig { max_target_tokens: 3, ..PaperConfig::default() };
    run.policy = unlimited(Paper::new(config, 200));
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), "Add.\n\nDone.");
    assert_eq!(outcome.summary.small.discarded_tokens, 3);
    let sent = format!("{:?}", large.commands());
    assert!(!sent.contains("nothing") && !sent.contains(" see"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn the_paper_may_let_both_models_write_the_same_place() {
    for (choose_large, first) in [(true, "Hmm, no 🙂\n\n"), (false, "Wait, no")] {
        let small = Script::lists([vec!["A", ".", "\n\n"], vec!["Wait", ",", " no"], vec!["B."]]);
        let (small, large) = (thinker(small, vec![]), thinker(large_script(), vec![]));
        let mut run = run(&[small], Some(large));
        let config = PaperConfig { max_target_tokens: 5, choose_large, ..PaperConfig::default() };
        run.policy = unlimited(Paper::new(config, 200));
        let (outcome, _) = answered(run).await;
        // With `choose_large` off the large model's neutral text leans away from the probe, so it is kept too.
        let large_wrote =
            outcome.transcript.spans().iter().any(|span| span.writer == Writer::Large);
        let expected = if large_wrote { "Hmm, no 🙂\n\n" } else { first };
        assert_eq!(outcome.text(), format!("A.\n\n{expected}B."));
        assert_eq!(outcome.summary.hash_repairs, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_policys_own_sentence_is_committed_on_both_sides() {
    let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
    let mut run = run(&[small.clone()], Some(large.clone()));
    let config = StrictConfig {
        reflections_before_recap: 0,
        recap_sentence: "Check:".into(),
        ..StrictConfig::default()
    };
    run.policy = unlimited(Strict::new(config, 200));
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), "We add 数学.\n\nCheck:Hmm, no 🙂\n\nSo 4.");
    assert_eq!(outcome.transcript.spans()[1].writer, Writer::Policy);
    assert_eq!(outcome.transcript.spans()[1].tokens, 1);
    assert_eq!(outcome.summary.inserted_tokens, 1);
    assert_eq!(outcome.summary.takeovers[0].why, Why::ExcessiveReflection);
}

#[tokio::test(start_paused = true)]
async fn the_budget_ends_the_answer() {
    let small = thinker(Script::babble(), vec![]);
    let mut run = run(&[small], Some(thinker(Script::babble(), vec![])));
    (run.question, run.policy) = (question(50), strict(50));
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.ended, Ended::Complete(End::MaxTokens));
    let made = outcome.summary.tokens() + outcome.summary.small.discarded_tokens;
    assert!(made <= 50, "{made}");
}

#[tokio::test(start_paused = true)]
async fn either_model_may_write_alone() {
    for (role, text) in
        [(Role::Small, "We add 数学.\n\nWait, is it 5?"), (Role::Large, "Hmm, no 🙂\n\n")]
    {
        let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
        let mut run = run(&[small], Some(large));
        run.policy = unlimited(Solo::new(role, 200));
        let (outcome, _) = answered(run).await;
        assert_eq!(outcome.text(), text);
        assert!(outcome.summary.takeovers.is_empty(), "an ordinary turn is no takeover");
    }
}

#[tokio::test(start_paused = true)]
async fn a_system_without_sessions_says_the_same_and_sends_it_all() {
    let (small, large) = (thinker(small_script(), vec![]), thinker(large_script(), vec![]));
    let mut run = run(&[small], Some(large.clone()));
    run.settings = Settings { resend: true, ..Settings::default() };
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.text(), STORY);
    assert_eq!(outcome.summary.takeovers.len(), 1);
    let commands: Vec<Command> = large.commands().into_iter().map(|(_, c)| c).collect();
    let [Command::Open(open), Command::Propose(_)] = &commands[..] else {
        panic!("one session for the takeover, and nothing ahead or after it: {commands:?}")
    };
    assert_eq!(open.committed, "We add 数学.\n\n");
    assert_eq!(large.open_sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_question_and_seed_give_the_same_answer() {
    let mut answers = Vec::new();
    for seed in [1, 1, 2] {
        let babble = || thinker(Script::babble(), vec![]);
        let mut run = run(&[babble()], Some(babble()));
        run.question.seed = seed;
        let (outcome, _) = answered(run).await;
        answers.push(outcome.text());
    }
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[0], answers[2]);
}

#[tokio::test(start_paused = true)]
async fn cancelling_stops_both_models_and_keeps_the_text() {
    let (small, large) = (thinker(Script::babble(), vec![]), thinker(Script::babble(), vec![]));
    let mut seen = crate::support::Seen::default();
    let run = run(&[small.clone()], Some(large.clone()));
    let after = tokio::time::sleep(Duration::from_millis(255));
    let outcome = answer::answer(run, &mut seen, after).await;
    check(&outcome, &seen);
    assert_eq!(outcome.ended, Ended::Complete(End::Cancelled));
    assert!(!outcome.text().is_empty());
    let made = small.computed_tokens() + large.computed_tokens();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(small.computed_tokens() + large.computed_tokens() <= made + 1, "one step at most");
    assert_eq!((small.open_sessions(), large.open_sessions()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_answer_with_what_there_is() {
    let small = thinker(Script::babble(), vec![]);
    let mut run = run(&[small], Some(thinker(Script::babble(), vec![])));
    run.question.deadline = Some(Duration::from_millis(500));
    let (outcome, _) = answered(run).await;
    assert_eq!(outcome.ended, Ended::Complete(End::Deadline));
    assert!(!outcome.text().is_empty());
    assert!(outcome.summary.time.total_us < 1_000_000, "the node said so itself");
}
