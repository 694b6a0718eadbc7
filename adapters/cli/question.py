"""What is asked on the command line: the words of it, files, and what is piped in beside them."""

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
    """Put together what is asked.

    Args:
        words: The prompt, as the shell cut it; "-" alone is standard input.
        files: Files to ask about.

    Returns:
        The question, or None if there is none on the command line and a conversation is wanted.

    Raises:
        click.UsageError: If it is empty, or a file cannot be read.
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
    """Whether somebody wrote standard input for us: a terminal, and what a service has in its place, never end."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except io.UnsupportedOperation:  # no file of the system: who put it there wrote it
        return True
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
