"""Build what a server sends: HTTP responses, event streams, and the JSON of chat completions in them.

The builders write exact bytes and add nothing; ``adapters.testing.server`` plays what they return.
The shapes follow https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Action: TypeAlias = bytes | float | Literal["eof", "rst", "hang"]
"""Bytes to write, seconds to wait, or an end of the connection; see ``ScriptedServer``."""

Script: TypeAlias = Sequence[Action]
"""What the server plays for one request."""

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object of a chat completion."""

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
"""The head of an ordinary event stream."""

SSE_END = b"0\r\n\r\n"
"""The end of a chunked body."""

DONE = b"data: [DONE]\n\n"
"""OpenAI's own last event."""

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
"""The default usage of ``completion``."""

_ENVELOPE = {"id": "chatcmpl-1", "created": 1, "model": "m"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One response in both forms; the request's ``stream`` selects one.

    Attributes:
        plain: Played for a request without ``"stream": true``.
        stream: Played for a request with it.
    """

    plain: Script
    stream: Script


def http(body: bytes, status: str = "200 OK", content_type: str | None = "application/json", **headers: str) -> bytes:
    """Build one whole response with a content length.

    Args:
        body: The body.
        status: Status code and reason.
        content_type: The content type; None sends none.
        **headers: Further headers; ``retry_after="1"`` becomes ``retry-after: 1``. A name that is not a Python
            identifier is sent unchanged.

    Returns:
        The bytes of the response.
    """
    further = {name.replace("_", "-") if name.isidentifier() else name: value for name, value in headers.items()}
    fields = {"content-type": content_type, "content-length": str(len(body)), **further}
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode() + body


def reply(value: object, status: str = "200 OK", **headers: str) -> Script:
    """Script one whole JSON response."""
    return (http(json.dumps(value).encode(), status, **headers),)


def http_chunk(data: bytes) -> bytes:
    """Build one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value: object, prefix: str = "data: ", newline: str = "\n") -> bytes:
    """Build one event, with its JSON on one line and not escaped to ASCII."""
    return f"{prefix}{json.dumps(value, ensure_ascii=False)}{newline}{newline}".encode()


def raw_stream(*parts: bytes) -> Script:
    """Script an event stream of exactly these bytes, one HTTP chunk per part."""
    return (SSE_HEAD, *map(http_chunk, parts), SSE_END)


def stream(*events: JsonObject | bytes, done: bool = True) -> Script:
    """Script an event stream, one HTTP chunk per event, starting with a role-only event; bytes are written raw."""
    parts = [part if isinstance(part, bytes) else event(part) for part in (chunk({"role": "assistant"}), *events)]
    return raw_stream(*parts, DONE) if done else raw_stream(*parts)


def chunk(delta: object, finish: str | None = None, **extra: object) -> JsonObject:
    """Build one ``chat.completion.chunk``."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_ENVELOPE, "object": "chat.completion.chunk", "choices": [choice], **extra}


def said(text: object, **extra: Any) -> JsonObject:
    """Build the chunk of a piece of text."""
    return chunk({"content": text}, **extra)


STOP = chunk({}, "stop")
"""The chunk that ends a text."""

CALLED = chunk({}, "tool_calls")
"""The chunk that ends a response with tool calls."""


def call(name: object, arguments: object, call_id: object = "call00001", **extra: object) -> JsonObject:
    """Build one tool call, or a piece of one (with ``index=``)."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **extra}


def called(*calls: JsonObject, **extra: Any) -> JsonObject:
    """Build a chunk with pieces of tool calls."""
    return chunk({"tool_calls": list(calls)}, **extra)


def more(arguments: str, index: int = 0) -> JsonObject:
    """Build a chunk with more arguments of a call."""
    return called({"index": index, "function": {"arguments": arguments}})


def completion(message: Mapping[str, object], finish: str | None = "stop", **extra: object) -> JsonObject:
    """Build one ``chat.completion``; ``usage=`` replaces the default usage."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {**_ENVELOPE, "object": "chat.completion", "choices": [choice], "usage": USAGE, **extra}


def answer(
    *pieces: str, calls: Sequence[JsonObject] = (), finish: str | None = None, usage: object = USAGE, **message: object
) -> Answer:
    """Script one good response in both forms.

    Args:
        *pieces: The text; a stream sends one chunk per piece.
        calls: Tool calls; a stream sends one chunk per call.
        finish: The finish reason; None is "tool_calls" or "stop".
        usage: Token usage; a stream sends it in an event of its own.
        **message: Further fields of the message, which a stream sends before the text (``reasoning=…``).

    Returns:
        The response.
    """
    finish = finish or ("tool_calls" if calls else "stop")
    whole = {"content": "".join(pieces) or None, **message, **({"tool_calls": list(calls)} if calls else {})}
    deltas = [{"index": index, **tool_call} for index, tool_call in enumerate(calls)]
    events = [
        *([chunk(message)] if message else []),
        *map(said, pieces),
        *map(called, deltas),
        chunk({}, finish),
        {**chunk(None), "choices": [], "usage": usage},
    ]
    return Answer(reply(completion(whole, finish, usage=usage)), stream(*events))
