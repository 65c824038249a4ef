//! The driver: carries the actions of a policy out over two sessions.
//!
//! It waits in one place, [`Driver::run`], for the next event of either session, the caller's wish
//! to stop, or the moment when a silence or a takeover's first text has lasted too long or a lost
//! large node is tried again. Everything else is bookkeeping without waiting, so neither node can
//! hold up the other. What must be true at all times:
//!
//! - `written` is the answer: text is told to the observer when it is added, and never taken back.
//! - A link's session holds a beginning of `written`, and at most one proposal that goes on from
//!   there. A link that lags behind catches up before it is asked to write.
//! - Both nodes write at a time only while the large one has no text: what the small one writes then is an overlap.
//! - At most one draft that is not provisional grows, at the end of `written`.

mod actions;
mod draft;
mod events;
mod link;
mod recover;
mod rejoin;
mod tally;
mod written;

use std::{collections::VecDeque, pin::pin, time::Duration};

use thinking::{
    policy::{End, Limited, Role, Why},
    thinker::{Code, Event, Failure, Open},
    transcript::Transcript,
};
use tokio::time::{Instant, sleep_until};

use self::{draft::Draft, link::Link, rejoin::Away, tally::Meter, written::Written};
use crate::{
    account::Summary,
    progress::{Observer, Progress, Stamped},
    question::{Node, Question, Run, Settings},
};

/// After the deadline a node gets this long to say what it has.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);
/// A timer that fires so much too late tells of a pause of this process (Ctrl-Z, a sleeping
/// machine), not of a silent node.
const OVERSLEPT: Duration = Duration::from_secs(1);
/// The longest an answer may take when the question sets no deadline.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How an answer ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It is complete, or stopped at a limit.
    Complete(End),
    /// No small node is left, or a policy made no sense.
    Failed {
        /// The node's name.
        node: String,
        /// Why.
        failure: Failure,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Its text, as the observer was shown it, by spans.
    pub transcript: Transcript,
    /// What it cost.
    pub summary: Summary,
}

impl Outcome {
    /// The whole text.
    pub fn text(&self) -> String {
        self.transcript.text()
    }
}

/// Answers a question: drives the policy over the nodes until it ends the answer, a limit is
/// reached, `cancel` completes, or no small node is left.
///
/// Never fails: what went wrong is in the outcome, with the text so far. When it returns, or is
/// dropped, both sessions are given up and the nodes stop computing.
pub async fn answer(
    run: Run,
    observer: &mut dyn Observer,
    cancel: impl Future<Output = ()> + Send,
) -> Outcome {
    let mut small = VecDeque::from(run.small);
    let Some(first) = small.pop_front() else {
        let failure = Failure::new(Code::InvalidArgument, "no small node is given");
        let ended = Ended::Failed { node: String::new(), failure: failure.clone() };
        let summary = Summary { failure: Some(failure), ..Summary::default() };
        return Outcome { ended, transcript: Transcript::default(), summary };
    };
    let mut driver = Driver::new(run.question, run.settings, run.policy, observer, first, small);
    if let Some(large) = run.large {
        driver.summary.large.node.clone_from(&large.name);
        driver.meters.push(Meter::start(Role::Large, &large));
        match driver.settings.resend {
            true => driver.resend_to = Some(large),
            false => driver.large = Some(Link::open(large, driver.open(""))),
        }
    }
    let ended = driver.run(cancel).await;
    driver.conclude(ended)
}

/// What the driver waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaiting {
    /// The small node to accept the question.
    Opened,
    /// A node to finish what it was asked for.
    Finished(Role),
    /// The small node to take in the policy's text.
    Inserted { text: String, why: Why },
}

impl Awaiting {
    fn role(&self) -> Role {
        match self {
            Awaiting::Finished(role) => *role,
            Awaiting::Opened | Awaiting::Inserted { .. } => Role::Small,
        }
    }
}

/// What is done when nothing has come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    /// A node is given up.
    Silent(Role),
    /// The takeover is given up.
    Late,
    /// A large node that was lost is tried again.
    Rejoin,
}

struct Driver<'a> {
    question: Question,
    settings: Settings,
    policy: Limited,
    observer: &'a mut dyn Observer,
    started: Instant,
    small: Link,
    spare: VecDeque<Node>,
    large: Option<Link>,
    /// The large node where every takeover opens a session of its own; then `large` is there during takeovers only.
    resend_to: Option<Node>,
    /// The large node is out. A session that is there all the same is not accepted yet, and is asked for nothing.
    away: Option<Away>,
    /// How often it was tried again since it last wrote: one that is accepted and lost again is
    /// tried less and less often.
    tries: u32,
    small_draft: Option<Draft>,
    large_draft: Option<Draft>,
    written: Written,
    transcript: Transcript,
    awaiting: Awaiting,
    /// When the awaited node last gave a sign.
    heard: Instant,
    asks: u32,
    overlaps: u32,
    meters: Vec<Meter>,
    summary: Summary,
}

impl<'a> Driver<'a> {
    fn new(
        question: Question,
        settings: Settings,
        policy: Limited,
        observer: &'a mut dyn Observer,
        small: Node,
        spare: VecDeque<Node>,
    ) -> Self {
        let now = Instant::now();
        let mut summary = Summary::default();
        summary.small.node.clone_from(&small.name);
        let meters = vec![Meter::start(Role::Small, &small)];
        let open = open_command(&question, "", now);
        Driver {
            settings,
            policy,
            observer,
            started: now,
            small: Link::open(small, open),
            spare,
            large: None,
            resend_to: None,
            away: None,
            tries: 0,
            small_draft: None,
            large_draft: None,
            written: Written::default(),
            transcript: Transcript::default(),
            awaiting: Awaiting::Opened,
            heard: now,
            asks: 0,
            overlaps: 0,
            meters,
            summary,
            question,
        }
    }

    /// The one place that waits.
    async fn run(&mut self, cancel: impl Future<Output = ()>) -> Ended {
        let mut cancel = pin!(cancel);
        loop {
            let (at, alarm) = self.next_alarm();
            let large = async {
                match &mut self.large {
                    Some(link) => link.next().await,
                    None => std::future::pending().await,
                }
            };
            // In this order: a flood of events must keep neither the caller nor a deadline waiting,
            // and a node is silent only when nothing of it lies here unread.
            let step = tokio::select! {
                biased;
                () = &mut cancel => Some(Ended::Complete(End::Cancelled)),
                () = sleep_until(hard_deadline(self.started, &self.question)) => {
                    Some(Ended::Complete(End::Deadline))
                }
                event = large => self.take(Role::Large, event),
                event = self.small.next() => self.take(Role::Small, event),
                () = sleep_until(at) => self.alarm(at, alarm),
            };
            if let Some(ended) = step {
                return ended;
            }
        }
    }

    /// What is to be done when nothing comes, and when.
    fn next_alarm(&self) -> (Instant, Alarm) {
        let after = |heard: Instant, role| heard + timeout(role, &self.settings).min(LONGEST);
        let awaited = self.awaiting.role();
        let silent = (after(self.heard, awaited), Alarm::Silent(awaited));
        // Nobody waits for what a takeover that was given up still owes, nor for a node that is
        // tried again, but one that never says it is gone.
        let owing = self.large.as_ref();
        let owing = owing.filter(|link| self.away.is_some() || !link.forgotten.is_empty());
        let owing = owing.map(|link| (after(link.heard, Role::Large), Alarm::Silent(Role::Large)));
        let late = self.large_draft.as_ref().and_then(Draft::may_be_late_at);
        let late = late.map(|at| (at, Alarm::Late));
        let rejoin = self.away.as_ref().and_then(|away| away.next_at);
        let rejoin = rejoin.map(|at| (at, Alarm::Rejoin));
        [owing, late, rejoin]
            .into_iter()
            .flatten()
            .fold(silent, |first, next| if next.0 < first.0 { next } else { first })
    }

    fn alarm(&mut self, at: Instant, alarm: Alarm) -> Option<Ended> {
        let now = Instant::now();
        // It was this process that stood still. What the nodes sent is still on its way here.
        let overslept = at.elapsed() > OVERSLEPT;
        match alarm {
            // What nobody was asked for stays late.
            Alarm::Late => match self.large_draft.as_mut().filter(|d| overslept && d.attached) {
                Some(draft) => {
                    draft.late_at = draft.ask.first_text_within.map(|within| now + within);
                    None
                }
                None => self.give_up(),
            },
            Alarm::Rejoin => {
                self.rejoin();
                None
            }
            Alarm::Silent(_) if overslept => {
                self.heard = now;
                if let Some(link) = &mut self.large {
                    link.heard = now;
                }
                None
            }
            Alarm::Silent(role) => {
                let waited = timeout(role, &self.settings);
                let message = format!("it gave no sign for {waited:?}");
                self.lost(role, Failure::new(Code::Unavailable, message))
            }
        }
    }

    fn take(&mut self, role: Role, event: Event) -> Option<Ended> {
        let now = Instant::now();
        if self.awaiting.role() == role {
            self.heard = now;
        }
        if let Some(link) = self.link(role) {
            link.heard = now;
        }
        match event {
            Event::Opened(opened) => self.opened(role, opened),
            Event::Warmed(warmed) => self.warmed(role, &warmed),
            Event::Delta(delta) => self.delta(role, delta),
            Event::Finished(finished) => self.finished(role, finished),
            Event::Failed(failure) => self.lost(role, failure),
        }
    }

    fn open(&self, committed: &str) -> Open {
        open_command(&self.question, committed, self.started)
    }

    fn link(&mut self, role: Role) -> Option<&mut Link> {
        match role {
            Role::Small => Some(&mut self.small),
            Role::Large => self.large.as_mut(),
        }
    }

    fn draft(&mut self, role: Role) -> &mut Option<Draft> {
        match role {
            Role::Small => &mut self.small_draft,
            Role::Large => &mut self.large_draft,
        }
    }

    /// Whether the small node writes on provisionally while the large one is waited for.
    fn overlapping(&self) -> bool {
        self.awaiting == Awaiting::Finished(Role::Large)
            && self.small_draft.as_ref().is_some_and(Draft::is_overlap)
    }

    fn elapsed_us(&self) -> u64 {
        micros(self.started.elapsed())
    }

    fn tell(&mut self, progress: Progress) {
        let stamped = Stamped { at_us: self.elapsed_us(), progress };
        self.observer.see(&stamped);
    }
}

fn open_command(question: &Question, committed: &str, started: Instant) -> Open {
    // A deadline that has passed is still a deadline: the node then answers at once.
    let left = |deadline: Duration| {
        deadline.saturating_sub(started.elapsed()).max(Duration::from_millis(1))
    };
    Open {
        question_id: question.id.clone(),
        prompt: question.prompt.clone(),
        committed: committed.to_owned(),
        sampling: question.sampling,
        deadline: question.deadline.map(left),
    }
}

fn timeout(role: Role, settings: &Settings) -> Duration {
    match role {
        Role::Small => settings.small_timeout,
        Role::Large => settings.large_timeout,
    }
}

fn hard_deadline(started: Instant, question: &Question) -> Instant {
    started + question.deadline.unwrap_or(LONGEST).min(LONGEST) + DEADLINE_GRACE
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
