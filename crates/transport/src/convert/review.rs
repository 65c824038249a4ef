//! Reviews, to and from the wire: the request, the judged text and the objections.

use proto::v1 as wire;
use thinking::thinker::{Append, Failure, Objection, Review, TextEnd};

use super::unknown;

pub(super) fn review_to_wire(review: Review) -> wire::Review {
    let Review { gap, from_byte, skip_openings, draw } = review;
    wire::Review { gap, from_byte, skip_openings, draw }
}

pub(super) fn review_from_wire(review: wire::Review) -> Review {
    let wire::Review { gap, from_byte, skip_openings, draw } = review;
    Review { gap, from_byte, skip_openings, draw }
}

pub(super) fn append_to_wire(append: Append) -> wire::Append {
    let Append { text, token_ids, end, exempt } = append;
    let end = match end {
        TextEnd::Open => wire::TextEnd::Open,
        TextEnd::Stretch => wire::TextEnd::Stretch,
        TextEnd::Answer => wire::TextEnd::Answer,
    };
    wire::Append { text, token_ids, end: end.into(), exempt }
}

pub(super) fn append_from_wire(append: wire::Append) -> Result<Append, Failure> {
    let wire::Append { text, token_ids, end, exempt } = append;
    let end = match wire::TextEnd::try_from(end) {
        Ok(wire::TextEnd::Open) => TextEnd::Open,
        Ok(wire::TextEnd::Stretch) => TextEnd::Stretch,
        Ok(wire::TextEnd::Answer) => TextEnd::Answer,
        Err(_) => return Err(unknown("Append.end", end)),
    };
    Ok(Append { text, token_ids, end, exempt })
}

pub(super) fn objection_to_wire(objection: Objection) -> wire::Objection {
    let Objection { at_byte, bytes, gap, rank, log_p, instead, tokens, token_ids } = objection;
    wire::Objection { at_byte, bytes, gap, rank, log_p, instead, tokens, token_ids }
}

/// Reads an objection. Its two figures are only passed on, so a value that is not finite becomes 0: journals cannot
/// hold it.
pub(super) fn objection_from_wire(objection: wire::Objection) -> Objection {
    let wire::Objection { at_byte, bytes, gap, rank, log_p, instead, tokens, token_ids } =
        objection;
    let [gap, log_p] = [gap, log_p].map(|it| if it.is_finite() { it } else { 0.0 });
    Objection { at_byte, bytes, gap, rank, log_p, instead, tokens, token_ids }
}
