//! Answers over pools: nodes that fail, come and go while an answer is in progress.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{sync::Arc, time::Duration};

use answer::{
    Ended, Node, Observer, Outcome, Progress, Question, Run, Settings, Stamped, Writer, answer,
};
use futures_util::future::BoxFuture;
use pool::{Hedging, MemberState, MemberTerms, Pool, Teller, Watched};
use thinking::{
    beginning::AnswerBeginning,
    policy::{End, PolicySpec},
    stops::StopTexts,
    testing::{Fault, FaultKind, Options, Script, ScriptedThinker},
    thinker::{Code, Condition, Failure, ModelCard, Prompt, Sampling, Serving},
};
use tokio::time::{Instant, sleep};

const TOKEN: Duration = Duration::from_millis(10);

/// Does something once this many pieces of an answer were shown.
struct After<F> {
    pieces: u32,
    then: Option<F>,
}

impl<F: FnOnce() + Send> Observer for After<F> {
    fn see(&mut self, stamped: &Stamped) {
        if matches!(stamped.progress, Progress::Text(_)) {
            self.pieces = self.pieces.saturating_sub(1);
            if let Some(then) = self.then.take_if(|_| self.pieces == 0) {
                then();
            }
        }
    }
}

fn script(script: Script, faults: Vec<Fault>) -> Arc<ScriptedThinker> {
    let options = Options { token_delay: TOKEN, faults, ..Options::default() };
    Arc::new(ScriptedThinker::with_options(script, options))
}

/// A small model that doubts in every paragraph and then continues.
fn small() -> Node {
    let doubt = ["So", " it", " is", ".", "\n\n", "Wait", ",", " no", ".", "\n\n"];
    let words = doubt.repeat(5).into_iter().map(str::to_owned).collect::<Vec<_>>();
    Node::new("small", script(Script::function(move |_, _| words.clone()), Vec::new()))
}

fn large(name: &str, faults: Vec<Fault>) -> Node {
    let words = ["Hmm", ",", " no", "\n\n"];
    let says = Script::function(move |_, _| words.map(str::to_owned).to_vec());
    Node::new(name, script(says, faults))
}

/// Faults that fail every session at its first ask.
fn broken() -> Vec<Fault> {
    let kind = FaultKind::Fail(Failure::new(Code::Internal, "it is broken"));
    vec![Fault { session: None, command: 1, after_tokens: 0, kind }]
}

fn run(small: &Pool, large: &Pool, max_tokens: u32) -> Run {
    Run {
        question: Question {
            id: "test".to_owned(),
            prompt: Prompt::Raw("2 + 2?".to_owned()),
            sampling: Sampling::default(),
            seed: 7,
            max_tokens,
            beginning: AnswerBeginning::default(),
            stop: StopTexts::default(),
            deadline: None,
        },
        small: small.candidates(|_| true),
        large: large.candidates(|_| true),
        policy: PolicySpec::default().build(0, max_tokens).unwrap(),
        settings: Settings { rejoin_after: None, ..Settings::default() },
    }
}

async fn answered(run: Run, pieces: u32, then: impl FnOnce() + Send) -> Outcome {
    let outcome =
        answer(run, &mut After { pieces, then: Some(then) }, std::future::pending()).await;
    assert_eq!(outcome.ended, Ended::Complete(End::MaxTokens));
    outcome
}

fn watched(node: Node) -> Watched {
    let serving = |teller: Teller| {
        teller.tell(Condition::Serving(Box::default()));
        Box::pin(std::future::pending()) as BoxFuture<'static, ()>
    };
    Watched { node, terms: MemberTerms::default(), watch: Box::new(serving) }
}

fn by_large(outcome: &Outcome) -> usize {
    outcome.transcript.spans().iter().filter(|span| span.writer == Writer::Large).count()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_is_replaced_and_after_a_while_not_chosen() {
    let small = Pool::unwatched([small()]);
    let large = Pool::unwatched([large("well", Vec::new()), large("broken", broken())]);
    let mut resumed = 0;
    for _ in 0..40 {
        let outcome = answered(run(&small, &large, 60), 1, || {}).await;
        assert_eq!(outcome.summary.degraded, None);
        assert!(by_large(&outcome) > 0);
        resumed += outcome.summary.large_resumes;
    }
    assert!((1..10).contains(&resumed), "{resumed}");
    let reports = large.reports();
    assert_eq!(reports[0].state, MemberState::Serving);
    assert!(reports.iter().all(|report| report.sessions == 0), "{reports:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_while_an_answer_is_written_takes_part_in_it() {
    let (small, none) = (Pool::unwatched([small()]), Pool::unwatched([]));
    let outcome = answered(run(&small, &none, 200), 1, || {}).await;
    assert_eq!(by_large(&outcome), 0);
    let joins = none.clone();
    let outcome = answered(run(&small, &none, 200), 20, move || {
        joins.join(watched(large("new", Vec::new())));
    });
    let outcome = outcome.await;
    assert!(by_large(&outcome) > 1, "{:?}", outcome.summary);
    assert_eq!(outcome.summary.large.node, "new");
}

#[tokio::test(start_paused = true)]
async fn one_that_came_meanwhile_stands_in_and_one_that_left_does_not() {
    let fails = FaultKind::Fail(Failure::new(Code::Unavailable, "it crashed"));
    let later = Fault { session: None, command: 8, after_tokens: 1, kind: fails };
    let small = Pool::unwatched([small()]);
    let pool = Pool::unwatched([large("first", vec![later]), large("left", broken())]);
    let first = pool.clone();
    let run = loop {
        let run = run(&small, &pool, 200);
        if run.large.nodes[0].name == "first" {
            break run;
        }
    };
    let outcome = answered(run, 3, move || {
        first.leave("left");
        first.join(watched(large("new", Vec::new())));
    });
    let outcome = outcome.await;
    let Outcome { summary, .. } = &outcome;
    assert_eq!((summary.large_resumes, summary.large.node.as_str()), (1, "new"), "{summary:?}");
    assert_eq!(summary.degraded, None);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_is_late_is_asked_of_a_second_node() {
    let slowly = |name: &str, token_delay: Duration| {
        let says = Script::function(|_, _| ["Hmm", ",", " no", "\n\n"].map(str::to_owned).to_vec());
        let options = Options { token_delay, ..Options::default() };
        Node::new(name, Arc::new(ScriptedThinker::with_options(says, options)))
    };
    let small = Pool::unwatched([small()]);
    let pool = Pool::unwatched([slowly("slow", 100 * TOKEN), slowly("quick", TOKEN)]);
    assert_eq!(pool.hedge_after(Hedging::WhenLate), None, "the usual time is not known yet");
    let run = loop {
        let run = run(&small, &pool, 60);
        if run.large.nodes[0].name == "slow" {
            break run;
        }
    };
    let hedge_after = pool.hedge_after(Hedging::After(5 * TOKEN));
    let settings = Settings { hedge_after, ..run.settings };
    let summary = answered(Run { settings, ..run }, 1, || {}).await.summary;
    assert_eq!((summary.hedges, summary.hedges_won), (1, 1), "the quick one stays");
    assert_eq!((summary.large.node.as_str(), summary.large_resumes), ("quick", 0));
    assert!(summary.takeovers.len() > 1 && summary.time.total_us < 2_000_000, "{summary:?}");
    let reports = pool.reports();
    assert!(reports.iter().all(|report| report.sessions == 0), "{reports:?}");
    assert!(reports.iter().all(|report| report.takes_sessions), "nobody is to blame");
}

#[tokio::test(start_paused = true)]
async fn a_pool_waits_for_what_its_nodes_say_but_not_for_long() {
    let serving = |name: &str, after: Duration| {
        let card = ModelCard { name: name.to_owned(), ..ModelCard::default() };
        let serving = Serving { card: Some(card), ..Serving::default() };
        Watched {
            node: small(),
            terms: MemberTerms::default(),
            watch: Box::new(move |teller: Teller| {
                Box::pin(async move {
                    sleep(after).await;
                    teller.tell(Condition::Serving(Box::new(serving)));
                    std::future::pending().await
                })
            }),
        }
    };
    let pool = Pool::new(0);
    let named = |name: &str, watched: Watched| Watched {
        node: Node { name: name.to_owned(), ..watched.node },
        ..watched
    };
    pool.join(named("a", serving("m", Duration::from_millis(10))));
    pool.join(named("b", serving("n", Duration::from_millis(20))));
    pool.watch();
    let begin = Instant::now();
    pool.settled(Duration::from_secs(1)).await;
    assert_eq!(begin.elapsed(), Duration::from_millis(20));
    assert!(pool.misfit().unwrap().starts_with("b serves the model \"n\""), "{:?}", pool.misfit());
    pool.join(named("c", serving("m", Duration::MAX)));
    let begin = Instant::now();
    pool.settled(Duration::from_secs(1)).await;
    assert_eq!(begin.elapsed(), Duration::from_millis(50), "others serve");
    assert_eq!(pool.reports()[2].state, MemberState::Unknown);
    pool.leave("a");
    pool.leave("b");
    pool.settled(Duration::from_secs(1)).await;
    assert_eq!(begin.elapsed(), Duration::from_millis(1050), "nobody serves");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_watched_for_a_pool_that_is_gone() {
    let (told, mut ended) = tokio::sync::mpsc::channel::<()>(1);
    let pool = Pool::new(0);
    pool.join(Watched {
        node: small(),
        terms: MemberTerms::default(),
        watch: Box::new(move |_| {
            Box::pin(async move {
                let _told = told;
                std::future::pending().await
            })
        }),
    });
    pool.watch();
    tokio::task::yield_now().await;
    drop(pool);
    assert_eq!(ended.recv().await, None);
}
