"""Characters that are cut, raw, broken or rare, in event streams."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from adapters.testing.answers import (
    CALLED,
    DONE,
    STOP,
    Answer,
    call,
    chunk,
    completion,
    event,
    raw_stream,
    reply,
    said,
    stream,
)
from adapters.testing.case import CALLING, STREAMS, Success, WireCase

if TYPE_CHECKING:
    from adapters.testing.case import Outcome


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


_CALL = {**call("get_weather", r'{"city": "Oslo", "x": "\ud83d"}', "a\ud83d"), "extra": {"sign": "\ude00"}}
_HALVES = {
    "tool_calls": [{"index": 0, **_CALL}],
    "reasoning_content": "So? \ud83d",
    "reasoning_details": [{"type": "reasoning.text", "text": "So? \ud83d"}],
}


def _can_be_sent(outcome: Outcome) -> bool:
    """Whether all that goes back to the server can be encoded, if the method returns it."""
    response = outcome.response
    return not response or bool(json.dumps([asdict(made) for made in response.tool_calls], ensure_ascii=False).encode())


_UNICODE = event(said("café 😀 日本")) + event(STOP) + DONE

CASES: Final = (
    WireCase(
        "network-every-byte",
        "every byte comes in an HTTP chunk of its own",
        [raw_stream(*_cut(_UNICODE, 1))],
        Success(text="café 😀 日本"),
        ways=STREAMS,
    ),
    WireCase(
        "network-three-bytes",
        "characters and line ends are cut anywhere",
        [raw_stream(*_cut(_UNICODE, 3))],
        Success(text="café 😀 日本"),
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "vllm-line-separators",
        "U+2028, U+2029 and U+0085 stand raw in JSON strings and end no line",
        [stream(said("one\u2028two\u2029three\u0085four"), said(" \x0b\x0c\x1cfive"), STOP)],
        Success(text="one\u2028two\u2029three\u0085four \x0b\x0c\x1cfive"),
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "llamacpp-half-a-character",
        "bytes that are no UTF-8 are replaced and stop nothing",
        [raw_stream(event(said("caf?")).replace(b"?", b"\xff"), event(said(" ok")), event(STOP), DONE)],
        Success(text="caf\ufffd ok"),
        ways=STREAMS,
    ),
    WireCase(
        "node-proxy-split-surrogates",
        "a proxy that counts UTF-16 units cuts an emoji into two escapes in two events",
        [
            raw_stream(
                *[b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % half for half in (rb"\ud83d", rb"\ude00!")],
                event(STOP),
                DONE,
            )
        ],
        Success(text="😀!"),
        ways=STREAMS,
    ),
    WireCase(
        "node-proxy-halves-in-a-call",
        "half an emoji in reasoning, id, arguments and a field of a call: all of it can be sent back",
        [
            Answer(
                reply(completion(_HALVES, "tool_calls")),
                raw_stream(b"data: %s\n\n" % json.dumps(chunk(_HALVES)).encode(), event(CALLED), DONE),
            )
        ],
        Success(calls=(("get_weather", {"city": "Oslo", "x": "\ufffd"}),), holds=_can_be_sent),
        ways=CALLING,
        tools=True,
    ),
)
