"""Read the arguments of a tool call, in whatever form a model or a server wrote them.

Arguments in an unusual form are read. Arguments that are cut off are an error and are never completed, because half
of the arguments may mean another action.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import TYPE_CHECKING, Any

from adapters._unicode import encodable

if TYPE_CHECKING:
    from adapters.types import Json

_DECODER = json.JSONDecoder(strict=False)  # raw newlines inside strings are common
_OPEN_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+'  # possessive, so that no text makes a search slow
_STRING = rf'{_OPEN_STRING}"'
_QUOTED = _STRING.replace('"', "'")
_END = r"\\?\Z"  # of the text, in the middle of a string
_STRINGS = re.compile(f"{_STRING}|{_QUOTED}|[\"'].*", re.DOTALL)
_TOKENS = re.compile(rf"{_STRING}|{_QUOTED}|\\.|([{{\[(])|([}}\])])|([\"'\\])", re.DOTALL)
_OPENED, _CLOSED = 1, 2  # groups of _TOKENS; the third is a token that continues behind the end
_REST_OF_STRING = {
    quote: re.compile(rf"[^{quote}\\]*+(?:\\.[^{quote}\\]*+)*+(?:({quote})|(\\?))", re.DOTALL) for quote in "\"'"
}
_TO_REPAIR = re.compile(
    rf'{_OPEN_STRING}(?:"|{_END})'  # a string, so that its content is not taken for one of the next
    r"|,(?=\s*[}\]])|//[^\n]*|/\*.*?(?:\*/|\Z)",  # a trailing comma, comments
    re.DOTALL,
)
_ESCAPE = re.compile(r"""\\(?:([\\/"bfnrt]|u[0-9a-fA-F]{4})|(')|)""")
_CONSTANTS = {"true": True, "false": False, "null": None}
_GAP = re.compile(r"[ \n\r\t,;]*")
_KEY = re.compile(r"""\\?["'][^"'\\\n]{1,200}+\\?["']\s{0,20}+:""")
_NEXT_KEY = re.compile(rf"[\s,;}}\]]*{_KEY.pattern}")
_MALFORMED = re.compile(r"malformed|invalid|error", re.IGNORECASE)  # in a tag that a server puts in front
_REST_OF_OBJECT = re.compile(r'["}\]]\s*[,:}\]]')
_MOST_SLOPPY_CHARS = 65_536  # a longer text is read if it is JSON, and not at all if it only resembles it
_MOST_CODE_CHARS = 5_000  # of Python outside of strings: parsing it costs far more than reading JSON
_MOST_OBJECTS = 20
_COST_CHARS = 100  # what one try costs beside the characters
_MOST_LAYERS = 3  # arguments that were encoded twice occur, more often than that they do not


class _UnreadableError(ValueError):
    """The arguments cannot be read; the text says why."""


def read_arguments(raw: Json) -> tuple[dict[str, Json], str | None]:
    """Read arguments; never raises.

    Args:
        raw: A JSON string, an object, None, or anything else.

    Returns:
        The arguments and None, or ``{}`` and the reason why they could not be read. Empty arguments are ``{}``
        without a reason: tools without parameters get them.
    """
    try:
        return _as_json(_object(raw)), None
    except _UnreadableError as error:
        return {}, str(error)
    except RecursionError:
        return {}, "The arguments are nested too deeply."


def is_whole(raw: Json) -> bool:
    """Whether arguments are a complete object as they are, so that nothing can be missing at their end."""
    if isinstance(raw, str):
        text = raw.strip()
        if not text.endswith("}"):
            return False  # the usual case: this is called after each piece of a long call
        try:
            raw = _DECODER.decode(text)
        except (ValueError, RecursionError):
            return False
    return isinstance(raw, dict)


def goes_on(text: str, end: int) -> bool:
    """Whether a key follows the end of an object, so that the object was closed too early."""
    return _NEXT_KEY.match(text, end) is not None


def read_value(text: str, start: int = 0) -> tuple[Any, int] | None:
    """Read the JSON or Python value at a place in a text.

    Returns:
        The value and where it ends, or None if there is none.
    """
    return Values(text).read(start)


class Values:
    """Reads the values in a text. JSON costs nothing; the work for text that only resembles it is limited.

    Args:
        text: The text.
        most_chars: How many characters that are no JSON may be read.
    """

    def __init__(self, text: str, most_chars: int = _MOST_SLOPPY_CHARS) -> None:
        self._text = text
        self._most_chars = most_chars

    def read(self, start: int) -> tuple[Any, int] | None:
        """Read the value at a place; return it and where it ends, or None if there is none."""
        try:
            return _DECODER.raw_decode(self._text, start)
        except (ValueError, RecursionError):
            written = self.brackets(start)
        if written is None:
            return None
        try:
            return _read_loosely(written), start + len(written)
        except _UnreadableError:
            return None

    def brackets(self, start: int) -> str | None:
        """Return the text from the bracket at a place to the one that closes it, or None if there is none."""
        rest = self._text[start : start + self._most_chars]
        end = Brackets().closed_at(rest)
        self._most_chars = max(self._most_chars - (len(rest) if end is None else end) - _COST_CHARS, 0)
        return None if end is None else rest[:end]


def read_expressions(text: str) -> list[ast.expr]:
    """Parse Python expressions, each a statement of its own; ``true``, ``false`` and ``null`` are constants in them.

    Raises:
        ValueError: If the text is anything else, or too long.
    """
    if len(text) > _MOST_CODE_CHARS and len(_STRINGS.sub("", text)) > _MOST_CODE_CHARS:
        raise ValueError("The code is too long for an expression.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns about escapes and numbers that a model wrote
            statements = _Constants().visit(ast.parse(text)).body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("The text is no Python expression.") from error
    expressions = [statement.value for statement in statements if isinstance(statement, ast.Expr)]
    if len(expressions) != len(statements):
        raise ValueError("The text has statements that are no expressions.")
    return expressions


class Brackets:
    """Finds where a bracket is closed, outside of strings, in a text that grows. Each character is read once."""

    def __init__(self) -> None:
        self._seen = 0
        self._depth = 0
        self._quote = ""
        self._is_escaped = False  # the text so far ends in a backslash

    @property
    def in_string(self) -> bool:
        """Whether the text so far ends in a string."""
        return bool(self._quote)

    def closed_at(self, text: str, start: int = 0) -> int | None:
        """Return where the bracket is closed, or None if it is not yet. Do not call it again once it was.

        Args:
            text: The text, which may have grown since the last call.
            start: The place of the bracket in it.
        """
        end = self.feed(text, start + self._seen)
        self._seen = len(text) - start
        return end

    def feed(self, text: str, start: int = 0) -> int | None:
        """Take the next piece of a text, and return where in it the bracket is closed, or None."""
        if self._is_escaped and start < len(text):
            self._is_escaped, start = False, start + 1
        behind = self._behind_string(text, start)
        if behind is None:
            return None
        for token in _TOKENS.finditer(text, behind):
            if token.lastindex == _OPENED:
                self._depth += 1
            elif token.lastindex == _CLOSED:
                self._depth -= 1
                if self._depth <= 0:
                    return token.end()
            elif token.lastindex is not None:
                self._continue_behind(token)
                return None
        return None

    def _behind_string(self, text: str, start: int) -> int | None:
        """Return where the string ends that a place is in; None if it does not end."""
        if not self._quote or start == len(text):
            return start  # without new text, a backslash at the end still waits
        rest = _REST_OF_STRING[self._quote].match(text, start)
        assert rest is not None  # noqa: S101 - it matches the empty string at least
        if rest.group(1):
            self._quote = ""
            return rest.end()
        self._is_escaped = bool(rest.group(2))
        return None

    def _continue_behind(self, token: re.Match[str]) -> None:
        """Note that the text ends in a string, or behind a backslash."""
        if token.group() == "\\":
            self._is_escaped = True
        else:
            self._quote = token.group()
            self._behind_string(token.string, token.end())


def _object(raw: Json) -> dict[Json, Json]:
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
    """Return what JSON can repeat, because the next request does: no sets, no NaN, no half characters."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise _UnreadableError("The arguments hold a value that is no JSON.") from error
    values: dict[str, Any] = json.loads(encodable(text))
    return values


def _parse(text: str) -> Json:
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
    if _MALFORMED.search(text, 0, start):
        raise _UnreadableError("The server marked the arguments as malformed.")
    if _REST_OF_OBJECT.search(text, 0, start):
        raise _UnreadableError("The beginning of the arguments is missing.")
    values = _objects(text, start)
    if not values:
        raise _UnreadableError("The arguments are cut off or no JSON.")
    meant = [value for value in values if value] or values[:1]
    if any(value != meant[0] for value in meant):
        raise _UnreadableError("The arguments are several different objects.")
    return meant[0]


def _objects(text: str, position: int) -> list[Any]:
    """Read the objects that follow each other directly. Other text behind them is litter, unless it has more keys."""
    values: list[Any] = []
    reader = Values(text)
    while text.startswith("{", position) and (found := reader.read(position)) is not None:
        values.append(found[0])
        if len(values) > _MOST_OBJECTS:
            raise _UnreadableError("The arguments are very many objects.")
        gap = _GAP.match(text, found[1])
        assert gap is not None  # noqa: S101 - it matches the empty string at least
        position = gap.end()
    if values and _KEY.search(text, position):
        raise _UnreadableError("The arguments go on after the end of their object.")
    return values


def _read_loosely(text: str) -> Json:
    """Read JSON with bad escapes, trailing commas or comments, or a Python literal."""
    try:
        return _DECODER.decode(_TO_REPAIR.sub(_repaired, text))
    except (ValueError, RecursionError):
        pass
    try:
        (expression,) = read_expressions(text)
        return ast.literal_eval(expression)
    except (ValueError, TypeError, RecursionError) as error:
        raise _UnreadableError("The arguments are no JSON.") from error


def _repaired(match: re.Match[str]) -> str:
    token = match.group()
    return _ESCAPE.sub(_repaired_escape, token) if token[0] == '"' else ""


def _repaired_escape(match: re.Match[str]) -> str:
    """Keep the escapes of JSON, remove one before an apostrophe, and take any other backslash for itself."""
    known, apostrophe = match.groups()
    return match.group() if known else apostrophe or r"\\"


class _Constants(ast.NodeTransformer):
    """Reads ``true``, ``false`` and ``null`` in a Python literal."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in _CONSTANTS:
            return ast.copy_location(ast.Constant(_CONSTANTS[node.id]), node)
        return node
