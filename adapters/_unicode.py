"""Text that can be encoded: halves of UTF-16 surrogate pairs are joined or replaced.

A server or an agent that cuts UTF-16 between two halves sends two escapes that are no characters. JSON accepts them and
UTF-8 does not, so a message that holds one could never be sent again.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.types import Json


def encodable(text: str) -> str:
    """Join the halves that follow each other and replace the others; return any other text as it is."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encodable_json(value: Json) -> Json:
    """Do the same for all keys and texts of a JSON value; the same object if nothing changes in it."""
    try:
        return _encodable(value)
    except RecursionError:  # deeper than any JSON that can be written, or it contains itself
        return value


def _encodable(value: Json) -> Json:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        items = [_encodable(item) for item in value]
        return value if all(map(operator.is_, items, value)) else items
    if isinstance(value, dict):
        fields = {_encodable(name): _encodable(item) for name, item in value.items()}
        before, after = [*value, *value.values()], [*fields, *fields.values()]
        return value if len(before) == len(after) and all(map(operator.is_, after, before)) else fields
    return value
