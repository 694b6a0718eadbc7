"""How long one attempt may wait for the server.

The timeouts of an HTTP library do not suffice: a server that sends a comment each second never reaches one. Here only
useful data moves the limits on silence. All limits are wall time, loading LiteLLM and decoding included; only the time
that the consumer takes between two events is not counted.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from adapters.config import TimeoutConfig
    from adapters.transport.slots import Slots

LINGER_S = 1.0
"""How long to wait for usage and the end of the body after the answer itself is complete."""

T = TypeVar("T")
Limit = Literal["first_token_s", "first_text_s", "thinking", "stall_s", "total_s", "deadline_s", "linger"]


class DeadlineExceeded(TimeoutError):  # noqa: N818 - it becomes an APITimeoutError; the name says what happened
    """The server took too long.

    Attributes:
        limit: The setting that was exceeded; ``thinking`` is ``first_text_s`` after the first token, ``linger`` the
            wait after a complete answer.
        seconds: The length of the limit.
    """

    def __init__(self, limit: Limit, seconds: float) -> None:
        super().__init__(f"{limit} of {seconds:g} s")
        self.limit = limit
        self.seconds = seconds


class CallClosedError(Exception):
    """The provider was closed while the server was waited for."""


class Deadlines:
    """The clock of one attempt.

    There are two ways to wait under it. ``wait`` limits one slow operation. ``guard`` limits the reading of a body,
    which is many short waits: one timer serves all of them, and is set anew if it fires early.

    Args:
        timeouts: The provider's limits, in seconds.
        streamed: Whether the first token and each pause have limits of their own; an answer that comes as a whole has
            only the total.
        total_s: Seconds for the whole call, or None for the provider's.
        began_s: When the call began, on the monotonic clock; earlier attempts count.
        retry_s: Seconds within which a repeated attempt must bring the first token, or None.
        first_text_s: Seconds from the request to the first output, or None for no limit.
        is_prefill: Whether no answer is wanted (a prefill, a list of models), so that questions get a free slot first.
        on_request_sent: Called when the request is about to leave, or None.
        on_first_token: Called when the first useful data arrives, or None.
        on_queue: Called with True when the wait for a free slot begins, and with False when it is over, or None.

    Attributes:
        began_s: When the call began, without the pauses.
        is_prefill: Whether no answer is wanted.
        exceeded: The limit that ended the guarded operation, or None.
        is_closed: Whether ``close`` has ended the attempt.
        queue_s: Seconds that the request waited for a free slot (``max_concurrent``), or None.
        connect_s: Seconds until the connection was open, or None if an open one was used.
        sent_at_s: When the request left, after the wait for a slot, on the monotonic clock; 0 before.
        head_at_s: When the head of the response arrived, or None.
        first_token_at_s: When the first useful data arrived, or None.
        silent_since_s: When the request left, or the last useful data arrived, without the pauses; None before.
        output_at_s: When the first output arrived, or None. Output is text that may be spoken, or a part of a call.
    """

    queue_s: float | None = None
    connect_s: float | None = None
    sent_at_s: float = 0.0
    head_at_s: float | None = None
    first_token_at_s: float | None = None
    output_at_s: float | None = None

    def __init__(  # noqa: PLR0913 - one clock for all limits
        self,
        timeouts: TimeoutConfig,
        *,
        streamed: bool,
        total_s: float | None = None,
        began_s: float | None = None,
        retry_s: float | None = None,
        first_text_s: float | None = None,
        is_prefill: bool = False,
        on_request_sent: Callable[[], None] | None = None,
        on_first_token: Callable[[], None] | None = None,
        on_queue: Callable[[bool], None] | None = None,
    ) -> None:
        now_s = time.monotonic()
        self._timeouts = timeouts
        self._streamed = streamed
        self._total_s = timeouts.total_s if total_s is None else total_s
        self.began_s = now_s if began_s is None else began_s
        self._retry_s = retry_s
        self._first_text_s = first_text_s
        self._on_request_sent = on_request_sent
        self._on_first_token = on_first_token
        self._on_queue = on_queue
        self.is_prefill = is_prefill
        self._ready_at_s: float | None = None  # to leave, before the wait for a free slot
        self.silent_since_s: float | None = None  # since the request was sent, or the last useful data
        self._paused_since_s: float | None = None  # while the consumer has what came last
        self._is_complete = False
        self._abort: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._scope: asyncio.Timeout | None = None
        self._slots: Slots | None = None
        self.exceeded: DeadlineExceeded | None = None
        self.is_closed = False

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await a slow operation.

        Raises:
            DeadlineExceeded: If the nearest limit is reached first.
            CallClosedError: If ``close`` is called first.
        """
        left_s, limit, seconds = self._nearest()
        scope = asyncio.timeout(0.0 if self.is_closed else left_s)
        try:
            async with scope:
                self._scope = scope
                return await awaitable
        except TimeoutError:
            if not scope.expired():
                raise
            if self.is_closed:
                raise CallClosedError from None
            raise DeadlineExceeded(limit, seconds) from None
        finally:
            self._scope = None

    @property
    def is_active(self) -> bool:
        """Whether something is awaited or guarded now."""
        return self._scope is not None or self._abort is not None

    def close(self) -> None:
        """End what is awaited or guarded now, and fail what is awaited later: the provider was closed."""
        self.is_closed = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0.0)
        if self._abort is not None:
            self._abort()

    def request_sent(self) -> None:
        """Note that the request is about to leave, or to wait for a free slot: the limits on silence start."""
        self.silent_since_s = self.sent_at_s = self._ready_at_s = time.monotonic()
        if self._on_request_sent is not None:
            self._on_request_sent()

    async def wait_for_slot(self, slots: Slots) -> None:
        """Wait until the server may get another request; the limits on silence go on. ``release`` gives the slot back.

        Raises:
            DeadlineExceeded: As ``wait``.
            CallClosedError: As ``wait``.
        """
        began_s = time.monotonic()
        self._slots = slots
        slot = slots.enter(self, is_prefill=self.is_prefill)
        if slot is not None:
            self.sent_at_s = 0.0
            if self._on_queue is not None:
                self._on_queue(True)  # noqa: FBT003 - a callback
            await self.wait(slot)
            if self._on_queue is not None:
                self._on_queue(False)  # noqa: FBT003 - as above
        self.sent_at_s = time.monotonic()
        self.queue_s = self.sent_at_s - began_s

    def token_received(self) -> None:
        """Note that text, reasoning or a part of a call has arrived."""
        self.silent_since_s = now_s = time.monotonic()
        if self.first_token_at_s is None:
            self.first_token_at_s = now_s
            if self._on_first_token is not None:
                self._on_first_token()
            self._set_timer()  # a pause may be shorter than the wait for the first token

    def response_complete(self) -> None:
        """Note that the answer is complete: only usage and the end of the body may follow."""
        if not self._is_complete:
            self._is_complete = True
            self.silent_since_s = time.monotonic()
            self._set_timer()

    def pause(self) -> None:
        """Stop the clock while the consumer handles an event."""
        self._paused_since_s = time.monotonic()

    def resume(self) -> None:
        """Start the clock again; the time since ``pause`` does not count."""
        if self._paused_since_s is not None:
            paused_s = time.monotonic() - self._paused_since_s
            self._paused_since_s = None
            self.began_s += paused_s
            if self.silent_since_s is not None:
                self.silent_since_s += paused_s
        if self._abort is not None and self._timer is None:
            self._set_timer()

    def guard(self, abort: Callable[[], None]) -> None:
        """Call ``abort`` when a limit is reached, until ``release``; ``exceeded`` then holds the limit.

        Args:
            abort: Ends the operation that is guarded.
        """
        self._abort = abort
        self._set_timer()

    def release(self) -> None:
        """End the guard, and give back the slot. A second call does nothing."""
        self._abort = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._slots is not None:
            self._slots.release(self)

    def _set_timer(self) -> None:
        """Let the timer fire when the nearest limit is reached, or earlier."""
        if self._abort is None:
            return
        loop, left_s = asyncio.get_running_loop(), self._nearest()[0]
        if self._timer is not None:
            if self._timer.when() <= loop.time() + left_s:
                return
            self._timer.cancel()
        self._timer = loop.call_later(left_s, self._fire)

    def _fire(self) -> None:
        """Abort if a limit is reached; useful data may have moved the limits since the timer was set."""
        self._timer = None
        if self._abort is None or self._paused_since_s is not None:
            return  # ``resume`` sets it again
        left_s, limit, seconds = self._nearest()
        if left_s > 0:
            self._set_timer()
        else:
            self.exceeded = DeadlineExceeded(limit, seconds)
            self._abort()

    def _nearest(self) -> tuple[float, Limit, float]:
        """Find the limit that ends first: the seconds left of it, its name and its length."""
        now_s = time.monotonic()
        in_call_s = now_s - self.began_s
        limits: list[tuple[float, Limit, float]] = [(self._total_s - in_call_s, "total_s", self._total_s)]
        if self._retry_s is not None and self.first_token_at_s is None:
            limits.append((self._retry_s - in_call_s, "deadline_s", self._retry_s))
        if self.silent_since_s is not None:  # None: LiteLLM is being loaded, or a server started
            silent_s = now_s - self.silent_since_s
            if self._is_complete:
                limits.append((LINGER_S - silent_s, "linger", LINGER_S))
            elif self._streamed and self.first_token_at_s is not None:
                limits.append((self._timeouts.stall_s - silent_s, "stall_s", self._timeouts.stall_s))
            elif self._streamed:
                limits.append((self._timeouts.first_token_s - silent_s, "first_token_s", self._timeouts.first_token_s))
        waits_for_output = self.output_at_s is None and not self._is_complete
        if self._first_text_s is not None and self._ready_at_s is not None and waits_for_output:
            name: Limit = "first_text_s" if self.first_token_at_s is None else "thinking"
            limits.append((self._first_text_s - (now_s - self._ready_at_s), name, self._first_text_s))
        left_s, limit, seconds = min(limits)
        return max(left_s, 0.0), limit, seconds
