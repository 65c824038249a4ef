//! The response that streams answers as server-sent events.
//!
//! The content of events is written by `ChunkEvents` here and by `items`.

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

use super::{
    AnswerNews, Answered, ApiError, ReplyHead, Told, broke_off,
    events::{EventWriter, event, ours},
    items::ItemEvents,
    report, usage,
    whole::finish,
};
use crate::{
    answering::{MessagePart, MessagePiece},
    report::{ChoiceReport, ChunkNews, WithOurs},
    request::ReplyKind,
};

/// Waits for the first news, since a refusal must be an HTTP status; then starts the stream.
pub(super) async fn respond(
    head: ReplyHead,
    mut listening: mpsc::Receiver<Told>,
) -> Result<Response, ApiError> {
    let first = match listening.recv().await {
        Some(Told { what: AnswerNews::Ended(Err(error)), .. }) => return Err(error),
        Some(first) => first,
        None => return Err(broke_off()),
    };
    let writer: Box<dyn EventWriter> = match head.kind {
        ReplyKind::Chat | ReplyKind::Text => Box::new(ChunkEvents { head, ended: BTreeMap::new() }),
        ReplyKind::Response => Box::new(ItemEvents::new(head)),
    };
    let events = ReplyEvents { writer, listening, next: Some(first), is_over: false };
    let body = stream::unfold(events, async |mut events| Some((events.next().await?, events)));
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Otherwise nginx would buffer the events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The events of a stream.
struct ReplyEvents {
    writer: Box<dyn EventWriter>,
    listening: mpsc::Receiver<Told>,
    /// News that has arrived but is not sent yet.
    next: Option<Told>,
    is_over: bool,
}

impl ReplyEvents {
    /// Returns the next events, or `None` after the last one. An error breaks the connection, so that no client takes
    /// the part that arrived for the whole answer.
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
            return Some(Err(io::Error::other("the answer was cut short")));
        };
        let mut out = Vec::new();
        match what {
            AnswerNews::Ended(Err(error)) => {
                self.is_over = true;
                self.writer.fail(&error, &mut out);
            }
            AnswerNews::Ended(Ok(answered)) => {
                self.is_over = self.writer.end(index, answered, &mut out);
            }
            news => self.writer.write(index, &news, &mut out),
        }
        Some(Ok(out.into()))
    }
}

/// Events that are chunks of chat answers or of text continuations.
struct ChunkEvents {
    head: ReplyHead,
    ended: BTreeMap<u32, Box<Answered>>,
}

impl EventWriter for ChunkEvents {
    fn write(&mut self, index: u32, news: &AnswerNews, out: &mut Vec<u8>) {
        let delta = match news {
            AnswerNews::Opened { .. } => {
                let (role, content) = (Some("assistant".to_owned()), Some(String::new()));
                ChatDelta { role, content, ..ChatDelta::default() }
            }
            AnswerNews::Piece(piece) => delta(piece),
            _ => ChatDelta::default(),
        };
        let specthink = ours(&self.head, news);
        let theirs = self.chunk(Some((index, delta, None)), None);
        event(out, &WithOurs { theirs, specthink });
    }

    /// Writes the end of a choice. The last one ends the stream.
    fn end(&mut self, index: u32, answered: Box<Answered>, out: &mut Vec<u8>) -> bool {
        let choice = ChoiceReport::new(index, &answered, self.head.prices.as_ref());
        let ended = ChunkNews::Ended(report(&self.head, vec![choice]));
        let last = (index, ChatDelta::default(), Some(finish(&answered)));
        event(out, &WithOurs { theirs: self.chunk(Some(last), None), specthink: Some(ended) });
        self.ended.insert(index, answered);
        if self.ended.len() < self.head.answers as usize {
            return false;
        }
        if self.head.includes_usage {
            let usage = usage(&self.head, &self.ended);
            event(out, &self.chunk(None, Some(usage)));
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        true
    }

    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        event(out, &error.body());
    }
}

impl ChunkEvents {
    fn chunk(&self, choice: Option<ChoiceNews>, usage: Option<TokenUsage>) -> ReplyChunk {
        let ReplyHead { kind, id, created, model, includes_usage, .. } = self.head.clone();
        let usage = includes_usage.then_some(usage);
        if kind == ReplyKind::Text {
            return ReplyChunk::Text(TextCompletion {
                id,
                object: "text_completion".to_owned(),
                created,
                model,
                choices: choice.into_iter().map(text_choice).collect(),
                usage,
            });
        }
        ReplyChunk::Chat(ChatChunk {
            id,
            object: "chat.completion.chunk".to_owned(),
            created,
            model,
            choices: choice.into_iter().map(chat_choice).collect(),
            usage,
        })
    }
}

/// The index of a choice, what a chunk adds to it, and why it ended.
type ChoiceNews = (u32, ChatDelta, Option<FinishReply>);

/// A chunk, in the form of its route.
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
    let text = Some(piece.text.text.clone());
    match piece.part {
        MessagePart::Content => ChatDelta { content: text, ..ChatDelta::default() },
        MessagePart::Reasoning => {
            ChatDelta { reasoning_content: text.clone(), reasoning: text, ..ChatDelta::default() }
        }
    }
}
