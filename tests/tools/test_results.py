"""``adapters.tools.results``: return values of tools as text and images."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import count
from typing import Any

import pytest
from PIL import Image
from pydantic import BaseModel

from adapters.tools.results import MAX_IMAGE_CHARS, needs_thread, read_result

_PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
_URL = "data:image/png;base64," + base64.b64encode(_PNG).decode()
_PART = {"type": "image_url", "image_url": {"url": _URL}}


class Unit(Enum):
    """A unit."""

    CELSIUS = "c"


class Place(BaseModel):
    """A place."""

    city: str
    country: str | None = None


@dataclass
class Span:
    """Some days."""

    days: int


class Plain:
    """A class that pydantic does not know."""

    def __str__(self) -> str:
        return "plain"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "done", id="None"),
        pytest.param("text", "text", id="text"),
        pytest.param(Place(city="Paris"), '{"city": "Paris", "country": null}', id="model"),
        pytest.param([Span(3)], '[{"days": 3}]', id="dataclass"),
        pytest.param({Unit.CELSIUS: Decimal("1.5")}, '{"c": "1.5"}', id="enum and decimal"),
        pytest.param(datetime(2026, 11, 24, tzinfo=UTC), "2026-11-24T00:00:00Z", id="time"),
        pytest.param([Plain()], "plain", id="object"),
        pytest.param({"sky": "klar, 21 °C"}, '{"sky": "klar, 21 °C"}', id="characters"),
        pytest.param(["a", "b"], "a\nb", id="texts"),
        pytest.param(b"bytes", "bytes", id="bytes"),
        pytest.param({"raw": memoryview(b"\xff\xfe")}, '{"raw": "[2 bytes]"}', id="bytes that are no text"),
        pytest.param("\ud83d!", "\ufffd!", id="half a surrogate pair"),
    ],
)
def test_text(value: object, text: str) -> None:
    """Any value becomes text; of nothing it says that it is done."""
    assert read_result(value, 1000).text == text


def test_value_that_contains_itself() -> None:
    """It has no JSON, and is text all the same."""
    value: list[Any] = [1]
    value.append(value)

    assert read_result(value, 1000).text.startswith("[1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(lambda: (number for number in range(3)), "[0, 1, 2]", id="generator"),
        pytest.param(lambda: map(str, range(2)), "0\n1", id="map"),
        pytest.param(lambda: {"lines": iter(["a", "b"])}, '{"lines": ["a", "b"]}', id="inside"),
        pytest.param(lambda: iter([]), "[]", id="empty"),
    ],
)
def test_iterators(value: Any, text: str) -> None:
    """Iterators are read to their end, and they need a thread."""
    assert needs_thread(value())
    assert read_result(value(), 1000).text == text


def test_endless_iterator() -> None:
    """An endless one is read as far as its text may be long."""
    output = read_result(count(), 100)

    assert output.text.startswith("[0, 1, 2, 3")
    assert "[This result was cut: these are the first 100 of " in output.text


@pytest.mark.parametrize("length", [100, 101, 30_000_000])
def test_long_text(length: int) -> None:
    """A text is cut at the limit, and says so; one that is as long as the limit is not."""
    output = read_result("x" * length, 100)

    note = f"\n[This result was cut: these are the first 100 of {length} characters.]"
    assert output.text == "x" * 100 + ("" if length == 100 else note)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(_PART, "[image, image/png]", id="OpenAI part"),
        pytest.param(
            {"type": "image", "data": base64.b64encode(_PNG).decode(), "mimeType": "image/png"},
            "[image, image/png]",
            id="MCP content",
        ),
        pytest.param(_PNG, "[image, image/png]", id="bytes"),
        pytest.param(["Here:", _PNG], "Here:\n[image, image/png]", id="between texts"),
        pytest.param(({"type": "text", "text": "Here:"}, _PART), "Here:\n[image, image/png]", id="content"),
        pytest.param({"photo": {"front": _PNG}}, '{"photo": {"front": "[image, image/png]"}}', id="in an object"),
    ],
)
def test_image(value: object, text: str) -> None:
    """An image is a part for the model, and the text names it where it stood; its data is not in the text."""
    output = read_result(value, 1000)

    assert (output.text, output.images) == (text, (_PART,))
    assert "image_url" not in repr(output)


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_image_formats(data: bytes, mime_type: str) -> None:
    """Bytes are an image by their first bytes."""
    [image] = read_result(bytearray(data), 1000).images

    assert image["image_url"]["url"] == f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"type": "image_url", "image_url": "https://example.org/x.png"}, id="url that is no object"),
        pytest.param({"type": "image", "data": "cat.png"}, id="data without its type"),
        pytest.param({"type": "image", "data": 7, "mimeType": "image/png"}, id="data that is no text"),
        pytest.param([[[[_PART]]]], id="too deep"),
    ],
)
def test_value_that_only_looks_like_an_image(value: object) -> None:
    """It is text like any other value."""
    output = read_result(value, 1000)

    assert output.images == ()
    assert json.loads(output.text) == value


def test_image_by_address() -> None:
    """An image that the server is to fetch goes out as it is."""
    part = {"type": "image_url", "image_url": {"url": "https://example.org/x.png", "detail": "low"}}

    assert (read_result(part, 100).text, read_result(part, 100).images) == ("[image]", (part,))


def test_pillow_image() -> None:
    """A Pillow image is sent as PNG; encoding it needs a thread."""
    image = Image.new("RGB", (2, 1), "red")

    [part] = read_result([image], 1000).images

    assert needs_thread([image])
    assert part["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")


def test_images_have_a_limit() -> None:
    """Images beyond the limit are named only."""
    large = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (MAX_IMAGE_CHARS // 2)}}
    strange = {"type": "image_url", "image_url": {"url": None}}

    output = read_result([large, large, strange], 1000)

    assert output.text == "[image, image/png]\n[image, image/png, too large]\n[image]"
    assert output.images == (large, strange)


@pytest.mark.parametrize("value", ["text", 7, None, [1, {"a": "b"}], Place(city="Paris"), _PNG, [[[[iter("")]]]]])
def test_most_values_need_no_thread(value: object) -> None:
    """Values that neither run code nor take long are converted where they are."""
    assert not needs_thread(value)
