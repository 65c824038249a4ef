//! Decoders over candle's tensors, from GGUF files and Hugging Face directories. The families that our own decoder
//! computes are in [`architecture`], the others in [`families`]. Text, the meaning of tokens and sampling are
//! elsewhere.

mod architecture;
mod attention;
mod cache;
mod config;
mod decoder;
mod elementwise;
mod exp;
mod families;
mod feed_forward;
mod fused;
pub mod kernels;
mod load;
mod quant;
mod rope;
mod seam;
mod single;
mod source;
mod tensors;
#[cfg(test)]
pub(crate) mod testing;
mod weight;

pub use architecture::Architecture;
pub(crate) use cache::Block;
pub use cache::KvCache;
pub use config::{Biases, ExpertsConfig, LayerSpan, ModelConfig, RopeConfig, RopeScaling};
pub use decoder::Decoder;
pub use load::{EmbeddedModel, LoadedModel, ModelLocation, load_model, load_random};
pub(crate) use seam::BLOCK;
pub use seam::{BatchRow, Cache, Decode, DecoderFacts, Ledger, WantedLogits};
pub use source::{LoadOptions, LoadProgress, TokenizerSource, gguf_parts};
