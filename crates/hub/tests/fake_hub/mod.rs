//! A server on loopback that speaks the hub's paths: `/api/models/ID/revision/REV`, `/ID/resolve/COMMIT/FILE` with
//! HEAD, Range, ETag and the redirect to a store for large files. It can cut a transfer, require a token and send other
//! content than it announced.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use sha1::Digest as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The repository that every fake hub has.
pub(crate) const REPO: &str = "tiny/model";

/// What the hub has and how it behaves.
#[derive(Default)]
pub(crate) struct State {
    /// Revision (branch or commit) to commit.
    pub(crate) revisions: HashMap<String, String>,
    /// Commit to file to content.
    pub(crate) commits: HashMap<String, BTreeMap<String, Vec<u8>>>,
    /// Files in the store: served by a redirect, named by their SHA-256.
    pub(crate) large: Vec<String>,
    /// Required from everybody.
    pub(crate) token: Option<String>,
    /// Sent with 401.
    pub(crate) error_code: Option<&'static str>,
    /// How many bytes of a body are sent before the connection is cut, one entry per cut.
    pub(crate) cuts: Vec<usize>,
    /// Answers this many requests with 503 first, or with 429 and this `Retry-After`.
    pub(crate) busy: usize,
    pub(crate) retry_after: Option<&'static str>,
    /// Ignores Range.
    pub(crate) no_range: bool,
    /// Sends other bytes than announced.
    pub(crate) damage: bool,
    /// Every request: method, path, Range and the token it sent.
    pub(crate) seen: Vec<Seen>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
}

/// A running fake hub; stops when dropped.
pub(crate) struct FakeHub {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FakeHub {
    /// Starts a hub with one repository, whose `main` is one commit with these files.
    pub(crate) async fn start(files: &[(&str, &[u8])], large: &[&str]) -> FakeHub {
        let commit = "c".repeat(40);
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.to_vec())).collect();
        let state = State {
            revisions: HashMap::from([("main".to_owned(), commit.clone())]),
            commits: HashMap::from([(commit, files)]),
            large: large.iter().map(|name| (*name).to_owned()).collect(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One request per connection, so none outlives its answer.
                let _ = answer(stream, &shared, address).await;
            }
        });
        FakeHub { state, address, accepting }
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Returns the requests since the last call, as "GET path" with the range if one was asked for.
    pub(crate) fn seen(&self) -> Vec<String> {
        let seen = self.with(|state| std::mem::take(&mut state.seen));
        seen.into_iter()
            .map(|seen| match seen.range {
                Some(range) => format!("{} {} {range}", seen.method, seen.path),
                None => format!("{} {}", seen.method, seen.path),
            })
            .collect()
    }
}

/// An answer: status line, headers, body, and after how many bytes of it the connection is cut.
struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
}

impl Reply {
    fn new(status: &'static str) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new(), cut: None }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

async fn answer(
    mut stream: TcpStream,
    state: &Mutex<State>,
    address: SocketAddr,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(&mut stream).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let (range, token) = (headers.remove("range"), headers.remove("authorization"));
    let seen = Seen { method, path, range, token };
    let reply = reply(&mut state.lock().unwrap(), &seen, address);
    let mut head = format!("HTTP/1.1 {}\r\nconnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| *name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    if seen.method != "HEAD" {
        let end = reply.cut.unwrap_or(reply.body.len()).min(reply.body.len());
        stream.write_all(&reply.body[..end]).await?;
    }
    stream.shutdown().await
}

fn reply(state: &mut State, seen: &Seen, address: SocketAddr) -> Reply {
    state.seen.push(seen.clone());
    if state.busy > 0 {
        state.busy -= 1;
        return match state.retry_after {
            Some(after) => Reply::new("429 Too Many Requests").header("retry-after", after),
            None => Reply::new("503 Service Unavailable"),
        };
    }
    let wanted = state.token.as_ref().map(|token| format!("Bearer {token}"));
    let in_store = seen.path.starts_with("/store/");
    if !in_store && wanted.is_some() && seen.token != wanted {
        let reply = Reply::new("401 Unauthorized");
        return match state.error_code {
            Some(code) => reply.header("x-error-code", code),
            None => reply,
        };
    }
    if let Some(rest) = seen.path.strip_prefix("/api/models/") {
        return describe(state, rest);
    }
    if let Some(rest) = seen.path.strip_prefix("/store/") {
        let (commit, file) = rest.split_once('/').unwrap();
        let body = state.commits[commit][file].clone();
        return content(state, seen, body);
    }
    let rest = seen.path.strip_prefix(&format!("/{REPO}/resolve/"));
    let Some((commit, file)) = rest.and_then(|rest| rest.split_once('/')) else {
        return Reply::new("404 Not Found");
    };
    let Some(body) = state.commits.get(commit).and_then(|files| files.get(file)).cloned() else {
        return Reply::new("404 Not Found").header("x-error-code", "EntryNotFound");
    };
    if state.large.iter().any(|large| large == file) {
        return Reply::new("302 Found")
            // Another host's name for the same machine: the token must not follow.
            .header(
                "location",
                format!("http://localhost:{}/store/{commit}/{file}", address.port()),
            )
            .header("x-linked-etag", format!("\"{}\"", hex(&sha2::Sha256::digest(&body))))
            .header("x-linked-size", body.len().to_string())
            .header("etag", "\"of-the-redirect\"");
    }
    let etag = format!("\"{}\"", git_sha1(&body));
    content(state, seen, body).header("etag", etag)
}

fn describe(state: &State, path: &str) -> Reply {
    let Some(revision) = path.strip_prefix(&format!("{REPO}/revision/")) else {
        // The real hub gives this answer for what does not exist and for what is private.
        return Reply::new("401 Unauthorized").header("x-error-code", "RepoNotFound");
    };
    let revision = revision.replace("%2F", "/");
    let commit = state
        .revisions
        .get(&revision)
        .or_else(|| state.commits.contains_key(&revision).then_some(&revision));
    let Some(commit) = commit else {
        return Reply::new("404 Not Found").header("x-error-code", "RevisionNotFound");
    };
    let siblings: Vec<_> =
        state.commits[commit].keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let body = serde_json::json!({ "id": REPO, "sha": commit, "siblings": siblings });
    Reply { body: body.to_string().into_bytes(), ..Reply::new("200 OK") }
}

fn content(state: &mut State, seen: &Seen, mut body: Vec<u8>) -> Reply {
    if seen.method == "HEAD" {
        return Reply::new("200 OK").header("content-length", body.len().to_string());
    }
    if state.damage {
        body.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
    }
    let cut = if state.cuts.is_empty() { None } else { Some(state.cuts.remove(0)) };
    let start = seen.range.as_ref().filter(|_| !state.no_range).map(|range| {
        range.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap()
    });
    match start {
        Some(start) if start >= body.len() => Reply::new("416 Range Not Satisfiable"),
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            let body = body.split_off(start);
            Reply { body, cut, ..Reply::new("206 Partial Content") }.header("content-range", range)
        }
        None => Reply { body, cut, ..Reply::new("200 OK") },
    }
}

/// Returns git's name for content.
pub(crate) fn git_sha1(content: &[u8]) -> String {
    let header = format!("blob {}\0", content.len());
    hex(&sha1::Sha1::new().chain_update(header.as_bytes()).chain_update(content).finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
