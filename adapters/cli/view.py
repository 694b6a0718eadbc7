"""Print a turn of ``adapters chat``: text as it arrives for a person, or one JSON object for a program.

Text of a model or a tool reaches a terminal through ``printable`` only. ``adapters.cli.conversation`` runs the turn.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import click
from rich.console import Console
from rich.text import Text

from adapters.agent import ToolResult
from adapters.cli.base import print_json, printable
from adapters.types import ResponseDone, TextDelta, ToolCallDone

if TYPE_CHECKING:
    from adapters.agent import AgentEvent
    from adapters.cli.progress import Progress
    from adapters.provider import LLMProvider
    from adapters.types import LLMResponse

_NOTICEABLE_S = 0.1
_MAX_NOTE_CHARS = 200  # of a tool's arguments or result


class View(Protocol):
    """Prints one turn, from its creation to ``close``."""

    def begin(self) -> None:
        """Note that loading is over and the request is sent."""

    def show(self, event: AgentEvent) -> None:
        """Print the next event."""

    def close(self) -> None:
        """Restore the terminal, also in the middle of a turn."""


class Screen:
    """Prints text on stdout as it arrives, and the spinner, tools and totals on stderr.

    Without a terminal there is no spinner and no colour.

    Args:
        progress: Source of the phase that the spinner shows.
        may_spin: Whether a spinner may be shown.
        shows_wait: Whether the parts of the wait follow the totals.
    """

    def __init__(self, progress: Progress, *, may_spin: bool = True, shows_wait: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._shows_wait = shows_wait
        self._may_spin = may_spin and self._console.is_interactive
        self._spinner = self._console.status(_Phase(progress))
        self._created_s = self._sent_s = time.perf_counter()
        self._first_text_s: float | None = None
        self._in_line = False
        self._spin()

    def begin(self) -> None:
        """Start the clock."""
        self._sent_s = time.perf_counter()

    def show(self, event: AgentEvent) -> None:
        """Print the next event; show the spinner while a tool or the model is awaited."""
        self._spinner.stop()
        if isinstance(event, TextDelta):
            self._first_text_s = self._first_text_s or time.perf_counter()
            click.echo(printable(event.text), nl=False)
            self._in_line = not event.text.endswith("\n")
        elif isinstance(event, ToolCallDone):
            call = event.tool_call
            self._note(f"→ {call.name} {json.dumps(call.arguments, ensure_ascii=False)}")
            self._spin()
        elif isinstance(event, ToolResult):
            self._note(f"{'✗' if event.failed else '←'} {event.content}")
            self._spin()
        elif isinstance(event, ResponseDone):
            self.close()
            self._note(self._totals(event.response))
            if self._shows_wait and event.response.wait is not None:
                self._note(f"waited for: {event.response.wait}")
        else:  # tools are running
            self._spin()

    def close(self) -> None:
        """Stop the spinner, which hides the cursor, and end the line."""
        self._spinner.stop()
        if self._in_line:
            click.echo()
            self._in_line = False

    def _spin(self) -> None:
        if self._may_spin:
            self._spinner.start()

    def _note(self, text: str) -> None:
        if self._in_line and sys.stdout.isatty():
            self.close()
        line = printable(" ".join(text.split()))
        if len(line) > _MAX_NOTE_CHARS:
            line = line[: _MAX_NOTE_CHARS - 1] + "…"
        self._console.print(Text(line, style="dim"), soft_wrap=True)

    def _totals(self, response: LLMResponse) -> str:
        usage = response.usage
        parts = [f"{usage.prompt_tokens} tokens in", f"{usage.completion_tokens} out"] if usage else []
        if usage and usage.cost is not None:
            parts.append(f"cost {usage.cost.normalize():f}")
        elif response.estimated_cost is not None:
            parts.append(f"cost about {response.estimated_cost.normalize():f}")
        if self._sent_s - self._created_s >= _NOTICEABLE_S:
            parts.append(f"loading {self._sent_s - self._created_s:.1f} s")
        first_text_s = self._first_text_s or time.perf_counter()  # a provider of another make may send no text
        parts.append(f"first text {first_text_s - self._sent_s:.1f} s")
        return ", ".join([*parts, f"total {time.perf_counter() - self._sent_s:.1f} s"])


class _Phase:
    """The text beside the spinner; rich renders it anew at each frame."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich__(self) -> Text:
        return Text(printable(self._progress.phase))


class JsonView:
    """Prints one JSON object on stdout at the end of the turn."""

    def __init__(self, provider: LLMProvider) -> None:
        self._provider = provider
        self._sent_s = time.perf_counter()
        self._time_to_first_text_s: float | None = None
        self._tool_calls: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Start the clock."""
        self._sent_s = time.perf_counter()

    def show(self, event: AgentEvent) -> None:
        """Collect the tool calls, and print the object at the end."""
        if self._time_to_first_text_s is None and isinstance(event, TextDelta):
            self._time_to_first_text_s = round(time.perf_counter() - self._sent_s, 3)
        if isinstance(event, ToolResult):
            call = event.tool_call
            self._tool_calls.append(
                {
                    "id": call.id,
                    "name": call.name,
                    "arguments": call.arguments,
                    "result": event.content,
                    "failed": event.failed,
                }
            )
        elif isinstance(event, ResponseDone):
            response = event.response
            print_json(
                {
                    "content": response.content,
                    "tool_calls": self._tool_calls,
                    "usage": _as_json(response),
                    "model": response.model or self._provider.model,
                    "provider": response.provider or self._provider.provider_name,
                    "time_to_first_text_s": self._time_to_first_text_s,
                    "total_s": round(time.perf_counter() - self._sent_s, 3),
                }
            )

    def close(self) -> None:
        """Do nothing; there is no spinner."""


def _as_json(response: LLMResponse) -> dict[str, Any] | None:
    """Convert the usage to JSON types."""
    if response.usage is None:
        return None
    cost = response.usage.cost
    values = {**asdict(response.usage), "cost": None if cost is None else float(cost)}
    if values["cache_write_tokens"] is None:  # few services have it
        del values["cache_write_tokens"]
    return values
