//! Server-sent events: how one is written, and what writes the news of answers as some.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>. Chunks have `data` alone, the events of
//! responses (`items`) have `event` too, as OpenAI's have.

use serde::Serialize;

use super::{AnswerNews, Answered, ApiError, ReplyHead};
use crate::report::{ChunkNews, ResumedNews};

/// How the news of answers are written as events.
pub(super) trait EventWriter: Send {
    /// An answer goes on.
    fn write(&mut self, index: u32, news: &AnswerNews, out: &mut Vec<u8>);

    /// An answer is over. Returns whether the stream is, too.
    fn end(&mut self, index: u32, answered: Box<Answered>, out: &mut Vec<u8>) -> bool;

    /// The stream breaks off.
    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>);
}

/// What is ours in the event of some news.
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

/// Writes a value as an event. JSON has no line ends of its own.
pub(super) fn event(out: &mut Vec<u8>, value: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    if let Err(why) = serde_json::to_writer(&mut *out, value) {
        tracing::error!(%why, "a chunk cannot be written as JSON");
    }
    out.extend_from_slice(b"\n\n");
}
