#!/usr/bin/env python3
"""Renders what a command prints on a terminal as a picture: docs/capture.py OUT.svg COMMAND ARG...

Needs the package rich. docs/ask.svg was made with

    docs/capture.py docs/ask.svg target/release/specthink ask --color always "Start with 303. Add 141. ..."
"""

import re
import shlex
import subprocess
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

if len(sys.argv) < 3:
    sys.exit(__doc__)
target, command = sys.argv[1], sys.argv[2:]
shown = [part for part in command if part not in ("--color", "always")]
shown[0] = shown[0].rsplit("/", 1)[-1]
done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
console = Console(record=True, width=100, file=open("/dev/null", "w", encoding="utf-8"))
console.print(Text(f"$ {shlex.join(shown)}", style="bold"))
console.print(Text.from_ansi(done.stdout))
# Fonts from elsewhere would be fetched when the picture is looked at: the reader's own monospace font will do.
picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title=shown[0], theme=MONOKAI), flags=re.DOTALL)
with open(target, "w", encoding="utf-8") as out:
    out.write(picture)
