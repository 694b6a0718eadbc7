"""Which text is plain at a glance, so that nearly all of an answer costs nothing but a look.

Plain is what holds no mark, nothing that a call without a mark may begin with, and no half of a character.
"""

from __future__ import annotations

import re

from adapters.response.markup import bare_calls, markers

_WINDOW_CHARS = 4_096  # looked through for single characters, which is many times faster than for a pattern
_MARK_CHARS = "".join(sorted(markers.FIRST_CHARS))
_MARK_OR_CALL_CHARS = "".join(sorted(markers.FIRST_CHARS | bare_calls.FIRST_CHARS))
_MARK = re.compile(f"[{re.escape(_MARK_CHARS)}](?:\\Z|{markers.HEAD})")
_MARK_OR_CALL = re.compile(f"[{re.escape(_MARK_OR_CALL_CHARS)}](?:\\Z|{markers.HEAD}|{bare_calls.HEAD})")
SUSPICIOUS = re.compile(f"[{re.escape(_MARK_OR_CALL_CHARS)}\ud800-\udfff]")
"""A character that may begin a mark or a call, or half a character. Text without one can be emitted as it is."""


class Starts:
    """Finds where a mark may stand; what else begins like one is text at a glance.

    Args:
        with_calls: Whether calls without a mark are looked for too.
    """

    def __init__(self, *, with_calls: bool) -> None:
        self._chars = _MARK_OR_CALL_CHARS if with_calls else _MARK_CHARS
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
    """Joins halves of characters that came in two pieces, as UTF-16 cuts them; a half that stays alone is replaced.

    Attributes:
        half: Of a character whose other half follows, or "".
    """

    def __init__(self) -> None:
        self.half = ""

    def join(self, text: str) -> str:
        """Take the next piece of text and return the whole characters."""
        text = self.half + text
        self.half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        if text.isascii():
            return text
        text = text[: len(text) - len(self.half)]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def finish(self) -> str:
        """Return what stands for a half whose other half never came."""
        half, self.half = self.half, ""
        return "\N{REPLACEMENT CHARACTER}" if half else ""
