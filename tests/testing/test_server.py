"""``ScriptedServer``: what the wire cases do not show."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from adapters.testing import ScriptedServer


async def test_a_connection_that_was_just_made_is_closed_with_the_server() -> None:
    """A client that connects while the server ends sees the end, instead of waiting for a response."""

    class Ending(ScriptedServer):
        """Ends before it serves its first connection."""

        def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            super()._accept(reader, writer)
            for task in self._tasks:
                task.cancel()

    async with Ending() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.add("a")).port)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
