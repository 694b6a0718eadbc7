"""What all commands share: their common options, and how they end when something goes wrong."""

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

_OUTPUT_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # EPIPE is click's: the reader has seen enough

provider_option = click.option(
    "-p", "--provider", "provider_name", help="Name of a provider. [default: the configuration's]"
)

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(),
    help="YAML file of providers. [default: $ADAPTERS_CONFIG, ./config/providers.yaml or the packaged one]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Command(click.Command):
    """A command that ends with a sentence and never with a traceback.

    It ends with 1 when the library raises or its output cannot be written, with 2 after a wrong command line, with 130
    after Ctrl-C, and with 143 after SIGTERM. With ``--json`` the sentence is an object on stdout.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Json
    ) -> click.Context:
        """Read the command line."""
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
                click.echo(err=True)  # the terminal has written ^C on a line of its own
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
    """Say that the output is lost, and let what is still held back go nowhere: Python would try again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    click.echo(f"Error: The output cannot be written: {error.strerror}.", err=True)


def prepare_streams() -> None:
    """Let no stream fail: closed ones lead nowhere, and what an encoding lacks is shown as a question mark."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - it is open as long as the process
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - as above
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def report(problems: str, *, as_json: bool) -> None:
    """Print an error: a line on stderr for each problem it names, or one JSON object on stdout."""
    if as_json:
        print_json({"error": problems})
        return
    for line in problems.splitlines():
        click.echo(f"Error: {printable(line)}", err=True)


def print_json(value: Json) -> None:
    """Print a value on stdout; JSON in ASCII carries no control character to a terminal."""
    click.echo(json.dumps(value))


def printable(text: str) -> str:
    r"""Remove what could steer a terminal: every control character but newline and tab.

    Args:
        text: Text of any origin.

    Returns:
        The text without them; of an escape sequence the visible rest stays, such as ``[31m``.
    """
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")
