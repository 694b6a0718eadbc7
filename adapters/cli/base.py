"""What all commands share: their common options, and how they end when something goes wrong."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.types import Json

import click

from adapters.errors import AdapterError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

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
    """A command that ends with 1 and no traceback when the library raises, and with 130 after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Json:
        """Run the command."""
        allow_any_text()
        try:
            return super().invoke(ctx)
        except AdapterError as error:
            report(error, as_json=ctx.params.get("as_json", False))
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo(err=True)  # the terminal has written ^C on a line of its own
            ctx.exit(INTERRUPTED)


def allow_any_text() -> None:
    """Let no character fail for the terminal's sake: what its encoding lacks is shown as a question mark."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def report(error: AdapterError, *, as_json: bool) -> None:
    """Print an error: a line on stderr for each problem it names, or one JSON object on stdout."""
    if as_json:
        print_json({"error": str(error)})
        return
    for line in str(error).splitlines():
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
