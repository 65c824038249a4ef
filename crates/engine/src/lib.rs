//! The local Thinker: loads a model with candle, keeps sessions with a warm KV cache, proposes and commits text. It
//! never sees protobuf or a network. Chat templates and tokenizers are in the crate `text`.
//!
//! # Example
//!
//! A model's files name its family ([`Architecture`]), which decides how it is computed. Here a tiny GLM-4, a family
//! that rotates only half of each head by its position:
//!
//! ```
//! use std::path::Path;
//!
//! use engine::{BatchRow, LoadOptions, WantedLogits, load_model};
//!
//! let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/logits/glm4");
//! let model = load_model(&Path::new(folder).into(), &LoadOptions::default(), &mut |_| {})?;
//! let facts = model.decoder.facts();
//! assert_eq!((facts.family, facts.vocab, facts.context), ("glm4", 128, 512));
//! let config = model.own_decoder().expect("it is a family of our own decoder").config();
//! assert_eq!((config.head_dim, config.rotary_dim), (16, 8));
//!
//! let mut cache = model.decoder.new_cache();
//! let row = BatchRow { tokens: &[1, 2, 3], cache: &mut *cache, logits: WantedLogits::Last };
//! let logits = model.decoder.forward(&mut [row])?;
//! assert_eq!(logits.dims(), [1, facts.vocab]);
//! assert_eq!(cache.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod active_session;
mod cache_budget;
mod device;
mod encoder;
mod engine;
mod engine_meter;
mod error;
#[cfg(test)]
mod error_tests;
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

pub use device::{ComputeCapability, DeviceError, open_cuda, open_metal};
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
