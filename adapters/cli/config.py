"""``adapters config``: looks after the configuration."""

from __future__ import annotations

import click

from adapters.cli.base import Command, config_option
from adapters.config import load_config
from adapters.errors import ConfigError


@click.group()
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
