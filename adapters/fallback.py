"""``FallbackProvider``: several providers behind the contract of one; the next one answers when one fails.

It only composes: no HTTP, no retries of its own. Each provider has had its own tries before its error arrives here,
so give the providers in front few of them.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.errors import AllProvidersFailedError, APIError, BadRequestError, ConfigError, IncompleteResponseError
from adapters.provider import LLMProvider
from adapters.streams import closing
from adapters.types import ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from adapters.types import LLMResponse, Message, StreamEvent, ToolCall, ToolSpec

_Item = TypeVar("_Item")

_REMEMBERED_CALLS = 1000  # far more than one conversation holds, and small


class FallbackProvider(LLMProvider):
    """Asks its providers in order until one answers.

    Any ``APIError`` moves on to the next provider, which has another server, key, model and context window; a refused
    request (400) may be welcome there. Once something was streamed nothing moves on: repeating half a spoken sentence
    is worse than an error. ``ConfigError`` and errors of the program are raised at once.

    A provider that failed for a reason of its own (no connection, too many requests, a wrong key; not a refused request
    or a garbled answer) rests: for a while it is asked last, so that not every turn waits for the same timeout.

    Args:
        providers: At least one, the preferred one first. They are closed with this provider.
        cooldown_s: How long a failed provider rests, unless its server named a time to come back.

    Raises:
        ConfigError: If there are no providers.
    """

    def __init__(self, providers: Sequence[LLMProvider], *, cooldown_s: float = 30.0) -> None:
        if not providers:
            raise ConfigError("A FallbackProvider needs at least one provider.")
        self._providers = tuple(providers)
        self._cooldown_s = cooldown_s
        self._rests_until_s = [0.0] * len(self._providers)  # on the monotonic clock
        self._latest = self._providers[0]
        self._makers: dict[str, LLMProvider] = {}  # by the id of a call

    @property
    def provider_name(self) -> str:
        """Name of the provider that answered last; at first, of the preferred one."""
        return self._latest.provider_name

    @property
    def model(self) -> str:
        """Model of the provider that answered last; at first, of the preferred one."""
        return self._latest.model

    @property
    def supports_think(self) -> bool:
        """Whether the provider that answered last can switch thinking on and off."""
        return self._latest.supports_think

    async def chat(self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any) -> LLMResponse:
        """Return the whole answer of the first provider that gives one.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call.
            **kwargs: Sampling parameters of this request alone.

        Returns:
            The answer.

        Raises:
            AllProvidersFailedError: If no provider answered.
        """
        errors: list[APIError] = []
        for index in self._order():
            provider = self._providers[index]
            try:
                response = await provider.chat(messages, _prepared(provider, tools), **kwargs)
            except APIError as error:
                self._rest(index, error)
                errors.append(error)
            else:
                self._answered(index, response.tool_calls)
                return response
        raise AllProvidersFailedError(errors) from errors[-1]

    def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Stream the text of the first provider that sends some; arguments and errors as for ``stream_events``."""
        return self._stream(lambda provider: provider.chat_stream(messages, _prepared(provider, tools), **kwargs))

    def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and tool calls of the first provider that sends some.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call.
            **kwargs: Sampling parameters of this request alone.

        Returns:
            An iterator that raises ``AllProvidersFailedError`` if no provider sent anything, and the provider's own
            ``APIError`` if it failed after that.
        """
        return self._stream(lambda provider: provider.stream_events(messages, _prepared(provider, tools), **kwargs))

    async def prewarm(self) -> None:
        """Prewarm all providers at once; one that cannot be reached rests, and is no error yet."""
        results = await asyncio.gather(*(provider.prewarm() for provider in self._providers), return_exceptions=True)
        for index, result in enumerate(results):
            if isinstance(result, APIError):
                self._rest(index, result)
            elif result is not None:
                raise result

    async def aclose(self) -> None:
        """Close all providers, also when closing one of them fails."""
        results = await asyncio.gather(*(provider.aclose() for provider in self._providers), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    def format_tool_result(self, content: str, tool_call_id: str | None, tool_name: str | None = None) -> Message:
        """Build the message that carries a tool's result, as the provider wants it that made the call."""
        maker = self._makers.get(tool_call_id or "", self._latest)
        return maker.format_tool_result(content, tool_call_id, tool_name)

    def format_tool_call_message(self, content: str | None, tool_calls: Sequence[ToolCall]) -> Message:
        """Build the assistant message with the calls, by the provider that made them: it knows what goes with them."""
        maker = self._makers.get(tool_calls[0].id, self._latest) if tool_calls else self._latest
        return maker.format_tool_call_message(content, tool_calls)

    async def _stream(self, open_stream: Callable[[LLMProvider], AsyncIterator[_Item]]) -> AsyncIterator[_Item]:
        errors: list[APIError] = []
        for index in self._order():
            answering = False
            try:
                async with closing(open_stream(self._providers[index])) as stream:
                    async for item in stream:
                        answering = True
                        self._answered(index, [item.tool_call] if isinstance(item, ToolCallDone) else [])
                        yield item
            except APIError as error:
                self._rest(index, error)
                if answering:
                    raise
                errors.append(error)
            else:
                self._answered(index)
                return
        raise AllProvidersFailedError(errors) from errors[-1]

    def _order(self) -> list[int]:
        """Return which providers to ask, the resting ones last."""
        now_s = time.monotonic()
        return sorted(range(len(self._providers)), key=lambda index: self._rests_until_s[index] > now_s)

    def _rest(self, index: int, error: APIError) -> None:
        if not isinstance(error, BadRequestError | IncompleteResponseError):  # about the request, or bad luck
            rest_s = self._cooldown_s if error.retry_after_s is None else error.retry_after_s
            self._rests_until_s[index] = time.monotonic() + rest_s

    def _answered(self, index: int, tool_calls: Sequence[ToolCall] = ()) -> None:
        self._rests_until_s[index] = 0.0
        self._latest = self._providers[index]
        self._last_usage = self._latest.last_usage
        self._makers |= {call.id: self._latest for call in tool_calls}
        while len(self._makers) > _REMEMBERED_CALLS:
            del self._makers[next(iter(self._makers))]


def _prepared(provider: LLMProvider, tools: list[ToolSpec] | None) -> list[ToolSpec] | None:
    return provider.prepare_tools(tools) if tools else tools
