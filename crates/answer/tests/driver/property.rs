//! Whatever is written, whatever breaks and however late it comes: what was shown is the answer, and each node holds a
//! prefix of it. `answered` checks both after every run.

use std::{sync::Arc, time::Duration};

use answer::{Ended, Settings};
use thinking::{
    policy::{Limited, Limits, PaperConfig, PolicyKind, PolicySpec, Preset, Rules, Targets},
    testing::{Fault, FaultKind, Script},
    thinker::Code,
};

use crate::support::{Far, answered, fails, fault, question, run, thinker};

fn policy(number: u64, limits: Limits) -> Limited {
    let kind = PolicyKind::ALL[(number % 6) as usize];
    let mut spec = PolicySpec::new(kind, Preset::Reasoning).with_share(0.5);
    if kind.has_takeovers() {
        spec.limits = limits;
    }
    if let Rules::Paper(config) = &mut spec.rules {
        // Both settings of the authors' switch.
        *config = PaperConfig { choose_large: number.is_multiple_of(4), ..PaperConfig::default() };
    }
    spec.build(number, 120).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_is_the_answer_whatever_breaks() {
    let (mut degraded, mut resumed, mut takeovers, mut abandoned) = (0, 0, 0, 0);
    let (mut rejoined, mut interrupted) = (0, 0);
    for number in 0..600_u64 {
        let draw = |salt: u64, below: u64| {
            let z = (number * 31 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % below
        };
        let kind = |salt| match draw(salt, 2) {
            0 => FaultKind::Vanish,
            _ => fails(Code::Unavailable, "it crashed"),
        };
        let broken = |salt| {
            let at = fault(draw(salt, 6) as u32, draw(salt + 1, 3) as u32, kind(salt + 2));
            thinker(Script::babble(), vec![at])
        };
        let sound = || thinker(Script::babble(), vec![]);
        // A node that breaks in every session, only in its first one, or not at all.
        let large = match draw(3, 4) {
            0 => broken(4),
            1 => {
                let kind = if draw(7, 3) == 0 { FaultKind::Silence } else { kind(6) };
                let at = fault(draw(4, 6) as u32, draw(5, 3) as u32, kind);
                thinker(Script::babble(), vec![Fault { session: Some(0), ..at }])
            }
            _ => sound(),
        };
        let one_way = Duration::from_millis([0, 4, 15, 200][draw(40, 4) as usize]);
        let large = Arc::new(Far { near: large, one_way });
        let mut run = run(&[broken(10), broken(20), sound()], Some(large));
        let (keep_warm, resend) = (draw(30, 2) == 0, draw(31, 4) == 0);
        let rejoin_after = [None, Some(1), Some(30), Some(200)][draw(32, 4) as usize];
        let rejoin_after = rejoin_after.map(Duration::from_millis);
        // With the link's longest round trip a node that is well seems to be dead.
        let large_timeout = Duration::from_millis([100, 30_000][draw(33, 2) as usize]);
        run.settings =
            Settings { keep_warm, resend, rejoin_after, large_timeout, ..Settings::default() };
        run.question = question(120);
        run.question.seed = number;
        let deadline = [None, Some(5), Some(15), Some(35), Some(250)][draw(41, 5) as usize];
        let overlap_tokens = [None, Some(1), Some(4), Some(30)][draw(42, 4) as usize];
        let deadline = deadline.map(Duration::from_millis);
        let targets = Targets {
            share: [None, None, Some(0.1), Some(0.4)][draw(43, 4) as usize],
            latency: [None, None, None, Some(Duration::from_millis(60))][draw(44, 4) as usize],
            cost: None,
        };
        run.policy =
            policy(number, Limits { deadline, overlap_tokens, targets, ..Limits::default() });
        let (outcome, _) = answered(run).await;
        assert!(matches!(outcome.ended, Ended::Complete(_)), "{number}: {:?}", outcome.ended);
        assert_eq!(outcome.summary.hash_repairs, 0, "{number}: all texts agree");
        degraded += u32::from(outcome.summary.degraded.is_some());
        resumed += outcome.summary.resumes;
        takeovers += outcome.summary.takeovers.len();
        abandoned += outcome.summary.abandoned;
        rejoined += outcome.summary.rejoins;
        interrupted += outcome.summary.takeovers.iter().filter(|t| t.interrupted).count();
    }
    let counts = format!("{degraded} {resumed} {takeovers} {abandoned} {rejoined} {interrupted}");
    assert!(degraded > 60 && resumed > 120 && takeovers > 200 && abandoned > 300, "{counts}");
    assert!(rejoined > 60 && interrupted > 4, "{counts}");
}
