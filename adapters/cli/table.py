"""Print a table on stdout; cells are folded to fit a terminal, and never for a program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.cli.base import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def print_table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table on stdout; long cells are folded only if stdout is a terminal.

    Args:
        columns: Maps the key of each column to its heading.
        rows: One mapping per row, from key to cell.
    """
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    table = Table(*columns.values(), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_as_cell(row[key]), overflow="fold") for key in columns))
    console.print(table)


def _as_cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return "-"
    return f"{value:g}" if isinstance(value, float) else printable(str(value))
