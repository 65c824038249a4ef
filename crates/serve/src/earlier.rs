//! Earlier answers, read from their journals: a list of them, and each one again in the form in which it was first
//! sent.

use answer::{
    Progress, Summary,
    journal::{Header, QuestionNote},
    prices,
};
use axum::{http::Uri, response::Response};
use serde::Serialize;
use thinking::{
    policy::{PolicyKind, TokenPrices},
    shown::one_line,
};
use tokio::task::spawn_blocking;

use crate::{
    answering::{AnswerNews, Narrator},
    app::App,
    error::{ApiError, ErrorCode, json},
    journals::{FolderError, JournalFolder, OpenJournal},
    reply::{self, ReplyHead},
    request::ReplyKind,
};

/// The default length of a list.
const USUAL: usize = 20;
/// The maximum length of a list.
const MOST: usize = 100;
/// How much of a question a list shows, in characters.
const QUESTION_CHARS: usize = 200;

/// A list of earlier answers.
#[derive(Debug, Serialize)]
struct EarlierList {
    object: &'static str,
    data: Vec<EarlierAnswer>,
    has_more: bool,
}

/// An earlier answer, at a glance.
#[derive(Debug, Serialize)]
struct EarlierAnswer {
    id: String,
    object: &'static str,
    created: u64,
    /// The beginning of the question, in one line.
    question: String,
    policy: PolicyKind,
    small: String,
    large: Option<String>,
    end: &'static str,
    failure: Option<String>,
    tokens: WrittenTokens,
    share: f64,
    takeovers: usize,
    corrections: u32,
    degraded: bool,
    cost: Option<f64>,
    total_us: u64,
}

/// Tokens by writer.
#[derive(Debug, Serialize)]
struct WrittenTokens {
    small: u64,
    large: u64,
    policy: u64,
}

/// Handles `GET /v1/answers`: lists answers, the last to end first.
pub(crate) async fn list(app: &App, uri: &Uri) -> Result<Response, ApiError> {
    let folder = folder(app)?;
    let query = uri.query().unwrap_or_default();
    let most = match value(query, "limit") {
        None => USUAL,
        Some(text) => {
            text.parse().ok().filter(|most| (1..=MOST).contains(most)).ok_or_else(|| {
                let message = format!("limit is {text:?}: write a whole number from 1 to {MOST}");
                ApiError::new(ErrorCode::InvalidValue, message).about("limit")
            })?
        }
    };
    let after = value(query, "after").map(str::to_owned);
    let page = read(folder, move |folder| folder.page(after.as_deref(), most)).await?;
    let page = page.map_err(|error| match error {
        FolderError::NotThere(_) => ApiError::from(error).about("after"),
        error => error.into(),
    })?;
    let prices = app.backend.prices;
    let data = page.journals.into_iter();
    let data = data.map(|(id, outline)| at_a_glance(id, outline, prices.as_ref())).collect();
    Ok(json(&EarlierList { object: "list", data, has_more: page.has_more }))
}

/// Handles `GET /v1/answers/{id}`: returns the answer as the response of a chat, whole or, with `stream=true`, as its
/// events.
pub(crate) async fn answer(app: &App, id: String, uri: &Uri) -> Result<Response, ApiError> {
    let folder = folder(app)?;
    let query = uri.query().unwrap_or_default();
    let is_streamed = match value(query, "stream") {
        None | Some("false") => false,
        Some("true") => true,
        Some(text) => {
            let message = format!("stream is {text:?}: write true or false");
            return Err(ApiError::new(ErrorCode::InvalidValue, message).about("stream"));
        }
    };
    let (prices, is_inline) = (app.backend.prices, app.backend.is_inline);
    let told = read(folder, move |folder| {
        let journal = folder.open(&id)?;
        let head = head(&id, journal.header(), prices);
        let news = news(id, journal, is_inline)?;
        Ok::<_, FolderError>((head, news))
    });
    let (head, news) = told.await??;
    reply::retell(head, news, is_streamed).await
}

/// Returns the journal folder, or an error if no journals are kept.
fn folder(app: &App) -> Result<JournalFolder, ApiError> {
    app.journals.clone().ok_or_else(|| {
        let message = "this server keeps no answers: start it with --journal-dir DIR to keep them";
        ApiError::new(ErrorCode::NoJournals, message)
    })
}

/// Reads in the folder, on a thread for blocking work. Only a few reads run at a time, so a client that asks often has
/// to wait.
async fn read<T: Send + 'static>(
    folder: JournalFolder,
    work: impl FnOnce(&JournalFolder) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let turn = folder.reading_turn().await;
    let done = spawn_blocking(move || {
        let done = work(&folder);
        drop(turn);
        done
    });
    done.await.map_err(|why| {
        tracing::error!(%why, "reading journals failed");
        ApiError::new(ErrorCode::Internal, "the journals cannot be read: the server's log says why")
    })
}

/// Returns the value of a key in a query. Ids and numbers need no escaping.
fn value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn at_a_glance(
    id: String,
    outline: (Header, Box<Summary>),
    prices: Option<&TokenPrices>,
) -> EarlierAnswer {
    let (header, summary) = outline;
    let Summary { small, large, .. } = &*summary;
    let failure = summary.failure.as_ref();
    EarlierAnswer {
        id,
        object: "answer",
        created: header.unix_ms / 1000,
        question: beginning_of(&header.question),
        policy: header.policy.kind(),
        small: small.model.clone(),
        large: Some(large.model.clone()).filter(|name| !name.is_empty()),
        end: crate::answering::end_name(summary.end),
        failure: failure.map(|failure| one_line(&failure.to_string())),
        tokens: WrittenTokens {
            small: small.tokens,
            large: large.tokens,
            policy: summary.inserted_tokens,
        },
        share: summary.takeover_share(),
        takeovers: summary.takeovers.len(),
        corrections: summary.corrections,
        degraded: summary.degraded.is_some(),
        cost: prices.map(|prices| prices::cost(prices, &summary)),
        total_us: summary.time.total_us,
    }
}

/// Returns how a question begins: the last message, in one line.
fn beginning_of(question: &QuestionNote) -> String {
    let messages = question.messages.as_deref().unwrap_or_default();
    let asked = messages.iter().rfind(|message| message.role == "user").or(messages.last());
    let text = asked.map(|message| &message.content).or(question.raw_prompt.as_ref());
    let text = text.map_or("", String::as_str);
    // There may be much white space at the beginning.
    let begin: String = text.trim_start().chars().take(4 * QUESTION_CHARS).collect();
    let mut line = one_line(&begin);
    if let Some((end, _)) = line.char_indices().nth(QUESTION_CHARS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Returns what all news of the answer share.
fn head(id: &str, header: &Header, prices: Option<TokenPrices>) -> ReplyHead {
    let policy = header.policy.kind();
    let kind = ReplyKind::Chat;
    ReplyHead {
        kind,
        id: kind.answer_id(id),
        created: header.unix_ms / 1000,
        model: model_of(policy),
        policy,
        ignored: Vec::new(),
        prices,
        answers: 1,
        choices: 1,
        includes_usage: false,
        sampling: header.question.sampling,
        max_tokens: Some(header.question.max_tokens),
        instructions: None,
        question: Some(Box::new(header.question.clone())),
    }
}

/// Returns the name of a model with this policy. The name in the original request is not recorded.
fn model_of(policy: PolicyKind) -> String {
    match policy {
        PolicyKind::SmallOnly => "small".to_owned(),
        PolicyKind::LargeOnly => "large".to_owned(),
        policy => format!("specthink:{policy}"),
    }
}

/// Returns all news that the client of an answer got, the end last.
fn news(id: String, journal: OpenJournal, is_inline: bool) -> Result<Vec<AnswerNews>, FolderError> {
    let header = journal.header();
    let question = &header.question;
    // The continuation of a text was not split.
    let is_inline = is_inline || question.raw_prompt.is_some();
    let is_judged = header.policy.kind().reviews();
    let mut narrator = Narrator::new(id.clone(), question.beginning.clone(), is_inline, is_judged);
    let mut news = Vec::new();
    for stamped in journal {
        let stamped = stamped.map_err(|why| FolderError::Unreadable(id.clone(), Box::new(why)))?;
        news.append(&mut narrator.see(&stamped));
        if let Progress::Ended(summary) = stamped.progress {
            let answered = Box::new(narrator.end(*summary));
            news.push(AnswerNews::Ended(Ok(answered)));
            return Ok(news);
        }
    }
    Err(FolderError::NotThere(id))
}

impl From<FolderError> for ApiError {
    fn from(error: FolderError) -> Self {
        let code = match error {
            FolderError::NotThere(_) => ErrorCode::AnswerNotFound,
            FolderError::Unreadable(..) | FolderError::Folder(_) => {
                tracing::warn!(%error, "an earlier answer cannot be shown");
                ErrorCode::Internal
            }
        };
        ApiError::new(code, error.to_string())
    }
}
