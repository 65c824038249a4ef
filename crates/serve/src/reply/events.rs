//! Server-sent events: how one is written, and the trait for writing news as events.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>. Chunks have only `data`; the events of
//! responses (`items`) have `event` too, like OpenAI's.

use serde::Serialize;

use super::{AnswerNews, Answered, ApiError, ReplyHead};
use crate::report::{ChunkNews, ResumedNews};

/// Writes the news of answers as events.
pub(super) trait EventWriter: Send {
    /// Writes news of an answer.
    fn write(&mut self, index: u32, news: &AnswerNews, out: &mut Vec<u8>);

    /// Writes the end of an answer. Returns whether that ends the stream too.
    fn end(&mut self, index: u32, answered: Box<Answered>, out: &mut Vec<u8>) -> bool;

    /// Writes an error, which ends the stream.
    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>);
}

/// Returns the object `specthink` for an event with this news.
pub(super) fn ours<'a>(head: &'a ReplyHead, news: &'a AnswerNews) -> Option<ChunkNews<'a>> {
    Some(match news {
        AnswerNews::Opened { id } => {
            let question = head.question.as_deref();
            ChunkNews::Opened { id, policy: head.policy, ignored: &head.ignored, question }
        }
        AnswerNews::Piece(piece) => piece.into(),
        AnswerNews::Degraded(reason) => ChunkNews::Degraded { degraded: reason },
        AnswerNews::Rejoined(node) => ChunkNews::Rejoined { rejoined: node },
        AnswerNews::Resumed { from, to, reason } => {
            ChunkNews::Resumed { resumed: ResumedNews { from, to, reason } }
        }
        AnswerNews::Ended(_) => return None,
    })
}

/// Writes a value as an event. JSON contains no line breaks here.
pub(super) fn event(out: &mut Vec<u8>, value: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    if let Err(why) = serde_json::to_writer(&mut *out, value) {
        tracing::error!(%why, "cannot write a chunk as JSON");
    }
    out.extend_from_slice(b"\n\n");
}
