"""OpenTelemetry spans and metrics of calls, turns and tools (the extra ``otel``). The only import of OpenTelemetry.

Without the extra, and without a configured SDK, all of this does nothing. Names follow the GenAI semantic conventions
1.41, the latest published version; the draft after it renames the metrics. Attributes without a name there begin with
``adapters.``:

====================================  ============================================================================
``adapters.provider``                 name of the provider entry in the configuration, or its kind
``adapters.attempts``                 number of requests: retries, and repetitions without a rejected parameter
``adapters.cost``                     what the provider reports that it charges
``adapters.fallback.providers``       providers that failed before this one was asked
``adapters.fallback.reasons``         classes of their errors, in the same order
``adapters.wait.*``                   parts of the wait in seconds, by the names of ``adapters.types.WaitTimes``
``adapters.interrupted``              true if the caller closed or cancelled the call, on spans and metrics. That is
                                      no error: status and ``error.type`` are not set
====================================  ============================================================================

The configured model names the series of a metric; the name that the server reports is on the span alone, because a
server may report another one each time. ``error.type`` is the class name of the error. The first chunk is the first
text or tool call; an empty role or reasoning before it cannot be spoken. Error messages are never recorded, because a
server may repeat the prompt in its own; messages, arguments and results are recorded only if
``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true``, ``SPAN_ONLY`` or ``SPAN_AND_EVENT``.

A generator may be left at any ``yield`` and resumed in another task. So a span is current within one step of a
generator only, never while the generator is suspended.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.provider import closing
from adapters.telemetry import semconv

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
    from types import ModuleType, TracebackType
    from typing import Self

    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Span, Tracer

    from adapters.errors import APIError
    from adapters.types import Json, LLMResponse, Message, ToolCall

_Item = TypeVar("_Item")

_SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_TOKENS = [4**power for power in range(14)]

_failed_before: ContextVar[tuple[APIError, ...]] = ContextVar("failed_before", default=())
_is_suppressed: ContextVar[bool] = ContextVar("is_suppressed", default=False)


@dataclass(frozen=True, slots=True)
class _OpenTelemetry:
    """The parts of OpenTelemetry in use. Created before an SDK is configured, they work once there is one."""

    trace: ModuleType
    tracer: Tracer
    duration: Histogram
    first_chunk: Histogram
    tokens: Histogram


@cache
def load() -> _OpenTelemetry | None:
    """Import OpenTelemetry once; return None if it is not installed. It takes 30 ms, so ``prewarm`` does it."""
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        return None
    meter = metrics.get_meter("adapters", schema_url=_SCHEMA)

    def histogram(name: str, unit: str, boundaries: Sequence[float], description: str) -> Histogram:
        return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)

    return _OpenTelemetry(
        trace,
        trace.get_tracer("adapters", schema_url=_SCHEMA),
        histogram("gen_ai.client.operation.duration", "s", _SECONDS, "Duration of a call with all its attempts."),
        histogram("gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS, "Time to the first text or call."),
        histogram("gen_ai.client.token.usage", "{token}", _TOKENS, "Tokens of a call, as the server counted them."),
    )


@contextmanager
def suppressed() -> Iterator[None]:
    """Record nothing of what begins inside the block; for warmup and diagnosis."""
    token = _is_suppressed.set(True)
    try:
        yield
    finally:
        _is_suppressed.reset(token)


def is_suppressed() -> bool:
    """Return whether calls of this context are warmup or diagnosis, which are reported nowhere."""
    return _is_suppressed.get()


class _Operation:
    """A span that begins when it is created and ends with its block, or earlier, once its outcome is known.

    Args:
        name: Name of the span.
        attributes: Attributes of the span; ``ChatSpan`` gives them to its metrics as well.
        kind: Name of OpenTelemetry's span kind.
    """

    def __init__(self, name: str, attributes: dict[str, Any], kind: str = "INTERNAL") -> None:
        self._otel = otel = None if _is_suppressed.get() else load()
        self._span: Span | None = None
        self._attributes = attributes
        self._is_over = self._is_recording = False  # without an SDK, and when sampled out, nothing is recorded
        self._began_s = time.monotonic()
        if otel is not None:
            self._span = otel.tracer.start_span(name, kind=otel.trace.SpanKind[kind], attributes=attributes)
            self._is_recording = self._span.is_recording()

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which the span is the current one; never use it around a ``yield``."""
        if self._otel is None:
            return nullcontext()
        unchanged = {"record_exception": False, "set_status_on_exception": False}
        use: AbstractContextManager[object] = self._otel.trace.use_span(self._span, **unchanged)
        return use

    def opens(self, stream: AsyncIterator[_Item]) -> AsyncIterator[_Item]:
        """Return the stream; spans that begin during its first step become children of this one."""
        return stream if self._otel is None else _first_within(self.current, stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_over:
            return
        if isinstance(exc, Exception):
            self._fail(exc)
        elif exc is not None:  # closed or cancelled: an interruption, not a failure
            self._attributes["adapters.interrupted"] = True
            self._set({"adapters.interrupted": True})
        self._end()

    def _fail(self, error: Exception) -> None:
        self._attributes["error.type"] = type(error).__name__
        self._set({"error.type": type(error).__name__})
        if self._otel is not None and self._span is not None:
            self._span.set_status(self._otel.trace.StatusCode.ERROR)

    def _set(self, attributes: dict[str, Any]) -> None:
        """Set attributes on the span; those that are None are unknown and left out."""
        if self._is_recording and self._span is not None:
            self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def _shows_content(self) -> bool:
        return self._is_recording and os.environ.get(_CAPTURE, "").lower() in {"true", "span_only", "span_and_event"}

    def _end(self) -> None:
        self._is_over = True
        if self._span is not None:
            self._span.end()


class ChatSpan(_Operation):
    """The span and the metrics of one call of a model, with all its attempts.

    Args:
        provider: Name of the provider.
        target: Attributes that describe the kind of provider, the model and the server (``semconv.of_target``).
        streamed: Whether the response is streamed.
    """

    def __init__(self, provider: str, target: Mapping[str, Any], *, streamed: bool) -> None:
        super().__init__(f"chat {target['gen_ai.request.model']}", dict(target), "CLIENT")
        self._streamed = streamed
        self._attempts = 0
        self._request: tuple[list[Message], Mapping[str, Json]] = [], {}
        if self._is_recording:
            failed = _failed_before.get()
            self._set(
                {
                    "adapters.provider": provider,
                    "adapters.fallback.providers": [error.provider for error in failed] or None,
                    "adapters.fallback.reasons": [type(error).__name__ for error in failed] or None,
                    "gen_ai.request.stream": streamed,
                }
            )

    def request_built(self, messages: list[Message], body: Mapping[str, Json]) -> None:
        """Note the request of an attempt; the last one is recorded at the end."""
        self._attempts += 1
        self._request = messages, body

    def first_output(self) -> None:
        """Record the time to the first text or tool call."""
        if self._streamed and self._otel is not None:
            seconds = time.monotonic() - self._began_s
            self._set({"gen_ai.response.time_to_first_chunk": seconds})
            self._otel.first_chunk.record(seconds, self._attributes)

    def complete(self, response: LLMResponse) -> None:
        """Record the response and end the span, however long the caller takes to come back."""
        if self._otel is not None:
            if self._is_recording:
                self._set(semconv.of_response(response))
            if self._shows_content():
                self._set({"gen_ai.output.messages": semconv.output_messages(response)})
            if (usage := response.usage) is not None:
                tokens = self._otel.tokens
                tokens.record(usage.prompt_tokens, self._attributes | {"gen_ai.token.type": "input"})
                tokens.record(usage.completion_tokens, self._attributes | {"gen_ai.token.type": "output"})
        self._end()

    def _end(self) -> None:
        if self._otel is not None:
            if self._is_recording:
                messages, body = self._request
                self._set({"adapters.attempts": self._attempts, **semconv.of_body(body)})
                if self._shows_content():
                    self._set({"gen_ai.input.messages": semconv.input_messages(messages)})
            self._otel.duration.record(time.monotonic() - self._began_s, self._attributes)
        super()._end()


class TurnSpan(_Operation):
    """The span of one turn of an agent: the parent of its calls and tools."""

    def __init__(self) -> None:
        super().__init__("invoke_agent", {"gen_ai.operation.name": "invoke_agent"})

    def progress(self, response: LLMResponse) -> None:
        """Record the sums of the turn so far."""
        self._set({**semconv.of_response(response), "adapters.attempts": response.attempts})

    def complete(self, response: LLMResponse) -> None:
        """Record the response of the whole turn and end the span."""
        self.progress(response)
        self._end()


class ToolSpan(_Operation):
    """The span of one tool call. Inside its block it is the current span, for what the tool itself does.

    Its parent is the span that is current when it is created: a turn creates the tasks of its tools within
    ``current``.
    """

    def __init__(self, call: ToolCall) -> None:
        super().__init__(f"execute_tool {call.name}", semconv.of_call(call))
        self._within = self.current()
        if self._shows_content():
            self._set({"gen_ai.tool.call.arguments": semconv.to_json(call.arguments)})

    def __enter__(self) -> Self:
        self._within.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._within.__exit__(exc_type, exc, traceback)
        super().__exit__(exc_type, exc, traceback)

    def returns(self, content: str) -> str:
        """Record the result of the tool and return it."""
        if self._shows_content():
            self._set({"gen_ai.tool.call.result": content})
        return content


@contextmanager
def after(errors: Sequence[APIError]) -> Iterator[None]:
    """Mark calls that begin inside the block as failovers after these errors; never use it around a ``yield``."""
    token = _failed_before.set((*_failed_before.get(), *errors))
    try:
        yield
    finally:
        _failed_before.reset(token)


async def _first_within(
    context: Callable[[], AbstractContextManager[object]], stream: AsyncIterator[_Item]
) -> AsyncGenerator[_Item, None]:
    """Wait for the first item within a context and for the others outside of it."""
    async with closing(stream):
        with context():
            try:
                first = await anext(stream)
            except StopAsyncIteration:
                return
        yield first
        del first  # an error tracker that records variables must not see it
        async for item in stream:
            yield item
            del item
