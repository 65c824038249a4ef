//! What simulated models write: words that depend only on the committed text and the seed, with paragraphs, trigger
//! phrases, several scripts and, for some models, loops.

use thinking::{
    draw::splitmix64,
    session::{Protocol, review::TokenVerdict},
    thinker::{Objection, TextHash},
};

use crate::model::Model;

const WORDS: [&str; 20] = [
    " the", " sum", " is", " 7", " x", ".", ",", " so", " 数学", " é", " 🙂", " another", " we",
    " have", " equals", "ly", "\n", " 12", " then", " of",
];
const OPENINGS: [&str; 6] = ["Wait", "Let me check", "Yes", "So", "Hmm", "Thus"];

/// The tokens of one proposal.
#[derive(Debug)]
pub(crate) struct Babble {
    seed: u64,
    drawn: u64,
    after_break: bool,
    model: Model,
}

impl Babble {
    /// Continues this text.
    pub(crate) fn new(committed: &str, seed: u64, model: Model) -> Self {
        let seed = TextHash::of(committed).0 ^ seed;
        Babble { seed, drawn: 0, after_break: committed.ends_with("\n\n"), model }
    }

    /// Returns the entropy of the next token, in nats: from 0 to 4.
    pub(crate) fn entropy(&self) -> f32 {
        (splitmix64(self.seed, self.drawn) >> 40) as f32 / (1 << 24) as f32 * 4.0
    }

    /// Returns the next token; `None` ends the text.
    pub(crate) fn next(&mut self) -> Option<&'static str> {
        self.drawn += 1;
        let drawn = self.drawn.checked_rem(self.model.cycle).unwrap_or(self.drawn);
        let draw = splitmix64(self.seed, drawn);
        let of = |list: &'static [&'static str]| list[(draw >> 32) as usize % list.len()];
        if draw.is_multiple_of(self.model.length) {
            return None;
        }
        let was_break = std::mem::replace(
            &mut self.after_break,
            (draw >> 20).is_multiple_of(self.model.paragraph),
        );
        Some(match (was_break, self.after_break) {
            (true, _) => {
                self.after_break = false;
                of(&OPENINGS)
            }
            (false, true) => "\n\n",
            (false, false) => of(&WORDS),
        })
    }
}

/// Returns how many tokens another writer's text has.
pub(crate) fn tokens(text: &str) -> u32 {
    // Like real tokenizers, this differs from the writer's own tokens.
    text.split_inclusive(' ').count() as u32
}

/// Returns the model's objection to the text that others wrote from this byte on, if it has one.
pub(crate) fn judge(
    protocol: &mut Protocol,
    others_from: usize,
    model: Model,
) -> Option<Objection> {
    let committed = protocol.committed().to_owned();
    let rules = protocol.review_mut()?;
    let (mut start, draw_seed) = (others_from, rules.draw().unwrap_or_default());
    let tokens = committed.get(others_from..)?.split_inclusive(' ').map(|piece| {
        let token = start..start + piece.len();
        start = token.end;
        token
    });
    rules.judge(&committed, tokens, |token| {
        let draw = splitmix64(TextHash::of(&committed[..token.end]).0, 3);
        let is_other = draw.is_multiple_of(model.objects_to.max(1));
        let gap = if is_other { 0.5 + (draw >> 40) as f32 / (1 << 24) as f32 * 4.0 } else { 0.0 };
        let drawn = draw ^ draw_seed;
        let instead = WORDS[(drawn >> 20) as usize % WORDS.len()];
        let ends = (drawn >> 12).is_multiple_of(16);
        let instead = (!ends).then(|| instead.to_owned());
        TokenVerdict { gap, rank: u32::from(is_other), log_p: -gap, instead }
    })
}
