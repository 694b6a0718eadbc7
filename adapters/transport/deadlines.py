"""How long one try may wait for the server.

HTTP timeouts are not enough: a server that sends a comment each second never runs into one. Only useful data moves
the limits on silence. All of them are wall time, loading and reading included; what does not count is the time that
the listener takes between two pieces.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from adapters.config import TimeoutConfig

LINGER_S = 1.0
"""How long to wait for usage and the end of the body once the answer has said that it is finished."""

T = TypeVar("T")
Limit = Literal["first_token_s", "stall_s", "total_s", "deadline_s", "linger"]


class DeadlineExceeded(TimeoutError):  # noqa: N818 - it becomes an APITimeoutError; the name says what happened
    """The server took too long.

    Attributes:
        limit: The setting that was missed, or ``linger`` after the finish of an answer.
        seconds: The limit's length.
    """

    def __init__(self, limit: Limit, seconds: float) -> None:
        super().__init__(f"{limit} of {seconds:g} s")
        self.limit = limit
        self.seconds = seconds


class Deadlines:
    """The clock of one try.

    There are two ways to wait under it. ``wait`` limits one slow thing. ``guard`` limits the reading of a body, in
    which many waits follow each other: one timer for all of them, which looks again when it rings early.

    Args:
        timeouts: The provider's limits, in seconds.
        streamed: Whether the first token and each pause have a limit of their own; an answer that comes in one
            piece has only the total.
        total_s: Seconds for the whole call, if it has a limit of its own.
        began_s: When the call began, on the monotonic clock; earlier tries count.
        retry_s: Seconds after which a try that repeats another one must have brought something, or None.
        on_useful: Is called when the first useful data has come, or None.
    """

    def __init__(
        self,
        timeouts: TimeoutConfig,
        *,
        streamed: bool,
        total_s: float | None = None,
        began_s: float | None = None,
        retry_s: float | None = None,
        on_first_token: Callable[[], None] | None = None,
    ) -> None:
        now_s = time.monotonic()
        self._timeouts = timeouts
        self._streamed = streamed
        self._total_s = timeouts.total_s if total_s is None else total_s
        self._began_s = now_s if began_s is None else began_s
        self._retry_s = retry_s
        self._on_useful = on_first_token
        self._quiet_since_s: float | None = None  # since the request left, or the last useful data
        self._held_since_s: float | None = None  # since the listener has what came last
        self._has_token = False
        self._is_complete = False
        self._abort: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.exceeded: DeadlineExceeded | None = None

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await something that is slow.

        Raises:
            DeadlineMissed: If the nearest limit is reached first.
        """
        limit, seconds, left_s = self._nearest()
        scope = asyncio.timeout(left_s)
        try:
            async with scope:
                return await awaitable
        except TimeoutError:
            if not scope.expired():
                raise
            raise DeadlineExceeded(limit, seconds) from None

    def request_sent(self) -> None:
        """Note that the request is about to leave: from now on the server is silent."""
        self._quiet_since_s = time.monotonic()

    def token_received(self) -> None:
        """Note that text, reasoning or a part of a call has come."""
        self._quiet_since_s = time.monotonic()
        if not self._has_token:
            self._has_token = True
            if self._on_useful is not None:
                self._on_useful()
            self._rearm()  # a pause may be shorter than the wait for the first token

    def response_complete(self) -> None:
        """Note that the answer has said that it is finished: what still comes is a bonus."""
        if not self._is_complete:
            self._is_complete = True
            self._quiet_since_s = time.monotonic()
            self._rearm()

    def pause(self) -> None:
        """Note that the listener has the floor."""
        self._held_since_s = time.monotonic()

    def resume(self) -> None:
        """Note that the listener wants more; the time that it took does not count."""
        if self._held_since_s is not None:
            held_s = time.monotonic() - self._held_since_s
            self._held_since_s = None
            self._began_s += held_s
            if self._quiet_since_s is not None:
                self._quiet_since_s += held_s
        if self._abort is not None and self._timer is None:
            self._rearm()

    def guard(self, abort: Callable[[], None]) -> None:
        """Call ``abort`` when a limit is reached from now on; ``exceeded`` tells which, and ``release`` ends it.

        Args:
            abort: Ends whatever is waited for.
        """
        self._abort = abort
        self._rearm()

    def release(self) -> None:
        """End the guard."""
        self._abort = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rearm(self) -> None:
        """See to it that the timer rings in time; one that rings early looks again."""
        if self._abort is None:
            return
        loop, left_s = asyncio.get_running_loop(), self._nearest()[2]
        if self._timer is not None:
            if self._timer.when() <= loop.time() + left_s:
                return
            self._timer.cancel()
        self._timer = loop.call_later(left_s, self._ring)

    def _ring(self) -> None:
        """Look whether a limit is reached; useful data has moved most of them since the timer was set."""
        self._timer = None
        if self._abort is None or self._held_since_s is not None:
            return  # ``resume`` sets it again
        limit, seconds, left_s = self._nearest()
        if left_s > 0:
            self._rearm()
        else:
            self.exceeded = DeadlineExceeded(limit, seconds)
            self._abort()

    def _nearest(self) -> tuple[Limit, float, float]:
        """The limit that ends first: its name, its length and what is left of it, in seconds."""
        now_s = time.monotonic()
        call_s = now_s - self._began_s
        limits: list[tuple[Limit, float, float]] = [("total_s", self._total_s, call_s)]
        if self._retry_s is not None and not self._has_token:
            limits.append(("deadline_s", self._retry_s, call_s))
        if self._quiet_since_s is not None:  # before, LiteLLM is loaded or a server is started
            quiet_s = now_s - self._quiet_since_s
            if self._is_complete:
                limits.append(("linger", LINGER_S, quiet_s))
            elif self._streamed and self._has_token:
                limits.append(("stall_s", self._timeouts.stall_s, quiet_s))
            elif self._streamed:
                limits.append(("first_token_s", self._timeouts.first_token_s, quiet_s))
        limit, seconds, spent_s = min(limits, key=lambda each: each[1] - each[2])
        return limit, seconds, max(seconds - spent_s, 0.0)
