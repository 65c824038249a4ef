"""Asks math-verify, one JSON object per line: {gold, response} in, {equivalent} or {error} out."""

import json
import sys


def main():
    answers = sys.stdout
    # What a library prints must not pass for an answer.
    sys.stdout = sys.stderr
    try:
        from math_verify import parse, verify
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            pair = json.loads(line)
            gold = pair["gold"]
            # math-verify reads LaTeX only between delimiters.
            if "$" not in gold.replace("\\$", ""):
                gold = f"${gold}$"
            reply = {"equivalent": bool(verify(parse(gold), parse(pair["response"])))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(reply), file=answers, flush=True)


main()
