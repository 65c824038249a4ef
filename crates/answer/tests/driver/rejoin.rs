//! A large node that is lost and comes back.

use std::sync::Arc;

use answer::{Ended, Outcome, Progress, Run, Settings, Writer, progress::Rejoined};
use thinking::{
    policy::{End, PolicyKind, PolicySpec, Preset},
    testing::{FaultKind, Script},
    thinker::{Code, Command, Thinker},
};
use tokio::time::Instant;

use crate::{
    late::{doubtful, ms, overlapped, waits_us},
    support::{Out, Seen, answered, fault, large_script, question, run, strict, thinker},
};

/// A small model that doubts in this many paragraphs, together with this large one.
fn doubting(paragraphs: usize, large: Arc<dyn Thinker>) -> Run {
    let mut run = run(&[thinker(doubtful(paragraphs), vec![])], Some(large));
    (run.question, run.policy) = (question(4000), strict(4000));
    run
}

fn rejoins_after(run: Run, after_ms: u64) -> Run {
    Run { settings: Settings { rejoin_after: Some(ms(after_ms)), ..run.settings }, ..run }
}

fn rejoined(seen: &Seen) -> Vec<Rejoined> {
    let back = |progress: &Progress| match progress {
        Progress::Rejoined(rejoined) => Some(rejoined.clone()),
        _ => None,
    };
    seen.0.iter().filter_map(|stamped| back(&stamped.progress)).collect()
}

/// Returns who wrote what was shown after the large node was back.
fn writers_after_rejoining(seen: &Seen) -> Vec<Writer> {
    let back = seen.0.iter().position(|s| matches!(s.progress, Progress::Rejoined(_))).unwrap();
    let writer = |progress: &Progress| match progress {
        Progress::Text(text) => Some(text.writer),
        _ => None,
    };
    seen.0[back..].iter().filter_map(|stamped| writer(&stamped.progress)).collect()
}

/// Returns the seconds from `start` to each session.
fn tried(out: &Out, start: Instant) -> Vec<f64> {
    let seconds = |at: &Instant| (*at - start).as_secs_f64();
    out.tried.lock().unwrap().iter().map(seconds).collect()
}

fn is_whole(outcome: &Outcome) -> bool {
    outcome.ended == Ended::Complete(End::EndOfText) && outcome.summary.hash_repairs == 0
}

#[tokio::test(start_paused = true)]
async fn takeovers_happen_again_when_the_large_node_is_back() {
    let start = Instant::now();
    let near = thinker(large_script(), vec![]);
    let large = Arc::new(Out::new(near.clone(), 300, 1500));
    let (outcome, seen) = answered(doubting(60, large.clone())).await;
    assert!(is_whole(&outcome));
    let text = outcome.text();
    let begins = ["Wait, ", "Hmm", "Let me check whether"];
    let known = |paragraph: &str| begins.iter().any(|begin| paragraph.starts_with(begin));
    assert!(text.split_inclusive("\n\n").all(known), "{text}");
    let summary = &outcome.summary;
    assert_eq!(summary.degraded.as_deref(), Some("large node large: it is unreachable"));
    assert_eq!(tried(&large, start), [0.0, 1.3, 3.3], "it was lost at 0.3 s");
    assert_eq!(seen.count(|p| matches!(p, Progress::Degraded { .. })), 1, "a try is no loss");
    let [back] = &rejoined(&seen)[..] else { panic!("{:?}", rejoined(&seen)) };
    assert_eq!((summary.rejoins, back.attempts, back.away_us / 1000), (1, 2, 3000));
    assert!(writers_after_rejoining(&seen).contains(&Writer::Large));
    let opened: Vec<_> = near.commands().into_iter().filter_map(opened).collect();
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[1].len() as u64, back.committed_bytes);
    assert!(!opened[1].is_empty() && text.starts_with(&opened[1]));
    assert!(waits_us(&seen).iter().all(|us| *us < 60_000), "nobody waits for a lost node");
}

fn opened((_, command): (u32, Command)) -> Option<String> {
    match command {
        Command::Open(open) => Some(open.committed),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn at_whatever_moment_it_is_lost_what_was_shown_stays() {
    let (mut cut_short, mut not_begun, mut unasked) = (0, 0, 0);
    for overlap in [None, Some(3), Some(20)] {
        for lost_ms in (1..400).step_by(7) {
            let large = Out::new(thinker(large_script(), vec![]), lost_ms, lost_ms + 100);
            let run = rejoins_after(doubting(30, Arc::new(large)), 40);
            let run = match overlap {
                Some(tokens) => overlapped(run, tokens),
                None => run,
            };
            let (outcome, seen) = answered(run).await;
            assert!(is_whole(&outcome), "{lost_ms}: {:?}", outcome.ended);
            let summary = &outcome.summary;
            assert_eq!((summary.rejoins, rejoined(&seen)[0].attempts), (1, 2), "{lost_ms}");
            assert!(writers_after_rejoining(&seen).contains(&Writer::Large), "{lost_ms}");
            let interrupted = summary.takeovers.iter().filter(|t| t.interrupted).count();
            assert!(interrupted <= 1);
            cut_short += interrupted;
            let waits = waits_us(&seen);
            assert_eq!(waits.len(), summary.abandoned as usize);
            unasked += waits.iter().filter(|us| **us == 0).count();
            not_begun += waits.iter().filter(|us| **us > 0).count();
        }
    }
    let counts = format!("{cut_short} {not_begun} {unasked}");
    assert!(cut_short > 20 && not_begun > 10 && unasked > 100, "{counts}");
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_was_cut_short_is_one_and_the_small_model_goes_on_from_it() {
    // The first takeover's text arrives from 110 ms to 150 ms.
    let large = Out::new(thinker(large_script(), vec![]), 125, 500);
    let (outcome, _) = answered(doubting(4, Arc::new(large))).await;
    assert!(is_whole(&outcome));
    let text = outcome.text();
    assert!(text.starts_with("Wait, is it so?\n\nHmm, noWait, is it so?\n\n"), "{text}");
    let takeover = &outcome.summary.takeovers[0];
    assert!(takeover.interrupted && takeover.tokens == 3, "{takeover:?}");
    assert!(takeover.spent.decode_us > 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_between_two_tries_doubles_to_half_a_minute() {
    let start = Instant::now();
    let large = Out::new(thinker(large_script(), vec![]), 500, 1 << 30);
    let large = Arc::new(large);
    let mut run = run(
        &[thinker(Script::text("and so on ".repeat(4000)), vec![])],
        Some(large.clone() as Arc<dyn Thinker>),
    );
    (run.question, run.policy) = (question(20_000), strict(20_000));
    let (outcome, seen) = answered(run).await;
    assert!(is_whole(&outcome) && outcome.summary.rejoins == 0);
    assert_eq!(tried(&large, start), [0.0, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5]);
    assert_eq!(seen.count(|p| matches!(p, Progress::Degraded { .. })), 1);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_and_what_nobody_wants_is_not_tried_again() {
    for (code, rejoin_after, sessions) in [
        (Code::Unauthenticated, Some(ms(10)), 1),
        (Code::ContextTooLong, Some(ms(10)), 1),
        (Code::Internal, Some(ms(10)), 1),
        (Code::Unavailable, None, 1),
        (Code::Overloaded, Some(ms(10)), 2),
        (Code::DeadlineExceeded, Some(ms(10)), 2),
    ] {
        let large = Out::new(thinker(large_script(), vec![]), 200, 205);
        let large = Arc::new(Out { code, ..large });
        let mut run = doubting(20, large.clone());
        run.settings.rejoin_after = rejoin_after;
        let (outcome, _) = answered(run).await;
        assert!(is_whole(&outcome));
        assert_eq!(large.tried.lock().unwrap().len(), sessions, "{code:?} {rejoin_after:?}");
        assert_eq!(outcome.summary.rejoins as usize, sessions - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_gives_no_sign_is_dropped_and_disturbs_nobody() {
    let dies = fault(1, 0, FaultKind::Vanish);
    let silent = fault(0, 0, FaultKind::Silence);
    let faults = [(0, dies), (1, silent)]
        .map(|(n, fault)| thinking::testing::Fault { session: Some(n), ..fault });
    let large = thinker(large_script(), faults.to_vec());
    let mut run = rejoins_after(doubting(60, large.clone()), 100);
    run.settings.large_timeout = ms(2000);
    let (outcome, seen) = answered(run).await;
    assert!(is_whole(&outcome));
    assert_eq!((large.started_sessions(), outcome.summary.rejoins), (3, 1));
    // It was tried after 100 ms, given up after 2 s more, and tried again after another 200 ms.
    assert_eq!((rejoined(&seen)[0].attempts, rejoined(&seen)[0].away_us / 1000), (2, 2300));
    assert!(waits_us(&seen).iter().all(|us| *us == 0), "{:?}", waits_us(&seen));
    assert!(writers_after_rejoining(&seen).contains(&Writer::Large));
}

#[tokio::test(start_paused = true)]
async fn each_loss_is_told_and_the_first_reason_stands() {
    let faults = [0, 1].map(|session| thinking::testing::Fault {
        session: Some(session),
        ..fault(6, 0, FaultKind::Fail(failure(session)))
    });
    let large = thinker(large_script(), faults.to_vec());
    let (outcome, seen) = answered(rejoins_after(doubting(40, large), 100)).await;
    assert!(is_whole(&outcome));
    assert_eq!(outcome.summary.degraded.as_deref(), Some("large node large: loss 0"));
    assert_eq!(seen.count(|p| matches!(p, Progress::Degraded { .. })), 2);
    let back = rejoined(&seen);
    assert_eq!(back.iter().map(|back| back.attempts).collect::<Vec<_>>(), [1, 1], "{back:?}");
}

fn failure(session: u32) -> thinking::thinker::Failure {
    thinking::thinker::Failure::new(Code::Unavailable, format!("loss {session}"))
}

#[tokio::test(start_paused = true)]
async fn the_large_model_that_writes_alone_goes_on_when_it_is_back() {
    let says = |who: &'static str| {
        Script::function(move |committed, _| {
            let left = 30_usize.saturating_sub(committed.matches("\n\n").count());
            let tokens = [who, " says", " so", ".", "\n\n"];
            tokens.iter().cycle().take(5 * left).map(|token| (*token).to_owned()).collect()
        })
    };
    let large = Out::new(thinker(says("Large"), vec![]), 210, 350);
    let small = thinker(says("Small"), vec![]);
    let mut run = rejoins_after(run(&[small], Some(Arc::new(large))), 100);
    run.settings.keep_warm = false;
    run.policy = PolicySpec::new(PolicyKind::LargeOnly, Preset::Reasoning).build(0, 4096).unwrap();
    let (outcome, _) = answered(run).await;
    assert!(is_whole(&outcome));
    let spans: Vec<_> = outcome.transcript.spans().iter().map(|span| span.writer).collect();
    assert_eq!(spans, [Writer::Large, Writer::Small, Writer::Large], "{}", outcome.text());
    let stood_in = outcome.transcript.spans()[1].text.as_str();
    assert!(stood_in.ends_with("Small says so.\n\n"), "to a paragraph's end: {stood_in:?}");
    assert!(outcome.summary.takeovers.is_empty() && outcome.summary.rejoins == 1);
}

#[tokio::test(start_paused = true)]
async fn where_every_takeover_opens_a_session_it_is_tried_with_one_too() {
    let near = thinker(large_script(), vec![]);
    let large = Arc::new(Out::new(near.clone(), 130, 500));
    let mut run = doubting(40, large.clone());
    run.settings = Settings { resend: true, rejoin_after: Some(ms(200)), ..run.settings };
    let (outcome, seen) = answered(run).await;
    assert!(is_whole(&outcome));
    assert_eq!((outcome.summary.rejoins, rejoined(&seen)[0].attempts), (1, 2));
    assert!(writers_after_rejoining(&seen).contains(&Writer::Large));
    let takeovers = outcome.summary.takeovers.len();
    let sessions = large.tried.lock().unwrap().len();
    // One session for each takeover, and two tries.
    assert_eq!((sessions, near.open_sessions()), (takeovers + 2, 0));
}
