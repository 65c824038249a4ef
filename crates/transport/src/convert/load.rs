//! How busy a node is, to the wire and from it.

use proto::v1 as wire;
use thinking::thinker::Load;

/// How busy a node is, as it goes on the wire.
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

/// How busy a node says it is. A rate that is none is not known.
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
