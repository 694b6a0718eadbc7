"""What a soak found: what was held before and after, how memory went, and the printout with its verdict."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import TYPE_CHECKING

from tests.benchmarks.meter import memory_mb

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from tests.soak.load import Tally

MOST_SLOPE_MB_PER_MIN = 1.0
"""What counts as growing memory. A leak of 100 bytes a question is more than that at some 200 questions a second."""

JUDGED_FROM_MIN = 4.0
"""Only from so many minutes on does the slope say something: before that, caches fill up."""

_SAMPLE_S = 15.0  # garbage is collected before each, which stops all threads for a quarter of a second
_SETTLE_S = 5.0  # a closed socket is gone when its loop is, a thread when it has ended


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds.

    Attributes:
        fds: Open files and sockets.
        threads: Threads of Python.
    """

    fds: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        """Count, after garbage was collected."""
        gc.collect()
        return cls(sum(1 for _ in Path("/dev/fd").iterdir()), threading.active_count())

    @classmethod
    def settled(cls, before: Held) -> Held:
        """Count when no more is held than before, or when that does not come true soon."""
        until_s = time.monotonic() + _SETTLE_S
        while (held := cls.now()).exceeds(before) and time.monotonic() < until_s:
            time.sleep(0.1)
        return held

    def exceeds(self, before: Held) -> bool:
        """Whether more is held than before."""
        return self.fds > before.fds or self.threads > before.threads


class Memory:
    """The memory of this process after garbage was collected, read at intervals in a thread of its own.

    Otherwise Python collects reference cycles so rarely, because of LiteLLM's 400,000 objects, that they look like a
    leak of 120 bytes a question.
    """

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []  # minutes, megabytes
        self._over = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at it while the block runs."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        began_s = time.monotonic()
        while not self._over.wait(_SAMPLE_S):
            gc.collect()
            self._samples.append(((time.monotonic() - began_s) / 60, memory_mb()))

    @property
    def slope_mb_per_min(self) -> float | None:
        """How fast it grew over the second half, by linear regression; None if that was too short to tell."""
        late = self._samples[len(self._samples) // 2 :]
        return linear_regression(*zip(*late, strict=True)).slope if len(late) > 2 else None

    @property
    def last_mb(self) -> float:
        """What it was in the end."""
        return self._samples[-1][1] if self._samples else memory_mb()


@contextmanager
def kept_stderr() -> Iterator[list[str]]:
    """Keep what anybody in this process writes to stderr, and give its lines at the end."""
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", encoding="utf-8", buffering=1) as file:
        usual = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            with contextlib.redirect_stderr(file):
                yield lines
        finally:
            os.dup2(usual, 2)
            os.close(usual)
            file.seek(0)
            lines += file.read().splitlines()


@dataclass(frozen=True, slots=True)
class Report:
    """All that a soak found.

    Attributes:
        minutes: How long it was asked.
        tally: What the loops counted.
        before: What was held before.
        after: What was held after.
        memory: How memory went.
        stderr: Lines that were written to stderr.
    """

    minutes: float
    tally: Tally
    before: Held
    after: Held
    memory: Memory = field(default_factory=Memory)
    stderr: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What must not be, in words; empty after a good soak."""
        slope, verdicts = self.memory.slope_mb_per_min, self.tally.verdicts
        counts = {
            "answers were lost": verdicts["lost"],
            "answers were mixed": verdicts["mixed"],
            "exceptions were unexpected": verdicts["unexpected"] + len(self.tally.told),
            "files or sockets leaked": max(0, self.after.fds - self.before.fds),
            "threads leaked": max(0, self.after.threads - self.before.threads),
            "tasks leaked": self.tally.tasks,
            "lines on stderr": len(self.stderr),
        }
        faults = [f"{count} {what}" for what, count in counts.items() if count]
        if slope is not None and self.minutes >= JUDGED_FROM_MIN and slope > MOST_SLOPE_MB_PER_MIN:
            faults.append(f"memory grew by {slope:.2f} MB a minute")
        return faults

    def __str__(self) -> str:
        tally, before, after, slope = self.tally, self.before, self.after, self.memory.slope_mb_per_min
        p50_ms, p99_ms = (_quantile_ms(tally.first_text_ms, share) for share in (0.5, 0.99))
        grew = "not known" if slope is None else f"{slope:+.3f} MB/min in the second half"
        lines = [
            f"{tally.asked.total()} questions in {self.minutes:g} min from {tally.loops} event loops:",
            *(f"  {count:8} {name}" for name, count in sorted(tally.asked.items())),
            f"lost        {tally.verdicts['lost']}",
            f"mixed       {tally.verdicts['mixed']}",
            f"unexpected  {tally.verdicts['unexpected']} exceptions, {len(tally.told)} complaints of loops",
            f"leaked      fds {before.fds} -> {after.fds}, threads {before.threads} -> {after.threads}",
            f"            and {tally.tasks} tasks",
            f"memory      {self.memory.last_mb:.1f} MB; slope {grew}",
            f"            (a slope: above {MOST_SLOPE_MB_PER_MIN:g}, judged from {JUDGED_FROM_MIN:g} min on)",
            f"first text  p50 {p50_ms} ms, p99 {p99_ms} ms",
            f"stall       {tally.stall_s * 1000:.0f} ms at the longest",
            f"stderr      {len(self.stderr)} lines",
            *(f"  {line}" for line in [*tally.examples, *tally.told, *self.stderr][:40]),
            "FAILED: " + ", ".join(self.faults) if self.faults else "Nothing was lost, mixed or leaked.",
        ]
        return "\n".join(lines)


def _quantile_ms(counts: Counter[int], share: float) -> int:
    """The value under which that share of all lies."""
    below = 0
    for value in sorted(counts):
        below += counts[value]
        if below >= share * counts.total():
            return value
    return 0
