//! Time: silence, wake-ups that come too late, deadlines.

use std::time::Duration;

use conductor::{Conductor, Ended, Input, NodeNames, progress::Progress, question::Settings};
use thinking::{
    policy::{End, Limits, PolicySpec},
    thinker::{Delta, Event},
};

use crate::stage::{LARGE, SMALL, Stage, ms, question, strict};

fn text(text: &str) -> Event {
    let (text, settled_bytes) = (text.to_owned(), text.len() as u64);
    Event::Delta(Delta { text, tokens: 1, settled_bytes, ..Delta::default() })
}

#[test]
fn without_a_small_node_an_answer_is_over_when_it_begins() {
    let nodes = NodeNames { small: vec![], large: vec!["large".to_owned()] };
    let (conductor, effects) = Conductor::start(question(), Settings::default(), strict(), nodes);
    assert_eq!(effects, [conductor::Effect::End]);
    assert!(matches!(conductor.conclude(&[]).ended, Ended::Failed { .. }));
}

#[test]
fn a_wake_up_before_its_time_changes_nothing() {
    let mut stage = Stage::new(1, 1, Settings::default(), strict());
    let at = stage.conductor.wake_at();
    assert_eq!(at, Settings::default().small_timeout);
    stage.now = at - Duration::from_nanos(1);
    let told = stage.told.len();
    stage.step(Input::Wake);
    assert_eq!((stage.told.len(), stage.conductor.wake_at()), (told, at));
    stage.now = at;
    stage.step(Input::Wake);
    assert!(stage.has_ended, "no other small node is there");
}

#[test]
fn every_event_of_the_awaited_node_gives_it_its_time_anew() {
    let mut stage = Stage::new(1, 1, Settings::default(), strict());
    stage.passes(ms(100_000));
    stage.says(SMALL, &["We"]);
    assert_eq!(stage.conductor.wake_at(), ms(220_000));
    stage.passes(ms(119_999));
    assert!(!stage.has_ended);
}

#[test]
fn one_who_overslept_takes_nobody_for_silent_and_no_takeover_for_late() {
    let limits = Limits { deadline: Some(ms(300)), ..Limits::default() };
    let policy = PolicySpec::default().within(limits).build(0, 200).unwrap();
    let mut stage = Stage::new(1, 1, Settings::default(), policy);
    stage.now = ms(500_000);
    stage.step(Input::Wake);
    assert_eq!(stage.conductor.wake_at(), ms(620_000));
    stage.says(SMALL, &["We.", "\n\n", "Wait", ","]);
    assert_eq!(stage.conductor.wake_at(), ms(500_300));
    stage.now = ms(510_000);
    stage.step(Input::Wake);
    assert!(stage.is_asked(LARGE), "it has its time again");
    assert_eq!(stage.conductor.wake_at(), ms(510_300));
    stage.now = ms(511_300);
    stage.step(Input::Wake);
    stage.settle();
    assert!(stage.is_asked(SMALL), "a second late is late");
}

#[test]
fn a_takeover_is_late_also_where_its_node_never_stops_to_say_nothing() {
    let limits = Limits { deadline: Some(ms(300)), ..Limits::default() };
    for nothing in [Input::Event(LARGE, Event::Delta(Delta::default())), Input::Alive(LARGE)] {
        let policy = PolicySpec::default().within(limits).build(0, 200).unwrap();
        let mut stage = Stage::new(1, 1, Settings::default(), policy);
        stage.says(SMALL, &["We.", "\n\n", "Wait", ","]);
        for _ in 0..20 {
            stage.now += ms(100);
            stage.step(nothing.clone());
        }
        stage.settle();
        assert!(stage.is_asked(SMALL) && !stage.has_ended, "{nothing:?}");
        assert_eq!(stage.count(|progress| matches!(progress, Progress::Abandoned(_))), 1);
    }
}

#[test]
fn the_deadline_comes_before_whatever_else_came() {
    let over = || {
        let question = conductor::question::Question { deadline: Some(ms(500)), ..question() };
        let mut stage = Stage::of(question, (1, 1), Settings::default(), strict());
        stage.says(SMALL, &["We"]);
        stage.now = ms(1500);
        stage
    };
    for input in [Input::Wake, Input::Event(SMALL, text(" add")), Input::Event(LARGE, text("?"))] {
        let mut stage = over();
        assert_eq!(stage.conductor.wake_at(), ms(1500));
        stage.step(input);
        assert!(stage.has_ended);
        let outcome = stage.outcome();
        assert_eq!(outcome.ended, Ended::Complete(End::Deadline));
        assert_eq!((outcome.text().as_str(), outcome.summary.time.total_us), ("We", 1_500_000));
    }
    let mut stage = over();
    stage.step(Input::Cancel);
    assert_eq!(stage.outcome().ended, Ended::Complete(End::Cancelled), "the caller comes first");
}

#[test]
fn a_time_before_the_last_one_counts_as_that() {
    let mut stage = Stage::new(1, 1, Settings::default(), strict());
    stage.now = ms(10);
    stage.says(SMALL, &["We"]);
    stage.now = ms(5);
    stage.says(SMALL, &[" add"]);
    let shown = stage.told.iter().filter(|s| matches!(s.progress, Progress::Text(_)));
    assert_eq!(shown.map(|s| s.at_us).collect::<Vec<_>>(), [10_000, 10_000]);
}

#[test]
fn endless_timeouts_are_no_overflow() {
    let forever = Duration::MAX;
    let settings = Settings {
        small_timeout: forever,
        large_timeout: forever,
        rejoin_after: Some(forever),
        ..Settings::default()
    };
    let limits = Limits { deadline: Some(forever), ..Limits::default() };
    let policy = PolicySpec::default().within(limits).build(0, 200).unwrap();
    let mut stage = Stage::new(1, 1, settings, policy);
    stage.says(SMALL, &["We.", "\n\n", "Wait", ","]);
    stage.event(LARGE, crate::stage::lost("gone"));
    assert!(stage.is_asked(SMALL));
    assert_eq!(stage.conductor.wake_at(), Duration::from_secs(24 * 3600));
}

#[test]
fn a_node_that_gives_signs_of_life_is_not_silent() {
    let mut stage = Stage::new(1, 1, Settings::default(), strict());
    for _ in 0..10 {
        stage.passes(ms(100_000));
        stage.step(Input::Alive(SMALL));
    }
    stage.says(SMALL, &["We.", "\n\n", "Wait", ","]);
    for _ in 0..10 {
        stage.passes(ms(29_000));
        stage.step(Input::Alive(LARGE));
    }
    assert!(stage.closed.is_empty() && stage.is_asked(LARGE));
    // Signs of a node that is not awaited do not count for the one that is.
    stage.passes(ms(29_000));
    stage.step(Input::Alive(SMALL));
    stage.passes(ms(1_000));
    assert_eq!(stage.closed.len(), 1);
    assert!(stage.is_asked(SMALL), "it continues alone");
}
