//! The proxy in the environment: downloads use it, connections to nodes do not.

use crate::address::Address;

/// Variables that name a proxy, as other programs read them.
const VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Returns a note for a node on another machine that cannot be reached while a proxy is configured. `is_set` says
/// whether an environment variable is set.
pub(crate) fn note(address: &Address, is_set: impl Fn(&str) -> bool) -> Option<String> {
    let variable = VARIABLES.into_iter().find(|name| is_set(name))?;
    (!address.is_loopback()).then(|| {
        format!(
            "{variable} is set, but nodes are reached without a proxy: if there is no other way, make a tunnel \
             (docs/security.md)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_told_of_where_it_may_be_the_only_way() {
        let note = |address: &str, set: &str| note(&address.parse().unwrap(), |name| name == set);
        let said = note("https://gpu:7102", "https_proxy").unwrap();
        assert!(said.starts_with("https_proxy is set, but nodes are reached without a proxy"));
        assert!(note("https://gpu:7102", "ALL_PROXY").is_some());
        assert_eq!(note("https://gpu:7102", "NO_PROXY"), None);
        assert_eq!(note("http://127.0.0.1:7102", "HTTP_PROXY"), None);
    }
}
