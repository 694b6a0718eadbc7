"""Runs commands in a terminal of their own and writes what it shows as SVG, beside this file.

``python -m tests.pictures``, or ``nox -s pictures``. The commands ask the embedded server: no key and no network are
needed.
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
_CURSOR = re.compile(r"\x1b\[\?25[lh]|\r")  # shown, hidden, and where it is
_ERASED = re.compile(r"[^\n]*(?:\n\x1b\[1A)?\x1b\[2K")  # what the spinner has written over

COMMANDS: Mapping[str, Sequence[str]] = {
    "chat": ("chat", "What is the weather in Paris?"),
    "doctor": ("doctor", "-p", "local"),
}
"""What is run, by the name of its picture."""


def seen(arguments: Sequence[str]) -> str:
    """Run a command in a terminal; returns what stands there in the end, with its colours."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "adapters", *arguments],
            stdin=its,
            stdout=its,
            stderr=its,
            env={**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": home},
        )
        os.close(its)
        shown = b""
        while data := _read(ours):
            shown += data
        process.wait()
    os.close(ours)
    return _ERASED.sub("", _CURSOR.sub("", shown.decode()))


def _read(end: int) -> bytes:
    try:
        return os.read(end, 65_536)
    except OSError:  # Linux says so when nobody is at the other end any more
        return b""


def main() -> None:
    """Take all pictures."""
    for name, arguments in COMMANDS.items():
        line = " ".join(f'"{each}"' if " " in each else each for each in ("adapters", *arguments))
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True)
            console.print(Text.from_ansi(f"$ {line}\n{seen(arguments)}"))
            console.save_svg(str(_FOLDER / f"{name}.svg"), title=line)


if __name__ == "__main__":
    main()
