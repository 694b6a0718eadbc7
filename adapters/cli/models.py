"""``adapters models``: what a provider offers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.base import Command, config_option, json_option, print_json, provider_option
from adapters.cli.table import print_table
from adapters.config import load_config
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adapters.models import ModelInfo


@click.command(cls=Command)
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
    print_table(columns, rows)


def _as_row(model: ModelInfo) -> dict[str, Any]:
    """Write a model in the types that JSON has."""
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in asdict(model).items()}
