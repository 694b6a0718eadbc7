"""Reading costs CPU time in proportion to the text, and never stalls the event loop, whatever a server sends.

The bodies are texts that were slow once, or that a search over pieces of markup found; ``nox -s fuzz`` searches longer.
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
from adapters.response.tool_calls import CallAssembler, TooManyCallsError
from adapters.transport.endpoint import Endpoint
from tests.patience import cpu_s, growth, quiet_s
from tests.property.strategies import CALLS_AS_TEXT, LOOKALIKES, TOOLS, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable


_ORIGIN = Endpoint("shop", "m")
_GROWTH = 16
_MAX_GROWTH = 4 * _GROWTH  # a busy machine, and memory beyond the caches, add to a linear cost; a quadratic one is 256
_MEASURABLE_S = 0.010  # the ratio of smaller costs is noise
_CHARS = (32_768, 131_072, 524_288, 2_097_152)  # the first of these lengths with a measurable cost is used
_READ_CHARS = 65_536  # one read of a socket
_STALL_S = 0.100 * 3  # the worst takes 0.06 s alone


def _filter(text: str, *, tools: dict[str, dict[str, Any]], reasoning_first: bool = False, step: int = 0) -> None:
    text_filter = MarkupFilter(tools, reasoning_first=reasoning_first)
    for start in range(0, len(text), step or len(text)):
        text_filter.feed(text[start : start + (step or len(text))])
    text_filter.finish()


def _detect(text: str) -> None:
    """Judge a text as it grows, at its first bracket."""
    detector = BareCallDetector(TOOLS)
    start = next((place for place, char in enumerate(text) if char in FIRST_CHARS), None)
    if start is not None:
        for end in range(start + 1, len(text), 64):
            if detector.judge(text[:end], start).kind != "wait":
                break
        detector.judge(text, start, is_over=True)


def _assemble(text: str) -> None:
    """Assemble one call whose arguments arrive in small pieces, each with the name, as some servers send them."""
    assembler = CallAssembler(TOOLS)
    pieces = (text[start : start + 16] for start in range(0, len(text), 16))
    assembler.feed(CallFragment(0, None, "get_time", piece, {}) for piece in pieces)
    assembler.finish(cut=True)


def _answer(text: str) -> None:
    """Read a whole response with the same text as content, reasoning and arguments."""
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
    "detector": _detect,
    "assembler": _assemble,
    "answer": _answer,
}
_AT_ONCE = [name for name in PARSERS if name not in ("filter-in-tokens", "detector", "assembler", "answer")]

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
    """Return the work of reading a text, also if it is rejected."""

    def read() -> None:
        with contextlib.suppress(APIError, TooManyCallsError):
            parse(text)

    return read


def _check_growth(parse: Callable[[str], object], head: str, unit: str) -> None:
    """Check that 16 times the text costs about 16 times as much, at a length whose cost can be measured.

    If even the longest text costs too little to be measured, that is the result.
    """
    for chars in _CHARS:
        large = _reading(parse, _text_of(head, unit, chars))
        if cpu_s(large) > _MEASURABLE_S:
            small = _reading(parse, _text_of(head, unit, chars // _GROWTH))
            assert growth(small, large, _MAX_GROWTH) <= _MAX_GROWTH
            return
    assert quiet_s(large, _MEASURABLE_S) <= 4 * _MEASURABLE_S


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("body", BODIES)
def test_cost_grows_with_the_text(body: str, name: str) -> None:
    """A text that was slow once, or resembles one, costs in proportion to its length."""
    _check_growth(PARSERS[name], *BODIES[body])


@pytest.mark.parametrize("name", ["filter", "filter-reasoning-first", "generation", "arguments"])
@pytest.mark.parametrize("body", BODIES)
def test_no_stall(body: str, name: str) -> None:
    """One read of a socket never stalls the event loop."""
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
    _check_growth(PARSERS[name], "".join(head), "".join(unit))


def _calls(count: int) -> None:
    fragments = [CallFragment(number, f"c{number}", "get_time", "{}", {}) for number in range(count)]
    assembler = CallAssembler(TOOLS, max_calls=count)
    assembler.feed(fragments)
    assembler.finish(cut=False)


def _details(count: int) -> None:
    reasoning = Reasoning()
    for number in range(count):
        reasoning.add_details([{"type": "reasoning.text", "index": number // 64, "text": "word "}])
        reasoning.add_piece("word ", "reasoning")
    assert reasoning.provider_fields


@pytest.mark.parametrize("work", [_calls, _details], ids=["calls", "details"])
def test_cost_grows_with_the_count(work: Callable[[int], None]) -> None:
    """Many calls, and reasoning in many pieces, cost in proportion to their number."""
    assert growth(lambda: work(2_000), lambda: work(8_000), 10) <= 10


def test_very_many_calls() -> None:
    """Twenty thousand calls are rejected without a stall, and the error names the limit."""
    call = {"type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    calls = [{"id": f"c{number}", **call} for number in range(20_000)]
    chunk = parse_chunk({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]})

    def read() -> None:
        with pytest.raises(IncompleteResponseError, match=r"limits\.calls"):
            ResponseAssembler(_ORIGIN, TOOLS, wants_text=False, reasoning_first=False).feed(chunk, whole=True)

    assert quiet_s(read, _STALL_S) < _STALL_S


@pytest.mark.parametrize(("word", "most_s"), [("word ", 0.015), ("wörd ", 0.04)], ids=["ascii", "umlauts"])
def test_a_megabyte_of_words(word: str, most_s: float) -> None:
    """Plain text costs almost nothing, however long it is."""
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
