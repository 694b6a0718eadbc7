"""The base class of all commands, and how a command ends when something fails."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.types import Json

import click

from adapters.cli.signals import INTERRUPTED, unwinding
from adapters.errors import AdapterError

_OUTPUT_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # click handles EPIPE: the reader has seen enough

_CONTROL_CATEGORIES = ("Cc", "Zl", "Zp")  # control characters, line and paragraph separators
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Command(click.Command):
    """A command that ends with one sentence and never with a traceback.

    The exit code is 1 if the library raises or the output cannot be written, 2 after a wrong command line, 130 after
    Ctrl-C and 143 after SIGTERM. With ``--json`` the sentence is an object on stdout.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Json
    ) -> click.Context:
        """Parse the command line."""
        as_json = "--json" in args
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _usage_error(error, as_json=as_json) from None

    def invoke(self, ctx: click.Context) -> Json:
        """Run the command."""
        prepare_streams()
        as_json = ctx.params.get("as_json", False)
        try:
            with unwinding():
                return super().invoke(ctx)
        except AdapterError as error:
            report(str(error), as_json=as_json)
            ctx.exit(1)
        except click.UsageError as error:
            raise _usage_error(error, as_json=as_json) from None
        except KeyboardInterrupt:
            if as_json:
                report("Interrupted.", as_json=True)
            else:
                click.echo(err=True)  # the terminal has printed ^C on the current line
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno not in _OUTPUT_LOST:
                raise
            _give_up_output(error)
            ctx.exit(1)


def _usage_error(error: click.UsageError, *, as_json: bool) -> Exception:
    if not as_json:
        return error
    report(error.format_message(), as_json=True)
    return click.exceptions.Exit(error.exit_code)


def _give_up_output(error: OSError) -> None:
    """Report the lost output and discard what is buffered, which Python would otherwise try to write at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    click.echo(f"Error: The output cannot be written: {error.strerror}.", err=True)


def prepare_streams() -> None:
    """Replace closed standard streams by the null device, and print a question mark for what an encoding lacks."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - it stays open as long as the process
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - as above
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def report(problems: str, *, as_json: bool) -> None:
    """Print an error: one line on stderr per problem, or one JSON object on stdout."""
    if as_json:
        print_json({"error": problems})
        return
    for line in problems.splitlines():
        click.echo(f"Error: {printable(line)}", err=True)


def print_json(value: Json) -> None:
    """Print a value on stdout. JSON in ASCII carries no control characters to a terminal."""
    click.echo(json.dumps(value))


def printable(text: str) -> str:
    r"""Remove what could control a terminal or reorder its text.

    Args:
        text: Text of any origin.

    Returns:
        The text without control characters but newline and tab, without bidirectional overrides and without line
        separators; the visible rest of an escape sequence stays, such as ``[31m``.
    """
    return "".join(char for char in text if char in "\n\t" or not _is_control(char))


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROL_CATEGORIES or char in _BIDI_CONTROLS
