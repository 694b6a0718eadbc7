"""Assemble tool calls from the fragments that a stream sends: their ids, names and arguments.

Calls that a model wrote as text are found and read in ``markup``. Both end as ``ToolCall``.
"""

from __future__ import annotations

import itertools
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from adapters._arguments import Brackets, is_whole, read_arguments
from adapters._call_ids import make_call_id
from adapters._unicode import encodable, encodable_json
from adapters.response.attribution import GrowingCall, TooManyReadingsError, read_fragments
from adapters.response.tool_schemas import clean_name, may_take, takes_none, unwrapped
from adapters.types import Json, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.response.attribution import Group
    from adapters.response.chunks import CallFragment
    from adapters.response.tool_schemas import Tools

logger = logging.getLogger(__name__)

_PSEUDO_TOOLS = ("answer", "no_tool", "notool", "reply")  # LocalAI, TGI: a "tool" that means plain text
_MAX_NAME_CHARS = 200
_MAX_FIELD_CHARS = 200_000  # of JSON, for each call: a signature has a few thousand
_MAX_PLACES = 10_000  # a server may send a new index with each piece
_ANY = "any"  # in the place of an index

MAX_CALLS = 128


class TooManyCallsError(Exception):
    """A response holds more calls than the limit."""


@dataclass(slots=True)
class _OpenCall:
    """A call that may still grow.

    Attributes:
        place: Its place among the calls.
        index: The index of its first fragment, or None.
        id: The first id among its fragments, or None.
        name: The name so far, or "".
        start: How many fragments came before its first one.
        pieces: Its arguments as they came, without those that are empty.
        provider_fields: As in ``CallFragment``.
    """

    place: int
    index: int | None
    id: str | None
    name: str
    start: int
    pieces: list[Any] = field(default_factory=list)
    provider_fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    _field_chars: int = 0
    _object: Json = None  # the last piece that is no text
    _brackets: Brackets = field(default_factory=Brackets)
    _read_pieces: int = 0
    _state: Literal["open", "whole", "spoilt"] = "open"

    @property
    def arguments(self) -> Json:
        """All pieces together: text if they are text, else the last object."""
        return "".join(self.pieces) if self._object is None else self._object

    @property
    def is_object(self) -> bool:
        """Whether the server sent the arguments as JSON, not as text."""
        return self._object is not None

    @property
    def is_cumulative(self) -> bool:
        """Whether the last piece is the complete arguments, and each piece before it a beginning of them."""
        if len(self.pieces) < 2 or self.is_object or not is_whole(self.pieces[-1]):  # noqa: PLR2004 - one piece repeats nothing
            return False
        return all(self.pieces[-1].startswith(piece) for piece in self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are a complete object. Each piece is read once, because this is asked after each."""
        if self._object is not None:
            return is_whole(self._object)
        while self._read_pieces < len(self.pieces):
            piece = self.pieces[self._read_pieces]
            self._read_pieces += 1
            if self._state == "open" and self._brackets.feed(piece) is not None:
                self._state = "whole" if is_whole("".join(self.pieces[: self._read_pieces])) else "spoilt"
            elif self._state == "whole" and piece.strip():
                self._state = "spoilt"
        return self._state == "whole"

    def add(self, fragment: CallFragment) -> None:
        """Add a fragment of this call."""
        self.id = self.id or fragment.id
        if fragment.arguments is not None and not isinstance(fragment.arguments, str):
            self.pieces = [fragment.arguments]
            self._object = fragment.arguments
        elif fragment.arguments:
            self.pieces.append(fragment.arguments)
        if fragment.provider_fields and self._field_chars <= _MAX_FIELD_CHARS:
            self._add_fields(fragment.provider_fields)

    def _add_fields(self, fields: Mapping[str, Mapping[str, Any]]) -> None:
        self._field_chars += len(json.dumps(fields))
        for part, values in fields.items():
            self.provider_fields.setdefault(part, {}).update(values)
        if self._field_chars > _MAX_FIELD_CHARS:
            self.provider_fields.clear()  # the server cannot use a part of them
            logger.info("A tool call had fields of more than %d characters. They are dropped.", _MAX_FIELD_CHARS)


class CallAssembler:
    """Assembles the tool calls of one response from their fragments.

    A fragment is matched by id and index, then by index, then with the last call if that one is not complete. Some
    servers leave out, repeat or renew the id, the index and the name from one fragment of a call to the next. Where
    these do not say which call a fragment belongs to, the calls are those of the only reading of all fragments that
    makes each call whole; see ``attribution``.

    Args:
        tools: The offered tools.
        max_calls: Limit of calls; ``feed`` raises ``TooManyCallsError`` beyond it.

    Attributes:
        is_uncertain: Whether fragments may belong to another call than they were given to. Set by ``finish``; then no
            call of the response may run.
    """

    def __init__(self, tools: Tools | None = None, *, max_calls: int = MAX_CALLS) -> None:
        self._tools = tools or {}
        self._max_calls = max_calls
        self._open: list[_OpenCall] = []
        self._latest: dict[tuple[int | str | None, str | None], int] = {}  # index and id, or None for any -> place
        self._fragments: list[CallFragment] = []  # of a stream
        self._is_irregular = False  # whether indexes do not say which call a fragment belongs to
        self.is_uncertain = False

    @property
    def has_calls(self) -> bool:
        """Whether any fragment has come."""
        return bool(self._open)

    def feed(self, fragments: Iterable[CallFragment], *, whole: bool = False) -> None:
        """Take the fragments of one chunk.

        Args:
            fragments: The fragments, in their order.
            whole: Whether each is a complete call, as in a response that is not streamed.

        Raises:
            TooManyCallsError: If there are more calls than the limit.
        """
        for fragment in fragments:
            call = None if whole else self._continued(fragment)
            if not whole and not self._is_irregular:
                self._is_irregular = not self._is_regular(fragment, call)
            if call is None:
                if len(self._open) == self._max_calls:
                    raise TooManyCallsError
                call = _OpenCall(len(self._open), fragment.index, None, fragment.name or "", len(self._fragments))
                self._open.append(call)
            elif fragment.name and fragment.name != call.name:
                call.name = f"{call.name}{fragment.name}"
            call.add(fragment)
            if not whole:
                self._fragments.append(fragment)
            if self._latest.get((fragment.index, fragment.id)) != call.place:
                self._note_place(call, fragment)

    def _note_place(self, call: _OpenCall, fragment: CallFragment) -> None:
        """Remember under which indexes and ids a call has come, so that later fragments find it."""
        indexes = {_ANY, call.index, fragment.index} if len(self._latest) < _MAX_PLACES else {_ANY, call.index}
        for index in indexes:
            for call_id in {None, call.id}:
                self._latest[index, call_id] = max(self._latest.get((index, call_id), 0), call.place)

    def finish(self, *, cut: bool) -> list[ToolCall]:
        """Return the complete calls, each once.

        Args:
            cut: Whether the response was, or may have been, cut off. Then a call whose arguments are not a complete
                object is dropped. It must neither run nor be repaired.
        """
        finished: list[ToolCall] = []
        dropped = 0
        broken: set[int] = set()  # places of calls that may lack a part, and of calls that may be that part
        suspect: set[int] = set()
        taken: dict[str, tuple[str, dict[str, Any]]] = {}
        for place, call in enumerate(self._attributed(cut=cut)):
            name, arguments, error = self._read(call)
            if not name or (cut and not self._is_surely_whole(name, call.arguments)):
                dropped += bool(name or call.pieces)
                if arguments or error:
                    broken.add(place)
                continue
            is_broken, is_suspect = self._doubts_about(call, name, arguments, error)
            broken.update((place,) if is_broken else ())
            suspect.update((place,) if is_suspect else ())
            if call.id and taken.get(call.id) == (name, arguments):
                continue  # LocalAI sends the same call twice, under the same id
            call_id = call.id if call.id and call.id not in taken else make_call_id()
            taken[call_id] = (name, arguments)
            finished.append(ToolCall(call_id, name, arguments, error, encodable_json(call.provider_fields)))
        if dropped:
            logger.warning("Dropped %d tool calls that have no name or were cut off.", dropped)
        if self._fragments and broken and suspect and len(broken | suspect) > 1:
            self.is_uncertain = True
        return finished

    def _doubts_about(
        self, call: _OpenCall, name: str, arguments: dict[str, Any], error: str | None
    ) -> tuple[bool, bool]:
        """Return whether a call may lack a part, and whether it may be such a part, or lack one, and run nevertheless.

        A call of a regular stream that is whole JSON lacks nothing, whatever is wrong with it.
        """
        is_part = self._is_irregular or not _is_json(call.arguments)
        is_unfit = error is not None or not may_take(name, arguments, self._tools)
        takes_these = self._is_plain(call) if arguments else not self._tools.get(name)
        may_run = name in self._tools and not error
        return (
            is_unfit and (is_part or bool(arguments)),
            may_run and not takes_these and (is_part or is_unfit or not call.pieces),
        )

    def _is_surely_whole(self, name: str, arguments: Json) -> bool:
        """Whether the arguments of a cut response are complete; vLLM writes ``{}`` for those that it did not get."""
        return is_whole(arguments) and (bool(read_arguments(arguments)[0]) or not self._tools.get(name))

    def _read(self, call: _OpenCall) -> tuple[str, dict[str, Any], str | None]:
        name = clean_name(encodable(call.name), self._tools)
        arguments, error = read_arguments(call.arguments)
        if error and call.is_cumulative:
            arguments, error = read_arguments(call.pieces[-1])
        return name, unwrapped(name, arguments, self._tools), error

    def _is_regular(self, fragment: CallFragment, call: _OpenCall | None) -> bool:
        """Whether the index of a fragment says which call it belongs to, or that it begins one.

        Args:
            fragment: The fragment.
            call: The call that it continues, or None if it begins one.
        """
        if fragment.index is None:
            return False
        if call is None:
            return bool(fragment.name) and (fragment.index, None) not in self._latest
        if fragment.index != call.index or (fragment.id and fragment.id != call.id):
            return False
        return not (fragment.name and call.name) or (fragment.name == call.name and fragment.id is not None)

    def _attributed(self, *, cut: bool) -> list[_OpenCall]:
        """Return the calls; if fragments may belong to others than they were given to, those of the only reading."""
        calls = self._open
        if not self._tools or not self._is_doubtful():
            return calls
        known = calls[:-1] if cut else calls  # the last one may not be whole
        try:
            found = read_fragments(self._fragments[: calls[-1].start] if cut else self._fragments, self._tools)
        except TooManyReadingsError:
            self.is_uncertain = True
            return calls
        readings = {self._values(opened): opened for opened in map(self._opened, found)}
        if not readings:
            real = [call for call in known if any(self._read(call))]
            self.is_uncertain = len(real) > 1 or not all(map(self._is_plain, real))
        elif len(readings) > 1:
            self.is_uncertain = True
        elif self._values(known) not in readings:
            (calls,) = readings.values()
        return calls

    def _is_plain(self, call: _OpenCall) -> bool:
        """Whether a call has arguments that needed no repair, and all of them are its tool's, as far as it is known."""
        name, arguments, error = self._read(call)
        is_written_well = is_whole(call.arguments) or call.is_cumulative or not arguments
        return is_written_well and not error and arguments.keys() <= self._tools.get(name, arguments).keys()

    def _is_doubtful(self) -> bool:
        """Whether fragments may belong to others than the calls they were given to."""
        if self._is_irregular:
            return not all(map(self._is_call, self._fragments))
        names = [clean_name(encodable(call.name), self._tools) for call in self._open]
        joined = {f"{first}{second}" for first, second in itertools.pairwise(names) if second not in self._tools}
        if not joined.isdisjoint(self._tools):
            return True  # a name in two pieces
        if not 1 < len(self._open) == len(self._fragments):
            return False
        # Each fragment began a call: they may be parts of fewer calls whose index, id and name are repeated.
        values = [(*self._read(call), call.arguments) for call in self._open]
        filled = {name for name, arguments, *_ in values if arguments}
        return any((error and not _is_json(text)) or (name in filled and not text) for name, _, error, text in values)

    def _is_call(self, fragment: CallFragment) -> bool:
        """Whether a fragment is a whole call."""
        if not fragment.arguments:
            return takes_none(clean_name(fragment.name or "", self._tools), self._tools)
        return bool(fragment.name) and is_whole(fragment.arguments)

    def _values(self, calls: Iterable[_OpenCall]) -> frozenset[str]:
        """Return the names and arguments of calls; equal calls count once, as they run once."""
        return frozenset(json.dumps(self._read(call), sort_keys=True) for call in calls)

    def _opened(self, reading: Iterable[Group]) -> list[_OpenCall]:
        calls = []
        for place, group in enumerate(reading):
            growing = GrowingCall(self._tools)
            call = _OpenCall(place, group[0].index, None, "", 0)
            for fragment in group:
                growing.add(fragment)
                call.add(fragment)
            call.name = growing.name
            calls.append(call)
        return calls

    def _continued(self, fragment: CallFragment) -> _OpenCall | None:
        """Return the open call that a fragment continues, or None if it begins a call."""
        call = self._last(fragment.index, fragment.id) if fragment.id else None
        if call is None:
            call = self._last(fragment.index, None)
            if call is None:
                last = self._open[-1] if self._open else None
                return None if fragment.name or last is None or last.is_whole else last
            if fragment.id and (fragment.arguments or (fragment.name and call.name)) and call.is_whole:
                return None
        return call if not fragment.name or self._fits_name(call, fragment, fragment.name) else None

    def _last(self, index: int | None, call_id: str | None) -> _OpenCall | None:
        """Return the last open call with an index, or without any, and with an id; None means any."""
        indexes: tuple[int | str | None, ...] = (_ANY,) if index is None else (index, None)
        places = [self._latest[key, call_id] for key in indexes if (key, call_id) in self._latest]
        return self._open[max(places)] if places else None

    def _fits_name(self, call: _OpenCall, fragment: CallFragment, name: str) -> bool:
        """Whether a fragment with a name belongs to the call at its index, and does not begin another call."""
        if call.name == name:
            # A server that repeats the name in each piece; without an id, the same name may also be called twice.
            return bool(fragment.id) or not fragment.arguments or not call.is_whole
        if not call.name:  # the name comes after the arguments, or between them
            return not (fragment.arguments and call.is_whole)
        joined = f"{call.name}{name}"
        if call.pieces or len(joined) > _MAX_NAME_CHARS:
            return False
        has_same_id = call.id is not None and call.id == fragment.id
        return (has_same_id and name not in self._tools) or any(tool.startswith(joined) for tool in self._tools)


def _is_json(arguments: Json) -> bool:
    """Whether arguments are JSON, of whatever type: then they are no part of others."""
    try:
        json.loads(arguments)
    except (TypeError, ValueError, RecursionError):
        return not isinstance(arguments, str)
    return True


def without_pseudo_tools(calls: list[ToolCall], tools: Tools) -> tuple[list[ToolCall], str]:
    """Remove calls of tools that were not offered and that only carry text.

    Returns:
        The other calls, and the text.
    """
    real, texts = [], []
    for call in calls:
        values = list(call.arguments.values())
        if call.name in _PSEUDO_TOOLS and call.name not in tools and len(values) == 1 and isinstance(values[0], str):
            texts.append(values[0])
        else:
            real.append(call)
    return real, " ".join(texts)
