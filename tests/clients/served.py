"""Starts `specthink serve` for the checks in this folder. Not a check itself."""

import contextlib
import subprocess
import sys
import threading

QUESTION = "Start with 303. Add 58. Subtract 114. What is the result?"


def expect(condition, what):
    """Ends the check if the condition does not hold."""
    if not condition:
        print(f"MISMATCH: {what}")
        sys.exit(1)


@contextlib.contextmanager
def server(program, *flags):
    """Runs a server over the built-in pair on a free port, and yields its address."""
    command = [program, "serve", "--listen", "127.0.0.1:0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = []
    # Read what it logs; otherwise it would block once the pipe is full.
    reader = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        expect(line.startswith("listening on "), f"{' '.join(command)}: {line!r} {said}")
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
