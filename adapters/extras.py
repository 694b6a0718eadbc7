"""What a provider wants back beside a tool call, such as Gemini's thought signatures: remembered between two turns.

An agent keeps id, name and arguments of a call; the rest would be lost, and the next request be rejected.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.types import Message, ToolCall

_REMEMBERED_CALLS = 256  # more than any conversation's window holds
_CUT_FIELDS = ("text", "summary", "data", "signature")


class Extras:
    """Fields of a provider's own, by the id of the call that they belong to."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = OrderedDict()

    def remember(
        self, tool_calls: list[ToolCall], extras: dict[str, dict[str, Any]], details: list[dict[str, Any]]
    ) -> None:
        """Keep what came with the calls of one answer; the oldest calls are forgotten.

        Args:
            tool_calls: The calls.
            extras: Call id -> fields beside it; those under ``function`` stood inside the function.
            details: ``reasoning_details`` of the message.
        """
        for call in tool_calls:
            self._by_id[call.id] = (extras.get(call.id, {}), details)
            self._by_id.move_to_end(call.id)
        while len(self._by_id) > _REMEMBERED_CALLS:
            self._by_id.popitem(last=False)

    def attach(self, message: Message) -> Message:
        """Put back what came with the calls of an assistant message; the message is changed and returned."""
        for call in message["tool_calls"]:
            extras, details = self._by_id.get(call["id"], ({}, []))
            call["function"] |= extras.get("function", {})
            call |= {key: value for key, value in extras.items() if key != "function"}
            if details:
                message["reasoning_details"] = details
        return message


def merge_details(details: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    """Append ``reasoning_details``; the pieces of one entry that a stream cut up become one again."""
    for each in new:
        last = details[-1] if details else {}
        if each.get("index") is None or (last.get("type"), last.get("index")) != (each.get("type"), each["index"]):
            details.append(dict(each))
            continue
        for name, value in each.items():
            if name in _CUT_FIELDS and isinstance(value, str) and isinstance(last.get(name), str):
                last[name] += value
            elif value is not None:
                last[name] = value
