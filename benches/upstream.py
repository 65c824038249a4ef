#!/usr/bin/env python3
"""Measures a third-party server as the large model: accuracy, warm and cold takeovers, requests, bytes, cancel.

    cargo build --release -p coordinator -p small-node -p large-node
    benches/upstream.py http://127.0.0.1:8080... [--model NAME] [--key-file FILE] [--tokenizer PATH] [--problems N]

N problems of --data (default: the built-in pair's arithmetic) are answered, --parallel at a time (default: one after the
other), with the small model in a node of this project and the large one in each of the servers. Text is prefilled ahead for the first N problems
(warm), and not for the next N (cold); these must be others, since a server may keep what it has read. With --own, the
first N are also answered with a large node of this project. The small model is the built-in one unless --small names
another node; --own uses the built-in large one. Then requests are dropped in mid-answer to measure when each server is
idle again, if it reports that: llama.cpp by /slots, vLLM and SGLang by /metrics.

Prints a table. Needs only Python 3.9 or newer.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CANCELS = 5


class Node:
    """A node of this project as a child process."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            found = re.match(r"listening on (\S+)", line)
            if found:
                self.url = found[1]
                return
        sys.exit(f"{program} did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def endpoint(args, address, keep_warm):
    """Returns a server's table for a file of endpoints."""
    keys = {"address": f"openai+{address}/v1", "keep-warm": keep_warm, "lenient": True}
    if args.model:
        keys["model"] = args.model
    if args.key_file:
        keys["token-file"] = str(args.key_file.resolve())
    if args.tokenizer:
        keys["tokenizer"] = str(args.tokenizer.resolve())
    return "[large]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def answers(args, small, large, folder, name, first=0):
    """Runs `eval` and returns its figures and the rows of its log."""
    log, data = folder / f"{name}.jsonl", folder / f"{name} problems.jsonl"
    problems = args.data.read_text().splitlines()[first : first + args.problems]
    data.write_text("\n".join(problems) + "\n")
    command = [args.programs / "specthink", "eval", data, "--json", "--log", log,
               "--parallel", args.parallel, "--policy", "strict", "--seed", args.seed, "--small", small, *large]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name}: specthink ended with {done.returncode}")
    return json.loads(done.stdout), [json.loads(line) for line in log.read_text().splitlines()[1:]]


def row(name, figures, rows):
    """Returns one row of the table."""
    summaries = [row["summary"] for row in rows]
    takeovers = [takeover for summary in summaries for takeover in summary["takeovers"]]
    handoffs = sorted(takeover["handoff_us"] / 1000 for takeover in takeovers if takeover["handoff_us"] is not None)
    late = [takeover["prefill_tokens"] for takeover in takeovers]
    large = [summary["large"] for summary in summaries]
    cached = sum(one["cached_tokens"] for one in large)
    read = cached + sum(one["prefill_tokens"] + one["warm_tokens"] for one in large)
    traffic = [one["traffic"] for one in large if one["traffic"]]

    def mean(key):
        return statistics.fmean(one.get(key, 0) for one in traffic) if traffic else 0

    cells = [
        name,
        f"{100 * figures['accuracy']:.1f} %",
        f"{100 * figures['accuracy_low']:.1f}-{100 * figures['accuracy_high']:.1f} %",
        f"{len(takeovers)}",
        f"{statistics.median(handoffs):.1f} ms" if handoffs else "-",
        f"{handoffs[int(0.95 * (len(handoffs) - 1))]:.1f} ms" if handoffs else "-",
        f"{statistics.fmean(late):.1f}" if late else "-",
        f"{100 * cached / read:.0f} %" if read else "-",
        f"{mean('requests'):.1f}",
        f"{mean('sent_bytes') / 1000:.1f} kB",
        f"{mean('received_bytes') / 1000:.1f} kB",
    ]
    return f"| {' | '.join(cells)} |"


def asked(args, address, path, body=None):
    """Sends a request to a server and returns its answer."""
    headers = {"content-type": "application/json"}
    if args.key_file:
        headers["authorization"] = f"Bearer {args.key_file.read_text().strip()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def first_model(args, address):
    """Returns the first model that a server lists."""
    return json.loads(asked(args, address, "/v1/models"))["data"][0]


def busy(args, address, owner):
    """Returns how many requests a server is working on, or None if it does not report that."""
    try:
        if owner == "llamacpp":
            return sum(slot["is_processing"] for slot in json.loads(asked(args, address, "/slots")))
        name = {"vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs"}[owner]
        lines = [line for line in asked(args, address, "/metrics").splitlines() if line.startswith(name + "{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines) if lines else None
    except (KeyError, OSError):
        return None


def cancels(args, address):
    """Returns the times in ms from a dropped connection to an idle server."""
    listed = first_model(args, address)
    owner, model = listed.get("owned_by"), args.model or listed["id"]
    if busy(args, address, owner) is None:
        return []
    path = "/completion" if owner == "llamacpp" else "/v1/completions"
    body = {"model": model, "prompt": "Count: 1, 2, 3,", "stream": True, "ignore_eos": True}
    body |= {"n_predict": 400} if owner == "llamacpp" else {"max_tokens": 400}
    url, times = urllib.parse.urlsplit(address), []
    headers = {"content-type": "application/json"}
    if args.key_file:
        headers["authorization"] = f"Bearer {args.key_file.read_text().strip()}"
    for _ in range(CANCELS):
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname, url.port, timeout=20)
        connection.request("POST", url.path + path, json.dumps(body), headers)
        answer = connection.getresponse()
        for _ in range(3):
            answer.readline()
        was_busy = bool(busy(args, address, owner))
        answer.close()
        connection.close()
        dropped = time.monotonic()
        while busy(args, address, owner):
            time.sleep(0.002)
        # If the answer had already ended, nothing was measured.
        if was_busy:
            times.append(1000 * (time.monotonic() - dropped))
    return times


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("addresses", nargs="+", metavar="address", help="http://HOST:PORT or https://HOST, without /v1")
    args.add_argument("--model", help="which of a server's models to use (default: its first one)")
    args.add_argument("--key-file", type=Path)
    args.add_argument("--tokenizer", type=Path, help="for servers that cannot render messages")
    args.add_argument("--small", help="the URL of the small node (default: one with the built-in model is started)")
    args.add_argument("--own", action="store_true", help="also measure the built-in large model in our own node")
    args.add_argument("--problems", type=int, default=200)
    args.add_argument("--data", type=Path, default=ROOT / "models/arithmetic/test.jsonl")
    args.add_argument("--programs", type=Path, default=ROOT / "target/release", help="the folder with the programs")
    args.add_argument("--parallel", type=int, default=1, help="how many problems are answered at a time")
    args.add_argument("--only", choices=["warm", "cold"], help="leave the other row out")
    args.add_argument("--seed", type=int, default=0)
    args = args.parse_args()
    addresses = [re.sub(r"/v1/?$", "", one.removeprefix("openai+")).rstrip("/") for one in args.addresses]
    owners = {address: first_model(args, address).get("owned_by") or "server" for address in addresses}
    nodes = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        try:
            if not args.small:
                nodes.append(Node(args.programs / "small-node"))
                args.small = nodes[-1].url
            print("| large model | right | 95 % interval | takeovers | first text, median | 95th percentile |"
                  " tokens read late | cached | requests | sent | received |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
            for number, (address, owner) in enumerate(owners.items()):
                for name, keep_warm, first in (("warm", True, 0), ("cold", False, args.problems)):
                    if args.only not in (None, name):
                        continue
                    file = folder / f"{number} {name}.toml"
                    file.write_text(endpoint(args, address, keep_warm))
                    large = ["--large", "@large", "--endpoints", file]
                    figures, rows = answers(args, args.small, large, folder, file.stem, first)
                    print(row(f"{owner}, {name}", figures, rows), flush=True)
            if args.own:
                nodes.append(Node(args.programs / "large-node"))
                large = ["--large", nodes[-1].url]
                print(row("our own node", *answers(args, args.small, large, folder, "own")), flush=True)
        finally:
            for node in nodes:
                node.stop()
    for address, owner in owners.items():
        times = cancels(args, address)
        if times:
            print(f"{owner}, from cancel to idle: median {statistics.median(times):.0f} ms, longest "
                  f"{max(times):.0f} ms of {len(times)}")
        else:
            print(f"{owner}, from cancel to idle: the server does not report it, or writes too fast")


if __name__ == "__main__":
    main()
