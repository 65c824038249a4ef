#!/usr/bin/env python3
"""Sends `specthink serve` requests that schemathesis generates from its OpenAPI document: valid and invalid ones, by
the thousand.

Usage: fuzz_check.py target/debug/specthink [--examples 6500] [--schemathesis schemathesis] [--seed 1]

Starts a server over the built-in pair with small limits. Needs the Python package schemathesis. --examples is the
number for each route that takes a body. Exits with 1 if a response is a bug (5xx, except for a deadline that the
request itself set), or is not as the document says.
"""

import argparse
import os
import pathlib
import subprocess
import sys

from served import server

# Requests may ask for so little that thousands of them take only minutes.
FLAGS = ["--max-answer-tokens", "4", "--max-tokens", "4", "--max-body-bytes", "65536", "--max-requests", "16"]
CHECKS = "no_defect,content_type_conformance,response_schema_conformance,unsupported_method,allow_header_conformance"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--examples", type=int, default=6500)
    parser.add_argument("--schemathesis", default="schemathesis", help="path of the program schemathesis")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    here = pathlib.Path(__file__).resolve().parent
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(here)}
    with server(given.program, *FLAGS) as address:
        command = [
            given.schemathesis, "run", f"{address}/openapi.json", "--checks", CHECKS, "--seed", str(given.seed),
            "--phases", "examples,coverage,fuzzing", "--max-examples", str(given.examples), "--workers", "1",
            "--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off", "--no-color",
        ]
        sys.exit(subprocess.run(command, env=environment, cwd="/tmp").returncode)


if __name__ == "__main__":
    main()
