//! Which weights a decoder is made of, what they are called in each kind of file, and which shapes
//! they have.

use super::config::ModelConfig;

/// What a weight does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Embedding,
    OutputNorm,
    Head,
    AttentionNorm,
    Query,
    Key,
    Value,
    Output,
    QueryNorm,
    KeyNorm,
    MlpNorm,
    Gate,
    Up,
    Down,
}

/// A weight or a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TensorId {
    pub(crate) role: Role,
    /// The layer; of no meaning to the embedding, the last norm and the head.
    pub(crate) layer: usize,
    pub(crate) bias: bool,
}

impl TensorId {
    pub(crate) fn new(role: Role, layer: usize) -> Self {
        TensorId { role, layer, bias: false }
    }

    /// Its name in a Hugging Face checkpoint.
    pub(crate) fn hf_name(self) -> String {
        let name = match self.role {
            Role::Embedding => "model.embed_tokens",
            Role::OutputNorm => "model.norm",
            Role::Head => "lm_head",
            Role::AttentionNorm => "input_layernorm",
            Role::Query => "self_attn.q_proj",
            Role::Key => "self_attn.k_proj",
            Role::Value => "self_attn.v_proj",
            Role::Output => "self_attn.o_proj",
            Role::QueryNorm => "self_attn.q_norm",
            Role::KeyNorm => "self_attn.k_norm",
            Role::MlpNorm => "post_attention_layernorm",
            Role::Gate => "mlp.gate_proj",
            Role::Up => "mlp.up_proj",
            Role::Down => "mlp.down_proj",
        };
        self.full_name("model.layers", name)
    }

    /// Its name in a GGUF file.
    pub(crate) fn gguf_name(self) -> String {
        let name = match self.role {
            Role::Embedding => "token_embd",
            Role::OutputNorm => "output_norm",
            Role::Head => "output",
            Role::AttentionNorm => "attn_norm",
            Role::Query => "attn_q",
            Role::Key => "attn_k",
            Role::Value => "attn_v",
            Role::Output => "attn_output",
            Role::QueryNorm => "attn_q_norm",
            Role::KeyNorm => "attn_k_norm",
            Role::MlpNorm => "ffn_norm",
            Role::Gate => "ffn_gate",
            Role::Up => "ffn_up",
            Role::Down => "ffn_down",
        };
        self.full_name("blk", name)
    }

    fn full_name(self, layers: &str, name: &str) -> String {
        let kind = if self.bias { "bias" } else { "weight" };
        match self.role {
            Role::Embedding | Role::OutputNorm | Role::Head => format!("{name}.{kind}"),
            _ => format!("{layers}.{}.{name}.{kind}", self.layer),
        }
    }
}

/// Every tensor of a decoder with its shape, in the order in which they are loaded.
pub(crate) fn expected(config: &ModelConfig) -> Vec<(TensorId, Vec<usize>)> {
    let mut all = vec![(TensorId::new(Role::Embedding, 0), vec![config.vocab, config.hidden])];
    for layer in 0..config.layers {
        expected_of_layer(config, layer, &mut all);
    }
    all.push((TensorId::new(Role::OutputNorm, 0), vec![config.hidden]));
    if !config.tied {
        all.push((TensorId::new(Role::Head, 0), vec![config.vocab, config.hidden]));
    }
    all
}

fn expected_of_layer(config: &ModelConfig, layer: usize, all: &mut Vec<(TensorId, Vec<usize>)>) {
    let (q, kv, hidden, inner) =
        (config.q_width(), config.kv_width(), config.hidden, config.intermediate);
    let bias = config.bias;
    for role in [Role::AttentionNorm, Role::MlpNorm] {
        all.push((TensorId::new(role, layer), vec![hidden]));
    }
    for (role, outputs, inputs, biased) in [
        (Role::Query, q, hidden, bias.qkv),
        (Role::Key, kv, hidden, bias.qkv),
        (Role::Value, kv, hidden, bias.qkv),
        (Role::Output, hidden, q, bias.output),
        (Role::Gate, inner, hidden, bias.mlp),
        (Role::Up, inner, hidden, bias.mlp),
        (Role::Down, hidden, inner, bias.mlp),
    ] {
        let id = TensorId::new(role, layer);
        all.push((id, vec![outputs, inputs]));
        if biased {
            all.push((TensorId { bias: true, ..id }, vec![outputs]));
        }
    }
    if config.qk_norm() {
        for role in [Role::QueryNorm, Role::KeyNorm] {
            all.push((TensorId::new(role, layer), vec![config.head_dim]));
        }
    }
}
