"""``adapters config``: looks after the configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from adapters.cli.base import Command, config_option, printable, provider_option
from adapters.config import check_config
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from adapters.config import ProviderConfig, Report


@click.group()
def config() -> None:
    """Look after the configuration."""


@config.command(cls=Command)
@provider_option
@config_option
def check(provider_name: str | None, config_path: str | None) -> None:
    """Check the configuration, every variable that it names and every model file; each problem is one line.

    What is wrong with providers other than the default, or the one that -p names, is a warning.
    """
    report = check_config(config_path, provider_name)
    _look_at_model_files(report)
    for line in report.warnings:
        click.echo(f"Warning: {printable(line)}", err=True)
    if report.errors:
        raise ConfigError("\n".join(report.errors))
    click.echo(f"{report.file}: {provider_name or report.default} can be used. The default is {report.default}.")


def _look_at_model_files(report: Report) -> None:
    for row in report.rows.values():
        if problem := _problem_of_model_file(row):
            lines = report.errors if row.name in report.wanted else report.warnings
            lines.append(f"{report.file}: providers.{row.name}: {problem}")


def _problem_of_model_file(row: ProviderConfig) -> str:
    if row.kind != "local":
        return ""
    from adapters.local import LocalServer

    try:
        LocalServer(row.model_path).check()
    except ConfigError as error:
        return str(error)
    return ""


@config.command(cls=Command)
def schema() -> None:
    """Print the JSON schema of the file, for an editor that completes and checks it."""
    from adapters.config.schema import make_schema

    click.echo(json.dumps(make_schema(), indent=2))
