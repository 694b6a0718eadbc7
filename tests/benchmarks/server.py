"""A chat server that costs next to nothing, so that what is measured is the client.

The name of the model decides how ``POST`` is answered: ``burst-N`` sends N tokens at once, each in an HTTP chunk of its
own, at ``/v1/messages`` in the form of Anthropic's API; ``paced-RATE-N`` sends N tokens at RATE a second, and each
token is the time (``time.monotonic_ns``) at which it was sent; ``turn-RATE-N`` answers N words at RATE a second,
streamed or not as requested, and calls ``get_weather`` first if the message is about the weather; ``big-KB`` is one
JSON answer of that size, and any other name a short one. ``GET /stats`` returns what the server has seen; every other
request is answered ``{}``. Start it with ``python -m tests.benchmarks.server CORE``: it prints its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_MODEL = re.compile(rb'"model":\s*"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
_BACKLOG = 4096
_CALL_TOKENS = 15  # what a model needs to write the call, before anybody sees it


@dataclass(slots=True)
class Stats:
    """What the server has seen.

    Attributes:
        cpu_s: CPU time of the server's process.
        most_open: The most answers that were open at once since the last ``GET /stats``.
        messages: Messages in the latest request.
        tools: Tools in the latest request.
    """

    cpu_s: float = 0.0
    most_open: int = 0
    messages: int = 0
    tools: int = 0


@dataclass(slots=True)
class _Seen:
    stats: Stats
    open: int = 0

    def request(self, body: bytes) -> None:
        self.stats.messages, self.stats.tools = body.count(b'"role"'), body.count(b'"parameters"')
        self.open += 1
        self.stats.most_open = max(self.stats.most_open, self.open)

    def report(self) -> dict[str, Any]:
        self.stats.cpu_s = time.process_time()
        report = asdict(self.stats)
        self.stats.most_open = self.open
        return report


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, answered at once or by a timer for each token."""

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen
        self._received = b""
        self._paced = False
        self._next_token: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self._next_token is not None:
            self._next_token.cancel()
        if self._paced:
            self._seen.open -= 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._received[:head_end]
        length = _LENGTH.search(head)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= end:
            body, self._received = self._received[head_end + 4 : end], self._received[end:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if not head.startswith(b"POST"):
            content = json.dumps(self._seen.report()).encode() if b" /stats " in head[:20] else b"{}"
            self._transport.write(_json_answer(b"" if head.startswith(b"HEAD") else content))
            return
        model = _MODEL.search(body)
        assert model is not None, body[:200]
        kind, *numbers = model[1].decode().split("-")
        self._seen.request(body)
        if kind in {"paced", "turn"}:
            rate, tokens = map(int, numbers)
            parts = _stamped(tokens) if kind == "paced" else _turn(body, tokens)
            self._paced = True
            self._send_part(asyncio.get_running_loop().time(), 1 / rate, parts)
            return
        if kind == "burst":
            made = _anthropic_burst if head.startswith(b"POST /v1/messages") else _burst
            self._transport.write(made(int(numbers[0])))
        else:
            self._transport.write(_whole(*map(int, numbers)))
        self._seen.open -= 1

    def _send_part(self, due_s: float, pause_s: float, parts: Iterator[bytes]) -> None:
        """Send the part that is due at a time of the loop's clock, and set the timer for the next one."""
        part = next(parts, None)
        if part is None:
            self._paced = False
            self._seen.open -= 1
            return
        if part:
            self._transport.write(part)
        due_s += pause_s
        self._next_token = asyncio.get_running_loop().call_at(due_s, self._send_part, due_s, pause_s, parts)


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": [choice]}


def _http_chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _event(payload: dict[str, Any]) -> bytes:
    return _http_chunk(b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n")


def _json_answer(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content) + content


_FIRST = _event(_chunk({"role": "assistant", "content": ""}))
_END = _event({**_chunk({}), "choices": [], "usage": _USAGE}) + _http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_LAST, _LAST_CALL = _event(_chunk({}, "stop")) + _END, _event(_chunk({}, "tool_calls")) + _END
_CALL = {
    "index": 0,
    "id": "call_0",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
_BEFORE, _AFTER = (b"data: " + json.dumps(_chunk({"content": "@ "})).encode() + b"\n\n").split(b"@")


def _token(text: str) -> bytes:
    """Return one token and a space as an event: put together, not encoded, because the server must be fast."""
    return _http_chunk(_BEFORE + text.encode() + _AFTER)


def _stamped(tokens: int) -> Iterator[bytes]:
    yield _STREAM_HEAD + _FIRST
    for _ in range(tokens):
        yield _token(str(time.monotonic_ns()))
    yield _LAST


def _turn(body: bytes, tokens: int) -> Iterator[bytes]:
    """Answer one request of a turn, a part for each token; an answer in one piece comes when all of them are made."""
    answered = re.search(rb'"role":\s*"tool"', body) is not None
    calls = b"the weather" in body and b'"tools"' in body and not answered
    streamed = re.search(rb'"stream":\s*true', body) is not None
    if calls:
        made = [b""] * _CALL_TOKENS + [_event(_chunk({"tool_calls": [_CALL]}))]
        whole = _whole_message({"role": "assistant", "content": None, "tool_calls": [_CALL]}, "tool_calls")
    else:
        words = [f"{'told' if answered else 'word'}{number}" for number in range(tokens)]
        made = [_token(word) for word in words]
        whole = _whole_message({"role": "assistant", "content": " ".join(words)})
    if streamed:
        yield _STREAM_HEAD + _FIRST
        yield from made
        yield _LAST_CALL if calls else _LAST
    else:
        yield from [b""] * (len(made) + 1)
        yield whole


@lru_cache
def _burst(tokens: int) -> bytes:
    return _STREAM_HEAD + _FIRST + b"".join(_token(f"tok{number}") for number in range(tokens)) + _LAST


@lru_cache
def _anthropic_burst(tokens: int) -> bytes:
    """Return the events of https://docs.claude.com/en/api/messages-streaming for one text."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    message = {"id": "c", "type": "message", "role": "assistant", "model": "bench", "content": [], "usage": usage}
    words = [{"type": "text_delta", "text": f"tok{number} "} for number in range(tokens)]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": word} for word in words),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": tokens}},
        {"type": "message_stop"},
    ]
    named = [b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in events]
    return _STREAM_HEAD + b"".join(map(_http_chunk, named)) + b"0\r\n\r\n"


@lru_cache
def _whole(size_kb: int = 0) -> bytes:
    return _whole_message({"role": "assistant", "content": "word " * (size_kb * 205) or "Hello there."})


def _whole_message(message: dict[str, Any], finish_reason: str = "stop") -> bytes:
    choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
    answer = {**_chunk({}), "object": "chat.completion", "choices": choices, "usage": _USAGE}
    return _json_answer(json.dumps(answer).encode())


@asynccontextmanager
async def serve() -> AsyncIterator[int]:
    """Run the server in this process; the value is its port."""
    seen = _Seen(Stats())
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(seen), "127.0.0.1", 0, backlog=_BACKLOG)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _main(core: int) -> None:
    os.sched_setaffinity(0, {core})
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    async with serve() as port:
        print(port, flush=True)  # noqa: T201 - the parent process reads this line
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
