"""HTTP itself: versions, lengths that lie, connections that break."""

from __future__ import annotations

from typing import Final

from adapters.testing.answers import (
    SSE_HEAD,
    answer,
    completion,
    event,
    http_chunk,
    reply,
    said,
)
from adapters.testing.case import STREAMS, Failure, WireCase
from adapters.testing.cases.common import BROKEN, HI, HI_EVENTS, HI_JSON, HI_SSE, TWO_TRIES, head

CASES: Final = (
    WireCase(
        "mlx-http10-stream",
        "an HTTP/1.0 stream has no length; the closed connection is its end",
        [[head("content-type: text/event-stream", version="1.0"), HI_SSE, "eof"]],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "mlx-http10-json",
        "an HTTP/1.0 answer without length",
        [[head("content-type: application/json", version="1.0"), HI_JSON, "eof"]],
        HI,
    ),
    WireCase(
        "proxy-connection-close-stream",
        "an HTTP/1.1 stream that ends with the connection",
        [[head("content-type: text/event-stream", "connection: close"), HI_SSE, "eof"]],
        HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "cdn-early-hints",
        "103 Early Hints come before the answer",
        [[b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n", *answer("Hi", " there").stream]],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "proxy-length-too-long",
        "fewer bytes than the content length promises, in the middle of the JSON",
        [[head("content-type: application/json", f"content-length: {len(HI_JSON)}"), HI_JSON[:-40], "eof"]],
        Failure(BROKEN, retryable=True),
    ),
    WireCase(
        "proxy-length-too-short",
        "the content length cuts the JSON",
        [[head("content-type: application/json", f"content-length: {len(HI_JSON) - 40}"), HI_JSON, "eof"]],
        Failure(BROKEN, retryable=True),
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
        Failure(BROKEN, after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "server-resets-mid-stream",
        "the connection is reset after some text",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), 0.1, "rst"]],
        Failure(BROKEN, after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "balancer-resets-after-finish",
        "the answer was whole when the connection was reset",
        [[SSE_HEAD, *[http_chunk(event(one)) for one in HI_EVENTS], 0.1, "rst"]],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "proxy-garbled-chunk-size",
        "a chunk size that is no number, after some text",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), 0.1, b"zz\r\nxx\r\n", "eof"]],
        Failure(BROKEN, after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "reset-then-answer",
        "a broken connection is tried again",
        [["rst"], answer("Hi there")],
        HI,
        options={"retry": {"attempts": 2, "initial_wait_s": 0.01}},
        requests=2,
    ),
    WireCase(
        "nginx-closes-between-turns",
        "a kept-alive connection that was closed meanwhile is not used again",
        [[*reply(completion({"content": "Hi there"})), "eof"]],
        HI,
        options=TWO_TRIES,  # the close may come a moment after the next request
        turns=2,
        requests=2,
    ),
)
