//! Handles `POST /v1/chat/completions`, `/v1/completions` and `/v1/responses`: turns a request into answers, and these
//! into a response, whole or as a stream.

mod events;
mod items;
mod stream;
mod whole;

use std::sync::Arc;

use answer::journal::QuestionNote;
use axum::response::Response;
use openai::{CompletionDetails, PromptDetails, TokenUsage};
use thinking::{
    policy::{PolicyKind, TokenPrices},
    thinker::Sampling,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    answering::{AnswerJob, AnswerNews, Answered, MOST_UNREAD, Told},
    app::App,
    error::{ApiError, ErrorCode},
    report::{AnswerReport, ChoiceReport},
    request::{AnswerRequest, ReplyKind},
    tokens,
};

/// What every response and chunk of a request shares.
#[derive(Debug, Clone)]
pub(crate) struct ReplyHead {
    pub(crate) kind: ReplyKind,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) policy: PolicyKind,
    pub(crate) ignored: Vec<&'static str>,
    pub(crate) prices: Option<TokenPrices>,
    /// How many answers there are in all, and how many of them to each prompt.
    pub(crate) answers: u32,
    pub(crate) choices: u32,
    pub(crate) includes_usage: bool,
    pub(crate) sampling: Sampling,
    /// The maximum number of tokens, as requested.
    pub(crate) max_tokens: Option<u32>,
    pub(crate) instructions: Option<String>,
    /// The question, for clients that may not know it.
    pub(crate) question: Option<Box<QuestionNote>>,
}

/// The client of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// The id of the request.
    pub(crate) id: String,
    /// The name of the key that it showed.
    pub(crate) key: Option<String>,
    /// Cancelled to close the client's connection.
    pub(crate) connection: CancellationToken,
}

/// Answers a request.
pub(crate) async fn respond(
    app: Arc<App>,
    kind: ReplyKind,
    body: &[u8],
    caller: &Caller,
) -> Result<Response, ApiError> {
    let Caller { id, key, connection } = caller;
    let request = AnswerRequest::read(kind, body, app.backend.most_tokens)?;
    let plan = app.backend.plan(&request)?;
    let AnswerRequest { choices, is_streamed, .. } = request;
    let answers = request.answers();
    if app.is_draining() {
        return Err(ApiError::shutting_down());
    }
    let mut turn = app.queue.enter(key.as_deref(), answers, plan.max_tokens).await?;
    if app.is_draining() {
        return Err(ApiError::shutting_down());
    }
    let by_ids = tokens::prompts_of(&app.backend, &request.ids).await?;
    let head = ReplyHead {
        kind,
        id: kind.answer_id(id),
        created: crate::app::unix_seconds(),
        model: request.model.clone().unwrap_or_else(|| "specthink".to_owned()),
        policy: plan.policy.kind(),
        ignored: request.ignored.clone(),
        prices: app.backend.prices,
        answers,
        choices,
        includes_usage: request.includes_usage,
        sampling: plan.sampling,
        max_tokens: request.max_tokens,
        instructions: request.instructions.clone(),
        question: None,
    };
    let seed = request.seed.unwrap_or_else(|| crate::app::seed_of(id));
    // Each answer has a slot for its end, however much is unread before it.
    let (told, listening) = mpsc::channel(MOST_UNREAD + answers as usize);
    let prompts = request.prompts.iter().chain(&by_ids);
    let numbered = prompts.flat_map(|prompt| (0..choices).map(move |n| (prompt, n)));
    for (index, (prompt, choice)) in (0..answers).zip(numbered) {
        let id = format!("{id}-{index}");
        let seed = seed.wrapping_add(choice.into());
        let run = app.backend.run(&plan, &request, prompt, id, seed)?;
        let Some(turn) = turn.split() else { break };
        let folder = app.journals.as_ref();
        let journal = folder.and_then(|it| Some((it.clone(), it.begin(&run, &plan.policy)?)));
        let job = AnswerJob {
            index,
            run,
            journal,
            metrics: Arc::clone(&app.metrics),
            policy: plan.policy.kind(),
            is_inline: plan.is_inline,
            is_streamed,
            turn,
            stopping: app.stopping.clone(),
            connection: connection.clone(),
        };
        app.tasks.spawn(job.work(told.clone()).in_current_span());
    }
    drop(told);
    told_by(head, listening, is_streamed).await.map_err(|error| match error.code {
        ErrorCode::ContextLengthExceeded => error.about(kind.prompt_field()),
        _ => error,
    })
}

/// Returns the response for an answer that has ended. `news` is all its news, the end last.
pub(crate) async fn retell(
    head: ReplyHead,
    news: Vec<AnswerNews>,
    is_streamed: bool,
) -> Result<Response, ApiError> {
    let (told, listening) = mpsc::channel(news.len().max(1));
    for what in news {
        // There is room for all of them.
        let _ = told.try_send(Told { index: 0, what });
    }
    drop(told);
    told_by(head, listening, is_streamed).await
}

/// Returns the response made of the news, whole or as it arrives.
async fn told_by(
    head: ReplyHead,
    listening: mpsc::Receiver<Told>,
    is_streamed: bool,
) -> Result<Response, ApiError> {
    match is_streamed {
        true => stream::respond(head, listening).await,
        false => whole::respond(head, listening).await,
    }
}

/// Returns the object `specthink` for the answers to a request.
fn report<'a>(head: &'a ReplyHead, answers: Vec<ChoiceReport<'a>>) -> AnswerReport<'a> {
    let ReplyHead { policy, ignored, question, .. } = head;
    AnswerReport { policy: *policy, ignored, question: question.as_deref(), answers }
}

/// Returns the error of an answer whose task ended without a result. That is a bug, which the log shows.
fn broke_off() -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        "the answer was cut short: try again; the server's log says why",
    )
}

/// Returns the usage of all answers to a request. A prompt counts once, together with the given beginning, however many
/// answers it has.
fn usage<'a>(
    head: &ReplyHead,
    answers: impl IntoIterator<Item = (&'a u32, &'a Box<Answered>)>,
) -> TokenUsage {
    let (mut usage, mut reasoning_tokens, mut cached_tokens) = (TokenUsage::default(), 0, 0);
    for (index, answered) in answers {
        let small = &answered.summary.small;
        if index % head.choices == 0 {
            usage.prompt_tokens += small.prompt_tokens + answered.summary.given_tokens;
            cached_tokens += small.cached_tokens.min(small.prompt_tokens);
        }
        usage.completion_tokens += answered.summary.tokens();
        reasoning_tokens += answered.reasoning_tokens;
    }
    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
    usage.prompt_tokens_details = Some(PromptDetails { cached_tokens: Some(cached_tokens) });
    usage.completion_tokens_details = Some(CompletionDetails { reasoning_tokens });
    usage
}
