"""``adapters chat``: one turn, or a conversation of them, with the demo tools.

How a turn is run lives in ``adapters.agent``, what is shown of it in ``adapters.cli.view``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from adapters.agent import run_turn
from adapters.cli.base import Command, config_option, json_option, provider_option, report
from adapters.cli.demo_tools import DEMO_TOOLS, call_demo_tool
from adapters.cli.view import JsonView, Screen
from adapters.config import load_config
from adapters.errors import AdapterError
from adapters.factory import create_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.cli.view import View
    from adapters.provider import LLMProvider
    from adapters.types import Message, ToolSpec


@click.command(cls=Command)
@click.argument("prompt", required=False)
@provider_option
@click.option("-m", "--model", help="Model to ask. [default: the provider's]")
@click.option("--base-url", help="Address of the server; without --provider, of any OpenAI-compatible server.")
@config_option
@click.option("--system", help="What the model is told before the conversation.")
@click.option("--no-tools", is_flag=True, help="Offer no tools.")
@json_option
def chat(
    prompt: str | None,
    provider_name: str | None,
    model: str | None,
    base_url: str | None,
    config_path: str | None,
    system: str | None,
    no_tools: bool,
    as_json: bool,
) -> None:
    """Ask a model that may call two demo tools, get_weather and get_time.

    PROMPT is the question; "-" reads it from standard input. Without it a conversation begins, a line a turn.
    """
    provider = _make_provider(provider_name, model, base_url, config_path)
    tools = None if no_tools else DEMO_TOOLS
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    go_on = prompt is None and sys.stdin.isatty()
    with asyncio.Runner() as runner:
        try:
            for text in _prompts(prompt):
                asked = [*messages, {"role": "user", "content": text}]
                view = JsonView(provider) if as_json else Screen(provider)
                try:
                    messages = runner.run(_show_turn(provider, asked, tools, view))
                except AdapterError as error:
                    if not go_on:
                        raise
                    report(error, as_json=as_json)  # and forget the question, so that it can be asked again
        finally:
            runner.run(provider.aclose())


def _make_provider(name: str | None, model: str | None, base_url: str | None, config_path: str | None) -> LLMProvider:
    if base_url and not name:
        return create_provider("openai_compatible", model=model, base_url=base_url)
    return create_provider(load_config(config_path).provider(name), model=model, base_url=base_url)


async def _show_turn(
    provider: LLMProvider, messages: list[Message], tools: list[ToolSpec] | None, view: View
) -> list[Message]:
    """Run a turn to its end and return the conversation with it."""
    try:
        async with contextlib.aclosing(run_turn(provider, messages, tools, call_demo_tool)) as events:
            async for event in events:
                view.show(event)
    finally:
        view.close()
    return messages


def _prompts(prompt: str | None) -> Iterator[str]:
    """Yield what is asked: one question, or each line that is not blank until the input ends."""
    if prompt is None:
        lines = _typed_lines() if sys.stdin.isatty() else sys.stdin
        yield from filter(None, map(str.strip, lines))
        return
    text = (sys.stdin.read() if prompt == "-" else prompt).strip()
    if not text:
        raise click.UsageError("The prompt is empty.")
    yield text


def _typed_lines() -> Iterator[str]:
    """Yield what a person types, with a prompt on stderr."""
    with contextlib.suppress(ImportError):  # Windows has none
        import readline  # noqa: F401 - with it loaded, arrow keys edit and recall lines
    console = Console(stderr=True, highlight=False)
    console.print("Ctrl-D ends the conversation.", style="dim")
    with contextlib.suppress(EOFError):
        while True:
            yield console.input("> ")
    console.print()
