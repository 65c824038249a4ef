//! Scripted answers on shared large nodes: a node writes a token for all its sessions in one step, which takes longer
//! the more there are, and reads a chunk of text between two steps.
#![allow(dead_code, reason = "each program takes what it needs")]
#![allow(unreachable_pub, reason = "a test program has no outside")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use answer::{
    Node, Outcome, Question, Run, Settings, answer,
    journal::{Header, Journal, JournalWriter},
};
use machines::SpeedCurve;
use thinking::{
    beginning::AnswerBeginning,
    draw::splitmix64,
    policy::PolicySpec,
    stops::StopTexts,
    testing::{Script, ScriptedThinker},
    thinker::{
        Delta, Event, Finished, Message, Prompt, Sampling, Session, SessionServer, Thinker, Timing,
        Warmed,
    },
};
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::{Instant, sleep_until},
};

/// A session's request to its node. The node answers every token with a `()`.
enum Work {
    Write(u32, mpsc::UnboundedSender<()>),
    Read(u32, mpsc::UnboundedSender<()>),
}

/// A scripted Thinker whose sessions share one node's time.
pub struct BatchedThinker {
    inner: ScriptedThinker,
    work: mpsc::UnboundedSender<Work>,
    tasks: Mutex<JoinSet<()>>,
}

impl BatchedThinker {
    /// Its tasks run on the current runtime.
    pub fn new(script: Script, curve: SpeedCurve) -> Self {
        let (work, wanted) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(compute(curve, wanted));
        BatchedThinker { inner: ScriptedThinker::new(script), work, tasks: Mutex::new(tasks) }
    }
}

impl Thinker for BatchedThinker {
    fn session(&self) -> Session {
        let inner = self.inner.session();
        let (session, SessionServer { mut commands, events, .. }) = Session::channel();
        let Session { commands: inner_commands, events: inner_events, .. } = inner;
        let mut tasks = self.tasks.lock().unwrap();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            while let Some(command) = commands.recv().await {
                if inner_commands.send(command).await.is_err() {
                    return;
                }
            }
        });
        let (said, held) = mpsc::unbounded_channel();
        tasks.spawn(take(inner_events, self.work.clone(), said));
        tasks.spawn(hold_back(held, self.work.clone(), events));
        session
    }
}

/// An event of a session, held back until its node has computed it.
enum Held {
    /// Text was read; a `()` arrives for every token of it.
    Read(Warmed, mpsc::UnboundedReceiver<()>),
    /// A whole proposal.
    Proposal(Vec<Delta>, Finished),
    /// It takes no time.
    Other(Event),
}

/// Takes the events of a session without delays: asks its node to read text at once, and collects proposals.
async fn take(
    mut events: mpsc::Receiver<Event>,
    work: mpsc::UnboundedSender<Work>,
    said: mpsc::UnboundedSender<Held>,
) {
    let mut deltas = Vec::new();
    while let Some(event) = events.recv().await {
        let held = match event {
            Event::Delta(delta) => {
                deltas.push(delta);
                continue;
            }
            Event::Finished(finished) => Held::Proposal(std::mem::take(&mut deltas), finished),
            Event::Warmed(warmed) => {
                let (ticks, ticked) = mpsc::unbounded_channel();
                if warmed.prefill_tokens > 0 {
                    let _ = work.send(Work::Read(warmed.prefill_tokens, ticks));
                }
                Held::Read(warmed, ticked)
            }
            other => Held::Other(other),
        };
        if said.send(held).is_err() {
            return;
        }
    }
}

/// Sends the events in order, each once it is computed.
async fn hold_back(
    mut held: mpsc::UnboundedReceiver<Held>,
    work: mpsc::UnboundedSender<Work>,
    events: mpsc::Sender<Event>,
) {
    while let Some(held) = held.recv().await {
        let began = Instant::now();
        let ended = match held {
            Held::Read(warmed, mut ticked) => {
                for _ in 0..warmed.prefill_tokens {
                    ticked.recv().await;
                }
                let prefill_us = began.elapsed().as_micros() as u64;
                events.send(Event::Warmed(Warmed { prefill_us, ..warmed })).await
            }
            Held::Proposal(deltas, finished) => write(deltas, finished, &work, &events).await,
            Held::Other(event) => events.send(event).await,
        };
        if ended.is_err() {
            return;
        }
    }
}

/// Has the node write a proposal, and sends every piece when it is complete.
async fn write(
    deltas: Vec<Delta>,
    finished: Finished,
    work: &mpsc::UnboundedSender<Work>,
    events: &mpsc::Sender<Event>,
) -> Result<(), mpsc::error::SendError<Event>> {
    let (ticks, mut ticked) = mpsc::unbounded_channel();
    let began = Instant::now();
    let _ = work.send(Work::Write(finished.tokens, ticks));
    let mut left = finished.tokens;
    for delta in deltas {
        for _ in 0..delta.tokens {
            ticked.recv().await;
            left -= 1;
        }
        events.send(Event::Delta(delta)).await?;
    }
    for _ in 0..left {
        ticked.recv().await;
    }
    let decode_us = began.elapsed().as_micros() as u64;
    let timing = Timing { decode_us, ..Timing::default() };
    events.send(Event::Finished(Finished { timing, ..finished })).await
}

/// The node's loop: a step for all sessions that write, then a chunk of the text to be read.
async fn compute(curve: SpeedCurve, mut wanted: mpsc::UnboundedReceiver<Work>) {
    let (mut writing, mut reading) = (Vec::new(), VecDeque::new());
    let mut now = Instant::now();
    loop {
        // A session that has just finished reading asks for its first token now, and joins the next step.
        for _ in 0..20 {
            yield_now().await;
        }
        if writing.is_empty() && reading.is_empty() {
            match wanted.recv().await {
                Some(Work::Write(tokens, ticks)) => writing.push((tokens, ticks)),
                Some(Work::Read(tokens, ticks)) => reading.push_back((tokens, ticks)),
                None => return,
            }
            now = Instant::now();
        }
        while let Ok(work) = wanted.try_recv() {
            match work {
                Work::Write(tokens, ticks) => writing.push((tokens, ticks)),
                Work::Read(tokens, ticks) => reading.push_back((tokens, ticks)),
            }
        }
        if !writing.is_empty() {
            now += Duration::from_secs_f64(curve.step_s(writing.len() as u32));
            sleep_until(now).await;
            for (left, ticks) in &mut writing {
                // The receiver may have gone.
                let _ = ticks.send(());
                *left -= 1;
            }
            writing.retain(|(left, _)| *left > 0);
        }
        let mut chunk = curve.prefill_chunk_tokens() as u32;
        let mut read: Vec<mpsc::UnboundedSender<()>> = Vec::new();
        while let Some((left, ticks)) = reading.front_mut().filter(|_| chunk > 0) {
            let tokens = chunk.min(*left);
            read.extend((0..tokens).map(|_| ticks.clone()));
            *left -= tokens;
            chunk -= tokens;
            if *left == 0 {
                reading.pop_front();
            }
        }
        if !read.is_empty() {
            now += Duration::from_secs_f64(read.len() as f64 / curve.prefill_tokens_per_s());
            sleep_until(now).await;
            for ticks in read {
                let _ = ticks.send(());
            }
        }
    }
}

/// Writes a few paragraphs, whose length depends on the seed, doubts, and concludes in one of four.
pub fn small_script() -> Script {
    Script::function(|_, propose| {
        let words = 10 + splitmix64(propose.seed, 1) % 40;
        let paragraph = (0..words).map(|word| format!(" {word}"));
        let ends = splitmix64(propose.seed, 2).is_multiple_of(4);
        let end: &[&str] = match ends {
            true => &[" so", " 4", "."],
            false => &[".", "\n\n", "Wait", ",", " is", " it", " 5", "?"],
        };
        paragraph.chain(end.iter().map(|token| (*token).to_owned())).collect()
    })
}

/// Verifies in a paragraph or two.
pub fn large_script() -> Script {
    Script::function(|_, propose| {
        let words = 10 + splitmix64(propose.seed, 1) % 30;
        let paragraph: Vec<String> = (0..words).map(|word| format!(" w{word}")).collect();
        let end = [".", "\n\n"].map(str::to_owned);
        [&paragraph[..], &end, &paragraph[..], &end].concat()
    })
}

/// The question with this number, which determines its answer.
pub fn question(number: u64) -> Question {
    let content = "What is 2 + 2?".to_owned();
    Question {
        id: format!("q{number}"),
        prompt: Prompt::Messages(vec![Message { role: "user".to_owned(), content }]),
        sampling: Sampling::default(),
        seed: splitmix64(11, number),
        max_tokens: 2000,
        beginning: AnswerBeginning::default(),
        stop: StopTexts::default(),
        deadline: None,
    }
}

/// Asks two nodes a question.
pub async fn ask(question: Question, small: &Node, large: &Node) -> (Outcome, Journal) {
    let (settings, spec) = (Settings::default(), PolicySpec::default());
    let policy = spec.build(question.seed, question.max_tokens).unwrap();
    let names = (vec![small.name.clone()], Some(large.name.clone()));
    let header = Header::new(&question, spec, settings, names.0, names.1);
    let mut bytes = Vec::new();
    let mut writer = JournalWriter::new(&mut bytes, &header).unwrap();
    let one = |node: &Node| [node.clone()].into_iter().collect();
    let (small, large) = (one(small), one(large));
    let run = Run { question, small, large, policy, settings };
    let outcome = answer(run, &mut writer, pending()).await;
    writer.finish().unwrap();
    (outcome, Journal::read(&bytes[..], "j").unwrap())
}

/// How long live answers took, in microseconds: in total, and from an ask of the large model to its first text.
#[derive(Debug, Default)]
pub struct LiveTimes {
    pub answers_us: Vec<u64>,
    pub first_texts_us: Vec<u64>,
}

impl LiveTimes {
    pub fn add(&mut self, outcome: &Outcome) {
        let summary = &outcome.summary;
        self.answers_us.push(summary.time.total_us);
        let takeovers = summary.takeovers.iter();
        self.first_texts_us.extend(takeovers.filter_map(|takeover| takeover.handoff_us));
    }
}

/// Asks all questions when they arrive, many at a time, each of the less used of the nodes that it draws.
pub async fn ask_all(arrivals: &[lab::sizing::Arrival], small: &Node, large: &[Node]) -> LiveTimes {
    let used: Vec<Arc<()>> = large.iter().map(|_| Arc::default()).collect();
    let (began, mut answers) = (Instant::now(), JoinSet::new());
    for arrival in arrivals {
        sleep_until(began + Duration::from_secs_f64(arrival.at_s)).await;
        let [one, other] = arrival.drawn(1, large.len());
        let answers_of = |node: usize| Arc::strong_count(&used[node]);
        let node = if answers_of(other) < answers_of(one) { other } else { one };
        let (question, guard) = (question(arrival.trace as u64), Arc::clone(&used[node]));
        let (small, large) = (small.clone(), large[node].clone());
        answers.spawn(async move {
            let (outcome, _) = ask(question, &small, &large).await;
            drop(guard);
            outcome
        });
    }
    let mut times = LiveTimes::default();
    while let Some(outcome) = answers.join_next().await {
        times.add(&outcome.unwrap());
    }
    times
}
