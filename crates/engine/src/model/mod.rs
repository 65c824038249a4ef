//! Decoders of the Llama, Qwen2 and Qwen3 families over candle's tensors, from GGUF files and Hugging
//! Face directories alike. Text, tokens' meaning and sampling are no matter of this module.

mod attention;
mod attention_cpu;
mod cache;
mod config;
mod decoder;
mod elementwise;
mod exp;
mod gguf_config;
mod gguf_metadata;
mod gguf_source;
mod hf_config;
mod hf_source;
pub mod kernels;
mod load;
mod quant;
mod random_source;
mod rope;
mod tensors;
#[cfg(test)]
mod testing;
mod weight;

pub use cache::KvCache;
pub(crate) use cache::{Allocator, BLOCK, Block};
pub use config::{Biases, Family, ModelConfig, RopeConfig, RopeScaling};
pub use decoder::{Decoder, Row, Want};
pub use load::{
    EmbeddedModel, LoadOptions, LoadProgress, LoadedModel, ModelLocation, TokenizerSource,
    load_model,
};
pub use random_source::load_random;
