"""What real servers answer, replayed: the same situations over every server that can show them.

`nox -s record` starts the servers and records all of it anew, see ``servers/record.py``. Requests are matched with
their bodies, so each test also proves what was sent. The rows ``openrouter`` and ``stand-in`` come from a stand-in
that follows OpenRouter's published API until someone records them with a key.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters import (
    ResponseDone,
    TextDelta,
    ToolCallDone,
)
from tests.servers.cassettes import sent
from tests.servers.questions import HELLO, ONE_CITY, TOOLS, TWO_CITIES, user
from tests.servers.rows import LITELLM_PROXY, LLAMA_CPP, MLX_LM, OPENROUTER, STAND_IN, Row, servers

if TYPE_CHECKING:
    from vcr.cassette import Cassette  # type: ignore[import-untyped]  # vcrpy carries no types

    from tests.servers.questions import Messages

pytestmark = pytest.mark.vcr

EVERY_SERVER = servers(LLAMA_CPP, LITELLM_PROXY, MLX_LM, OPENROUTER)


@EVERY_SERVER
async def test_chat(server: Row) -> None:
    """A greeting comes back whole, with the server's token counts and its reason to stop."""
    async with server.provider() as provider:
        response = await provider.chat(HELLO)

    assert response.content is not None
    assert response.content.startswith("Hello")
    assert response.tool_calls == []
    assert response.finish_reason == "stop"
    assert response.usage == provider.last_usage
    assert response.usage is not None
    assert response.usage.prompt_tokens > 0
    assert response.usage.completion_tokens > 0
    assert response.usage.cached_tokens is not None  # all of them count it, if only as zero
    assert response.id
    assert (response.provider, response.model, response.attempts) == (server.name, server.model, 1)
    if server is OPENROUTER:
        assert response.usage.cost is not None
        assert 0 < response.usage.cost < Decimal("0.01")
        assert response.upstream_provider
        assert response.native_finish_reason
    else:
        assert (response.usage.cost, response.upstream_provider, response.native_finish_reason) == (None, None, None)


@EVERY_SERVER
@pytest.mark.parametrize(
    ("question", "cities"),
    [pytest.param(ONE_CITY, ["Paris"], id="one"), pytest.param(TWO_CITIES, ["Paris", "London"], id="two-parallel")],
)
async def test_chat_with_calls(server: Row, question: Messages, cities: list[str]) -> None:
    """The calls of one answer come back in order, with unique ids and parsed arguments."""
    async with server.provider() as provider:
        response = await provider.chat(question, TOOLS)

    assert [(call.name, call.arguments) for call in response.tool_calls] == [
        ("get_weather", {"city": city}) for city in cities
    ]
    assert len({call.id for call in response.tool_calls}) == len(cities)
    assert not (response.content or "").strip()


@EVERY_SERVER
async def test_agent_turn(server: Row, vcr: Cassette) -> None:
    """Question, call, result, streamed answer: the answer speaks of the result, and the call's id went back."""
    async with server.provider() as provider:
        asked = await provider.chat(ONE_CITY, TOOLS)
        [call] = asked.tool_calls
        called = provider.format_tool_call_message(asked.content, asked.tool_calls)
        result = provider.format_tool_result("sunny, 21 °C", call.id, call.name)
        pieces = [text async for text in provider.chat_stream([*ONE_CITY, called, result], TOOLS)]

    assert "sunny" in "".join(pieces)
    assert all(pieces)  # a replay comes at once, and texts that arrive together are one
    *_, message = sent(vcr)[1]["messages"]
    assert (message["tool_call_id"], message["content"]) == (call.id, "sunny, 21 °C")


@EVERY_SERVER
async def test_stream(server: Row, vcr: Cassette) -> None:
    """A streamed greeting comes in pieces, and its usage is there afterwards because it was asked for."""
    async with server.provider() as provider:
        pieces = [text async for text in provider.chat_stream(HELLO)]

    assert "".join(pieces).startswith("Hello")
    assert all(pieces)  # a replay comes at once, and texts that arrive together are one
    assert provider.last_usage is not None
    assert provider.last_usage.completion_tokens > 0
    assert sent(vcr)[0]["stream_options"] == {"include_usage": True}


@EVERY_SERVER
async def test_stream_with_tools_forbidden(server: Row, vcr: Cassette) -> None:
    """No call is ever spoken; a server that calls all the same is asked once more, without tools."""
    async with server.provider() as provider:
        text = "".join([piece async for piece in provider.chat_stream(ONE_CITY, TOOLS)])

    assert text.strip()
    assert not any(sign in text for sign in ("tool_call", "get_weather", "{"))
    first, *others = sent(vcr)
    assert first["tool_choice"] == "none"
    assert [request.get("tools") for request in others] in ([], [None])


@EVERY_SERVER
async def test_stream_with_tools_allowed(server: Row, vcr: Cassette) -> None:
    """One streamed request brings the call, and at its end the whole response."""
    async with server.provider() as provider:
        events = [event async for event in provider.stream_events(ONE_CITY, TOOLS)]

    *parts, done = events
    calls = [event.tool_call for event in parts if isinstance(event, ToolCallDone)]
    assert [(call.name, call.arguments) for call in calls] == [("get_weather", {"city": "Paris"})]
    assert isinstance(done, ResponseDone)
    assert done.response.tool_calls == calls
    assert {event.response_id for event in parts if isinstance(event, ToolCallDone)} == {done.response.id}
    assert (done.response.first_text_s, done.response.native_finish_reason) == (
        None,
        "tool_calls" if server is OPENROUTER else None,
    )
    [request] = sent(vcr)
    assert (request["tool_choice"], request["stream"]) == ("auto", True)


@servers(LLAMA_CPP, LITELLM_PROXY, MLX_LM)
async def test_stream_of_text_and_a_call(server: Row) -> None:
    """Words before a call are spoken as they come, and the call's markup is not."""
    async with server.provider() as provider:
        events = [event async for event in provider.stream_events(user("Please check Paris."), TOOLS)]

    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text.strip() == "Let me check that for you."
    assert [event.tool_call.name for event in events if isinstance(event, ToolCallDone)] == ["get_weather"]


@servers(LLAMA_CPP, LITELLM_PROXY, MLX_LM, STAND_IN)
@pytest.mark.parametrize("streamed", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_thinking(server: Row, *, streamed: bool) -> None:
    """What the model thought is kept apart from what it says, however the server sends it."""
    thinker = "deepseek/deepseek-r1:free" if server is STAND_IN else server.model
    async with server.provider(model=thinker) as provider:
        if streamed:
            *_, done = [event async for event in provider.stream_events(user("Please think."))]
            assert isinstance(done, ResponseDone)
            response = done.response
        else:
            response = await provider.chat(user("Please think."))

    assert "The user" in (response.reasoning or "")
    assert response.content
    assert "The user" not in response.content
    assert "think>" not in response.content
