"""Where a person types: a prompt that readline draws, and a history that is kept.

readline must know the prompt, or Ctrl-U and Backspace at its edge would wipe it away.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import readline
except ImportError:  # pragma: no cover - Windows has none; its terminal edits lines by itself
    readline = None  # type: ignore[assignment]  # and everything works without a history

_HISTORY_LINES = 1000
_PROMPT = "> "
# What takes no room on the screen stands between the marks, else readline counts it as columns.
_COLOURED_PROMPT = f"\001\033[1;36m\002{_PROMPT}\001\033[0m\002"
_WAYS_OUT = "Ctrl-D or /bye ends the conversation, /help tells more."


def typed_lines() -> Iterator[str]:
    """Yield what a person types, blank lines left out, until Ctrl-D.

    Ctrl-C leaves a line that was begun; a second one in a row is raised.

    Raises:
        KeyboardInterrupt: At Ctrl-C where the one before it was not heeded.
    """
    click.secho(_WAYS_OUT, dim=True, err=True)
    history = _load_history()
    interrupted = False
    while True:
        try:
            line = _ask().strip()
        except EOFError:
            click.echo(err=True)
            return
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            click.secho(f"\n{_WAYS_OUT}", dim=True, err=True)
            continue
        interrupted = False
        if line:
            _save_history(history)
            yield line


def _ask() -> str:
    if sys.stdout.isatty():
        return input(_PROMPT if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" else _COLOURED_PROMPT)
    click.echo(_PROMPT, nl=False, err=True)  # the answers go into a file, and it has no use for prompts
    return input()


def history_file() -> Path:
    """Where the history is kept: the user's state folder (``XDG_STATE_HOME``, or ``~/.local/state``)."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "caal-llm-adapters" / "chat_history"


def _load_history() -> Path | None:
    """Read it, made now if there is none; nobody but the user may read it. None if it cannot be kept."""
    if readline is None:  # pragma: no cover - Windows
        return None
    try:
        path = history_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.chmod(0o600)
        readline.read_history_file(path)
    except (OSError, RuntimeError):  # read-only or damaged; RuntimeError: a user without a home
        return None
    readline.set_history_length(_HISTORY_LINES)
    return path


def _save_history(path: Path | None) -> None:
    """Write it after each line, so that it is there whatever becomes of this process."""
    if path is not None and readline is not None:
        with contextlib.suppress(OSError):  # the disk is full: the conversation matters more
            readline.write_history_file(path)
