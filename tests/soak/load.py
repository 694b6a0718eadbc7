"""The load: event loops in threads, some of which last and some of which end and begin anew, and what they counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import PIPE, Popen
from sys import executable
from typing import TYPE_CHECKING, Any

from tests.benchmarks.meter import watched_stalls
from tests.soak.asking import ask, providers_for
from tests.soak.plans import KINDS, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adapters import LLMProvider
    from tests.soak.asking import Outcome
    from tests.soak.plans import Asked

_LASTING_LOOPS = 2
_RENEWED_LOOPS = 2
_LOOP_S = 3.0  # how long a loop lives that ends and begins anew
_KEPT_EXAMPLES = 10
_GRACE_S = 1.0  # for answers that were abandoned


@dataclass(slots=True)
class Tally:
    """What all loops counted together. Nothing in it grows with the number of questions.

    Attributes:
        asked: Questions by the name of their kind.
        verdicts: Answers by what they were.
        examples: Some of those that were not good, in words.
        first_text_ms: How often the first text took so many milliseconds, where the server sent it at once.
        stall_s: The longest time for which a loop did nothing else.
        tasks: Tasks that were left when a loop had no more to ask.
        loops: Event loops that ran.
        told: What loops complained of.
    """

    asked: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    first_text_ms: Counter[int] = field(default_factory=Counter)
    stall_s: float = 0.0
    tasks: int = 0
    loops: int = 0
    told: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: Outcome) -> None:
        """Count one question."""
        kind = kind_of(outcome.number)
        with self._lock:
            self.asked[kind.name] += 1
            self.verdicts[outcome.verdict] += 1
            if outcome.verdict != "good" and len(self.examples) < _KEPT_EXAMPLES:
                self.examples.append(f"{outcome.verdict}: {outcome}")
            if outcome.first_text_s is not None and kind.name in {"stream", "events"}:
                self.first_text_ms[round(outcome.first_text_s * 1000)] += 1

    def loop_ended(self, stall_s: float, tasks: int) -> None:
        """Count one event loop."""
        with self._lock:
            self.loops += 1
            self.stall_s = max(self.stall_s, stall_s)
            self.tasks += tasks

    def complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Collect what a loop reports about exceptions that were never retrieved."""
        del loop
        self.told.append(f"{context.get('message')}: {context.get('exception')!r}")


@contextmanager
def servers() -> Iterator[dict[Asked, Callable[[], LLMProvider]]]:
    """Run the servers in a process of their own; the value is the providers."""
    with Popen([executable, "-m", "tests.soak.server"], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield providers_for(*map(int, process.stdout.readline().split()))
        finally:
            process.communicate()  # the end of its input ends it


class Load:
    """Asks questions from several event loops, each question once.

    Args:
        providers: The providers to use.
        workers: How many questions a loop has under way.
        pause_s: How long each of these waits before it asks the next.
    """

    def __init__(self, providers: dict[Asked, Callable[[], LLMProvider]], *, workers: int, pause_s: float) -> None:
        self._providers = providers
        self._workers = workers
        self._pause_s = pause_s
        self._numbers = itertools.count(1)
        self.tally = Tally()

    def warm_up(self) -> None:
        """Ask each kind of question once, so that all that is loaded late is loaded."""
        asyncio.run(self._loop(0.0, at_least=2 * len(KINDS)))

    def run(self, seconds: float) -> None:
        """Ask until the time is over, then let all loops end."""
        until_s = time.monotonic() + seconds
        threads = [threading.Thread(target=self._lasting, args=(until_s,)) for _ in range(_LASTING_LOOPS)]
        threads += [threading.Thread(target=self._renewed, args=(until_s,)) for _ in range(_RENEWED_LOOPS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _lasting(self, until_s: float) -> None:
        asyncio.run(self._loop(until_s))

    def _renewed(self, until_s: float) -> None:
        while (now_s := time.monotonic()) < until_s:
            asyncio.run(self._loop(min(until_s, now_s + _LOOP_S)))

    async def _loop(self, until_s: float, at_least: int = 0) -> None:
        """Ask until a time, and see what is left then. Nothing is closed: the end of the loop does that."""
        asyncio.get_running_loop().set_exception_handler(self.tally.complain)
        async with watched_stalls() as stalls, asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker(until_s, at_least))
        self.tally.loop_ended(stalls.value, await _tasks_left())

    async def _worker(self, until_s: float, at_least: int) -> None:
        for _ in itertools.takewhile(
            lambda asked: asked * self._workers < at_least or time.monotonic() < until_s, itertools.count()
        ):
            self.tally.add(await ask(self._providers, next(self._numbers)))
            await asyncio.sleep(self._pause_s)


async def _tasks_left() -> int:
    """Count the tasks beside this one that do not end soon."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - whose tasks they are is not known
                await asyncio.sleep(0.01)
    return len(asyncio.all_tasks()) - 1
