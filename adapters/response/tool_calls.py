"""Fragments of tool calls -> whole calls: which fragment belongs to which call, ids, names and arguments.

What a model leaked as text is found by ``text_filter`` and read by ``leaked_calls``; both end in the same values.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from adapters._arguments import Brackets, is_whole, read_arguments
from adapters._call_ids import make_call_id
from adapters.types import Json, ToolCall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from adapters.response.chunks import CallFragment

Tools: TypeAlias = "Mapping[str, Mapping[str, Any]]"
"""The offered tools: name -> JSON schema of each parameter, ``{"get_weather": {"city": {"type": "string"}}}``."""

logger = logging.getLogger(__name__)

_NAMESPACE = re.compile(r"^(?:functions?|tools?|default_api)[.:/]\s*")
_LITTER = re.compile(r"<\|.*$|:\d+$", re.DOTALL)  # harmony's channel marks, Kimi's counter


_PSEUDO_TOOLS = ("answer", "no_tool", "notool", "reply")  # LocalAI, TGI: a "tool" that means plain text
_MOST_NAME_CHARS = 200
_ANY = "any"  # in the place of an index

MOST_CALLS = 128


class TooManyCalls(Exception):  # noqa: N818 - a signal: the answer knows what to say
    """An answer holds more calls than anybody will run."""


@dataclass(slots=True)
class _OpenCall:
    """A call that may still grow."""

    place: int
    index: int | None
    id: str | None
    name: str
    pieces: list[Any] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    _object: Json = None  # the last piece that is no text
    _brackets: Brackets = field(default_factory=Brackets)
    _judged: int = 0  # so many pieces have been looked at
    _ends: Literal["open", "whole", "spoilt"] = "open"

    @property
    def arguments(self) -> Json:
        """All pieces together: text if they are text, else the last object."""
        return "".join(self.pieces) if self._object is None else self._object

    @property
    def is_whole(self) -> bool:
        """Whether they are a complete object; each piece is looked at once, because it is asked after each."""
        if self._object is not None:
            return is_whole(self._object)
        while self._judged < len(self.pieces):
            piece = self.pieces[self._judged]
            self._judged += 1
            if self._ends == "open" and self._brackets.feed(piece) is not None:
                self._ends = "whole" if is_whole("".join(self.pieces[: self._judged])) else "spoilt"
            elif self._ends == "whole" and piece.strip():
                self._ends = "spoilt"
        return self._ends == "whole"

    def add(self, fragment: CallFragment) -> None:
        self.id = self.id or fragment.id
        if fragment.arguments not in (None, ""):
            self.pieces.append(fragment.arguments)
            self._object = self._object if isinstance(fragment.arguments, str) else fragment.arguments
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
        most_calls: How many calls an answer may hold.
    """

    def __init__(self, tools: Tools | None = None, *, most_calls: int = MOST_CALLS) -> None:
        self._tools = tools or {}
        self._most_calls = most_calls
        self._open: list[_OpenCall] = []
        self._latest: dict[tuple[int | str | None, str | None], int] = {}  # index and id, or None for any -> place

    @property
    def has_calls(self) -> bool:
        """Whether any fragment has come."""
        return bool(self._open)

    def feed(self, fragments: Iterable[CallFragment], *, whole: bool = False) -> None:
        """Take the fragments of one chunk.

        Args:
            fragments: In their order.
            whole: Whether each is a call of its own, as in an answer that is not streamed.

        Raises:
            TooManyCalls: If there are more than an answer may hold.
        """
        for fragment in fragments:
            call = None if whole else self._continued(fragment)
            if call is None:
                if len(self._open) == self._most_calls:
                    raise TooManyCalls
                call = _OpenCall(len(self._open), fragment.index, None, fragment.name or "")
                self._open.append(call)
            elif fragment.name and fragment.name != call.name:
                call.name = f"{call.name}{fragment.name}" if call.name else fragment.name
            call.add(fragment)
            for index, identity in ((_ANY, None), (call.index, None), (_ANY, call.id), (call.index, call.id)):
                place = self._latest.get((index, identity), 0)
                self._latest[index, identity] = max(place, call.place)

    def finish(self, *, cut: bool) -> list[FinishedCall]:
        """Return the calls that are whole, each once.

        Args:
            cut: Whether the answer was cut off. Then a call whose arguments are not a complete object is dropped:
                it must not be run, and not be repaired.
        """
        finished: list[FinishedCall] = []
        dropped = 0
        taken: dict[str, tuple[str, dict[str, Any]]] = {}
        for call in self._open:
            name = clean_name(call.name, self._tools)
            if not name or (cut and not self._is_surely_whole(name, call.arguments)):
                dropped += 1
                continue
            arguments, error = self._read(call)
            if call.id and taken.get(call.id) == (name, arguments):
                continue  # LocalAI sends the same call twice, under the same id
            identity = call.id if call.id and call.id not in taken else make_call_id()
            taken[identity] = (name, arguments)
            finished.append(FinishedCall(ToolCall(identity, name, arguments, error), call.extras))
        if dropped:
            logger.warning("Tool calls were dropped, for they have no name or were cut off: %d.", dropped)
        return finished

    def _is_surely_whole(self, name: str, arguments: Json) -> bool:
        """Whether the arguments of a cut answer are all there; vLLM writes ``{}`` for those that it did not get."""
        return is_whole(arguments) and (bool(read_arguments(arguments)[0]) or not self._tools.get(name))

    def _read(self, call: _OpenCall) -> tuple[dict[str, Any], str | None]:
        arguments, error = read_arguments(call.arguments)
        if error and len(call.pieces) > 1 and is_whole(call.pieces[-1]):
            return read_arguments(call.pieces[-1])  # a server that repeats all that it has sent in each piece
        return arguments, error

    def _continued(self, fragment: CallFragment) -> _OpenCall | None:
        """The open call that a fragment goes on with, or None if it begins a new one."""
        call = self._last(fragment.index, fragment.id) if fragment.id else None
        if call is None:
            call = self._last(fragment.index, None)
            if fragment.id and call is not None and (call.id is not None or call.pieces):
                return None
        if call is None or not fragment.name:
            return call
        return call if self._goes_on(call, fragment, fragment.name) else None

    def _last(self, index: int | None, identity: str | None) -> _OpenCall | None:
        """The last open call with an index, or without any, and with an id; None means any."""
        indexes: tuple[int | str | None, ...] = (_ANY,) if index is None else (index, None)
        places = [self._latest[each, identity] for each in indexes if (each, identity) in self._latest]
        return self._open[max(places)] if places else None

    def _goes_on(self, call: _OpenCall, fragment: CallFragment, name: str) -> bool:
        """Whether a fragment with a name belongs to the call that is open, not to a new one."""
        if call.name == name:
            # A server that repeats the name in each piece; without an id, the same name may also be called twice.
            return bool(fragment.id) or not fragment.arguments or not call.is_whole
        joined = f"{call.name}{name}"
        if call.pieces or len(joined) > _MOST_NAME_CHARS:
            return False
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


def without_pseudo_tools(calls: list[FinishedCall], tools: Tools) -> tuple[list[FinishedCall], str]:
    """Take out calls of tools that nobody offered and that only carry a sentence.

    Returns:
        The other calls, and the sentences.
    """
    real, said = [], []
    for call in calls:
        name, values = call.tool_call.name, list(call.tool_call.arguments.values())
        if name in _PSEUDO_TOOLS and name not in tools and len(values) == 1 and isinstance(values[0], str):
            said.append(values[0])
        else:
            real.append(call)
    return real, " ".join(said)
