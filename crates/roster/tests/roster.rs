//! Which members are chosen, set aside, warmed up and left out.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use roster::{MemberId, MemberState, MemberTerms, Roster};
use thinking::thinker::{Code, Condition, Failure, Load, ModelCard, Serving};

const S: Duration = Duration::from_secs(1);
/// Long after every member has warmed up.
const LATER: Duration = Duration::from_secs(1000);

fn model(name: &str) -> ModelCard {
    ModelCard { name: name.to_owned(), can_review: true, ..ModelCard::default() }
}

fn serving(load: Load) -> Condition {
    let (card, round_trip) = (Some(model("m")), Duration::from_millis(1));
    Condition::Serving(Box::new(Serving { card, load: Some(load), round_trip }))
}

fn failure(code: Code) -> Failure {
    Failure::new(code, "why")
}

/// Returns a roster whose members have served from the start.
fn roster(count: usize) -> (Roster, Vec<MemberId>) {
    let mut roster = Roster::new(1);
    let join = |index| roster.join(format!("n{index}"), MemberTerms::default(), Duration::ZERO);
    let ids: Vec<_> = (0..count).map(join).collect();
    for id in &ids {
        roster.heard(*id, serving(Load::default()), Duration::ZERO);
    }
    (roster, ids)
}

/// Returns how often each member is chosen first.
fn firsts(roster: &mut Roster, times: usize, now: Duration) -> BTreeMap<MemberId, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(roster.choose(|_| true, now)[0]).or_default() += 1;
    }
    counts
}

#[test]
fn those_that_are_alike_are_chosen_alike() {
    let (mut roster, ids) = roster(4);
    let counts = firsts(&mut roster, 4000, LATER);
    for id in ids {
        assert!((800..1200).contains(&counts[&id]), "{counts:?}");
    }
}

#[test]
fn of_two_the_one_that_gives_text_sooner_is_chosen() {
    let (mut roster, ids) = roster(2);
    for (slow, quick) in [
        (Load { waiting: 3, ..Load::default() }, Load::default()),
        (Load { writing: 9, ..Load::default() }, Load::default()),
        (
            Load { prefill_tokens_per_s: 100.0, ..Load::default() },
            Load { prefill_tokens_per_s: 2000.0, ..Load::default() },
        ),
        (
            Load { decode_tokens_per_s: 2.0, ..Load::default() },
            Load { decode_tokens_per_s: 20.0, ..Load::default() },
        ),
        (Load { sessions: 8, max_sessions: 8, ..Load::default() }, Load::default()),
    ] {
        roster.heard(ids[0], serving(slow), LATER);
        roster.heard(ids[1], serving(quick), LATER);
        for _ in 0..20 {
            assert_eq!(roster.choose(|_| true, LATER), [ids[1], ids[0]], "{slow:?}");
        }
    }
}

#[test]
fn one_that_has_computed_nothing_yet_gets_the_chance_to_show_how_fast_it_is() {
    let (mut roster, ids) = roster(2);
    let fast = Load { prefill_tokens_per_s: 9e4, decode_tokens_per_s: 4e3, ..Load::default() };
    roster.heard(ids[0], serving(fast), LATER);
    let counts = firsts(&mut roster, 100, LATER);
    assert!(counts.values().all(|count| *count > 30) && counts.len() == 2, "{counts:?}");
}

#[test]
fn sessions_that_began_since_a_member_told_its_load_count() {
    let (mut roster, ids) = roster(2);
    for _ in 0..100 {
        let first = roster.choose(|_| true, LATER)[0];
        roster.begun(first, LATER);
    }
    let counts = ids.iter().map(|id| roster.sessions(*id)).collect::<Vec<_>>();
    assert!(counts.iter().all(|count| (48..=52).contains(count)), "{counts:?}");
}

#[test]
fn among_equals_the_cheaper_one_is_chosen_and_then_the_heavier_one() {
    let mut roster = Roster::new(1);
    let mut join = |price, weight| {
        let id = roster.join(format!("{price} {weight}"), MemberTerms { price, weight }, S);
        roster.heard(id, serving(Load::default()), S);
        id
    };
    let (dear, light, heavy) = (join(2.0, 9.0), join(1.0, 1.0), join(1.0, 2.0));
    // A pair is drawn and the better of it comes next, so the worst of three is never first.
    let counts = firsts(&mut roster, 300, LATER);
    assert_eq!(counts.get(&dear), None, "{counts:?}");
    assert!(counts[&heavy] > counts[&light], "{counts:?}");
    roster.leave(light);
    assert_eq!(roster.choose(|_| true, LATER), [heavy, dear]);
}

#[test]
fn one_of_which_nothing_was_heard_comes_behind_those_that_serve() {
    let (mut roster, ids) = roster(2);
    let silent = roster.join("silent", MemberTerms::default(), LATER);
    for _ in 0..20 {
        let chosen = roster.choose(|_| true, LATER);
        assert_eq!((chosen.len(), chosen[2]), (3, silent));
    }
    ids.iter().for_each(|id| roster.leave(*id));
    assert_eq!(roster.choose(|_| true, LATER), [silent]);
}

#[test]
fn one_whose_sessions_fail_is_set_aside_and_tried_by_one_session() {
    let (mut roster, ids) = roster(2);
    for _ in 0..3 {
        roster.begun(ids[0], LATER);
        roster.ended(ids[0], Some(&failure(Code::Internal)), LATER);
    }
    assert_eq!(roster.state(ids[0], LATER), MemberState::SetAside);
    assert!(!roster.takes_sessions(ids[0], LATER));
    assert_eq!(roster.choose(|_| true, LATER), [ids[1], ids[0]], "it is the last resort");
    let later = LATER + S;
    assert!(roster.takes_sessions(ids[0], later), "one may try it");
    roster.begun(ids[0], later);
    assert!(!roster.takes_sessions(ids[0], later), "and no second one");
    roster.wrote(ids[0], S);
    assert_eq!(roster.state(ids[0], later), MemberState::Serving);
}

#[test]
fn what_is_the_questions_fault_sets_nobody_aside() {
    let (mut roster, ids) = roster(1);
    for code in [Code::ContextTooLong, Code::MessageTooLarge, Code::InvalidArgument] {
        for _ in 0..5 {
            roster.begun(ids[0], LATER);
            roster.ended(ids[0], Some(&failure(code)), LATER);
        }
        assert_eq!(roster.state(ids[0], LATER), MemberState::Serving, "{code:?}");
    }
}

#[test]
fn an_overloaded_one_is_left_alone_for_as_long_as_it_says_and_a_little_longer() {
    let (mut roster, ids) = roster(2);
    roster.begun(ids[0], LATER);
    let full = Failure { retry_after_ms: Some(2000), ..failure(Code::Overloaded) };
    roster.ended(ids[0], Some(&full), LATER);
    for _ in 0..20 {
        assert_eq!(roster.choose(|_| true, LATER + 2 * S - S / 1000), [ids[1], ids[0]]);
    }
    roster.heard(ids[0], serving(Load::default()), LATER + 4 * S);
    let counts = firsts(&mut roster, 100, LATER + 4 * S);
    assert_eq!(counts.len(), 2, "{counts:?}");
}

#[test]
fn one_that_drains_gets_no_session_and_one_that_comes_back_gets_few_at_first() {
    let (mut roster, ids) = roster(2);
    roster.heard(ids[0], Condition::Draining, LATER);
    assert_eq!(roster.choose(|_| true, LATER), [ids[1]]);
    roster.heard(ids[0], Condition::Gone(failure(Code::Unavailable)), LATER);
    assert_eq!(roster.choose(|_| true, LATER), [ids[1], ids[0]], "it may be back");
    roster.heard(ids[0], serving(Load::default()), LATER);
    assert_eq!(firsts(&mut roster, 50, LATER), BTreeMap::from([(ids[1], 50)]));
    assert_eq!(firsts(&mut roster, 50, LATER + 10 * S).len(), 2);
    // The other one drains, and no other is left.
    roster.heard(ids[1], Condition::Draining, LATER);
    roster.leave(ids[0]);
    assert_eq!(roster.choose(|_| true, LATER), [ids[1]], "better than nobody");
}

#[test]
fn one_that_serves_another_model_is_unfit_until_it_is_the_only_one() {
    let (mut roster, ids) = roster(2);
    let other = |name: &str| {
        Condition::Serving(Box::new(Serving { card: Some(model(name)), ..Serving::default() }))
    };
    roster.heard(ids[1], other("n"), LATER);
    let MemberState::Unfit(line) = roster.state(ids[1], LATER) else { panic!("it is unfit") };
    let said = "n1 serves the model \"n\" and n0 serves \"m\", but nodes named together must serve the same model";
    assert!(line.starts_with(said), "{line}");
    assert_eq!(roster.misfit(), Some(line.as_str()));
    assert_eq!(roster.choose(|_| true, LATER), [ids[0]]);
    roster.heard(ids[0], Condition::Gone(failure(Code::Unavailable)), LATER);
    assert_eq!(roster.choose(|_| true, LATER)[0], ids[1], "all must serve the new one");
}

#[test]
fn one_that_cannot_do_what_is_needed_is_left_out_where_another_can() {
    let (mut roster, ids) = roster(2);
    let old = ModelCard { can_review: false, ..model("m") };
    let old = Serving { card: Some(old), ..Serving::default() };
    roster.heard(ids[0], Condition::Serving(Box::new(old)), LATER);
    let fits = |card: &ModelCard| card.can_review;
    assert_eq!(roster.choose(fits, LATER), [ids[1]]);
    roster.leave(ids[1]);
    assert_eq!(roster.choose(fits, LATER), [ids[0]], "it reports itself what it cannot do");
}

#[test]
fn late_is_what_one_in_twenty_exceeds() {
    let (mut roster, ids) = roster(2);
    for ms in 1..=19 {
        roster.wrote(ids[0], Duration::from_millis(ms));
    }
    assert_eq!(roster.late_after(), None, "too few are known");
    for ms in 20..=100 {
        roster.wrote(ids[1], Duration::from_millis(ms));
    }
    assert_eq!(roster.late_after(), Some(Duration::from_millis(96)));
    (0..200).for_each(|_| roster.wrote(ids[0], S));
    assert_eq!(roster.late_after(), Some(S), "old times no longer count");
}

/// What may happen to a member.
#[derive(Debug, Clone)]
enum Happening {
    Join,
    Leave,
    Serves(u32, u32),
    Drains,
    Goes,
    Begins,
    Accepts,
    Ends(Option<Code>),
    Passes(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{Accepts, Begins, Drains, Ends, Goes, Join, Leave, Passes, Serves};
    let code = prop_oneof![
        Just(None),
        Just(Some(Code::Unavailable)),
        Just(Some(Code::Overloaded)),
        Just(Some(Code::ContextTooLong)),
    ];
    prop_oneof![
        1 => Just(Join),
        1 => Just(Leave),
        4 => (0_u32..9, 0_u32..9).prop_map(|(waiting, writing)| Serves(waiting, writing)),
        1 => Just(Drains),
        2 => Just(Goes),
        4 => Just(Begins),
        3 => Just(Accepts),
        4 => code.prop_map(Ends),
        4 => (1_u64..5000).prop_map(Passes),
    ]
}

proptest! {
    #[test]
    fn somebody_is_chosen_whenever_there_is_a_member_and_those_that_serve_come_first(
        happenings in prop::collection::vec((happening(), 0_usize..8), 1..200)
    ) {
        let (mut roster, _) = roster(3);
        let mut now = LATER;
        for (happening, place) in happenings {
            let ids: Vec<_> = roster.ids().collect();
            let id = ids.get(place % ids.len().max(1)).copied();
            match (happening, id) {
                (Happening::Join, _) => {
                    roster.join("more", MemberTerms::default(), now);
                }
                (Happening::Passes(ms), _) => now += Duration::from_millis(ms),
                (_, None) => {}
                (Happening::Leave, Some(id)) => roster.leave(id),
                (Happening::Serves(waiting, writing), Some(id)) => {
                    roster.heard(id, serving(Load { waiting, writing, ..Load::default() }), now);
                }
                (Happening::Drains, Some(id)) => roster.heard(id, Condition::Draining, now),
                (Happening::Goes, Some(id)) => {
                    roster.heard(id, Condition::Gone(failure(Code::Unavailable)), now);
                }
                (Happening::Begins, Some(id)) => roster.begun(id, now),
                (Happening::Accepts, Some(id)) => roster.wrote(id, S),
                (Happening::Ends(code), Some(id)) => {
                    roster.ended(id, code.map(failure).as_ref(), now);
                }
            }
            let chosen = roster.choose(|_| true, now);
            prop_assert_eq!(chosen.is_empty(), roster.ids().next().is_none());
            let mut distinct = chosen.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), chosen.len());
            let takes: Vec<bool> = chosen.iter().map(|id| roster.takes_sessions(*id, now)).collect();
            prop_assert!(takes.is_sorted_by(|one, next| *one || !*next), "{:?}", takes);
            let all_taking = roster.ids().filter(|id| roster.takes_sessions(*id, now)).count();
            prop_assert_eq!(takes.iter().filter(|takes| **takes).count(), all_taking);
        }
    }
}
