"""``transport.payloads``: bytes of a body in, payloads out, however the bytes are cut."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.transport.body import Fault, PayloadDecoder, error_in, read_error_body

ONE = {"a": 1}
TWO = {"b": "é\u2028\u2029\u0085"}  # line ends to Python, but not to an event stream
OOPS = {"error": {"message": "Oops."}}
MOST_BYTES = 2_000_000


@dataclass
class Seen:
    """What one body says."""

    payloads: list[Any]
    fault: Fault | None = None
    has_ended: bool = False
    is_whole: bool = False


def read(*pieces: bytes, most_bytes: int = MOST_BYTES) -> Seen:
    """Read a body that comes in these pieces, until it ends or says why it brings no more."""
    reader = PayloadDecoder(most_bytes)
    seen = []
    for piece in pieces:
        seen += reader.feed(piece)
        if reader.has_ended or reader.fault is not None:
            break
    else:
        seen += reader.finish()
    return Seen(seen, reader.fault, reader.has_ended, reader.is_whole)


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
        pytest.param(STREAM.replace(b"data: ", b"event: message\ndata: "), id="named events"),
        pytest.param(STREAM.replace(b"data: [", b"data: keep-alive\n\ndata: ["), id="words in between"),
        pytest.param(STREAM + b'data: {"a": 1}\n\n', id="more after the end"),
    ],
)
def test_event_streams(body: bytes) -> None:
    """All that the standard allows is read, and what is said after the end is nothing."""
    assert read(body) == Seen([ONE, TWO], has_ended=True)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'data: {"a": 1}\n\n', Seen([ONE]), id="no end"),
        pytest.param(b'event: error\ndata: {"a": 1}\n\n', Seen([], Fault("error", ONE)), id="a named error"),
        pytest.param(b'event: error\ndata: "No."\n\n', Seen([], Fault("error", "No.")), id="named, with a string"),
        pytest.param(b"event: error\ndata: No.\n\n", Seen([], Fault("prose", "No.")), id="named, with a sentence"),
        pytest.param(
            b'event: error\nid: 1\n\ndata: {"a": 1}\n\n', Seen([ONE]), id="the name of an event without data is gone"
        ),
        pytest.param(b'data: {"error": {"message": "Oops."}}\n\n', Seen([], Fault("error", OOPS["error"])), id="error"),
        pytest.param(
            b'data: {"a": 1}\n\ndata: {"error": "No."}\n\ndata: {"a": 1}\n\n',
            Seen([ONE], Fault("error", {"error": "No."})),
            id="an error in the middle is the end",
        ),
        pytest.param(
            b'data: {"choices": [{"x": 1}], "error": {"message": "Oops."}}\n\n',
            Seen([{"choices": [{"x": 1}], **OOPS}], Fault("error", OOPS["error"])),
            id="an error beside a piece of the answer",
        ),
        pytest.param(b"data: No.\n\n", Seen([]), id="words that keep the connection open"),
        pytest.param(b'data: {"a": 1\n\n', Seen([], Fault("garbled", '{"a": 1')), id="cut JSON"),
        pytest.param(
            b'data: {"a": 1}{"a": 1}\n\n', Seen([], Fault("garbled", '{"a": 1}{"a": 1}')), id="two in one event"
        ),
        pytest.param(
            b'data: {"a": 1}\n\ndata: {"a"\n\ndata: {"a": 1}\n\n',
            Seen([ONE], Fault("garbled", '{"a"')),
            id="garbled is the end",
        ),
        pytest.param(b'data: {"text": "[DONE]"}\n\n', Seen([{"text": "[DONE]"}]), id="the end in a text"),
        pytest.param(b'data: "[DONE]"\n\n', Seen(["[DONE]"]), id="the end in quotes"),
        pytest.param(b"data: [DONE]\n\n", Seen([], has_ended=True), id="the end alone"),
        pytest.param(b'data: {"a": "x\ty"}\n\n', Seen([{"a": "x\ty"}]), id="raw tab in a string"),
        pytest.param(b'data: {"a": "\xff"}\n\n', Seen([{"a": "\ufffd"}]), id="bytes that are no UTF-8"),
        pytest.param(b"data: " + b"[" * 99_999 + b"\n\n", Seen([], Fault("garbled", "[" * 2_000)), id="too deep"),
        pytest.param(
            b"event: error\ndata: x" + b"y" * 9_999 + b"\n\n", Seen([], Fault("prose", "x" + "y" * 1_999)), id="long"
        ),
        pytest.param(b'error: {"a": 1}\n\n', Seen([], Fault("error", ONE)), id="llama.cpp: a field of errors"),
        pytest.param(b'error:{"a": 1}\n\n', Seen([], Fault("error", ONE)), id="the same without a space"),
        pytest.param(b'data: {"a": 1}\n\nerror: {"a": 1}\n\n', Seen([ONE], Fault("error", ONE)), id="in the middle"),
        pytest.param(b'error: {"a": \n\n', Seen([], Fault("garbled", '{"a":')), id="an error that is cut"),
        pytest.param(
            b": only\n: comments\n\n", Seen([], Fault("prose", ": only\n: comments\n\n")), id="comments alone"
        ),
        pytest.param(b"Bad Gateway", Seen([], Fault("prose", "Bad Gateway")), id="a sentence without a stream"),
        pytest.param(b"x" * 9_999, Seen([], Fault("prose", "x" * 2_000)), id="much without a stream"),
        pytest.param(b"", Seen([]), id="nothing"),
        pytest.param(b"\xef\xbb\xbf", Seen([]), id="a byte order mark"),
        pytest.param(b"\xef\xbb\xbf \r\n", Seen([]), id="white space"),
        pytest.param(b"\xef\xbb", Seen([], Fault("prose", "\ufffd")), id="half a byte order mark"),
    ],
)
def test_events(body: bytes, expected: Seen) -> None:
    """Each event is one payload; what is no JSON keeps its words, and nothing at all is no payload."""
    assert read(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"a": 1}', Seen([ONE], None, has_ended=True, is_whole=True), id="object"),
        pytest.param(
            b'\xef\xbb\xbf\n {\n"a": 1\n}\n', Seen([ONE], None, has_ended=True, is_whole=True), id="white space around"
        ),
        pytest.param(b'[{"a": 1}]', Seen([[ONE]], None, has_ended=True, is_whole=True), id="list"),
        pytest.param(
            b'{"a": "x\ny"}', Seen([{"a": "x\ny"}], None, has_ended=True, is_whole=True), id="raw newline in a string"
        ),
        pytest.param(
            b'{"error": {"message": "Oops."}}',
            Seen([], Fault("error", OOPS["error"]), has_ended=True, is_whole=True),
            id="an error",
        ),
        pytest.param(b'{"a": 1', Seen([], Fault("garbled", '{"a": 1'), is_whole=True), id="cut"),
        pytest.param(b'{"a": 1}\n{"a": 1}\n', Seen([ONE, ONE]), id="a document on each line"),
        pytest.param(b'{"a": 1}\n\n[DONE]', Seen([ONE], has_ended=True), id="lines with an end"),
        pytest.param(
            b'{"a": 1}\n{"error": {"message": "Oops."}}\n', Seen([ONE], Fault("error", OOPS["error"])), id="a bad line"
        ),
        pytest.param(
            b'{"a": 1}\n{"a"', Seen([], Fault("garbled", '{"a": 1}\n{"a"'), is_whole=True), id="lines that are cut"
        ),
        pytest.param(b"[" * 99_999, Seen([], Fault("garbled", "[" * 2_000), is_whole=True), id="too deep"),
        pytest.param(b"<html>Log in</html>", Seen([], Fault("prose", "<html>Log in</html>")), id="web page"),
        pytest.param(b"<" + b"x" * 9_999, Seen([], Fault("prose", "<" + "x" * 1_999)), id="long web page"),
    ],
)
def test_documents(body: bytes, expected: Seen) -> None:
    """A body that is no stream of events is read as what it is: JSON, lines of JSON, or a page."""
    assert read(body) == expected


@pytest.mark.parametrize(
    ("pieces", "payloads"),
    [
        pytest.param([b"data: " + b"x" * 95], [], id="an endless line"),
        pytest.param([b'data: {"a": 1}\n\ndata: ', b"x" * 101], [ONE], id="an endless line after a good event"),
        pytest.param([b'data: {"a": 1}\n\ndata: ' + b"x" * 101], [ONE], id="the same at once"),
        pytest.param([b"data: x\n"] * 60, [], id="an endless event"),
        pytest.param([b"x" * 101], [], id="an endless line of nothing"),
        pytest.param([b"{" + b" " * 100], [], id="an endless document"),
        pytest.param([b"{", b" " * 60, b" " * 60], [], id="an endless document in pieces"),
    ],
)
def test_what_is_too_long(pieces: list[bytes], payloads: list[Any]) -> None:
    """One event, or one document, beyond the limit is the end, and what came before it is told."""
    seen = read(*pieces, most_bytes=100)

    assert (seen.payloads, seen.fault) == (payloads, Fault("too_long"))


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        pytest.param([b'data: {"a": 1}\n\n'] * 60, 60, id="many events"),
        pytest.param([b": " + b"x" * 50 + b"\n"] * 60 + [b'data: {"a": 1}\n\n'], 1, id="many comments"),
    ],
)
def test_what_is_long_in_all_but_not_in_one(pieces: list[bytes], count: int) -> None:
    """The limit is of one event and not of all of them: what is read is forgotten."""
    assert read(*pieces, most_bytes=100) == Seen([ONE] * count)


@pytest.mark.parametrize(
    "body", [STREAM, b"{" + b" " * 100, b"data: {\n\n", b"x" * 101], ids=["ended", "long document", "garbled", "long"]
)
def test_the_end_after_the_end_says_nothing(body: bytes) -> None:
    """A body that has ended, or that is bad, does not become another one when its bytes end."""
    reader = PayloadDecoder(100)
    reader.feed(body)
    ended, fault = reader.has_ended, reader.fault

    assert reader.finish() == []
    assert (reader.has_ended, reader.fault) == (ended, fault)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param({"error": {"message": "No."}}, {"message": "No."}, id="an error object"),
        pytest.param({"error": "No."}, {"error": "No."}, id="a string keeps what stands beside it"),
        pytest.param([{"error": {"code": 400}}], {"code": 400}, id="Google: in a list"),
        pytest.param({"x_groq": {"error": {"message": "No."}}}, {"message": "No."}, id="Groq: beside the answer"),
        pytest.param({"x_groq": {"id": "r"}, "choices": []}, None, id="Groq: no error"),
        pytest.param({"choices": [{"error": {"code": 502}}]}, {"code": 502}, id="OpenRouter: in the choice"),
        pytest.param({"choices": [{"error": "No."}]}, {"choices": [{"error": "No."}]}, id="a string in the choice"),
        pytest.param({"choices": {"error": {"code": 1}}}, {"code": 1}, id="choices that are no list"),
        pytest.param({"choices": [None, "x", {"delta": {}}]}, None, id="choices that are none"),
        pytest.param({"choices": [], "error": None}, None, id="null is no error"),
        pytest.param({"object": "error", "message": "No."}, {"object": "error", "message": "No."}, id="vLLM: flat"),
        pytest.param({"type": "error"}, {"type": "error"}, id="Anthropic: its type says so"),
        pytest.param({"detail": "No."}, {"detail": "No."}, id="FastAPI: a detail"),
        pytest.param({"message": "No."}, {"message": "No."}, id="a message alone"),
        pytest.param({"message": "Hi", "usage": {}}, None, id="a message with usage is an answer"),
        pytest.param({"usage": {}}, None, id="usage alone"),
        pytest.param({}, None, id="an empty object"),
        pytest.param([], None, id="an empty list"),
        pytest.param([1], None, id="a list of something else"),
        pytest.param("No.", None, id="a string"),
    ],
)
def test_errors_told_from_answers(payload: Any, expected: Any) -> None:
    """An error is found in every shape that servers have, and no answer is taken for one."""
    assert error_in(payload) == expected


@pytest.mark.parametrize("payload", [{"a": 1}, "No.", 7, {}], ids=repr)
def test_an_event_that_calls_itself_an_error_is_one(payload: Any) -> None:
    """What stands in an event of this name is an error in whatever shape."""
    assert error_in(payload, "error") == payload


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b'{"a": 1}', ONE, id="object"),
        pytest.param(b'\xef\xbb\xbf {"a": 1}\n', ONE, id="white space and byte order mark"),
        pytest.param(b'data: {"a": 1}\n\n', ONE, id="an event"),
        pytest.param(b'event: error\r\ndata:{"a": 1}\r\n\r\ndata: [DONE]', ONE, id="a named event"),
        pytest.param(b'{"a"', '{"a"', id="cut"),
        pytest.param(b"[" * 99_999, "[" * 2_000, id="too deep"),
        pytest.param(b"Bad Gateway", "Bad Gateway", id="text"),
        pytest.param(b"x\xff" * 4_000, "x\ufffd" * 1_000, id="long text that is no UTF-8"),
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"7", 7, id="number"),
    ],
)
def test_bodies_of_errors(content: bytes, expected: Any) -> None:
    """The body of an HTTP error is one document, also if it was written as an event."""
    assert read_error_body(content) == expected


_BODIES = {
    "stream": b"\xef\xbb\xbf: hi\r\n" + STREAM.replace(b"\n", b"\r\n") + b'event: error\ndata: {"a": 1}\n\n',
    "named": b'data: {"a": 1}\r\revent: error\rdata: {"b": "\xc3\xa9"}\r\r',
    "document": b' \xef\xbb\xbf{"b": "\xc3\xa9"}',
    "lines": b'{"a": 1}\n{"b": "\xc3\xa9"}\n',
    "page": "<html><title>Schlüssel</title>".encode(),
    "long page": b"<" + b"x" * 3_000,
    "words": "Bitte später".encode(),
    "error": b'data: {"a": 1}\n\nerror: {"b": 2}\n\n',
}


@given(st.sampled_from(list(_BODIES.values())), st.lists(st.integers(0, 120), max_size=12))
def test_any_split_of_the_bytes_says_the_same(body: bytes, cuts: list[int]) -> None:
    """Where the network cuts the bytes changes nothing."""
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(edges)]

    assert read(*pieces) == read(body)


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in _BODIES.items()])
def test_byte_by_byte_says_the_same(body: bytes) -> None:
    """One byte at a time is read like all of them at once."""
    assert read(*(body[at : at + 1] for at in range(len(body)))) == read(body)


@given(st.text(alphabet='data: {}[]"\\\n\rerror<\u2028', max_size=80).map(str.encode), st.integers(0, 80))
def test_any_split_of_any_bytes_says_the_same(body: bytes, cut: int) -> None:
    """The same for arbitrary bodies."""
    assert read(body[:cut], body[cut:]) == read(body)


@given(st.binary(max_size=200) | st.text(alphabet='data: {}[]"\\\n\rerror<\u2028', max_size=80).map(str.encode))
def test_any_bytes_are_read(body: bytes) -> None:
    """No bytes raise anything, and a fault is told only where something was said."""
    seen = read(body)

    if not body.removeprefix(b"\xef\xbb\xbf").strip():
        assert seen == Seen([])
    assert seen.fault is None or seen.fault.kind in ("error", "garbled", "prose")


@pytest.mark.parametrize("size", [1, 4_096, 65_536], ids=["small", "medium", "large"])
def test_a_large_event_costs_no_more_than_its_length(size: int) -> None:
    """An event of a megabyte, in pieces of any size, takes a moment and not a minute."""
    text = "x" * (1_000_000 if size > 1 else 50_000)
    body = f"data: {json.dumps({'text': text})}\n\n".encode()
    began_s = time.process_time()

    seen = read(*(body[at : at + size] for at in range(0, len(body), size)))

    assert seen == Seen([{"text": text}])
    assert time.process_time() - began_s < 20  # a hang, not a benchmark
