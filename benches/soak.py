#!/usr/bin/env python3
"""Checks that the memory of nodes does not grow: asks the built-in pair a thousand questions and watches the processes.

    cargo build --release --workspace
    benches/soak.py [--rounds 2] [--kv-memory 16MiB]

Every round asks the 500 problems of models/arithmetic/test.jsonl with another seed. Prints each node's resident memory
in MiB at the beginning and after every 250 answers. Caches first fill up to --kv-memory; then memory must stay level.
"""

import argparse
import re
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "target/release"
EVERY = 250


def node(program, kv_memory):
    """Starts a node on a free port. Returns its process and its address."""
    command = [PROGRAMS / program, "--listen", "127.0.0.1:0", "--kv-memory", kv_memory]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        if found := re.search(r"listening on (\S+)", line):
            return process, found[1]
    raise SystemExit(f"{program} ended before it was listening")


def resident_mib(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kv-memory", default="16MiB")
    args = parser.parse_args()
    nodes = [node("small-node", args.kv_memory), node("large-node", args.kv_memory)]
    (small, small_url), (large, large_url) = nodes
    print("answers  small MiB  large MiB")

    def say(answers):
        print(f"{answers:7}  {resident_mib(small):9.1f}  {resident_mib(large):9.1f}", flush=True)

    try:
        say(0)
        done = 0
        for seed in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                log = Path(folder) / "log.jsonl"
                asking = subprocess.Popen(
                    [PROGRAMS / "specthink", "eval", ROOT / "models/arithmetic/test.jsonl", "--seed", str(seed),
                     "--small", small_url, "--large", large_url, "--log", log],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                said = 0
                while asking.poll() is None or said < 2:
                    # The first line is the header.
                    rows = sum(1 for _ in log.open()) - 1 if log.exists() else 0
                    while said < min(rows // EVERY, 2):
                        said += 1
                        say(done + said * EVERY)
                    if asking.poll() is not None and rows < 2 * EVERY:
                        raise SystemExit(f"eval ended with {asking.returncode} after {rows} answers")
                    time.sleep(0.05)
                done += 2 * EVERY
    finally:
        for process, _ in nodes:
            process.terminate()


if __name__ == "__main__":
    main()
