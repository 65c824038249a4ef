"""The same shapes in PyTorch on this GPU: what the card and NVIDIA's libraries reach. One line of JSON per figure.

usage: torch_ref.py CEILINGS | torch_ref.py CONFIG_FOLDER SECONDS [transformers]

A plain decoder: q, k, v and gate, up in one matrix each, a static cache, scaled_dot_product_attention. Its decoding
step runs with and without a CUDA graph. With `transformers` it is that library's own model instead, as people run it.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

BF16 = torch.bfloat16
DEVICE = "cuda"


def say(what, **facts):
    print(json.dumps({"what": what, "facts": facts}), flush=True)


def seconds_of(run, times):
    """Median seconds of a run on the device, after two that do not count."""
    for _ in range(2):
        run()
    found = []
    for _ in range(times):
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        run()
        ended.record()
        ended.synchronize()
        found.append(began.elapsed_time(ended) / 1e3)
    return sorted(found)[len(found) // 2]


def graph_of(run):
    """The run as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def ceilings():
    a = torch.rand(1 << 28, device=DEVICE)
    b = torch.empty_like(a)
    t = seconds_of(lambda: b.copy_(a), 10)
    say("torch copy", **{"GB/s": 2 * a.numel() * 4 / t / 1e9})
    t = seconds_of(lambda: a.sum(), 10)
    say("torch sum (reads only)", **{"GB/s": a.numel() * 4 / t / 1e9})
    del a, b
    x, y = (torch.randn(8192, 8192, device=DEVICE, dtype=BF16) for _ in range(2))
    t = seconds_of(lambda: x @ y, 10)
    say("torch 8192^3 bf16", **{"TFLOP/s": 2 * 8192**3 / t / 1e12})


class Plain:
    def __init__(self, c):
        self.c, h = c, c["hidden_size"]
        self.heads, self.kv = c["num_attention_heads"], c["num_key_value_heads"]
        self.d = c.get("head_dim") or h // self.heads
        width = (self.heads + 2 * self.kv) * self.d

        def random(*shape):
            return torch.empty(*shape, device=DEVICE, dtype=BF16).normal_(0, 0.02)

        self.embedding = random(c["vocab_size"], h)
        self.head = self.embedding if c["tie_word_embeddings"] else random(c["vocab_size"], h)
        self.one = torch.ones(h, device=DEVICE, dtype=BF16)

        def layer():
            qkv, output = random(width, h), random(h, self.heads * self.d)
            gate_up, down = random(2 * c["intermediate_size"], h), random(h, c["intermediate_size"])
            return qkv, random(width), output, gate_up, down

        self.layers = [layer() for _ in range(c["num_hidden_layers"])]
        self.frequencies = c["rope_theta"] ** (-torch.arange(0, self.d, 2, device=DEVICE).float() / self.d)

    def read_bytes(self):
        """Bytes of weights that one step reads."""
        return 2 * (self.head.numel() + sum(m.numel() for layer in self.layers for m in layer))

    def caches(self, rows, length):
        shape = (len(self.layers), 2, rows, self.kv, length, self.d)
        return torch.randn(shape, device=DEVICE, dtype=BF16) * 0.1

    def forward(self, ids, cache, past):
        """Logits of the last of each row's tokens, which follow `past` ones."""
        rows, t = ids.shape
        angles = torch.outer(torch.arange(past, past + t, device=DEVICE).float(), self.frequencies)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]

        def turned(x):
            a, b = x.float().chunk(2, -1)
            return torch.cat((a * cos - b * sin, a * sin + b * cos), -1).to(BF16)

        x = self.embedding[ids]
        for number, (qkv, bias, out, gate_up, down) in enumerate(self.layers):
            normed = F.rms_norm(x, x.shape[-1:], self.one, 1e-6)
            q, k, v = F.linear(normed, qkv, bias).view(rows, t, -1, self.d).split((self.heads, self.kv, self.kv), 2)
            keys, values = cache[number]
            keys[:, :, past : past + t] = turned(k).transpose(1, 2)
            values[:, :, past : past + t] = v.transpose(1, 2)
            keys, values = keys[:, :, : past + t], values[:, :, : past + t]
            queries = turned(q).transpose(1, 2)
            mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=t > 1, enable_gqa=True)
            x = x + F.linear(mixed.transpose(1, 2).reshape(rows, t, -1), out)
            gate, up = F.linear(F.rms_norm(x, x.shape[-1:], self.one, 1e-6), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x[:, -1], x.shape[-1:], self.one, 1e-6), self.head).float()


def plain(folder, in_time):
    c = json.load(open(f"{folder}/config.json"))
    model = Plain(c)
    read, held = model.read_bytes() / 1e9, torch.cuda.memory_allocated() / 1e9
    say("torch model", folder=folder, **{"read, GB": read, "memory, GB": held})
    for rows, context in [(1, 64), (8, 64), (1, 1024), (1, 4096), (32, 64), (8, 1024)]:
        if not in_time():
            break
        cache = model.caches(rows, context + 1)
        ids = torch.zeros(rows, 1, device=DEVICE, dtype=torch.long)

        def step():
            return model.forward(ids, cache, context)

        eager = seconds_of(step, 5)
        graphed = seconds_of(graph_of(step), 10)
        rates = {"eager, tokens/s": rows / eager, "graph, tokens/s": rows / graphed}
        say("torch decode", rows=rows, context=context, **rates, **{"graph, GB/s": model.read_bytes() / graphed / 1e9})
        del cache
    multiplied = sum(m.numel() for layer in model.layers for m in layer if m.dim() == 2)
    for count in (128, 512, 2048):
        if not in_time():
            break
        cache = model.caches(1, count)
        ids = torch.zeros(1, count, device=DEVICE, dtype=torch.long)
        t = seconds_of(lambda: model.forward(ids, cache, 0), 3)
        say("torch prefill", tokens=count, **{"tokens/s": count / t, "TFLOP/s": 2 * multiplied * count / t / 1e12})


def by_transformers(folder, in_time):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_default_dtype(BF16)
    with torch.device(DEVICE):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).to(BF16).eval()
    say("transformers model", folder=folder, **{"memory, GB": torch.cuda.memory_allocated() / 1e9})

    def prefill(count):
        ids = torch.zeros(1, count, device=DEVICE, dtype=torch.long)
        return model(ids, use_cache=True, logits_to_keep=1).past_key_values

    for context in (64, 1024):
        if not in_time():
            break
        cache, token = prefill(context), torch.zeros(1, 1, device=DEVICE, dtype=torch.long)
        times = []
        for _ in range(12):
            torch.cuda.synchronize()
            began = time.perf_counter()
            model(token, past_key_values=cache, use_cache=True).logits.float().cpu()
            times.append(time.perf_counter() - began)
        say("transformers decode", context=context, **{"tokens/s": 1 / sorted(times[4:])[len(times[4:]) // 2]})
    for count in (512, 2048):
        if in_time():
            say("transformers prefill", tokens=count, **{"tokens/s": count / seconds_of(lambda: prefill(count), 3)})


def main():
    if sys.argv[1] == "CEILINGS":
        return ceilings()
    folder, seconds = sys.argv[1], float(sys.argv[2])
    began = time.perf_counter()

    def in_time():
        return time.perf_counter() - began < seconds

    (by_transformers if "transformers" in sys.argv[3:] else plain)(folder, in_time)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
