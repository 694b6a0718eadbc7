"""``adapters chat``: options of a single question or a conversation; ``adapters.cli.conversation`` runs it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from adapters.cli.base import Command, json_option, printable
from adapters.cli.entry import (
    PASS_THE_KEY,
    UNNAMED_MODEL,
    base_url_option,
    config_option,
    entry_for,
    is_ad_hoc,
    key_option,
    model_option,
    provider_option,
)
from adapters.errors import AdapterError, AuthenticationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from adapters.config import ProviderConfig
    from adapters.config.mcp import McpServerConfig
    from adapters.tools.mcp_servers import McpServers

_NAMES_SHOWN = 10


@click.command(cls=Command)
@click.argument("prompt", nargs=-1)
@provider_option
@model_option
@base_url_option
@key_option
@config_option
@click.option("--system", metavar="TEXT", help="System message.")
@click.option("-f", "--file", "files", metavar="FILE", multiple=True, help="Add a file to the prompt; repeatable.")
@click.option("--no-tools", is_flag=True, help="Offer no tools.")
@click.option("--mcp", "mcp", metavar="COMMAND|URL", multiple=True, help="Offer an MCP server's tools; repeatable.")
@click.option("-v", "--verbose", is_flag=True, help="Print the log on stderr, without keys.")
@json_option
def chat(prompt: tuple[str, ...], files: tuple[str, ...], **options: Any) -> None:
    """Ask a model one question, or hold a conversation.

    PROMPT needs no quotes. Piped input is added to it; "-" reads the whole prompt from standard input. Without a
    prompt and without a file, a conversation starts, one turn per line.

    The model may call two demo tools, get_weather and get_time, or instead those of MCP servers: of the
    configuration's mcp_servers, or of --mcp "uvx mcp-server-time". With --base-url and without -m, the only model of
    a server is used.
    """
    from adapters.cli.conversation import Conversation
    from adapters.cli.question import read_question

    question = read_question(prompt, files)
    config = _config_of(options)
    if options["verbose"]:
        from adapters.cli.log import show_log

        show_log(config)
    with Conversation(
        config,
        system=options["system"],
        with_tools=not options["no_tools"],
        mcp_servers=_mcp_servers(options["mcp"], {} if options["no_tools"] else config.mcp_servers),
        as_json=options["as_json"],
        is_verbose=options["verbose"],
        is_ad_hoc=is_ad_hoc(options["provider_name"], options["base_url"]),
    ) as conversation:
        if question is not None:
            conversation.ask(question)
        elif sys.stdin.isatty():
            from adapters.cli.terminal import typed_lines

            conversation.converse(typed_lines())
        else:
            for line in filter(None, map(str.strip, sys.stdin)):
                conversation.ask(line)


def _mcp_servers(texts: tuple[str, ...], configured: Mapping[str, McpServerConfig]) -> McpServers | None:
    """Return the servers of ``--mcp``, with several of them with prefixes, or else those of the configuration."""
    if not texts and not configured:
        return None
    from adapters.config.mcp import McpServerConfig
    from adapters.tools.mcp_servers import McpServers

    if not texts:
        return McpServers(configured)

    prefixes = [f"mcp{number}" for number in range(1, len(texts) + 1)] if len(texts) > 1 else [""]
    return McpServers(
        {text: McpServerConfig.of(text, prefix=prefix) for text, prefix in zip(texts, prefixes, strict=True)}
    )


def _config_of(options: dict[str, Any]) -> ProviderConfig:
    """Return the provider entry that the options describe, with its variables looked up."""
    names = ("base_url", "model", "api_key")
    entry = entry_for(options["config_path"], options["provider_name"], **{name: options[name] for name in names})
    entry = entry.resolved()
    return entry.with_options(model=_only_model(entry)) if entry.model == UNNAMED_MODEL else entry


def _only_model(entry: ProviderConfig) -> str:
    """Return the one model that a server offers.

    Raises:
        ConfigError: If it offers none or several, or has no list.
    """
    from adapters.models import list_models

    try:
        offered = [model.id for model in asyncio.run(list_models(entry))]
    except AuthenticationError as error:
        raise ConfigError(f"{error}\n{PASS_THE_KEY}") from error
    except AdapterError as error:
        hint = f"Name a model with -m, or run: adapters doctor --base-url {entry.base_url}"
        raise ConfigError(f"{error}\n{hint}") from error
    if len(offered) == 1:
        return offered[0]
    if not offered:
        raise ConfigError(f"{entry.base_url} lists no models. Name one with -m.")
    shown = ", ".join(printable(name) for name in offered[:_NAMES_SHOWN])
    raise ConfigError(f"{entry.base_url} offers {len(offered)} models. Choose one with -m: {shown}")
