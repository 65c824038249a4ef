//! Finds where the thoughts of a reasoning model end and its answer begins.
//!
//! What does not live here: the answer itself ([`crate::answer`]).

/// Pairs of marks between which models think.
const MARKS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("[THINK]", "[/THINK]"),
];

/// Where a text begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextStart {
    /// The answer, or a mark that opens a thought.
    #[default]
    Answer,
    /// A thought whose opening mark is in the prompt.
    Thought,
}

/// Returns the part of a text after its last thought, or the whole text if it has no thoughts. `None` if a thought is
/// open at the text's end, so that there is no answer yet.
pub fn after_thoughts(text: &str, start: TextStart) -> Option<&str> {
    let last = |mark: &str| text.rfind(mark).map(|at| at + mark.len());
    let opened = MARKS.iter().filter_map(|(open, _)| last(open)).max();
    let closed = MARKS.iter().filter_map(|(_, close)| last(close)).max();
    match (opened, closed) {
        (Some(opened), closed) if closed.is_none_or(|closed| closed < opened) => None,
        (_, Some(closed)) => text.get(closed..),
        (_, None) if start == TextStart::Thought => None,
        (_, None) => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{TextStart, after_thoughts};

    #[test]
    fn the_last_thought_decides() {
        for (text, want) in [
            ("5", Some("5")),
            ("<think>4</think>5", Some("5")),
            ("4</think>5", Some("5")),
            ("<think>3</think>4<think>no</think>5", Some("5")),
            ("<think>a <think> b</think>5", Some("5")),
            ("<think>4</think>", Some("")),
            ("<think>4", None),
            ("<think>3</think>4<think>5", None),
            ("[THINK]4[/THINK]5", Some("5")),
            ("<|begin_of_thought|>4", None),
        ] {
            assert_eq!(after_thoughts(text, TextStart::Answer), want, "{text}");
        }
    }

    #[test]
    fn a_text_may_begin_inside_a_thought() {
        for (text, want) in [("4", None), ("", None), ("4</think>5", Some("5"))] {
            assert_eq!(after_thoughts(text, TextStart::Thought), want, "{text}");
        }
    }
}
