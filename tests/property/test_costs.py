"""What reading costs: twice the text at most twice the time, and no stall, whatever a model or a server wrote.

The bodies are what once hurt, and what a search over pieces of markup finds; ``nox -s fuzz`` searches for long.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._arguments import read_arguments, read_value
from adapters.errors import APIError, IncompleteResponseError
from adapters.response.assembler import ResponseAssembler
from adapters.response.chunks import CallFragment, parse_chunk
from adapters.response.markup.bare_calls import FIRST_CHARS, BareCallDetector
from adapters.response.markup.filter import MarkupFilter, read_generation
from adapters.response.markup.leaked_call_parser import read_leaked_calls
from adapters.response.markup.markers import MARKS
from adapters.response.reasoning import Reasoning
from adapters.response.tool_calls import CallAssembler, TooManyCalls
from adapters.transport.endpoint import Endpoint
from tests.patience import cpu_s, growth, quiet_s
from tests.property.strategies import CALLS_AS_TEXT, LOOKALIKES, TOOLS, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable


_ORIGIN = Endpoint("shop", "m")
_SMALL_CHARS, _LARGE_CHARS = 8_192, 32_768
_READ_CHARS = 65_536  # what a socket brings at once
_GROWTH = _LARGE_CHARS / _SMALL_CHARS
_MOST_GROWTH = 2.5 * _GROWTH  # on a busy machine something comes on top of linear; a square would be 4 * _GROWTH
_FLOOR_S = 0.010  # below, a ratio says nothing
_STALL_S = 0.100 * 3  # the worst takes 0.06 s alone


def _filter(text: str, *, tools: dict[str, dict[str, Any]], reasoning_first: bool = False, step: int = 0) -> None:
    text_filter = MarkupFilter(tools, reasoning_first=reasoning_first)
    for start in range(0, len(text), step or len(text)):
        text_filter.feed(text[start : start + (step or len(text))])
    text_filter.finish()


def _guess(text: str) -> None:
    """Judge a text as it grows, at its first bracket."""
    guesser = BareCallDetector(TOOLS)
    start = next((place for place, char in enumerate(text) if char in FIRST_CHARS), None)
    if start is not None:
        for end in range(start + 1, len(text), 64):
            if guesser.judge(text[:end], start).kind != "wait":
                break
        guesser.judge(text, start, is_over=True)


def _assemble(text: str) -> None:
    """Put one call together whose arguments come in small pieces, each with the name, as some servers send them."""
    assembler = CallAssembler(TOOLS)
    pieces = (text[start : start + 16] for start in range(0, len(text), 16))
    assembler.feed(CallFragment(0, None, "get_time", piece, {}) for piece in pieces)
    assembler.finish(cut=True)


def _answer(text: str) -> None:
    """Read a whole answer whose text, reasoning and arguments are the same text."""
    answer = ResponseAssembler(_ORIGIN, TOOLS, wants_text=False, reasoning_first=False)
    call = {"id": "c", "function": {"name": "get_time", "arguments": text}}
    message = {"content": text, "reasoning_content": text, "tool_calls": [call]}
    answer.feed(parse_chunk({"choices": [{"message": message, "finish_reason": "stop"}]}), whole=True)
    answer.flush()
    answer.build()


PARSERS: dict[str, Callable[[str], object]] = {
    "filter": lambda text: _filter(text, tools=TOOLS),
    "filter-without-tools": lambda text: _filter(text, tools={}),
    "filter-reasoning-first": lambda text: _filter(text, tools=TOOLS, reasoning_first=True),
    "filter-in-tokens": lambda text: _filter(text, tools=TOOLS, step=7),
    "leaked-calls": lambda text: read_leaked_calls(f"get_weather {text}", TOOLS),
    "generation": lambda text: read_generation(text, TOOLS),
    "arguments": read_arguments,
    "value": read_value,
    "guesser": _guess,
    "assembler": _assemble,
    "answer": _answer,
}
_AT_ONCE = [name for name in PARSERS if name not in ("filter-in-tokens", "guesser", "assembler", "answer")]

BODIES: dict[str, tuple[str, str]] = {
    "objects-in-lists": ("<tool_call>{", '"a": [{ '),
    "brackets": ("", "["),
    "braces": ("", "{ "),
    "names-in-brackets": ("a", "[a"),
    "calls-in-brackets": ("", "[a("),
    "quoted-braces": ("", "{'"),
    "ends-of-sentence": ("", "</s>"),
    "backslashes-and-thoughts": ("", "\\<think><function_calls>"),
    "calls-without-end": ("get_weather(", "get_time{call:get_time{"),
    "open-object-in-a-fence": ('```json\n{"name": "get_weather"', ',x={"a": </tool_calls>get_time{'),
    "open-object": ('{"name": "get_weather", "arguments": ', '{"a": '),
    "open-string": ('{"name": "get_weather", "arguments": "', "\\"),
    "parameters": ("<function=get_weather>", "<parameter=city>"),
    "keys": ("<tool_call>get_weather", "<arg_key>a</arg_key><arg_value>"),
    "escapes": ("call:get_weather{", "<escape>"),
    "call-ids": ("get_weather", "[CALL_ID]a<|"),
    "comments": ("{", "/*"),
    "commas": ('{"a": [1', ", "),
    "fences": ("", "```json\n"),
    "backticks": ("", "`"),
    "blanks": ("{", " "),
    "halves": ("", "\ud83d"),
    "words": ("", "word "),
}


def _text_of(head: str, unit: str, chars: int) -> str:
    return head + unit * max((chars - len(head)) // len(unit), 1)


def _reading(parse: Callable[[str], object], text: str) -> Callable[[], None]:
    """Make the work of reading a text; an answer that is refused is read too."""

    def read() -> None:
        with contextlib.suppress(APIError, TooManyCalls):
            parse(text)

    return read


def _grows_with_the_text(parse: Callable[[str], object], head: str, unit: str) -> None:
    """Check that four times the text costs about four times as much."""
    large = _reading(parse, _text_of(head, unit, _LARGE_CHARS))
    if cpu_s(large) > _FLOOR_S:
        small = _reading(parse, _text_of(head, unit, _SMALL_CHARS))
        assert growth(small, large, _MOST_GROWTH) <= _MOST_GROWTH


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("body", BODIES)
def test_cost_grows_with_the_text(body: str, name: str) -> None:
    """What once hurt, or looks as if it could, costs its length and no more."""
    _grows_with_the_text(PARSERS[name], *BODIES[body])


@pytest.mark.parametrize("name", ["filter", "filter-reasoning-first", "generation", "arguments"])
@pytest.mark.parametrize("body", BODIES)
def test_no_stall(body: str, name: str) -> None:
    """What one read of a socket brings never holds up the event loop."""
    assert quiet_s(_reading(PARSERS[name], _text_of(*BODIES[body], _READ_CHARS)), _STALL_S) <= _STALL_S


_PIECES = st.sampled_from(
    sorted({
        *MARKS, *CALLS_AS_TEXT, *LOOKALIKES, *WORDS, *(closer for mark in MARKS.values() for closer in mark.closers),
        *"{}[]()<>\"'`\\/*#,:=.|-_1 \n\t", '"name"', '"arguments"', '{"name":', '{"a": ', "get_time", "get_weather(",
        "\\u", "get_time{", "call:get_time{", "<escape>", '<|"|>', "<parameter=city>", "</parameter>", "<arg_key>",
        "</arg_key>", "<arg_value>", "</arg_value>", "[ARGS]", "[CALL_ID]", "functions.", "json ", "print(", "x=",
    })
)  # fmt: skip


@given(st.lists(_PIECES, max_size=3), st.lists(_PIECES, min_size=1, max_size=4), st.sampled_from(_AT_ONCE))
def test_search_for_stalls(head: list[str], unit: list[str], name: str) -> None:
    """No repetition of pieces of markup makes any reader slow."""
    text = _text_of("".join(head), "".join(unit), _READ_CHARS)

    assert quiet_s(_reading(PARSERS[name], text), _STALL_S) <= _STALL_S


@given(st.lists(_PIECES, max_size=3), st.lists(_PIECES, min_size=1, max_size=4), st.sampled_from(sorted(PARSERS)))
def test_search_for_growth(head: list[str], unit: list[str], name: str) -> None:
    """No repetition of pieces of markup costs more than its length."""
    _grows_with_the_text(PARSERS[name], "".join(head), "".join(unit))


def _calls(count: int) -> None:
    fragments = [CallFragment(number, f"c{number}", "get_time", "{}", {}) for number in range(count)]
    assembler = CallAssembler(TOOLS, most_calls=count)
    assembler.feed(fragments)
    assembler.finish(cut=False)


def _details(count: int) -> None:
    reasoning = Reasoning()
    for number in range(count):
        reasoning.add_details([{"type": "reasoning.text", "index": number // 64, "text": "word "}])
        reasoning.add_piece("word ", "reasoning")
    assert reasoning.echo


@pytest.mark.parametrize("work", [_calls, _details], ids=["calls", "details"])
def test_cost_grows_with_the_count(work: Callable[[int], None]) -> None:
    """Many calls, and reasoning in many pieces, cost their number."""
    assert growth(lambda: work(2_000), lambda: work(8_000), 10) <= 10


def test_very_many_calls() -> None:
    """Twenty thousand calls are refused at once, and the error names the limit."""
    call = {"type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    calls = [{"id": f"c{number}", **call} for number in range(20_000)]
    chunk = parse_chunk({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]})

    def read() -> None:
        with pytest.raises(IncompleteResponseError, match="limit calls"):
            ResponseAssembler(_ORIGIN, TOOLS, wants_text=False, reasoning_first=False).feed(chunk, whole=True)

    assert quiet_s(read, _STALL_S) < _STALL_S


@pytest.mark.parametrize(("word", "most_s"), [("word ", 0.005), ("wörd ", 0.015)], ids=["ascii", "umlauts"])
def test_a_megabyte_of_words(word: str, most_s: float) -> None:
    """Plain text costs a glance, however long it is."""
    text = word * 205_000

    def read() -> None:
        answer = ResponseAssembler(_ORIGIN, TOOLS, wants_text=False, reasoning_first=False)
        said = answer.feed(
            parse_chunk({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}), whole=True
        )
        said += answer.flush()
        answer.build()
        assert said == text

    assert quiet_s(read, most_s) < most_s
