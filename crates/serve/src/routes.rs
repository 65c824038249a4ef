//! The routes, and the checks before and after every request.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures_util::StreamExt as _;
use openai::{ModelEntry, ModelList};
use serde::Serialize;
use serde_json::json;
use thinking::policy::PolicyKind;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    app::App,
    earlier,
    error::{ApiError, ErrorCode, json as json_response},
    nodes, openapi, page,
    reply::{self, Caller},
    report::WithOurs,
    request::ReplyKind,
    tokens,
};

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The routes that have no parameters.
pub(crate) const ROUTES: [&str; 15] = [
    "/",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/models",
    "/v1/answers",
    "/v1/nodes",
    "/tokenize",
    "/detokenize",
    "/tokenizer_info",
    "/health",
    "/ready",
    "/version",
    "/metrics",
    "/openapi.json",
];

/// The id of a request.
#[derive(Clone)]
struct RequestId(String);

/// The name of the key that a request showed.
#[derive(Clone)]
struct ClientKey(String);

/// The connection of a request; cancelling it closes the connection.
#[derive(Clone)]
pub(crate) struct ClientConnection(pub(crate) CancellationToken);

/// The object `specthink` of a model's entry.
#[derive(Debug, Serialize)]
struct ModelNews {
    policy: PolicyKind,
}

/// Returns the router of all routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{file}", get(page::part))
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(completions))
        .route("/v1/responses", post(responses))
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .route("/v1/answers", get(earlier_answers))
        .route("/v1/answers/{id}", get(earlier_answer))
        .route("/v1/nodes", get(listed_nodes))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/tokenizer_info", get(tokenizer_info))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::document))
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), admit))
        .with_state(app)
}

/// Gives a request an id, and lets it in or refuses it.
async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = app.next_id();
    let origin = app.access.named_origin(request.headers());
    let route = route_of(request.uri().path());
    request.extensions_mut().insert(RequestId(id.clone()));
    let (uri, headers) = (request.uri(), request.headers());
    let is_asked_first = request.method() == Method::OPTIONS && origin.is_some();
    let checked = app.access.check_browser(uri, headers).and_then(|()| match is_asked_first {
        // A browser's preflight request asks, without the key, whether it may send one.
        true => Ok(None),
        false => app.access.check_key(uri, headers),
    });
    let mut response = match checked {
        Err(error) => error.into_response(),
        Ok(_) if is_asked_first => preflight(),
        Ok(key) => {
            let (method, path) = (request.method(), request.uri().path());
            tracing::debug!(request_id = id, key, %method, path, "request");
            if let Some(key) = key {
                request.extensions_mut().insert(ClientKey(key));
            }
            next.run(request).await
        }
    };
    app.metrics.request(route, response.status().as_u16());
    if let Some(code) = response.extensions().get::<ErrorCode>() {
        app.metrics.error((*code).into());
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert("x-request-id", id);
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// Returns the route under which a path is counted. All unknown paths are one.
fn route_of(path: &str) -> &'static str {
    match ROUTES.iter().find(|route| **route == path) {
        Some(route) => route,
        None if path.starts_with("/v1/models/") => "/v1/models/{id}",
        None if path.starts_with("/v1/answers/") => "/v1/answers/{id}",
        None if path.starts_with("/page/") => "/page/{file}",
        None => "other",
    }
}

/// Returns the answer to a preflight request of an allowed page.
fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = HeaderValue::from_static("authorization, content-type");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    response
}

async fn chat_completions(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    answers(app, ReplyKind::Chat, request).await
}

async fn completions(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    answers(app, ReplyKind::Text, request).await
}

async fn responses(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    answers(app, ReplyKind::Response, request).await
}

async fn answers(app: Arc<App>, kind: ReplyKind, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let caller = Caller {
        id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        key: parts.extensions.get::<ClientKey>().map(|key| key.0.clone()),
        connection: parts
            .extensions
            .get::<ClientConnection>()
            .map(|it| it.0.clone())
            .unwrap_or_default(),
    };
    let id = caller.id.as_str();
    // The spans of its answers are children of this one; their tasks may outlive the response.
    let span = tracing::trace_span!(
        target: traces::TARGET, "request", request_id = id, route = parts.uri.path()
    );
    traces::follow(&span, |name| parts.headers.get(name)?.to_str().ok());
    let answered = async {
        let body = whole(&app, body).await?;
        reply::respond(Arc::clone(&app), kind, &body, &caller).await
    };
    answered.instrument(span).await
}

async fn earlier_answers(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    earlier::list(&app, &uri).await
}

async fn earlier_answer(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    earlier::answer(&app, id, &uri).await
}

async fn tokenize(State(app): State<Arc<App>>, body: Body) -> Result<Response, ApiError> {
    tokens::tokenize(&app.backend, &whole(&app, body).await?).await
}

async fn detokenize(State(app): State<Arc<App>>, body: Body) -> Result<Response, ApiError> {
    tokens::detokenize(&app.backend, &whole(&app, body).await?).await
}

async fn tokenizer_info(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    tokens::info(&app.backend).await
}

/// Reads a body, in bounded time.
async fn whole(app: &App, body: Body) -> Result<Vec<u8>, ApiError> {
    timeout(BODY_TIME, read(body, app.most_body_bytes)).await.map_err(|_| {
        let message = format!("the body did not arrive within {BODY_TIME:?}: send it again");
        ApiError::new(ErrorCode::BodyTooSlow, message)
    })?
}

/// Reads a body of at most `most_bytes`.
async fn read(body: Body, most_bytes: usize) -> Result<Vec<u8>, ApiError> {
    let mut read = Vec::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|why| {
            ApiError::new(ErrorCode::InvalidJson, format!("the body was cut short: {why}"))
        })?;
        if read.len() + piece.len() > most_bytes {
            let message = format!(
                "the body is longer than {most_bytes} bytes: shorten it, or start the server with a larger \
                 --max-body-bytes"
            );
            return Err(ApiError::new(ErrorCode::BodyTooLarge, message));
        }
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

async fn models(State(app): State<Arc<App>>) -> Response {
    let models = app.backend.models().into_iter();
    let data = models.map(|(name, kind)| entry(&app, name, kind)).collect();
    json_response(&ModelList { object: "list".to_owned(), data })
}

async fn model(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let kind = app.backend.model(&id)?;
    Ok(json_response(&entry(&app, id, kind)))
}

fn entry(app: &App, id: String, policy: PolicyKind) -> WithOurs<ModelEntry, ModelNews> {
    let (object, owned_by) = ("model".to_owned(), "specthink".to_owned());
    let theirs = ModelEntry { id, object, created: app.since, owned_by };
    WithOurs { theirs, specthink: Some(ModelNews { policy }) }
}

async fn listed_nodes(State(app): State<Arc<App>>) -> Response {
    nodes::list(&app)
}

async fn health(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    app.check_was_ready().map_err(|why| not_there(&why))?;
    Ok(json_response(&json!({ "status": "ok" })))
}

async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    if app.is_draining() {
        return Err(ApiError::shutting_down());
    }
    app.check_ready().map_err(|why| not_there(&why))?;
    Ok(json_response(&json!({ "status": "ok" })))
}

fn not_there(why: &str) -> ApiError {
    ApiError::new(ErrorCode::NodesUnavailable, format!("no small node answers: {why}"))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = HeaderValue::from_static(::metrics::CONTENT_TYPE);
    ([(header::CONTENT_TYPE, text)], app.metrics_text()).into_response()
}

async fn version() -> Response {
    json_response(&json!({ "version": env!("CARGO_PKG_VERSION") }))
}

async fn unknown_route(request: Request) -> ApiError {
    let message =
        format!("there is no route {}: see docs/serve.md for the routes", request.uri().path());
    ApiError::new(ErrorCode::UnknownRoute, message)
}

async fn method_not_allowed(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} does not accept {method}: use a method from the Allow header");
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}
