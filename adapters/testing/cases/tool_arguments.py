"""The arguments of tool calls, as models and servers write them; the same for streams and plain JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import answer, call
from adapters.testing.case import CALLING, Success, WireCase
from adapters.testing.cases.common import OSLO

if TYPE_CHECKING:
    from collections.abc import Mapping


def _arguments(
    case_id: str, why: str, arguments: object, expected: Mapping[str, Any], *, error: bool = False
) -> WireCase:
    """Make one case of a single call with these arguments."""
    return WireCase(
        case_id,
        why,
        [answer(calls=[call("get_weather", arguments)])],
        Success(calls=(("get_weather", expected),), call_errors=(error,)),
        ways=CALLING,
        tools=True,
        within_s=2.0,
    )


_CITY = {"city": "Oslo"}

CASES: Final = (
    _arguments("llamacpp-arguments-object", "arguments is an object", {"city": "Oslo"}, _CITY),
    _arguments("openrouter-arguments-empty", "arguments is ''", "", {}),
    _arguments("openrouter-arguments-blank", "arguments is white space", " \n", {}),
    _arguments("openrouter-arguments-null", "arguments is null", None, {}),
    _arguments("vllm-arguments-null-text", "arguments is 'null'", "null", {}),
    _arguments("granite-arguments-encoded-twice", "JSON in JSON", '"{\\"city\\": \\"Oslo\\"}"', _CITY),
    _arguments(
        "granite-arguments-encoded-thrice",
        "JSON in JSON in JSON",
        '"\\"{\\\\\\"city\\\\\\": \\\\\\"Oslo\\\\\\"}\\""',
        _CITY,
    ),
    _arguments("hermes-arguments-trailing-tag", "a closing tag after the object", OSLO + "\n</tool_call>", _CITY),
    _arguments("qwen-arguments-trailing-token", "a special token after the object", OSLO + "<|im_end|>", _CITY),
    _arguments("model-arguments-leading-space", "white space around the object", f"\n  {OSLO}\n", _CITY),
    _arguments("localai-arguments-twice", "the same object twice", OSLO + OSLO, _CITY),
    _arguments("vllm-arguments-list-of-one", "a list of one object", f"[{OSLO}]", _CITY),
    _arguments(
        "model-arguments-python",
        "literals of Python",
        "{'city': 'Oslo', 'now': True, 'unit': None}",
        {"city": "Oslo", "now": True, "unit": None},
    ),
    _arguments(
        "groq-arguments-raw-newline", "a raw line end inside a string", '{"city": "Os\nlo\t"}', {"city": "Os\nlo\t"}
    ),
    _arguments("model-arguments-trailing-comma", "a comma too many", '{"city": "Oslo",}', _CITY),
    _arguments(
        "model-arguments-unicode",
        "escapes and raw letters",
        '{"city": "Troms\\u00f8 ☀ 日本"}',
        {"city": "Tromsø ☀ 日本"},
    ),
    _arguments(
        "model-arguments-nested",
        "values of every kind",
        '{"a": [1, 2.5, {"b": null}], "c": false, "d": "{}"}',
        {"a": [1, 2.5, {"b": None}], "c": False, "d": "{}"},
    ),
    _arguments(
        "model-arguments-wrapped", "the arguments in an object of that name", '{"arguments": {"city": "Oslo"}}', _CITY
    ),
    _arguments(
        "model-arguments-wrapped-with-name",
        "the whole call in the arguments",
        '{"name": "get_weather", "parameters": "{\\"city\\": \\"Oslo\\"}"}',
        _CITY,
    ),
    WireCase(
        "model-arguments-list-beside-a-call",
        "the arguments of one of two calls are no object; they are JSON, so they are no part of the other's",
        [answer(calls=[call("get_weather", "[1]", "call_1"), call("get_weather", OSLO, "call_2")])],
        Success(calls=(("get_weather", {}), ("get_weather", _CITY)), call_errors=(True, False)),
        ways=CALLING,
        tools=True,
    ),
    _arguments(
        "model-arguments-go-on-behind",
        "a bracket too many in the middle: the keys after it are not dropped in silence",
        '{"city": "Oslo"}, "days": 3}',
        {},
        error=True,
    ),
    _arguments(
        "mlx-arguments-marked-as-malformed",
        "the server marks the arguments as malformed",
        '<malformed_json_arguments>{"name": "get_weather", "arguments": 1}\n</parameter>\n</function>',
        {},
        error=True,
    ),
    *[
        _arguments(f"model-arguments-{name}", f"arguments is {value!r}, which is no object", value, {}, error=True)
        for name, value in (
            ("list", "[1, 2]"),
            ("false", "false"),
            ("number", "42"),
            ("text", '"Oslo"'),
            ("words", "city is Oslo"),
            ("list-of-two", '[{"city": "Oslo"}, {"city": "Rome"}]'),
        )
    ],
    _arguments("model-arguments-broken", "an unreadable object", '{"city": Oslo", }}', {}, error=True),
    _arguments("model-arguments-deep", "endless brackets do no harm", '{"a":' * 50_000, {}, error=True),
    _arguments("clone-arguments-number", "arguments is a number, not a string", 42, {}, error=True),
    _arguments("clone-arguments-list", "arguments is a list, not a string", [1, 2], {}, error=True),
)
