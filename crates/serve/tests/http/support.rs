//! A server over scripted Thinkers on a free port, and a minimal HTTP client for the tests.

use std::{sync::Arc, time::Duration};

use answer::{Node, Settings};
use futures_util::future::BoxFuture;
use pool::{MemberTerms, Pool, Teller, Watched};
use serde_json::{Value, json};
use serve::{AccessRules, AnswerBackend, ApiServer, RequestLimits};
use thinking::{
    policy::{Limits, LoopRule, PolicyKind, PolicySpec, Preset},
    testing::{Options, Script, ScriptedThinker},
    thinker::{Code, Condition, Failure, Sampling},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// A running server.
pub(crate) struct Running {
    pub(crate) small: Arc<ScriptedThinker>,
    pub(crate) large: Arc<ScriptedThinker>,
    address: std::net::SocketAddr,
    shutdown: Arc<Notify>,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

/// Returns a server over these Thinkers that needs no key.
pub(crate) fn server(small: &Arc<ScriptedThinker>, large: &Arc<ScriptedThinker>) -> ApiServer {
    // Babble repeats itself; these tests do not care about loops.
    let limits = Limits { loops: LoopRule::Off, ..Limits::default() };
    ApiServer {
        backend: AnswerBackend {
            small: Pool::unwatched([Node::new("http://small:1", small.clone())]),
            large: Pool::unwatched([Node::new("http://large:1", large.clone())]),
            settings: Settings::default(),
            hedging: None,
            policy: PolicySpec::new(PolicyKind::Strict, Preset::Reasoning).within(limits),
            named: Vec::new(),
            preset: Preset::Reasoning,
            sampling: Sampling::default(),
            max_tokens: 200,
            most_tokens: u32::MAX,
            system: None,
            deadline: None,
            prices: None,
            is_inline: false,
        },
        limits: RequestLimits {
            most_answers: 4,
            most_answers_of_key: 4,
            most_running_tokens: u64::MAX,
            most_waiting: 4,
            longest_wait: Duration::from_secs(600),
            most_body_bytes: 10_000,
        },
        access: AccessRules { is_loopback: true, ..AccessRules::default() },
        tls: None,
        drain: Duration::from_secs(600),
        journals: None,
        id_prefix: "q".to_owned(),
        reload_now: Arc::default(),
    }
}

impl Running {
    /// Starts a server whose models write without end.
    pub(crate) async fn babbling() -> Running {
        Running::with(Script::babble(), Script::babble(), |_| {}).await
    }

    /// Starts a server over models with a context of this many tokens.
    pub(crate) async fn with_context(context_tokens: u32) -> Running {
        let mut options = Options::default();
        options.card.context_tokens = context_tokens;
        let thinker = || ScriptedThinker::with_options(Script::babble(), options.clone());
        Running::over(thinker(), thinker(), |_| {}).await
    }

    /// Starts a server over these scripts, with a change to it.
    pub(crate) async fn with(
        small: Script,
        large: Script,
        change: impl FnOnce(&mut ApiServer),
    ) -> Running {
        Running::over(ScriptedThinker::new(small), ScriptedThinker::new(large), change).await
    }

    pub(crate) async fn over(
        small: ScriptedThinker,
        large: ScriptedThinker,
        change: impl FnOnce(&mut ApiServer),
    ) -> Running {
        let (small, large) = (Arc::new(small), Arc::new(large));
        let mut server = server(&small, &large);
        change(&mut server);
        // Small, so that a client that does not read is noticed soon. Connections inherit it.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(16 * 1024).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Arc::new(Notify::new());
        let enough = Arc::clone(&shutdown);
        let served = tokio::spawn(async move { server.serve(listener, enough.notified()).await });
        Running { small, large, address, shutdown, served }
    }

    /// Asks the server to shut down.
    pub(crate) fn shut_down(&self) {
        self.shutdown.notify_one();
    }

    /// Waits until no session is open on either node.
    pub(crate) async fn idle(&self) {
        tokio::join!(self.small.idle(), self.large.idle());
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Opens a connection with a small receive buffer.
    pub(crate) async fn connect_narrow(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn send(&self, head: &str, body: &[u8]) -> Response {
        let mut stream = self.connect().await;
        write(&mut stream, head, body).await;
        Response::read(stream).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost"), b"").await
    }

    /// Sends a chat request.
    pub(crate) async fn chat(&self, more: Value) -> Response {
        self.send(CHAT, &question(more)).await
    }

    /// Sends a request to continue a text.
    pub(crate) async fn complete(&self, body: Value) -> Response {
        let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost";
        self.send(head, body.to_string().as_bytes()).await
    }

    /// Sends a JSON body to a path.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost");
        self.send(&head, body.to_string().as_bytes()).await
    }

    /// Sends a request for a response (`/v1/responses`).
    pub(crate) async fn respond(&self, body: Value) -> Response {
        self.send(RESPONSE, body.to_string().as_bytes()).await
    }

    /// Sends a request for a stream, and reads only the head of its response.
    pub(crate) async fn stream(&self, more: Value) -> EventReader {
        let mut body: Value = serde_json::from_slice(&question(more)).unwrap();
        body["stream"] = json!(true);
        EventReader::new(self.connect().await, CHAT, &body).await
    }

    /// As above, for a response.
    pub(crate) async fn stream_response(&self, mut body: Value) -> EventReader {
        body["stream"] = json!(true);
        EventReader::new(self.connect().await, RESPONSE, &body).await
    }
}

const CHAT: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1";
const RESPONSE: &str = "POST /v1/responses HTTP/1.1\r\nhost: localhost";

/// Returns the body of a chat request.
pub(crate) fn question(more: Value) -> Vec<u8> {
    let mut body = json!({ "messages": [{ "role": "user", "content": "2 + 3?" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::to_vec(&body).unwrap()
}

/// Writes a request whose connection is used once.
pub(crate) async fn write(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a body may not read all of it.
    let _ = stream.write_all(body).await;
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Response {
    async fn read(mut stream: TcpStream) -> Response {
        let mut bytes = Vec::new();
        // Keep what came before a reset.
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let headers = headers.to_ascii_lowercase();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match headers.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_owned(),
        };
        Response { status, headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// Returns the error's code.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Returns the data of all events.
    pub(crate) fn events(&self) -> Vec<String> {
        let events = self.body.split("\n\n").filter(|event| !event.is_empty());
        events.map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
    }

    /// Returns a header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.headers.lines().find_map(|line| line.strip_prefix(&start))
    }
}

/// Returns a body without its chunked encoding.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&rest[..length]);
        body = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}

/// Reads a stream's events one by one.
pub(crate) struct EventReader {
    lines: BufReader<TcpStream>,
    pub(crate) head: String,
}

impl EventReader {
    async fn new(mut stream: TcpStream, head: &str, body: &Value) -> EventReader {
        write(&mut stream, head, body.to_string().as_bytes()).await;
        let mut reader = EventReader { lines: BufReader::new(stream), head: String::new() };
        while !reader.head.ends_with("\r\n\r\n") {
            assert_ne!(reader.lines.read_line(&mut reader.head).await.unwrap(), 0);
        }
        reader
    }

    /// Returns the data of the next event, or `None` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            match self.lines.read_line(&mut line).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(data.trim_end().to_owned());
            }
        }
    }
}

/// Returns a pool with one unreachable node.
pub(crate) fn gone(name: &str) -> Pool {
    let failure = Failure::new(Code::Unavailable, "nobody is there");
    let watch = Box::new(|teller: Teller| {
        teller.tell(Condition::Gone(failure));
        Box::pin(std::future::pending()) as BoxFuture<'static, ()>
    });
    let node = Node::new(name, Arc::new(ScriptedThinker::new(Script::babble())));
    let pool = Pool::new(0);
    pool.join(Watched { node, terms: MemberTerms::default(), watch });
    pool
}
