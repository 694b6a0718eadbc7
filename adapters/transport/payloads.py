"""The bytes of a body -> JSON payloads, for streamed and whole answers alike; no waiting, no HTTP.

What a server was asked for and what it sends are two things: some ignore ``stream``, some stream always, some sit
behind a page that asks for a login. So the body itself decides how it is read; the content type does not. What a
payload means for the answer is told in ``adapters.response.chunks``; here only errors are told from answers.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.types import Json

_DECODE = json.JSONDecoder(strict=False).decode  # raw newlines inside strings are common
_BOM = codecs.BOM_UTF8
_ERROR_EVENT = re.compile(rb"\A(?:event:[^\r\n]*[\r\n]+)?data:[ ]?(\{[^\r\n]*)")
_PROSE_BYTES = 2_000  # of a body that is neither JSON nor a stream: enough to find its title or message

FaultKind = Literal["error", "garbled", "prose", "too_long"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a body brings no answer, or no more of it.

    Attributes:
        kind: ``error`` for a server that says in JSON that it failed; ``garbled`` for JSON that is broken or cut;
            ``prose`` for words that are no JSON at all, such as a web page; ``too_long`` for one event, or one
            document, that is longer than anybody may send.
        value: What was said: the JSON value of an error, else the beginning of the text.
    """

    kind: FaultKind
    value: Json = None


class PayloadDecoder:
    """Reads one body as it comes.

    Args:
        most_bytes: The longest event, or the longest body that is one document.

    Attributes:
        is_whole: Whether the body is one JSON document rather than a stream of events.
        has_ended: Whether the server said itself that nothing follows: ``[DONE]``, or a document that is whole.
        fault: Why there is no more, or None. What came before it stays valid.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        # Not bound: with itself in an attribute it would stay in memory until the next collection.
        self._feed: Callable[[PayloadDecoder, bytes, list[Json]], None] = PayloadDecoder._feed_head
        self._head = b""  # of a stream without events: it may say what is wrong
        self._pieces: list[bytes] = []  # of a line, or of a document, that goes on
        self._data: list[bytes] = []  # the lines of an event that goes on
        self._open_bytes = 0  # of both
        self._name = ""
        self._after_cr = False
        self._had_event = False
        self.is_whole = False
        self.has_ended = False
        self.fault: Fault | None = None

    def feed(self, data: bytes) -> list[Json]:
        """Take more of the body.

        Args:
            data: The next bytes, cut anywhere.

        Returns:
            The payloads that are complete now, in order.
        """
        payloads: list[Json] = []
        self._feed(self, data, payloads)
        return payloads

    def finish(self) -> list[Json]:
        """Take the end of the body for the end of what it holds: an unfinished last event is read all the same."""
        payloads: list[Json] = []
        if self.is_whole:
            self._read_documents(b"".join(self._pieces), payloads)
        elif self._feed is PayloadDecoder._feed_page:
            self.fault = _prose(b"".join(self._pieces))
        elif self._feed is PayloadDecoder._feed_head:
            if self._head:
                self.fault = _prose(self._head)  # half a byte order mark
        elif not (self.has_ended or self.fault):
            head = self._head
            self._feed_events(b"\n\n", payloads)
            if not self._had_event and self.fault is None:
                self.fault = _prose(head)  # not one event: the body was plain text
        return payloads

    def _feed_head(self, data: bytes, payloads: list[Json]) -> None:
        """Look for the first byte that is neither white space nor the byte order mark: it tells what follows."""
        head = (self._head + data).lstrip()
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return
        head = head.removeprefix(_BOM).lstrip()
        self._head = b""
        if head:
            self.is_whole = head[:1] in (b"{", b"[")
            if self.is_whole:
                self._feed = PayloadDecoder._feed_document
            elif head[:1] == b"<":
                self._feed = PayloadDecoder._feed_page
            else:
                self._feed = PayloadDecoder._feed_events
            self._feed(self, head, payloads)

    def _feed_document(self, data: bytes, _: list[Json]) -> None:
        self._pieces.append(data)
        self._open_bytes += len(data)
        if self._open_bytes > self._most_bytes:
            self.fault = Fault("too_long")
            self._pieces.clear()

    def _feed_page(self, data: bytes, _: list[Json]) -> None:
        self._pieces.append(data)
        self._open_bytes += len(data)
        if self._open_bytes > _PROSE_BYTES:
            self.fault = _prose(b"".join(self._pieces))

    def _feed_events(self, data: bytes, payloads: list[Json]) -> None:
        """Read lines by the rules of event streams: CR, LF or both end one."""
        if not self._had_event and len(self._head) < _PROSE_BYTES:
            self._head = (self._head + data)[:_PROSE_BYTES]
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, newline, rest = data.partition(b"\n")
        self._pieces.append(first)
        self._open_bytes += len(first)
        if newline and self._open_bytes <= self._most_bytes:
            *lines, last = rest.split(b"\n")
            lines.insert(0, self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
            self._pieces = [last]
            for line in lines:
                self._read_line(line, payloads)
                if self.has_ended or self.fault is not None:
                    return
            self._open_bytes = sum(map(len, self._data)) + len(last)
        if self._open_bytes > self._most_bytes:
            self.fault = Fault("too_long")

    def _read_line(self, line: bytes, payloads: list[Json]) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:])
        elif not line:
            data, self._data, name, self._name = self._data, [], self._name, ""
            if data:
                self._read_event(data[0] if len(data) == 1 else b"\n".join(data), name, payloads)
        elif line.startswith(b"event:"):
            self._name = line[6:].decode("utf-8", "replace").strip()
        elif line.startswith((b"error: {", b"error:{")):
            self._read_event(line[6:], "error", payloads)  # older llama.cpp: a field of its own, no data

    def _read_event(self, data: bytes, name: str, payloads: list[Json]) -> None:
        text = data.decode("utf-8", "replace").strip()
        if text == "[DONE]":
            self.has_ended = self._had_event = True
        elif text:
            self._had_event = True
            try:
                payload = _DECODE(text)
            except (ValueError, RecursionError):
                if text[0] in "{[":
                    self.fault = Fault("garbled", text[:_PROSE_BYTES])
                elif name == "error":
                    self.fault = Fault("prose", text[:_PROSE_BYTES])
            else:
                self._take(payload, name, payloads)

    def _read_documents(self, content: bytes, payloads: list[Json]) -> None:
        """One JSON document, or a stream of one on each line, as servers with an API of their own write it."""
        if self.fault is not None:
            return
        try:
            payload = _DECODE(content.decode("utf-8", "replace").strip())
        except (ValueError, RecursionError):
            self.is_whole = False
            for line in content.split(b"\n"):
                self._read_event(line, "", payloads)
                if self.fault is not None and self.fault.kind == "garbled":
                    self.is_whole, self.fault = True, Fault("garbled", _beginning(content))
                    payloads.clear()
                    return
        else:
            self.has_ended = True
            self._take(payload, "", payloads)

    def _take(self, payload: Json, name: str, payloads: list[Json]) -> None:
        """Tell an error from a payload; one that holds both is both, because its text came before the error."""
        error = error_in(payload, name)
        if error is not None:
            self.fault = Fault("error", error)
        if error is None or (isinstance(payload, dict) and "choices" in payload):
            payloads.append(payload)


def error_in(payload: Json, event: str = "") -> Json | None:
    """The error that a payload carries, in whatever shape, or None.

    Args:
        payload: A JSON value.
        event: Name of the server-sent event that carried it.
    """
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Google wraps its errors in a list
    if not isinstance(payload, dict):
        return payload if event == "error" else None
    if (error := payload.get("error")) or (error := _inner(payload.get("x_groq"))):
        return payload if isinstance(error, str) else error
    if "choices" in payload:
        choices = payload["choices"]
        for choice in choices if isinstance(choices, list) else (choices,):
            if error := _inner(choice):
                return payload if isinstance(error, str) else error
        return None
    flat = event == "error" or payload.get("object") == "error" or payload.get("type") == "error"
    says = (payload.get("detail") or payload.get("message")) and "usage" not in payload
    return payload if flat or says else None


def _inner(part: Json) -> Json:
    return part.get("error") if isinstance(part, dict) else None


def read_error_body(content: bytes) -> Json:
    """Read the body of an HTTP error: its JSON, or the beginning of its text; some servers write it as an event."""
    content = content.removeprefix(_BOM).strip()
    event = _ERROR_EVENT.search(content)
    text = (event.group(1) if event else content).decode("utf-8", "replace")
    try:
        return _DECODE(text)
    except (ValueError, RecursionError):
        return text[:_PROSE_BYTES]


def _prose(content: bytes) -> Fault:
    return Fault("prose", _beginning(content))


def _beginning(content: bytes) -> str:
    return content[:_PROSE_BYTES].decode("utf-8", "replace")
