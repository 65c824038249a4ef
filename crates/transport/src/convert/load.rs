//! A node's load, to and from the wire.

use proto::v1 as wire;
use thinking::thinker::Load;

/// A node's load, as it is sent on the wire.
pub(crate) fn load_to_wire(load: Load) -> wire::Load {
    let Load { sessions, max_sessions, waiting, writing, free_cache_tokens, .. } = load;
    wire::Load {
        sessions,
        max_sessions,
        waiting,
        writing,
        free_cache_tokens,
        prefill_tokens_per_s: load.prefill_tokens_per_s as f32,
        decode_tokens_per_s: load.decode_tokens_per_s as f32,
    }
}

/// Reads a node's load. A rate that is negative or not a number becomes 0, which means unknown.
pub(super) fn load_from_wire(load: wire::Load) -> Load {
    let wire::Load { sessions, max_sessions, waiting, writing, free_cache_tokens, .. } = load;
    let rate = |told: f32| f64::from(told).max(0.0);
    Load {
        sessions,
        max_sessions,
        waiting,
        writing,
        free_cache_tokens,
        prefill_tokens_per_s: rate(load.prefill_tokens_per_s),
        decode_tokens_per_s: rate(load.decode_tokens_per_s),
    }
}
