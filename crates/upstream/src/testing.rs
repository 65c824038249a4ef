//! A server on loopback that speaks as real ones do, over a model that babbles: for the tests of whoever uses an
//! upstream. It has the traps that were measured at the real ones, and can fail in the ways that they do.
//!
//! It needs a tokio runtime and panics where a test would.

mod answer;
mod cache;
mod chat;
mod model;
mod odds;
mod speech;
mod tokenizer;

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
};

use self::{answer::Answer, cache::PromptCache};
use crate::config::ServerKind;

/// Writes the tokenizer of the fake servers' model, with its chat template, into a folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_tokenizer(folder: &Path) -> io::Result<()> {
    tokenizer::write(folder)
}

/// A running fake server; stops when dropped.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

/// What a fake server is and serves.
#[derive(Debug, Clone)]
pub struct FakeOptions {
    /// What it speaks as.
    pub kind: ServerKind,
    /// The models that it lists.
    pub models: Vec<String>,
    /// What llama.cpp's server says of the form of the weights, and of the architecture.
    pub described: &'static str,
    /// The longest session in tokens, as it tells it.
    pub context_tokens: usize,
    /// The key that it wants.
    pub key: Option<String>,
    /// Whether it renders messages where it takes texts; SGLang's older versions do not.
    pub renders_messages: bool,
    /// What its chat template writes behind the beginning of the assistant's turn.
    pub prompt_end: &'static str,
    /// What its model answers to everything; without it, it babbles without end.
    pub answer: Option<String>,
    /// How it goes on with an answer in a chat.
    pub prefill: FakePrefill,
    /// Where a thought is in a chat.
    pub thought: FakeThought,
    /// What goes wrong, by the path of the request.
    pub faults: Vec<(&'static str, FakeFault)>,
}

impl FakeOptions {
    /// A server of this kind with one model, `fake`, that babbles.
    pub fn new(kind: ServerKind) -> Self {
        FakeOptions {
            kind,
            models: vec!["fake".to_owned()],
            described: "Q8_0",
            context_tokens: 4096,
            key: None,
            renders_messages: true,
            prompt_end: "",
            answer: None,
            prefill: FakePrefill::default(),
            thought: FakeThought::default(),
            faults: Vec::new(),
        }
    }
}

/// How a server goes on with a last message of the assistant's, if it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FakePrefill {
    /// Where the message ends.
    #[default]
    Exact,
    /// It ends the message and begins another one.
    NewTurn,
    /// It says the message again, and goes on.
    Repeats,
    /// Its template takes white space off the message.
    Trims,
    /// White space is taken off the end of a message that begins with some, as transformers does.
    TrimsIndented,
    /// It leaves the message out.
    Drops,
    /// It goes on and counts no tokens.
    CountsNothing,
    /// It refuses the message, as vLLM does where its template cuts something out of it.
    Refuses,
}

/// Where a thought is in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FakeThought {
    /// Among the letters, as the model writes it.
    #[default]
    Letters,
    /// Among the letters, and the template opens it.
    Opened,
    /// Told apart, and taken as letters, as vLLM does.
    ToldApart,
    /// In a field of its own both ways, as with llama.cpp; a message without it gets an empty one.
    Field,
    /// As letters, and the template cuts it out of messages.
    CutOut,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum FakeFault {
    /// It is answered with this status, further headers and body.
    Status(u16, &'static str, &'static str),
    /// It is answered with HTML and a success.
    Html,
    /// Its stream is cut after this many tokens.
    CutAfter(usize),
    /// Its stream ends after this many tokens, in good order but without its last event.
    EndAfter(usize),
    /// Its stream begins with this.
    Begins(&'static str),
    /// Its connection is closed without an answer.
    HangUp,
    /// Nothing comes.
    Silence,
    /// Nothing comes the first time; later all is well.
    SilentOnce,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct FakeRequest {
    /// As in `/v1/models`.
    pub path: String,
    /// The value of its `Authorization` header.
    pub authorization: Option<String>,
    /// `Null` without one.
    pub body: Value,
}

#[derive(Debug)]
struct Shared {
    options: FakeOptions,
    computed_tokens: AtomicU64,
    received_bytes: AtomicU64,
    /// Requests that are kept without an answer.
    unanswered: AtomicU64,
    requests: Mutex<Vec<FakeRequest>>,
    cache: PromptCache,
}

impl FakeServer {
    /// Starts one on a free port.
    #[expect(clippy::unwrap_used, reason = "test code: without a port there is no test")]
    pub async fn start(options: FakeOptions) -> FakeServer {
        FakeServer::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), options)
    }

    /// Starts one on this port.
    #[expect(clippy::unwrap_used, reason = "test code: without a port there is no test")]
    pub fn on(listener: TcpListener, options: FakeOptions) -> FakeServer {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            options,
            computed_tokens: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            requests: Mutex::default(),
            cache: PromptCache::default(),
        });
        let mut accepting = JoinSet::new();
        let serving = Arc::clone(&shared);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                connections.spawn(async move {
                    // A client that is gone is the test's own doing.
                    let _ = converse(stream, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        FakeServer { address, shared, _accepting: accepting }
    }

    /// Its address as a user writes it.
    pub fn address(&self) -> String {
        format!("openai+http://{}/v1", self.address)
    }

    /// Tokens that it made so far.
    pub fn computed_tokens(&self) -> u64 {
        self.shared.computed_tokens.load(Ordering::SeqCst)
    }

    /// A reader of [`Self::computed_tokens`] that the conformance kit takes.
    pub fn counter(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.computed_tokens.load(Ordering::SeqCst))
    }

    /// Bytes of the requests so far.
    pub fn received_bytes(&self) -> u64 {
        self.shared.received_bytes.load(Ordering::SeqCst)
    }

    /// Requests that are kept without an answer now, and whose client still waits.
    pub fn unanswered(&self) -> u64 {
        self.shared.unanswered.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<FakeRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One request on one connection.
async fn converse(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let (mut length, mut authorization, mut line) = (0, None, String::new());
    let mut head_bytes = first.len();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        head_bytes += line.len();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    shared.received_bytes.fetch_add((head_bytes + length) as u64, Ordering::SeqCst);
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let request = FakeRequest { path, authorization, body };
    let is_first = {
        let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(request.clone());
        requests.iter().filter(|one| one.path == request.path).count() == 1
    };
    let fault = shared.options.faults.iter().find(|(path, _)| *path == request.path);
    let fault = fault.map(|(_, fault)| fault.clone());
    let mut stream = stream.into_inner();
    match fault {
        Some(FakeFault::Status(status, headers, body)) => {
            write(&mut stream, status, headers, "application/json", body).await
        }
        Some(FakeFault::Html) => {
            write(&mut stream, 200, "", "text/html", "<html>\n<p>Welcome</p></html>").await
        }
        Some(FakeFault::HangUp) => Ok(()),
        Some(FakeFault::Silence) => stream.read_u8().await.map(drop),
        Some(FakeFault::SilentOnce) if is_first => {
            shared.unanswered.fetch_add(1, Ordering::SeqCst);
            let gone = stream.read_u8().await;
            shared.unanswered.fetch_sub(1, Ordering::SeqCst);
            gone.map(drop)
        }
        fault => match speech::answer(&shared.options, &shared.cache, &request) {
            Answer::Json(status, body) => {
                write(&mut stream, status, "", "application/json", &body.to_string()).await
            }
            Answer::Words(body) => write(&mut stream, 200, "", "text/plain", &body).await,
            Answer::Stream(events) => {
                let framed = events.map(|(made, event)| (made, format!("data: {event}\n\n")));
                stream_out(&mut stream, shared, "text/event-stream", framed, fault).await
            }
            Answer::Lines(events) => {
                let framed = events.map(|(made, event)| (made, format!("{event}\n")));
                stream_out(&mut stream, shared, "application/x-ndjson", framed, fault).await
            }
        },
    }
}

async fn write(
    stream: &mut TcpStream,
    status: u16,
    headers: &str,
    kind: &str,
    body: &str,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-type: {kind}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await
}

/// Writes a stream until it ends or its reader is gone.
async fn stream_out(
    stream: &mut TcpStream,
    shared: &Shared,
    kind: &str,
    events: impl Iterator<Item = (usize, String)>,
    fault: Option<FakeFault>,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if let Some(FakeFault::Begins(text)) = fault {
        write_piece(stream, text).await?;
    }
    let mut gone = [0];
    for (made, event) in events {
        match fault {
            Some(FakeFault::CutAfter(tokens)) if made > tokens => return Ok(()),
            Some(FakeFault::EndAfter(tokens)) if made > tokens => break,
            _ => {}
        }
        shared.computed_tokens.fetch_add(1, Ordering::SeqCst);
        select! {
            biased;
            _ = stream.read(&mut gone) => return Ok(()),
            () = tokio::task::yield_now() => {}
        }
        write_piece(stream, &event).await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    stream.shutdown().await
}

async fn write_piece(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}
