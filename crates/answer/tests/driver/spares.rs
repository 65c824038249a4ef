//! Several large nodes: if one is lost, the next one continues, and the answer is complete.

use std::sync::Arc;

use answer::{Ended, Node, Run, Settings, progress::Progress};
use thinking::{
    policy::End,
    testing::FaultKind,
    thinker::{Code, Thinker},
};

use crate::{
    late::{doubtful, ms, overlapped, waits_us},
    support::{
        Out, STORY, answered, fails, fault, large_script, question, run, small_script, strict,
        thinker,
    },
};

/// Returns the run with these large nodes, in this order.
fn beside(large: &[Arc<dyn Thinker>], run: Run) -> Run {
    let named = large.iter().enumerate();
    let large = named.map(|(index, node)| Node::new(format!("large-{index}"), Arc::clone(node)));
    Run { large: large.collect(), ..run }
}

#[tokio::test(start_paused = true)]
async fn at_whatever_moment_one_is_lost_the_answer_is_whole() {
    let mut in_a_takeover = 0;
    for overlap in [None, Some(20)] {
        for resend in [false, true] {
            for lost_ms in (1..400).step_by(19) {
                let sound = thinker(large_script(), vec![]);
                let first = Arc::new(Out::new(thinker(large_script(), vec![]), lost_ms, 1 << 30));
                let run = run(&[thinker(doubtful(30), vec![])], None);
                let mut run = beside(&[first, sound.clone()], run);
                (run.question, run.policy) = (question(4000), strict(4000));
                run.settings = Settings { resend, ..Settings::default() };
                let run = match overlap {
                    Some(tokens) => overlapped(run, tokens),
                    None => run,
                };
                let (outcome, seen) = answered(run).await;
                let case = format!("{lost_ms} ms, overlap {overlap:?}, resend {resend}");
                assert_eq!(outcome.ended, Ended::Complete(End::EndOfText), "{case}");
                let summary = &outcome.summary;
                assert_eq!((&summary.degraded, summary.rejoins), (&None, 0), "{case}");
                assert_eq!(summary.large_resumes, 1, "{case}");
                assert!(summary.takeovers.iter().all(|takeover| !takeover.interrupted), "{case}");
                assert!(sound.computed_tokens() > 0 && summary.hash_repairs == 0, "{case}");
                let begins = ["Wait, ", "Hmm"];
                let known = |part: &str| begins.iter().any(|begin| part.starts_with(begin));
                let text = outcome.text();
                assert!(overlap.is_some() || waits_us(&seen).is_empty(), "{case}");
                in_a_takeover += usize::from(!text.split_inclusive("\n\n").all(known));
            }
        }
    }
    assert!(in_a_takeover > 5, "the node was lost within a takeover: {in_a_takeover}");
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_is_passed_over_before_anything_is_asked_of_it() {
    let refuses = thinker(large_script(), vec![fault(0, 0, fails(Code::Unauthenticated, "no"))]);
    let vanishes = thinker(large_script(), vec![fault(0, 0, FaultKind::Vanish)]);
    let sound = thinker(large_script(), vec![]);
    let run = beside(&[refuses, vanishes, sound], run(&[thinker(small_script(), vec![])], None));
    let (outcome, seen) = answered(run).await;
    assert_eq!(outcome.text(), STORY);
    let summary = &outcome.summary;
    assert_eq!((summary.large_resumes, &summary.degraded), (2, &None));
    assert_eq!(summary.large.node, "large-2");
    let resumed = |progress: &Progress| match progress {
        Progress::Resumed(resumed) => Some(resumed.to.clone()),
        _ => None,
    };
    let to: Vec<_> = seen.0.iter().filter_map(|stamped| resumed(&stamped.progress)).collect();
    assert_eq!(to, ["large-1", "large-2"]);
}

#[tokio::test(start_paused = true)]
async fn when_both_are_lost_the_first_that_is_back_takes_over_again() {
    let first = Arc::new(Out::new(thinker(large_script(), vec![]), 100, 2000));
    let second = Arc::new(Out::new(thinker(large_script(), vec![]), 300, 1 << 30));
    let mut run = beside(&[first, second], run(&[thinker(doubtful(60), vec![])], None));
    (run.question, run.policy) = (question(4000), strict(4000));
    run.settings.rejoin_after = Some(ms(100));
    let (outcome, seen) = answered(run).await;
    assert_eq!(outcome.ended, Ended::Complete(End::EndOfText));
    let summary = &outcome.summary;
    assert_eq!((summary.large_resumes, summary.rejoins), (1, 1));
    assert_eq!(summary.degraded.as_deref(), Some("large node large-1: it is unreachable"));
    assert_eq!(seen.count(|p| matches!(p, Progress::Rejoined(b) if b.node == "large-0")), 1);
    assert!(waits_us(&seen).iter().all(|us| *us < 60_000), "nobody waits for a lost node");
}
