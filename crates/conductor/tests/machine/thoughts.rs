//! Two models whose templates leave a thought in different states continue the same text.

use conductor::{Conductor, Effect, Input, NodeId, NodeNames, question::Settings};
use thinking::thinker::{Code, Event, Failure, ModelCard, Opened, Prompt, ThoughtStart};

use crate::stage::{LARGE, SMALL, ms, question, strict};

fn opened(thought: ThoughtStart) -> Event {
    let card = ModelCard { thought, ..ModelCard::default() };
    Event::Opened(Box::new(Opened { card, prompt_tokens: 1, cached_tokens: 0 }))
}

/// Starts an answer to this prompt over two small nodes and a large one.
fn start(prompt: Prompt) -> (Conductor, Vec<Effect>) {
    let question = conductor::question::Question { prompt, ..question() };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let nodes = NodeNames { small: names(&["a", "b"]), large: names(&["c"]) };
    Conductor::start(question, Settings::default(), strict(), nodes)
}

fn messages() -> Prompt {
    Prompt::question("2 + 2?".to_owned(), None)
}

/// Returns the sessions that are opened, with the state of the thought that is requested.
fn opens(effects: &[Effect]) -> Vec<(NodeId, ThoughtStart)> {
    let open = |effect: &Effect| match effect {
        Effect::Open(node, open) => Some((*node, open.thought)),
        _ => None,
    };
    effects.iter().filter_map(open).collect()
}

fn closes(effects: &[Effect]) -> Vec<NodeId> {
    let close = |effect: &Effect| match effect {
        Effect::Close(node, None) => Some(*node),
        _ => None,
    };
    effects.iter().filter_map(close).collect()
}

#[test]
fn a_large_node_whose_template_differs_begins_again_as_the_small_one_does() {
    use ThoughtStart::{Open, Over, Unknown, Unopened};
    for (small, large) in [(Open, Unopened), (Unopened, Open), (Over, Unopened), (Unopened, Over)] {
        for large_is_first in [false, true] {
            let (mut conductor, effects) = start(messages());
            assert_eq!(opens(&effects), [(SMALL, Unknown), (LARGE, Unknown)]);
            let mut both = [(SMALL, small), (LARGE, large)];
            if large_is_first {
                both.reverse();
            }
            let [first, second] = both
                .map(|(node, thought)| conductor.step(Input::Event(node, opened(thought)), ms(1)));
            assert!(opens(&first).is_empty(), "{small:?} {large:?}");
            assert_eq!(closes(&second), [LARGE], "{small:?} {large:?}");
            assert_eq!(opens(&second), [(LARGE, small)], "{small:?} {large:?}");
            let again = conductor.step(Input::Event(LARGE, opened(large)), ms(2));
            assert!(opens(&again).is_empty(), "it does as it was asked");
        }
    }
}

#[test]
fn nodes_that_agree_or_do_not_say_are_left_alone() {
    use ThoughtStart::{Open, Unknown, Unopened};
    for (small, large) in [(Open, Open), (Unopened, Unopened), (Unknown, Open), (Open, Unknown)] {
        let (mut conductor, _) = start(messages());
        for (node, thought) in [(SMALL, small), (LARGE, large)] {
            let effects = conductor.step(Input::Event(node, opened(thought)), ms(1));
            assert!(
                opens(&effects).is_empty() && closes(&effects).is_empty(),
                "{small:?} {large:?}"
            );
        }
    }
}

#[test]
fn a_raw_prompt_is_the_same_for_both() {
    let (mut conductor, _) = start(Prompt::Raw("2 + 2 is".to_owned()));
    for (node, thought) in [(SMALL, ThoughtStart::Open), (LARGE, ThoughtStart::Unopened)] {
        let effects = conductor.step(Input::Event(node, opened(thought)), ms(1));
        assert!(opens(&effects).is_empty());
    }
}

#[test]
fn the_next_small_node_goes_on_in_the_thought_of_the_first() {
    let (mut conductor, _) = start(messages());
    conductor.step(Input::Event(SMALL, opened(ThoughtStart::Open)), ms(1));
    let lost = Event::Failed(Failure::new(Code::Unavailable, "gone"));
    let effects = conductor.step(Input::Event(SMALL, lost), ms(2));
    assert_eq!(opens(&effects), [(NodeId::small(1), ThoughtStart::Open)]);
    let effects =
        conductor.step(Input::Event(NodeId::small(1), opened(ThoughtStart::Unopened)), ms(3));
    assert!(opens(&effects).is_empty());
}
