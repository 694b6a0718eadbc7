"""Send the same tools as the same bytes, whatever order a program's sets and dicts bring them in.

Servers keep what they have evaluated of a prompt up to the first byte that differs, and tools are in front of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.types import Json, ToolSpec

_MOST_SETS_OF_TOOLS = 32
_UNORDERED = frozenset({"required", "enum", "type", "examples"})
"""Keywords of JSON schema whose lists have no order."""


class ToolOrder:
    """The tools of earlier requests, in the order and with the key order in which they were sent first."""

    def __init__(self) -> None:
        self._sent: OrderedDict[frozenset[str], list[ToolSpec]] = OrderedDict()
        self._lock = threading.Lock()  # a provider may be used by several event loops, each in a thread

    def __reduce__(self) -> tuple[type[ToolOrder], tuple[()]]:
        """Copies and pickles have sent nothing."""
        return ToolOrder, ()

    def settle(self, tools: Sequence[ToolSpec]) -> list[ToolSpec]:
        """Return tools as they were sent before, if nothing but their order differs.

        Args:
            tools: The tools of a request; they are not changed.

        Returns:
            The tools; Python sets in them are sorted lists.
        """
        by_name = {_name_of(tool): tool for tool in tools}
        names = frozenset(by_name)
        sent = self._sent.get(names)
        if sent is not None and len(sent) == len(tools) == len(by_name):
            if all(by_name[_name_of(tool)] == tool for tool in sent):  # the order of keys does not count
                return sent
            if all(_canonical(by_name[_name_of(tool)]) == _canonical(tool) for tool in sent):
                return sent
        settled = [_without_sets(tool) for tool in tools]
        with self._lock:
            self._sent[names] = settled
            self._sent.move_to_end(names)
            if len(self._sent) > _MOST_SETS_OF_TOOLS:
                self._sent.popitem(last=False)
        return settled


def _name_of(tool: ToolSpec) -> str:
    function = tool.get("function")
    return str(function.get("name")) if isinstance(function, dict) else _canonical(tool)


def _canonical(value: Json, keyword: str = "") -> str:
    """Return the same text for values that differ only in order where order has no meaning."""
    if isinstance(value, dict):
        return f"{{{','.join(sorted(f'{key!r}:{_canonical(part, key)}' for key, part in value.items()))}}}"
    if isinstance(value, list | tuple | set | frozenset):
        parts = [_canonical(part) for part in value]
        is_unordered = isinstance(value, set | frozenset) or keyword in _UNORDERED
        return f"[{','.join(sorted(parts) if is_unordered else parts)}]"
    return repr(value)


def _without_sets(value: Any) -> Any:  # noqa: ANN401 - any value of a tool's definition
    """Return a value with sorted lists in place of sets, which are no JSON; one without sets is the same object."""
    if isinstance(value, set | frozenset):
        return sorted((_without_sets(part) for part in value), key=_canonical)
    if isinstance(value, dict):
        parts = {key: _without_sets(part) for key, part in value.items()}
        return parts if any(part is not value[key] for key, part in parts.items()) else value
    if isinstance(value, list):
        items = [_without_sets(part) for part in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
