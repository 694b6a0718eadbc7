"""Remove reasoning and tool markup from the text of an answer, however a stream cuts it.

Nearly all text holds nothing that could begin a mark. It is returned as it came, after one search. ``MarkupScanner``
is created at the first piece of text that holds a suspicious character.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.response.markup.leaked_call_parser import finished_calls
from adapters.response.markup.scanner import Leak, MarkupScanner
from adapters.response.markup.text_characters import SUSPICIOUS
from adapters.response.tool_calls import MOST_CALLS

if TYPE_CHECKING:
    from adapters.response.tool_calls import FinishedCall, Tools


class MarkupFilter:
    """Separates the text of one answer from its reasoning and its tool markup.

    Args:
        tools: The offered tools. Without any, bare JSON is ordinary text.
        reasoning_first: Whether answers are known to begin with reasoning that has no opening mark. Text is held
            back until that reasoning ends.
        most_calls: How many calls may leak; ``feed`` and ``finish`` raise ``TooManyCalls`` beyond that.

    Attributes:
        reasoning: Pieces of reasoning in their order. The caller may remove them at any time.
        leaks: The tool markup so far.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        reasoning_first: bool = False,
        most_calls: int = MOST_CALLS,
    ) -> None:
        self._tools = tools
        self._most_calls = most_calls
        self.reasoning: list[str] = []
        self.leaks: list[Leak] = []
        self._emitted: list[str] = []
        self._scanner = self._new_scanner(reasoning_first=True) if reasoning_first else None

    @property
    def began_with_reasoning(self) -> bool:
        """Whether reasoning ended that had no opening mark, because the chat template holds that mark."""
        return self._scanner is not None and self._scanner.began_with_reasoning

    def feed(self, text: str) -> str:
        """Take the next piece of text and return what can be emitted now."""
        if SUSPICIOUS.search(text) is None and (self._scanner is None or self._scanner.flows):
            if self._scanner is None and not self._emitted:
                text = text.lstrip()
            if text:
                self._emitted.append(text)
            return text
        if self._scanner is None:
            self._scanner = self._new_scanner(reasoning_first=False)
        return self._scanner.feed(text)

    def no_reasoning_first(self) -> None:
        """Stop holding text back for unmarked reasoning, because the server sends reasoning in a field."""
        if self._scanner is not None:
            self._scanner.no_reasoning_first()

    def finish(self) -> str:
        """Return the text that was held back, now that nothing can follow."""
        return "" if self._scanner is None else self._scanner.finish()

    def _new_scanner(self, *, reasoning_first: bool) -> MarkupScanner:
        return MarkupScanner(
            self._tools,
            reasoning_first=reasoning_first,
            reasoning=self.reasoning,
            most_calls=self._most_calls,
            emitted=self._emitted,
            leaks=self.leaks,
        )


def read_generation(written: str, tools: Tools) -> tuple[list[FinishedCall], str]:
    """Read what a model wrote and its server could not parse (Groq's ``failed_generation``).

    Args:
        written: The model's text.
        tools: The offered tools.

    Returns:
        The calls in it, and the text if it is nothing but text.
    """
    calls = finished_calls(written, tools)
    markup_filter = MarkupFilter(tools)
    text = markup_filter.feed(written) + markup_filter.finish()
    is_talk = not calls and not markup_filter.leaks and not text.startswith(("{", "[", "<"))
    return calls, text if is_talk else ""
