"""A function's signature as JSON schema for the model; arguments made values for the function, and its result JSON.

pydantic does all three. It is shown a function with the same parameters that does nothing but give its arguments back.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from inspect import Parameter
from typing import TYPE_CHECKING, Any, get_origin
from weakref import WeakKeyDictionary

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ArgsKwargs, to_jsonable_python

from adapters.config.problems import suggest
from adapters.errors import ConfigError
from adapters.tools.docstring import read_docstring
from adapters.tools.tool import CallError, ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import ErrorDetails

    from adapters.types import Json

_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes.

    Attributes:
        description: What its docstring says before the parameters; "" if nothing.
        schema: JSON schema of the arguments that a model may write.
        contexts: Names of the parameters that want a ``ToolContext``; the schema has them not.
        in_order: Names of the parameters that cannot be passed by name.
        optional: Names of the parameters that have a default.
        validator: Makes an object of arguments the values that the function wants, by name.
    """

    description: str
    schema: dict[str, Json]
    contexts: tuple[str, ...]
    in_order: tuple[str, ...]
    optional: frozenset[str]
    validator: TypeAdapter[dict[str, Any]] = field(repr=False)

    def bind(self, arguments: dict[str, Json], context: ToolContext[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Make a model's arguments those of the function.

        Returns:
            What to pass in order, and what by name.

        Raises:
            CallError: If they do not fit.
        """
        values = self._validated(arguments) | dict.fromkeys(self.contexts, context)
        return [values.pop(name) for name in self.in_order], values

    def _validated(self, arguments: dict[str, Json]) -> dict[str, Any]:
        try:
            return self.validator.validate_python(ArgsKwargs((), arguments))
        except ValidationError as error:
            # Small models write null for what they leave out.
            left_out = {
                name
                for name in (each["loc"][0] for each in error.errors(include_url=False))
                if name in self.optional and arguments.get(str(name)) is None
            }
            if left_out:
                return self._validated({name: arguments[name] for name in arguments if name not in left_out})
            raise CallError(self._told(error)) from None

    def _told(self, error: ValidationError) -> str:
        known = tuple(self.schema["properties"])
        return "; ".join(_problem(each, known) for each in error.errors(include_url=False))


def _problem(details: ErrorDetails, known: tuple[str, ...]) -> str:
    """Say in plain words what is wrong with one argument."""
    path, kind = [str(key) for key in details["loc"]], details["type"]
    place = ".".join(path)
    if kind in _MISSING:
        return f"{place} is missing"
    if kind in _UNKNOWN and len(path) == 1:
        return f"there is no parameter {place}; " + (suggest(place, known) if known else "it has none")
    text = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{place} {text[6:]}" if text.startswith("Input ") else f"{place}: {text}"


def told(value: object) -> Json:
    """Make what a function returned fit for the model: models, dataclasses, dates and their like become JSON.

    Of a function that returns nothing the model reads that it is done.
    """
    return "done" if value is None else to_jsonable_python(value, fallback=str)


_of_functions: WeakKeyDictionary[Callable[..., Any], Signature] = WeakKeyDictionary()
_of_methods: WeakKeyDictionary[Callable[..., Any], Signature] = WeakKeyDictionary()


def read_signature(function: Callable[..., Any], name: str) -> Signature:
    """Read what a function takes; it takes milliseconds, so what was read of a function or method is kept.

    Args:
        function: Any callable whose parameters Python knows.
        name: What the tool is called, for errors.

    Raises:
        ConfigError: If a parameter's annotation cannot be read, or is nothing that JSON can say.
    """
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        return _read(function, name)
    known = _of_methods if inspect.ismethod(function) else _of_functions
    key: Callable[..., Any] = getattr(function, "__func__", function)
    if key not in known:
        known[key] = _read(function, name)
    return known[key]


def _read(function: Callable[..., Any], name: str) -> Signature:
    try:
        parameters = _parameters(function)
        offered = [each for each in parameters if not _is_context(each)]
        validator: TypeAdapter[dict[str, Any]] = TypeAdapter(_that_takes(offered, _behind(function).__module__))
        schema = validator.json_schema(schema_generator=_WithoutTitles)
    except (NameError, PydanticUserError, TypeError, ValueError) as error:
        hint = " Import it outside of TYPE_CHECKING." if isinstance(error, NameError) else ""
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(f"The tool {name} cannot be offered: {reason}.{hint}") from error
    docstring = read_docstring(inspect.getdoc(_behind(function)) or "")
    for each, described in docstring.parameters.items():
        if each in schema["properties"] and described:
            schema["properties"][each].setdefault("description", described)
    return Signature(
        description=docstring.description,
        schema=schema,
        contexts=tuple(each.name for each in parameters if _is_context(each)),
        in_order=tuple(each.name for each in parameters if each.kind is Parameter.POSITIONAL_ONLY),
        optional=frozenset(each.name for each in offered if each.default is not Parameter.empty),
        validator=validator,
    )


def _behind(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.func if isinstance(function, functools.partial) else function


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters that a call by name can fill; what a ``partial`` has filled is not the model's to choose."""
    filled = function.keywords if isinstance(function, functools.partial) else {}
    return [
        each
        for each in inspect.signature(function, eval_str=True).parameters.values()
        if each.kind is not Parameter.VAR_POSITIONAL and each.name not in filled
    ]


def _is_context(parameter: Parameter) -> bool:
    return ToolContext in (parameter.annotation, get_origin(parameter.annotation))


def _that_takes(parameters: list[Parameter], module: str) -> Any:  # noqa: ANN401 - a function, which pydantic types as a type
    """Make a function that takes these parameters, all by name, and returns them."""

    def take(**arguments: Any) -> dict[str, Any]:
        return arguments

    by_name = [
        each if each.kind is Parameter.VAR_KEYWORD else each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters
    ]
    take.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]  # Python's own hook, not in typeshed
    take.__annotations__ = {each.name: each.annotation for each in parameters if each.annotation is not Parameter.empty}
    take.__module__ = module  # where names within annotations are looked up
    return take


class _WithoutTitles(GenerateJsonSchema):
    """pydantic's way of writing schemas, without a title for each parameter, which only repeats its name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic asks for each
        return False
