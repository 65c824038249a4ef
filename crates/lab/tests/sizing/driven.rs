//! Many answers at a time over shared scripted nodes, in paused time, compared with simulated time.

use std::{sync::Arc, time::Duration};

use answer::Node;
use grading::quantile::quantile;
use lab::{
    replay::{RecordedOver, Recording},
    sizing::{AnswerTrace, Arrival, Arrivals, size_questions},
};
use thinking::testing::{Options, ScriptedThinker};

use crate::{
    batched::{BatchedThinker, ask, ask_all, large_script, question, small_script},
    curve, large,
};

const QUESTIONS: u64 = 40;
const NODES: u32 = 2;

fn seconds(us: &mut [u64], share: f64) -> f64 {
    us.sort_unstable();
    quantile(us, share).unwrap() as f64 / 1e6
}

#[tokio::test(start_paused = true)]
async fn simulated_answers_take_as_long_as_driven_ones_over_shared_nodes() {
    let speeds = curve(1500.0, &[(1, 40.0), (4, 100.0), (16, 200.0)]);
    let options = Options { token_delay: Duration::from_millis(10), ..Options::default() };
    let small =
        Node::new("small", Arc::new(ScriptedThinker::with_options(small_script(), options)));
    let node =
        |_| Node::new("large", Arc::new(BatchedThinker::new(large_script(), speeds.clone())));
    let nodes: Vec<Node> = (0..NODES).map(node).collect();
    let mut traces = Vec::new();
    for number in 0..QUESTIONS {
        let (_, journal) = ask(question(number), &small, &nodes[0]).await;
        let recording = Recording::new(&journal, RecordedOver::Loopback).unwrap();
        traces.push(AnswerTrace::new(&recording, None, 0, 0.0).unwrap());
    }
    for per_s in [1.5, 2.5] {
        let arrivals: Vec<Arrival> = Arrivals::new(per_s, traces.len(), 3).take(300).collect();
        let mut live = ask_all(&arrivals, &small, &nodes).await;
        let simulated = size_questions(&traces, &arrivals, &large(NODES, speeds.clone())).unwrap();
        let first_text = simulated.first_text.unwrap();
        let table = [
            ("answers, median", seconds(&mut live.answers_us, 0.5), simulated.answer.median_s),
            ("answers, p95", seconds(&mut live.answers_us, 0.95), simulated.answer.p95_s),
            ("first text, median", seconds(&mut live.first_texts_us, 0.5), first_text.median_s),
            ("first text, p95", seconds(&mut live.first_texts_us, 0.95), first_text.p95_s),
        ];
        for (what, driven, simulated) in table {
            assert!(
                (simulated / driven - 1.0).abs() < 0.1,
                "{per_s}/s, {what}: {driven} {simulated}"
            );
        }
    }
}
