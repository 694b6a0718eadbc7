"""``client.call``: one owner of clock, attempts, retries and figures, whichever method made the call."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

import adapters
from adapters.errors import APITimeoutError, IncompleteResponseError, InternalServerError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.request.params import CallArguments
from adapters.telemetry import spans
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import (
    DONE,
    SSE_HEAD,
    STOP,
    answer,
    call,
    chunk,
    completion,
    event,
    http_chunk,
    reply,
    said,
)
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage

if TYPE_CHECKING:
    from types import FrameType

    from adapters.client.provider import LiteLLMProvider
    from adapters.provider import LLMProvider
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_WAYS = ("chat", "chat_stream", "stream_events")
_SLOW_S = 0.05
_USAGE = {"prompt_tokens": 7, "completion_tokens": 3}
_OOPS = reply({"error": {"message": "Oops"}}, "500 Oops")


def _provider(base_url: str, name: str = "home", **options: Any) -> LiteLLMProvider:
    retry = {"initial_wait_s": 0.0, "max_wait_s": 0.0}
    return create_provider(
        "openai_compatible", name=name, model="m", base_url=base_url, api_key=KEY, **{"retry": retry, **options}
    )


async def _asked(provider: LLMProvider, way: str, **kwargs: Any) -> LLMResponse:
    """The answer, as one finds it after each way to ask."""
    if way == "chat":
        return await provider.chat(list(ASK), **kwargs)
    ask: Any = getattr(provider, way)
    async for _ in ask(list(ASK), **kwargs):
        pass
    assert provider.last_response is not None
    return provider.last_response


@pytest.mark.parametrize("way", _WAYS)
async def test_seconds_and_requests_of_failed_tries_count(scripted_server: ScriptedServer, way: str) -> None:
    """The clock starts with the call, not with the try that succeeds; a request without answer is a request."""
    base_url = scripted_server.add("flaky", (_SLOW_S, *_OOPS), (_SLOW_S, "rst"), answer("Hi ", "there"))

    async with _provider(base_url) as provider:
        response = await _asked(provider, way)

    assert response.attempts == len(scripted_server.seen["flaky"].bodies) == 3
    assert response.first_text_s is not None
    assert response.total_s is not None
    assert 2 * _SLOW_S <= response.first_text_s <= response.total_s
    assert (response.dropped, response.provider) == ((), "home")


async def test_an_answer_without_text_has_no_first_text(scripted_server: ScriptedServer) -> None:
    """A call is not text and is not streamed as text."""
    base_url = scripted_server.add("calls", answer(calls=[call("get_weather", "{}")]))

    async with _provider(base_url) as provider:
        response = await provider.chat(list(ASK), list(TOOLS))

    assert response.first_text_s is None
    assert response.total_s is not None
    assert response.attempts == 1


@pytest.mark.parametrize("way", _WAYS)
async def test_what_was_left_out_is_told(scripted_server: ScriptedServer, way: str) -> None:
    """The answer names what its server refuses, also when that was known before it was asked."""
    refusal = {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}
    base_url = scripted_server.add("narrow", reply(refusal, "400 Bad Request"), answer("Hi"))

    async with _provider(base_url, retry={"attempts": 1}) as provider:
        first = await _asked(provider, way, seed=7, temperature=0)
        second = await _asked(provider, way, seed=8)
        third = await _asked(provider, way)

    assert [(each.dropped, each.attempts) for each in (first, second, third)] == [
        (("seed",), 2),
        (("seed",), 1),
        ((), 1),
    ]


@pytest.mark.parametrize("way", _WAYS)
async def test_names_for_those_who_look_for_it_later(scripted_server: ScriptedServer, way: str) -> None:
    """The server's names of answer and request stand in a good answer, too; each has its own."""
    body = {**completion({"content": "Hi"}), "id": "gen-1", "provider": "Azure"}
    steps = [reply(body, **{"x-request-id": "req-1"}), reply({**body, "id": "gen-2"}), reply({**body, "id": None})]
    base_url = scripted_server.add("names", *steps)

    async with _provider(base_url) as provider:
        answers = [await _asked(provider, way) for _ in steps]

    assert [(each.id, each.request_id) for each in answers] == [("gen-1", "req-1"), ("gen-2", None), (None, None)]
    assert {each.upstream_provider for each in answers} == {"Azure"}


async def test_the_pieces_of_an_answer_have_its_name(scripted_server: ScriptedServer) -> None:
    """An answer that is interrupted has no end that could tell it."""
    base_url = scripted_server.add("pieces", answer("Hi ", "there"))

    async with _provider(base_url) as provider:
        events = [event async for event in provider.stream_events(list(ASK))]

    *parts, done = events
    assert {event.response_id for event in parts if isinstance(event, TextDelta)} == {done.response.id}  # type: ignore[union-attr]  # the last
    assert done.response.id  # type: ignore[union-attr]  # the last


@pytest.mark.parametrize("way", _WAYS)
async def test_the_answer_of_a_group_names_who_answered(scripted_server: ScriptedServer, way: str) -> None:
    """The provider is the one that responded; only its own requests are counted."""
    broken, sound = scripted_server.add("broken", _OOPS), scripted_server.add("sound", answer("Hi"))
    members = [_provider(broken, "home", retry={"attempts": 1}), _provider(sound, "cloud")]

    async with FallbackProvider(list(members)) as group:
        response = await _asked(group, way)

    assert (response.provider, response.attempts, response.content) == ("cloud", 1, "Hi")


def test_answers_are_compared_by_what_they_say() -> None:
    """Two answers that say the same are equal, however they came about; another word, price or form differs."""
    same = LLMResponse(
        "Hi",
        usage=TokenUsage(1, 2),
        id="gen-1",
        request_id="req-1",
        provider="home",
        upstream_provider="Azure",
        time_to_first_text_s=0.1,
        total_s=0.2,
        attempts=2,
        dropped=("seed",),
    )

    assert same == LLMResponse("Hi", usage=TokenUsage(1, 2))
    assert same != LLMResponse("Hi", usage=TokenUsage(1, 2, cached_tokens=1))
    assert same != LLMResponse("Hi", usage=TokenUsage(1, 2), parsed={})
    assert same != LLMResponse("Hi", usage=TokenUsage(1, 2), native_finish_reason="STOP")


class _Place(pydantic.BaseModel):
    """The schema of a response."""

    name: str


@pytest.mark.parametrize(("max_retries", "requests"), [(0, 1), (1, 2), (2, 3), (5, 3)])
async def test_a_mismatch_and_failures_share_one_budget(
    scripted_server: ScriptedServer, max_retries: int, requests: int
) -> None:
    """The second request for ``response_format`` is one of the retries; there is no other budget for it."""
    base_url = scripted_server.add("budget", _OOPS, answer("Oslo."), answer("Oslo."), answer("Oslo."), _OOPS)

    async with _provider(base_url) as provider:
        with pytest.raises((IncompleteResponseError, InternalServerError)):
            await provider.chat(list(ASK), response_format=_Place, max_retries=max_retries)

    assert len(scripted_server.seen["budget"].bodies) == requests


async def test_usage_of_a_response_that_did_not_match_counts(scripted_server: ScriptedServer) -> None:
    """Both responses are billed, so the usage is their sum; a figure that one of them lacks is unknown."""
    first = reply(completion({"content": "Oslo."}, usage={**_USAGE, "prompt_tokens_details": {"cached_tokens": 4}}))
    base_url = scripted_server.add("sum", first, reply(completion({"content": '{"name": "Oslo"}'}, usage=_USAGE)))

    async with _provider(base_url) as provider:
        response = await provider.chat(list(ASK), response_format=_Place)

    assert response.usage == provider.last_usage == TokenUsage(14, 6)
    assert (response.attempts, response.parsed) == (2, _Place(name="Oslo"))


async def test_usage_is_unknown_if_one_of_both_responses_reports_none(scripted_server: ScriptedServer) -> None:
    """A sum without one of its parts would be too small."""
    silent = reply(completion({"content": "Oslo."}, usage=None))
    base_url = scripted_server.add("unknown", silent, reply(completion({"content": '{"name": "Oslo"}'}, usage=_USAGE)))

    async with _provider(base_url) as provider:
        response = await provider.chat(list(ASK), response_format=_Place)

    assert response.usage is None


async def test_the_timeout_begins_with_the_call(scripted_server: ScriptedServer) -> None:
    """A stream that is opened and iterated later has used up some of its time."""
    base_url = scripted_server.add("later", answer("Hi"))

    async with _provider(base_url) as provider:
        events = provider.stream_events(list(ASK), timeout=0.1)
        await asyncio.sleep(0.2)
        with pytest.raises(APITimeoutError):
            await anext(aiter(events))

    assert scripted_server.seen["later"].bodies == []


async def test_first_token_timeout_of_a_whole_response(scripted_server: ScriptedServer) -> None:
    """``chat`` takes the limit as well: its first token is the whole response."""
    base_url = scripted_server.add("mute", ("hang",), answer("Hi"))

    async with _provider(base_url, retry={"attempts": 1}) as provider:
        with pytest.raises(APITimeoutError, match=r"0\.2 seconds"):
            await provider.chat(list(ASK), first_token_timeout=0.2)
        assert (await provider.chat(list(ASK), first_token_timeout=20)).content == "Hi"


async def test_time_to_first_token_counts_reasoning(scripted_server: ScriptedServer) -> None:
    """Reasoning is the first token; the first text comes later."""
    thinking = event(chunk({"reasoning_content": "Hm."}))
    script = (SSE_HEAD, http_chunk(thinking), _SLOW_S, http_chunk(event(said("Hi")) + event(STOP) + DONE), b"0\r\n\r\n")
    base_url = scripted_server.add("thinks", script)

    async with _provider(base_url) as provider:
        response = await _asked(provider, "stream_events")

    assert response.time_to_first_token_s is not None
    assert response.time_to_first_text_s is not None
    assert response.time_to_first_text_s - response.time_to_first_token_s >= _SLOW_S / 2


async def test_silent_stream(scripted_server: ScriptedServer) -> None:
    """A response without text and calls, where the caller allows it, is an end without a beginning."""
    base_url = scripted_server.add("silent", answer(""))

    async with _provider(base_url) as provider:
        events = [event async for event in provider.stream_events(list(ASK), allow_empty=True)]

    assert [type(event) for event in events] == [ResponseDone]


def test_call_that_has_not_begun() -> None:
    """Before its first request a call has no rejected fields."""
    call = _provider("http://127.0.0.1:9/v1")._call(CallArguments(list(ASK), None, {}), stream=True)

    assert (call.rejected, call.is_reasoning, call.attempts) == ((), False, 0)


@pytest.mark.usefixtures("thawed")
async def test_freezing_the_garbage_collector_is_opt_in(scripted_server: ScriptedServer) -> None:
    """``prewarm`` exempts objects from collection only if it is asked to, for one provider and for a group."""
    base_url = scripted_server.add("warm", reply({}))
    async with _provider(base_url) as provider:
        await provider.prewarm()
        assert gc.get_freeze_count() == 0
        await provider.prewarm(freeze_gc=True)
        assert gc.get_freeze_count() > 0
        gc.unfreeze()
        await FallbackProvider([provider]).prewarm(freeze_gc=True)
        assert gc.get_freeze_count() > 0


async def test_too_many_calls_in_a_stream(scripted_server: ScriptedServer) -> None:
    """A stream that makes more calls than the limit is an error as soon as that is known."""
    calls = [call("get_weather", "{}", index=number) for number in range(40)]
    base_url = scripted_server.add("many", answer(calls=calls))

    async with _provider(base_url, retry={"attempts": 1}, limits={"calls": 1}) as provider:
        with pytest.raises(IncompleteResponseError, match="more than 1 tool calls"):
            await _asked(provider, "stream_events")


@pytest.mark.parametrize("way", ["chat", "stream_events"])
async def test_a_plain_call_passes_through_few_modules(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A feature that is not in use adds no module to the path of a call, and few functions."""
    monkeypatch.setattr(spans, "load", lambda: None)  # other tests may have configured an SDK in this process
    root = str(Path(adapters.__file__).parent)
    passed: set[tuple[str, str]] = set()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        del argument
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(root) and "testing" not in code.co_filename:
            passed.add((code.co_filename, code.co_qualname))

    base_url = scripted_server.add("path", answer("Hello ", "there.", usage=None))
    async with _provider(base_url) as provider:
        for _ in range(2):
            await _asked(provider, way)
        gc.collect()  # else finalizers of other tests may be among the functions
        sys.setprofile(profile)
        try:
            await _asked(provider, way)
        finally:
            sys.setprofile(None)

    files = {file.removeprefix(root) for file, _ in passed}
    assert len(passed) <= 125, sorted(passed)
    assert len(files) <= 20, sorted(files)
