"""``adapters.request.response_format``: the form of an answer, from the caller's class to the checked value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import pytest
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from adapters.errors import BadRequestError, ConfigError, IncompleteResponseError
from adapters.factory import create_provider
from adapters.request.response_format import ResponseSchema, SchemaMismatchError, parse_response_format
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import answer, call, reply
from adapters.types import TextDelta

if TYPE_CHECKING:
    from adapters.client.provider import LiteLLMProvider
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

T = TypeVar("T")


class Place(BaseModel):
    """A place."""

    name: str


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]


class Weather(BaseModel):
    """The weather of a place."""

    place: Place = Field(description="Where.")
    days: list[int] = [1]
    pet: Cat | Dog | None = Field(default=None, discriminator="kind")
    notes: dict[str, str] = {}


class Box(BaseModel, Generic[T]):
    """A class whose name no server takes."""

    content: T


class Odd(BaseModel):
    """A class that has no JSON schema."""

    function: Callable[[], int]


_OSLO = {"place": {"name": "Oslo"}, "days": [1, 2], "pet": {"kind": "dog"}, "notes": {}}
_LIST = {"type": "json_schema", "json_schema": {"name": "list", "schema": {"type": "array"}}}
_NAMELESS = {"type": "json_schema"}
_OBJECT = {"type": "json_object"}


def test_class_becomes_a_strict_schema() -> None:
    """Objects are closed, all is required, nothing has a default, and references stand alone."""
    body = parse_response_format(Weather).body

    assert body["type"] == "json_schema"
    assert (body["json_schema"]["name"], body["json_schema"]["strict"]) == ("Weather", True)
    schema = body["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["place", "days", "pet", "notes"], False)
    assert schema["properties"]["place"] == {"anyOf": [{"$ref": "#/$defs/Place"}], "description": "Where."}
    assert schema["properties"]["days"]["items"] == {"type": "integer"}
    assert schema["properties"]["notes"]["additionalProperties"] == {"type": "string"}
    [pets, nothing] = schema["properties"]["pet"]["anyOf"]
    assert (pets, nothing) == ({"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}, {"type": "null"})
    assert schema["$defs"]["Place"]["additionalProperties"] is False
    assert not {'"default"', '"oneOf"', '"discriminator"'} & set(json.dumps(schema).replace(":", " ").split())
    assert parse_response_format(Weather).body is body


def test_name_that_a_server_takes() -> None:
    """A generic class has brackets in its name, which OpenAI refuses."""
    assert parse_response_format(Box[int]).body["json_schema"]["name"] == "Box_int_"


def test_format_in_openai_form_stays_as_it_is() -> None:
    """A server's own dialect is not touched."""
    assert parse_response_format(_LIST) == ResponseSchema(_LIST)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        pytest.param(dict, "response_format is the class dict. It must be a type with a schema", id="class"),
        pytest.param(Place(name="x"), "response_format is a Place. It must be a type with a schema", id="object"),
        pytest.param("json", "response_format is a str. It must be", id="text"),
        pytest.param(Odd, "No JSON schema can be made of Odd for response_format: ", id="no-schema"),
        pytest.param(asyncio.Event, "No JSON schema can be made of Event for response_format: ", id="other-class"),
        pytest.param(list[asyncio.Event], "No JSON schema can be made of list for response_format: ", id="other-item"),
    ],
)
def test_value_that_is_no_form(value: Any, hint: str) -> None:
    """What cannot be asked for is told before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        parse_response_format(value)

    assert str(caught.value).startswith(hint)
    assert caught.value.__context__ is None


@dataclass
class Trip:
    """A dataclass."""

    place: Place
    days: int = 1


class Forecast(TypedDict):
    """A typed dict."""

    day: date
    price: Decimal


class Node(BaseModel):
    """A model that contains itself."""

    name: str
    children: list[Node] = []


class Numbers(RootModel[list[int]]):
    """A model whose JSON is a list."""


@pytest.mark.parametrize(
    ("form", "content", "value"),
    [
        pytest.param(Trip, '{"place": {"name": "Oslo"}, "days": 2}', Trip(Place(name="Oslo"), 2), id="dataclass"),
        pytest.param(
            Forecast,
            '{"day": "2026-12-24", "price": 1.5}',
            {"day": date(2026, 12, 24), "price": Decimal("1.5")},
            id="TypedDict",
        ),
        pytest.param(Node, '{"name": "a", "children": []}', Node(name="a"), id="contains itself"),
        pytest.param(dict[str, int], '{"a": 1}', {"a": 1}, id="dict"),
    ],
)
def test_types_whose_json_is_an_object(form: Any, content: str, value: Any) -> None:
    """Their schema is that of the response."""
    schema = parse_response_format(form)

    root = schema.body["json_schema"]["schema"]
    assert root["type"] == "object"
    assert "value" not in root.get("properties", {})
    assert "(?" not in json.dumps(root)
    assert schema.read(content) == value


@pytest.mark.parametrize(
    ("form", "content", "value"),
    [
        pytest.param(list[Place], '[{"name": "Oslo"}]', [Place(name="Oslo")], id="list"),
        pytest.param(Cat | Dog, '{"kind": "dog"}', Dog(kind="dog"), id="union"),
        pytest.param(Trip | None, "null", None, id="or None"),
        pytest.param(Literal["yes", "no"], '"no"', "no", id="Literal"),
        pytest.param(Numbers, "[1, 2]", Numbers([1, 2]), id="root model"),
        pytest.param(int, "7", 7, id="number"),
        pytest.param(tuple[int, str], '[1, "\\ud83d\\ude00"]', (1, "😀"), id="tuple"),
        pytest.param(Annotated[list[int], {"x": []}], "[1]", [1], id="Annotated"),
        pytest.param(list[Node], '[{"name": "a", "children": []}]', [Node(name="a")], id="contains itself"),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False], ids=["as asked", "bare"])
def test_types_whose_json_is_no_object(form: Any, content: str, value: Any, *, wrapped: bool) -> None:
    """OpenAI requires an object, so the value is inside one; a server that ignores the schema may send it bare."""
    schema = parse_response_format(form)

    root = schema.body["json_schema"]["schema"]
    assert (root["type"], list(root["properties"]), root["required"]) == ("object", ["value"], ["value"])
    assert root["additionalProperties"] is False
    assert "$defs" not in root["properties"]["value"]
    assert schema.read(f'{{"value": {content}}}' if wrapped else content) == value


@pytest.mark.parametrize("content", ["Oslo.", '{"value": "maybe"}', '{"value": "yes", "why": ""}', "[" * 100_000])
def test_value_of_another_type(content: str) -> None:
    """Anything else does not match."""
    with pytest.raises(SchemaMismatchError):
        parse_response_format(Literal["yes", "no"]).read(content)


@pytest.mark.parametrize(
    ("form", "content", "expected"),
    [
        pytest.param(Weather, json.dumps(_OSLO), Weather.model_validate(_OSLO), id="class"),
        pytest.param(Place, '```json\n{"name": "Oslo"}\n```', Place(name="Oslo"), id="fence"),
        pytest.param(_OBJECT, ' ```\n{"a": 1}\n``` \n', {"a": 1}, id="fence-without-a-name"),
        pytest.param(_OBJECT, '{"a": "```"}', {"a": "```"}, id="fence-inside"),
        pytest.param(_LIST, "[1]", [1], id="list"),
        pytest.param(_NAMELESS, "{}", {}, id="no-schema"),
        pytest.param({"type": "text"}, "Hi", None, id="text"),
    ],
)
def test_answer_in_the_form(form: Any, content: str, expected: Any) -> None:
    """An answer is read into the class, or decoded."""
    assert parse_response_format(form).read(content) == expected


@pytest.mark.parametrize(
    ("form", "content", "says"),
    [
        pytest.param(Place, '{"name": 7}', "name: Input should be a valid string", id="type"),
        pytest.param(Place, "secret words", "the answer: Invalid JSON: expected value at line 1 column 1", id="prose"),
        pytest.param(_OBJECT, "secret words", "the answer is no JSON", id="json-prose"),
        pytest.param(_OBJECT, "[" * 200_000, "the answer is no JSON", id="depth"),
        pytest.param(_OBJECT, '["secret"]', "the answer is no JSON object", id="json-list"),
    ],
)
def test_answer_in_another_form(form: Any, content: str, says: str) -> None:
    """It is told what is wrong, without the words of the answer."""
    with pytest.raises(SchemaMismatchError) as caught:
        parse_response_format(form).read(content)

    assert str(caught.value) == says
    assert caught.value.__cause__ is None
    assert "secret" not in repr(caught.value)


def _provider(base_url: str, **options: Any) -> LiteLLMProvider:
    return create_provider(
        "openai_compatible",
        name="shop",
        model="m",
        base_url=base_url,
        api_key=KEY,
        **{"retry": {"attempts": 2}, **options},
    )


@pytest.mark.parametrize("tools", [None, list(TOOLS)], ids=["no tools", "tools"])
async def test_answer_is_parsed_in_each_way(scripted_server: ScriptedServer, tools: Any) -> None:
    """``chat`` and the last event bring the instance; what is sent is OpenAI's field; the text is untouched."""
    base_url = scripted_server.add("parsed", answer('{"na', 'me": "Oslo"}'))

    async with _provider(base_url) as provider:
        response = await provider.chat(list(ASK), tools, response_format=Place)
        events = [event async for event in provider.stream_events(list(ASK), tools, response_format=Place)]
        text = "".join([piece async for piece in provider.chat_stream(list(ASK), tools, response_format=Place)])
        plain = await provider.chat(list(ASK), tools)

    assert response.parsed == Place(name="Oslo")
    assert events[-1].response.parsed == Place(name="Oslo")  # type: ignore[union-attr]  # the last one
    assert response.content == text == '{"name": "Oslo"}'
    assert plain.parsed is None
    bodies = scripted_server.seen["parsed"].bodies
    assert [body.get("response_format") for body in bodies] == [parse_response_format(Place).body] * 3 + [None]


async def test_answer_in_another_form_is_asked_for_once_more(scripted_server: ScriptedServer) -> None:
    """``chat`` asks again, once; the second request counts."""
    base_url = scripted_server.add("again", answer("Oslo."), answer('{"name": "Oslo"}'))

    async with _provider(base_url) as provider:
        response = await provider.chat(list(ASK), response_format=Place)

    assert (response.parsed, response.attempts) == (Place(name="Oslo"), 2)


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        pytest.param({}, 2, id="twice"),
        pytest.param({"max_retries": 5}, 2, id="no more than twice"),
        pytest.param({"max_retries": 0}, 1, id="no retries"),
    ],
)
async def test_answer_that_stays_in_another_form(
    scripted_server: ScriptedServer, options: dict[str, Any], requests: int
) -> None:
    """Then the caller is told, in words without the answer's; the cause says what is wrong."""
    base_url = scripted_server.add("never", answer("Secret."))

    async with _provider(base_url) as provider:
        with pytest.raises(
            IncompleteResponseError, match=r"^The answer of shop does not match response_format"
        ) as caught:
            await provider.chat(list(ASK), response_format=Place, **options)

    assert caught.value.retryable
    assert str(caught.value.__cause__) == "the answer: Invalid JSON: expected value at line 1 column 1"
    assert len(scripted_server.seen["never"].bodies) == requests


async def test_stream_in_another_form_ends_with_the_error(scripted_server: ScriptedServer) -> None:
    """What was yielded stays valid, and nothing is asked again."""
    base_url = scripted_server.add("streamed", answer("Oslo."))
    said = []

    async with _provider(base_url) as provider:
        with pytest.raises(IncompleteResponseError, match="does not match response_format"):  # noqa: PT012 - a loop is one
            async for event in provider.stream_events(list(ASK), response_format=Place):
                said.append(event)  # noqa: PERF401 - what came before the error counts

    assert said == [TextDelta("Oslo.")]
    assert len(scripted_server.seen["streamed"].bodies) == 1


async def test_answer_that_was_cut(scripted_server: ScriptedServer) -> None:
    """Another try would be cut, too; the person is told what to change."""
    base_url = scripted_server.add("cut", answer('{"name": "Os', finish="length"))

    async with _provider(base_url) as provider:
        with pytest.raises(IncompleteResponseError, match="reached max_tokens") as caught:
            await provider.chat(list(ASK), response_format=Place)

    assert not caught.value.retryable
    assert len(scripted_server.seen["cut"].bodies) == 1


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(answer(refusal="I will not."), id="refusal"),
        pytest.param(answer(calls=[call("lights_off", "{}")]), id="call"),
        pytest.param(answer("One moment.", calls=[call("lights_off", "{}")]), id="text and call"),
    ],
)
async def test_answer_that_has_no_form(scripted_server: ScriptedServer, step: Any) -> None:
    """A model that declines, or calls a tool first, has not broken the form."""
    base_url = scripted_server.add("formless", step)

    async with _provider(base_url) as provider:
        response = await provider.chat(list(ASK), list(TOOLS), response_format=Place)

    assert response.parsed is None
    assert response.tool_calls or response.refusal == response.content == "I will not."


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param("400 Bad Request", "Unsupported parameter: response_format", id="400"),
        pytest.param("404 Not Found", "No endpoints found that support response_format", id="OpenRouter"),
        pytest.param("422 Unprocessable Entity", "json_schema is not supported", id="422"),
        pytest.param("500 Internal Server Error", "Unsupported param: response_format", id="llama.cpp"),
    ],
)
async def test_server_that_refuses_the_form(scripted_server: ScriptedServer, status: str, message: str) -> None:
    """It is told, and never asked again without: the answer would be another than the one that was asked for."""
    base_url = scripted_server.add("refused", reply({"error": {"message": message}}, status), answer("Oslo."))

    async with _provider(base_url) as provider:
        with pytest.raises(BadRequestError, match=r"^shop does not support response_format"):
            await provider.chat(list(ASK), response_format=Place)

    assert len(scripted_server.seen["refused"].bodies) == 1


def test_llama_cpp_keeps_the_form() -> None:
    """A real server holds a model to the schema; even one that knows nothing but canned sentences."""
    pytest.importorskip("xllamacpp")

    async def ask() -> Any:
        async with create_provider("local", model="demo", temperature=0, max_tokens=200) as provider:
            return await provider.chat([{"role": "user", "content": "Hello"}], response_format=Cat)

    assert asyncio.run(ask()).parsed == Cat(kind="cat")
