"""``wire.reader``: bytes of a body in, payloads out, however the bytes are cut and whatever the content type claims."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.testing.answers import SSE_HEAD, event, http_chunk, said
from adapters.testing.server import ScriptedServer
from adapters.wire.reader import BrokenBody, Payload, read, read_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from adapters.testing.answers import Script

ONE = {"a": 1}
TWO = {"b": "é\u2028\u2029\u0085"}  # line ends to Python, but not to an event stream
LINE, DONE = Payload("json", ONE), Payload("done")


class Pieces(httpx.AsyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, pieces: Iterable[bytes], error: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error


async def payloads(*pieces: bytes, **headers: str) -> list[Payload]:
    """Read a body that comes in these pieces."""
    response = httpx.Response(200, headers=headers, stream=Pieces(pieces))
    return [payload async for payload in read(response)]


async def until_broken(response: httpx.Response) -> tuple[list[Payload], BrokenBody | None]:
    """Read a body until it ends or breaks."""
    seen = []
    try:
        async for payload in read(response):
            seen.append(payload)  # noqa: PERF401 - what came before the exception is looked at too
    except BrokenBody as error:
        return seen, error
    return seen, None


def told(value: Any, name: str = "message") -> Payload:
    """The payload of an event; one without a name is called message."""
    return Payload("json", value, event=name)


def whole(value: Any) -> Payload:
    """The payload of a body that is one JSON document."""
    return Payload("json", value, whole=True)


def prose(text: str, event: str = "") -> Payload:
    """The payload of a body, or an event, without JSON."""
    return Payload("prose", text, whole=not event, event=event)


FIRST, SECOND = told(ONE), told(TWO)
STREAM = f"data: {json.dumps(ONE)}\n\ndata: {json.dumps(TWO, ensure_ascii=False)}\n\ndata: [DONE]\n\n".encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(STREAM, id="LF"),
        pytest.param(STREAM.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(STREAM.replace(b"\n", b"\r"), id="CR"),
        pytest.param(b"\xef\xbb\xbf" + STREAM, id="byte order mark"),
        pytest.param(b"\r\n \n" + STREAM, id="white space before it"),
        pytest.param(STREAM.replace(b"data: ", b"data:"), id="no space"),
        pytest.param(STREAM.replace(b"data: ", b"data:   "), id="many spaces"),
        pytest.param(STREAM.replace(b"data: ", b": ping\n\ndata: "), id="comments"),
        pytest.param(b": OPENROUTER PROCESSING\n\n" + STREAM, id="comment first"),
        pytest.param(STREAM.replace(b"data: ", b"id: 7\nretry: 9\nnonsense: x\nnonsense\ndata: "), id="other fields"),
        pytest.param(STREAM.rstrip(b"\n"), id="no blank line at the end"),
        pytest.param(STREAM.rstrip(b"\n") + b"\n", id="half a blank line at the end"),
        pytest.param(STREAM.replace(b"data: {", b"data: {\ndata: "), id="two lines of data"),
        pytest.param(STREAM.replace(b"\n\n", b"\n\ndata: \n\ndata\n\n"), id="empty events"),
        pytest.param(STREAM.replace(b"[DONE]", b" [DONE] "), id="spaces around the end"),
    ],
)
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "text/html", ""])
async def test_event_streams(body: bytes, content_type: str) -> None:
    """All that the standard allows is read, whatever the content type claims."""
    assert await payloads(body, **{"content-type": content_type}) == [FIRST, SECOND, DONE]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'event: error\ndata: {"a": 1}\n\n', [told(ONE, "error")], id="named"),
        pytest.param(b"event: error\ndata: No.\n\n", [prose("No.", "error")], id="named, with a sentence"),
        pytest.param(b"data: No.\n\n", [prose("No.", "message")], id="a sentence"),
        pytest.param(b'data: {"a": 1\n\n', [Payload("garbled", '{"a": 1', event="message")], id="cut JSON"),
        pytest.param(
            b'data: {"a": 1}{"a": 1}\n\n',
            [Payload("garbled", '{"a": 1}{"a": 1}', event="message")],
            id="two in one event",
        ),
        pytest.param(b'data: {"text": "[DONE]"}\n\n', [told({"text": "[DONE]"})], id="the end in a text"),
        pytest.param(b'data: "[DONE]"\n\n', [told("[DONE]")], id="the end in quotes"),
        pytest.param(b'data: {"a": "x\ty"}\n\n', [told({"a": "x\ty"})], id="raw tab in a string"),
        pytest.param(b'data: {"a": "\xff"}\n\n', [told({"a": "\ufffd"})], id="bytes that are no UTF-8"),
        pytest.param(
            b"data: " + b"[" * 99_999 + b"\n\n", [Payload("garbled", "[" * 2_000, event="message")], id="too deep"
        ),
        pytest.param(b"data: x" + b"y" * 9_999 + b"\n\n", [prose("x" + "y" * 1_999, "message")], id="long"),
        pytest.param(STREAM + b'data: {"a": 1}\n\n', [FIRST, SECOND, DONE, FIRST], id="more after the end"),
        pytest.param(b'error: {"a": 1}\n\n', [told(ONE, "error")], id="llama.cpp: a field of errors"),
        pytest.param(b'data: {"a": 1}\n\nerror: {"a": 1}\n\n', [FIRST, told(ONE, "error")], id="in the middle"),
        pytest.param(b'error: {"a": \n\n', [Payload("garbled", '{"a": ', event="error")], id="an error that is cut"),
        pytest.param(b": only\n: comments\n\n", [prose(": only\n: comments\n\n")], id="comments alone"),
        pytest.param(b"Bad Gateway", [prose("Bad Gateway")], id="a sentence without a stream"),
        pytest.param(b"x" * 9_999, [prose("x" * 2_000)], id="much without a stream"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\xef\xbb\xbf", [], id="a byte order mark"),
        pytest.param(b"\xef\xbb\xbf \r\n", [], id="white space"),
        pytest.param(b"\xef\xbb", [prose("\ufffd")], id="half a byte order mark"),
    ],
)
async def test_events(body: bytes, expected: list[Payload]) -> None:
    """Each event is one payload; what is no JSON keeps its words, and nothing at all is no payload."""
    assert await payloads(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"a": 1}', [whole(ONE)], id="object"),
        pytest.param(b'\xef\xbb\xbf\n {\n"a": 1\n}\n', [whole(ONE)], id="white space and byte order mark"),
        pytest.param(b'[{"a": 1}]', [whole([ONE])], id="list"),
        pytest.param(b'{"a": "x\ny"}', [whole({"a": "x\ny"})], id="raw newline in a string"),
        pytest.param(b'{"a": 1', [Payload("garbled", '{"a": 1', whole=True)], id="cut"),
        pytest.param(b'{"a": 1}\n{"a": 1}\n', [LINE, LINE], id="a document on each line"),
        pytest.param(b'{"a": 1}\n\n[DONE]', [LINE, DONE], id="lines with an end"),
        pytest.param(b'{"a": 1}\n{"a"', [Payload("garbled", '{"a": 1}\n{"a"', whole=True)], id="lines that are cut"),
        pytest.param(b"[" * 99_999, [Payload("garbled", "[" * 2_000, whole=True)], id="too deep"),
        pytest.param(b"<html>Log in</html>", [prose("<html>Log in</html>")], id="web page"),
        pytest.param(b"<" + b"x" * 9_999, [prose("<" + "x" * 1_999)], id="long web page"),
    ],
)
async def test_documents(body: bytes, expected: list[Payload]) -> None:
    """A body that is no stream of events is read as what it is: JSON, lines of JSON, or a page."""
    assert await payloads(body) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b'{"a": 1}', whole(ONE), id="object"),
        pytest.param(b'\xef\xbb\xbf {"a": 1}\n', whole(ONE), id="white space and byte order mark"),
        pytest.param(b'data: {"a": 1}\n\n', whole(ONE), id="an event"),
        pytest.param(b'event: error\r\ndata:{"a": 1}\r\n\r\ndata: [DONE]', whole(ONE), id="a named event"),
        pytest.param(b'{"a"', Payload("garbled", '{"a"', whole=True), id="cut"),
        pytest.param(b"Bad Gateway", prose("Bad Gateway"), id="text"),
        pytest.param(b"", prose(""), id="nothing"),
        pytest.param(b"7", whole(7), id="number"),
    ],
)
def test_bodies_of_errors(content: bytes, expected: Payload) -> None:
    """The body of an HTTP error is one document, also if it was written as an event."""
    assert read_whole(content) == expected


_BODIES = {
    "stream": b"\xef\xbb\xbf: hi\r\n" + STREAM.replace(b"\n", b"\r\n") + b'event: error\ndata: {"a": 1}\n\n',
    "document": b' \xef\xbb\xbf{"b": "\xc3\xa9"}',
    "lines": b'{"a": 1}\n{"b": "\xc3\xa9"}\n',
    "page": "<html><title>Schlüssel</title>".encode(),
    "words": "Bitte später".encode(),
    "error": b'data: {"a": 1}\n\nerror: {"b": 2}\n\n',
}


@given(st.sampled_from(list(_BODIES.values())), st.lists(st.integers(0, 120), max_size=12))
async def test_any_split_of_the_bytes_says_the_same(body: bytes, cuts: list[int]) -> None:
    """Where the network cuts the bytes changes nothing."""
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(edges)]

    assert await payloads(*pieces) == await payloads(body)


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in _BODIES.items()])
async def test_byte_by_byte_says_the_same(body: bytes) -> None:
    """One byte at a time is read like all of them at once."""
    assert await payloads(*(body[at : at + 1] for at in range(len(body)))) == await payloads(body)


@given(st.binary(max_size=200) | st.text(alphabet='data: {}[]"\\\n\rerror<\u2028', max_size=80).map(str.encode))
async def test_any_bytes_are_read(body: bytes) -> None:
    """No bytes raise anything, and none but blank ones say nothing."""
    said_something = await payloads(body)

    assert said_something or not body.removeprefix(b"\xef\xbb\xbf").strip()
    assert {payload.kind for payload in said_something} <= {"json", "done", "prose", "garbled"}


@pytest.mark.parametrize("size", [1, 4_096, 65_536], ids=["small", "medium", "large"])
async def test_a_large_event_costs_no_more_than_its_length(size: int) -> None:
    """An event of a megabyte, in pieces of any size, takes a moment and not a minute."""
    text = "x" * (1_000_000 if size > 1 else 50_000)
    body = f"data: {json.dumps({'text': text})}\n\n".encode()
    began_s = time.process_time()

    said_it = await payloads(*(body[at : at + size] for at in range(0, len(body), size)))

    assert said_it == [told({"text": text})]
    assert time.process_time() - began_s < 20  # a hang, not a benchmark


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        pytest.param("gzip", gzip.compress(STREAM), id="gzip"),
        pytest.param("deflate", zlib.compress(STREAM), id="deflate"),
        pytest.param("identity", STREAM, id="identity"),
    ],
)
async def test_compressed_streams(encoding: str, compressed: bytes) -> None:
    """A compressed stream says the same, cut anywhere."""
    pieces = [compressed[:10], compressed[10:11], compressed[11:]]

    assert await payloads(*pieces, **{"content-encoding": encoding}) == [FIRST, SECOND, DONE]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        pytest.param(httpx.ReadError("reset"), "ReadError: reset", id="reset"),
        pytest.param(httpx.RemoteProtocolError(""), "RemoteProtocolError", id="cut"),
        pytest.param(httpx.StreamClosed(), "StreamClosed: ", id="closed"),
    ],
)
async def test_a_body_that_breaks(error: Exception, cause: str) -> None:
    """What was whole is told first; then the body is broken, with a cause on which no request hangs."""
    response = httpx.Response(
        200, stream=Pieces([STREAM[:30]], error), request=httpx.Request("POST", "http://x", headers={"key": "SECRET"})
    )

    seen, broken = await until_broken(response)

    assert seen == [FIRST]
    assert str(broken) == type(error).__name__
    assert broken is not None
    assert type(broken.__cause__) is OSError
    assert str(broken.__cause__).startswith(cause)


async def test_broken_compression() -> None:
    """Bytes that are no gzip break the body."""
    with pytest.raises(BrokenBody, match="DecodingError"):
        await payloads(b"no gzip", **{"content-encoding": "gzip"})


@pytest.mark.parametrize(
    ("script", "breaks"),
    [
        pytest.param([SSE_HEAD, http_chunk(event(said("Hi"))), "eof"], True, id="chunks without an end"),
        pytest.param([SSE_HEAD, http_chunk(event(said("Hi"))), "rst"], True, id="reset"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n", event(said("Hi")), "eof"], True, id="less than promised"
        ),
        pytest.param([SSE_HEAD, http_chunk(event(said("Hi"))), b"zz\r\n", "eof"], True, id="no chunk"),
        pytest.param([b"HTTP/1.0 200 OK\r\n\r\n", event(said("Hi")), "eof"], False, id="HTTP/1.0 without a length"),
    ],
)
async def test_real_connections(script: Script, breaks: bool) -> None:
    """On a real connection a missing end is noticed, and an old server that only closes is not taken for broken."""
    async with (
        ScriptedServer() as server,
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("GET", server.add("case", script)) as response,
    ):
        seen, broken = await until_broken(response)

    assert seen == [told(said("Hi"))]
    assert (broken is not None) is breaks
