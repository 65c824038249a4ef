//! What operators see of the programs: metrics, readiness, and logs without any text of users.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use metrics::testing::Exposition;
use node::NodeExit;
use serde_json::{Value, json};
use tests::{Process, Signal, fixture};
use thinking::thinker::{
    Command, Event, Open, Prompt, Propose, Sampling, Session, Thinker as _, ThoughtStart,
};
use transport::{Remote, RemoteConfig};
use upstream::{
    ServerKind,
    testing::{FakeOptions, FakeServer},
};

use crate::{LARGE, SMALL, SPECTHINK};

pub(crate) const ANY_PORT: &str = "127.0.0.1:0";

/// Returns the status and the body at an address.
fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"))
}

pub(crate) fn ask(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Returns a node's metrics, and checks that docs/observability.md names all of them.
fn read(address: &str) -> Exposition {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200, "{text}");
    let read = Exposition::read(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/observability.md");
    let docs = fs::read_to_string(path).unwrap();
    for name in read.names() {
        assert!(docs.contains(&format!("`{name}`")), "docs/observability.md lacks {name}");
    }
    read
}

/// Returns the address of a node's metrics, from the line that it prints.
fn metrics_of(node: &Process) -> String {
    let line = node.stdout().iter().find_map(|line| line.strip_prefix("metrics on http://"));
    line.and_then(|line| line.strip_suffix("/metrics")).unwrap().to_owned()
}

/// Opens a session and lets it write a few tokens.
async fn write(url: &str) -> Session {
    let remote = Remote::new(RemoteConfig::new(url.parse().unwrap())).unwrap();
    let mut session = remote.session();
    let open = Open {
        question_id: "test".to_owned(),
        prompt: Prompt::Raw("Hello".to_owned()),
        committed: String::new(),
        sampling: Sampling { top_k: 0, ..Sampling::default() },
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    };
    let stop = Vec::new();
    let propose = Propose { max_tokens: 5, stop, watch: None, seed: 1, report_entropy: false };
    session.commands.send(Command::Open(open)).await.unwrap();
    session.commands.send(Command::Propose(propose)).await.unwrap();
    loop {
        match session.events.recv().await {
            Some(Event::Finished(_)) => return session,
            Some(Event::Failed(failure)) => panic!("{failure}"),
            Some(_) => {}
            None => panic!("the session ended"),
        }
    }
}

// Two threads: the client must keep running while the test waits for the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_shows_its_numbers_and_whether_it_is_ready() {
    let args = ["--metrics", ANY_PORT, "--drain", "1h"];
    let node = Process::node(SMALL, fixture("tiny-llama").as_os_str(), &args);
    let (url, address) = (node.url(), metrics_of(&node));
    while get(&address, "/readyz").0 != 200 {}
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(&address, "/").0, 404);
    assert_eq!(ask(&address, "POST /metrics HTTP/1.0\r\n\r\n").0, 405);
    let before = read(&address);
    let zero = |name: &str| assert_eq!(before.sum(name), 0.0, "{name}");
    zero("specthink_node_tokens_total");
    zero("specthink_engine_step_seconds_count");
    zero("specthink_node_network_bytes_total");

    let session = write(&url).await;
    let now = read(&address);
    let decoded = now.value("specthink_node_tokens_total", &[("kind", "decoded")]).unwrap();
    assert!((1.0..=5.0).contains(&decoded), "{now:?}");
    let prefilled = now.value("specthink_node_tokens_total", &[("kind", "prefilled")]);
    assert!(prefilled > Some(0.0), "{now:?}");
    for (name, value) in [
        ("specthink_node_sessions", 1.0),
        ("specthink_node_connections", 1.0),
        ("specthink_node_connections_total", 1.0),
        ("specthink_node_proposals", 0.0),
        ("specthink_node_ready", 1.0),
        ("specthink_node_draining", 0.0),
        ("gen_ai_server_time_to_first_token_seconds_count", 1.0),
        ("gen_ai_server_request_duration_seconds_count", 1.0),
    ] {
        assert_eq!(now.sum(name), value, "{name}: {now:?}");
    }
    let steps = |work| now.value("specthink_engine_step_seconds_count", &[("work", work)]);
    assert!(steps("prefill") > Some(0.0), "{now:?}");
    let (held, limit) = ("specthink_engine_kv_bytes", "specthink_engine_kv_limit_bytes");
    assert!(now.sum(held) > 0.0 && now.sum(held) <= now.sum(limit), "{now:?}");
    for direction in ["sent", "received"] {
        let bytes = now.value("specthink_node_network_bytes_total", &[("direction", direction)]);
        assert!(bytes > Some(50.0), "{direction}: {now:?}");
    }

    node.signal(Signal::Terminate);
    while get(&address, "/readyz") != (503, "draining\n".to_owned()) {}
    assert_eq!(read(&address).sum("specthink_node_draining"), 1.0);
    assert_eq!(get(&address, "/healthz").0, 200, "it is alive");
    drop(session);
    let ended = node.wait();
    assert_eq!(ended.code, Some(NodeExit::Ok as i32), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_before_a_server_counts_what_goes_there() {
    let server = FakeServer::start(FakeOptions::new(ServerKind::LlamaCpp)).await;
    let started = server.address();
    let node = tokio::task::spawn_blocking(move || {
        let args = ["--upstream", &started, "--listen", ANY_PORT, "--metrics", ANY_PORT];
        let mut node = Process::spawn(LARGE, &args, &[]);
        node.wait_for("listening on ");
        node
    });
    let node = node.await.unwrap();
    drop(write(&node.url()).await);
    let address = metrics_of(&node);
    let at = address.clone();
    let numbers = tokio::task::spawn_blocking(move || {
        assert_eq!(get(&at, "/readyz"), (200, "ready\n".to_owned()));
        read(&at)
    });
    let numbers = numbers.await.unwrap();
    assert!(numbers.sum("specthink_node_upstream_requests_total") > 0.0, "{numbers:?}");
    assert!(numbers.sum("specthink_node_upstream_bytes_total") > 0.0, "{numbers:?}");
    let decoded = numbers.value("specthink_node_tokens_total", &[("kind", "decoded")]);
    assert_eq!(decoded, Some(5.0), "{numbers:?}");
    drop(server);
    let gone = tokio::task::spawn_blocking(move || {
        while get(&address, "/readyz") != (503, "server away\n".to_owned()) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert_eq!(get(&address, "/healthz").0, 200, "the node itself is alive");
    });
    gone.await.unwrap();
}

#[test]
fn connections_that_say_nothing_keep_nobody_from_a_nodes_numbers() {
    let args = ["--metrics", ANY_PORT];
    let node = Process::node(SMALL, fixture("tiny-llama").as_os_str(), &args);
    let address = metrics_of(&node);
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(get(&address, "/healthz").0, 200);
    drop(silent);
}

#[test]
fn an_address_for_numbers_that_cannot_be_used_is_one_line() {
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for address in [taken.as_str(), "nonsense"] {
        let args = ["--listen", ANY_PORT, "--metrics", address];
        let ended = Process::spawn(SMALL, &args, &[]).wait();
        assert_eq!(ended.code, Some(NodeExit::Address as i32), "{ended:?}");
        let line = ended.line("small-node");
        assert!(line.contains(address) && line.contains("--metrics"), "{line}");
    }
}

/// Checks that every line is one object and none contains the secret. Returns the lines about a question.
fn logged(program: &str, log: &str, secret: &str) -> Vec<Value> {
    let mut about = Vec::new();
    for line in log.lines() {
        let lower = line.to_lowercase();
        assert!(!lower.contains(secret), "{program} logs a question: {line}");
        // What a program prints for the user who started it is not part of the log.
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            assert!(!line.starts_with('{'), "{program}: {line}");
            continue;
        };
        let is_about = |fields: &Value| fields["question_id"].is_string();
        let spans = line["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        if is_about(&line["fields"]) || spans.iter().any(is_about) {
            about.push(line);
        }
    }
    about
}

#[test]
fn no_log_says_what_was_asked_however_much_is_logged() {
    let secret = "periwinkle hedgehog";
    let trace = [("SPECTHINK_LOG", "trace"), ("SPECTHINK_LOG_FORMAT", "json")];
    let start = |program| {
        let mut node = Process::spawn(program, &["--listen", ANY_PORT], &trace);
        node.wait_for("listening on ");
        node
    };
    let (small, large) = (start(SMALL), start(LARGE));
    let (at_small, at_large) = (small.url(), large.url());
    let args = ["serve", "--log-format", "json", "--listen", ANY_PORT, "--small", &at_small];
    let args = [&args[..], &["--large", &at_large]].concat();
    let mut server = Process::spawn(SPECTHINK, &args, &trace[..1]);
    let url = server.wait_for("listening on ");
    let address = url.strip_prefix("http://").unwrap();
    let content = format!("{secret}: Start with 303. Add 58. Subtract 114. What is the result?");
    let body = json!({ "messages": [{ "role": "user", "content": content }], "seed": 1 });
    let (body, length) = (body.to_string(), body.to_string().len());
    let (status, answer) = ask(
        address,
        &format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: \
             {length}\r\n\r\n{body}"
        ),
    );
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let id = &answer["specthink"]["answers"][0]["id"];
    for (program, process) in [("specthink", server), ("small-node", small), ("large-node", large)]
    {
        process.signal(Signal::Terminate);
        let log = process.wait().stderr;
        let about = logged(program, &log, secret);
        let is_it = |line: &Value| line.to_string().contains(id.as_str().unwrap());
        assert!(about.iter().any(is_it), "{program} logs nothing about {id}");
    }
}
