"""Read the fragments of a stream of tool calls in every way that makes each of them a part of a whole call.

Some servers send fragments whose index, id and name do not say which call they belong to. If only one reading makes
whole calls of all of them, it is what the model wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from adapters._arguments import Brackets, is_whole, read_arguments
from adapters._unicode import encodable
from adapters.response.tool_schemas import clean_name, may_take, takes_none, unwrapped

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from adapters.response.chunks import CallFragment
    from adapters.response.tool_schemas import Tools

Group: TypeAlias = "Sequence[CallFragment]"
"""The fragments of one call."""

_MAX_STEPS = 100_000
_MAX_READINGS = 64
_JSON_CHARS = frozenset("\"'{}[]:,")


class TooManyReadingsError(Exception):
    """The fragments can be read in more ways than the limit, or finding them takes too long."""


def read_fragments(fragments: Sequence[CallFragment], tools: Tools) -> list[list[Group]]:
    """Return the readings that make whole calls of all fragments.

    A call is whole if its name is that of an offered tool, and its arguments are an object of this tool's parameters.
    Only a tool without parameters may come without arguments.

    Args:
        fragments: All fragments of a stream, in their order.
        tools: The offered tools.

    Returns:
        The calls of each reading: those that have an index of their own, those that have an id of their own, and
        those that come one after the other.

    Raises:
        TooManyReadingsError: If there are too many.
    """
    readings = [
        *_grouped(fragments, [fragment.index for fragment in fragments], tools),
        *_grouped(fragments, [fragment.id for fragment in fragments], tools),
        *_sequences(fragments, tools),
    ]
    return [reading for reading in readings if not _mixes_up_empty_arguments(reading)]


class GrowingCall:
    """A call to which fragments are added.

    Args:
        tools: The offered tools.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._names: list[str] = []
        self._pieces: list[str] = []
        self._brackets = Brackets()
        self._is_closed = False
        self._ids: set[str] = set()

    @property
    def name(self) -> str:
        """The name: it came once, with several fragments, or in pieces."""
        name = self._names[0] if len({*self._names}) == 1 else "".join(self._names)
        return clean_name(encodable(name), self._tools)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a whole call."""
        return unwrapped(self.name, read_arguments("".join(self._pieces))[0], self._tools)

    @property
    def has_several_ids(self) -> bool:
        """Whether its fragments have different ids."""
        return len(self._ids) > 1

    def is_interrupted_by(self, fragment: CallFragment) -> bool:
        """Whether a fragment probably begins another call, although it could be a part of a string of this one."""
        is_marked = bool(fragment.id or fragment.name)
        return is_marked and self._brackets.in_string and str(fragment.arguments or "").startswith("{")

    def add(self, fragment: CallFragment) -> bool:
        """Add a fragment; return False if they cannot become a whole call any more."""
        if fragment.name:
            self._names.append(fragment.name)
        if fragment.id:
            self._ids.add(fragment.id)
        piece = fragment.arguments
        if piece is None or ((not self._pieces or self._is_closed) and isinstance(piece, str) and not piece.strip()):
            return True
        if self._is_closed or not isinstance(piece, str):
            return False
        self._pieces.append(piece)
        end = self._brackets.feed(piece)
        self._is_closed = end is not None
        return end is None or self._is_object("".join(self._pieces), piece[end:])

    @staticmethod
    def _is_object(text: str, litter: str) -> bool:
        """Whether arguments are an object, which may be written badly, and nothing of another call is behind it."""
        if is_whole(text):
            return True
        is_like_json = text.lstrip().startswith("{") and "\\" not in text and _JSON_CHARS.isdisjoint(litter)
        return is_like_json and read_arguments(text)[1] is None

    def is_whole(self, *, strict: bool) -> bool:
        """Whether the fragments are a whole call.

        Args:
            strict: Whether the tool must have all the arguments, and not only one of them.
        """
        if not self._names or (self._pieces and not self._is_closed):
            return False
        name = self.name
        if name not in self._tools or not self._pieces:
            return takes_none(name, self._tools)
        arguments = self.arguments
        return arguments.keys() <= self._tools[name].keys() if strict else may_take(name, arguments, self._tools)


def _grouped(fragments: Sequence[CallFragment], keys: Sequence[Hashable], tools: Tools) -> Iterator[list[Group]]:
    """Yield the reading in which fragments with the same key are a call, if it makes whole calls."""
    if None in keys:
        return
    groups: dict[Hashable, list[CallFragment]] = {}
    for key, fragment in zip(keys, fragments, strict=True):
        groups.setdefault(key, []).append(fragment)
    if len(groups) == 1:
        return  # the key tells nothing
    for group in groups.values():
        call = GrowingCall(tools)
        if not all(call.add(fragment) for fragment in group) or not call.is_whole(strict=False):
            return
    yield [*groups.values()]


def _mixes_up_empty_arguments(reading: Sequence[Group]) -> bool:
    """Whether ``{}`` is a part of a string of one call, although another call has no arguments: it may be its own."""
    groups = [[fragment.arguments for fragment in group if fragment.arguments] for group in reading]
    has_empty = any("".join(map(str, pieces)) in ("", "{}") for pieces in groups)
    return has_empty and any(map(_has_object_in_string, groups))


def _has_object_in_string(pieces: Sequence[str]) -> bool:
    brackets = Brackets()
    for piece in pieces:
        if piece == "{}" and brackets.in_string:
            return True
        brackets.feed(piece)
    return False


def _sequences(fragments: Sequence[CallFragment], tools: Tools) -> list[list[Group]]:
    """Return the readings in which calls come one after the other."""
    all_have_ids = all(fragment.id for fragment in fragments)
    ends: dict[int, list[int]] = {len(fragments): []}
    starts = [0]
    steps = 0
    while starts:
        start = starts.pop()
        if start not in ends:
            ends[start], seen = _ends(fragments, start, tools, all_have_ids=all_have_ids)
            starts += ends[start]
            steps += seen
            if steps > _MAX_STEPS:
                raise TooManyReadingsError
    rests: dict[int, list[list[Group]]] = {len(fragments): [[]]}
    for start in sorted(ends, reverse=True)[1:]:
        rests[start] = [[fragments[start:end], *rest] for end in ends[start] for rest in rests[end]]
        if len(rests[start]) > _MAX_READINGS:
            raise TooManyReadingsError
    return rests[0]


def _ends(fragments: Sequence[CallFragment], start: int, tools: Tools, *, all_have_ids: bool) -> tuple[list[int], int]:
    """Return the places where a call that begins at a place may end, and how many fragments were looked at."""
    ends: list[int] = []
    call = GrowingCall(tools)
    for place in range(start, min(len(fragments), start + _MAX_STEPS)):
        fragment = fragments[place]
        if call.is_interrupted_by(fragment) or not call.add(fragment) or (call.has_several_ids and not all_have_ids):
            return ends, place - start
        if call.is_whole(strict=True):
            ends.append(place + 1)
    return ends, len(fragments) - start
