"""``LiteLLMProvider``: the one adapter. It builds one request, has LiteLLM send it, and shapes the answer.

``chat``, ``chat_stream`` and ``stream_events`` are one flow: ask, read chunk by chunk, close the answer. What a
body means is read in ``wire`` and ``answer``, what a server does not take is remembered in ``concessions``.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.arguments import read_arguments
from adapters.attempt import Attempt
from adapters.concessions import Concessions
from adapters.errors import APIError
from adapters.extras import Extras
from adapters.provider import LLMProvider
from adapters.request import Ask
from adapters.retry import with_retries
from adapters.types import ResponseDone, TextDelta
from adapters.wire.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from adapters.config import ProviderConfig
    from adapters.local import LocalServer
    from adapters.types import LLMResponse, Message, StreamEvent, ToolCall, ToolSpec

logger = logging.getLogger(__name__)


class LiteLLMProvider(LLMProvider):
    """Any provider that speaks OpenAI's chat completions, through LiteLLM.

    Args:
        config: The provider, with its secrets looked up (``create_provider`` does that).
        server: The embedded server of kind ``local``; it is started by the first request and stopped by ``aclose``.
    """

    def __init__(self, config: ProviderConfig, *, server: LocalServer | None = None) -> None:
        self._config = config
        self._connection = Connection(config, server)
        self._concessions = Concessions()
        self._extras = Extras()

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

    async def chat(self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any) -> LLMResponse:
        """Ask once and wait for the whole answer; see ``LLMProvider.chat``."""
        ask = Ask(messages, self.prepare_tools(tools or []), "auto", stream=False, options=kwargs)
        response: LLMResponse | None = None
        async with aclosing(self._events(ask)) as events:
            async for event in events:
                if isinstance(event, ResponseDone):
                    response = event.response
        assert response is not None  # noqa: S101 - every stream of events ends with it, or raises
        return response

    async def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Stream the text of one answer, without calls; see ``LLMProvider.chat_stream``."""
        ask = Ask(messages, self.prepare_tools(tools or []), "none", stream=True, options=kwargs)
        async with aclosing(self._events(ask)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text

    async def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and calls of one answer, from one request; see ``LLMProvider.stream_events``."""
        ask = Ask(messages, self.prepare_tools(tools or []), "auto", stream=True, options=kwargs)
        async with aclosing(self._events(ask)) as events:
            async for event in events:
                yield event

    async def prewarm(self) -> None:
        """Load LiteLLM and open the connection; a server that cannot be reached is only logged."""
        try:
            await self._connection.prewarm()
        except APIError as error:
            logger.warning("Warming up failed; the first request will tell more: %s", error)

    async def aclose(self) -> None:
        """Close the connections of this event loop and stop the embedded server."""
        await self._connection.aclose()

    def parse_tool_arguments(self, arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a server sent
        """Read a tool call's arguments in every form that servers use; never raises."""
        return read_arguments(arguments)[0]

    def format_tool_call_message(self, content: str | None, tool_calls: Sequence[ToolCall]) -> Message:
        """Build the assistant message of these calls, with what the provider wants back beside them.

        Gemini rejects a conversation whose calls come back without their thought signature, and OpenRouter one
        without ``reasoning_details``.
        """
        return self._extras.attach(super().format_tool_call_message(content, tool_calls))

    async def _events(self, ask: Ask) -> AsyncGenerator[StreamEvent, None]:
        """One answer; a try that fails before its first event is repeated if the policy allows it."""
        self._last_usage = None
        first, attempt = await with_retries(self._config.retry, partial(self._begin, ask))
        async with aclosing(attempt.events) as events:
            yield self._noted(first, attempt)
            async for event in events:
                yield self._noted(event, attempt)

    async def _begin(self, ask: Ask) -> tuple[StreamEvent, Attempt]:
        """Ask until the first event is there; what the server refuses by name is left out and asked again."""
        while True:
            attempt = Attempt(self._config, self._connection, self._concessions, ask)
            try:
                return await anext(attempt.events), attempt
            except BaseException as error:
                await attempt.events.aclose()
                if not attempt.is_worth_another(error):
                    raise

    def _noted(self, event: StreamEvent, attempt: Attempt) -> StreamEvent:
        """Remember what the last event brings: usage, and extras that must come back."""
        if isinstance(event, ResponseDone):
            self._last_usage = event.response.usage
            self._extras.remember(event.response.tool_calls, attempt.extras, attempt.details)
        return event
