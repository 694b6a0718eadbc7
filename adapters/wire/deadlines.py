"""How long one try may wait for the server.

HTTP timeouts are not enough: a server that sends a comment each second never runs into one. Only useful data moves
these deadlines, and only time spent waiting counts, not the time that the listener takes between two pieces.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from adapters.config import TimeoutConfig

LINGER_S = 1.0
"""How long to wait for usage and the end of the body once the answer has said that it is finished."""

T = TypeVar("T")
Missed = Literal["first_token_s", "stall_s", "total_s", "linger"]


class DeadlineMissed(TimeoutError):  # noqa: N818 - it becomes an APITimeoutError; the name says what happened
    """The server took too long.

    Attributes:
        limit: The setting that was missed, or ``linger`` after the finish of an answer.
        seconds: The limit's length.
    """

    def __init__(self, limit: Missed, seconds: float) -> None:
        super().__init__(f"{limit} of {seconds:g} s")
        self.limit = limit
        self.seconds = seconds


class Deadlines:
    """The clock of one try.

    Args:
        timeouts: The provider's limits, in seconds.
        streamed: Whether the first token and each pause have a limit of their own; an answer that comes in one
            piece has only the total.
    """

    def __init__(self, timeouts: TimeoutConfig, *, streamed: bool) -> None:
        self._timeouts = timeouts
        self._streamed = streamed
        self._waited_s = 0.0
        self._quiet_s = 0.0  # waited since the last useful data
        self._useful = False
        self._finished = False

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await something that only the server can bring.

        Raises:
            DeadlineMissed: If the nearest limit is reached first.
        """
        limit, seconds, left_s = self._nearest()
        began = time.monotonic()
        scope = asyncio.timeout(left_s)
        try:
            async with scope:
                return await awaitable
        except TimeoutError:
            if not scope.expired():
                raise
            raise DeadlineMissed(limit, seconds) from None
        finally:
            waited = time.monotonic() - began
            self._waited_s += waited
            self._quiet_s += waited

    def useful(self) -> None:
        """Note that text, reasoning or a part of a call has come."""
        self._useful = True
        self._quiet_s = 0.0

    def finished(self) -> None:
        """Note that the answer has said that it is finished: what still comes is a bonus."""
        if not self._finished:
            self._finished = True
            self._quiet_s = 0.0

    def _nearest(self) -> tuple[Missed, float, float]:
        limits: list[tuple[Missed, float, float]] = [("total_s", self._timeouts.total_s, self._waited_s)]
        if self._finished:
            limits.append(("linger", LINGER_S, self._quiet_s))
        elif self._streamed and self._useful:
            limits.append(("stall_s", self._timeouts.stall_s, self._quiet_s))
        elif self._streamed:
            limits.append(("first_token_s", self._timeouts.first_token_s, self._quiet_s))
        limit, seconds, spent = min(limits, key=lambda each: each[1] - each[2])
        return limit, seconds, max(seconds - spent, 0.0)
