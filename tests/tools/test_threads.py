"""``adapters.tools.threads``: the limit on threads, and threads whose result nothing waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from adapters.tools import threads
from adapters.tools.threads import call_in_thread
from adapters.tools.tool import CallError

if TYPE_CHECKING:
    from collections.abc import Iterator


async def test_a_thread_that_was_left() -> None:
    """Its result is dropped, and the event loop logs no error."""
    begun, release, mistakes = asyncio.Event(), threading.Event(), list[Any]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: mistakes.append(context))

    def late() -> str:
        loop.call_soon_threadsafe(begun.set)
        assert release.wait(60)
        return "late"

    task = asyncio.create_task(call_in_thread("late", late))
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


async def test_calls_wait_for_a_thread() -> None:
    """More calls than threads are run one after the other, and nothing is left behind."""
    running, most = 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return number

    calls = [call_in_thread("work", work, number) for number in range(3 * threads.MAX_THREADS)]

    assert await asyncio.gather(*calls) == list(range(3 * threads.MAX_THREADS))
    assert most <= threads.MAX_THREADS
    assert threads._threads == {}


@pytest.fixture(name="release")
def _release() -> Iterator[threading.Event]:
    """All threads of the tool ``work`` run on another loop until the event is set."""
    release = threading.Event()
    loop = asyncio.new_event_loop()
    calls = [loop.create_task(call_in_thread("work", release.wait, 60)) for _ in range(threads.MAX_THREADS)]
    loop.run_until_complete(asyncio.sleep(0))
    yield release
    release.set()
    loop.run_until_complete(asyncio.gather(*calls))
    loop.close()
    assert threads._threads == {}


def test_a_place_goes_to_another_loop(release: threading.Event) -> None:
    """A call waits for a thread that another event loop started; one whose loop has ended is passed over."""

    async def wait_until_cancelled() -> None:
        task = asyncio.create_task(call_in_thread("work", int))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(CallError, match=f"^{threads.MAX_THREADS} other calls of it are still running$"):
            await task

    asyncio.run(wait_until_cancelled())
    ended = asyncio.new_event_loop()
    left = ended.create_task(call_in_thread("work", int))
    ended.run_until_complete(asyncio.sleep(0))
    ended.close()

    async def wait() -> int:
        asyncio.get_running_loop().call_later(0.01, release.set)
        return await call_in_thread("work", int, "7")

    assert asyncio.run(wait()) == 7
    left._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop was closed on purpose


def test_a_place_that_is_cancelled_when_it_comes(release: threading.Event) -> None:
    """A call that is cancelled at the moment when it gets a thread gives the place back."""

    async def cancel_late() -> None:
        task = asyncio.create_task(call_in_thread("work", int))
        await asyncio.sleep(0)
        release.set()
        while "work" in threads._threads and len(threads._threads["work"]._waiting):
            time.sleep(0.001)  # noqa: ASYNC251 - the loop must not run before the call is cancelled
        task.cancel()
        with pytest.raises(CallError):
            await task

    asyncio.run(cancel_late())
