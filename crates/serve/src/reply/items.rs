//! The response of `/v1/responses`, which consists of items: the reasoning, then the answer proper. Whole, and as
//! events.

use std::collections::BTreeMap;

use openai::{
    IncompleteDetails, InputDetails, OutputItem, OutputPart, ResponseError, ResponseEvent,
    ResponseNews, ResponseObject, ResponseStatus, ResponseUsage, TextFormat, TokenUsage,
};
use serde::Serialize;

use super::{
    AnswerNews, Answered, ApiError, ReplyHead,
    events::{EventWriter, event, ours},
    report, usage,
};
use crate::{
    answering::{MessagePart, MessagePiece},
    report::{ChoiceReport, ChunkNews, WithOurs},
};

/// Returns a whole answer.
pub(super) fn ended(head: &ReplyHead, answered: &Answered, usage: &TokenUsage) -> ResponseObject {
    let status = status(answered);
    let mut output = Vec::new();
    let has_message = !answered.content.is_empty() || answered.reasoning.is_empty();
    if !answered.reasoning.is_empty() {
        let thought = if has_message { ResponseStatus::Completed } else { status };
        output.push(item(head, MessagePart::Reasoning, thought, Some(&answered.reasoning)));
    }
    if has_message {
        output.push(item(head, MessagePart::Content, status, Some(&answered.content)));
    }
    let reason = || IncompleteDetails { reason: "max_output_tokens".to_owned() };
    ResponseObject {
        output,
        incomplete_details: (status == ResponseStatus::Incomplete).then(reason),
        usage: Some(response_usage(usage)),
        ..response(head, status)
    }
}

fn status(answered: &Answered) -> ResponseStatus {
    if answered.is_cut_off { ResponseStatus::Incomplete } else { ResponseStatus::Completed }
}

/// Returns a response without any output yet.
fn response(head: &ReplyHead, status: ResponseStatus) -> ResponseObject {
    let format = BTreeMap::from([("type".to_owned(), "text".to_owned())]);
    ResponseObject {
        id: head.id.clone(),
        object: "response".to_owned(),
        created_at: head.created,
        status,
        error: None,
        incomplete_details: None,
        instructions: head.instructions.clone(),
        max_output_tokens: head.max_tokens,
        model: head.model.clone(),
        output: Vec::new(),
        parallel_tool_calls: true,
        previous_response_id: None,
        store: false,
        temperature: head.sampling.temperature,
        text: TextFormat { format },
        tool_choice: "auto".to_owned(),
        tools: Vec::new(),
        top_p: head.sampling.top_p,
        truncation: "disabled".to_owned(),
        usage: None,
        metadata: BTreeMap::new(),
    }
}

fn response_usage(usage: &TokenUsage) -> ResponseUsage {
    let cached_tokens = usage.prompt_tokens_details.and_then(|prompt| prompt.cached_tokens);
    ResponseUsage {
        input_tokens: usage.prompt_tokens,
        input_tokens_details: InputDetails { cached_tokens: cached_tokens.unwrap_or(0) },
        output_tokens: usage.completion_tokens,
        output_tokens_details: usage.completion_tokens_details.unwrap_or_default(),
        total_tokens: usage.total_tokens,
    }
}

/// Returns an item with this text, or without text when it begins.
fn item(
    head: &ReplyHead,
    part: MessagePart,
    status: ResponseStatus,
    text: Option<&str>,
) -> OutputItem {
    let content = text.map(|text| text_of(part, text)).into_iter().collect();
    let id = item_id(head, part);
    match part {
        MessagePart::Reasoning => {
            OutputItem::Reasoning { id, status, summary: Vec::new(), content }
        }
        MessagePart::Content => {
            OutputItem::Message { id, status, role: "assistant".to_owned(), content }
        }
    }
}

fn item_id(head: &ReplyHead, part: MessagePart) -> String {
    let begin = match part {
        MessagePart::Reasoning => "rs",
        MessagePart::Content => "msg",
    };
    format!("{begin}_{}", head.id.trim_start_matches("resp_"))
}

fn text_of(part: MessagePart, text: &str) -> OutputPart {
    let text = text.to_owned();
    match part {
        MessagePart::Reasoning => OutputPart::ReasoningText { text },
        MessagePart::Content => OutputPart::OutputText { text, annotations: Vec::new() },
    }
}

/// The events of a response, in the order in which OpenAI sends them.
pub(super) struct ItemEvents {
    head: ReplyHead,
    /// The number of the next event.
    next: u64,
    /// Complete items.
    over: Vec<OutputItem>,
    /// The item in progress, and its text so far.
    open: Option<(MessagePart, String)>,
}

impl ItemEvents {
    pub(super) fn new(head: ReplyHead) -> Self {
        ItemEvents { head, next: 0, over: Vec::new(), open: None }
    }

    fn event<R: Serialize>(
        &mut self,
        kind: &str,
        news: ResponseNews<R>,
        specthink: Option<ChunkNews<'_>>,
        out: &mut Vec<u8>,
    ) {
        let theirs = ResponseEvent { kind: kind.to_owned(), sequence_number: self.next, news };
        self.next += 1;
        out.extend_from_slice(format!("event: {kind}\n").as_bytes());
        event(out, &WithOurs { theirs, specthink });
    }

    /// Writes an event with the answer as it is now.
    fn state(&mut self, kind: &str, specthink: Option<ChunkNews<'_>>, out: &mut Vec<u8>) {
        let output = self.over.clone();
        let now = ResponseObject { output, ..response(&self.head, ResponseStatus::InProgress) };
        self.event(kind, ResponseNews::Response { response: Box::new(now) }, specthink, out);
    }

    fn piece(&mut self, piece: &MessagePiece, out: &mut Vec<u8>) {
        let part = piece.part;
        if self.open.as_ref().is_none_or(|(open, _)| *open != part) {
            self.close(ResponseStatus::Completed, out);
            self.begin(part, out);
        }
        if let Some((_, text)) = &mut self.open {
            text.push_str(&piece.text.text);
        }
        let kind = format!("response.{}.delta", name(part));
        let delta = ResponseNews::<ResponseObject>::Delta {
            item_id: item_id(&self.head, part),
            output_index: self.index(),
            content_index: 0,
            delta: piece.text.text.clone(),
            logprobs: logprobs(part),
        };
        self.event(&kind, delta, Some(piece.into()), out);
    }

    /// Returns the index of the item in progress.
    fn index(&self) -> u32 {
        u32::try_from(self.over.len()).unwrap_or(u32::MAX)
    }

    fn begin(&mut self, part: MessagePart, out: &mut Vec<u8>) {
        let output_index = self.index();
        let begun = item(&self.head, part, ResponseStatus::InProgress, None);
        let news = ResponseNews::<ResponseObject>::Item { output_index, item: begun };
        self.event("response.output_item.added", news, None, out);
        let news = self.part(part, "");
        self.event("response.content_part.added", news, None, out);
        self.open = Some((part, String::new()));
    }

    fn part(&self, part: MessagePart, text: &str) -> ResponseNews {
        ResponseNews::Part {
            item_id: item_id(&self.head, part),
            output_index: self.index(),
            content_index: 0,
            part: text_of(part, text),
        }
    }

    /// Ends the item in progress, if there is one.
    fn close(&mut self, status: ResponseStatus, out: &mut Vec<u8>) {
        let Some((part, text)) = self.open.take() else { return };
        let output_index = self.index();
        let over = item(&self.head, part, status, Some(&text));
        let news = self.part(part, &text);
        let whole = ResponseNews::<ResponseObject>::Text {
            item_id: item_id(&self.head, part),
            output_index,
            content_index: 0,
            text,
            logprobs: logprobs(part),
        };
        self.event(&format!("response.{}.done", name(part)), whole, None, out);
        self.event("response.content_part.done", news, None, out);
        let news = ResponseNews::<ResponseObject>::Item { output_index, item: over.clone() };
        self.event("response.output_item.done", news, None, out);
        self.over.push(over);
    }
}

/// Returns the name of a text in events.
fn name(part: MessagePart) -> &'static str {
    match part {
        MessagePart::Reasoning => "reasoning_text",
        MessagePart::Content => "output_text",
    }
}

fn logprobs(part: MessagePart) -> Option<Vec<()>> {
    (part == MessagePart::Content).then(Vec::new)
}

impl EventWriter for ItemEvents {
    fn write(&mut self, _index: u32, news: &AnswerNews, out: &mut Vec<u8>) {
        if self.next == 0 {
            let head = self.head.clone();
            self.state("response.created", ours(&head, news), out);
            self.state("response.in_progress", None, out);
        }
        match news {
            AnswerNews::Piece(piece) => self.piece(piece, out),
            AnswerNews::Opened { .. } | AnswerNews::Ended(_) => {}
            news => {
                let head = self.head.clone();
                self.state("response.in_progress", ours(&head, news), out);
            }
        }
    }

    fn end(&mut self, index: u32, answered: Box<Answered>, out: &mut Vec<u8>) -> bool {
        let head = self.head.clone();
        if self.next == 0 {
            self.state("response.created", None, out);
        }
        if self.open.is_none() && self.over.is_empty() {
            self.begin(MessagePart::Content, out);
        }
        let status = status(&answered);
        self.close(status, out);
        let theirs = ended(&head, &answered, &usage(&head, [(&index, &answered)]));
        let choice = ChoiceReport::new(index, &answered, head.prices.as_ref());
        let whole = WithOurs { theirs, specthink: Some(report(&head, vec![choice])) };
        let kind = match status {
            ResponseStatus::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        self.event(kind, ResponseNews::Response { response: Box::new(whole) }, None, out);
        true
    }

    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        if self.next == 0 {
            self.state("response.created", None, out);
        }
        let code: &str = error.code.into();
        let error = ResponseError { code: code.to_owned(), message: error.to_string() };
        let failed = ResponseObject {
            output: self.over.clone(),
            error: Some(error),
            ..response(&self.head, ResponseStatus::Failed)
        };
        let news = ResponseNews::Response { response: Box::new(failed) };
        self.event("response.failed", news, None, out);
    }
}
