//! Where a node is: parsing and printing of its URL. Resolves no names.

use std::{fmt, net::IpAddr, str::FromStr};

use tonic::transport::Uri;

/// The address of a node as a user writes it: `http://HOST:PORT`, `https://HOST:PORT`, or `HOST:PORT`, which means
/// `http`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

/// An address that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a node's address: {why}; write http://HOST:PORT, https://HOST:PORT or HOST:PORT"
)]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl Address {
    /// Returns whether the connection is encrypted.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host's name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether the host is this machine: `localhost` or a loopback address. Resolves no names.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = |why| AddressError { text: text.escape_debug().to_string(), why };
        let text_with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = text_with_scheme.parse().map_err(|_| error("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(error("only http and https are known")),
        };
        let authority = uri.authority().ok_or_else(|| error("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("it holds a user name"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(error("it has a path"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(error("it names no host"));
        }
        let port = uri
            .port_u16()
            .filter(|port| *port != 0)
            .ok_or_else(|| error("it names no port from 1 to 65535"))?;
        Ok(Address { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_writes_is_understood() {
        for (text, printed, loopback) in [
            ("http://127.0.0.1:7101", "http://127.0.0.1:7101", true),
            ("127.0.0.1:7101", "http://127.0.0.1:7101", true),
            ("localhost:7101", "http://localhost:7101", true),
            ("LOCALHOST:7101", "http://LOCALHOST:7101", true),
            ("https://gpu.example.org:443/", "https://gpu.example.org:443", false),
            ("[::1]:7101", "http://[::1]:7101", true),
            ("https://[2001:db8::1]:7101", "https://[2001:db8::1]:7101", false),
            ("http://[::ffff:127.0.0.1]:7101", "http://[::ffff:127.0.0.1]:7101", true),
            ("http://localhost.example.org:1", "http://localhost.example.org:1", false),
            ("10.0.0.7:7101", "http://10.0.0.7:7101", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(address.is_loopback(), loopback, "{text}");
            assert_eq!(printed.parse::<Address>().unwrap(), address);
        }
    }

    #[test]
    fn anything_else_is_one_line_that_says_why() {
        for (text, why) in [
            ("", "it is not a URL"),
            ("gpu-host", "it names no port"),
            ("http://gpu-host", "it names no port"),
            ("ftp://gpu-host:21", "only http and https"),
            ("http://user:secret@host:1", "user name"),
            ("http://host:1/v1/models", "it has a path"),
            ("http://host:1?x=1", "it has a path"),
            ("http://host:99999", "it names no port from 1 to 65535"),
            ("http://host:0", "it names no port"),
            ("http://:7101", ""),
            ("a b:1", "not a URL"),
            ("line\nbreak:1", "not a URL"),
        ] {
            let line = text.parse::<Address>().unwrap_err().to_string();
            assert!(line.contains(why), "{text:?}: {line}");
            assert!(line.contains("write http://HOST:PORT"), "{line}");
            assert!(!line.contains('\n'));
        }
    }
}
