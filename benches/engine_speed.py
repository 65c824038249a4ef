#!/usr/bin/env python3
"""Measures how fast the engine computes, compared with llama.cpp and PyTorch: same files, same threads, by turns.

    benches/engine_speed.py [--before PROGRAM] [--llama-cpp FOLDER] [--xllamacpp PYTHON] [--torch PYTHON] FILE.gguf ...

Prints the table of docs/performance.md. --before names a copy of target/release/examples/speed that was built before
a change, --llama-cpp a folder where node-llama-cpp is installed (see peers/llama_cpp.mjs), --xllamacpp a Python with
the package of that name, which holds llama.cpp too (see peers/llama_cpp_server.py), --torch a Python with PyTorch and
transformers (see peers/torch_bf16.py). Without them, their columns are left out. The best of several rounds counts:
what the machine can do, regardless of its other load.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHAT = ["decode at 64", "decode at 1024", "decode of 8 at 64", "prefill of 512"]


def figures(command, threads, cwd=None):
    """Runs a program and returns what it printed: tokens per second for each test."""
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads), CANDLE_NUM_THREADS=str(threads))
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}; its message is above")
    return json.loads(done.stdout.splitlines()[-1])


def cpu():
    """Returns the CPU's name and the features that decide which kernels are used."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    flags = [flag for flag in ("avx2", "avx512f", "avx_vnni", "avx512_vnni") if f" {flag} " in text.replace("\n", " ")]
    return f"{name or platform.processor() or platform.machine()} ({', '.join(flags) or 'no AVX'})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.gguf")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, metavar="PROGRAM")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER")
    parser.add_argument("--xllamacpp", metavar="PYTHON")
    parser.add_argument("--torch", metavar="PYTHON")
    args = parser.parse_args()
    build = ["cargo", "build", "--release", "--quiet", "--workspace", "--example", "speed"]
    subprocess.run(build, cwd=HERE.parent, check=True)

    def engines(file):
        yield "specthink", [HERE.parent / "target/release/examples/speed", file], None
        if args.before:
            yield "before", [args.before.resolve(), file], None
        if args.llama_cpp:
            yield "llama.cpp", ["node", HERE / "peers/llama_cpp.mjs", file, args.threads], args.llama_cpp
        if args.xllamacpp:
            yield "xllamacpp", [args.xllamacpp, HERE / "peers/llama_cpp_server.py", file, args.threads], None
        if args.torch:
            yield "torch bf16", [args.torch, HERE / "peers/torch_bf16.py", file, args.threads], None

    print(f"{cpu()}, {args.threads} threads, best of {args.rounds} rounds by turns; tokens/s (specthink's ratio)\n")
    names = [name for name, *_ in engines("")]
    print(f"| file | | {' | '.join(names)} |")
    print("| --- | --- " + "| --- " * len(names) + "|")
    for file in args.files:
        best = {name: {} for name in names}
        for _ in range(args.rounds):
            for name, command, cwd in engines(file.resolve()):
                for what, value in figures(command, args.threads, cwd).items():
                    best[name][what] = max(value, best[name].get(what, 0))
        for what in WHAT:
            ours = best["specthink"][what]
            cells = [f"{ours:.1f}"]
            for name in names[1:]:
                theirs = best[name].get(what)
                cells.append(f"{theirs:.1f} ({ours / theirs:.2f})" if theirs else "")
            print(f"| {file.stem} | {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
