//! What all sessions of an engine share. [`crate::scheduler`] runs them.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use machines::SpeedCurve;
use thinking::thinker::ModelCard;

use crate::{encoder::Encoder, engine_meter::EngineMeter, model::Decode, preparer::Preparer};

/// A loaded model and the limits on its sessions.
pub(crate) struct ModelHost {
    pub(crate) decoder: Box<dyn Decode>,
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) preparer: Arc<Preparer>,
    pub(crate) card: ModelCard,
    /// Longest session in tokens.
    pub(crate) context: usize,
    pub(crate) max_sessions: usize,
    pub(crate) prefill_chunk_tokens: usize,
    /// How long after its deadline a session that waits for its caller is kept.
    pub(crate) deadline_grace: Duration,
    /// Tokens computed since the start.
    pub(crate) computed_tokens: Arc<AtomicU64>,
    pub(crate) meter: EngineMeter,
    /// How long a forward pass takes at least.
    pub(crate) pace: Option<SpeedCurve>,
}
