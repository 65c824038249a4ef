//! Decoders of the Llama, Qwen2 and Qwen3 families over candle's tensors, from GGUF files and Hugging
//! Face directories alike. Text, the meaning of tokens and sampling are not here.

mod attention;
mod cache;
mod config;
mod decoder;
mod elementwise;
mod exp;
pub mod kernels;
mod load;
mod quant;
mod rope;
mod source;
mod tensors;
#[cfg(test)]
mod testing;
mod weight;

pub use cache::KvCache;
pub(crate) use cache::{Allocator, BLOCK, Block};
pub use config::{Biases, Family, ModelConfig, RopeConfig, RopeScaling};
pub use decoder::{BatchRow, Decoder, WantedLogits};
pub use load::{EmbeddedModel, LoadProgress, LoadedModel, ModelLocation, load_model, load_random};
pub use source::{LoadOptions, TokenizerSource, gguf_parts};
