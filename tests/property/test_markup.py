"""Answers built from talk, code, quoted marks, reasoning and leaked calls, whose parts are known by construction.

Whatever the pieces in which such an answer comes: each word of the talk is emitted, each call is found, and nothing
else is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from adapters.response.markup.filter import MarkupFilter
from adapters.response.markup.markers import MARKS, is_special_token
from tests.property.strategies import TOOLS, cuts, pieces_of
from tests.response.markup.dialects import BARE, JSON_CALL, MARKED, Dialect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adapters.response.markup.leaked_call_parser import LeakedCall


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer, on lines of its own.

    Attributes:
        text: The part as the model writes it.
        words: What is emitted of it.
        calls: The calls in it.
        reasoning: The reasoning in it.
        needs_text: Whether text must precede it, without reasoning or marks in between.
        ends: Whether nothing of the answer can follow it.
    """

    text: str
    words: str = ""
    calls: tuple[LeakedCall, ...] = ()
    reasoning: str = ""
    needs_text: bool = False
    ends: bool = False


def _talk(text: str, *, needs_text: bool = False) -> Part:
    return Part(text, text, needs_text=needs_text)


_PROSE = st.sampled_from((
    "It's warm, 1 < 2 and 3 > 2.", "Wörter, 天気 \N{PARTY POPPER}", "See [1] and {x} or <b>this</b>.", "A heart <3.",
    "The list: [1, 2], and a dict: {'a': 1}.", "- get_weather is a tool.", "Use `code` and ``more ` code``.",
    "I could call get_weather(city) for you.", "An <unknown> tag, <think2>.",
)).map(_talk)  # fmt: skip

_OPENERS = sorted(opener for opener, mark in MARKS.items() if mark.role in ("call", "reasoning"))
_CLOSERS = sorted({closer for mark in MARKS.values() for closer in mark.closers if closer.strip()})
_ANY_MARK = st.sampled_from(sorted({*MARKS, *_CLOSERS})) | st.sampled_from(sorted(MARKS)).map(str.upper)
_TAGS = st.sampled_from([
    (opener, mark.closers[0]) for opener, mark in MARKS.items()
    if mark.role in ("call", "reasoning") and mark.closers and opener[-1] in ">]" and not is_special_token(opener)
])  # fmt: skip
_MARKED = tuple(dialect for dialect in MARKED if "\n" not in dialect.text)
_EXAMPLE = st.sampled_from(
    [dialect.text for dialect in (*_MARKED, *BARE) if "`" not in dialect.text and "\n" not in dialect.text]
)

_QUOTED = st.one_of(
    st.builds("The `{}` token is special.".format, _ANY_MARK),
    st.builds("Write `{}` in code.".format, _EXAMPLE),
    st.builds("`{}` is an example.".format, _EXAMPLE),
    st.builds('It says "{}" there.'.format, _ANY_MARK),
    st.builds("It says '{}'.".format, _ANY_MARK),
    st.builds("In German: „{}“ heißt es.".format, _ANY_MARK),
    st.builds("“{}” is a mark.".format, _ANY_MARK),
    st.builds('He wrote "{}" to me.'.format, _EXAMPLE),
    _TAGS.map(lambda tags: f"Put it between {tags[0]} and {tags[1]} tags."),
    _TAGS.map(lambda tags: f"A {tags[0]} tag, and then {tags[1]}, too."),
    st.builds("Send {} to it.".format, st.sampled_from([JSON_CALL, f"[{JSON_CALL}]"])),
).map(_talk)

_WORD_AT_LINE_START = st.builds(
    "{} is the mark for that.".format,
    st.sampled_from([
        opener for opener, mark in MARKS.items()
        if (mark.role in ("call", "noise", "turn_end", "reasoning") and opener[-1] not in "=(")
    ]),
).map(lambda text: _talk(text, needs_text=True))  # fmt: skip

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
_MENTIONS = st.one_of(
    st.sampled_from([
        {"tool": "get_time", "status": "ok"},
        {"name": "get_weather", "result": "12 degrees"},
        {"name": "get_weather", "content": {"city": "Oslo"}},
        {"tool": "get_weather", "input": {"city": "Oslo"}, "output": "12"},
        {"name": "get_weather", "description": "Weather in a city.", "parameters": _SCHEMA},
        {"name": "get_weather", "parameters": _SCHEMA},
        {"name": "get_weather", "parameters": {"city": {"type": "string"}}},
        {"name": "get_weather", "parameters": {"city": "string"}},
        {"name": "get_weather", "arguments": {"town": "Oslo"}},
        {"type": "function", "function": {"name": "get_time", "description": "Time.", "parameters": {}}},
        {"name": "get_time"},
        {"id": "call_1", "name": "get_time"},
        {"get_weather": {"city": "Oslo"}},
        {"name": "Bob", "arguments": {}},
        {"tools": [{"name": "get_time", "arguments": {}}]},
        {"tool_calls": []},
        [{"name": "get_time", "arguments": {}}, {"name": "open_door", "arguments": {}}],
    ]).map(json.dumps),
    st.sampled_from(["[get_weather]", "[get_time, get_weather]", "[get_weather(city)]", "{get_time}"]),
).flatmap(
    lambda text: st.sampled_from([text, f"It is {text}", f"It is {text} now.", f"`{text}`"])
).map(_talk)  # fmt: skip


def _fence(fence: str, language: str, lines: list[str]) -> Part:
    code = "\n".join((*lines, "x = 1"))  # so that it is more than a call
    return _talk(f"{fence}{language}\n{code}\n{fence}")


_FENCES = st.builds(
    _fence,
    st.sampled_from(["```", "````", "~~~"]),
    st.sampled_from(["", "json", "python", "xml", "tool_code", "text"]),
    st.lists(st.one_of(_ANY_MARK, _EXAMPLE, st.sampled_from(["x < 3", "", "{", "  `a`", "[", "'"])), max_size=4),
)
_FENCED_EXAMPLES = st.sampled_from([dialect.text for dialect in BARE]).map(
    lambda text: _talk(f"```\n{text}\n```\nThis is an example.")
)

_THOUGHTS = st.builds(
    lambda opener, thought: Part(f"{opener}{thought}{MARKS[opener].closers[0]}", reasoning=thought),
    st.sampled_from([opener for opener in _OPENERS if MARKS[opener].role == "reasoning"]),
    st.sampled_from(["So?", "\nThe user wants\n", f"\nI call {JSON_CALL}\n", "<tool_call>", "`"]),
)


def _leak(dialect: Dialect, before: str = "", behind: str = "") -> Part:
    return Part(before + dialect.text + behind, before, dialect.calls, ends=dialect.lasts_to_the_end)


_LEAKS = st.one_of(
    st.builds(_leak, st.sampled_from(MARKED)),
    st.builds(_leak, st.sampled_from(_MARKED), st.just("Let me look. ")),
    st.builds(_leak, st.sampled_from([dialect for dialect in BARE if dialect.text[0] in "{["])),
    st.builds(_leak, st.sampled_from([dialect for dialect in BARE if dialect.text[0] in "{["]), st.just("Wait. ")),
    st.builds(
        lambda dialect, language: Part(f"```{language}\n{dialect.text}\n```", calls=dialect.calls, ends=True),
        st.sampled_from(BARE),
        st.sampled_from(["", "json", "tool_code", "python"]),
    ),
)

_TURN_END = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>", "<end_of_turn>", "<|end|>")
_OWN_HEADER = ("<|im_start|>assistant", "<|start_header_id|>assistant<|end_header_id|>\n", "<start_of_turn>model")
_OTHER_HEADER = (
    "<|im_start|>user", "<|start_header_id|>user<|end_header_id|>\n", "<start_of_turn>user", "<|user|>", "[INST]",
    "<|im_start|>tool", "<|start|>user<|message|>", "<|start_header_id|>ipython<|end_header_id|>",
)  # fmt: skip
_TURNS = st.one_of(
    st.sampled_from(_TURN_END).map(Part),
    st.builds("{}\n{}".format, st.sampled_from(_TURN_END), st.sampled_from(_OWN_HEADER)).map(Part),
)
_INVENTED = st.builds(
    lambda end, header, invented: Part(f"{end}\n{header}\n{invented}", ends=True),
    st.sampled_from(_TURN_END),
    st.sampled_from(_OTHER_HEADER),
    st.sampled_from(["And now?", f"Do it.<|im_end|>\n<|im_start|>assistant\n<tool_call>{JSON_CALL}</tool_call>", ""]),
)


def _possible(parts: Sequence[Part]) -> list[Part]:
    """Leave out what would mean something else behind the parts before it."""
    chosen: list[Part] = []
    for part in parts:
        follows_text = bool(chosen) and bool(chosen[-1].words) and not chosen[-1].calls
        has_reasoned = any(before.reasoning for before in chosen)
        if part.needs_text and (not follows_text or has_reasoned):
            continue
        chosen.append(part)
        if part.ends:
            break
    return chosen


_PARTS = st.lists(
    st.one_of(
        _PROSE, _QUOTED, _WORD_AT_LINE_START, _MENTIONS, _FENCES, _FENCED_EXAMPLES, _THOUGHTS, _LEAKS, _TURNS, _INVENTED
    ),
    max_size=6,
).map(_possible)


def _words(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in text.split()]


def _check(markup_filter: MarkupFilter, text: str, parts: Sequence[Part]) -> None:
    assert text.split() == _words(part.words for part in parts)
    assert markup_filter.calls(cut=False) == [call for part in parts for call in part.calls]
    assert "".join("".join(markup_filter.reasoning).split()) == "".join(_words(part.reasoning for part in parts))
    assert not markup_filter.has_unread_call(cut=False)


@given(st.data(), _PARTS)
def test_answer(data: st.DataObject, parts: list[Part]) -> None:
    """Talk is emitted, calls are found, reasoning is kept apart, and an invented turn is dropped."""
    whole = "\n".join(part.text for part in parts)
    markup_filter = MarkupFilter(TOOLS)

    text = "".join([markup_filter.feed(piece) for piece in pieces_of(whole, data.draw(cuts(len(whole))))])
    text += markup_filter.finish()

    _check(markup_filter, text, parts)
    if all(part.text == part.words for part in parts):
        assert text == whole.lstrip()


_CALL_MARKS = sorted(
    {mark for opener, row in MARKS.items() if row.role == "call" for mark in (opener, *row.closers[:1])}
)
_BEGINNINGS = st.sampled_from(_CALL_MARKS).flatmap(
    lambda mark: st.integers(1, len(mark) - 1).map(lambda length: mark[:length])
)
_MIDDLES = st.sampled_from(_CALL_MARKS).flatmap(
    lambda mark: st.integers(0, len(mark) - 1).map(lambda start: mark[start:])
)


@given(
    st.data(),
    st.lists(
        st.tuples(_PROSE | _QUOTED | _MENTIONS | _FENCES, st.just("") | _BEGINNINGS, st.lists(_MIDDLES, max_size=2)),
        max_size=4,
    ),
    st.booleans(),
)
def test_text_around_structured_calls(
    data: st.DataObject, rounds: list[tuple[Part, str, list[str]]], ends_with_a_call: bool
) -> None:
    """The rest of a mark around structured calls is dropped, and each word of the talk is emitted."""
    markup_filter = MarkupFilter(TOOLS)
    texts: list[str] = []

    def feed(text: str) -> None:
        texts.extend(markup_filter.feed(piece) for piece in pieces_of(text, data.draw(cuts(len(text)))))

    for part, beginning, middles in rounds:
        feed(f"{part.text}\n{beginning}")
        markup_filter.call_arrived()
        for middle in middles:
            feed(middle)
            markup_filter.call_arrived()
    if not ends_with_a_call:
        feed("Done.")
    texts.append(markup_filter.finish())

    assert "".join(texts).split() == [*_words(part.words for part, _, _ in rounds), *["Done."][ends_with_a_call:]]
    assert (markup_filter.calls(cut=False), markup_filter.has_unread_call(cut=False)) == ([], False)
