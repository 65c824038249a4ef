//! How far the thought of an answer is where its text begins: the port's word for it over the marks that the crate
//! `text` knows.

use text::{ChatTemplate, Thought};
use thinking::thinker::ThoughtStart;

/// How far it is, as the port says it.
pub(crate) fn start(thought: Thought) -> ThoughtStart {
    match thought {
        Thought::Unopened => ThoughtStart::Unopened,
        Thought::Open => ThoughtStart::Open,
        Thought::Over => ThoughtStart::Over,
    }
}

/// How far it is, where that is known.
pub(crate) fn known(start: ThoughtStart) -> Option<Thought> {
    match start {
        ThoughtStart::Unknown => None,
        ThoughtStart::Unopened => Some(Thought::Unopened),
        ThoughtStart::Open => Some(Thought::Open),
        ThoughtStart::Over => Some(Thought::Over),
    }
}

/// What our own chat template leaves of an answer's thought.
pub(crate) fn left_by(template: &ChatTemplate) -> ThoughtStart {
    match template.unusable() {
        Some(_) => ThoughtStart::Unknown,
        None => start(template.thought()),
    }
}

/// Makes a prompt whose template left the thought so far end with it as it is wanted, where both are known.
pub(crate) fn lead(prompt: &mut String, left: ThoughtStart, wanted: ThoughtStart) {
    if let (Some(left), Some(wanted)) = (known(left), known(wanted))
        && left != wanted
    {
        left.lead_to(wanted, prompt);
    }
}
