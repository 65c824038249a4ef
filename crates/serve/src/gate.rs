//! Access rules: the host names that the server answers to, the pages that may use it, and API keys.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{
    HeaderMap, HeaderValue, Uri,
    header::{AUTHORIZATION, HOST, ORIGIN},
};

use crate::{
    error::{ApiError, ErrorCode},
    keys::ApiKeys,
};

/// Routes that need no key. All others need one if there are keys.
const OPEN: [&str; 5] = ["/", "/health", "/ready", "/version", "/openapi.json"];

/// Who may use the server.
#[derive(Debug, Clone, Default)]
pub struct AccessRules {
    /// API keys, one of which a request must show. `None`: no key is needed.
    pub keys: Option<ApiKeys>,
    /// Whether it listens on loopback. If so, the `Host` and `Origin` headers are checked.
    pub is_loopback: bool,
    /// Host names that it answers to, besides those of loopback.
    pub hosts: Vec<String>,
    /// Origins of other servers' pages that may use it, as browsers send them: `https://chat.example.org`.
    pub origins: Vec<String>,
}

impl AccessRules {
    /// Checks the host name that a request is for, and the page that it comes from.
    ///
    /// Why it is refused.
    pub(crate) fn check_browser(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        self.check_host(uri, headers)?;
        self.check_origin(headers)
    }

    /// Returns the name of the key that a request shows, if one is needed.
    ///
    /// When it does not show a valid key.
    pub(crate) fn check_key(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<String>, ApiError> {
        let Some(keys) = self.keys.as_ref().filter(|_| is_guarded(uri.path())) else {
            return Ok(None);
        };
        let shown = headers.get(AUTHORIZATION).and_then(|value| keys.shown_in(value.as_bytes()));
        shown.map(Some).ok_or_else(|| {
            let message = match headers.contains_key(AUTHORIZATION) {
                true => "this server does not accept that API key: give another one",
                false => "this server requires an API key: send Authorization: Bearer KEY",
            };
            ApiError::new(ErrorCode::InvalidApiKey, message)
        })
    }

    /// Returns the request's origin if it is a page of another server that may use this one.
    pub(crate) fn named_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|named| named == text).then(|| origin.clone())
    }

    /// Refuses a host name that is not this machine's, so that no foreign name can be pointed at it (DNS rebinding).
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        if !self.is_loopback {
            return Ok(());
        }
        let header = headers.get(HOST).map(HeaderValue::to_str);
        let host = match (uri.host(), header) {
            (Some(host), _) => host,
            (None, Some(Ok(host))) => without_port(host),
            (None, Some(Err(_))) => "",
            // HTTP/1.0, so not a browser.
            (None, None) => return Ok(()),
        };
        if is_loopback(host) || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        let message = format!(
            "{host:?} is not a name of this server: use the name it listens on, or start it with --allow-host {host}"
        );
        Err(ApiError::new(ErrorCode::HostNotAllowed, message))
    }

    /// Refuses pages of other servers, which could otherwise send requests without the user's knowledge.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(origin) = headers.get(ORIGIN).filter(|_| self.is_loopback) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let of_ours = origin.split_once("://").map(|(_, host)| host);
        let is_ours = host.is_some() && of_ours == host;
        if is_ours || self.origins.iter().any(|named| named == origin) {
            return Ok(());
        }
        let message = format!(
            "pages of {origin:?} may not use this server: start it with --allow-origin {origin}"
        );
        Err(ApiError::new(ErrorCode::OriginNotAllowed, message))
    }
}

/// Returns whether a route needs a key, if there are keys.
pub(crate) fn is_guarded(path: &str) -> bool {
    !OPEN.contains(&path) && !path.starts_with("/page/")
}

/// Returns a host without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Returns whether a host name is one of loopback.
fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_canonical().is_loopback()),
        None => host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(rules: &AccessRules, path: &str, headers: &[(&str, &str)]) -> Result<(), ErrorCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        let uri = path.parse().unwrap();
        let checked = rules.check_browser(&uri, &map).and_then(|()| rules.check_key(&uri, &map));
        checked.map(drop).map_err(|error| error.code)
    }

    #[test]
    fn on_loopback_only_its_names_are_taken() {
        let rules = AccessRules {
            is_loopback: true,
            hosts: vec!["box.local".to_owned()],
            ..AccessRules::default()
        };
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "Box.local:80",
        ] {
            assert_eq!(checked(&rules, "/health", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "[::2]",
            "::1:",
        ] {
            let refused = checked(&rules, "/health", &[("host", host)]);
            assert_eq!(refused, Err(ErrorCode::HostNotAllowed), "{host}");
        }
        assert_eq!(checked(&rules, "/health", &[]), Ok(()), "HTTP/1.0");
        let elsewhere = AccessRules { is_loopback: false, ..rules };
        assert_eq!(checked(&elsewhere, "/health", &[("host", "evil.example")]), Ok(()));
    }

    #[test]
    fn pages_of_others_are_refused_unless_they_are_named() {
        let rules = AccessRules {
            is_loopback: true,
            origins: vec!["https://chat.example".to_owned()],
            ..AccessRules::default()
        };
        for (origin, allowed) in [
            ("http://localhost:8080", true),
            ("https://chat.example", true),
            ("http://chat.example", false),
            ("http://localhost:9", false),
            ("null", false),
            ("https://evil.example", false),
        ] {
            let found =
                checked(&rules, "/v1/models", &[("host", "localhost:8080"), ("origin", origin)]);
            let expected = if allowed { Ok(()) } else { Err(ErrorCode::OriginNotAllowed) };
            assert_eq!(found, expected, "{origin}");
        }
    }

    #[test]
    fn keys_are_needed_for_all_routes_that_reveal_anything() {
        let folder = std::env::temp_dir().join(format!("specthink-keys-{}", std::process::id()));
        std::fs::write(&folder, "ann s3cret\n").unwrap();
        let keys = Some(ApiKeys::from_file(&folder).unwrap());
        std::fs::remove_file(&folder).unwrap();
        let rules = AccessRules { keys, ..AccessRules::default() };
        let refused = Err(ErrorCode::InvalidApiKey);
        assert_eq!(checked(&rules, "/health", &[]), Ok(()));
        for path in ["/v1/models", "/v1/answers/a-0", "/tokenize", "/metrics", "/no/such/route"] {
            assert_eq!(checked(&rules, path, &[]), refused, "{path}");
        }
        assert_eq!(checked(&rules, "/v1/models", &[("authorization", "Bearer s3cre")]), refused);
        assert_eq!(checked(&rules, "/v1/models", &[("authorization", "Bearer s3cret")]), Ok(()));
    }
}
