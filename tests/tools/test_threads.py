"""Functions in threads: what becomes of one that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from adapters.tools.threads import call_in_thread


async def test_a_thread_that_was_left() -> None:
    """Its result is dropped, and the loop hears of no mistake."""
    begun, release, mistakes = asyncio.Event(), threading.Event(), list[Any]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: mistakes.append(context))

    def late() -> str:
        loop.call_soon_threadsafe(begun.set)
        assert release.wait(60)
        return "late"

    task = asyncio.create_task(call_in_thread(late))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [thread] = [thread for thread in threading.enumerate() if thread.name == "tool late"]
    release.set()
    await asyncio.to_thread(thread.join, 60)
    await asyncio.sleep(0)

    assert not thread.is_alive()
    assert mistakes == []
