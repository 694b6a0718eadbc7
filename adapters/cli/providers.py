"""``adapters providers``: list the provider entries of the configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from adapters.cli.base import Command, json_option, print_json
from adapters.cli.entry import config_option
from adapters.cli.table import print_table
from adapters.config import KINDS, load_config
from adapters.config.values import file_of, is_reference

if TYPE_CHECKING:
    from adapters.config import ProviderConfig


@click.command(cls=Command)
@config_option
@json_option
def providers(config_path: str | None, as_json: bool) -> None:
    """List the provider entries of the configuration.

    The column "key" says whether the API key is there: "found", "not set" (none is configured), or "missing" (the
    environment variable is not set, or the file does not exist).
    """
    settings = load_config(config_path)
    rows = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "model": entry.model,
            "base_url": entry.base_url,
            "key": _key_state(entry),
            "default": entry.name == settings.default,
        }
        for entry in settings.providers.values()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["name"] = f"{row['name']} (default)" if row["default"] else row["name"]
    columns = {"name": "name", "kind": "kind", "model": "model", "base_url": "base URL", "key": "key"}
    print_table(columns, rows)


def _key_state(entry: ProviderConfig) -> str:
    """Return whether there is a key, never the key itself."""
    if (file := file_of(entry.api_key)) is not None:
        return "found" if file.is_file() else "missing"
    variable = KINDS[entry.kind].key_variable
    key = entry.api_key.get_secret_value() if entry.api_key else f"os.environ/{variable}" if variable else None
    if key is None:
        return "not set"
    return "missing" if is_reference(key) and not os.environ.get(key.partition("/")[2]) else "found"
