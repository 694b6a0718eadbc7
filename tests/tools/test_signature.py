"""``adapters.tools.signature``: the schema of a function, and the validation of the model's arguments."""

from __future__ import annotations

import functools
import gc
import traceback
import weakref
from collections.abc import Callable  # noqa: TC003 - annotations of tools are read when the program runs
from dataclasses import dataclass
from datetime import date
from decimal import Decimal  # noqa: TC003 - as above
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from adapters.errors import ConfigError
from adapters.tools.signature import read_signature
from adapters.tools.tool import CallError, ToolContext
from adapters.types import ToolCall

if TYPE_CHECKING:
    from fractions import Fraction


class Unit(Enum):
    """A unit of temperature."""

    CELSIUS = "c"
    FAHRENHEIT = "f"


class Place(BaseModel):
    """A place."""

    city: str = Field(description="Its name.")
    country: str | None = None


@dataclass
class Span:
    """A number of days."""

    days: int


class Options(TypedDict):
    """Further options."""

    wind: bool


def _few(number: int) -> int:
    if number > 7:
        raise ValueError("stay for a week at most")
    return number


Few = Annotated[int, AfterValidator(_few)]

CALL = ToolCall("call00001", "tool", {})
CONTEXT = ToolContext("kitchen", CALL)


def google(city: str, unit: Literal["c", "f"] = "c") -> str:
    """Current weather in a city.

    It is invented.

    Args:
        city: Name of the city,
            with or without its country.
        unit (str, optional): Celsius: "c", or "f".
        town: Nothing that it takes.

    Returns:
        What a programmer wants to know.
    """
    return f"{city} {unit}"


def rest(city: str, unit: Literal["c", "f"] = "c") -> str:
    """Current weather in a city.

    It is invented.

    :param city: Name of the city,
        with or without its country.
    :param str unit: Celsius: "c", or "f".
    :returns: What a programmer wants to know.
    """
    return f"{city} {unit}"


def numpy(city: str, unit: Literal["c", "f"] = "c") -> str:
    """Current weather in a city.

    It is invented.

    Parameters
    ----------
    city : str
        Name of the city,
        with or without its country.
    unit : str, optional
        Celsius: "c", or "f".
    """
    return f"{city} {unit}"


@pytest.mark.parametrize("function", [google, rest, numpy])
def test_docstrings(function: Callable[..., str]) -> None:
    """Each docstring style gives the same schema, of names, types and descriptions only."""
    signature = read_signature(function, "weather")

    assert signature.description == "Current weather in a city.\n\nIt is invented."
    assert signature.schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city, with or without its country."},
            "unit": {
                "type": "string",
                "enum": ["c", "f"],
                "default": "c",
                "description": 'Celsius: "c", or "f".',
            },
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_without_docstring() -> None:
    """A function without docstring, annotations and parameters can be offered."""

    def now():  # type: ignore[no-untyped-def]  # as people write it  # noqa: ANN202 - the same
        return "noon"

    signature = read_signature(now, "now")

    assert (signature.description, signature.schema) == (
        "",
        {"type": "object", "properties": {}, "additionalProperties": False},
    )
    assert signature.bind({}, CONTEXT) == ([], {})


def everything(  # type: ignore[no-untyped-def]  # as people write it  # noqa: D417 - all kinds of parameters
    place: Place,
    /,
    unit: Unit,
    span: Span | None = None,
    options: Options | None = None,
    day: date = date(2026, 11, 24),
    note: Annotated[str, Field(description="What is annotated.", max_length=3)] = "",
    plain=7,  # noqa: ANN001 - as people write it
    *rest: str,
    schema: int | None = 5,
    _hidden: float = 1.5,
    **more: int,
) -> None:
    """Take everything.

    Args:
        note: What is documented.
        plain: Anything.
    """


def test_types() -> None:
    """Models, dataclasses, enums, typed dicts and dates become schemas, and arguments become values of these types."""
    signature = read_signature(everything, "everything")

    in_order, by_name = signature.bind(
        {
            "place": {"city": "Paris"},
            "rest": ["a", "b"],
            "unit": "f",
            "span": {"days": "3"},
            "options": {"wind": "yes"},
            "day": "2026-12-24",
            "schema": None,
            "extra": "8",
        },
        CONTEXT,
    )

    assert in_order == [
        Place(city="Paris"),
        *(Unit.FAHRENHEIT, Span(3), {"wind": True}, date(2026, 12, 24), "", 7),
        *("a", "b"),
    ]
    assert by_name == {"schema": None, "_hidden": 1.5, "extra": 8}
    everything(*in_order, **by_name)
    properties = signature.schema["properties"]
    assert list(properties) == [
        *("place", "unit", "span", "options", "day", "note", "plain", "rest", "schema", "_hidden")
    ]
    assert properties["rest"] == {"type": "array", "items": {"type": "string"}, "default": []}
    assert signature.schema["required"] == ["place", "unit"]
    assert properties["note"] == {
        "type": "string",
        "maxLength": 3,
        "default": "",
        "description": "What is annotated.",
    }
    assert properties["plain"] == {"default": 7, "description": "Anything."}
    assert properties["place"] == {"$ref": "#/$defs/Place"}
    assert signature.schema["$defs"]["Place"]["properties"]["city"] == {"type": "string", "description": "Its name."}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({}, "city is missing", id="missing"),
        pytest.param({"city": None}, "city should be a valid string", id="null where something is needed"),
        pytest.param({"city": "Paris", "unit": "k"}, "unit should be 'c' or 'f'", id="not one of them"),
        pytest.param(
            {"town": "Paris"}, "city is missing; there is no parameter town; use one of city, unit", id="other name"
        ),
        pytest.param(
            {"city": "Paris", "units": "c"}, "there is no parameter units; did you mean unit?", id="nearly right name"
        ),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], said: str) -> None:
    """The error describes the mistake in plain words, without pydantic's name and links."""
    with pytest.raises(CallError) as raised:
        read_signature(google, "weather").bind(arguments, CONTEXT)

    assert str(raised.value) == said


def test_arguments_that_do_not_fit_inside() -> None:
    """A mistake inside an argument is reported with its path; messages of validators are kept."""

    def visit(place: Place, days: Few, note: Annotated[str, Field(max_length=3)]) -> None: ...

    with pytest.raises(CallError) as raised:
        read_signature(visit, "visit").bind({"place": {}, "days": 9, "note": "long"}, CONTEXT)

    assert str(raised.value) == (
        "place.city is missing; days: stay for a week at most; note: String should have at most 3 characters"
    )
    assert raised.value.__cause__ is None


def test_there_are_no_parameters() -> None:
    """An argument for a tool without parameters is an error."""

    def now() -> None: ...

    with pytest.raises(CallError, match=r"^there is no parameter zone; it has none$"):
        read_signature(now, "now").bind({"zone": "UTC"}, CONTEXT)


def test_null_for_what_is_left_out() -> None:
    """Null for an optional, not nullable parameter means the default; other mistakes stay errors."""

    def light(on: bool, brightness: int = 5, colour: str | None = "red") -> None: ...

    signature = read_signature(light, "light")

    assert signature.bind({"on": "true", "brightness": None, "colour": None}, CONTEXT) == (
        [],
        {"on": True, "brightness": 5, "colour": None},
    )
    with pytest.raises(CallError, match=r"^on is missing$"):
        signature.bind({"brightness": None}, CONTEXT)


def test_context() -> None:
    """A parameter annotated with the context gets it, at any position, and is not in the schema."""

    def first(ctx: ToolContext[str], city: str) -> None: ...

    def middle(city: str, ctx: ToolContext, /) -> None: ...  # type: ignore[type-arg]  # as people write it

    def optional(city: str, ctx: ToolContext[str] | None = None) -> None: ...

    def annotated(city: str, *, ctx: Annotated[ToolContext[str] | ToolContext[int], "x"]) -> None: ...

    expectations: list[tuple[Callable[..., None], Any]] = [
        (first, ([], {"city": "Paris", "ctx": CONTEXT})),
        (middle, (["Paris", CONTEXT], {})),
        (optional, ([], {"city": "Paris", "ctx": CONTEXT})),
        (annotated, ([], {"city": "Paris", "ctx": CONTEXT})),
    ]
    for function, expected in expectations:
        signature = read_signature(function, "tool")
        assert list(signature.schema["properties"]) == ["city"]
        assert signature.bind({"city": "Paris"}, CONTEXT) == expected
        with pytest.raises(CallError, match=r"^there is no parameter ctx"):
            signature.bind({"city": "Paris", "ctx": "mine"}, CONTEXT)


class Home:
    """A class with methods."""

    def lights(self, room: str) -> str:
        """Switch the lights off."""
        return room

    def __call__(self, room: str) -> str:
        """Enter a room."""
        return room


def test_callables() -> None:
    """Methods, callable objects and partials work; the model cannot set the arguments of a partial."""
    home = Home()

    assert list(read_signature(home.lights, "lights").schema["properties"]) == ["room"]
    assert list(read_signature(home, "home").schema["properties"]) == ["room"]
    part = functools.partial(google, unit="f")
    assert list(read_signature(part, "weather").schema["properties"]) == ["city"]
    assert read_signature(part, "weather").description == "Current weather in a city.\n\nIt is invented."
    with pytest.raises(CallError):
        read_signature(part, "weather").bind({"city": "Paris", "unit": "c"}, CONTEXT)


def test_read_once_and_forgotten_with_the_function() -> None:
    """The signature of a function or method is cached, and the cache keeps no function alive."""

    def tool(city: str) -> None: ...

    assert read_signature(tool, "tool") is read_signature(tool, "tool")
    assert read_signature(Home().lights, "lights") is read_signature(Home().lights, "lights")
    alive = weakref.ref(tool)
    del tool
    gc.collect()
    assert alive() is None


def _late(ratio: Fraction) -> None: ...


def _unsayable(then: Callable[[], None]) -> None: ...


def _unknown(home: Home) -> None: ...


def _contexts(contexts: list[ToolContext[str]]) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        pytest.param(
            _late,
            "The tool it cannot be offered: name 'Fraction' is not defined. Import it outside of TYPE_CHECKING.",
            id="a name for type checkers",
        ),
        pytest.param(
            _unsayable,
            "The tool it cannot be offered: Cannot generate a JsonSchema for core_schema.CallableSchema.",
            id="no JSON",
        ),
        pytest.param(_unknown, "The tool it cannot be offered: Unable to generate pydantic-core schema", id="class"),
        pytest.param(
            dict,
            "The tool it cannot be offered: the parameters of this type are not known; write a function around it.",
            id="no signature",
        ),
        pytest.param(7, "The tool it cannot be offered: the parameters of this int are not known", id="not callable"),
        pytest.param(
            functools.partial(google, "a", "c", "sk-secret"),  # type: ignore[call-arg]  # the mistake
            "The tool it cannot be offered: the parameters of this partial are not known",
            id="a partial with too many arguments",
        ),
        pytest.param(
            Home.lights,
            "The tool it cannot be offered: it is a method without its object; pass object.lights.",
            id="unbound method",
        ),
        pytest.param(
            _contexts, "The tool it cannot be offered: annotate contexts as ToolContext.", id="context inside a type"
        ),
    ],
)
def test_functions_that_cannot_be_offered(function: Callable[..., None], said: str) -> None:
    """The error names the tool and the reason."""
    with pytest.raises(ConfigError) as raised:
        read_signature(function, "it")

    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)
    assert "sk-secret" not in "".join(traceback.format_exception(raised.value))


class StrictPlan(BaseModel):
    """A model that accepts no other types than its own."""

    model_config = ConfigDict(strict=True)

    day: date
    unit: Unit
    pair: tuple[int, int]


def test_strict_types_are_filled_from_json() -> None:
    """A strict model gets dates, enums and tuples from the strings and lists that JSON has for them, and no others."""

    def plan(plan: StrictPlan) -> None: ...

    signature = read_signature(plan, "plan")

    assert signature.bind({"plan": {"day": "2026-12-24", "unit": "c", "pair": [1, 2]}}, CONTEXT) == (
        [],
        {"plan": StrictPlan(day=date(2026, 12, 24), unit=Unit.CELSIUS, pair=(1, 2))},
    )
    with pytest.raises(CallError, match=r"^plan\.pair\.0 should be a valid integer$"):
        signature.bind({"plan": {"day": "2026-12-24", "unit": "c", "pair": ["1", 2]}}, CONTEXT)


def test_null_for_a_default_in_the_annotation() -> None:
    """Null means the default, also where ``Field`` has it and not the signature."""

    def shop(
        items: Annotated[list[str], Field(default_factory=list)], number: Annotated[int, Field(default=3)]
    ) -> None: ...

    signature = read_signature(shop, "shop")

    assert "required" not in signature.schema
    assert signature.bind({"items": None, "number": None}, CONTEXT) == ([], {"items": [], "number": 3})


def test_arguments_that_are_no_json() -> None:
    """Values that a custom provider has read itself are validated as they are; half a surrogate pair is replaced."""

    def note(text: str, day: date) -> None: ...

    signature = read_signature(note, "note")

    assert signature.bind({"text": "x", "day": date(2026, 12, 24)}, CONTEXT) == (
        [],
        {"text": "x", "day": date(2026, 12, 24)},
    )
    assert signature.bind({"text": "\ud83d!", "day": "2026-12-24"}, CONTEXT)[1]["text"] == "\ufffd!"


def test_rest_of_the_arguments() -> None:
    """``*args`` is an optional list for the model; a function gets its items by position."""

    def add(first: float, *numbers: float, ctx: ToolContext[str]) -> None: ...

    def log(*lines) -> None: ...  # type: ignore[no-untyped-def]  # as people write it  # noqa: ANN002 - the same

    signature = read_signature(add, "add")

    assert signature.bind({"first": 1, "numbers": ["2", 3]}, CONTEXT) == ([1.0, 2.0, 3.0], {"ctx": CONTEXT})
    assert signature.bind({"first": 1}, CONTEXT) == ([1.0], {"ctx": CONTEXT})
    assert signature.bind({"first": 1, "numbers": None}, CONTEXT) == ([1.0], {"ctx": CONTEXT})
    assert read_signature(log, "log").schema["properties"]["lines"]["items"] == {}


def test_default_that_has_no_json(recwarn: pytest.WarningsRecorder) -> None:
    """It is left out of the schema, and no warning shows it."""

    def call(number: int, how: int = functools.partial(google, "sk-secret")) -> None: ...  # type: ignore[assignment]  # as people write it

    assert "default" not in read_signature(call, "call").schema["properties"]["how"]
    assert list(recwarn) == []


def test_no_pattern_that_strict_servers_refuse() -> None:
    """Patterns with a look-around stay here, where the value is validated; others go to the server."""

    def pay(amount: Annotated[str, Field(pattern="^[0-9]+$")], price: Decimal) -> None: ...

    signature = read_signature(pay, "pay")

    assert signature.schema["properties"]["amount"]["pattern"] == "^[0-9]+$"
    assert "(?" not in str(signature.schema)


def _result_for_type_checkers(city: str, unit: Literal["c"] = "c") -> Fraction:
    raise NotImplementedError


def test_result_that_only_type_checkers_know() -> None:
    """The annotation of the result is not needed."""
    signature = read_signature(_result_for_type_checkers, "it")

    assert signature.bind({"city": "Rome"}, CONTEXT) == ([], {"city": "Rome", "unit": "c"})
