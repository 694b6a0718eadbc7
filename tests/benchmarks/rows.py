"""The rows of the table: which figure of which measurement each shows, and what is measured in one process.

The measurements of a group share a process where they do not disturb each other; what must begin in a process that has
done nothing else stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        measurement: Key of ``MEASUREMENTS``; ``--rows`` takes it too.
        figure: Which of its figures is shown.
        title: What the row is called.
        unit: The unit of the figure; empty for a number.
        digits: Digits after the point.
        short_title: Its name in the plot, or None if it is not plotted.
        more_is_better: Whether the greater figure is the better one.
    """

    measurement: str
    figure: str
    title: str
    unit: str
    digits: int = 1
    short_title: str | None = None
    more_is_better: bool = False


ROWS = (
    Row("burst", "cpu_us", "burst of 2,000 tokens: CPU per token", "µs", 1, "CPU per token, burst"),
    Row("paced", "cpu_us", "100 streams of 50 tokens/s: CPU per token", "µs", 0, "CPU per token, 100 streams"),
    Row("paced", "p99_ms", "the same, all begun at once: p99 lag of a token", "ms", 0),
    Row("capacity", "streams", "streams of 50 tokens/s that one core holds (p99 lag < 100 ms)", "", 0,
        "streams that one core holds", more_is_better=True),
    Row("capacity-frozen", "streams", "the same after `prewarm(freeze_gc=True)`", "", 0, more_is_better=True),
    Row("short", "cpu_ms", "short answers (30 tokens, 1 ms apart): CPU per answer", "ms", 2),
    Row("plain", "cpu_ms", "not streamed: CPU per call", "ms", 2, "CPU per call, not streamed"),
    Row("first-text", "ms", "time to first text", "ms", 2, "time to first text"),
    Row("messages-4", "ms", "the same with 4 messages", "ms", 2),
    Row("messages-40", "ms", "the same with 40 messages", "ms", 2),
    Row("messages-400", "ms", "the same with 400 messages", "ms", 1, "time to first text, 400 messages"),
    Row("tools-8", "ms", "the same with 8 tools", "ms", 2),
    Row("tools-64", "ms", "the same with 64 tools", "ms", 2, "time to first text, 64 tools"),
    Row("big", "cpu_ms", "one answer of 1 MB: CPU", "ms", 1),
    Row("route-openai", "cpu_us", "burst over a route of LiteLLM with chat completions: CPU per token", "µs"),
    Row("route-anthropic", "cpu_us", "burst over a route that LiteLLM translates (Anthropic): CPU per token", "µs"),
    Row("memory", "mb", "200 open streams: memory grown", "MB", 1, "memory of 200 open streams"),
    Row("start", "import_cpu_ms", "import: CPU", "ms", 0),
    Row("start", "import_mb", "import: memory", "MB", 1),
    Row("start", "first_answer_mb", "import and first answer: memory", "MB", 1),
    Row("start", "cold_ms", "import and first text, cold", "ms", 0, "import and first text, cold"),
    Row("prewarm", "first_ms", "first text after `prewarm()`", "ms", 2),
    Row("prewarm", "first_to_steady", "the same: of a later one", "x", 2),
    Row("prewarm", "stall_ms", "longest stall of the loop during `prewarm()`", "ms", 0),
)  # fmt: skip

GROUPS: Mapping[str, tuple[str, ...]] = {
    "start": ("start",),
    "prewarm": ("prewarm",),
    "one by one": (
        *("burst", "short", "plain", "first-text"),
        *("messages-4", "messages-40", "messages-400", "tools-8", "tools-64", "big"),
        *("route-openai", "route-anthropic"),
    ),
    "memory": ("memory",),
    "many": ("paced", "capacity"),
    "frozen": ("capacity-frozen",),
}
"""Measurements by the process that makes them."""

BASELINE = "openai"
"""The client that is 1 in every row."""
