"""What the model thought: kept for who asks, and for the server that wants it back beside the calls.

Reasoning may go on without end, so only so much of it is kept; text and calls lose nothing by that.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

_CUT_FIELDS = ("text", "summary", "data", "signature")  # of an entry of ``reasoning_details``: a stream cuts them up
_ENTRY_CHARS = 100  # what an entry counts beside its text


MOST_REASONING_CHARS = 1_000_000


class Reasoning:
    """The reasoning of one answer, wherever it came from.

    Args:
        most_chars: So much of it is kept; what goes beyond is dropped.
    """

    def __init__(self, most_chars: int = MOST_REASONING_CHARS) -> None:
        self._most_chars = most_chars
        self._kept_chars = 0
        self._is_cut = False
        self._texts: list[str] = []
        self._by_field: dict[str, list[str]] = {}
        self._details: list[dict[str, Any]] = []
        self._growing: dict[str, list[str]] = {}  # fields of the last entry, in the pieces in which they came

    @property
    def text(self) -> str:
        """All of it, in the order in which it came."""
        return "".join(self._texts)

    @property
    def echo(self) -> dict[str, Any]:
        """The fields of the message that must come back beside its calls; none if they were not kept whole."""
        if self._is_cut:
            return {}
        if self._details:
            self._join()
            return {"reasoning_details": self._details}
        return {name: "".join(texts) for name, texts in self._by_field.items()}

    def add(self, text: str, field: str = "") -> None:
        """Keep the next piece.

        Args:
            text: The piece.
            field: The field of the message that must come back with it, or "" if none must.
        """
        if kept := text[: self._room_for(len(text))]:
            self._texts.append(kept)
            if field:
                self._by_field.setdefault(field, []).append(kept)

    def add_details(self, details: Iterable[dict[str, Any]]) -> None:
        """Keep entries of ``reasoning_details``; the pieces of one that a stream cut up become one again."""
        for each in details:
            last = self._details[-1] if self._details else {}
            goes_on = each.get("index") is not None and _place(last) == _place(each)
            chars = sum(len(value) for value in each.values() if isinstance(value, str))
            self._room_for(chars if goes_on else chars + _ENTRY_CHARS)
            if self._is_cut:
                return  # an entry that is cut is worth nothing to the server
            if goes_on:
                self._grow(last, each)
            else:
                self._join()
                self._details.append(dict(each))

    def _grow(self, entry: dict[str, Any], piece: dict[str, Any]) -> None:
        for name, value in piece.items():
            if name in _CUT_FIELDS and isinstance(value, str) and isinstance(entry.get(name), str):
                self._growing.setdefault(name, [entry[name]]).append(value)
            elif value is not None:
                entry[name] = value
                self._growing.pop(name, None)

    def _join(self) -> None:
        for name, pieces in self._growing.items():
            self._details[-1][name] = "".join(pieces)
        self._growing.clear()

    def _room_for(self, chars: int) -> int:
        """How many of so many characters can be kept."""
        room = min(chars, self._most_chars - self._kept_chars)
        self._kept_chars += room
        if room < chars and not self._is_cut:
            self._is_cut = True
            logger.info("A model thought more than %d characters: the rest is not kept.", self._most_chars)
        return room


def _place(entry: dict[str, Any]) -> tuple[Any, Any]:
    return entry.get("type"), entry.get("index")
