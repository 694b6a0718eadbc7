"""Time in tests, so that a slow or busy machine cannot fail them, and what is too slow or too late still does.

Nothing makes a deadline early, so that is a fault at once. What is late is tried again, for a busy machine is late now
and then, and a fault every time. CPU time is that of the thread, without the tracer of ``coverage``, the least of
several tries, and set against work that is always the same, so that a slow machine is allowed more.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adapters.testing import Outcome, WireCase
    from adapters.testing.answers import Action, Script

_Test = TypeVar("_Test", bound="Callable[..., Any]")

TRIES = 6
_UNTIL_S = 60.0  # a machine may be busy
_ALWAYS_S = 0.002  # what ``_always_the_same`` takes alone on a machine of 2026


class LateError(AssertionError):
    """Something took longer than it may, or a pause that a test makes was longer than it meant."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that another task, thread or process fulfils."""
    async with asyncio.timeout(_UNTIL_S):
        while not condition():  # noqa: ASYNC110 - the other side has no event loop, or another one
            await asyncio.sleep(0.005)


class Held:
    """A script of ``ScriptedServer`` that is played when the test says so: ``cast("Step", Held(reply({})))``.

    Attributes:
        is_released: Whether the test has said so.
    """

    def __init__(self, script: Script) -> None:
        self.is_released = False
        self._script = script

    def __iter__(self) -> Iterator[Action]:
        """Return what the server plays: pauses, then the script."""
        while not self.is_released:
            yield 0.005
        yield from self._script


def in_time(took_s: float, least_s: float, most_s: float) -> None:
    """Check that something took as long as it should; in a test that is marked ``patient``.

    Args:
        took_s: Seconds that it took.
        least_s: Seconds that it takes at least, on any machine.
        most_s: Seconds after which it is late; then the test is tried again.
    """
    assert took_s >= least_s
    if took_s > most_s:
        raise LateError(f"took {took_s:.3f} s, more than {most_s} s, {TRIES} times")


def patient(test: _Test) -> _Test:
    """Try a test again that was late; it fails if it is late each time, and at once for anything else."""

    @functools.wraps(test)
    async def waits(*args: Any, **kwargs: Any) -> None:
        for _ in range(TRIES - 1):
            try:
                await test(*args, **kwargs)
            except LateError:
                continue
            return
        await test(*args, **kwargs)

    @functools.wraps(test)
    def works(*args: Any, **kwargs: Any) -> None:
        for _ in range(TRIES - 1):
            try:
                test(*args, **kwargs)
            except LateError:
                continue
            return
        test(*args, **kwargs)

    return waits if inspect.iscoroutinefunction(test) else works  # type: ignore[return-value]  # called in the same way


def may_be_late(case: WireCase, outcome: Outcome) -> bool:
    """Whether a busy machine may be why a case went wrong: it took too long, or its provider waits for short times."""
    return outcome.took_s > case.within_s or "timeouts" in case.options or "retry" in case.options


@contextmanager
def untraced() -> Iterator[None]:
    """Take the tracer of ``coverage`` away: it costs several times what is measured."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU time of this thread, in seconds, that something takes once."""
    with untraced():
        began_s = time.thread_time()
        work()
        return time.thread_time() - began_s


def _always_the_same() -> None:
    """Work of the kind that is measured here: loops, dictionaries, JSON."""
    kept: dict[int, str] = {}
    for number in range(6_000):
        kept[number % 97] = str(number)
    json.loads(json.dumps([kept] * 12))


def quiet_s(work: Callable[[], object], enough_s: float) -> float:
    """CPU time in seconds as on a quiet machine of 2026, the least of several tries; one that is enough ends them."""
    least_s = float("inf")
    for _ in range(TRIES):
        slowness = max(1.0, cpu_s(_always_the_same) / _ALWAYS_S)
        least_s = min(least_s, cpu_s(work) / slowness)
        if least_s <= enough_s:
            break
    return least_s


def growth(small: Callable[[], object], large: Callable[[], object], enough: float) -> float:
    """How many times the CPU time of the small work the large work takes; a ratio that is enough ends the tries."""
    small_s = large_s = float("inf")
    for _ in range(2 * TRIES):
        small_s = min(small_s, cpu_s(small), cpu_s(small))
        large_s = min(large_s, cpu_s(large))
        if large_s <= enough * small_s:
            break
    return large_s / small_s
