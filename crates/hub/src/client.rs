//! The hub's HTTP interface: what a revision holds, what a file is, and a file's bytes from a
//! position on.

use std::time::Duration;

use reqwest::{
    Method, Response, StatusCode, Url,
    header::{self, HeaderMap},
    redirect::Policy,
};

use super::{Console, Hub, HubError, ModelName, checksum::Head, choose::is_inside};

const CONNECT: Duration = Duration::from_secs(15);
/// A connection without a byte for this long is dead.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a request is tried while the hub is busy, if it does not say for how long.
const TRIES: u32 = 4;
/// How long one request waits in total for a hub that says how long it is busy: twice the window of Hugging Face's rate
/// limits.
const BUSY_PATIENCE: Duration = Duration::from_secs(600);
/// The shortest wait, for a hub that asks for none.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);
const REDIRECTS: u32 = 5;
/// The size limit of a revision's description, in bytes.
const DESCRIPTION_BYTES: usize = 32 << 20;

/// A revision.
#[derive(Debug)]
pub(super) struct Info {
    /// Its commit's hash.
    pub(super) commit: String,
    /// The paths of its files.
    pub(super) files: Vec<String>,
}

/// A connection to the hub for one repository.
pub(super) struct Client {
    /// Follows no redirect: the first answer to HEAD carries what is needed.
    head: reqwest::Client,
    get: reqwest::Client,
    hub: Hub,
    repo: String,
    revision: String,
    console: Console,
}

impl Client {
    pub(super) fn new(hub: &Hub, name: &ModelName, console: &Console) -> Result<Client, HubError> {
        let protocol = |why: String| HubError::Protocol { url: hub.endpoint.clone(), why };
        let url: Url = hub.endpoint.parse().map_err(|why| protocol(format!("{why}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(protocol("it is not an http or https URL".to_owned()));
        }
        // Keeps a provider that the process has already chosen.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |policy| {
            reqwest::Client::builder()
                .user_agent(concat!("specthink/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .redirect(policy)
                .build()
                .map_err(|why| HubError::Tls { why: reason(&why) })
        };
        Ok(Client {
            head: client(Policy::none())?,
            get: client(Policy::limited(REDIRECTS as usize))?,
            hub: hub.clone(),
            repo: name.repo.clone(),
            revision: name.revision().to_owned(),
            console: console.clone(),
        })
    }

    pub(super) async fn info(&self) -> Result<Info, HubError> {
        #[derive(serde::Deserialize)]
        struct Body {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(serde::Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let revision = encode(&self.revision, "");
        let url = format!("{}/api/models/{}/revision/{revision}", self.hub.endpoint, self.repo);
        let mut answer = self.ask(&self.get, Method::GET, &url, None).await?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|why| self.unreachable(&why))? {
            text.extend_from_slice(&chunk);
            if text.len() > DESCRIPTION_BYTES {
                return Err(HubError::Protocol { url, why: "the answer is too long".to_owned() });
            }
        }
        let body: Body = serde_json::from_slice(&text)
            .map_err(|why| HubError::Protocol { url: url.clone(), why: why.to_string() })?;
        if !super::cache::is_commit(&body.sha) {
            return Err(HubError::Protocol { url, why: "it names no commit".to_owned() });
        }
        let files = body.siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(Info { commit: body.sha, files: files.filter(|file| is_inside(file)).collect() })
    }

    pub(super) async fn head(&self, commit: &str, file: &str) -> Result<Head, HubError> {
        let mut url = self.resolve(commit, file);
        for _ in 0..=REDIRECTS {
            let answer = self.ask(&self.head, Method::HEAD, &url, None).await?;
            let text = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok());
            let linked = text("x-linked-etag");
            if answer.status().is_redirection() && linked.is_none() {
                // A renamed repository or a mirror: ask at the next address.
                let next = text("location").and_then(|next| answer.url().join(next).ok());
                url = next
                    .map(|next| next.to_string())
                    .ok_or_else(|| HubError::Protocol { url, why: "it leads nowhere".into() })?;
                continue;
            }
            let etag = linked.or_else(|| text("etag")).map(clean_etag).filter(|e| is_file_name(e));
            let bytes = text("x-linked-size").or_else(|| text("content-length"));
            return match (etag, bytes.and_then(|bytes| bytes.parse().ok())) {
                (Some(etag), Some(bytes)) => Ok(Head { etag: etag.to_owned(), bytes }),
                _ => Err(HubError::Protocol { url, why: "it lacks an ETag or a size".into() }),
            };
        }
        Err(HubError::Protocol { url, why: "it redirects too often".into() })
    }

    /// Requests the file's bytes from `start` on. The answer's status says whether the server can start there.
    pub(super) async fn get(
        &self,
        commit: &str,
        file: &str,
        start: u64,
    ) -> Result<Response, HubError> {
        self.ask(&self.get, Method::GET, &self.resolve(commit, file), Some(start)).await
    }

    pub(super) fn unreachable(&self, why: &reqwest::Error) -> HubError {
        HubError::Unreachable { endpoint: self.hub.endpoint.clone(), why: reason(why) }
    }

    fn resolve(&self, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{}", self.hub.endpoint, self.repo, encode(file, "/"))
    }

    /// Sends one request, and repeats it while the hub is busy. Any answer except success, redirection and "range not
    /// satisfiable" is an error.
    async fn ask(
        &self,
        client: &reqwest::Client,
        method: Method,
        url: &str,
        start: Option<u64>,
    ) -> Result<Response, HubError> {
        let (mut attempt, mut waited) = (1, Duration::ZERO);
        loop {
            let mut request = client
                .request(method.clone(), url)
                // Otherwise the sizes would be those of a compressed form.
                .header(header::ACCEPT_ENCODING, "identity");
            if let Some(token) = self.token_for(url) {
                request = request.bearer_auth(token);
            }
            if let Some(start) = start.filter(|start| *start > 0) {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            let answer = request.send().await.map_err(|why| self.unreachable(&why))?;
            let status = answer.status();
            if status.is_success() || status.is_redirection() || (start.is_some() && status == 416)
            {
                return Ok(answer);
            }
            if !passes(status) {
                return Err(self.refusal(&answer));
            }
            let asks = asked_wait(answer.headers());
            let wait = match asks {
                Some(asks) => Some(asks.max(SHORTEST_WAIT)),
                None => (attempt < TRIES).then(|| pause(attempt)),
            };
            let Some(wait) = wait.filter(|wait| waited + *wait <= BUSY_PATIENCE) else {
                let endpoint = self.hub.endpoint.clone();
                return Err(HubError::Busy { endpoint, status: status.as_u16(), asks });
            };
            if asks.is_some() {
                self.console.note(&waiting(status, wait, waited));
            }
            tokio::time::sleep(wait).await;
            waited += wait;
            attempt += 1;
        }
    }

    /// Returns the token for the hub, and nothing for any place that the hub points to. When `get` follows a redirect
    /// to another host, reqwest drops the token.
    fn token_for(&self, url: &str) -> Option<&str> {
        let at_home =
            url.strip_prefix(&self.hub.endpoint).is_some_and(|rest| rest.starts_with('/'));
        self.hub.token.as_deref().filter(|_| at_home)
    }

    fn refusal(&self, answer: &Response) -> HubError {
        let (endpoint, repo) = (self.hub.endpoint.clone(), self.repo.clone());
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let status = answer.status().as_u16();
        match (status, code) {
            (401 | 403, Some("GatedRepo")) => HubError::Refused {
                status,
                remedy: format!(
                    "it is gated; accept its terms at {endpoint}/{repo}, then set HF_TOKEN to your token"
                ),
                endpoint,
                repo,
            },
            (404, Some("RevisionNotFound")) => {
                HubError::NoSuchRevision { endpoint, repo, revision: self.revision.clone() }
            }
            (401 | 403, Some("RepoNotFound")) | (404, Some("RepoNotFound") | None) => {
                HubError::NoSuchRepo { endpoint, repo }
            }
            (401 | 403, _) => HubError::Refused {
                remedy: match self.hub.token {
                    Some(_) => "the token in HF_TOKEN is wrong or has no access to it".to_owned(),
                    None => "set HF_TOKEN to a token that may read it".to_owned(),
                },
                endpoint,
                repo,
                status,
            },
            _ => {
                HubError::Protocol { url: answer.url().to_string(), why: format!("HTTP {status}") }
            }
        }
    }
}

/// Returns whether a refusal may go away by itself.
fn passes(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status)
}

/// Returns how long a busy server asks to wait: `Retry-After`, in seconds or as a time by the server's own clock, else
/// the rest of the window in `RateLimit`, as Hugging Face sends it.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let time = |text: &str| httpdate::parse_http_date(text).ok();
    if let Some(after) = text("retry-after") {
        let seconds = || after.parse().ok().map(Duration::from_secs);
        let until = || time(after)?.duration_since(time(text("date")?)?).ok();
        return seconds().or_else(until);
    }
    // "api";r=0;t=55
    let left = text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="))?;
    left.parse().ok().map(Duration::from_secs)
}

/// Returns the note about a wait that a busy hub asks for; `waited` is the time waited so far.
fn waiting(status: StatusCode, wait: Duration, waited: Duration) -> String {
    let [wait, so_far, most] = [wait, waited, BUSY_PATIENCE].map(humantime::format_duration);
    let so_far = if waited.is_zero() { String::new() } else { format!("{so_far} so far, ") };
    format!("the hub is busy (HTTP {status}); waiting {wait} as requested ({so_far}{most} at most)")
}

/// Returns how long to wait after the n-th failure in a row.
pub(super) fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(6))
}

/// Returns the innermost reason: the outer ones only say that a request failed.
fn reason(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { inner.to_string() }
}

/// Returns the bare ETag: `W/"abc"` and `"abc"` are abc.
fn clean_etag(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Percent-encodes what is not allowed in a path, except the characters in `keep`.
fn encode(text: &str, keep: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || keep.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_servers_wait_is_read_as_it_is_written() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        for (headers, seconds) in [
            (&[("retry-after", "8")][..], Some(8)),
            (&[("retry-after", " 120 "), ("ratelimit", "\"api\";r=0;t=55")], Some(120)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date], Some(30)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")], None),
            (&[("retry-after", "Wed, 21 Oct 2015 07:27:30 GMT"), date], None),
            (&[("ratelimit", "\"api\";r=0;t=55")], Some(55)),
            (&[("retry-after", "soon")], None),
            (&[date], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(asked_wait(&map), seconds.map(Duration::from_secs), "{headers:?}");
        }
    }

    #[test]
    fn headers_and_paths_are_read_and_written_as_the_hub_does() {
        assert_eq!(clean_etag("W/\"abc\""), "abc");
        assert_eq!(clean_etag("\"abc\""), "abc");
        assert!(is_file_name(&"a".repeat(64)));
        assert!(!is_file_name("../x") && !is_file_name("a/b") && !is_file_name(""));
        assert_eq!(encode("refs/pr/1", ""), "refs%2Fpr%2F1");
        assert_eq!(encode("a b/c#d.gguf", "/"), "a%20b/c%23d.gguf");
    }
}
