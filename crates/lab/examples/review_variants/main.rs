//! Simulates kinds of review that the product does not have, on real nodes but without links, to see which are worth
//! having. Prints a row per variant, and a paired test of every two, as Markdown tables:
//!
//! ```text
//! cargo run --release -p lab --example review_variants -- models/arithmetic/test.jsonl \
//!     --small http://127.0.0.1:7101 --large http://127.0.0.1:7102 gap=1 gap=1,every=2 gap=0.5,later=2,from=100
//! cargo run --release -p lab --example review_variants -- gsm8k.jsonl --limit 50 --temperature 0 --log LOG \
//!     --small URL --middle URL --large URL gap=1 gap=1,middle=1 gap=1,middle=1,escalate
//! ```
//!
//! A variant is `gap=NATS`, the review of the product, with any of these changes:
//!
//! - `every=K`: only every K-th piece of the small model's text is judged, and the last one; the others stand as they
//!   are.
//! - `later=NATS,from=BYTE`: another gap from this byte of the answer on.
//! - `middle=NATS`: a model between the two reviews first, with this gap, and the large one reviews what it lets pass.
//! - `escalate`: the middle one corrects nothing. The large one judges only where the middle one objects: all that it
//!   has not read, up to that token. Where the middle one never objects, it reads nothing.
//!
//! The small model writes 16 tokens and waits until they are judged, so nothing is discarded for the sake of a link,
//! and times mean nothing here. With `gap` alone and temperature 0 the answers are those of `specthink eval --policy
//! review --max-tokens 400`. With `--log`, every answer is added to that file as a line of JSON.

mod answer;
mod session;
mod variant;

use std::{
    collections::BTreeMap,
    error::Error,
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use grading::{dataset::Problem, grade::grade, interval::wilson};
use lab::stats::{Paired, mcnemar};
use runs::{DataFile, question_seed};
use serde_json::json;
use thinking::thinker::{Prompt, Sampling, Thinker};
use tokio::{sync::Semaphore, task::JoinSet};
use transport::{Remote, RemoteConfig};

use answer::{Answered, Asked, answer};
use variant::Variant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The arguments.
#[derive(Default)]
struct Arguments {
    data: PathBuf,
    limit: Option<u64>,
    parallel: Option<usize>,
    small: String,
    middle: Option<String>,
    large: String,
    temperature: Option<f32>,
    max_tokens: Option<u32>,
    system: Option<String>,
    log: Option<PathBuf>,
    variants: Vec<Variant>,
}

fn arguments() -> Result<Arguments> {
    let mut all = Arguments::default();
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--limit" => all.limit = Some(value()?.parse()?),
            "--parallel" => all.parallel = Some(value()?.parse()?),
            "--small" => all.small = value()?,
            "--middle" => all.middle = Some(value()?),
            "--large" => all.large = value()?,
            "--temperature" => all.temperature = Some(value()?.parse()?),
            "--max-tokens" => all.max_tokens = Some(value()?.parse()?),
            "--system" => all.system = Some(value()?),
            "--log" => all.log = Some(value()?.into()),
            variant if variant.contains("gap=") => all.variants.push(variant.parse()?),
            option if option.starts_with('-') => return Err(format!("no option {option}").into()),
            data => all.data = data.into(),
        }
    }
    let needs_middle = all.variants.iter().any(|variant| variant.middle.is_some());
    if needs_middle && all.middle.is_none() {
        return Err("a variant with middle= needs --middle URL".into());
    }
    Ok(all)
}

async fn connect(url: &str) -> Result<Arc<dyn Thinker>> {
    let mut config = RemoteConfig::new(url.parse()?);
    config.connect_timeout = Duration::from_secs(30);
    let remote = Remote::new(config)?;
    remote.describe().await?;
    Ok(Arc::new(remote))
}

/// The answers of a variant: which problems are right, and sums.
#[derive(Default)]
struct Row {
    right: BTreeMap<String, bool>,
    tokens: u64,
    corrections: u64,
    middle_corrections: u64,
    pieces: u64,
    read: u64,
}

impl Row {
    fn add(&mut self, id: String, answered: &Answered, right: bool) {
        self.right.insert(id, right);
        self.tokens += u64::from(answered.tokens);
        self.corrections += u64::from(answered.large.corrections);
        self.middle_corrections += u64::from(answered.middle.corrections);
        self.pieces += u64::from(answered.large.pieces);
        self.read += u64::from(answered.large.read);
    }

    fn print(&self, variant: &Variant) -> io::Result<()> {
        let answers = self.right.len() as u64;
        let right = self.right.values().filter(|right| **right).count() as u64;
        let per_answer = |count: u64| count as f64 / answers.max(1) as f64;
        let (low, high) = wilson(right, answers);
        writeln!(
            io::stdout(),
            "| {variant} | {:.1} % ({}) | {:.1} to {:.1} % | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} |",
            100.0 * per_answer(right),
            right,
            100.0 * low,
            100.0 * high,
            per_answer(self.corrections),
            per_answer(self.middle_corrections),
            per_answer(self.pieces),
            per_answer(self.read),
            per_answer(self.tokens),
        )
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = arguments()?;
    let file = DataFile::read(&arguments.data, false)?;
    let middle = match &arguments.middle {
        Some(url) => Some(connect(url).await?),
        None => None,
    };
    let (small, large) = (connect(&arguments.small).await?, connect(&arguments.large).await?);
    let temperature = arguments.temperature.unwrap_or(Sampling::default().temperature);
    let asked = Asked {
        small,
        middle,
        large,
        sampling: Sampling { temperature, ..Sampling::default() },
        max_tokens: arguments.max_tokens.unwrap_or(400),
    };
    writeln!(
        io::stdout(),
        "| variant | right | 95 % interval | corrections | by the middle model | pieces judged | tokens read \
         | tokens |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    let asked = Arc::new(asked);
    let mut rows = Vec::new();
    for variant in &arguments.variants {
        let row = run(&arguments, variant, &asked, file.problems(arguments.limit)).await?;
        row.print(variant)?;
        rows.push((variant, row.right));
    }
    Ok(print_pairs(&rows)?)
}

/// Compares every two variants on the problems that only one of them has right.
fn print_pairs(rows: &[(&Variant, BTreeMap<String, bool>)]) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "\n| first | second | only the first | only the second | p (McNemar) |")?;
    writeln!(out, "| --- | --- | --- | --- | --- |")?;
    for (at, (first, one)) in rows.iter().enumerate() {
        for (second, other) in &rows[at + 1..] {
            let questions = one.values().zip(other.values());
            let questions = questions.map(|(one, other)| (u64::from(*one), u64::from(*other)));
            let Paired { first_only, second_only, p } = mcnemar(questions);
            writeln!(out, "| {first} | {second} | {first_only} | {second_only} | {p:.2e} |")?;
        }
    }
    Ok(())
}

/// Asks all problems with a variant.
async fn run(
    arguments: &Arguments,
    variant: &Variant,
    asked: &Arc<Asked>,
    problems: &[Problem],
) -> Result<Row> {
    let places = Arc::new(Semaphore::new(arguments.parallel.unwrap_or(8)));
    let mut answers = JoinSet::new();
    for problem in problems.iter().cloned() {
        let (asked, places, variant) = (Arc::clone(asked), Arc::clone(&places), variant.clone());
        let prompt = Prompt::question(problem.question.clone(), arguments.system.clone());
        answers.spawn(async move {
            let _place = places.acquire_owned().await?;
            let seed = question_seed(0, &problem.id);
            Result::Ok((answer(&asked, prompt, seed, &variant).await?, problem))
        });
    }
    let mut log = match &arguments.log {
        Some(path) => Some(OpenOptions::new().create(true).append(true).open(path)?),
        None => None,
    };
    let mut row = Row::default();
    while let Some(answered) = answers.join_next().await {
        let (answered, problem) = answered??;
        let verdict = grade(&problem.answer, &answered.text);
        row.add(problem.id.clone(), &answered, verdict.right);
        if let Some(log) = &mut log {
            let line = json!({
                "variant": variant.to_string(),
                "id": problem.id,
                "right": verdict.right,
                "tokens": answered.tokens,
                "corrections": answered.large.corrections,
                "middle_corrections": answered.middle.corrections,
                "pieces": answered.large.pieces,
                "read": answered.large.read,
                "text": answered.text,
            });
            writeln!(log, "{line}")?;
        }
    }
    Ok(row)
}
