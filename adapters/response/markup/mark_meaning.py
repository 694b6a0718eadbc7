"""Whether a mark is one, or a word of a sentence or of code that is about marks.

A mark in a code span, in a fence or behind an opening quotation mark is a word. In a sentence it depends on what
precedes and follows the mark. Most marks that models leak begin a line or directly follow another mark.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

from adapters.response.markup.markers import is_special_token
from adapters.response.markup.text_output import Gap

if TYPE_CHECKING:
    from adapters.response.markup.markers import Marker
    from adapters.response.markup.text_characters import TextBuffer
    from adapters.response.markup.text_output import TextOutput
    from adapters.response.markup.turn_headers import TurnHeader

_MOST_QUOTED_CHARS = 1_000
_MOST_SPACE_CHARS = 20
_RUN = re.compile("`+")
_CLOSING_QUOTES = {
    '"': '"', "'": "'", "‘": "’", "“": "”", "„": "“”", "«": "»", "»": "«", "‹": "›", "「": "」", "『": "』",  # noqa: RUF001 - quotation marks
}  # fmt: skip
_END_OF_QUOTATION = {opening: re.compile(rf"[>\]}})▷][{closing}]") for opening, closing in _CLOSING_QUOTES.items()}
_OPENING_QUOTE = re.compile(r"(?:[\s(\[{,:=]?|\A)[\"'‘»]|.?[“„«‹「『]", re.DOTALL)  # noqa: RUF001 - quotation marks
_END_OF_LINE = re.compile(r"[ \t\r]*(?:\n|\Z)")
_BEHIND_WORD = re.compile(r"[\s.,;:!?)\]}\"'`]")
_BEFORE_WORD = re.compile(r"[\s(\"'‘“„«‹「『]")  # noqa: RUF001 - quotation marks
_BEHIND_WORD_IN_SENTENCE = re.compile(r"[.,;:!?)\]}\"'`]|[ \t]+\w")
_BEHIND_WORD_AT_LINE_START = re.compile(r"[.,;:!?)]|[ \t]+[a-z]")


class Meaning(Enum):
    """What a mark is."""

    MARK = auto()
    WORD = auto()
    WAIT = auto()
    """More text must be seen."""


class MarkJudge:
    """Judges the marks of one answer.

    Args:
        buffer: The text. Its position is the mark that is judged.
        output: The text before it.

    Attributes:
        is_over: Whether nothing can follow the text in the buffer.
        has_reasoned: Whether the answer had reasoning between marks.
        talks_of_marks: Whether the answer had a mark that was a word.
    """

    def __init__(self, buffer: TextBuffer, output: TextOutput) -> None:
        self.is_over = False
        self.has_reasoned = False
        self.talks_of_marks = False
        self._buffer = buffer
        self._output = output
        self._quoted_to = 0  # offset up to which the text is known to be a code span or a quotation

    def judge(self, opener: str, mark: Marker) -> Meaning:
        """Judge the mark at the position, which is no header."""
        end = self._buffer.position + len(opener)
        quoted = self._quoted(end)
        if quoted is not Meaning.MARK or mark.role == "call":  # the text behind the mark of a call decides
            return quoted
        if mark.role == "reasoning":
            return self._reasoning(end)
        if mark.role == "stray_end":
            return self._stray_end(end)
        before = self._output.line.last[:1]
        is_about_mark = self.talks_of_marks or before.isalnum() or before in (",", ":")
        return self._removable(end, is_word_at_line_end=is_about_mark and not is_special_token(opener))

    def judge_header(self, opener: str, header: TurnHeader) -> Meaning:
        """Judge the mark at the position, which begins a turn."""
        quoted = self._quoted(header.end)
        if quoted is not Meaning.MARK:
            return quoted
        if opener.lower().endswith("[inst]") and self._output.gap is not Gap.TURN:
            return Meaning.WORD
        if self._output.is_in_sentence and header.kind == "none" and _BEFORE_WORD.match(self._output.line.last[-1]):
            return Meaning.WORD
        return self._removable(header.end, is_word_at_line_end=False)

    def _quoted(self, end: int) -> Meaning:
        """Judge whether the mark is in a fence, a code span or a quotation; the last two must close on its line."""
        line, start = self._output.line, self._buffer.offset
        if line.in_fence or start < self._quoted_to:
            return Meaning.WORD
        is_quoted = _OPENING_QUOTE.fullmatch(line.last) is not None
        if self._output.gap is not Gap.NONE or not (line.code or is_quoted):
            return Meaning.MARK
        window = self._buffer.text[self._buffer.position : self._buffer.position + _MOST_QUOTED_CHARS]
        rest_of_line, line_break, _ = window.partition("\n")
        is_known = bool(line_break) or len(window) == _MOST_QUOTED_CHARS or self.is_over
        if line.code:
            runs = (run for run in _RUN.finditer(rest_of_line) if run.group() == line.code)
            length = next((run.end() for run in runs if is_known or run.end() < len(window)), 0)
        else:
            length = _quotation_chars(rest_of_line, line.last[-1], end - self._buffer.position)
        if length:
            self._quoted_to = start + length
            return Meaning.WORD
        return Meaning.MARK if is_known else Meaning.WAIT

    def _reasoning(self, end: int) -> Meaning:
        if not self._output.is_in_sentence:
            if self._output.gap is not Gap.NONE or self.has_reasoned:
                return Meaning.MARK
            return self._followed_by(_BEHIND_WORD_AT_LINE_START, end)
        if not self.has_reasoned:
            return Meaning.WORD
        text = self._buffer.text
        if end == len(text):
            return Meaning.WORD if self.is_over else Meaning.WAIT
        return Meaning.WORD if _BEHIND_WORD.match(text, end) else Meaning.MARK

    def _stray_end(self, end: int) -> Meaning:
        """Judge an end of reasoning: it is on a line of its own, or it is the last word of a line."""
        text, in_sentence = self._buffer.text, self._output.is_in_sentence
        if end == len(text) and not self.is_over:
            return Meaning.WAIT
        ends = _END_OF_LINE.match(text, end)
        if ends is None:
            return Meaning.WORD if in_sentence or _BEHIND_WORD.match(text, end) else Meaning.MARK
        if ends.end() == len(text) and text[-1] != "\n" and not self.is_over:
            return Meaning.WAIT
        is_word = in_sentence and (self.talks_of_marks or _BEFORE_WORD.match(self._output.line.last[-1]))
        return Meaning.WORD if is_word else Meaning.MARK

    def _removable(self, end: int, *, is_word_at_line_end: bool) -> Meaning:
        """Judge a mark that is only removed: between two words it is a word, directly behind one it is a mark."""
        if self._output.gap is not Gap.NONE:
            return Meaning.MARK
        if not self._output.is_in_sentence:
            return self._followed_by(_BEHIND_WORD_AT_LINE_START, end)
        line = self._output.line
        if not line.talks_of_marks and not _BEFORE_WORD.match(line.last[-1]):
            return Meaning.MARK
        meaning = self._followed_by(_BEHIND_WORD_IN_SENTENCE, end)
        return Meaning.WORD if meaning is Meaning.MARK and is_word_at_line_end else meaning

    def _followed_by(self, word: re.Pattern[str], end: int) -> Meaning:
        """Judge by what follows the mark on its line."""
        behind = self._buffer.text[end : end + _MOST_SPACE_CHARS]
        if word.match(behind):
            return Meaning.WORD
        is_open = not behind.strip(" \t") and len(behind) < _MOST_SPACE_CHARS and not self.is_over
        return Meaning.WAIT if is_open else Meaning.MARK


def _quotation_chars(text: str, quote: str, mark_chars: int) -> int:
    """Return how much of a line belongs to a quotation that was opened before it; 0 if it does not close.

    A quotation mark within a mark or within arguments closes nothing: the closing one follows the mark or a bracket.
    """
    if text[mark_chars : mark_chars + 1] and text[mark_chars] in _CLOSING_QUOTES[quote]:
        return mark_chars + 1
    closed = _END_OF_QUOTATION[quote].search(text)
    return closed.end() if closed is not None else 0
