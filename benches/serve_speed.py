#!/usr/bin/env python3
"""Measures the cost of `specthink serve`: what HTTP adds to an answer, and what a thousand open streams take.

    cargo build --release -p coordinator && cargo build --release -p serve --example scripted
    benches/serve_speed.py [--programs target/release] [--answers 200] [--streams 1000] [--words 200] [--pace-ms 20]

First the built-in pair answers the same problems in `specthink eval` and, streamed, in `specthink serve`, one at a
time and with the same seeds. The answers must be the same. What HTTP adds to an answer is how long its client waits
beyond the time in the answer's own summary, which the same code computes in both cases.

Then scripted nodes (no model) serve --streams streams at a time, each of --words words, one word every --pace-ms. Every
client must get every word, in order. Memory per stream is the server's peak minus what it used before, divided by the
number of streams. Finally, streams without a pace, 64 at a time, show how many answers per second the server writes.

Prints a table. Needs only Python 3.11 or newer; start it with `taskset -c 0,1` for two cores.
"""

import argparse
import asyncio
import http.client
import json
import re
import resource
import statistics
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROBLEMS = ROOT / "models/arithmetic/test.jsonl"
SEED = 0
PARALLEL = 64


class Server:
    """A server as a child process, and its address."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        found = re.match(r"listening on (\S+)", self.process.stdout.readline())
        if not found:
            raise SystemExit(f"{command[0]} ended before it was listening")
        self.address = urllib.parse.urlsplit(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def resident_kib(self, what="VmRSS"):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status)[1])


def by_eval(program, answers):
    """Runs `eval` and returns the rows of its log by problem id."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.jsonl")
        command = [program, "eval", PROBLEMS, "--limit", str(answers), "--parallel", "1", "--log", log]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = [json.loads(line) for line in log.read_text().splitlines()]
    return {row["id"]: row for row in rows if "id" in row}


def ask(connection, problem, seed):
    """Asks for a streamed answer. Returns its text, the times of its first text and its end in ms, and its summary."""
    body = json.dumps({"messages": [{"role": "user", "content": problem["question"]}], "stream": True, "seed": seed})
    begin, first, text = time.perf_counter(), None, ""
    connection.request("POST", "/v1/chat/completions", body)
    for line in connection.getresponse():
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        added = chunk["choices"][0]["delta"].get("content") or ""
        if added and first is None:
            first = time.perf_counter()
        text += added
        if chunk["choices"][0]["finish_reason"]:
            summary = chunk["specthink"]["answers"][0]["summary"]
    end = time.perf_counter()
    return text, ((first or end) - begin) * 1e3, (end - begin) * 1e3, summary


def beside_eval(program, answers):
    rows = by_eval(program, answers)
    problems = [json.loads(line) for line in PROBLEMS.read_text().splitlines()[:answers]]
    added, added_first, walls, evals, others = [], [], [], [], 0
    with Server([program, "serve", "--listen", "127.0.0.1:0"]) as server:
        connection = http.client.HTTPConnection(server.address.hostname, server.address.port)
        for problem in problems:
            row = rows[problem["id"]]
            text, first_ms, wall_ms, summary = ask(connection, problem, row.get("seed", SEED))
            others += text != row["text"]
            added.append(wall_ms - summary["time"]["total_us"] / 1e3)
            added_first.append(first_ms - summary["time"]["first_text_us"] / 1e3)
            walls.append(wall_ms)
            evals.append(row["summary"]["time"]["total_us"] / 1e3)
    print(f"{answers} answers of the built-in pair, one at a time; {others} are not eval's")
    print(f"  an answer, median            eval {statistics.median(evals):9.2f} ms   serve {statistics.median(walls):9.2f} ms")
    print(f"  HTTP adds to an answer       median {statistics.median(added):7.2f} ms   p95 {p95(added):9.2f} ms")
    print(f"  HTTP adds to its first text  median {statistics.median(added_first):7.2f} ms   p95 {p95(added_first):9.2f} ms")


def p95(values):
    return statistics.quantiles(values, n=20)[-1]


async def stream(address, words):
    """Reads one stream. Returns whether every word came in order, and the time of the first word in s."""
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = json.dumps({"model": "small", "stream": True, "messages": [{"role": "user", "content": "count"}]})
    begin = time.perf_counter()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    text, first, is_whole = [], None, False
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            added = json.loads(line[6:])["choices"][0]["delta"].get("content")
            if added:
                first = first or time.perf_counter() - begin
                text.append(added)
        is_whole |= line.startswith(b"data: [DONE]")
    writer.close()
    expected = "".join(f" {number}" for number in range(words))
    return is_whole and "".join(text) == expected, first or 0.0


async def many(address, count, words):
    return await asyncio.gather(*(stream(address, words) for _ in range(count)))


def open_streams(program, count, words, pace_ms):
    with Server([program, str(words), str(pace_ms)]) as server:
        asyncio.run(many(server.address, 4, words))
        before, begin = server.resident_kib(), time.perf_counter()
        results = asyncio.run(many(server.address, count, words))
        elapsed = time.perf_counter() - begin
        most = server.resident_kib("VmHWM")
    lost = sum(not is_whole for is_whole, _ in results)
    firsts = [first * 1e3 for _, first in results]
    print(f"{count} open streams of {words} words, one every {pace_ms} ms")
    print(f"  streams with a lost chunk    {lost}")
    print(f"  all of them                  {elapsed:.2f} s, at the least {words * pace_ms / 1e3:.2f} s")
    print(f"  first text                   median {statistics.median(firsts):.1f} ms   p95 {p95(firsts):.1f} ms")
    print(f"  memory a stream              {(most - before) / count:.1f} KiB ({before} to {most} KiB)")
    return lost


def answers_a_second(program, words):
    async def rounds(address, begin):
        done = 0
        while time.perf_counter() - begin < 5:
            done += len(await many(address, PARALLEL, words))
        return done

    with Server([program, str(words), "0"]) as server:
        asyncio.run(many(server.address, 4, words))
        begin = time.perf_counter()
        done = asyncio.run(rounds(server.address, begin))
        elapsed = time.perf_counter() - begin
        used = sum(map(int, Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    print(f"answers of {words} words without a pace, {PARALLEL} at a time")
    print(f"  answers a second             {done / elapsed:.0f}; the server took {used / 100 / done * 1e3:.2f} ms of a core for each")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=ROOT / "target/release")
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--pace-ms", type=int, default=20)
    given = parser.parse_args()
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if given.streams + 100 > files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(given.streams + 100, most), most))
    beside_eval(given.programs / "specthink", given.answers)
    scripted = given.programs / "examples/scripted"
    lost = open_streams(scripted, given.streams, given.words, given.pace_ms)
    answers_a_second(scripted, given.words)
    if lost:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
