"""What is read while a measurement runs: CPU time, clock, memory, the server's share, and stalls of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.clients import Question
from tests.benchmarks.server import Stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.benchmarks.clients import Client

_PAGE_BYTES = 4096
_TICK_S = 0.01
_MEMORY_SAMPLE_S = 0.05


@dataclass(slots=True)
class Metered:
    """What a metered stretch took.

    Attributes:
        cpu_s: CPU time of this process.
        wall_s: Time on the clock.
        server: What the server saw; its CPU time is that of this stretch alone.
    """

    cpu_s: float = 0.0
    wall_s: float = 0.0
    server: Stats = field(default_factory=Stats)

    @property
    def server_share(self) -> float:
        """How much of its core the server needed: near 1 it would be the limit, and not the client."""
        return self.server.cpu_s / self.wall_s


@dataclass(frozen=True, slots=True)
class Bench:
    """A client to measure and the server that answers it.

    Attributes:
        client: The class of the client.
        port: Where the server listens.
        guess: How many streams the client probably holds.
    """

    client: type[Client]
    port: int
    guess: int = 64

    @asynccontextmanager
    async def asking(self, messages: int = 1, tools: int = 0) -> AsyncIterator[Client]:
        """Make a client, and see in the end that the server got the whole question and not a part of it."""
        client = self.client(Question(f"http://127.0.0.1:{self.port}/v1", messages, tools))
        try:
            yield client
            seen = await self.stats()
            assert (seen.messages, seen.tools) == (messages, tools), f"the server got another question: {seen}"
        finally:
            await client.aclose()

    @asynccontextmanager
    async def metered(self) -> AsyncIterator[Metered]:
        """Meter what happens inside; the result is filled in at the end."""
        metered = Metered()
        before = await self.stats()
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        yield metered
        metered.cpu_s, metered.wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        metered.server = await self.stats()
        metered.server.cpu_s -= before.cpu_s

    async def stats(self) -> Stats:
        """Ask the server what it has seen."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /stats HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        stats = Stats(**json.loads(await reader.readuntil(b"}")))
        writer.close()
        await writer.wait_closed()
        return stats


@dataclass(slots=True)
class Worst:
    """The greatest value that a watch has seen."""

    value: float = 0.0


@asynccontextmanager
async def watched_stalls() -> AsyncIterator[Worst]:
    """Tick every 10 ms; the value is by how many seconds the latest tick was late."""
    worst = Worst()

    async def tick() -> None:
        while True:
            started_s = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            worst.value = max(worst.value, time.perf_counter() - started_s - _TICK_S)

    async with _running(tick()):
        yield worst


@asynccontextmanager
async def watched_memory() -> AsyncIterator[Worst]:
    """Watch the memory of this process; the value is the most, in megabytes."""
    worst = Worst()

    async def look() -> None:
        while True:
            worst.value = max(worst.value, memory_mb())
            await asyncio.sleep(_MEMORY_SAMPLE_S)

    async with _running(look()):
        yield worst


@asynccontextmanager
async def _running(watch: object) -> AsyncIterator[None]:
    assert asyncio.iscoroutine(watch)
    task = asyncio.create_task(watch)
    await asyncio.sleep(2 * _TICK_S)  # the watch is under way before there is something to see
    yield
    await asyncio.sleep(2 * _TICK_S)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def memory_mb() -> float:
    """Memory that this process holds, in megabytes (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES / 1e6
