"""``adapters config``: check the configuration, or print its JSON schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from adapters.cli.base import Command, printable
from adapters.cli.entry import config_option, provider_option
from adapters.config import check_config
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from adapters.config import ProviderConfig, Report


@click.group()
def config() -> None:
    """Check the configuration, or print its JSON schema."""


@config.command(cls=Command)
@provider_option
@config_option
def check(provider_name: str | None, config_path: str | None) -> None:
    """Check the configuration and report every problem.

    Environment variables and model files are checked, too. A problem of a provider other than the default, or other
    than the one that -p names, is a warning.
    """
    report = check_config(config_path, provider_name)
    _check_model_files(report)
    for line in report.warnings:
        click.echo(f"Warning: {printable(line)}", err=True)
    if report.errors:
        raise ConfigError("\n".join(report.errors))
    click.echo(f"{report.file}: {provider_name or report.default} can be used. The default is {report.default}.")


def _check_model_files(report: Report) -> None:
    for entry in report.entries.values():
        if problem := _problem_of_model_file(entry):
            lines = report.errors if entry.name in report.wanted else report.warnings
            lines.append(f"{report.file}: providers.{entry.name}: {problem}")


def _problem_of_model_file(entry: ProviderConfig) -> str:
    if entry.kind != "local":
        return ""
    from adapters.local import LocalServer

    try:
        LocalServer(entry.model_path).check()
    except ConfigError as error:
        return str(error)
    return ""


@config.command(cls=Command)
def schema() -> None:
    """Print the JSON schema of the configuration file.

    An editor that knows the schema completes and checks the file.
    """
    from adapters.config.schema import make_schema

    click.echo(json.dumps(make_schema(), indent=2))
