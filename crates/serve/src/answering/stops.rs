//! Finds stop texts in text that comes in pieces, whoever wrote them.

/// Finds stop texts, and holds back what may become one.
#[derive(Debug)]
pub(crate) struct StopFinder {
    stops: Vec<String>,
    /// The end of the text that may be the beginning of a stop text.
    held: String,
}

/// What more text led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Released {
    /// How many of the bytes that were held or came now may be shown.
    pub(crate) bytes: usize,
    /// The number of the stop text that follows them, if one does.
    pub(crate) stop: Option<usize>,
}

impl StopFinder {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        StopFinder { stops, held: String::new() }
    }

    /// The stop text of a number.
    pub(crate) fn stop(&self, number: usize) -> Option<&str> {
        self.stops.get(number).map(String::as_str)
    }

    /// Takes more text. The first stop text that is complete counts, and the longest of those that are at once.
    pub(crate) fn push(&mut self, text: &str) -> Released {
        self.held.push_str(text);
        let found = self.stops.iter().enumerate().filter_map(|(number, stop)| {
            let at = self.held.find(stop)?;
            Some((at + stop.len(), at, number))
        });
        if let Some((_, bytes, number)) = found.min() {
            self.held.clear();
            return Released { bytes, stop: Some(number) };
        }
        let begun = self.stops.iter().filter_map(|stop| begun_at_end(&self.held, stop)).max();
        let bytes = self.held.len() - begun.unwrap_or(0);
        self.held.drain(..bytes);
        Released { bytes, stop: None }
    }

    /// The text is over: how much was held back.
    pub(crate) fn finish(&mut self) -> usize {
        std::mem::take(&mut self.held).len()
    }
}

/// How much of a stop text the text ends with, if any.
fn begun_at_end(text: &str, stop: &str) -> Option<usize> {
    (1..stop.len()).rev().find(|length| stop.get(..*length).is_some_and(|it| text.ends_with(it)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is shown of pieces, and the stop text that ended it.
    fn shown(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
        let mut finder = StopFinder::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let (mut text, mut shown) = (String::new(), 0);
        for piece in pieces {
            text.push_str(piece);
            let Released { bytes, stop } = finder.push(piece);
            shown += bytes;
            if stop.is_some() {
                return (text[..shown].to_owned(), stop);
            }
        }
        shown += finder.finish();
        (text[..shown].to_owned(), None)
    }

    const CASES: [(&[&str], &str, &str, Option<usize>); 9] = [
        (&[], "abc", "abc", None),
        (&["\n\nQ:"], "one\n\ntwo\n\nQ: three", "one\n\ntwo", Some(0)),
        (&["b", "ab"], "xab", "x", Some(1)),
        (&["abc", "b"], "xabc", "xa", Some(1)),
        (&["aab"], "aaab", "a", Some(0)),
        (&["abab"], "abaxabab", "abax", Some(0)),
        (&["数学"], "数数学", "数", Some(0)),
        (&["never"], "nev", "nev", None),
        (&["x"], "x", "", Some(0)),
    ];

    #[test]
    fn the_text_ends_before_the_first_stop_text() {
        for (stops, text, expected, stop) in CASES {
            assert_eq!(shown(stops, &[text]), (expected.to_owned(), stop), "{stops:?} {text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_do_not_matter(case in 0..CASES.len(), length in 1usize..5) {
            let (stops, text, expected, stop) = CASES[case];
            let letters: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = letters.chunks(length).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(shown(stops, &pieces), (expected.to_owned(), stop));
        }
    }
}
