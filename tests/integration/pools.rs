//! Three small and three large nodes behind one server, which are killed, hung, drained and restarted while questions
//! are answered. Every question is answered, nothing that was shown changes, and no answer lacks a large model.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{Process, Signal};

use crate::{LARGE, SMALL, SPECTHINK, serve::send};

const QUESTIONS: usize = 200;
/// How many questions run at a time.
const PARALLEL: usize = 4;
/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that can be restarted on its port.
struct Node {
    program: &'static str,
    place: String,
    process: Option<Process>,
}

impl Node {
    fn start(program: &'static str) -> Node {
        let mut node = Node { program, place: "127.0.0.1:0".to_owned(), process: None };
        node.again();
        let url = node.process.as_ref().map(Process::url).unwrap_or_default();
        node.place = url.trim_start_matches("http://").to_owned();
        node
    }

    fn again(&mut self) {
        let args = ["--listen", &self.place, "--threads", "1", "--heartbeat", "500ms"];
        let mut process = Process::spawn(self.program, &args, &[]);
        process.wait_for("listening on ");
        self.process = Some(process);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    fn kill(&mut self) {
        self.process = None;
    }

    /// Makes it drain and exit.
    fn drain(&mut self) {
        self.signal(Signal::Terminate);
        if let Some(process) = self.process.take() {
            assert_eq!(process.wait().code, Some(0), "it drained");
        }
    }
}

/// The server, as seen by its clients.
struct Server {
    address: String,
}

impl Server {
    fn start(small: &[Node], large: &[Node], journals: &str) -> (Server, Process) {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--journal-dir", journals];
        // After this long a hung node is given up.
        args.extend(["--small-timeout", "3s", "--large-timeout", "3s"]);
        args.extend(["--max-requests", "16"]);
        args.extend(small.iter().flat_map(|node| ["--small", node.place.as_str()]));
        args.extend(large.iter().flat_map(|node| ["--large", node.place.as_str()]));
        let mut process = Process::spawn(SPECTHINK, &args, &[]);
        let url = process.wait_for("listening on ");
        (Server { address: url.trim_start_matches("http://").to_owned() }, process)
    }

    fn get(&self, path: &str) -> String {
        let mut response = String::new();
        send(&self.address, &format!("GET {path}"), "", "").read_to_string(&mut response).unwrap();
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Asks a question. Returns the text as it was shown, and the last event, which has the summary.
    fn ask(&self, number: usize) -> (String, Value) {
        let question =
            format!("Start with {}. Add 58. Multiply by 2. What is the result?", number + 100);
        let body = json!({ "stream": true, "seed": number, "specthink": { "reasoning": "inline" },
            "messages": [{ "role": "user", "content": question }] });
        let stream = send(&self.address, "POST /v1/chat/completions", "", &body.to_string());
        let (mut text, mut last) = (String::new(), Value::Null);
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else {
                continue;
            };
            let event: Value = serde_json::from_str(data).unwrap();
            text += event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            last = event;
        }
        (text, last)
    }

    /// Waits until the server reports this state of a node. A node that was set aside comes back by a question that
    /// tries it, so some are asked: all others may be answered already.
    fn wait_for(&self, node: &Node, is_up: u8) {
        let deadline = Instant::now() + PATIENCE;
        let line = format!("node=\"http://{}\"}} {is_up}", node.place);
        let is_said = || {
            let metrics = self.get("/metrics");
            metrics.lines().any(|it| it.starts_with("specthink_node_up{") && it.ends_with(&line))
        };
        while !is_said() {
            assert!(Instant::now() < deadline, "no {line} in {}", self.get("/metrics"));
            if is_up == 1 {
                self.ask(0);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What happens to the nodes while questions are answered. At any time at least one small and one large node work.
fn trouble(small: &mut [Node; 3], large: &mut [Node; 3], server: &Server, passed: impl Fn(usize)) {
    passed(10);
    small[0].kill();
    large[0].kill();
    passed(30);
    large[1].drain();
    small[0].again();
    large[0].again();
    server.wait_for(&large[0], 1);
    passed(60);
    large[2].signal(Signal::Stop);
    small[1].signal(Signal::Stop);
    server.wait_for(&large[2], 0);
    large[1].again();
    server.wait_for(&large[1], 1);
    passed(100);
    large[2].signal(Signal::Continue);
    small[1].signal(Signal::Continue);
    server.wait_for(&large[2], 1);
    passed(130);
    large[0].kill();
    large[1].kill();
    small[0].drain();
    small[1].kill();
    passed(170);
    large[0].again();
    small[0].again();
}

#[test]
fn every_question_is_answered_whatever_becomes_of_nodes() {
    let mut small = [SMALL; 3].map(Node::start);
    let mut large = [LARGE; 3].map(Node::start);
    let journals = tempfile::tempdir().unwrap();
    let (server, _process) = Server::start(&small, &large, journals.path().to_str().unwrap());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let answers = Mutex::new(Vec::new());
    let passed = |count: usize| {
        while done.load(Ordering::Relaxed) < count {
            thread::sleep(Duration::from_millis(5));
        }
    };
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= QUESTIONS {
                        return;
                    }
                    let answer = server.ask(number);
                    answers.lock().unwrap().push((number, answer));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        trouble(&mut small, &mut large, &server, passed);
    });
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers.len(), QUESTIONS);
    let (mut resumed, mut taken_over) = (0, 0);
    for (number, (shown, last)) in &answers {
        assert_eq!(last["choices"][0]["finish_reason"], "stop", "{number}: {shown:?}, {last}");
        let summary = &last["specthink"]["answers"][0]["summary"];
        assert_eq!(summary["degraded"], Value::Null, "{number}: {summary}");
        let id = last["specthink"]["answers"][0]["id"].as_str();
        let id = id.unwrap_or_else(|| panic!("{number}: {last}"));
        let written: Value =
            serde_json::from_str(&server.get(&format!("/v1/answers/{id}"))).unwrap();
        let text = written["choices"][0]["message"]["content"].as_str();
        assert_eq!(text, Some(shown.as_str()), "{number}");
        let resumes = ["resumes", "large_resumes"].map(|key| summary[key].as_u64().unwrap_or(0));
        resumed += resumes.iter().sum::<u64>();
        taken_over += usize::from(summary["takeovers"].as_array().is_some_and(|it| !it.is_empty()));
    }
    assert!(resumed > 0, "answers were on their way to nodes that ended");
    assert!(taken_over > QUESTIONS / 2, "{taken_over}");
}
