"""``adapters.response.markup.leaked_call_parser``: tool calls that a model wrote as text, one row a dialect."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response.markup.leaked_call_parser import LeakedCall, calls_in_value, finished_calls, read_leaked_calls
from tests.property.strategies import MARKED_TEXTS, TOOLS

_OSLO = LeakedCall("get_weather", {"city": "Oslo"})
_TIME = LeakedCall("get_time", None)
_TIME_EMPTY = LeakedCall("get_time", {})
_JSON = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
_BAR = "\N{FULLWIDTH VERTICAL LINE}"  # DeepSeek's marks really are full width


def _deepseek(text: str) -> str:
    return text.replace("|", _BAR)


_DIALECTS = [
    # Hermes, Qwen, and JSON in tags of other names
    pytest.param(f"<tool_call>\n{_JSON}\n</tool_call>", [_OSLO], id="hermes"),
    pytest.param(f"<tool_call>{_JSON}</tool_call>\n<tool_call>{_JSON}</tool_call>", [_OSLO, _OSLO], id="hermes-twice"),
    pytest.param(f"<tool_call>{_JSON}", [_OSLO], id="hermes-unclosed-tag"),
    pytest.param(f"<tool_call>[{_JSON}]</tool_call>", [_OSLO], id="hermes-list"),
    pytest.param("<tool_call>{{" + _JSON[1:] + "}</tool_call>", [_OSLO], id="hermes-double-braces"),
    pytest.param(f"<tool_call>```json\n{_JSON}\n```</tool_call>", [_OSLO], id="hermes-fenced"),
    pytest.param(f"<function_call> {_JSON} </function_call>", [_OSLO], id="function-call-tag"),
    pytest.param(f"<tool_calls>[{_JSON}, {_JSON}]</tool_calls>", [_OSLO, _OSLO], id="jamba"),
    pytest.param(f"<|tool_call|>[{_JSON}]<|/tool_call|>", [_OSLO], id="phi"),
    pytest.param(f"[TOOL_REQUEST]{_JSON}[END_TOOL_REQUEST]", [_OSLO], id="lm-studio"),
    pytest.param(f"<|action_start|><|plugin|>\n{_JSON}<|action_end|>", [_OSLO], id="internlm"),
    pytest.param(
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Oslo"}}]'
        "<|END_ACTION|>",
        [_OSLO],
        id="cohere",
    ),
    # Mistral
    pytest.param(f"[TOOL_CALLS][{_JSON}]", [_OSLO], id="mistral-list"),
    pytest.param(f"[TOOL_CALLS] [{_JSON[:-1]}, " + '"id": "abcdefghi"}]', [_OSLO], id="mistral-list-with-ids"),
    pytest.param('[TOOL_CALLS]get_weather{"city": "Oslo"}', [_OSLO], id="mistral-name"),
    pytest.param('[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}', [_OSLO], id="mistral-args"),
    pytest.param(
        '[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city": "Oslo"}[TOOL_CALLS]get_time[ARGS]{}',
        [_OSLO, _TIME_EMPTY],
        id="mistral-call-ids",
    ),
    # Llama, Groq, Qwen-Coder
    pytest.param('<function=get_weather>{"city": "Oslo"}</function>', [_OSLO], id="llama"),
    pytest.param('<function=get_weather{"city": "Oslo"}</function>', [_OSLO], id="llama-no-bracket"),
    pytest.param('<function=get_weather={"city": "Oslo"}</function>', [_OSLO], id="groq-equals-sign"),
    pytest.param('<function=get_weather>{"city": "Oslo"}<function>', [_OSLO], id="groq-unclosed-end"),
    pytest.param('<function=get_weather({"city": "Oslo"})</function>', [_OSLO], id="groq-parentheses"),
    pytest.param('<function(get_weather){"city": "Oslo"}</function>', [_OSLO], id="groq-name-in-parentheses"),
    pytest.param('<function=functions.get_weather>{"city": "Oslo"}</function>', [_OSLO], id="llama-namespace"),
    pytest.param("<function=get_time></function>", [_TIME_EMPTY], id="llama-no-arguments"),
    pytest.param(
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo"}}<|eom_id|>', [_OSLO], id="llama-3-json"
    ),
    pytest.param('<|python_tag|>get_weather(city="Oslo")<|eom_id|>', [_OSLO], id="llama-3-python"),
    pytest.param('<|python_tag|>get_weather.call(city="Oslo")', [_OSLO], id="llama-3-brave"),
    pytest.param(
        f"<|python_tag|>{_JSON}; " + '{"name": "get_time", "parameters": {}}', [_OSLO, _TIME_EMPTY], id="llama-3-two"
    ),
    pytest.param(
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
        "</function>\n</tool_call>",
        [LeakedCall("get_weather", {"city": "Oslo", "days": 3})],
        id="qwen-coder",
    ),
    pytest.param(
        "<function=get_weather>\n<parameter=city>\nOslo\n<parameter=days>\n3\n</function>",
        [LeakedCall("get_weather", {"city": "Oslo", "days": 3})],
        id="qwen-coder-no-ends-of-parameters",
    ),
    pytest.param(
        '<function=play>{"title": "<function=get_time></function>"}</function>',
        [LeakedCall("play", {"title": "<function=get_time></function>"})],
        id="llama-markup-inside-arguments",
    ),
    # Claude-like, MiniMax
    pytest.param(
        '<function_calls>\n<invoke name="get_weather">\n<parameter name="city">Oslo</parameter>\n</invoke>\n'
        "</function_calls>",
        [_OSLO],
        id="claude",
    ),
    pytest.param(
        '<minimax:tool_call><invoke name="get_weather"><parameter name="city">Oslo</parameter></invoke>'
        '<invoke name="get_time"></invoke></minimax:tool_call>',
        [_OSLO, _TIME_EMPTY],
        id="minimax-two",
    ),
    # GLM
    pytest.param(
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>3</arg_value>\n</tool_call>",
        [LeakedCall("get_weather", {"city": "Oslo", "days": 3})],
        id="glm",
    ),
    pytest.param("<tool_call>get_time</tool_call>", [_TIME_EMPTY], id="glm-no-arguments"),
    pytest.param(
        "<tool_call>get_time</tool_call>"
        "<tool_call>get_weather<arg_key> city </arg_key><arg_value>Oslo</arg_value></tool_call>",
        [_TIME_EMPTY, _OSLO],
        id="glm-two",
    ),
    # DeepSeek, Kimi
    pytest.param(
        _deepseek(
            "<|tool▁calls▁begin|><|tool▁call▁begin|>function<|tool▁sep|>get_weather\n```json\n"
            '{"city": "Oslo"}\n```<|tool▁call▁end|><|tool▁calls▁end|>'
        ),
        [_OSLO],
        id="deepseek-r1",
    ),
    pytest.param(
        _deepseek(
            '<|tool▁calls▁begin|><|tool▁call▁begin|>get_weather<|tool▁sep|>{"city": "Oslo"}<|tool▁call▁end|>'
            "<|tool▁call▁begin|>get_time<|tool▁sep|>{}<|tool▁call▁end|><|tool▁calls▁end|>"
        ),
        [_OSLO, _TIME_EMPTY],
        id="deepseek-v3",
    ),
    pytest.param(
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Oslo"}<|tool_call_end|><|tool_calls_section_end|>',
        [_OSLO],
        id="kimi",
    ),
    # gpt-oss, Gemma
    pytest.param(
        '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
        [_OSLO],
        id="gpt-oss",
    ),
    pytest.param(
        '<|start|>assistant<|channel|>commentary to=functions.get_weather<|message|>{"city": "Oslo"}<|call|>',
        [_OSLO],
        id="gpt-oss-no-constraint",
    ),
    pytest.param(
        "<start_function_call>call:get_weather{city:<escape>Oslo<escape>}<end_function_call>", [_OSLO], id="gemma"
    ),
    pytest.param('<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|>', [_OSLO], id="gemma-4"),
    pytest.param(
        '<start_function_call>call:play{title:<escape>a "b", c: d}<escape>,loud:true}<end_function_call>',
        [LeakedCall("play", {"title": 'a "b", c: d}', "loud": True})],
        id="gemma-marks-inside-a-string",
    ),
    pytest.param("<start_function_call>call:get_time{}<end_function_call>", [_TIME_EMPTY], id="gemma-no-arguments"),
    # Without marks
    pytest.param(_JSON, [_OSLO], id="bare-json"),
    pytest.param('{"name": "get_weather", "parameters": {"city": "Oslo"}}', [_OSLO], id="bare-json-parameters"),
    pytest.param('{"type": "function", "function": ' + _JSON + "}", [_OSLO], id="bare-json-as-openai-writes-it"),
    pytest.param(f'{{"tool_calls": [{_JSON}]}}', [_OSLO], id="bare-json-tool-calls"),
    pytest.param(
        '{"tool_uses": [{"recipient_name": "functions.get_weather", "parameters": {"city": "Oslo"}}]}',
        [_OSLO],
        id="bare-json-multi-tool-use",
    ),
    pytest.param('{"action": "get_weather", "action_input": {"city": "Oslo"}}', [_OSLO], id="react"),
    pytest.param('{"get_weather": {"city": "Oslo"}}', [_OSLO], id="bare-json-name-as-key"),
    pytest.param('{"name": "get_time"}', [_TIME], id="bare-json-no-arguments"),
    pytest.param("{'name': 'get_weather', 'arguments': {'city': 'Oslo'}}", [_OSLO], id="bare-python-dict"),
    pytest.param(
        '{"name": "get_weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}',
        [LeakedCall("get_weather", '{"city": "Oslo"}')],
        id="bare-json-arguments-as-a-string",
    ),
    pytest.param(
        '{"name": "play", "arguments": {"title": "get_time() and {\\"name\\": \\"get_time\\"}"}}',
        [LeakedCall("play", {"title": 'get_time() and {"name": "get_time"}'})],
        id="bare-json-with-a-call-inside-its-arguments",
    ),
    pytest.param(
        '<tool_call>{"name": "play", "arguments": {"title": "<function=get_time></function>"}}</tool_call>',
        [LeakedCall("play", {"title": "<function=get_time></function>"})],
        id="hermes-with-markup-inside-its-arguments",
    ),
    pytest.param('[get_weather(city="Oslo"), get_time()]', [_OSLO, _TIME_EMPTY], id="pythonic-list"),
    pytest.param('[get_weather("Oslo", 3)]', [LeakedCall("get_weather", {"city": "Oslo", "days": 3})], id="positional"),
    pytest.param('get_weather({"city": "Oslo"})', [_OSLO], id="python-call-of-an-object"),
    pytest.param(
        'get_weather({"any": 1})', [LeakedCall("get_weather", {"city": {"any": 1}})], id="python-call-of-another-object"
    ),
    pytest.param('print(get_weather(city="Oslo"))', [_OSLO], id="gemini-tool-code"),
    pytest.param(
        'play(title="(a) [b] )", loud=true)', [LeakedCall("play", {"title": "(a) [b] )", "loud": True})], id="brackets"
    ),
]


@pytest.mark.parametrize(("text", "calls"), _DIALECTS)
def test_dialect(text: str, calls: list[LeakedCall]) -> None:
    """A call of an offered tool is read in every dialect, in order and with its arguments."""
    assert read_leaked_calls(text, TOOLS) == calls


@pytest.mark.parametrize("text", [param.values[0] for param in _DIALECTS], ids=[str(param.id) for param in _DIALECTS])
def test_tool_that_was_not_offered(text: str) -> None:
    """A call of a tool that nobody offered is no call."""
    assert read_leaked_calls(text, {"open_door": {}}) == []


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
    """What is cut off, or only speaks of a tool, is no call."""
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
    found = finished_calls(
        '<tool_call>{"name": "get_time"}</tool_call><tool_call>{"name": "get_time"}</tool_call>', TOOLS
    )

    assert len({call.tool_call.id for call in found}) == 2
    assert finished_calls("", TOOLS) == []


@given(MARKED_TEXTS, st.sampled_from([TOOLS, {}]))
def test_any_text(text: str, tools: dict[str, dict[str, Any]]) -> None:
    """Whatever is read, it never raises and only names tools that were offered."""
    assert {call.name for call in read_leaked_calls(text, tools)} <= set(tools)
