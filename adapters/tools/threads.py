"""Call a function that is not async in a thread of its own, so that the event loop goes on."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.tools.tool import CallError

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)

MAX_THREADS = 32
"""Threads of one tool at the same time in this process, including those that were abandoned and still run."""


async def call_in_thread(name: str, function: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> _Result:
    """Call a function in a thread and return its result.

    A thread cannot be stopped: if the caller is cancelled, the thread is abandoned and its result is dropped. The
    threads are not those of ``asyncio.to_thread``, which are few, and which the end of the loop waits for.

    Args:
        name: Name of the tool, for the log and for the limit on threads.
        function: The function.
        *args: Its arguments.
        **kwargs: Its keyword arguments.

    Raises:
        CallError: If too many calls of the tool are running. The function was not called.
        BaseException: Any exception of the function, ``SystemExit`` included.
    """
    threads = _threads.setdefault(name, _Threads(name))
    ticket = await threads.acquire()
    loop = asyncio.get_running_loop()
    # A pair, because a future accepts no StopIteration, and a SystemExit raised in the loop would stop it.
    outcome: asyncio.Future[tuple[_Result, None] | tuple[None, BaseException]] = loop.create_future()
    call_in_context = contextvars.copy_context().run

    def settle(found: tuple[_Result, None] | tuple[None, BaseException]) -> None:
        if not outcome.done():  # cancelled otherwise
            outcome.set_result(found)

    def work() -> None:
        found: tuple[_Result, None] | tuple[None, BaseException]
        try:
            found = call_in_context(function, *args, **kwargs), None
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            found = None, error
        threads.release(ticket)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nothing waits for the result
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=work, name=f"tool {name}", daemon=True).start()
    try:
        result, error = await outcome
    except asyncio.CancelledError:
        threads.abandon(ticket)
        _logger.warning("The tool %s runs in a thread, which cannot be stopped; it is abandoned", name)
        raise
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # mypy does not see that the halves of a pair go together


class _Threads:
    """Counts the threads of the tools of one name. A call without a thread waits for the next one, on any event loop.

    Each tool has its own limit, so that a tool that hangs does not stop the others.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: set[object] = set()
        self._abandoned: set[object] = set()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._lock = threading.Lock()

    async def acquire(self) -> object:
        """Wait until a thread may be started, and return a ticket for it.

        Raises:
            CallError: If all threads are abandoned, or the caller is cancelled while it waits.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if len(self._running) < MAX_THREADS:
                ticket = object()
                self._running.add(ticket)
                return ticket
            if len(self._abandoned) == MAX_THREADS:
                raise CallError(f"{MAX_THREADS} earlier calls of it are still running")
            waiting = loop.create_future()
            self._waiting.append((loop, waiting))
        try:
            await waiting
        except asyncio.CancelledError:
            self._stop_waiting(loop, waiting)
            raise CallError(f"{MAX_THREADS} other calls of it are still running") from None
        return waiting

    def _stop_waiting(self, loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[None]) -> None:
        with self._lock:
            if (loop, waiting) in self._waiting:
                self._waiting.remove((loop, waiting))
                return
        self.release(waiting)

    def release(self, ticket: object) -> None:
        """Return the ticket of a thread that has ended, and give its place to the next waiting call."""
        with self._lock:
            self._running.discard(ticket)
            self._abandoned.discard(ticket)
            while self._waiting:
                loop, waiting = self._waiting.popleft()
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(_wake, waiting)
                    self._running.add(waiting)
                    return
            if not self._running:
                _threads.pop(self._name, None)

    def abandon(self, ticket: object) -> None:
        """Note that nothing waits for a thread any more, unless it has ended."""
        with self._lock:
            self._abandoned |= {ticket} & self._running


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():  # cancelled otherwise
        waiting.set_result(None)


_threads: dict[str, _Threads] = {}  # by the name of the tool
