"""``LiteLLMProvider`` as an agent sees it; what it makes of each server is shown by the wire cases."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from adapters.factory import create_provider
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import SSE_END, SSE_HEAD, event, http_chunk, reply, said
from adapters.types import ResponseDone, TokenUsage

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}


def test_what_an_agent_looks_for() -> None:
    """CAAL asks for these by name; a key stands in none of them."""
    provider = create_provider("ollama", model="qwen3:8b", think=False, temperature=0.15, num_ctx=8192, api_key=KEY)

    assert (provider.provider_name, provider.model, provider.supports_think) == ("ollama", "qwen3:8b", True)
    assert (provider.think, provider.temperature, provider.num_ctx) == (False, 0.15, 8192)
    assert provider.last_usage is None
    assert repr(provider) == "LiteLLMProvider('ollama', model='qwen3:8b')"


@pytest.mark.parametrize("raw", ['{"city": "Oslo"}', {"city": "Oslo"}, '"{\\"city\\": \\"Oslo\\"}"'], ids=repr)
def test_arguments_in_every_form(raw: object) -> None:
    """Arguments may be a string, an object, or encoded twice."""
    assert create_provider("ollama", model="m").parse_tool_arguments(raw) == {"city": "Oslo"}


@pytest.mark.parametrize("raw", [None, "", "null", "{bad", "[1]", 42], ids=repr)
def test_arguments_that_are_none(raw: object) -> None:
    """Whatever cannot be read is an empty object, and nothing is raised."""
    assert create_provider("ollama", model="m").parse_tool_arguments(raw) == {}


async def test_each_way_gives_the_same_answer(scripted_server: ScriptedServer) -> None:
    """``ResponseDone`` holds what ``chat`` returns, ``chat_stream`` its text; usage is kept after each."""
    base_url = scripted_server.add("same", reply(_ANSWER))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        response = await provider.chat(list(ASK))
        after_chat = provider.last_usage
        text = "".join([piece async for piece in provider.chat_stream(list(ASK), list(TOOLS))])
        after_stream = provider.last_usage
        events = [event async for event in provider.stream_events(list(ASK))]

    assert events[-1] == ResponseDone(response)
    assert text == response.content == "Hi"
    assert after_chat == after_stream == provider.last_usage == TokenUsage(7, 3)
    headers = scripted_server.seen["same"].headers
    assert {each["authorization"] for each in headers} == {"Bearer not-needed"}


async def test_warming_up_in_vain_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is not there yet may be there at the first turn; the turn itself tells if it is not."""
    provider = create_provider("openai_compatible", model="m", base_url="http://127.0.0.1:9/v1")

    with caplog.at_level(logging.WARNING, logger="adapters"):
        await provider.prewarm()

    assert "could not be reached" in caplog.text
    await provider.aclose()


async def test_warming_up_asks_for_no_answer(scripted_server: ScriptedServer) -> None:
    """Prewarming costs no tokens: it only opens the connection."""
    base_url = scripted_server.add("warm", reply({}))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        await provider.prewarm()

    assert all(path.endswith("/models") for path in scripted_server.seen["warm"].paths)


async def test_an_event_that_is_no_json_is_passed_over(scripted_server: ScriptedServer) -> None:
    """Some gateways send ``data: keep-alive`` between the pieces of an answer."""
    pieces = (b"data: keep-alive\n\n", event(said("Hi")), b"data: [DONE]\n\n")
    base_url = scripted_server.add("alive", (SSE_HEAD, *map(http_chunk, pieces), SSE_END))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        assert [text async for text in provider.chat_stream(list(ASK))] == ["Hi"]
