//! Do whole engines, with their threads, chunks of prefill and batches, write the same greedy answers as on the CPU?

use std::{fs, path::Path, sync::Arc};

use candle_core::Device;
use engine::{Engine, EngineOptions, ModelLocation};
use serde::Deserialize;
use serde_json::json;
use thinking::thinker::{
    Command, Event, Open, Prompt, Propose, Sampling, Thinker as _, ThoughtStart,
};
use tokio::runtime::Runtime;

use crate::common::{self, Outcome, say, verdict};

#[derive(Deserialize)]
struct Question {
    question: String,
}

/// Asks the first `count` questions.
pub(crate) fn check(file: &Path, questions: &Path, count: usize, device: &Device) -> Outcome {
    let questions: Vec<String> = fs::read_to_string(questions)?
        .lines()
        .take(count)
        .map(|line| serde_json::from_str::<Question>(line).map(|question| question.question))
        .collect::<Result<_, _>>()?;
    let runtime = Runtime::new()?;
    let cpu = one_by_one(&runtime, &start(file, count, &Device::Cpu)?, &questions)?;
    let engine = start(file, count, device)?;
    let alone = one_by_one(&runtime, &engine, &questions)?;
    let again = one_by_one(&runtime, &engine, &questions)?;
    let together = at_once(&runtime, &engine, &questions)?;
    let same = |a: &[String], b: &[String]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    let differing = cpu.iter().zip(&alone).find(|(cpu, alone)| cpu != alone);
    let (as_cpu, as_before) = (same(&cpu, &alone), same(&alone, &again));
    say(
        "text",
        json!({
            "file": file.to_string_lossy(), "questions": cpu.len(), "as on the CPU": as_cpu,
            "the same again": as_before, "the same in company": same(&alone, &together),
            "first that differs": differing,
        }),
    );
    // Near ties may fall either way, but a device must repeat itself.
    verdict(usize::from(as_before != cpu.len()) + usize::from(2 * as_cpu < cpu.len()))
}

fn start(file: &Path, sessions: usize, device: &Device) -> Outcome<Arc<Engine>> {
    let load = common::options(None, device);
    let options = EngineOptions { max_sessions: sessions.max(1), ..EngineOptions::default() };
    let location = ModelLocation::Path(file.to_owned());
    Ok(Arc::new(Engine::load(&location, &load, options, &mut |_| {})?))
}

fn one_by_one(
    runtime: &Runtime,
    engine: &Arc<Engine>,
    questions: &[String],
) -> Outcome<Vec<String>> {
    let mut answers = Vec::new();
    for question in questions {
        answers.push(runtime.block_on(answer(Arc::clone(engine), question.clone()))?);
    }
    Ok(answers)
}

fn at_once(runtime: &Runtime, engine: &Arc<Engine>, questions: &[String]) -> Outcome<Vec<String>> {
    let tasks: Vec<_> = questions
        .iter()
        .map(|question| runtime.spawn(answer(Arc::clone(engine), question.clone())))
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(runtime.block_on(task)??);
    }
    Ok(answers)
}

async fn answer(engine: Arc<Engine>, question: String) -> Result<String, String> {
    let mut session = engine.session();
    let open = Open {
        question_id: "check".to_owned(),
        prompt: Prompt::question(question, None),
        committed: String::new(),
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        deadline: None,
        thought: ThoughtStart::Unknown,
        review: None,
    };
    let propose =
        Propose { max_tokens: 300, stop: Vec::new(), watch: None, seed: 1, report_entropy: false };
    for command in [Command::Open(open), Command::Propose(propose)] {
        session.commands.send(command).await.map_err(|why| why.to_string())?;
    }
    let mut text = String::new();
    loop {
        match session.events.recv().await {
            Some(Event::Delta(delta)) => text.push_str(&delta.text),
            Some(Event::Finished(_)) => return Ok(text),
            Some(Event::Failed(failure)) => return Err(failure.message),
            Some(_) => {}
            None => return Err("the engine ended".to_owned()),
        }
    }
}
