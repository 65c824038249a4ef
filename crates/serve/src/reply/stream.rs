//! The response that streams answers as server-sent events.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>; only `data` is used, as by OpenAI.

use std::{collections::BTreeMap, io};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::stream;
use openai::{
    ChatChunk, ChatDelta, ChunkChoice, FinishReply, TextChoice, TextCompletion, TokenUsage,
};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{AnswerNews, Answered, ApiError, ReplyHead, Told, broke_off, usage, whole::finish};
use crate::{
    answering::{MessagePart, MessagePiece},
    report::{AnswerReport, ChoiceReport, ChunkNews, ResumedNews, WithOurs},
    request::ReplyKind,
};

/// Waits for the first news, since a refusal is a status; then the stream begins.
pub(super) async fn respond(
    head: ReplyHead,
    mut listening: mpsc::Receiver<Told>,
) -> Result<Response, ApiError> {
    let first = match listening.recv().await {
        Some(Told { what: AnswerNews::Ended(Err(error)), .. }) => return Err(error),
        Some(first) => first,
        None => return Err(broke_off()),
    };
    let events =
        ReplyEvents { head, listening, next: Some(first), ended: BTreeMap::new(), is_over: false };
    let body = stream::unfold(events, async |mut events| Some((events.next().await?, events)));
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would gather the events otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The events of a stream.
struct ReplyEvents {
    head: ReplyHead,
    listening: mpsc::Receiver<Told>,
    /// News that came and is not sent.
    next: Option<Told>,
    ended: BTreeMap<u32, Box<Answered>>,
    is_over: bool,
}

impl ReplyEvents {
    /// The next events; `None` behind the last one. An error breaks the connection off, so that nobody takes what came
    /// for the whole answer.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_over {
            return None;
        }
        let told = match self.next.take() {
            Some(told) => Some(told),
            None => self.listening.recv().await,
        };
        let Some(Told { index, what }) = told else {
            self.is_over = true;
            return Some(Err(io::Error::other("the answer broke off")));
        };
        let mut out = Vec::new();
        match what {
            AnswerNews::Ended(Err(error)) => {
                self.is_over = true;
                event(&mut out, &error.body());
            }
            AnswerNews::Ended(Ok(answered)) => {
                self.end(index, answered, &mut out);
            }
            news => self.write(index, &news, &mut out),
        }
        Some(Ok(out.into()))
    }

    fn write(&self, index: u32, news: &AnswerNews, out: &mut Vec<u8>) {
        let (delta, ours) = match news {
            AnswerNews::Opened { id } => {
                let (role, content) = (Some("assistant".to_owned()), Some(String::new()));
                let ReplyHead { policy, ignored, .. } = &self.head;
                let ours = ChunkNews::Opened { id, policy: *policy, ignored };
                (ChatDelta { role, content, ..ChatDelta::default() }, ours)
            }
            AnswerNews::Piece(piece) => (delta(piece), piece.into()),
            AnswerNews::Degraded(reason) => {
                (ChatDelta::default(), ChunkNews::Degraded { degraded: reason })
            }
            AnswerNews::Rejoined(node) => {
                (ChatDelta::default(), ChunkNews::Rejoined { rejoined: node })
            }
            AnswerNews::Resumed { from, to, reason } => {
                let resumed = ResumedNews { from, to, reason };
                (ChatDelta::default(), ChunkNews::Resumed { resumed })
            }
            AnswerNews::Ended(_) => return,
        };
        let theirs = self.chunk(Some((index, delta, None)), None);
        event(out, &WithOurs { theirs, specthink: Some(ours) });
    }

    /// A choice is over, and with the last one the stream.
    fn end(&mut self, index: u32, answered: Box<Answered>, out: &mut Vec<u8>) {
        let ReplyHead { policy, ignored, prices, .. } = &self.head;
        let report = ChoiceReport::new(index, &answered, prices.as_ref());
        let ours =
            ChunkNews::Ended(AnswerReport { policy: *policy, ignored, answers: vec![report] });
        let last = (index, ChatDelta::default(), Some(finish(&answered)));
        event(out, &WithOurs { theirs: self.chunk(Some(last), None), specthink: Some(ours) });
        self.ended.insert(index, answered);
        if self.ended.len() < self.head.answers as usize {
            return;
        }
        if self.head.includes_usage {
            let usage = usage(&self.head, &self.ended);
            event(out, &self.chunk(None, Some(usage)));
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.is_over = true;
    }

    fn chunk(&self, choice: Option<ChoiceNews>, usage: Option<TokenUsage>) -> ReplyChunk {
        let ReplyHead { kind, id, created, model, includes_usage, .. } = self.head.clone();
        let usage = includes_usage.then_some(usage);
        match kind {
            ReplyKind::Chat => ReplyChunk::Chat(ChatChunk {
                id,
                object: "chat.completion.chunk".to_owned(),
                created,
                model,
                choices: choice.into_iter().map(chat_choice).collect(),
                usage,
            }),
            ReplyKind::Text => ReplyChunk::Text(TextCompletion {
                id,
                object: "text_completion".to_owned(),
                created,
                model,
                choices: choice.into_iter().map(text_choice).collect(),
                usage,
            }),
        }
    }
}

/// What a chunk adds to which choice, and why that ends.
type ChoiceNews = (u32, ChatDelta, Option<FinishReply>);

/// A chunk, as its route has it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ReplyChunk {
    Chat(ChatChunk),
    Text(TextCompletion),
}

fn chat_choice((index, delta, finish_reason): ChoiceNews) -> ChunkChoice {
    ChunkChoice { index, delta, logprobs: None, finish_reason }
}

fn text_choice((index, delta, finish_reason): ChoiceNews) -> TextChoice {
    let text = delta.content.unwrap_or_default();
    TextChoice { text, index, logprobs: None, token_ids: None, finish_reason }
}

fn delta(piece: &MessagePiece) -> ChatDelta {
    let text = Some(piece.text.clone());
    match piece.part {
        MessagePart::Content => ChatDelta { content: text, ..ChatDelta::default() },
        MessagePart::Reasoning => {
            ChatDelta { reasoning_content: text.clone(), reasoning: text, ..ChatDelta::default() }
        }
    }
}

/// Writes a value as an event. JSON has no line ends of its own.
fn event(out: &mut Vec<u8>, value: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    if let Err(why) = serde_json::to_writer(&mut *out, value) {
        tracing::error!(%why, "a chunk cannot be written as JSON");
    }
    out.extend_from_slice(b"\n\n");
}
