//! What is refused, and with which message.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use thinking::{
    testing::{Fault, FaultKind, Options, Script, ScriptedThinker},
    thinker::{Append, Code, Command, Event, Failure, Message, Prompt, Thinker},
};
use transport::{
    ClientTls, Remote, RemoteConfig, RemoteError, ServeError, ServerConfig, ServerTls, Token, bind,
};

use crate::support::{
    Gated, Node, Pki, card, failure, failure_of_open, next, open, opened, propose,
};

fn scripted() -> Arc<ScriptedThinker> {
    Arc::new(ScriptedThinker::new(Script::babble()))
}

/// Returns the failure of a session, which must be the same as that of a description.
async fn refusal(remote: &Remote) -> Failure {
    let failure = failure_of_open(remote).await;
    assert_eq!(remote.describe().await.unwrap_err(), failure);
    failure
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_named() {
    let thinker = scripted();
    let node = Node::with(thinker.clone(), |config| {
        config.token = Some(Token::new("s3cret").unwrap());
    })
    .await;
    let missing = refusal(&node.remote()).await;
    assert_eq!(missing.code, Code::Unauthenticated);
    assert_eq!(
        missing.message,
        format!(
            "http://127.0.0.1:{}: the node requires a token: give one with --token-file, or its own with \
             --small-token-file or --large-token-file",
            node.port
        )
    );
    let token = Some(Token::new("other").unwrap());
    let wrong = refusal(&Remote::new(RemoteConfig { token, ..node.config() }).unwrap()).await;
    assert_eq!(wrong.code, Code::Unauthenticated);
    assert!(wrong.message.contains("does not accept this token"), "{}", wrong.message);
    assert_eq!(thinker.started_sessions(), 0);
}

#[tokio::test]
async fn certificates_must_be_trusted_on_both_sides() {
    let (pki, other) = (Pki::new(), Pki::new());
    let node = Node::with(scripted(), |config| {
        config.tls = Some(ServerTls {
            cert: pki.file("server.pem"),
            key: pki.file("server.key"),
            client_ca: Some(pki.file("ca.pem")),
        });
    })
    .await;
    let remote = |host: &str, tls: ClientTls| {
        let address = format!("{host}:{}", node.port).parse().unwrap();
        Remote::new(RemoteConfig { tls, ..RemoteConfig::new(address) }).unwrap()
    };
    let identity = |pki: &Pki| Some((pki.file("client.pem"), pki.file("client.key")));
    let ca = |pki: &Pki| Some(pki.file("ca.pem"));
    for (host, tls, code, words) in [
        (
            "https://127.0.0.1",
            ClientTls { ca: ca(&other), identity: identity(&pki) },
            Code::Unauthenticated,
            "is not trusted",
        ),
        (
            "https://127.0.0.2",
            ClientTls { ca: ca(&pki), identity: identity(&pki) },
            Code::Unavailable,
            "cannot reach",
        ),
        (
            "https://127.0.0.1",
            ClientTls { ca: ca(&pki), identity: None },
            Code::Unauthenticated,
            "client certificate",
        ),
        (
            "https://127.0.0.1",
            ClientTls { ca: ca(&pki), identity: identity(&other) },
            Code::Unauthenticated,
            "check the client certificate",
        ),
        ("http://127.0.0.1", ClientTls::default(), Code::Unavailable, "https://"),
    ] {
        let failure = failure_of_open(&remote(host, tls)).await;
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
    let right = ClientTls { ca: ca(&pki), identity: identity(&pki) };
    assert_eq!(remote("https://127.0.0.1", right).describe().await.unwrap(), (1, card()));
}

#[tokio::test]
async fn what_is_wrong_with_a_nodes_certificate_is_told_with_its_mend() {
    let pki = Pki::new();
    pki.sign("expired", &["127.0.0.1"], |params| params.not_after = date_time_ymd(2024, 3, 1));
    pki.sign("early", &["127.0.0.1"], |params| params.not_before = date_time_ymd(2999, 1, 1));
    pki.sign("other", &["gpu.example.org", "10.0.0.7"], |_| {});
    let client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    pki.sign("client", &["127.0.0.1"], client);
    for (name, words) in [
        ("expired", "expired at 2024-03-01T00:00:00Z (it is "),
        ("early", "is valid from 2999-01-01T00:00:00Z on (it is "),
        ("other", "is not for 127.0.0.1 but for gpu.example.org, 10.0.0.7: "),
        ("client", "is not made for a server: "),
        ("ca", "is an authority's own: "),
    ] {
        let node = Node::with(scripted(), |config| {
            let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
            let (cert, key) = (pki.file(&cert), pki.file(&key));
            config.tls = Some(ServerTls { cert, key, client_ca: None });
        })
        .await;
        let address = format!("https://127.0.0.1:{}", node.port).parse().unwrap();
        let tls = ClientTls { ca: Some(pki.file("ca.pem")), identity: None };
        let remote = Remote::new(RemoteConfig { tls, ..RemoteConfig::new(address) }).unwrap();
        // The message contains the time, so two of them may differ.
        let failure = failure_of_open(&remote).await;
        assert_eq!(failure.code, Code::Unauthenticated, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert!(!failure.message.contains("--tls-ca"), "{failure}");
    }
}

#[tokio::test]
async fn tls_asked_of_a_node_without_it_says_so() {
    let (node, pki) = (Node::start(scripted()).await, Pki::new());
    let address = format!("https://127.0.0.1:{}", node.port).parse().unwrap();
    let tls = ClientTls { ca: Some(pki.file("ca.pem")), identity: None };
    let remote = Remote::new(RemoteConfig { tls, ..RemoteConfig::new(address) }).unwrap();
    let failure = refusal(&remote).await;
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains("does not speak TLS: write http://"), "{failure}");
}

#[tokio::test]
async fn plain_text_does_not_leave_the_machine_unasked() {
    let config = RemoteConfig::new("http://10.1.2.3:7102".parse().unwrap());
    let error = Remote::new(config.clone()).unwrap_err();
    assert!(matches!(error, RemoteError::Plaintext { .. }));
    assert!(error.to_string().contains("--insecure"), "{error}");
    assert!(Remote::new(RemoteConfig { insecure: true, ..config }).is_ok());

    let listener = bind("0.0.0.0:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = ServerConfig::new(card());
    let error = config.check(address).unwrap_err();
    assert!(matches!(error, ServeError::Plaintext { .. }));
    let line = error.to_string();
    assert!(line.contains("--tls-cert") && line.contains("--insecure"), "{line}");
    let served =
        transport::serve(listener, scripted(), config.clone(), std::future::pending()).await;
    assert!(matches!(served, Err(ServeError::Plaintext { .. })));
    assert!(ServerConfig { insecure: true, ..config }.check(address).is_ok());
}

const OLD_ENCRYPTED: &str = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED";

#[tokio::test]
async fn files_that_do_not_work_are_named() {
    let pki = Pki::new();
    let loopback = "127.0.0.1:7101".parse().unwrap();
    let check = |cert: PathBuf, key: PathBuf| {
        let tls = Some(ServerTls { cert, key, client_ca: None });
        ServerConfig { tls, ..ServerConfig::new(card()) }.check(loopback)
    };
    check(pki.file("server.pem"), pki.file("server.key")).unwrap();
    for client_ca in [None, Some(pki.file("ca.pem"))] {
        let (cert, key) = (pki.file("server.pem"), pki.file("server.key"));
        ServerTls { cert, key, client_ca }.for_http().unwrap();
    }
    let missing = pki.file("none.pem");
    let passphrase = "has a passphrase, which cannot be entered here";
    let encrypted = |name, begin: &str| {
        std::fs::write(pki.file(name), format!("{begin}\nMIH0\n")).unwrap();
        pki.file(name)
    };
    for (cert, key, words) in [
        (missing.clone(), pki.file("server.key"), "cannot read the certificate"),
        (pki.file("server.key"), pki.file("server.key"), "holds no certificate"),
        (pki.file("server.pem"), pki.file("server.pem"), "holds no private key"),
        (pki.file("server.pem"), pki.file("client.key"), "do not belong together"),
        (
            pki.file("server.pem"),
            encrypted("pkcs8", "-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            passphrase,
        ),
        (pki.file("server.pem"), encrypted("old", OLD_ENCRYPTED), passphrase),
    ] {
        let for_http =
            ServerTls { cert: cert.clone(), key: key.clone(), client_ca: None }.for_http();
        let lines = [check(cert, key).unwrap_err().to_string(), for_http.unwrap_err().to_string()];
        for line in lines {
            assert!(line.contains(words) && !line.contains('\n'), "{line}");
        }
    }
    let tls = ClientTls { ca: Some(missing), identity: None };
    let config = RemoteConfig::new("https://127.0.0.1:1".parse().unwrap());
    let line = Remote::new(RemoteConfig { tls, ..config }).unwrap_err().to_string();
    assert!(line.contains("none.pem"), "{line}");
}

#[tokio::test]
async fn a_taken_or_senseless_address_is_one_line() {
    let taken = bind("127.0.0.1:0").await.unwrap().local_addr().map(|a| a.to_string());
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(taken);
    let line = bind(&address).await.unwrap_err().to_string();
    assert!(line.starts_with(&format!("cannot listen on {address}: ")), "{line}");
    assert!(line.contains("in use") && line.contains("--listen"), "{line}");
    assert!(bind("nonsense").await.is_err());
}

#[tokio::test]
async fn a_message_over_the_limit_names_both_sizes_and_the_flag() {
    let append = |bytes: usize| Command::Append(Append::text("x".repeat(bytes)));
    let thinker = scripted();
    let node = Node::with(thinker.clone(), |config| config.max_message_bytes = 1000).await;

    // The node's limit is the lower one: the node refuses.
    let mut session = opened(&node.remote()).await;
    session.commands.send(append(5000)).await.unwrap();
    let refused = failure(&mut session).await;
    assert_eq!(refused.code, Code::MessageTooLarge);
    assert_eq!(
        refused.message,
        "a message of 5006 bytes is over the 1000 bytes of this node's limit; raise it with \
         --max-message-bytes on the node"
    );

    // The client's limit is the lower one: nothing is sent.
    let config = RemoteConfig { max_message_bytes: 900, ..node.config() };
    let mut session = opened(&Remote::new(config).unwrap()).await;
    session.commands.send(append(950)).await.unwrap();
    let refused = failure(&mut session).await;
    assert_eq!(refused.code, Code::MessageTooLarge);
    assert!(refused.message.contains("a message of 956 bytes"), "{refused}");
    assert!(refused.message.contains("limit of 900 bytes"), "{refused}");
    assert!(refused.message.contains("--max-message-bytes"), "{refused}");

    // A message of the node is over the client's limit.
    let long = ScriptedThinker::new(Script::lists([["y".repeat(3000)]]));
    let node = Node::start(Arc::new(long)).await;
    let config = RemoteConfig { max_message_bytes: 2000, ..node.config() };
    let mut session = opened(&Remote::new(config).unwrap()).await;
    session.commands.send(propose(1)).await.unwrap();
    let refused = failure(&mut session).await;
    assert_eq!(refused.code, Code::MessageTooLarge, "{refused}");
    assert!(refused.message.contains("2000 bytes of this program's limit"), "{refused}");
}

#[tokio::test]
async fn a_command_that_asks_for_too_much_does_not_reach_the_model() {
    let thinker = Gated::new();
    let node = Node::start(Arc::new(thinker.clone())).await;
    let Command::Open(mut huge) = open() else { unreachable!() };
    let message = Message { role: "user".into(), content: "x".into() };
    huge.prompt = Prompt::Messages(vec![message; 370_000]);
    let mut session = node.remote().session();
    session.commands.send(Command::Open(huge)).await.unwrap();
    let refused = failure(&mut session).await;
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(
        refused.message,
        "Open.messages holds 370000 messages, more than the limit of 1024; send fewer"
    );

    let Command::Propose(mut ask) = propose(9) else { unreachable!() };
    ask.stop = vec!["x".into(); 400_000];
    let mut session = opened(&node.remote()).await;
    thinker.allow(1);
    session.commands.send(Command::Propose(ask)).await.unwrap();
    let refused = failure(&mut session).await;
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(
        refused.message,
        "Propose.stop holds 400000 texts, more than the limit of 64; send fewer"
    );
    assert_eq!(thinker.computed(), 0);
}

#[tokio::test]
async fn one_session_too_many_is_refused_until_another_ends() {
    let thinker = scripted();
    let node = Node::with(thinker.clone(), |config| config.max_sessions = 1).await;
    let remote = node.remote();
    let first = opened(&remote).await;
    let refused = failure_of_open(&remote).await;
    assert_eq!(refused.code, Code::Overloaded);
    assert_eq!(refused.retry_after_ms, Some(1000));
    assert!(refused.message.contains("all 1 places"), "{refused}");
    // Describing takes no place.
    assert_eq!(remote.describe().await.unwrap().1, card());
    drop(first);
    let again = async {
        loop {
            let mut session = remote.session();
            session.commands.send(open()).await.unwrap();
            match next(&mut session).await {
                Some(Event::Opened(_)) => break,
                Some(Event::Failed(failure)) => assert_eq!(failure.code, Code::Overloaded),
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::SOON, again).await.unwrap();
}

#[tokio::test]
async fn a_thinkers_failure_arrives_as_it_was() {
    let message = "the text does not fit: 70000 of 32768 tokens";
    let failure_in =
        Failure { retry_after_ms: Some(5), ..Failure::new(Code::ContextTooLong, message) };
    let fault = |command, kind| Fault { session: None, command, after_tokens: 0, kind };
    let options = |fault| Options { faults: vec![fault], ..Options::default() };
    let failing = options(fault(1, FaultKind::Fail(failure_in.clone())));
    let node =
        Node::start(Arc::new(ScriptedThinker::with_options(Script::babble(), failing))).await;
    let mut session = opened(&node.remote()).await;
    session.commands.send(propose(5)).await.unwrap();
    assert_eq!(failure(&mut session).await, failure_in);

    // A Thinker that ends without an event is a defect, and reported as one.
    let vanishing = options(fault(1, FaultKind::Vanish));
    let node =
        Node::start(Arc::new(ScriptedThinker::with_options(Script::babble(), vanishing))).await;
    let mut session = opened(&node.remote()).await;
    session.commands.send(propose(5)).await.unwrap();
    assert_eq!(failure(&mut session).await.code, Code::Internal);
}
