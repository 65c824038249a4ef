#!/usr/bin/env python3
"""Runs one table of the paper (arXiv 2504.12329) and prints its published figures beside what was measured.

    benches/paper/run.py math500 --pair r1-1.5b+r1-32b --small http://127.0.0.1:7101 --large https://gpu.example.org:7102 \\
        --data math500.jsonl --out math500
    benches/paper/run.py --dry-run          # every table, with the built-in pair and three problems

The same command again continues where an interrupted run ended. Needs Python 3.9 and the program specthink-lab.
docs/paper.md says which models and data sets the tables need, and what a run takes.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from first_figures import wilson  # noqa: E402  (beside this folder)

ROOT = HERE.parent.parent
PUBLISHED = json.loads((HERE / "published.json").read_text())
TABLES = [name for name in PUBLISHED if name != "source"]


def sweep(program, table, out, more):
    if not pathlib.Path(program).exists():
        sys.exit(f"there is no {program}: build it with cargo build --release -p specthink-lab, or give --program")
    command = [program, "sweep", "--experiment", str(HERE / f"{table}.toml"), "--out", str(out), *more]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"the sweep ended with code {done.returncode}; the same command again continues it")


def measured(out):
    """Right answers, graded answers, questions and the large model's share, over all seeds, by the policy's name."""
    cells = {}
    with open(out / "report" / "cells.csv", newline="") as file:
        for row in csv.DictReader(file):
            cells.setdefault(row["policy"], []).append(row)
    figures = {}
    for policy, rows in cells.items():
        graded = sum(int(row["graded"]) for row in rows)
        right = sum(int(row["right"]) for row in rows)
        shares = [float(row["large_share"]) for row in rows if row["large_share"]]
        questions = max(int(row["graded"]) for row in rows)
        figures[policy] = (right, graded, questions, sum(shares) / len(shares) if shares else None)
    return figures


def show(table, pair, figures):
    sys.stderr.flush()
    print(f"\n{table}, {pair}\n")
    print("| policy | published | 95 % interval | share | measured | 95 % interval | share |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    questions = PUBLISHED[table]["questions"]
    published = PUBLISHED[table]["pairs"].get(pair, {})
    for policy, (right, graded, asked, share) in figures.items():
        name = policy.split(":")[0]
        theirs = published.get(name)
        cells = [policy, "-", "-", "-"]
        if theirs is not None:
            low, high = wilson(round(theirs * questions / 100), questions)
            cells[1:3] = [f"{theirs:.1f} %", f"{low:.1f} to {high:.1f} %"]
            if name == "paper" and "share" in published:
                cells[3] = f"{published['share']} %"
        # Answers of several seeds to one question depend on each other: the interval is that of the questions.
        low, high = wilson(right / graded * asked, asked) if graded else (0.0, 100.0)
        ours = 100 * right / graded if graded else 0.0
        cells += [f"{ours:.1f} % of {graded}", f"{low:.1f} to {high:.1f} %"]
        cells.append("-" if share is None else f"{100 * share:.1f} %")
        print("| " + " | ".join(cells) + " |", flush=True)


def dry_run(program):
    """Proves that the experiments are sound, and nothing else: three problems, the built-in pair, one seed."""
    for table in TABLES:
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / table
            data = str(ROOT / "models" / "arithmetic" / "test.jsonl")
            sweep(program, table, out, [data, "--limit", "3", "--seed", "0", "--max-tokens", "400", "--pair", "builtin"])
            show(table, "the built-in pair (a dry run: its figures mean nothing)", measured(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("table", nargs="?", choices=TABLES)
    parser.add_argument("--pair", choices=PUBLISHED["math500"]["pairs"], help="which of the paper's pairs")
    parser.add_argument("--small", help="the address of the small node")
    parser.add_argument("--large", help="the address of the large node, or openai+http://HOST:PORT/v1")
    parser.add_argument("--data", help="the data set, JSON lines")
    parser.add_argument("--out", type=pathlib.Path, help="the folder of the results")
    parser.add_argument("--dry-run", action="store_true", help="every table with the built-in pair")
    parser.add_argument("--program", default=str(ROOT / "target" / "release" / "specthink-lab"))
    args, more = parser.parse_known_args()
    if args.dry_run:
        return dry_run(args.program)
    for name in ["table", "pair", "small", "large", "data", "out"]:
        if getattr(args, name) is None:
            parser.error(f"{name} is missing" if name == "table" else f"--{name} is missing")
    if args.pair.startswith("qwen2.5") and not any(word.split("=")[0] == "--policy" for word in more):
        # A model that does not reason seldom doubts aloud.
        for policy in ["small-only", "paper:preset=instruct", "strict:preset=instruct", "review", "large-only"]:
            more += ["--policy", policy]
    sweep(args.program, args.table, args.out, [args.data, "--small", args.small, "--large", args.large, *more])
    show(args.table, args.pair, measured(args.out))


if __name__ == "__main__":
    main()
