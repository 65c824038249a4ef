"""Trains one of the two models: python3 train.py small|large OUTDIR [--threads N] [--fast] [--resume]

Runs on a CPU or, with --device cuda, on a GPU. Writes OUTDIR/NAME.pt (weights, shape, tokens seen) every few minutes
and at the end of every round.
"""

import argparse
import copy
import random
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from model import Decoder, Shape, generate
from problems import problems, tell, trace
from tokenizer import train_tokenizer

BATCH_TOKENS = 4096
# How many right steps are checked for every wrong one: at first, and later. While there are few, the word after a step
# depends on whether it is right, and a model that can see that learns to look.
BALANCE = (0.1, 1)

# "rounds": the tokens seen at the end of each, and how many sums and small differences go wrong in its traces. Every
# round raises the learning rate again and lets it fall.
RECIPES = {
    "small": {
        "tokenizer": ("smollm", 448, ["<|user|>", "<|assistant|>", "<|end|>"]),
        "prompt": "<|user|>{}<|assistant|>",
        "end": "<|end|>",
        "shape": dict(arch="llama", hidden=64, intermediate=192, layers=3, heads=4, kv_heads=4, head_dim=16),
        "rounds": ((12_000_000, 0.36), (20_000_000, 0.36), (23_000_000, 0.43)),
        "balanced_from": 7_200_000,
        "lr": (0.015, 0.003),
        "seed": 13,
    },
    "large": {
        "tokenizer": ("qwen2", 512, ["<|im_start|>", "<|im_end|>"]),
        "prompt": "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        "end": "<|im_end|>",
        "shape": dict(arch="qwen3", hidden=128, intermediate=384, layers=6, heads=4, kv_heads=4, head_dim=32),
        "rounds": ((22_000_000, 0.36), (30_000_000, 0.36), (31_200_000, 0.43)),
        "balanced_from": 17_600_000,
        "lr": (0.015, 0.002),
        "seed": 12,
    },
}


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by Newton-Schulz steps (Jordan et al. 2024), in float32: PyTorch's
    own computes them in bfloat16, which is slow on a CPU without it."""

    def __init__(self, matrices, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(matrices, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for matrix in group["params"]:
                average = self.state[matrix].setdefault("average", torch.zeros_like(matrix))
                average.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonal(matrix.grad.lerp(average, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5)


def orthogonal(matrix):
    """The nearest matrix with orthonormal rows or columns, roughly: five quintic Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


def encoder(recipe, saved=None):
    """The tokenizer, trained or as it was saved, and the function from a problem to ids and their weights in the loss."""
    tokenizer = Tokenizer.from_str(saved) if saved else train_tokenizer(*recipe["tokenizer"])
    end = tokenizer.token_to_id(recipe["end"])
    known = {}

    def encode(text):
        if text not in known:
            known[text] = tokenizer.encode(text).ids
        return known[text]

    def ids_of(rng, problem, sums_wrong, balance):
        ids = list(tokenizer.encode(recipe["prompt"].format(tell(rng, problem))).ids)
        counts = [0] * len(ids)
        # Digits stand alone in both tokenizers, so a number cut out of the text has the same tokens in it.
        for text, count in trace(rng, problem, sums_wrong, balance):
            piece = encode(text)
            ids += piece
            counts += [count] * len(piece)
        return ids + [end], counts + [1]

    return tokenizer, end, ids_of


def batches(rng, ids_of, context, easy_rows, sums_wrong, balance):
    """Endless batches of about BATCH_TOKENS tokens, rows of like length together, padded to a multiple of 32.

    The first `easy_rows` problems have two or three steps. `balance()` is asked at every row: see `trace`."""
    source, pool, easy = problems(rng, "train"), [], problems(rng, "train", (2, 3))
    made = 0
    while True:
        while len(pool) < 2048:
            pool.append(ids_of(rng, next(easy if made < easy_rows else source), sums_wrong, balance()))
            made += 1
        pool.sort(key=lambda row: len(row[0]))
        ready, row = [], 0
        while row < len(pool):
            width = min(context, -(-len(pool[row][0]) // 32) * 32)
            rows = [pool[row]]
            row += 1
            while row < len(pool) and len(pool[row][0]) <= width and (len(rows) + 1) * width <= BATCH_TOKENS:
                rows.append(pool[row])
                row += 1
            ids, counts = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width)
            for at, (row_ids, row_counts) in enumerate(rows):
                n = min(width, len(row_ids))
                ids[at, :n], counts[at, :n] = torch.tensor(row_ids[:n]), torch.tensor(row_counts[:n], dtype=torch.float)
            ready.append((ids, counts))
        pool = []
        rng.shuffle(ready)
        yield from ready


def evaluate(model, tokenizer, end, recipe, count, temperature=0.6):
    """The share of `count` problems of the dev split that the model answers right, and mean new tokens."""
    rng = random.Random(99)
    source = problems(rng, "dev")
    chosen = [next(source) for _ in range(count)]
    prompts = [tokenizer.encode(recipe["prompt"].format(tell(rng, p))).ids for p in chosen]
    # On the CPU, whatever trains: the cache is made there, and the draws are the same everywhere.
    made = generate(copy.deepcopy(model).cpu(), prompts, end, 400, temperature, seed=1)
    texts = [tokenizer.decode(ids) for ids in made]
    right = sum(f"boxed{{{p.values()[-1]}}}" in text for p, text in zip(chosen, texts))
    return right / count, sum(map(len, made)) / count, texts[0]


def save(path, model, tokenizer, optimizers, seen):
    """Writes everything that export.py and --resume need."""
    torch.save({"model": model.state_dict(), "shape": asdict(model.shape), "tokenizer": tokenizer.to_str(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers], "seen": seen}, path)


def train(args, recipe, model, optimizers, coder, seen):
    """Trains from `seen` tokens on, through all rounds that are not over; a round that is gone on with warms up again."""
    tokenizer, end, ids_of = coder
    target = args.outdir / f"{args.name}.pt"
    forward = torch.compile(model, dynamic=True) if args.fast else model
    start = last = time.monotonic()
    made, losses = 0, []

    def balance():
        """How many right steps are checked for every wrong one in the traces to come."""
        return BALANCE[seen >= recipe["balanced_from"]]

    for tokens, sums_wrong in recipe["rounds"]:
        # Another stream of problems than in the rounds before: those have been seen.
        rng, step = random.Random(recipe["seed"] + seen), 0
        for ids, weights in batches(rng, ids_of, model.shape.context, 0 if seen else 4096, sums_wrong, balance):
            if seen >= tokens:
                break
            # Up over 100 steps, level, and down to nothing over the last 60 %.
            factor = min(1, (step + 1) / 100, (1 - seen / tokens) / 0.6)
            for optimizer, rate in zip(optimizers, recipe["lr"]):
                optimizer.param_groups[0]["lr"] = rate * factor
            ids, weights = ids.to(args.device), weights[:, 1:].flatten().to(args.device)
            with torch.autocast(args.device, torch.bfloat16, enabled=args.fast):
                logits = forward(ids[:, :-1])
            loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            loss = (loss * weights).sum() / weights.sum()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            seen += ids.numel()
            made += ids.numel()
            step += 1
            losses.append(loss.item())
            if step % 100 == 0:
                spent, mean = time.monotonic() - start, sum(losses) / len(losses)
                print(f"{step:5} {seen / 1e6:6.2f}M {spent:6.0f}s {made / spent:7.0f} tok/s loss {mean:.4f}", flush=True)
                losses = []
            if time.monotonic() - last > 300:
                save(target, model, tokenizer, optimizers, seen)
                right, length, _ = evaluate(model, tokenizer, end, recipe, 200)
                print(f"      right {right:.3f} tokens {length:.0f}", flush=True)
                last = time.monotonic()
        save(target, model, tokenizer, optimizers, seen)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("name", choices=RECIPES)
    args.add_argument("outdir", type=Path)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--resume", action="store_true", help="go on from OUTDIR/NAME.pt")
    args.add_argument("--device", default="cpu", help="cpu or cuda")
    args.add_argument("--fast", action="store_true", help="compile the model and multiply in bfloat16: for processors "
                      "that have instructions for it; needs a C++ compiler")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    args.outdir.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[args.name]
    saved = {"seen": 0}
    if args.resume:
        saved = torch.load(args.outdir / f"{args.name}.pt", map_location=args.device)
    torch.manual_seed(recipe["seed"])
    tokenizer, end, ids_of = coder = encoder(recipe, saved.get("tokenizer"))
    shape = Shape(vocab=-(-tokenizer.get_vocab_size() // 32) * 32, **recipe["shape"])
    model = Decoder(shape).to(args.device)
    print(shape, sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    rates = recipe["lr"]
    optimizers = [Muon(matrices, rates[0]), torch.optim.AdamW(others, rates[1], betas=(0.9, 0.98), weight_decay=0.0)]
    if args.resume:
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved.get("optimizers", [])):
            optimizer.load_state_dict(state)
    train(args, recipe, model, optimizers, coder, saved["seen"])
    right, length, text = evaluate(model, tokenizer, end, recipe, 500)
    print(f"end: right {right:.3f} tokens {length:.0f}\n{text}", flush=True)


if __name__ == "__main__":
    main()
