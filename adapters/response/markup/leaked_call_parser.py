"""Read tool calls that a model wrote as text, in every known dialect.

Only a call of an offered tool counts. ``scanner`` finds where such text begins and ends; this module reads a piece of
it that is complete. Between marks a call is meant, so it is read leniently. Without marks the text may be an answer
about a tool, so it must be nothing but calls.
"""

# pyright: reportCallIssue=false, reportArgumentType=false
# Values of any JSON are narrowed by comprehensions that pyright does not follow.

from __future__ import annotations

import ast
import itertools
import json
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters._arguments import Brackets, Values, goes_on, read_arguments, read_expressions
from adapters.response.chunks import CallFragment
from adapters.response.tool_calls import CallAssembler
from adapters.response.tool_schemas import clean_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from adapters.response.tool_schemas import Tools
    from adapters.types import Json, ToolCall

NAME_KEYS = ("name", "tool_name", "function_name", "tool", "function", "recipient_name", "action")
ARGUMENT_KEYS = ("arguments", "parameters", "args", "params", "input", "tool_input", "action_input")
LIST_KEYS = ("tool_calls", "tool_uses", "function_calls", "calls")
META_KEYS = ("id", "type", "index")

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
_BETWEEN_OBJECTS = re.compile(r"[\s,;]*")
_BRACKET = re.compile(r"\[(?!ARGS\]|CALL_ID\]|TOOL_CALLS\])|[{(]", re.IGNORECASE)
_LITTER_BEHIND = re.compile(r"[\])}>;,`\"']*")
_WORD = re.compile(r"\w")
_CALL_SYNTAX = re.compile(
    rf"[\"'](?:{'|'.join(NAME_KEYS)})[\"']\s*:\s*[\"'][\w.\-]|<parameter[= ]|<arg_key>|<function=|<invoke name="
)
_KEYS_BESIDE_ARGUMENTS = frozenset({*NAME_KEYS, *META_KEYS, "tool_call_id", "thought", "reasoning"})
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
        # In JSON the name is inside the braces, in all others before them: what else is inside is only content.
        dialects.insert(0, _json_values)
    return next((calls for dialect in dialects if (calls := list(dialect(text, tools)))), [])


def read_bare_calls(text: str, tools: Tools) -> list[LeakedCall]:
    """Read a text without marks that is nothing but calls of offered tools.

    Args:
        text: JSON, or calls in Python.
        tools: The offered tools.

    Returns:
        The calls in order; empty if the text holds anything else, also if that is an argument that the tool lacks.
    """
    text = text.strip()
    values, position = _values(text), 0
    calls: list[LeakedCall] = []
    try:
        while position < len(text):
            found = values.read(position) if text[position] in "{[" else None
            if found is None:
                return _python_calls(text, tools) if not calls else []
            calls += _exact_calls(found[0], tools)
            gap = _BETWEEN_OBJECTS.match(text, found[1])
            assert gap is not None  # noqa: S101 - it matches the empty string at least
            position = gap.end()
    except _NotCallsError:
        return []
    return calls


def looks_like_call(text: str, tools: Tools) -> bool:
    """Whether a text between marks that cannot be read was meant as a call, and does not just describe one."""
    return any(name in text for name in tools) or _CALL_SYNTAX.search(text) is not None


def end_of_calls(text: str, tools: Tools, calls: Sequence[LeakedCall]) -> int:
    """Return where the calls end in a text without a closing mark; what follows is ordinary text.

    Args:
        text: The text with its opening mark.
        tools: The offered tools.
        calls: The calls that were read in it.
    """
    ends: list[int] = []
    while len(ends) < _MOST_TRIES and (opened := _BRACKET.search(text, ends[-1] if ends else 0)) is not None:
        closed = Brackets().closed_at(text, opened.start())
        if closed is None:
            break
        ends.append(closed)
    first = bisect_left(ends, True, key=lambda end: read_leaked_calls(text[:end], tools) == list(calls))  # noqa: FBT003 - the key to search for
    if first == len(ends):
        return len(text)
    litter = _LITTER_BEHIND.match(text, ends[first])
    assert litter is not None  # noqa: S101 - it matches the empty string at least
    return ends[first] if _WORD.search(text, litter.end()) else len(text)


def finish_calls(calls: Iterable[LeakedCall], tools: Tools) -> list[ToolCall]:
    """Turn leaked calls into the calls that the server would have sent."""
    assembler = CallAssembler(tools)
    assembler.feed([CallFragment(None, None, call.name, call.arguments, {}) for call in calls], whole=True)
    return assembler.finish(cut=False)


def _values(text: str) -> Values:
    """Read the values in a text with work that grows as the text does, though each try may read on to its end."""
    return Values(text, min(2_000 + 4 * len(text), _MOST_SLOPPY_CHARS))


def calls_in_value(value: Json, tools: Tools, levels: int = _MOST_LEVELS) -> Iterator[LeakedCall]:
    """Find the calls in a JSON value: an object with a name, a list of them, or one with ``tool_calls``."""
    if levels == 0:
        return
    if isinstance(value, list):
        for item in value:
            yield from calls_in_value(item, tools, levels - 1)
    elif isinstance(value, dict):
        nested = next((value[key] for key in (*LIST_KEYS, "function") if isinstance(value.get(key), list | dict)), None)
        if nested is not None:
            yield from calls_in_value(nested, tools, levels - 1)
            return
        name = next((value[key] for key in NAME_KEYS if isinstance(value.get(key), str)), "")
        if (name := clean_name(name, tools)) in tools:
            yield from _with_arguments(name, value, tools)
        elif len(value) == 1 and (only := next(iter(value))) in tools and isinstance(value[only], dict):
            yield LeakedCall(only, value[only])


def _with_arguments(name: str, value: Mapping[str, Any], tools: Tools) -> Iterator[LeakedCall]:
    """Yield a call with the arguments beside its name, or none if there are other keys in their place."""
    arguments = next((value[key] for key in ARGUMENT_KEYS if key in value), None)
    beside = {key: item for key, item in value.items() if key not in _KEYS_BESIDE_ARGUMENTS}
    if arguments is not None or not beside:
        yield LeakedCall(name, arguments)
    elif beside.keys() <= tools[name].keys():
        yield LeakedCall(name, beside)


class _NotCallsError(Exception):
    """A value is not, or not only, calls of offered tools."""


def _exact_calls(value: Json, tools: Tools, levels: int = _MOST_LEVELS) -> Iterator[LeakedCall]:
    """Read a JSON value that is nothing but calls; raise if it is anything else."""
    if isinstance(value, list) and levels:
        for item in value:
            yield from _exact_calls(item, tools, levels - 1)
        return
    keys = value.keys() - META_KEYS if isinstance(value, dict) and levels else set()
    for key in keys if len(keys) == 1 else ():
        if (key in LIST_KEYS and isinstance(value[key], list)) or key == "function":
            yield from _exact_calls(value[key], tools, levels - 1)
            return
    names, arguments = [key for key in keys if key in NAME_KEYS], [key for key in keys if key in ARGUMENT_KEYS]
    if (len(names), len(arguments), len(keys)) != (1, 1, 2):
        raise _NotCallsError
    name, written = value[names[0]], value[arguments[0]]
    name = clean_name(name, tools) if isinstance(name, str) else ""
    if not _fits(name, written, tools):
        raise _NotCallsError
    yield LeakedCall(name, written)


def _fits(name: str, arguments: Json, tools: Tools) -> bool:
    """Whether a tool is offered and takes such arguments, so that they are not its description or its result."""
    if name not in tools or not isinstance(arguments, dict | str | None):
        return False
    values, error = read_arguments(arguments)
    return error is None and all(_is_value_for(tools[name].get(key), item) for key, item in values.items())


def _is_value_for(schema: Json, value: Json) -> bool:
    """Whether a value may be one for a parameter; None as a schema means that there is no such parameter."""
    if schema is None:
        return False
    kind = schema.get("type") if isinstance(schema, dict) else None
    return kind is None or (value != kind and (not isinstance(value, dict) or kind == "object" or "object" in kind))


def _tagged(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """Read calls with a tag for each parameter: Qwen-Coder, MiniMax, Claude-like ones, GLM."""
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
    """Return the names in opening tags with the text up to the closing tag; None if the last one is cut off."""
    pairs, position = [], 0
    while (opened := opening.search(text, position)) is not None:
        closed = closing.search(text, opened.end())
        if closed is None:
            return None
        pairs.append((opened.group(1).strip(), text[opened.end() : closed.start()]))
        position = closed.end()
    return pairs


def _typed(parameters: list[tuple[str, str]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Type the values of tags, which hold text only, by the tool's schema."""
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
    if isinstance(choice, list) and any(_takes_text(option) for option in choice):
        return True
    return "string" in kind if isinstance(kind, list) else kind == "string"


def _gemma(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """Read ``call:get_weather{city:<escape>Oslo<escape>}``."""
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
    """Read ``get_weather{…}``, with anything that a dialect has between the name and the object."""
    position = tries = 0
    values = _values(text)
    while tries < _MOST_TRIES and (match := _NAME_THEN_OBJECT.search(text, position)) is not None:
        position = match.end()
        name = clean_name(match.group(1), tools)
        # In {"name": "get_weather", "arguments": {…}} too a name precedes an object, but as a value or a key.
        before = text[max(match.start() - _NEAR_CHARS, 0) : match.start()].rstrip()
        if name not in tools or before.endswith(('"', "'", ",", "{", ":")):
            continue
        tries += 1
        if (found := values.read(position)) is not None and not goes_on(text, found[1]):
            yield LeakedCall(name, found[0])
            position = found[1]


def _json_values(text: str, tools: Tools) -> Iterator[LeakedCall]:
    position = tries = 0
    values = _values(text)
    while tries < _MOST_TRIES and (opened := _OBJECT.search(text, position)) is not None:
        found = values.read(opened.start())
        if found is None or goes_on(text, found[1]):
            tries += 1
            position = opened.end()
        else:
            yield from calls_in_value(found[0], tools)
            position = found[1]


def _expressions(text: str, tools: Tools) -> Iterator[LeakedCall]:
    """Read ``get_weather(city="Oslo")``, as models trained on Python write it."""
    known = (match for match in _CALL_EXPRESSION.finditer(text) if match.group(1) in tools)
    values = _values(text)
    for match in itertools.islice(known, _MOST_TRIES):
        written = values.brackets(match.end())
        arguments = _keywords(written, list(tools[match.group(1)])) if written is not None else None
        if arguments is not None:
            yield LeakedCall(match.group(1), arguments)


def _python_calls(text: str, tools: Tools) -> list[LeakedCall]:
    """Read Python code that is nothing but calls, in a list or in statements; empty if it is anything else."""
    try:
        expressions = read_expressions(text)
    except ValueError:
        return []
    if len(expressions) == 1 and isinstance(expressions[0], ast.List):
        expressions = expressions[0].elts
    calls = []
    for expression in expressions:
        call = _unprinted(expression)
        name = clean_name(ast.unparse(call.func), tools) if isinstance(call, ast.Call) else ""
        if name not in tools or not isinstance(call, ast.Call):
            return []
        arguments = _literal_arguments(call, list(tools[name]))
        if arguments is None or len(call.args) > len(tools[name]) or not _fits(name, arguments, tools):
            return []
        calls.append(LeakedCall(name, arguments))
    return calls


def _unprinted(expression: ast.expr) -> ast.expr:
    """Return the argument of ``print(…)``, as Gemini's tool code has it, or the expression."""
    match expression:
        case ast.Call(func=ast.Name(id="print"), args=[printed], keywords=[]):
            return printed
        case _:
            return expression


def _keywords(parentheses: str, parameter_names: list[str]) -> dict[str, Any] | None:
    """Read the arguments between the parentheses of a call; None if they are not all plain values."""
    try:
        expressions = read_expressions(f"call{parentheses}")
    except ValueError:
        return None
    call = expressions[0]
    return _literal_arguments(call, parameter_names) if isinstance(call, ast.Call) else None  # a comment may hide one


def _literal_arguments(call: ast.Call, parameter_names: list[str]) -> dict[str, Any] | None:
    """Read the arguments of a call; None if they are not all plain values."""
    try:
        values = list(map(ast.literal_eval, call.args))
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    except (ValueError, TypeError, RecursionError):
        return None
    if len(values) == 1 and isinstance(values[0], dict) and values[0].keys() <= set(parameter_names):
        return values[0] | named  # get_weather({"city": "Oslo"})
    return dict(zip(parameter_names, values, strict=False)) | named
