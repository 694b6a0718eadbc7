"""``LiteLLMProvider`` implements the contract ``LLMProvider`` for every provider that LiteLLM can reach.

``chat``, ``chat_stream`` and ``stream_events`` validate their arguments and create a ``ProviderCall``, which does the
rest. The provider itself holds what outlives a call: settings, connections and the capabilities of the server.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.client.call import ProviderCall
from adapters.client.latency import FirstTokenTimes
from adapters.client.prefill import Prefills
from adapters.errors import APIError, kind_of
from adapters.models import find_model
from adapters.provider import LLMProvider, freeze_objects, texts_of, whole_answer
from adapters.request import prefix_watch
from adapters.request.capabilities import ServerCapabilities
from adapters.request.params import CallArguments, log_unknown_options, parse_params
from adapters.request.prefill import prefill_arguments, prefill_params
from adapters.request.prefix_watch import PrefixWatch
from adapters.request.provider_fields import ProviderFieldsMemory
from adapters.request.tool_order import ToolOrder
from adapters.telemetry import litellm_callbacks, semconv, spans
from adapters.transport.litellm_bridge import has_callbacks
from adapters.transport.provider_transport import ProviderTransport
from adapters.transport.translation import ROUTES_WITHOUT_CHOICE
from adapters.transport.warmup import ROUNDS, WarmupTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from typing import Unpack

    from adapters.config import ProviderConfig
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

_logger = logging.getLogger(__name__)
_watch_logger = logging.getLogger(prefix_watch.__name__)


class LiteLLMProvider(LLMProvider):
    """A provider that LiteLLM can reach: one server, one model.

    Args:
        config: The settings, with secrets resolved (``create_provider`` does that).
        server: The embedded server of kind ``local``; the first request starts it, ``aclose`` stops it.
    """

    def __init__(self, config: ProviderConfig, *, server: LocalServer | None = None) -> None:
        self._config = config
        self._transport = ProviderTransport(config, server)
        self._capabilities = ServerCapabilities(config.name)
        if config.kind == "litellm" and self._transport.endpoint.route in ROUTES_WITHOUT_CHOICE:
            self._capabilities.learn_from_unwanted_call()
        self._provider_fields = ProviderFieldsMemory()
        self._target = semconv.of_target(config.kind, config.model, config.base_url)
        self._prefills: Prefills | None = None
        self._asked_s = -math.inf  # when a question came last, on the monotonic clock
        self._prefix_watch = PrefixWatch(config.name)
        self._tool_order = ToolOrder()
        self._is_warm = False
        self._logged_options: set[str] = set()
        self._first_token_times = FirstTokenTimes()
        if config.prewarm:
            self._transport.begin_loading()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have been asked nothing, and the clock of another machine began at another time."""
        return {**vars(self), "_asked_s": -math.inf}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.provider_name!r}, model={self.model!r})"

    @property
    def provider_name(self) -> str:
        """Name of the provider entry in the configuration, or its kind."""
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
        """The setting ``num_ctx`` in tokens, or None. Ollama ignores it at its OpenAI-compatible address."""
        return self._config.num_ctx

    async def chat(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None = None,
        *,
        response_format: ResponseFormat[ParsedT] | None = None,
        **kwargs: Unpack[BaseCallOptions],
    ) -> LLMResponse[ParsedT]:
        """Send one request and return the whole response; see ``LLMProvider.chat``."""
        arguments = CallArguments(
            messages, tools, kwargs if response_format is None else {**kwargs, "response_format": response_format}
        )
        del messages, tools, kwargs  # an error tracker that records variables must not see them
        # Only a stream shows when the first token and the first text arrive.
        is_streamed = (
            self._config.timeouts.first_text_s is not None
            or arguments.options.get("first_token_timeout") is not None
            or arguments.options.get("first_text_timeout") is not None
        )
        return await self._call(arguments, stream=is_streamed).response()

    def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[str]:
        """Stream the text of one response, without tool calls; see ``LLMProvider.chat_stream``."""
        arguments = CallArguments(messages, tools, kwargs)
        del messages, tools, kwargs  # as in ``chat``
        return texts_of(self._call(arguments, stream=True, wants_text=True).events())

    def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and tool calls of one response, from one request; see ``LLMProvider.stream_events``."""
        arguments = CallArguments(messages, tools, kwargs)
        del messages, tools, kwargs  # as in ``chat``
        return self._call(arguments, stream=True).events()

    def _check_arguments(
        self, messages: list[Message], tools: list[ToolSpec] | None, options: Mapping[str, Any]
    ) -> None:
        arguments = CallArguments(messages, tools, options)
        del messages, tools, options  # as in ``chat``
        parse_params(arguments, stream=True)

    def _stream_for_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        on_first_token: Callable[[], None],
        first_token_s: float | None,
        first_text_s: float | None = None,
        on_queue: Callable[[bool], None] | None = None,
    ) -> AsyncIterator[StreamEvent]:
        if (first_token_s or 0.0) > self._config.timeouts.first_token_s:
            options = {**options, "first_token_timeout": first_token_s}
        if first_text_s is not None:
            options = {**options, "first_text_timeout": first_text_s}
        arguments = CallArguments(messages, tools, options)
        del messages, tools, options  # as in ``chat``
        hooks: dict[str, Any] = {"on_first_token": on_first_token, "on_queue": on_queue}
        return self._call(arguments, stream=True, retry_timeouts=False, **hooks).events()

    def _hedge_after_s(self) -> float | None:
        return self._first_token_times.percentile_s

    def _call(
        self,
        arguments: CallArguments,
        *,
        stream: bool,
        wants_text: bool = False,
        is_prefill: bool = False,
        **hooks: Any,
    ) -> ProviderCall:
        """Validate the arguments of a call and start its clock.

        Raises:
            ConfigError: If an argument is wrong.
        """
        params = parse_params(arguments, stream=stream, wants_text=wants_text)
        if params.options:
            log_unknown_options(self.provider_name, params.options, self._logged_options)
        prepared = self._tool_order.settle(self.prepare_tools(params.tools)) if params.tools else params.tools
        params = replace(params, messages=self._provider_fields.restore(params.messages), tools=prepared)
        if is_prefill:
            params = prefill_params(params, self._config)
        else:
            self._last_usage = self._last_response = None
            hooks["on_response"] = partial(self._remember, params)
            self._asked_s = time.monotonic()
            if self._prefills is not None:
                self._prefills.give_way()
            if _watch_logger.isEnabledFor(logging.INFO):
                hooks["on_accepted"] = self._prefix_watch.note
        return ProviderCall(
            params,
            self._config,
            self._transport,
            self._capabilities,
            self._target,
            first_token_times=self._first_token_times,
            **hooks,
        )

    def prepare_tools(self, tools: list[ToolSpec]) -> list[ToolSpec]:
        """Return the tools without descriptions for FunctionGemma on Ollama, unchanged for all other models.

        Ollama's template writes the descriptions into the prompt, and a model of 270M parameters does better without.
        """
        if self._config.kind != "ollama" or "functiongemma" not in self.model.lower():
            return tools
        return [
            {**tool, "function": {**tool["function"], "description": ""}}
            if isinstance(tool.get("function"), dict)
            else tool
            for tool in tools
        ]

    def _remember(self, params: RequestParams, response: LLMResponse) -> None:
        """Keep what ``last_response`` and the next request need."""
        self._last_usage, self._last_response = response.usage, response
        self._provider_fields.remember(params.messages, response.tool_calls)

    async def prewarm(
        self,
        messages: list[Message] | None = None,
        tools: list[ToolSpec] | None = None,
        *,
        freeze_gc: bool = False,
        **kwargs: Unpack[CallOptions],
    ) -> None:
        """Load LiteLLM, open the connection, and prefill a prompt; failures of the server are only logged.

        A prefill sends the request that the first question will begin with, for one token of an answer, and returns
        when the server has evaluated it, so that its prefix cache holds the prompt and its model is loaded. It ends at
        once when a question comes. It is no answer: neither telemetry nor callbacks nor ``last_response`` show it.

        Args:
            messages: The conversation before the first question, such as the system message; None prefills nothing.
            tools: The tools of the first question.
            freeze_gc: Whether to exempt all objects that the process has then from garbage collection. LiteLLM brings
                400,000: without them a full collection stops every thread for 5 ms instead of 160 ms. Reference cycles
                among the exempted objects live until the process ends, so this is for the start of a program.
            **kwargs: The options of the first question, as for ``chat``, if they change its prompt.

        Raises:
            ConfigError: If an argument is wrong.
        """
        arguments = prefill_arguments(messages, tools, kwargs)
        del messages, tools, kwargs  # as in ``chat``
        if arguments is not None:
            parse_params(arguments, stream=True)
        began_s, is_ready = time.monotonic(), True
        try:
            await self._prewarm()
        except APIError as error:
            _logger.warning("%s: prewarm failed (%s).", self.provider_name, kind_of(error))
            is_ready = False
        if self.mcp_servers is not None:
            await self.mcp_servers.tools()
        if self._config.prefill is not False:
            if arguments is not None and is_ready:
                await self._run_prefill(arguments, began_s)
            elif self._config.keep_warm_s is not None:
                self._keep_warm(arguments or CallArguments([], None, {}))
        if freeze_gc:
            freeze_objects()

    async def _prefill(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        since_s: float = math.inf,
    ) -> None:
        arguments = CallArguments(messages, tools, options)
        del messages, tools, options  # as in ``chat``
        wanted = self._config.prefill
        if self._config.is_local if wanted is None else wanted:
            await self._run_prefill(arguments, since_s)

    async def _run_prefill(self, arguments: CallArguments, since_s: float) -> None:
        """Prefill the prompt of a question, unless there is a question already, or was one since this time."""
        prefills = self._keep_warm(arguments)
        if not self._transport.has_question() and self._asked_s <= since_s:
            await prefills.run(self._call(arguments, stream=True, is_prefill=True))

    def _keep_warm(self, arguments: CallArguments) -> Prefills:
        """Repeat a prefill in place of an earlier one, if the provider has ``keep_warm_s``."""
        idle_s = self._config.keep_warm_s or 0.0
        if self._prefills is None:
            self._prefills = Prefills(self.provider_name, self._config.keep_warm_s)
        own = weakref.ref(self)
        arguments = replace(arguments, messages=[*arguments.messages])  # the caller's list grows

        def make_call() -> ProviderCall | None:
            provider = own()
            if provider is None or not provider._is_idle(idle_s):  # noqa: SLF001 - of the same class
                return None
            return provider._call(arguments, stream=True, is_prefill=True)  # noqa: SLF001 - as above

        self._prefills.repeat(make_call)
        return self._prefills

    def _is_idle(self, idle_s: float) -> bool:
        """Return whether there is no question, and was none for so long."""
        return not self._transport.has_question() and time.monotonic() - self._asked_s >= idle_s

    async def _prewarm(self) -> None:
        await asyncio.to_thread(spans.load)
        listed = await self._transport.prewarm()
        if self._config.kind == "openrouter" and not self._config.models:
            await self._learn_model(listed)
        if self._is_warm:
            return
        try:
            await self._warm_up()
        except APIError as error:
            _logger.info("%s: warmup failed, the first request may be slower: %s", self.provider_name, error)
        self._is_warm = True

    async def _probe(self) -> None:
        await self._transport.prewarm(is_probe=True)

    async def _load(self) -> None:
        await self._transport.load()

    async def _learn_model(self, listed: bytes) -> None:
        """Read from OpenRouter's model list which parameters the model supports, and warn if it is missing."""
        model, meant = await asyncio.to_thread(find_model, listed, self.model)  # a long list takes a second
        if model is None:
            if meant:
                _logger.warning(
                    "%s does not list %s. Did you mean %s?", self.provider_name, self.model, " or ".join(meant)
                )
            return
        if model.supports_tools is False:
            _logger.warning("%s: %s does not support tool calls.", self.provider_name, self.model)
        if model.supported_parameters is not None:
            self._capabilities.learn_supported_parameters(model.supported_parameters)

    async def _warm_up(self) -> None:
        """Run the response path with a throwaway provider, without network and telemetry."""
        other = LiteLLMProvider(self._config)
        other._transport = WarmupTransport(self._config)
        messages: list[Message] = [{"role": "user", "content": "-"}]
        with spans.suppressed():
            for _ in range(ROUNDS):
                await whole_answer(other.stream_events(messages, max_retries=0))
                await other.chat(messages, max_retries=0)

    async def aclose(self) -> None:
        """Close the connections of this event loop and stop the embedded server.

        Reports to LiteLLM's callbacks that are still on their way get a bounded time.
        """
        if self._prefills is not None:
            self._prefills.stop()
        try:
            await self._transport.aclose()
        finally:
            if self.mcp_servers is not None:
                await self.mcp_servers.aclose()
        if has_callbacks():
            await litellm_callbacks.flush()
