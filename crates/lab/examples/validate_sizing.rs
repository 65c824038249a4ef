//! Validates sizing. Asks questions of scripted nodes over gRPC: first one at a time, which is recorded, and then,
//! live, many at a time. Then simulates the recorded answers on the same nodes, and prints both as a Markdown table:
//!
//! ```text
//! cargo run --release -p lab --example validate_sizing
//! cargo run --release -p lab --example validate_sizing -- --questions 40 --nodes 3 --answers 500 1.5 2.2
//! ```
//!
//! The numbers at the end are questions a second. A large node writes a token for all its sessions in one step, which
//! takes longer the more there are, and reads between two steps; the small node takes the same time for everyone. Live
//! and simulated questions arrive at the same moments and use the same draws of nodes.

#[path = "../tests/batched/mod.rs"]
mod batched;

use std::{error::Error, io::Write as _, sync::Arc, time::Duration};

use answer::Node;
use grading::quantile::quantile;
use lab::{
    replay::{RecordedOver, Recording},
    sizing::{AnswerTrace, Arrival, Arrivals, Fleet, NodePool, size_questions},
};
use machines::SpeedCurve;
use thinking::{
    testing::{Options, ScriptedThinker},
    thinker::Thinker,
};
use tokio::task::JoinSet;
use transport::{Remote, RemoteConfig, ServerConfig, bind, serve};

use batched::{BatchedThinker, LiveTimes, ask, ask_all, large_script, question, small_script};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SPEEDS: &str = "\
prefill_tokens_per_s = 1500
[[decode]]
sessions = 1
tokens_per_s = 40
[[decode]]
sessions = 4
tokens_per_s = 100
[[decode]]
sessions = 16
tokens_per_s = 200
";
const SMALL_TOKEN: Duration = Duration::from_millis(10);
const SEED: u64 = 3;

/// The arguments.
struct Asked {
    questions: u64,
    nodes: u32,
    answers: usize,
    rates: Vec<f64>,
}

fn arguments() -> Result<Asked> {
    let mut asked = Asked { questions: 40, nodes: 3, answers: 500, rates: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--questions" => asked.questions = value()?.parse()?,
            "--nodes" => asked.nodes = value()?.parse()?,
            "--answers" => asked.answers = value()?.parse()?,
            rate => asked.rates.push(rate.parse()?),
        }
    }
    if asked.rates.is_empty() {
        asked.rates = vec![1.5, 2.2];
    }
    Ok(asked)
}

/// Serves a Thinker on loopback, and connects to it.
async fn node(thinker: Arc<dyn Thinker>, serving: &mut JoinSet<()>) -> Result<Node> {
    let listener = bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut config = ServerConfig::new(Options::default().card);
    config.max_sessions = 1000;
    serving.spawn(async move {
        let ended = serve(listener, thinker, config, std::future::pending()).await;
        // It only ends with an error, which its clients report.
        drop(ended);
    });
    let remote = Remote::new(RemoteConfig::new(url.parse()?))?;
    remote.describe().await?;
    Ok(Node::new(&url, Arc::new(remote)))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let Asked { questions, nodes, answers, rates } = arguments()?;
    let curve = SpeedCurve::parse("speeds", SPEEDS)?;
    let mut serving = JoinSet::new();
    let options = Options { token_delay: SMALL_TOKEN, ..Options::default() };
    let small = ScriptedThinker::with_options(small_script(), options);
    let small = node(Arc::new(small), &mut serving).await?;
    let mut large = Vec::new();
    for _ in 0..nodes {
        let thinker = BatchedThinker::new(large_script(), curve.clone());
        large.push(node(Arc::new(thinker), &mut serving).await?);
    }
    let mut traces = Vec::new();
    for number in 0..questions {
        let (_, journal) = ask(question(number), &small, &large[0]).await;
        let recording = Recording::new(&journal, RecordedOver::Loopback)?;
        traces.push(AnswerTrace::new(&recording, None, 0, 0.0)?);
    }
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| questions a second | in use | | live median | simulated | | live p95 | simulated | |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    let fleet = Fleet { large: NodePool { nodes, curve }, small: None };
    for rate in rates {
        let arrivals: Vec<Arrival> =
            Arrivals::new(rate, traces.len(), SEED).take(answers).collect();
        let LiveTimes { answers_us, first_texts_us } = ask_all(&arrivals, &small, &large).await;
        let simulated = size_questions(&traces, &arrivals, &fleet)?;
        let takeovers = simulated.first_text.ok_or("no question had a takeover")?;
        let used = format!("{:.0} %", 100.0 * simulated.utilisation);
        for (what, live_us, simulated) in
            [("answers", answers_us, simulated.answer), ("takeovers", first_texts_us, takeovers)]
        {
            let median = compared(&live_us, 0.5, simulated.median_s);
            let p95 = compared(&live_us, 0.95, simulated.p95_s);
            writeln!(out, "| {rate} | {used} | {what} | {median} | {p95} |")?;
        }
    }
    Ok(())
}

/// Returns the live time, the simulated one, and by how much they differ.
fn compared(live_us: &[u64], share: f64, simulated_s: f64) -> String {
    let mut live_us = live_us.to_vec();
    live_us.sort_unstable();
    let live_s = quantile(&live_us, share).map_or(f64::NAN, |us| us as f64 / 1e6);
    let off = 100.0 * (simulated_s / live_s - 1.0);
    format!("{:.0} ms | {:.0} ms | {off:+.1} %", 1e3 * live_s, 1e3 * simulated_s)
}
