//! Which weights a decoder has, where they are in each kind of file, and which shapes they have.

use std::borrow::Cow;

use super::{architecture::Pairs, config::ModelConfig};

/// The role of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Embedding,
    OutputNorm,
    Head,
    AttentionNorm,
    AfterAttentionNorm,
    Query,
    Key,
    Value,
    Output,
    QueryNorm,
    KeyNorm,
    MlpNorm,
    AfterMlpNorm,
    Router,
    Gate,
    Up,
    Down,
}

/// A weight or a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TensorId {
    pub(crate) role: Role,
    /// The layer; has no meaning for the embedding, the last norm and the head.
    pub(crate) layer: usize,
    /// The expert, in a mixture of experts.
    pub(crate) expert: Option<usize>,
    pub(crate) bias: bool,
}

/// How a kind of file names weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    HuggingFace,
    Gguf,
}

/// Where a weight is in a file: a tensor, or some of its rows. A tensor of three dimensions counts as the rows of all
/// its matrices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) of_rows: usize,
}

impl Role {
    pub(crate) fn is_norm(self) -> bool {
        matches!(
            self,
            Role::OutputNorm
                | Role::AttentionNorm
                | Role::AfterAttentionNorm
                | Role::QueryNorm
                | Role::KeyNorm
                | Role::MlpNorm
                | Role::AfterMlpNorm
        )
    }
}

impl TensorId {
    pub(crate) fn new(role: Role, layer: usize) -> Self {
        TensorId { role, layer, expert: None, bias: false }
    }

    /// Returns its name in a GGUF file, if it is a tensor of its own.
    pub(crate) fn gguf_name(self) -> String {
        let name = match self.role {
            Role::Embedding => "token_embd",
            Role::OutputNorm => "output_norm",
            Role::Head => "output",
            Role::AttentionNorm => "attn_norm",
            Role::AfterAttentionNorm => "post_attention_norm",
            Role::Query => "attn_q",
            Role::Key => "attn_k",
            Role::Value => "attn_v",
            Role::Output => "attn_output",
            Role::QueryNorm => "attn_q_norm",
            Role::KeyNorm => "attn_k_norm",
            Role::MlpNorm => "ffn_norm",
            Role::AfterMlpNorm => "post_ffw_norm",
            Role::Router => "ffn_gate_inp",
            Role::Gate => "ffn_gate",
            Role::Up => "ffn_up",
            Role::Down => "ffn_down",
        };
        let experts = if self.expert.is_some() { "_exps" } else { "" };
        self.full_name("blk", &format!("{name}{experts}"))
    }

    /// Returns its name in a Hugging Face checkpoint.
    fn hf_name(self, config: &ModelConfig) -> String {
        let norms = config.architecture.norms;
        let name = match self.role {
            Role::Embedding => "model.embed_tokens",
            Role::OutputNorm => "model.norm",
            Role::Head => "lm_head",
            Role::AttentionNorm => norms.attention.unwrap_or_default(),
            Role::AfterAttentionNorm => norms.after_attention.unwrap_or_default(),
            Role::Query => "self_attn.q_proj",
            Role::Key => "self_attn.k_proj",
            Role::Value => "self_attn.v_proj",
            Role::Output => "self_attn.o_proj",
            Role::QueryNorm => "self_attn.q_norm",
            Role::KeyNorm => "self_attn.k_norm",
            Role::MlpNorm => norms.mlp.unwrap_or_default(),
            Role::AfterMlpNorm => norms.after_mlp.unwrap_or_default(),
            Role::Router => "gate",
            Role::Gate => "mlp.gate_proj",
            Role::Up => "mlp.up_proj",
            Role::Down => "mlp.down_proj",
        };
        let name = match (config.architecture.experts, self.expert, self.role) {
            (Some(rules), _, Role::Router) => format!("{}.{name}", rules.block),
            (Some(rules), Some(expert), Role::Gate | Role::Up | Role::Down) => {
                let name = match self.role {
                    Role::Gate => rules.gate,
                    Role::Up => rules.up,
                    _ => rules.down,
                };
                format!("{}.experts.{expert}.{name}", rules.block)
            }
            _ => name.to_owned(),
        };
        self.full_name("model.layers", &name)
    }

    fn full_name(self, layers: &str, name: &str) -> String {
        let kind = if self.bias { "bias" } else { "weight" };
        match self.role {
            Role::Embedding | Role::OutputNorm | Role::Head => format!("{name}.{kind}"),
            _ => format!("{layers}.{}.{name}.{kind}", self.layer),
        }
    }

    /// Returns where it is in a file.
    pub(crate) fn place(self, config: &ModelConfig, spelling: Spelling) -> Place {
        let rows = self.rows(config);
        let is_gguf = spelling == Spelling::Gguf;
        let architecture = config.architecture;
        let (q, kv) = (config.q_width(), config.kv_width());
        let joined = |hf, gguf, first_row, of_rows| {
            let (layers, name) = if is_gguf { ("blk", gguf) } else { ("model.layers", hf) };
            Place { name: self.full_name(layers, name), first_row, rows, of_rows }
        };
        let qkv = |first_row| joined("self_attn.qkv_proj", "attn_qkv", first_row, q + 2 * kv);
        let gate_up = |first_row| joined("mlp.gate_up_proj", "ffn_up", first_row, 2 * rows);
        match self.role {
            Role::Query if architecture.joins_qkv => qkv(0),
            Role::Key if architecture.joins_qkv => qkv(q),
            Role::Value if architecture.joins_qkv => qkv(q + kv),
            Role::Gate if architecture.joins_gate_up => gate_up(0),
            Role::Up if architecture.joins_gate_up => gate_up(rows),
            _ if is_gguf => {
                let experts = if self.expert.is_some() { config.experts } else { None };
                let of_rows = rows * experts.map_or(1, |experts| experts.count);
                let first_row = rows * self.expert.unwrap_or_default();
                Place { name: self.gguf_name(), first_row, rows, of_rows }
            }
            _ => Place { name: self.hf_name(config), first_row: 0, rows, of_rows: rows },
        }
    }

    /// Returns how many rows it has, or numbers if it is a vector.
    fn rows(self, config: &ModelConfig) -> usize {
        let (q_norm, k_norm) = config.head_norms().unwrap_or_default();
        let inner = match (self.expert, config.experts) {
            (Some(_), Some(experts)) => experts.intermediate,
            _ => config.intermediate,
        };
        match self.role {
            Role::Embedding | Role::Head => config.vocab,
            Role::OutputNorm
            | Role::AttentionNorm
            | Role::AfterAttentionNorm
            | Role::MlpNorm
            | Role::AfterMlpNorm
            | Role::Output
            | Role::Down => config.hidden,
            Role::Query => config.q_width(),
            Role::Key | Role::Value => config.kv_width(),
            Role::QueryNorm => q_norm,
            Role::KeyNorm => k_norm,
            Role::Router => config.experts.map_or(0, |experts| experts.count),
            Role::Gate | Role::Up => inner,
        }
    }

    /// Returns its shape.
    pub(crate) fn shape(self, config: &ModelConfig) -> Vec<usize> {
        let rows = self.rows(config);
        if self.bias || self.role.is_norm() {
            return vec![rows];
        }
        let inputs = match self.role {
            Role::Output => config.q_width(),
            Role::Down => TensorId { role: Role::Gate, ..self }.rows(config),
            _ => config.hidden,
        };
        vec![rows, inputs]
    }

    /// Reorders the rows of queries and keys, and of their biases, from the file's order to the one in which everything
    /// here computes: there the two halves of a head's rotated part form pairs. Blocks never span rows, so rows move as
    /// bytes.
    pub(crate) fn restored<'a>(
        self,
        config: &ModelConfig,
        spelling: Spelling,
        bytes: Cow<'a, [u8]>,
    ) -> Cow<'a, [u8]> {
        let pairs = match spelling {
            Spelling::HuggingFace => config.architecture.hf_pairs,
            Spelling::Gguf => config.architecture.gguf_pairs,
        };
        let (rows, dim) = (self.rows(config), config.head_dim);
        if !matches!(self.role, Role::Query | Role::Key) || pairs == Pairs::Halves {
            return bytes;
        }
        let (half, row_bytes) = (config.rotary_dim / 2, bytes.len() / rows);
        let mut restored = Vec::with_capacity(bytes.len());
        for row in 0..rows {
            let (head, at) = (row / dim, row % dim);
            let from = match at {
                at if at < half => 2 * at,
                at if at < 2 * half => 2 * (at - half) + 1,
                at => at,
            };
            restored.extend_from_slice(&bytes[(head * dim + from) * row_bytes..][..row_bytes]);
        }
        restored.into()
    }
}

/// Returns every tensor of a decoder, in the order in which they are loaded.
pub(crate) fn expected(config: &ModelConfig) -> Vec<TensorId> {
    let mut all = vec![TensorId::new(Role::Embedding, 0)];
    for layer in 0..config.layers.len() {
        expected_of_layer(config, layer, &mut all);
    }
    all.push(TensorId::new(Role::OutputNorm, 0));
    if !config.tied {
        all.push(TensorId::new(Role::Head, 0));
    }
    all
}

fn expected_of_layer(config: &ModelConfig, layer: usize, all: &mut Vec<TensorId>) {
    let (bias, norms) = (config.bias, config.architecture.norms);
    let mut add = |role, biased, expert| {
        let id = TensorId { expert, ..TensorId::new(role, layer) };
        all.push(id);
        if biased {
            all.push(TensorId { bias: true, ..id });
        }
    };
    for (role, name) in [
        (Role::AttentionNorm, norms.attention),
        (Role::AfterAttentionNorm, norms.after_attention),
        (Role::MlpNorm, norms.mlp),
        (Role::AfterMlpNorm, norms.after_mlp),
    ] {
        if name.is_some() {
            add(role, false, None);
        }
    }
    if config.head_norms().is_some() {
        add(Role::QueryNorm, false, None);
        add(Role::KeyNorm, false, None);
    }
    for role in [Role::Query, Role::Key, Role::Value] {
        add(role, bias.qkv, None);
    }
    add(Role::Output, bias.output, None);
    let mixture = config.experts.filter(|_| config.layers[layer].has_experts);
    if mixture.is_some() {
        add(Role::Router, false, None);
    }
    let experts = mixture.map_or(vec![None], |it| (0..it.count).map(Some).collect());
    for expert in experts {
        for role in [Role::Gate, Role::Up, Role::Down] {
            add(role, bias.mlp, expert);
        }
    }
}
