"""One call of a provider, from the caller's arguments to the response.

``ProviderCall`` owns what belongs to one call: its parameters, clock, attempts, retries, telemetry span and result.
The layers below report each moment to it once, and it passes the moment on to whatever needs it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.client.attempt import attempt, read_first_token
from adapters.client.retry import pause_before_retry_s
from adapters.config.kinds import KINDS
from adapters.errors import APIError, BadRequestError, IncompleteResponseError
from adapters.request.build import build_request
from adapters.request.response_format import SchemaMismatchError
from adapters.response.assembler import CallInsteadOfTextError, ResponseAssembler
from adapters.telemetry import litellm_callbacks
from adapters.telemetry.prices import cost_estimator
from adapters.telemetry.spans import ChatSpan, is_suppressed
from adapters.transport.deadlines import Deadlines
from adapters.transport.errors import failures
from adapters.transport.litellm_bridge import has_callbacks
from adapters.types import ResponseDone, TextDelta, WaitTimes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from adapters.client.latency import FirstTokenTimes
    from adapters.config import ProviderConfig, RetryConfig
    from adapters.request.capabilities import ServerCapabilities
    from adapters.request.chat_request import ChatRequest
    from adapters.request.params import RequestParams
    from adapters.transport.provider_transport import ProviderTransport
    from adapters.types import LLMResponse, StreamEvent, TokenUsage

_T = TypeVar("_T")

_UNAUTHORIZED = 401
_logger = logging.getLogger(__name__)


class ProviderCall:
    """One call of a provider. Use one of ``response``, ``events`` and ``prefill``, once.

    The clock starts when the call is created, so ``timeout`` covers everything: loading, all attempts, and the time
    until an opened stream is iterated.

    Args:
        params: The parameters of the call.
        config: The settings of the provider.
        transport: The connections to its server.
        capabilities: What the server accepts; they are updated when the server rejects a request.
        target: Attributes of the telemetry span that describe provider, model and server (``semconv.of_target``).
        on_response: Is called with a good response before the caller gets it.
        on_first_token: Is called at the first useful token (text, reasoning or a part of a call).
        on_queue: Is called with True when a request waits for a free slot of the provider, and with False after that.
        on_accepted: Is called with the request that brought the first event, or None.
        first_token_times: Gets the seconds from each request to its first useful token, or None.
        retry_timeouts: Whether to repeat an attempt that timed out. A group turns this off: it has another provider.

    Attributes:
        assembler: The response of the latest attempt, or None before the first.
        attempts: Number of requests sent.
        called_instead_of_text: Whether the model called a tool although calls were forbidden.
    """

    def __init__(  # noqa: PLR0913 - hooks of a group, each with a default
        self,
        params: RequestParams,
        config: ProviderConfig,
        transport: ProviderTransport,
        capabilities: ServerCapabilities,
        target: Mapping[str, Any],
        *,
        on_response: Callable[[LLMResponse], None] | None = None,
        on_first_token: Callable[[], None] | None = None,
        on_queue: Callable[[bool], None] | None = None,
        on_accepted: Callable[[ChatRequest], None] | None = None,
        first_token_times: FirstTokenTimes | None = None,
        retry_timeouts: bool = True,
    ) -> None:
        self._began_s = time.monotonic()
        self._params = params
        self._config = config
        self._transport = transport
        self._capabilities = capabilities
        self._target = target
        self._on_response = on_response
        self._on_first_token = on_first_token
        self._on_queue = on_queue
        self._on_accepted = on_accepted
        self._first_token_times = first_token_times
        self._retry_timeouts = retry_timeouts
        self._tries = 0  # ``attempts``, less the requests that only leave out what the server rejected
        self._failed: APIError | None = None
        self._thought_for_too_long: APIError | None = None  # why thinking was switched off
        self._loading_s = 0.0  # until the first request left; it does not use up the time for retries
        self._deadlines: Deadlines | None = None  # of the latest attempt
        self._first_text_s: float | None = None
        self._mismatched: LLMResponse | None = None  # the response that did not match response_format
        self._first_request: ChatRequest | None = None
        self._request: ChatRequest | None = None
        self._key_version = 0  # of the API key of the latest attempt
        self._has_new_key = False
        self._report: litellm_callbacks.RequestReport | None = None
        self.assembler: ResponseAssembler | None = None
        self.attempts = 0
        self.called_instead_of_text = False

    @property
    def is_reasoning(self) -> bool:
        """Whether the model has produced reasoning and no text yet."""
        return self.assembler is not None and self.assembler.is_reasoning

    @property
    def rejected(self) -> tuple[str, ...]:
        """Fields of the first request that the latest one leaves out because the server rejected them."""
        if self._first_request is None or self._request is None:
            return ()
        return tuple(name for name in self._first_request.body if name not in self._request.body)

    async def response(self) -> LLMResponse:
        """Return the whole response.

        A response that does not match ``response_format`` is requested once more if a retry is left; its usage is then
        the sum of both.

        Raises:
            APIError: If the call failed.
        """
        with ChatSpan(self._config.name, self._target, streamed=self._params.stream) as span, self._reported():
            while True:
                with span.current():
                    event, rest = await self._open(span)
                async with aclosing(rest):
                    while not isinstance(event, ResponseDone):
                        event = await anext(rest)
                try:
                    return self._complete(event, span)
                except IncompleteResponseError as error:
                    if self._mismatched is not None or not error.retryable:
                        raise
                    if self._tries >= self._retry_policy().attempts:
                        raise
                _logger.info("%s: the response does not match response_format, asking again", self._config.name)
                self._mismatched = event.response
                del event

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield ``TextDelta`` as text arrives, then ``ToolCallDone`` for each call, then one ``ResponseDone``.

        Raises:
            APIError: If the call failed. After the first event nothing is retried.
        """
        with ChatSpan(self._config.name, self._target, streamed=self._params.stream) as span, self._reported():
            with span.current():
                event, rest = await self._open(span)
            async with aclosing(rest):
                span.first_output()
                while not isinstance(event, ResponseDone):
                    yield event
                    event = await anext(rest)
            response = self._complete(event, span)
            del event
            yield ResponseDone(response)

    async def prefill(self) -> None:
        """Send the request of a prefill; it is no answer, so neither spans nor callbacks report it.

        Retries, and requests without what the server rejects, are those of a question.

        Raises:
            APIError: If it failed.
        """
        await self._send_until_accepted(self._read_first_token)

    async def _read_first_token(self, request: ChatRequest) -> None:
        await read_first_token(self._transport, request, self._new_deadlines())

    async def _open(self, span: ChatSpan) -> tuple[StreamEvent, AsyncGenerator[StreamEvent, None]]:
        """Send requests until one brings an event. Return that event and the generator of the others."""
        return await self._send_until_accepted(partial(self._read_first_event, span))

    async def _send_until_accepted(self, send: Callable[[ChatRequest], Awaitable[_T]]) -> _T:
        """Send the request, learn from each rejection, and send what is left, until one is accepted or an error is due.

        Args:
            send: Sends one request and returns what it brings.
        """
        self._tries += 1
        request = build_request(self._params, self._config, self._capabilities)
        self._first_request = self._first_request or request
        while True:
            try:
                return await send(request)
            except CallInsteadOfTextError:
                self.called_instead_of_text = True
                self._capabilities.learn_from_unwanted_call()
                error: APIError = failures.incomplete(failures.FAILED_CALL, self._transport.endpoint)
            except APIError as failed:
                error = failed
                if error._upstream is not None:
                    self._capabilities.learn_from_rejection(error._upstream, request)
            if self._report is not None:
                self._report.failed(error)
            request = await self._request_after(error, request)

    async def _read_first_event(
        self, span: ChatSpan, request: ChatRequest
    ) -> tuple[StreamEvent, AsyncGenerator[StreamEvent, None]]:
        """Send one request and return its first event and the generator of the others."""
        assembler = self.assembler = self._new_assembler(request)
        self._request_built(request, span)
        deadlines = self._deadlines = self._new_deadlines()
        events = attempt(self._transport, request, assembler, deadlines)
        event = await anext(events)
        if self._first_text_s is None and isinstance(event, TextDelta):
            self._first_text_s = time.monotonic() - self._began_s
        if self._on_accepted is not None:
            self._on_accepted(request)
        return event, events

    def _request_built(self, request: ChatRequest, span: ChatSpan) -> None:
        """Note the request of an attempt, and start its report to LiteLLM's callbacks; the warmup has none."""
        self.attempts, self._request, self._report = self.attempts + 1, request, None
        span.request_built(request.messages, request.body)
        if not has_callbacks() or is_suppressed():
            return
        endpoint = self._transport.endpoint
        self._report = litellm_callbacks.RequestReport(
            route=KINDS[self._config.kind].prefix,
            model=self._config.model,
            base_url=endpoint.base_url,
            messages=request.messages,
            body=request.body,
            stream=request.stream,
            metadata=self._params.metadata,
            attempt=self.attempts,
        )

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Report the end of the latest request: a failure, or an interruption by the caller."""
        try:
            yield
        except Exception as error:
            self._note_silence()
            if self._report is not None:
                self._report.failed(error)
            raise
        except BaseException:
            self._note_silence()
            if self._report is not None and self.assembler is not None:
                self._report.interrupted(self.assembler.partial_response())
            raise

    def _note_silence(self) -> None:
        """Note a request that ends without a token; a failure that comes at once says nothing."""
        clock, self._deadlines = self._deadlines, None
        if self._first_token_times is not None and clock is not None and clock.first_token_at_s is None:
            now_s = time.monotonic()
            self._first_token_times.add_silence(now_s - (clock.sent_at_s or now_s))

    async def _request_after(self, error: APIError, request: ChatRequest) -> ChatRequest:
        """Return the request to send after a failure, once it is due, or raise the error.

        If the capabilities have changed what would be sent, that is sent at once and counts as no retry: it leaves out
        what the server rejected. The same holds for a rejected API key whose file has a new one, once, and for a pooled
        connection that the server had closed: each takes one out of the pool, until a new connection is made.
        """
        changed = build_request(self._params, self._config, self._capabilities)
        if changed != request or error._reason == "stale_connection":
            return changed
        if error.status_code == _UNAUTHORIZED and not self._has_new_key:
            self._has_new_key = self._transport.renew_key(self._key_version)
            if self._has_new_key:
                return changed
        if error._reason == "thinking" and (without := self._without_thinking(error, request)) is not None:
            return without
        if self._thought_for_too_long is not None and type(error) is BadRequestError:
            self._capabilities.learn_thinking_is_fixed()
            raise self._thought_for_too_long from self._thought_for_too_long.__cause__
        if error._reason == "deadline_s" and self._failed is not None:
            raise self._failed from self._failed.__cause__  # the time for retries is over; this says what went wrong
        pause_s = pause_before_retry_s(
            self._retry_policy(),
            error,
            self._tries,
            time.monotonic() - self._began_s - self._loading_s,
            retry_timeouts=self._retry_timeouts,
        )
        if pause_s is None or error._reason == "queue":  # it would go to the end of the queue
            raise error
        self._failed = error
        self._tries += 1
        await asyncio.sleep(pause_s)
        return build_request(self._params, self._config, self._capabilities)

    def _without_thinking(self, error: APIError, request: ChatRequest) -> ChatRequest | None:
        """Return the request with thinking off, which takes an attempt, or None if that makes no difference.

        It is no retry: the time for retries does not limit it, and a group has no better provider for it.
        """
        may_ask = self._config.on_long_thinking == "answer" and not self._params.without_thinking
        if not may_ask or self._capabilities.thinking_is_fixed or self._tries >= self._retry_policy().attempts:
            return None
        params = replace(self._params, without_thinking=True)
        changed = build_request(params, self._config, self._capabilities)
        if changed.body == request.body:
            return None
        _logger.info("%s: the model thinks for too long, asking once more with thinking off", self._config.name)
        self._params, self._thought_for_too_long = params, error
        self._tries += 1
        return changed

    def _retry_policy(self) -> RetryConfig:
        """Return the retries of this call: its own ``max_retries``, and none after its ``timeout``."""
        policy, params = self._config.retry, self._params
        total_s = self._config.timeouts.total_s if params.timeout_s is None else params.timeout_s
        attempts = policy.attempts if params.max_retries is None else params.max_retries + 1
        left_s = total_s - self._loading_s
        return policy.model_copy(update={"deadline_s": min(policy.deadline_s, left_s), "attempts": attempts})

    def _new_assembler(self, request: ChatRequest) -> ResponseAssembler:
        limits = self._config.limits
        return ResponseAssembler(
            self._transport.endpoint,
            self._params.schemas,
            wants_text=self._params.wants_text,
            wants_logprobs=bool(request.body.get("logprobs")),
            allow_empty=self._params.allow_empty,
            reasoning_first=self._capabilities.reasoning_first,
            max_calls=limits.calls,
            max_reasoning_chars=limits.reasoning_chars,
        )

    def _new_deadlines(self) -> Deadlines:
        params, timeouts, is_prefill = self._params, self._config.timeouts, self._params.is_prefill
        if params.first_token_s is not None:
            timeouts = timeouts.model_copy(update={"first_token_s": params.first_token_s})
        first_text_s = timeouts.first_text_s if params.first_text_s is None else params.first_text_s
        return Deadlines(
            timeouts,
            streamed=params.stream,
            total_s=params.timeout_s,
            began_s=self._began_s,
            retry_s=None if self._failed is None or is_prefill else self._config.retry.deadline_s + self._loading_s,
            first_text_s=first_text_s if params.stream and not is_prefill else None,
            is_prefill=is_prefill,
            on_request_sent=self._request_sent,
            on_first_token=self._first_token,
            on_queue=self._on_queue,
        )

    def _request_sent(self) -> None:
        """Note that a request is about to leave."""
        self._key_version = self._transport.key_version
        if self.attempts == 1:
            self._loading_s = time.monotonic() - self._began_s

    def _first_token(self) -> None:
        """Report the first useful token."""
        if self._first_token_times is not None and self._deadlines is not None and self._params.stream:
            self._first_token_times.append(time.monotonic() - self._deadlines.sent_at_s)
        if self._report is not None:
            self._report.first_token()
        if self._on_first_token is not None:
            self._on_first_token()

    def _complete(self, event: StreamEvent, span: ChatSpan) -> LLMResponse:
        """Return the response with the figures of the call, and pass it to what waits for it.

        Raises:
            IncompleteResponseError: If it does not match ``response_format``. A refusal and tool calls need not.
        """
        assert isinstance(event, ResponseDone)  # noqa: S101 - an attempt ends with it, or raises
        assert self.assembler is not None  # noqa: S101 - made before the attempt
        assert self._request is not None and self._deadlines is not None  # noqa: S101, PT018 - as above
        assembler, response, endpoint = self.assembler, event.response, self._transport.endpoint
        assert assembler.assembled is not None  # noqa: S101 - it made the event
        self._capabilities.learn_reasoning(first=assembler.assembled.began_with_reasoning)
        if self._report is not None:
            self._report.succeeded(response)
        schema, parsed = self._params.response_format, None
        if schema is not None and response.content and not response.tool_calls and response.refusal is None:
            try:
                parsed = schema.read(response.content)
            except SchemaMismatchError as mismatch:
                raise failures.schema_mismatch(self._transport.endpoint, cut=assembler.is_cut) from mismatch
        clock, began_s, self._deadlines = self._deadlines, self._began_s, None  # else it is a reference cycle
        head_at_s, token_at_s, output_at_s = clock.head_at_s, clock.first_token_at_s, clock.output_at_s
        has_thought = response.reasoning is not None and token_at_s != output_at_s
        first_token_s = None if token_at_s is None else token_at_s - began_s
        response = replace(
            response,
            parsed=parsed,
            usage=response.usage if self._mismatched is None else _sum(self._mismatched.usage, response.usage),
            time_to_first_token_s=first_token_s,
            time_to_first_text_s=self._first_text_s,
            total_s=time.monotonic() - self._began_s,
            wait=WaitTimes(
                loading_s=self._loading_s,
                queue_s=clock.queue_s,
                connect_s=clock.connect_s,
                time_to_head_s=None if head_at_s is None else head_at_s - began_s,
                time_to_first_token_s=first_token_s,
                time_to_first_text_s=self._first_text_s,
                reasoning_s=output_at_s - token_at_s if has_thought and output_at_s and token_at_s else None,
            ),
            attempts=self.attempts,
            dropped=self._request.dropped,
            cost_estimator=cost_estimator(KINDS[self._config.kind].prefix, endpoint.base_url, self._config.model),
        )
        if self._on_response is not None:
            self._on_response(response)
        span.complete(response)
        return response


def _sum(first: TokenUsage | None, second: TokenUsage | None) -> TokenUsage | None:
    return None if first is None or second is None else first + second
