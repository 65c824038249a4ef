//! Validates replay: asks the built-in pair the same questions over loopback and, live, over shaped links, replays the
//! loopback journals over the same links, and prints both as a Markdown table:
//!
//! ```text
//! cargo build --release --workspace
//! cargo run --release -p lab --example validate_replay
//! cargo run --release -p lab --example validate_replay -- --questions 50 --nodes DIR fibre-metro rtt=90ms
//! cargo run --release -p lab --example validate_replay -- --questions 30 --small-speeds laptop-cpu:1.5b-q4 \
//!     --large-speeds h200:32b-bf16 loopback 4g-good
//! ```
//!
//! With speeds, the live answers come from nodes paced to them, and the recorded ones, from nodes at full speed, are
//! re-timed on machines of these speeds.
//!
//! The nodes are processes, `small-node` and `large-node` from DIR, and the proxy is between the coordinator and the
//! large one. Questions are asked in blocks of ten, each block over every link before the next, so that other load on
//! the machine affects all links alike.

#![expect(clippy::disallowed_methods, reason = "it measures, by the system's clock")]

use std::{
    error::Error,
    future::pending,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use answer::{
    Node, Question, Run, Settings, Summary, Traffic, answer,
    journal::{Header, Journal, JournalWriter},
};
use grading::{
    dataset::{self, Problem},
    quantile::quantile,
};
use lab::{
    link::{LinkProfile, Links, LiveLink, Shaping},
    replay::{Conditions, NodeSpeeds, RecordedOver, Recording, Replayed, replay},
};
use machines::Machines;
use runs::question_seed;
use thinking::{
    beginning::AnswerBeginning,
    policy::PolicySpec,
    stops::StopTexts,
    thinker::{Message, Prompt, Sampling},
};
use transport::{Remote, RemoteConfig};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LINKS: [&str; 6] = ["loopback", "fibre-metro", "5g", "4g-good", "transatlantic", "4g-median"];
const QUESTIONS: usize = 100;
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/arithmetic/test.jsonl");
/// Questions that are asked over one link before the next link's turn.
const BLOCK: usize = 10;
/// Little more than one session needs: cache left by an earlier run of the same question must not help the next.
const KV_MEMORY: &str = "4MiB";
const MAX_TOKENS: u32 = 400;

/// The arguments.
struct Asked {
    questions: usize,
    nodes: PathBuf,
    links: Vec<LinkProfile>,
    journals: Option<PathBuf>,
    /// What live nodes are paced to.
    small_pace: Option<String>,
    large_pace: Option<String>,
}

fn arguments() -> Result<Asked> {
    let links = Links::shipped()?;
    let program = std::env::current_exe()?;
    // target/release/examples/validate_replay
    let built = program.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned();
    let mut asked = Asked {
        questions: QUESTIONS,
        nodes: built,
        links: Vec::new(),
        journals: None,
        small_pace: None,
        large_pace: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--questions" => asked.questions = value()?.parse()?,
            "--nodes" => asked.nodes = value()?.into(),
            "--small-speeds" => asked.small_pace = Some(value()?),
            "--large-speeds" => asked.large_pace = Some(value()?),
            "--journals" => asked.journals = Some(value()?.into()),
            link => asked.links.push(links.link(link)?),
        }
    }
    if asked.links.is_empty() {
        asked.links = LINKS
            .map(|name| links.link(name))
            .into_iter()
            .collect::<std::result::Result<_, _>>()?;
    }
    Ok(asked)
}

fn speeds(asked: &Asked) -> Result<NodeSpeeds> {
    let machines = Machines::shipped()?;
    let curve = |name: &Option<String>| -> Result<_> {
        Ok(name.as_deref().map(|name| machines.speeds(name)).transpose()?.map(|one| one.curve))
    };
    Ok(NodeSpeeds { small: curve(&asked.small_pace)?, large: curve(&asked.large_pace)? })
}

/// A node's process, which ends with this program.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(folder: &Path, program: &str, pace: Option<&str>) -> Result<Self> {
        let path = folder.join(program);
        let mut child = Command::new(&path)
            .args(["--listen", "127.0.0.1:0", "--kv-memory", KV_MEMORY])
            .args(pace.iter().flat_map(|pace| ["--pace", pace]))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| {
                format!("cannot start {}: {why}; build it, or give --nodes", path.display())
            })?;
        let output = child.stdout.take().ok_or("a node without standard output")?;
        for line in BufReader::new(output).lines() {
            if let Some((_, url)) = line?.split_once("listening on ") {
                return Ok(Process { url: url.trim().to_owned(), child });
            }
        }
        Err(format!("{program} ended before it listened").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn node(url: &str) -> Result<Node> {
    let mut config = RemoteConfig::new(url.parse()?);
    config.connect_timeout = Duration::from_secs(30);
    let remote = Remote::new(config)?;
    // This connects.
    remote.describe().await?;
    Ok(Node::new(url, Arc::new(remote)))
}

/// An answer: its cost, its text and its journal.
struct Live {
    summary: Summary,
    text: String,
    journal: Vec<u8>,
}

async fn ask(problem: &Problem, small: &Node, large: &Node) -> Result<Live> {
    let seed = question_seed(1, &problem.id);
    let role = "user".to_owned();
    let question = Question {
        id: problem.id.clone(),
        prompt: Prompt::Messages(vec![Message { role, content: problem.question.clone() }]),
        sampling: Sampling::default(),
        seed,
        max_tokens: MAX_TOKENS,
        beginning: AnswerBeginning::default(),
        stop: StopTexts::default(),
        deadline: None,
    };
    let settings = Settings::default();
    let spec = PolicySpec::default();
    let policy = spec.build(seed, MAX_TOKENS)?;
    let names = (vec![small.name.clone()], Some(large.name.clone()));
    let header = Header::new(&question, spec, settings, names.0, names.1);
    let mut journal = Vec::new();
    let mut writer = JournalWriter::new(&mut journal, &header)?;
    let one = |node: &Node| [node.clone()].into_iter().collect();
    let (small, large) = (one(small), one(large));
    let run = Run { question, small, large, policy, settings };
    let outcome = answer(run, &mut writer, pending()).await;
    writer.finish()?;
    Ok(Live { text: outcome.text(), summary: outcome.summary, journal })
}

/// One link's answers, live and replayed.
#[derive(Default)]
struct Compared {
    live: Vec<Summary>,
    replayed: Vec<Replayed>,
    /// Answers whose text differs from the recorded one.
    other_text: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let asked = arguments()?;
    let problems = dataset::parse(DATA, &dataset::bytes(Path::new(DATA))?, false)?.problems;
    let problems = &problems[..asked.questions.min(problems.len())];
    let start = |program, pace: Option<&str>| Process::start(&asked.nodes, program, pace);
    let (small, large) = (start("small-node", None)?, start("large-node", None)?);
    let (near, direct) = (node(&small.url).await?, node(&large.url).await?);
    let paced_small = start("small-node", asked.small_pace.as_deref())?;
    let paced_large = start("large-node", asked.large_pace.as_deref())?;
    let paced = node(&paced_small.url).await?;
    let upstream = paced_large.url.trim_start_matches("http://").to_owned();
    let speeds = speeds(&asked)?;
    let mut far = Vec::new();
    for (seed, link) in (100..).zip(&asked.links) {
        let up = LiveLink::up(Shaping::Proxy, upstream.clone(), link, seed).await?;
        let node = node(&format!("http://{}", up.address())).await?;
        far.push((up, node));
    }
    let mut compared: Vec<Compared> = asked.links.iter().map(|_| Compared::default()).collect();
    let mut recordings = Vec::new();
    // The first answers of a process are slow.
    for problem in &problems[..BLOCK.min(problems.len())] {
        ask(problem, &near, &direct).await?;
        for (_, node) in far.iter().take(1) {
            ask(problem, &paced, node).await?;
        }
    }
    for (number, block) in problems.chunks(BLOCK).enumerate() {
        let mut texts = Vec::new();
        for problem in block {
            let recorded = ask(problem, &near, &direct).await?;
            if let Some(folder) = &asked.journals {
                std::fs::write(folder.join(format!("{}.jsonl", problem.id)), &recorded.journal)?;
            }
            let journal = Journal::read(&recorded.journal[..], &problem.id)?;
            recordings.push(Recording::new(&journal, RecordedOver::Loopback)?.at(&speeds)?);
            texts.push(recorded.text);
        }
        for ((_, node), compared) in far.iter().zip(&mut compared) {
            for (problem, text) in block.iter().zip(&texts) {
                let live = ask(problem, &paced, node).await?;
                compared.other_text += usize::from(live.text != *text);
                compared.live.push(live.summary);
            }
        }
        writeln!(std::io::stderr(), "{} of {}", number * BLOCK + block.len(), problems.len())?;
    }
    for (link, compared) in asked.links.iter().zip(&mut compared) {
        let conditions = Conditions::over(link.clone(), 1);
        let replayed = recordings.iter().map(|recording| replay(recording, &conditions));
        compared.replayed = replayed.collect::<std::result::Result<_, _>>()?;
    }
    report(&asked.links, &compared, &recordings)
}

fn report(links: &[LinkProfile], compared: &[Compared], recordings: &[Recording]) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| link | live median | replayed | | live p95 | replayed | | hand-over live | replayed | sent live | replayed | received live | replayed | other text |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    for (link, Compared { live, replayed, other_text }) in links.iter().zip(compared) {
        let live_us = live.iter().map(|summary| summary.time.total_us).collect();
        let replayed_us = replayed.iter().map(|replayed| replayed.time.total_us).collect();
        let (live_ms, replayed_ms) = (quantiles(live_us), quantiles(replayed_us));
        let live_takeovers = live.iter().flat_map(|summary| &summary.takeovers);
        let takeovers = replayed.iter().flat_map(|replayed| &replayed.takeovers);
        let live_handoff = quantiles(live_takeovers.filter_map(|t| t.handoff_us).collect());
        let handoff = quantiles(takeovers.filter_map(|t| t.handoff_us).collect());
        let traffic = live.iter().filter_map(|summary| summary.large.traffic);
        let (sent, received) = bytes(traffic);
        let (sent_again, received_again) = bytes(replayed.iter().map(|r| r.large_traffic));
        let off = |live: f64, replayed: f64| (replayed / live - 1.0) * 100.0;
        writeln!(
            out,
            "| {} | {:.1} | {:.1} | {:+.1} % | {:.1} | {:.1} | {:+.1} % | {:.1} | {:.1} | {sent} | {sent_again} | {received} | {received_again} | {other_text} |",
            link.name,
            live_ms.0,
            replayed_ms.0,
            off(live_ms.0, replayed_ms.0),
            live_ms.1,
            replayed_ms.1,
            off(live_ms.1, replayed_ms.1),
            live_handoff.0,
            handoff.0,
        )?;
    }
    let began = Instant::now();
    let mut count = 0u32;
    while began.elapsed() < Duration::from_secs(2) {
        for link in links {
            let conditions = Conditions::over(link.clone(), u64::from(count));
            for recording in recordings {
                replay(recording, &conditions)?;
                count += 1;
            }
        }
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    writeln!(out, "\n{} questions; {rate:.0} replayed a second on one core", recordings.len())?;
    Ok(())
}

/// Returns the median and the 95th percentile, in milliseconds.
fn quantiles(mut values_us: Vec<u64>) -> (f64, f64) {
    values_us.sort_unstable();
    let at = |share| quantile(&values_us, share).map_or(f64::NAN, |us| us as f64 / 1e3);
    (at(0.5), at(0.95))
}

/// Returns the means in each direction.
fn bytes(traffic: impl Iterator<Item = Traffic>) -> (u64, u64) {
    let (mut sent, mut received, mut count) = (0, 0, 0);
    for each in traffic {
        (sent, received, count) =
            (sent + each.sent_bytes, received + each.received_bytes, count + 1);
    }
    let count = count.max(1);
    (sent / count, received / count)
}
