"""What a provider wants back beside a tool call, such as Gemini's thought signatures: remembered between two turns.

An agent keeps id, name and arguments of a call; the rest would be lost, and the next request be rejected.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.types import Json, Message, ToolCall

_MOST_CALLS = 256  # more than any conversation's window holds
_MOST_CHARS = 8_000_000  # of JSON: a long thought is 100,000, a signature a few thousand


@dataclass(frozen=True, slots=True)
class _Remembered:
    beside: Mapping[str, Json]
    echo: Mapping[str, Json]
    chars: int


class Extras:
    """Fields of a provider's own, by the id of the call that they belong to."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, _Remembered] = OrderedDict()
        self._chars = 0

    def remember(
        self, tool_calls: Sequence[ToolCall], extras: Mapping[str, Mapping[str, Json]], echo: Mapping[str, Json]
    ) -> None:
        """Keep what came with the calls of one answer; the oldest calls are forgotten.

        Args:
            tool_calls: The calls.
            extras: Call id -> fields beside it; those under ``function`` stood inside the function.
            echo: Fields of the message that must come back with the calls, under the names that they came in:
                ``reasoning_details``, ``reasoning_content`` or ``reasoning``.
        """
        echo_chars = _chars(echo)
        for call in tool_calls:
            beside = extras.get(call.id, {})
            self._forget(call.id)
            self._by_id[call.id] = _Remembered(beside, echo, echo_chars + _chars(beside))
            self._chars += self._by_id[call.id].chars
        while len(self._by_id) > _MOST_CALLS or self._chars > _MOST_CHARS:
            self._forget(next(iter(self._by_id)))

    def attach(self, message: Message) -> Message:
        """Put back what came with the calls of an assistant message; the message is changed and returned."""
        for call in message["tool_calls"]:
            remembered = self._by_id.get(call["id"])
            if remembered is not None:
                call["function"] |= remembered.beside.get("function", {})
                call |= {key: value for key, value in remembered.beside.items() if key != "function"}
                message |= remembered.echo
        return message

    def _forget(self, call_id: str) -> None:
        if forgotten := self._by_id.pop(call_id, None):
            self._chars -= forgotten.chars


def _chars(fields: Mapping[str, Json]) -> int:
    return len(json.dumps(fields, default=str)) if fields else 0
