"""Responses of Anthropic, Gemini and Bedrock, built after their published API references.

No real service can be reached from the tests, so these stand in for recordings. Sources: Anthropic's "Streaming
Messages" and "Errors", Google's "generateContent" and "streamGenerateContent", AWS's "ConverseStream" and "Event stream
encoding".
"""

from __future__ import annotations

import binascii
import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.testing.answers import http, http_chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.testing.answers import Script

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: req_1\r\ntransfer-encoding: chunked\r\n\r\n"
)
AWS_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nx-amzn-requestid: req_1\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model produces in one response.

    Attributes:
        text: The text, in the pieces in which a stream sends it.
        calls: Tool calls: id, name, arguments as a JSON text.
        thinking: The text of a thinking block, "" for none.
        signature: The signature of the thinking block (Anthropic, Bedrock) or of the calls (Gemini).
        stop: The provider's stop reason, or None for the usual one.
    """

    text: Sequence[str] = ()
    calls: Sequence[tuple[str, str, str]] = ()
    thinking: str = ""
    signature: str = ""
    stop: str | None = None
    usage: tuple[int, int] = field(default=(5, 9))


def json_reply(body: Any, status: str = "200 OK", **headers: str) -> Script:
    """Return a JSON response."""
    return (http(json.dumps(body).encode(), status, **headers),)


# Anthropic's Messages API


def anthropic_event(event: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return http_chunk(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()))


def anthropic_stream(turn: Turn, *, ends: bool = True) -> Script:
    """Return a stream; without ``ends`` it stops behind the last block."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}
    usage = {"input_tokens": turn.usage[0], "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}},
        {"type": "ping"},
    ]
    for index, (block, deltas) in enumerate(_anthropic_blocks(turn)):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    if ends:
        stop = {"stop_reason": _anthropic_stop(turn), "stop_sequence": None}
        events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": turn.usage[1]}})
        events.append({"type": "message_stop"})
    return (SSE_HEAD, *map(anthropic_event, events), END)


def anthropic_reply(turn: Turn) -> Script:
    """Return a whole response."""
    content: list[dict[str, Any]] = []
    if turn.thinking:
        content.append({"type": "thinking", "thinking": turn.thinking, "signature": turn.signature})
    if turn.text:
        content.append({"type": "text", "text": "".join(turn.text)})
    content += [
        {"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)}
        for call_id, name, arguments in turn.calls
    ]
    return json_reply(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": content,
            "stop_reason": _anthropic_stop(turn),
            "stop_sequence": None,
            "usage": {"input_tokens": turn.usage[0], "output_tokens": turn.usage[1]},
        }
    )


def anthropic_error(status: str, kind: str, message: str, **headers: str) -> Script:
    """Return an error response."""
    return json_reply({"type": "error", "error": {"type": kind, "message": message}}, status, **headers)


def _anthropic_stop(turn: Turn) -> str:
    return turn.stop or ("tool_use" if turn.calls else "end_turn")


def _anthropic_blocks(turn: Turn) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if turn.thinking:
        middle = len(turn.thinking) // 2
        pieces = (turn.thinking[:middle], turn.thinking[middle:])
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
        signature = {"type": "signature_delta", "signature": turn.signature}
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]))
    if turn.text:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in turn.text]))
    for call_id, name, arguments in turn.calls:
        pieces = (arguments[:5], arguments[5:])
        kind = "server_tool_use" if call_id.startswith("srvtoolu_") else "tool_use"
        block = {"type": kind, "id": call_id, "name": name, "input": {}}
        blocks.append((block, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]))
    return blocks


# Gemini's generateContent and streamGenerateContent


def gemini_stream(turn: Turn, *, ends: bool = True) -> Script:
    """Return a stream; without ``ends`` no chunk has a finish reason."""
    parts = _gemini_parts(turn)
    chunks = [_gemini_chunk([part], None, None) for part in parts]
    if ends:
        chunks.append(_gemini_chunk([{"text": ""}], turn.stop or "STOP", turn.usage))
    return (SSE_HEAD, *(http_chunk(b"data: %b\r\n\r\n" % json.dumps(chunk).encode()) for chunk in chunks), END)


def gemini_reply(turn: Turn) -> Script:
    """Return a whole response."""
    return json_reply(_gemini_chunk(_gemini_parts(turn), turn.stop or "STOP", turn.usage))


def gemini_error(status: str, kind: str, message: str, **headers: str) -> Script:
    """Return an error response."""
    return json_reply({"error": {"code": int(status[:3]), "message": message, "status": kind}}, status, **headers)


def _gemini_parts(turn: Turn) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": turn.thinking, "thought": True}] if turn.thinking else []
    parts += [{"text": piece} for piece in turn.text]
    for _, name, arguments in turn.calls:
        part: dict[str, Any] = {"functionCall": {"name": name, "args": json.loads(arguments)}}
        if turn.signature:
            part["thoughtSignature"] = turn.signature
        parts.append(part)
    return parts


def _gemini_chunk(parts: list[dict[str, Any]], finish: str | None, usage: tuple[int, int] | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "resp_1"}
    if usage is not None:
        chunk["usageMetadata"] = {
            "promptTokenCount": usage[0],
            "candidatesTokenCount": usage[1],
            "totalTokenCount": sum(usage),
        }
    return chunk


# Bedrock's Converse and ConverseStream


def bedrock_event(name: str, payload: dict[str, Any], kind: str = "event") -> bytes:
    """Return one frame of AWS's event stream encoding: prelude, headers, payload, checksums."""
    label = ":exception-type" if kind == "exception" else ":event-type"
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in ((label, name), (":content-type", "application/json"), (":message-type", kind))
    )
    content = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(content), len(headers))
    frame = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + content
    return http_chunk(frame + struct.pack(">I", binascii.crc32(frame)))


def bedrock_stream(turn: Turn, *, ends: bool = True) -> Script:
    """Return a stream; without ``ends`` it stops behind the last block."""
    frames = [bedrock_event("messageStart", {"role": "assistant"})]
    index = 0
    thinking = [{"reasoningContent": part} for part in _bedrock_thinking(turn)]
    for deltas in (thinking, [{"text": piece} for piece in turn.text]):
        if deltas:
            frames += [bedrock_event("contentBlockDelta", {"contentBlockIndex": index, "delta": it}) for it in deltas]
            frames.append(bedrock_event("contentBlockStop", {"contentBlockIndex": index}))
            index += 1
    for number, (call_id, name, arguments) in enumerate(turn.calls, start=index):
        start = {"toolUse": {"toolUseId": call_id, "name": name}}
        frames.append(bedrock_event("contentBlockStart", {"contentBlockIndex": number, "start": start}))
        for piece in (arguments[:5], arguments[5:]):
            delta = {"toolUse": {"input": piece}}
            frames.append(bedrock_event("contentBlockDelta", {"contentBlockIndex": number, "delta": delta}))
        frames.append(bedrock_event("contentBlockStop", {"contentBlockIndex": number}))
    if ends:
        frames.append(bedrock_event("messageStop", {"stopReason": _anthropic_stop(turn)}))
        frames.append(bedrock_event("metadata", {"usage": _bedrock_usage(turn), "metrics": {"latencyMs": 1}}))
    return (AWS_HEAD, *frames, END)


def bedrock_reply(turn: Turn) -> Script:
    """Return a whole response."""
    content: list[dict[str, Any]] = []
    if turn.thinking:
        content.append({"reasoningContent": {"reasoningText": {"text": turn.thinking, "signature": turn.signature}}})
    if turn.text:
        content.append({"text": "".join(turn.text)})
    content += [
        {"toolUse": {"toolUseId": call_id, "name": name, "input": json.loads(arguments)}}
        for call_id, name, arguments in turn.calls
    ]
    return json_reply(
        {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": _anthropic_stop(turn),
            "usage": _bedrock_usage(turn),
            "metrics": {"latencyMs": 1},
        }
    )


def bedrock_error(status: str, kind: str, message: str, **headers: str) -> Script:
    """Return an error response."""
    return json_reply({"message": message}, status, **{"x-amzn-errortype": kind, **headers})


def _bedrock_thinking(turn: Turn) -> list[dict[str, str]]:
    middle = len(turn.thinking) // 2
    pieces = ({"text": turn.thinking[:middle]}, {"text": turn.thinking[middle:]}, {"signature": turn.signature})
    return [*pieces] if turn.thinking else []


def _bedrock_usage(turn: Turn) -> dict[str, int]:
    return {"inputTokens": turn.usage[0], "outputTokens": turn.usage[1], "totalTokens": sum(turn.usage)}
