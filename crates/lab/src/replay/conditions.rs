//! The links that a recording is re-timed over.

use crate::link::LinkProfile;

/// The links and the seed of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Between the coordinator and the small node; `None`: they are on one machine.
    pub small: Option<LinkProfile>,
    /// Between the coordinator and the large node.
    pub large: Option<LinkProfile>,
    /// Whether connections are already open, as for all but the first answer of a run, or the answer waits for new
    /// ones.
    pub connected: bool,
    /// The seed of jitter, losses and outages, combined with the question: the same seed gives the same figures, and
    /// different questions meet different moments of a link.
    pub seed: u64,
}

impl Conditions {
    /// A link to the large node, with the small node on the coordinator's machine and all connections open.
    pub fn over(large: LinkProfile, seed: u64) -> Self {
        Conditions { small: None, large: Some(large), connected: true, seed }
    }

    /// No link at all.
    pub fn none() -> Self {
        Conditions { small: None, large: None, connected: true, seed: 0 }
    }
}
