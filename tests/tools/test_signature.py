"""Functions as the model sees them, and the model's arguments as functions get them."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable  # noqa: TC003 - annotations of tools are read when the program runs
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypedDict

from adapters.errors import ConfigError
from adapters.tools.signature import read_signature, told
from adapters.tools.tool import CallError, ToolContext
from adapters.types import ToolCall

if TYPE_CHECKING:
    from fractions import Fraction


class Unit(Enum):
    """How warmth is counted."""

    CELSIUS = "c"
    FAHRENHEIT = "f"


class Place(BaseModel):
    """Somewhere."""

    city: str = Field(description="Its name.")
    country: str | None = None


@dataclass
class Span:
    """Some days."""

    days: int


class Options(TypedDict):
    """What else."""

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
    """Each way of writing docstrings gives the same schema, and nothing of it but names, types and descriptions."""
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
    """A function that says nothing of itself and takes nothing can be offered all the same."""

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
    """Models, dataclasses, enums, typed dicts and dates go out as schemas and come back as values."""
    signature = read_signature(everything, "everything")

    in_order, by_name = signature.bind(
        {
            "place": {"city": "Paris"},
            "unit": "f",
            "span": {"days": "3"},
            "options": {"wind": "yes"},
            "day": "2026-12-24",
            "schema": None,
            "extra": "8",
        },
        CONTEXT,
    )

    assert in_order == [Place(city="Paris")]
    assert by_name == {
        "unit": Unit.FAHRENHEIT,
        "span": Span(3),
        "options": {"wind": True},
        "day": date(2026, 12, 24),
        "note": "",
        "plain": 7,
        "schema": None,
        "_hidden": 1.5,
        "extra": 8,
    }
    everything(*in_order, **by_name)
    properties = signature.schema["properties"]
    assert list(properties) == ["place", "unit", "span", "options", "day", "note", "plain", "schema", "_hidden"]
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
    """The model reads in plain words what is wrong, without the library's name and address."""
    with pytest.raises(CallError) as raised:
        read_signature(google, "weather").bind(arguments, CONTEXT)

    assert str(raised.value) == said


def test_arguments_that_do_not_fit_inside() -> None:
    """What is wrong deep inside an argument is told with its place; a validator's own words are told as they are."""

    def visit(place: Place, days: Few, note: Annotated[str, Field(max_length=3)]) -> None: ...

    with pytest.raises(CallError) as raised:
        read_signature(visit, "visit").bind({"place": {}, "days": 9, "note": "long"}, CONTEXT)

    assert str(raised.value) == (
        "place.city is missing; days: stay for a week at most; note: String should have at most 3 characters"
    )
    assert raised.value.__cause__ is None


def test_there_are_no_parameters() -> None:
    """Who invents a parameter of a tool that has none is told so."""

    def now() -> None: ...

    with pytest.raises(CallError, match=r"^there is no parameter zone; it has none$"):
        read_signature(now, "now").bind({"zone": "UTC"}, CONTEXT)


def test_null_for_what_is_left_out() -> None:
    """Null for a parameter that has a default, and no place for null, means the default; other faults stay faults."""

    def light(on: bool, brightness: int = 5, colour: str | None = "red") -> None: ...

    signature = read_signature(light, "light")

    assert signature.bind({"on": "true", "brightness": None, "colour": None}, CONTEXT) == (
        [],
        {"on": True, "brightness": 5, "colour": None},
    )
    with pytest.raises(CallError, match=r"^on is missing$"):
        signature.bind({"brightness": None}, CONTEXT)


def test_context() -> None:
    """A parameter annotated with the context is handed it, and is none of the model's business, wherever it stands."""

    def first(ctx: ToolContext[str], city: str) -> None: ...

    def middle(city: str, ctx: ToolContext, /) -> None: ...  # type: ignore[type-arg]  # as people write it

    expectations: list[tuple[Callable[..., None], Any]] = [
        (first, ([], {"city": "Paris", "ctx": CONTEXT})),
        (middle, (["Paris", CONTEXT], {})),
    ]
    for function, expected in expectations:
        signature = read_signature(function, "tool")
        assert list(signature.schema["properties"]) == ["city"]
        assert signature.bind({"city": "Paris"}, CONTEXT) == expected
        with pytest.raises(CallError, match=r"^there is no parameter ctx"):
            signature.bind({"city": "Paris", "ctx": "mine"}, CONTEXT)


class Home:
    """Something with tools."""

    def lights(self, room: str) -> str:
        """Switch the lights off."""
        return room

    def __call__(self, room: str) -> str:
        """Enter a room."""
        return room


def test_callables() -> None:
    """Methods, objects and partials are functions too; what a partial has filled in the model cannot change."""
    home = Home()

    assert list(read_signature(home.lights, "lights").schema["properties"]) == ["room"]
    assert list(read_signature(home, "home").schema["properties"]) == ["room"]
    part = functools.partial(google, unit="f")
    assert list(read_signature(part, "weather").schema["properties"]) == ["city"]
    assert read_signature(part, "weather").description == "Current weather in a city.\n\nIt is invented."
    with pytest.raises(CallError):
        read_signature(part, "weather").bind({"city": "Paris", "unit": "c"}, CONTEXT)


def test_read_once_and_forgotten_with_the_function() -> None:
    """Reading takes milliseconds, so it is done once for each function or method; it keeps no function alive."""

    def tool(city: str) -> None: ...

    assert read_signature(tool, "tool") is read_signature(tool, "tool")
    assert read_signature(Home().lights, "lights") is read_signature(Home().lights, "lights")
    assert list(read_signature(Home.lights, "lights").schema["properties"]) == ["self", "room"]
    alive = weakref.ref(tool)
    del tool
    gc.collect()
    assert alive() is None


def _late(ratio: Fraction) -> None: ...


def _unsayable(then: Callable[[], None]) -> None: ...


def _unknown(home: Home) -> None: ...


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
        pytest.param(dict, "The tool it cannot be offered: no signature found for builtin type", id="no signature"),
        pytest.param(7, "The tool it cannot be offered: 7 is not a callable object.", id="nothing to call"),
    ],
)
def test_functions_that_cannot_be_offered(function: Callable[..., None], said: str) -> None:
    """Their author is told which tool it is, and why."""
    with pytest.raises(ConfigError) as raised:
        read_signature(function, "it")

    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, "done", id="nothing"),
        pytest.param("text", "text", id="text"),
        pytest.param(Place(city="Paris"), {"city": "Paris", "country": None}, id="model"),
        pytest.param([Span(3)], [{"days": 3}], id="dataclass"),
        pytest.param({Unit.CELSIUS: Decimal("1.5")}, {"c": "1.5"}, id="enum and decimal"),
        pytest.param(datetime(2026, 11, 24, tzinfo=UTC), "2026-11-24T00:00:00Z", id="time"),
        pytest.param(Home, str(Home), id="anything"),
    ],
)
def test_results(value: object, expected: object) -> None:
    """What a function returns is told as JSON says it; of nothing, that it is done."""
    assert told(value) == expected
