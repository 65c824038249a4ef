//! A node on a free port, its certificates, and Thinkers for tests.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use thinking::thinker::{
    Command, Delta, Event, Failure, ModelCard, Open, Opened, Prompt, Propose, Sampling, Session,
    SessionServer, TextHash, Thinker, ThoughtStart, Warmed,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use transport::{Remote, RemoteConfig, ServeError, ServerConfig, bind, serve};

/// A bound on waits that end much sooner unless something is broken.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A node that serves a Thinker on a free port of 127.0.0.1.
pub(crate) struct Node {
    pub(crate) port: u16,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<Result<(), ServeError>>,
}

impl Node {
    pub(crate) async fn start(thinker: Arc<dyn Thinker>) -> Node {
        Node::with(thinker, |_| {}).await
    }

    pub(crate) async fn with(
        thinker: Arc<dyn Thinker>,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Node {
        let mut config = ServerConfig::new(card());
        change(&mut config);
        let listener = bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(serve(listener, thinker, config, async {
            let _ = stopped.await;
        }));
        Node { port, stop: Some(stop), done }
    }

    pub(crate) fn config(&self) -> RemoteConfig {
        RemoteConfig::new(format!("http://127.0.0.1:{}", self.port).parse().unwrap())
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::new(self.config()).unwrap()
    }

    /// Begins the shutdown.
    pub(crate) fn begin_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits for `serve` to return.
    pub(crate) async fn stopped(self) {
        tokio::time::timeout(SOON, self.done).await.unwrap().unwrap().unwrap();
    }
}

pub(crate) fn card() -> ModelCard {
    ModelCard {
        name: "scripted".into(),
        family: "scripted".into(),
        parameters: 7,
        quantisation: "none".into(),
        context_tokens: 1 << 20,
        device: "cpu".into(),
        tokenizer_fingerprint: "pieces".into(),
        thought: ThoughtStart::Unknown,
        can_review: true,
        can_report_entropy: true,
    }
}

pub(crate) fn open() -> Command {
    Command::Open(Open {
        question_id: "q".into(),
        prompt: Prompt::Raw("What is 7 times 8?".into()),
        committed: String::new(),
        sampling: Sampling::default(),
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    })
}

pub(crate) fn propose(max_tokens: u32) -> Command {
    Command::Propose(Propose {
        max_tokens,
        stop: Vec::new(),
        watch: None,
        seed: 1,
        report_entropy: false,
    })
}

/// Opens a session and reads `Opened` and `Warmed`.
pub(crate) async fn opened(thinker: &dyn Thinker) -> Session {
    let mut session = thinker.session();
    session.commands.send(open()).await.unwrap();
    assert!(matches!(next(&mut session).await, Some(Event::Opened(_))));
    assert!(matches!(next(&mut session).await, Some(Event::Warmed(_))));
    session
}

pub(crate) async fn next(session: &mut Session) -> Option<Event> {
    tokio::time::timeout(SOON, session.events.recv()).await.expect("an event, or the end")
}

/// Reads to the failure, which must be the last event.
pub(crate) async fn failure(session: &mut Session) -> Failure {
    loop {
        match next(session).await.expect("a failure before the end") {
            Event::Failed(failure) => {
                assert_eq!(next(session).await, None);
                assert!(!failure.message.contains('\n'), "{}", failure.message);
                return failure;
            }
            _ => continue,
        }
    }
}

/// Opens a session and reads its failure.
pub(crate) async fn failure_of_open(remote: &Remote) -> Failure {
    let mut session = remote.session();
    session.commands.send(open()).await.unwrap();
    failure(&mut session).await
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "{what}");
}

/// A Thinker that makes a token only when the test allows it, so that what it computed and whether its session is over
/// are known exactly, without a clock.
#[derive(Clone)]
pub(crate) struct Gated(Arc<Gates>);

struct Gates {
    steps: Semaphore,
    computed: AtomicU64,
    over: AtomicBool,
}

impl Gated {
    pub(crate) fn new() -> Self {
        Gated(Arc::new(Gates {
            steps: Semaphore::new(0),
            computed: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }))
    }

    pub(crate) fn allow(&self, tokens: usize) {
        self.0.steps.add_permits(tokens);
    }

    pub(crate) fn computed(&self) -> u64 {
        self.0.computed.load(Ordering::SeqCst)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::SeqCst)
    }
}

impl Thinker for Gated {
    fn session(&self) -> Session {
        let (session, server) = Session::channel();
        let gates = self.0.clone();
        tokio::spawn(async move {
            gated_session(&gates, server).await;
            gates.over.store(true, Ordering::SeqCst);
        });
        session
    }
}

async fn gated_session(gates: &Gates, mut server: SessionServer) -> Option<()> {
    let hash = TextHash::default();
    let warmed = Warmed {
        committed_bytes: 0,
        hash,
        tokens: 0,
        prefill_tokens: 0,
        prefill_us: 0,
        reviewed_bytes: 0,
        passes_milli: 0,
    };
    let opened = Opened { card: card(), prompt_tokens: 1, cached_tokens: 0 };
    server.commands.recv().await?;
    server.events.send(Event::Opened(Box::new(opened))).await.ok()?;
    server.events.send(Event::Warmed(warmed)).await.ok()?;
    server.commands.recv().await?;
    loop {
        let step = tokio::select! {
            biased;
            () = server.events.closed() => return None,
            step = gates.steps.acquire() => step.ok()?,
        };
        step.forget();
        gates.computed.fetch_add(1, Ordering::SeqCst);
        let delta = Delta { text: "a".into(), tokens: 1, ..Delta::default() };
        server.events.send(Event::Delta(delta)).await.ok()?;
    }
}

/// The test's certificate authority and the certificates it signed.
pub(crate) struct Pki {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Writes `ca.pem` and `ca.key`, and a certificate and a key for each of `server` (127.0.0.1, localhost) and
    /// `client`.
    pub(crate) fn new() -> Pki {
        let folder = TempDir::new().unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = named("authority");
        let ca = params.self_signed(&ca_key).unwrap();
        let ca_key_pem = ca_key.serialize_pem();
        let pki = Pki { folder, issuer: Issuer::new(params, ca_key) };
        pki.write("ca.pem", ca.pem());
        pki.write("ca.key", ca_key_pem);
        for name in ["server", "client"] {
            pki.sign(name, &["localhost", "127.0.0.1"], |_| {});
        }
        pki
    }

    /// Writes a certificate for these names and its key; `change` may adjust it before it is signed.
    pub(crate) fn sign(
        &self,
        name: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = named(name);
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{name}.pem"), cert.pem());
        self.write(&format!("{name}.key"), key.serialize_pem());
    }

    fn write(&self, name: &str, text: String) {
        std::fs::write(self.file(name), text).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Returns a port that nothing listens on.
pub(crate) async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}
