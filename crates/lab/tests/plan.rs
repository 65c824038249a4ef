//! What a plan says about a link that was not swept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod by_hand;

use answer::prices::Prices;
use by_hand::sweep::{Plan, Sweep};
use lab::{
    link::Links,
    plan::{Source, candidates},
    replay::NodeSpeeds,
    results::Results,
};

#[test]
fn a_policy_whose_answers_would_all_have_gone_another_way_is_left_out() {
    let sweep = Sweep::new(&Plan::default());
    let results = Results::read(&[sweep.path()]).unwrap();
    let prices = Prices::example().unwrap();
    let over = |link: &str| {
        let link = Links::shipped().unwrap().link(link).unwrap();
        candidates(&results, &link, &NodeSpeeds::default(), &prices)
    };
    let (known, unknown) = over("rtt=90ms");
    assert_eq!((known.len(), unknown.len()), (3, 0));
    assert!(matches!(known[0].source, Source::Replayed { diverged: 0, .. }));
    // The large node would have been silent for longer than allowed.
    let (known, unknown) = over("rtt=50s");
    let names: Vec<&str> = known.iter().map(|candidate| candidate.policy.as_str()).collect();
    assert_eq!(names, ["small-only"]);
    assert_eq!(unknown.len(), 2);
    assert!(unknown[0].why.contains("would have diverged"), "{}", unknown[0].why);
}
