//! How many nodes for how many users? Recorded answers over nodes that many share, in simulated time.
//!
//! [`AnswerTrace`] is a recorded answer as work, taken through the conductor over a link; [`SpeedCurve`] says how fast
//! a node is by how many sessions it writes at a time; [`size`] puts the questions of a [`Population`] to a [`Fleet`],
//! and [`least_nodes`] looks for the smallest one that keeps targets. docs/sizing.md tells the method and its limits.
//!
//! Pure. What does not live here: reading journals, prices, and how the answer is worded (the command `specthink-lab`).

mod arrivals;
mod curve;
mod figures;
mod processor;
mod search;
mod simulation;
mod trace;

use thinking::policy::Role;

use self::simulation::{Counted, Simulation};
pub use self::{
    arrivals::{Arrival, Arrivals},
    curve::{SpeedCurve, SpeedCurveError},
    figures::{BadSizingTarget, Percentiles, SizingFigures, SizingTarget},
    search::least_nodes,
    trace::{AnswerTrace, TraceError, TraceStep},
};

/// Who asks, and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Population {
    /// How many users.
    pub users: u64,
    /// Questions of each, in an hour.
    pub questions_per_hour: f64,
    /// Seeds when they ask, and what.
    pub seed: u64,
    /// How many answers count.
    pub answers: usize,
}

impl Population {
    /// Questions of all of them, in a second.
    pub fn questions_per_s(&self) -> f64 {
        self.users as f64 * self.questions_per_hour / 3600.0
    }
}

/// The nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// The large ones.
    pub large: NodePool,
    /// The small ones; none: every user has one, which is as fast as the recorded one.
    pub small: Option<NodePool>,
}

/// Nodes of one kind that all answers share.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePool {
    /// How many.
    pub nodes: u32,
    /// How fast each is.
    pub curve: SpeedCurve,
}

/// Why there is no answer. One line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SizingError {
    /// No recorded answer.
    #[error("there is no recorded answer to size by; give journals, or folders with journals")]
    NoTraces,
    /// Nobody asks.
    #[error(
        "{users} users with {questions_per_hour} questions an hour ask nothing; both are numbers above zero"
    )]
    NobodyAsks {
        /// The users.
        users: u64,
        /// Their questions.
        questions_per_hour: f64,
    },
    /// More is asked than can be answered.
    #[error(
        "{asked_per_s:.2} questions a second come in and {nodes} {role} {} can answer at most {most_per_s:.2}, so that \
         the queue would grow without end; {needed} {role} nodes or more would serve that",
        if *nodes == 1 { "node" } else { "nodes" }
    )]
    Overload {
        /// The questions of a second.
        asked_per_s: f64,
        /// "small" or "large".
        role: &'static str,
        /// The nodes of this role.
        nodes: u32,
        /// The most that they answer in a second.
        most_per_s: f64,
        /// The least number of nodes that would serve.
        needed: u64,
    },
    /// Too many nodes.
    #[error(
        "that takes {needed} {role} nodes, more than a million; ask about fewer users, or faster nodes"
    )]
    TooMany {
        /// "small" or "large".
        role: &'static str,
        /// The least number of nodes that would serve.
        needed: u64,
    },
    /// More nodes do not help.
    #[error(
        "no number of large nodes keeps {target}: with {nodes} answers take {answer_s:.2} s at p95, and takeovers \
         {takeover_s:.3} s to their first text; faster nodes or a faster link would help, or more small nodes where \
         users share them"
    )]
    NeverKept {
        /// What is not kept.
        target: String,
        /// With which nodes.
        nodes: String,
        /// The answers' p95 with them.
        answer_s: f64,
        /// The p95 from an ask of the large model to its first text.
        takeover_s: f64,
    },
}

/// More nodes of a role are not simulated.
const MOST_NODES: u64 = 1_000_000;

/// What these nodes make of these users' questions. Each is answered as one of the traces was, each as likely as the
/// others. The same values give the same figures on every machine.
///
/// # Errors
/// When nobody asks, nothing was recorded, or more is asked than the nodes can answer.
pub fn size(
    traces: &[AnswerTrace],
    population: &Population,
    fleet: &Fleet,
) -> Result<SizingFigures, SizingError> {
    check(traces, population)?;
    let pools = [(Role::Small, fleet.small.as_ref()), (Role::Large, Some(&fleet.large))];
    for (role, pool) in pools {
        if let Some(pool) = pool {
            check_load(traces, population, role, pool)?;
        }
    }
    let per_s = population.questions_per_s();
    let arrivals = Arrivals::new(per_s, traces.len(), population.seed);
    let answers = population.answers.max(1);
    // Until the nodes are as busy as they get: some times as many as are under way at a time with idle ones.
    let under_way = alone(traces, fleet)?.answer.mean_s * per_s;
    let counted = Counted { skipped: (answers / 10).max((4.0 * under_way) as usize), answers };
    figures(traces, fleet, arrivals, counted)
}

/// What these nodes make of given questions, all of which count.
///
/// # Errors
/// When there is none, or nothing was recorded.
pub fn size_questions(
    traces: &[AnswerTrace],
    questions: &[Arrival],
    fleet: &Fleet,
) -> Result<SizingFigures, SizingError> {
    let counted = Counted { skipped: 0, answers: questions.len() };
    figures(traces, fleet, questions.iter().copied(), counted)
}

/// The traces, each with idle nodes of its own.
///
/// # Errors
/// When nothing was recorded.
pub fn alone(traces: &[AnswerTrace], fleet: &Fleet) -> Result<SizingFigures, SizingError> {
    let one = |pool: &NodePool| NodePool { nodes: 1, ..pool.clone() };
    let fleet = Fleet { large: one(&fleet.large), small: fleet.small.as_ref().map(one) };
    let longest_s = |trace: &AnswerTrace| {
        let between = trace.steps.iter().map(|step| step.up_s + step.node_s + step.end_down_s);
        let pools = [(Role::Small, fleet.small.as_ref()), (Role::Large, Some(&fleet.large))];
        let nodes = pools.into_iter().filter_map(|(role, pool)| {
            let (reads, writes) = trace.work(role);
            let curve = &pool?.curve;
            Some(reads / curve.prefill_tokens_per_s() + writes * curve.step_s(1))
        });
        // With time to spare: what is read late makes room for what is written.
        2.0 * (trace.before_s + between.sum::<f64>() + nodes.sum::<f64>()) + 1.0
    };
    let mut at_s = 0.0;
    let questions: Vec<Arrival> = (0..traces.len())
        .map(|trace| {
            let arrival = Arrival { at_s, trace, draws: Default::default() };
            at_s += longest_s(&traces[trace]);
            arrival
        })
        .collect();
    size_questions(traces, &questions, &fleet)
}

fn figures(
    traces: &[AnswerTrace],
    fleet: &Fleet,
    arrivals: impl Iterator<Item = Arrival>,
    counted: Counted,
) -> Result<SizingFigures, SizingError> {
    let tally = Simulation::new(traces, fleet, arrivals, counted).run();
    let nodes = [fleet.small.as_ref().map(|pool| pool.nodes), Some(fleet.large.nodes)];
    SizingFigures::new(tally, nodes).ok_or(SizingError::NoTraces)
}

fn check(traces: &[AnswerTrace], population: &Population) -> Result<(), SizingError> {
    let Population { users, questions_per_hour, .. } = *population;
    let per_s = population.questions_per_s();
    if !(per_s.is_finite() && per_s > 0.0) {
        return Err(SizingError::NobodyAsks { users, questions_per_hour });
    }
    if traces.is_empty() { Err(SizingError::NoTraces) } else { Ok(()) }
}

/// Whether a role's nodes can answer all that is asked.
fn check_load(
    traces: &[AnswerTrace],
    population: &Population,
    role: Role,
    pool: &NodePool,
) -> Result<(), SizingError> {
    let needed = needed(traces, population, role, &pool.curve)?;
    if u64::from(pool.nodes) >= needed {
        return Ok(());
    }
    let answer_s = mean(traces, |trace| trace.least_node_s(role, &pool.curve));
    Err(SizingError::Overload {
        asked_per_s: population.questions_per_s(),
        role: role_name(role),
        nodes: pool.nodes,
        most_per_s: f64::from(pool.nodes) / answer_s,
        needed,
    })
}

/// The least number of nodes that can do all that is asked of them.
fn needed(
    traces: &[AnswerTrace],
    population: &Population,
    role: Role,
    curve: &SpeedCurve,
) -> Result<u64, SizingError> {
    let answer_s = mean(traces, |trace| trace.least_node_s(role, curve));
    // A node that computes without a pause is one with an endless queue.
    let needed = (population.questions_per_s() * answer_s).floor() as u64 + 1;
    let role = role_name(role);
    if needed > MOST_NODES { Err(SizingError::TooMany { role, needed }) } else { Ok(needed) }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Small => "small",
        Role::Large => "large",
    }
}

fn mean(traces: &[AnswerTrace], value: impl Fn(&AnswerTrace) -> f64) -> f64 {
    traces.iter().map(value).sum::<f64>() / traces.len().max(1) as f64
}
