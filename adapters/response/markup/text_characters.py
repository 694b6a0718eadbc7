"""The characters of an answer: which ones are suspicious, where a mark may begin, and halves that belong together."""

from __future__ import annotations

import re

from adapters._unicode import encodable
from adapters.response.markup import bare_calls, markers

_WINDOW_CHARS = 4_096  # searched for single characters, which is many times faster than for a pattern
_MARK_CHARS = "".join(sorted(markers.FIRST_CHARS))
MARK_OR_CALL_CHARS = "".join(sorted(markers.FIRST_CHARS | bare_calls.FIRST_CHARS))
"""The characters with which a mark or a call may begin."""
_MARK = re.compile(f"[{re.escape(_MARK_CHARS)}](?:\\Z|{markers.HEAD})")
_MARK_OR_CALL = re.compile(f"[{re.escape(MARK_OR_CALL_CHARS)}](?:\\Z|{markers.HEAD}|{bare_calls.HEAD})")


class Starts:
    """Finds where a mark may begin.

    Args:
        with_calls: Whether calls without marks are looked for too.
    """

    def __init__(self, *, with_calls: bool) -> None:
        self._chars = MARK_OR_CALL_CHARS if with_calls else _MARK_CHARS
        self._pattern = _MARK_OR_CALL if with_calls else _MARK

    def next_in(self, text: str, position: int) -> int | None:
        """Return the first place from a position on, or None if there is none."""
        while len(text) - position > _WINDOW_CHARS and text[position] not in self._chars:
            end = position + _WINDOW_CHARS
            if any(text.find(char, position, end) >= 0 for char in self._chars):
                break
            position = end
        found = self._pattern.search(text, position)
        return None if found is None else found.start()


class Characters:
    """Joins the halves of characters that UTF-16 splits over two pieces; a half that stays alone is replaced.

    Attributes:
        half: The half of a character whose other half may follow, or "".
    """

    def __init__(self) -> None:
        self.half = ""

    def join(self, text: str) -> str:
        """Take the next piece of text and return the whole characters."""
        text = self.half + text
        self.half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return encodable(text[: len(text) - len(self.half)])

    def finish(self) -> str:
        """Return the replacement for a half whose other half did not come."""
        half, self.half = self.half, ""
        return "\N{REPLACEMENT CHARACTER}" if half else ""


class TextBuffer:
    """The text that has come and is not dealt with yet.

    Attributes:
        text: The text, from somewhere before the position to the end of what has come.
        position: Where the part begins that is not dealt with.
    """

    def __init__(self) -> None:
        self.text = ""
        self.position = 0
        self._start = 0

    @property
    def offset(self) -> int:
        """The position in all the text that has come."""
        return self._start + self.position

    @property
    def is_empty(self) -> bool:
        """Whether all the text is dealt with."""
        return self.position == len(self.text)

    def feed(self, text: str) -> None:
        """Add the next piece of text."""
        self._start += self.position
        self.text = self.text[self.position :] + text
        self.position = 0

    def take(self, most_chars: int) -> str:
        """Take the next characters."""
        taken = self.text[self.position : self.position + most_chars]
        self.position += len(taken)
        return taken

    def take_rest(self) -> str:
        """Take all characters."""
        return self.take(len(self.text) - self.position)

    def give_back(self, text: str) -> None:
        """Put characters back that were taken last."""
        if self.text.endswith(text, 0, self.position):
            self.position -= len(text)  # the usual case, and nothing is copied
        else:
            self._start = self.offset - len(text)
            self.text, self.position = text + self.text[self.position :], 0
