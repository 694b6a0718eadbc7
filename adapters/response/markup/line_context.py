"""The line of text that is being emitted: it decides whether a mark is one or a word of a sentence or of code."""

from __future__ import annotations

import re

_FENCE_CHARS = 3
_LINE_BREAK_OR_RUN = re.compile(r"\n|`+|~{3,}")


class LineContext:
    """What precedes the next character on its line. It is read only where a mark or a bracket comes.

    Attributes:
        last: The last two characters of the text.
        has_text: Whether the line has more than white space.
        talks_of_marks: Whether a mark on the line was a word.
        code: The run of backticks or tildes that opened the code here, or "". One or two backticks open a code span,
            which ends with the line at the latest; three and more open a fence.
    """

    def __init__(self) -> None:
        self.last = ""
        self.has_text = False
        self.talks_of_marks = False
        self.code = ""
        self._fence_is_on_earlier_line = False

    @property
    def in_fence(self) -> bool:
        """Whether the code here is a fenced block."""
        return len(self.code) >= _FENCE_CHARS

    def read(self, texts: list[str]) -> None:
        """Read the texts that were emitted since the last call, and remove them from the list."""
        if not texts:
            return
        text = "".join(texts)
        texts.clear()
        if self.code or "`" in text or "~~~" in text:
            self._read_code(text)
        _, line_break, line = text.rpartition("\n")
        self.has_text = bool(line.strip()) or (self.has_text and not line_break)
        self.talks_of_marks = self.talks_of_marks and not line_break
        self.last = (self.last + text[-2:])[-2:]

    def _read_code(self, text: str) -> None:
        has_text, position = self.has_text, 0
        for token in _LINE_BREAK_OR_RUN.finditer(text):
            has_text = has_text or bool(text[position : token.start()].strip())
            position = token.end()
            if token.group() == "\n":
                has_text = False
                self._fence_is_on_earlier_line = self.in_fence
                self.code = self.code if self.in_fence else ""
            else:
                self._read_run(token.group(), text[position : position + 1], has_text=has_text)
                has_text = True

    def _read_run(self, run: str, following: str, *, has_text: bool) -> None:
        if not self.code:
            self.code = "" if run[0] == "~" and has_text else run
            self._fence_is_on_earlier_line = False
            return
        if self._fence_is_on_earlier_line:
            is_end = run.startswith(self.code) and not has_text and not following.isalnum()
        else:
            is_end = run == self.code
        if is_end:
            self.code = ""
