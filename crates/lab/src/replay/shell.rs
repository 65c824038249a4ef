//! Runs an answer's state machine over recorded nodes, in simulated time.
//!
//! It decides nothing: the conductor decides what is sent and when, and the recording says what nodes answer and how
//! long they take. It runs as long as the machine does what it did when the answer was recorded.

use std::{mem::take, time::Duration};

use answer::{Progress, Traffic};
use conductor::{
    Conductor, Effect, Ended, Input, NodeId, NodeNames, Outcome, invariants::DebugWitness,
};
use thinking::{policy::Role, thinker::Code};

use super::{
    conditions::Conditions,
    node::{Heard, Node, Said},
    recording::{AskEnd, RecordedAsk, Recording},
    replayed::{Divergence, Race},
    timeline::Clock,
};

/// The result of running an answer.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) diverged: Option<Divergence>,
    /// The time for handling messages in the finished asks, in microseconds: of the small node, of the large one.
    pub(super) handling_us: [u64; 2],
    pub(super) traffic: [Traffic; 2],
    /// When each model was asked, and for what.
    pub(super) clock: Clock,
}

/// The machine's next input.
#[derive(Clone, Copy)]
enum Next {
    Said(Role, Said),
    Wake,
}

/// Why the run stops.
enum Stop {
    Ended,
    Diverged(Race),
    /// The recording contradicts itself, for this reason.
    Inconsistent(String),
}

/// One answer in progress.
pub(super) struct Shell<'a> {
    recording: &'a Recording,
    now: Duration,
    /// The small node, the large node.
    nodes: [Option<Node<'a>>; 2],
    /// How many of the recorded asks were made, and which of them were kept or discarded.
    made: usize,
    kept: Vec<bool>,
    handling_us: [u64; 2],
    clock: Clock,
    /// The memory of the last shown text, reused for the next piece: nearly every piece is shown at once.
    spare: String,
}

impl<'a> Shell<'a> {
    pub(super) fn new(recording: &'a Recording, conditions: &Conditions) -> Self {
        let node = |id, costs| Node::new(id, recording, costs, conditions);
        let small = node(NodeId::small(0), &recording.small);
        let large = recording.large.as_ref().map(|costs| node(NodeId::large(0), costs));
        Shell {
            recording,
            now: Duration::ZERO,
            nodes: [Some(small), large],
            made: 0,
            kept: vec![false; recording.asks.len()],
            handling_us: [0; 2],
            clock: Clock::default(),
            spare: String::new(),
        }
    }

    /// Runs from the question to the answer's end, or to where it diverges.
    ///
    /// # Errors
    /// How the recording contradicts itself.
    pub(super) fn run(mut self) -> Result<Ran, String> {
        let Recording { question, settings, small, large, .. } = self.recording;
        let names = NodeNames {
            small: vec![small.name.clone()],
            large: large.iter().map(|large| large.name.clone()).collect(),
        };
        let mut witness = DebugWitness::new(question, *settings);
        let policy = self.recording.policy();
        let (mut conductor, mut effects) =
            Conductor::start(question.clone(), *settings, policy, names);
        let stop = loop {
            let wake_at = conductor.wake_at();
            witness.step(self.now, &effects, wake_at);
            let carried_out = effects.iter().try_for_each(|effect| self.carry_out(effect));
            match carried_out.and_then(|()| self.next(wake_at)) {
                Ok(next) => {
                    self.take_spare(&mut effects);
                    let input = self.input(next);
                    witness.take(&input);
                    conductor.reuse(effects);
                    effects = conductor.step(input, self.now);
                }
                Err(stop) => break stop,
            }
        };
        let outcome = conductor.conclude(&[]);
        let race = match stop {
            Stop::Ended if outcome.ended == Ended::Complete(self.recording.end) => {
                witness.end(&outcome);
                None
            }
            Stop::Ended => match &outcome.ended {
                Ended::Complete(_) => Some(self.otherwise()?),
                Ended::Failed { failure, .. } => return Err(failure.message.clone()),
            },
            Stop::Diverged(race) => Some(race),
            Stop::Inconsistent(why) => return Err(why),
        };
        let at_us = u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX);
        Ok(Ran {
            outcome,
            diverged: race.map(|why| Divergence { why, at_us }),
            handling_us: self.handling_us,
            traffic: self.nodes.map(|node| node.map(|node| node.traffic).unwrap_or_default()),
            clock: self.clock,
        })
    }

    /// Interprets that the policy, within its limits, does something else than was recorded.
    fn otherwise(&self) -> Result<Race, String> {
        match self.recording.limits.targets.latency {
            Some(_) => Ok(Race::LatencyTarget),
            None => Err("what its policy did does not follow from its input".to_owned()),
        }
    }

    fn carry_out(&mut self, effect: &Effect) -> Result<(), Stop> {
        let now = self.now;
        match effect {
            Effect::Open(node, _) => self.with(*node, |node| node.open(now)),
            Effect::Send(node, command) => self.with(*node, |node| node.send(now, command)),
            Effect::Close(_, None) => {}
            Effect::Close(node, Some(failure)) => {
                return Err(match (failure.code, node.role) {
                    (Code::Unavailable, Role::Small) => Stop::Diverged(Race::SmallTimeout),
                    (Code::Unavailable, Role::Large) => Stop::Diverged(Race::LargeTimeout),
                    _ => Stop::Inconsistent(failure.message.clone()),
                });
            }
            Effect::Tell(stamped) => {
                self.clock.see(stamped);
                return self.told(&stamped.progress);
            }
            Effect::End => return Err(Stop::Ended),
        }
        Ok(())
    }

    fn with(&mut self, node: NodeId, does: impl FnOnce(&mut Node<'a>)) {
        if let Some(node) = &mut self.nodes[node.role as usize] {
            does(node);
        }
    }

    /// Compares what the machine does with what was recorded.
    fn told(&mut self, progress: &Progress) -> Result<(), Stop> {
        match progress {
            Progress::Ask(asked) => {
                let index = self.made;
                self.made += 1;
                // At the answer's maximum length an overlap may be a little shorter; nothing depends on that.
                let is_same = |ask: &&RecordedAsk| {
                    let is_whole = ask.max_tokens == asked.max_tokens || asked.is_overlap();
                    (ask.number, ask.role) == (asked.ask, asked.role) && is_whole
                };
                if self.recording.asks.get(index).filter(is_same).is_none() {
                    return Err(self.otherwise().map_or_else(Stop::Inconsistent, Stop::Diverged));
                }
                if let Some(node) = &mut self.nodes[asked.role as usize] {
                    node.ask = index;
                }
            }
            Progress::Kept(kept) => {
                if let Some((index, _)) = self.recorded(kept.ask) {
                    self.kept[index] = true;
                }
            }
            Progress::Abandoned(abandoned) => {
                let recorded = self.recorded(abandoned.ask).map(|(_, ask)| ask.ended);
                if recorded != Some(AskEnd::GivenUp) {
                    return Err(Stop::Diverged(Race::Takeover));
                }
            }
            Progress::Finished(finished) => {
                let recorded = self.recorded(finished.ask);
                if let Some((_, ask)) = recorded.filter(|(_, ask)| ask.ended == AskEnd::Finished) {
                    self.handling_us[ask.role as usize] += ask.handling_us;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the recorded ask with this number, and its index, if it was made.
    fn recorded(&self, number: u32) -> Option<(usize, &'a RecordedAsk)> {
        let made = self.recording.asks.iter().enumerate().take(self.made);
        made.rev().find(|(_, ask)| ask.number == number)
    }

    /// Advances to the machine's next input.
    fn next(&mut self, wake_at: Duration) -> Result<Next, Stop> {
        loop {
            let at = self.nodes.iter().flatten().filter_map(Node::next_at).min();
            let Some(at) = at.filter(|at| *at <= wake_at) else {
                self.pass_to(wake_at)?;
                return Ok(Next::Wake);
            };
            self.pass_to(at)?;
            // The large node first, as the shell for real sessions does.
            let nodes = self.nodes.iter_mut().rev().flatten();
            let mut heard = nodes.filter_map(|node| {
                node.work(at);
                Some((node.role(), node.hear(at)?))
            });
            match heard.next() {
                Some((role, Heard::Said(said))) => return Ok(Next::Said(role, said)),
                Some((_, Heard::Unknown(ask))) if !self.kept[ask] => {
                    return Err(Stop::Diverged(Race::Overlap));
                }
                Some((_, Heard::Unknown(_))) | None => {}
            }
        }
    }

    fn take_spare(&mut self, effects: &mut [Effect]) {
        for effect in effects {
            if let Effect::Tell(stamped) = effect
                && let Progress::Text(shown) = &mut stamped.progress
            {
                self.spare = take(&mut shown.text);
            }
        }
    }

    /// Builds the machine's input. Done last, because inputs are large to move.
    fn input(&mut self, next: Next) -> Input {
        match next {
            Next::Said(role, said) => {
                let (node, spare) = (self.nodes[role as usize].as_ref(), &mut self.spare);
                node.map_or(Input::Wake, |node| node.input(said, spare))
            }
            Next::Wake => Input::Wake,
        }
    }

    /// Nodes stop writing at the deadline, so an answer that is not over then is cut off.
    fn pass_to(&mut self, at: Duration) -> Result<(), Stop> {
        let deadline = self.recording.question.deadline.filter(|deadline| at > *deadline);
        self.now = deadline.unwrap_or(at);
        deadline.map_or(Ok(()), |_| Err(Stop::Diverged(Race::Deadline)))
    }
}
