"""Tool calls that a model wrote as text: reading them in every dialect we know.

Only a call of an offered tool counts. Where such text begins and ends in a stream is ``text_filter``'s business;
this module looks at a piece of it that is complete.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters._arguments import Values, read_expression
from adapters.response.chunks import CallFragment
from adapters.response.tool_calls import CallAssembler, clean_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adapters.response.tool_calls import FinishedCall, Tools
    from adapters.types import Json

NAME_KEYS = ("name", "tool_name", "function_name", "tool", "function", "recipient_name", "action")
ARGUMENT_KEYS = ("arguments", "parameters", "args", "params", "input", "tool_input", "action_input")
LIST_KEYS = ("tool_calls", "tool_uses", "function_calls", "calls")

_FUNCTION_TAG = re.compile(
    r"<(?:function=|invoke name=)\s*[\"']?([\w.\-]+)[\"']?\s*>(.*?)(?=(<)/?(?:function|invoke)|\Z)", re.DOTALL
)
_PARAMETER_TAG = re.compile(r"<(?:parameter=|parameter name=)\s*[\"']?([\w.\-]++)[\"']?+[^<>]*+>\n?")
_PARAMETER_END = re.compile(r"\n?(?:</parameter>|(?=<parameter[= ]))")
_GLM_NAME = re.compile(r"(?:<tool_call>)?\s*([\w.\-]+)\s*(?=<arg_key>|</tool_call>|\Z)")
_GLM_KEY = re.compile(r"<arg_key>([^<]*)</arg_key>\s*<arg_value>")
_GLM_VALUE_END = re.compile(r"</arg_value>")
_NAME_THEN_OBJECT = re.compile(
    # Possessive and bounded: a model that fell into a loop must not send the search into one.
    r"(?<![A-Za-z0-9_.\-])([A-Za-z_][\w.\-]{0,127}+)(?::\d+)?"
    r"(?:\[CALL_ID\]\w{1,64}+|\[ARGS\]|<[|｜][^<>|｜]{0,64}[|｜]>|```(?:json)?|json(?=\s{0,9}<)|[\s>=:)\"']{1,64}+){0,9}+"  # noqa: RUF001 - DeepSeek's marks really are full width
    r"(?=\{)"
)
_CALL_EXPRESSION = re.compile(r"(?<![A-Za-z0-9_])([A-Za-z_]\w{0,127}+)(?:\.call)?(?=\()")
_GEMMA_CALL = re.compile(r"call:([\w.\-]+)(?=\{)")
_GEMMA_STRING = re.compile(r"(?P<quote><escape>|<\|\"\|>)(.*?)(?P=quote)", re.DOTALL)
_STRING_OR_BARE_KEY = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|([{,]\s*)([A-Za-z_]\w*)\s*:', re.DOTALL)
_OBJECT = re.compile(r"\{(?=\s*[\"'])")
_NEAR_CHARS = 20
_MOST_SLOPPY_CHARS = 50_000
_MOST_TRIES = 20  # more calls than an answer has; a model that fell into a loop opens brackets without end
_MOST_LEVELS = 5  # a list of calls in an object in a list; more is no call


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
    if "\\u" not in text and not any(name in text for name in tools):
        return []
    dialects = [_tagged, _gemma, _named_objects, _expressions, _json_values]
    head = text[: max(text.find("{"), 0)]
    if not any(name in head for name in tools):
        # In JSON the name stands inside the braces, in all others before: what else is inside is only content.
        dialects.insert(0, _json_values)
    return next((calls for dialect in dialects if (calls := list(dialect(text, tools)))), [])


def finished_calls(text: str, tools: Tools) -> list[FinishedCall]:
    """Find the calls in a piece of text, as they would have come had the model not written them there."""
    assembler = CallAssembler(tools)
    leaked = read_leaked_calls(text, tools)
    assembler.feed([CallFragment(None, None, call.name, call.arguments, {}) for call in leaked], whole=True)
    return assembler.finish(cut=False)


def _values(text: str) -> Values:
    """Read the values in a text with work that grows as the text does, though each try may read on to its end."""
    return Values(text, min(2_000 + 4 * len(text), _MOST_SLOPPY_CHARS))


def calls_in_value(value: Json, tools: Tools, levels: int = _MOST_LEVELS) -> Iterator[LeakedCall]:
    """Find the calls in a JSON value: an object with a name, a list of them, or one with ``tool_calls``."""
    if levels == 0:
        return
    if isinstance(value, list):
        for each in value:
            yield from calls_in_value(each, tools, levels - 1)
    elif isinstance(value, dict):
        nested = next((value[key] for key in (*LIST_KEYS, "function") if isinstance(value.get(key), list | dict)), None)
        if nested is not None:
            yield from calls_in_value(nested, tools, levels - 1)
            return
        name = next((value[key] for key in NAME_KEYS if isinstance(value.get(key), str)), "")
        if (name := clean_name(name, tools)) in tools:
            yield LeakedCall(name, next((value[key] for key in ARGUMENT_KEYS if key in value), None))
        elif len(value) == 1 and (only := next(iter(value))) in tools and isinstance(value[only], dict):
            yield LeakedCall(only, value[only])


def _tagged(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """Calls with a tag for each parameter: Qwen-Coder, MiniMax, Claude-like ones, GLM."""
    for match in _FUNCTION_TAG.finditer(text):
        written, body, closed = match.groups()
        if body.lstrip().startswith("{"):
            return  # the arguments are JSON: a tag inside of them is content
        name = clean_name(written, tools)
        # A parameter without an end of its own ends with its function; without that too, it is cut off.
        parameters = _pairs(f"{body}</parameter>" if closed else body, _PARAMETER_TAG, _PARAMETER_END)
        if name in tools and (parameters or (parameters is not None and not body.strip())):
            yield LeakedCall(name, _typed(parameters, tools[name]))
    if "<arg_key>" in text or "</tool_call>" in text:
        for part in text.split("</tool_call>"):
            named = _GLM_NAME.match(part.lstrip())
            name = clean_name(named.group(1), tools) if named is not None else ""
            if name in tools and (parameters := _pairs(part, _GLM_KEY, _GLM_VALUE_END)) is not None:
                yield LeakedCall(name, _typed(parameters, tools[name]))


def _pairs(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> list[tuple[str, str]] | None:
    """The names in opening tags, each with what follows up to its closing tag; None if the last one is cut off."""
    pairs, position = [], 0
    while (opened := opening.search(text, position)) is not None:
        closed = closing.search(text, opened.end())
        if closed is None:
            return None
        pairs.append((opened.group(1).strip(), text[opened.end() : closed.start()]))
        position = closed.end()
    return pairs


def _typed(parameters: list[tuple[str, str]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Tags hold text only, so the tool's schema says what is a string and what a number, a list or a truth value."""
    arguments: dict[str, Any] = {}
    for key, text in parameters:
        arguments[key] = text
        if not _takes_text(schema.get(key)):
            try:
                arguments[key] = json.loads(text)
            except (ValueError, RecursionError):
                arguments[key] = {"True": True, "False": False, "None": None}.get(text.strip(), text)
    return arguments


def _takes_text(schema: Json) -> bool:
    """Whether a parameter may be a string, also beside other types."""
    if not isinstance(schema, dict):
        return False
    kind, choice = schema.get("type"), schema.get("anyOf")
    if isinstance(choice, list) and any(_takes_text(each) for each in choice):
        return True
    return "string" in kind if isinstance(kind, list) else kind == "string"


def _gemma(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """``call:get_weather{city:<escape>Oslo<escape>}``."""
    begins = _GEMMA_CALL.search(text)
    if begins is None:
        return
    text = text[begins.start() :]
    quoted = _GEMMA_STRING.sub(lambda string: json.dumps(string.group(2)), text)
    quoted = _STRING_OR_BARE_KEY.sub(_quote_key, quoted)
    values = _values(quoted)
    known = (match for match in _GEMMA_CALL.finditer(quoted) if clean_name(match.group(1), tools) in tools)
    for match in itertools.islice(known, _MOST_TRIES):
        if (found := values.read(match.end())) is not None:
            yield LeakedCall(clean_name(match.group(1), tools), found[0])


def _quote_key(match: re.Match[str]) -> str:
    before, key = match.groups()
    return f'{before}"{key}":' if key else match.group()


def _named_objects(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """``get_weather{…}`` with all that stands between name and object in one dialect or another."""
    position = tries = 0
    values = _values(text)
    while tries < _MOST_TRIES and (match := _NAME_THEN_OBJECT.search(text, position)) is not None:
        position = match.end()
        name = clean_name(match.group(1), tools)
        # In {"name": "get_weather", "arguments": {…}} too a name stands before an object, but as a value or a key.
        before = text[max(match.start() - _NEAR_CHARS, 0) : match.start()].rstrip()
        if name not in tools or before.endswith(('"', "'", ",", "{", ":")):
            continue
        tries += 1
        if (found := values.read(position)) is not None:
            yield LeakedCall(name, found[0])
            position = found[1]


def _json_values(text: str, tools: Tools) -> Iterator[LeakedCall]:
    position = tries = 0
    values = _values(text)
    while tries < _MOST_TRIES and (opened := _OBJECT.search(text, position)) is not None:
        found = values.read(opened.start())
        if found is None:
            tries += 1
            position = opened.end()
        else:
            yield from calls_in_value(found[0], tools)
            position = found[1]


def _expressions(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """``get_weather(city="Oslo")``, as Python-minded models write it."""
    known = (match for match in _CALL_EXPRESSION.finditer(text) if match.group(1) in tools)
    values = _values(text)
    for match in itertools.islice(known, _MOST_TRIES):
        written = values.brackets(match.end())
        arguments = _keywords(written, list(tools[match.group(1)])) if written is not None else None
        if arguments is not None:
            yield LeakedCall(match.group(1), arguments)


def _keywords(parentheses: str, parameter_names: list[str]) -> dict[str, Any] | None:
    """The arguments between the parentheses of a call, or None if they are not all plain values."""
    try:
        call = read_expression(f"call{parentheses}")
        if not isinstance(call, ast.Call):
            return None  # a comment hid a parenthesis
        values = list(map(ast.literal_eval, call.args))
        named = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
        if len(values) == 1 and isinstance(values[0], dict) and values[0].keys() <= set(parameter_names):
            return values[0] | named  # get_weather({"city": "Oslo"})
        return dict(zip(parameter_names, values, strict=False)) | named
    except (ValueError, TypeError, RecursionError):
        return None
