//! Handles `/tokenize`, `/detokenize` and `/tokenizer_info`, in vLLM's format, and prompts that are token ids. The
//! small model's tokenizer answers.

use axum::response::Response;
use serde_json::{Map, Value, json};
use thinking::{
    policy::Role,
    thinker::{Code, Prompt, TokenInput, TokenQuery, TokenReply},
};

use crate::{
    backend::AnswerBackend,
    error::{ApiError, ErrorCode, json as json_response},
    request::{read_detokenize, read_tokenize},
};

/// Handles `POST /tokenize`.
pub(crate) async fn tokenize(backend: &AnswerBackend, body: &[u8]) -> Result<Response, ApiError> {
    let wanted = read_tokenize(body)?;
    backend.model_or_default(wanted.model.as_deref())?;
    let (param, wants_pieces) = (wanted.param, wanted.query.wants_pieces);
    let reply = ask(backend, wanted.query, param).await?;
    let TokenReply { ids, pieces, context_tokens, .. } = reply;
    Ok(json_response(&json!({
        "count": ids.len(),
        "max_model_len": context_tokens,
        "tokens": ids,
        "token_strs": wants_pieces.then_some(pieces),
    })))
}

/// Handles `POST /detokenize`.
pub(crate) async fn detokenize(backend: &AnswerBackend, body: &[u8]) -> Result<Response, ApiError> {
    let wanted = read_detokenize(body)?;
    backend.model_or_default(wanted.model.as_deref())?;
    let reply = ask(backend, wanted.query, wanted.param).await?;
    Ok(json_response(&json!({ "prompt": reply.text })))
}

/// Handles `GET /tokenizer_info`.
pub(crate) async fn info(backend: &AnswerBackend) -> Result<Response, ApiError> {
    let query = TokenQuery { wants_card: true, ..TokenQuery::new(TokenInput::Nothing) };
    let reply = ask(backend, query, "model").await?;
    let card = reply.card.unwrap_or_default();
    let named = card.special_tokens.into_iter().filter(|(_, text)| !text.is_empty());
    let mut info: Map<String, Value> =
        named.map(|(name, text)| (name, Value::String(text))).collect();
    info.insert("tokenizer_class".to_owned(), json!("specthink"));
    info.insert("model_max_length".to_owned(), json!(reply.context_tokens));
    info.insert("vocab_size".to_owned(), json!(card.vocabulary_size));
    info.insert("chat_template".to_owned(), json!(card.chat_template));
    Ok(json_response(&info))
}

/// Returns the texts of prompts that were given as token ids.
///
/// When they are not ids of the small model, or do not decode to text.
pub(crate) async fn prompts_of(
    backend: &AnswerBackend,
    ids: &[Vec<u32>],
) -> Result<Vec<Prompt>, ApiError> {
    let mut prompts = Vec::new();
    for ids in ids {
        let reply = ask(backend, TokenQuery::new(TokenInput::Ids(ids.clone())), "prompt").await?;
        if reply.is_broken {
            let message = "prompt has token ids that do not decode to text, since a character is cut in two: send ids \
                           of the small model's tokenizer, or text";
            return Err(ApiError::new(ErrorCode::InvalidValue, message).about("prompt"));
        }
        prompts.push(Prompt::Raw(reply.text));
    }
    Ok(prompts)
}

/// Asks the small nodes, the least busy one first, until one answers. `param` is the request field that the query is
/// about.
async fn ask(
    backend: &AnswerBackend,
    query: TokenQuery,
    param: &str,
) -> Result<TokenReply, ApiError> {
    let mut refused = ApiError::new(ErrorCode::NodesUnavailable, "there is no small node");
    for node in backend.small.candidates(|_| true).nodes {
        refused = match node.thinker.tokens(query.clone()).await {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => {
                let message = format!(
                    "small node {} has no tokenizer to ask: serve its model with a small-node of this release, or send \
                     text",
                    node.name
                );
                return Err(ApiError::new(ErrorCode::NodeRefused, message));
            }
            Err(failure) => {
                let error = match failure.code {
                    Code::InvalidArgument => {
                        let message = format!("{param}: {failure}");
                        ApiError::new(ErrorCode::InvalidValue, message).about(param)
                    }
                    Code::ContextTooLong => {
                        ApiError::of_failure(Role::Small, &node.name, &failure).about(param)
                    }
                    _ => ApiError::of_failure(Role::Small, &node.name, &failure),
                };
                if !matches!(failure.code, Code::Unavailable | Code::Overloaded) {
                    return Err(error);
                }
                error
            }
        };
    }
    Err(refused)
}
