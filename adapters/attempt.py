"""One try: send the question, turn the chunks into events, and know whether another way of asking is worth a try."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from adapters.answer import Answer, CallInsteadOfText
from adapters.errors import APIError
from adapters.request import body_of
from adapters.types import ResponseDone, TextDelta, ToolCallDone
from adapters.wire import failures
from adapters.wire.chunks import chunk_of
from adapters.wire.deadlines import DeadlineMissed, Deadlines
from adapters.wire.reader import BrokenBody, read
from adapters.wire.redact import is_html
from adapters.wire.upstream import UpstreamError, upstream_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from adapters.concessions import Concessions
    from adapters.config import ProviderConfig
    from adapters.request import Ask
    from adapters.types import StreamEvent
    from adapters.wire.chunks import Chunk
    from adapters.wire.connection import Connection
    from adapters.wire.reader import Payload

_SIGN_IN = "sent a web page instead of an answer. Please check base_url, or sign in to the network."


class Attempt:
    """One request and its answer.

    Args:
        config: The provider.
        connection: The way to it.
        concessions: What its server does not take.
        ask: The question.

    Attributes:
        events: The answer, event by event.
        extras: After the last event: call id -> fields of the provider's own.
        details: After the last event: ``reasoning_details`` of the message.
    """

    def __init__(self, config: ProviderConfig, connection: Connection, concessions: Concessions, ask: Ask) -> None:
        self._config = config
        self._connection = connection
        self._concessions = concessions
        self._ask = ask
        self._origin = connection.origin
        self._deadlines = Deadlines(config.timeouts, streamed=ask.stream)
        self._answer = Answer(
            self._origin, ask.schemas, wants_text=ask.wants_text, reasoning_first=concessions.reasoning_first
        )
        self._sent: dict[str, Any] = {}
        self.extras: dict[str, dict[str, Any]] = {}
        self.details: list[dict[str, Any]] = []
        self.events: AsyncGenerator[StreamEvent, None] = self._run()

    def is_worth_another(self, error: BaseException) -> bool:
        """Whether the same question, asked in another way, may succeed where this try failed.

        Args:
            error: What ended the try before its first event.

        Raises:
            APIError: If the model insists on calling a tool where text is wanted.
        """
        if isinstance(error, CallInsteadOfText):
            if self._concessions.forbid_tools_in_text() and self._mentions_tools():
                return True
            raise failures.incomplete(failures.NO_CALL, self._origin) from None
        cause = error.__cause__
        return (
            isinstance(error, APIError)
            and isinstance(cause, UpstreamError)
            and self._concessions.learn(cause, self._ask, self._sent)
        )

    def _mentions_tools(self) -> bool:
        return bool(self._ask.tools) or any(message.get("role") == "tool" for message in self._ask.messages)

    async def _run(self) -> AsyncGenerator[StreamEvent, None]:
        messages, self._sent = self._concessions.apply(self._ask, body_of(self._ask, self._config))
        try:
            exchange = await self._connection.send(
                messages, self._sent, stream=self._ask.stream, deadlines=self._deadlines
            )
        except APIError as error:
            if not isinstance(error.__cause__, UpstreamError) or not self._answer.rescue(error.__cause__):
                raise
            for event in self._close():
                yield event
            return
        assert exchange.response is not None  # noqa: S101 - send returns no other exchange
        payloads = read(exchange.response)
        try:
            async with aclosing(self._read(payloads)) as events:
                async for event in events:
                    yield event
        finally:
            if self._answer.is_over:
                exchange.drain(payloads)
            else:
                await payloads.aclose()
                await exchange.aclose()

    async def _read(self, payloads: AsyncGenerator[Payload, None]) -> AsyncGenerator[StreamEvent, None]:
        trouble: APIError | None = None
        while trouble is None and not self._answer.has_ended:
            try:
                payload = await self._deadlines.wait(anext(payloads, None))
            except (DeadlineMissed, BrokenBody) as error:
                trouble = self._broken(error)
                break
            if payload is None:
                break
            text, trouble = self._take(payload)
            if text:
                yield TextDelta(text)
        for event in self._close(trouble):
            yield event

    def _broken(self, error: DeadlineMissed | BrokenBody) -> APIError | None:
        """The error for a body that did not go on; None if the answer had said before that it was finished."""
        if self._answer.is_over:
            return None
        if isinstance(error, DeadlineMissed):
            return failures.caused(failures.late(error, self._origin), error)
        return failures.caused(failures.disconnected(None, self._origin), error)

    def _take(self, payload: Payload) -> tuple[str, APIError | None]:
        """Read one payload: the text that it brings, and the error."""
        if payload.kind == "done":
            self._answer.end()
        elif payload.kind == "garbled":
            return "", failures.incomplete("sent an answer that is cut or garbled. Please ask again.", self._origin)
        elif payload.kind == "json":
            return self._take_chunk(chunk_of(payload.value, payload.event), whole=payload.whole)
        elif payload.whole or payload.event == "error":
            return "", self._no_answer(payload.value)
        return "", None

    def _take_chunk(self, chunk: Chunk, *, whole: bool) -> tuple[str, APIError | None]:
        text = self._answer.feed(chunk, whole=whole)
        if chunk.is_useful:
            self._deadlines.useful()
        trouble = self._failure_in(chunk)
        if trouble is None and whole:
            self._answer.end()
        if self._answer.is_over:
            self._deadlines.finished()
        return text, trouble

    def _failure_in(self, chunk: Chunk) -> APIError | None:
        """The error that a chunk of a success carries, unless it holds an answer all the same."""
        if chunk.error is not None:
            failure = upstream_error(chunk.error, secrets=self._origin.secrets)
            if self._answer.rescue(failure):
                return None
            return failures.caused(failures.rejected(failure, self._origin), failure)
        if chunk.finish_reason == "error":
            return self._answer.failed()
        return None

    def _no_answer(self, prose: str) -> APIError:
        if is_html(prose):
            return failures.incomplete(_SIGN_IN, self._origin)
        failure = upstream_error(prose, secrets=self._origin.secrets)
        return failures.caused(failures.no_answer(failure, self._origin), failure)

    def _close(self, trouble: APIError | None = None) -> Iterator[StreamEvent]:
        """The end of the answer: what was held back, then the calls and the whole, or the error.

        Before the first text, words that are held back are not worth more than another try.
        """
        if trouble is not None and not self._answer.spoke:
            raise trouble
        if text := self._answer.flush():
            yield TextDelta(text)
        if trouble is not None:
            raise trouble
        outcome = self._answer.finish()
        self._concessions.reasoning_first = outcome.began_with_reasoning
        self.extras, self.details = outcome.extras, outcome.details
        for tool_call in outcome.response.tool_calls:
            yield ToolCallDone(tool_call)
        yield ResponseDone(outcome.response)
