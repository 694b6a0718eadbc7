"""``adapters._arguments``: unusual forms are read, and what is cut off is never completed."""

from __future__ import annotations

import ast
import json
import re
import time
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._arguments import Brackets, goes_on, is_whole, read_arguments, read_expressions, read_value
from tests.property.strategies import ANYTHING, JSON_OBJECTS, MARKED_TEXTS, cuts, pieces_of

_DEEP = 20_000  # deeper than any Python reads: 3.13 goes down to nearly ten thousand


@pytest.mark.parametrize(
    ("raw", "arguments"),
    [
        # An object, or nothing
        pytest.param({"x": 1}, {"x": 1}, id="object"),
        pytest.param('{"x": 1}', {"x": 1}, id="string"),
        pytest.param("", {}, id="empty"),
        pytest.param("  \n", {}, id="blank"),
        pytest.param(None, {}, id="missing"),
        pytest.param("null", {}, id="null"),
        pytest.param('""', {}, id="empty-encoded-twice"),
        pytest.param('"null"', {}, id="null-encoded-twice"),
        pytest.param("{}", {}, id="empty-object"),
        # Encoded too often, wrapped
        pytest.param('"{\\"x\\": 1}"', {"x": 1}, id="encoded-twice"),
        pytest.param(json.dumps(json.dumps('{"x": 1}')), {"x": 1}, id="encoded-three-times"),
        pytest.param('[{"x": 1}]', {"x": 1}, id="list-of-one-object"),
        pytest.param([{"x": 1}], {"x": 1}, id="list-of-one-object-not-encoded"),
        # Litter around it
        pytest.param('{"x": 1}<|im_end|>', {"x": 1}, id="special-token-behind"),
        pytest.param('{"x": 1}\n</tool_call>', {"x": 1}, id="tag-behind"),
        pytest.param('{"x": 1}}', {"x": 1}, id="one-bracket-too-many"),
        pytest.param('```json\n{"x": 1}\n```', {"x": 1}, id="fenced"),
        pytest.param(' \n{"x": 1}\n', {"x": 1}, id="white-space"),
        pytest.param('{"x": 1}{"x": 1}', {"x": 1}, id="twice-the-same"),
        pytest.param('{"x": 1}\n, {"x": 1}; {"x": 1}', {"x": 1}, id="three-times-the-same"),
        pytest.param('{}{"x": 1}', {"x": 1}, id="empty-object-in-front"),
        pytest.param('{"x": 1}{}', {"x": 1}, id="empty-object-behind"),
        pytest.param("{}{}", {}, id="two-empty-objects"),
        pytest.param('<arguments>{"x": 1}</arguments>', {"x": 1}, id="tags-around"),
        pytest.param('<|message|>{"x": 1}', {"x": 1}, id="special-token-in-front"),
        pytest.param('{"x": 1}\nNote: it is so.', {"x": 1}, id="words-behind"),
        # Not quite JSON
        pytest.param('{"x": "a\nb"}', {"x": "a\nb"}, id="raw-newline"),
        pytest.param('{"x": "a\tb"}', {"x": "a\tb"}, id="raw-tab"),
        pytest.param("{'x': 'a'}", {"x": "a"}, id="single-quotes"),
        pytest.param("{'x': True, 'y': None, 'z': (1, 2)}", {"x": True, "y": None, "z": [1, 2]}, id="python"),
        pytest.param("{'x': true, 'y': null}", {"x": True, "y": None}, id="python-with-constants-of-json"),
        pytest.param("{'x': 'C:\\dir'}", {"x": "C:\\dir"}, id="python-with-a-bad-escape"),
        pytest.param('{"x": "it\\\'s"}', {"x": "it's"}, id="escaped-apostrophe"),
        pytest.param('{"x": "a\\d"}', {"x": "a\\d"}, id="bad-escape"),
        pytest.param('{"x": "C:\\\\dir\\exe"}', {"x": "C:\\dir\\exe"}, id="good-and-bad-escapes"),
        pytest.param('{"x": "\\u00e9\\uZZ"}', {"x": "é\\uZZ"}, id="good-and-bad-unicode-escapes"),
        pytest.param('{"x": [1, 2,], }', {"x": [1, 2]}, id="trailing-commas"),
        pytest.param('{"x": "a,]",}', {"x": "a,]"}, id="trailing-comma-and-one-inside-a-string"),
        pytest.param('{"x": 1 // one\n, "y": 2}', {"x": 1, "y": 2}, id="comment-to-the-end-of-the-line"),
        pytest.param('{"x": 1 /* one */ }', {"x": 1}, id="comment"),
        pytest.param('{"x": 1 # one\n}', {"x": 1}, id="comment-of-python"),
        pytest.param('{"x": "http://a/*b*/",}', {"x": "http://a/*b*/"}, id="what-looks-like-a-comment-in-a-string"),
        pytest.param('{"x": "\ud83d\ude00"}', {"x": "\N{GRINNING FACE}"}, id="pair-of-halves"),
        pytest.param('{"x": "\\ud83d"}', {"x": "\N{REPLACEMENT CHARACTER}"}, id="half-a-character"),
        pytest.param({1: "a"}, {"1": "a"}, id="key-that-is-a-number"),
    ],
)
def test_readable(raw: Any, arguments: dict[str, Any]) -> None:
    """Arguments are read in whatever form a server sends them."""
    assert read_arguments(raw) == (arguments, None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param("[1, 2]", "The arguments are no object but a list.", id="list"),
        pytest.param("[]", "The arguments are no object but a list.", id="empty-list"),
        pytest.param('[{"x": 1}, {"y": 2}]', "The arguments are no object but a list.", id="list-of-two"),
        pytest.param("42", "The arguments are no object but a int.", id="number"),
        pytest.param(True, "The arguments are no object but a bool.", id="truth-value"),
        pytest.param("false", "The arguments are no object but a bool.", id="false"),
        pytest.param("Oslo", "The arguments are no JSON.", id="word"),
        pytest.param('"Oslo"', "The arguments are no JSON.", id="string"),
        pytest.param(json.dumps(json.dumps(json.dumps("{}"))), "The arguments are no object but a str.", id="4-layers"),
        pytest.param('{"x": 1', "The arguments are cut off or no JSON.", id="cut-before-the-end"),
        pytest.param('{"x": 1}, "y": 2}', "The arguments go on after the end of their object.", id="more-keys-behind"),
        pytest.param(
            "{'x': 1}} 'y' : 2", "The arguments go on after the end of their object.", id="keys-of-python-behind"
        ),
        pytest.param(
            '<malformed_json_arguments>{"x": 1}',
            "The server marked the arguments as malformed.",
            id="marked-as-malformed",
        ),
        pytest.param('{"x": "Os', "The arguments are cut off or no JSON.", id="cut-in-a-string"),
        pytest.param('{"x": "Os\\', "The arguments are cut off or no JSON.", id="cut-in-an-escape"),
        pytest.param('{"x": {"y": 1}', "The arguments are cut off or no JSON.", id="cut-behind-an-inner-object"),
        pytest.param("{x: 1}", "The arguments are cut off or no JSON.", id="bare-keys"),
        pytest.param('{"x": open("/etc/passwd")}', "The arguments are cut off or no JSON.", id="python-code"),
        pytest.param("{[]: 1}", "The arguments are cut off or no JSON.", id="impossible-key"),
        pytest.param('{"x" 1}', "The arguments are cut off or no JSON.", id="no-colon"),
        pytest.param('{"x": 1 /* one }', "The arguments are cut off or no JSON.", id="comment-without-end"),
        pytest.param('y": {"x": 1}}', "The beginning of the arguments is missing.", id="without-beginning"),
        pytest.param('{"x": 1}{"x": 2}', "The arguments are several different objects.", id="two-different-objects"),
        pytest.param(
            '{"x": 1}{"x": ', "The arguments go on after the end of their object.", id="half-an-object-behind"
        ),
        pytest.param(
            '{"x": 1}</tool_call><tool_call>{"y": 2}',
            "The arguments go on after the end of their object.",
            id="more-calls",
        ),
        pytest.param(
            '{"x": 1}\\"y\\": 2', "The arguments go on after the end of their object.", id="escaped-key-behind"
        ),
        pytest.param(
            '{"x": 1}, "x": 2}', "The arguments go on after the end of their object.", id="the-same-key-behind"
        ),
        pytest.param("{1, 2}", "The arguments are no object but a set.", id="set"),
        pytest.param("{'x': {1, 2}}", "The arguments hold a value that is no JSON.", id="set-inside"),
        pytest.param("{'x': b'a'}", "The arguments hold a value that is no JSON.", id="bytes"),
        pytest.param("{(1, 2): 1}", "The arguments hold a value that is no JSON.", id="key-that-json-has-not"),
        pytest.param('{"x": NaN}', "The arguments hold a value that is no JSON.", id="not-a-number"),
        pytest.param('{"x": 1e999}', "The arguments hold a value that is no JSON.", id="more-than-any-number"),
        pytest.param('{"x":' * _DEEP + "1" + "}" * _DEEP, "The arguments are nested too deeply.", id="deep-json"),
        pytest.param("{'x':" * _DEEP + "1" + "}" * _DEEP, "The arguments are cut off or no JSON.", id="deep-python"),
        pytest.param("{'x': " + "-" * 100_000 + "1}", "The arguments are cut off or no JSON.", id="endless-minus"),
        pytest.param("{'x': \0}", "The arguments are cut off or no JSON.", id="zero-byte"),
    ],
)
def test_unreadable(raw: Any, reason: str) -> None:
    """Arguments that cannot be read are empty, with the reason; none are made up."""
    assert read_arguments(raw) == ({}, reason)


@pytest.mark.parametrize(
    ("raw", "whole"),
    [
        pytest.param('{"x": 1}', True, id="object"),
        pytest.param(' {"x": "a\nb"}\n', True, id="object-with-white-space"),
        pytest.param({}, True, id="not-encoded"),
        pytest.param('{"x": 1', False, id="cut"),
        pytest.param('{"x": {}', False, id="cut-behind-a-bracket"),
        pytest.param("", False, id="empty"),
        pytest.param(None, False, id="missing"),
        pytest.param("[{}]", False, id="list"),
        pytest.param("{'x': 1}", False, id="python"),
        pytest.param('{"x": 1}{}', False, id="two"),
        pytest.param('{"x":' * _DEEP + "1" + "}" * _DEEP, False, id="deep"),
    ],
)
def test_is_whole(raw: Any, *, whole: bool) -> None:
    """Only a complete object of JSON is surely whole."""
    assert is_whole(raw) is whole


@pytest.mark.parametrize(
    ("text", "start", "found"),
    [
        pytest.param('{"x": 1} and more', 0, ({"x": 1}, 8), id="json"),
        pytest.param('see {"x": 1}', 4, ({"x": 1}, 12), id="json-inside"),
        pytest.param("see {'x': '}'}.", 4, ({"x": "}"}, 14), id="python-inside"),
        pytest.param("[1, 2,] rest", 0, ([1, 2], 7), id="list"),
        pytest.param("{x} rest", 0, None, id="no-value"),
        pytest.param("{'x'", 0, None, id="unclosed"),
        pytest.param("rest", 0, None, id="prose"),
        pytest.param('{"x": ' + "[" * _DEEP + "]" * _DEEP + "}", 0, None, id="deep"),
    ],
)
def test_value_in_a_text(text: str, start: int, found: tuple[Any, int] | None) -> None:
    """A value is read at its place, and its end is returned."""
    assert read_value(text, start) == found


@pytest.mark.parametrize(
    ("text", "is_more"),
    [
        pytest.param('{}, "y": 2}', True, id="key"),
        pytest.param("{}}\n'y' : 2", True, id="bracket-and-key"),
        pytest.param("{} and more", False, id="words"),
        pytest.param('{} {"y": 2}', False, id="another-object"),
        pytest.param("{}", False, id="nothing"),
    ],
)
def test_object_that_was_closed_too_early(text: str, *, is_more: bool) -> None:
    """A key directly behind an object belongs to it."""
    assert goes_on(text, 2) is is_more


def test_statements_of_python() -> None:
    """Each expression is a statement; other statements are refused."""
    assert [ast.unparse(tree) for tree in read_expressions("f()\ng(1)")] == ["f()", "g(1)"]
    with pytest.raises(ValueError, match="statements"):
        read_expressions("f()\nx = 1")


def test_expression_of_python() -> None:
    """An expression is parsed without a word on stderr, with JSON's constants in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (tree,) = read_expressions("f('\\d', true)")

    assert ast.unparse(tree) == "f('\\\\d', True)"


@pytest.mark.parametrize("text", ["f(", "a b", "\0", "(" * _DEEP, "-" * 100_000 + "1"], ids=repr)
def test_text_that_is_no_expression(text: str) -> None:
    """Text that is no expression is a ValueError."""
    with pytest.raises(ValueError, match=r"expression|null bytes|source code"):
        read_expressions(text[:100_001])


@given(st.data(), JSON_OBJECTS.map(json.dumps) | JSON_OBJECTS.map(repr) | MARKED_TEXTS.map(lambda text: f"{{{text}}}"))
def test_bracket_of_a_growing_text(data: st.DataObject, text: str) -> None:
    """Where a bracket is closed does not depend on the pieces in which the text comes, nor on what follows."""
    closed_at = Brackets().closed_at(text)
    brackets, come, answers = Brackets(), "", []

    for piece in pieces_of(text, data.draw(cuts(len(text)))):
        come += piece
        answers.append(brackets.closed_at(f">{come}", 1))
        if answers[-1] is not None:
            break

    assert answers[-1] == (closed_at + 1 if closed_at is not None else None)
    assert answers[:-1] == [None] * (len(answers) - 1)
    assert Brackets().closed_at(f"{text}{text}") == closed_at or closed_at is None


def test_an_escape_waits_for_what_it_escapes() -> None:
    """A backslash at the end of what has come is not forgotten when it is asked again before more has."""
    text = r"""{"a": "\"}"}"""
    brackets = Brackets()

    assert [brackets.closed_at(text[:end]) for end in (8, 8, len(text))] == [None, None, len(text)]


@given(ANYTHING)
def test_anything_as_arguments(raw: Any) -> None:
    """Reading never raises, returns an object that JSON can repeat, and a reason only with an empty one."""
    arguments, error = read_arguments(raw)

    assert json.loads(json.dumps(arguments, allow_nan=False).encode()) == arguments
    assert error is None or arguments == {}


def _as_json(python: str) -> dict[str, Any] | None:
    """What JSON makes of a Python literal, with backslashes for themselves where JSON knows no such escape."""
    try:
        value: dict[str, Any] = json.loads(re.sub(r"((?<!\\)(?:\\\\)*)\\([xU])", r"\1\\\\\2", python))
    except ValueError:
        return None
    return value


@given(JSON_OBJECTS)
def test_arguments_come_back(arguments: dict[str, Any]) -> None:
    r"""Arguments that were written as JSON, as Python, or encoded twice are read as they were.

    But for escapes that Python alone has: what may be JSON is read as JSON, and a path such as C:\x64 stays one.
    """
    text, python = json.dumps(arguments), repr(arguments)

    assert read_arguments(text) == (arguments, None)
    assert read_arguments(python) == (_as_json(python) or arguments, None)
    assert read_arguments(json.dumps(text)) == (arguments, None)
    assert read_arguments(text + text) == (arguments, None)


@given(st.data(), JSON_OBJECTS.filter(bool))
def test_cut_arguments(data: st.DataObject, arguments: dict[str, Any]) -> None:
    """Arguments that are cut anywhere are never completed."""
    text = json.dumps(arguments)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]

    assert read_arguments(cut) == ({}, "The arguments are cut off or no JSON.")
    assert not is_whole(cut)


@pytest.mark.parametrize("unit", ["{", '{"a":', '"', "\\", ",", "/*", "//", "{}", "'", "[{"], ids=repr)
def test_loop_of_a_model(unit: str) -> None:
    """Arguments that repeat themselves without end cost no more than a glance."""
    began_s = time.process_time()

    for text in (unit, f"{{{unit}", f"{{{unit}}}"):
        read_arguments(text.replace(unit, unit * (50_000 // len(unit))))

    assert time.process_time() - began_s < 20  # a hang, not a benchmark


def test_backslash_between_two_pieces() -> None:
    """A backslash outside of strings takes the next character with it, also if that comes later."""
    brackets = Brackets()

    assert brackets.feed("{\\") is None
    assert brackets.feed("}}") == len("}}")
