"""The group ``adapters`` and its commands about configuration and models; ``adapters.cli.chat`` holds the other one."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.cli.base import Command, config_option, json_option, print_json, printable, provider_option
from adapters.cli.chat import chat
from adapters.config import KINDS, load_config
from adapters.config.values import is_reference
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.config import ProviderConfig
    from adapters.models import ModelInfo


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="caal-llm-adapters", message="%(package)s %(version)s")
def main() -> None:
    """Talk to language models through the providers of a YAML file."""


main.add_command(chat)


@main.command(cls=Command)
@config_option
@json_option
def providers(config_path: str | None, as_json: bool) -> None:
    """List the configured providers."""
    settings = load_config(config_path)
    rows = [
        {
            "name": row.name,
            "kind": row.kind,
            "model": row.model,
            "base_url": row.base_url,
            "key": _key_state(row),
            "default": row.name == settings.default,
        }
        for row in settings.providers.values()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["name"] = f"{row['name']} (default)" if row["default"] else row["name"]
    columns = {"name": "name", "kind": "kind", "model": "model", "base_url": "base URL", "key": "key"}
    _print_table(columns, rows)


def _key_state(row: ProviderConfig) -> str:
    """Tell whether there is a key, and never the key."""
    variable = KINDS[row.kind].key_variable
    key = row.api_key.get_secret_value() if row.api_key else f"os.environ/{variable}" if variable else None
    if key is None:
        return "not set"
    return "missing" if is_reference(key) and not os.environ.get(key.partition("/")[2]) else "found"


@main.command(cls=Command)
@provider_option
@config_option
@click.option("--tools", is_flag=True, help="Leave out models that cannot call tools.")
@click.option("--free", is_flag=True, help="Models that cost nothing, alone.")
@json_option
def models(provider_name: str | None, config_path: str | None, tools: bool, free: bool, as_json: bool) -> None:
    """List the models that a provider offers."""
    from adapters.models import list_models  # it brings the HTTP client, and help should come at once

    row = load_config(config_path).provider(provider_name)
    if row.kind == "local":
        raise ConfigError(f"{row.name} has one model, the file in model_path or the demo. Name another one with -p.")
    _print_models(asyncio.run(list_models(row, supports_tools=tools or None, free=free or None)), as_json=as_json)


def _print_models(found: Iterable[ModelInfo], *, as_json: bool) -> None:
    rows = [_as_row(model) for model in found]
    if as_json:
        print_json(rows)
        return
    columns = {
        "id": "id",
        "context_tokens": "context",
        "supports_tools": "tools",
        "prompt_usd_per_mtok": "$/M in",
        "completion_usd_per_mtok": "$/M out",
    }
    _print_table(columns, rows)


def _as_row(model: ModelInfo) -> dict[str, Any]:
    """Write a model in the types that JSON has."""
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in asdict(model).items()}


@main.group()
def config() -> None:
    """Look after the configuration."""


@config.command(cls=Command)
@config_option
def check(config_path: str | None) -> None:
    """Check the configuration and every variable that it names; each problem is one line."""
    settings = load_config(config_path)
    problems = []
    for row in settings.providers.values():
        try:
            row.resolved()
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    click.echo(f"No problems: {len(settings.providers)} providers, the default is {settings.default}.")


def _print_table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table on stdout; long cells are folded to fit a terminal, and never for a program.

    Args:
        columns: Heading of each column, by the key of its cells.
        rows: The cells.
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
