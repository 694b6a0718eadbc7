"""``LiteLLMProvider`` against every scripted server of ``adapters.testing``, in each way that it can be asked."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from adapters.factory import create_provider
from adapters.testing import ASK, CASES, KEY, check, play
from adapters.testing.answers import SSE_HEAD, answer, event, http_chunk, said

if TYPE_CHECKING:
    from adapters.litellm_provider import LiteLLMProvider
    from adapters.testing import ScriptedServer, WireCase
    from adapters.testing.answers import Script

pytest_plugins = ["adapters.testing.plugin"]

_ENDLESS: Script = [SSE_HEAD, http_chunk(event(said("Once "))), "hang"]


@pytest.fixture(scope="module", autouse=True)
def _warm(scripted_server: ScriptedServer) -> None:
    """Load LiteLLM before the first case is timed."""
    base_url = scripted_server.add("warm", answer("Hi there"))

    async def warm(kind: str) -> None:
        async with create_provider(kind, model="m", base_url=base_url, api_key=KEY) as provider:
            await provider.prewarm()

    asyncio.run(warm("openai_compatible"))
    asyncio.run(warm("openrouter"))


def _provider(case: WireCase, base_url: str) -> LiteLLMProvider:
    url = case.url.format(base=base_url)
    return create_provider(case.kind, model="m", base_url=url, api_key=KEY, **case.provider_options)


async def test_provider_makes_of_each_server_what_the_case_says(
    wire_case: WireCase, scripted_server: ScriptedServer
) -> None:
    """Text, calls, usage, reasoning, errors, requests and time are those of the case."""
    base_url = scripted_server.add(wire_case.id, *wire_case.steps)

    async with _provider(wire_case, base_url) as provider:
        outcome = await play(provider, wire_case)

    assert check(wire_case, outcome, scripted_server.seen[wire_case.id]) == []


def test_every_case_has_a_name_of_its_own() -> None:
    """Case ids are unique, for they are the paths of the server."""
    ids = [case.id for case in CASES]

    assert len(set(ids)) == len(ids)


async def test_leaving_a_stream_reaches_the_server(scripted_server: ScriptedServer) -> None:
    """A consumer that closes the stream after the first words ends the generation at once."""
    base_url = scripted_server.add("leaving", _ENDLESS)

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        pieces: Any = provider.chat_stream(list(ASK))  # a generator, which the contract does not promise
        await anext(pieces)
        await pieces.aclose()
        left_at_s = time.monotonic()
        await asyncio.sleep(0.1)
        gone_at_s = scripted_server.seen["leaving"].gone_at

    assert len(gone_at_s) == 1
    assert gone_at_s[0] - left_at_s < 0.1


async def test_cancelling_a_chat_reaches_the_server(scripted_server: ScriptedServer) -> None:
    """A cancelled task closes its request at once, and does not send it again."""
    base_url = scripted_server.add("cancelling", ["hang"])

    async with create_provider("openrouter", model="m", base_url=base_url, api_key=KEY) as provider:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(provider.chat(list(ASK)), 0.3)
        await asyncio.sleep(0.1)

    assert len(scripted_server.seen["cancelling"].gone_at) == 1
    assert len(scripted_server.seen["cancelling"].paths) == 1
