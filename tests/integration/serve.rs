//! `specthink serve` as users start it: the built-in pair behind OpenAI's API, asked over HTTP.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};
use tests::{Process, Signal};

use crate::SPECTHINK;

const QUESTION: &str = "Start with 303. Add 58. Subtract 114. What is the result?";

/// A running server, and its address.
struct Server {
    process: Process,
    address: String,
}

impl Server {
    fn start(more: &[&str]) -> Server {
        Server::start_at("127.0.0.1:0", more)
    }

    fn start_at(listen: &str, more: &[&str]) -> Server {
        let args = [&["serve", "--listen", listen], more].concat();
        let mut process = Process::spawn(SPECTHINK, &args, &[]);
        let url = process.wait_for("listening on ");
        let address = url.strip_prefix("http://").unwrap().to_owned();
        Server { process, address }
    }

    fn send(&self, line: &str, headers: &str, body: &str) -> TcpStream {
        send(&self.address, line, headers, body)
    }

    /// Returns the status and the body of a response that is not a stream.
    fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut response = String::new();
        self.send(line, headers, body).read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|why| panic!("{why}: {response}")))
    }

    fn chat(&self, more: Value) -> (u16, Value) {
        self.ask("POST /v1/chat/completions", "", &question(more))
    }

    /// Returns the data of a stream's events.
    fn stream(&self, more: Value) -> Vec<String> {
        let stream = self.send("POST /v1/chat/completions", "", &question(more));
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect()
    }
}

/// Sends a request whose connection is used once.
pub(crate) fn send(address: &str, line: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn question(more: Value) -> String {
    let mut body = json!({ "messages": [{ "role": "user", "content": QUESTION }], "seed": 1 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[test]
fn an_answer_over_http_is_that_of_ask() {
    let args = ["ask", "--json", "--seed", "1", QUESTION];
    let asked = Process::spawn(SPECTHINK, &args, &[]).wait();
    let asked: Value = serde_json::from_str(&asked.stdout.join("\n")).unwrap();
    let server = Server::start(&[]);
    let (status, answer) = server.chat(json!({}));
    assert_eq!(status, 200, "{answer}");
    let report = &answer["specthink"]["answers"][0];
    assert_eq!(answer["choices"][0]["message"]["content"], asked["answer"]);
    assert_eq!(report["share"], asked["takeover_share"]);
    let model = |answer: &Value| answer["summary"]["large"]["model"].clone();
    assert_eq!(model(report), model(&asked));

    // The same as a stream: in pieces, each with its writer.
    let mut events = server.stream(json!({ "stream": true }));
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let events: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let text = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    assert_eq!(Value::from(events.iter().filter_map(text).collect::<String>()), asked["answer"]);
    for writer in ["small", "large"] {
        assert!(events.iter().any(|event| event["specthink"]["writer"] == writer), "{writer}");
    }
    let (status, answer) = server.chat(json!({ "model": "small" }));
    assert_eq!((status, &answer["specthink"]["answers"][0]["share"]), (200, &json!(0.0)));
}

#[test]
fn behind_loopback_nobody_needs_a_key_and_no_other_name_is_answered() {
    let mut server = Server::start_at("0.0.0.0:0", &["--behind-loopback"]);
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    // As with a container's port that is published on loopback.
    server.address = format!("127.0.0.1:{port}");
    assert_eq!(server.ask("GET /v1/models", "", "").0, 200);
    let (status, refused) = server.ask("GET http://evil.example/v1/models", "", "");
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("host_not_allowed")));
}

/// Returns what `ask` answers to the question, with more arguments.
fn asked(more: &[&str]) -> Value {
    let args = [&["ask", "--json", "--seed", "1"], more, &[QUESTION]].concat();
    let ended = Process::spawn(SPECTHINK, &args, &[]).wait();
    serde_json::from_str(&ended.stdout.join("\n")).unwrap_or_else(|why| panic!("{why}: {ended:?}"))
}

#[test]
fn a_stop_text_that_one_model_begins_and_the_other_ends_ends_the_answer() {
    let whole = asked(&[]);
    let span = |number: usize| whole["spans"][number]["text"].as_str().unwrap().to_owned();
    let (before, behind) = (span(0), span(1));
    let stop = [&before[before.len() - 3..], &behind[..4]].concat();
    let text = whole["answer"].as_str().unwrap();
    let expected = &text[..text.find(&stop).unwrap()];
    let stopped = asked(&["--stop", "no such text", "--stop", &stop]);
    assert_eq!(
        (&stopped["answer"], &stopped["summary"]["end"]),
        (&json!(expected), &json!("stop"))
    );
    assert_eq!(stopped["summary"]["stopped_by"], stop);
    let (_, answer) = Server::start(&[]).chat(json!({ "stop": stop }));
    assert_eq!(answer["choices"][0]["message"]["content"], expected);
}

#[test]
fn an_answer_goes_on_from_any_paragraph_of_itself() {
    let server = Server::start(&["--temperature", "0"]);
    for model in ["small", "large"] {
        let content = |more: Value| {
            let mut body = more;
            body["model"] = json!(model);
            server.chat(body).1["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
        };
        let whole = content(json!({}));
        let breaks = whole.match_indices("\n\n").map(|(at, space)| at + space.len());
        for bytes in breaks {
            let messages = json!([
                { "role": "user", "content": QUESTION },
                { "role": "assistant", "content": whole[..bytes] },
            ]);
            assert_eq!(content(json!({ "messages": messages })), whole[bytes..], "{model}");
        }
    }
}

#[test]
fn tokens_are_those_of_the_small_models_prompts() {
    let server = Server::start(&[]);
    let post = |path: &str, body: Value| server.ask(&format!("POST {path}"), "", &body.to_string());
    let (status, tokens) = post("/tokenize", json!({ "prompt": QUESTION }));
    assert_eq!(status, 200, "{tokens}");
    let (_, text) = post("/detokenize", json!({ "tokens": tokens["tokens"] }));
    assert_eq!(text["prompt"], QUESTION);
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    let (_, of_chat) = post("/tokenize", json!({ "messages": messages }));
    let (_, answer) = server.chat(json!({ "model": "small", "max_tokens": 1 }));
    assert_eq!(answer["usage"]["prompt_tokens"], of_chat["count"]);
    let complete = |prompt: &Value| {
        let body = json!({ "model": "small", "prompt": prompt, "max_tokens": 8, "seed": 1 });
        let (status, answer) = post("/v1/completions", body);
        assert_eq!(status, 200, "{answer}");
        (answer["choices"][0]["text"].clone(), answer["usage"]["prompt_tokens"].clone())
    };
    assert_eq!(complete(&tokens["tokens"]), complete(&json!(QUESTION)));
    let (_, info) = server.ask("GET /tokenizer_info", "", "");
    assert!(info["eos_token"].is_string() && info["chat_template"].is_string(), "{info}");
    let (status, refused) = post("/v1/completions", json!({ "prompt": [9_999_999] }));
    assert_eq!((status, &refused["error"]["param"]), (400, &json!("prompt")));
}

#[test]
fn it_says_what_it_is_and_what_is_wrong_and_ends_in_order() {
    let server = Server::start(&["--max-body-bytes", "1024"]);
    for path in ["/health", "/ready"] {
        assert_eq!(server.ask(&format!("GET {path}"), "", ""), (200, json!({ "status": "ok" })));
    }
    let (status, models) = server.ask("GET /v1/models", "", "");
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!("specthink")));
    for (line, headers, body, status, code) in [
        ("POST /v1/chat/completions", "", "{".to_owned(), 400, "invalid_json"),
        ("POST /v1/chat/completions", "", "x".repeat(2000), 413, "body_too_large"),
        (
            "POST /v1/chat/completions",
            "",
            question(json!({ "model": "smal" })),
            404,
            "model_not_found",
        ),
        (
            "POST /v1/chat/completions",
            "",
            question(json!({ "tools": [1] })),
            400,
            "unsupported_field",
        ),
        (
            "GET /version",
            "origin: http://evil.example\r\n",
            String::new(),
            403,
            "origin_not_allowed",
        ),
    ] {
        let (found, error) = server.ask(line, headers, &body);
        assert_eq!((found, error["error"]["code"].as_str()), (status, Some(code)), "{error}");
    }
    server.process.signal(Signal::Terminate);
    let ended = server.process.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn off_loopback_it_wants_keys_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "ann s3cret\n").unwrap();
    let keys = keys.to_str().unwrap();
    let refused = |more: &[&str]| {
        let args = [&["serve", "--listen", "0.0.0.0:0"], more].concat();
        let ended = Process::spawn(SPECTHINK, &args, &[]).wait();
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(21), 1), "{ended:?}");
        ended.stderr
    };
    assert!(refused(&[]).contains("--api-key-file"));
    assert!(refused(&["--api-key-file", keys]).contains("--listen-tls-cert"));
    let server = Server::start(&["--api-key-file", keys]);
    let (status, error) = server.ask("GET /v1/models", "", "");
    assert_eq!((status, &error["error"]["code"]), (401, &json!("invalid_api_key")));
    let (status, _) = server.ask("GET /v1/models", "authorization: Bearer s3cret\r\n", "");
    assert_eq!(status, 200);
    assert_eq!(server.ask("GET /health", "", "").0, 200);
}

#[test]
fn a_configuration_file_says_what_flags_say_and_names_models() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serve.toml");
    let text = "listen = \"no address\"\nmax-answer-tokens = 40\njournal-dir = \"journals\"\n\
                [policies]\n\"team/thrifty\" = \"strict:target=share<=0%\"\n";
    std::fs::write(&file, text).unwrap();
    let server = Server::start(&["--config", file.to_str().unwrap()]);
    let (status, error) = server.chat(json!({ "max_tokens": 41 }));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("max_tokens")));
    let (_, model) = server.ask("GET /v1/models/team/thrifty", "", "");
    assert_eq!(model["specthink"]["policy"], "strict");
    let (status, answer) = server.chat(json!({ "model": "team/thrifty" }));
    let report = &answer["specthink"]["answers"][0];
    assert_eq!((status, &report["share"]), (200, &json!(0.0)), "{answer}");
    let journals = std::fs::read_dir(folder.path().join("journals")).unwrap();
    assert_eq!(journals.count(), 1, "beside the file");
}
