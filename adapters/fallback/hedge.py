"""``HedgedCall``: several providers are asked for one answer, one after the other or side by side; one of them is heard.

It knows no rests and tells nothing in the log: whom to ask, and how, it is told by ``adapters.fallback``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.errors import AllProvidersFailedError, APIError
from adapters.request.params import parse_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping

    from adapters.provider import LLMProvider
    from adapters.types import Message, StreamEvent, ToolSpec

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """What one call asks; its ``repr`` shows nothing that the caller wrote.

    Attributes:
        messages: The conversation.
        tools: The tools, as the agent wrote them.
        options: The keywords that a provider gets.
        first_token_s: The caller's own limit until the first useful token of each provider, or None.
        until_s: When the time for the whole call is over, on the monotonic clock, or None.
    """

    messages: list[Message] = field(repr=False)
    tools: list[ToolSpec] | None = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    first_token_s: float | None
    until_s: float | None

    @classmethod
    def of(cls, messages: list[Message], tools: list[ToolSpec] | None, options: Mapping[str, Any]) -> GroupRequest:
        """Read what the caller wrote.

        Raises:
            ConfigError: If a time is of no use.
        """
        own = dict(options)
        first_token_s = parse_seconds("first_token_timeout", own.pop("first_token_timeout", None))
        timeout_s = parse_seconds("timeout", own.get("timeout"))
        return cls(messages, tools, own, first_token_s, None if timeout_s is None else time.monotonic() + timeout_s)

    def of_one(
        self, provider: LLMProvider, began: Callable[[], None], first_token_s: float | None
    ) -> AsyncIterator[StreamEvent]:
        """Open the stream of one provider, which has what is left of the time for the whole call."""
        left = {} if self.until_s is None else {"timeout": max(self.until_s - time.monotonic(), 0.001)}
        return provider._stream_for_group(  # noqa: SLF001 - the class is their own base
            self.messages,
            self.tools,
            {**self.options, **left},
            on_request_sent=_nothing,
            on_first_token=began,
            first_token_s=first_token_s,
        )


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """How long a race waits.

    Attributes:
        first_token_s: Seconds that one provider has until something useful comes, or None if it decides itself.
        is_for_all: Whether that is so too when there is nobody else to ask.
        hedge_after_s: Seconds of silence after which the next is asked beside the one before, or None for never.
        until_s: When nobody else is asked any more, on the monotonic clock, or None.
    """

    first_token_s: float | None = None
    is_for_all: bool = False
    hedge_after_s: float | None = None
    until_s: float | None = None


@dataclass(eq=False, slots=True)
class HedgeAttempt:
    """One provider that was asked.

    Attributes:
        index: Which one.
        number: The how manieth that was asked, from 0.
        asked_s: When, on the monotonic clock.
        first: Waits for its first event; its result is None if there is none at all.
        stream: Its answer, once it is open.
        began: Whether something useful has come, which may be long before the first event.
    """

    index: int
    number: int
    asked_s: float = field(default_factory=time.monotonic)
    first: asyncio.Task[StreamEvent | None] = field(init=False)
    stream: AsyncIterator[StreamEvent] | None = None
    began: bool = False

    @property
    def spoke(self) -> bool:
        """Whether there is news of it."""
        return self.began or self.first.done()

    async def next_event(self) -> StreamEvent | None:
        """Return the event that follows, or None at the end."""
        assert self.stream is not None  # noqa: S101 - it was open before its first event came
        return await anext(self.stream, None)

    async def close(self) -> None:
        """End the request at once, wherever it stands."""
        self.first.cancel()
        await asyncio.wait([self.first])
        _ = self.first.cancelled() or self.first.exception()  # nobody wants it now, and asyncio would complain of that
        if aclose := getattr(self.stream, "aclose", None):
            await aclose()


class HedgedCall:
    """Asks until one speaks; use it for one answer, and close it.

    Args:
        order: Whom to ask, the first one first.
        ask: Opens the stream of one of them, and takes what is to be called when something useful has come.
        patience: How long to wait.
        resting: Who is asked only when the others have failed by themselves: nobody is given up or hedged for them.
        late: Makes the error of one that said nothing for so many seconds.
        failed: Is told of each failure.
    """

    def __init__(
        self,
        order: Iterable[int],
        ask: Callable[[int, Callable[[], None]], AsyncIterator[StreamEvent]],
        patience: HedgePolicy,
        *,
        resting: Collection[int],
        late: Callable[[int, float], APIError],
        failed: Callable[[int, APIError], None],
    ) -> None:
        self._waiting = list(order)
        self._ask = ask
        self._patience = patience
        self._resting = resting
        self._late = late
        self._failed = failed
        self._running: list[HedgeAttempt] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._errors: list[tuple[int, APIError]] = []
        self._asked = 0
        self._news = asyncio.Event()

    @property
    def errors(self) -> list[APIError]:
        """What has failed, in the order in which they were asked."""
        return [error for _, error in sorted(self._errors, key=lambda each: each[0])]

    async def speaker(self) -> HedgeAttempt:
        """Wait for one whose first event is there; all others are closed then.

        Raises:
            AllProvidersFailedError: If nobody is left.
        """
        while True:
            self._news.clear()
            self._look()
            if not self._running:
                self._ask_next()
            leader = self._running[0]
            if leader.began and leader.first.done():
                return leader
            try:
                async with asyncio.timeout(self._wait_s()):
                    await self._news.wait()
            except TimeoutError:
                self._give_up_or_hedge()

    def fail(self, runner: HedgeAttempt, error: APIError) -> None:
        """Note that one has failed, and end it."""
        self._errors.append((runner.number, error))
        self._failed(runner.index, error)
        self._leave(runner)

    async def aclose(self) -> None:
        """End all that still runs, and wait for what is ending."""
        for runner in list(self._running):
            self._leave(runner)
        for result in await asyncio.gather(*self._closing, return_exceptions=True):
            if result is not None:  # the answer is there, or another error: this one must not take its place
                _logger.warning("An answer could not be closed: %s.", type(result).__name__)

    def _look(self) -> None:
        """Take note of who failed and who has begun; the first to begin is heard, and the others are closed."""
        for runner in list(self._running):
            if not runner.first.done():
                continue
            error = runner.first.exception()
            if isinstance(error, APIError):
                self.fail(runner, error)
            elif error is not None:
                raise error
            else:
                runner.began = True
        leader = next((runner for runner in self._running if runner.began), None)
        if leader is not None and len(self._running) > 1:
            others = [runner for runner in self._running if runner is not leader]
            for runner in others:
                self._leave(runner)
            # Should the leader fail before its first word, they are asked again.
            self._waiting[:0] = [runner.index for runner in others]

    def _ask_next(self) -> None:
        if not self._may_ask():
            errors = self.errors
            raise AllProvidersFailedError(errors) from errors[-1]
        runner = HedgeAttempt(self._waiting.pop(0), self._asked)
        self._asked += 1

        def begin() -> None:
            runner.began = True
            self._news.set()

        async def first() -> StreamEvent | None:
            runner.stream = self._ask(runner.index, begin)
            return await anext(runner.stream, None)

        runner.first = asyncio.create_task(first())
        runner.first.add_done_callback(lambda _: self._news.set())
        self._running.append(runner)

    def _may_ask(self) -> bool:
        until_s = self._patience.until_s
        in_time = until_s is None or time.monotonic() < until_s or not self._asked
        return bool(self._waiting) and in_time

    def _has_another(self) -> bool:
        """Whether the next one is worth as much as those that run; it needs one that runs."""
        return self._may_ask() and (self._waiting[0] not in self._resting or self._running[0].index in self._resting)

    def _leave(self, runner: HedgeAttempt) -> None:
        self._running.remove(runner)
        self._closing.add(asyncio.create_task(runner.close()))

    def _wait_s(self) -> float | None:
        """Seconds until somebody is given up, or hedged; None for as long as it takes."""
        moments = [moment_s for moment_s in (self._given_up_s(), self._hedged_s()) if moment_s is not None]
        return max(min(moments) - time.monotonic(), 0.0) if moments else None

    def _give_up_or_hedge(self) -> None:
        now_s = time.monotonic()
        while (given_up_s := self._given_up_s()) is not None and given_up_s <= now_s:
            runner = self._running[0]  # the first that was asked
            self.fail(runner, self._late(runner.index, given_up_s - runner.asked_s))
        hedged_s = self._hedged_s()
        if hedged_s is not None and hedged_s <= now_s:
            self._ask_next()

    def _given_up_s(self) -> float | None:
        """When the one that was asked first has had its time; None if it may take as long as it likes."""
        budget_s = self._patience.first_token_s
        if budget_s is None or not self._running or self._running[0].spoke:
            return None
        has_others = len(self._running) > 1 or self._has_another()
        return self._running[0].asked_s + budget_s if has_others or self._patience.is_for_all else None

    def _hedged_s(self) -> float | None:
        """When the next is asked beside the one that was asked last; None if nobody is."""
        after_s = self._patience.hedge_after_s
        if after_s is None or not self._running or self._running[0].spoke or not self._has_another():
            return None
        return self._running[-1].asked_s + after_s
