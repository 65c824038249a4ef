//! How many nodes are needed for how many users? Replays recorded answers on shared nodes, in simulated time.
//!
//! [`AnswerTrace`] is a recorded answer as work, run through the conductor over a link. [`SpeedCurve`] says how fast a
//! node is, depending on how many sessions it writes at a time. [`size`] puts the questions of a [`Population`] to a
//! [`Fleet`], and [`least_nodes`] finds the smallest fleet that keeps the targets. docs/sizing.md describes the method
//! and its limits.
//!
//! Pure. Reading journals, prices, and the wording of the answer (the command `specthink-lab`) are elsewhere.

mod arrivals;
mod figures;
mod processor;
mod search;
mod simulation;
mod trace;

use machines::SpeedCurve;
use thinking::policy::Role;

use self::simulation::{Counted, Simulation};
pub use self::{
    arrivals::{Arrival, Arrivals},
    figures::{BadSizingTarget, Percentiles, SizingFigures, SizingTarget},
    search::least_nodes,
    trace::{AnswerTrace, TraceError, TraceStep},
};

/// Who asks, and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Population {
    /// The number of users.
    pub users: u64,
    /// Questions per user and hour.
    pub questions_per_hour: f64,
    /// The seed for when users ask, and what.
    pub seed: u64,
    /// The number of answers that count.
    pub answers: usize,
}

impl Population {
    /// Returns how many questions all users ask in a second.
    pub fn questions_per_s(&self) -> f64 {
        self.users as f64 * self.questions_per_hour / 3600.0
    }
}

/// The nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// The large nodes.
    pub large: NodePool,
    /// The small nodes; absent: every user has their own, as fast as the recorded one.
    pub small: Option<NodePool>,
}

/// Nodes of one kind that all answers share.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePool {
    /// The number of nodes.
    pub nodes: u32,
    /// The speed of each.
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
        "{users} users with {questions_per_hour} questions an hour ask nothing; give numbers above zero for both"
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
        /// Questions per second.
        asked_per_s: f64,
        /// "small" or "large".
        role: &'static str,
        /// The nodes of this role.
        nodes: u32,
        /// The most answers per second that they can give.
        most_per_s: f64,
        /// The smallest number of nodes that would suffice.
        needed: u64,
    },
    /// Too many nodes.
    #[error(
        "that takes {needed} {role} nodes, more than a million; ask about fewer users, or faster nodes"
    )]
    TooMany {
        /// "small" or "large".
        role: &'static str,
        /// The smallest number of nodes that would suffice.
        needed: u64,
    },
    /// More nodes do not help.
    #[error(
        "no number of large nodes keeps {target}: with {nodes} answers take {answer_s:.2} s at p95, and takeovers \
         {takeover_s:.3} s to their first text; faster nodes or a faster link would help, or more small nodes where \
         users share them"
    )]
    NeverKept {
        /// The target that is not kept.
        target: String,
        /// The nodes with which it is not kept.
        nodes: String,
        /// The answers' p95 with these nodes.
        answer_s: f64,
        /// The p95 from an ask of the large model to its first text.
        takeover_s: f64,
    },
}

/// No more nodes of a role than this are simulated.
const MOST_NODES: u64 = 1_000_000;

/// Simulates these users' questions on these nodes. Each question is answered like one of the traces, all equally
/// likely. The same values give the same figures on every machine.
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
    // Skip questions until the nodes are as busy as they get: several times as many as idle nodes have in progress.
    let under_way = alone(traces, fleet)?.answer.mean_s * per_s;
    let counted = Counted { skipped: (answers / 10).max((4.0 * under_way) as usize), answers };
    figures(traces, fleet, arrivals, counted)
}

/// Simulates given questions, all of which count.
///
/// # Errors
/// When there are no questions, or nothing was recorded.
pub fn size_questions(
    traces: &[AnswerTrace],
    questions: &[Arrival],
    fleet: &Fleet,
) -> Result<SizingFigures, SizingError> {
    let counted = Counted { skipped: 0, answers: questions.len() };
    figures(traces, fleet, questions.iter().copied(), counted)
}

/// Simulates the traces one by one on idle nodes.
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
        // With time to spare for the pauses between reading and writing.
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

/// Checks that a role's nodes can answer everything that is asked.
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
    Err(SizingError::Overload {
        asked_per_s: population.questions_per_s(),
        role: role_name(role),
        nodes: pool.nodes,
        most_per_s: most_per_s(traces, role, pool),
        needed,
    })
}

/// Returns the most questions a second that these nodes can answer, with as many sessions at a time as are fastest
/// together.
pub fn most_per_s(traces: &[AnswerTrace], role: Role, pool: &NodePool) -> f64 {
    f64::from(pool.nodes) / mean(traces, |trace| trace.least_node_s(role, &pool.curve))
}

/// Returns the smallest number of nodes that can do all the work.
fn needed(
    traces: &[AnswerTrace],
    population: &Population,
    role: Role,
    curve: &SpeedCurve,
) -> Result<u64, SizingError> {
    let answer_s = mean(traces, |trace| trace.least_node_s(role, curve));
    // Strictly more than the load: nodes that compute without a pause have an endless queue.
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
