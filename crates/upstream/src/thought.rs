//! How far an answer's thought is where its text begins: converts between the port's type and the type of the crate
//! `text`.

use text::{ChatTemplate, Thought};
use thinking::thinker::ThoughtStart;

/// Converts to the port's type.
pub(crate) fn start(thought: Thought) -> ThoughtStart {
    match thought {
        Thought::Unopened => ThoughtStart::Unopened,
        Thought::Open => ThoughtStart::Open,
        Thought::Over => ThoughtStart::Over,
    }
}

/// Converts from the port's type, if known.
pub(crate) fn known(start: ThoughtStart) -> Option<Thought> {
    match start {
        ThoughtStart::Unknown => None,
        ThoughtStart::Unopened => Some(Thought::Unopened),
        ThoughtStart::Open => Some(Thought::Open),
        ThoughtStart::Over => Some(Thought::Over),
    }
}

/// Returns how far our own chat template leaves an answer's thought.
pub(crate) fn left_by(template: &ChatTemplate) -> ThoughtStart {
    match template.unusable() {
        Some(_) => ThoughtStart::Unknown,
        None => start(template.thought()),
    }
}

/// Extends a prompt, whose template left the thought in state `left`, so that it ends in the wanted state. Does nothing
/// if either is unknown.
pub(crate) fn lead(prompt: &mut String, left: ThoughtStart, wanted: ThoughtStart) {
    if let (Some(left), Some(wanted)) = (known(left), known(wanted))
        && left != wanted
    {
        left.lead_to(wanted, prompt);
    }
}
