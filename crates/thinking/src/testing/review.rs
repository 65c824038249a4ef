//! How a scripted Thinker judges what others write: by what its script would continue with.

use super::script::pieces;
use crate::{
    draw::splitmix64,
    session::{
        Protocol,
        review::{TokenVerdict, draw_seed},
    },
    thinker::{Objection, TextHash},
};

/// The largest gap of a token that differs from the script's, in nats; the smallest is 1.
pub const GREATEST_GAP: f32 = 4.0;

/// How many seeds are tried to draw something other than the token in the text.
const DRAWS: u64 = 64;

/// Judges the text that others wrote from this byte on. `next` returns what the script would continue with for a seed;
/// for seed 0 that is its likeliest token.
pub(super) fn judge(
    protocol: &mut Protocol,
    others_from: usize,
    next: impl Fn(&str, u64) -> Option<String>,
) -> Option<Objection> {
    let committed = protocol.committed().to_owned();
    let rules = protocol.review_mut()?;
    let mut start = others_from;
    let tokens = pieces(committed.get(others_from..)?).map(|piece| {
        let token = start..start + piece.len();
        start = token.end;
        token
    });
    let draw = rules.draw();
    rules.judge(&committed, tokens, |token| {
        let before = &committed[..token.start];
        let stands = (!token.is_empty()).then(|| &committed[token.clone()]);
        let mut instead = next(before, 0);
        let gap = match instead.as_deref() == stands {
            true => 0.0,
            // Derived only from the text up to the token's end, so that it does not depend on pieces or sessions.
            false => {
                let hash = TextHash::of(&committed[..token.end]).0 >> 32;
                1.0 + (hash % 4096) as f32 / 4096.0 * (GREATEST_GAP - 1.0)
            }
        };
        if let Some(seed) = draw.filter(|_| gap > 0.0) {
            let seed = draw_seed(seed, token.start);
            let mut drawn = (0..DRAWS).map(|n| next(before, splitmix64(seed, n)));
            instead = drawn.find(|it| it.as_deref() != stands).unwrap_or(instead);
        }
        TokenVerdict { gap, rank: u32::from(gap > 0.0), log_p: -gap, instead }
    })
}
