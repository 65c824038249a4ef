//! Answers on nodes: hand-made journals, random answers, and refusals.

use lab::{
    replay::{RecordedOver, Recording},
    sizing::{
        AnswerTrace, Arrivals, Fleet, NodePool, Population, SizingError, SizingTarget, TraceStep,
        alone, least_nodes, size, size_questions,
    },
};
use proptest::prelude::*;
use thinking::policy::{PolicySpec, Role};

use crate::{
    by_hand::{self, Stretch, story, stretch},
    curve, large, step, trace,
};

fn recorded(stretches: &[Stretch]) -> AnswerTrace {
    let journal = by_hand::journal(&by_hand::question("q"), PolicySpec::default(), stretches);
    let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
    AnswerTrace::new(&recording, None, 0, 0.002).unwrap()
}

/// The usual answer, with text that takes no time to read.
fn read_at_once() -> Vec<Stretch> {
    story().into_iter().map(|stretch| Stretch { read_us: 0, ..stretch }).collect()
}

/// 3 ms a token, as the large stretches of the usual answer take, and no time to read.
fn as_recorded() -> machines::SpeedCurve {
    curve(1e9, &[(1, 1000.0 / 3.0), (2, 500.0)])
}

fn population(users: u64, questions_per_hour: f64) -> Population {
    Population { users, questions_per_hour, seed: 1, answers: 20_000 }
}

#[test]
fn one_user_with_idle_nodes_gets_exactly_the_recorded_time() {
    let stretches = read_at_once();
    let recorded_us: u64 = stretches.iter().map(|stretch| stretch.wall_us()).sum();
    let traces = [recorded(&stretches)];
    let with_own = alone(&traces, &large(3, as_recorded())).unwrap();
    assert_eq!((with_own.answer.p99_s * 1e6).round() as u64, recorded_us);
    let first_text = with_own.first_text.unwrap();
    assert_eq!((first_text.median_s * 1e6).round() as u64, 3000);
    assert!(with_own.wait.unwrap().p99_s < 1e-9);
    // 2 ms a token.
    let small = NodePool { nodes: 1, curve: curve(1e9, &[(1, 500.0), (2, 600.0)]) };
    let fleet = Fleet { small: Some(small), ..large(1, as_recorded()) };
    let with_shared = alone(&traces, &fleet).unwrap();
    assert_eq!((with_shared.answer.p99_s * 1e6).round() as u64, recorded_us);
    // A user who asks once a day never delays another question.
    let one = size(&traces, &population(1, 1.0 / 24.0), &large(1, as_recorded())).unwrap();
    assert_eq!((one.answer.p99_s * 1e6).round() as u64, recorded_us);
    assert!((one.cost - 0.002).abs() < 1e-9, "{}", one.cost);
}

#[test]
fn over_a_link_a_takeover_costs_a_round_trip_more() {
    let journal = by_hand::journal(&by_hand::question("q"), PolicySpec::default(), &read_at_once());
    let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
    let link = lab::link::Links::shipped().unwrap().link("rtt=80ms").unwrap();
    let traces = [AnswerTrace::new(&recording, Some(&link), 0, 0.0).unwrap()];
    let over = alone(&traces, &large(1, as_recorded())).unwrap();
    let near = alone(&[recorded(&read_at_once())], &large(1, as_recorded())).unwrap();
    let more_s = over.answer.median_s - near.answer.median_s;
    assert!((0.159..0.165).contains(&more_s), "two takeovers: {more_s}");
    let more_s = over.first_text.unwrap().median_s - near.first_text.unwrap().median_s;
    assert!((0.079..0.082).contains(&more_s), "{more_s}");
}

#[test]
fn what_waits_for_others_is_told_apart() {
    // Both are asked at once; the second one's text is read after the first one's, 0.1 s each.
    let traces = [trace(vec![step(Role::Large, 0.0, 1000, 10)])];
    let fleet = large(1, curve(10_000.0, &[(1, 100.0), (2, 150.0)]));
    let mut questions: Vec<_> = Arrivals::new(1.0, 1, 0).take(2).collect();
    questions[1].at_s = questions[0].at_s;
    let figures = size_questions(&traces, &questions, &fleet).unwrap();
    let first_text = figures.first_text.unwrap();
    assert!((first_text.median_s - 0.11).abs() < 0.02, "{first_text:?}");
    let wait = figures.wait.unwrap();
    assert!((0.1..0.2).contains(&wait.p99_s), "{wait:?}");
}

#[test]
fn more_than_can_be_answered_is_refused_with_what_would_serve() {
    // At most two answers per second and node: 50 tokens at 100 a second.
    let traces = [trace(vec![step(Role::Large, 0.0, 0, 50)])];
    let of = |nodes| large(nodes, curve(1000.0, &[(1, 40.0), (8, 100.0)]));
    let asked = population(3600, 7.0);
    let refused = size(&traces, &asked, &of(2)).unwrap_err();
    let line = "7.00 questions a second come in and 2 large nodes can answer at most 4.00, so that the queue would grow \
                without end; 4 large nodes or more would serve that";
    assert_eq!(refused.to_string(), line);
    assert!(size(&traces, &asked, &of(4)).unwrap().utilisation < 1.0);
    for (users, questions_per_hour) in [(0, 7.0), (5, 0.0), (5, -1.0), (5, f64::NAN)] {
        let refused = size(&traces, &population(users, questions_per_hour), &of(2)).unwrap_err();
        assert!(matches!(refused, SizingError::NobodyAsks { .. }), "{refused}");
    }
    assert_eq!(size(&[], &asked, &of(2)).unwrap_err(), SizingError::NoTraces);
    let refused = size(&traces, &population(u64::MAX, 7.0), &of(2)).unwrap_err();
    assert!(refused.to_string().contains("more than a million"), "{refused}");
}

#[test]
fn the_least_number_of_nodes_keeps_the_target_and_one_less_does_not() {
    let traces = [recorded(&story()), recorded(&[stretch(Role::Large, 400, 1_200_000, 0)])];
    let asked = population(1000, 40.0);
    for target in ["latency<=1600ms", "takeover<=5ms"] {
        let targets: [SizingTarget; 1] = [target.parse().unwrap()];
        let fleet = large(1, as_recorded());
        let (nodes, figures) = least_nodes(&traces, &asked, &fleet, &targets).unwrap();
        assert!(nodes > 1 && figures.keeps(&targets[0]), "{nodes}: {figures:?}");
        assert_eq!(size(&traces, &asked, &large(nodes, as_recorded())).unwrap(), figures);
        let fewer = size(&traces, &asked, &large(nodes - 1, as_recorded()));
        assert!(fewer.is_err() || !fewer.unwrap().keeps(&targets[0]), "{nodes}");
    }
    let targets = ["latency<=1s".parse().unwrap()];
    let never = least_nodes(&traces, &asked, &large(1, as_recorded()), &targets).unwrap_err();
    let line = never.to_string();
    assert!(
        line.starts_with("no number of large nodes keeps latency<=1s: with idle nodes"),
        "{line}"
    );
    // Barely enough small nodes, however many large ones there are.
    let traces = [recorded(&read_at_once())];
    let small = NodePool { nodes: 4, curve: curve(1e9, &[(1, 500.0), (2, 600.0)]) };
    let fleet = Fleet { small: Some(small), ..large(1, as_recorded()) };
    let asked = Population { users: 2000, questions_per_hour: 60.0, ..asked };
    let targets = ["latency<=320ms".parse().unwrap()];
    let never = least_nodes(&traces, &asked, &fleet, &targets).unwrap_err().to_string();
    assert!(never.contains(" large nodes answers take "), "{never}");
}

#[test]
fn answers_without_the_large_model_need_none() {
    let traces = [recorded(&[stretch(Role::Small, 50, 100_000, 0)])];
    let figures = size(&traces, &population(100, 60.0), &large(1, as_recorded())).unwrap();
    assert_eq!((figures.utilisation, figures.first_text), (0.0, None));
    assert_eq!((figures.answer.p99_s * 1e6).round() as u64, 100_000);
}

#[test]
fn an_answer_that_takes_longer_than_it_may_is_counted() {
    let mut late = trace(vec![step(Role::Large, 0.0, 0, 50)]);
    late.deadline_s = Some(1.0);
    let fleet = large(1, curve(1000.0, &[(1, 40.0), (8, 100.0)]));
    let figures = size(&[late], &population(10, 10.0), &fleet).unwrap();
    assert_eq!((figures.answers, figures.cut_off), (20_000, 20_000));
}

prop_compose! {
    fn steps()(
        steps in prop::collection::vec(
            (any::<bool>(), 0.0..0.05_f64, 0.01..2.0_f64, 0..60_u32, 0..120_u32, 0..90_u32),
            1..8,
        ),
    ) -> Vec<TraceStep> {
        let role = |large| if large { Role::Large } else { Role::Small };
        let step = |(large, link_s, node_s, late_tokens, tokens, reads)| TraceStep {
            up_s: link_s,
            first_down_s: link_s,
            end_down_s: link_s,
            reads: if large { [reads, 0] } else { [0, reads] },
            ..step(role(large), node_s, late_tokens, tokens)
        };
        steps.into_iter().map(step).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_alone_takes_what_its_parts_take(steps in steps(), shared in any::<bool>()) {
        let (speed, read) = (80.0, 5e8);
        let small = NodePool { nodes: 1, curve: curve(read, &[(1, speed), (4, 100.0)]) };
        let fleet = Fleet { small: shared.then_some(small), ..large(1, curve(read, &[(1, speed), (4, 200.0)])) };
        let parts = steps.iter().map(|step| {
            let computed = f64::from(step.tokens) / speed + f64::from(step.late_tokens) / read;
            let own = step.role == Role::Small && !shared;
            step.up_s + step.end_down_s + if own { step.node_s } else { computed }
        });
        let expected: f64 = parts.sum();
        let figures = alone(&[trace(steps.clone())], &fleet).unwrap();
        prop_assert!((figures.answer.median_s - expected).abs() < 1e-5 * (1.0 + expected), "{figures:?} {expected}");
    }

    #[test]
    fn nodes_are_never_used_more_than_wholly_and_all_is_answered(
        traces in prop::collection::vec(steps(), 1..5),
        users in 1..2_000_u64,
        more in 0..3_u32,
        shared in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let traces: Vec<AnswerTrace> = traces.into_iter().map(trace).collect();
        let speeds = curve(2000.0, &[(1, 30.0), (8, 150.0)]);
        let population = Population { users, questions_per_hour: 10.0, seed, answers: 500 };
        let small = NodePool { nodes: 400, curve: speeds.clone() };
        let fleet = Fleet { small: shared.then_some(small), ..large(1, speeds) };
        let needed = match size(&traces, &population, &fleet) {
            Err(SizingError::Overload { needed, .. }) => needed as u32,
            other => { other.unwrap(); 1 }
        };
        let idle = alone(&traces, &fleet).unwrap();
        let large = NodePool { nodes: needed + more, ..fleet.large };
        let fleet = Fleet { large, ..fleet };
        let figures = size(&traces, &population, &fleet).unwrap();
        prop_assert_eq!(figures.answers, 500);
        prop_assert!((0.0..=1.0).contains(&figures.utilisation), "{:?}", figures);
        prop_assert!(figures.small_utilisation.is_none_or(|used| (0.0..=1.0).contains(&used)), "{:?}", figures);
        prop_assert!(figures.answer.median_s <= figures.answer.p95_s, "{:?}", figures);
        // Nobody is faster because others are there: the fastest trace bounds all.
        if let [_] = traces.as_slice() {
            prop_assert!(figures.answer.median_s >= idle.answer.median_s * 0.999_9, "{:?} {:?}", figures, idle);
        }
        prop_assert_eq!(&size(&traces, &population, &fleet).unwrap(), &figures, "the same seed");
    }
}
