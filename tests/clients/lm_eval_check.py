#!/usr/bin/env python3
"""Lets lm-eval ask `specthink serve` problems that the built-in pair can solve, with both of its OpenAI clients: chats,
and texts, which it sends as text and as ids of the server's own tokenizer.

Usage: lm_eval_check.py target/debug/specthink --lm-eval VENV/bin/lm-eval [--limit 10]

Needs the Python package lm-eval[api]. The problems are models/arithmetic/test.jsonl; nothing is downloaded. Prints
lm-eval's tables; exits with 1 if lm-eval fails, or finds too few right answers.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from served import expect, server

PROBLEMS = pathlib.Path(__file__).resolve().parents[2] / "models/arithmetic/test.jsonl"
TASK = """task: built_in_arithmetic
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["Start with"], do_sample: false, temperature: 0.0, max_gen_toks: 300}}
filter_list:
  - name: boxed
    filter:
      - {{function: regex, group_select: -1, regex_pattern: 'boxed\\{{(-?[0-9]+)\\}}'}}
      - {{function: take_first}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
num_fewshot: 0
metadata: {{version: 1.0}}
"""
# The pair knows nothing but its chat template, so raw text tests the transfer, not the answers.
CLIENTS = [
    ("local-completions", ["tokenizer_backend=None", "tokenized_requests=False", "num_concurrent=1"], [], 0),
    ("local-completions", ["tokenizer_backend=remote", "tokenized_requests=True", "num_concurrent=1"], [], 0),
    ("local-chat-completions", ["num_concurrent=2"], ["--apply_chat_template"], 1),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--lm-eval", required=True, help="path of the program lm-eval")
    parser.add_argument("--limit", type=int, default=10)
    given = parser.parse_args()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "none"}
    with tempfile.TemporaryDirectory() as folder, server(given.program) as address:
        task = pathlib.Path(folder, "built_in_arithmetic.yaml")
        task.write_text(TASK.format(data=PROBLEMS))
        for number, (client, model_args, more, least) in enumerate(CLIENTS):
            route = "chat/completions" if "chat" in client else "completions"
            out = pathlib.Path(folder, str(number))
            arguments = ["model=specthink", f"base_url={address}/v1/{route}", "max_retries=1", *model_args]
            command = [
                given.lm_eval, "run", "--model", client, "--model_args", ",".join(arguments), "--tasks",
                "built_in_arithmetic", "--include_path", folder, "--limit", str(given.limit), "--output_path", str(out),
                *more,
            ]
            ended = subprocess.run(command, env=environment, cwd=folder)
            expect(ended.returncode == 0, f"lm-eval with {client} ended with {ended.returncode}")
            result = json.loads(next(out.rglob("results*.json")).read_text())
            right = result["results"]["built_in_arithmetic"]["exact_match,boxed"] * given.limit
            expect(right >= least, f"{client}: {right:.0f} of {given.limit} are right")
            print(f"{client}, {model_args[0]}: {right:.0f} of {given.limit} are right")


if __name__ == "__main__":
    sys.exit(main())
