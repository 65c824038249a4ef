//! How many bytes a message takes on the wire.
//!
//! Text is counted exactly; the rest is the framing of HTTP/2 and gRPC, and the protocol's fields at their usual
//! lengths. Not included are TLS, whose records add 22 bytes a message, and HTTP/2 frames that carry no message.

use thinking::thinker::ModelCard;

/// The headers of an HTTP/2 DATA frame and of a gRPC message. Messages that are ready at the same time share a frame,
/// which is not modelled: models that make a token in microseconds send less than this.
const FRAME: usize = 9 + 5;
/// The `oneof` field around a message: a tag and a length.
const ENVELOPE: usize = 2;
/// A token's id: most take two bytes.
const TOKEN_ID: usize = 2;
/// A heartbeat.
pub(super) const HEARTBEAT: usize = FRAME + ENVELOPE;

/// The call's headers and `open`: headers compressed by a connection that knows them, sampling, version, deadline.
pub(super) fn open(prompt_bytes: usize) -> usize {
    const HEADERS: usize = 9 + 30;
    const FIELDS: usize = 90;
    HEADERS + FRAME + ENVELOPE + FIELDS + prompt_bytes
}

/// The headers of the answer and `opened`, with the names in the model's card.
pub(super) fn opened(card: &ModelCard) -> usize {
    const HEADERS: usize = 9 + 15;
    const FIELDS: usize = 25;
    let names = [&card.name, &card.family, &card.quantisation, &card.device];
    let names: usize = names.iter().map(|name| name.len() + 2).sum();
    HEADERS + FRAME + ENVELOPE + FIELDS + names + card.tokenizer_fingerprint.len()
}

/// `append`; token ids are sent if both nodes share a tokenizer.
pub(super) fn append(text_bytes: usize, token_ids: usize) -> usize {
    FRAME + ENVELOPE + 2 + text_bytes + ids(token_ids)
}

/// `propose`, with the watched phrases.
pub(super) fn propose(watch_bytes: usize) -> usize {
    const SEED: usize = 11;
    const REST: usize = 8;
    FRAME + ENVELOPE + SEED + REST + watch_bytes
}

/// One phrase of a watch.
pub(super) fn phrase(text_bytes: usize) -> usize {
    6 + text_bytes
}

/// `commit`.
pub(super) fn commit() -> usize {
    FRAME + ENVELOPE + 2
}

/// `cancel`.
pub(super) fn cancel() -> usize {
    FRAME + ENVELOPE
}

/// `delta` with this many tokens.
pub(super) fn delta(text_bytes: usize, tokens: u32) -> usize {
    const TOKENS: usize = 2;
    const SETTLED: usize = 3;
    FRAME + ENVELOPE + 2 + text_bytes + TOKENS + ids(tokens as usize) + SETTLED
}

/// `finished`.
pub(super) fn finished() -> usize {
    const TIMING: usize = 12;
    const COUNTS: usize = 10;
    FRAME + ENVELOPE + TIMING + COUNTS
}

/// `warmed`.
pub(super) fn warmed() -> usize {
    const HASH: usize = 9;
    const COUNTS: usize = 9;
    FRAME + ENVELOPE + HASH + COUNTS
}

fn ids(count: usize) -> usize {
    if count == 0 { 0 } else { 2 + TOKEN_ID * count }
}
