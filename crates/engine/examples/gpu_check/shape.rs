//! A model's shape, as its config.json has it, and GGUF files of that shape with random weights.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::Path,
};

use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        ggml_file::qtensor_from_ggml,
        gguf_file::{self, Value},
    },
};
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::common::Outcome;

/// What decides how large a model's matrices are.
#[derive(Deserialize)]
pub(crate) struct Shape {
    pub(crate) model_type: String,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: Option<usize>,
    pub(crate) vocab_size: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) rope_theta: f64,
    #[serde(default)]
    pub(crate) tie_word_embeddings: bool,
}

impl Shape {
    pub(crate) fn read(folder: &Path) -> Outcome<Shape> {
        Ok(serde_json::from_str(&fs::read_to_string(folder.join("config.json"))?)?)
    }

    fn head_width(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// Returns the widths of all query heads together and of all key heads together.
    pub(crate) fn widths(&self) -> (usize, usize) {
        let width = self.head_width();
        (self.num_attention_heads * width, self.num_key_value_heads * width)
    }

    /// Writes a file of this shape, which is removed with the value. `format` says what a matrix of a layer is held in.
    pub(crate) fn random_gguf(
        &self,
        format: &dyn Fn(&str, usize) -> GgmlDType,
    ) -> Outcome<NamedTempFile> {
        let (settings, tensors) = (self.settings(), self.tensors(format)?);
        let settings: Vec<(&str, &Value)> =
            settings.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let file = tempfile::Builder::new().suffix(".gguf").tempfile()?;
        let mut writer = BufWriter::new(file.as_file());
        gguf_file::write(&mut writer, &settings, &tensors)?;
        writer.flush()?;
        drop(writer);
        Ok(file)
    }

    fn settings(&self) -> Vec<(String, Value)> {
        let arch = self.model_type.as_str();
        let of_arch = |key: &str, value| (format!("{arch}.{key}"), value);
        let number = |number: usize| Value::U32(number as u32);
        vec![
            ("general.architecture".to_owned(), Value::String(arch.to_owned())),
            of_arch("block_count", number(self.num_hidden_layers)),
            of_arch("context_length", number(self.max_position_embeddings)),
            of_arch("embedding_length", number(self.hidden_size)),
            of_arch("feed_forward_length", number(self.intermediate_size)),
            of_arch("attention.head_count", number(self.num_attention_heads)),
            of_arch("attention.head_count_kv", number(self.num_key_value_heads)),
            of_arch("attention.key_length", number(self.head_width())),
            of_arch("attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
            of_arch("rope.freq_base", Value::F32(self.rope_theta as f32)),
        ]
    }

    fn tensors(
        &self,
        format: &dyn Fn(&str, usize) -> GgmlDType,
    ) -> Outcome<Vec<(String, QTensor)>> {
        let (hidden, vocab) = (self.hidden_size, self.vocab_size);
        let embedding = matrix(format("token_embd", 0), vocab, hidden)?;
        let mut named = vec![
            ("token_embd.weight".to_owned(), embedding),
            ("output_norm.weight".to_owned(), vector(1.0, hidden)?),
        ];
        if !self.tie_word_embeddings {
            let head = matrix(format("output", 0), vocab, hidden)?;
            named.push(("output.weight".to_owned(), head));
        }
        for layer in 0..self.num_hidden_layers {
            self.push_layer(layer, format, &mut named)?;
        }
        Ok(named)
    }

    fn push_layer(
        &self,
        layer: usize,
        format: &dyn Fn(&str, usize) -> GgmlDType,
        named: &mut Vec<(String, QTensor)>,
    ) -> Outcome {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = self.widths();
        for (name, outputs, inputs) in [
            ("attn_q", q, hidden),
            ("attn_k", kv, hidden),
            ("attn_v", kv, hidden),
            ("attn_output", hidden, q),
            ("ffn_gate", inner, hidden),
            ("ffn_up", inner, hidden),
            ("ffn_down", hidden, inner),
        ] {
            let weights = matrix(format(name, layer), outputs, inputs)?;
            named.push((format!("blk.{layer}.{name}.weight"), weights));
        }
        let mut vectors = vec![("attn_norm.weight", 1.0, hidden), ("ffn_norm.weight", 1.0, hidden)];
        if self.model_type == "qwen2" {
            vectors.extend([
                ("attn_q.bias", 0.1, q),
                ("attn_k.bias", 0.1, kv),
                ("attn_v.bias", 0.1, kv),
            ]);
        }
        for (name, value, width) in vectors {
            named.push((format!("blk.{layer}.{name}"), vector(value, width)?));
        }
        Ok(())
    }
}

fn vector(value: f32, width: usize) -> Outcome<QTensor> {
    let full = Tensor::full(value, width, &Device::Cpu)?;
    Ok(QTensor::quantize(&full, GgmlDType::F32)?)
}

/// Makes a random matrix. A large one repeats its first rows, since drawing and quantising takes much longer than
/// reading.
fn matrix(format: GgmlDType, outputs: usize, inputs: usize) -> Outcome<QTensor> {
    let rows = if outputs <= 1024 || !outputs.is_multiple_of(64) { outputs } else { 64 };
    let tile = Tensor::randn(0f32, 0.05, (rows, inputs), &Device::Cpu)?;
    let tile = QTensor::quantize(&tile, format)?;
    if rows == outputs {
        return Ok(tile);
    }
    let bytes = tile.data()?.repeat(outputs / rows);
    Ok(qtensor_from_ggml(format, &bytes, vec![outputs, inputs], &Device::Cpu)?)
}
