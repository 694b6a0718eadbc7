"""``transport.body``: payloads or one of our errors, within limits, and nothing lost before a break."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from adapters.config.sections import LimitConfig, TimeoutConfig
from adapters.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    IncompleteResponseError,
    InternalServerError,
    RateLimitError,
)
from adapters.testing.answers import (
    DONE,
    SSE_END,
    SSE_HEAD,
    completion,
    event,
    http,
    http_chunk,
    raw_stream,
    reply,
    said,
)
from adapters.transport.body import ResponseBody
from adapters.transport.deadlines import DeadlineExceeded, Deadlines
from adapters.transport.endpoint import Endpoint
from adapters.transport.http import HTTPSession, TransportError
from tests.patience import in_time, patient
from tests.transport.servers import Counting, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.answers import Script

HI, HO = said("Hi"), said("Ho")
KEY = "wire-KEY-0123456789"


@asynccontextmanager
async def opened(
    server: Counting, script: Script, limits: LimitConfig | None = None, **timeouts: Any
) -> AsyncIterator[ResponseBody]:
    """Ask for a body that is played like this, and close it at the end."""
    base_url = server.add("case", script)
    endpoint = Endpoint("shop", "m", base_url=base_url, api_key=KEY, secrets=(KEY,))
    client = await HTTPSession.open(base_url, 5)
    deadlines = Deadlines(TimeoutConfig(**timeouts), streamed=True)
    deadlines.request_sent()
    body = ResponseBody(await client.send("POST", base_url, {}, b"{}"), deadlines, limits or LimitConfig(), endpoint)
    try:
        yield body
    finally:
        body.close()
        await client.aclose()


async def all_of(body: ResponseBody) -> list[Any]:
    """Read until nothing comes."""
    payloads: list[Any] = []
    while more := await body.read():
        payloads += more
    return payloads


@pytest.mark.parametrize(
    ("script", "payloads", "has_ended", "is_whole"),
    [
        pytest.param(raw_stream(event(HI), event(HO), DONE), [HI, HO], True, False, id="stream"),
        pytest.param(raw_stream(event(HI), event(HO)), [HI, HO], False, False, id="stream without an end of its own"),
        pytest.param(raw_stream(event(HI)[:-2]), [HI], False, False, id="an unfinished last event"),
        pytest.param((SSE_HEAD, http_chunk(event(HI) + DONE), "hang"), [HI], True, False, id="an end that stays open"),
        pytest.param(reply(completion({"content": "Hi"})), [completion({"content": "Hi"})], True, True, id="whole"),
        pytest.param((http(b""),), [], False, False, id="nothing"),
    ],
)
async def test_good_bodies(
    server: Counting, script: Script, payloads: list[Any], has_ended: bool, is_whole: bool
) -> None:
    """Payloads come as they are, and no trouble; whether the server said that it was the end is known."""
    async with opened(server, script) as body:
        assert await all_of(body) == payloads
        assert await body.read() == []
        assert (body.error, body.has_ended, body.is_whole) == (None, has_ended, is_whole)


@patient
async def test_payloads_come_at_once(server: Counting) -> None:
    """What came together is given together, and nothing waits for more."""
    script = (SSE_HEAD, http_chunk(event(HI) + event(HO) + event(HI)[:9]), 0.2, http_chunk(event(HI)[9:] + DONE))

    async with opened(server, script) as body:
        began_s = time.monotonic()
        assert await body.read() == [HI, HO]
        in_time(time.monotonic() - began_s, 0, 0.15)
        assert not body.has_ended
        assert await body.read() == [HI]
        assert body.has_ended


_ERROR = {"error": {"message": f"Try later, {KEY}.", "code": 429}}


@pytest.mark.parametrize(
    ("script", "payloads", "kind", "words"),
    [
        pytest.param(raw_stream(event(HI), event(_ERROR)), [HI], RateLimitError, "Try later", id="error event"),
        pytest.param(raw_stream(event({**HI, **_ERROR})), [{**HI, **_ERROR}], RateLimitError, "Try later", id="beside"),
        pytest.param(reply(_ERROR), [], RateLimitError, "Try later", id="error document"),
        pytest.param(reply({"error": "Oops"}), [], InternalServerError, "Oops", id="error of one word"),
        pytest.param(
            raw_stream(event(HI), b'data: {"a\n\n'), [HI], IncompleteResponseError, "cut or garbled", id="garbled event"
        ),
        pytest.param((http(b'{"a": 1'),), [], IncompleteResponseError, "cut or garbled", id="cut document"),
        pytest.param(
            (http(b"<html><title>Hotel</title>"),), [], IncompleteResponseError, "sign in to the network", id="page"
        ),
        pytest.param((http(b"Upstream busy"),), [], IncompleteResponseError, "It said: Upstream busy", id="words"),
        pytest.param(raw_stream(b": ping\n\n"), [], IncompleteResponseError, "sent no answer", id="comments alone"),
    ],
)
async def test_bad_bodies(
    server: Counting, script: Script, payloads: list[Any], kind: type[APIError], words: str
) -> None:
    """A body that is no answer is one of our errors, beside what came before it, and has not ended well."""
    async with opened(server, script) as body:
        assert await all_of(body) == payloads
        assert (await body.read(), body.has_ended) == ([], False)
        assert type(body.error) is kind
        assert words in str(body.error)
        assert KEY not in f"{body.error} {body.error!r} {body.error.__cause__!r}"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        pytest.param(("rst",), "connection to shop was lost", id="reset"),
        pytest.param(("eof",), "connection to shop was lost", id="closed"),
        pytest.param((b"zz\r\n",), "connection to shop was lost", id="garbled chunk"),
        pytest.param((http_chunk(event(HO)) + b"zz\r\n",), "connection to shop was lost", id="text and garbled chunk"),
        pytest.param((http_chunk(event(HO)), 0.02, "rst"), "connection to shop was lost", id="text and reset"),
        pytest.param((http_chunk(event(HO)), "eof"), "connection to shop was lost", id="text and end"),
    ],
)
@pytest.mark.parametrize("busy_s", [0, 0.2], ids=["listening", "busy"])
async def test_broken_bodies(server: Counting, end: tuple[Any, ...], words: str, busy_s: float) -> None:
    """All data before a break is returned, also to a reader that was busy when both came; the error follows."""
    expected = [HI, HO] if any(isinstance(part, bytes) and b"Ho" in part for part in end) else [HI]

    async with opened(server, (SSE_HEAD, http_chunk(event(HI)), 0.05, *end)) as body:
        payloads = await body.read()
        await asyncio.sleep(busy_s)
        payloads += await all_of(body)

        assert payloads == expected
        assert type(body.error) is APIConnectionError
        assert words in str(body.error)
        assert type(body.error.__cause__) is TransportError
        assert not body.has_ended
        assert await body.read() == []


@pytest.mark.parametrize(
    ("timeouts", "before", "limit", "words"),
    [
        pytest.param({"first_token_s": 0.2}, (b": ping\n\n",), "first_token_s", "did not answer", id="first token"),
        pytest.param({"total_s": 0.2}, (), "total_s", "did not answer in time (0.2 seconds)", id="total"),
    ],
)
@patient
async def test_late_bodies(
    server: Counting, timeouts: dict[str, Any], before: tuple[bytes, ...], limit: str, words: str
) -> None:
    """A limit ends the wait in time, closes the connection, and is told as such and not as a break."""
    async with opened(server, (SSE_HEAD, *map(http_chunk, before), "hang"), **timeouts) as body:
        began_s = time.monotonic()
        assert await body.read() == []

        in_time(time.monotonic() - began_s, 0.15, 0.5)
        assert type(body.error) is APITimeoutError
        assert words in str(body.error)
        assert isinstance(body.error.__cause__, DeadlineExceeded)
        assert body.error.__cause__.limit == limit
        assert await until(lambda: server.seen["case"].gone_at)


@pytest.mark.parametrize(
    ("pieces", "limits", "name", "count"),
    [
        pytest.param([event(HI)] * 50, {"answer_bytes": 2_000}, "answer_bytes", 12, id="many events"),
        pytest.param([b": ping\n\n"] * 500, {"answer_bytes": 2_000}, "answer_bytes", 0, id="many comments"),
        pytest.param(
            [event(HI), b"data: " + b"x" * 3_000], {"event_bytes": 2_000}, "event_bytes", 1, id="a long event"
        ),
        pytest.param([b"{" + b" " * 3_000], {"event_bytes": 2_000}, "event_bytes", 0, id="a long document"),
    ],
)
async def test_limits_of_bytes(
    server: Counting, pieces: list[bytes], limits: dict[str, int], name: str, count: int
) -> None:
    """Beyond a limit there is no more, and the error names it; what came before is told."""
    async with opened(server, (SSE_HEAD, *map(http_chunk, pieces), "hang"), LimitConfig(**limits)) as body:
        payloads = await all_of(body)

        assert len(payloads) >= count
        assert type(body.error) is IncompleteResponseError
        assert f"limits.{name} (2000)" in str(body.error)
        assert body.error.retryable is False


def bomb(piece: bytes) -> bytes:
    """A gigabyte of the same, compressed: after a full flush the same megabyte is the same bytes again."""
    packer = zlib.compressobj(9, wbits=31)
    first, again = (packer.compress(piece * (2**20 // len(piece))) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 1023


@pytest.mark.parametrize(
    ("piece", "limit"),
    [
        pytest.param(b"\0", "event_bytes", id="zeros"),
        pytest.param(b": " + b"x" * 2_000 + b"\n", "answer_bytes", id="comments"),
    ],
)
@patient
async def test_a_gzip_bomb_is_never_inflated(server: Counting, piece: bytes, limit: str) -> None:
    """A gigabyte that travels as one megabyte ends at the limit, with memory and pauses that stay small."""
    head = SSE_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    packed = bomb(piece)
    limits = LimitConfig(answer_bytes=16_000_000)
    pauses_s = []

    async def beat() -> None:
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0.005)
            pauses_s.append(time.monotonic() - began_s)

    tracemalloc.start()
    try:
        async with opened(server, (head, http_chunk(packed), SSE_END), limits) as body:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            pulse = asyncio.create_task(beat())
            assert await all_of(body) == []
            pulse.cancel()
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert f"limits.{limit}" in str(body.error)
    assert peak - before < 64_000_000
    in_time(max(pauses_s, default=0), 0, 1)


async def test_a_released_body_is_no_longer_timed(server: Counting) -> None:
    """After the end of an answer its limits end nothing, and its connection is used again."""
    async with opened(server, (SSE_HEAD, http_chunk(event(HI) + DONE), 0.4, SSE_END), first_token_s=0.2) as body:
        assert await body.read() == [HI]
        body.release()
        await asyncio.sleep(0.5)

        assert body.has_ended
        assert server.seen["case"].gone_at == []
