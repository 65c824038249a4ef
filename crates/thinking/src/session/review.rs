//! Which tokens of other writers a session judges, and what follows from a verdict.
//!
//! A token is objected to if its gap exceeds the session's. The gap is the log-probability of the Thinker's likeliest
//! token at that place minus that of the token in the text, at temperature 1. This is the lenient acceptance rule of
//! speculative decoding, applied to text: with a gap of 0, only the Thinker's own greedy text passes. Related work is
//! the rollback policy of Big Little Decoder (arXiv 2302.07863) and the thresholds of lossy speculative decoding, which
//! run in one machine with one tokenizer.
//!
//! The Thinker computes the gaps, for its own tokens. These rules decide what is judged:
//! - What others write, except exempt text and text before the byte that the session was opened with.
//! - Only tokens that no following text can change. While more may follow, the last ones wait ([`TextEnd::Open`]).
//! - In order: the first token over the gap is objected to, and nothing behind it is judged before the cut.

use std::ops::Range;

use crate::{
    draw::splitmix64,
    thinker::{Objection, Review, TextEnd},
};

/// A Thinker's verdict on another writer's token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenVerdict {
    /// [`Objection::gap`].
    pub gap: f32,
    /// [`Objection::rank`].
    pub rank: u32,
    /// [`Objection::log_p`].
    pub log_p: f32,
    /// [`Objection::instead`], with one token.
    pub instead: Option<String>,
}

/// Returns the seed that draws the replacement at this place, in a session whose [`Review::draw`] is `seed`.
pub fn draw_seed(seed: u64, at: usize) -> u64 {
    splitmix64(seed, at as u64)
}

/// What a session judges of its committed text. Places are bytes of that text.
#[derive(Debug, Clone)]
pub struct ReviewRules {
    review: Review,
    /// No verdict concerns anything before this place any more.
    reviewed: usize,
    /// Ranges of exempt text, in order.
    exempt: Vec<Range<usize>>,
    /// How the committed text ends.
    end: TextEnd,
    /// Whether the end of the answer here has been judged.
    end_is_judged: bool,
    objection: Option<Objection>,
}

impl ReviewRules {
    /// The rules of a session that is opened with this review.
    pub fn new(review: Review) -> Self {
        ReviewRules {
            review,
            reviewed: usize::try_from(review.from_byte).unwrap_or(usize::MAX),
            exempt: Vec::new(),
            end: TextEnd::Open,
            end_is_judged: false,
            objection: None,
        }
    }

    /// Notes that another writer's text is committed here.
    pub(super) fn appended(&mut self, text: Range<usize>, end: TextEnd, exempt: bool) {
        self.end = end;
        self.end_is_judged = false;
        if !exempt || text.is_empty() {
            return;
        }
        match self.exempt.last_mut() {
            Some(last) if last.end == text.start => last.end = text.end,
            _ => self.exempt.push(text),
        }
    }

    /// Notes that the Thinker's own text is committed up to here.
    pub(super) fn wrote(&mut self, to: usize) {
        self.reviewed = self.reviewed.max(to);
        self.end = TextEnd::Open;
    }

    /// Notes that the committed text is cut back to here.
    pub(super) fn cut(&mut self, to: usize) {
        self.objection = None;
        self.end = TextEnd::Open;
        self.reviewed = self.reviewed.min(to);
        self.exempt.retain_mut(|text| {
            text.end = text.end.min(to);
            text.start < text.end
        });
    }

    /// Returns [`Review::draw`].
    pub fn draw(&self) -> Option<u64> {
        self.review.draw
    }

    /// Returns how many of the first bytes no objection can concern any more.
    pub fn reviewed(&self) -> usize {
        self.reviewed
    }

    /// Returns how the committed text ends. With [`TextEnd::Open`], tokens that more text might change are not judged.
    pub fn end(&self) -> TextEnd {
        self.end
    }

    /// Returns whether the end of the answer is still to be judged once all tokens are.
    pub fn judges_end(&self) -> bool {
        self.end == TextEnd::Answer && !self.end_is_judged && self.objection.is_none()
    }

    /// Returns whether the token that begins at this place of the committed text is judged.
    pub fn judges(&self, at: usize, committed: &str) -> bool {
        let is_opening = || at == 0 || committed.get(..at).is_some_and(|it| it.ends_with("\n\n"));
        at >= self.reviewed
            && !self.exempt.iter().any(|text| text.contains(&at))
            && !(self.review.skip_openings && is_opening())
    }

    /// Returns whether a token with this gap is objected to.
    pub fn objects_to(&self, gap: f32) -> bool {
        gap > self.review.gap
    }

    /// Notes that every token that ends at this place or before is judged or exempt.
    pub fn passed(&mut self, to: usize) {
        if self.objection.is_none() && to > self.reviewed {
            self.reviewed = to;
            // Nothing before this place is asked about again, so its exemptions can be dropped.
            self.exempt.retain(|text| text.end > to);
        }
    }

    /// Notes that the end of the answer is judged and accepted.
    pub fn passed_end(&mut self) {
        self.end_is_judged = true;
    }

    /// Notes an objection to a token; what lies before it is accepted.
    pub fn object(&mut self, objection: Objection) {
        self.passed(usize::try_from(objection.at_byte).unwrap_or(usize::MAX));
        self.objection = Some(objection);
    }

    /// Judges the tokens at the end of the committed text, and the end of the answer, for a Thinker that has verdicts
    /// at hand. Returns the objection, if there is one.
    pub fn judge(
        &mut self,
        committed: &str,
        tokens: impl IntoIterator<Item = Range<usize>>,
        verdict: impl Fn(Range<usize>) -> TokenVerdict,
    ) -> Option<Objection> {
        if self.objection.is_some() {
            return None;
        }
        let mut end = None;
        for token in tokens {
            if token.end == committed.len() && self.end == TextEnd::Open {
                return None;
            }
            if self.judges(token.start, committed) {
                let verdict = verdict(token.clone());
                if self.objects_to(verdict.gap) {
                    return Some(self.objected(token, verdict));
                }
            }
            self.passed(token.end);
            end = Some(token.end);
        }
        if self.judges_end() && end.is_none_or(|end| end == committed.len()) {
            let end = committed.len()..committed.len();
            let verdict = verdict(end.clone());
            if self.objects_to(verdict.gap) {
                return Some(self.objected(end, verdict));
            }
            self.passed_end();
        }
        None
    }

    fn objected(&mut self, token: Range<usize>, verdict: TokenVerdict) -> Objection {
        let TokenVerdict { gap, rank, log_p, instead } = verdict;
        let (at_byte, bytes) = (token.start as u64, token.len() as u32);
        let token_ids = Vec::new();
        let objection =
            Objection { at_byte, bytes, gap, rank, log_p, instead, tokens: 1, token_ids };
        self.object(objection.clone());
        objection
    }

    /// Returns the objection that waits for its cut: until then nothing is computed.
    pub fn objection(&self) -> Option<&Objection> {
        self.objection.as_ref()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    fn rules(from_byte: u64, skip_openings: bool) -> ReviewRules {
        ReviewRules::new(Review { gap: 1.0, from_byte, skip_openings, draw: None })
    }

    #[test]
    fn only_what_others_wrote_and_nobody_exempted_is_judged() {
        let text = "given one\n\ntwo own";
        let mut rules = rules(5, false);
        rules.appended(0..11, TextEnd::Open, false);
        rules.appended(11..14, TextEnd::Open, true);
        let judged = |rules: &ReviewRules| {
            let places = [0, 5, 6, 9, 11, 14].into_iter();
            places.filter(|at| rules.judges(*at, text)).collect::<Vec<_>>()
        };
        assert_eq!(judged(&rules), [5, 6, 9, 14]);
        rules.passed(9);
        assert_eq!(judged(&rules), [9, 14]);
        rules.wrote(18);
        assert!(judged(&rules).is_empty());
    }

    #[test]
    fn exempt_text_in_many_pieces_costs_no_more_than_in_one() {
        let mut rules = rules(0, false);
        for at in 0..9 {
            rules.appended(at..at + 1, TextEnd::Open, true);
        }
        assert_eq!(rules.exempt.as_slice(), std::slice::from_ref(&(0..9)));
        rules.appended(9..12, TextEnd::Open, false);
        rules.appended(12..13, TextEnd::Open, true);
        rules.passed(10);
        assert_eq!(rules.exempt.as_slice(), std::slice::from_ref(&(12..13)));
        assert!(rules.judges(10, "123456789abcd") && !rules.judges(12, "123456789abcd"));
    }

    #[test]
    fn openings_are_skipped_where_that_is_asked_for() {
        let mut rules = rules(0, true);
        rules.appended(0..7, TextEnd::Stretch, false);
        let places = [0, 1, 3, 4].map(|at| rules.judges(at, "a\n\nb cd"));
        assert_eq!(places, [false, true, false, true]);
    }

    #[test]
    fn the_first_token_over_the_gap_is_objected_to_and_the_last_one_waits() {
        let text = "ab cd ef";
        let tokens = || [0..2, 2..5, 5..8];
        let verdict = |token: Range<usize>| TokenVerdict {
            gap: if token.start == 5 { 2.0 } else { 1.0 },
            rank: 1,
            log_p: -2.0,
            instead: Some(" no".to_owned()),
        };
        let mut rules = rules(0, false);
        rules.appended(0..8, TextEnd::Open, false);
        assert_eq!(rules.judge(text, tokens(), verdict), None);
        assert_eq!(rules.reviewed(), 5);
        rules.appended(8..8, TextEnd::Stretch, false);
        let objection = rules.judge(text, tokens(), verdict).unwrap();
        assert_eq!((objection.at_byte, objection.bytes, objection.gap), (5, 3, 2.0));
        assert_eq!(rules.judge(text, tokens(), verdict), None, "one at a time");
        rules.passed(8);
        assert_eq!(rules.reviewed(), 5);
    }

    #[test]
    fn an_end_is_judged_when_its_text_is() {
        let verdict = |token: Range<usize>| TokenVerdict {
            gap: if token.is_empty() { 9.0 } else { 0.0 },
            rank: 4,
            log_p: -9.0,
            instead: Some(" more".to_owned()),
        };
        let mut rules = rules(0, false);
        rules.appended(0..2, TextEnd::Answer, false);
        let objection = rules.judge("ab", [0..1, 1..2], verdict).unwrap();
        assert_eq!((objection.at_byte, objection.bytes), (2, 0));
    }

    #[test]
    fn a_cut_opens_the_text_behind_it_again() {
        let mut rules = rules(0, false);
        rules.appended(0..9, TextEnd::Answer, true);
        assert!(rules.judges_end() && !rules.judges(4, "123456789"));
        rules.passed(9);
        rules.cut(3);
        assert_eq!((rules.reviewed(), rules.judges_end()), (3, false));
        assert!(rules.judges(4, "123456789"), "its exemption went with it");
        assert!(!rules.judges(2, "123456789"));
    }
}
