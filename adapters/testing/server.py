"""``ScriptedServer``: a loopback HTTP server that plays exact bytes and records the requests of each client.

It knows nothing of chat completions: ``adapters.testing.answers`` builds the bytes, and ``adapters.testing.cases`` says
what a correct client makes of them.
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

from adapters.testing.answers import Answer, http, reply

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from adapters.testing.answers import Script

Step: TypeAlias = "Script | Answer"
"""What the server plays for one request; of an ``Answer``, the form that the request's ``stream`` selects."""

_MAX_REQUEST_BYTES = 2**24
_NO_MODELS = reply({"object": "list", "data": []})


@dataclass(slots=True)
class Seen:
    """What the server received for one case, one entry per request.

    Attributes:
        bodies: Parsed JSON bodies; ``{"raw": text}`` for a body that is not a JSON object.
        headers: Headers, names in lower case.
        paths: Request targets, with the query.
        started: Times in seconds on the monotonic clock at which a request was complete.
        gone_at: Times on the same clock at which a client disconnected while its script was playing.
        abandoned: How many connections the server closed because the client waited for ``max_wait_s``.
    """

    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    gone_at: list[float] = field(default_factory=list)
    abandoned: int = 0


class _Connection(asyncio.StreamReaderProtocol):
    """A connection that detects immediately, without reading, that its client has disconnected."""

    def __init__(self, server: ScriptedServer) -> None:
        reader = asyncio.StreamReader(limit=_MAX_REQUEST_BYTES)
        super().__init__(reader, server._accept)  # noqa: SLF001 - two parts of one class
        self.gone = asyncio.Event()

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class ScriptedServer:
    """Plays scripts on a free loopback port; use it with ``async with``.

    A script is a sequence of actions: ``bytes`` are written unchanged, a number waits that many seconds, ``"eof"``
    closes the connection, ``"rst"`` resets it, ``"hang"`` waits until the client disconnects. A script that ends
    without one of these leaves the connection open for the next request.

    Args:
        max_wait_s: Seconds after which a connection is closed whose client waits in a "hang", or sends no further
            request; a client without a timeout then fails instead of blocking its test forever.

    Attributes:
        seen: What was received for each case, by case id.
        max_wait_s: The argument.
    """

    def __init__(self, *, max_wait_s: float = 60.0) -> None:
        self.seen: dict[str, Seen] = {}
        self.max_wait_s = max_wait_s
        self._played: dict[str, int] = {}
        self._steps: dict[str, tuple[Step, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._port = 0

    def add(self, case_id: str, *steps: Step) -> str:
        """Serve a case; an earlier case of the same name is replaced.

        Args:
            case_id: First segment of the path; letters, digits and ``-``.
            *steps: What the server plays for the first request, for the second, and so on; the last step repeats. An
                ``Answer`` is kept for a request with a body: a request for the list of models before it, such as that
                of ``prewarm()``, gets an empty list.

        Returns:
            The base URL for the client under test.
        """
        self._steps[case_id] = steps
        self._played[case_id] = 0
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
        task.add_done_callback(lambda _: writer.close())  # a task that is cancelled before it starts does not

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen: Seen | None = None
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    async with asyncio.timeout(self.max_wait_s):
                        head = await reader.readuntil(b"\r\n\r\n")
                    request = await Request.read(head, reader)
                    seen = self.seen.get(request.case_id)
                    if not await self._answer(request, seen, writer):
                        break
        except TimeoutError:
            if seen is not None:
                seen.abandoned += 1
        finally:
            writer.close()

    async def _answer(self, request: Request, seen: Seen | None, writer: asyncio.StreamWriter) -> bool:
        """Play one step; return whether the connection stays open.

        Raises:
            TimeoutError: If the client waits for ``max_wait_s``.
        """
        if seen is None:
            writer.write(http(b'{"error": {"message": "there is no such case"}}', "404 Not Found"))
            return True
        steps, played = self._steps[request.case_id], self._played[request.case_id]
        step = steps[min(played, len(steps) - 1)]
        if isinstance(step, Answer) and request.method == "GET":
            step = _NO_MODELS
        else:
            self._played[request.case_id] += 1
        seen.paths.append(request.path)
        seen.headers.append(request.headers)
        seen.bodies.append(body := request.body)
        seen.started.append(time.monotonic())
        if isinstance(step, Answer):
            step = step.stream if body.get("stream") else step.plain
        return await self._play(step, writer, seen)

    async def _play(self, script: Script, writer: asyncio.StreamWriter, seen: Seen) -> bool:
        connection: _Connection = writer.transport.get_protocol()  # type: ignore[assignment]  # made by our own factory
        for action in script:
            if action == "eof":
                return False
            if action == "rst":
                linger_0_s = struct.pack("ii", 1, 0)  # a socket that does not linger closes with RST
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0_s)
                return False
            if isinstance(action, bytes):
                writer.write(action)
                await writer.drain()
            elif action == "hang":
                await asyncio.wait_for(connection.gone.wait(), self.max_wait_s)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(connection.gone.wait(), float(action))
            if connection.gone.is_set():
                seen.gone_at.append(time.monotonic())
                return False
        return True


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; the first segment of its path is a case id."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def case_id(self) -> str:
        """The case that is requested."""
        return self.path.split("/")[1]

    @property
    def body(self) -> dict[str, Any]:
        """The parsed body; ``{"raw": text}`` if it is not a JSON object."""
        return _parsed(self.content)

    @classmethod
    async def read(cls, head: bytes, reader: asyncio.StreamReader) -> Request:
        """Parse the head of a request, and read its body."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", maxsplit=2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"raw": body.decode("utf-8", "replace")}
