"""``FallbackProvider``: several providers behind the contract of one; another one answers when one fails.

It only composes: one call is scheduled in ``adapters.fallback.hedge``, and failed providers are kept in
``adapters.fallback.cooldown``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from adapters.config.values import parse_hedge_after
from adapters.errors import AllProvidersFailedError, APIError, ConfigError, kind_of
from adapters.fallback.cooldown import LONGEST_COOLDOWN_S, Cooldowns
from adapters.fallback.hedge import GroupRequest, HedgedCall, HedgePolicy
from adapters.provider import LLMProvider, freeze_objects, texts_of, whole_answer
from adapters.request.params import CallArguments, parse_seconds
from adapters.request.prefill import prefill_arguments
from adapters.types import FallbackReason, ResponseDone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
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

_closing: set[asyncio.Task[None]] = set()  # the event loop itself keeps no strong reference


class FallbackProvider(LLMProvider):
    """A group of providers with failover: they are tried in order until one answers.

    Any ``APIError`` leads to the next provider, which has another server, key, model and context window: a request that
    one server rejects (400) may be accepted by another. After the first event of a stream there is no failover, because
    repeating half a spoken sentence is worse than an error. ``ConfigError`` and errors of the program are raised at
    once.

    Each provider has its own retries, but none after a timeout: a server that never responds costs its time limit once.
    Every request is streamed, also those of ``chat``, because only a stream shows in time that no token arrives.

    A provider that failed for a reason of its own (no connection, too many requests, a wrong key; not a rejected
    request or a garbled response) enters cooldown: it is tried last, until a health check in the background succeeds.

    If calls run at the same time, name, model, usage and response are those of the call that sent the latest event.
    What belongs to one call is in its response, as with every provider.

    Args:
        providers: At least one, the preferred one first; a ``FallbackProvider`` may be one of them. They are closed
            with this provider.
        cooldown_s: How long a failed provider stays in cooldown before it is probed, unless its server named a time;
            an hour at most.
        first_token_s: Time to the first useful token (text, reasoning or a part of a call), all retries included, after
            which the next provider that is not in cooldown is tried. The clock starts when LiteLLM is loaded. If all
            others fail, the late one is tried again. None leaves the limit to the ``timeouts.first_token_s`` of each
            provider.
        hedge_after_s: Time without a useful token after which a second request is sent to the next provider. The
            provider that sends a token first answers, and the other request is closed at once. ``"auto"`` takes the
            95th percentile of the provider's recent times to first token, from ten of them on. None never sends two
            requests.
        first_text_s: Time to the first text or tool call, after which the next provider is tried, like
            ``first_token_s``; reasoning does not count. None leaves the limit to the ``timeouts.first_text_s`` of each
            provider.

    Raises:
        ConfigError: If there are no providers, or a time is not a number of seconds.
    """

    def __init__(
        self,
        providers: Sequence[LLMProvider],
        *,
        cooldown_s: float = 30.0,
        first_token_s: float | None = None,
        hedge_after_s: float | Literal["auto"] | None = None,
        first_text_s: float | None = None,
    ) -> None:
        if not providers:
            raise ConfigError("A FallbackProvider needs at least one provider.")
        if not 0 <= cooldown_s < math.inf:
            raise ConfigError("cooldown_s must be a number of seconds, 0 or more.")
        try:
            self._hedge_after: float | Literal["auto"] | None = parse_hedge_after(hedge_after_s)
        except ValueError as error:
            raise ConfigError(f"hedge_after_s {error}.") from None
        self._providers = tuple(providers)
        self._cooldown_s = min(cooldown_s, LONGEST_COOLDOWN_S)
        self._first_token_s = parse_seconds("first_token_s", first_token_s)
        self._first_text_s = parse_seconds("first_text_s", first_text_s)
        self._cooldowns = Cooldowns(self._providers, self._cooldown_s)
        self._calls: set[HedgedCall] = set()
        self._latest = self._providers[0]
        self._logged_delays: set[int] = set()  # the providers whose measured hedge_after_s was logged
        self._logged_index = 0  # the provider that answers, as far as the log says

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self._providers))}])"

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
        """The ``think`` setting of the provider that answered last, or None."""
        return getattr(self._latest, "think", None)

    @property
    def temperature(self) -> float | None:
        """Sampling temperature of the provider that answered last, or None."""
        return getattr(self._latest, "temperature", None)

    @property
    def num_ctx(self) -> int | None:
        """Requested context window in tokens of the provider that answered last, or None."""
        return getattr(self._latest, "num_ctx", None)

    async def chat(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None = None,
        *,
        response_format: ResponseFormat[ParsedT] | None = None,
        **kwargs: Unpack[BaseCallOptions],
    ) -> LLMResponse[ParsedT]:
        """Return the whole response of the first provider that gives one.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call; each provider prepares them for its server.
            response_format: Required form of the response, as for ``LLMProvider.chat``.
            **kwargs: Parameters of this call alone. ``timeout`` limits the whole call with all its providers;
                ``first_token_timeout`` replaces ``first_token_s``, and ``first_text_timeout`` ``first_text_s``; they
                limit the last provider as well.

        Returns:
            The response. Its ``fallback_from`` names the providers that were passed over.

        Raises:
            AllProvidersFailedError: If no provider answered.
        """
        arguments = CallArguments(
            messages, tools, kwargs if response_format is None else {**kwargs, "response_format": response_format}
        )
        del messages, tools, kwargs  # an error tracker that records variables must not see them
        return await whole_answer(self._call(arguments, is_streamed=False))

    def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[str]:
        """Stream the text of the first provider that sends some; arguments and errors as for ``stream_events``."""
        arguments = CallArguments(messages, tools, {**kwargs, "tool_choice": "none"})
        del messages, tools, kwargs  # as in ``chat``
        return texts_of(self._call(arguments))

    def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Unpack[CallOptions]
    ) -> AsyncIterator[StreamEvent]:
        """Stream text and tool calls of the first provider that sends some.

        Args:
            messages: The conversation, in OpenAI format.
            tools: Tools that the model may call; each provider prepares them for its server.
            **kwargs: As for ``chat``.

        Returns:
            An iterator that raises ``AllProvidersFailedError`` if no provider sent anything, and the provider's own
            ``APIError`` if it failed after that.
        """
        arguments = CallArguments(messages, tools, kwargs)
        del messages, tools, kwargs  # as in ``chat``
        return self._call(arguments)

    def _call(self, arguments: CallArguments, *, is_streamed: bool = True) -> AsyncGenerator[StreamEvent, None]:
        """Check the arguments of a call and start its clock.

        Raises:
            ConfigError: If an argument is wrong for one of the providers.
        """
        self._check_arguments(arguments.messages, arguments.tools, arguments.options)
        self._last_usage = self._last_response = None
        return self._events(GroupRequest.parse(arguments), is_streamed=is_streamed)

    def _check_arguments(
        self, messages: list[Message], tools: list[ToolSpec] | None, options: Mapping[str, Any]
    ) -> None:
        arguments = CallArguments(messages, tools, options)
        del messages, tools, options  # as in ``chat``
        for provider in self._providers:
            provider._check_arguments(arguments.messages, arguments.tools, arguments.options)  # noqa: SLF001 - part of their common base class

    def _stream_for_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        on_first_token: Callable[[], None],
        first_token_s: float | None,  # noqa: ARG002 - the outer group enforces it; this group has limits of its own
        first_text_s: float | None = None,
        on_queue: Callable[[bool], None] | None = None,  # noqa: ARG002 - this group has other providers
    ) -> AsyncIterator[StreamEvent]:
        if first_text_s is not None:
            options = {**options, "first_text_timeout": first_text_s}
        arguments = CallArguments(messages, tools, options)
        del messages, tools, options  # as in ``chat``
        return self._events(GroupRequest.parse(arguments, on_first_token=on_first_token))

    def _hedge_after_s(self) -> float | None:
        return self._providers[self._first()]._hedge_after_s()  # noqa: SLF001 - part of their common base class

    def _first(self) -> int:
        """Return the provider that is asked first."""
        return min(range(len(self._providers)), key=self._cooldowns.has)

    async def prewarm(
        self,
        messages: list[Message] | None = None,
        tools: list[ToolSpec] | None = None,
        *,
        freeze_gc: bool = False,
        **kwargs: Unpack[CallOptions],
    ) -> None:
        """Prewarm all providers at once; a provider that cannot be reached enters cooldown, with a line in the log.

        Messages are prefilled on the providers whose server is local, and on those with ``prefill: true``.

        Args:
            messages: As for ``LiteLLMProvider.prewarm``.
            tools: As above.
            freeze_gc: As above.
            **kwargs: As above.

        Raises:
            ConfigError: If an argument is wrong for one of the providers.
        """
        arguments = prefill_arguments(messages, tools, kwargs)
        del messages, tools, kwargs  # as in ``chat``
        if arguments is not None:
            self._check_arguments(arguments.messages, arguments.tools, arguments.options)
        await self._prewarm_all(arguments)
        if self.mcp_servers is not None:
            await self.mcp_servers.tools()
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
        available = [index for index in range(len(self._providers)) if not self._cooldowns.has(index)]
        await asyncio.gather(*(self._prefill_member(index, arguments, since_s) for index in available))

    async def _prefill_member(self, index: int, arguments: CallArguments, since_s: float) -> None:
        provider, given = self._providers[index], arguments
        await provider._prefill(given.messages, given.tools, given.options, since_s=since_s)  # noqa: SLF001 - part of their common base class

    async def _prewarm(self) -> None:
        errors = await self._prewarm_all()
        if len(errors) == len(self._providers):
            raise AllProvidersFailedError(errors)

    async def _probe(self) -> None:
        results = await asyncio.gather(*(provider._probe() for provider in self._providers), return_exceptions=True)  # noqa: SLF001 - part of their common base class
        errors = _api_errors(results)
        if len(errors) == len(self._providers):
            raise AllProvidersFailedError(list(errors.values()))

    async def _load(self) -> None:
        await self._providers[self._first()]._load()  # noqa: SLF001 - part of their common base class

    async def _prewarm_all(self, arguments: CallArguments | None = None) -> list[APIError]:
        """Prewarm all providers at once and return the errors of those that cannot be reached.

        Args:
            arguments: Those of the question to prefill, or None.
        """
        cooldowns = self._cooldowns  # closed with the group, even if a new group of cooldowns has begun by the end
        indexes = range(len(self._providers))
        results = await asyncio.gather(
            *(self._prewarm_member(index, cooldowns, arguments) for index in indexes), return_exceptions=True
        )
        return list(_api_errors(results).values())

    async def _prewarm_member(self, index: int, cooldowns: Cooldowns, arguments: CallArguments | None) -> None:
        """Prewarm one provider, and prefill as soon as it is ready: the slowest of the group does not hold it up.

        Raises:
            APIError: If it cannot be reached; then it is in cooldown.
        """
        began_s = time.monotonic()
        try:
            await self._providers[index]._prewarm()  # noqa: SLF001 - part of their common base class
        except APIError as error:
            cooldowns.begin(index, error)
            state = "is in cooldown" if cooldowns.has(index) else "is not ready"
            _logger.warning("%s %s: prewarm failed (%s).", error.provider, state, kind_of(error))
            raise
        if arguments is not None:
            await self._prefill_member(index, arguments, began_s)

    async def aclose(self) -> None:
        """Close all providers, also if closing one of them fails, and end what runs: calls, cooldowns and probes.

        Calls of this event loop that still wait for an answer raise ``APIConnectionError``. A later call opens the
        connections again.
        """
        cooldowns, self._cooldowns = self._cooldowns, Cooldowns(self._providers, self._cooldown_s)
        loop = asyncio.get_running_loop()
        for call in list(self._calls):
            if call.loop is loop:
                call.stop()
        probes, closings = cooldowns.close(), [_start(provider.aclose()) for provider in self._providers]
        if self.mcp_servers is not None:
            closings.append(_start(self.mcp_servers.aclose()))
        await asyncio.wait([*probes, *closings])  # if this is cancelled, they go on
        errors = [error for task in closings if (error := task.exception()) is not None]
        if errors:
            raise errors[0]

    async def _events(self, request: GroupRequest, *, is_streamed: bool = True) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of the first provider that sends some.

        Args:
            request: The arguments of the call.
            is_streamed: Whether the caller uses each event as it comes: then there is no failover after the first.
        """
        call = HedgedCall(self._providers, request, self._policy_for(request), self._cooldowns)
        self._calls.add(call)
        try:
            while True:
                attempt = await call.winner()
                has_answered = False
                try:
                    event = attempt.first.result()
                    while event is not None:
                        if not has_answered:
                            self._note_start(attempt.index, call.errors)
                            has_answered = True
                        event = self._note(attempt.index, event, call)
                        yield event
                        event = await attempt.next_event()
                except APIError as error:
                    call.fail(attempt, error)
                    if has_answered and is_streamed:
                        raise
                else:
                    return
        finally:
            self._calls.discard(call)
            await call.aclose()

    def _policy_for(self, request: GroupRequest) -> HedgePolicy:
        own_s, own_text_s = request.first_token_s, request.first_text_s
        return HedgePolicy(
            first_token_s=self._first_token_s if own_s is None else own_s,
            applies_to_last=own_s is not None,
            hedge_after_s=self._hedge_after,
            first_text_s=self._first_text_s if own_text_s is None else own_text_s,
            text_applies_to_last=own_text_s is not None,
        )

    def _note_start(self, index: int, errors: Sequence[APIError]) -> None:
        """End the cooldown of the provider that answers; log if it is another one than the last time, and why."""
        self._cooldowns.end(index)
        if index == self._logged_index:
            return
        former_index, self._logged_index = self._logged_index, index
        name, former = self._providers[index].provider_name, self._providers[former_index].provider_name
        if errors:
            failed = ", ".join(f"{error.provider} ({kind_of(error)})" for error in errors)
            _logger.warning("%s failed; %s answers.", failed, name)
        elif index < former_index:
            _logger.info("%s answers again, in place of %s.", name, former)
        elif self._cooldowns.has(former_index):
            _logger.info("%s answers while %s is in cooldown.", name, former)
        else:
            _logger.info("%s was faster than %s, and answers.", name, former)

    def _note(self, index: int, event: StreamEvent, call: HedgedCall) -> StreamEvent:
        """Remember the provider that answers and its response, which gets the reasons why it was asked."""
        self._latest = self._providers[index]
        if isinstance(event, ResponseDone):
            response = event.response
            if passed_over := self._passed_over(index, call):
                response = replace(response, fallback_from=passed_over + response.fallback_from)
            if call.hedge_after_s is not None:
                response = replace(response, hedge_after_s=call.hedge_after_s)
                self._log_delay(call)
            event = ResponseDone(response)
            self._last_response, self._last_usage = event.response, event.response.usage
        return event

    def _log_delay(self, call: HedgedCall) -> None:
        """Log the measured delay of a provider, the first time at INFO."""
        if self._hedge_after == "auto":
            first = call.first
            level = logging.DEBUG if first in self._logged_delays else logging.INFO
            self._logged_delays.add(first)
            name, after_s = self._providers[first].provider_name, call.hedge_after_s
            _logger.log(level, "hedge_after_s is %.3g s for %s, as measured.", after_s, name)

    def _passed_over(self, index: int, call: HedgedCall) -> tuple[FallbackReason, ...]:
        """Return why the response does not come from the providers before this one, or from those that failed."""
        failed = [(failed_index, error) for failed_index, error in call.failures if failed_index != index]
        asked = {failed_index for failed_index, _ in failed}
        reasons = [
            FallbackReason(self._providers[other].provider_name, call.in_cooldown.get(other), other in call.in_cooldown)
            for other in range(index)
            if other not in asked
        ]
        leaves = [leaf for _, error in failed for leaf in _leaves(error)]
        return (*reasons, *(FallbackReason(leaf.provider, type(leaf).__name__) for leaf in leaves))


def _leaves(error: APIError) -> list[APIError]:
    """Return the errors of the single providers: an error of a group holds those of its members."""
    if not isinstance(error, AllProvidersFailedError):
        return [error]
    return [leaf for member in error.errors for leaf in _leaves(member)]


def _api_errors(results: Sequence[BaseException | None]) -> dict[int, APIError]:
    """Return the errors by the position of their provider; raise what is no ``APIError``."""
    errors: dict[int, APIError] = {}
    for index, result in enumerate(results):
        if isinstance(result, APIError):
            errors[index] = result
        elif result is not None:
            raise result
    return errors


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that goes on when its caller is cancelled."""
    task = asyncio.create_task(work)
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    return task
