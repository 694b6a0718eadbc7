"""What the property tests draw from: texts that look like markup, arguments, fragments of calls, mutated bodies."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from adapters.response.markup.bare_calls import FIRST_CHARS as GUESS_FIRST_CHARS
from adapters.response.markup.markers import FIRST_CHARS as MARK_FIRST_CHARS
from adapters.response.markup.markers import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "get_time": {},
    "play": {"title": {"type": "string"}, "loud": {"type": "boolean"}},
}

CALLS_AS_TEXT = (
    '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>',
    "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>",
    "<function=get_weather><parameter=city>Oslo</parameter></function>",
    '<function=get_weather>{"city": "Oslo"}</function>',
    '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo"}}]',
    '<|python_tag|>get_weather(city="Oslo")<|eom_id|>',
    '{"name": "get_weather", "parameters": {"city": "Oslo"}}',
    '[{"name": "get_time", "arguments": {}}, {"name": "get_time", "arguments": {}}]',
    '```json\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n```',
    '```tool_code\nprint(get_weather(city="Oslo"))\n```',
    '[get_weather(city="Oslo"), get_time()]',
)

LOOKALIKES = (
    "a < b",
    "<3",
    "<tool_call> is a tag",
    "`<tool_call>`",
    "<thi",
    "[1]",
    "[get",
    "{",
    '{"name": "Bob"}',
    '{"title": [1, {"a": "]"}]}',
    "```python\nprint(1)\n```",
    "```",
    "it's",
    "\\",
    '"',
    "</p>",
)

WORDS = ("Hello", " ", "\n", "world. ", "Ünïcode ", "天気", "\N{PARTY POPPER}", "get_weather", "İ", "play(", ")]")

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)

PLAIN_TEXTS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="".join(MARK_FIRST_CHARS | GUESS_FIRST_CHARS))
)
"""Texts that hold no mark and nothing that could begin one."""

THOUGHTS = st.sampled_from(("<think>", "<thinking>", "[THINK]", "◁think▷")).flatmap(
    lambda opener: st.sampled_from(WORDS).map(lambda word: f"{opener}{word}{MARKS[opener.lower()].closers[0]}")
)

MARKED_TEXTS = st.lists(
    st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(LOOKALIKES),
        st.sampled_from(CALLS_AS_TEXT),
        st.sampled_from(sorted(MARKS)),
        THOUGHTS,
        st.text(max_size=5),
        st.builds(
            lambda text, start, length: text[start : start + length],
            st.sampled_from(CALLS_AS_TEXT),
            st.integers(0, 40),
            st.integers(1, 60),
        ),
    ),
    max_size=8,
).map("".join)
"""Texts full of marks, whole and cut, and of what only looks like one."""


_OPENERS = tuple(opener for opener, mark in MARKS.items() if mark.role == "reasoning")
_CLOSERS = tuple(closer for closer, mark in MARKS.items() if mark.role == "stray_end")

SENTENCES_ABOUT_REASONING = st.lists(
    st.one_of(
        st.sampled_from(("word", "It's", "1 < 2", "{x}", "[1]", "a, b.", "天気")),
        st.builds("{}".format, st.sampled_from(_OPENERS)),
        st.builds("{}{}".format, st.sampled_from(_OPENERS), st.sampled_from(("word", "\n", "", "."))),
        st.builds("`{}`".format, st.sampled_from(sorted(text for text, mark in MARKS.items() if mark.role != "call"))),
        st.builds('"{}"'.format, st.sampled_from(_CLOSERS)),
        st.builds(" {} and".format, st.sampled_from(_CLOSERS)),
        st.builds("({}\nSo".format, st.sampled_from(_CLOSERS)),
    ),
    max_size=8,
).map(lambda words: "".join(f"So {word} " if word else "" for word in words))
"""Texts about the marks of reasoning, in sentences and in code."""


def cuts(length: int) -> st.SearchStrategy[list[int]]:
    """Draw the places where something of this length is cut; often everywhere."""
    return st.one_of(
        st.just(list(range(1, length))),
        st.lists(st.integers(0, length), max_size=12).map(sorted),
    )


def pieces_of(whole: str, places: Sequence[int]) -> list[str]:
    """Cut a text at these places."""
    bounds = [0, *places, len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(bounds)]


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
JSON_OBJECTS = st.dictionaries(_TEXTS, JSON_VALUES, max_size=4)

ANYTHING = st.one_of(
    JSON_VALUES,
    JSON_OBJECTS.map(json.dumps),
    JSON_OBJECTS.map(repr),
    MARKED_TEXTS,
    st.floats(),
    st.binary(max_size=5),
    st.text(st.characters() | st.sampled_from("{}[]()\"'\\,:/*#"), max_size=30),
    st.text("{}[]()\"'\\,:/*#x1 \n", max_size=30).map(lambda text: f"{{{text}}}"),
    st.dictionaries(st.integers() | st.text(st.characters(), max_size=3), st.floats() | st.text(), max_size=2),
)
"""What a server might put where arguments belong."""


GARBAGE = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.sampled_from((
        b"\n", b"\n\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\x00", b"\xff", b"data: ", b"data:[DONE]\n\n",
        b"event: error\n", b": comment\n\n", b"id: 1\n", b"null", b"{", b"}", b"[", b'"', b"\\", b"\\ud83d",
        b"<think>", b"</think>", b"<tool_call>", b"<html><title>Sign in</title>",
        b'data: {"error": {"message": "Overloaded", "code": 503}}\n\n',
        b'{"error": "no"}', b'"finish_reason": "stop"', b"0" * 400, b"1e999", b"[" * 2_000,
    )),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, bodies: Sequence[bytes]) -> bytes:
    """Draw a body and damage it: cut, flip, remove, repeat, splice, or change a value of its JSON."""
    body = draw(st.sampled_from(bodies))
    for damage in draw(st.lists(st.sampled_from(_DAMAGES), max_size=4)):
        body = damage(draw, body, bodies)
    return body


def _place(draw: st.DrawFn, body: bytes) -> int:
    return draw(st.integers(0, len(body)))


def _span_of(draw: st.DrawFn, body: bytes) -> tuple[int, int]:
    start = _place(draw, body)
    return start, start + draw(st.integers(0, 200))


def _cut(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    return body[: _place(draw, body)]


def _flip(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    place = _place(draw, body)
    return body[:place] + draw(st.binary(min_size=1, max_size=1)) + body[place + 1 :]


def _remove(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span_of(draw, body)
    return body[:start] + body[end:]


def _repeat(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span_of(draw, body)
    return body[:end] + body[start:]


def _insert(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    place = _place(draw, body)
    return body[:place] + draw(GARBAGE) + body[place:]


def _splice(draw: st.DrawFn, body: bytes, bodies: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(bodies))
    return body[: _place(draw, body)] + other[_place(draw, other) :]


def _change_line_ends(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    return body.replace(b"\n", draw(st.sampled_from((b"\r\n", b"\r", b"\n\n", b" \n"))))


_KEYS = tuple(
    f'"{name}"'.encode()
    for name in ("content", "delta", "message", "tool_calls", "choices", "finish_reason", "reasoning_content")
)


def _rename(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    keys = (
        b'"content"',
        b'"delta"',
        b'"message"',
        b'"tool_calls"',
        b'"choices"',
        b'"finish_reason"',
        b'"reasoning_content"',
    )
    return body.replace(draw(st.sampled_from(keys)), draw(st.sampled_from((*keys, b'"error"', b'"x"'))))


def _change_value(draw: st.DrawFn, body: bytes, _: Sequence[bytes]) -> bytes:
    """Put another value in the place of one in the JSON of a line."""
    lines = body.split(b"\n")
    number = draw(st.integers(0, len(lines) - 1))
    head, brace, text = lines[number].partition(b"{")
    try:
        value = json.loads(brace + text)
    except (ValueError, RecursionError):
        return body
    paths = list(_paths(value))
    if not paths:
        return body
    path = draw(st.sampled_from(paths))
    target = value
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = draw(_OTHER_VALUES)
    lines[number] = head + json.dumps(value).encode()
    return b"\n".join(lines)


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (key,)
        yield from ((key, *path) for path in _paths(inner))


_OTHER_VALUES = st.one_of(
    st.sampled_from(
        (None, True, False, 0, -1, 10**30, 1.5, "", " ", [], {}, [None], [{}], {"text": "x"}, "stop", "error")
    ),
    JSON_VALUES,
    st.sampled_from(CALLS_AS_TEXT),
    st.sampled_from(
        ({"message": "x", "code": 429}, {"code": "rate_limit"}, "Overloaded", [{"type": "text", "text": "x"}])
    ),
)

_DAMAGES = (
    _cut, _flip, _flip, _remove, _repeat, _insert, _insert, _splice, _change_line_ends, _rename,
    _change_value, _change_value,
)  # fmt: skip
