"""Limits on the first text: ``first_text_s``, the second request without thinking, and the parts of the wait."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import AllProvidersFailedError, APITimeoutError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import (
    DONE,
    SSE_END,
    SSE_HEAD,
    STOP,
    answer,
    call,
    called,
    chunk,
    event,
    http_chunk,
    more,
    reply,
    said,
)
from adapters.types import LLMResponse
from tests.patience import LateError, patient
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from adapters.provider import LLMProvider
    from adapters.testing import ScriptedServer
    from adapters.testing.answers import Script

pytest_plugins = ["adapters.testing.plugin"]
pytestmark = pytest.mark.usefixtures("litellm_is_loaded")

_WAYS = ("chat", "chat_stream", "stream_events")
_LIMIT_S = 0.5
_THOUGHT = chunk({"reasoning_content": "Hm."})
_END = (http_chunk(event(STOP)), http_chunk(DONE), SSE_END)


def _stream(*parts: object, end: Script = _END) -> Script:
    """Stream chunks, with seconds between them."""
    return (SSE_HEAD, *[part if isinstance(part, float) else http_chunk(event(part)) for part in parts], *end)


_WARM = answer("Warm.")
_THINKS = _stream(_THOUGHT, end=("hang",))


def _provider(base_url: str, name: str = "home", kind: Any = "openai_compatible", **options: Any) -> LLMProvider:
    retry = {"attempts": 2, "initial_wait_s": 0.0, "deadline_s": 0.1}
    options = {"retry": retry, **options}
    provider: LLMProvider = create_provider(kind, name=name, model="m", base_url=base_url, api_key=KEY, **options)
    return provider


async def _all(*tests: Coroutine[Any, Any, None]) -> None:
    """Wait for all of them, so that none goes on beside the next try, and raise the first failure."""
    for outcome in await asyncio.gather(*tests, return_exceptions=True):
        if outcome is not None:
            raise outcome


async def _asked(provider: LLMProvider, way: str, **kwargs: Any) -> LLMResponse:
    """Make a call; on a busy machine the first reasoning may come after the limit as well."""
    try:
        return await _ask(provider, way, **kwargs)
    except APITimeoutError as error:
        if "did not answer in time" in str(error):
            raise LateError from error
        raise


async def _ask(provider: LLMProvider, way: str, **kwargs: Any) -> LLMResponse:
    if way == "chat":
        return await provider.chat(list(ASK), list(TOOLS), **kwargs)
    ask: Any = getattr(provider, way)
    async for _ in ask(list(ASK), list(TOOLS), **kwargs):
        pass
    assert provider.last_response is not None
    return provider.last_response


@patient
async def test_reasoning_does_not_count_as_text(scripted_server: ScriptedServer) -> None:
    """The limit ends at the first text that may be spoken or at the first call, and whatever comes after may be slow.

    It holds for each method, as a setting and as a keyword of one call.
    """
    longer_s = 2 * _LIMIT_S
    leaked = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    late: dict[str, Script] = {
        "mute": ("hang",),
        "role": _stream(chunk({"role": "assistant"}), end=("hang",)),
        "thinks": _THINKS,
        "keeps-thinking": _stream(*[_THOUGHT, 0.1] * 8, said("Hi.")),
        "thinks-in-text": _stream(said("<think>Hm."), longer_s, said("</think>Hi.")),
        "thinks-in-secret": _stream(chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}), 1.0),
    }
    in_time: dict[str, Script] = {
        "text": _stream(_THOUGHT, said("Hi "), longer_s, said("there.")),
        "call": _stream(_THOUGHT, called(call("get_weather", "", index=0)), longer_s, more('{"city": "Paris"}')),
        "leaked-call": _stream(_THOUGHT, said(leaked), longer_s, chunk({"content": "\n"})),
    }
    one_attempt = {"attempts": 1}

    async def ask(name: str, way: str, *, as_keyword: bool) -> object:
        options: dict[str, Any] = {"timeouts": {"first_text_s": _LIMIT_S}}
        kwargs: dict[str, Any] = {}
        if as_keyword:
            options, kwargs = {"timeouts": {"first_text_s": 60.0}}, {"first_text_timeout": _LIMIT_S}
        async with _provider(scripted_server.add(f"{name}-{way}", scripts[name]), retry=one_attempt, **options) as llm:
            try:
                return await _ask(llm, way, **kwargs)
            except APITimeoutError as error:
                return str(error)

    scripts: dict[str, Script] = {**late, **in_time}
    cases = [(name, way) for name in scripts for way in _WAYS if way != "chat_stream" or "call" not in name]
    outcomes = await asyncio.gather(*(ask(name, way, as_keyword=at % 2 == 0) for at, (name, way) in enumerate(cases)))

    said_nothing = {"mute", "role"}
    too_late = "home did not answer in time (0.5 seconds). Please try again."
    for (name, way), outcome in zip(cases, outcomes, strict=True):
        if name not in said_nothing and outcome == too_late:
            raise LateError
        if name in in_time:
            assert isinstance(outcome, LLMResponse), (name, way, outcome)
            assert outcome.content == "Hi there." or outcome.tool_calls
        elif name in said_nothing:
            assert outcome == too_late, (name, way)
        else:
            advice = "Please try again, or turn thinking off."
            assert outcome == f"home is still thinking after 0.5 seconds. {advice}", (name, way)


_OFF: dict[str, dict[str, Any]] = {
    "openai_compatible": {"chat_template_kwargs": {"enable_thinking": False}},
    "ollama": {"reasoning_effort": "none"},
    "groq": {"reasoning_effort": "none"},
    "openrouter": {"reasoning": {"enabled": False}},
}


@patient
async def test_a_model_that_thinks_for_too_long_is_asked_to_answer(
    scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is closed and sent once more with thinking off, whatever else the parameters say."""

    async def ask(kind: str, way: str) -> None:
        name = f"{kind.replace('_', '-')}-{way}"
        base_url = scripted_server.add(name, _THINKS, answer("Hi ", "there."))
        llm = _provider(
            base_url,
            name,
            kind,
            on_long_thinking="answer",
            timeouts={"first_text_s": _LIMIT_S},
            extra_body={"thinking": {"type": "enabled"}, "think": True},
        )
        async with llm:
            response = await _asked(llm, way, reasoning_effort="high")
        seen = scripted_server.seen[name]
        assert (response.content, response.attempts, len(seen.bodies)) == ("Hi there.", 2, 2)
        assert await until(lambda: seen.gone_at)
        switched = {"thinking": {"type": "disabled"}, "think": False, "reasoning_effort": "none", **_OFF[kind]}
        assert seen.bodies[1] == {**seen.bodies[0], **switched}
        assert response.wait is not None
        assert response.wait.reasoning_s is None
        assert response.time_to_first_token_s is not None
        assert response.time_to_first_token_s >= _LIMIT_S

    caplog.clear()
    with caplog.at_level("INFO", logger="adapters.client"):
        await _all(*(ask(kind, way) for kind in _OFF for way in _WAYS))
    lines = [line for line in caplog.messages if "thinking off" in line]
    assert len(lines) == len(set(lines)) == len(_OFF) * len(_WAYS)


@patient
async def test_the_second_request_has_the_budget_of_the_call(scripted_server: ScriptedServer) -> None:
    """It takes one of the attempts; a server that cannot switch thinking off is asked once, and later not again."""
    unknown = reply({"error": {"message": "Unknown parameter: chat_template_kwargs"}}, "400 Bad Request")
    unclear = reply({"error": {"message": "This model cannot do that."}}, "400 Bad Request")

    async def ask(name: str, *steps: Any, requests: int, fails: bool = True, calls: int = 1, **kwargs: Any) -> None:
        limits = {"first_text_s": _LIMIT_S}
        async with _provider(scripted_server.add(name, *steps), on_long_thinking="answer", timeouts=limits) as llm:
            if not fails:
                response = await _asked(llm, "stream_events")
                assert (response.content, response.attempts, response.dropped) == ("Hi", 3, ("chat_template_kwargs",))
            for _ in range(calls):
                with pytest.raises(APITimeoutError, match="still thinking"):
                    await _asked(llm, "chat", **kwargs)
        assert len(scripted_server.seen[name].bodies) == requests

    await _all(
        ask("none-left", _THINKS, requests=1, max_retries=0),
        ask("unknown", _THINKS, unknown, answer("Hi"), _THINKS, requests=4, fails=False),
        ask("unclear", _THINKS, unclear, _THINKS, requests=3, calls=2),
        ask("again", _THINKS, requests=2),
    )


@patient
async def test_a_group_goes_on_to_a_provider_that_has_text(scripted_server: ScriptedServer) -> None:
    """Reasoning is not spoken, so that another provider may still answer; only the last one may take its time."""
    broken = reply({}, "503 Service Unavailable")
    slow = _stream(_THOUGHT, 2 * _LIMIT_S, said("Hi."))
    own_limit: dict[str, Any] = {"timeouts": {"first_text_s": _LIMIT_S}}
    twice: dict[str, Any] = {"on_long_thinking": "answer", "retry": {"attempts": 2}, **own_limit}

    def group(name: str, *steps: Any, backup: Any = _WARM, limit: Any = None, **options: Any) -> FallbackProvider:
        one_attempt = {"retry": {"attempts": 1}}
        home = _provider(scripted_server.add(f"{name}-home", *steps), "home", **{**one_attempt, **options})
        other = _provider(scripted_server.add(f"{name}-backup", backup), "backup", **one_attempt)
        return FallbackProvider([home, other], first_text_s=limit)

    async def ask(way: str) -> None:
        async with (
            group(f"own-{way}", _THINKS, **own_limit) as own,
            group(f"group-{way}", _THINKS, limit=_LIMIT_S) as limited,
            group(f"keyword-{way}", _THINKS) as keyword,
            FallbackProvider([group(f"inner-{way}", _THINKS)], first_text_s=60.0) as nested,
            group(f"last-{way}", slow, backup=broken, limit=_LIMIT_S) as last,
            group(f"answer-{way}", _THINKS, answer("From home."), backup=broken, **twice) as answering,
            group(f"all-{way}", _THINKS, backup=slow) as every,
        ):
            *switched, in_the_end, answered, failed = await asyncio.gather(
                _ask(own, way),
                _ask(limited, way),
                _ask(keyword, way, first_text_timeout=_LIMIT_S),
                _ask(nested, way, first_text_timeout=_LIMIT_S),
                _ask(last, way),
                _ask(answering, way),
                _ask(every, way, first_text_timeout=_LIMIT_S),
                return_exceptions=True,
            )
        if "did not answer" in repr([*switched, in_the_end, answered, failed]):
            raise LateError
        for response in switched:
            assert isinstance(response, LLMResponse), response
            assert (response.content, response.provider) == ("Warm.", "backup")
            assert [(passed.provider, passed.error) for passed in response.fallback_from] == [
                ("home", "APITimeoutError")
            ]
        assert isinstance(in_the_end, LLMResponse), in_the_end
        assert (in_the_end.content, in_the_end.provider) == ("Hi.", "home")
        assert isinstance(answered, LLMResponse), answered
        assert (answered.content, answered.attempts, answered.fallback_from) == ("From home.", 2, ())
        assert isinstance(failed, AllProvidersFailedError)
        assert "still thinking" in str(failed)

    await _all(*map(ask, _WAYS))


@patient
async def test_the_parts_of_the_wait(scripted_server: ScriptedServer) -> None:
    """They follow each other, and a part that did not occur is None."""
    thoughtful = _stream(0.05, _THOUGHT, 0.05, said("Hi."))
    calls = _stream(_THOUGHT, 0.05, called(call("get_weather", '{"city": "Paris"}', index=0)))
    base_url = scripted_server.add("parts", (0.05, *thoughtful), answer("Hi."), calls)

    async with _provider(base_url, max_concurrent=1) as llm:
        first = (await _asked(llm, "stream_events")).wait
        second = (await _asked(llm, "chat")).wait
        third = (await _asked(llm, "stream_events")).wait
    async with _provider(scripted_server.add("other", answer("Hi."))) as llm:
        response = await _asked(llm, "chat_stream")

    assert first is not None
    loading_s, queue_s, connect_s, head_s, token_s, text_s, reasoning_s = (
        getattr(first, field.name) for field in dataclasses.fields(first)
    )
    assert loading_s + queue_s + connect_s + 0.05 <= head_s
    assert head_s <= token_s
    assert token_s + reasoning_s <= text_s
    assert reasoning_s > 0
    assert second is not None
    if second.connect_s is not None:
        raise LateError("the first connection was not free yet")
    assert (second.connect_s, second.reasoning_s) == (None, None)
    assert second.time_to_first_text_s is not None
    assert third is not None
    assert third.time_to_first_text_s is None
    assert third.reasoning_s is not None
    assert third.reasoning_s > 0
    assert response.wait is not None
    assert response.wait.queue_s is None
    assert response.wait.time_to_first_text_s == response.time_to_first_text_s
    assert response.wait.time_to_first_token_s == response.time_to_first_token_s
