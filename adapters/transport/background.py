"""Slow work that a process does once, in a thread of its own, for all callers together."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from typing import TYPE_CHECKING, Any

from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_started: dict[str, concurrent.futures.Future[Any]] = {}
_lock = threading.Lock()


def start(name: str, work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """Start the work in a thread, unless it was started before.

    Args:
        name: Identifies the work.
        work: Does it.

    Returns:
        Its result. After a failure the next call starts it again.
    """
    with _lock:
        future = _started.get(name)
        if future is None:
            future = _started[name] = concurrent.futures.Future()
            future.set_running_or_notify_cancel()  # otherwise the first waiter that is cancelled cancels it for all
            threading.Thread(target=_run, args=(name, future, work), name=f"adapters-{name}", daemon=True).start()
    return future


async def run_once(name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - the result of any work
    """Wait for work that this call or an earlier one started; finished work does not yield to the event loop."""
    future = start(name, work)
    return future.result() if future.done() else await asyncio.wrap_future(future)


def _run(name: str, future: concurrent.futures.Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
        with _lock:
            _started.pop(name)  # the next call starts it again
        future.set_exception(error)


def _fail_in_forked_child() -> None:
    """Fail the work that was still running: the thread that does it exists in the parent process only."""
    global _lock  # noqa: PLW0603 - a thread of the parent may have held the old one
    _lock = threading.Lock()
    for future in list(_started.values()):
        if not future.done():
            future.set_exception(
                ConfigError(
                    "This process was forked while LiteLLM was being loaded, and cannot load it again."
                    " Await prewarm() before forking, or start workers with spawn."
                )
            )


os.register_at_fork(after_in_child=_fail_in_forked_child)
