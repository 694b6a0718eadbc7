"""``adapters.request.schemas``: patterns that servers refuse, and nulls for arguments that are left out."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.request.schemas import without_lookaround, without_needless_nulls

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["needed"],
    "properties": {
        "needed": {"type": "string"},
        "text": {"type": "string"},
        "texts": {"type": ["string", "integer"]},
        "nullable_type": {"type": ["string", "null"]},
        "nullable": {"type": "string", "nullable": True},
        "only_null": {"type": "null"},
        "any_of": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "one_of": {"oneOf": [{"type": "string"}, {"const": "x"}]},
        "all_of": {"allOf": [{}, {"$ref": "#/$defs/Place"}]},
        "const": {"const": None},
        "enum": {"enum": ["a", "b"]},
        "enum_with_null": {"enum": ["a", None]},
        "anything": {},
        "true": True,
        "reference": {"$ref": "#/$defs/Place"},
        "escaped": {"$ref": "#/$defs/a~1b"},
        "unresolved": {"$ref": "#/$defs/missing/deep"},
        "elsewhere": {"$ref": "https://example.org/schema"},
        "circular": {"$ref": "#/properties/circular"},
        "odd": {"type": 7},
    },
    "$defs": {"Place": {"type": "object"}, "a/b": {"type": "string"}},
}
_DROPPED = {"text", "texts", "one_of", "all_of", "enum", "reference", "escaped"}


def test_nulls_that_mean_nothing() -> None:
    """Null is dropped if the argument is optional and its schema excludes null, and kept in any other case."""
    nulls: dict[str, Any] = dict.fromkeys(_SCHEMA["properties"], None)

    left = without_needless_nulls({**nulls, "unknown": None, "text": None}, _SCHEMA)

    assert nulls.keys() - left.keys() == _DROPPED
    assert set(left.values()) == {None}
    assert "unknown" in left


@pytest.mark.parametrize("schema", [{}, {"properties": None}, {"properties": {"a": {"type": "string"}}}])
def test_values_stay(schema: dict[str, Any]) -> None:
    """Arguments without null, and those of a schema without properties, are not touched."""
    arguments = {"a": 0, "b": ""}

    assert without_needless_nulls(arguments, schema) is arguments
    assert without_needless_nulls({"b": None}, schema) == {"b": None}


def test_required_that_is_no_list() -> None:
    """A schema with an odd ``required`` is read all the same."""
    schema = {"required": True, "properties": {"a": {"type": "string"}}}

    assert without_needless_nulls({"a": None}, schema) == {}


def test_patterns_with_a_lookaround() -> None:
    """They are dropped at any depth; a property of that name, and other patterns, stay."""
    schema = {
        "properties": {
            "pattern": {"type": "string", "pattern": "^(?!x)[0-9]*$"},
            "other": {"anyOf": [{"pattern": "a(?<=b)"}, {"pattern": "[a-z]"}]},
        }
    }

    assert without_lookaround(schema) == {
        "properties": {"pattern": {"type": "string"}, "other": {"anyOf": [{}, {"pattern": "[a-z]"}]}}
    }
