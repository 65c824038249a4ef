#!/usr/bin/env python3
"""Measures what takeovers are worth with the built-in pair: every policy over models/arithmetic/test.jsonl.

    cargo build --release -p coordinator
    benches/builtin_pair.py [--data FILE] [--logs FOLDER] [--seed S]

`random` and `periodic` get the takeover share that `strict` had. Prints the table of docs/measurements.md, and the
outcome of the checks in the texts. To continue an interrupted run, start it again with the same --logs and the same
program: the logs are named after the program, since it contains the models.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def log_of(args, name):
    """Returns the path of one policy's log."""
    program = hashlib.sha256(args.specthink.read_bytes()).hexdigest()[:12]
    return args.logs / f"{name}-{args.seed}-{program}.jsonl"


def evaluate(args, name, policy):
    """Runs one policy and returns its figures."""
    log = log_of(args, name)
    command = [args.specthink, "eval", args.data, "--json", "--log", log, "--seed", args.seed, "--policy", *policy]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name}: specthink ended with {done.returncode}")
    return json.loads(done.stdout)


def row(name, figures, small, large):
    """Returns one row of the table."""
    gap = large["accuracy"] - small["accuracy"]
    recovered = (figures["accuracy"] - small["accuracy"]) / gap if gap else 0
    shorter = 1 - figures["chars"] / small["chars"]
    cells = [
        name,
        f"{100 * figures['accuracy']:.1f} %",
        f"{100 * figures['accuracy_low']:.1f}-{100 * figures['accuracy_high']:.1f} %",
        f"{100 * recovered:.0f} %",
        f"{100 * figures['takeover_share']:.1f} %",
        f"{figures['takeovers']:.2f}",
        f"{figures['tokens']:.0f}",
        f"{figures['chars']:.0f}",
        f"{100 * shorter:+.0f} %",
        f"{figures['wall_s']:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


# A step and its result; a check of the step before it, with the check's result and its verdict on the step's.
STEP = re.compile(r"\w+: \d+[-+*/]\d+=(\d+)\.")
CHECK = re.compile(r"(?:Wait|Hold on|Let me check)[^:]*: \d+[-+*/]\d+=(\d+), (as|once|not)")


def checks(log):
    """Returns what the checks in a log's texts found and said, and how many takeovers there were."""
    rows = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    said = Counter()
    for row in rows:
        paragraphs = row["text"].split("\n\n")
        for step, check in zip(map(STEP.fullmatch, paragraphs), map(CHECK.match, paragraphs[1:])):
            if step and check:
                said[check[1] == step[1], check[2] != "not"] += 1
    takeovers = sum(len(row["summary"]["takeovers"]) for row in rows)
    agree, differ = said[True, True] + said[True, False], said[False, True] + said[False, False]
    return (f"{agree} checks found what the step had, and {share(said[True, True], agree)} of them say so; "
            f"{differ} found something else, and {share(said[False, False], differ)} of them correct it; "
            f"{takeovers} takeovers")


def share(part, whole):
    """Returns a part of a whole as a percentage."""
    return f"{100 * part / whole:.1f} %" if whole else "none"


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--specthink", type=Path, default=ROOT / "target/release/specthink")
    args.add_argument("--data", type=Path, default=ROOT / "models/arithmetic/test.jsonl")
    args.add_argument("--logs", type=Path, default=ROOT / "target/builtin-pair")
    args.add_argument("--seed", type=int, default=0)
    args = args.parse_args()
    args.logs.mkdir(parents=True, exist_ok=True)
    small = evaluate(args, "small-only", ["small-only"])
    large = evaluate(args, "large-only", ["large-only"])
    strict = evaluate(args, "strict", ["strict"])
    share = f"{strict['takeover_share']:.3f}"
    rows = {"small-only": small, "strict": strict, "paper": evaluate(args, "paper", ["paper"])}
    rows["random"] = evaluate(args, "random", ["random", "--share", share])
    rows["periodic"] = evaluate(args, "periodic", ["periodic", "--share", share, "--period", "60"])
    rows["large-only"] = large
    print("| policy | right | 95 % interval | gap recovered | takeover share | takeovers | tokens | characters |"
          " shorter by | wall s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, figures in rows.items():
        print(row(name, figures, small, large))
    for name in ("small-only", "strict", "large-only"):
        print(f"{name}: {checks(log_of(args, name))}")


if __name__ == "__main__":
    main()
