//! The thought before an answer: which letters of a text are the marks around it.
//!
//! Reasoning models think between two marks, which most of them have as tokens. Only text crosses the wire, so whether
//! `</think>` is a mark or letters depends on the text alone, and on the end of the prompt:
//!
//! - An opening mark is one at the very beginning of an answer, after optional white space, unless the prompt ends with
//!   one.
//! - The first closing mark of an answer is one, unless the prompt already holds it.
//! - Everywhere else, and in what people write, the same letters are letters.

/// The marks around thoughts, as (opening, closing).
pub(crate) const MARKS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("[THINK]", "[/THINK]"),
];

/// The state of an answer's thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thought {
    /// Nothing is written yet: the answer may begin with a mark that opens the thought.
    #[default]
    Unopened,
    /// The thought continues, or there is none: no closing mark has come.
    Open,
    /// Its closing mark is written: what follows is the answer proper.
    Over,
}

/// Returns whether a token of this name is a mark.
pub(crate) fn is_mark(name: &str) -> bool {
    MARKS.iter().any(|(open, close)| [*open, *close].contains(&name))
}

impl Thought {
    /// Returns the state for an answer that follows a prompt with this end.
    pub fn behind(prompt_end: &str) -> Self {
        let last = |mark: &str| prompt_end.rfind(mark);
        let opened = MARKS.iter().filter_map(|(open, _)| last(open)).max();
        let closed = MARKS.iter().filter_map(|(_, close)| last(close)).max();
        match (opened, closed) {
            (None, None) => Thought::Unopened,
            (opened, closed) if opened > closed => Thought::Open,
            _ => Thought::Over,
        }
    }

    /// Changes a prompt that leaves the thought in this state so that it leaves it in the wanted one. Models without
    /// such marks read them as any other text.
    pub fn lead_to(self, wanted: Thought, prompt: &mut String) {
        let last = |mark: &str| prompt.rfind(mark);
        let opened = MARKS.iter().filter_map(|pair| Some((last(pair.0)?, *pair))).max();
        let closed = MARKS.iter().filter_map(|pair| Some((last(pair.1)?, *pair))).max();
        let (cut, (open, close)) = match (self, opened, closed) {
            (Thought::Open, Some((at, pair)), _) => (at, pair),
            // A thought that is closed at once is removed with its beginning.
            (Thought::Over, Some((at, pair)), Some((end, _)))
                if prompt.get(at + pair.0.len()..end).is_some_and(|it| it.trim().is_empty()) =>
            {
                (at, pair)
            }
            (Thought::Over, _, Some((at, pair))) => (at, pair),
            _ => (prompt.len(), MARKS[0]),
        };
        prompt.truncate(cut);
        match wanted {
            Thought::Unopened => {}
            Thought::Open => prompt.push_str(&format!("{open}\n")),
            Thought::Over => prompt.push_str(&format!("{open}\n\n{close}\n\n")),
        }
    }

    /// Returns the state after more text of the answer.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        self.read(text).1
    }

    /// Returns where each mark in more text of the answer begins and ends.
    pub(crate) fn marks(self, text: &str) -> Vec<(usize, usize)> {
        self.read(text).0
    }

    fn read(self, text: &str) -> (Vec<(usize, usize)>, Self) {
        let (mut marks, mut state, mut at) = (Vec::new(), self, 0);
        if state == Thought::Unopened {
            let begin = text.len() - text.trim_start().len();
            if begin == text.len() {
                return (marks, state);
            }
            state = Thought::Open;
            let open = MARKS.iter().find(|(open, _)| text[begin..].starts_with(open));
            if let Some((open, _)) = open {
                at = begin + open.len();
                marks.push((begin, at));
            }
        }
        if state == Thought::Open {
            let closes = MARKS.iter().filter_map(|(_, close)| {
                let found = at + text[at..].find(close)?;
                Some((found, found + close.len()))
            });
            if let Some(close) = closes.min() {
                marks.push(close);
                state = Thought::Over;
            }
        }
        (marks, state)
    }
}

#[cfg(test)]
mod tests {
    use super::Thought::{self, Open, Over, Unopened};

    #[test]
    fn a_prompt_says_how_far_the_thought_is() {
        for (end, expected) in [
            ("", Unopened),
            ("<|im_start|>assistant\n", Unopened),
            ("<｜Assistant｜><think>\n", Open),
            ("<think>\n\n</think>\n\n", Over),
            ("<｜Assistant｜></think>", Over),
            ("[/INST][THINK]", Open),
        ] {
            assert_eq!(Thought::behind(end), expected, "{end:?}");
        }
    }

    #[test]
    fn a_prompt_is_brought_to_any_end() {
        for (prompt, unopened, open, over) in [
            ("a<x>\n", "a<x>\n", "a<x>\n<think>\n", "a<x>\n<think>\n\n</think>\n\n"),
            ("<x><think>\n", "<x>", "<x><think>\n", "<x><think>\n\n</think>\n\n"),
            ("<x>[THINK]", "<x>", "<x>[THINK]\n", "<x>[THINK]\n\n[/THINK]\n\n"),
            ("<x><think>\n\n</think>\n\n", "<x>", "<x><think>\n", "<x><think>\n\n</think>\n\n"),
            (
                "<think>old</think><x></think>",
                "<think>old</think><x>",
                "<think>old</think><x><think>\n",
                "<think>old</think><x><think>\n\n</think>\n\n",
            ),
        ] {
            for (wanted, expected) in [(Unopened, unopened), (Open, open), (Over, over)] {
                let mut led = prompt.to_owned();
                Thought::behind(prompt).lead_to(wanted, &mut led);
                assert_eq!(led, expected, "{prompt:?} to {wanted:?}");
            }
        }
    }

    #[test]
    fn the_first_closing_mark_and_an_opening_one_at_the_beginning_are_marks() {
        let cases: [(Thought, &str, &[&str], Thought); 10] = [
            (Unopened, " \n", &[], Unopened),
            (Unopened, "\n<think>\nno", &["<think>"], Open),
            (Unopened, "<think>a</think>b</think>c<think>d", &["<think>", "</think>"], Over),
            (Unopened, "a<think>b", &[], Open),
            (Unopened, "a</think>b", &["</think>"], Over),
            (Open, "<think>a", &[], Open),
            (Open, "a</think>b</think>", &["</think>"], Over),
            (Open, "a[/THINK]b</think>", &["[/THINK]"], Over),
            (Over, "<think>a</think>", &[], Over),
            (Open, "a</thin", &[], Open),
        ];
        for (before, text, expected, after) in cases {
            let marks: Vec<&str> =
                before.marks(text).into_iter().map(|(start, end)| &text[start..end]).collect();
            assert_eq!((&*marks, before.after(text)), (expected, after), "{before:?} {text:?}");
        }
    }
}
