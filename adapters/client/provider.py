"""``LiteLLMProvider``: the one adapter. It builds one request, has LiteLLM send it, and shapes the answer.

``chat``, ``chat_stream`` and ``stream_events`` are one flow: ask, read chunk by chunk, close the answer. What a
body means is read in ``transport`` and ``response``, what a server does not take is remembered in ``request``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from adapters.client.attempt import attempt
from adapters.client.call import Call
from adapters.client.retry import with_retries
from adapters.errors import APIError, IncompleteResponseError, UpstreamError, kind_of
from adapters.models import find_model
from adapters.provider import LLMProvider, whole_answer, with_response_format
from adapters.request.build import build_request
from adapters.request.capabilities import ServerCapabilities
from adapters.request.params import log_unknown_options, parse_params
from adapters.request.provider_fields import ProviderFieldsMemory
from adapters.request.response_format import SchemaMismatchError
from adapters.response.assembler import CallInsteadOfTextError, ResponseAssembler
from adapters.telemetry import spans
from adapters.transport.deadlines import Deadlines
from adapters.transport.errors import failures
from adapters.transport.provider_transport import ProviderTransport
from adapters.transport.warmup import ROUNDS, WarmupTransport
from adapters.types import ResponseDone, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
    from typing import Unpack

    from adapters.config import ProviderConfig, RetryConfig
    from adapters.local import LocalServer
    from adapters.request.params import RequestParams
    from adapters.types import (
        BaseCallOptions,
        CallOptions,
        LLMResponse,
        Message,
        ParsedT,
        ResponseFormat,
        StreamEvent,
        ToolSpec,
    )

logger = logging.getLogger(__name__)


class LiteLLMProvider(LLMProvider):
    """Any provider that speaks OpenAI's chat completions, through LiteLLM.

    Args:
        config: The provider, with its secrets looked up (``create_provider`` does that).
        server: The embedded server of kind ``local``; it is started by the first request and stopped by ``aclose``.
    """

    def __init__(self, config: ProviderConfig, *, server: LocalServer | None = None) -> None:
        self._config = config
        self._transport = ProviderTransport(config, server)
        self._capabilities = ServerCapabilities(config.name)
        self._provider_fields = ProviderFieldsMemory()
        self._is_rehearsed = False
        self._logged_options: set[str] = set()
        if config.prewarm:
            self._transport.begin_loading()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.provider_name!r}, model={self.model!r})"

    @property
    def provider_name(self) -> str:
        """Name of the provider: its row in the configuration, or its kind."""
        return self._config.name

    @property
    def model(self) -> str:
        """Name of the model, as the server knows it."""
        return self._config.model

    @property
    def supports_think(self) -> bool:
        """Whether thinking can be switched on and off."""
        return self._config.kind == "ollama"

    @property
    def think(self) -> bool | None:
        """Whether the model thinks before it answers; None leaves it to the model."""
        return self._config.think

    @property
    def temperature(self) -> float | None:
        """Sampling temperature, or None if the server decides."""
        return self._config.temperature

    @property
    def num_ctx(self) -> int | None:
        """Wanted context window in tokens (Ollama), or None."""
        return self._config.num_ctx

    async def chat(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None = None,
        *,
        response_format: ResponseFormat[ParsedT] | None = None,
        **kwargs: Unpack[BaseCallOptions],
    ) -> LLMResponse[ParsedT]:
        """Ask once and wait for the whole answer; see ``LLMProvider.chat``."""
        options = with_response_format(kwargs, response_format)
        call = Call(self._params(messages, tools, options, stream=False))
        del messages, tools, kwargs, options  # tracebacks with the values of variables would show them
        try:
            return await whole_answer(self._events(call))
        except IncompleteResponseError as error:
            if not self._may_reshape(call, error):
                raise
            logger.info("%s: the answer has another form; asked once more", self.provider_name)
        return await whole_answer(self._events(call))

    async def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[str]:
        """Stream the text of one answer, without calls; see ``LLMProvider.chat_stream``."""
        call = Call(self._params(messages, tools, {**kwargs, "tool_choice": "none"}, stream=True))
        del messages, tools, kwargs  # as in ``chat``
        async with aclosing(self._events(call)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text

    def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and calls of one answer, from one request; see ``LLMProvider.stream_events``."""
        return self._events(Call(self._params(messages, tools, {**kwargs}, stream=True)))

    def _stream_for_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        began: Callable[[], None],
        first_token_s: float | None,
    ) -> AsyncIterator[StreamEvent]:
        if (first_token_s or 0.0) > self._config.timeouts.first_token_s:
            options = {**options, "first_token_timeout": first_token_s}
        return self._events(Call(self._params(messages, tools, dict(options), stream=True), on_first_token=began))

    async def prewarm(self) -> None:
        """Load LiteLLM and open the connection; a server that cannot be reached is only logged."""
        try:
            await self._prewarm()
        except APIError as error:
            logger.warning("%s: warming up failed (%s).", self.provider_name, kind_of(error))

    async def _prewarm(self) -> None:
        await asyncio.to_thread(spans.load)
        listed = await self._transport.prewarm()
        if self._config.kind == "openrouter" and not self._config.models:
            self._learn_model(listed)
        if self._is_rehearsed:
            return
        try:
            await self._rehearse()
        except APIError as error:
            logger.info("The rehearsal failed; the first request will tell more: %s", error)
        self._is_rehearsed = True

    def _learn_model(self, listed: bytes) -> None:
        """Read what OpenRouter says of the model: what it heeds, and whether it is there and can call tools at all."""
        model, meant = find_model(listed, self.model)
        if model is None:
            if meant:
                logger.warning("%s does not list %s. Was %s meant?", self.provider_name, self.model, " or ".join(meant))
            return
        if model.supports_tools is False:
            logger.warning("%s: %s cannot call tools.", self.provider_name, self.model)
        if model.supported_parameters is not None:
            self._capabilities.learn_parameters(model.supported_parameters)

    async def _rehearse(self) -> None:
        """Have another one like this go through all of an answer but the network and the telemetry."""
        other = LiteLLMProvider(self._config)
        other._transport = WarmupTransport(self._config)
        params: list[Message] = [{"role": "user", "content": "-"}]
        with spans.unheard():
            for _ in range(ROUNDS):
                await whole_answer(other.stream_events(params, max_retries=0))
                await other.chat(params, max_retries=0)

    async def aclose(self) -> None:
        """Close the connections of this event loop and stop the embedded server."""
        await self._transport.aclose()

    def _params(
        self, messages: list[Message], tools: list[ToolSpec] | None, options: dict[str, Any], *, stream: bool
    ) -> RequestParams:
        """Read the caller's arguments; ``tool_choice`` "none" among the options asks for text alone."""
        choice: Literal["auto", "none"] = "auto"
        if options.get("tool_choice") == "none":
            choice = "none"
            options = {name: value for name, value in options.items() if name != "tool_choice"}
        prepared = self.prepare_tools(tools or [])
        messages = self._provider_fields.restore(messages)
        params = parse_params(messages, prepared, tool_choice=choice, stream=stream, options=options)
        log_unknown_options(self.provider_name, params.options, self._logged_options)
        return params

    def _may_reshape(self, call: Call, error: IncompleteResponseError) -> bool:
        """Whether another answer may have the form that this one has not; who wants no retries gets none."""
        return (
            isinstance(error.__cause__, SchemaMismatchError) and error.retryable and self._policy_for(call).attempts > 1
        )

    async def _events(self, call: Call) -> AsyncGenerator[StreamEvent, None]:
        """One answer; a try that fails before its first event is repeated if the policy allows it."""
        self._last_usage = self._last_response = None
        call.begin()
        with spans.Chat(self._config.kind, self._transport.endpoint, streams=call.params.stream) as chat:
            with chat.current():
                first, events, answer = await with_retries(
                    self._policy_for(call), partial(self._begin, call, chat), after_timeouts=call.on_first_token is None
                )
            chat.begins()
            async with aclosing(events):
                yield self._noted(first, answer, call, chat)
                async for event in events:
                    yield self._noted(event, answer, call, chat)

    def _policy_for(self, call: Call) -> RetryConfig:
        """The retries of one call: none begins, and none is waited for, once the time for the whole call is over."""
        policy, params = self._config.retry, call.params
        total_s = self._config.timeouts.total_s if params.timeout_s is None else params.timeout_s
        update: dict[str, float] = {}
        if total_s < policy.deadline_s:
            update["deadline_s"] = total_s
        if params.max_retries is not None:
            update["attempts"] = params.max_retries + 1
        return policy.model_copy(update=update) if update else policy

    async def _begin(
        self, call: Call, chat: spans.Chat, number: int
    ) -> tuple[StreamEvent, AsyncGenerator[StreamEvent, None], ResponseAssembler]:
        """Ask until the first event is there; what the server refuses by name is left out and asked again.

        Args:
            call: What is asked, and since when.
            chat: Is told of each request.
            number: Which try it is, from 1.
        """
        params = call.params
        request = build_request(params, self._config, self._capabilities)
        timeouts = self._config.timeouts
        if params.first_token_s is not None:
            timeouts = timeouts.model_copy(update={"first_token_s": params.first_token_s})
        while True:
            chat.tries(request.messages, request.body)
            answer = self._new_answer(params)
            deadlines = Deadlines(
                timeouts,
                streamed=params.stream,
                total_s=params.timeout_s,
                began_s=call.began_s,
                retry_s=self._config.retry.deadline_s if number > 1 else None,
                on_first_token=call.on_first_token,
            )
            call.sends(request)
            events = attempt(self._transport, request, answer, deadlines)
            error: APIError
            try:
                return call.answers(await anext(events)), events, answer
            except CallInsteadOfTextError:
                self._capabilities.learn_from_call()
                error = failures.incomplete(failures.NO_CALL, self._transport.endpoint)
            except APIError as failed:
                if isinstance(failed.__cause__, UpstreamError):
                    self._capabilities.learn_from_refusal(failed.__cause__, request)
                error = failed
            refused, request = request, build_request(params, self._config, self._capabilities)
            if request == refused:
                raise error

    def _new_answer(self, params: RequestParams) -> ResponseAssembler:
        return ResponseAssembler(
            self._transport.endpoint,
            params.schemas,
            wants_text=params.wants_text,
            reasoning_first=self._capabilities.reasoning_first,
            most_calls=self._config.limits.calls,
            most_reasoning_chars=self._config.limits.reasoning_chars,
        )

    def _noted(self, event: StreamEvent, answer: ResponseAssembler, call: Call, chat: spans.Chat) -> StreamEvent:
        """Remember what the last event brings: the answer, its usage, and what the provider wants back.

        Raises:
            IncompleteResponseError: If the whole answer has not the form that was asked for.
        """
        if not isinstance(event, ResponseDone):
            return event
        outcome = answer.assembled
        assert outcome is not None  # noqa: S101 - the answer made the event of it
        self._capabilities.learn_reasoning(first=outcome.began_with_reasoning)
        self._provider_fields.remember(call.params.messages, event.response.tool_calls)
        self._last_usage = event.response.usage
        try:
            self._last_response = call.completed(event.response)
        except SchemaMismatchError as error:
            raise failures.schema_mismatch(self._transport.endpoint, cut=answer.is_cut) from error
        chat.answers(self._last_response)
        return ResponseDone(self._last_response)
