"""Limits on the first text: ``first_text_s``, the second request without thinking, and the parts of the wait."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import APITimeoutError
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


_THINKS = _stream(_THOUGHT, end=("hang",))


def _provider(base_url: str, name: str = "home", kind: Any = "openai_compatible", **options: Any) -> LLMProvider:
    retry = {"attempts": 2, "initial_wait_s": 0.0, "deadline_s": 0.1}
    options = {"retry": retry, **options}
    provider: LLMProvider = create_provider(kind, name=name, model="m", base_url=base_url, api_key=KEY, **options)
    return provider


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
        await asyncio.gather(*(ask(kind, way) for kind in _OFF for way in _WAYS))
    lines = [line for line in caplog.messages if "thinking off" in line]
    assert len(lines) == len(set(lines)) == len(_OFF) * len(_WAYS)


@patient
async def test_the_second_request_has_the_budget_of_the_call(scripted_server: ScriptedServer) -> None:
    """It takes one of the attempts; a server that cannot switch thinking off is asked once, and later not again."""
    options: dict[str, Any] = {"on_long_thinking": "answer", "timeouts": {"first_text_s": _LIMIT_S}}
    unknown = reply({"error": {"message": "Unknown parameter: chat_template_kwargs"}}, "400 Bad Request")
    unclear = reply({"error": {"message": "This model cannot do that."}}, "400 Bad Request")

    async with _provider(scripted_server.add("none-left", _THINKS), **options) as llm:
        with pytest.raises(APITimeoutError, match="still thinking"):
            await _asked(llm, "chat", max_retries=0)
    assert len(scripted_server.seen["none-left"].bodies) == 1

    steps = (_THINKS, unknown, answer("Hi"), _THINKS)
    async with _provider(scripted_server.add("unknown", *steps), **options) as llm:
        response = await _asked(llm, "stream_events")
        assert (response.content, response.attempts, response.dropped) == ("Hi", 3, ("chat_template_kwargs",))
        with pytest.raises(APITimeoutError, match="still thinking"):
            await _asked(llm, "chat_stream")
    assert len(scripted_server.seen["unknown"].bodies) == 4

    async with _provider(scripted_server.add("unclear", _THINKS, unclear, _THINKS), **options) as llm:
        for _ in range(2):
            with pytest.raises(APITimeoutError, match="still thinking"):
                await _asked(llm, "chat_stream")
    assert len(scripted_server.seen["unclear"].bodies) == 3

    async with _provider(scripted_server.add("again", _THINKS), **options) as llm:
        with pytest.raises(APITimeoutError, match="still thinking"):
            await _asked(llm, "chat_stream")
    assert len(scripted_server.seen["again"].bodies) == 2


@pytest.mark.parametrize("way", _WAYS)
@patient
async def test_a_group_goes_on_to_a_provider_that_has_text(scripted_server: ScriptedServer, way: str) -> None:
    """Reasoning is not spoken, so that another provider may still answer; only the last one may take its time."""
    add = scripted_server.add
    broken = reply({}, "503 Service Unavailable")
    one_attempt: dict[str, Any] = {"retry": {"attempts": 1}}
    slow = _stream(_THOUGHT, 2 * _LIMIT_S, said("Hi."))

    def group(name: str, *steps: Any, backup: Any, limit: Any = None, **options: Any) -> FallbackProvider:
        home = _provider(add(f"{name}-home", *steps), "home", **one_attempt, **options)
        other = _provider(add(f"{name}-backup", backup), "backup", **one_attempt)
        return FallbackProvider([home, other], first_text_s=limit)

    own_limit = {"timeouts": {"first_text_s": _LIMIT_S}}
    home_in_time = answer("From home.")
    async with (
        group("own", _THINKS, backup=answer("Hi."), **own_limit) as own,
        group("group", _THINKS, backup=answer("Hi."), limit=_LIMIT_S) as limited,
        group("keyword", _THINKS, backup=answer("Hi.")) as keyword,
        group("last", slow, backup=broken, limit=_LIMIT_S) as last,
        group("all", _THINKS, backup=slow) as every,
        group("answer", _THINKS, home_in_time, backup=broken, on_long_thinking="answer", **own_limit) as answering,
        FallbackProvider([group("inner", _THINKS, backup=answer("Hi."))], first_text_s=60.0) as nested,
    ):
        answering._providers[0]._config = answering._providers[0]._config.with_options(retry={"attempts": 2})  # type: ignore[attr-defined]  # it has two attempts
        responses = await asyncio.gather(
            _asked(own, way),
            _asked(limited, way),
            _asked(keyword, way, first_text_timeout=_LIMIT_S),
            _asked(nested, way, first_text_timeout=_LIMIT_S),
            _asked(last, way),
            _asked(answering, way),
            _asked(every, way, first_text_timeout=_LIMIT_S),
            return_exceptions=True,
        )

    if any("did not answer" in str(response) for response in responses):
        raise LateError
    for response in responses[:4]:
        assert isinstance(response, LLMResponse), response
        assert (response.content, response.provider) == ("Hi.", "backup")
        assert [(reason.provider, reason.error) for reason in response.fallback_from] == [("home", "APITimeoutError")]
    in_the_end, answered, failed = responses[4:]
    assert isinstance(in_the_end, LLMResponse), in_the_end
    assert (in_the_end.content, in_the_end.provider) == ("Hi.", "home")
    assert isinstance(answered, LLMResponse), answered
    assert (answered.content, answered.fallback_from) == ("From home.", ())
    assert isinstance(failed, APITimeoutError | Exception)
    assert "still thinking" in str(failed)


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
    assert head_s + 0.05 <= token_s
    assert token_s + reasoning_s <= text_s
    assert reasoning_s >= 0.05
    assert second is not None
    assert (second.connect_s, second.reasoning_s) == (None, None)
    assert second.time_to_first_text_s is not None
    assert third is not None
    assert third.time_to_first_text_s is None
    assert third.reasoning_s is not None
    assert third.reasoning_s >= 0.05
    assert response.wait is not None
    assert response.wait.queue_s is None
    assert response.wait.time_to_first_text_s == response.time_to_first_text_s
    assert response.wait.time_to_first_token_s == response.time_to_first_token_s
