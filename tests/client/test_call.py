"""``adapters.call``: what an answer tells of how it came about, whichever way it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import answer, call, completion, reply
from adapters.types import LLMResponse, TextDelta, TokenUsage

if TYPE_CHECKING:
    from adapters.client.provider import LiteLLMProvider
    from adapters.provider import LLMProvider
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_WAYS = ("chat", "chat_stream", "stream_events")
_SLOW_S = 0.05
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
    """A call is no text: nobody hears it."""
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
    """The provider is the one that was heard; its requests are counted, not those of who failed before."""
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
