//! Which of an answer's text is a correction, for whoever watches it: the text comes behind the objection that it
//! answers, and where it begins says to which.
//!
//! An objection that is overruled has no text, and stop texts may hold text back behind later objections.

use std::collections::VecDeque;

use conductor::progress::{Progress, Text};
use thinking::{
    policy::Why,
    transcript::{Correction, Writer},
};

/// Finds the corrections in an answer's text as it is told.
#[derive(Debug, Clone, Default)]
pub struct CorrectionFinder {
    /// Where the next text begins, in bytes of the committed text; known from the first ask on.
    at: Option<u64>,
    /// What was objected to behind that: where, and what stands there.
    objected: VecDeque<(u64, Correction)>,
}

impl CorrectionFinder {
    /// Takes note of what is told of the answer.
    pub fn see(&mut self, progress: &Progress) {
        match progress {
            Progress::Ask(asked) => {
                self.at.get_or_insert(asked.committed_bytes);
            }
            Progress::Objected(objected) => {
                let correction = Correction { stood: objected.stood.clone(), gap: objected.gap };
                self.objected.push_back((objected.at_byte, correction));
            }
            _ => {}
        }
    }

    /// Cuts the next text where corrections begin. Each piece has the correction that begins with it.
    pub fn cut<'t>(&mut self, text: &'t Text) -> Vec<(&'t str, Option<Correction>)> {
        let begin = self.at.unwrap_or_default();
        let end = begin + text.text.len() as u64;
        self.at = Some(end);
        let is_correction = (text.writer, text.why) == (Writer::Large, Why::Review);
        let mut pieces = vec![(0, None)];
        while let Some((at, correction)) = self.objected.pop_front_if(|(at, _)| *at < end) {
            let place = at.checked_sub(begin).and_then(|at| usize::try_from(at).ok());
            let place = place.filter(|at| is_correction && text.text.is_char_boundary(*at));
            match (place, pieces.last_mut()) {
                // Of several objections to a place the last one counts.
                (Some(place), Some(last)) if last.0 == place => last.1 = Some(correction),
                (Some(place), _) => pieces.push((place, Some(correction))),
                (None, _) => {}
            }
        }
        let ends = pieces.iter().skip(1).map(|(at, _)| *at).chain([text.text.len()]);
        let ends: Vec<usize> = ends.collect();
        let cut = pieces.into_iter().zip(ends);
        cut.map(|((at, correction), end)| (&text.text[at..end], correction)).collect()
    }
}

#[cfg(test)]
mod tests {
    use conductor::progress::{Asked, Objected};
    use thinking::policy::Role;

    use super::*;

    fn objected(at_byte: u64, stood: &str) -> Progress {
        Progress::Objected(Box::new(Objected {
            ask: 0,
            at_byte,
            stood: stood.to_owned(),
            instead: None,
            gap: 1.5,
            rank: 1,
            log_p: -2.0,
            tokens: 1,
        }))
    }

    fn text(writer: Writer, why: Why, text: &str) -> Text {
        Text { writer, why, text: text.to_owned() }
    }

    /// Each piece with what stood there.
    fn cut(finder: &mut CorrectionFinder, text: &Text) -> Vec<(String, Option<String>)> {
        let pieces = finder.cut(text).into_iter();
        pieces.map(|(piece, it)| (piece.to_owned(), it.map(|it| it.stood))).collect()
    }

    #[test]
    fn every_correction_has_what_stood_at_its_place() {
        let mut finder = CorrectionFinder::default();
        let (small, large) = ((Writer::Small, Why::Turn), (Writer::Large, Why::Review));
        // Ten bytes of the answer were given.
        let why = Why::Turn;
        let (role, max_tokens) = (Role::Small, 9);
        for committed_bytes in [10, 90] {
            finder.see(&Progress::Ask(Asked {
                ask: 0,
                role,
                why,
                max_tokens,
                provisional: false,
                seed: 0,
                committed_bytes,
            }));
        }
        let piece = |text: &str, stood: Option<&str>| (text.to_owned(), stood.map(str::to_owned));
        // One is overruled, one was tried again, and text is behind what was objected to.
        for (at, stood) in [(11, "b"), (14, "4"), (14, "6"), (15, "7"), (18, "")] {
            finder.see(&objected(at, stood));
        }
        assert_eq!(cut(&mut finder, &text(small.0, small.1, "abcd")), [piece("abcd", None)]);
        let both = cut(&mut finder, &text(large.0, large.1, "5é"));
        assert_eq!(both, [piece("5", Some("6")), piece("é", Some("7"))]);
        assert_eq!(cut(&mut finder, &text(small.0, small.1, ".")), [piece(".", None)]);
        let more = cut(&mut finder, &text(large.0, large.1, " So"));
        assert_eq!(more, [piece(" So", Some(""))]);
        let rest = cut(&mut finder, &text(large.0, large.1, " on"));
        assert_eq!(rest, [piece(" on", None)], "a stretch goes on");
    }
}
