"""Remove reasoning and tool markup from the text of an answer, however a stream cuts it.

Nearly all text holds nothing that could begin a mark. It is returned as it came, after one search. ``MarkupScanner``
is created at the first piece of text that holds a suspicious character.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from adapters.response.markup.leaked_call_parser import finish_calls, read_leaked_calls
from adapters.response.markup.scanner import LeakedPassage, MarkupScanner
from adapters.response.markup.text_characters import MARK_OR_CALL_CHARS
from adapters.response.tool_calls import MAX_CALLS

if TYPE_CHECKING:
    from adapters.response.markup.leaked_call_parser import LeakedCall
    from adapters.response.tool_schemas import Tools
    from adapters.types import ToolCall

_LONG_CHARS = 1_024  # from here on, searching for single characters is many times faster than for a set of them
_SUSPICIOUS = re.compile(f"[{re.escape(MARK_OR_CALL_CHARS)}\ud800-\udfff]")


class MarkupFilter:
    """Separates the text of one answer from its reasoning and its tool markup.

    Args:
        tools: The offered tools. Without any, bare JSON is ordinary text.
        reasoning_first: Whether answers are known to begin with reasoning that has no opening mark. Text is held
            back until that reasoning ends.
        max_calls: How many calls may leak; ``feed`` and ``finish`` raise ``TooManyCallsError`` beyond that.

    Attributes:
        reasoning: Pieces of reasoning in their order. The caller may remove them at any time.
        passages: The tool markup so far.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        reasoning_first: bool = False,
        max_calls: int = MAX_CALLS,
    ) -> None:
        self._tools = tools
        self._max_calls = max_calls
        self.reasoning: list[str] = []
        self.passages: list[LeakedPassage] = []
        self._emitted: list[str] = []
        self._is_behind_call = False
        self._scanner = self._new_scanner(reasoning_first=True) if reasoning_first else None

    @property
    def began_with_reasoning(self) -> bool:
        """Whether reasoning ended that had no opening mark, because the chat template holds that mark."""
        return self._scanner is not None and self._scanner.began_with_reasoning

    @property
    def has_ended(self) -> bool:
        """Whether the model went on with a turn of another role, so that the answer was over before."""
        return self._scanner is not None and self._scanner.has_ended

    def feed(self, text: str) -> str:
        """Take the next piece of text and return what can be emitted now."""
        if (self._scanner is None or self._scanner.flows) and not self._is_behind_call and not _is_suspicious(text):
            if self._scanner is None and not self._emitted:
                text = text.lstrip()
            if text:
                self._emitted.append(text)
            return text
        if self._scanner is None:
            self._scanner = self._new_scanner(reasoning_first=False)
        return self._settle_before_call() + self._scanner.feed(text)

    def call_arrived(self) -> None:
        """Note that a structured tool call follows the text so far."""
        self._is_behind_call = True

    def no_reasoning_first(self) -> None:
        """Stop holding text back for unmarked reasoning, because the server sends reasoning in a field."""
        if self._scanner is not None:
            self._scanner.no_reasoning_first()

    def finish(self, *, cut: bool = False) -> str:
        """Return the text that was held back, now that nothing can follow.

        Args:
            cut: Whether the answer was cut off. Then the beginning of a mark is dropped.
        """
        if self._scanner is None:
            return ""
        return self._settle_before_call() + self._scanner.finish(cut=cut)

    def calls(self, *, cut: bool) -> list[LeakedCall]:
        """Return the calls of offered tools that leaked into the text.

        Args:
            cut: Whether the answer was cut off. Then markup whose end has not come does not count.
        """
        return [call for passage in self.passages if passage.is_whole or not cut for call in passage.calls]

    def has_unread_call(self, *, cut: bool) -> bool:
        """Whether there was tool markup in which no call can be read."""
        return any(
            not (passage.calls or passage.is_blank) or (cut and not passage.is_whole) for passage in self.passages
        )

    def _settle_before_call(self) -> str:
        is_behind_call, self._is_behind_call = self._is_behind_call, False
        return self._scanner.call_arrived() if is_behind_call and self._scanner is not None else ""

    def _new_scanner(self, *, reasoning_first: bool) -> MarkupScanner:
        return MarkupScanner(
            self._tools,
            reasoning_first=reasoning_first,
            reasoning=self.reasoning,
            max_calls=self._max_calls,
            emitted=self._emitted,
            passages=self.passages,
        )


def _is_suspicious(text: str) -> bool:
    """Return whether a mark or a call may begin in a text, or it holds half a character.

    Any other text can be emitted as it is.
    """
    if len(text) > _LONG_CHARS and text.isascii():
        return any(char in text for char in MARK_OR_CALL_CHARS)
    return _SUSPICIOUS.search(text) is not None


def read_generation(written: str, tools: Tools) -> tuple[list[ToolCall], str]:
    """Read what a model wrote and its server could not parse (Groq's ``failed_generation``).

    Args:
        written: The model's text.
        tools: The offered tools.

    Returns:
        The calls in it, and the text if it is nothing but text.
    """
    calls = finish_calls(read_leaked_calls(written, tools), tools)
    markup_filter = MarkupFilter(tools)
    text = markup_filter.feed(written) + markup_filter.finish()
    is_talk = not calls and not markup_filter.passages and not text.startswith(("{", "[", "<"))
    return calls, text if is_talk else ""
