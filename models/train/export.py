"""Writes a trained model as GGUF Q8_0, with its tokenizer and chat template: python3 export.py small|large IN.pt OUT.gguf"""

import json
import sys

import gguf
import numpy as np
import torch

from model import RMS_EPS, ROPE_BASE, Shape
from train import RECIPES, encoder

TEMPLATES = {
    "small": (
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'user' -%}{{- '<|user|>' + message['content'] | trim -}}"
        "{%- elif message['role'] == 'assistant' -%}{{- '<|assistant|>' + message['content'] + '<|end|>' -}}"
        "{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
    ),
    "large": (
        "{%- for message in messages -%}{%- if message['role'] != 'system' -%}"
        "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' -}}"
        "{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    ),
}

NAMES = {
    "embed": "token_embd", "norm": "output_norm", "attn_norm": "attn_norm", "ffn_norm": "ffn_norm",
    "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}


def gguf_name(name):
    """layers.0.q.weight -> blk.0.attn_q.weight"""
    parts = name.split(".")
    if parts[0] == "layers":
        return f"blk.{parts[1]}.{NAMES[parts[2]]}.weight"
    return f"{NAMES[parts[0]]}.weight"


def interleave(weight, heads):
    """The llama family's rows of queries and keys as GGUF keeps them: the halves of a head alternate."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_tokenizer(out, name, recipe, tokenizer, vocab):
    """The vocabulary, padded with unused tokens to the embedding's rows, the merges and the template."""
    specials = set(recipe["tokenizer"][2])
    known = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(id) for id in range(known)] + [f"<unused{id}>" for id in range(known, vocab)]
    kinds = [gguf.TokenType.CONTROL if token in specials else gguf.TokenType.NORMAL for token in tokens[:known]]
    kinds += [gguf.TokenType.UNUSED] * (vocab - known)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(recipe["tokenizer"][0])
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    out.add_eos_token_id(tokenizer.token_to_id(recipe["end"]))
    out.add_add_bos_token(False)
    out.add_chat_template(TEMPLATES[name])


def main(name, source, target):
    recipe = RECIPES[name]
    saved = torch.load(source, map_location="cpu")
    shape = Shape(**saved["shape"])
    tokenizer, _, _ = encoder(recipe, saved["tokenizer"])
    out = gguf.GGUFWriter(target, shape.arch)
    out.add_name(f"specthink-arithmetic-{name}")
    out.add_author("The specthink authors")
    out.add_license("MIT OR Apache-2.0")
    out.add_description("Multi-step arithmetic on whole numbers below 1,000, and nothing else.")
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.hidden)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.intermediate)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.kv_heads)
    out.add_key_length(shape.head_dim)
    out.add_value_length(shape.head_dim)
    out.add_rope_dimension_count(shape.head_dim)
    out.add_rope_freq_base(ROPE_BASE)
    out.add_layer_norm_rms_eps(RMS_EPS)
    write_tokenizer(out, name, recipe, tokenizer, shape.vocab)
    for key, tensor in saved["model"].items():
        weight = tensor.float().numpy()
        if weight.ndim == 1:
            out.add_tensor(gguf_name(key), weight)
            continue
        if shape.arch == "llama" and key.endswith((".q.weight", ".k.weight")):
            weight = interleave(weight, shape.heads if ".q." in key else shape.kv_heads)
        blocks = gguf.quants.quantize(np.ascontiguousarray(weight), gguf.GGMLQuantizationType.Q8_0)
        out.add_tensor(gguf_name(key), blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in RECIPES:
        sys.exit(__doc__)
    main(*sys.argv[1:])
