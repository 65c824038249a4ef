//! How a scripted Thinker judges what others write: by what its script would go on with.

use super::script::pieces;
use crate::{
    session::{Protocol, review::TokenVerdict},
    thinker::{Objection, TextHash},
};

/// The greatest gap of a token that is not the script's, in nats; the least is 1.
pub const GREATEST_GAP: f32 = 4.0;

/// Judges the text that others wrote from this byte on. `next` gives what the script would go on with.
pub(super) fn judge(
    protocol: &mut Protocol,
    others_from: usize,
    next: impl Fn(&str) -> Option<String>,
) -> Option<Objection> {
    let committed = protocol.committed().to_owned();
    let rules = protocol.review_mut()?;
    let mut start = others_from;
    let tokens = pieces(committed.get(others_from..)?).map(|piece| {
        let token = start..start + piece.len();
        start = token.end;
        token
    });
    rules.judge(&committed, tokens, |token| {
        let instead = next(&committed[..token.start]);
        let stands = (!token.is_empty()).then(|| &committed[token.clone()]);
        let gap = match instead.as_deref() == stands {
            true => 0.0,
            // By the text before it alone, so that it depends on no piece and no session.
            false => {
                let hash = TextHash::of(&committed[..token.end]).0 >> 32;
                1.0 + (hash % 4096) as f32 / 4096.0 * (GREATEST_GAP - 1.0)
            }
        };
        TokenVerdict { gap, rank: u32::from(gap > 0.0), log_p: -gap, instead }
    })
}
