"""``LiteLLMProvider`` against every wire case of ``adapters.testing``, with each method."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from adapters.factory import create_provider
from adapters.testing import ASK, CASES, KEY, TOOLS, check, play
from adapters.testing.answers import SSE_HEAD, answer, call, event, http_chunk, said
from tests.patience import LateError, may_be_late, patient, untraced
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.client.provider import LiteLLMProvider
    from adapters.config import KindName
    from adapters.testing import ScriptedServer, Way, WireCase
    from adapters.testing.answers import Script

pytest_plugins = ["adapters.testing.plugin"]
pytestmark = pytest.mark.usefixtures("litellm_is_loaded")  # before the first case is timed

_ENDLESS: Script = [SSE_HEAD, http_chunk(event(said("Once "))), "hang"]


def _provider(case: WireCase, base_url: str) -> LiteLLMProvider:
    url = case.url.format(base=base_url)
    return create_provider(cast("KindName", case.kind), model="m", base_url=url, api_key=KEY, **case.provider_options)


@pytest.mark.parametrize(("number", "case"), [*enumerate(CASES)], ids=[case.id for case in CASES])
@patient
async def test_wire_case(
    number: int,
    case: WireCase,
    scripted_server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Text, calls, usage, reasoning, errors, requests and duration are those of the case; nothing is printed."""
    for index, wire_case in enumerate(case.by_way()):
        base_url = scripted_server.add(wire_case.id, *wire_case.steps)

        # One way of each case, another one each time, passes through all lines.
        with contextlib.nullcontext() if index == number % len(case.ways) else untraced():
            async with _provider(wire_case, base_url) as provider:
                outcome = await play(provider, wire_case)
            problems = check(wire_case, outcome, scripted_server.seen[wire_case.id])

        if problems and may_be_late(wire_case, outcome):
            raise LateError(problems)
        assert problems == [], wire_case.ways
    assert KEY not in caplog.text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("way", ["chat", "stream_events"])
@pytest.mark.parametrize(
    ("kind", "extras", "where"),
    [
        pytest.param(
            "openai_compatible",
            {"calls": [call("lights_off", "{}", "", extra_content={"google": {"thought_signature": "c2ln"}})]},
            lambda message: message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}},
            id="gemini-thought-signature",
        ),
        pytest.param(
            "openrouter",
            {
                "calls": [call("lights_off", "{}", "t1")],
                "reasoning_details": [{"type": "reasoning.encrypted", "data": "c2ln", "id": "t1"}],
            },
            lambda message: (
                message["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "c2ln", "id": "t1"}]
            ),
            id="openrouter-reasoning-details",
        ),
    ],
)
async def test_provider_fields_are_sent_back(
    way: Way, kind: KindName, extras: dict[str, Any], where: Callable[[Any], bool], scripted_server: ScriptedServer
) -> None:
    """Signatures beside a call are remembered by its id and sent with it in the next turn."""
    base_url = scripted_server.add("extras", answer(**extras), answer("Done."))

    async with create_provider(kind, model="m", base_url=base_url, api_key=KEY) as provider:
        case = replace(CASES[0], ways=(way,), messages=ASK, tools=True)
        calls = (await play(provider, case)).calls or []
        called = provider.format_tool_call_message(None, calls)
        result = provider.format_tool_result("off", calls[0].id, calls[0].name)
        await provider.chat([*ASK, called, result], list(TOOLS))

    assert where(scripted_server.seen["extras"].bodies[1]["messages"][2])


async def test_empty_tools(scripted_server: ScriptedServer) -> None:
    """An empty list of tools is not sent: servers reject it."""
    base_url = scripted_server.add("empty", answer("Hi there"))

    async with create_provider("openai_compatible", model="m", base_url=base_url, api_key=KEY) as provider:
        await provider.chat(list(ASK), [])

    assert not {"tools", "tool_choice"} & set(scripted_server.seen["empty"].bodies[0])


def test_case_ids_are_unique() -> None:
    """Case ids are unique: they are paths of the server."""
    ids = [case.id for case in CASES]

    assert len(set(ids)) == len(ids)


@patient
async def test_closing_a_stream_reaches_the_server(scripted_server: ScriptedServer) -> None:
    """Closing a stream after the first words ends the generation immediately."""
    base_url = scripted_server.add("leaving", _ENDLESS)

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        pieces: Any = provider.chat_stream(list(ASK))  # an async generator, which the contract does not require
        await anext(pieces)
        assert scripted_server.seen["leaving"].gone_at == []
        await pieces.aclose()
        await asyncio.sleep(0.3)
        gone = len(scripted_server.seen["leaving"].gone_at)

    if not gone:
        raise LateError("the connection was not closed within 300 ms")
    assert gone == 1


@patient
async def test_cancelling_a_chat_reaches_the_server(scripted_server: ScriptedServer) -> None:
    """A cancelled task closes its request immediately and does not send it again."""
    base_url = scripted_server.add("cancelling", ["hang"])
    seen = scripted_server.seen["cancelling"]

    async with create_provider("openrouter", model="m", base_url=base_url, api_key=KEY) as provider:
        asking = asyncio.create_task(provider.chat(list(ASK)))
        assert await until(lambda: seen.paths)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.3)

    if not seen.gone_at:
        raise LateError("the connection was not closed within 300 ms")
    assert asking.cancelled()
    assert (len(seen.gone_at), len(seen.paths)) == (1, 1)
