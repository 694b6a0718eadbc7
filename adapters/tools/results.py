"""Convert the return value of a tool into text and images for the model."""

from __future__ import annotations

import base64
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeAlias

from pydantic_core import to_jsonable_python

from adapters.request.messages import text_of

ImagePart: TypeAlias = "dict[str, Any]"
"""An image in OpenAI format: ``{"type": "image_url", "image_url": {"url": …}}``."""

MAX_IMAGE_CHARS: Final = 20_000_000
"""Length of the data URLs of one result; servers refuse more."""

_DEPTH = 3  # of lists and dicts in which images and iterators are looked for
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)[;,]")
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool returned.

    Attributes:
        text: The result as text; it names each image where it stood.
        images: The images, in order.
    """

    text: str
    images: tuple[ImagePart, ...] = field(default=(), repr=False)


def read_result(value: object, max_chars: int) -> ToolOutput:
    """Convert the return value of a tool.

    Strings are text. Pydantic models, dataclasses, dates and the like become JSON, iterators are read to their end,
    and None is "done". Images are OpenAI parts, MCP image content, Pillow images and bytes in PNG, JPEG, GIF or WebP.

    Args:
        value: The return value.
        max_chars: Length at which the text is cut; the model reads that it was cut.
    """
    images: list[ImagePart] = []
    text = _text_of(_extract_images(value, images, max_chars, _DEPTH))
    if len(text) > max_chars:
        text = f"{text[:max_chars]}\n[This result was cut: these are the first {max_chars} of {len(text)} characters.]"
    return ToolOutput(text, tuple(images))


def _text_of(value: object) -> str:
    if value is None:
        return "done"
    if not isinstance(value, str):
        try:
            value = to_jsonable_python(value, fallback=str)
        except (ValueError, RecursionError):  # it contains itself, or half a surrogate pair
            value = str(value)
    return text_of(value) if value != [] else "[]"  # of an empty list the model would read nothing


def needs_thread(value: object, depth: int = _DEPTH) -> bool:
    """Whether the conversion of a value may block: it runs an iterator or encodes an image."""
    if isinstance(value, list | tuple | dict):
        items = value.values() if isinstance(value, dict) else value
        return depth > 0 and any(needs_thread(item, depth - 1) for item in items)
    return isinstance(value, Iterator) or _is_pillow(value)


def image_part(data: str, mime_type: str) -> ImagePart:
    """Return an image in OpenAI format.

    Args:
        data: The image in base64.
        mime_type: Its type, such as ``image/png``.
    """
    return {"type": "image_url", "image_url": {"url": f"data:{mime_type};base64,{data}"}}


def _extract_images(value: object, images: list[ImagePart], max_chars: int, depth: int) -> object:
    """Replace images by their names and collect them; read iterators and decode bytes."""
    if isinstance(value, Iterator):
        value = list(islice(value, max_chars + 1))  # each item has a character at least, so the rest would be cut
    if (part := _image_in(value)) is not None:
        return _keep(part, images)
    if isinstance(value, bytes | bytearray | memoryview):
        return _decoded(bytes(value))
    if depth == 0:
        return value
    if type(value) is dict:
        return {key: _extract_images(item, images, max_chars, depth - 1) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_extract_images(item, images, max_chars, depth - 1) for item in value]  # type: ignore[attr-defined]  # a list or tuple, which mypy does not see
    return value


def _image_in(value: object) -> ImagePart | None:
    """Return the image that a value is, or None."""
    if isinstance(value, dict):
        kind = value.get("type")
        if kind == "image_url" and isinstance(value.get("image_url"), dict):
            return value
        mime_type = value.get("mimeType") or value.get("mime_type")
        if kind == "image" and isinstance(value.get("data"), str) and isinstance(mime_type, str):
            return image_part(value["data"], mime_type)
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        return _image_of_bytes(bytes(value))
    if _is_pillow(value):
        file = io.BytesIO()
        value.save(file, format="PNG")  # type: ignore[attr-defined]  # of a library that is not a dependency
        return image_part(base64.b64encode(file.getvalue()).decode(), "image/png")
    return None


def _image_of_bytes(data: bytes) -> ImagePart | None:
    for signature, mime_type in _SIGNATURES:
        if data.startswith(signature):
            return image_part(base64.b64encode(data).decode(), mime_type)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return image_part(base64.b64encode(data).decode(), "image/webp")
    return None


def _is_pillow(value: object) -> bool:
    module = sys.modules.get("PIL.Image")  # loaded if there is such a value
    return module is not None and isinstance(value, module.Image)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"[{len(data)} bytes]"


def _keep(part: ImagePart, images: list[ImagePart]) -> str:
    """Collect an image and return its name."""
    url = part["image_url"].get("url")
    named = _DATA_URL.match(url) if isinstance(url, str) else None
    name = f"image, {named.group(1)}" if named else "image"
    if sum(len(str(image["image_url"].get("url"))) for image in (*images, part)) > MAX_IMAGE_CHARS:
        return f"[{name}, too large]"
    images.append(part)
    return f"[{name}]"
