"""Starts `specthink serve` for the checks beside this file. Not a check itself."""

import contextlib
import subprocess
import sys
import threading

QUESTION = "Start with 303. Add 58. Subtract 114. What is the result?"


def expect(condition, what):
    """Ends the check where something is not as docs/serve.md says."""
    if not condition:
        print(f"MISMATCH: {what}")
        sys.exit(1)


@contextlib.contextmanager
def server(program, *flags):
    """A server over the built-in pair on a free port: its address, for as long as it is used."""
    command = [program, "serve", "--listen", "127.0.0.1:0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = []
    # Whoever does not read what it says stops it in the end.
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
