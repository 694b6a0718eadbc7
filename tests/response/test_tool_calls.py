"""``adapters.response.tool_calls``: fragments of calls, as servers send them, become whole calls."""

from __future__ import annotations

import itertools
import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response.chunks import CallFragment
from adapters.response.tool_calls import CallAssembler, without_pseudo_tools
from adapters.response.tool_schemas import clean_name
from adapters.types import ToolCall
from tests.patience import growth
from tests.property.strategies import ANYTHING, JSON_OBJECTS, TOOLS, cuts, pieces_of

_MADE_ID = re.compile(r"[A-Za-z0-9]{9}")
_LONG = json.dumps({"city": "Llanfair" * 20})
_OSLO, _ROME = '{"city": "Oslo"}', '{"city": "Rome"}'


def _part(
    index: int | None = None, call_id: str | None = None, name: str | None = None, arguments: Any = None, **fields: Any
) -> CallFragment:
    return CallFragment(index, call_id, name, arguments, {"call": fields} if fields else {})


def _assembled(fragments: list[CallFragment], *, cut: bool = False) -> list[tuple[str, str, dict[str, Any]]]:
    """Assemble fragments that come one per chunk; generated ids become ``*``."""
    assembler = CallAssembler(TOOLS)
    for fragment in fragments:
        assembler.feed([fragment])
    given_ids = {fragment.id for fragment in fragments}
    calls = assembler.finish(cut=cut)
    assert all(call.id in given_ids or _MADE_ID.fullmatch(call.id) for call in calls)
    return [(call.id if call.id in given_ids else "*", call.name, call.arguments) for call in calls]


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [_part(0, "a", "get_weather", ""), _part(0, arguments='{"city":'), _part(0, arguments=' "Oslo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="openai",
        ),
        pytest.param(
            [
                _part(0, "a", "get_weather", ""),
                _part(1, "b", "get_time", ""),
                _part(0, arguments=_OSLO),
                _part(1, arguments="{}"),
            ],
            [("a", "get_weather", {"city": "Oslo"}), ("b", "get_time", {})],
            id="openai-parallel-interleaved",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OSLO), _part(0, "b", "get_weather", _ROME)],
            [("a", "get_weather", {"city": "Oslo"}), ("b", "get_weather", {"city": "Rome"})],
            id="ollama-parallel-all-index-0",
        ),
        pytest.param(
            [_part(0, "a", "get_time"), _part(0, "b", "get_weather", _OSLO)],
            [("a", "get_time", {}), ("b", "get_weather", {"city": "Oslo"})],
            id="ollama-no-arguments-then-another-index-0",
        ),
        pytest.param(
            [_part(0, None, "get_weather", _OSLO), _part(0, None, "get_weather", _ROME)],
            [("*", "get_weather", {"city": "Oslo"}), ("*", "get_weather", {"city": "Rome"})],
            id="old-ollama-no-ids-same-name",
        ),
        pytest.param(
            [_part(0, None, "get_time"), _part(0, None, "get_weather", _OSLO)],
            [("*", "get_time", {}), ("*", "get_weather", {"city": "Oslo"})],
            id="old-ollama-no-ids-no-arguments",
        ),
        pytest.param(
            [_part(0, None, "get_time"), _part(0, "b", "get_weather", _OSLO)],
            [("*", "get_time", {}), ("b", "get_weather", {"city": "Oslo"})],
            id="only-the-second-has-an-id",
        ),
        pytest.param(
            [
                _part(None, "a", "get_weather", '{"city":'),
                _part(None, None, None, '"Oslo"}'),
                _part(None, "b", "get_time"),
            ],
            [("a", "get_weather", {"city": "Oslo"}), ("b", "get_time", {})],
            id="gemini-no-index",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", '{"city":'), _part(0, "a", None, ' "Oslo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="tgi-repeats-the-id",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", '{"city":'), _part(0, "a", "get_weather", ' "Oslo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="repeats-id-and-name",
        ),
        pytest.param(
            [_part(0, None, "get_weather", '{"city":'), _part(0, None, "get_weather", ' "Oslo"}')],
            [("*", "get_weather", {"city": "Oslo"})],
            id="repeats-the-name-has-no-id",
        ),
        pytest.param(
            [_part(0, None, "get_weather", _OSLO), _part(0, None, "get_weather", "")],
            [("*", "get_weather", {"city": "Oslo"})],
            id="repeats-the-name-with-nothing-at-the-end",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", '{"city"'), _part(0, "a", "get_weather", _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="repeats-all-arguments-so-far",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OSLO), _part(0, "a", "get_weather", _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="localai-twice-under-one-index",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OSLO), _part(1, "a", "get_weather", _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="localai-twice-under-two-indices",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OSLO), _part(1, "a", "get_weather", _ROME), _part(2, "a", "get_time")],
            [("a", "get_weather", {"city": "Oslo"}), ("*", "get_weather", {"city": "Rome"}), ("*", "get_time", {})],
            id="localai-one-id-for-all",
        ),
        pytest.param(
            [_part(None, "a", "get_weather", _OSLO), _part(None, "a", "play", '{"title": "x"}')],
            [("a", "get_weather", {"city": "Oslo"}), ("*", "play", {"title": "x"})],
            id="one-id-for-all-and-no-index",
        ),
        pytest.param(
            [_part(0, None, "get_weather", _OSLO), _part(0, "b", "get_weather", _ROME)],
            [("*", "get_weather", {"city": "Oslo"}), ("b", "get_weather", {"city": "Rome"})],
            id="only-the-second-of-two-of-one-name-has-an-id",
        ),
        pytest.param(
            [_part(0, None, "get_weather"), _part(0, "a", None, _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="id-after-the-name",
        ),
        pytest.param(
            [_part(0, "a"), _part(0, None, "get_weather"), _part(0, None, None, _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="name-after-the-id",
        ),
        pytest.param(
            [_part(0, "a", "get_"), _part(0, None, "wea"), _part(0, None, "ther", _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="name-in-three-pieces",
        ),
        pytest.param(
            [_part(0, "a", "open_"), _part(0, "a", "door", "{}")],
            [("a", "open_door", {})],
            id="unknown-name-in-two-pieces-with-the-id",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", {"city": "Oslo"})], [("a", "get_weather", {"city": "Oslo"})], id="obj"
        ),
        pytest.param(
            [_part(0, "a", "get_weather", ""), _part(0, "a", None, {"city": "Oslo"})],
            [("a", "get_weather", {"city": "Oslo"})],
            id="llamacpp-text-then-object",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OSLO + _OSLO)], [("a", "get_weather", {"city": "Oslo"})], id="doubled"
        ),
        pytest.param(
            [
                _part(0, "a", "get_weather", ""),
                _part(0, "b", "", '{"city":'),
                _part(0, "c", "", ' "Oslo"}'),
                _part(0, "d"),
            ],
            [("a", "get_weather", {"city": "Oslo"})],
            id="oracle-a-new-id-in-each-piece",
        ),
        pytest.param(
            [_part(0, "a", "get_weather"), _part(0, "b", "get_weather", '{"city":'), _part(0, "c", None, ' "Oslo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="new-ids-and-the-name-again",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OSLO), _part(0, "b", "get_weather"), _part(1, None, None, _ROME)],
            [("a", "get_weather", {"city": "Oslo"}), ("b", "get_weather", {"city": "Rome"})],
            id="deepseek-index-jumps",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", '{"city":'), _part(1, None, None, ' "Os'), _part(2, None, None, 'lo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="an-index-for-each-piece",
        ),
        pytest.param(
            [_part(0, "a", "get_weather"), _part(1, "a", None, '{"city":'), _part(2, "a", None, ' "Oslo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="an-index-for-each-piece-and-the-id-again",
        ),
        pytest.param(
            [
                _part(0, "a", "get_weather"),
                *(_part(1 + place, f"b{place}", None, char) for place, char in enumerate(_LONG)),
            ],
            [("a", "get_weather", json.loads(_LONG))],
            id="an-index-and-an-id-for-each-piece",
        ),
        pytest.param(
            [_part(0, None, "get_weather"), _part(1, None, "get_weather", _OSLO), _part(2, None, "get_time")],
            [("*", "get_weather", {"city": "Oslo"}), ("*", "get_time", {})],
            id="an-index-for-each-piece-and-the-name-again",
        ),
        pytest.param(
            [
                _part(0, "a", None, _OSLO),
                _part(0, None, "get_weather"),
                _part(1, "b", None, "{}"),
                _part(1, name="get_time"),
            ],
            [("a", "get_weather", {"city": "Oslo"}), ("b", "get_time", {})],
            id="name-after-the-arguments",
        ),
        pytest.param(
            [
                _part(0, None, None, _OSLO),
                _part(0, "a", "get_weather"),
                _part(0, None, None, "{}"),
                _part(0, "b", "get_time"),
            ],
            [("a", "get_weather", {"city": "Oslo"}), ("b", "get_time", {})],
            id="id-and-name-after-the-arguments",
        ),
        pytest.param(
            [_part(0, "a", None, '{"city":'), _part(0, "b", "get_weather"), _part(0, "c", None, ' "Oslo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="name-in-the-middle-and-new-ids",
        ),
        pytest.param(
            [_part(0, "a", None, '{"city":'), _part(0, None, "get_weather", ' "Os'), _part(0, None, None, 'lo"}')],
            [("a", "get_weather", {"city": "Oslo"})],
            id="name-in-the-middle",
        ),
        pytest.param(
            [_part(0, "a", "get_"), _part(0, "b", "weather"), _part(0, "c", None, _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="name-in-two-pieces-and-new-ids",
        ),
        pytest.param(
            [_part(0, "a", "get_"), _part(1, None, "weather"), _part(2, None, None, _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="name-in-two-pieces-and-an-index-for-each",
        ),
        pytest.param(
            [_part(0, "a", "get_time"), _part(1, None, "get_weather", _OSLO)],
            [("a", "get_time", {}), ("*", "get_weather", {"city": "Oslo"})],
            id="no-arguments-then-another-without-an-id",
        ),
        pytest.param(
            [
                _part(0, arguments=_OSLO),
                _part(0, None, "get_weather"),
                _part(0, arguments=_ROME),
                _part(0, None, "get_weather"),
            ],
            [("*", "get_weather", {"city": "Oslo"}), ("*", "get_weather", {"city": "Rome"})],
            id="names-after-the-arguments-and-nothing-else",
        ),
        pytest.param(
            [
                _part(0, "a", "get_time"),
                _part(0, "b", None, "{}"),
                _part(0, "c", None, _OSLO),
                _part(0, None, "get_weather"),
            ],
            [("a", "get_time", {}), ("c", "get_weather", {"city": "Oslo"})],
            id="new-ids-of-a-tool-without-parameters",
        ),
        pytest.param(
            [_part(0, "a", "get_time"), _part(0, "b", None, _OSLO), _part(0, None, "get_weather")],
            [("a", "get_time", {}), ("b", "get_weather", {"city": "Oslo"})],
            id="arguments-that-a-tool-without-parameters-cannot-take",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OSLO), _part(1, "a")],
            [("a", "get_weather", {"city": "Oslo"})],
            id="the-id-again-at-another-index",
        ),
        pytest.param(
            [_part(0, "a", "get_"), _part(1, "b", "weather"), _part(1, "b", None, _OSLO)],
            [("a", "get_weather", {"city": "Oslo"})],
            id="name-in-two-pieces-with-an-index-and-id-each",
        ),
        pytest.param(
            [
                _part(0, "a", "get_weather", "{'city': "),
                _part(0, None, None, "'Oslo',}<|im_end|>"),
                _part(0, "b", "get_weather", '{"city": '),
                _part(0, None, None, '"Rome"}\n'),
            ],
            [("a", "get_weather", {"city": "Oslo"}), ("b", "get_weather", {"city": "Rome"})],
            id="badly-written-arguments-and-index-zero",
        ),
        pytest.param([_part(0, "a", None, _OSLO)], [], id="no-name"),
        pytest.param([_part(0, "a", "functions.", _OSLO)], [], id="nothing-but-a-namespace"),
        pytest.param([_part(0, "a", " functions.get_time\n")], [("a", "get_time", {})], id="harmony-name"),
        pytest.param([_part(0, "a", "open_door")], [("a", "open_door", {})], id="tool-that-was-not-offered"),
    ],
)
def test_fragments_of_a_stream(fragments: list[CallFragment], calls: list[tuple[str, str, dict[str, Any]]]) -> None:
    """However a server cuts up its calls, each becomes one call with a unique id."""
    assert _assembled(fragments) == calls


def test_calls_of_a_whole_answer() -> None:
    """In a response that is not streamed, each entry is a call, whatever its index and id."""
    assembler = CallAssembler(TOOLS)

    assembler.feed(
        [_part(0, None, "get_time"), _part(0, "a", "get_time"), _part(0, "a", "get_time", {"x": 1})], whole=True
    )
    calls = assembler.finish(cut=False)

    assert [(call.name, call.arguments) for call in calls] == [
        ("get_time", {}),
        ("get_time", {}),
        ("get_time", {"x": 1}),
    ]
    assert len({call.id for call in calls}) == 3


@pytest.mark.parametrize(
    ("fragment", "survives"),
    [
        pytest.param(_part(0, "a", "get_weather", _OSLO), True, id="whole"),
        pytest.param(_part(0, "a", "get_weather", '{"city": "Os'), False, id="cut"),
        pytest.param(_part(0, "a", "get_weather", ""), False, id="empty"),
        pytest.param(_part(0, "a", "get_weather", "{}"), False, id="vllm-made-them-empty"),
        pytest.param(_part(0, "a", "get_weather", {"city": "Oslo"}), True, id="object"),
        pytest.param(_part(0, "a", "get_time", "{}"), True, id="tool-without-parameters"),
        pytest.param(_part(0, "a", "get_weather", "{'city': 'Oslo'}"), False, id="python"),
    ],
)
def test_call_of_a_cut_response(fragment: CallFragment, *, survives: bool) -> None:
    """A cut response has only the calls that are surely whole; none is repaired."""
    assert bool(_assembled([fragment], cut=True)) is survives


_OTHER = '{"title": "x"}'


@pytest.mark.parametrize(
    ("fragments", "lost"),
    [
        pytest.param([_part(0, "a", "get_weather"), _part(1, "b", "play", _OTHER)], False, id="two-calls"),
        pytest.param([_part(0, "a", "get_weather"), _part(1, None, None, _OTHER)], True, id="arguments-of-no-call"),
        pytest.param([_part(0, "a", "get_weather", "{}"), _part(1, None, None, _OSLO)], True, id="empty-object"),
        pytest.param([_part(0, "a", "get_weather"), _part(1, None, None, "{}")], False, id="no-call-and-no-arguments"),
        pytest.param([_part(0, "a", "get_time"), _part(1, None, None, _OSLO)], True, id="tool-without-parameters"),
        pytest.param([_part(0, "a", "open_door"), _part(1, "b", None, _OSLO)], False, id="joined-to-an-unknown-tool"),
        pytest.param(
            [_part(0, "a", "get_weather"), _part(1, "b", "play", '{"title":'), _part(0, "c", "play", _OTHER)],
            True,
            id="beside-arguments-that-are-cut",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", _OTHER), _part(1, "b", "play")], True, id="beside-arguments-of-another-tool"
        ),
        pytest.param(
            [_part(0, "a", "get_time", _OSLO), _part(1, "b", "get_weather", "{"), _part(2, "c", "play", '"a": 1}')],
            True,
            id="a-tool-without-parameters-has-those-of-another",
        ),
        pytest.param(
            [_part(0, "a", "get_weather", "[1]"), _part(1, "b", "get_weather", _OSLO), _part(2, "c", "unknown", "{}")],
            False,
            id="each-is-complete-json",
        ),
    ],
)
def test_arguments_that_belong_to_no_call(fragments: list[CallFragment], *, lost: bool) -> None:
    """Beside arguments of no call, a call without arguments may have lost its own."""
    assembler = CallAssembler(TOOLS)
    for fragment in fragments:
        assembler.feed([fragment])

    assembler.finish(cut=False)

    assert assembler.is_uncertain is lost


@pytest.mark.parametrize(
    ("name", "written", "arguments"),
    [
        pytest.param("get_weather", {"arguments": {"city": "Oslo"}}, {"city": "Oslo"}, id="object"),
        pytest.param("get_weather", {"parameters": _OSLO}, {"city": "Oslo"}, id="text"),
        pytest.param("get_weather", {"name": "get_weather", "arguments": {}}, {}, id="with-the-name"),
        pytest.param("get_weather", {"arguments": {"town": "Oslo"}}, {"arguments": {"town": "Oslo"}}, id="other-names"),
        pytest.param("get_weather", {"arguments": "Oslo"}, {"arguments": "Oslo"}, id="no-object"),
        pytest.param(
            "get_weather", {"arguments": {"city": "a"}, "x": 1}, {"arguments": {"city": "a"}, "x": 1}, id="more-beside"
        ),
        pytest.param("run", {"args": {"name": "x"}, "name": "run"}, {"name": "x"}, id="parameter-that-is-called-name"),
        pytest.param("run", {"args": {}, "name": "x"}, {"args": {}, "name": "x"}, id="value-of-that-parameter"),
        pytest.param("apply", {"arguments": {"x": 1}}, {"arguments": {"x": 1}}, id="parameter-of-that-name"),
        pytest.param("open_door", {"arguments": {"x": 1}}, {"arguments": {"x": 1}}, id="unknown-tool"),
    ],
)
def test_wrapped_arguments(name: str, written: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Wrapped arguments are unwrapped if the schema of the tool says so."""
    assembler = CallAssembler({**TOOLS, "run": {"name": {}}, "apply": {"arguments": {}}})

    assembler.feed([_part(0, "a", name, json.dumps(written))])

    (finished,) = assembler.finish(cut=False)
    assert (finished.arguments, finished.error) == (arguments, None)


def test_unreadable_arguments() -> None:
    """A call whose arguments cannot be read has none, and its error says why."""
    assembler = CallAssembler()

    assembler.feed([_part(0, "a", "f", "[1]")])

    (finished,) = assembler.finish(cut=False)
    assert finished.arguments == {}
    assert finished.error == "The arguments are no object but a list."


def test_provider_fields() -> None:
    """The provider's own fields of all fragments are kept."""
    assembler = CallAssembler()

    assembler.feed([_part(0, "a", "f", extra_content={"x": 1}), _part(0, other=2)])

    assert assembler.finish(cut=False)[0].provider_fields == {"call": {"extra_content": {"x": 1}, "other": 2}}


def test_provider_fields_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """Provider fields above the limit are all dropped; the call is kept."""
    assembler = CallAssembler()

    with caplog.at_level(logging.INFO):
        for number in range(100):
            assembler.feed([_part(0, "a", "f", **{f"x{number}": ["word"] * 1_000})])

    (finished,) = assembler.finish(cut=False)
    assert (finished.name, finished.provider_fields) == ("f", {})
    assert len(caplog.records) == 1


def test_has_calls() -> None:
    """Any fragment counts, even if it becomes no call."""
    assembler = CallAssembler()
    before = assembler.has_calls

    assembler.feed([_part()])

    assert (before, assembler.has_calls, assembler.finish(cut=False)) == (False, True, [])


@pytest.mark.parametrize(
    ("written", "name"),
    [
        pytest.param("get_time", "get_time", id="as-it-is"),
        pytest.param(" get_time\n", "get_time", id="white-space"),
        pytest.param('"get_time"', "get_time", id="quotes"),
        pytest.param("functions.get_time", "get_time", id="functions"),
        pytest.param("function:get_time", "get_time", id="function"),
        pytest.param("tool/get_time", "get_time", id="tool"),
        pytest.param("default_api.get_time", "get_time", id="gemini"),
        pytest.param("functions.get_time:0", "get_time", id="kimi-counter"),
        pytest.param("get_time<|channel|>json", "get_time", id="harmony-marks"),
        pytest.param("repo_browser.get_time", "get_time", id="other-namespace-of-a-known-tool"),
        pytest.param("repo_browser.open_file", "repo_browser.open_file", id="other-namespace-of-an-unknown-tool"),
        pytest.param("functions.open_file", "open_file", id="functions-of-an-unknown-tool"),
        pytest.param("home.lights", "home.lights", id="tool-with-a-dot"),
        pytest.param("functions.home.lights", "home.lights", id="functions-of-a-tool-with-a-dot"),
        pytest.param("tools.x:1", "tools.x:1", id="tool-whose-name-looks-like-litter"),
        pytest.param("  ", "", id="blank"),
    ],
)
def test_clean_name(written: str, name: str) -> None:
    """Namespaces, marks and counters around a name are removed; an offered name is kept as it is."""
    assert clean_name(written, {"get_time", "home.lights", "tools.x:1"}) == name


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        pytest.param("answer", {"message": "It rains."}, "It rains.", id="localai-answer"),
        pytest.param("no_tool", {"content": "It rains."}, "It rains.", id="tgi-no-tool"),
        pytest.param("answer", {"message": 1}, "", id="no-sentence"),
        pytest.param("answer", {"message": "a", "tone": "b"}, "", id="two-arguments"),
        pytest.param("open_file", {"path": "x"}, "", id="any-other-tool"),
    ],
)
def test_pseudo_tool(name: str, arguments: dict[str, Any], said: str) -> None:
    """A call of a pseudo tool that was not offered becomes its text."""
    call = ToolCall("call00001", name, arguments)

    assert without_pseudo_tools([call], TOOLS) == ([] if said else [call], said)


def test_offered_tool_is_no_pseudo_tool() -> None:
    """A tool with the name of a pseudo tool can be offered."""
    call = ToolCall("call00001", "answer", {"message": "It rains."})

    assert without_pseudo_tools([call], {"answer": {}}) == ([call], "")


def test_fragments_that_can_be_read_in_too_many_ways() -> None:
    """If the number of readings is above the limit, or finding them takes too long, no call runs."""
    for fragments in (
        [_part(0, f"a{number}", "get_time", piece) for number in range(9) for piece in ("", "{", "}")],
        [_part(None, None, None, "{"), *(_part(None, None, None, " ") for _ in range(120_000)), _part(None, name="x")],
    ):
        assembler = CallAssembler(TOOLS)
        for fragment in fragments:
            assembler.feed([fragment])

        assembler.finish(cut=False)

        assert assembler.is_uncertain


def test_arguments_within_those_of_another_call() -> None:
    """An empty object in a string may be the arguments of a call that has none."""
    assembler = CallAssembler(TOOLS)

    for arguments in ('{"city": "O', "{}", 'slo"}'):
        assembler.feed([_part(0, None, None, arguments)])
    assembler.feed([_part(0, None, "get_weather"), _part(1, "a", "get_time")])
    assembler.finish(cut=False)

    assert assembler.is_uncertain


def test_fragments_with_two_meanings() -> None:
    """If two readings make whole calls, none of them runs."""
    assembler = CallAssembler({"add": {"a": {}}, "add_all": {"a": {}}, "_all": {}})

    for fragment in (_part(None, None, "add", '{"a": 1}'), _part(None, None, "_all", "")):
        assembler.feed([fragment])
    assembler.feed([_part(None, None, None, " ")])
    assembler.finish(cut=False)

    assert assembler.is_uncertain


_FRAGMENTS = st.builds(
    CallFragment,
    index=st.sampled_from([None, 0, 0, 1, 2]),
    id=st.sampled_from([None, None, "a", "b", "call_1"]),
    name=st.sampled_from([None, None, "get_weather", "get_", "weather", "functions.get_time", "x", "functions."]),
    arguments=st.one_of(
        st.none(), st.sampled_from(["", "{", '{"city": ', '"Oslo"', "}", "{}", _OSLO, _ROME]), ANYTHING
    ),
    provider_fields=st.dictionaries(
        st.sampled_from(["call", "function"]), st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=1)
    ),
)


@given(st.lists(_FRAGMENTS, max_size=8), st.booleans(), st.booleans())
def test_any_fragments(fragments: list[CallFragment], whole: bool, cut: bool) -> None:
    """Assembling never raises; each call has a name, JSON arguments and a unique id."""
    assembler = CallAssembler(TOOLS)

    assembler.feed(fragments, whole=whole)
    calls = assembler.finish(cut=cut)

    assert len({call.id for call in calls}) == len(calls)
    assert all(call.id.strip() and call.name.strip() for call in calls)
    assert all(json.loads(json.dumps(call.arguments)) == call.arguments for call in calls)


@given(st.data(), st.lists(st.tuples(st.sampled_from(sorted(TOOLS)), JSON_OBJECTS), min_size=1, max_size=3))
def test_calls_cut_anywhere(data: st.DataObject, calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Calls whose arguments are cut anywhere and come interleaved are assembled."""
    queues = []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        first, *rest = pieces_of(text, data.draw(cuts(len(text))))
        queues.append([_part(index, f"id{index}", name, first), *(_part(index, arguments=piece) for piece in rest)])
    turns = data.draw(st.permutations([index for index, queue in enumerate(queues) for _ in queue]))
    fragments = [queues[index].pop(0) for index in turns]

    assert sorted(_assembled(fragments)) == sorted(
        (f"id{index}", name, arguments) for index, (name, arguments) in enumerate(calls)
    )


_PARAMETERS = ({"city": "Oslo"}, {"city": "Rome", "days": 3})
_STYLES = [
    *itertools.product(
        ("once", "each", "new"), ("its own", "from 1", "zero", "none"), ("first", "each", "last", "cut")
    ),
    *itertools.product(("once", "each", "new"), ("its own", "from 1"), ("middle",)),
    *itertools.product(("once", "each", "late", "none"), ("each piece",), ("first", "each")),
    *itertools.product(("late",), ("its own", "from 1"), ("first", "each", "last", "middle", "cut")),
    *itertools.product(("none",), ("its own", "from 1"), ("first", "each", "last", "middle", "cut")),
]
"""The places of id, index and name that allow to assemble calls exactly."""


def _rows(name: str, pieces: list[str], where: str, at: int) -> list[tuple[str | None, str]]:
    """Cut one call into pairs of a name and a piece of arguments."""
    rest: list[tuple[str | None, str]] = [(None, piece) for piece in pieces]
    match where:
        case "each":
            return [(name, ""), *((name, piece) for piece in pieces)]
        case "last":
            return [*rest, (name, "")]
        case "middle":
            return [*rest[:at], (name, ""), *rest[at:]]
        case "cut":
            return [(name[:4], ""), (name[4:], ""), *rest]
    return [(name, ""), *rest]


@given(st.data(), st.sampled_from(_STYLES), st.lists(st.sampled_from(_PARAMETERS), min_size=1, max_size=3))
def test_pieces_in_every_style(data: st.DataObject, style: tuple[str, str, str], calls: list[dict[str, Any]]) -> None:
    """Calls that come one after the other are assembled, wherever their id, index and name are."""
    ids, indexes, names = style
    fragments: list[CallFragment] = []
    for place, arguments in enumerate(calls):
        text = json.dumps(arguments)
        pieces = [piece for piece in pieces_of(text, data.draw(cuts(len(text)))) if piece]
        for piece, (name, part) in enumerate(
            _rows("get_weather", pieces, names, data.draw(st.integers(0, len(pieces))))
        ):
            call_id = {
                "once": f"{place}" if piece == 0 else None,
                "each": f"{place}",
                "new": f"{place}-{piece}",
                "late": f"{place}" if piece == 1 else None,
                "none": None,
            }[ids]
            index = {"its own": place, "from 1": place + 1, "zero": 0, "none": None, "each piece": len(fragments)}[
                indexes
            ]
            fragments.append(_part(index, call_id, name, part))

    assert [arguments for _, _, arguments in _assembled(fragments)] == calls


def _repeat_name(words: int) -> None:
    text = json.dumps({"text": "word " * words})
    fragments = [_part(0, None, "play", piece) for piece in pieces_of(text, range(4, len(text), 4))]

    assert _assembled(fragments) == [("*", "play", json.loads(text))]


def test_long_call_whose_name_is_repeated() -> None:
    """The cost of a call whose name comes with each piece grows with its length, and not with the square."""
    assert growth(lambda: _repeat_name(1_000), lambda: _repeat_name(4_000), 10) <= 10


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        pytest.param(
            [_part(0, name="get_weather", arguments={"city": "Oslo"}), _part(0, name="get_weather", arguments=_ROME)],
            [("*", "get_weather", {"city": "Oslo"}), ("*", "get_weather", {"city": "Rome"})],
            id="behind-an-object",
        ),
        pytest.param(
            [
                _part(0, name="get_weather", arguments=_OSLO),
                _part(0, arguments="x"),
                _part(0, name="get_weather", arguments="y"),
            ],
            [("*", "get_weather", {"city": "Oslo"})],
            id="behind-litter",
        ),
    ],
)
def test_same_name_again(fragments: list[CallFragment], calls: list[tuple[str, str, dict[str, Any]]]) -> None:
    """The same name begins a new call after a whole one, and continues one that is not whole."""
    assert _assembled(fragments) == calls
