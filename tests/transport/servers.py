"""Servers for the tests of ``transport``: one that counts its connections, and one that speaks TLS or is a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.testing.server import ScriptedServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator


class Counting(ScriptedServer):
    """A scripted server that counts the connections it was asked for."""

    connections = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return len(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        super()._accept(reader, writer)


@dataclass
class Raw:
    """A server that answers every head with the same bytes.

    Attributes:
        port: Where it listens.
        heads: The heads of the requests.
    """

    port: int = 0
    heads: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def raw_server(
    answer: bytes, tls: ssl.SSLContext | None = None, separator: bytes = b"\r\n\r\n"
) -> AsyncIterator[Raw]:
    """Run a server that answers every head with the same bytes, and closes."""
    raw = Raw()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            raw.heads.append(await reader.readuntil(separator))
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        raw.port = server.sockets[0].getsockname()[1]
        yield raw


@contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue of connections is full, so that a new one waits for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)  # noqa: FBT003 - the standard library's own
            connection.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for connection in waiting:
                connection.close()


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until something has come true, but not for ever."""
    for _ in range(3_000):
        if condition():
            break
        await asyncio.sleep(0.01)
    return condition()
