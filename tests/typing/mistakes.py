"""Mistakes of users that type checkers find: nothing here ever runs.

mypy and pyright report a ``type: ignore`` that nothing needs, so a mistake that is no longer found fails the check.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from adapters import LLMProvider, create_provider, run_turn

if TYPE_CHECKING:
    from adapters import LLMResponse, ProviderConfig


class Weather(BaseModel):
    """The form of a response."""

    city: str


def options_of_a_provider(entry: ProviderConfig) -> None:
    """Options that do not exist, that have another type, or that hold an unknown key."""
    create_provider("opnai", model="m")  # type: ignore[arg-type]  # the mistake
    create_provider("groq", modle="m")  # type: ignore[call-arg]  # the mistake
    create_provider("groq", temprature="hot")  # type: ignore[call-arg]  # the mistake
    create_provider("groq", base_url=7)  # type: ignore[arg-type]  # the mistake
    create_provider("groq", timeouts={"first_tokn_s": 1})  # type: ignore[typeddict-unknown-key]  # the mistake
    create_provider("groq", retry={"attempts": "3"})  # type: ignore[typeddict-item]  # the mistake
    create_provider(entry, temperature="hot")  # type: ignore[arg-type]  # the mistake
    create_provider(entry, kind="groq")  # type: ignore[misc]  # the mistake


async def options_of_a_call(provider: LLMProvider) -> None:
    """Options that are misspelled, or that have another type."""
    messages = [{"role": "user", "content": "Hi"}]
    await provider.chat(messages, timeout="soon")  # type: ignore[arg-type]  # the mistake
    await provider.chat(messages, max_retries=1.5)  # type: ignore[arg-type]  # the mistake
    await provider.chat(messages, temprature=0.2)  # type: ignore[call-arg]  # the mistake
    await provider.chat(messages, base_url="http://h")  # type: ignore[call-arg]  # the mistake
    await provider.chat("Hi")  # type: ignore[arg-type]  # the mistake
    await provider.chat(messages, response_format="json")  # type: ignore[arg-type]  # the mistake
    provider.chat_stream(messages, first_token_timeout="1")  # type: ignore[arg-type]  # the mistake
    provider.stream_events(messages, tool_choice="never")  # type: ignore[arg-type]  # the mistake
    run_turn(provider, messages, extra_headers=["X-Turn: 7"])  # type: ignore[arg-type]  # the mistake
    run_turn(provider, messages, max_round=3)  # type: ignore[call-arg]  # the mistake


async def parsed_response(provider: LLMProvider) -> str:
    """A response without a parsed value, because the model declined, and an attribute that the form does not have."""
    response = await provider.chat([], response_format=Weather)
    wrong: LLMResponse[int] = response  # type: ignore[assignment]  # the mistake
    city = response.parsed.city  # type: ignore[union-attr]  # the mistake
    town = response.parsed.town if response.parsed else ""  # type: ignore[attr-defined]  # the mistake
    return f"{wrong} {city} {town}"
