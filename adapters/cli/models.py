"""``adapters models``: list the models that a provider offers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.base import Command, json_option, print_json
from adapters.cli.entry import (
    PASS_THE_KEY,
    base_url_option,
    config_option,
    entry_for,
    is_ad_hoc,
    key_option,
    provider_option,
)
from adapters.cli.table import print_table
from adapters.errors import AuthenticationError, ConfigError

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
@base_url_option
@key_option
@click.option("--tools", is_flag=True, help="Only models that support tool calls.")
@click.option("--free", is_flag=True, help="Only free models.")
@click.option("--max-price", type=float, metavar="USD", help="Maximum price per million tokens, input and output.")
@click.option("--search", default="", metavar="WORDS", help="Only models whose id or name contains every word.")
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    help="Order: by id, cheapest first, or longest context first. [default: the server's]",
)
@json_option
def models(
    provider_name: str | None,
    config_path: str | None,
    base_url: str | None,
    api_key: str | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """List the models that a provider offers."""
    from adapters.models import list_models  # loads the HTTP client; --help must not wait for it

    entry = entry_for(config_path, provider_name, base_url=base_url, api_key=api_key)
    if entry.kind == "local":
        raise ConfigError(
            f"{entry.name} has a single model: the file in model_path, or the demo. Name another provider with -p, or a"
            " server with --base-url."
        )
    try:
        offered = asyncio.run(list_models(entry))
    except AuthenticationError as error:
        if not is_ad_hoc(provider_name, base_url):
            raise
        raise ConfigError(f"{error}\n{PASS_THE_KEY}") from error
    found = _matching(offered, **filters)
    if as_json:
        print_json([_as_row(model) for model in found])
        return
    for hint in _hints(entry, offered, found, filters):
        click.echo(hint, err=True)
    if found:
        print_table(_COLUMNS, [_as_row(model) for model in found])


def _matching(
    offered: list[ModelInfo], *, tools: bool, free: bool, max_price: float | None, search: str, sort: SortKey | None
) -> list[ModelInfo]:
    from adapters.models import search_models

    price = None if max_price is None else Decimal(str(max_price))
    return search_models(
        offered, search, supports_tools=tools or None, free=free or None, max_usd_per_mtok=price, sort=sort
    )


def _hints(
    entry: ProviderConfig, offered: list[ModelInfo], found: list[ModelInfo], filters: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what the table alone would hide: an empty list, and data that the server does not publish."""
    if not offered:
        yield f"{entry.name} offers no models."
    elif not found:
        yield f"None of the {len(offered)} models of {entry.name} matches. Leave out a filter."
    if filters["tools"] and any(model.supports_tools is None for model in found):
        yield f"{entry.name} does not say for every model whether it supports tools; those models are listed, too."
    needs_prices = filters["free"] or filters["max_price"] is not None or filters["sort"] == "price"
    if needs_prices and offered and all(model.prompt_usd_per_mtok is None for model in offered):
        yield f"{entry.name} does not publish its prices."


def _as_row(model: ModelInfo) -> dict[str, Any]:
    """Convert a model to JSON types."""
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in asdict(model).items()}
