//! The life of a node's process: its start, its output, its answers, its end.

use std::{fs, net::TcpListener, path::PathBuf};

use node::{LocalNode, ModelSource, NodeConfig, NodeExit};
use proto::v1::{DescribeRequest, thinker_client::ThinkerClient};
use tests::{Process, Signal, fixture};
use thinking::thinker::{
    Command, Event, Open, Prompt, Sampling, Session, Thinker as _, ThoughtStart,
};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use transport::{ClientTls, Remote, RemoteConfig, Token};

use crate::{
    LARGE, SMALL,
    fake_hub::{FakeHub, REPO},
};

fn remote(url: &str) -> Remote {
    Remote::new(RemoteConfig::new(url.parse().unwrap())).unwrap()
}

/// Opens a session and waits until it is accepted.
async fn open(remote: &Remote) -> Session {
    let mut session = remote.session();
    let open = Open {
        question_id: "test".to_owned(),
        prompt: Prompt::Raw("Hello".to_owned()),
        committed: String::new(),
        sampling: Sampling::default(),
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    };
    session.commands.send(Command::Open(open)).await.unwrap();
    match session.events.recv().await {
        Some(Event::Opened(_)) => session,
        other => panic!("not opened: {other:?}"),
    }
}

#[tokio::test]
async fn both_nodes_load_say_what_they_loaded_and_answer() {
    for (program, model, family) in [(SMALL, "tiny-qwen2", "qwen2"), (LARGE, "tiny-llama", "llama")]
    {
        let node = Process::node(program, fixture(model).as_os_str(), &["--name", "tester"]);
        let said = node.stdout();
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said[0].starts_with(&format!("model tester: {family} family, ")), "{said:?}");
        assert!(said[1].starts_with("memory: weights ") && said[1].contains("each session up to"));
        assert_eq!(said[2], "device: cpu, 1 CPU threads");

        let url = node.url();
        let mut client = ThinkerClient::connect(url.clone()).await.unwrap();
        let answer = client.describe(DescribeRequest {}).await.unwrap().into_inner();
        assert_eq!(answer.protocol_version, 1);
        let card = answer.model.unwrap();
        assert_eq!((card.name.as_str(), card.family.as_str()), ("tester", family));

        let mut health = HealthClient::new(channel(&url).await);
        let request = HealthCheckRequest { service: "specthink.v1.Thinker".to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
        assert!(services(&url).await.contains(&"specthink.v1.Thinker".to_owned()));

        node.signal(Signal::Terminate);
        let ended = node.wait();
        assert_eq!(ended.code, Some(NodeExit::Ok as i32), "{ended:?}");
    }
}

async fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap()
}

async fn services(url: &str) -> Vec<String> {
    let mut client = ServerReflectionClient::new(channel(url).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("not a list of services: {other:?}"),
    }
}

// Two threads: the client must keep running while the test waits for the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_signal_lets_sessions_end_and_a_second_does_not() {
    let model = fixture("tiny-llama");
    // The session ends during the drain.
    let node = Process::node(SMALL, model.as_os_str(), &["--drain", "1h"]);
    let session = open(&remote(&node.url())).await;
    node.signal(Signal::Terminate);
    drop(session);
    let ended = node.wait();
    assert_eq!(ended.code, Some(NodeExit::Ok as i32), "{ended:?}");
    assert!(ended.stderr.contains("stopping: no new sessions, running ones have 1h"), "{ended:?}");

    // The drain time is over before the session ends.
    let node = Process::node(SMALL, model.as_os_str(), &["--drain", "50ms"]);
    let mut session = open(&remote(&node.url())).await;
    node.signal(Signal::Interrupt);
    assert_eq!(node.wait().code, Some(NodeExit::Ok as i32));
    loop {
        match session.events.recv().await {
            Some(Event::Failed(_)) => break,
            Some(_) => {}
            None => panic!("a session ends with an event that says why"),
        }
    }

    // A second signal waits for nothing.
    let node = Process::node(SMALL, model.as_os_str(), &["--drain", "1h"]);
    let remote = remote(&node.url());
    let _session = open(&remote).await;
    node.signal(Signal::Terminate);
    // Once new sessions are refused, the node has handled the first signal.
    while !refused(&remote).await {}
    node.signal(Signal::Interrupt);
    let ended = node.wait();
    assert_eq!(ended.code, Some(NodeExit::Forced as i32), "{ended:?}");
}

async fn refused(remote: &Remote) -> bool {
    let mut session = remote.session();
    let open = Open {
        question_id: "probe".to_owned(),
        prompt: Prompt::Raw("Hello".to_owned()),
        committed: String::new(),
        sampling: Sampling::default(),
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    };
    // A session that is refused at once may be closed before anything is sent on it.
    let _ = session.commands.send(Command::Open(open)).await;
    matches!(session.events.recv().await, Some(Event::Failed(_)) | None)
}

#[tokio::test]
async fn a_signal_ends_a_node_that_waits_for_the_hub() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let home = tempfile::tempdir().unwrap();
    let env = [("HF_ENDPOINT", endpoint.as_str()), ("HF_HOME", home.path().to_str().unwrap())];
    let node = Process::spawn(SMALL, &["--model", "a/b", "--listen", "127.0.0.1:0"], &env);
    let waiting = silent.accept().unwrap();
    node.signal(Signal::Terminate);
    let ended = node.wait();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "stopped while loading\n"));
    drop(waiting);
}

#[tokio::test]
async fn a_model_by_name_is_downloaded_once_and_then_found_offline() {
    let names = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let files: Vec<(&str, Vec<u8>)> = names
        .into_iter()
        .map(|name| (name, fs::read(fixture("tiny-qwen2").join(name)).unwrap()))
        .collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, &text[..])).collect();
    let hub = FakeHub::start(&files, &["model.safetensors"]).await;
    hub.with(|state| state.cuts = vec![100]);
    let home = tempfile::tempdir().unwrap();
    let endpoint = format!("http://{}", hub.address);
    let env = [("HF_ENDPOINT", endpoint.as_str()), ("HF_HOME", home.path().to_str().unwrap())];
    let start = |more: &'static [&'static str]| {
        let args = [&["--model", REPO, "--listen", "127.0.0.1:0", "--threads", "1"], more].concat();
        let mut node = Process::spawn(SMALL, &args, &env);
        // Wait on a thread that may block: the fake hub runs on this test's own thread.
        tokio::task::spawn_blocking(move || {
            node.wait_for("listening on ");
            node
        })
    };
    let node = start(&[]).await.unwrap();
    assert!(node.stdout()[0].starts_with("model tiny/model: qwen2 family"), "{:?}", node.stdout());
    node.signal(Signal::Terminate);
    let ended = node.wait();
    assert!(ended.stderr.contains("model.safetensors: 100 %"), "{ended:?}");
    // The transfer of the first file was cut once; only the rest was requested, not the whole file again.
    assert!(hub.seen().iter().any(|line| line.ends_with("/config.json bytes=100-")));
    drop(hub);
    let node = start(&["--offline"]).await.unwrap();
    node.signal(Signal::Terminate);
    let ended = node.wait();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("config.json"), "{ended:?}");
}

#[tokio::test]
async fn a_model_that_was_damaged_in_the_cache_is_downloaded_again_at_the_next_start() {
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let files = names.map(|name| (name, fs::read(fixture("tiny-qwen2").join(name)).unwrap()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, &text[..])).collect();
    let hub = FakeHub::start(&files, &["model.safetensors"]).await;
    let home = tempfile::tempdir().unwrap();
    let (endpoint, home) = (format!("http://{}", hub.address), home.path().to_owned());
    let start = || {
        let (endpoint, home) = (endpoint.clone(), home.clone());
        tokio::task::spawn_blocking(move || {
            let env = [("HF_ENDPOINT", endpoint.as_str()), ("HF_HOME", home.to_str().unwrap())];
            let args = ["--model", REPO, "--listen", "127.0.0.1:0", "--threads", "1"];
            let mut node = Process::spawn(SMALL, &args, &env);
            node.wait_for("listening on ");
            node.signal(Signal::Terminate);
            node.wait()
        })
    };
    assert_eq!(start().await.unwrap().code, Some(0));
    let snapshot = home.join("hub/models--tiny--model/snapshots").join("c".repeat(40));
    let weights = fs::canonicalize(snapshot.join("model.safetensors")).unwrap();
    fs::File::options().write(true).open(&weights).unwrap().set_len(1000).unwrap();
    hub.seen();
    let ended = start().await.unwrap();
    let notes = ended.stderr;
    assert!(notes.contains("damaged, downloading again: model.safetensors\n"), "{notes}");
    assert_eq!(fs::read(&weights).unwrap(), files[1].1);
}

#[tokio::test]
async fn a_node_with_tls_and_a_token_serves_those_who_have_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .unwrap();
    fs::write(path("cert.pem"), key.cert.pem()).unwrap();
    fs::write(path("key.pem"), key.signing_key.serialize_pem()).unwrap();
    fs::write(path("token"), "s3cret\n").unwrap();
    let text = |name: &str| path(name).display().to_string();
    let (cert, key, token) = (text("cert.pem"), text("key.pem"), text("token"));
    let args = ["--tls-cert", &cert, "--tls-key", &key, "--token-file", &token];
    let node = Process::node(LARGE, fixture("tiny-llama").as_os_str(), &args);
    assert!(node.url().starts_with("https://127.0.0.1:"), "{}", node.url());

    let client = |ca: bool, token: Option<&str>| {
        let mut config = RemoteConfig::new(node.url().parse().unwrap());
        config.tls = ClientTls { ca: ca.then(|| path("cert.pem")), identity: None };
        config.token = token.map(|token| Token::new(token).unwrap());
        Remote::new(config).unwrap()
    };
    client(true, Some("s3cret")).describe().await.unwrap();
    for (ca, token) in [(true, None), (true, Some("wrong")), (false, Some("s3cret"))] {
        let line = client(ca, token).describe().await.unwrap_err().to_string();
        assert!(!line.contains('\n') && !line.contains("s3cret"), "{line}");
    }
}

#[tokio::test]
async fn a_node_inside_another_program_is_the_same_node() {
    let config = |model: PathBuf| NodeConfig {
        context_tokens: Some(64),
        ..NodeConfig::local(ModelSource::Path(model))
    };
    let node = LocalNode::start(config(fixture("tiny-llama"))).await.unwrap();
    let (version, card) = remote(node.url()).describe().await.unwrap();
    assert_eq!((version, card.context_tokens, card.name.as_str()), (1, 64, "tiny-llama"));
    assert_eq!(&card, node.card());
    node.stop().await.unwrap();
    let missing = LocalNode::start(config("/no/model.gguf".into())).await;
    assert_eq!(missing.unwrap_err().exit(), NodeExit::ModelNotFound);
}

#[test]
fn help_teaches_and_lists_every_exit_code() {
    for (program, port) in [(SMALL, "127.0.0.1:7101"), (LARGE, "127.0.0.1:7102")] {
        let ended = Process::spawn(program, &["--help"], &[]).wait();
        assert_eq!(ended.code, Some(0));
        let help = ended.stdout.join("\n");
        assert!(help.contains(port) && help.contains("Examples:"), "{help}");
        for &exit in NodeExit::ALL {
            assert!(help.contains(exit.meaning()), "{exit:?} is not in the help");
        }
        assert!(help.contains("[default: the built-in model specthink-arithmetic-"), "{help}");
    }
}

#[test]
fn the_documentation_lists_every_flag_and_exit_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/nodes.md");
    let text = fs::read_to_string(path).unwrap();
    for &exit in NodeExit::ALL {
        let row = format!("| {} | {} |", exit as i32, exit.meaning());
        assert!(text.contains(&row), "docs/nodes.md lacks: {row}");
    }
    let command = node::command(&small_node::DEFAULTS);
    for flag in command.get_arguments().filter_map(|arg| arg.get_long()) {
        assert!(
            text.contains(&format!("--{flag}")) || flag == "verbose",
            "no --{flag} in the docs"
        );
    }
}
