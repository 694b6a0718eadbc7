"""``adapters.spans``: spans and metrics of real requests, as the SDK of OpenTelemetry takes them.

An SDK can be set up once in a process, so one serves the whole module; what it took is thrown away before each test.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from adapters.agent import run_turn
from adapters.errors import (
    AllProvidersFailedError,
    APIError,
    AuthenticationError,
    ConfigError,
    IncompleteResponseError,
    InternalServerError,
)
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.provider import LLMProvider
from adapters.telemetry import spans
from adapters.telemetry.semconv import of_body, of_target
from adapters.testing.answers import SSE_HEAD, answer, call, completion, http_chunk, reply, said
from adapters.testing.answers import event as sse
from adapters.types import TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.sdk.trace import ReadableSpan

    from adapters.client.provider import LiteLLMProvider
    from adapters.testing.server import ScriptedServer, Step
    from adapters.types import LLMResponse, Message, StreamEvent, ToolSpec

pytest_plugins = ["adapters.testing.plugin"]

TOOLS: list[ToolSpec] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
]
WEATHER = call("get_weather", '{"city": "Oslo"}')
NO = reply({"error": {"message": "The prompt was: good morning"}}, "500 Internal Server Error")
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Sdk:
    """What the SDK took: finished spans, in the order in which they ended, and points of histograms."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA})
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(MeterProvider([self._reader]))

    def forget(self) -> None:
        """Throw away what was taken until now."""
        self.exporter.clear()
        self._reader.get_metrics_data()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The finished spans."""
        return self.exporter.get_finished_spans()

    def only(self) -> ReadableSpan:
        """The one finished span."""
        (span,) = self.spans
        return span

    def points(self) -> dict[str, list[Any]]:
        """The points of each histogram, by its name; they are taken away."""
        data = self._reader.get_metrics_data()
        scopes = [scope for each in data.resource_metrics for scope in each.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture(scope="session")
def process_sdk() -> Sdk:
    """The SDK of this process; OpenTelemetry takes no second one."""
    return Sdk()


@pytest.fixture
def sdk(process_sdk: Sdk) -> Sdk:
    """The SDK, which has taken nothing yet."""
    process_sdk.forget()
    return process_sdk


def provider_of(server: ScriptedServer, name: str, *steps: Step, **options: Any) -> LiteLLMProvider:
    """A provider whose server plays these steps."""
    return create_provider(
        "openai_compatible",
        model="qwen3",
        name=name,
        base_url=server.add(name, *steps),
        **{"retry": {"attempts": 1}} | options,
    )


def ask() -> list[Message]:
    """The conversation of each test."""
    return [{"role": "user", "content": "Good morning!"}]


def known(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span, without those that differ from run to run."""
    assert span.attributes is not None
    differing = ("server.port", "adapters.wait.")
    return {name: value for name, value in span.attributes.items() if not name.startswith(differing)}


async def test_a_streamed_request(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """A request is one client span with the request, the responding model and the outcome."""
    async with provider_of(scripted_server, "home", answer("Good ", "morning!"), temperature=0.5) as provider:
        pieces = [piece async for piece in provider.chat_stream(ask(), stop="\n", max_tokens=50)]
    assert "".join(pieces) == "Good morning!"

    span = sdk.only()
    attributes = known(span)
    first_chunk_s = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert span.attributes is not None
    parts = ("loading_s", "connect_s", "time_to_head_s", "time_to_first_token_s")
    assert {name for name in span.attributes if ".wait." in name} == {f"adapters.wait.{name}" for name in parts}
    assert (span.name, span.kind, span.status.status_code) == ("chat qwen3", SpanKind.CLIENT, StatusCode.UNSET)
    assert attributes == {
        "adapters.attempts": 1,
        "adapters.provider": "home",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai_compatible",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.model": "qwen3",
        "gen_ai.request.stop_sequences": ("\n",),
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "127.0.0.1",
    }
    assert span.start_time is not None
    assert span.end_time is not None
    assert 0 < first_chunk_s <= (span.end_time - span.start_time) / 1e9 + 0.1  # two clocks
    assert span.events == ()


async def test_its_metrics(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """Duration, first chunk and tokens are histograms, in the buckets and with the attributes of the conventions."""
    async with provider_of(scripted_server, "home", answer("Good morning!")) as provider:
        _ = [piece async for piece in provider.chat_stream(ask())]

    points = sdk.points()
    (duration,), (first,) = (
        points["gen_ai.client.operation.duration"],
        points["gen_ai.client.operation.time_to_first_chunk"],
    )
    tokens = {point.attributes["gen_ai.token.type"]: point for point in points["gen_ai.client.token.usage"]}
    assert {name: value for name, value in duration.attributes.items() if name != "server.port"} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai_compatible",
        "gen_ai.request.model": "qwen3",
        "server.address": "127.0.0.1",
    }
    assert 0 < first.sum <= duration.sum
    assert (tokens["input"].sum, tokens["output"].sum) == (7, 3)
    assert duration.explicit_bounds[:3] == first.explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert (tokens["input"].explicit_bounds[:3], tokens["input"].explicit_bounds[-1]) == ((1, 4, 16), 67108864)


async def test_a_request_that_is_not_streamed(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """Without a stream there is no first chunk, without a count there are no tokens, and a model may be unnamed."""
    terse = {**completion({"content": "Hi."}), "usage": None, "model": None}
    async with provider_of(scripted_server, "home", reply(terse)) as provider:
        await provider.chat(ask())

    attributes = known(sdk.only())
    assert attributes["gen_ai.request.stream"] is False
    assert not {"gen_ai.response.time_to_first_chunk", "gen_ai.usage.input_tokens"} & attributes.keys()
    assert sdk.points().keys() == {"gen_ai.client.operation.duration"}


async def test_names_that_a_server_invents(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """The configured model names a series of the metrics; a server that names another in each answer adds none."""
    replies = [reply({**completion({"content": "Hi."}), "model": f"model-{number}"}) for number in range(3)]
    async with provider_of(scripted_server, "home", *replies) as provider:
        for _ in replies:
            await provider.chat(ask())

    assert {name.rpartition(".")[2]: len(series) for name, series in sdk.points().items()} == {
        "duration": 1,
        "usage": 2,
    }
    assert [known(span)["gen_ai.response.model"] for span in sdk.spans] == ["model-0", "model-1", "model-2"]


async def test_tries_are_one_span(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """A try that failed and was repeated is counted, and is no error of the request."""
    steps = NO, answer("Good morning!")
    async with provider_of(scripted_server, "home", *steps, retry={"initial_wait_s": 0.001}) as provider:
        await provider.chat(ask())

    assert known(sdk.only())["adapters.attempts"] == 2
    assert sdk.only().status.status_code is StatusCode.UNSET
    assert "error.type" not in known(sdk.only())


async def test_what_was_refused_is_not_among_what_was_asked(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """The span tells of the request that was answered: without the parameter that the server does not know."""
    refusal = reply({"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}, "400 Bad Request")
    async with provider_of(scripted_server, "home", refusal, answer("Hi.")) as provider:
        await provider.chat(ask(), seed=7, top_p=1)

    attributes = known(sdk.only())
    assert (attributes["adapters.attempts"], attributes["gen_ai.request.top_p"]) == (2, 1.0)
    assert "gen_ai.request.seed" not in attributes


async def test_a_failure(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """A request that failed has an error's type, on its span and among its durations, and none of its words."""
    no_key = reply({"error": {"message": "Your key good-morning is wrong"}}, "401 Unauthorized")
    async with provider_of(scripted_server, "home", no_key) as provider:
        with pytest.raises(AuthenticationError):
            await provider.chat(ask())

    span = sdk.only()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert known(span)["error.type"] == "AuthenticationError"
    assert "morning" not in span.to_json()
    assert sdk.points()["gen_ai.client.operation.duration"][0].attributes["error.type"] == "AuthenticationError"


async def test_a_failure_after_some_text(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """A stream that breaks is a failure, although it had begun."""
    broken: Step = (SSE_HEAD, http_chunk(sse(said("Good "))), http_chunk(sse(said("morn"))), "rst")
    async with provider_of(scripted_server, "home", broken) as provider:
        with pytest.raises(APIError):
            _ = [piece async for piece in provider.chat_stream(ask())]

    assert known(sdk.only())["error.type"] == "APIConnectionError"
    assert sdk.only().status.status_code is StatusCode.ERROR


async def test_wrong_arguments_start_no_span(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """A mistake in the arguments is raised before the call begins."""
    wrong: Any = ["Good morning!"]
    async with provider_of(scripted_server, "home", answer("Hi.")) as provider:
        with pytest.raises(ConfigError):
            await provider.chat(wrong)

    assert sdk.spans == ()


async def test_a_mistake_during_the_call(
    sdk: Sdk, scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is not the provider's is an error of the span as well."""
    monkeypatch.setenv("HTTP_PROXY", "nonsense://")
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda _: False)
    async with create_provider("openai_compatible", model="m", base_url="http://model.invalid/v1") as provider:
        with pytest.raises(ConfigError):
            await provider.chat(ask())

    assert known(sdk.only())["error.type"] == "ConfigError"
    assert known(sdk.only())["adapters.attempts"] == 1


@pytest.mark.parametrize("way", ["closed", "cancelled"])
async def test_who_interrupts_is_no_error(sdk: Sdk, scripted_server: ScriptedServer, way: str) -> None:
    """A consumer that stops early ends the span at once, without an error in its status or metrics."""
    endless: Step = (SSE_HEAD, http_chunk(sse(said("Good "))), "hang")
    started = asyncio.Event()

    async def listen(provider: LiteLLMProvider) -> None:
        async with aclosing(provider.stream_events(ask())) as events:  # type: ignore[type-var]  # a generator, as all are
            assert await anext(events) == TextDelta("Good ")
            started.set()
            if way == "cancelled":
                await anext(events)

    async with provider_of(scripted_server, "home", endless) as provider:
        task = asyncio.create_task(listen(provider))
        await started.wait()
        await asyncio.sleep(0)
        if way == "cancelled":
            task.cancel()
        await asyncio.wait([task])

        span = sdk.only()
    assert known(span)["adapters.interrupted"] is True
    assert "error.type" not in known(span)
    assert span.status.status_code is StatusCode.UNSET
    (duration,) = sdk.points()["gen_ai.client.operation.duration"]
    assert "error.type" not in duration.attributes
    assert duration.attributes["adapters.interrupted"] is True


async def test_a_listener_who_leaves_after_the_last_event_interrupts_nothing(
    sdk: Sdk, scripted_server: ScriptedServer
) -> None:
    """The span ends with the answer, and not when its listener comes back."""
    async with provider_of(scripted_server, "home", answer("Hi.")) as provider:
        async for event in provider.stream_events(ask()):
            if not isinstance(event, TextDelta):
                break
        assert "adapters.interrupted" not in known(sdk.only())


async def test_the_span_is_current_where_the_request_is_made_and_nowhere_else(
    sdk: Sdk, scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Its parent is the caller's span; while the caller has an event, the current span is the caller's own."""
    logged: list[trace.Span] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging's own signature
            logged.append(trace.get_current_span())

    caplog.set_level(logging.INFO, "adapters.client.retry")
    watch, retries = Watch(), logging.getLogger("adapters.client.retry")
    retries.addHandler(watch)
    steps = NO, answer("Good ", "morning!")
    async with provider_of(scripted_server, "home", *steps, retry={"initial_wait_s": 0.001}) as provider:
        with trace.get_tracer("test").start_as_current_span("mine") as mine:
            async for _ in provider.stream_events(ask()):
                assert trace.get_current_span() is mine
    retries.removeHandler(watch)

    chat = next(span for span in sdk.spans if span.name == "chat qwen3")
    assert chat.parent == mine.get_span_context()
    assert [span.get_span_context() for span in logged] == [chat.context]


async def test_what_is_not_sampled_is_measured_all_the_same(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """Within a trace that is not sampled there is no span, and the metrics are complete."""
    dropped = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))
    async with provider_of(scripted_server, "home", answer("Hi.")) as provider:
        with trace.use_span(dropped):
            await provider.chat(ask())

    assert sdk.spans == ()
    assert sdk.points().keys() == {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}


async def test_a_rehearsal_is_no_request(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """Neither the canned response of ``prewarm`` nor its prefill has a span or a metric."""
    async with provider_of(scripted_server, "home", answer("Hi.")) as provider:
        await provider.prewarm(ask())

    assert sdk.spans == ()
    assert sdk.points() == {}


async def test_a_stream_may_wander_from_task_to_task(
    sdk: Sdk, scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each step of a turn may be made in another task, with another context, and closed in a third."""
    endless: Step = (SSE_HEAD, http_chunk(sse(said("It is 5 degrees."))), "hang")

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return "5 degrees"

    async with provider_of(scripted_server, "home", answer(calls=[WEATHER]), endless) as provider:
        turn = run_turn(provider, ask(), TOOLS, call_tool)
        seen = [await asyncio.create_task(anext(turn)) for _ in range(3)]
        await asyncio.create_task(turn.aclose())

    assert len(seen) == 3
    assert [span.name for span in sdk.spans] == ["chat qwen3", "execute_tool get_weather", "chat qwen3", "invoke_agent"]
    assert known(sdk.spans[-1])["adapters.interrupted"] is True
    assert not trace.get_current_span().get_span_context().is_valid
    assert caplog.records == []


@pytest.mark.parametrize("way", ["chat", "stream_events"])
async def test_a_fallback_tells_why_it_was_asked(sdk: Sdk, scripted_server: ScriptedServer, way: str) -> None:
    """The span of the provider that answers names those that failed before it, in nested groups as well."""
    first, second, third = (
        provider_of(scripted_server, name, step)
        for name, step in (("first", NO), ("second", reply({}, "401 Unauthorized")), ("third", answer("Hi.")))
    )
    async with FallbackProvider([first, FallbackProvider([second, third])]) as group:
        if way == "chat":
            await group.chat(ask())
        else:
            _ = [event async for event in group.stream_events(ask())]

    told = [known(span).get("adapters.fallback.providers") for span in sdk.spans]
    assert told == [None, ("first",), ("first", "second")]
    assert known(sdk.spans[-1])["adapters.fallback.reasons"] == ("InternalServerError", "AuthenticationError")
    assert [span.status.status_code for span in sdk.spans] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]


async def test_a_stream_without_events_is_an_error_in_a_turn(sdk: Sdk) -> None:
    """A provider of the program may end its stream before its first event."""

    class Empty(LLMProvider):
        """A provider whose streams are empty."""

        provider_name = model = "empty"

        async def chat(self, *_: Any, **__: Any) -> LLMResponse:
            """Not used here."""
            raise NotImplementedError

        def chat_stream(self, *_: Any, **__: Any) -> AsyncIterator[str]:
            """Not used here."""
            raise NotImplementedError

        async def stream_events(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
            """Send nothing."""
            events: list[StreamEvent] = []
            for event in events:
                yield event

    with pytest.raises(IncompleteResponseError):
        _ = [event async for event in run_turn(Empty(), ask())]

    assert known(sdk.only())["error.type"] == "IncompleteResponseError"


async def test_a_group_that_fails_leaves_no_trace_in_the_next_request(
    sdk: Sdk, scripted_server: ScriptedServer
) -> None:
    """What failed before is known within a group, and forgotten with it."""
    group = FallbackProvider([provider_of(scripted_server, name, NO) for name in ("first", "second")])
    with pytest.raises(AllProvidersFailedError):
        _ = [event async for event in group.stream_events(ask())]
    await group.aclose()
    sdk.forget()

    async with provider_of(scripted_server, "home", answer("Hi.")) as provider:
        await provider.chat(ask())

    assert "adapters.fallback.providers" not in known(sdk.only())


async def test_a_turn_is_a_tree(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """A turn is a span over its requests and its tools; what a tool does lies within the tool's own."""

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        with trace.get_tracer("test").start_as_current_span("ask the thermometer"):
            return "5 degrees"

    async with provider_of(scripted_server, "home", answer(calls=[WEATHER]), answer("It is 5 degrees.")) as provider:
        async for _ in run_turn(provider, ask(), TOOLS, call_tool):
            assert not trace.get_current_span().get_span_context().is_valid

    names = {span.context.span_id: span.name for span in sdk.spans if span.context}
    assert [(span.name, names[span.parent.span_id] if span.parent else None) for span in sdk.spans] == [
        ("chat qwen3", "invoke_agent"),
        ("ask the thermometer", "execute_tool get_weather"),
        ("execute_tool get_weather", "invoke_agent"),
        ("chat qwen3", "invoke_agent"),
        ("invoke_agent", None),
    ]
    assert known(sdk.spans[2]) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.call.id": "call00001",
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
    }
    assert known(sdk.spans[4]) == {
        "adapters.attempts": 2,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 14,
        "gen_ai.usage.output_tokens": 6,
    }


async def test_a_turn_that_fails_has_its_sums(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """The span of a turn carries what its requests cost, also if a later one failed."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.25}
    called = answer(calls=[WEATHER], usage=usage)

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return "5 degrees"

    async with provider_of(scripted_server, "home", called, called, NO) as provider:
        with pytest.raises(InternalServerError):
            _ = [event async for event in run_turn(provider, ask(), TOOLS, call_tool)]

    turn = next(span for span in sdk.spans if span.name == "invoke_agent")
    assert turn.status.status_code == StatusCode.ERROR
    attributes = known(turn)
    assert attributes["error.type"] == "InternalServerError"
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (14, 6)
    assert (attributes["adapters.attempts"], attributes["adapters.cost"]) == (2, 0.5)


async def test_a_tool_that_fails(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """A tool's failure is that of its span; the turn goes on."""

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        raise LookupError("no thermometer in Oslo")

    async with provider_of(scripted_server, "home", answer(calls=[WEATHER]), answer("I cannot tell.")) as provider:
        _ = [event async for event in run_turn(provider, ask(), TOOLS, call_tool)]

    tool = next(span for span in sdk.spans if span.name.startswith("execute_tool"))
    assert (known(tool)["error.type"], tool.status.status_code) == ("LookupError", StatusCode.ERROR)
    assert "Oslo" not in "".join(span.to_json() for span in sdk.spans)
    assert sdk.spans[-1].status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("wanted", ["true", "SPAN_ONLY", "SPAN_AND_EVENT"])
async def test_content_is_noted_where_it_is_asked_for(
    sdk: Sdk, scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """Messages, arguments and results take the form of the conventions; of a picture there is only its kind."""
    monkeypatch.setenv(CAPTURE, wanted)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Where is it warm?"}, picture]}]

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return "5 degrees"

    steps = answer(calls=[WEATHER], reasoning="Hm."), answer("5 degrees.")
    async with provider_of(scripted_server, "home", *steps) as provider:
        _ = [event async for event in run_turn(provider, messages, TOOLS, call_tool)]

    first, tool, second, _ = map(known, sdk.spans)
    asked = {"type": "tool_call", "id": "call00001", "name": "get_weather"}
    assert json.loads(first["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "reasoning", "content": "Hm."}, asked | {"arguments": {"city": "Oslo"}}],
            "finish_reason": "tool_calls",
        }
    ]
    assert (json.loads(tool["gen_ai.tool.call.arguments"]), tool["gen_ai.tool.call.result"]) == (
        {"city": "Oslo"},
        "5 degrees",
    )
    assert json.loads(second["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Where is it warm?"}, {"type": "image_url"}]},
        {"role": "assistant", "parts": [asked | {"arguments": '{"city": "Oslo"}'}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call00001", "response": "5 degrees"}]},
    ]
    assert json.loads(second["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "5 degrees."}]


@pytest.mark.parametrize("wanted", ["", "false", "NO_CONTENT", "EVENT_ONLY"])
async def test_content_stays_away(
    sdk: Sdk, scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """Without that wish no word of the conversation is on any span."""
    monkeypatch.setenv(CAPTURE, wanted)

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return "5 degrees"

    async with provider_of(scripted_server, "home", answer(calls=[WEATHER]), answer("5 degrees.")) as provider:
        _ = [event async for event in run_turn(provider, ask(), TOOLS, call_tool)]

    noted = "".join(span.to_json() for span in sdk.spans)
    assert not [word for word in ("morning", "Oslo", "degrees") if word in noted]


@pytest.mark.parametrize(
    ("kind", "base_url", "expected"),
    [
        ("groq", "https://api.groq.com/openai/v1", ("groq", "api.groq.com", 443)),
        ("openai_compatible", "https://api.openai.com/v1", ("openai", "api.openai.com", 443)),
        ("openai_compatible", "http://kitchen/v1", ("openai_compatible", "kitchen", 80)),
        ("ollama", "http://[::1]:11434/v1", ("ollama", "::1", 11434)),
        ("local", "", ("local", None, None)),
    ],
)
def test_whom_a_request_asks(kind: str, base_url: str, expected: tuple[str, str | None, int | None]) -> None:
    """Services that the conventions know have their names, all others ours; a port is always told with a server."""
    attributes = of_target(kind, "m", base_url)

    names = "gen_ai.provider.name", "server.address", "server.port"
    assert tuple(attributes.get(name) for name in names) == expected


def test_parameters_of_strange_types_are_left_out() -> None:
    """A parameter is whatever a caller wrote; only what the conventions have a type for is noted."""
    body = {
        "temperature": "hot",
        "top_k": 40,
        "seed": True,
        "stop": ["a", 1],
        "response_format": {"type": "json_object"},
    }

    assert of_body(body) == {
        "gen_ai.output.type": "json",
        "gen_ai.request.stop_sequences": ["a", "1"],
        "gen_ai.request.top_k": 40.0,
    }
    assert of_body({"response_format": {"type": "text"}}) == {"gen_ai.output.type": "text"}


async def test_without_the_extra_nothing_is_different(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where OpenTelemetry is not installed, a turn with a fallback goes as always, and it is looked for only once."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    spans.load.cache_clear()

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return "5 degrees"

    group = FallbackProvider(
        [
            provider_of(scripted_server, "first", NO),
            provider_of(scripted_server, "second", answer(calls=[WEATHER]), answer("It is 5 degrees.")),
        ]
    )
    try:
        *_, done = [str(event) async for event in run_turn(group, ask(), TOOLS, call_tool)]
        looked = spans.load.cache_info().misses
        with pytest.raises(InternalServerError), spans.after([]):
            await provider_of(scripted_server, "third", NO).chat(ask())
    finally:
        spans.load.cache_clear()
        await group.aclose()

    assert "It is 5 degrees." in done
    assert looked == 1


def test_the_package_loads_without_it() -> None:
    """Neither the package nor a provider loads OpenTelemetry; the first request does, or a prewarm."""
    program = """
import sys
import adapters.agent, adapters.client.provider
adapters.create_provider("ollama", model="m")
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=100)

    assert done.stdout == "[]\n"


async def test_a_receiver_reads_the_spans(sdk: Sdk, scripted_server: ScriptedServer) -> None:
    """Sent over OTLP, as to a collector, every attribute arrives: none has a type that the protocol cannot carry."""
    received: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    async with provider_of(scripted_server, "home", answer("Hi."), temperature=0.5) as provider:
        await provider.chat(ask(), stop=["a", "b"])

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{server.server_port}/v1/traces")
        assert await asyncio.to_thread(exporter.export, sdk.spans) is SpanExportResult.SUCCESS
        exporter.shutdown()  # type: ignore[no-untyped-call]  # it has no annotations
        thread.join()

    (resource,) = ExportTraceServiceRequest.FromString(received[0]).resource_spans
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.schema_url) == ("adapters", "https://opentelemetry.io/schemas/1.41.0")
    assert {each.key for each in scope.spans[0].attributes} == {*(sdk.only().attributes or ())}
