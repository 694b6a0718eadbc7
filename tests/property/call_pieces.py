"""Tool calls, and the fragments in which servers of any dialect would send them."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.response.chunks import CallFragment

if TYPE_CHECKING:
    from random import Random

TOOLS: dict[str, dict[str, Any]] = {
    "lights": {"room": {}, "level": {}, "scene": {}},
    "lights_off": {"room": {}, "when": {}},
    "get": {"room": {}, "key": {}},
    "get_weather": {"city": {}, "days": {}, "note": {}},
    "play": {"title": {}, "options": {}, "note": {}},
    "stop": {},
}
"""Tools of which one's name begins another's, and whose parameters have names in common."""

IDS = ("once", "each", "new", "late", "missing")
INDEXES = ("right", "gaps", "zero", "lag", "each", "missing")
NAMES = ("once", "each", "last", "split", "middle")

_STRINGS = ("Oslo", "a {b} c", "}", '{"room": "x"}', 'say "hi"', "", "{", "\\", "天気", "lights", '","room":"')

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server marks the fragments of a call.

    Attributes:
        ids: The id comes with the first fragment, with each, anew with each, with a later one, or never.
        indexes: The index is the call's place, or odd; always 0; that of the call before in the first fragment; another
            in each fragment; or missing.
        names: The name comes with the first fragment, with each, with the last, in two parts, or anywhere.
        interleaved: Whether the fragments of different calls are mixed.
    """

    ids: str
    indexes: str
    names: str
    interleaved: bool

    @property
    def is_known(self) -> bool:
        """Whether it has one quirk at most, so that its calls can be assembled exactly."""
        has_index = self.indexes in ("right", "gaps")
        quirks = (self.ids != "once") + (not has_index) + (self.names != "once")
        return quirks <= 1 and (has_index or not self.interleaved)


def random_calls(random: Random) -> list[Call]:
    """Make one to four calls."""
    calls = []
    for _ in range(random.randint(1, 4)):
        name = random.choice(sorted(TOOLS))
        parameters = random.sample(sorted(TOOLS[name]), len(TOOLS[name]))
        used = parameters[: random.randint(1, len(parameters))] if parameters else []
        calls.append((name, {parameter: _value(random) for parameter in used}))
    return calls


def random_fragments(random: Random, calls: list[Call], dialect: Dialect) -> list[CallFragment]:
    """Cut calls into the fragments of a dialect."""
    queues = []
    for place, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments, ensure_ascii=random.random() < 0.5)
        text = "" if text == "{}" and random.random() < 0.4 else text
        rows = _rows(random, name, _pieces(random, text), dialect.names)
        late = random.randint(1, max(1, len(rows) - 1))
        queues.append(
            [
                CallFragment(_index(dialect, place, number), _id(dialect, place, number, late), part, piece, {})
                for number, (part, piece) in enumerate(rows)
            ]
        )
    order = [place for place, queue in enumerate(queues) for _ in queue]
    if dialect.interleaved:
        begun = [*range(len(queues))] if random.random() < 0.5 else []  # each call begins before any goes on
        for place in begun:
            order.remove(place)
        random.shuffle(order)
        order = begun + order
    fragments = [queues[place].pop(0) for place in order]
    if dialect.indexes == "each":
        for number, fragment in enumerate(fragments):
            fragment.index = number
    return fragments


def _value(random: Random, depth: int = 2) -> Any:
    match random.randrange(6 if depth else 4):
        case 0 | 1:
            return random.choice(_STRINGS)
        case 2:
            return random.randrange(100)
        case 3:
            return random.choice((True, None, False, 1.5))
        case 4:
            return {random.choice(("room", "a", "city")): _value(random, depth - 1) for _ in range(random.randrange(3))}
    return [
        _value(random, depth - 1) for _ in range(random.randint(1, 2))
    ]  # the object of a call fits into an empty one


def _pieces(random: Random, text: str) -> list[str]:
    if text in ("", "{}") or random.random() < 0.25:
        return [text]
    if random.random() < 0.15:
        return list(text)
    places = sorted({0, len(text), *(random.randint(0, len(text)) for _ in range(random.randint(1, 4)))})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def _rows(random: Random, name: str, pieces: list[str], names: str) -> list[tuple[str | None, str | None]]:
    """Return the name and the arguments of each fragment."""
    rest: list[tuple[str | None, str | None]] = [(None, piece) for piece in pieces]
    joined = random.random() < 0.5  # with arguments in the same fragment
    match names:
        case "each":
            return [*([] if joined else [(name, "")]), *((name, piece) for piece in pieces)]
        case "last":
            return [*rest[:-1], (name, pieces[-1])] if joined else [*rest, (name, None)]
        case "split":
            at = random.randint(1, len(name) - 1)
            return [(name[:at], ""), (name[at:], ""), *rest]
        case "middle":
            at = random.randrange(len(pieces))
            return [*rest[:at], (name, pieces[at] if joined else None), *rest[at + joined :]]
    return [(name, pieces[0]), *rest[1:]] if joined else [(name, random.choice(("", None))), *rest]


def _id(dialect: Dialect, place: int, number: int, late: int) -> str | None:
    match dialect.ids:
        case "each":
            return f"call{place}"
        case "new":
            return f"call{place}-{number}"
        case "once" | "late":
            return f"call{place}" if number == (late if dialect.ids == "late" else 0) else None
    return None


def _index(dialect: Dialect, place: int, number: int) -> int | None:
    match dialect.indexes:
        case "gaps":
            return 2 * place + 1
        case "zero":
            return 0
        case "lag":
            return place if number else max(place - 1, 0)
        case "missing":
            return None
    return place
