"""Tell new text from text that a server sends again.

Some servers send all of the text so far in each delta (DashScope, relays of Gemini), or all of it once more at the end.
"""

from __future__ import annotations

import re

_MIN_SNAPSHOT_CHARS = 64  # models repeat shorter texts themselves
_OPEN_SENTENCE = re.compile(r"[^\W\d_]\S*\s.*\S", re.DOTALL)  # what a model repeats begins after white space


class SnapshotReader:
    """Returns what is new in each piece of a text.

    A piece that begins with all of the text so far is a snapshot if it is long, or if the text so far has several words
    and no white space at its end. Any other may be the model's own repetition, such as "No. " and "No. Never.". It is
    held back: if the next piece begins with it, both are snapshots, and so is each later piece of that kind.

    Args:
        pieces: The pieces so far. The list grows with what is new.
    """

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces
        self._chars = sum(map(len, pieces))
        self._held = ""
        self._is_cumulative = False

    def feed(self, piece: str) -> str:
        """Take a piece and return the text in it that is new, or "" while it is held back."""
        if self._held:
            held, self._held = self._held, ""
            if not piece.startswith(held):
                return self._add(held) + self.feed(piece)
            self._is_cumulative = True
        if not self._chars or len(piece) < self._chars or not piece.startswith(self._joined()):
            return self._add(piece)
        if self._is_cumulative or len(piece) >= _MIN_SNAPSHOT_CHARS:
            return self._add(piece[self._chars :])
        if len(piece) == self._chars:
            return self._add(piece)
        if _OPEN_SENTENCE.fullmatch(self._joined()):
            self._is_cumulative = True
            return self._add(piece[self._chars :])
        self._held = piece
        return ""

    def finish(self) -> str:
        """Return the piece that was held back, now that nothing can follow."""
        held, self._held = self._held, ""
        return self._add(held)

    def _add(self, text: str) -> str:
        self._pieces.append(text)
        self._chars += len(text)
        return text

    def _joined(self) -> str:
        """Return all of the text so far, and keep it in one piece."""
        self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0]
