"""Derive a tool from a function: its JSON schema for the model, and the validation of the model's arguments.

pydantic does both. It gets a stand-in with the parameters of the function, which returns its validated arguments.
"""

from __future__ import annotations

import functools
import inspect
import json
import types
from dataclasses import dataclass, field
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ArgsKwargs

from adapters.config.problems import suggest
from adapters.errors import ConfigError
from adapters.request.messages import text_of
from adapters.request.schemas import without_lookaround
from adapters.tools.docstring import read_docstring
from adapters.tools.tool import CallError, ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.json_schema import JsonSchemaWarningKind
    from pydantic_core import ErrorDetails

    from adapters.types import Json

_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a function.

    Attributes:
        description: The docstring up to the parameters; "" if there is none.
        schema: JSON schema of the arguments that the model may write.
        contexts: Names of the parameters for a ``ToolContext``, which the schema does not contain.
        in_order: Names of the parameters that are passed by position.
        rest: Name of the parameter ``*args``, which the model writes as a list; "" if there is none.
        validator: Validates an object of arguments and returns the values by name.
    """

    description: str
    schema: dict[str, Json]
    contexts: tuple[str, ...]
    in_order: tuple[str, ...]
    rest: str
    validator: TypeAdapter[dict[str, Any]] = field(repr=False)

    def bind(self, arguments: dict[str, Json], context: ToolContext[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Convert a model's arguments to those of the function.

        Returns:
            The positional arguments and the keyword arguments.

        Raises:
            CallError: If they do not fit.
        """
        values = self._validated(arguments) | dict.fromkeys(self.contexts, context)
        in_order = [values.pop(name) for name in self.in_order]
        return in_order + list(values.pop(self.rest, ())), values

    def _validated(self, arguments: dict[str, Json]) -> dict[str, Any]:
        try:
            return _validate(self.validator, arguments)
        except ValidationError as error:
            # Small models write null for an argument that they leave out.
            required = self.schema.get("required", ())
            nulls = {
                name
                for name in (details["loc"][0] for details in error.errors(include_url=False) if details["loc"])
                if name not in required and name in arguments and arguments[str(name)] is None
            }
            if nulls:
                return self._validated({name: arguments[name] for name in arguments if name not in nulls})
            raise CallError(self._describe(error)) from None

    def _describe(self, error: ValidationError) -> str:
        known = tuple(self.schema["properties"])
        return "; ".join(_problem(details, known) for details in error.errors(include_url=False))


def _validate(validator: TypeAdapter[dict[str, Any]], arguments: dict[str, Json]) -> dict[str, Any]:
    """Validate arguments as the JSON that they were, in which strict types accept dates and the like as strings."""
    try:
        text = json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # from a provider that reads arguments itself
        return validator.validate_python(ArgsKwargs((), arguments))
    return validator.validate_json(text_of(text))


def _problem(details: ErrorDetails, known: tuple[str, ...]) -> str:
    """Describe in plain words what is wrong with one argument."""
    path, kind = [str(key) for key in details["loc"]], details["type"]
    place = ".".join(path)
    if kind in _MISSING:
        return f"{place} is missing"
    if kind in _UNKNOWN and len(path) == 1:
        return f"there is no parameter {place}; " + (suggest(place, known) if known else "it has none")
    text = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{place} {text[6:]}" if text.startswith("Input ") else f"{place}: {text}"


_of_functions: WeakKeyDictionary[Callable[..., Any], Signature] = WeakKeyDictionary()
_of_methods: WeakKeyDictionary[Callable[..., Any], Signature] = WeakKeyDictionary()


def read_signature(function: Callable[..., Any], name: str) -> Signature:
    """Read the parameters of a function. That takes milliseconds, so the result is cached for functions and methods.

    Args:
        function: Any callable whose parameters Python knows.
        name: Name of the tool, for errors.

    Raises:
        ConfigError: If an annotation cannot be evaluated or has no JSON form, or the function cannot be called with
            keyword arguments.
    """
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        return _read(function, name)
    known = _of_methods if inspect.ismethod(function) else _of_functions
    key: Callable[..., Any] = getattr(function, "__func__", function)
    if key not in known:
        known[key] = _read(function, name)
    return known[key]


def _read(function: Callable[..., Any], name: str) -> Signature:
    parameters = _parameters(function, name)
    offered = [parameter for parameter in parameters if not _is_context(parameter.annotation)]
    for parameter in offered:
        if _mentions_context(parameter.annotation):
            raise _cannot_be_offered(name, f"annotate {parameter.name} as ToolContext")
    try:
        validator: TypeAdapter[dict[str, Any]] = TypeAdapter(_stand_in(offered, _behind(function).__module__))
        schema = without_lookaround(validator.json_schema(schema_generator=_SchemaOfParameters))
    except (NameError, PydanticUserError, TypeError, ValueError) as error:
        raise _cannot_be_offered(name, str(error).partition("\n")[0].rstrip(".")) from error
    docstring = read_docstring(inspect.getdoc(_behind(function)) or "")
    for parameter_name, description in docstring.parameters.items():
        if parameter_name in schema["properties"] and description:
            schema["properties"][parameter_name].setdefault("description", description)
    kinds = {parameter.name: parameter.kind for parameter in parameters}
    rest = next((name for name, kind in kinds.items() if kind is Parameter.VAR_POSITIONAL), "")
    in_order = (Parameter.POSITIONAL_ONLY, *((Parameter.POSITIONAL_OR_KEYWORD,) if rest else ()))
    return Signature(
        description=docstring.description,
        schema=schema,
        contexts=tuple(parameter.name for parameter in parameters if parameter not in offered),
        in_order=tuple(name for name, kind in kinds.items() if kind in in_order),
        rest=rest,
        validator=validator,
    )


def _cannot_be_offered(name: str, reason: str) -> ConfigError:
    return ConfigError(f"The tool {name} cannot be offered: {reason}.")


def _behind(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.func if isinstance(function, functools.partial) else function


def _parameters(function: Callable[..., Any], name: str) -> list[Parameter]:
    """Return the parameters that a call can fill; those that a ``partial`` has filled are not the model's.

    Raises:
        ConfigError: If they are not known, or one is for an object that is missing. It never shows the function,
            because the ``repr`` of a ``partial`` shows its arguments, such as a key.
    """
    signature: inspect.Signature | None = None
    try:
        signature = _signature_of(function)
    except NameError as error:
        raise _cannot_be_offered(name, f"{error}. Import it outside of TYPE_CHECKING") from error
    except (TypeError, ValueError):
        pass  # its text shows the function
    if signature is None:
        kind = type(function).__name__
        raise _cannot_be_offered(name, f"the parameters of this {kind} are not known; write a function around it")
    filled = function.keywords if isinstance(function, functools.partial) else {}
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name not in filled]
    if _is_unbound_method(function, parameters):
        method = getattr(function, "__name__", name)
        raise _cannot_be_offered(name, f"it is a method without its object; pass object.{method}")
    return parameters


def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with evaluated annotations; that of the result may be for type checkers alone."""
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:
        names = getattr(inspect.unwrap(_behind(function)), "__globals__", {})
        signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=eval(parameter.annotation, names))  # noqa: S307 - code of the same module
        if isinstance(parameter.annotation, str)
        else parameter
        for parameter in signature.parameters.values()
    ]
    return signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)


def _is_unbound_method(function: Callable[..., Any], parameters: list[Parameter]) -> bool:
    """Whether the first parameter is the object of a method: it has the usual name, no type, and a class around it."""
    owner = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    first = parameters[0] if parameters else None
    return (
        inspect.isfunction(function)
        and bool(owner)
        and not owner.endswith("<locals>")
        and first is not None
        and first.name in ("self", "cls")
        and first.annotation is Parameter.empty
    )


def _is_context(annotation: object) -> bool:
    """Whether a parameter is for the context: ``ToolContext``, ``ToolContext[X]``, either of them or None."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        choices = [choice for choice in get_args(annotation) if choice is not type(None)]
        return bool(choices) and all(map(_is_context, choices))
    return ToolContext in (annotation, get_origin(annotation))


def _mentions_context(annotation: object) -> bool:
    return _is_context(annotation) or any(map(_mentions_context, get_args(annotation)))


def _stand_in(parameters: list[Parameter], module: str) -> Any:  # noqa: ANN401 - a function, which pydantic types as a type
    """Make a function that takes these parameters as keyword arguments and returns them."""

    def take(**arguments: Any) -> dict[str, Any]:
        return arguments

    by_name = [_by_name(parameter) for parameter in parameters]
    take.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]  # Python's own hook, not in typeshed
    take.__annotations__ = {
        parameter.name: parameter.annotation for parameter in by_name if parameter.annotation is not Parameter.empty
    }
    take.__module__ = module  # where names inside annotations are looked up
    return take


def _by_name(parameter: Parameter) -> Parameter:
    """Return the parameter as a keyword argument; ``*args`` as an optional list."""
    if parameter.kind is Parameter.VAR_KEYWORD:
        return parameter
    if parameter.kind is Parameter.VAR_POSITIONAL:
        item = Any if parameter.annotation is Parameter.empty else parameter.annotation
        return Parameter(parameter.name, Parameter.KEYWORD_ONLY, default=(), annotation=list[item])  # type: ignore[valid-type]  # a type that only run time knows
    return parameter.replace(kind=Parameter.KEYWORD_ONLY)


class _SchemaOfParameters(GenerateJsonSchema):
    """Generates schemas without a title for each parameter, which would only repeat its name.

    Defaults that have no JSON form are left out without pydantic's warning, which shows their ``repr``.
    """

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012 - as the base class declares it

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic calls it with each
        return False
