"""The required form of a response: from a type or a JSON schema to the field of the request, and back to a value."""

from __future__ import annotations

import functools
import json
import re
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from adapters.errors import ConfigError
from adapters.request.schemas import without_lookaround

if TYPE_CHECKING:
    from adapters.types import Json

_JSON_TYPES = ("json_schema", "json_object")
_FENCED = re.compile(r"\A\s*```(?:json)?[ \t]*\r?\n(.*?)\s*```\s*\Z", re.DOTALL | re.IGNORECASE)
_NO_NAME_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME_CHARS = 64  # OpenAI's limit, as for the characters
_MAPS_OF_SCHEMAS = ("properties", "$defs")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties")
_NOT_STRICT = ("default", "discriminator")
_WITHOUT_SCHEMA = (dict, list, tuple, set, object, type(None))
_MAX_COMPLAINTS = 5
_VALUE: Final = "value"
_EXAMPLE: Final = '{"type": "json_schema", "json_schema": {"name": "answer", "schema": …}}'


class SchemaMismatchError(ValueError):
    """A response does not match the required form; the text says where, and repeats nothing of the response."""


@dataclass(frozen=True, slots=True)
class ResponseSchema:
    """The required form of one response.

    Attributes:
        body: The field ``response_format`` of the request, in OpenAI format.
        adapter: Validates the response, or None for JSON without a type.
        is_wrapped: Whether the value is inside ``{"value": …}``, because its own schema is not that of an object.
    """

    body: dict[str, Json]
    adapter: TypeAdapter[Any] | None = field(default=None, compare=False, repr=False)
    is_wrapped: bool = False

    def read(self, content: str) -> Any:  # noqa: ANN401 - a value of the caller's type, or JSON
        """Read a response. A Markdown fence around it is accepted: models without a grammar write one.

        Args:
            content: The whole text of the response.

        Returns:
            A value of the type, or the decoded JSON. JSON is not checked against a schema beyond the type of its root;
            None if no JSON is required.

        Raises:
            SchemaMismatchError: If the response does not match.
        """
        if self.body.get("type") not in _JSON_TYPES:
            return None
        fenced = _FENCED.match(content)
        text = fenced.group(1) if fenced else content
        if self.adapter is None:
            return _decoded(text, root=self._root)
        return _validated(_unwrapped(text) if self.is_wrapped else text, self.adapter)

    @property
    def _root(self) -> Json:
        named = self.body.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        return schema.get("type", "object") if isinstance(schema, dict) else "object"


def parse_response_format(value: Json) -> ResponseSchema:
    """Read the option ``response_format``.

    Args:
        value: A type (a pydantic model, a dataclass, a ``TypedDict``, ``list[X]``, a union, a ``Literal`` …), or the
            field in OpenAI format.

    Raises:
        ConfigError: If it is neither, or if the type has no JSON schema.
    """
    if isinstance(value, dict):
        return ResponseSchema(value)
    if _is_type(value) and value not in _WITHOUT_SCHEMA:
        try:
            hash(value)
        except TypeError:  # metadata inside ``Annotated``
            return _schema_of.__wrapped__(value)
        return _schema_of(value)
    found = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    raise ConfigError(
        f"response_format is {found}. It must be a type with a schema, such as a pydantic model, a dataclass or"
        f" list[X], or an object such as {_EXAMPLE}."
    )


def _is_type(value: object) -> bool:
    """Whether a value is a type, a parametrized type, a union or a ``Literal``."""
    return isinstance(value, type | types.UnionType) or get_origin(value) is not None


@functools.lru_cache(maxsize=64)
def _schema_of(kind: Any) -> ResponseSchema:  # noqa: ANN401 - any form of a type
    """Derive the form from a type. That takes as long as the rest of a request, so it is cached."""
    name = getattr(kind, "__name__", "response")
    adapter: TypeAdapter[Any] | None = None
    schema: dict[str, Json] = {}
    reason = ""
    try:
        adapter = TypeAdapter(kind)
        schema = without_lookaround(adapter.json_schema())
    except PydanticUserError as error:
        reason = error.message.partition("\n")[0]
    if reason:
        raise ConfigError(f"No JSON schema can be made of {name} for response_format: {reason}")
    schema, is_wrapped = _object_schema(schema)
    named = {"name": _NO_NAME_CHARACTER.sub("_", name)[:_MAX_NAME_CHARS], "schema": _strict(schema), "strict": True}
    return ResponseSchema({"type": "json_schema", "json_schema": named}, adapter, is_wrapped=is_wrapped)


def _object_schema(schema: dict[str, Json]) -> tuple[dict[str, Json], bool]:
    """Return a schema whose root is an object, as OpenAI requires, and whether the given one had to be wrapped."""
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    if "$ref" in schema:  # a type that contains itself
        schema = {**definitions["$defs"][schema["$ref"].rpartition("/")[2]], **definitions}
    if schema.get("type") == "object":
        return schema, False
    inner = {name: value for name, value in schema.items() if name != "$defs"}
    return {"type": "object", "properties": {_VALUE: inner}, **definitions}, True


def _strict(schema: dict[str, Json]) -> dict[str, Json]:
    """Return a schema for OpenAI's strict mode: closed objects, all properties required, no defaults.

    ``oneOf`` becomes ``anyOf``, and a reference with other keys beside it is put into an ``anyOf``.
    """
    strict = {name: _strict_part(name, value) for name, value in schema.items() if name not in _NOT_STRICT}
    if "oneOf" in strict:
        strict["anyOf"] = strict.pop("oneOf")
    if strict.get("type") == "object":
        strict.setdefault("additionalProperties", False)
    if "properties" in strict:
        strict |= {"required": list(strict["properties"]), "additionalProperties": False}
    if "$ref" in strict and len(strict) > 1:
        strict["anyOf"] = [{"$ref": strict.pop("$ref")}]
    return strict


def _strict_part(name: str, value: Json) -> Json:
    if name in _MAPS_OF_SCHEMAS:
        return {key: _strict(part) for key, part in value.items()}
    if name in _LISTS_OF_SCHEMAS:
        return [_strict(part) for part in value]
    return _strict(value) if name in _SCHEMAS and isinstance(value, dict) else value


def _unwrapped(text: str) -> str:
    """Return the JSON inside ``{"value": …}``; a server that ignores the schema may send the bare value."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(value[_VALUE]) if isinstance(value, dict) and value.keys() == {_VALUE} else text


def _validated(text: str, adapter: TypeAdapter[Any]) -> Any:  # noqa: ANN401 - a value of the caller's type
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        complaints = error.errors(include_input=False, include_context=False, include_url=False)[:_MAX_COMPLAINTS]
    reasons = (f"{'.'.join(map(str, found['loc'])) or 'the answer'}: {found['msg']}" for found in complaints)
    raise SchemaMismatchError("; ".join(reasons))


def _decoded(text: str, *, root: Json) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise SchemaMismatchError("the answer is no JSON") from None
    if root == "object" and not isinstance(value, dict):
        raise SchemaMismatchError("the answer is no JSON object")
    return value
