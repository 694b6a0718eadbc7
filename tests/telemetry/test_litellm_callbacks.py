"""``telemetry.litellm_callbacks``: callbacks registered with LiteLLM get each request once, and as it was."""

from __future__ import annotations

import asyncio
import copy
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import APIError, InternalServerError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.telemetry import litellm_callbacks
from adapters.telemetry.prices import cost_estimator
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import SSE_HEAD, answer, call, completion, http_chunk, reply, said
from adapters.testing.answers import event as sse
from adapters.transport import litellm_bridge
from adapters.types import LLMResponse, TokenUsage
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from adapters.client.provider import LiteLLMProvider
    from adapters.testing import ScriptedServer
    from adapters.testing.server import Step

pytest_plugins = ["adapters.testing.plugin"]

_BUSY = reply({"error": {"message": f"Slow down, {KEY}"}}, "429 Too Many Requests", **{"retry-after": "0"})
_COUNTED = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 50},
    "completion_tokens_details": {"reasoning_tokens": 40},
}


class _Events:
    """The events of one registered logger: (outcome, keyword arguments, response, seconds)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any], Any, float]] = []

    @property
    def outcomes(self) -> list[str]:
        """What was reported, in order."""
        return [outcome for outcome, *_ in self.all]

    def only(self) -> tuple[str, dict[str, Any], Any, float]:
        """The one event."""
        [event] = self.all
        return event


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Events]:
    """Register a logger with LiteLLM."""
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    seen = _Events()

    class Logger(CustomLogger):  # type: ignore[misc]  # mypy skips LiteLLM
        """Keep every event."""

        def _keep(self, outcome: str, kwargs: Any, response: Any, start: Any, end: Any) -> None:
            seen.all.append((outcome, dict(kwargs), response, (end - start).total_seconds()))

        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            self._keep("success", kwargs, response_obj, start_time, end_time)

        async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            self._keep("failure", kwargs, response_obj, start_time, end_time)

        def log_success_event(self, *_: Any) -> None:
            seen.all.append(("sync success", {}, None, 0.0))

        def log_failure_event(self, *_: Any) -> None:
            seen.all.append(("sync failure", {}, None, 0.0))

    registries = {name: copy.copy(getattr(litellm, name)) for name in litellm_bridge._CALLBACK_LISTS}
    litellm.callbacks = [Logger()]
    yield seen
    for name, registered in registries.items():
        setattr(litellm, name, registered)


def _provider(server: ScriptedServer, *steps: Step, **options: Any) -> LiteLLMProvider:
    base_url = server.add("it", *steps)
    settings = {"model": "gpt-4o-mini", "retry": {"attempts": 1}, "api_key": KEY, **options}
    return create_provider("openai_compatible", base_url=base_url, **settings)


async def test_chat(events: _Events, scripted_server: ScriptedServer) -> None:
    """A response is one success, with the real messages, text, usage and times, and the caller's metadata."""
    body = completion({"content": "Hello."}, usage=_COUNTED)
    async with _provider(scripted_server, (0.05, *reply(body))) as provider:
        await provider.chat(list(ASK), metadata={"user_id": "u1", "tags": ["home"]})

    outcome, kwargs, response, seconds = events.only()
    assert outcome == "success"
    assert (kwargs["model"], kwargs["messages"]) == ("gpt-4o-mini", list(ASK))
    assert kwargs["litellm_params"]["api_base"] == provider._config.base_url
    assert kwargs["litellm_params"]["metadata"]["user_id"] == "u1"
    assert kwargs["standard_logging_object"]["request_tags"] == ["home"]
    assert response.choices[0].message.content == "Hello."
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (1000, 100)
    assert response.usage.prompt_tokens_details.cached_tokens == 200
    assert response.usage.cache_creation_input_tokens == 50
    assert response.usage.completion_tokens_details.reasoning_tokens == 40
    assert seconds >= 0.05
    assert not kwargs["response_cost"]  # a private server that serves a model of a famous name has no price
    assert "metadata" not in scripted_server.seen["it"].bodies[0]
    assert KEY not in str(kwargs)


async def test_stream(events: _Events, scripted_server: ScriptedServer) -> None:
    """A stream has the time of its first token, and the complete response in LiteLLM's field for it."""
    async with _provider(scripted_server, answer("Hello ", "there.")) as provider:
        async for _ in provider.stream_events(list(ASK)):
            pass

    outcome, kwargs, _, _ = events.only()
    assert outcome == "success"
    assert kwargs["completion_start_time"] >= kwargs["start_time"]
    complete = kwargs["async_complete_streaming_response"]
    assert complete.choices[0].message.content == "Hello there."


async def test_tool_call(events: _Events, scripted_server: ScriptedServer) -> None:
    """Calls are reported in OpenAI's format, reasoning beside them."""
    step = answer(calls=[call("get_weather", '{"city": "Oslo"}')], reasoning_content="Hm.")
    async with _provider(scripted_server, step) as provider:
        await provider.chat(list(ASK), list(TOOLS))

    _, kwargs, response, _ = events.only()
    [made] = response.choices[0].message.tool_calls
    assert (made.function.name, made.function.arguments) == ("get_weather", '{"city": "Oslo"}')
    assert response.choices[0].message.reasoning_content == "Hm."
    assert kwargs["optional_params"]["tools"] == list(TOOLS)


async def test_each_request_of_a_call(events: _Events, scripted_server: ScriptedServer) -> None:
    """A failed attempt and its retry are two requests: a failure in LiteLLM's class, then a success."""
    import litellm

    async with _provider(scripted_server, _BUSY, answer("Hi"), retry={"attempts": 2, "initial_wait_s": 0}) as provider:
        await provider.chat(list(ASK))

    assert events.outcomes == ["failure", "success"]
    exception = events.all[0][1]["exception"]
    assert type(exception) is litellm.RateLimitError
    assert KEY not in str(exception)
    assert [kwargs["litellm_params"]["metadata"]["attempt"] for _, kwargs, *_ in events.all] == [1, 2]


@pytest.mark.parametrize(
    ("step", "name"),
    [
        pytest.param(reply({"error": "No"}, "401 Unauthorized"), "AuthenticationError", id="key"),
        pytest.param(reply({"error": "No"}, "403 Forbidden"), "APIError", id="permission"),
        pytest.param(reply({"error": "No"}, "402 Payment Required"), "APIError", id="payment"),
        pytest.param(reply({"error": "Oops"}, "500 Oops"), "InternalServerError", id="server"),
        pytest.param(("rst",), "APIConnectionError", id="connection"),
        pytest.param((SSE_HEAD, http_chunk(sse(said("Half "))), "eof"), "APIConnectionError", id="cut"),
    ],
)
async def test_failures(events: _Events, scripted_server: ScriptedServer, step: Step, name: str) -> None:
    """A failure is reported once, as the class that LiteLLM has for it."""
    async with _provider(scripted_server, step) as provider:
        with pytest.raises(APIError):
            async for _ in provider.stream_events(list(ASK)):
                pass

    outcome, kwargs, *_ = events.only()
    assert (outcome, type(kwargs["exception"]).__name__) == ("failure", name)


async def test_interrupted_response(events: _Events, scripted_server: ScriptedServer) -> None:
    """A response that the caller leaves is a success with the text so far, marked as interrupted."""
    async with (
        _provider(scripted_server, (SSE_HEAD, http_chunk(sse(said("Half "))), "hang")) as provider,
        aclosing(provider.stream_events(list(ASK))) as stream,  # type: ignore[type-var]  # a generator, as all are
    ):
        await anext(stream)

    outcome, kwargs, response, _ = events.only()
    assert (outcome, response.choices[0].message.content) == ("success", "Half ")
    assert kwargs["litellm_params"]["metadata"]["interrupted"] is True


async def test_cost_that_the_server_reports(events: _Events, scripted_server: ScriptedServer) -> None:
    """The provider's own price is the cost."""
    body = completion({"content": "Hi"}, usage={**_COUNTED, "cost": 0.000123})
    async with _provider(scripted_server, reply(body)) as provider:
        await provider.chat(list(ASK))

    assert events.only()[1]["response_cost"] == 0.000123


async def test_cost_of_a_known_host(events: _Events) -> None:
    """A model is priced as ``estimated_cost`` prices it, by the host that serves it."""
    base_url, model = "https://api.cerebras.ai/v1", "llama3.1-8b"
    estimator = cost_estimator("openai/", base_url, model)
    response = LLMResponse("Hi", usage=TokenUsage(1000, 100), cost_estimator=estimator)
    report = litellm_callbacks.RequestReport(
        route="openai/",
        model=model,
        base_url=base_url,
        messages=list(ASK),
        body={},
        stream=False,
        metadata={},
        attempt=1,
    )
    report.succeeded(response)
    await litellm_callbacks.flush()

    assert response.estimated_cost
    assert events.only()[1]["response_cost"] == pytest.approx(float(response.estimated_cost))


async def test_failover(events: _Events, scripted_server: ScriptedServer) -> None:
    """In a group each request is reported: the failure of one provider and the success of the other."""
    broken = create_provider(
        "openai_compatible",
        name="a",
        model="m",
        base_url=scripted_server.add("a", reply({}, "500 Oops")),
        retry={"attempts": 1},
    )
    sound = create_provider("openai_compatible", name="b", model="m", base_url=scripted_server.add("b", answer("Hi")))
    async with FallbackProvider([broken, sound]) as group:
        await group.chat(list(ASK))

    assert events.outcomes == ["failure", "success"]


async def test_prewarm_is_not_reported(events: _Events, scripted_server: ScriptedServer) -> None:
    """Neither warmup nor a prefill is a request of the program's."""
    async with _provider(scripted_server, answer("Hi")) as provider:
        await provider.prewarm(list(ASK))

    assert events.all == []


async def test_message_logging_turned_off(
    events: _Events, scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM's switch redacts messages and text."""
    monkeypatch.setattr("litellm.turn_off_message_logging", True)
    async with _provider(scripted_server, answer("Hello.")) as provider:
        await provider.chat(list(ASK))

    _, kwargs, response, _ = events.only()
    assert "redacted" in response.choices[0].message.content
    assert ASK[-1]["content"] not in str(kwargs["messages"])


async def test_callback_that_changes_messages(scripted_server: ScriptedServer, events: _Events) -> None:
    """A callback that changes its messages changes neither the caller's nor those of a retry."""
    import litellm

    def change(kwargs: Any) -> None:
        kwargs["messages"][0]["content"] = "changed"

    litellm.input_callback = [change]
    messages = [dict(message) for message in ASK]
    async with _provider(scripted_server, _BUSY, answer("Hi"), retry={"attempts": 2, "initial_wait_s": 0}) as provider:
        await provider.chat(messages)

    assert messages == list(ASK)
    assert [body["messages"] for body in scripted_server.seen["it"].bodies] == [list(ASK)] * 2


async def test_callback_that_raises(
    scripted_server: ScriptedServer, events: _Events, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of LiteLLM's logging is logged by its class, and the call succeeds."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("litellm.utils.function_setup", broken)
    async with _provider(scripted_server, answer("Hi")) as provider:
        response = await provider.chat(list(ASK))

    assert response.content == "Hi"
    assert "LiteLLM's callbacks could not be called (RuntimeError)." in caplog.text
    assert "secret" not in caplog.text


async def test_slow_callback_does_not_hold_up_closing(
    scripted_server: ScriptedServer, events: _Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits for callbacks, and gives up after a limit."""
    import litellm

    async def slow(*_: Any, **__: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(litellm_callbacks, "_FLUSH_S", 0.1)
    litellm.callbacks[0].async_log_success_event = slow
    async with asyncio.timeout(20):
        async with _provider(scripted_server, answer("Hi")) as provider:
            await provider.chat(list(ASK))


async def test_plain_functions(scripted_server: ScriptedServer, events: _Events) -> None:
    """Functions that are not asynchronous go to LiteLLM's thread, which calls those of a failure."""
    import litellm

    called: list[str] = []
    litellm.callbacks = []
    litellm.success_callback = [lambda *_: called.append("success")]
    litellm.failure_callback = [lambda *_: called.append("failure")]
    async with _provider(scripted_server, _BUSY, answer("Hi"), retry={"attempts": 2, "initial_wait_s": 0}) as provider:
        await provider.chat(list(ASK))

    assert await until(lambda: "failure" in called)
    assert events.all == []


async def test_coroutine_functions(scripted_server: ScriptedServer, events: _Events) -> None:
    """Functions that are asynchronous are called once, and LiteLLM's thread has nothing to do."""
    import litellm

    called: list[str] = []

    async def succeed(*_: Any) -> None:
        called.append("success")

    async def fail(*_: Any) -> None:
        called.append("failure")

    litellm.callbacks = []
    litellm.success_callback, litellm.failure_callback = [succeed], [fail]
    async with _provider(scripted_server, _BUSY, answer("Hi"), retry={"attempts": 2, "initial_wait_s": 0}) as provider:
        await provider.chat(list(ASK))

    assert called == ["failure", "success"]
    assert events.all == []


async def test_only_the_first_end_of_a_request_counts(events: _Events) -> None:
    """A request that ended is not reported again, whatever else ends it."""
    target: dict[str, Any] = {"route": "openai/", "model": "m", "base_url": "http://localhost/v1", "stream": False}
    ends: list[Callable[[litellm_callbacks.RequestReport], None]] = [
        lambda report: report.succeeded(LLMResponse("Hi")),
        lambda report: report.interrupted(LLMResponse("H")),
        lambda report: report.failed(InternalServerError("home is broken.", provider="home", model="m")),
    ]
    for first in ends:
        report = litellm_callbacks.RequestReport(**target, messages=list(ASK), body={}, metadata={}, attempt=1)
        for end in (first, *ends):
            end(report)
            report.first_token()
        await litellm_callbacks.flush()

    assert events.outcomes == ["success", "success", "failure"]


def test_without_callbacks_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check looks at LiteLLM's lists; LiteLLM's cache, which registers itself, is no callback."""
    import litellm

    for name in litellm_bridge._CALLBACK_LISTS:
        monkeypatch.setattr(litellm, name, [])
    assert not litellm_bridge.has_callbacks()

    monkeypatch.setattr(litellm, "success_callback", ["cache"])
    assert not litellm_bridge.has_callbacks()

    monkeypatch.setattr(litellm, "success_callback", ["cache", print])
    assert litellm_bridge.has_callbacks()


@pytest.fixture(autouse=True)
async def _stopped_worker() -> AsyncIterator[None]:
    """Stop LiteLLM's worker, which belongs to the loop of one test."""
    yield
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    await GLOBAL_LOGGING_WORKER.stop()
