"""What the property tests draw from: texts that look like markup, arguments, fragments of calls, mutated bodies."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from adapters.markup import FIRST_CHARS as MARK_FIRST_CHARS
from adapters.markup import MARKS
from adapters.text_guess import FIRST_CHARS as GUESS_FIRST_CHARS

if TYPE_CHECKING:
    from collections.abc import Sequence

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
