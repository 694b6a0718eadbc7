"""``wire.connection``: one provider's way to its server, on one event loop, on several, and when there is none."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from adapters import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    ProviderConfig,
)
from adapters.local import LocalServer
from adapters.testing.answers import SSE_HEAD, answer, event, http, http_chunk, reply, said
from adapters.testing.server import ScriptedServer
from adapters.wire.connection import Connection
from adapters.wire.deadlines import Deadlines
from adapters.wire.reader import read_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.answers import Script

pytest_plugins = ["adapters.testing.plugin"]

KEY = "wire-KEY-0123456789"
PROMPT = "wire-PROMPT-0123456789"
QUESTION = [{"role": "user", "content": PROMPT}]
ALIVE: Script = (http(b""),)


class Counting(ScriptedServer):
    """A scripted server that counts the connections it was asked for."""

    connections = 0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        super()._accept(reader, writer)


class Embedded(LocalServer):
    """An embedded server without a process: each start may bring another address."""

    def __init__(self, *base_urls: str) -> None:
        super().__init__()
        self.base_urls = list(base_urls)
        self.stops = 0

    async def start(self) -> str:
        """Give the next address, and the last one for ever."""
        return self.base_urls.pop(0) if len(self.base_urls) > 1 else self.base_urls[0]

    async def stop(self) -> None:
        """Note it."""
        self.stops += 1


@pytest.fixture
async def server() -> AsyncIterator[Counting]:
    """A server that plays whatever a test gives it."""
    async with Counting() as running:
        yield running


def config(base_url: str, **options: Any) -> ProviderConfig:
    """Settings of a server that demands a key."""
    settings = {"name": "shop", "model": "m", "base_url": base_url, "api_key": KEY, **options}
    return ProviderConfig.create("openai_compatible", **settings)


async def ask(connection: Connection, settings: ProviderConfig, *, stream: bool = False) -> Any:
    """Send one request and read the whole answer."""
    deadlines = Deadlines(settings.timeouts, streamed=stream)
    exchange = await connection.send(QUESTION, {"n": 1}, stream=stream, deadlines=deadlines)
    assert exchange.response is not None
    return read_whole(await exchange.response.aread()).value


async def test_a_success_is_handed_over_unread(server: Counting) -> None:
    """The response has its head and is still open; whoever got it reads and closes it."""
    settings = config(server.add("case", (SSE_HEAD, http_chunk(event(said("Hi"))), "hang")))
    connection = Connection(settings, None)

    exchange = await connection.send(
        QUESTION, {"n": 1}, stream=True, deadlines=Deadlines(settings.timeouts, streamed=True)
    )

    assert exchange.response is not None
    assert exchange.response.status_code == 200
    assert not exchange.response.is_closed
    assert server.seen["case"].bodies == [{"model": "m", "messages": QUESTION, "stream": True, "n": 1}]
    await exchange.aclose()
    await connection.aclose()


@pytest.mark.parametrize(
    ("script", "expected", "words"),
    [
        pytest.param(reply({"error": {"message": "Bad n."}}, "400 Bad Request"), BadRequestError, "Bad n.", id="400"),
        pytest.param((http(b"<h1>Oops</h1>", "502 Bad Gateway"),), InternalServerError, "Oops", id="page"),
        pytest.param((http(b"", "503 Busy"),), InternalServerError, "shop failed", id="no body"),
        pytest.param(reply({}, "302 Found", location="/login"), NotFoundError, "has moved", id="redirect"),
        pytest.param(
            (b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\n", "hang"), InternalServerError, "failed", id="silent body"
        ),
        pytest.param(
            (b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\n{", "rst"), InternalServerError, "failed", id="broken body"
        ),
        pytest.param(
            (http(b"no gzip", "500 Oops", content_encoding="gzip"),), InternalServerError, "failed", id="no gzip"
        ),
        pytest.param(("rst",), APIConnectionError, "connection to shop broke", id="reset"),
        pytest.param(("eof",), APIConnectionError, "connection to shop broke", id="closed"),
        pytest.param((b"nonsense\r\n\r\n", "eof"), APIConnectionError, "connection to shop broke", id="no HTTP"),
        pytest.param(("hang",), APITimeoutError, "did not answer in time", id="silence"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_failure_is_one_of_our_errors(
    server: Counting, script: Script, expected: type[APIError], words: str, stream: bool
) -> None:
    """Whatever comes instead of an answer, it is told in our words after one request, with a clean cause."""
    settings = config(server.add("case", script), timeouts={"first_token_s": 0.5, "total_s": 0.5})
    connection = Connection(settings, None)

    with pytest.raises(APIError, match=words) as caught:
        await ask(connection, settings, stream=stream)

    assert type(caught.value) is expected
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__context__ is None or not hasattr(caught.value.__cause__.__context__, "request")
    assert not hasattr(caught.value.__cause__, "request")
    assert len(server.seen["case"].paths) == 1
    await connection.aclose()


async def test_nobody_there() -> None:
    """A server that is not running is told as such."""
    settings = config("http://127.0.0.1:9/v1")
    connection = Connection(settings, None)

    with pytest.raises(APIConnectionError, match="shop could not be reached"):
        await ask(connection, settings)
    await connection.aclose()


async def test_a_request_that_cannot_be_built(server: Counting) -> None:
    """Messages that LiteLLM cannot read are the caller's mistake; the error names no library and keeps no prompt."""
    settings = config(server.add("case", answer("Hi")))
    connection = Connection(settings, None)
    nonsense: Any = [*QUESTION, {"role": "user", "content": object()}]

    with pytest.raises(BadRequestError, match="shop could not be built") as caught:
        await connection.send(nonsense, {}, stream=False, deadlines=Deadlines(settings.timeouts, streamed=False))

    cause = caught.value.__cause__
    assert type(cause) is TypeError
    assert PROMPT not in f"{caught.value} {cause!r} {cause.__context__!r} {caught.value.__context__!r}"
    assert server.seen["case"].paths == []
    await connection.aclose()


async def test_cancelling_reaches_the_server(server: Counting) -> None:
    """Whoever is cancelled while waiting for the head of an answer ends the request."""
    settings = config(server.add("case", ("hang",)))
    connection = Connection(settings, None)
    task = asyncio.create_task(ask(connection, settings))
    await until(lambda: server.seen["case"].paths)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await until(lambda: server.seen["case"].gone_at)
    await connection.aclose()


async def until(condition: Any) -> Any:
    """Wait until something has come true, but not for ever."""
    for _ in range(500):
        if condition():
            break
        await asyncio.sleep(0.01)
    return condition()


async def test_requests_share_connections(server: Counting) -> None:
    """Turns one after the other need one connection, and requests at once get one each, without a limit."""
    settings = config(server.add("case", (0.2, *reply({"a": 1}))))
    connection = Connection(settings, None)

    for _ in range(2):
        await ask(connection, settings)
    assert server.connections == 1
    await asyncio.gather(*(ask(connection, settings) for _ in range(30)))

    assert server.connections == 30
    await connection.aclose()


async def test_first_calls_at_once_share_one_client(server: Counting) -> None:
    """Calls that all find nothing ready make one client, so that closing leaves none behind."""
    settings = config(server.add("case", reply({"a": 1})))
    connection = Connection(settings, None)

    answers = await asyncio.gather(*(ask(connection, settings) for _ in range(8)))

    assert answers == [{"a": 1}] * 8
    assert len({id(route) for route in connection._routes.values()}) == 1
    await connection.aclose()


async def test_closing_is_not_the_end(server: Counting) -> None:
    """A closed connection can be closed again, and opens anew with the next request."""
    settings = config(server.add("case", reply({"a": 1})))
    connection = Connection(settings, None)

    await connection.aclose()
    for _ in range(2):
        assert await ask(connection, settings) == {"a": 1}
        await connection.aclose()
        await connection.aclose()

    assert server.connections == 2


def test_loops_one_after_the_other(scripted_server: ScriptedServer) -> None:
    """One connection serves one event loop after the other, closed in between or not."""
    settings = config(scripted_server.add("case", reply({"a": 1})))
    connection = Connection(settings, None)

    async def turn() -> Any:
        said_by_server = await ask(connection, settings)
        await connection.aclose()
        return said_by_server

    assert [asyncio.run(turn()) for _ in range(3)] == [{"a": 1}] * 3
    assert len(connection._routes) == 0


def test_loops_that_ended(scripted_server: ScriptedServer) -> None:
    """The client of a loop that ended without ``aclose`` is let go when the next loop needs one."""
    settings = config(scripted_server.add("case", reply({"a": 1})))
    connection = Connection(settings, None)
    ended = asyncio.new_event_loop()
    ended.close()
    connection._routes[ended] = cast("Any", None)  # nobody may touch it any more

    async def turn() -> None:
        assert await ask(connection, settings) == {"a": 1}
        assert list(connection._routes) == [asyncio.get_running_loop()]
        await connection.aclose()

    asyncio.run(turn())

    assert connection._routes == {}


def test_loops_in_threads(scripted_server: ScriptedServer) -> None:
    """Threads with loops of their own share one connection object, and each closes its own client alone."""
    settings = config(scripted_server.add("case", (0.05, *reply({"a": 1}))))
    connection = Connection(settings, None)
    heard: list[Any] = []

    async def turns(pause_s: float) -> None:
        for _ in range(3):
            heard.append(await ask(connection, settings))
            await asyncio.sleep(pause_s)
            await connection.aclose()

    threads = [threading.Thread(target=lambda n=n: asyncio.run(turns(n * 0.01))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert heard == [{"a": 1}] * 12


async def test_prewarm_opens_the_connection_that_is_used(server: Counting) -> None:
    """Warming up asks for no answer, with the key, and the first request needs no other connection."""
    settings = config(server.add("case", ALIVE, reply({"a": 1})), headers={"X-Team": "voice"})
    connection = Connection(settings, None)

    await connection.prewarm()
    await ask(connection, settings)

    seen = server.seen["case"]
    assert seen.paths == ["/case/v1/models", "/case/v1/chat/completions"]
    assert seen.headers[0]["authorization"] == seen.headers[1]["authorization"] == f"Bearer {KEY}"
    assert seen.headers[0]["x-team"] == "voice"
    assert server.connections == 1
    await connection.aclose()


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "302 Found", "500 Oops"])
async def test_prewarm_takes_any_answer(server: Counting, status: str) -> None:
    """Whatever the server makes of being asked for its models, it is there; the key follows no redirect."""
    settings = config(server.add("case", (http(b"", status, location="/elsewhere"),)))
    connection = Connection(settings, None)

    await connection.prewarm()

    assert server.seen["case"].paths == ["/case/v1/models"]
    await connection.aclose()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(("rst",), APIConnectionError, id="reset"),
        pytest.param(("hang",), APITimeoutError, id="silence"),
    ],
)
async def test_prewarm_tells_what_is_wrong(server: Counting, script: Script, expected: type[APIError]) -> None:
    """A server that does not answer is an error, without the request hanging on it."""
    settings = config(server.add("case", script), timeouts={"first_token_s": 0.3})
    connection = Connection(settings, None)

    with pytest.raises(APIError) as caught:
        await connection.prewarm()

    assert type(caught.value) is expected
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert not hasattr(caught.value.__cause__, "request")
    await connection.aclose()


async def test_prewarm_at_once(server: Counting) -> None:
    """Warming up while the first request is on its way harms neither."""
    settings = config(server.add("case", ALIVE))
    connection = Connection(settings, None)

    await asyncio.gather(connection.prewarm(), connection.prewarm(), ask(connection, settings))

    assert len(server.seen["case"].paths) == 3
    await connection.aclose()


async def test_an_embedded_server_is_started_and_stopped(server: Counting) -> None:
    """The embedded server says where it is, and is stopped with the connection, also if it was never asked."""
    settings = ProviderConfig.create("local")
    embedded = Embedded(server.add("case", reply({"a": 1})))
    connection = Connection(settings, embedded)

    await connection.aclose()
    assert await ask(connection, settings) == {"a": 1}
    await connection.aclose()

    assert embedded.stops == 2
    assert server.seen["case"].headers[0]["authorization"] == "Bearer not-needed"


async def test_an_embedded_server_that_moved(server: Counting) -> None:
    """One that crashed and was started anew is asked at its new address."""
    settings = ProviderConfig.create("local")
    first, second = server.add("first", reply({"a": 1})), server.add("second", reply({"a": 2}))
    connection = Connection(settings, Embedded(first, first, second))

    assert [await ask(connection, settings) for _ in range(4)] == [{"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}]
    await connection.aclose()


async def test_a_server_is_stopped_even_if_closing_fails(server: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left behind because a socket could not be closed."""
    settings = ProviderConfig.create("local")
    embedded = Embedded(server.add("case", reply({"a": 1})))
    connection = Connection(settings, embedded)
    await ask(connection, settings)
    [route] = connection._routes.values()
    close = route.http.aclose

    async def fail() -> None:
        await close()
        raise OSError("no")

    monkeypatch.setattr(route.http, "aclose", fail)

    with pytest.raises(OSError, match="no"):
        await connection.aclose()

    assert embedded.stops == 1
