"""The text that the scanner emits, with the gaps that removed marks leave in it."""

from __future__ import annotations

from enum import Enum, auto

from adapters.response.markup.line_context import LineContext


class Gap(Enum):
    """What precedes the next text."""

    NONE = auto()
    """Text."""
    MARK = auto()
    """The start of the answer, or a mark that was removed."""
    TURN = auto()
    """A mark that ends the turn."""


class TextOutput:
    """Collects text until it is returned. White space in a gap is kept back: it is emitted only if text follows.

    Args:
        emitted: The texts that were returned already. New texts are appended; those that were read for ``line`` are
            removed.

    Attributes:
        gap: What precedes the next text.
    """

    def __init__(self, emitted: list[str]) -> None:
        self.gap = Gap.NONE if emitted else Gap.MARK
        self._emitted = emitted
        self._line = LineContext()
        self._has_returned_text = bool(emitted)
        self._texts: list[str] = []
        self._kept = 0  # so many of the texts cannot turn out to be reasoning
        self._space: list[str] = []
        self._space_chars: str | None = None

    @property
    def line(self) -> LineContext:
        """What precedes the next text on its line."""
        self._line.read(self._emitted)
        return self._line

    @property
    def has_text(self) -> bool:
        """Whether the answer has any text."""
        return self._has_returned_text or bool(self._texts)

    @property
    def is_in_sentence(self) -> bool:
        """Whether text precedes the next character on its line, without a mark in between."""
        return self.gap is Gap.NONE and self.line.has_text

    def emit(self, text: str) -> None:
        """Add text."""
        if self.gap is not Gap.NONE:
            self._space.append(text)
            if not text.strip(self._space_chars):
                return
            text = "".join(self._space)
            text = text if self.has_text else text.lstrip()
            self._space.clear()
            self.gap, self._space_chars = Gap.NONE, None
        if text:
            self._texts.append(text)
            self._emitted.append(text)

    def open_gap(self, gap: Gap = Gap.MARK, *, space_chars: str | None = None) -> None:
        """Note that something was removed.

        Args:
            gap: What was removed. The end of a turn stays one until text follows.
            space_chars: The characters that count as white space in the gap, or None for the usual ones.
        """
        self.gap = Gap.TURN if self.gap is Gap.TURN else gap
        self._space_chars = space_chars or self._space_chars

    def keep(self) -> None:
        """Note that the texts so far are no reasoning."""
        self._kept = len(self._texts)

    def withdraw(self) -> str:
        """Remove the texts that turned out to be reasoning, and return them."""
        withdrawn = "".join(self._texts[self._kept :])
        del self._texts[self._kept :]
        self.line.code = ""
        return withdrawn

    def flush(self) -> str:
        """Return the texts that were not returned yet."""
        text = "".join(self._texts)
        self._texts.clear()
        self._kept = 0
        self._has_returned_text = self._has_returned_text or bool(text)
        return text
