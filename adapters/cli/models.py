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
    from collections.abc import Iterator, Mapping

    from adapters.config import ProviderConfig
    from adapters.models import ModelInfo, SortKey

_SORTS = ("id", "price", "context")
_COLUMNS = {
    "id": "id",
    "context_tokens": "context",
    "supports_tools": "tools",
    "prompt_usd_per_mtok": "$/M in",
    "completion_usd_per_mtok": "$/M out",
}


@click.command(cls=Command)
@provider_option
@config_option
@click.option("--base-url", help="Ask this server in place of the provider's.")
@click.option("--tools", is_flag=True, help="Leave out models that cannot call tools.")
@click.option("--free", is_flag=True, help="Models that cost nothing, alone.")
@click.option("--max-price", type=float, metavar="USD", help="Models whose million tokens cost no more, in and out.")
@click.option("--search", default="", metavar="WORDS", help="Models whose id or name holds each of these words.")
@click.option("--sort", type=click.Choice(_SORTS), help="Cheapest or longest context first. [default: the server's]")
@json_option
def models(
    provider_name: str | None, config_path: str | None, base_url: str | None, as_json: bool, **filters: Any
) -> None:
    """List the models that a provider offers."""
    from adapters.models import list_models  # it brings the HTTP client, and help should come at once

    row = _row(config_path, provider_name, base_url)
    offered = asyncio.run(list_models(row))
    found = _fitting(offered, **filters)
    if as_json:
        print_json([_as_row(model) for model in found])
        return
    for hint in _hints(row, offered, found, filters):
        click.echo(hint, err=True)
    if found:
        print_table(_COLUMNS, [_as_row(model) for model in found])


def _fitting(
    offered: list[ModelInfo], *, tools: bool, free: bool, max_price: float | None, search: str, sort: SortKey | None
) -> list[ModelInfo]:
    from adapters.models import search_models

    price = None if max_price is None else Decimal(str(max_price))
    return search_models(
        offered, search, supports_tools=tools or None, free=free or None, max_usd_per_mtok=price, sort=sort
    )


def _row(config_path: str | None, provider_name: str | None, base_url: str | None) -> ProviderConfig:
    row = load_config(config_path).provider(provider_name)
    if base_url is not None and row.kind == "local":
        from adapters.config import ProviderConfig

        return ProviderConfig.create("openai_compatible", model="-", base_url=base_url)
    if row.kind == "local":
        text = f"{row.name} has one model, the file in model_path or the demo. Name another one with -p or --base-url."
        raise ConfigError(text)
    return row if base_url is None else row.with_options(base_url=base_url)


def _hints(
    row: ProviderConfig, offered: list[ModelInfo], found: list[ModelInfo], filters: Mapping[str, Any]
) -> Iterator[str]:
    """What a reader of the table might take for the truth otherwise."""
    if not offered:
        yield f"{row.name} offers no models."
    elif not found:
        yield f"None of the {len(offered)} models of {row.name} fits. Leave out a filter."
    if filters["tools"] and any(model.supports_tools is None for model in found):
        yield f"{row.name} does not tell of all models whether they can call tools; those are listed, too."
    asks_for_prices = filters["free"] or filters["max_price"] is not None or filters["sort"] == "price"
    if asks_for_prices and offered and all(model.prompt_usd_per_mtok is None for model in offered):
        yield f"{row.name} does not tell its prices."


def _as_row(model: ModelInfo) -> dict[str, Any]:
    """Write a model in the types that JSON has."""
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in asdict(model).items()}
