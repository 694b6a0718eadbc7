"""The form that an answer is asked for in: a class of pydantic or a JSON schema out, a checked value back."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from adapters.errors import ConfigError

if TYPE_CHECKING:
    from adapters.types import Json

_JSON_TYPES = ("json_schema", "json_object")
_FENCED = re.compile(r"\A\s*```(?:json)?[ \t]*\r?\n(.*?)\s*```\s*\Z", re.DOTALL | re.IGNORECASE)
_NO_NAME_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME_CHARS = 64  # OpenAI's limit, as for the characters
_MAPS_OF_SCHEMAS = ("properties", "$defs")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties")
_NOT_STRICT = ("default", "discriminator")
_MOST_COMPLAINTS = 5
_EXAMPLE: Final = '{"type": "json_schema", "json_schema": {"name": "answer", "schema": …}}'


class SchemaMismatchError(ValueError):
    """An answer is not in the form that was asked for; the text says where, and repeats nothing of the answer."""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The form of one answer.

    Attributes:
        body: The field ``response_format`` of the request, in OpenAI format.
        model: The class that the answer is read into, or None for plain JSON.
    """

    body: dict[str, Json]
    model: type[BaseModel] | None = None

    def read(self, content: str) -> Any:  # noqa: ANN401 - an instance of the caller's class, or JSON
        """Read an answer. A Markdown fence around it is forgiven: models that were not held to a grammar write one.

        Args:
            content: The whole text of the answer.

        Returns:
            An instance of ``model``, or the decoded JSON. It is not checked against a schema beyond the type of its
            root; None if no JSON was asked for.

        Raises:
            Misshapen: If it is none.
        """
        if self.body.get("type") not in _JSON_TYPES:
            return None
        fenced = _FENCED.match(content)
        text = fenced.group(1) if fenced else content
        return _decoded(text, root=self._root) if self.model is None else _validated(text, self.model)

    @property
    def _root(self) -> Json:
        named = self.body.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        return schema.get("type", "object") if isinstance(schema, dict) else "object"


def response_format_of(value: Json) -> ResponseFormat:
    """Read the option ``response_format``.

    Args:
        value: A class of pydantic, or the field in OpenAI format.

    Raises:
        ConfigError: If it is neither, or if no JSON schema can be made of the class.
    """
    if isinstance(value, type) and issubclass(value, BaseModel):
        return ResponseFormat(_body_of(value), value)
    if isinstance(value, dict):
        return ResponseFormat(value)
    found = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
    raise ConfigError(f"response_format is {found}. It must be a class of pydantic, or an object such as {_EXAMPLE}.")


@functools.lru_cache(maxsize=64)
def _body_of(model: type[BaseModel]) -> dict[str, Json]:
    """OpenAI's strict form of a class. To make it takes as long as all the rest of a request, so it is kept."""
    try:
        schema, why = _strict(model.model_json_schema()), ""
    except PydanticUserError as error:
        schema, why = {}, error.message
    if why:
        raise ConfigError(f"No JSON schema can be made of {model.__name__} for response_format: {why}")
    name = _NO_NAME_CHARACTER.sub("_", model.__name__)[:_LONGEST_NAME_CHARS]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def _strict(schema: dict[str, Json]) -> dict[str, Json]:
    """A schema as OpenAI's strict mode takes it: objects are closed, all they may hold is required, no defaults.

    ``oneOf`` becomes ``anyOf``, and a reference that has company stands in an ``anyOf`` of its own.
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
        return {key: _strict(each) for key, each in value.items()}
    if name in _LISTS_OF_SCHEMAS:
        return [_strict(each) for each in value]
    return _strict(value) if name in _SCHEMAS and isinstance(value, dict) else value


def _validated(text: str, model: type[BaseModel]) -> BaseModel:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        complaints = error.errors(include_input=False, include_context=False, include_url=False)[:_MOST_COMPLAINTS]
    said = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the answer'}: {each['msg']}" for each in complaints)
    raise SchemaMismatchError(said)


def _decoded(text: str, *, root: Json) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise SchemaMismatchError("the answer is no JSON") from None
    if root == "object" and not isinstance(value, dict):
        raise SchemaMismatchError("the answer is no JSON object")
    return value
