#!/usr/bin/env python3
"""Measures what a review costs the large node, over the piece size and the number of answers at a time.

    cargo build --release --workspace
    benches/review_users.py [--problems 64] [--repeats 5] [--programs target/release]

The built-in pair in two nodes of one thread each. For every policy and number of answers at a time, a sweep asks the
problems; the passes through the large model are taken from the node's metrics, and the core time from the process of
each node (Linux). Policies take turns, --repeats times.

Prints a table of medians per answer, with the least and the most. Needs only Python 3.9 or newer.
"""

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ["review:review-piece=4", "review:review-piece=16", "review:review-piece=64", "large-only", "small-only"]
PARALLEL = [1, 8, 32]


class Node:
    """A node of this project as a child process."""

    def __init__(self, program):
        command = [program, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--threads", "1",
                   "--max-sessions", str(2 * max(PARALLEL))]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.metrics = None
        for line in self.process.stdout:
            found = re.search(r"http://\S+/metrics", line)
            if found:
                self.metrics = found[0]
            found = re.match(r"listening on (\S+)", line)
            if found:
                self.url = found[1]
                return
        raise SystemExit(f"{program} did not start")

    def core_ms(self):
        """Returns the core time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def passes(self):
        """Returns the passes through its model so far."""
        with urllib.request.urlopen(self.metrics) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("specthink_engine_step_seconds_count"))

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measured(args, small, large, policy, parallel, out):
    """Returns passes, and core time in ms of the large and of the small node, per answer."""
    before = large.passes(), large.core_ms(), small.core_ms()
    command = [args.programs / "specthink-lab", "sweep", ROOT / "models/arithmetic/test.jsonl", "--policy", policy,
               "--limit", args.problems, "--parallel", parallel, "--link", "loopback",
               "--small", small.url, "--large", large.url, "--out", out]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = large.passes(), large.core_ms(), small.core_ms()
    return [(now - then) / args.problems for then, now in zip(before, after)]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--problems", type=int, default=64)
    args.add_argument("--repeats", type=int, default=5)
    args.add_argument("--programs", type=Path, default=ROOT / "target/release", help="the folder with the programs")
    args = args.parse_args()
    found = {(policy, parallel): [] for policy in POLICIES for parallel in PARALLEL}
    nodes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for program in ("small-node", "large-node"):
                nodes.append(Node(args.programs / program))
            for number in range(args.repeats):
                for (policy, parallel), rows in found.items():
                    out = Path(folder) / f"{number} {policy} {parallel}"
                    rows.append(measured(args, *nodes, policy, parallel, out))
        finally:
            for node in nodes:
                node.stop()
    print("| policy | at a time | passes | large node, core ms | small node, core ms |")
    print("| --- | --- | --- | --- | --- |")
    for (policy, parallel), rows in found.items():
        cells = [f"{statistics.median(one):.1f} ({min(one):.1f}-{max(one):.1f})" for one in zip(*rows)]
        print(f"| {policy} | {parallel} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
