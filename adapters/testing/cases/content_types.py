"""Bodies whose type, encoding or form is another than was asked for or announced."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Final

from adapters.testing.answers import (
    DONE,
    SSE_END,
    STOP,
    Answer,
    answer,
    chunk,
    completion,
    event,
    http,
    http_chunk,
    raw_stream,
    reply,
    said,
    stream,
)
from adapters.testing.case import ALL, CHAT, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import BROKEN, HI, HI_EVENTS, HI_JSON, HI_SSE, head

if TYPE_CHECKING:
    from adapters.testing.case import Outcome


def _deflated(parts: list[bytes]) -> list[bytes]:
    """Compress parts one by one as one gzip stream, each flushed, as nginx does."""
    packer = zlib.compressobj(wbits=31)
    return [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts] + [packer.flush()]


_GZIP_SSE = (
    head("content-type: text/event-stream", "content-encoding: gzip", "transfer-encoding: chunked"),
    *map(http_chunk, _deflated([*map(event, HI_EVENTS), DONE])),
    SSE_END,
)

_URLS = ["data:image/png;base64,iVBORw0KGgo=", "https://images.example/2.png"]
_IMAGES = [{"type": "image_url", "image_url": {"url": url}, "index": index} for index, url in enumerate(_URLS)]
_PARTS = [{"type": "text", "text": "Here."}, *_IMAGES]


def _has_images(outcome: Outcome) -> bool:
    """Whether each image is in the response once, if the method returns one."""
    urls = [image["image_url"]["url"] for image in outcome.response.images] if outcome.response else None
    return urls in (None, _URLS)


CASES: Final = (
    WireCase("nginx-gzip-stream", "a compressed stream, flushed after each event", [_GZIP_SSE], HI, ways=STREAMS),
    WireCase(
        "nginx-gzip-json",
        "compressed JSON",
        [[http(gzip.compress(HI_JSON), content_encoding="gzip")]],
        HI,
        ways=CHAT,
    ),
    WireCase(
        "proxy-gzip-that-is-none",
        "the head says gzip, the body is none",
        [[http(HI_JSON, content_encoding="gzip")]],
        Failure(BROKEN, retryable=True),
    ),
    *[
        WireCase(
            f"clone-stream-as-{name}",
            f"an event stream whose content type is {content_type}",
            [[http(HI_SSE, content_type=content_type)]],
            HI,
            ways=STREAMS,
        )
        for name, content_type in (
            ("plain-text", "text/plain; charset=utf-8"),
            ("json", "application/json"),
            ("octet-stream", "application/octet-stream"),
            ("nothing", None),
        )
    ],
    *[
        WireCase(
            f"clone-json-as-{name}",
            f"JSON whose content type is {content_type}",
            [[http(HI_JSON, content_type=content_type)]],
            HI,
            ways=ALL,
        )
        for name, content_type in (("html", "text/html"), ("event-stream", "text/event-stream"), ("nothing", None))
    ],
    WireCase(
        "proxy-ignores-stream",
        "plain JSON where a stream was asked is used",
        [reply(completion({"content": "Hi there"}))],
        Success(text="Hi there", usage=(7, 3)),
        ways=STREAMS,
    ),
    WireCase(
        "proxy-always-streams",
        "a stream where plain JSON was asked is used",
        [stream(*HI_EVENTS, {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})],
        Success(text="Hi there", usage=(9, 2)),
        ways=CHAT,
    ),
    WireCase(
        "proxy-whole-completion-in-one-event",
        "a gateway that only pretends to stream sends one chat.completion as an event",
        [raw_stream(event(completion({"content": "Hi there"})), DONE)],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "omlx-spaces-before-json",
        "white space keeps the connection alive until the JSON comes",
        [[http(b"   \n \n" + HI_JSON + b"\n")]],
        HI,
        ways=CHAT,
    ),
    WireCase(
        "dotnet-bom-before-json", "JSON after a byte order mark", [[http(b"\xef\xbb\xbf" + HI_JSON)]], HI, ways=CHAT
    ),
    WireCase(
        "openrouter-images",
        "the model answers with images alone: they are in the response, and nothing is spoken",
        [answer(images=_IMAGES)],
        Success(holds=_has_images),
    ),
    WireCase(
        "openrouter-images-beside-text",
        "text and images, which the last event of a stream repeats",
        [
            Answer(
                reply(completion({"content": "Here it is.", "images": _IMAGES})),
                stream(said("Here it is."), chunk({"images": _IMAGES}), chunk({"images": _IMAGES}, "stop")),
            )
        ],
        Success(text="Here it is.", holds=_has_images),
    ),
    WireCase(
        "clone-images-in-content",
        "the images are parts of the content",
        [Answer(reply(completion({"content": _PARTS})), stream(chunk({"content": _PARTS}), STOP))],
        Success(text="Here.", holds=_has_images),
    ),
)
