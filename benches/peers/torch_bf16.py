"""Measures decode and prefill tokens/s of PyTorch in bf16 on one GGUF file. Prints one line of JSON.

usage: python3 torch_bf16.py MODEL.gguf THREADS
needs: pip install torch transformers==4.57.6 gguf accelerate (version 5 computes from the packed blocks instead)
"""

import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM

DECODED = 16


def main():
    path, threads = sys.argv[1:3]
    torch.set_num_threads(int(threads))
    folder, name = os.path.split(os.path.abspath(path))
    # The file's blocks are unpacked as it is read, so the arithmetic is in bf16.
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16).eval()
    if any(weight.dtype != torch.bfloat16 for weight in model.parameters()):
        sys.exit("the weights were not unpacked to bf16: use transformers 4.57.6")
    vocab = model.config.vocab_size

    def tokens(count):
        return torch.tensor([[at * 2654435761 % 2**32 % vocab for at in range(count)]])

    def prefill(count):
        started = time.perf_counter()
        cache = model(tokens(count), use_cache=True, logits_to_keep=1).past_key_values
        return count / (time.perf_counter() - started), cache

    def decode(context):
        _, cache = prefill(context)
        started = time.perf_counter()
        for token in tokens(DECODED)[0]:
            cache = model(token.view(1, 1), past_key_values=cache, use_cache=True).past_key_values
        return DECODED / (time.perf_counter() - started)

    with torch.inference_mode():
        print(json.dumps({"decode at 64": decode(64), "decode at 1024": decode(1024), "prefill of 512": prefill(512)[0]}))


if __name__ == "__main__":
    main()
