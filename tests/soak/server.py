"""The servers of the soak, in a process of their own: one is there, one comes and goes, and a proxy cuts in the middle.

``python -m tests.soak.server`` prints the three ports and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from adapters.testing.answers import http
from adapters.testing.server import ScriptedServer, Seen, _Connection
from tests.soak.plans import cut_after_bytes, kind_of, number_in, script_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.testing.server import Request

_THERE_S = 2.0
_AWAY_S = 0.4
_REMEMBERED = 10_000  # questions; far more than are under way
_READ_BYTES = 65_536


class Tries:
    """Counts how often each question was asked, and forgets those that are long over."""

    def __init__(self) -> None:
        self._counts: dict[object, int] = {}

    def count(self, what: object) -> int:
        """How often it was counted before."""
        before = self._counts.pop(what, 0)
        self._counts[what] = before + 1
        if len(self._counts) > _REMEMBERED:
            del self._counts[next(iter(self._counts))]
        return before


class PlannedServer(ScriptedServer):
    """Plays for each request what the plan of its question says."""

    def __init__(self) -> None:
        super().__init__()
        self._tries = Tries()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    async def come_and_go(self) -> None:
        """Be there for a while, then close all connections and be away, again and again."""
        while True:
            await asyncio.sleep(_THERE_S)
            await self.__aexit__(None, None, None)
            await asyncio.sleep(_AWAY_S)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port)

    async def _answer(self, request: Request, seen: Seen | None, writer: asyncio.StreamWriter) -> bool:
        number = number_in(request.content)
        if number is None:
            writer.write(http(b'{"data": []}'))
            return True
        # A turn asks twice, and each time anew.
        attempt = self._tries.count((number, b'"tool_call_id"' in request.content))
        return await self._play(script_for(request.content, number, attempt), writer, seen or Seen())


class CuttingProxy:
    """Passes bytes on to a server; the first answer to each question whose plan says so, only up to a byte.

    Args:
        port: Where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._tries = Tries()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until one end of it closes, or it is cut."""
        allowance = _Allowance(self._tries)
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        pumps = [
            asyncio.create_task(_pump(reader, to_server, allowance.asked)),
            asyncio.create_task(_pump(upstream, writer, allowance.answered)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.close()
            to_server.close()


class _Allowance:
    """How much of the answer on one connection is still passed on."""

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._left_bytes: int | None = None

    def asked(self, data: bytes) -> bytes:
        number = number_in(data)
        if number is not None:
            cuts = kind_of(number).asked == "proxied" and not self._tries.count(number)
            self._left_bytes = cut_after_bytes(number) if cuts else None
        return data

    def answered(self, data: bytes) -> bytes:
        if self._left_bytes is None:
            return data
        passed = data[: self._left_bytes]
        self._left_bytes -= len(passed)
        return passed


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, look: Callable[[bytes], bytes]) -> None:
    """Pass on what may pass, until there is no more or not all of it may."""
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_READ_BYTES):
            passed = look(data)
            target.write(passed)
            await target.drain()
            if len(passed) < len(data):
                break


async def main() -> None:
    """Run the servers until the parent process has ended."""
    async with PlannedServer() as steady, PlannedServer() as restarting:
        proxy = await asyncio.start_server(CuttingProxy(steady.port).serve, "127.0.0.1", 0)
        restarts = asyncio.create_task(restarting.come_and_go())
        print(steady.port, restarting.port, proxy.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - read by us
        await asyncio.to_thread(sys.stdin.read)
        restarts.cancel()
        proxy.close()


if __name__ == "__main__":
    asyncio.run(main())
