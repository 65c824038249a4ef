//! Measures how many answers a coordinator can have in flight, and what one costs: many answers at a time over pools of
//! scripted nodes, on one thread.
//!
//! `cargo run --release -p pool --example many_answers -- --answers 10000 --nodes 3`
//!
//! The nodes write a token every half second, so that all answers are in flight together. The nodes' own cost is
//! counted too.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use answer::{Node, Observer, Question, Run, Settings, Stamped, answer};
use pool::Pool;
use thinking::{
    beginning::AnswerBeginning,
    policy::PolicySpec,
    stops::StopTexts,
    testing::{Options, Script, ScriptedThinker},
    thinker::{Prompt, Sampling},
};
use tokio::{task::JoinSet, time::Instant};

/// The time between two tokens of a node.
const TOKEN: Duration = Duration::from_millis(500);
const TOKENS: u32 = 40;

struct Nobody;

impl Observer for Nobody {
    fn see(&mut self, _: &Stamped) {}
}

fn nodes(part: &str, count: usize, words: &'static [&'static str]) -> Vec<Node> {
    let node = |index| {
        let script =
            Script::function(move |_, _| words.iter().map(|word| (*word).to_owned()).collect());
        let options = Options { token_delay: TOKEN, ..Options::default() };
        let thinker = ScriptedThinker::with_options(script, options);
        Node::new(format!("{part}-{index}"), Arc::new(thinker))
    };
    (0..count).map(node).collect()
}

fn run(number: usize, small: &Pool, large: &Pool) -> Option<Run> {
    Some(Run {
        question: Question {
            id: number.to_string(),
            prompt: Prompt::Raw("2 + 2?".to_owned()),
            sampling: Sampling::default(),
            seed: number as u64,
            max_tokens: TOKENS,
            beginning: AnswerBeginning::default(),
            stop: StopTexts::default(),
            deadline: None,
        },
        small: small.candidates(|_| true),
        large: large.candidates(|_| true),
        policy: PolicySpec::default().build(0, TOKENS).ok()?,
        settings: Settings::default(),
    })
}

/// Returns a value of this process from `/proc/self/status`, by its name, in KiB.
fn memory_kib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Returns the CPU time of this process, in seconds.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().skip(13).take(2).filter_map(|it| it.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |flag: &str, usual: usize| {
        let place = arguments.iter().position(|it| it == flag);
        let given = place.and_then(|place| arguments.get(place + 1)?.parse().ok());
        given.unwrap_or(usual)
    };
    let (answers, count) = (number("--answers", 10_000), number("--nodes", 3));
    let small = Pool::unwatched(nodes("small", count, &["So", " it", " is", ".", "\n\n", "Wait"]));
    let large = Pool::unwatched(nodes("large", count, &["Hmm", ",", " no", ".", "\n\n"]));
    let before = (memory_kib("VmRSS"), cpu_s(), Instant::now());
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for index in 0..answers {
        let Some(run) = run(index, &small, &large) else { continue };
        let (open, most) = (Arc::clone(&open), Arc::clone(&most));
        tasks.spawn(async move {
            most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let outcome = answer(run, &mut Nobody, std::future::pending()).await;
            open.fetch_sub(1, Ordering::Relaxed);
            outcome.summary
        });
    }
    let (mut tokens, mut degraded) = (0, 0);
    let mut peak_kib = 0;
    while let Some(ended) = tasks.join_next().await {
        if let Ok(summary) = ended {
            tokens += summary.tokens();
            degraded += u64::from(summary.degraded.is_some());
        }
        peak_kib = peak_kib.max(memory_kib("VmRSS"));
    }
    let (rss, cpu, began) = before;
    let most = most.load(Ordering::Relaxed);
    let (cpu, wall) = (cpu_s() - cpu, began.elapsed().as_secs_f64());
    println!(
        "{answers} answers over {count} + {count} nodes: {most} in flight at most, {degraded} degraded, {tokens} tokens \
         in {wall:.1} s, {:.0} % of a core; {:.1} us a token, {:.0} us an answer, {:.1} KiB an answer",
        100.0 * cpu / wall,
        1e6 * cpu / tokens as f64,
        1e6 * cpu / answers as f64,
        (peak_kib.saturating_sub(rss)) as f64 / answers as f64,
    );
}
