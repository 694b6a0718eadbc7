"""Response bytes -> JSON payloads, for streamed and whole answers alike.

What a server was asked for and what it sends are two things: some ignore ``stream``, some stream always, some sit
behind a page that asks for a login. So the body itself decides how it is read; the content type does not.
What a payload means is ``chunks``' job.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import httpx
from httpx_sse import EventSource

from adapters.wire.failures import without_request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

_BOM = codecs.BOM_UTF8
_EVENT_STREAM = {"content-type": "text/event-stream"}
_ERROR_EVENT = re.compile(rb"\A(?:event:[^\r\n]*[\r\n]+)?data:[ ]?(\{[^\r\n]*)")
_ERROR_LINE = re.compile(rb"(?:\A|[\r\n])error:[ ]?(\{[^\r\n]*)")  # older llama.cpp: a field of its own, no data
_TAIL_BYTES = 4_096  # an error is the last thing that a stream says
_PROSE_CHARS = 2_000  # of a body that is neither JSON nor a stream: enough to find its title or message

Kind = Literal["json", "done", "prose", "garbled"]


@dataclass(frozen=True, slots=True)
class Payload:
    """One thing that a body said.

    Attributes:
        kind: ``json`` for a JSON value; ``done`` for the end mark of a stream; ``prose`` for a body or an event
            that is no JSON at all, such as a web page; ``garbled`` for JSON that is broken or cut.
        value: The JSON value, or the prose.
        whole: Whether the body is one JSON document rather than a stream of events.
        event: Name of the server-sent event, or "".
    """

    kind: Kind
    value: Any = None
    whole: bool = False
    event: str = ""


class BrokenBody(Exception):  # noqa: N818 - it becomes an APIConnectionError; the name says what happened
    """The body broke off, or its compression is broken."""


async def read(response: httpx.Response) -> AsyncGenerator[Payload, None]:
    """Read a body, event by event or whole.

    Args:
        response: A response whose body has not been read yet.

    Yields:
        What the body says, in order. What follows the end mark is only good for reading the body to its end.

    Raises:
        BrokenBody: If the body cannot be read to its end.
    """
    try:
        async with aclosing(_payloads(response)) as payloads:
            async for payload in payloads:
                yield payload
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise BrokenBody(type(error).__name__) from without_request(error)


async def _payloads(response: httpx.Response) -> AsyncGenerator[Payload, None]:
    async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes())) as source:
        head = await _significant_head(source)
        read_on = _whole if head[:1] in (b"{", b"[") else _page if head[:1] == b"<" else _events
        async for payload in read_on(head, source):
            yield payload


async def _whole(head: bytes, source: AsyncIterator[bytes]) -> AsyncIterator[Payload]:
    rest = [data async for data in source]
    for payload in _documents(head + b"".join(rest)):
        yield payload


async def _page(head: bytes, source: AsyncIterator[bytes]) -> AsyncIterator[Payload]:
    rest = [data async for data in source]
    yield Payload("prose", (head + b"".join(rest))[:_PROSE_CHARS].decode("utf-8", "replace"), whole=True)


def read_whole(content: bytes) -> Payload:
    """Read a body that is no stream, such as that of an HTTP error; some servers write it as an event all the same."""
    content = content.removeprefix(_BOM).strip()
    event = _ERROR_EVENT.search(content)
    return _document(event.group(1) if event else content)


async def _significant_head(source: AsyncIterator[bytes]) -> bytes:
    """Read until something other than white space and the byte order mark is there; b"" if nothing is."""
    head = b""
    async for data in source:
        head = (head + data).lstrip()
        if len(head) < len(_BOM) and _BOM.startswith(head):
            continue
        head = head.removeprefix(_BOM).lstrip()
        if head:
            return head
    return head


def _documents(content: bytes) -> Iterator[Payload]:
    """One JSON document, or a stream of one on each line, as servers with an API of their own write it."""
    document = _document(content)
    lines: list[Payload] = []
    if document.kind == "garbled":
        lines = [said for line in content.decode("utf-8", "replace").split("\n") if (said := _event(line, ""))]
    if len(lines) > 1 and all(line.kind != "garbled" for line in lines):
        yield from lines
    else:
        yield document


def _document(content: bytes) -> Payload:
    text = content.decode("utf-8", "replace")
    try:
        return Payload("json", json.loads(text, strict=False), whole=True)
    except (ValueError, RecursionError):
        kind: Kind = "garbled" if text[:1] in ("{", "[") else "prose"
        return Payload(kind, text[:_PROSE_CHARS], whole=True)


async def _events(head: bytes, source: AsyncIterator[bytes]) -> AsyncIterator[Payload]:
    if not head:
        return
    stream = _EventBytes(head, source)
    events = EventSource(httpx.Response(200, headers=_EVENT_STREAM, stream=stream)).aiter_sse()
    named = False
    async with aclosing(events):
        async for event in events:
            payload = _event(event.data, event.event)
            if payload is not None:
                named = True
                yield payload
    if error := _ERROR_LINE.search(stream.tail):
        yield _said(error.group(1).decode("utf-8", "replace"), "error")
    elif not named:
        # Not one event: the body was plain text, and it may say what is wrong.
        yield Payload("prose", stream.head[:_PROSE_CHARS].decode("utf-8", "replace"), whole=True)


def _event(data: str, name: str) -> Payload | None:
    data = data.strip()
    return _said(data, name) if data else None


def _said(data: str, name: str) -> Payload:
    if data == "[DONE]":
        return Payload("done")
    try:
        return Payload("json", json.loads(data, strict=False), event=name)
    except (ValueError, RecursionError):
        kind: Kind = "garbled" if re.match(r"[{\[]", data) else "prose"
        return Payload(kind, data[:_PROSE_CHARS], event=name)


class _EventBytes(httpx.AsyncByteStream):
    """The bytes of an event stream, always ended by a blank line so that an unfinished last event is not lost."""

    def __init__(self, head: bytes, source: AsyncIterator[bytes]) -> None:
        self.head = head
        self.tail = head
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.head
        async for data in self._source:
            if len(self.head) < _PROSE_CHARS:
                self.head += data
            self.tail = (self.tail + data)[-_TAIL_BYTES:]
            yield data
        yield b"\n\n"
