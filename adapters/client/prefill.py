"""Prefill: one request of one token, so that the server's prefix cache holds what the first question begins with.

A local model evaluates a long system message and its tools for seconds before the first word. That time passes while
the agent speaks its greeting, if the prompt is there by then. ``adapters.request.prefill`` makes the parameters of the
request, ``ProviderCall.prefill`` sends it, ``Prefills`` owns those under way: no person waits for them, so they are
cancelled when a question of the same provider comes.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from adapters.errors import AdapterError, APIError, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.client.call import ProviderCall

_logger = logging.getLogger(__name__)


class Prefills:
    """The prefills of one provider that are under way, and the timer that repeats the latest.

    It holds no provider: the timer has a weak reference to what makes the request, and a prefill that the timer began
    is cancelled when this object is garbage.

    Args:
        provider: The provider's name, for the log.
        keep_warm_s: Seconds without a request after which the latest prefill is repeated, or None.
    """

    def __init__(self, provider: str, keep_warm_s: float | None) -> None:
        self._provider = provider
        self._keep_warm_s = keep_warm_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        weakref.finalize(self, _cancel_all, self._tasks)

    def __reduce__(self) -> tuple[type[Prefills], tuple[str, float | None]]:
        """Copies and pickles have no prefills."""
        return Prefills, (self._provider, self._keep_warm_s)

    async def run(self, call: ProviderCall) -> None:
        """Send a prefill and wait for its end, which also comes when it fails or gives way."""
        task = self._start(call)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise

    def give_way(self) -> None:
        """Cancel the prefills that are under way, which closes their connections: a question has come."""
        if self._tasks:
            _cancel_all(self._tasks)

    def repeat(self, make_call: Callable[[], ProviderCall | None]) -> None:
        """Repeat a prefill while the provider is open and idle, in place of an earlier one; needs a running loop.

        Args:
            make_call: Makes the call, or returns None if there is no provider any more or it is not idle. It must hold
                no strong reference to the provider.
        """
        self._stop_timer()
        if self._keep_warm_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._keep_warm_s, _repeat, weakref.ref(self), make_call)

    def stop(self) -> None:
        """Cancel everything: the provider is closed."""
        self._stop_timer()
        _cancel_all(self._tasks)

    def _fire(self, make_call: Callable[[], ProviderCall | None]) -> None:
        self.repeat(make_call)
        if not self._tasks and (call := make_call()) is not None:
            self._start(call)

    def _start(self, call: ProviderCall) -> asyncio.Task[None]:
        task = asyncio.create_task(_send(call, self._provider))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _repeat(prefills: Callable[[], Prefills | None], make_call: Callable[[], ProviderCall | None]) -> None:
    if (alive := prefills()) is not None:
        alive._fire(make_call)  # noqa: SLF001 - a function of the same module


async def _send(call: ProviderCall, provider: str) -> None:
    began_s = time.monotonic()
    try:
        await call.prefill()
    except AdapterError as error:
        reason = kind_of(error) if isinstance(error, APIError) else type(error).__name__
        _logger.warning("%s: prefill failed (%s).", provider, reason)
    else:
        _logger.info("%s: prefill took %.2f s.", provider, time.monotonic() - began_s)


def _cancel_all(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks from any thread; those of an event loop that has ended are over."""
    for task in list(tasks):
        loop = task.get_loop()
        try:
            is_own_loop = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_own_loop = False
        if is_own_loop:
            task.cancel()
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
