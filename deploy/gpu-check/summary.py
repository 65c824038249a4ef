#!/usr/bin/env python3
"""Prints the figures of a GPU check, one line each.

usage: summary.py all.jsonl
"""

import json
import sys


def read(path):
    """The figures: kind, the step that gave it, and its facts."""
    step, figures = None, []
    for line in open(path):
        try:
            figure = json.loads(line)
        except ValueError:
            # A step that was stopped may leave half a line.
            continue
        if figure["what"] == "step":
            step = figure["facts"]["name"]
        else:
            figures.append((figure["what"], step, figure["facts"]))
    return figures


def number(x):
    """What is not finite is null in JSON."""
    return float("inf") if x is None else x


def parity(figures):
    worst, wrong = {}, []
    for what, _, f in figures:
        if what != "parity":
            continue
        right, of, apart, relative = worst.get(f["dtype"], (0, 0, 0, 0))
        apart, relative = max(apart, number(f["apart"])), max(relative, number(f["relative"]))
        worst[f["dtype"]] = (right + f["right"], of + 1, apart, relative)
        if not f["right"]:
            by = f"{f['apart']} apart, relative {f['relative']}"
            wrong.append(f"  WRONG: {f['model']} {f['dtype']}, {f['how']}: {by}")
    for dtype, (right, of, apart, relative) in worst.items():
        print(f"parity {dtype}: {right} of {of} right; worst: {apart:.2e} apart, relative {relative:.2e}")
    print(*wrong, sep="\n", end="\n" if wrong else "")


def kernels(figures):
    loaded = [f for what, _, f in figures if what == "loaded"]
    print(f"fused kernels: used by {sum(f['fused'] for f in loaded)} of {len(loaded)} models that were loaded")
    for note in sorted({f["note"] for f in loaded if f["note"]}):
        print(f"  note: {note}")


def texts(figures):
    for what, step, f in figures:
        if what == "text":
            print(
                f"{step}: of {f['questions']} answers {f['as on the CPU']} as on the CPU, "
                f"{f['the same again']} the same again, {f['the same in company']} the same in company"
            )


def quants(figures):
    formats = {}
    for what, _, f in figures:
        if what == "quants":
            mark = "" if f["right"] else " WRONG"
            formats.setdefault(f["format"], []).append(f"{f['rows']}: {number(f['relative']):.4f}{mark}")
    for name, found in formats.items():
        print(f"quants {name}, relative error by rows: " + ", ".join(found))


def speeds(figures):
    for what, step, f in figures:
        if what == "overhead":
            print(f"{step}: {f['operation']}: queued {f['queued, us']:.1f} us, done {f['done, us']:.1f} us")
        elif what == "model":
            print(
                f"{step}: weights {f['weights, GB']:.1f} GB, made in {f['made in s']:.0f} s; "
                f"copy {f['copy, GB/s']:.0f} GB/s, "
                f"limit {f['limit, tokens/s']:.1f} tokens/s; memory {f['memory, MiB']} MiB"
            )
        elif what in ("decode", "prefill") and "left out" in f:
            rest = ", ".join(f"{key} {value}" for key, value in f.items() if key != "left out")
            print(f"{step}: {what}, {rest}: left out: {f['left out']}")
        elif what == "decode":
            print(
                f"{step}: decode of {f['sessions']} at {f['context']}: queued {f['queued, ms']:.1f}, "
                f"computed {f['computed, ms']:.1f}, logits here {f['logits here, ms']:.1f} ms; "
                f"{f['tokens/s']:.1f} tokens/s, "
                f"{100 * f['share of limit']:.0f} % of the limit; memory {f['memory, MiB']} MiB"
            )
        elif what == "prefill":
            print(
                f"{step}: prefill of {f['tokens']} by {f['chunk']}: "
                f"{f['tokens/s']:.0f} tokens/s, {f['TFLOP/s']:.1f} TFLOP/s"
            )
        elif what == "16 tokens and the first logits, warm":
            print(f"{step}: {what}: {f['ms']:.1f} ms")
        elif what == "draw":
            print(f"{step}: one draw of {f['vocabulary']}: {f['ms']:.2f} ms")
        elif what.startswith(("torch", "transformers")):
            facts = {key: round(value, 1) if isinstance(value, float) else value for key, value in f.items()}
            print(f"{step}: {what}: {facts}")


def products(figures):
    matrices = {}
    for what, _, f in figures:
        if what == "product":
            few = f["rows"] < 128
            figure = f"{f['GB/s']:.0f} GB/s" if few else f"{f['TFLOP/s']:.0f} TFLOP/s"
            matrices.setdefault((f["matrix"], f["outputs"], f["inputs"]), []).append(f"{f['rows']}: {figure}")
    for (name, outputs, inputs), found in matrices.items():
        print(f"product {name}, {outputs} x {inputs}, by rows: " + ", ".join(found))


def main():
    figures = read(sys.argv[1])
    print("\n== summary")
    for part in (parity, kernels, texts, quants, speeds, products):
        part(figures)


if __name__ == "__main__":
    main()
