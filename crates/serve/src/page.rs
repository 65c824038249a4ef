//! The page, which is built into the program: it shows who wrote which words, and why, as a client of the API.

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse as _, Response},
};

use crate::error::{ApiError, ErrorCode};

/// What the page may do: load its own parts and send requests to its own server, nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Expands to a part's name and text.
macro_rules! part {
    ($name:literal) => {
        ($name, include_str!(concat!("../page/", $name)))
    };
}

/// The files under `/page/`.
const PARTS: [(&str, &str); 15] = [
    part!("answer.js"),
    part!("api.js"),
    part!("controls.js"),
    part!("dom.js"),
    part!("earlier.js"),
    part!("figures.js"),
    part!("icon.svg"),
    part!("main.js"),
    part!("nodes.js"),
    part!("server.js"),
    part!("source.js"),
    part!("sse.js"),
    part!("style.css"),
    part!("tip.js"),
    part!("words.js"),
];

/// Returns the page itself.
pub(crate) async fn index() -> Response {
    file("index.html", include_str!("../page/index.html"))
}

/// Returns one of its parts.
pub(crate) async fn part(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = PARTS.iter().find(|(part, _)| *part == name);
    let (name, text) = found.ok_or_else(|| {
        ApiError::new(
            ErrorCode::UnknownRoute,
            format!("the page has no part {name:?}: open / instead"),
        )
    })?;
    Ok(file(name, text))
}

fn file(name: &str, text: &'static str) -> Response {
    let media_type = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the program may have other parts.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use std::{collections::BTreeSet, fs, path::Path};

    use super::PARTS;

    #[test]
    fn every_file_of_the_page_is_a_part() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let files: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
        let parts = PARTS.iter().map(|(name, _)| (*name).to_owned());
        assert_eq!(files, parts.chain(["index.html".to_owned()]).collect());
    }

    #[test]
    fn what_the_page_uses_is_a_part() {
        let index = include_str!("../page/index.html");
        let of_index = index.split('"').filter_map(|text| text.strip_prefix("page/"));
        let of_modules = PARTS.iter().flat_map(|(_, text)| text.split('"'));
        let of_modules = of_modules.filter_map(|text| text.strip_prefix("./"));
        let used: Vec<&str> = of_index.chain(of_modules).collect();
        assert!(used.len() > 10, "{used:?}");
        for name in used {
            assert!(PARTS.iter().any(|(part, _)| *part == name), "{name} is not a part");
        }
    }
}
