"""HTTP itself: versions, lengths that lie, connections that break."""

from __future__ import annotations

import json
from typing import Final

from adapters.testing.answers import (
    DONE,
    SSE_HEAD,
    STOP,
    answer,
    completion,
    event,
    http_chunk,
    reply,
    said,
)
from adapters.testing.case import STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import TWO_TRIES

_HI = Success(text="Hi there")
_JSON = json.dumps(completion({"content": "Hi there"})).encode()
_EVENTS = (said("Hi"), said(" there"), STOP)
_SSE = b"".join(map(event, _EVENTS)) + DONE
_BROKEN = ("APIConnectionError", "IncompleteResponseError")


def _head(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} 200 OK", *lines, "", ""]).encode()


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
        [[SSE_HEAD, http_chunk(event(said("Hel"))), 0.1, b"zz\r\nxx\r\n", "eof"]],
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
        options=TWO_TRIES,  # the close may come a moment after the next request
        turns=2,
        requests=2,
    ),
)
