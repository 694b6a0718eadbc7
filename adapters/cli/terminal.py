"""Read lines from a person: a prompt drawn by readline, and a persistent history.

readline must print the prompt itself; otherwise Ctrl-U and Backspace at its edge would erase it.
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
except ImportError:  # pragma: no cover - Windows has none; its console edits lines itself
    readline = None  # type: ignore[assignment]  # everything works without a history

_HISTORY_LINES = 1000
_PROMPT = "> "
# readline must not count the escape sequences as columns; the marks around them say so.
_COLOURED_PROMPT = f"\001\033[1;36m\002{_PROMPT}\001\033[0m\002"
_WAYS_OUT = "Ctrl-D or /bye ends the conversation, /help lists the commands."
_ONCE_MORE = "Press Ctrl-C again to end the conversation."


def typed_lines() -> Iterator[str]:
    """Yield the lines that a person types, without blank ones, until Ctrl-D.

    Ctrl-C clears a line that was begun. At an empty prompt the first one announces that the second one ends the
    conversation.

    Raises:
        KeyboardInterrupt: At the second Ctrl-C in a row at an empty prompt.
    """
    click.secho(_WAYS_OUT, dim=True, err=True)
    history = _load_history()
    is_announced = False
    while True:
        try:
            line = _read_line().strip()
        except EOFError:
            click.echo(err=True)
            return
        except KeyboardInterrupt:
            if _has_text():
                is_announced = False
                click.echo(err=True)
                continue
            if is_announced:
                raise
            is_announced = True
            click.secho(f"\n{_ONCE_MORE}", dim=True, err=True)
            continue
        is_announced = False
        if line:
            _save_history(history)
            yield line


def _read_line() -> str:
    if sys.stdout.isatty():
        return input(_PROMPT if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" else _COLOURED_PROMPT)
    click.echo(_PROMPT, nl=False, err=True)  # stdout is a file, which must contain the answers only
    return input()


def _has_text() -> bool:
    """Whether the line that Ctrl-C interrupted had been begun."""
    if readline is None:  # pragma: no cover - Windows
        return False
    return bool(readline.get_line_buffer().strip())


def history_file() -> Path:
    """Return the path of the history, in the user's state folder (``XDG_STATE_HOME``, or ``~/.local/state``)."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "caal-llm-adapters" / "chat_history"


def _load_history() -> Path | None:
    """Read the history, which is created readable by its user alone; return None if it cannot be stored."""
    if readline is None:  # pragma: no cover - Windows
        return None
    try:
        path = history_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.chmod(0o600)
        readline.read_history_file(path)
    except (OSError, RuntimeError):  # read-only or damaged; RuntimeError: the user has no home
        return None
    readline.set_history_length(_HISTORY_LINES)
    return path


def _save_history(path: Path | None) -> None:
    """Write the history after each line, so that it survives a crash of this process."""
    if path is not None and readline is not None:
        with contextlib.suppress(OSError):  # a full disk must not end the conversation
            readline.write_history_file(path)
