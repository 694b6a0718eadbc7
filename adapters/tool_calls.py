"""Fragments of tool calls -> whole calls: which fragment belongs to which call, ids, names and arguments.

What a model leaked as text is found by ``text_filter`` and read by ``leaked_calls``; both end in the same values.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from adapters.arguments import is_whole, read_arguments
from adapters.call_ids import make_call_id
from adapters.types import ToolCall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from adapters.wire.chunks import CallFragment

Tools: TypeAlias = "Mapping[str, Mapping[str, Any]]"
"""The offered tools: name -> JSON schema of each parameter, ``{"get_weather": {"city": {"type": "string"}}}``."""

logger = logging.getLogger(__name__)

_NAMESPACE = re.compile(r"^(?:functions?|tools?|default_api)[.:/]\s*")
_LITTER = re.compile(r"<\|.*$|:\d+$", re.DOTALL)  # harmony's channel marks, Kimi's counter


@dataclass(slots=True)
class _OpenCall:
    """A call that may still grow."""

    index: int | None
    id: str | None
    name: str
    pieces: list[Any] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> Any:  # noqa: ANN401 - text, or an object
        """All pieces together: text if they are text, else the last object."""
        objects = [piece for piece in self.pieces if not isinstance(piece, str)]
        return objects[-1] if objects else "".join(self.pieces)

    @property
    def has_arguments(self) -> bool:
        """Whether any part of them has come."""
        return any(self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether they are a complete object; seldom looked at closely, because it is asked after each piece."""
        last = self.pieces[-1] if self.pieces else None
        may_end = not isinstance(last, str) or last.strip()[-1:] in ("}", "")
        return may_end and is_whole(self.arguments)

    def add(self, fragment: CallFragment) -> None:
        self.id = self.id or fragment.id
        if fragment.arguments is not None:
            self.pieces.append(fragment.arguments)
        self.extras.update(fragment.extras)


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call as it came, with what must be sent back beside it.

    Attributes:
        tool_call: The call.
        extras: Fields of the provider's own.
    """

    tool_call: ToolCall
    extras: dict[str, Any]


class CallAssembler:
    """Puts calls together from the fragments of one answer.

    Args:
        tools: The offered tools.
    """

    def __init__(self, tools: Tools | None = None) -> None:
        self._tools = tools or {}
        self._open: list[_OpenCall] = []

    @property
    def has_calls(self) -> bool:
        """Whether any fragment has come."""
        return bool(self._open)

    def feed(self, fragments: Iterable[CallFragment], *, whole: bool = False) -> None:
        """Take the fragments of one chunk.

        Args:
            fragments: In their order.
            whole: Whether each is a call of its own, as in an answer that is not streamed.
        """
        for fragment in fragments:
            call = None if whole else self._continued(fragment)
            if call is None:
                call = _OpenCall(fragment.index, None, fragment.name or "")
                self._open.append(call)
            elif fragment.name and fragment.name != call.name:
                call.name = f"{call.name}{fragment.name}" if call.name else fragment.name
            call.add(fragment)

    def finish(self, *, cut: bool) -> list[FinishedCall]:
        """Return the calls that are whole, each once.

        Args:
            cut: Whether the answer was cut off. Then a call whose arguments are not a complete object is dropped:
                it must not be run, and not be repaired.
        """
        finished: list[FinishedCall] = []
        taken: dict[str, tuple[str, dict[str, Any]]] = {}
        for call in self._open:
            name = clean_name(call.name, self._tools)
            if not name or (cut and not self._is_surely_whole(name, call.arguments)):
                logger.warning("A tool call was dropped: it has no name or was cut off.")
                continue
            arguments, error = self._read(call)
            if call.id and taken.get(call.id) == (name, arguments):
                continue  # LocalAI sends the same call twice, under the same id
            identity = call.id if call.id and call.id not in taken else make_call_id()
            taken[identity] = (name, arguments)
            finished.append(FinishedCall(ToolCall(identity, name, arguments, error), call.extras))
        return finished

    def _is_surely_whole(self, name: str, arguments: Any) -> bool:  # noqa: ANN401 - text, or an object
        """Whether the arguments of a cut answer are all there; vLLM writes ``{}`` for those that it did not get."""
        return is_whole(arguments) and (bool(read_arguments(arguments)[0]) or not self._tools.get(name))

    def _read(self, call: _OpenCall) -> tuple[dict[str, Any], str | None]:
        arguments, error = read_arguments(call.arguments)
        if error and len(call.pieces) > 1 and is_whole(call.pieces[-1]):
            return read_arguments(call.pieces[-1])  # a server that repeats all that it has sent in each piece
        return arguments, error

    def _continued(self, fragment: CallFragment) -> _OpenCall | None:
        """The open call that a fragment goes on with, or None if it begins a new one."""
        candidates = [call for call in self._open if fragment.index is None or call.index in (fragment.index, None)]
        if fragment.id:
            same = [call for call in candidates if call.id == fragment.id]
            nameless = [call for call in candidates[-1:] if call.id is None and not call.has_arguments]
            candidates = same or nameless
        call = candidates[-1] if candidates else None
        if call is None or not fragment.name:
            return call
        return call if self._goes_on(call, fragment, fragment.name) else None

    def _goes_on(self, call: _OpenCall, fragment: CallFragment, name: str) -> bool:
        """Whether a fragment with a name belongs to the call that is open, not to a new one."""
        if call.name == name:
            # A server that repeats the name in each piece; without an id, the same name may also be called twice.
            return bool(fragment.id) or not fragment.arguments or not call.is_whole
        if call.has_arguments:
            return False
        joined = f"{call.name}{name}"
        return (
            not call.name
            or (call.id is not None and call.id == fragment.id)
            or any(each.startswith(joined) for each in self._tools)
        )


def clean_name(name: str, tool_names: Collection[str] = ()) -> str:
    """Strip white space and what models put around a name (``functions.``, channel marks, counters)."""
    name = name.strip().strip("\"'`").strip()
    if name in tool_names:
        return name
    bare = _LITTER.sub("", _NAMESPACE.sub("", name)).strip()
    if bare in tool_names or "." not in bare:
        return bare
    last = bare.rsplit(".", 1)[-1]
    return last if last in tool_names else bare


def arguments_text(arguments: dict[str, Any]) -> str:
    """Write arguments the way every server accepts them back: as a JSON object in a string."""
    return json.dumps(arguments, ensure_ascii=False)
