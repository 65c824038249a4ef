//! The local Thinker: loads a model with candle, keeps sessions with a warm KV cache, proposes and
//! commits text. It never sees protobuf or a network. Chat templates and tokenizers are in the crate
//! `text`.

mod active_session;
mod cache_budget;
mod encoder;
mod engine;
mod engine_meter;
mod error;
mod host;
mod kv;
mod memory;
mod model;
mod places;
mod preparer;
mod prompt;
mod proposal;
mod reading;
mod redraw;
mod sample;
mod scheduler;
mod session_text;
mod tail;
mod tokens;
mod verdict;

pub use engine::{Engine, EngineOptions};
pub use error::{ForwardError, LoadError};
pub use kv::KvUsage;
pub use memory::{MemoryLimit, UsableMemory};
pub use model::{
    Architecture, BatchRow, Biases, Cache, Decode, Decoder, DecoderFacts, EmbeddedModel,
    ExpertsConfig, KvCache, LayerSpan, Ledger, LoadOptions, LoadProgress, LoadedModel, ModelConfig,
    ModelLocation, RopeConfig, RopeScaling, TokenizerSource, WantedLogits, gguf_parts, kernels,
    load_model, load_random,
};
pub use sample::{Draws, SampleError, Sampler};
