#!/usr/bin/env python3
"""Measures decode and prefill tokens/s of llama.cpp on one GGUF file, by its own server. Prints one line of JSON.

usage: llama_cpp_server.py MODEL.gguf THREADS
needs: pip install xllamacpp (prebuilt, no compiler)
"""

import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import xllamacpp

DECODED = 16
SESSIONS = 8
CONTEXT = 2048


def start(file, threads):
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx, params.n_parallel = CONTEXT * SESSIONS, SESSIONS
    params.n_batch = params.n_ubatch = 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.warmup = True
    return xllamacpp.Server(params)


def complete(address, slot, tokens, count):
    """Continues tokens in a slot, whose cache keeps what it has of them. Returns the server's own timings."""
    body = {"prompt": tokens, "n_predict": count, "id_slot": slot, "cache_prompt": True, "ignore_eos": True}
    request = urllib.request.Request(
        f"{address}/completion", json.dumps({**body, "temperature": 0}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["timings"]


def main():
    file, threads = sys.argv[1], int(sys.argv[2])
    server = start(file, threads)
    address = server.listening_address
    with urllib.request.urlopen(f"{address}/v1/models") as response:
        vocabulary = json.load(response)["data"][0]["meta"]["n_vocab"]

    # Any tokens will do: their meaning does not affect the speed.
    def tokens(count, salt):
        return [(at * 2654435761 + salt * 40503) % 2**32 % vocabulary for at in range(count)]

    def decode(length, sessions, salt):
        """Tokens per second of this many sessions at once, each after `length` tokens that are cached."""
        prompts = [tokens(length, salt + slot) for slot in range(sessions)]
        for slot, prompt in enumerate(prompts):
            complete(address, slot, prompt, 1)
        began = time.monotonic()
        with ThreadPoolExecutor(sessions) as pool:
            timings = list(pool.map(lambda slot: complete(address, slot, prompts[slot], DECODED), range(sessions)))
        seconds = time.monotonic() - began
        assert all(it["predicted_n"] == DECODED for it in timings), timings
        return sessions * DECODED / seconds

    figures = {
        "decode at 64": decode(64, 1, 100),
        f"decode of {SESSIONS} at 64": decode(64, SESSIONS, 200),
        "decode at 1024": decode(1024, 1, 300),
        "prefill of 512": complete(address, 0, tokens(512, 400), 1)["prompt_per_second"],
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
