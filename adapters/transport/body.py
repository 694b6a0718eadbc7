"""One response body: its bytes -> JSON payloads, or the error that it amounts to.

``PayloadDecoder`` decodes the bytes and never waits. ``ResponseBody`` feeds it from the connection, within limits of
bytes in all, bytes in one event, and time; beyond a limit the connection is closed.

A server need not send what it was asked for: some ignore ``stream``, some stream always, some are behind a login page.
So the body itself decides how it is decoded, and the content type does not. Here errors are only told from payloads;
``adapters.response.chunks`` reads what a payload means.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from adapters.transport.errors import failures
from adapters.transport.errors.redact import is_html
from adapters.transport.errors.upstream import upstream_error
from adapters.transport.http import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.config import LimitConfig
    from adapters.errors import APIError
    from adapters.transport.deadlines import Deadlines
    from adapters.transport.endpoint import Endpoint
    from adapters.transport.http import Response
    from adapters.types import Json

_SIGN_IN = "sent a web page instead of an answer. Check base_url, or sign in to the network."
_DECODE = json.JSONDecoder(strict=False).decode  # raw newlines inside strings are common
_BOM = codecs.BOM_UTF8
_ERROR_EVENT = re.compile(rb"\A(?:event:[^\r\n]*[\r\n]+)?data:[ ]?(\{[^\r\n]*)")
_PROSE_BYTES = 2_000  # of a body that is neither JSON nor a stream: enough to find its title or message

FaultKind = Literal["error", "garbled", "prose", "too_long"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a body brings no answer, or no more of it.

    Attributes:
        kind: ``error`` for a server that reports a failure in JSON; ``garbled`` for JSON that is broken or cut;
            ``prose`` for text that is no JSON at all, such as a web page; ``too_long`` for one event, or one document,
            above the limit.
        value: The JSON value of an error, otherwise the beginning of the text.
    """

    kind: FaultKind
    value: Json = None


class Body(Protocol):
    """The payloads of one response, wherever they come from. Its owner calls ``release`` or ``close`` at the end.

    Attributes:
        request_id: The server's id of the request, or None.
        is_whole: Whether the response is one document rather than a stream of events.
        has_ended: Whether the end was marked: no payload follows.
        error: Why there are no more payloads, or None.
    """

    request_id: str | None
    is_whole: bool
    has_ended: bool
    error: APIError | None

    async def read(self) -> list[Json]:
        """Wait for payloads; an empty list is the end, of which ``error`` says whether it was a good one."""
        ...

    def close(self) -> None:
        """Close the connection, which the server notices at once."""

    def release(self) -> None:
        """Leave a finished response: its connection is used again if the body ends soon."""


class ResponseBody:
    """One response body. Its owner calls ``release`` or ``close`` at the end.

    Args:
        response: The source of the bytes.
        deadlines: The clock of this attempt, which ends a read that takes too long.
        limits: How many bytes may come.
        endpoint: The server, for errors.

    Attributes:
        request_id: The server's id of the request, or None.
        is_whole: Whether the body is one JSON document rather than a stream of events.
        has_ended: Whether the server has marked the end: no payload follows, though bytes may.
        error: Why there are no more payloads, or None.
    """

    def __init__(self, response: Response, deadlines: Deadlines, limits: LimitConfig, endpoint: Endpoint) -> None:
        self._response = response
        self._deadlines = deadlines
        self._limits = limits
        self._endpoint = endpoint
        self._decoder = PayloadDecoder(limits.event_bytes)
        self._read_bytes = 0
        self.request_id = response.request_id
        self.is_whole = False
        self.has_ended = False
        self.error: APIError | None = None
        deadlines.connect_s = response.connect_s
        deadlines.guard(response.close)

    async def read(self) -> list[Json]:
        """Wait for payloads.

        Returns:
            The payloads that arrived together; empty at the end, of which ``error`` says whether it was a good one.
            ``error`` may also be set beside the last payloads, which came before it.
        """
        decoder = self._decoder
        payloads: list[Json] = []
        while not payloads and self.error is None and not decoder.has_ended:
            try:
                data = await self._response.read()
            except TransportError as error:
                self.error = lost_connection(error, self._deadlines, self._endpoint)
                break
            self._read_bytes += len(data)
            payloads = decoder.feed(data) if data else decoder.finish()
            self.is_whole = decoder.is_whole
            if decoder.fault is not None:
                self.error = self._failed(decoder.fault)
            elif self._read_bytes > self._limits.answer_bytes:
                self.error = failures.above_limit("answer_bytes", self._limits.answer_bytes, self._endpoint)
            else:
                self.has_ended = decoder.has_ended
                if self.has_ended:
                    self._deadlines.release()  # the slot as well, however long the consumer takes for the last events
            if not data:
                break
        return payloads

    def close(self) -> None:
        """Close the connection, which the server notices at once."""
        self._deadlines.release()
        self._response.close()

    def release(self) -> None:
        """Leave a finished answer: its connection is used again if the body ends soon."""
        self._deadlines.release()
        self._response.release()

    def _failed(self, fault: Fault) -> APIError:
        if fault.kind == "too_long":
            return failures.above_limit("event_bytes", self._limits.event_bytes, self._endpoint)
        if fault.kind == "garbled":
            return failures.incomplete("sent an answer that is cut or garbled. Please try again.", self._endpoint)
        if fault.kind == "prose" and is_html(fault.value):
            return failures.incomplete(_SIGN_IN, self._endpoint)
        failure = upstream_error(fault.value, secrets=self._endpoint.secrets)
        describe = failures.upstream_failure if fault.kind == "error" else failures.not_an_answer
        return failures.with_cause(describe(failure, self._endpoint), failure)


def lost_connection(error: TransportError, deadlines: Deadlines, endpoint: Endpoint) -> APIError:
    """Return the error for a connection that was lost, or that a deadline or the end of the provider has closed.

    Args:
        error: How it was lost.
        deadlines: The clock of the attempt.
        endpoint: The other end.
    """
    if deadlines.is_closed:
        return failures.with_cause(failures.closed(endpoint), error)
    if (exceeded := deadlines.exceeded) is not None:
        return failures.with_cause(failures.deadline_exceeded(exceeded, endpoint), exceeded)
    return failures.with_cause(failures.connection_failure(endpoint, error), error)


class PayloadDecoder:
    """Decodes one body as it arrives.

    Args:
        most_bytes: The longest event, or the longest body that is one document.

    Attributes:
        is_whole: Whether the body is one JSON document rather than a stream of events.
        has_ended: Whether the server has marked the end: ``[DONE]``, or a document that is complete.
        fault: Why there is no more, or None. What came before it stays valid.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        # Not a bound method: that would be a reference cycle, which lives until the next garbage collection.
        self._feed: Callable[[PayloadDecoder, bytes, list[Json]], None] = PayloadDecoder._feed_head
        self._head = b""  # the beginning of a stream without events, which may be an error in plain text
        self._pieces: list[bytes] = []  # of an unfinished line, or of an unfinished document
        self._data: list[bytes] = []  # the lines of an unfinished event
        self._open_bytes = 0  # of both
        self._name = ""
        self._after_cr = False
        self._had_event = False
        self.is_whole = False
        self.has_ended = False
        self.fault: Fault | None = None

    def feed(self, data: bytes) -> list[Json]:
        """Decode more of the body.

        Args:
            data: The next bytes, cut anywhere.

        Returns:
            The payloads that are complete now, in order.
        """
        payloads: list[Json] = []
        self._feed(self, data, payloads)
        return payloads

    def finish(self) -> list[Json]:
        """Decode what is left at the end of the body: an unfinished last event counts."""
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
        """Find the first byte that is neither white space nor the byte order mark: it decides what the body is."""
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
        """Split lines by the rules of event streams: CR, LF or both end one."""
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
        """Read one JSON document, or one on each line, as some native APIs send them."""
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
        """Keep a payload or its error; one with both is both, because its text came before the error."""
        error = error_in(payload, name)
        if error is not None:
            self.fault = Fault("error", error)
        if error is None or (isinstance(payload, dict) and "choices" in payload):
            payloads.append(payload)


def error_in(payload: Json, event: str = "") -> Json | None:
    """Find the error in a payload, in any of the known shapes; None if there is none.

    Args:
        payload: A JSON value.
        event: Name of the server-sent event that carried it.
    """
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Google wraps its errors in a list
    if not isinstance(payload, dict):
        return payload if event == "error" else None
    error = payload.get("error") or _vendor_error_in(payload)
    if not error and "choices" in payload:
        choices = payload["choices"]
        for choice in choices if isinstance(choices, list) else (choices,):
            if isinstance(choice, dict) and (error := choice.get("error")):
                break
        else:
            return None
    if error:
        return payload if isinstance(error, str) else error
    is_flat = event == "error" or payload.get("object") == "error" or payload.get("type") == "error"
    has_words = (payload.get("detail") or payload.get("message")) and "usage" not in payload
    return payload if is_flat or has_words else None


def _vendor_error_in(payload: dict[str, Json]) -> Json:
    """Find the error in a field of Groq or of MiniMax, whose status of a success has the code 0."""
    if isinstance(groq := payload.get("x_groq"), dict):
        return groq.get("error")
    status = payload.get("base_resp")
    return status if isinstance(status, dict) and status.get("status_code") else None


def read_error_body(content: bytes) -> Json:
    """Read the body of an HTTP error: its JSON, or the beginning of its text. Some servers write it as an event."""
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
