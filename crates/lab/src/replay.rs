//! Replay: re-times a recorded answer over another link, without models, in simulated time.
//!
//! [`Recording`] is what replay takes from a journal. [`replay`] runs the state machine of an answer ([`conductor`]) on
//! it, with a policy that repeats what was recorded, nodes that take as long as was recorded, and the [model of a
//! link](crate::link::Direction) between them. docs/replay.md describes the method and how far it can be trusted.
//!
//! It re-times the recorded decisions and makes none of its own. If the timing over the link would have led to another
//! decision, the answer has diverged: [`Replayed::diverged`] says where, and the figures end there.
//!
//! The rules of the conductor, reading journals ([`answer::journal`]), links and statistics are elsewhere, and nothing
//! here waits.

mod asks;
mod conditions;
mod error;
mod node;
mod policy;
mod reader;
mod recording;
mod replayed;
mod shell;
mod sizes;
mod speeds;
mod timeline;
mod warming;

use answer::{Progress, journal::Journal};
use thinking::policy::Role;

use self::shell::{Ran, Shell};
pub(crate) use self::timeline::{TimedAsk, Timeline};
pub use self::{
    conditions::Conditions,
    error::ReplayError,
    recording::{RecordedOver, Recording},
    replayed::{Divergence, Race, Replayed},
    speeds::NodeSpeeds,
};

impl Recording {
    /// Takes from a journal what replay needs.
    ///
    /// # Errors
    /// When the journal has no end, the answer did not end by itself, a node was lost or sent its text again, two asks
    /// overlapped in a way that no policy causes, or events contradict each other.
    pub fn new(journal: &Journal, over: RecordedOver) -> Result<Recording, ReplayError> {
        let recording = reader::read(journal, over)?;
        // Some contradictions show only when it is played.
        let played = play(&recording, &Conditions::none())?;
        let texts = journal.events.iter().filter_map(|stamped| match &stamped.progress {
            Progress::Text(text) => Some(text.text.as_str()),
            _ => None,
        });
        if played.diverged.is_none() && played.outcome.text() != texts.collect::<String>() {
            let question = recording.question().to_owned();
            let why = "what its nodes wrote and what was kept do not make up its text".to_owned();
            return Err(ReplayError::Inconsistent { question, why });
        }
        Ok(recording)
    }
}

fn play(recording: &Recording, conditions: &Conditions) -> Result<Ran, ReplayError> {
    let question = recording.question();
    let inconsistent = |why| ReplayError::Inconsistent { question: question.to_owned(), why };
    Shell::new(recording, conditions).run().map_err(inconsistent)
}

/// Re-times a recording. Pure: the same recording and conditions give the same result on every machine.
///
/// # Errors
/// When a link resets its connections: the journal does not show what would become of the answer then.
pub fn replay(recording: &Recording, conditions: &Conditions) -> Result<Replayed, ReplayError> {
    let Ran { outcome, diverged, handling_us, traffic: [small_traffic, large_traffic], .. } =
        play_over(recording, conditions)?;
    let (time, takeovers) = (outcome.summary.time, outcome.summary.takeovers);
    let handled = |role: Role, network_us: u64| handling_us[role as usize].min(network_us);
    let link = conditions.large.as_ref();
    Ok(Replayed {
        question: recording.question().to_owned(),
        link: link.map_or_else(|| "none".to_owned(), |link| link.name.clone()),
        seed: conditions.seed,
        handling_us: handled(Role::Small, time.small.network_us)
            + handled(Role::Large, time.large.network_us),
        time,
        takeovers,
        small_traffic,
        large_traffic,
        diverged,
    })
}

/// Re-times a recording and returns when each model was asked.
///
/// # Errors
/// As [`replay`].
pub(crate) fn timeline(
    recording: &Recording,
    conditions: &Conditions,
) -> Result<Timeline, ReplayError> {
    let Ran { outcome, diverged, clock, .. } = play_over(recording, conditions)?;
    Ok(Timeline::new(recording, &clock, outcome.summary.time.total_us, diverged))
}

fn play_over(recording: &Recording, conditions: &Conditions) -> Result<Ran, ReplayError> {
    let links = [&conditions.small, &conditions.large];
    if let Some(link) = links.into_iter().flatten().find(|link| link.reset.is_some()) {
        return Err(ReplayError::Resets { link: link.name.clone() });
    }
    play(recording, conditions)
}
