"""``adapters.response.markup.leaked_call_parser``: tool calls that a model wrote as text, in each dialect."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response.markup.leaked_call_parser import (
    LeakedCall,
    calls_in_value,
    finish_calls,
    read_bare_calls,
    read_leaked_calls,
)
from tests.property.strategies import MARKED_TEXTS, TOOLS
from tests.response.markup.dialects import BARE, LENIENT, MARKED, Dialect


@pytest.mark.parametrize("dialect", [*MARKED, *BARE, *LENIENT], ids=lambda dialect: dialect.name)
def test_dialect(dialect: Dialect) -> None:
    """A call of an offered tool is read in every dialect, in order and with its arguments."""
    assert read_leaked_calls(dialect.text, TOOLS) == list(dialect.calls)
    assert read_leaked_calls(dialect.text, {"open_door": {}}) == []


@pytest.mark.parametrize("dialect", BARE, ids=lambda dialect: dialect.name)
def test_bare_dialect(dialect: Dialect) -> None:
    """Text without marks that is nothing but calls of offered tools is read as those."""
    assert read_bare_calls(f"\n{dialect.text} ", TOOLS) == list(dialect.calls)
    assert read_bare_calls(dialect.text, {"open_door": {}}) == []
    assert read_bare_calls(f"So {dialect.text}", TOOLS) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("The weather is fine.", id="prose"),
        pytest.param("I could call get_weather(city) for you.", id="prose-with-an-expression"),
        pytest.param("get_weather is a tool", id="prose-with-a-name"),
        pytest.param('{"name": "Bob", "arguments": {"city": "Oslo"}}', id="another-name"),
        pytest.param('{"city": "get_weather"}', id="name-as-a-value"),
        pytest.param('{"get_weather": "fine"}', id="name-as-a-key-of-a-text"),
        pytest.param('{"get_weather": {"city": "Oslo"}, "b": 1}', id="name-as-one-key-of-two"),
        pytest.param('{"calls": ' * 9 + '{"name": "get_time"}' + "}" * 9, id="deeper-than-any-call"),
        pytest.param('get_weather("Oslo"', id="unclosed-expression"),
        pytest.param("get_weather(city=Oslo)", id="expression-with-a-variable"),
        pytest.param("get_weather(*cities)", id="expression-with-a-star"),
        pytest.param("get_weather(city=)", id="expression-that-is-no-python"),
        pytest.param("get_weather(1 # it's\n) + (2 # '\n)", id="expression-with-a-parenthesis-in-a-comment"),
        pytest.param("get_weather({[]: 1})", id="expression-with-an-impossible-key"),
        pytest.param('get_weather{"city": "Os', id="unclosed-object"),
        pytest.param('get_weather{"city": "Oslo"}, "days": 3}', id="object-closed-too-early"),
        pytest.param('{"name": "get_weather", "arguments": {}}, "city": "Oslo"}', id="call-closed-too-early"),
        pytest.param('{"name": "get_time", "zone": "UTC"}', id="other-keys-beside-the-name"),
        pytest.param("<function=get_weather>Oslo, please</function>", id="function-with-prose"),
        pytest.param("<function=get_weather><parameter=city>Os", id="parameter-cut-off"),
        pytest.param(
            "<function=get_weather><parameter=city>Oslo</parameter><parameter=days>", id="second-parameter-cut-off"
        ),
        pytest.param("<tool_call>get_weather<arg_key>city</arg_key><arg_value>Os", id="glm-value-cut-off"),
        pytest.param("call:get_weather{city:Oslo}", id="gemma-without-quotes"),
    ],
)
def test_text_that_is_no_call(text: str) -> None:
    """Text that is cut off, or only about a tool, is no call."""
    assert read_leaked_calls(text, TOOLS) == []


@pytest.mark.parametrize(
    ("schema", "written", "value"),
    [
        pytest.param({"type": "string"}, "5", "5", id="string"),
        pytest.param({"type": ["string", "null"]}, "5", "5", id="string-or-null"),
        pytest.param({"anyOf": [{"type": "string"}, {"type": "null"}]}, "5", "5", id="any-of-string"),
        pytest.param({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "5", 5, id="any-of-integer"),
        pytest.param({"type": "integer"}, "5", 5, id="integer"),
        pytest.param({"type": "integer"}, "five", "five", id="integer-in-words"),
        pytest.param({"type": "array"}, '["a", 1]', ["a", 1], id="array"),
        pytest.param({"type": "boolean"}, "true", True, id="boolean"),
        pytest.param({"type": "boolean"}, "False", False, id="boolean-of-python"),
        pytest.param({"type": "null"}, "None", None, id="null-of-python"),
        pytest.param({"type": "array"}, "[" * 5_000, "[" * 5_000, id="endless-array"),
        pytest.param({}, "5", 5, id="no-type"),
        pytest.param(None, "5", 5, id="no-schema"),
    ],
)
def test_type_of_a_tagged_parameter(schema: Any, written: str, value: Any) -> None:
    """Tags hold text only; the tool's schema decides what it means."""
    text = f"<function=f><parameter=x>{written}</parameter></function>"

    assert read_leaked_calls(text, {"f": {"x": schema}}) == [LeakedCall("f", {"x": value})]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        pytest.param([{"name": "get_time"}, {"tool": "play"}, 5, None], ["get_time", "play"], id="list"),
        pytest.param({"calls": [{"function": {"name": "get_time"}}]}, ["get_time"], id="nested"),
        pytest.param({"name": "functions.get_time"}, ["get_time"], id="namespace"),
        pytest.param({"name": 5}, [], id="name-that-is-no-text"),
        pytest.param({}, [], id="empty-object"),
        pytest.param("get_time", [], id="text"),
        pytest.param({"name": "get_weather", "city": "Oslo"}, ["get_weather"], id="arguments-beside-the-name"),
        pytest.param({"name": "get_time", "id": "a", "thought": "b"}, ["get_time"], id="other-known-keys"),
    ],
)
def test_calls_in_a_json_value(value: Any, names: list[str]) -> None:
    """Calls are found in lists and under the keys that hold lists of them."""
    assert [call.name for call in calls_in_value(value, TOOLS)] == names


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param("{", id="braces"),
        pytest.param("[", id="brackets"),
        pytest.param('{"name": ', id="open-objects"),
        pytest.param("{'", id="open-quotes"),
        pytest.param("get_weather{", id="open-named-objects"),
        pytest.param("get_weather(", id="open-expressions"),
        pytest.param("get_weather(x)", id="expressions"),
        pytest.param("call:get_weather{", id="open-gemma"),
        pytest.param("<escape>", id="gemma-quotes"),
        pytest.param("<function=get_weather>", id="open-functions"),
        pytest.param("<function=get_weather><parameter=a>", id="open-parameters"),
        pytest.param("<arg_key>", id="open-keys"),
        pytest.param("</tool_call>get_weather<arg_key>a</arg_key><arg_value>", id="open-values"),
        pytest.param("a```json<|x|>", id="marks-that-read-two-ways"),
        pytest.param("a", id="one-word"),
        pytest.param("a ", id="words"),
        pytest.param("a1", id="letters-and-digits"),
        pytest.param(" ", id="blanks"),
        pytest.param(",", id="commas"),
    ],
)
def test_loop_of_a_model(unit: str) -> None:
    """A model that repeats itself without end costs no more than a glance."""
    text = f"<tool_call>{unit * (6_000 // len(unit))}"
    began_s = time.process_time()

    read_leaked_calls(text, TOOLS)

    assert time.process_time() - began_s < 20  # a hang, not a benchmark


def test_calls_that_were_found_have_ids_of_their_own() -> None:
    """Two equal calls in a text are two calls."""
    found = finish_calls([LeakedCall("get_time", None), LeakedCall("get_time", None)], TOOLS)

    assert len({call.id for call in found}) == 2
    assert finish_calls([], TOOLS) == []


@given(MARKED_TEXTS, st.sampled_from([TOOLS, {}]))
def test_any_text(text: str, tools: dict[str, dict[str, Any]]) -> None:
    """Whatever is read, it never raises and only names tools that were offered."""
    assert {call.name for call in read_leaked_calls(text, tools)} <= set(tools)
