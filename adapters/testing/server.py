"""``ScriptedServer``: a loopback HTTP server that plays exact bytes and records what each client did.

It knows nothing of chat completions: what the bytes mean is the business of ``adapters.testing.answers`` (which
builds them) and of ``adapters.testing.cases`` (which says what a correct client makes of them).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from adapters.testing.answers import Answer, http

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from adapters.testing.answers import Script

Step: TypeAlias = "Script | Answer"
"""What is played for one request; an ``Answer`` is played in the shape that the request's ``stream`` asks for."""

_MAX_REQUEST_BYTES = 2**24


@dataclass(slots=True)
class Seen:
    """What the server saw of one case, one entry a request.

    Attributes:
        bodies: Parsed JSON bodies; ``{"raw": text}`` for a body that is no JSON object.
        headers: Headers, names in lower case.
        paths: Targets, with the query.
        started: When the request was complete, on the monotonic clock, in seconds.
        gone_at: When a client left while its script was still playing, on the same clock; one entry a departure.
    """

    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    gone_at: list[float] = field(default_factory=list)


class _Connection(asyncio.StreamReaderProtocol):
    """A connection that notices at once, and without reading, that its client has left."""

    def __init__(self, server: ScriptedServer) -> None:
        reader = asyncio.StreamReader(limit=_MAX_REQUEST_BYTES)
        super().__init__(reader, server._accept)  # noqa: SLF001 - two halves of one thing
        self.gone = asyncio.Event()

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class ScriptedServer:
    """Plays scripts on a free loopback port; use it with ``async with``.

    A script is a sequence of actions: ``bytes`` are written as they are, a number waits that many seconds,
    ``"eof"`` closes the connection, ``"rst"`` resets it, ``"hang"`` waits until the client leaves. A script that
    ends without one of these leaves the connection open for the next request.

    Attributes:
        seen: What each case's clients did, by case id.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self._steps: dict[str, tuple[Step, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._port = 0

    def add(self, case_id: str, *steps: Step) -> str:
        """Serve a case, and forget what was seen of an earlier one of the same name.

        Args:
            case_id: First segment of the path; letters, digits and ``-``.
            *steps: What is played for the first request, for the second, and so on; the last repeats.

        Returns:
            The base URL to give to the client under test.
        """
        self._steps[case_id] = steps
        self.seen[case_id] = Seen()
        return f"http://127.0.0.1:{self._port}/{case_id}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Play one step; tell whether the connection stays open."""
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head.split(" ")[1]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = _parsed(await reader.readexactly(int(headers.get("content-length", "0"))))
        case_id = path.split("/")[1]
        if case_id not in self._steps:
            writer.write(http(b'{"error": {"message": "there is no such case"}}', "404 Not Found"))
            return True
        seen = self.seen[case_id]
        step = self._steps[case_id][min(len(seen.paths), len(self._steps[case_id]) - 1)]
        seen.paths.append(path)
        seen.headers.append(headers)
        seen.bodies.append(body)
        seen.started.append(time.monotonic())
        if isinstance(step, Answer):
            step = step.stream if body.get("stream") else step.plain
        return await _play(step, writer, seen)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"raw": body.decode("utf-8", "replace")}


async def _play(script: Script, writer: asyncio.StreamWriter, seen: Seen) -> bool:
    """Play one script; tell whether the connection stays open."""
    connection: _Connection = writer.transport.get_protocol()  # type: ignore[assignment]  # made by our own factory
    for action in script:
        if action == "eof":
            return False
        if action == "rst":
            linger_0_s = struct.pack("ii", 1, 0)  # a socket that does not linger says goodbye with RST
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0_s)
            return False
        if isinstance(action, bytes):
            writer.write(action)
            await writer.drain()
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.gone.wait(), None if action == "hang" else float(action))
        if connection.gone.is_set():
            seen.gone_at.append(time.monotonic())
            return False
    return True
