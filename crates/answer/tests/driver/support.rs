//! Scripted nodes, an observer that records, and a node that misreports its text.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use answer::{Node, Observer, Outcome, Progress, Question, Run, Settings, Stamped, Writer, answer};
use thinking::{
    beginning::AnswerBeginning,
    policy::{Limited, Limits, Policy, PolicySpec},
    stops::StopTexts,
    testing::{Fault, FaultKind, Options, Script, ScriptedThinker},
    thinker::{Code, Event, Failure, Message, Prompt, Sampling, Session, TextHash, Thinker},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Records every report.
#[derive(Default)]
pub(crate) struct Seen(pub(crate) Vec<Stamped>);

impl Observer for Seen {
    fn see(&mut self, stamped: &Stamped) {
        self.0.push(stamped.clone());
    }
}

impl Seen {
    /// Returns all the text that was shown, in order.
    pub(crate) fn text(&self) -> String {
        let text = |stamped: &Stamped| match &stamped.progress {
            Progress::Text(text) => Some(text.text.clone()),
            _ => None,
        };
        self.0.iter().filter_map(text).collect()
    }

    /// Returns how many reports match.
    pub(crate) fn count(&self, like: impl Fn(&Progress) -> bool) -> usize {
        self.0.iter().filter(|stamped| like(&stamped.progress)).count()
    }
}

/// A question with this token limit.
pub(crate) fn question(max_tokens: u32) -> Question {
    Question {
        id: "test".to_owned(),
        prompt: Prompt::Messages(vec![Message {
            role: "user".to_owned(),
            content: "What is 2 + 2?".to_owned(),
        }]),
        sampling: Sampling::default(),
        seed: 7,
        max_tokens,
        beginning: AnswerBeginning::default(),
        stop: StopTexts::default(),
        deadline: None,
    }
}

/// A scripted Thinker that takes 10 ms per token.
pub(crate) fn thinker(script: Script, faults: Vec<Fault>) -> Arc<ScriptedThinker> {
    let token_delay = Duration::from_millis(10);
    Arc::new(ScriptedThinker::with_options(
        script,
        Options { token_delay, faults, ..Options::default() },
    ))
}

/// A fault in every session.
pub(crate) fn fault(command: u32, after_tokens: u32, kind: FaultKind) -> Fault {
    Fault { session: None, command, after_tokens, kind }
}

/// The fault of a session that fails.
pub(crate) fn fails(code: Code, message: &str) -> FaultKind {
    FaultKind::Fail(Failure::new(code, message))
}

/// The small model of the standard story: it begins, doubts, and concludes once its doubt has been answered.
pub(crate) fn small_script() -> Script {
    const DOUBT: [&str; 6] = ["Wait", ",", " is", " it", " 5", "?"];
    Script::function(|committed, _| {
        let begin = ["We", " add", " 数学", ".", "\n\n"];
        let said = (0..=6).find(|n| committed.ends_with(&format!(".\n\n{}", DOUBT[..*n].concat())));
        let tokens = match (committed, said) {
            ("", _) => [&begin[..], &DOUBT].concat(),
            (_, Some(said)) => DOUBT[said..].to_vec(),
            (text, None) if text.contains("Hmm") => vec!["So", " 4", "."],
            _ => vec![],
        };
        tokens.into_iter().map(str::to_owned).collect()
    })
}

/// The large model of the standard story.
pub(crate) fn large_script() -> Script {
    Script::function(|_, _| {
        ["Hmm", ",", " no", " 🙂", "\n\n"].into_iter().map(str::to_owned).collect()
    })
}

/// The standard story's answer.
pub(crate) const STORY: &str = "We add 数学.\n\nHmm, no 🙂\n\nSo 4.";

/// The default policy with limits.
pub(crate) fn limited(limits: Limits, max_tokens: u32) -> Limited {
    PolicySpec::default().within(limits).build(0, max_tokens).unwrap()
}

/// The default policy.
pub(crate) fn strict(max_tokens: u32) -> Limited {
    limited(Limits::default(), max_tokens)
}

/// Any policy, without limits, for an answer of 200 tokens.
pub(crate) fn unlimited(policy: impl Policy + 'static) -> Limited {
    Limited::new(Box::new(policy), Limits::default(), 200)
}

/// A run of the default policy.
pub(crate) fn run(small: &[Arc<dyn Thinker>], large: Option<Arc<dyn Thinker>>) -> Run {
    let name = |index: usize| format!("small-{index}");
    let small = small.iter().enumerate().map(|(i, s)| Node::new(name(i), Arc::clone(s))).collect();
    Run {
        question: question(200),
        small,
        large: large.map(|large| Node::new("large", large)).into_iter().collect(),
        policy: strict(200),
        settings: Settings::default(),
    }
}

/// Answers a question to the end. Whatever happened, what was shown must be the outcome's text.
pub(crate) async fn answered(run: Run) -> (Outcome, Seen) {
    let mut seen = Seen::default();
    let outcome = answer(run, &mut seen, pending()).await;
    check(&outcome, &seen);
    (outcome, seen)
}

/// Checks what must hold for every answer.
pub(crate) fn check(outcome: &Outcome, seen: &Seen) {
    let text = outcome.text();
    assert_eq!(seen.text(), text, "the observer saw the answer, in order, once");
    assert!(seen.0.is_sorted_by_key(|stamped| stamped.at_us), "time never falls");
    for stamped in &seen.0 {
        if let Progress::Warmed(warmed) = &stamped.progress {
            let bytes = usize::try_from(warmed.committed_bytes).unwrap();
            // A report is passed on only if its hash agreed, so this is what the node holds.
            assert!(text.get(..bytes).is_some(), "a node holds a beginning of the answer");
        }
    }
    let summary = &outcome.summary;
    let by = |writer| {
        let spans = outcome.transcript.spans().iter().filter(move |span| span.writer == writer);
        spans
            .map(|span| (span.tokens, span.text.len() as u64))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    let (small_tokens, small_bytes) = by(Writer::Small);
    let (large_tokens, large_bytes) = by(Writer::Large);
    assert_eq!((summary.small.text_bytes, summary.large.text_bytes), (small_bytes, large_bytes));
    // An ask that kept nothing has no span, and may have cost an end-of-text token.
    assert!(summary.small.tokens >= small_tokens && summary.large.tokens >= large_tokens);
    let time = &summary.time;
    assert_eq!(time.waited_us() + time.other_us, time.total_us);
    assert!(matches!(seen.0.last().map(|s| &s.progress), Some(Progress::Ended(_))));
}

/// A Thinker behind a link: everything in both directions arrives with this delay.
pub(crate) struct Far {
    pub(crate) near: Arc<ScriptedThinker>,
    pub(crate) one_way: Duration,
}

impl Thinker for Far {
    fn session(&self) -> Session {
        let (session, server) = Session::channel();
        let Session { commands, events, .. } = self.near.session();
        tokio::spawn(later(server.commands, commands, self.one_way));
        tokio::spawn(later(events, server.events, self.one_way));
        session
    }
}

/// Passes everything on in order, each message with this delay.
async fn later<T>(mut from: mpsc::Receiver<T>, to: mpsc::Sender<T>, delay: Duration) {
    let (stamped, mut due) = mpsc::unbounded_channel();
    let read = async move {
        while let Some(message) = from.recv().await {
            let _ = stamped.send((Instant::now() + delay, message));
        }
    };
    let write = async {
        while let Some((at, message)) = due.recv().await {
            sleep_until(at).await;
            let _ = to.send(message).await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(read, write) } => {}
        () = to.closed() => {}
    }
}

/// A Thinker that is unreachable for a while: then its sessions fail, and so do new ones.
pub(crate) struct Out {
    pub(crate) near: Arc<ScriptedThinker>,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    pub(crate) code: Code,
    /// When each session was started.
    pub(crate) tried: Mutex<Vec<Instant>>,
}

impl Out {
    /// A Thinker that is unreachable between these two times, both counted from now.
    pub(crate) fn new(near: Arc<ScriptedThinker>, from_ms: u64, to_ms: u64) -> Self {
        let at = |ms| Instant::now() + Duration::from_millis(ms);
        let (from, to, code) = (at(from_ms), at(to_ms), Code::Unavailable);
        Out { near, from, to, code, tried: Mutex::default() }
    }
}

impl Thinker for Out {
    fn session(&self) -> Session {
        let now = Instant::now();
        self.tried.lock().unwrap().push(now);
        let (session, server) = Session::channel();
        let out = Event::Failed(Failure::new(self.code, "it is unreachable"));
        if self.from <= now && now < self.to {
            server.events.try_send(out).unwrap();
            return session;
        }
        let Session { commands, events, .. } = self.near.session();
        let from = if now < self.from { self.from } else { now + Duration::from_secs(1 << 20) };
        tokio::spawn(async move {
            let sent = later(server.commands, commands, Duration::ZERO);
            let told = later(events, server.events.clone(), Duration::ZERO);
            tokio::select! {
                _ = async { tokio::join!(sent, told) } => {}
                () = sleep_until(from) => { let _ = server.events.send(out).await; }
            }
        });
        session
    }
}

/// Reports a wrong hash in the n-th `Warmed` of every session numbered below `sessions`.
pub(crate) struct Liar {
    pub(crate) truthful: Arc<ScriptedThinker>,
    pub(crate) warmed: u32,
    pub(crate) sessions: u32,
    pub(crate) started: AtomicU32,
}

impl Thinker for Liar {
    fn session(&self) -> Session {
        let lies = self.started.fetch_add(1, Ordering::SeqCst) < self.sessions;
        let (session, server) = Session::channel();
        let Session { commands, mut events, .. } = self.truthful.session();
        let mut left = self.warmed;
        tokio::spawn(async move {
            let mut inbox = server.commands;
            loop {
                tokio::select! {
                    command = inbox.recv() => match command {
                        Some(command) => { let _ = commands.send(command).await; }
                        None => return,
                    },
                    event = events.recv() => {
                        let Some(mut event) = event else { return };
                        if let Event::Warmed(warmed) = &mut event {
                            if left == 0 && lies {
                                warmed.hash = TextHash(1);
                            }
                            left = left.wrapping_sub(1);
                        }
                        if server.events.send(event).await.is_err() {
                            return;
                        }
                    }
                    () = server.events.closed() => return,
                }
            }
        });
        session
    }
}
