//! Decoders over candle's tensors, from GGUF files and Hugging Face directories alike: which families there are is in
//! [`architecture`]. Text, the meaning of tokens and sampling are not here.

mod architecture;
mod attention;
mod cache;
mod config;
mod decoder;
mod elementwise;
mod exp;
mod feed_forward;
pub mod kernels;
mod load;
mod quant;
mod rope;
mod source;
mod tensors;
#[cfg(test)]
mod testing;
mod weight;

pub use architecture::Architecture;
pub use cache::KvCache;
pub(crate) use cache::{Allocator, BLOCK, Block};
pub use config::{Biases, ExpertsConfig, LayerSpan, ModelConfig, RopeConfig, RopeScaling};
pub use decoder::{BatchRow, Decoder, WantedLogits};
pub use load::{EmbeddedModel, LoadProgress, LoadedModel, ModelLocation, load_model, load_random};
pub use source::{LoadOptions, TokenizerSource, gguf_parts};
