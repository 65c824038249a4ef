//! The large model in a third-party server, which is asked directly.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use tokio::runtime::Runtime;
use upstream::{
    ServerKind,
    testing::{FakeFault, FakeOptions, FakePrefill, FakeServer, write_tokenizer},
};

use crate::{
    nodes::{command, served, small, specthink, stderr, stdout, to_its_end},
    refusals::refused,
};

fn options() -> FakeOptions {
    let answer = Some("Add 数学.\n\nHmm, yes 🙂\n\nSo 4.".to_owned());
    FakeOptions { answer, ..FakeOptions::new(ServerKind::LlamaCpp) }
}

fn server(runtime: &Runtime, options: FakeOptions) -> FakeServer {
    runtime.block_on(FakeServer::start(options))
}

#[test]
fn a_server_takes_over_as_a_node_does() {
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, small()), server(&runtime, options()));
    let arguments = [
        "ask",
        "--small",
        &small.url,
        "--large",
        &large.address(),
        "--large-model",
        "big",
        "2 + 2?",
    ];
    let output = specthink(&arguments, None);
    let error = stderr(&output);
    assert_eq!(
        stdout(&output),
        "Add 数学.\n\n⟦large: reflection⟧Hmm, yes 🙂\n\n⟦/⟧So 4.\n",
        "{error}"
    );
    assert!(output.status.success(), "{error}");
    assert!(error.contains(" by big") && !error.contains("degraded"), "{error}");
}

#[test]
fn one_that_breaks_off_in_a_takeover_is_survived() {
    let runtime = Runtime::new().unwrap();
    let faults = vec![("/completion", FakeFault::CutAfter(4))];
    let broken = server(&runtime, FakeOptions { faults, ..options() });
    let (small, whole) = (served(&runtime, small()), server(&runtime, options()));
    let nodes = ["ask", "--small", &small.url, "--large", &broken.address(), "2 + 2?"];
    let alone = specthink(&nodes, None);
    assert!(alone.status.success(), "{}", stderr(&alone));
    assert!(stderr(&alone).contains("degraded"), "{}", stderr(&alone));
    let spare = specthink(&[&nodes[..], &["--large", &whole.address()]].concat(), None);
    assert!(stdout(&spare).contains("Hmm, yes 🙂\n\n⟦/⟧So 4."), "{}", stdout(&spare));
    assert!(!stderr(&spare).contains("degraded"), "{}", stderr(&spare));
}

#[test]
fn its_key_is_in_a_file_and_its_table_says_how_it_is_asked() {
    let runtime = Runtime::new().unwrap();
    let key = Some("s3cret".to_owned());
    let large = server(&runtime, FakeOptions { key, ..options() });
    let small = served(&runtime, small());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("key"), "s3cret\n").unwrap();
    let table = format!(
        "[big]\naddress = \"{}\"\ntoken-file = \"key\"\nkind = \"llama-cpp\"\n",
        large.address()
    );
    std::fs::write(path("nodes.toml"), table).unwrap();
    for given in [
        vec![large.address(), "--large-token-file".to_owned(), path("key")],
        vec!["@big".to_owned(), "--endpoints".to_owned(), path("nodes.toml")],
    ] {
        let mut arguments =
            ["ask", "--small", &small.url, "2 + 2?", "--large"].map(str::to_owned).to_vec();
        arguments.extend(given);
        let output = specthink(&arguments, None);
        assert!(stdout(&output).contains("Hmm, yes"), "{}", stderr(&output));
        assert!(!stderr(&output).contains("s3cret"));
    }
}

#[test]
fn a_tokenizer_is_named_in_its_table_as_on_a_nodes_command_line() {
    let runtime = Runtime::new().unwrap();
    // This kind of server renders no messages, so it needs the tokenizer.
    let large = server(&runtime, FakeOptions { kind: ServerKind::Sglang, ..options() });
    let small = served(&runtime, small());
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("hub/models--owner--fake");
    let commit = "a".repeat(40);
    write_tokenizer(&repository.join("snapshots").join(&commit)).unwrap();
    std::fs::create_dir(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), &commit).unwrap();
    let ask = |tokenizer: &str, offline: &str| {
        let nodes = folder.path().join("nodes.toml");
        let table =
            format!("[big]\naddress = \"{}\"\ntokenizer = \"{tokenizer}\"\n", large.address());
        std::fs::write(&nodes, table).unwrap();
        let mut command = command();
        command.env("HF_HUB_CACHE", folder.path().join("hub")).env("HF_HUB_OFFLINE", offline);
        command.env("HF_ENDPOINT", "http://127.0.0.1:1");
        command.args(["ask", "--small", &small.url, "--large", "@big", "2 + 2?", "--endpoints"]);
        command.arg(&nodes);
        to_its_end(command, None)
    };
    let snapshot = format!("hub/models--owner--fake/snapshots/{commit}");
    for tokenizer in ["owner/fake", &snapshot, &format!("{snapshot}/tokenizer.json")] {
        let output = ask(tokenizer, "1");
        assert!(stdout(&output).contains("Hmm, yes 🙂"), "{tokenizer}: {}", stderr(&output));
    }
    for (tokenizer, offline, code, words) in [
        ("owner/other", "1", 2, "owner/other is not complete in the cache"),
        ("owner/other", "0", 23, "cannot reach the model hub at http://127.0.0.1:1"),
        (
            "other/tokenizer.json",
            "1",
            2,
            "'other/tokenizer.json' is neither an existing file or folder",
        ),
    ] {
        let output = ask(tokenizer, offline);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{error}");
        let begin = format!("error: the tokenizer of {}: ", large.address());
        assert!(error.starts_with(&begin) && error.contains(words), "{error}");
    }
}

#[test]
fn a_server_of_chats_is_named_in_its_table_and_refused_where_it_answers_anew() {
    let runtime = Runtime::new().unwrap();
    let small = served(&runtime, small());
    let folder = tempfile::tempdir().unwrap();
    let nodes = folder.path().join("nodes.toml");
    for (prefill, is_exact) in [(FakePrefill::Exact, true), (FakePrefill::NewTurn, false)] {
        let large =
            server(&runtime, FakeOptions { kind: ServerKind::ChatPrefix, prefill, ..options() });
        let table = format!(
            "[big]\naddress = \"{}\"\nkind = \"chat-prefix\"\nlenient = true\n",
            large.address()
        );
        std::fs::write(&nodes, table).unwrap();
        let place = ["--large", "@big", "--endpoints", nodes.to_str().unwrap()];
        let output =
            specthink(&[&["ask", "--small", &small.url, "2 + 2?"], &place[..]].concat(), None);
        let error = stderr(&output);
        assert!(output.status.success(), "{error}");
        if is_exact {
            assert!(stdout(&output).contains("⟦large: reflection⟧Hmm, yes 🙂"), "{error}");
        } else {
            assert!(error.contains("begins a new turn") && error.contains("degraded"), "{error}");
        }
    }
}

#[test]
fn the_one_secret_for_all_is_shown_to_the_first_server_alone() {
    let runtime = Runtime::new().unwrap();
    let faults = vec![("/completion", FakeFault::CutAfter(4))];
    let first = server(&runtime, FakeOptions { faults, ..options() });
    let (small, second) = (served(&runtime, small()), server(&runtime, options()));
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "s3cret\n").unwrap();
    let large = ["--large", &first.address(), "--large", &second.address()];
    let flags = ["ask", "--small", &small.url, "--token-file", key.to_str().unwrap(), "2 + 2?"];
    let output = specthink(&[&flags[..], &large].concat(), None);
    assert!(stdout(&output).contains("Hmm, yes"), "{}", stderr(&output));
    let shown = |server: &FakeServer| {
        let requests = server.requests();
        assert!(!requests.is_empty());
        requests.iter().filter(|one| one.authorization.is_some()).count()
    };
    assert!(shown(&first) > 0);
    assert_eq!(shown(&second), 0);
}

#[test]
fn a_server_of_another_model_ends_a_run_before_its_first_question() {
    let runtime = Runtime::new().unwrap();
    let (small, large) =
        (served(&runtime, small()), server(&runtime, FakeOptions::new(ServerKind::Vllm)));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data.jsonl");
    std::fs::write(&data, "{\"id\":\"a\",\"question\":\"2+2?\",\"answer\":\"4\"}\n").unwrap();
    let (data, large) = (data.to_str().unwrap(), large.address());
    let nodes = ["--small", &small.url, "--large", &large, "--large-model", "another"];
    let words = [&*format!("large node: {large} does not serve \"another\""), "write fake"];
    refused(&[&["eval", data], &nodes[..]].concat(), None, 15, &words);
}

#[test]
fn an_address_that_is_none_is_one_line() {
    let usage =
        |place: &str, words: &[&str]| refused(&["ask", "--large", place, "x"], None, 2, words);
    usage("openai+127.0.0.1:8000", &["it has no scheme", "write openai+http://HOST:PORT/v1"]);
    usage("openai+http://127.0.0.1:8000/docs", &["its path /docs is not an API's"]);
    usage("openai+http://gpu.example.org:8000", &["plain text", "--insecure"]);
}

#[test]
fn a_small_server_that_is_not_there_is_one_line() {
    let nodes = ["ask", "--policy", "small-only", "--small", "openai+http://127.0.0.1:1", "x"];
    refused(&nodes, None, 7, &["small node: openai+http://127.0.0.1:1/v1 cannot be reached"]);
}

#[test]
fn a_proxy_is_honoured_but_for_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let (told, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let answer =
                "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            // The client may have gone away.
            let _ = (&stream).write_all(answer.as_bytes());
            told.send(line).unwrap();
        }
    });
    let runtime = Runtime::new().unwrap();
    let (small, large) = (served(&runtime, small()), server(&runtime, options()));
    let ask = |large: &str| {
        let mut command = command();
        command.args(["ask", "--small", &small.url, "--large", large, "--insecure", "2 + 2?"]);
        command.env_remove("http_proxy").env_remove("NO_PROXY").env_remove("no_proxy");
        command.env("HTTP_PROXY", &proxy);
        to_its_end(command, None)
    };
    let here = ask(&large.address());
    assert!(stdout(&here).contains("Hmm, yes"), "{}", stderr(&here));
    assert!(asked.try_recv().is_err(), "nothing went through the proxy");
    let elsewhere = ask("openai+http://gpu.invalid:8000/v1");
    let line = asked.try_recv().unwrap();
    assert_eq!(line, "GET http://gpu.invalid:8000/v1/models HTTP/1.1\r\n");
    let error = stderr(&elsewhere);
    assert!(error.contains("is a proxy with no server behind it"), "{error}");
}
