"""Spans and metrics of requests, turns and tools, for OpenTelemetry (the extra ``otel``); its only import.

Without the extra, and without an SDK that somebody has set up, all of this does nothing. Names are those of the GenAI
semantic conventions in the version that was published last, 1.41; the draft after it renames the metrics. What has no
name there begins with ``adapters.``:

====================================  ============================================================================
``adapters.provider``                 the provider's row in the configuration, or its kind
``adapters.attempts``                 how many requests it took: repeated ones, and those without a refused parameter
``adapters.fallback.providers``       who failed before this provider was asked
``adapters.fallback.reasons``         with which errors, in the same order
``adapters.interrupted``              true if the listener walked away, on spans and metrics. That is no error:
                                      status and ``error.type`` are not set
====================================  ============================================================================

``error.type`` is the name of the error's class. The first chunk is the first text or call that can be used: what
servers send before it, an empty role or reasoning, can not be spoken. Sentences of errors stay away, because a server
may have repeated the prompt in its own; messages, arguments and results are written down only if
``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true``, ``SPAN_ONLY`` or ``SPAN_AND_EVENT``.

A generator may be left at any ``yield`` and go on in another task, so no span is current while one has yielded: a
span is current only within one step of it.
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
    from adapters.types import Json, LLMResponse, Message, TokenUsage, ToolCall

_Item = TypeVar("_Item")

_SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_TOKENS = [4**power for power in range(14)]

_failed_before: ContextVar[tuple[APIError, ...]] = ContextVar("failed_before", default=())
_is_unheard: ContextVar[bool] = ContextVar("is_unheard", default=False)


@dataclass(frozen=True, slots=True)
class _OpenTelemetry:
    """What we use of OpenTelemetry. Made before an SDK is set up, it serves all the same once there is one."""

    trace: ModuleType
    tracer: Tracer
    duration: Histogram
    first_chunk: Histogram
    tokens: Histogram


@cache
def load() -> _OpenTelemetry | None:
    """Import OpenTelemetry, once; None if it is not installed. It takes some 30 ms, so a provider warms it up."""
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
        histogram("gen_ai.client.operation.duration", "s", _SECONDS, "Duration of a request with all its tries."),
        histogram("gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS, "Time to the first text or call."),
        histogram("gen_ai.client.token.usage", "{token}", _TOKENS, "Tokens of a request, as the server counted them."),
    )


@contextmanager
def unheard() -> Iterator[None]:
    """Tell nobody of what happens in the block: it is a rehearsal."""
    before = _is_unheard.set(True)
    try:
        yield
    finally:
        _is_unheard.reset(before)


class _Operation:
    """A span that begins with a block, and ends with it or as soon as its outcome is known."""

    _name: str
    _kind = "INTERNAL"

    def __init__(self, attributes: dict[str, Any]) -> None:
        self._span: Span | None = None
        self._otel = otel = None if _is_unheard.get() else load()
        self._attributes = attributes
        self._is_over = self._is_recording = False  # nobody records without an SDK, or what was not sampled
        self._began_s = time.monotonic()
        if otel is not None:
            self._span = otel.tracer.start_span(self._name, kind=otel.trace.SpanKind[self._kind], attributes=attributes)
            self._is_recording = self._span.is_recording()

    def current(self) -> AbstractContextManager[object]:
        """The span as the current one, for spans that begin inside; never around a ``yield``."""
        if self._otel is None:
            return nullcontext()
        unchanged = {"record_exception": False, "set_status_on_exception": False}
        use: AbstractContextManager[object] = self._otel.trace.use_span(self._span, **unchanged)
        return use

    def opens(self, stream: AsyncIterator[_Item]) -> AsyncIterator[_Item]:
        """The same stream; requests that its first item takes belong to this span."""
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
        elif exc is not None:  # closed or cancelled: somebody interrupted, which is no failure
            self._attributes["adapters.interrupted"] = True
            self._note({"adapters.interrupted": True})
        self._end()

    def _fail(self, error: Exception) -> None:
        self._attributes["error.type"] = type(error).__name__
        self._note({"error.type": type(error).__name__})
        if self._otel is not None and self._span is not None:
            self._span.set_status(self._otel.trace.StatusCode.ERROR)

    def _note(self, attributes: dict[str, Any]) -> None:
        """Write attributes down; those that are None are not known."""
        if self._is_recording and self._span is not None:
            self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def _shows_content(self) -> bool:
        return self._is_recording and os.environ.get(_CAPTURE, "").lower() in {"true", "span_only", "span_and_event"}

    def _end(self) -> None:
        self._is_over = True
        if self._span is not None:
            self._span.end()


class Chat(_Operation):
    """One request to a model, with all its tries.

    Args:
        kind: The provider's kind.
        target: Whom it asks.
        streams: Whether the answer is streamed.
    """

    _kind = "CLIENT"

    def __init__(self, kind: str, target: semconv.Target, *, streams: bool) -> None:
        self._name = f"chat {target.model}"
        self._attempts = 0
        self._asked: tuple[list[Message], Mapping[str, Json]] = [], {}
        self._streams = streams
        super().__init__(semconv.of_target(kind, target.model, target.base_url))
        if self._is_recording:
            failed = _failed_before.get()
            self._note(
                {
                    "adapters.provider": target.provider,
                    "adapters.fallback.providers": [error.provider for error in failed] or None,
                    "adapters.fallback.reasons": [type(error).__name__ for error in failed] or None,
                    "gen_ai.request.stream": streams,
                }
            )

    def tries(self, messages: list[Message], body: Mapping[str, Json]) -> None:
        """Note a request that goes out now; what the last of them asked for is written down at the end."""
        self._attempts += 1
        self._asked = messages, body

    def begins(self) -> None:
        """Note that the first text or call is there."""
        if self._streams and self._otel is not None:
            seconds = time.monotonic() - self._began_s
            self._note({"gen_ai.response.time_to_first_chunk": seconds})
            self._otel.first_chunk.record(seconds, self._attributes)

    def answers(self, response: LLMResponse) -> None:
        """Note the whole answer; the span ends here, and not when its listener comes back."""
        if self._otel is not None:
            self._note(semconv.of_response(response))
            if response.model is not None:
                self._attributes["gen_ai.response.model"] = response.model
            if self._shows_content():
                self._note({"gen_ai.output.messages": semconv.output_messages(response)})
            self._count(self._otel.tokens, response.usage)
        self._end()

    def _count(self, tokens: Histogram, usage: TokenUsage | None) -> None:
        if usage is not None:
            tokens.record(usage.prompt_tokens, self._attributes | {"gen_ai.token.type": "input"})
            tokens.record(usage.completion_tokens, self._attributes | {"gen_ai.token.type": "output"})

    def _end(self) -> None:
        if self._otel is not None:
            messages, body = self._asked
            if self._is_recording:
                self._note({"adapters.attempts": self._attempts, **semconv.of_body(body)})
            if self._shows_content():
                self._note({"gen_ai.input.messages": semconv.input_messages(messages)})
            self._otel.duration.record(time.monotonic() - self._began_s, self._attributes)
        super()._end()


class Turn(_Operation):
    """One turn of an agent: its requests and its tools."""

    _name = "invoke_agent"

    def __init__(self) -> None:
        super().__init__({"gen_ai.operation.name": "invoke_agent"})

    def answers(self, response: LLMResponse) -> None:
        """Note what the turn came to."""
        self._note(semconv.of_response(response))
        self._end()


class Tool(_Operation):
    """One call of a tool; within the block its span is the current one, for what the tool itself does.

    Its parent is the current span where it begins: a turn makes the tasks of its tools within ``current``.
    """

    def __init__(self, call: ToolCall) -> None:
        self._name = f"execute_tool {call.name}"
        super().__init__(semconv.of_call(call))
        self._within = self.current()
        if self._shows_content():
            self._note({"gen_ai.tool.call.arguments": semconv.to_json(call.arguments)})

    def __enter__(self) -> Self:
        self._within.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._within.__exit__(exc_type, exc, traceback)
        super().__exit__(exc_type, exc, traceback)

    def returns(self, content: str) -> str:
        """Note what the tool gave back, and give it back."""
        if self._shows_content():
            self._note({"gen_ai.tool.call.result": content})
        return content


@contextmanager
def after(errors: Sequence[APIError]) -> Iterator[None]:
    """Requests that begin in this block are told to be made because others failed; never around a ``yield``."""
    token = _failed_before.set((*_failed_before.get(), *errors))
    try:
        yield
    finally:
        _failed_before.reset(token)


def opened_after(errors: Sequence[APIError], stream: AsyncIterator[_Item]) -> AsyncIterator[_Item]:
    """The same stream; requests that its first item takes are told to be made because others failed."""
    return _first_within(lambda: after(errors), stream) if errors and load() is not None else stream


async def _first_within(
    context: Callable[[], AbstractContextManager[object]], stream: AsyncIterator[_Item]
) -> AsyncGenerator[_Item, None]:
    """Wait for the first item of a stream within a context, and for the rest without: it has its request by then."""
    async with closing(stream):
        with context():
            try:
                first = await anext(stream)
            except StopAsyncIteration:
                return
        yield first
        del first  # tracebacks with the values of variables would show it
        async for item in stream:
            yield item
            del item
