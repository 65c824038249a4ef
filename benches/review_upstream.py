#!/usr/bin/env python3
"""Measures what a review by vLLM or SGLang costs, beside reading the same text without judging it.

    benches/review_upstream.py http://127.0.0.1:8000 [--model NAME] [--lengths 1024,4096] [--piece 64] [--tries 7]

For each length, a text of that many tokens is sent, so that the server has it cached. Then three requests are timed:
one that adds a piece to be read; one that adds a piece to be judged, as a node with `--upstream` asks it; and one with
as much text that the server has never seen. Each try has texts of its own, of random tokens, and another order.

Prints a table of medians in ms, with the fastest and the slowest try. Needs only Python 3.9 or newer.
"""

import argparse
import json
import random
import statistics
import sys
import time
import urllib.error
import urllib.request

LIKELIEST = 5
ORDINARY_TOKENS = range(1000, 20000)


def asked(address, path, body=None):
    """Sends a request to a server and returns its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        sys.exit(f"{address}{path}: {refused.code}: {refused.read().decode()[:300]}")


class Vllm:
    """Computes the whole text again for the log-probabilities of any of it."""

    def __init__(self, address, model):
        self.address, self.model = address, model

    def request(self, ids, **more):
        body = {"model": self.model, "prompt": ids, "max_tokens": 1, "temperature": 0} | more
        return asked(self.address, "/v1/completions", body)

    def read(self, ids):
        self.request(ids)

    def judge(self, ids, start):
        places = self.request(ids, prompt_logprobs=LIKELIEST)["choices"][0]["prompt_logprobs"]
        if not all(places[start:]):
            sys.exit("the server left out tokens of the piece")


class Sglang:
    """Computes log-probabilities from a given token on."""

    def __init__(self, address, _model):
        self.address = address

    def request(self, ids, **more):
        return asked(self.address, "/generate", {"input_ids": ids, "sampling_params": {"max_new_tokens": 0}} | more)

    def read(self, ids):
        self.request(ids)

    def judge(self, ids, start):
        more = {"return_logprob": True, "logprob_start_len": start - 1, "top_logprobs_num": LIKELIEST}
        told = self.request(ids, **more)["meta_info"]
        if len(told["input_token_logprobs"]) != len(ids) - start + 1:
            sys.exit("the server left out tokens of the piece")


def timed(run):
    """Returns how long a call takes, in ms."""
    began = time.monotonic()
    run()
    return 1000 * (time.monotonic() - began)


def measured(server, length, piece, tries, draws):
    """Returns the times of each way."""
    def tokens(count):
        return draws.choices(ORDINARY_TOKENS, k=count)

    times = {"read": [], "judged": [], "new": []}
    for number in range(tries + 1):
        text = tokens(length)
        server.read(text)
        ways = [
            ("read", lambda: server.read(text + tokens(piece))),
            ("judged", lambda: server.judge(text + tokens(piece), length)),
            ("new", lambda: server.read(tokens(length + piece))),
        ]
        draws.shuffle(ways)
        for name, run in ways:
            took = timed(run)
            # The first try warms the server up.
            if number:
                times[name].append(took)
    return times


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("address", help="http://HOST:PORT, without /v1")
    args.add_argument("--model", help="which of the server's models to use (default: its first one)")
    args.add_argument("--lengths", default="1024,4096", help="tokens before the piece")
    args.add_argument("--piece", type=int, default=64, help="tokens of the piece")
    args.add_argument("--tries", type=int, default=7)
    args = args.parse_args()
    address = args.address.rstrip("/")
    listed = asked(address, "/v1/models")["data"][0]
    owner = listed.get("owned_by")
    if owner not in ("vllm", "sglang"):
        sys.exit(f"{address}: `{owner}` reports no log-probabilities of a text; give a vLLM or SGLang server")
    server = {"vllm": Vllm, "sglang": Sglang}[owner](address, args.model or listed["id"])
    draws = random.Random(0)
    print(f"| {owner}, tokens before the piece | piece read | piece judged | everything read anew | judged / read |")
    print("| --- | --- | --- | --- | --- |")
    for length in map(int, args.lengths.split(",")):
        times = measured(server, length, args.piece, args.tries, draws)
        cells = [f"{statistics.median(one):.0f} ms ({min(one):.0f}-{max(one):.0f})" for one in times.values()]
        ratio = statistics.median(times["judged"]) / statistics.median(times["read"])
        print(f"| {length} | {' | '.join(cells)} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
