"""Slow work that a process does once, in a thread of its own; everybody waits for the same."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from typing import TYPE_CHECKING, Any

from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_begun: dict[str, concurrent.futures.Future[Any]] = {}
_lock = threading.Lock()


def begin(name: str, work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """Begin something slow, unless it was begun before.

    Args:
        name: What it is.
        work: Does it.

    Returns:
        Its outcome. After a failure the next caller tries again.
    """
    with _lock:
        future = _begun.get(name)
        if future is None:
            future = _begun[name] = concurrent.futures.Future()
            future.set_running_or_notify_cancel()  # else the first waiter who gives up cancels it for all
            threading.Thread(target=_do, args=(name, future, work), name=f"adapters-{name}", daemon=True).start()
    return future


async def result(name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the work brings
    """Wait for something slow, begun with this call or before; what is done already costs no turn of the loop."""
    future = begin(name, work)
    return future.result() if future.done() else await asyncio.wrap_future(future)


def _do(name: str, future: concurrent.futures.Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is not swallowed: whoever awaits the future gets it
        with _lock:
            _begun.pop(name)  # the next caller tries again
        future.set_exception(error)


def _forked() -> None:
    """In the child of a fork: what was being loaded is never finished, because its thread stayed behind."""
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _lock = threading.Lock()
    for future in list(_begun.values()):
        if not future.done():
            future.set_exception(
                ConfigError(
                    "This process was forked while LiteLLM was being loaded, and cannot load it again."
                    " Await prewarm() before forking, or start workers with spawn."
                )
            )


os.register_at_fork(after_in_child=_forked)
