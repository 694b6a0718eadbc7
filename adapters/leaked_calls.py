"""Tool calls that a model wrote as text: reading them in every dialect we know.

Only a call of an offered tool counts. Where such text begins and ends in a stream is ``text_filter``'s business;
this module looks at a piece of it that is complete.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from adapters.arguments import read_value
from adapters.tool_calls import clean_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Tools: TypeAlias = "Mapping[str, Mapping[str, Any]]"
"""The offered tools: name -> JSON schema of each parameter, ``{"get_weather": {"city": {"type": "string"}}}``."""

NAME_KEYS = ("name", "tool_name", "function_name", "tool", "function", "recipient_name", "action")
ARGUMENT_KEYS = ("arguments", "parameters", "args", "params", "input", "tool_input", "action_input")
LIST_KEYS = ("tool_calls", "tool_uses", "function_calls", "calls")

_FUNCTION_TAG = re.compile(
    r"<(?:function=|invoke name=)\s*[\"']?([\w.\-]+)[\"']?\s*>(.*?)(?=</?function|</?invoke|$)", re.DOTALL
)
_PARAMETER_TAG = re.compile(
    r"<(?:parameter=|parameter name=)\s*[\"']?([\w.\-]+)[\"']?[^>]*>\n?(.*?)\n?</parameter>", re.DOTALL
)
_ARG_PAIR = re.compile(r"<arg_key>\s*(.*?)\s*</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_GLM_NAME = re.compile(r"(?:<tool_call>)?\s*([\w.\-]+)\s*(?=<arg_key>|</tool_call>|$)")
_NAME_THEN_OBJECT = re.compile(
    r"([A-Za-z_][\w.\-]*)(?::\d+)?"
    r"(?:\[CALL_ID\]\w+|\[ARGS\]|<[|｜][^<>|｜]*[|｜]>|<｜tool▁sep｜>|```(?:json)?|json(?=\s*<)|[\s>=:)\"'])*"  # noqa: RUF001 - DeepSeek's marks really are full width
    r"(?=\{)"
)
_CALL_EXPRESSION = re.compile(r"([A-Za-z_]\w*)(?:\.call)?\(")
_GEMMA_QUOTE = re.compile(r"<escape>|<\|\"\|>")
_GEMMA_CALL = re.compile(r"call:([\w.\-]+)(?=\{)")
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_]\w*)\s*:")


@dataclass(frozen=True, slots=True)
class LeakedCall:
    """A call that was found in text.

    Attributes:
        name: Name of an offered tool.
        arguments: An object, or text that should be one.
    """

    name: str
    arguments: Any


def read_leaked_calls(text: str, tools: Tools) -> list[LeakedCall]:
    """Find the calls in a piece of text, in order.

    Args:
        text: The text with its marks.
        tools: The offered tools.

    Returns:
        The calls whose name is an offered tool; empty if there is none, or if they are cut off.
    """
    for dialect in (_tagged, _gemma, _named_objects, _json_values, _expressions):
        if calls := list(dialect(text, tools)):
            return calls
    return []


def calls_in_value(value: Any, tools: Tools) -> Iterator[LeakedCall]:  # noqa: ANN401 - JSON
    """Find the calls in a JSON value: an object with a name, a list of them, or one with ``tool_calls``."""
    if isinstance(value, list):
        for each in value:
            yield from calls_in_value(each, tools)
    elif isinstance(value, dict):
        nested = next((value[key] for key in (*LIST_KEYS, "function") if isinstance(value.get(key), list | dict)), None)
        if nested is not None:
            yield from calls_in_value(nested, tools)
            return
        name = next((value[key] for key in NAME_KEYS if isinstance(value.get(key), str)), "")
        if (name := clean_name(name, tools)) in tools:
            yield LeakedCall(name, next((value[key] for key in ARGUMENT_KEYS if key in value), None))
        elif len(value) == 1 and (only := next(iter(value))) in tools and isinstance(value[only], dict):
            yield LeakedCall(only, value[only])


def _tagged(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """Calls with a tag for each parameter: Qwen-Coder, MiniMax, Claude-like ones, GLM."""
    for match in _FUNCTION_TAG.finditer(text):
        name, parameters = clean_name(match.group(1), tools), _PARAMETER_TAG.findall(match.group(2))
        if name in tools and (parameters or not match.group(2).strip()):
            yield LeakedCall(name, _typed(parameters, tools[name]))
    if "<arg_key>" in text or "</tool_call>" in text:
        for part in text.split("</tool_call>"):
            named = _GLM_NAME.match(part.lstrip())
            name = clean_name(named.group(1), tools) if named is not None else ""
            if name in tools:
                yield LeakedCall(name, _typed(_ARG_PAIR.findall(part), tools[name]))


def _typed(parameters: list[tuple[str, str]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Tags hold text only, so the tool's schema says what is a string and what a number, a list or a truth value."""
    arguments: dict[str, Any] = {}
    for key, text in parameters:
        kind = schema.get(key, {}).get("type") if isinstance(schema.get(key), dict) else None
        arguments[key] = text
        if kind != "string":
            try:
                arguments[key] = json.loads(text)
            except (ValueError, RecursionError):
                arguments[key] = {"True": True, "False": False, "None": None}.get(text.strip(), text)
    return arguments


def _gemma(text: str, tools: Tools) -> Iterator[LeakedCall]:
    for match in _GEMMA_CALL.finditer(text):
        body = _BARE_KEY.sub(r'\1"\2":', _GEMMA_QUOTE.sub('"', text[match.end() :]))
        found = read_value(body)
        if found is not None and (name := clean_name(match.group(1), tools)) in tools:
            yield LeakedCall(name, found[0])


def _named_objects(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """``get_weather{…}`` with all that stands between name and object in one dialect or another."""
    position = 0
    while (match := _NAME_THEN_OBJECT.search(text, position)) is not None:
        position = match.end()
        name = clean_name(match.group(1), tools)
        found = read_value(text[position:]) if name in tools else None
        # In {"name": "get_weather", "arguments": {…}} too a name stands before an object, but as a value or a key.
        if found is not None and not text[: match.start()].rstrip().endswith(('"', "'", ",", "{", ":")):
            yield LeakedCall(name, found[0])
            position += found[1]


def _json_values(text: str, tools: Tools) -> Iterator[LeakedCall]:
    position = 0
    while position < len(text):
        if text[position] in "{[" and (found := read_value(text[position:])) is not None:
            yield from calls_in_value(found[0], tools)
            position += found[1]
        else:
            position += 1


def _expressions(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """``get_weather(city="Oslo")``, as Python-minded models write it."""
    for match in _CALL_EXPRESSION.finditer(text):
        if match.group(1) not in tools:
            continue
        arguments = _keywords(text[match.start() :].replace(".call(", "(", 1), list(tools[match.group(1)]))
        if arguments is not None:
            yield LeakedCall(match.group(1), arguments)


def _keywords(text: str, parameter_names: list[str]) -> dict[str, Any] | None:
    """The arguments of the call expression at the beginning of a text, or None if it is not whole."""
    for end in (position + 1 for position, char in enumerate(text) if char == ")"):
        try:
            call = ast.parse(text[:end], mode="eval").body
            if isinstance(call, ast.Call):
                values = dict(zip(parameter_names, map(ast.literal_eval, call.args), strict=False))
                return values | {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue
    return None
