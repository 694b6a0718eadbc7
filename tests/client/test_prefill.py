"""``prewarm(messages, tools)``: the request that it sends, when it is sent, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import FallbackProvider, create_provider
from adapters.errors import ConfigError
from adapters.testing import ASK, KEY, ScriptedServer
from adapters.testing import TOOLS as SPECS
from adapters.testing.answers import SSE_HEAD, answer, chunk, event, http_chunk, reply, said, stream
from tests.patience import Held, until

if TYPE_CHECKING:
    from adapters.client.provider import LiteLLMProvider
    from adapters.testing.server import Seen, Step
    from adapters.types import Message

pytest_plugins = ["adapters.testing.plugin"]

TOOLS = list(SPECS)
SYSTEM: list[Message] = [{"role": "system", "content": "Be brief."}]
QUESTION: list[Message] = [*SYSTEM, {"role": "user", "content": "How warm is it?"}]
HANGS: Step = (SSE_HEAD, "hang")


def _provider(server: ScriptedServer, name: str, *steps: Step, **options: Any) -> LiteLLMProvider:
    options = {"model": "m", "api_key": KEY, "retry": {"attempts": 1}, **options}
    kind = options.pop("kind", "openai_compatible")
    provider: LiteLLMProvider = create_provider(kind, base_url=server.add(name, *steps), **options)
    return provider


def _chats(server: ScriptedServer, name: str) -> list[dict[str, Any]]:
    return [body for body in server.seen[name].bodies if "messages" in body]


_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_HISTORIES: list[list[Message]] = [
    [],
    SYSTEM,
    [{"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]}],
    [*QUESTION, {"role": "assistant", "content": "Grüße! 12 °C."}],
    [*SYSTEM, {"role": "user", "content": [{"type": "text", "text": "What is it?"}, _IMAGE]}, *ASK],
    [
        *QUESTION,
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x":  1}'}}]},
        {"role": "tool", "tool_call_id": "a", "content": "5"},
    ],
]
_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([None, 0.0, 0.7]),
        "max_tokens": st.sampled_from([None, 300]),
        "top_p": st.just(0.9),
        "seed": st.just(7),
        "stop": st.just(["###"]),
        "reasoning_effort": st.sampled_from(["none", "low"]),
        "think": st.booleans(),
        "headers": st.just({"X-Room": "kitchen"}),
        "extra_body": st.sampled_from([{"cache_prompt": True}, {"chat_template_kwargs": {"a": [1]}}, {"n_predict": 9}]),
    },
)
_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.just(0.1),
        "max_completion_tokens": st.just(50),
        "tool_choice": st.sampled_from(["none", "required"]),
        "response_format": st.sampled_from([{"type": "json_object"}, list[int]]),
        "extra_headers": st.just({"X-Turn": "1"}),
        "extra_body": st.sampled_from([{"min_tokens": 3}, {"chat_template_kwargs": {"b": 1}}, {"top_k": None}]),
        "user": st.just("anna"),
    },
)
_LIMITS = {"max_tokens", "max_completion_tokens", "n_predict", "min_tokens"}


@given(
    history=st.sampled_from(_HISTORIES),
    tools=st.sampled_from([None, TOOLS]),
    settings=_SETTINGS,
    options=_OPTIONS,
    streamed=st.booleans(),
)
def test_a_prefill_begins_as_its_question(
    *,
    history: list[Message],
    tools: Any,
    settings: dict[str, Any],
    options: dict[str, Any],
    streamed: bool,
) -> None:
    """Each field that feeds a cache has the same bytes in both; limits on tokens differ, and what a stream adds."""
    is_asked = bool(history) and history[-1]["role"] in ("user", "tool")

    async def ask() -> Seen:
        steps = (answer('{"value": [1]}'),)
        async with ScriptedServer() as server, _provider(server, "both", *steps, **settings) as provider:
            await provider.prewarm(history, tools, **options)
            question = history if is_asked else [*history, *QUESTION[-1:]]
            if streamed:
                assert [event async for event in provider.stream_events(question, tools, **options)]
            else:
                await provider.chat(question, tools, **options)
        return server.seen["both"]

    seen = asyncio.run(ask())
    (ahead, question), (headers_ahead, headers) = seen.bodies[-2:], seen.headers[-2:]
    last = question["messages"].pop()
    assert ahead["messages"].pop() == (last if is_asked else {"role": "user", "content": "."})
    assert {ahead.pop(name) for name in ("max_tokens", "max_completion_tokens", "n_predict") if name in ahead} == {1}
    assert ahead.pop("min_tokens", 0) == 0
    assert not _LIMITS & ahead.keys()
    question = {name: value for name, value in question.items() if name not in _LIMITS}
    if not streamed:
        assert (ahead.pop("stream"), ahead.pop("stream_options")) == (True, {"include_usage": True})
        question.pop("stream", None)
        headers_ahead.pop("accept-encoding"), headers.pop("accept-encoding")
    assert json.dumps(ahead) == json.dumps(question)
    assert {**headers_ahead, "content-length": ""} == {**headers, "content-length": ""}


async def test_a_prefill_is_no_answer(scripted_server: ScriptedServer) -> None:
    """It leaves the provider as it was; a plain ``prewarm`` sends none."""
    async with _provider(scripted_server, "quiet", answer("Hi.")) as provider:
        await provider.prewarm()
        assert not _chats(scripted_server, "quiet")
        response = await provider.chat(QUESTION)
        await provider.prewarm(SYSTEM, TOOLS)
        copied = pickle.loads(pickle.dumps(provider))  # noqa: S301 - our own bytes
        assert copied._asked_s < 0 < provider._asked_s
        await copied.aclose()

        assert provider.last_response == response
        assert provider.last_usage == response.usage
    assert len(_chats(scripted_server, "quiet")) == 2


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same loop", "another thread"])
async def test_a_prefill_gives_way_to_a_question(scripted_server: ScriptedServer, *, elsewhere: bool) -> None:
    """A question closes the connection of a prefill at once, and ``prewarm`` returns without an error."""
    async with _provider(scripted_server, "busy", HANGS, answer("Hi.")) as provider:
        prewarm = provider._prefill(SYSTEM, TOOLS, {})
        waiting = asyncio.to_thread(asyncio.run, prewarm) if elsewhere else prewarm
        task = asyncio.ensure_future(waiting)
        await until(lambda: _chats(scripted_server, "busy"))

        assert (await provider.chat(QUESTION)).content == "Hi."
        await until(lambda: scripted_server.seen["busy"].gone_at)
        await task


async def test_a_prefill_that_is_cancelled(scripted_server: ScriptedServer) -> None:
    """Cancelling ``prewarm`` or closing the provider closes its connection."""
    async with _provider(scripted_server, "gone", HANGS) as provider:
        tasks = [asyncio.create_task(provider._prefill(SYSTEM, None, {})) for _ in range(2)]
        await until(lambda: len(_chats(scripted_server, "gone")) == 2)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        await until(lambda: len(scripted_server.seen["gone"].gone_at) == 1)
    await tasks[1]
    await until(lambda: len(scripted_server.seen["gone"].gone_at) == 2)


async def test_no_prefill_beside_a_question(scripted_server: ScriptedServer) -> None:
    """While a question is under way nothing is prefilled."""
    async with _provider(scripted_server, "asked", HANGS) as provider:
        question = asyncio.create_task(provider.chat(QUESTION))
        await until(lambda: _chats(scripted_server, "asked"))
        await provider._prefill(SYSTEM, None, {})
        question.cancel()
    assert len(_chats(scripted_server, "asked")) == 1


@pytest.mark.parametrize("in_group", [False, True], ids=["provider", "group"])
async def test_no_prefill_after_a_question(scripted_server: ScriptedServer, *, in_group: bool) -> None:
    """A question that was answered while ``prewarm`` opened the connection has sent the prompt itself."""
    held = Held(reply({"data": []}))
    async with _provider(scripted_server, "late", cast("Step", held), answer("Hi."), prefill=True) as provider:
        asked = FallbackProvider([provider]) if in_group else provider
        prewarm = asyncio.create_task(asked.prewarm(SYSTEM, TOOLS))
        await until(lambda: scripted_server.seen["late"].paths)
        assert (await asked.chat(QUESTION)).content == "Hi."
        held.is_released = True
        await prewarm
    assert len(_chats(scripted_server, "late")) == 1


_ENDLESS = (SSE_HEAD, *(http_chunk(event(said("Hi"))) for _ in range(2)), "hang")
_EMPTY = stream(chunk({}, "length"))


@pytest.mark.parametrize(
    ("step", "log"),
    [
        pytest.param(answer("Hi"), "prefill took", id="text"),
        pytest.param(_EMPTY, "prefill took", id="no text"),
        pytest.param(_ENDLESS, "prefill took", id="limit ignored"),
        pytest.param(
            reply({"error": {"message": "loading"}}, "503 Busy"), "failed (InternalServerError, status 503)", id="503"
        ),
        pytest.param((b"HTTP/1.1 200 OK\r\n\r\n{", "eof"), "failed (IncompleteResponseError)", id="garbled"),
        pytest.param(("eof",), "failed (APIConnectionError)", id="lost"),
    ],
)
async def test_end_of_a_prefill(
    scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture, step: Step, log: str
) -> None:
    """It ends at the first token, and a failure is a line in the log."""
    caplog.set_level(logging.INFO, "adapters")
    async with _provider(scripted_server, "end", step) as provider:
        await provider._prefill(SYSTEM, None, {})

    assert [message for message in caplog.messages if "prefill" in message and log in message]


async def test_a_prefill_learns_from_rejections(scripted_server: ScriptedServer) -> None:
    """What the server rejects is left out of the prefill and of the first question; a busy server is asked again."""
    rejected = reply({"error": {"message": "Unknown parameter: 'temperature'."}}, "400 Bad Request")
    busy = reply({"error": {"message": "busy"}}, "503 Service Unavailable")
    retry = {"attempts": 2, "initial_wait_s": 0}
    async with _provider(scripted_server, "shy", rejected, busy, answer("Hi."), retry=retry) as provider:
        await provider._prefill(SYSTEM, None, {})
        await provider.chat(QUESTION)

    assert ["temperature" in body for body in _chats(scripted_server, "shy")] == [True, False, False, False]


async def test_wrong_arguments(scripted_server: ScriptedServer) -> None:
    """A mistake in the arguments is raised, by one provider and by a group, before anything is sent."""
    async with _provider(scripted_server, "wrong", answer("Hi.")) as one, FallbackProvider([one]) as group:
        for provider in (one, group):
            with pytest.raises(ConfigError, match="messages must be a list"):
                await provider.prewarm(cast("Any", "Be brief."))
            with pytest.raises(ConfigError, match="temprature is not a known option"):
                await provider.prewarm(SYSTEM, temprature=0.1)  # type: ignore[call-arg]  # the mistake
    assert scripted_server.seen["wrong"].bodies == []


async def test_prefill_of_a_group(scripted_server: ScriptedServer) -> None:
    """Local members are prefilled, unless they say no; others only if they say yes."""
    cloud = {"kind": "ollama", "model": "gpt-oss:120b-cloud"}
    members = {
        "local": _provider(scripted_server, "local", answer("Hi.")),
        "no": _provider(scripted_server, "no", answer("Hi."), prefill=False),
        "cloud": _provider(scripted_server, "cloud", answer("Hi."), **cloud),
        "yes": _provider(scripted_server, "yes", answer("Hi."), **cloud, prefill=True),
        "down": _provider(scripted_server, "down", ("rst",)),
    }
    local, *others = members.values()
    async with FallbackProvider([local, FallbackProvider(others)]) as group:
        await group.prewarm(SYSTEM, TOOLS)

    assert [name for name in members if _chats(scripted_server, name)] == ["local", "yes"]
    async with members["cloud"] as asked, members["no"] as never:
        await asked.prewarm(SYSTEM)
        await never.prewarm(SYSTEM)
    assert [len(_chats(scripted_server, name)) for name in ("cloud", "no")] == [1, 0]


async def test_keep_warm(scripted_server: ScriptedServer) -> None:
    """The latest prefill is repeated while the provider is open and idle, with the messages of that time."""
    hangs = (*stream(said("Hi"), done=False)[:-1], "hang")
    history = list(SYSTEM)
    async with _provider(scripted_server, "warm", answer("Hi."), answer("Hi."), hangs, keep_warm_s=0.05) as provider:
        await provider.prewarm()
        await until(lambda: len(_chats(scripted_server, "warm")) == 1)
        await provider._prefill(history, TOOLS, {})
        history.append({"role": "user", "content": "?"})
        events = provider.stream_events(QUESTION)
        await anext(events)
        count = len(_chats(scripted_server, "warm"))
        await asyncio.sleep(0.3)
        assert len(_chats(scripted_server, "warm")) == count, "a question is under way"
        scripted_server.add("warm", answer("Hi."))
        await events.aclose()  # type: ignore[attr-defined]  # it is a generator
        await until(lambda: len(_chats(scripted_server, "warm")) >= 2)
    count = len(_chats(scripted_server, "warm"))
    await asyncio.sleep(0.2)

    assert len(_chats(scripted_server, "warm")) == count, "the provider is closed"
    assert {str(body["messages"]) for body in _chats(scripted_server, "warm")} == {
        str([*SYSTEM, {"role": "user", "content": "."}])
    }


async def test_a_forgotten_provider_is_not_kept_warm(scripted_server: ScriptedServer) -> None:
    """Neither the timer nor a repetition that is under way keeps a provider alive; it is cancelled with it."""
    owner = [_provider(scripted_server, "lost", answer("Hi."), HANGS, keep_warm_s=0.05)]
    await owner[0]._prefill(SYSTEM, None, {})
    await until(lambda: len(_chats(scripted_server, "lost")) == 2)
    await asyncio.to_thread(owner.clear)  # as the garbage collector does it, in any thread
    await until(lambda: scripted_server.seen["lost"].gone_at)
    await asyncio.sleep(0.2)

    assert len(_chats(scripted_server, "lost")) == 2
