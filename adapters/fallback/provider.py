"""``FallbackProvider``: several providers behind the contract of one; the next one answers when one fails.

It only composes, without HTTP: how several are asked at once is told in ``adapters.fallback.hedge``, who rests in
``adapters.fallback.cooldown``.
"""

from __future__ import annotations

import logging
import math
from asyncio import gather
from typing import TYPE_CHECKING, Any

from adapters.errors import AllProvidersFailedError, APIError, APITimeoutError, ConfigError, kind_of
from adapters.fallback.cooldown import Cooldowns, is_provider_fault
from adapters.fallback.hedge import GroupRequest, HedgedCall, HedgePolicy
from adapters.provider import LLMProvider, closing, whole_answer, with_response_format
from adapters.request.params import parse_seconds
from adapters.telemetry.spans import opened_after
from adapters.types import ResponseDone, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
    from typing import Unpack

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


class FallbackProvider(LLMProvider):
    """Asks its providers in order until one answers.

    Any ``APIError`` moves on to the next provider, which has another server, key, model and context window; a refused
    request (400) may be welcome there. Once something was streamed nothing moves on: repeating half a spoken sentence
    is worse than an error. ``ConfigError`` and errors of the program are raised at once.

    Each provider has its own tries, but none after a timeout: a mute one is waited for once. Every answer is asked for
    as a stream, also that of ``chat``, because only a stream shows in time that nothing comes.

    A provider that failed for a reason of its own (no connection, too many requests, a wrong key; not a refused request
    or a garbled answer) rests: it is asked last, until one cheap request in the background has found it again.

    Of turns that run at the same time, name, model, usage and answer are those of whichever moved last; what belongs
    to one of them stands in its answer, as with every provider.

    Args:
        providers: At least one, the preferred one first; a ``FallbackProvider`` may be one of them. They are closed
            with this provider.
        cooldown_s: How long a failed provider rests before it is looked for, unless its server named a time to come
            back.
        first_token_s: Seconds that a provider has until its first useful token (text, reasoning or a part of a call)
            while there is another one to ask that does not rest, all its tries and loading included. None leaves it to
            the ``timeouts.first_token_s`` of each.
        hedge_after_s: Seconds without a useful token after which the next provider is asked beside the one before.
            Who speaks first is heard, and the other request is closed at once. None never asks two.

    Raises:
        ConfigError: If there are no providers, or a time is of no use.
    """

    def __init__(
        self,
        providers: Sequence[LLMProvider],
        *,
        cooldown_s: float = 30.0,
        first_token_s: float | None = None,
        hedge_after_s: float | None = None,
    ) -> None:
        if not providers:
            raise ConfigError("A FallbackProvider needs at least one provider.")
        if hedge_after_s is not None and not 0 <= hedge_after_s < math.inf:
            raise ConfigError("hedge_after_s must be a number of seconds, 0 or more.")
        self._providers = tuple(providers)
        self._first_token_s = parse_seconds("first_token_s", first_token_s)
        self._hedge_after_s = hedge_after_s
        self._cooldowns = Cooldowns(self._providers, cooldown_s)
        self._latest = self._providers[0]
        self._told = 0  # whose turn it is, as the log knows it

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

    @property
    def think(self) -> bool | None:
        """What the provider that answered last was told about thinking, as ``LiteLLMProvider`` has it."""
        return getattr(self._latest, "think", None)

    @property
    def temperature(self) -> float | None:
        """Sampling temperature of the provider that answered last, or None."""
        return getattr(self._latest, "temperature", None)

    @property
    def num_ctx(self) -> int | None:
        """Wanted context window in tokens of the provider that answered last, or None."""
        return getattr(self._latest, "num_ctx", None)

    async def chat(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None = None,
        *,
        response_format: ResponseFormat[ParsedT] | None = None,
        **kwargs: Unpack[BaseCallOptions],
    ) -> LLMResponse[ParsedT]:
        """Return the whole answer of the first provider that gives one.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call; the provider that is asked prepares them.
            response_format: Required form of the response, as for ``LLMProvider.chat``.
            **kwargs: Sampling parameters of this request alone. ``timeout`` is for the whole call, whoever answers;
                ``first_token_timeout`` stands in for ``first_token_s``, and the last provider has no more either.

        Returns:
            The answer.

        Raises:
            AllProvidersFailedError: If no provider answered.
        """
        asked = GroupRequest.of(messages, tools, with_response_format(kwargs, response_format))
        del messages, tools, kwargs  # tracebacks with the values of variables would show them
        return await whole_answer(self._events(asked, heard=False))

    async def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[str]:
        """Stream the text of the first provider that sends some; arguments and errors as for ``stream_events``."""
        asked = GroupRequest.of(messages, tools, {**kwargs, "tool_choice": "none"})
        del messages, tools, kwargs  # as in ``chat``
        async with closing(self._events(asked)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text

    def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and tool calls of the first provider that sends some.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call; the provider that is asked prepares them.
            **kwargs: As for ``chat``.

        Returns:
            An iterator that raises ``AllProvidersFailedError`` if no provider sent anything, and the provider's own
            ``APIError`` if it failed after that.
        """
        return self._events(GroupRequest.of(messages, tools, kwargs))

    def _stream_for_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        on_request_sent: Callable[[], None],
        on_first_token: Callable[[], None],
        first_token_s: float | None,  # noqa: ARG002 - the group outside keeps it; ours have their own
    ) -> AsyncIterator[StreamEvent]:
        on_request_sent()
        return self._events(GroupRequest.of(messages, tools, options), began=on_first_token)

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
        for index, result in enumerate(await gather(*warming, return_exceptions=True)):
            if isinstance(result, APIError):
                _logger.warning("%s rests: warming up failed (%s).", result.provider, kind_of(result))
                self._start_cooldown(index, result)
                errors.append(result)
            elif result is not None:
                raise result
        return errors

    async def aclose(self) -> None:
        """Close all providers, also when closing one of them fails, and look for none any more."""
        await self._cooldowns.aclose()
        results = await gather(*(provider.aclose() for provider in self._providers), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    async def _events(
        self, asked: GroupRequest, *, heard: bool = True, began: Callable[[], None] | None = None
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of the first provider that has some.

        Args:
            asked: What is asked.
            heard: Whether each event is spoken as it comes: then nothing moves on after the first one.
            began: Is called when an answer has begun.
        """
        self._last_usage = self._last_response = None
        race = self._race(asked, began)
        try:
            while True:
                runner = await race.speaker()
                index, answering = runner.index, False
                try:
                    event = runner.first.result()
                    while event is not None:
                        self._took_over(index, race.errors, again=answering)
                        answering = True
                        self._note(index, event)
                        yield event
                        event = await runner.next_event()
                except APIError as error:
                    race.fail(runner, error)
                    if answering and heard:
                        raise
                else:
                    return
        finally:
            await race.aclose()

    def _race(self, asked: GroupRequest, began: Callable[[], None] | None) -> HedgedCall:
        """Prepare to ask; nobody is asked yet."""
        own_s = asked.first_token_s
        patience = HedgePolicy(
            first_token_s=self._first_token_s if own_s is None else own_s,
            is_for_all=own_s is not None,
            hedge_after_s=self._hedge_after_s,
            until_s=asked.until_s,
        )

        def ask(index: int, begin: Callable[[], None]) -> AsyncIterator[StreamEvent]:
            def tell() -> None:
                begin()
                if began is not None:
                    began()

            return opened_after(race.errors, asked.of_one(self._providers[index], tell, patience.first_token_s))

        everybody = range(len(self._providers))
        resting = {index for index in everybody if self._cooldowns.has(index)}
        order = sorted(everybody, key=resting.__contains__)  # they are asked last
        race = HedgedCall(order, ask, patience, resting=resting, late=self._late, failed=self._start_cooldown)
        return race

    def _late(self, index: int, waited_s: float) -> APIError:
        provider = self._providers[index]
        text = f"{provider.provider_name} did not answer in time ({waited_s:g} seconds). Please try again."
        return APITimeoutError(text, provider=provider.provider_name, model=provider.model, retryable=True)

    def _start_cooldown(self, index: int, error: APIError) -> None:
        if is_provider_fault(error):
            self._cooldowns.begin(index, error.retry_after_s)

    def _took_over(self, index: int, errors: Sequence[APIError], *, again: bool = False) -> None:
        """Tell in the log when another provider answers than the last time, and why; once for each turn."""
        if again or index == self._told:
            return
        former_index, self._told = self._told, index
        name, former = (self._providers[each].provider_name for each in (index, former_index))
        if errors:
            failed = ", ".join(f"{each.provider} ({kind_of(each)})" for each in errors)
            _logger.warning("%s failed; %s answers now.", failed, name)
        elif index < former_index:
            _logger.info("%s answers again, in place of %s.", name, former)
        elif self._cooldowns.has(former_index):
            _logger.info("%s answers while %s rests.", name, former)
        else:
            _logger.info("%s was faster than %s, and answers.", name, former)

    def _note(self, index: int, event: StreamEvent) -> None:
        """Remember who answers, and the whole answer at its end."""
        self._cooldowns.end(index)
        self._latest = self._providers[index]
        if isinstance(event, ResponseDone):
            self._last_response, self._last_usage = event.response, event.response.usage
