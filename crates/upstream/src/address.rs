//! Where a server is: parsing and printing of its address. Resolves no names.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;

/// Distinguishes a server's address from a node's.
const PREFIX: &str = "openai+";
/// The prefix of the API's paths.
const API: &str = "/v1";
/// The prefix in DeepSeek's API on which it continues given answers.
const BETA: &str = "/beta";

/// The address of a server that speaks OpenAI's API, as a user writes it: `http://HOST:PORT`, `https://HOST/v1`, or one
/// of these prefixed with `openai+`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    /// The part before the API's paths: without `/v1` and without a trailing slash.
    root: String,
    /// The prefix of the chat route: `/v1`, or `/beta` for a service that offers some features only there.
    base: &'static str,
    tls: bool,
    loopback: bool,
}

/// An address that cannot be parsed. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not the address of an OpenAI-compatible server: {why}; write openai+http://HOST:PORT/v1 or \
     openai+https://HOST/v1"
)]
pub struct UpstreamAddressError {
    text: String,
    why: String,
}

impl UpstreamAddress {
    /// Returns whether a text is meant as the address of such a server, and not of a node.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Returns whether the connection is encrypted.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Returns whether the host is this machine: `localhost` or a loopback address. Resolves no names.
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Returns the URL of a path, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        match path.strip_prefix(API) {
            Some(chats) if chats.starts_with("/chat/") => {
                format!("{}{}{chats}", self.root, self.base)
            }
            _ => format!("{}{path}", self.root),
        }
    }
}

impl FromStr for UpstreamAddress {
    type Err = UpstreamAddressError;

    fn from_str(text: &str) -> Result<Self, UpstreamAddressError> {
        let error = |why: &str| UpstreamAddressError {
            text: text.escape_debug().to_string(),
            why: why.to_owned(),
        };
        let bare = text.strip_prefix(PREFIX).unwrap_or(text);
        if !bare.contains("://") {
            return Err(error("it has no scheme"));
        }
        let url: Url = bare.parse().map_err(|_| error("it is not a URL"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(error("only http and https are known")),
        };
        let host = url.host_str().ok_or_else(|| error("it names no host"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(error("it holds a user name or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(error("it holds more than a path"));
        }
        let path = url.path().trim_end_matches('/');
        let split = |base| path.strip_suffix(base).map(|before| (before, base));
        let (before, base) = match split(API).or_else(|| split(BETA)) {
            Some(split) => split,
            None if path.is_empty() => ("", API),
            None => {
                return Err(error(&format!("its path {path} is not an API's, which ends in /v1")));
            }
        };
        let number = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = host.eq_ignore_ascii_case("localhost")
            || number.is_ok_and(|ip| ip.to_canonical().is_loopback());
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let root = format!("{}://{host}{port}{before}", url.scheme());
        Ok(UpstreamAddress { root, base, tls, loopback })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}{}", self.root, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_writes_is_understood() {
        for (text, printed, loopback) in [
            ("http://127.0.0.1:8000", "openai+http://127.0.0.1:8000/v1", true),
            ("openai+http://127.0.0.1:8000/v1/", "openai+http://127.0.0.1:8000/v1", true),
            ("openai+https://api.example.org/v1", "openai+https://api.example.org/v1", false),
            ("https://example.org/api/v1", "openai+https://example.org/api/v1", false),
            ("http://[::1]:8080", "openai+http://[::1]:8080/v1", true),
            ("http://localhost:80/v1", "openai+http://localhost/v1", true),
        ] {
            let address: UpstreamAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(address.is_loopback(), loopback, "{text}");
            assert_eq!(printed.parse::<UpstreamAddress>().unwrap(), address);
            assert!(UpstreamAddress::is_meant(printed));
        }
        let address: UpstreamAddress = "https://example.org/api/v1".parse().unwrap();
        assert_eq!(address.url("/v1/models"), "https://example.org/api/v1/models");
        let chats = "/v1/chat/completions";
        assert_eq!(address.url(chats), "https://example.org/api/v1/chat/completions");
        let beta: UpstreamAddress = "https://api.deepseek.com/beta".parse().unwrap();
        assert_eq!(beta.to_string(), "openai+https://api.deepseek.com/beta");
        assert_eq!(beta.url(chats), "https://api.deepseek.com/beta/chat/completions");
        assert_eq!(beta.url("/v1/models"), "https://api.deepseek.com/v1/models");
        assert!(address.tls() && !UpstreamAddress::is_meant("http://127.0.0.1:7101"));
    }

    #[test]
    fn anything_else_is_one_line_that_says_why() {
        for (text, why) in [
            ("127.0.0.1:8000", "it has no scheme"),
            ("openai+127.0.0.1:8000", "it has no scheme"),
            ("openai+ftp://host:21", "only http and https"),
            ("http://host:8000/docs", "its path /docs is not an API's"),
            ("http://host:8000/v1/chat/completions", "its path /v1/chat/completions"),
            ("https://user:secret@host/v1", "a user name or a password"),
            ("https://host/v1?key=secret", "more than a path"),
            ("http://", "not a URL"),
            ("http://a b:1\n", "not a URL"),
        ] {
            let line = text.parse::<UpstreamAddress>().unwrap_err().to_string();
            assert!(line.contains(why) && line.contains("write openai+http"), "{text:?}: {line}");
            assert!(!line.contains('\n'));
        }
    }
}
