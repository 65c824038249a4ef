//! The OpenAPI document, checked against real responses.

use serde_json::{Value, json};

use crate::support::Running;

/// Returns where a value deviates from its schema; empty if nowhere.
fn faults(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let named = document.pointer(name.strip_prefix('#').unwrap()).unwrap();
        return faults(document, named, value, place);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let each = any.iter().map(|one| faults(document, one, value, place));
        return each.min_by_key(Vec::len).unwrap();
    }
    let mut found = Vec::new();
    let is_type = |name: &Value| match name.as_str().unwrap() {
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let is_listed = schema["enum"].as_array().is_none_or(|values| values.contains(value));
    let is_const = schema.get("const").is_none_or(|one| one == value);
    if !(types.is_empty() || types.iter().any(is_type)) || !is_listed || !is_const {
        found.push(format!("{place} is {value}"));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let Some(object) = value.as_object() else { return found };
        let required = schema["required"].as_array().into_iter().flatten();
        let missing = required.filter(|name| !object.contains_key(name.as_str().unwrap()));
        found.extend(missing.map(|name| format!("{place} has no {name}")));
        for (name, value) in object {
            let place = format!("{place}.{name}");
            match properties.get(name) {
                Some(schema) => found.extend(faults(document, schema, value, &place)),
                None if schema["additionalProperties"] == false => {
                    found.push(format!("{place} is not there"))
                }
                None => {}
            }
        }
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(faults(document, &schema["items"], item, &format!("{place}[{number}]")));
    }
    found
}

#[tokio::test]
async fn what_is_answered_is_what_the_document_says() {
    let server = Running::babbling().await;
    let document = server.get("/openapi.json").await;
    assert_eq!((document.status, document.header("content-type")), (200, Some("application/json")));
    let document = document.json();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let ignored = json!({ "reasoning_effort": "low", "max_tokens": 60 });
    let text = json!({ "prompt": ["a", "b"], "max_tokens": 20 });
    let input = json!({ "input": "x", "max_output_tokens": 20, "instructions": "y" });
    let reviewed = crate::review::reviewed().await;
    let (keeping, _folder) = crate::earlier::keeping().await;
    let kept = keeping.chat(json!({})).await.json();
    let id = kept["specthink"]["answers"][0]["id"].as_str().unwrap().to_owned();
    for (schema, response) in [
        ("ChatCompletion", reviewed.chat(json!({ "model": "specthink:review" })).await),
        ("ChatCompletion", server.chat(ignored).await),
        ("ChatCompletion", server.chat(json!({ "n": 2, "stop": "7" })).await),
        ("TextCompletion", server.complete(text).await),
        ("Response", server.respond(input).await),
        ("Response", server.respond(json!({ "input": "x", "stop": [" the", "."] })).await),
        ("ModelList", server.get("/v1/models").await),
        ("Model", server.get("/v1/models/small").await),
        ("EarlierList", keeping.get("/v1/answers").await),
        ("ChatCompletion", keeping.get(&format!("/v1/answers/{id}")).await),
        ("Error", server.get("/v1/models/smal").await),
        ("Error", server.chat(json!({ "temperature": 9 })).await),
        ("Status", server.get("/health").await),
        ("Version", server.get("/version").await),
    ] {
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        let found = faults(&document, &schema, &response.json(), "");
        assert!(found.is_empty(), "{schema}: {found:#?}");
    }
}

#[tokio::test]
async fn every_method_of_the_document_is_served() {
    let server = Running::babbling().await;
    let document = server.get("/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let (method, _) = methods.as_object().unwrap().iter().next().unwrap();
        let path = path.replace("{id}", "small").replace("{file}", "main.js");
        let head = format!("{} {path} HTTP/1.1\r\nhost: localhost", method.to_uppercase());
        let response = server.send(&head, b"{}").await;
        assert_ne!(response.status, 405, "{method} {path}");
        assert!(!response.body.contains("unknown_route"), "{method} {path}: {response:?}");
    }
}
