//! Thousands of simulated answers: every invariant holds for each of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{collections::BTreeSet, time::Duration};

use conductor::Ended;
use simulator::{
    Scenario,
    scenario::{Lie, TroubleKind},
    simulate, simulate_pooled, simulate_scenario,
};
use thinking::policy::End;

#[test]
fn what_must_hold_of_every_answer_holds_of_ten_thousand_seeds() {
    let mut ends = BTreeSet::new();
    for seed in 0..10_000 {
        let simulated = simulate(seed, false);
        if let Some(breach) = simulated.breach {
            panic!("{breach}\nto reproduce it with a trace: {}", simulator::command(seed, false));
        }
        ends.insert(match simulated.outcome.unwrap().ended {
            Ended::Complete(end) => format!("{end:?}"),
            Ended::Failed { failure, .. } => format!("{:?}", failure.code),
        });
    }
    let all = [
        End::EndOfText,
        End::MaxTokens,
        End::ContextFull,
        End::Deadline,
        End::Cancelled,
        End::Loop,
        End::Stop,
    ];
    let all = all.iter().map(|end| format!("{end:?}")).chain(["Unavailable".to_owned()]);
    assert!(all.clone().all(|end| ends.contains(&end)), "{ends:?}");
}

/// The nodes of these answers begin more than 100,000 lives.
#[test]
fn nothing_is_lost_over_pools_whose_nodes_come_and_go() {
    let (mut lives, mut resumes, mut rejoins, mut complete) = (0, 0, 0, 0);
    for seed in 0..12_000 {
        let simulated = simulate_pooled(seed, false);
        if let Some(breach) = simulated.breach {
            panic!("{breach}\nto reproduce it with a trace: {}", simulator::command(seed, true));
        }
        lives += Scenario::pooled(seed).lives();
        let outcome = simulated.outcome.unwrap();
        resumes += outcome.summary.resumes + outcome.summary.large_resumes;
        rejoins += outcome.summary.rejoins;
        complete += u32::from(matches!(outcome.ended, Ended::Complete(_)));
    }
    assert!(lives > 100_000, "{lives}");
    assert!(resumes > 3_000 && rejoins > 1_000, "{resumes} {rejoins}");
    assert!(complete > 8_000, "{complete}");
}

#[test]
fn a_seed_is_one_answer() {
    for seed in 0..50 {
        let (first, again) = (simulate(seed, true), simulate(seed, true));
        assert_eq!(first.trace, again.trace, "{seed}");
        assert_eq!(first.outcome, simulate(seed, false).outcome, "{seed}: watched or not");
    }
}

#[test]
fn everything_that_can_go_wrong_is_drawn() {
    let mut drawn: Vec<TroubleKind> = Vec::new();
    let (mut cancels, mut deadlines, mut pauses) = (0, 0, 0);
    for scenario in (0..2000).map(Scenario::of) {
        cancels += u32::from(scenario.cancel_at.is_some());
        deadlines += u32::from(scenario.question.deadline.is_some());
        pauses += u32::from(scenario.pause.is_some());
        let places = scenario.small.iter().chain(&scenario.large);
        drawn.extend(places.flat_map(|place| &place.troubles).map(|trouble| trouble.kind));
    }
    let kinds = [
        TroubleKind::Crash,
        TroubleKind::Hang,
        TroubleKind::Partition,
        TroubleKind::Reset,
        TroubleKind::Overload,
    ];
    for kind in kinds.into_iter().chain(Lie::ALL.map(TroubleKind::Lie)) {
        assert!(drawn.contains(&kind), "{kind:?}");
    }
    assert!(cancels > 100 && deadlines > 400 && pauses > 50, "{cancels} {deadlines} {pauses}");
}

/// Scenarios of a review in which nothing goes wrong and nothing depends on time.
fn calm_reviews() -> impl Iterator<Item = Scenario> {
    (0..6000).map(Scenario::of).filter_map(|mut scenario| {
        let limits = &mut scenario.policy.limits;
        limits.review?;
        (limits.deadline, limits.overlap_tokens, limits.targets) = Default::default();
        (scenario.cancel_at, scenario.pause, scenario.question.deadline) = (None, None, None);
        (scenario.settings.small_timeout, scenario.settings.large_timeout) = (HOUR, HOUR);
        scenario.small.truncate(1);
        scenario.large.truncate(1);
        for place in scenario.small.iter_mut().chain(&mut scenario.large) {
            place.troubles.clear();
            place.model.context_tokens = 1 << 20;
            place.model.can_review = true;
            place.model.can_report_entropy = true;
        }
        (!scenario.large.is_empty()).then_some(scenario)
    })
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn no_link_changes_an_answer_under_a_review() {
    let (mut answers, mut corrections) = (0, 0);
    for scenario in calm_reviews() {
        let over = |one_way_ms, piece_tokens| {
            let mut scenario = scenario.clone();
            for place in scenario.small.iter_mut().chain(&mut scenario.large) {
                (place.one_way, place.jitter) = (Duration::from_millis(one_way_ms), Duration::ZERO);
            }
            if let Some(review) = &mut scenario.policy.limits.review {
                review.piece_tokens = piece_tokens;
            }
            let simulated = simulate_scenario(&scenario);
            assert_eq!(simulated.breach, None, "seed {}", scenario.seed);
            simulated.outcome.unwrap()
        };
        let near = over(0, 16);
        for (one_way_ms, piece_tokens) in [(0, 1), (75, 16), (75, 64)] {
            let far = over(one_way_ms, piece_tokens);
            assert_eq!(near.text(), far.text(), "seed {}: {one_way_ms} ms", scenario.seed);
            assert_eq!(near.summary.corrections, far.summary.corrections);
        }
        answers += 1;
        corrections += near.summary.corrections;
    }
    assert!(answers > 200 && corrections > answers, "{answers} {corrections}");
}
