//! Stop texts of an answer: the answer ends before the first one in its text, whichever model writes it and however it
//! is cut into pieces.
//!
//! A proposal's own stop texts ([`crate::thinker::Propose::stop`]) are a different thing: they end a stretch, and the
//! node searches for them.

use serde::{Deserialize, Serialize};

use crate::{
    thinker::ThoughtStart,
    thought::{AnswerPart, ThoughtSplitter},
};

/// Texts that end an answer. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopTexts {
    /// The texts; an empty one has no effect.
    #[serde(default)]
    pub texts: Vec<String>,
    /// Whether they also end the thought before the answer; otherwise only the answer proper is searched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_thought: bool,
}

impl StopTexts {
    /// Returns whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.texts.iter().all(String::is_empty)
    }
}

/// How much of an answer's text may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadStops {
    /// How many of its first bytes, up to a character boundary: they contain no stop text and do not end with the start
    /// of one.
    pub shown: usize,
    /// The index of the stop text that follows them, if one does: the answer then ends there.
    pub stop: Option<usize>,
}

/// Finds stop texts in an answer's text as it grows, and holds back what may become one. The result does not depend on
/// how the text is cut into pieces: the stop text that is complete first wins, and of several that end together the
/// longest.
#[derive(Debug)]
pub struct StopFinder {
    texts: Vec<String>,
    /// `None` if the whole text is searched.
    splitter: Option<ThoughtSplitter>,
    /// Text that may or may not be part of the answer proper.
    undecided: String,
    /// The end of the text, if a stop text may begin there.
    held: String,
    /// How much text was read, in bytes.
    came: usize,
}

impl StopFinder {
    /// A finder for an answer whose text begins in this state of the thought. `None` if there is nothing to search for.
    pub fn new(stops: &StopTexts, start: ThoughtStart) -> Option<Self> {
        (!stops.is_empty()).then(|| StopFinder {
            texts: stops.texts.clone(),
            splitter: (!stops.in_thought).then(|| ThoughtSplitter::new(start)),
            undecided: String::new(),
            held: String::new(),
            came: 0,
        })
    }

    /// Returns the stop text with this index.
    pub fn stop(&self, number: usize) -> Option<&str> {
        self.texts.get(number).map(String::as_str)
    }

    /// Reads more text. After a stop text, nothing more may be read.
    pub fn read(&mut self, text: &str) -> ReadStops {
        self.came += text.len();
        self.undecided.push_str(text);
        let parts = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None => vec![(AnswerPart::Proper, text.len())],
        };
        let stop = self.take(parts);
        ReadStops { shown: self.came - self.undecided.len() - self.held.len(), stop }
    }

    /// Ends the text. What might have become a stop text is now released. A stop text can still be found if it was
    /// undecided until now where the answer proper begins.
    pub fn finish(&mut self) -> ReadStops {
        let parts = self.splitter.as_mut().map(ThoughtSplitter::finish).unwrap_or_default();
        match self.take(parts) {
            None => ReadStops { shown: self.came, stop: None },
            stop => ReadStops { shown: self.came - self.undecided.len() - self.held.len(), stop },
        }
    }

    /// Takes the parts of the text that are decided: searches them for stop texts, and holds back what may become one.
    /// If one is found, it and everything after it is held back.
    fn take(&mut self, parts: Vec<(AnswerPart, usize)>) -> Option<usize> {
        for (part, bytes) in parts {
            let decided = self.undecided.drain(..bytes);
            if part != AnswerPart::Proper {
                continue;
            }
            self.held.extend(decided);
            if let Some((at, number)) = self.first_stop() {
                self.held.drain(..at);
                return Some(number);
            }
            let begun = self.texts.iter().filter_map(|stop| begun_at_end(&self.held, stop)).max();
            self.held.drain(..self.held.len() - begun.unwrap_or(0));
        }
        None
    }

    /// Returns where the first stop text begins in the held text, and its index.
    fn first_stop(&self) -> Option<(usize, usize)> {
        let texts = self.texts.iter().enumerate().filter(|(_, stop)| !stop.is_empty());
        let found = texts.filter_map(|(number, stop)| {
            let at = self.held.find(stop)?;
            Some((at + stop.len(), at, number))
        });
        found.min().map(|(_, at, number)| (at, number))
    }
}

/// Returns how much of a stop text the text ends with, if any.
fn begun_at_end(text: &str, stop: &str) -> Option<usize> {
    (1..stop.len()).rev().find(|length| stop.get(..*length).is_some_and(|it| text.ends_with(it)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use proptest::prelude::*;

    use super::*;

    /// Returns what is shown of the pieces, and the stop text that ended it. Checks that what is shown never contains a
    /// stop text or ends with the start of one.
    fn shown(stops: &StopTexts, start: ThoughtStart, pieces: &[&str]) -> (String, Option<usize>) {
        let Some(mut finder) = StopFinder::new(stops, start) else {
            return (pieces.concat(), None);
        };
        let mut text = String::new();
        for piece in pieces {
            text.push_str(piece);
            let ReadStops { shown, stop } = finder.read(piece);
            assert!(text.is_char_boundary(shown), "{stops:?} {text:?} {shown}");
            if let Some(found) = stop {
                assert!(text[shown..].starts_with(finder.stop(found).unwrap()));
                return (text[..shown].to_owned(), stop);
            }
            if stops.in_thought {
                // The places where a stop text may begin and nothing that follows rules it out.
                let mut begun = (0..shown).filter(|at| text.is_char_boundary(*at));
                let may_become =
                    |at: usize| stops.texts.iter().any(|stop| stop.starts_with(&text[at..]));
                assert!(!begun.any(may_become), "{stops:?} {text:?} {shown}");
            }
        }
        let ReadStops { shown, stop } = finder.finish();
        (text[..shown].to_owned(), stop)
    }

    fn stops(texts: &[&str], in_thought: bool) -> StopTexts {
        StopTexts { texts: texts.iter().map(|&text| text.to_owned()).collect(), in_thought }
    }

    const CASES: [(&[&str], &str, &str, Option<usize>); 11] = [
        (&[], "abc", "abc", None),
        (&[""], "abc", "abc", None),
        (&["\n\nQ:"], "one\n\ntwo\n\nQ: three", "one\n\ntwo", Some(0)),
        (&["b", "ab"], "xab", "x", Some(1)),
        (&["abc", "b"], "xabc", "xa", Some(1)),
        (&["aab"], "aaab", "a", Some(0)),
        (&["abab"], "abaxabab", "abax", Some(0)),
        (&["数学"], "数数学", "数", Some(0)),
        (&["never"], "nev", "nev", None),
        (&["", "x"], "x", "", Some(1)),
        (&["</s>", "\n"], "<s></s\n", "<s></s", Some(1)),
    ];

    #[test]
    fn the_text_ends_before_the_first_stop_text() {
        for (texts, text, expected, stop) in CASES {
            let found = shown(&stops(texts, true), ThoughtStart::Unknown, &[text]);
            assert_eq!(found, (expected.to_owned(), stop), "{texts:?} {text:?}");
        }
    }

    /// The state of the thought, whether it is searched, a text, and what is shown of it with the stop text "Q".
    const THOUGHTS: [(ThoughtStart, bool, &str, &str); 9] = [
        (ThoughtStart::Unopened, false, "<think>Q</think>\n\naQb", "<think>Q</think>\n\na"),
        (ThoughtStart::Unopened, true, "<think>aQ</think>b", "<think>a"),
        (ThoughtStart::Unopened, false, "<thinQ", "<thin"),
        (ThoughtStart::Open, false, "aQ</think>Q", "aQ</think>"),
        (ThoughtStart::Open, false, "aQ</thinQ", "aQ</thinQ"),
        (ThoughtStart::Over, false, "<think>aQ", "<think>a"),
        (ThoughtStart::Unknown, false, "aQ", "a"),
        (ThoughtStart::Open, true, "aQ", "a"),
        (ThoughtStart::Unopened, false, "\nQ", "\n"),
    ];

    #[test]
    fn the_thought_is_passed_over_unless_it_counts() {
        for (start, in_thought, text, expected) in THOUGHTS {
            let found = shown(&stops(&["Q"], in_thought), start, &[text]).0;
            assert_eq!(found, expected, "{start:?} {text:?}");
        }
    }

    #[test]
    fn a_text_that_ends_before_it_is_known_where_the_answer_begins_is_looked_at_in_the_end() {
        for (text, expected) in [("\n\n", ""), ("<thi", "<thi")] {
            let found = shown(&stops(&["\n\n"], false), ThoughtStart::Unopened, &[text]);
            assert_eq!(found.0, expected);
        }
    }

    /// Cuts a text into pieces of this many characters.
    fn cut(text: &str, length: usize) -> Vec<String> {
        let letters: Vec<char> = text.chars().collect();
        letters.chunks(length).map(|piece| piece.iter().collect()).collect()
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_do_not_matter(case in 0..CASES.len(), of in 0..THOUGHTS.len(), length in 1usize..5) {
            let (texts, text, expected, stop) = CASES[case];
            let pieces = cut(text, length);
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let found = shown(&stops(texts, true), ThoughtStart::Unknown, &pieces);
            prop_assert_eq!(found, (expected.to_owned(), stop));
            let (start, in_thought, text, expected) = THOUGHTS[of];
            let pieces = cut(text, length);
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let found = shown(&stops(&["Q"], in_thought), start, &pieces).0;
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn what_is_shown_is_what_a_search_in_the_whole_text_gives(
            text in "[ab\n数]{0,24}", texts in prop::collection::vec("[ab\n数]{1,4}", 1..4), length in 1usize..5,
        ) {
            let ends = texts.iter().filter_map(|stop| Some((text.find(stop.as_str())? + stop.len(), stop)));
            let first = ends.map(|(end, stop)| (end, end - stop.len())).min();
            let expected = first.map_or(text.as_str(), |(_, at)| &text[..at]);
            let pieces = cut(&text, length);
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let stops = StopTexts { texts: texts.clone(), in_thought: true };
            prop_assert_eq!(shown(&stops, ThoughtStart::Unknown, &pieces).0, expected);
        }
    }
}
