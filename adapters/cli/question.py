"""Read a question from the command line: its words, files, and piped input."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_STDIN = "-"


def read_question(words: Sequence[str], files: Sequence[str]) -> str | None:
    """Combine the prompt, the files and the piped input.

    Args:
        words: The prompt, split by the shell; "-" alone means standard input.
        files: Paths of the files to add.

    Returns:
        The question, or None if the command line has none, which starts a conversation.

    Raises:
        click.UsageError: If the question is empty, or a file cannot be read.
    """
    if not words and not files:
        return None
    prompt = " ".join(words).strip()
    parts = [] if prompt in ("", _STDIN) else [prompt]
    parts += [_file(name) for name in files]
    if prompt == _STDIN or _is_piped():
        parts.append(sys.stdin.read().strip())
    question = "\n\n".join(filter(None, parts))
    if not question or (words and not prompt):
        raise click.UsageError("The prompt is empty.")
    return question


def _file(name: str) -> str:
    path = Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise click.UsageError(f"The file {name} cannot be read: {error.strerror}.") from None
    return f"{path.name}:\n{text.strip()}"


def _is_piped() -> bool:
    """Whether standard input is a pipe or a file. A terminal, and the standard input of a service, never end."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except io.UnsupportedOperation:  # a stream without a file descriptor was put there to be read
        return True
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
