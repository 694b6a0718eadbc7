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
from typing import TYPE_CHECKING, Any

from adapters.client.attempt import attempt
from adapters.client.retry import pause_before_retry_s
from adapters.errors import APIError, IncompleteResponseError
from adapters.request.build import build_request
from adapters.request.response_format import SchemaMismatchError
from adapters.response.assembler import CallInsteadOfTextError, ResponseAssembler
from adapters.telemetry import litellm_callbacks
from adapters.telemetry.prices import cost_estimator
from adapters.telemetry.spans import ChatSpan, is_suppressed
from adapters.transport.deadlines import Deadlines
from adapters.transport.errors import failures
from adapters.transport.litellm_bridge import has_callbacks
from adapters.types import ResponseDone, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from adapters.config import ProviderConfig, RetryConfig
    from adapters.request.capabilities import ServerCapabilities
    from adapters.request.chat_request import ChatRequest
    from adapters.request.params import RequestParams
    from adapters.transport.provider_transport import ProviderTransport
    from adapters.types import LLMResponse, StreamEvent, TokenUsage

_UNAUTHORIZED = 401
_logger = logging.getLogger(__name__)


class ProviderCall:
    """One call of a provider. Use either ``response`` or ``events``, once.

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
        retry_timeouts: Whether to repeat an attempt that timed out. A group turns this off: it has another provider.

    Attributes:
        assembler: The response of the latest attempt, or None before the first.
        attempts: Number of requests sent.
        called_instead_of_text: Whether the model called a tool although calls were forbidden.
    """

    def __init__(
        self,
        params: RequestParams,
        config: ProviderConfig,
        transport: ProviderTransport,
        capabilities: ServerCapabilities,
        target: Mapping[str, Any],
        *,
        on_response: Callable[[LLMResponse], None] | None = None,
        on_first_token: Callable[[], None] | None = None,
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
        self._retry_timeouts = retry_timeouts
        self._tries = 0  # ``attempts``, less the requests that only leave out what the server rejected
        self._failed: APIError | None = None
        self._loading_s = 0.0  # until the first request left; it does not use up the time for retries
        self._first_token_s: float | None = None
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

    async def _open(self, span: ChatSpan) -> tuple[StreamEvent, AsyncGenerator[StreamEvent, None]]:
        """Send requests until one brings an event. Return that event and the generator of the others."""
        self._tries += 1
        request = build_request(self._params, self._config, self._capabilities)
        self._first_request = self._first_request or request
        while True:
            assembler = self.assembler = self._new_assembler(request)
            self._request_built(request, span)
            events = attempt(self._transport, request, assembler, self._new_deadlines())
            try:
                event = await anext(events)
            except CallInsteadOfTextError:
                self.called_instead_of_text = True
                self._capabilities.learn_from_unwanted_call()
                error: APIError = failures.incomplete(failures.FAILED_CALL, self._transport.endpoint)
            except APIError as failed:
                error = failed
                if error._upstream is not None:
                    self._capabilities.learn_from_rejection(error._upstream, request)
            else:
                if self._first_text_s is None and isinstance(event, TextDelta):
                    self._first_text_s = time.monotonic() - self._began_s
                return event, events
            if self._report is not None:
                self._report.failed(error)
            request = await self._request_after(error, request)

    def _request_built(self, request: ChatRequest, span: ChatSpan) -> None:
        """Note the request of an attempt, and start its report to LiteLLM's callbacks; the warmup has none."""
        self.attempts, self._request, self._report = self.attempts + 1, request, None
        span.request_built(request.messages, request.body)
        if not has_callbacks() or is_suppressed():
            return
        endpoint = self._transport.endpoint
        self._report = litellm_callbacks.RequestReport(
            route=endpoint.prefix,
            model=endpoint.model,
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
            if self._report is not None:
                self._report.failed(error)
            raise
        except BaseException:
            if self._report is not None and self.assembler is not None:
                self._report.interrupted(self.assembler.partial_response())
            raise

    async def _request_after(self, error: APIError, request: ChatRequest) -> ChatRequest:
        """Return the request to send after a failure, once it is due, or raise the error.

        If the capabilities have changed what would be sent, that is sent at once and counts as no retry: it leaves out
        what the server rejected. The same holds for a rejected API key whose file has a new one, once.
        """
        changed = build_request(self._params, self._config, self._capabilities)
        if changed != request:
            return changed
        if error.status_code == _UNAUTHORIZED and not self._has_new_key:
            self._has_new_key = self._transport.renew_key(self._key_version)
            if self._has_new_key:
                return changed
        if error._reason == "deadline_s" and self._failed is not None:
            raise self._failed from self._failed.__cause__  # the time for retries is over; this says what went wrong
        pause_s = pause_before_retry_s(
            self._retry_policy(),
            error,
            self._tries,
            time.monotonic() - self._began_s - self._loading_s,
            retry_timeouts=self._retry_timeouts,
        )
        if pause_s is None:
            raise error
        self._failed = error
        self._tries += 1
        await asyncio.sleep(pause_s)
        return build_request(self._params, self._config, self._capabilities)

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
        params, timeouts = self._params, self._config.timeouts
        if params.first_token_s is not None:
            timeouts = timeouts.model_copy(update={"first_token_s": params.first_token_s})
        return Deadlines(
            timeouts,
            streamed=params.stream,
            total_s=params.timeout_s,
            began_s=self._began_s,
            retry_s=None if self._failed is None else self._config.retry.deadline_s + self._loading_s,
            on_request_sent=self._request_sent,
            on_first_token=self._first_token,
        )

    def _request_sent(self) -> None:
        """Note that a request is about to leave."""
        self._key_version = self._transport.key_version
        if self.attempts == 1:
            self._loading_s = time.monotonic() - self._began_s

    def _first_token(self) -> None:
        """Note the time of the first useful token, and report it."""
        if self._first_token_s is None:
            self._first_token_s = time.monotonic() - self._began_s
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
        assert self._request is not None  # noqa: S101 - as above
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
        response = replace(
            response,
            parsed=parsed,
            usage=response.usage if self._mismatched is None else _sum(self._mismatched.usage, response.usage),
            time_to_first_token_s=self._first_token_s,
            time_to_first_text_s=self._first_text_s,
            total_s=time.monotonic() - self._began_s,
            attempts=self.attempts,
            dropped=self._request.dropped,
            cost_estimator=cost_estimator(endpoint.prefix, endpoint.base_url, endpoint.model),
        )
        if self._on_response is not None:
            self._on_response(response)
        span.complete(response)
        return response


def _sum(first: TokenUsage | None, second: TokenUsage | None) -> TokenUsage | None:
    return None if first is None or second is None else first + second
