#!/usr/bin/env python3
"""Runs a real pair of models over maths questions on loopback, and prints its quality and cost.

Starts a small and a large node, asks every question under every policy, grades the answers, and prints two Markdown
tables: quality and cost per policy, and what keep-warm saves. Needs only the standard library.

usage: first_figures.py --small FILE.gguf --large FILE.gguf --questions gsm8k.jsonl [options]

The questions are JSON lines with `question` and `answer`, in which the number follows `####` (as in GSM8K's test set:
https://github.com/openai/grade-school-math).
"""

import argparse
import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
import time

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def gold(row):
    return float(row["answer"].split("####")[-1].strip().replace(",", ""))


def given(text):
    """Returns the number in the last \\boxed{}, else the last number of the text, else None."""
    boxed = re.findall(r"\\boxed\{([^{}]*)\}", text)
    for source in ([boxed[-1]] if boxed else []) + [text]:
        numbers = NUMBER.findall(source)
        if numbers:
            return float(numbers[-1].replace(",", ""))
    return None


def wilson(right, n):
    """Returns the 95 % interval of a share (Wilson), in per cent."""
    if n == 0:
        return 0.0, 100.0
    z, p = 1.96, right / n
    mid = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return 100 * (mid - half), 100 * (mid + half)


class Node:
    """A node as a child process."""

    def __init__(self, binary, model, threads):
        self.process = subprocess.Popen(
            [binary, "--model", model, "--listen", "127.0.0.1:0", "--threads", str(threads)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            found = re.search(r"listening on (\S+)", line)
            if found:
                self.url = found.group(1)
                return
        sys.exit(f"{binary} stopped before it listened")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def ask(binary, small, large, question, *flags):
    """Asks one question; returns specthink's JSON."""
    command = [binary, "ask", "--json", "--small", small, "--large", large, *flags, "-"]
    done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=1200)
    answer = json.loads(done.stdout) if done.stdout.strip() else None
    if done.returncode != 0 or answer is None or answer["summary"].get("degraded"):
        sys.exit(f"an answer failed or is degraded: {done.stderr.strip()}")
    return answer


POLICIES = {
    "small-only": ["--policy", "small-only"],
    "strict": ["--policy", "strict"],
    "strict, cold": ["--policy", "strict", "--no-keep-warm"],
    "paper": ["--policy", "paper"],
    "large-only": ["--policy", "large-only"],
}


def quality(args, small, large, rows):
    """Asks all questions under every policy; prints a table; returns the results."""
    print(f"\n## {len(rows)} questions, T = {args.temperature}, seed {args.seed}, "
          f"at most {args.max_tokens} tokens, preset {args.preset}\n")
    print("| policy | right | 95 % interval | tokens small / large / discarded | takeovers | share "
          "| wall s | small s | large prefill s | large decode s | network s | bytes to / from nodes |")
    print("| --- " * 12 + "|")
    results = {}
    for name in args.policies.split(";"):
        answers = []
        for row in rows:
            answers.append(ask(
                args.specthink, small, large, row["question"], *POLICIES[name],
                "--preset", args.preset, "--system", INSTRUCTION, "--seed", str(args.seed),
                "--temperature", str(args.temperature), "--max-tokens", str(args.max_tokens)))
        results[name] = answers
        print_quality(name, rows, answers)
    return results


def print_quality(name, rows, answers):
    sums = [answer["summary"] for answer in answers]
    right = sum(given(answer["answer"]) == gold(row) for row, answer in zip(rows, answers))
    low, high = wilson(right, len(rows))
    small, large = (sum(s[role]["tokens"] for s in sums) for role in ("small", "large"))
    dropped = sum(s[role]["discarded_tokens"] for s in sums for role in ("small", "large"))

    def seconds(role, part):
        return sum(s["time"][role][part] for s in sums) / 1e6 / len(sums)

    def traffic(direction):
        counted = [s[role]["traffic"] for s in sums for role in ("small", "large")]
        return sum(t[direction] for t in counted if t) / len(sums)

    print(f"| {name} | {right}/{len(rows)} | {low:.0f}-{high:.0f} % | {small} / {large} / {dropped} "
          f"| {sum(len(s['takeovers']) for s in sums)} | {large / max(1, small + large):.1%} "
          f"| {sum(s['time']['total_us'] for s in sums) / 1e6 / len(sums):.2f} "
          f"| {seconds('small', 'prefill_us') + seconds('small', 'decode_us'):.2f} "
          f"| {seconds('large', 'prefill_us'):.3f} | {seconds('large', 'decode_us'):.2f} "
          f"| {seconds('small', 'network_us') + seconds('large', 'network_us'):.3f} "
          f"| {traffic('sent_bytes'):.0f} / {traffic('received_bytes'):.0f} |", flush=True)


def keep_warm(results):
    """Prints what a takeover still had to prefill, and how long its first text took.

    Takeovers that begin an answer are listed separately: their prompt can never be prefilled ahead.
    """
    print("\n## A takeover's cost, warm and cold\n")
    print("| policy | takeovers | prefill tokens left, mean / max | hand-over ms, median / p95 |")
    print("| --- " * 4 + "|")
    for name, answers in results.items():
        takeovers = [t for answer in answers for t in answer["summary"]["takeovers"]]
        for which, wanted in (("begin", True), ("later", False)):
            print_takeovers(f"{name}, {which}", [t for t in takeovers if (t["why"] == "begin") == wanted])


def print_takeovers(name, takeovers):
    if takeovers:
        left = [t["prefill_tokens"] for t in takeovers]
        late = sorted(t["handoff_us"] / 1e3 for t in takeovers if t["handoff_us"] is not None)
        p95 = late[min(len(late) - 1, int(0.95 * len(late)))] if late else float("nan")
        middle = late[len(late) // 2] if late else float("nan")
        print(f"| {name} | {len(takeovers)} | {sum(left) / len(left):.1f} / {max(left)} "
              f"| {middle:.0f} / {p95:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--small", required=True, help="the small model, a GGUF file")
    parser.add_argument("--large", required=True, help="the large model, a GGUF file")
    parser.add_argument("--questions", required=True, help="GSM8K as JSON lines")
    parser.add_argument("--count", type=int, default=20, help="how many of the questions to ask")
    parser.add_argument("--policies", default=";".join(POLICIES), help="any of " + "; ".join(POLICIES))
    parser.add_argument("--preset", default="instruct", choices=["instruct", "reasoning"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bin", default="target/release", help="where the binaries are")
    args = parser.parse_args()
    args.specthink, args.small_node, args.large_node = (
        os.path.join(args.bin, name) for name in ("specthink", "small-node", "large-node"))
    with open(args.questions, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()][: args.count]

    print(f"# {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, {platform.machine()}, "
          f"{os.cpu_count()} cores")
    print("command: " + " ".join([os.path.basename(sys.argv[0]), *(
        os.path.basename(word) if os.sep in word else word for word in sys.argv[1:])]))
    # Each node may use all cores: usually one computes while the other waits.
    small = Node(args.small_node, args.small, args.threads)
    large = Node(args.large_node, args.large, args.threads)
    keep_warm(quality(args, small.url, large.url, rows))
    small.stop()
    large.stop()


if __name__ == "__main__":
    main()
