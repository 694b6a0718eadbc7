"""Collect the reasoning of a response, and what must be sent back with its tool calls.

Reasoning may go on without end, so its size is limited. Text and calls lose nothing by that.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from adapters._unicode import encodable
from adapters.response.snapshots import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)

_CUT_FIELDS = ("text", "summary", "data", "signature")  # of an entry of ``reasoning_details``: a stream cuts them up
_ENTRY_CHARS = 100  # what an entry counts beside its values

MAX_REASONING_CHARS = 1_000_000


class Reasoning:
    """The reasoning of one response, from fields, from details and from marked text.

    Args:
        max_chars: Limit of what is kept, as the server wrote it. The rest is dropped.
    """

    def __init__(self, max_chars: int = MAX_REASONING_CHARS) -> None:
        self._max_chars = max_chars
        self._kept_chars = 0
        self._is_cut = False
        self._texts: list[str] = []
        self._snapshots = SnapshotReader([])
        self._field = ""
        self._by_field: dict[str, list[str]] = {}
        self._details: list[dict[str, Any]] = []
        self._blocks: list[dict[str, Any]] = []
        self._growing: dict[str, list[str]] = {}  # fields of the last entry, in the pieces in which they came

    @property
    def text(self) -> str:
        """The reasoning of all origins, in the order in which it came."""
        return encodable("".join(self._texts))

    @property
    def provider_fields(self) -> dict[str, Any]:
        """The fields of the message that must be sent back with its calls; none if they were not kept whole."""
        if self._is_cut:
            return {}
        if self._blocks:
            return {"thinking_blocks": self._blocks}
        if self._details:
            self._join()
            return {"reasoning_details": self._details}
        return {name: "".join(texts) for name, texts in self._by_field.items()}

    def add(self, text: str) -> None:
        """Add reasoning that stood in the text."""
        self._keep(text)

    def add_piece(self, text: str, field: str = "") -> None:
        """Add the next piece of the reasoning that comes in a field of its own.

        Args:
            text: The piece.
            field: The field of the message that must be sent back with it, or "" if none must.
        """
        self._field = field
        if not self._is_cut:
            self._keep(self._snapshots.feed(text), field)

    def finish(self) -> None:
        """Note that nothing can follow."""
        self._keep(self._snapshots.finish(), self._field)

    def _keep(self, text: str, field: str = "") -> None:
        if kept := text[: self._room_for(len(text))]:
            self._texts.append(kept)
            if field:
                self._by_field.setdefault(field, []).append(kept)

    def add_details(self, details: Iterable[dict[str, Any]]) -> None:
        """Add entries of ``reasoning_details``. The pieces of an entry that a stream cut up are joined."""
        for detail in details:
            last = self._details[-1] if self._details else {}
            goes_on = detail.get("index") is not None and _place(last) == _place(detail)
            self._room_for(_added_chars(detail, last) if goes_on else _added_chars(detail, {}) + _ENTRY_CHARS)
            if self._is_cut:
                return  # the server cannot use an entry that is cut
            if goes_on:
                self._grow(last, detail)
            else:
                self._join()
                self._details.append(dict(detail))

    def add_blocks(self, blocks: Iterable[dict[str, Any]]) -> None:
        """Add entries of ``thinking_blocks`` (Anthropic's thinking as LiteLLM writes it), with their signatures.

        The text of a block comes as reasoning, too, and is not counted twice.
        """
        for block in blocks:
            self._room_for(_added_chars(block, {"thinking": block.get("thinking")}) + _ENTRY_CHARS)
            if self._is_cut:
                return
            self._blocks.append(block)

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
        """Return how many of so many characters can be kept."""
        room = min(chars, self._max_chars - self._kept_chars)
        self._kept_chars += room
        if room < chars and not self._is_cut:
            self._is_cut = True
            logger.info("A model produced more than %d characters of reasoning. The rest is dropped.", self._max_chars)
        return room


def _place(entry: dict[str, Any]) -> tuple[Any, Any]:
    return entry.get("type"), entry.get("index")


def _added_chars(detail: Mapping[str, Any], last: Mapping[str, Any]) -> int:
    """Count the characters of the JSON that an entry adds to the one before it."""
    added = {name: value for name, value in detail.items() if name in _CUT_FIELDS or last.get(name) != value}
    return sum(len(value if isinstance(value, str) else json.dumps(value)) for value in added.values())
