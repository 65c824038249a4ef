//! A large node that is killed in mid-answer, and restarted on its port.

use std::{ffi::OsStr, sync::Arc, time::Duration};

use answer::{Node, Observer, Progress, Question, Run, Settings, Stamped, Writer, answer};
use tests::{Process, fixture};
use thinking::{
    beginning::AnswerBeginning,
    policy::PolicySpec,
    stops::StopTexts,
    testing::{Options, Script, ScriptedThinker},
    thinker::{Prompt, Sampling},
};
use tokio::sync::{mpsc, oneshot};
use transport::{Remote, RemoteConfig};

use crate::LARGE;

/// Passes an answer's events on to a test.
struct Told(mpsc::UnboundedSender<Progress>);

impl Observer for Told {
    fn see(&mut self, stamped: &Stamped) {
        let _ = self.0.send(stamped.progress.clone());
    }
}

/// Waits for such an event.
async fn until(told: &mut mpsc::UnboundedReceiver<Progress>, like: impl Fn(&Progress) -> bool) {
    let wait = async { while !like(&told.recv().await.expect("the answer goes on")) {} };
    tokio::time::timeout(Duration::from_secs(120), wait).await.expect("it happens");
}

fn by_large(progress: &Progress) -> bool {
    matches!(progress, Progress::Text(text) if text.writer == Writer::Large)
}

/// Returns a small model that doubts in every paragraph, writes 20 tokens a second, and never ends.
fn doubtful() -> ScriptedThinker {
    let doubt = ["Wait", ",", " is", " it", " so", "?", "\n\n"];
    let script =
        Script::function(move |_, _| doubt.repeat(100).into_iter().map(str::to_owned).collect());
    let token_delay = Duration::from_millis(50);
    ScriptedThinker::with_options(script, Options { token_delay, ..Options::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_node_that_is_started_again_takes_over_again() {
    let model = fixture("tiny-llama");
    let large = Process::node(LARGE, model.as_os_str(), &[] as &[&str]);
    let url = large.url();
    let remote = Remote::new(RemoteConfig::new(url.parse().unwrap())).unwrap();
    let max_tokens = 100_000;
    let run = Run {
        question: Question {
            id: "test".to_owned(),
            prompt: Prompt::Raw("2 + 3?".to_owned()),
            sampling: Sampling::default(),
            seed: 0,
            max_tokens,
            beginning: AnswerBeginning::default(),
            stop: StopTexts::default(),
            deadline: None,
        },
        small: [Node::new("small", Arc::new(doubtful()))].into_iter().collect(),
        large: [Node::new(&url, Arc::new(remote))].into_iter().collect(),
        policy: PolicySpec::default().build(0, max_tokens).unwrap(),
        settings: Settings {
            rejoin_after: Some(Duration::from_millis(100)),
            ..Settings::default()
        },
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let answering =
        tokio::spawn(
            async move { answer(run, &mut Told(tell), async { drop(stopped.await) }).await },
        );

    until(&mut told, by_large).await;
    drop(large);
    until(&mut told, |progress| matches!(progress, Progress::Degraded { .. })).await;
    let place = url.strip_prefix("http://").unwrap();
    let args = ["--model", model.to_str().unwrap(), "--listen", place, "--threads", "1"];
    let mut again = Process::spawn(LARGE, &args.map(OsStr::new), &[]);
    again.wait_for("listening on ");
    until(&mut told, |progress| matches!(progress, Progress::Rejoined(_))).await;
    until(&mut told, by_large).await;
    stop.send(()).unwrap();

    let summary = answering.await.unwrap().summary;
    assert_eq!((summary.rejoins, summary.hash_repairs), (1, 0));
    assert!(summary.degraded.is_some() && summary.takeovers.len() > 1, "{summary:?}");
}
