"""The decoder of both models in PyTorch: Llama's, and Qwen3's, which also normalises queries and keys."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

ROPE_BASE = 10_000.0
RMS_EPS = 1e-5


@dataclass
class Shape:
    """A model's sizes."""

    arch: str
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int = 512


class Norm(nn.Module):
    """RMS norm."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, RMS_EPS)


def rotate(x, cos, sin):
    """RoPE with the two halves of a head as pairs; x is (batch, heads, tokens, head_dim)."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Layer(nn.Module):
    """Attention, then the gated feed-forward network."""

    def __init__(self, shape):
        super().__init__()
        width, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.shape = shape
        self.attn_norm, self.ffn_norm = Norm(shape.hidden), Norm(shape.hidden)
        self.q = nn.Linear(shape.hidden, width, bias=False)
        self.k = nn.Linear(shape.hidden, kv, bias=False)
        self.v = nn.Linear(shape.hidden, kv, bias=False)
        self.o = nn.Linear(width, shape.hidden, bias=False)
        self.gate = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down = nn.Linear(shape.intermediate, shape.hidden, bias=False)
        if shape.arch == "qwen3":
            self.q_norm, self.k_norm = Norm(shape.head_dim), Norm(shape.head_dim)

    def forward(self, x, cos, sin, cache=None):
        batch, tokens, _ = x.shape
        y = self.attn_norm(x)
        q = self.q(y).view(batch, tokens, self.shape.heads, -1)
        k = self.k(y).view(batch, tokens, self.shape.kv_heads, -1)
        v = self.v(y).view(batch, tokens, self.shape.kv_heads, -1).transpose(1, 2)
        if self.shape.arch == "qwen3":
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q.transpose(1, 2), cos, sin), rotate(k.transpose(1, 2), cos, sin)
        if cache is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            y = cache.attend(self, q, k, v)
        x = x + self.o(y.transpose(1, 2).reshape(batch, tokens, -1))
        y = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """Token ids (batch, tokens) to logits (batch, tokens, vocab); the head is the embedding."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden)
        half = shape.head_dim // 2
        turns = ROPE_BASE ** (-torch.arange(half) / half)
        angles = torch.arange(shape.context)[:, None] * turns
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 if "embed" in name else parameter.shape[1] ** -0.5)
            if name.endswith(("o.weight", "down.weight")):
                nn.init.zeros_(parameter)

    def forward(self, ids, caches=None, positions=None):
        x = self.embed(ids)
        if positions is None:
            cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        else:
            cos, sin = self.cos[positions][:, None, None], self.sin[positions][:, None, None]
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers)):
            x = layer(x, cos, sin, cache)
        return F.linear(self.norm(x), self.embed.weight)


class Cache:
    """Keys and values of one layer for rows of unequal lengths that grow by one token a step."""

    def __init__(self, shape, rows):
        size = (rows, shape.kv_heads, shape.context, shape.head_dim)
        self.k, self.v, self.lengths = torch.zeros(size), torch.zeros(size), None

    def attend(self, layer, q, k, v):
        """Attention of one new token a row; `lengths` holds the tokens before it."""
        rows = torch.arange(q.shape[0])
        self.k[rows, :, self.lengths], self.v[rows, :, self.lengths] = k[:, :, 0], v[:, :, 0]
        most = int(self.lengths.max()) + 1
        mask = torch.arange(most)[None] <= self.lengths[:, None]
        return F.scaled_dot_product_attention(
            q, self.k[:, :, :most], self.v[:, :, :most], attn_mask=mask[:, None, None], enable_gqa=True)


@torch.no_grad()
def generate(model, prompts, end, max_tokens, temperature, seed, top_k=50, top_p=0.95):
    """Continues every prompt (a list of ids) until `end`; returns the new ids of each."""
    order = torch.Generator().manual_seed(seed)
    shape, rows = model.shape, len(prompts)
    caches = [Cache(shape, rows) for _ in model.layers]
    lengths = torch.zeros(rows, dtype=torch.long)
    alive = torch.ones(rows, dtype=torch.bool)
    out = [[] for _ in prompts]
    token = torch.tensor([prompt[0] for prompt in prompts])
    longest = max(map(len, prompts))
    for _ in range(min(longest + max_tokens, shape.context) - 1):
        for cache in caches:
            cache.lengths = lengths
        logits = model(token[:, None], caches, lengths)[:, 0]
        lengths = lengths + 1
        if temperature == 0:
            drawn = logits.argmax(-1)
        else:
            best, ids = (logits / temperature).topk(min(top_k, shape.vocab))
            p = best.softmax(-1)
            p = p * ((p.cumsum(-1) - p) < top_p)
            drawn = ids.gather(1, torch.multinomial(p, 1, generator=order))[:, 0]
        for row, prompt in enumerate(prompts):
            if lengths[row] < len(prompt):
                drawn[row] = prompt[int(lengths[row])]
            elif alive[row]:
                if drawn[row] == end or len(out[row]) == max_tokens:
                    alive[row] = False
                else:
                    out[row].append(int(drawn[row]))
        token = drawn
        if not alive.any():
            break
    return out
