"""``adapters chat``: the options of a question or a conversation; ``adapters.cli.conversation`` holds it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from adapters.cli.base import Command, config_option, json_option, provider_option

if TYPE_CHECKING:
    from typing import Any

    from adapters.config import ProviderConfig

_KEY_VARIABLE = "ADAPTERS_API_KEY"


@click.command(cls=Command)
@click.argument("prompt", nargs=-1)
@provider_option
@click.option("-m", "--model", help="Model to ask. [default: the provider's]")
@click.option("--base-url", help="Address of the server; without --provider, of any OpenAI-compatible server.")
@click.option("--api-key", help=f"Its key; with --base-url alone ${_KEY_VARIABLE} is better: no one else sees it.")
@config_option
@click.option("--system", help="What the model is told before the conversation.")
@click.option("-f", "--file", "files", multiple=True, help="File to ask about; may be given more than once.")
@click.option("--no-tools", is_flag=True, help="Offer no tools.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log on stderr, without keys.")
@json_option
def chat(prompt: tuple[str, ...], files: tuple[str, ...], **options: Any) -> None:
    """Ask a model that may call two demo tools, get_weather and get_time.

    PROMPT is the question, quoted or not; what is piped in is added to it, and "-" is nothing but that. Without a
    prompt and without a file a conversation begins, a line a turn.
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
        as_json=options["as_json"],
        may_spin=not options["verbose"],
    ) as conversation:
        if question is not None:
            conversation.ask(question)
        elif sys.stdin.isatty():
            from adapters.cli.terminal import typed_lines

            conversation.converse(typed_lines())
        else:
            for line in filter(None, map(str.strip, sys.stdin)):
                conversation.ask(line)


def _config_of(options: dict[str, Any]) -> ProviderConfig:
    """Find the provider that the options mean, with its secrets looked up."""
    from adapters.config import ProviderConfig, load_config

    own = {name: options[name] for name in ("model", "base_url", "api_key") if options[name]}
    if options["base_url"] and not options["provider_name"]:
        key = options["api_key"] or os.environ.get(_KEY_VARIABLE)
        return ProviderConfig.create("openai_compatible", **{**own, "api_key": key}).resolved()
    return load_config(options["config_path"]).provider(options["provider_name"]).with_options(**own).resolved()
