//! A fake server on loopback that behaves like real ones, with a babbling model: for tests of programs that use an
//! upstream. It reproduces the quirks that were measured on real servers, and can fail in the ways they do.
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

/// What kind of server it is, and what it serves.
#[derive(Debug, Clone)]
pub struct FakeOptions {
    /// The kind of server that it imitates.
    pub kind: ServerKind,
    /// The models that it lists.
    pub models: Vec<String>,
    /// What llama.cpp's server reports as the quantisation and the architecture of the model.
    pub described: &'static str,
    /// The longest session in tokens, as it reports it.
    pub context_tokens: usize,
    /// The key that it requires.
    pub key: Option<String>,
    /// Whether it renders messages on its tokenize route; SGLang's older versions do not.
    pub renders_messages: bool,
    /// What its chat template adds after the opening of the assistant's turn.
    pub prompt_end: &'static str,
    /// Its model's answer to every question; `None`: it babbles without end.
    pub answer: Option<String>,
    /// How it continues an answer in a chat.
    pub prefill: FakePrefill,
    /// Where a thought is in a chat.
    pub thought: FakeThought,
    /// The faults to inject, by the path of the request.
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

/// How a server continues a last message of the assistant, if it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FakePrefill {
    /// It continues where the message ends.
    #[default]
    Exact,
    /// It ends the message and begins a new one.
    NewTurn,
    /// It repeats the message and continues.
    Repeats,
    /// Its template strips white space from the message.
    Trims,
    /// It strips trailing white space from a message that begins with white space, as transformers does.
    TrimsIndented,
    /// It leaves the message out.
    Drops,
    /// It continues, and counts no tokens.
    CountsNothing,
    /// It refuses the message, as vLLM does if its template removes part of it.
    Refuses,
}

/// Where a thought is in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FakeThought {
    /// In the text, as the model writes it.
    #[default]
    Letters,
    /// In the text, and the template opens it.
    Opened,
    /// Reported separately, but taken as text, as in vLLM.
    ToldApart,
    /// In a separate field in both directions, as in llama.cpp; a message without it gets an empty thought.
    Field,
    /// In the text, and the template removes it from messages.
    CutOut,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum FakeFault {
    /// It is answered with this status, extra headers and body.
    Status(u16, &'static str, &'static str),
    /// It is answered with HTML and a success status.
    Html,
    /// Its stream is cut after this many tokens.
    CutAfter(usize),
    /// Its stream ends properly after this many tokens, but without its last event.
    EndAfter(usize),
    /// Its stream begins with this text.
    Begins(&'static str),
    /// Its connection is closed without an answer.
    HangUp,
    /// It gets no answer.
    Silence,
    /// It gets no answer the first time; later requests are answered normally.
    SilentOnce,
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub struct FakeRequest {
    /// The path, such as `/v1/models`.
    pub path: String,
    /// The value of its `Authorization` header.
    pub authorization: Option<String>,
    /// The JSON body; `Null` without one.
    pub body: Value,
}

#[derive(Debug)]
struct Shared {
    options: FakeOptions,
    computed_tokens: AtomicU64,
    received_bytes: AtomicU64,
    /// Requests that are held without an answer.
    unanswered: AtomicU64,
    requests: Mutex<Vec<FakeRequest>>,
    cache: PromptCache,
}

impl FakeServer {
    /// Starts a server on a free port.
    #[expect(clippy::unwrap_used, reason = "test code: without a port there is no test")]
    pub async fn start(options: FakeOptions) -> FakeServer {
        FakeServer::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), options)
    }

    /// Starts a server on this listener.
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
                    // A client that went away is the test's own doing.
                    let _ = converse(stream, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        FakeServer { address, shared, _accepting: accepting }
    }

    /// Returns its address as a user writes it.
    pub fn address(&self) -> String {
        format!("openai+http://{}/v1", self.address)
    }

    /// Returns how many tokens it has generated.
    pub fn computed_tokens(&self) -> u64 {
        self.shared.computed_tokens.load(Ordering::SeqCst)
    }

    /// Returns a reader of [`Self::computed_tokens`] for the conformance kit.
    pub fn counter(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.computed_tokens.load(Ordering::SeqCst))
    }

    /// Returns how many bytes of requests it has received.
    pub fn received_bytes(&self) -> u64 {
        self.shared.received_bytes.load(Ordering::SeqCst)
    }

    /// Returns how many requests are held without an answer while their client still waits.
    pub fn unanswered(&self) -> u64 {
        self.shared.unanswered.load(Ordering::SeqCst)
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<FakeRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Handles one request on one connection.
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

/// Writes a stream until it ends or its reader goes away.
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
