"""The command group ``adapters``; each command has a module of the same name."""

from __future__ import annotations

import click

from adapters.cli.chat import chat
from adapters.cli.config import config
from adapters.cli.doctor import doctor
from adapters.cli.models import models
from adapters.cli.providers import providers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="caal-llm-adapters", message="%(package)s %(version)s")
def group() -> None:
    """Use language models through the providers of a YAML file."""


for command in (chat, config, doctor, models, providers):
    group.add_command(command)
