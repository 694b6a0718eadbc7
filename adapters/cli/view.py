"""What ``adapters chat`` shows of a turn: words as they come for a person, or one JSON object for a program.

Nothing that a model or a tool says reaches a terminal but through ``printable``. Which turn is run lives in
``adapters.cli.conversation``.
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

_WORTH_TELLING_S = 0.1
_MAX_NOTE_CHARS = 200  # of a tool's arguments or result: a glance, not the whole


class View(Protocol):
    """Shows one turn, from its making to its ``close``."""

    def begin(self) -> None:
        """Note that everything is loaded, and the question is asked now."""

    def show(self, event: AgentEvent) -> None:
        """Show the next event."""

    def close(self) -> None:
        """Leave the terminal as it was, also in the middle of a turn."""


class Screen:
    """Words go to stdout as they come; the spinner, tools and the count to stderr.

    A view of ``chat`` for people. Without a terminal nothing spins and nothing is coloured.

    Args:
        progress: Who answers; its phase stands beside the spinner.
        may_spin: Whether there is a spinner at all.
    """

    def __init__(self, progress: Progress, *, may_spin: bool = True) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._may_spin = may_spin and self._console.is_interactive
        self._spinner = self._console.status(_Phase(progress))
        self._made_s = self._asked_s = time.perf_counter()
        self._first_word_s: float | None = None
        self._in_line = False
        self._spin()

    def begin(self) -> None:
        """Start the clock."""
        self._asked_s = time.perf_counter()

    def show(self, event: AgentEvent) -> None:
        """Print the next event; while a tool or the model is awaited, the spinner turns."""
        self._spinner.stop()
        if isinstance(event, TextDelta):
            self._first_word_s = self._first_word_s or time.perf_counter()
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
            self._note(self._count(event.response))
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

    def _count(self, response: LLMResponse) -> str:
        usage = response.usage
        parts = [f"{usage.prompt_tokens} tokens in", f"{usage.completion_tokens} out"] if usage else []
        if self._asked_s - self._made_s >= _WORTH_TELLING_S:
            parts.append(f"loading {self._asked_s - self._made_s:.1f} s")
        first_word_s = self._first_word_s or time.perf_counter()  # a provider of an agent's own may say nothing
        parts.append(f"first word {first_word_s - self._asked_s:.1f} s")
        return ", ".join([*parts, f"all {time.perf_counter() - self._asked_s:.1f} s"])


class _Phase:
    """What stands beside the spinner; rich asks for it again at each turn."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich__(self) -> Text:
        return Text(printable(self._progress.phase))


class JsonView:
    """One JSON object on stdout when the turn is over."""

    def __init__(self, provider: LLMProvider) -> None:
        self._provider = provider
        self._started_s = time.perf_counter()
        self._first_word_s: float | None = None
        self._tool_calls: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Start the clock."""
        self._started_s = time.perf_counter()

    def show(self, event: AgentEvent) -> None:
        """Gather what the tools did; print at the end."""
        if self._first_word_s is None and isinstance(event, TextDelta):
            self._first_word_s = round(time.perf_counter() - self._started_s, 3)
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
                    "usage": asdict(response.usage) if response.usage else None,
                    "model": response.model or self._provider.model,
                    "provider": self._provider.provider_name,
                    "first_word_s": self._first_word_s,
                    "seconds": round(time.perf_counter() - self._started_s, 3),
                }
            )

    def close(self) -> None:
        """Do nothing: nothing moves."""
