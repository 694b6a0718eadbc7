"""Changes to JSON schemas, and to arguments by their schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.types import Json

_LOOKAROUND = ("(?=", "(?!", "(?<=", "(?<!")  # no grammar-constrained server can follow them


def without_lookaround(schema: Json) -> Json:
    """Drop patterns with a look-around, such as pydantic's for ``Decimal``: strict servers refuse the whole request."""
    if isinstance(schema, list):
        return [without_lookaround(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: without_lookaround(value)
        for name, value in schema.items()
        if not (name == "pattern" and isinstance(value, str) and any(mark in value for mark in _LOOKAROUND))
    }


def without_needless_nulls(arguments: dict[str, Json], schema: dict[str, Any]) -> dict[str, Json]:
    """Drop arguments that are null although the schema allows no null, if they are optional.

    Small models write null for what they leave out.
    """
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or None not in arguments.values():
        return arguments
    return {
        name: value
        for name, value in arguments.items()
        if value is not None
        or name not in properties
        or (isinstance(required, list) and name in required)
        or _allows_null(properties[name], schema)
    }


def _allows_null(schema: Json, root: dict[str, Any], depth: int = 8) -> bool:
    """Whether null is valid; True where the schema does not tell."""
    if isinstance(schema, dict) and "$ref" in schema:
        schema = _resolve(schema["$ref"], root)
    if not isinstance(schema, dict) or depth == 0:
        return True
    for name, combine in (("anyOf", any), ("oneOf", any), ("allOf", all)):
        if isinstance(schema.get(name), list):
            return combine(_allows_null(part, root, depth - 1) for part in schema[name])
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        return None in values
    types = schema.get("type")
    return schema.get("nullable") is True or not isinstance(types, str | list) or "null" in types


def _resolve(reference: Json, root: dict[str, Any]) -> Json:
    """Return the part of the schema that a reference such as ``#/$defs/Place`` points to, or None."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    part: Json = root
    for key in reference[2:].split("/"):
        part = part.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(part, dict) else None
    return part
