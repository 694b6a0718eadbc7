"""What stands on the line that is being spoken: whether a mark in it is one, or only a word that somebody says."""

from __future__ import annotations


class LineContext:
    """What stands on the line that is being spoken; looked at only where a mark or a bracket comes.

    Args:
        said: What was said; what has been looked at is taken out.
    """

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self._has_text = False
        self._backticks = 0
        self._last = ""

    @property
    def has_text(self) -> bool:
        """Whether there is more on it than white space."""
        self._look()
        return self._has_text

    @property
    def in_code(self) -> bool:
        """Whether a backtick stands open on it."""
        self._look()
        return self._backticks % 2 == 1

    @property
    def last(self) -> str:
        """The last character."""
        self._look()
        return self._last

    def _look(self) -> None:
        text = "".join(self._said)
        self._said.clear()
        if not text:
            return
        _, is_new, line = text.rpartition("\n")
        self._has_text = bool(line.strip()) or (self._has_text and not is_new)
        self._backticks = line.count("`") + (0 if is_new else self._backticks)
        self._last = text[-1]
