"""HTTP itself: lengths that lie, connections that break, compression, content types, versions."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Final

from adapters.testing.answers import (
    DONE,
    SSE_END,
    SSE_HEAD,
    STOP,
    answer,
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

_HI = Success(text="Hi there")
_JSON = json.dumps(completion({"content": "Hi there"})).encode()
_EVENTS = (said("Hi"), said(" there"), STOP)
_SSE = b"".join(map(event, _EVENTS)) + DONE
_BROKEN = ("APIConnectionError", "IncompleteResponseError")


def _head(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} 200 OK", *lines, "", ""]).encode()


def _deflated(parts: list[bytes]) -> list[bytes]:
    """Compress parts one by one as one gzip stream, each flushed, as nginx does."""
    packer = zlib.compressobj(wbits=31)
    return [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts] + [packer.flush()]


_GZIP_SSE = (
    _head("content-type: text/event-stream", "content-encoding: gzip", "transfer-encoding: chunked"),
    *map(http_chunk, _deflated([*map(event, _EVENTS), DONE])),
    SSE_END,
)

CASES: Final = (
    WireCase(
        "mlx-http10-stream",
        "an HTTP/1.0 stream has no length; the closed connection is its end",
        [[_head("content-type: text/event-stream", version="1.0"), _SSE, "eof"]],
        _HI,
        ways=STREAMS,
    ),
    WireCase(
        "mlx-http10-json",
        "an HTTP/1.0 answer without length",
        [[_head("content-type: application/json", version="1.0"), _JSON, "eof"]],
        _HI,
    ),
    WireCase(
        "proxy-connection-close-stream",
        "an HTTP/1.1 stream that ends with the connection",
        [[_head("content-type: text/event-stream", "connection: close"), _SSE, "eof"]],
        _HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase("nginx-gzip-stream", "a compressed stream, flushed after each event", [_GZIP_SSE], _HI, ways=STREAMS),
    WireCase(
        "nginx-gzip-json",
        "compressed JSON",
        [[http(gzip.compress(_JSON), content_encoding="gzip")]],
        _HI,
        ways=CHAT,
    ),
    WireCase(
        "proxy-gzip-that-is-none",
        "the head says gzip, the body is none",
        [[http(_JSON, content_encoding="gzip")]],
        Failure(_BROKEN, retryable=True),
    ),
    *[
        WireCase(
            f"clone-stream-as-{name}",
            f"an event stream whose content type is {content_type}",
            [[http(_SSE, content_type=content_type)]],
            _HI,
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
            [[http(_JSON, content_type=content_type)]],
            _HI,
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
        [stream(*_EVENTS, {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})],
        Success(text="Hi there", usage=(9, 2)),
        ways=CHAT,
    ),
    WireCase(
        "proxy-whole-completion-in-one-event",
        "a gateway that only pretends to stream sends one chat.completion as an event",
        [raw_stream(event(completion({"content": "Hi there"})), DONE)],
        _HI,
        ways=STREAMS,
    ),
    WireCase(
        "omlx-spaces-before-json",
        "white space keeps the connection alive until the JSON comes",
        [[http(b"   \n \n" + _JSON + b"\n")]],
        _HI,
        ways=CHAT,
    ),
    WireCase(
        "dotnet-bom-before-json", "JSON after a byte order mark", [[http(b"\xef\xbb\xbf" + _JSON)]], _HI, ways=CHAT
    ),
    WireCase(
        "cdn-early-hints",
        "103 Early Hints come before the answer",
        [[b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n", *answer("Hi", " there").stream]],
        _HI,
        ways=STREAMS,
    ),
    WireCase(
        "proxy-length-too-long",
        "fewer bytes than the content length promises, in the middle of the JSON",
        [[_head("content-type: application/json", f"content-length: {len(_JSON)}"), _JSON[:-40], "eof"]],
        Failure(_BROKEN, retryable=True),
    ),
    WireCase(
        "proxy-length-too-short",
        "the content length cuts the JSON",
        [[_head("content-type: application/json", f"content-length: {len(_JSON) - 40}"), _JSON, "eof"]],
        Failure(_BROKEN, retryable=True),
    ),
    WireCase(
        "server-dies-before-answering",
        "the connection is closed without a byte",
        [["eof"]],
        Failure("APIConnectionError", status_code=None, retryable=True),
    ),
    WireCase(
        "server-resets-before-answering",
        "the connection is reset without a byte: one try is one request",
        [["rst"]],
        Failure("APIConnectionError", status_code=None, retryable=True),
    ),
    WireCase(
        "openrouter-resets-before-answering",
        "the connection is reset without a byte: one try is one request",
        [["rst"]],
        Failure("APIConnectionError", status_code=None, retryable=True),
        kind="openrouter",
    ),
    WireCase(
        "server-dies-in-head",
        "the head of the response is cut",
        [[b"HTTP/1.1 200 OK\r\ncontent-type: appli", "eof"]],
        Failure("APIConnectionError", retryable=True),
    ),
    WireCase(
        "ssh-on-that-port",
        "what answers is no HTTP server",
        [[b"SSH-2.0-OpenSSH_9.6\r\n", "eof"]],
        Failure("APIConnectionError", status_code=None),
    ),
    WireCase(
        "server-dies-mid-chunk",
        "the connection is closed in the middle of an HTTP chunk",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), b"5f\r\ndata: {", "eof"]],
        Failure(_BROKEN, after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "server-resets-mid-stream",
        "the connection is reset after some text",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), 0.1, "rst"]],
        Failure(_BROKEN, after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "balancer-resets-after-finish",
        "the answer was whole when the connection was reset",
        [[SSE_HEAD, *[http_chunk(event(one)) for one in _EVENTS], 0.1, "rst"]],
        _HI,
        ways=STREAMS,
    ),
    WireCase(
        "proxy-garbled-chunk-size",
        "a chunk size that is no number, after some text",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), b"zz\r\nxx\r\n", "eof"]],
        Failure(_BROKEN, after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "reset-then-answer",
        "a broken connection is tried again",
        [["rst"], answer("Hi there")],
        _HI,
        options={"retry": {"attempts": 2, "initial_wait_s": 0.01}},
        requests=2,
    ),
    WireCase(
        "nginx-closes-between-turns",
        "a kept-alive connection that was closed meanwhile is not used again",
        [[*reply(completion({"content": "Hi there"})), "eof"]],
        _HI,
        turns=2,
        requests=2,
    ),
)
