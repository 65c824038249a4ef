//! The response with whole answers.

use std::collections::BTreeMap;

use axum::response::Response;
use openai::{ChatChoice, ChatCompletion, FinishReply, ReplyMessage, TextChoice, TextCompletion};
use tokio::sync::mpsc;

use super::{AnswerNews, Answered, ApiError, ReplyHead, Told, broke_off, items, report, usage};
use crate::{
    error::json,
    report::{ChoiceReport, WithOurs},
    request::ReplyKind,
};

/// Waits for all answers, and returns the response.
pub(super) async fn respond(
    head: ReplyHead,
    mut listening: mpsc::Receiver<Told>,
) -> Result<Response, ApiError> {
    let mut answers: BTreeMap<u32, Box<Answered>> = BTreeMap::new();
    while let Some(Told { index, what }) = listening.recv().await {
        if let AnswerNews::Ended(ended) = what {
            answers.insert(index, ended?);
        }
    }
    if answers.len() != head.answers as usize {
        return Err(broke_off());
    }
    let reports =
        answers.iter().map(|(index, it)| ChoiceReport::new(*index, it, head.prices.as_ref()));
    let ours = report(&head, reports.collect());
    let usage = usage(&head, &answers);
    let ReplyHead { kind, id, created, model, .. } = head.clone();
    Ok(match kind {
        ReplyKind::Chat => {
            let choices = answers.iter().map(|(index, it)| choice(*index, it)).collect();
            let object = "chat.completion".to_owned();
            let theirs = ChatCompletion { id, object, created, model, choices, usage: Some(usage) };
            json(&WithOurs { theirs, specthink: Some(ours) })
        }
        ReplyKind::Text => {
            let choices = answers.iter().map(|(index, it)| continuation(*index, it)).collect();
            let (object, usage) = ("text_completion".to_owned(), Some(Some(usage)));
            let theirs = TextCompletion { id, object, created, model, choices, usage };
            json(&WithOurs { theirs, specthink: Some(ours) })
        }
        ReplyKind::Response => {
            let answered = answers.get(&0).ok_or_else(broke_off)?;
            let theirs = items::ended(&head, answered, &usage);
            json(&WithOurs { theirs, specthink: Some(ours) })
        }
    })
}

fn continuation(index: u32, answered: &Answered) -> TextChoice {
    let text = answered.content.clone();
    let finish_reason = Some(finish(answered));
    TextChoice { text, index, logprobs: None, token_ids: None, finish_reason }
}

fn choice(index: u32, answered: &Answered) -> ChatChoice {
    let reasoning = Some(&answered.reasoning).filter(|text| !text.is_empty()).cloned();
    ChatChoice {
        index,
        message: ReplyMessage {
            role: "assistant".to_owned(),
            content: Some(answered.content.clone()),
            reasoning_content: reasoning.clone(),
            reasoning,
        },
        logprobs: None,
        finish_reason: Some(finish(answered)),
    }
}

/// Returns why a choice ended, in OpenAI's terms.
pub(super) fn finish(answered: &Answered) -> FinishReply {
    if answered.is_cut_off { FinishReply::Length } else { FinishReply::Stop }
}
