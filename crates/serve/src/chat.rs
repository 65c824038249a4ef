//! `POST /v1/chat/completions`: a request becomes answers, and these a response, whole or as a stream.

mod stream;
mod whole;

use std::sync::Arc;

use axum::response::Response;
use openai::{CompletionDetails, PromptDetails, TokenUsage};
use thinking::policy::{PolicyKind, TokenPrices};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    answering::{AnswerJob, AnswerNews, Answered, MOST_UNREAD, Told},
    app::App,
    error::{ApiError, ErrorCode},
    request::ChatRequest,
};

/// What is the same in every response and chunk of a request.
#[derive(Debug, Clone)]
pub(crate) struct ChatHead {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) policy: PolicyKind,
    pub(crate) ignored: Vec<&'static str>,
    pub(crate) prices: Option<TokenPrices>,
    pub(crate) choices: u32,
    pub(crate) includes_usage: bool,
}

/// Answers a request. `id` names it, `connection` closes the client's connection.
pub(crate) async fn respond(
    app: Arc<App>,
    body: &[u8],
    id: &str,
    connection: CancellationToken,
) -> Result<Response, ApiError> {
    let request = ChatRequest::read(body, app.backend.most_tokens)?;
    let plan = app.backend.plan(&request)?;
    let ChatRequest { choices, is_streamed, .. } = request;
    if app.is_draining() {
        return Err(shutting_down());
    }
    let mut permits = app.queue.enter(choices).await?;
    if app.is_draining() {
        return Err(shutting_down());
    }
    let head = ChatHead {
        id: format!("chatcmpl-{id}"),
        created: crate::app::unix_seconds(),
        model: request.model.clone().unwrap_or_else(|| "specthink".to_owned()),
        policy: plan.policy.kind(),
        ignored: request.ignored.clone(),
        prices: app.backend.prices,
        choices,
        includes_usage: request.includes_usage,
    };
    let seed = request.seed.unwrap_or_else(|| crate::app::seed_of(id));
    // A place for the end of each answer, whatever is unread before it.
    let (told, listening) = mpsc::channel(MOST_UNREAD + choices as usize);
    for index in 0..choices {
        let run =
            app.backend.run(&plan, format!("{id}-{index}"), seed.wrapping_add(index.into()))?;
        let Some(permit) = permits.split(1) else { break };
        let job = AnswerJob {
            index,
            run,
            is_inline: plan.is_inline,
            stops: request.stop.clone(),
            is_streamed,
            permit,
            stopping: app.stopping.clone(),
            connection: connection.clone(),
        };
        app.tasks.spawn(job.work(told.clone()));
    }
    drop(told);
    match is_streamed {
        true => stream::respond(head, listening).await,
        false => whole::respond(head, listening).await,
    }
}

pub(crate) fn shutting_down() -> ApiError {
    let why = "this server is shutting down: ask again, or ask another";
    ApiError::new(ErrorCode::ShuttingDown, why)
}

/// An answer whose task broke off: a defect, which is in the log.
fn broke_off() -> ApiError {
    ApiError::new(ErrorCode::Internal, "the answer broke off: ask again; the server's log says why")
}

/// What all answers to a request cost: its prompt counts once.
fn usage<'a>(answers: impl IntoIterator<Item = &'a Answered>) -> TokenUsage {
    let (mut usage, mut reasoning_tokens, mut cached_tokens) = (TokenUsage::default(), 0, 0);
    for answered in answers {
        let small = &answered.summary.small;
        usage.prompt_tokens = usage.prompt_tokens.max(small.prompt_tokens);
        cached_tokens = cached_tokens.max(small.cached_tokens.min(small.prompt_tokens));
        usage.completion_tokens += answered.summary.tokens();
        reasoning_tokens += answered.reasoning_tokens;
    }
    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
    usage.prompt_tokens_details = Some(PromptDetails { cached_tokens });
    usage.completion_tokens_details = Some(CompletionDetails { reasoning_tokens });
    usage
}
