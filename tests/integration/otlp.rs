//! Traces: a collector receives the spans of one question from all three programs, and no word of it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Attribute},
    trace::v1::Span,
};
use prost::Message as _;
use serde_json::{Value, json};
use tests::{Process, Signal};

use crate::{
    LARGE, SMALL, SPECTHINK,
    observability::{ANY_PORT, ask},
};

/// A collector that takes spans by OTLP over HTTP.
struct Collector {
    url: String,
    spans: mpsc::Receiver<(String, Span)>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, spans) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                for resource in take(stream.unwrap()).resource_spans {
                    let attributes = resource.resource.unwrap().attributes;
                    let service = text(&attributes, "service.name").unwrap();
                    for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                        // The test may have ended.
                        let _ = seen.send((service.clone(), span));
                    }
                }
            }
        });
        Collector { url, spans }
    }
}

/// Reads a request, and answers it.
fn take(stream: TcpStream) -> ExportTraceServiceRequest {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
    while line != "\r\n" {
        if let Some(bytes) = line.to_lowercase().strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).unwrap();
    ExportTraceServiceRequest::decode(&body[..]).unwrap()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Attribute::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

#[test]
fn one_trace_shows_a_question_in_all_three_programs() {
    let collector = Collector::start();
    let node = |program, args: &[&str], env: &[(&str, &str)]| {
        let mut node = Process::spawn(program, &[&["--listen", ANY_PORT], args].concat(), env);
        node.wait_for("listening on ");
        node
    };
    let otlp = ["--otlp", collector.url.as_str()];
    let small = node(SMALL, &otlp, &[]);
    let large = node(LARGE, &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())]);
    let (at_small, at_large) = (small.url(), large.url());
    let args = ["serve", "--listen", ANY_PORT, "--small", &at_small, "--large", &at_large];
    let mut server = Process::spawn(SPECTHINK, &[&args[..], &otlp].concat(), &[]);
    let url = server.wait_for("listening on ");
    let address = url.strip_prefix("http://").unwrap();
    let secret = "periwinkle hedgehog";
    let content = format!("{secret}: Start with 303. Add 58. Subtract 114. What is the result?");
    let policy = json!({ "name": "random", "parameters": { "share": 0.9 } });
    let messages = json!([{ "role": "user", "content": content }]);
    let body = json!({ "messages": messages, "seed": 1, "specthink": { "policy": policy } });
    let (body, length) = (body.to_string(), body.to_string().len());
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let (status, answer) = ask(
        address,
        &format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             traceparent: 00-{trace}-b7ad6b7169203331-01\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
    );
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let id = answer["specthink"]["answers"][0]["id"].as_str().unwrap();
    for process in [server, small, large] {
        process.signal(Signal::Terminate);
        // What it has not sent by then will never come.
        process.wait();
    }
    let spans: Vec<(String, Span)> = collector.spans.try_iter().collect();
    let named = |service: &str, name: &str| {
        let is_it = |(of, span): &&(String, Span)| of == service && span.name == name;
        spans.iter().find(is_it).unwrap_or_else(|| panic!("no {name} of {service}: {spans:?}"))
    };
    for (service, name, parent) in [
        ("specthink", "question", ("specthink", "request")),
        ("specthink", "proposal", ("specthink", "question")),
        ("specthink", "takeover", ("specthink", "question")),
        ("small-node", "session", ("specthink", "question")),
        ("small-node", "proposal", ("small-node", "session")),
        ("large-node", "session", ("specthink", "question")),
        ("large-node", "proposal", ("large-node", "session")),
    ] {
        let (span, parent) = (&named(service, name).1, &named(parent.0, parent.1).1);
        assert_eq!(span.parent_span_id, parent.span_id, "{service} {name}: {spans:?}");
        if ["question", "session"].contains(&name) {
            assert_eq!(text(&span.attributes, "question_id").as_deref(), Some(id), "{span:?}");
        }
    }
    let takeover = &named("specthink", "takeover").1.attributes;
    assert_eq!(text(takeover, "writer").as_deref(), Some("large"), "{takeover:?}");
    assert_eq!(text(takeover, "why").as_deref(), Some("schedule"), "{takeover:?}");
    assert!(takeover.iter().any(|it| it.key == "kept_tokens"), "{takeover:?}");
    for (service, span) in &spans {
        let of_trace: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(of_trace, trace, "{service} {}", span.name);
        assert!(!format!("{span:?}").contains("hedgehog"), "{span:?}");
    }
}
