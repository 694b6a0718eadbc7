"""``FallbackProvider``: several providers behind the contract of one; the next one answers when one fails.

It only composes: no HTTP, no retries of its own. Each provider has had its own tries before its error arrives here,
so give the providers in front few of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.errors import AllProvidersFailedError, APIError, BadRequestError, ConfigError, IncompleteResponseError
from adapters.provider import LLMProvider, closing
from adapters.telemetry import after, opened_after
from adapters.types import ResponseDone, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from adapters.types import LLMResponse, Message, StreamEvent, ToolCall, ToolSpec

_logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")

_REMEMBERED_CALLS = 1000  # far more than one conversation holds, and small


class FallbackProvider(LLMProvider):
    """Asks its providers in order until one answers.

    Any ``APIError`` moves on to the next provider, which has another server, key, model and context window; a refused
    request (400) may be welcome there. Once something was streamed nothing moves on: repeating half a spoken sentence
    is worse than an error. ``ConfigError`` and errors of the program are raised at once.

    A provider that failed for a reason of its own (no connection, too many requests, a wrong key; not a refused request
    or a garbled answer) rests: for a while it is asked last, so that not every turn waits for the same timeout.

    Of turns that run at the same time, name, model, usage and answer are those of whichever moved last; what belongs
    to one of them stands in its answer, as with every provider.

    Args:
        providers: At least one, the preferred one first; a ``FallbackProvider`` may be one of them. They are closed
            with this provider.
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
        self._told = 0  # whose turn it is, as the log knows it
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
            tools: Tools that the model may call; the provider that is asked prepares them.
            **kwargs: Sampling parameters of this request alone.

        Returns:
            The answer.

        Raises:
            AllProvidersFailedError: If no provider answered.
        """
        self._last_usage = self._last_response = None
        asked = _Asked((messages, tools), kwargs)
        del messages, tools, kwargs  # tracebacks with the values of variables would show them
        errors: list[APIError] = []
        for index in self._order():
            try:
                with after(errors):
                    response = await asked.of(self._providers[index])
            except APIError as error:
                self._rest(index, error)
                errors.append(error)
            else:
                self._took_over(index, errors)
                self._answered(index, response.tool_calls)
                self._last_response, self._last_usage = response, response.usage
                return response
        raise AllProvidersFailedError(errors) from errors[-1]

    def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Stream the text of the first provider that sends some; arguments and errors as for ``stream_events``."""
        return self._stream(lambda provider: provider.chat_stream(messages, tools, **kwargs))

    def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and tool calls of the first provider that sends some.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call; the provider that is asked prepares them.
            **kwargs: Sampling parameters of this request alone.

        Returns:
            An iterator that raises ``AllProvidersFailedError`` if no provider sent anything, and the provider's own
            ``APIError`` if it failed after that.
        """
        return self._stream(lambda provider: provider.stream_events(messages, tools, **kwargs))

    async def prewarm(self) -> None:
        """Prewarm all providers at once; one that cannot be reached rests, and is told in the log."""
        await self._prewarm_all()

    async def _prewarm(self) -> None:
        errors = await self._prewarm_all()
        if len(errors) == len(self._providers):
            raise AllProvidersFailedError(errors)

    async def _prewarm_all(self) -> list[APIError]:
        """Prewarm all providers at once and return the errors of those that cannot be reached."""
        # Their public prewarm would only log it.
        warming = [provider._prewarm() for provider in self._providers]  # noqa: SLF001 - the class is their own base
        errors: list[APIError] = []
        for index, result in enumerate(await asyncio.gather(*warming, return_exceptions=True)):
            if isinstance(result, APIError):
                _logger.warning("Warming up failed; another provider is asked first for a while: %s", result)
                self._rest(index, result)
                errors.append(result)
            elif result is not None:
                raise result
        return errors

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
        self._last_usage = self._last_response = None
        errors: list[APIError] = []
        for index in self._order():
            provider, answering = self._providers[index], False
            try:
                async with closing(opened_after(errors, open_stream(provider))) as stream:
                    async for item in stream:
                        self._took_over(index, errors, again=answering)
                        answering = True
                        self._answered(index, [item.tool_call] if isinstance(item, ToolCallDone) else [])
                        if isinstance(item, ResponseDone):
                            self._last_response, self._last_usage = item.response, item.response.usage
                        yield item
            except APIError as error:
                self._rest(index, error)
                if answering:
                    raise
                errors.append(error)
            else:
                self._took_over(index, errors, again=answering)
                self._answered(index)
                if self._last_response is None:  # text alone: what is known of its answer, the provider noted
                    self._last_response, self._last_usage = provider.last_response, provider.last_usage
                return
        raise AllProvidersFailedError(errors) from errors[-1]

    def _order(self) -> list[int]:
        """Return which providers to ask, the resting ones last."""
        now_s = time.monotonic()
        return sorted(range(len(self._providers)), key=lambda index: self._rests_until_s[index] > now_s)

    def _rest(self, index: int, error: APIError) -> None:
        if _is_its_own(error):
            rest_s = self._cooldown_s if error.retry_after_s is None else error.retry_after_s
            self._rests_until_s[index] = time.monotonic() + rest_s

    def _took_over(self, index: int, errors: Sequence[APIError], *, again: bool = False) -> None:
        """Tell in the log when another provider answers than the last time, and why; once for each turn."""
        if again or index == self._told:
            return
        former, self._told = self._providers[self._told], index
        name = self._providers[index].provider_name
        if errors:
            # Classes and not sentences: a server may have repeated the prompt in its own.
            failed = ", ".join(f"{each.provider} ({_kind_of(each)})" for each in errors)
            _logger.warning("%s failed; %s answers now.", failed, name)
        elif index < self._providers.index(former):
            _logger.info("%s answers again, in place of %s.", name, former.provider_name)
        else:
            _logger.info("%s answers while %s rests.", name, former.provider_name)

    def _answered(self, index: int, tool_calls: Sequence[ToolCall] = ()) -> None:
        self._rests_until_s[index] = 0.0
        self._latest = self._providers[index]
        self._makers |= {call.id: self._latest for call in tool_calls}
        while len(self._makers) > _REMEMBERED_CALLS:
            del self._makers[next(iter(self._makers))]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The arguments of one ``chat``; their ``repr`` shows nothing that the caller wrote."""

    arguments: tuple[Any, ...] = field(repr=False)
    options: dict[str, Any] = field(repr=False)

    async def of(self, provider: LLMProvider) -> LLMResponse:
        return await provider.chat(*self.arguments, **self.options)


def _kind_of(error: APIError) -> str:
    kind = type(error).__name__
    return kind if error.status_code is None else f"{kind}, status {error.status_code}"


def _is_its_own(error: APIError) -> bool:
    """Whether a provider failed for a reason of its own, and not for the request or by bad luck."""
    if isinstance(error, AllProvidersFailedError):  # a group: one that is there may take the next request
        return all(_is_its_own(each) for each in error.errors)
    return not isinstance(error, BadRequestError | IncompleteResponseError)
