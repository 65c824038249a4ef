//! The local Thinker: loads a model with candle, keeps sessions with a warm KV cache, proposes and
//! commits text. It never sees protobuf or a network.

mod detokenize;
mod engine;
mod error;
mod kv;
mod memory;
mod model;
mod proposal;
mod sample;
mod scheduler;
mod session;
mod slot;
mod template;
mod tokenizer;

pub use detokenize::Detokenizer;
pub use engine::{Engine, EngineOptions};
pub use error::{ForwardError, LoadError};
pub use kv::KvUsage;
pub use model::{
    Biases, Decoder, EmbeddedModel, Family, GgufMetadata, KvCache, LoadOptions, LoadProgress,
    LoadedModel, ModelConfig, ModelFiles, ModelLocation, RopeConfig, RopeScaling, Row,
    TokenizerSource, Want, kernels, load_model, load_random,
};
pub use sample::{Draws, SampleError, Sampler, entropy_nats};
pub use template::ChatTemplate;
pub use tokenizer::{Encoded, Tokenizer, TokenizerError};
