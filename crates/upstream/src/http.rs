//! HTTP requests to one server: JSON answers and streams of events. Their meaning is not known here.

use std::{pin::pin, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Certificate, Response, header, redirect::Policy};
use serde_json::Value;
use thinking::thinker::{Code, Failure};
use tokio::{sync::watch, time::timeout};

use crate::{
    config::{UpstreamConfig, UpstreamError},
    failure,
    meter::Meter,
    sse::{LineParser, NoEvents, SseParser},
};

/// A connection is not reused after this long: common servers close theirs after five seconds.
const IDLE: Duration = Duration::from_secs(3);
/// The limit for an answer that is not a stream, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// The user agent.
const USER_AGENT: &str = concat!("specthink/", env!("CARGO_PKG_VERSION"));
/// The size of the head of every request, in bytes, without its URL; the URL appears in two parts, without its scheme.
const REQUEST_HEAD_BYTES: usize =
    "GET  HTTP/1.1\r\naccept: */*\r\nuser-agent: \r\nhost: \r\n\r\n".len() + USER_AGENT.len();
/// What the head of a request with a body has in addition, without the digits of the length.
const BODY_HEAD_BYTES: usize =
    "T".len() + "content-type: application/json\r\ncontent-length: \r\n".len();
/// What a key adds, without the key itself.
const KEY_HEAD_BYTES: usize = "authorization: Bearer \r\n".len();

/// A request to a server: its path and, for a POST, its body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// Begins with a slash.
    pub(crate) path: &'static str,
    pub(crate) body: Option<Value>,
}

impl Call {
    pub(crate) fn get(path: &'static str) -> Call {
        Call { path, body: None }
    }

    pub(crate) fn post(path: &'static str, body: Value) -> Call {
        Call { path, body: Some(body) }
    }
}

/// The HTTP client for one server.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    pub(crate) config: UpstreamConfig,
    pub(crate) meter: Meter,
}

impl Http {
    /// Reads the authority's file, but does not connect yet.
    pub(crate) fn new(config: UpstreamConfig) -> Result<Http, UpstreamError> {
        let address = &config.address;
        if !address.tls() && !address.is_loopback() && !config.insecure {
            return Err(UpstreamError::Plaintext { address: address.clone() });
        }
        let tls = |why: String| UpstreamError::Tls { address: address.clone(), why };
        // A provider that the process has already chosen stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .redirect(Policy::none());
        if address.is_loopback() {
            builder = builder.no_proxy();
        }
        if let Some(path) = &config.ca {
            let at = |why: String| tls(format!("{}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|why| at(why.to_string()))?;
            let bundle = Certificate::from_pem_bundle(&pem).map_err(|why| at(why.to_string()))?;
            if bundle.is_empty() {
                return Err(at("it holds no certificate in PEM form".to_owned()));
            }
            builder = builder.tls_certs_only(bundle);
        }
        let client = builder.build().map_err(|why| tls(why.to_string()))?;
        Ok(Http { client, config, meter: Meter::default() })
    }

    /// Requests a JSON answer.
    pub(crate) async fn json(&self, call: &Call) -> Result<Value, Failure> {
        let body = self.words(call).await?;
        serde_json::from_str(&body).map_err(|_| no_api(self, call, &body))
    }

    /// The same, with no time limit as long as the server is alive.
    pub(crate) async fn waited_json(
        &self,
        signs: &watch::Sender<()>,
        health: &'static str,
        call: &Call,
    ) -> Result<Value, Failure> {
        let body = async { self.text(self.answered(call).await?).await };
        let body = self.waited_for(signs, health, body).await?;
        serde_json::from_str(&body).map_err(|_| no_api(self, call, &body))
    }

    /// Requests an answer in plain text.
    pub(crate) async fn words(&self, call: &Call) -> Result<String, Failure> {
        let whole = async { self.text(self.answered(call).await?).await };
        timeout(self.config.silence, whole).await.unwrap_or_else(|_| {
            let what = format!("has not answered {} for {:?}", call.path, self.config.silence);
            Err(failure::unavailable(&self.config.address, what))
        })
    }

    /// Requests an answer as a stream of events.
    pub(crate) async fn stream(&self, call: &Call) -> Result<EventStream<'_>, Failure> {
        let response = self.answered(call).await?;
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let parser = if kind.starts_with("application/x-ndjson") {
            StreamParser::Lines(LineParser::default())
        } else if kind.starts_with("text/event-stream") {
            StreamParser::Events(SseParser::default())
        } else {
            let what =
                format!("answers {} with {kind:?} and not with a stream of events", call.path);
            let remedy = "check the address, and any proxy in front of the server";
            return Err(failure::unavailable(&self.config.address, format!("{what}; {remedy}")));
        };
        Ok(EventStream { http: self, response, parser })
    }

    /// Waits for an answer of the server. While that takes long, the server's health is checked, and each success is
    /// passed on as a sign of life.
    pub(crate) async fn waited_for<T>(
        &self,
        signs: &watch::Sender<()>,
        health: &'static str,
        something: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut something = pin!(something);
        loop {
            if let Ok(done) = timeout(self.config.heartbeat, &mut something).await {
                return done;
            }
            let answer = timeout(self.config.silence, self.send(&Call::get(health))).await;
            match answer {
                Ok(Ok(answer)) if !answer.status().is_server_error() => signs.send_replace(()),
                _ => {
                    let what = "is silent and does not answer health checks; it hangs or the network is down";
                    return Err(failure::unavailable(&self.config.address, what));
                }
            };
        }
    }

    /// Returns an answer with a success status. Retries if only the connection failed.
    async fn answered(&self, call: &Call) -> Result<Response, Failure> {
        let address = &self.config.address;
        let response = (|| self.send(call))
            .retry(backoff())
            .when(|error| error.is_connect() && !error.is_timeout())
            .await
            .map_err(|error| failure::from_error(address, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = self.text(response).await.unwrap_or_default();
        Err(failure::from_status(address, call.path, status.as_u16(), &headers, &body))
    }

    /// Sends a request, and counts it.
    async fn send(&self, call: &Call) -> reqwest::Result<Response> {
        let url = self.config.address.url(call.path);
        let scheme = if self.config.address.tls() { "https://" } else { "http://" };
        let mut head_and_body = REQUEST_HEAD_BYTES + url.len() - scheme.len();
        let request = match &call.body {
            None => self.client.get(url),
            Some(body) => {
                let body = body.to_string();
                head_and_body += BODY_HEAD_BYTES + body.len().to_string().len() + body.len();
                self.client.post(url).header(header::CONTENT_TYPE, "application/json").body(body)
            }
        };
        let request = match &self.config.key {
            Some(key) => {
                head_and_body += KEY_HEAD_BYTES + key.text().len();
                request.bearer_auth(key.text())
            }
            None => request,
        };
        let mut request = request;
        for (name, value) in traces::headers() {
            head_and_body += name.len() + value.len() + ": \r\n".len();
            request = request.header(name, value);
        }
        self.meter.sent(head_and_body);
        let answer = request.send().await;
        match &answer {
            Ok(answer) => self.meter.received(head_bytes(answer)),
            Err(error) if error.is_connect() => self.meter.not_sent(head_and_body),
            Err(_) => {}
        }
        answer
    }

    async fn text(&self, mut response: Response) -> Result<String, Failure> {
        let address = &self.config.address;
        let mut bytes = Vec::new();
        while let Some(more) =
            response.chunk().await.map_err(|error| failure::from_error(address, &error))?
        {
            self.meter.received(more.len());
            bytes.extend_from_slice(&more);
            if bytes.len() > MOST_BYTES {
                return Err(failure::unavailable(address, "sends an answer that does not end"));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Returns the size of an answer's head in HTTP/1.1, in bytes, assuming the standard status text.
fn head_bytes(answer: &Response) -> usize {
    let status = answer.status().canonical_reason().unwrap_or_default().len();
    let lines = answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    "HTTP/1.1 200 \r\n\r\n".len() + status + lines.sum::<usize>()
}

fn no_api(http: &Http, call: &Call, body: &str) -> Failure {
    let what =
        if body.trim_start().starts_with('<') { "HTML" } else { "something that is not JSON" };
    let what =
        format!("answers {} with {what}: it is not such an API; check the address", call.path);
    failure::unavailable(&http.config.address, what)
}

/// Three more attempts within a second, as for a node.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(400))
        .with_max_times(3)
        .with_jitter()
}

/// A stream of events. Dropping it drops the connection, and the server stops computing for it.
#[derive(Debug)]
pub(crate) struct EventStream<'a> {
    http: &'a Http,
    response: Response,
    parser: StreamParser,
}

/// Splits a stream into events, by its content type.
#[derive(Debug)]
enum StreamParser {
    Events(SseParser),
    Lines(LineParser),
}

impl StreamParser {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, NoEvents> {
        match self {
            StreamParser::Events(parser) => parser.push(bytes),
            StreamParser::Lines(parser) => parser.push(bytes),
        }
    }
}

impl EventStream<'_> {
    /// Returns the data of the next events, at least one, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<String>>, Failure> {
        let address = &self.http.config.address;
        loop {
            let bytes = self.response.chunk().await;
            let Some(bytes) = bytes.map_err(|error| failure::from_error(address, &error))? else {
                return Ok(None);
            };
            self.http.meter.received(bytes.len());
            let events = self.parser.push(&bytes);
            let events = events.map_err(|_| {
                failure::noticed(address, Code::Unavailable, "does not send a stream of events")
            })?;
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
    }
}
