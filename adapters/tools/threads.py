"""A function that is not async, called in a thread of its own, so that the event loop goes on."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)


async def call_in_thread(function: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> _Result:
    """Call a function in a thread and return what it returns.

    Nothing can stop a thread: whoever is cancelled here leaves it to itself, and its result is dropped. So it is none
    of the loop's pool (``asyncio.to_thread``), which has a handful of threads and is waited for when the loop ends.

    Raises:
        BaseException: Whatever the function raised, ``SystemExit`` too.
    """
    loop = asyncio.get_running_loop()
    # A pair, because a future takes no StopIteration, and the loop stops if a SystemExit is raised in it.
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
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(settle, found)

    thread = threading.Thread(target=work, name=f"tool {getattr(function, '__name__', function)}", daemon=True)
    thread.start()
    try:
        result, error = await outcome
    except asyncio.CancelledError:
        _logger.warning("The thread %r cannot be stopped; it is left to itself", thread.name)
        raise
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # mypy does not see that the halves of a pair go together
