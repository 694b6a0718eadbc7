"""``HedgedCall``: one call of a group, answered by the first of its providers that sends something useful.

It starts requests in order, or beside each other, and ends those that lose. It only schedules: which providers are in
cooldown is decided in ``adapters.fallback.cooldown``, and log lines are written by ``adapters.fallback.provider``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Literal

from adapters.errors import AllProvidersFailedError, APIConnectionError, APIError, APITimeoutError
from adapters.provider import stream_without_end
from adapters.request.params import parse_seconds
from adapters.telemetry import spans
from adapters.types import ResponseDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from adapters.fallback.cooldown import Cooldowns
    from adapters.provider import LLMProvider
    from adapters.request.params import CallArguments
    from adapters.types import StreamEvent

_logger = logging.getLogger(__name__)

_CLOSING_S = 0.1  # how long an answer waits for requests that are closed; what takes longer goes on in the background

_OWN_OPTIONS = frozenset({"first_token_timeout", "first_text_timeout"})  # limits of the group, not of the request
_NO_TEXT = ("first_text_s", "thinking")  # reasons of a provider that was too late with its text

_closing: set[asyncio.Task[Any]] = set()  # the event loop itself keeps no strong reference


def _ignore() -> None:
    """Do nothing: the default of a callback."""


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """What one call of a group asks for.

    Attributes:
        arguments: Messages, tools and keywords, as each provider gets them.
        first_token_s: The caller's own limit until the first useful token of each provider, or None.
        timeout_s: The caller's limit for the whole call, or None.
        first_text_s: The caller's own limit until the first text or tool call of each provider, or None.
        on_first_token: Called when the first useful token has arrived.
        began_s: When the call was made, on the monotonic clock.
    """

    arguments: CallArguments
    first_token_s: float | None
    timeout_s: float | None
    first_text_s: float | None = None
    on_first_token: Callable[[], None] = _ignore
    began_s: float = field(default_factory=time.monotonic)

    @classmethod
    def parse(cls, arguments: CallArguments, *, on_first_token: Callable[[], None] = _ignore) -> GroupRequest:
        """Read the caller's arguments; the clock of the call starts.

        Raises:
            ConfigError: If a time is not a number of seconds above 0.
        """
        first_token_s = parse_seconds("first_token_timeout", arguments.options.get("first_token_timeout"))
        timeout_s = parse_seconds("timeout", arguments.options.get("timeout"))
        first_text_s = parse_seconds("first_text_timeout", arguments.options.get("first_text_timeout"))
        if not _OWN_OPTIONS.isdisjoint(arguments.options):
            options = {name: value for name, value in arguments.options.items() if name not in _OWN_OPTIONS}
            arguments = replace(arguments, options=options)
        return cls(arguments, first_token_s, timeout_s, first_text_s, on_first_token)

    @property
    def left_s(self) -> float | None:
        """Seconds that are left for the whole call, rounded up, as an error may name them; None without a limit."""
        if self.timeout_s is None:
            return None
        left_s = self.began_s + self.timeout_s - time.monotonic()
        return min(math.ceil(max(left_s, 0.0) * 100) / 100, self.timeout_s)

    def open_stream(
        self, provider: LLMProvider, *, on_first_token: Callable[[], None], **limits: Any
    ) -> AsyncIterator[StreamEvent]:
        """Open the stream of one provider, which gets what is left of the time for the whole call."""
        left = {} if self.left_s is None else {"timeout": self.left_s}
        return provider._stream_for_group(  # noqa: SLF001 - part of their common base class
            self.arguments.messages,
            self.arguments.tools,
            {**self.arguments.options, **left},
            on_first_token=on_first_token,
            **limits,
        )


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """How long one call waits for a provider.

    Attributes:
        first_token_s: Seconds until the first useful token, or None to leave it to each provider.
        applies_to_last: Whether that limit also ends a request when no other provider is left.
        hedge_after_s: Seconds without a useful token after which the next request starts beside it, ``auto`` for the
            95th percentile of the provider's recent times, or None for never.
        first_text_s: Seconds until the first text or tool call, or None to leave it to each provider.
        text_applies_to_last: Whether that limit applies also when no other provider is left.
    """

    first_token_s: float | None = None
    applies_to_last: bool = False
    hedge_after_s: float | Literal["auto"] | None = None
    first_text_s: float | None = None
    text_applies_to_last: bool = False

    @property
    def text_gives_up(self) -> bool:
        """Whether a provider that is late with its text is given up for the sake of the others."""
        return self.first_text_s is not None and not self.text_applies_to_last


class HedgeAttempt:
    """One request to one provider: its first event is awaited in a task, the others are read by ``next_event``.

    Args:
        index: Position of the provider in the group.
        provider: The provider.
        request: The arguments of the call.
        first_token_s: The group's limit until the first useful token, or None.
        first_text_s: The group's limit until the first text or tool call, or None.
        hedge_after_s: Seconds without a useful token after which the next request starts beside it, or None.
        errors: What failed before in the same call, for the telemetry.
        news: Set when the first useful token or the first event is there, or the request failed.

    Attributes:
        index: Position of the provider in the group.
        started_s: When its clock started, on the monotonic clock, or None while the code that it needs is loaded.
        hedge_after_s: The argument.
        has_token: Whether a useful token has arrived, which may be long before the first event.
        is_queued: Whether the request waits for others of the same provider (``max_concurrent``).
        first: The task that waits for the first event.
    """

    def __init__(
        self,
        index: int,
        provider: LLMProvider,
        request: GroupRequest,
        *,
        first_token_s: float | None,
        first_text_s: float | None,
        hedge_after_s: float | None,
        errors: Sequence[APIError],
        news: asyncio.Event,
    ) -> None:
        self.index = index
        self.started_s: float | None = None
        self.hedge_after_s = hedge_after_s
        self.has_token = self.is_queued = False
        self._provider = provider
        self._request = request
        self._limits = {"first_token_s": first_token_s, "first_text_s": first_text_s}
        self._errors = errors
        self._news = news
        self._stream: AsyncIterator[StreamEvent] | None = None
        self._is_complete = False
        self._closing: asyncio.Task[Any] | None = None
        self.first: asyncio.Task[StreamEvent | None] = asyncio.create_task(self._read_first())
        self.first.add_done_callback(self._first_is_done)

    @property
    def is_silent(self) -> bool:
        """Whether neither a token nor an event nor an error has come of it."""
        return not self.has_token and not self.first.done()

    async def next_event(self) -> StreamEvent | None:
        """Return the next event, or None at the end of a whole answer.

        Raises:
            IncompleteResponseError: If the stream ended without ``ResponseDone``.
        """
        assert self._stream is not None  # noqa: S101 - it is open once the first event is there
        event = await anext(self._stream, None)
        if isinstance(event, ResponseDone):
            self._is_complete = True
        elif event is None and not self._is_complete:
            raise stream_without_end(self._provider)
        return event

    def close(self) -> asyncio.Task[Any] | None:
        """End the request.

        What can be cancelled is cancelled before this returns, and the rest is closed in a task of its own, so that a
        caller that is cancelled again leaves nothing open. A second call changes nothing.

        Returns:
            The task that ends when everything is closed, or None if everything is.
        """
        if self._closing is None:
            if not self.first.done():
                self.first.cancel()
                self._closing = self.first
            elif self._stream is not None and not _is_finished(self._stream):
                self._closing = asyncio.create_task(_close(self._stream, self._provider.provider_name))
            else:
                return None
            _closing.add(self._closing)
            self._closing.add_done_callback(_closing.discard)
        return self._closing

    async def _read_first(self) -> StreamEvent | None:
        with suppress(TimeoutError):  # then the provider itself raises, for its time is over as well
            async with asyncio.timeout(self._request.left_s):
                await self._provider._load()  # noqa: SLF001 - part of their common base class
        self.started_s = time.monotonic()
        self._news.set()  # the call may have something to wait for now
        with spans.after(self._errors):
            self._stream = self._request.open_stream(
                self._provider, on_first_token=self._token_received, on_queue=self._queue_changed, **self._limits
            )
            try:
                return await self.next_event()
            except BaseException:
                stream, self._stream = self._stream, None
                if not _is_finished(stream):
                    await _close(stream, self._provider.provider_name)
                raise

    def _token_received(self) -> None:
        self.has_token = True
        self._news.set()
        self._request.on_first_token()

    def _queue_changed(self, is_queued: bool) -> None:
        self.is_queued = is_queued

    def _first_is_done(self, first: asyncio.Task[StreamEvent | None]) -> None:
        if not first.cancelled():
            first.exception()  # retrieved here, or asyncio would log that of a request that lost
        self._news.set()


class HedgedCall:
    """One call of a group. ``winner`` waits for the provider that answers; close the call with ``aclose``.

    Args:
        providers: The group.
        request: The arguments of the call.
        policy: How long to wait for a provider.
        cooldowns: Which providers to ask last, and where failures start a cooldown.

    Attributes:
        hedge_after_s: After which silence of the provider that was asked first the next one is asked, or None.
        in_cooldown: The providers that were in cooldown when the call began: index -> class name of the error.
        loop: The event loop of the call.
    """

    def __init__(
        self, providers: Sequence[LLMProvider], request: GroupRequest, policy: HedgePolicy, cooldowns: Cooldowns
    ) -> None:
        self._providers = providers
        self._request = request
        self._policy = policy
        self._cooldowns = cooldowns
        indexes = range(len(providers))
        self.in_cooldown = {index: name for index in indexes if (name := cooldowns.error(index)) is not None}
        # Providers of the last resort: no other one is given up or hedged for their sake.
        self._last_resort = set(self.in_cooldown)
        self._waiting = sorted(indexes, key=self._last_resort.__contains__)
        self._asked: list[int] = []
        self._running: list[HedgeAttempt] = []
        self._closing: list[asyncio.Task[Any]] = []
        self._given_up: set[int] = set()
        self._failures: dict[int, APIError] = {}
        self._news = asyncio.Event()
        self._is_stopped = False
        self.hedge_after_s: float | None = None
        self.loop = asyncio.get_running_loop()

    @property
    def failures(self) -> list[tuple[int, APIError]]:
        """The failed providers with their latest errors, in the order in which they were first asked."""
        return [(index, self._failures[index]) for index in self._asked if index in self._failures]

    @property
    def errors(self) -> list[APIError]:
        """The errors of ``failures``."""
        return [error for _, error in self.failures]

    @property
    def first(self) -> int:
        """The provider that was asked first."""
        return self._asked[0]

    async def winner(self) -> HedgeAttempt:
        """Wait for a request whose first event is there; all others are ended then.

        Raises:
            AllProvidersFailedError: If no provider is left.
            APIConnectionError: If the group was closed meanwhile.
        """
        while True:
            self._news.clear()
            if self._is_stopped:
                raise self._closed()
            self._review()
            if not self._running:
                self._start_next()
            leader = self._running[0]
            if leader.has_token and leader.first.done():
                return leader
            try:
                async with asyncio.timeout(self._wait_s()):
                    await self._news.wait()
            except TimeoutError:
                self._end_silence()

    def fail(self, attempt: HedgeAttempt, error: APIError) -> None:
        """Note that a request failed, and end it; a closed group starts no cooldown."""
        self._failures[attempt.index] = error
        self._cooldowns.begin(attempt.index, error)
        self._end(attempt)

    def stop(self) -> None:
        """End the call because its group is closed: no other provider is asked."""
        self._is_stopped = True
        for attempt in self._running:
            if not attempt.first.done():
                attempt.close()
        self._news.set()

    async def aclose(self) -> None:
        """End all requests, and wait a moment for those that take time to close."""
        for attempt in list(self._running):
            self._end(attempt)
        if closing := [task for task in self._closing if not task.done()]:
            await asyncio.wait(closing, timeout=_CLOSING_S)  # cancels none of them if it is cancelled itself

    def _review(self) -> None:
        """Note which requests failed and which have begun to answer; the first of those wins, the others are ended."""
        for attempt in list(self._running):
            if not attempt.first.done():
                continue
            error = attempt.first.exception()
            if isinstance(error, APIError):
                self.fail(attempt, error)
                if error._reason in _NO_TEXT and self._policy.text_gives_up:
                    self._ask_again_last(attempt.index)
            elif error is not None:
                raise error
            else:
                attempt.has_token = True
        leader = next((attempt for attempt in self._running if attempt.has_token), None)
        if leader is not None and len(self._running) > 1:
            others = [attempt for attempt in self._running if attempt is not leader]
            for attempt in others:
                self._end(attempt)
            # They are asked again if the leader fails before its first event.
            self._waiting[:0] = [attempt.index for attempt in others]

    def _start_next(self) -> None:
        if not self._may_start():
            if not self._asked:  # the stream was opened and read too late
                self._failures[self._waiting[0]] = self._late(self._waiting[0], self._request.timeout_s)
                self._asked.append(self._waiting[0])
            errors = self.errors
            raise AllProvidersFailedError(errors) from errors[-1]
        index = self._waiting.pop(0)
        if index not in self._asked:
            self._asked.append(index)
        hedge_after_s = self._hedge_after_s(index)
        if len(self._asked) == 1:
            self.hedge_after_s = hedge_after_s
        has_others = bool(self._running) or self._has_alternative(index)
        attempt = HedgeAttempt(
            index,
            self._providers[index],
            self._request,
            first_token_s=self._policy.first_token_s,
            first_text_s=self._policy.first_text_s if has_others or self._policy.text_applies_to_last else None,
            hedge_after_s=hedge_after_s,
            errors=self.errors,
            news=self._news,
        )
        self._running.append(attempt)

    def _may_start(self) -> bool:
        return bool(self._waiting) and self._request.left_s != 0

    def _has_alternative(self, index: int) -> bool:
        """Whether the next provider is as good as this one."""
        return self._may_start() and (self._waiting[0] not in self._last_resort or index in self._last_resort)

    def _hedge_after_s(self, index: int) -> float | None:
        """Return after which silence of a provider the next one is asked beside it, or None for never."""
        after_s = self._policy.hedge_after_s
        return self._providers[index]._hedge_after_s() if after_s == "auto" else after_s  # noqa: SLF001 - part of their common base class

    def _end(self, attempt: HedgeAttempt) -> None:
        self._running.remove(attempt)
        if (closing := attempt.close()) is not None:
            self._closing.append(closing)

    def _wait_s(self) -> float | None:
        """Seconds until a provider is given up or hedged, or None for as long as it takes."""
        moments_s = [moment_s for moment_s in (self._give_up_at_s(), self._hedge_at_s()) if moment_s is not None]
        return max(min(moments_s) - time.monotonic(), 0.0) if moments_s else None

    def _end_silence(self) -> None:
        """Give up what has been silent for too long, and start the next request if it is time."""
        now_s = time.monotonic()
        while (at_s := self._give_up_at_s()) is not None and at_s <= now_s:
            self._give_up(self._running[0])
        at_s = self._hedge_at_s()
        if at_s is not None and at_s <= now_s:
            self._start_next()

    def _give_up(self, attempt: HedgeAttempt) -> None:
        """End a request that is late; its provider is asked again, once, when all others have failed."""
        late = self._late(attempt.index, self._policy.first_token_s)
        if attempt.is_queued:
            late._reason = "queue"
        self.fail(attempt, late)
        if not self._policy.applies_to_last:
            self._ask_again_last(attempt.index)

    def _ask_again_last(self, index: int) -> None:
        """Let a provider that was late be asked again, once, when all others have failed."""
        if index not in self._given_up:
            self._given_up.add(index)
            self._last_resort.add(index)
            self._waiting.append(index)

    def _give_up_at_s(self) -> float | None:
        """When the request that started first has had its time, or None if it may take as long as it likes."""
        limit_s = self._policy.first_token_s
        if limit_s is None or not self._running:
            return None
        first = self._running[0]
        if first.started_s is None or not first.is_silent:
            return None
        has_others = len(self._running) > 1 or self._has_alternative(first.index)
        return first.started_s + limit_s if has_others or self._policy.applies_to_last else None

    def _hedge_at_s(self) -> float | None:
        """When the next request starts beside the latest, or None if none does."""
        if not self._running or not self._running[0].is_silent:
            return None
        latest = self._running[-1]
        if latest.hedge_after_s is None or latest.started_s is None:
            return None
        return latest.started_s + latest.hedge_after_s if self._has_alternative(self._running[0].index) else None

    def _late(self, index: int, limit_s: float | None) -> APITimeoutError:
        provider = self._providers[index]
        text = f"{provider.provider_name} did not answer in time ({limit_s:g} seconds). Please try again."
        return APITimeoutError(text, provider=provider.provider_name, model=provider.model, retryable=True)

    def _closed(self) -> APIConnectionError:
        provider = self._providers[0]
        text = f"The connection to {provider.provider_name} was closed."
        error = APIConnectionError(text, provider=provider.provider_name, model=provider.model)
        error._reason = "closed"
        return error


def _is_finished(stream: AsyncIterator[StreamEvent]) -> bool:
    """Whether a stream has ended, so that there is nothing to close."""
    return isinstance(stream, AsyncGeneratorType) and stream.ag_frame is None


async def _close(stream: AsyncIterator[StreamEvent], provider_name: str) -> None:
    """Close a stream; the answer is there, or another error, so that a failure is only logged."""
    try:
        if aclose := getattr(stream, "aclose", None):
            await aclose()
    except Exception as error:  # noqa: BLE001 - a provider of the program may raise anything
        _logger.warning("An answer of %s could not be closed: %s.", provider_name, type(error).__name__)
