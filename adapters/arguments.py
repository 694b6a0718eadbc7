"""Reading the arguments of a tool call, however a model or a server wrote them down.

What was meant is read; what is merely cut off is never completed, because half a call turns off the wrong lights.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_DECODER = json.JSONDecoder(strict=False)  # raw newlines inside strings are common
_BAD_ESCAPE = re.compile(r'\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_CONSTANTS = {"true": True, "false": False, "null": None}
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
        return _object(raw), None
    except _UnreadableError as error:
        return {}, str(error)
    except (RecursionError, MemoryError):
        return {}, "The arguments are nested too deeply."


def is_whole(raw: Any) -> bool:  # noqa: ANN401 - as above
    """Whether arguments are a complete object as they stand, so that nothing can be missing at their end."""
    if isinstance(raw, str):
        try:
            raw = _DECODER.decode(raw.strip())
        except (ValueError, RecursionError):
            return False
    return isinstance(raw, dict)


def read_value(text: str) -> tuple[Any, int] | None:
    """Read the JSON or Python value at the beginning of a text.

    Returns:
        The value and where it ends, or None if there is none.
    """
    try:
        return _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        end = _closing(text)
        if end is None:
            return None
        try:
            return _loose(text[:end]), end
        except _UnreadableError:
            return None


def _object(raw: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
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
        message = f"The arguments are no object but a {type(value).__name__}."
        raise _UnreadableError(message)
    return {str(key): each for key, each in value.items()}


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
        message = "The arguments are no JSON."
        raise _UnreadableError(message)
    values = _objects(text[start:])
    if not values:
        message = "The arguments are cut off or no JSON."
        raise _UnreadableError(message)
    meant = [value for value in values if value] or values[:1]
    if any(value != meant[0] for value in meant):
        message = "The arguments are several different objects."
        raise _UnreadableError(message)
    return meant[0]


def _objects(text: str) -> list[Any]:
    """All objects that follow each other directly; whatever stands behind them is a server's litter."""
    values = []
    while text.startswith("{"):
        found = read_value(text)
        if found is None:
            break
        value, end = found
        values.append(value)
        text = text[end:].lstrip(" \n\r\t,;")
    return values


def _closing(text: str) -> int | None:
    """Where the bracket at the beginning is closed, outside of strings; None if it never is."""
    depth, quote, skip = 0, "", False
    for position, char in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'" and depth:
            quote = char
        elif char in "{[(":
            depth += 1
        elif char in "}])":
            depth -= 1
            if depth <= 0:
                return position + 1 if depth == 0 else None
    return None


def _loose(text: str) -> Any:  # noqa: ANN401 - a value
    """Read JSON with bad escapes or trailing commas, or a Python literal."""
    repaired = _TRAILING_COMMA.sub("", _BAD_ESCAPE.sub(r"\\\\", text))
    try:
        return _DECODER.decode(repaired)
    except ValueError:
        pass
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return ast.literal_eval(_Constants().visit(tree))
    except (ValueError, SyntaxError, TypeError) as error:
        message = "The arguments are no JSON."
        raise _UnreadableError(message) from error


class _Constants(ast.NodeTransformer):
    """Lets ``true``, ``false`` and ``null`` stand in a Python literal."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in _CONSTANTS:
            return ast.copy_location(ast.Constant(_CONSTANTS[node.id]), node)
        return node
