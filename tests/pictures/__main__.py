"""Run commands in a pseudo-terminal and write its content as SVG, beside this file.

``python -m tests.pictures``, or ``nox -s pictures``. The commands use the embedded server and need neither key nor
network.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOLDER = Path(__file__).parent
_COLUMNS = 100
_ROWS = 40
_CURSOR = re.compile(r"\x1b\[\?25[lh]|\r")  # escape sequences that show or hide the cursor, and carriage returns
_ERASED = re.compile(r"[^\n]*(?:\n\x1b\[1A)?\x1b\[2K")  # text that the spinner has erased

COMMANDS: Mapping[str, Sequence[str]] = {
    "chat": ("chat", "What is the weather in Paris?"),
    "doctor": ("doctor", "-p", "local"),
}
"""The commands, by the name of their picture."""


def screen_of(arguments: Sequence[str]) -> str:
    """Run a command in a terminal and return the final screen, with its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "adapters", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": home},
        )
        os.close(theirs)
        shown = b""
        while data := _read(ours):
            shown += data
        process.wait()
    os.close(ours)
    return _ERASED.sub("", _CURSOR.sub("", shown.decode()))


def _read(end: int) -> bytes:
    try:
        return os.read(end, 65_536)
    except OSError:  # Linux raises it when the other end is closed
        return b""


def main() -> None:
    """Take all pictures."""
    for name, arguments in COMMANDS.items():
        line = " ".join(f'"{word}"' if " " in word else word for word in ("adapters", *arguments))
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True)
            console.print(Text.from_ansi(f"$ {line}\n{screen_of(arguments)}"))
            console.save_svg(str(_FOLDER / f"{name}.svg"), title=line)


if __name__ == "__main__":
    main()
