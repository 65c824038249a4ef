#!/usr/bin/env python3
"""Lets aider ask `specthink serve` to change a file.

Usage: aider_check.py target/debug/specthink --aider VENV/bin/aider

Needs the Python package aider-chat. The built-in pair knows no code and little text, so this only checks that aider's
streamed request is answered or refused as docs/serve.md says, and that aider reports it. Exits with 1 if not.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import urllib.request

from served import expect, server

ROUTE = 'specthink_http_requests_total{route="/v1/chat/completions",status="'


def statuses(address):
    """Returns the statuses of the responses, with their counts."""
    with urllib.request.urlopen(f"{address}/metrics") as response:
        lines = response.read().decode().splitlines()
    counted = (line.removeprefix(ROUTE).split('"} ') for line in lines if line.startswith(ROUTE))
    return {int(status): int(count) for status, count in counted}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--aider", required=True, help="path of the program aider")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(given.program) as address:
        pathlib.Path(folder, "calc.py").write_text("def add(a, b):\n    return a - b\n")
        environment = {
            **os.environ, "OPENAI_API_KEY": "none", "OPENAI_API_BASE": f"{address}/v1", "HOME": folder,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        command = [
            given.aider, "--model", "openai/specthink", "--no-show-model-warnings", "--no-check-update",
            "--analytics-disable", "--no-gitignore", "--no-git", "--yes-always", "--map-tokens", "0", "--no-pretty",
            "--message", "Fix add: it must return the sum.", "calc.py",
        ]
        ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
        print(ended.stdout[-3000:], ended.stderr[-1000:])
        found = statuses(address)
        expect(set(found) <= {200, 400} and found, f"aider's requests were answered with {found}")
        print(f"aider's requests were answered with {found}")


if __name__ == "__main__":
    main()
