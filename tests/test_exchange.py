"""``wire.exchange``: the client of a provider, the witness of a try, and what is left of the connection afterwards."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adapters import ConfigError
from adapters.testing.answers import DONE, SSE_END, SSE_HEAD, answer, event, http, http_chunk, reply, said
from adapters.testing.server import ScriptedServer
from adapters.wire import exchange
from adapters.wire.exchange import WitnessTransport, create_client, receipt, watch
from adapters.wire.reader import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.answers import Script
    from adapters.wire.exchange import Exchange

CONNECT_S = 5.0


class Counting(ScriptedServer):
    """A scripted server that counts the connections it was asked for."""

    connections = 0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        super()._accept(reader, writer)


class Inner(httpx.AsyncBaseTransport):
    """A transport that notes requests, and answers or fails."""

    def __init__(self, outcome: httpx.Response | Exception) -> None:
        self.outcome = outcome
        self.requests: list[httpx.Request] = []
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer or fail."""
        self.requests.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def aclose(self) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture
async def server() -> AsyncIterator[Counting]:
    """A server that plays whatever a test gives it."""
    async with Counting() as running:
        yield running


@asynccontextmanager
async def client_for(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The client of a provider at this address."""
    async with create_client(base_url, CONNECT_S) as client:
        yield client


async def ask(client: httpx.AsyncClient, base_url: str, *, stream: bool) -> Exchange:
    """Send one watched request."""
    with watch(stream=stream) as seen:
        await client.post(f"{base_url}/chat/completions", json={"stream": stream})
    return seen


async def test_the_witness_keeps_what_went_over_the_wire(server: Counting) -> None:
    """Whoever watches has the request and the unread response; the sender gets a receipt in its place."""
    base_url = server.add("case", (http(b'{"a": 1}', "503 Service Unavailable", x_id="7"),))

    async with client_for(base_url) as client:
        with watch(stream=False) as seen:
            got = await client.post(f"{base_url}/chat/completions", json={"n": 1})
        assert seen.response is not None
        assert (seen.response.status_code, seen.response.headers["x-id"]) == (503, "7")
        assert await seen.response.aread() == b'{"a": 1}'

    assert seen.request is not None
    assert seen.request.url.path == "/case/v1/chat/completions"
    assert seen.error is None
    assert got.status_code == 200
    assert got.json()["id"] == "receipt"


async def test_without_a_witness_the_response_goes_through(server: Counting) -> None:
    """A request that nobody watches gets its own answer, and so does one after the watched block."""
    base_url = server.add("case", reply({"a": 1}))

    async with client_for(base_url) as client:
        before = await client.get(f"{base_url}/models")
        seen = await ask(client, base_url, stream=False)
        await seen.aclose()
        after = await client.get(f"{base_url}/models")

    assert before.json() == after.json() == {"a": 1}


async def test_each_task_has_its_own_witness(server: Counting) -> None:
    """Requests that run at the same time over one client are not mixed up."""
    async with client_for(server.add("a", (0.05, *reply({"a": 1})))) as client:
        asked = [ask(client, server.add(name, (0.02, *reply({name: 1}))), stream=False) for name in "abcd"]
        exchanges = await asyncio.gather(*asked)
        bodies = [await seen.response.aread() for seen in exchanges if seen.response is not None]

    assert bodies == [b'{"a": 1}', b'{"b": 1}', b'{"c": 1}', b'{"d": 1}']


async def test_a_try_costs_one_request() -> None:
    """A second request within the same try is refused before it leaves; the next try may send one again."""
    inner = Inner(httpx.Response(200))
    async with httpx.AsyncClient(transport=WitnessTransport(inner, CONNECT_S)) as client:
        with watch(stream=True) as seen:
            await client.post("http://x/v1")
            with pytest.raises(httpx.NetworkError, match="already sent"):
                await client.post("http://x/v1")
        await ask(client, "http://x/v1", stream=True)

    assert len(inner.requests) == 2
    assert seen.error is None


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(httpx.ConnectError("refused"), id="refused"),
        pytest.param(httpx.RemoteProtocolError("gone"), id="gone"),
        pytest.param(httpx.ReadError("reset"), id="reset"),
        pytest.param(httpx.ConnectTimeout("slow"), id="slow"),
    ],
)
async def test_an_error_is_kept_and_told_in_a_way_that_is_not_repeated(error: httpx.TransportError) -> None:
    """The witness has the true error; the sender gets one that LiteLLM does not answer with another request."""
    inner = Inner(error)
    async with httpx.AsyncClient(transport=WitnessTransport(inner, CONNECT_S)) as client:
        with watch(stream=False) as seen, pytest.raises(httpx.NetworkError) as caught:
            await client.post("http://x/v1")

    assert type(caught.value) is httpx.NetworkError
    assert seen.error is error
    assert seen.response is None
    await seen.aclose()


async def test_limits_cannot_be_overridden() -> None:
    """Whatever timeout a request is sent with, the client's own limits hold, and reading has none."""
    inner = Inner(httpx.Response(200))
    async with httpx.AsyncClient(transport=WitnessTransport(inner, CONNECT_S), timeout=1) as client:
        await client.get("http://x", timeout=httpx.Timeout(0.001))
        await ask(client, "http://x", stream=False)

    for request in inner.requests:
        timeouts = request.extensions["timeout"]
        assert (timeouts["connect"], timeouts["pool"], timeouts["read"]) == (CONNECT_S, CONNECT_S, None)
    assert inner.closed


@pytest.mark.parametrize("stream", [True, False])
def test_receipts(stream: bool) -> None:
    """A receipt is an answer of the kind that was asked for."""
    got = receipt(stream=stream)

    assert got.status_code == 200
    assert (got.text == "data: [DONE]\n\n") is stream
    assert ("event-stream" in got.headers["content-type"]) is stream


async def listen(seen: Exchange, pieces: int) -> None:
    """Take some payloads of a stream, then leave the rest to the background."""
    assert seen.response is not None
    payloads = read(seen.response)
    for _ in range(pieces):
        await anext(payloads)
    seen.drain(payloads)


async def until_drained() -> None:
    """Wait for what is read in the background."""
    while exchange._draining:
        await asyncio.gather(*exchange._draining)


async def until_gone(server: ScriptedServer) -> int:
    """Wait until a client has left in the middle of an answer, and count those that did."""
    for _ in range(500):
        if server.seen["case"].gone_at:
            break
        await asyncio.sleep(0.01)
    return len(server.seen["case"].gone_at)


_ENDS = [
    pytest.param((SSE_HEAD, http_chunk(event(said("Hi"))), http_chunk(DONE), SSE_END), id="at once"),
    pytest.param((SSE_HEAD, http_chunk(event(said("Hi"))), http_chunk(DONE), 0.05, SSE_END), id="50 ms late"),
    pytest.param(
        (SSE_HEAD, http_chunk(event(said("Hi"))), http_chunk(DONE), 0.02, http_chunk(b": bye\n\n"), SSE_END),
        id="after a comment",
    ),
]


@pytest.mark.parametrize("script", _ENDS)
async def test_a_finished_stream_leaves_its_connection_usable(server: Counting, script: Script) -> None:
    """Five turns need one connection, also if the last bytes come after the answer was complete."""
    base_url = server.add("case", script)

    async with client_for(base_url) as client:
        for _ in range(5):
            await listen(await ask(client, base_url, stream=True), pieces=2)
            await until_drained()

    assert server.connections == 1
    assert len(server.seen["case"].paths) == 5


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("hang", id="never ends"),
        pytest.param("rst", id="breaks"),
        pytest.param(b"no chunk\r\n", id="is garbled"),
    ],
)
async def test_a_stream_that_does_not_end_is_given_up(
    server: Counting, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    """The rest of a finished stream is worth a moment, not more; then its connection is closed, without a word."""
    monkeypatch.setattr(exchange, "DRAIN_S", 0.05)
    base_url = server.add("case", (SSE_HEAD, http_chunk(event(said("Hi"))), http_chunk(DONE), end))

    async with client_for(base_url) as client:
        seen = await ask(client, base_url, stream=True)
        await listen(seen, pieces=2)
        await until_drained()
        assert seen.response is not None
        assert seen.response.is_closed
        await listen(await ask(client, base_url, stream=True), pieces=2)
        await until_drained()

    assert server.connections == 2


async def test_nothing_is_drained_twice(server: Counting) -> None:
    """A response that was read to its end, or that never came, leaves nothing to do."""
    base_url = server.add("case", answer("Hi"))

    async with client_for(base_url) as client:
        seen = await ask(client, base_url, stream=False)
        assert seen.response is not None
        payloads = read(seen.response)
        assert [payload.kind async for payload in payloads] == ["json"]
        seen.drain(payloads)
        with watch(stream=False) as never_sent:
            never_sent.drain(payloads)

    assert not exchange._draining


async def test_closing_reaches_the_server(server: Counting) -> None:
    """Closing an exchange in the middle of the answer ends the request."""
    base_url = server.add("case", (SSE_HEAD, http_chunk(event(said("Hi"))), "hang"))

    async with client_for(base_url) as client:
        seen = await ask(client, base_url, stream=True)
        await seen.aclose()
        gone = await until_gone(server)

    assert gone == 1


@pytest.fixture(name="proxy")
async def _proxy(server: Counting, monkeypatch: pytest.MonkeyPatch) -> str:
    """A proxy that answers everything by itself; it is asked for whole URLs, whose first segment is empty."""
    server.add("", reply({"from": "proxy"}))
    address = f"127.0.0.1:{server._port}"
    monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
    return address


async def said_by(base_url: str) -> Any:
    """Who answers at this address."""
    async with client_for(base_url) as client:
        return (await client.get(f"{base_url}/models")).json()["from"]


async def test_a_proxy_of_the_environment_is_used(
    server: Counting, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server elsewhere is asked through the proxy, which may be written without a scheme."""
    assert await said_by("http://model.invalid/v1") == "proxy"
    monkeypatch.setenv("HTTP_PROXY", proxy)
    assert await said_by("http://model.invalid/v1") == "proxy"
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert await said_by("http://model.invalid/v1") == "proxy"

    assert server.seen[""].paths == ["http://model.invalid/v1/models"] * 3


async def test_this_machine_is_asked_past_the_proxy(server: Counting, proxy: str) -> None:
    """A proxy of the environment is never asked for a server on loopback."""
    assert await said_by(server.add("case", reply({"from": "server"}))) == "server"

    assert server.seen[""].paths == []


@pytest.mark.parametrize("no_proxy", ["model.invalid", ".invalid", "*", "other, model.invalid:8000"])
async def test_servers_that_need_no_proxy(server: Counting, monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    """``NO_PROXY`` is heeded in all its forms."""
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    await create_client("http://model.invalid:8000/v1", CONNECT_S).aclose()


@pytest.mark.parametrize(
    "host",
    ["localhost", "voice.localhost", "127.0.0.1", "127.8.9.1", "0.0.0.0", "[::1]"],  # noqa: S104 - asked, not bound
)
async def test_names_of_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Every way to write this machine is known: no proxy is even looked at."""
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")

    await create_client(f"http://{host}:8000/v1", CONNECT_S).aclose()


@pytest.mark.parametrize("proxy", ["socks5://me:SECRET@x:1", "nonsense://SECRET", "http://SECRET:port"])
@pytest.mark.parametrize("host", ["model.invalid", "10.0.0.7", "localhost.invalid"])
def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, proxy: str, host: str) -> None:
    """A proxy that we cannot speak to is told as a mistake of the configuration, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setitem(sys.modules, "socksio", None)  # as it is where httpx is installed without SOCKS

    with pytest.raises(ConfigError, match=r"proxy.*HTTPS_PROXY.*NO_PROXY") as caught:
        create_client(f"https://{host}/v1", CONNECT_S)

    assert "SECRET" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
