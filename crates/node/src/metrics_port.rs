//! A node's second address, for monitoring: `/metrics`, `/healthz` and `/readyz` over HTTP. Only numbers, for everyone
//! who can reach it.
//!
//! A connection is one short request, so limits in number and in time are enough. When all places are taken, the oldest
//! connection is closed, because it is probably stuck.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use engine::Engine;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{Metric, Reading, write_readings};
use thinking::thinker::Thinker as _;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use transport::{NodeMeter, NodePhase};
use upstream::Upstream;

use crate::error::NodeError;

/// Connections at a time.
const MOST_CONNECTIONS: usize = 32;
/// How long a connection may take.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// How long the server that computes the model may take to answer, and how long its answer is cached: however many
/// clients ask, it is not asked more often.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// The longest request head, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// How long the listener pauses when the system cannot accept a connection.
const REST: Duration = Duration::from_secs(1);

static SERVER_BYTES: Metric = Metric::counter(
    "specthink_node_upstream_bytes_total",
    "Bytes to and from the server that computes the model, as HTTP writes them.",
);
static SERVER_REQUESTS: Metric = Metric::counter(
    "specthink_node_upstream_requests_total",
    "Requests to the server that computes the model.",
);

/// What the endpoint shows of a node.
#[derive(Debug, Default)]
pub(crate) struct NodeView {
    pub(crate) meter: NodeMeter,
    /// Empty while the model is loading.
    pub(crate) model: OnceLock<ModelView>,
    /// Whether the server that computes the model answered, and when it was asked. Locked during the request, so that
    /// concurrent clients cause only one.
    pub(crate) server_answered: Mutex<Option<(Instant, bool)>>,
}

/// What the endpoint shows of a model.
#[derive(Debug)]
pub(crate) enum ModelView {
    /// The model is computed here.
    Engine(Arc<Engine>),
    /// Another server computes the model.
    Server(Arc<Upstream>),
}

impl NodeView {
    fn metrics(&self) -> String {
        let mut text = self.meter.text();
        match self.model.get() {
            Some(ModelView::Engine(engine)) => text.push_str(&engine.metrics_text()),
            Some(ModelView::Server(upstream)) => {
                let traffic = upstream.traffic().unwrap_or_default();
                let (sent, received) = (traffic.sent_bytes, traffic.received_bytes);
                let readings = [
                    Reading::new(&SERVER_BYTES, &[("direction", "received")], received),
                    Reading::new(&SERVER_BYTES, &[("direction", "sent")], sent),
                    Reading::new(&SERVER_REQUESTS, &[], traffic.requests),
                ];
                write_readings(&mut text, &readings);
            }
            None => {}
        }
        text
    }

    /// Returns whether the server that computes the model answers, or did a moment ago; `true` if there is no such
    /// server.
    async fn has_server(&self) -> bool {
        let Some(ModelView::Server(upstream)) = self.model.get() else { return true };
        let mut answered = self.server_answered.lock().await;
        if let Some((at, answers)) = *answered
            && at.elapsed() < PROBE_TIME
        {
            return answers;
        }
        let said = timeout(PROBE_TIME, upstream.answers()).await;
        if let Ok(Err(failure)) = &said {
            tracing::debug!(%failure, "the server of the model does not answer");
        }
        let answers = matches!(said, Ok(Ok(())));
        *answered = Some((Instant::now(), answers));
        answers
    }

    /// Returns the answer to a request.
    async fn answer(&self, method: &Method, path: &str) -> (StatusCode, String) {
        if ![Method::GET, Method::HEAD].contains(method) {
            return (StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n".to_owned());
        }
        let words = |status, words: &str| (status, format!("{words}\n"));
        match (path, self.meter.phase()) {
            ("/metrics", _) => (StatusCode::OK, self.metrics()),
            ("/healthz", _) => words(StatusCode::OK, "ok"),
            ("/readyz", NodePhase::Serving) => match self.has_server().await {
                true => words(StatusCode::OK, "ready"),
                false => words(StatusCode::SERVICE_UNAVAILABLE, "server away"),
            },
            ("/readyz", NodePhase::Loading) => words(StatusCode::SERVICE_UNAVAILABLE, "loading"),
            ("/readyz", NodePhase::Draining) => words(StatusCode::SERVICE_UNAVAILABLE, "draining"),
            _ => words(StatusCode::NOT_FOUND, "known paths are /metrics, /healthz and /readyz"),
        }
    }
}

/// Binds an address, `HOST:PORT`; port 0 picks a free one.
///
/// # Errors
/// [`NodeError::MetricsAddress`].
pub(crate) async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), NodeError> {
    let refused =
        |why| NodeError::MetricsAddress { address: address.escape_debug().to_string(), why };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Answers requests until it is dropped.
pub(crate) async fn serve(listener: TcpListener, view: Arc<NodeView>) {
    let (mut open, mut by_age) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                tracing::warn!(%why, "cannot accept a connection to --metrics");
                sleep(REST).await;
                continue;
            }
        };
        while open.try_join_next().is_some() {}
        by_age.retain(|connection| !connection.is_finished());
        if by_age.len() >= MOST_CONNECTIONS
            && let Some(oldest) = by_age.pop_front()
        {
            oldest.abort();
        }
        by_age.push_back(open.spawn(timeout(CONNECTION_TIME, answer(stream, Arc::clone(&view)))));
    }
}

/// Answers the one request of a connection.
async fn answer(stream: TcpStream, view: Arc<NodeView>) {
    let service = service_fn(|request: Request<Incoming>| {
        let view = Arc::clone(&view);
        async move {
            let (status, body) = view.answer(request.method(), request.uri().path()).await;
            Ok::<_, Infallible>(response(status, body))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).keep_alive(false).max_buf_size(HEAD_BYTES);
    if let Err(why) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%why, "a connection to --metrics ended");
    }
}

fn response(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(metrics::CONTENT_TYPE));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}
