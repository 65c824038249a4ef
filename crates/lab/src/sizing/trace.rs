//! A recorded answer as work: which model is asked in which order, for how many tokens, and the times in between.
//!
//! Plain values. When the work is done is in [`super::simulation`].

use machines::SpeedCurve;
use thinking::policy::Role;

use crate::{
    link::LinkProfile,
    replay::{self, Conditions, Recording, ReplayError, TimedAsk, Timeline},
};

/// A recorded answer as work for nodes. Times are in seconds; in pairs of token counts, the small node's comes first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AnswerTrace {
    /// From the question to the first ask.
    pub before_s: f64,
    /// Tokens of the prompt that each node reads before its first ask.
    pub prompt_tokens: [u32; 2],
    /// The asks, in order.
    pub steps: Vec<TraceStep>,
    /// The answer's deadline.
    pub deadline_s: Option<f64>,
    /// The cost of its tokens.
    pub cost: f64,
}

/// One ask of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceStep {
    /// The model that is asked.
    pub role: Role,
    /// Until the ask reaches its node.
    pub up_s: f64,
    /// How long the recorded node spent on it.
    pub node_s: f64,
    /// From the node's first text until that arrives here.
    pub first_down_s: f64,
    /// From when the node finishes until the next ask, or the answer's end.
    pub end_down_s: f64,
    /// Tokens that its node still has to read when it is asked.
    pub late_tokens: u32,
    /// Tokens that it writes.
    pub tokens: u32,
    /// Tokens at the end that are discarded and that nobody reads.
    pub forgotten_tokens: u32,
    /// Tokens of this step's text that each node reads while it is written.
    pub reads: [u32; 2],
}

/// Why a recording cannot be used as a trace. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Something in it was decided by elapsed time.
    #[error(
        "question {question:?}: it was recorded with {what}, whose outcome would also depend on other answers on the \
         node; record it without"
    )]
    DecidedByTime {
        /// The question's id.
        question: String,
        /// What depends on time.
        what: String,
    },
    /// Over this link it would have diverged.
    #[error(
        "question {question:?}: over this link it would have diverged from its recording; leave its journal out, or \
         give a faster link"
    )]
    Diverged {
        /// The question's id.
        question: String,
    },
    /// It cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl AnswerTrace {
    /// Makes a trace of a recording over a link; `None`: without a link. The conductor runs it once, with the nodes to
    /// itself, to find out how long the link and the programs take. `cost` is that of its tokens.
    ///
    /// # Errors
    /// When something in it was decided by elapsed time, or it cannot be replayed over this link.
    pub fn new(
        recording: &Recording,
        link: Option<&LinkProfile>,
        seed: u64,
        cost: f64,
    ) -> Result<AnswerTrace, TraceError> {
        let question = recording.question();
        if let Some(what) = recording.decided_by_time() {
            let (question, what) = (question.to_owned(), what.to_owned());
            return Err(TraceError::DecidedByTime { question, what });
        }
        let near = replay::timeline(recording, &Conditions::none())?;
        let conditions = Conditions { large: link.cloned(), seed, ..Conditions::none() };
        let over = replay::timeline(recording, &conditions)?;
        if near.diverged.or(over.diverged).is_some() {
            return Err(TraceError::Diverged { question: question.to_owned() });
        }
        let deadline_s = recording.deadline().map(|deadline| deadline.as_secs_f64());
        Ok(AnswerTrace { deadline_s, cost, ..AnswerTrace::of(&near, &over) })
    }

    /// Returns how many tokens a role's node reads, and how many it writes.
    pub(super) fn work(&self, role: Role) -> (f64, f64) {
        let at = role as usize;
        let late = |step: &TraceStep| if step.role == role { step.late_tokens } else { 0 };
        let reads = self.steps.iter().map(|step| f64::from(step.reads[at] + late(step)));
        let writes = self.steps.iter().filter(|step| step.role == role);
        let reads = f64::from(self.prompt_tokens[at]) + reads.sum::<f64>();
        (reads, writes.map(|step| f64::from(step.tokens)).sum())
    }

    /// Returns the shortest time that a node of this role computes for it, in seconds.
    pub(super) fn least_node_s(&self, role: Role, curve: &SpeedCurve) -> f64 {
        let (reads, writes) = self.work(role);
        reads / curve.prefill_tokens_per_s() + writes / curve.most_tokens_per_s()
    }
}

impl TraceStep {
    /// Returns after how many tokens the other node has read everything of it that is kept. This is before the end:
    /// text read later comes with the next ask.
    pub(super) fn tokens_to_read(&self) -> u32 {
        self.tokens.saturating_sub(self.forgotten_tokens.max(1)).max(1)
    }

    /// Returns the time from the ask to its first text on a node that does nothing else and has read everything before.
    pub(super) fn first_text_alone_s(&self, curve: &SpeedCurve) -> f64 {
        let late_s = f64::from(self.late_tokens) / curve.prefill_tokens_per_s();
        let first_s = if self.tokens > 0 { curve.step_s(1) } else { 0.0 };
        self.up_s + late_s + first_s + self.first_down_s
    }
}

impl AnswerTrace {
    /// Takes the nodes' work from the run without a link: over a link, text read while the ask is in flight would count
    /// as late. Takes the times of events from the run over the link.
    fn of(near: &Timeline, over: &Timeline) -> Self {
        let ends = over.asks.iter().skip(1).map(|next| next.at_us);
        let asks = near.asks.iter().zip(&over.asks).zip(ends.chain([over.total_us]));
        let mut steps: Vec<TraceStep> =
            asks.map(|((near, over), end_us)| step(near, over, end_us)).collect();
        let mut prompt_tokens = near.prompt_tokens;
        for role in [Role::Small, Role::Large] {
            leave_late(&mut steps, &mut prompt_tokens[role as usize], role);
        }
        let first_us = over.asks.first().map_or(over.total_us, |first| first.at_us);
        AnswerTrace { before_s: seconds(first_us), prompt_tokens, steps, ..AnswerTrace::default() }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Combines an ask's work on its node with the times around it.
fn step(near: &TimedAsk, over: &TimedAsk, end_us: u64) -> TraceStep {
    let TimedAsk { role, node_us, decode_us, tokens, forgotten_tokens, late_tokens, reads, .. } =
        *near;
    let between_us = end_us.saturating_sub(over.at_us).saturating_sub(node_us);
    let first_token_us = decode_us / u64::from(tokens.max(1));
    let first_node_us = node_us.saturating_sub(decode_us) + first_token_us;
    let first_between_us = over.first_text_us.saturating_sub(first_node_us).min(between_us);
    // A link takes about as long in both directions.
    let up_us = first_between_us / 2;
    TraceStep {
        role,
        up_s: seconds(up_us),
        node_s: seconds(node_us),
        first_down_s: seconds(first_between_us - up_us),
        end_down_s: seconds(between_us - up_us),
        late_tokens,
        tokens,
        forgotten_tokens,
        reads,
    }
}

/// Subtracts the tokens that a role's node reads late from those that it reads ahead: late tokens belong to the last
/// text before an ask, and are counted with the ask.
fn leave_late(steps: &mut [TraceStep], prompt_tokens: &mut u32, role: Role) {
    let at = role as usize;
    let mut since = None;
    for asked in 0..steps.len() {
        if steps[asked].role != role {
            continue;
        }
        let mut late = steps[asked].late_tokens;
        for before in steps[since.unwrap_or(0)..asked].iter_mut().rev() {
            let taken = late.min(before.reads[at]);
            before.reads[at] -= taken;
            late -= taken;
        }
        if since.is_none() {
            *prompt_tokens = prompt_tokens.saturating_sub(late);
        }
        since = Some(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(role: Role, late_tokens: u32, reads: [u32; 2]) -> TraceStep {
        let (up_s, first_down_s, end_down_s) = (0.0, 0.0, 0.0);
        let (tokens, forgotten_tokens) = (5, 0);
        TraceStep {
            role,
            up_s,
            node_s: 1.0,
            first_down_s,
            end_down_s,
            late_tokens,
            tokens,
            forgotten_tokens,
            reads,
        }
    }

    #[test]
    fn what_is_read_late_is_of_the_last_text_before_the_ask() {
        let mut steps = [
            step(Role::Small, 0, [0, 40]),
            step(Role::Large, 10, [20, 0]),
            step(Role::Small, 5, [0, 8]),
            step(Role::Large, 9, [3, 0]),
        ];
        let mut prompt = 100;
        leave_late(&mut steps, &mut prompt, Role::Large);
        assert_eq!(steps.map(|step| step.reads[1]), [30, 0, 0, 0], "no text is late twice");
        assert_eq!(prompt, 100);
        let mut steps = [step(Role::Large, 60, [5, 0])];
        leave_late(&mut steps, &mut prompt, Role::Large);
        assert_eq!(prompt, 40, "the large model is asked first");
    }
}
