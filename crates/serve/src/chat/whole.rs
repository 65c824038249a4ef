//! The response that holds whole answers.

use std::collections::BTreeMap;

use axum::response::Response;
use openai::{ChatChoice, ChatCompletion, ChatFinish, ReplyMessage};
use tokio::sync::mpsc;

use super::{AnswerNews, Answered, ApiError, ChatHead, Told, broke_off, usage};
use crate::{
    error::json,
    report::{AnswerReport, ChoiceReport, WithOurs},
};

/// Waits for all answers.
pub(super) async fn respond(
    head: ChatHead,
    mut listening: mpsc::Receiver<Told>,
) -> Result<Response, ApiError> {
    let mut answers: BTreeMap<u32, Box<Answered>> = BTreeMap::new();
    while let Some(Told { index, what }) = listening.recv().await {
        if let AnswerNews::Ended(ended) = what {
            answers.insert(index, ended?);
        }
    }
    if answers.len() != head.choices as usize {
        return Err(broke_off());
    }
    let reports =
        answers.iter().map(|(index, it)| ChoiceReport::new(*index, it, head.prices.as_ref()));
    let ours =
        AnswerReport { policy: head.policy, ignored: &head.ignored, answers: reports.collect() };
    let theirs = ChatCompletion {
        id: head.id.clone(),
        object: "chat.completion".to_owned(),
        created: head.created,
        model: head.model.clone(),
        choices: answers.iter().map(|(index, it)| choice(*index, it)).collect(),
        usage: Some(usage(answers.values().map(AsRef::as_ref))),
    };
    Ok(json(&WithOurs { theirs, specthink: Some(ours) }))
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

/// Why a choice ends, in OpenAI's words.
pub(super) fn finish(answered: &Answered) -> ChatFinish {
    if answered.is_cut_off { ChatFinish::Length } else { ChatFinish::Stop }
}
