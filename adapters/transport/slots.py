"""``Slots``: no more requests at a server at the same time than it has slots for (``max_concurrent``)."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any


class Slots:
    """The slots of one server. Requests beyond them wait in order of arrival, prefills behind all questions.

    A slot has an owner: any object that stands for one request. ``release`` gives back whatever the owner has, a slot
    or a place in the queue, so that a request that is cancelled at any moment loses no slot.

    Args:
        size: Number of slots.

    Attributes:
        size: The argument.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()  # a program may run several event loops, in threads
        self._owners: dict[object, asyncio.AbstractEventLoop] = {}
        self._questions: dict[object, asyncio.Future[None]] = {}
        self._prefills: dict[object, asyncio.Future[None]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles have no requests."""
        return Slots, (self.size,)

    def enter(self, owner: object, *, is_prefill: bool = False) -> asyncio.Future[None] | None:
        """Take a slot, or a place in the queue.

        Args:
            owner: Stands for the request; it calls ``release`` at the end, however the request ends.
            is_prefill: Whether no answer is wanted, so that each question goes first.

        Returns:
            None if the request has a slot; otherwise what to wait for.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if len(self._owners) >= self.size:
                self._drop_ended()
                self._fill()
            if len(self._owners) < self.size:
                self._owners[owner] = loop
                return None
            waiter = loop.create_future()
            (self._prefills if is_prefill else self._questions)[owner] = waiter
            return waiter

    def release(self, owner: object) -> None:
        """Give back the slot of a request, or its place in the queue. A second call does nothing."""
        with self._lock:
            for place in (self._owners, self._questions, self._prefills):
                place.pop(owner, None)
            self._fill()

    def _fill(self) -> None:
        """Give free slots to the requests that wait."""
        while len(self._owners) < self.size and (queue := self._questions or self._prefills):
            owner, waiter = next(iter(queue.items()))
            del queue[owner]
            loop = waiter.get_loop()
            with suppress(RuntimeError):  # the event loop was closed
                loop.call_soon_threadsafe(_resolve, waiter)
                self._owners[owner] = loop

    def _drop_ended(self) -> None:
        """Forget requests of event loops that were closed before the requests ended."""
        for owner, loop in list(self._owners.items()):
            if loop.is_closed():
                del self._owners[owner]


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
