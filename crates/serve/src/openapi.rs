//! The OpenAPI document, which describes the API to programs. docs/serve.md describes it to people.
//!
//! Source: <https://spec.openapis.org/oas/v3.1.0>.

use axum::{
    body::Body,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::Response,
};

/// The document, with a placeholder for the version.
const DOCUMENT: &str = include_str!("../openapi.json");

/// Handles `GET /openapi.json`.
pub(crate) async fn document() -> Response {
    let text = DOCUMENT.replacen("VERSION", env!("CARGO_PKG_VERSION"), 1);
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        gate::is_guarded,
        request::{AnswerRequest, ReplyKind, asked_fields},
        routes::ROUTES,
    };

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let with_parameters = ["/v1/models/{id}", "/v1/answers/{id}", "/page/{file}"];
        let routes = ROUTES.into_iter().chain(with_parameters).map(str::to_owned);
        assert_eq!(keys(&document["paths"]), routes.collect());
    }

    #[test]
    fn the_document_says_which_routes_want_a_key() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let says = operation.get("security").is_some();
                assert_eq!(says, is_guarded(path), "{method} {path}");
            }
        }
    }

    #[test]
    fn the_document_has_every_field_that_a_request_is_read_for_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let schemas = &document["components"]["schemas"];
        let messages = json!([{ "role": "user", "content": "x" }]);
        for (kind, schema, body) in [
            (ReplyKind::Chat, "ChatRequest", json!({ "messages": messages, "specthink": {} })),
            (ReplyKind::Text, "TextRequest", json!({ "prompt": "x", "specthink": {} })),
            (ReplyKind::Response, "ResponseRequest", json!({ "input": "x", "specthink": {} })),
        ] {
            let body = serde_json::to_vec(&body).unwrap();
            let asked = asked_fields(|| AnswerRequest::read(kind, &body, 1).unwrap());
            let of = |place: &str| -> BTreeSet<String> {
                let inside = asked.iter().filter_map(|path| path.strip_prefix(place));
                inside.filter(|name| !name.contains('.')).map(str::to_owned).collect()
            };
            assert_eq!(of(""), keys(&schemas[schema]["properties"]), "{schema}");
            assert_eq!(of("specthink."), keys(&schemas["Wish"]["properties"]), "{schema}");
        }
    }
}
