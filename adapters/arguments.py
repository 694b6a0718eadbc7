"""Reading the arguments of a tool call, however a model or a server wrote them down.

What was meant is read; what is merely cut off is never completed, because half a call turns off the wrong lights.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

_DECODER = json.JSONDecoder(strict=False)  # raw newlines inside strings are common
_SPECIAL = re.compile(r"\\.?|[\"'{}\[\]()]", re.DOTALL)
_TO_MEND = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'  # a string, so that nothing inside of one is taken for what follows here
    r"|,(?=\s*[}\]])|//[^\n]*|/\*.*?(?:\*/|\Z)",  # a trailing comma, comments
    re.DOTALL,
)
_ESCAPE = re.compile(r"""\\(?:([\\/"bfnrt]|u[0-9a-fA-F]{4})|(')|)""")
_CONSTANTS = {"true": True, "false": False, "null": None}
_QUOTES, _OPENING, _CLOSING = frozenset("\"'"), frozenset("{[("), frozenset("}])")
_GAPS = frozenset(" \n\r\t,;")
_MOST_LAYERS = 3  # arguments that were encoded twice occur, more often than that never


class _UnreadableError(ValueError):
    """The arguments cannot be read; the text says why."""


def read_arguments(raw: Any) -> tuple[dict[str, Any], str | None]:  # noqa: ANN401 - whatever a server sent
    """Read arguments; never raises.

    Args:
        raw: A JSON string, an object, None, or anything else.

    Returns:
        The arguments and None, or ``{}`` and the reason why they could not be read. Empty arguments are ``{}``
        with no reason: tools without parameters get them.
    """
    try:
        return _as_json(_object(raw)), None
    except _UnreadableError as error:
        return {}, str(error)
    except RecursionError:
        return {}, "The arguments are nested too deeply."


def is_whole(raw: Any) -> bool:  # noqa: ANN401 - as above
    """Whether arguments are a complete object as they stand, so that nothing can be missing at their end."""
    if isinstance(raw, str):
        text = raw.strip()
        if not text.endswith("}"):
            return False  # seen at once, and asked after each piece of a long call
        try:
            raw = _DECODER.decode(text)
        except (ValueError, RecursionError):
            return False
    return isinstance(raw, dict)


def read_value(text: str, start: int = 0) -> tuple[Any, int] | None:
    """Read the JSON or Python value at a place in a text.

    Returns:
        The value and where it ends, or None if there is none.
    """
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        end = Brackets().closed_at(text, start)
    if end is None:
        return None
    try:
        return _loose(text[start:end]), end
    except _UnreadableError:
        return None


def read_expression(text: str) -> ast.expr:
    """Parse a Python expression, in which ``true``, ``false`` and ``null`` may stand too.

    Raises:
        ValueError: If it is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns about escapes and numbers that a model wrote
            tree: ast.expr = _Constants().visit(ast.parse(text, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("It is no Python expression.") from error
    return tree


class Brackets:
    """Finds where a bracket is closed, outside of strings, in a text that grows; what it has seen it reads once."""

    def __init__(self) -> None:
        self._seen = 0
        self._depth = 0
        self._quote = ""

    def closed_at(self, text: str, start: int = 0) -> int | None:
        """Return where the bracket is closed, or None if it is not yet; not to be asked again once it was.

        Args:
            text: The text, which may have grown since the last call.
            start: Where the bracket stands in it.
        """
        while (match := _SPECIAL.search(text, start + self._seen)) is not None:
            if match.group() == "\\":  # the end of what has come: what it escapes follows
                self._seen = match.start() - start
                return None
            self._seen = match.end() - start
            self._take(match.group())
            if self._depth <= 0:
                return match.end()
        self._seen = len(text) - start
        return None

    def _take(self, char: str) -> None:
        if self._quote:
            self._quote = "" if char == self._quote else self._quote
        elif char in _QUOTES:
            self._quote = char
        else:
            self._depth += (char in _OPENING) - (char in _CLOSING)


def _object(raw: Any) -> dict[Any, Any]:  # noqa: ANN401 - as above
    value = raw
    for _ in range(_MOST_LAYERS):
        if not isinstance(value, str):
            break
        value = _parse(value)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _UnreadableError(f"The arguments are no object but a {type(value).__name__}.")
    return value


def _as_json(arguments: dict[Any, Any]) -> dict[str, Any]:
    """Leave what JSON can say again, because the next request repeats it: no sets, no NaN, no half characters."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise _UnreadableError("The arguments hold a value that is no JSON.") from error
    values: dict[str, Any] = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return values


def _parse(text: str) -> Any:  # noqa: ANN401 - JSON
    text = text.strip()
    if not text:
        return None
    try:
        return _DECODER.decode(text)
    except ValueError:
        pass
    start = text.find("{")
    if start < 0:
        raise _UnreadableError("The arguments are no JSON.")
    values = _objects(text, start)
    if not values:
        raise _UnreadableError("The arguments are cut off or no JSON.")
    meant = [value for value in values if value] or values[:1]
    if any(value != meant[0] for value in meant):
        raise _UnreadableError("The arguments are several different objects.")
    return meant[0]


def _objects(text: str, position: int) -> list[Any]:
    """All objects that follow each other directly; whatever stands behind them is a server's litter."""
    values = []
    while text.startswith("{", position) and (found := read_value(text, position)) is not None:
        value, position = found
        values.append(value)
        while text[position : position + 1] in _GAPS:
            position += 1
    return values


def _loose(text: str) -> Any:  # noqa: ANN401 - a value
    """Read JSON with bad escapes, trailing commas or comments, or a Python literal."""
    try:
        return _DECODER.decode(_TO_MEND.sub(_mended, text))
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(read_expression(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise _UnreadableError("The arguments are no JSON.") from error


def _mended(match: re.Match[str]) -> str:
    token = match.group()
    return _ESCAPE.sub(_mended_escape, token) if token[0] == '"' else ""


def _mended_escape(match: re.Match[str]) -> str:
    """What JSON knows stays; it needs none before an apostrophe; any other backslash means itself."""
    known, apostrophe = match.groups()
    return match.group() if known else apostrophe or r"\\"


class _Constants(ast.NodeTransformer):
    """Lets ``true``, ``false`` and ``null`` stand in a Python literal."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in _CONSTANTS:
            return ast.copy_location(ast.Constant(_CONSTANTS[node.id]), node)
        return node
