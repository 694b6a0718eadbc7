"""``transport.provider_transport``: requests through LiteLLM and without it, on one event loop or several."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import gzip
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from adapters import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    IncompleteResponseError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProviderConfig,
    RateLimitError,
    create_provider,
)
from adapters.client.provider import LiteLLMProvider
from adapters.local import LocalServer
from adapters.testing.answers import DONE, SSE_END, SSE_HEAD, answer, event, http, http_chunk, raw_stream, reply, said
from adapters.transport import litellm_bridge
from adapters.transport.deadlines import Deadlines
from adapters.transport.provider_transport import ProviderTransport
from tests.forks.processes import python
from tests.patience import in_time, patient
from tests.transport.processes import run
from tests.transport.servers import Counting, full_listener, raw_server, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.config import KindName
    from adapters.testing.answers import Script
    from adapters.testing.server import ScriptedServer
    from adapters.transport.body import Body

pytest_plugins = ["adapters.testing.plugin"]

KEY = "wire-KEY-0123456789"
PROMPT = "wire-PROMPT-0123456789"
QUESTION = [{"role": "user", "content": PROMPT}]
ALIVE: Script = (http(b""),)
ROOT = Path(__file__).parent.parent.parent


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


def config(base_url: str, kind: str = "openai_compatible", **options: Any) -> ProviderConfig:
    """Settings of a server that demands a key."""
    settings = {"name": "shop", "model": "m", "base_url": base_url, "api_key": KEY, **options}
    return ProviderConfig.create(kind, **settings)


async def opened(connection: ProviderTransport, settings: ProviderConfig, *, stream: bool = False) -> Body:
    """Send one request and wait for the head of its answer."""
    deadlines = Deadlines(settings.timeouts, streamed=stream)
    return await connection.send({"messages": QUESTION, "n": 1}, {}, stream=stream, deadlines=deadlines)


async def ask(connection: ProviderTransport, settings: ProviderConfig, *, stream: bool = False) -> Any:
    """Send one request and read the whole answer, which is one document."""
    body = await opened(connection, settings, stream=stream)
    [document] = await body.read()
    body.release()
    return document


async def test_a_success_is_handed_over_unread(server: Counting) -> None:
    """The body is still to come; the caller reads and closes it."""
    settings = config(server.add("case", (SSE_HEAD, 0.05, http_chunk(event(said("Hi"))), "hang")))
    connection = ProviderTransport(settings)

    body = await opened(connection, settings, stream=True)

    assert server.seen["case"].bodies == [{"model": "m", "messages": QUESTION, "stream": True, "n": 1}]
    assert await body.read() == [said("Hi")]
    assert server.seen["case"].gone_at == []
    body.close()
    assert await until(lambda: server.seen["case"].gone_at)
    await connection.aclose()


async def test_headers(server: Counting) -> None:
    """Headers of the provider and of the request are sent, and those of the request come first."""
    settings = config(server.add("case", reply({"a": 1})), headers={"X-Team": "voice", "X-Room": "1"})
    connection = ProviderTransport(settings)

    body = await connection.send(
        {"messages": QUESTION}, {"X-Room": "2"}, stream=False, deadlines=Deadlines(settings.timeouts, streamed=False)
    )
    body.close()

    headers = server.seen["case"].headers[0]
    assert (headers["x-team"], headers["x-room"], headers["authorization"]) == ("voice", "2", f"Bearer {KEY}")
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
        pytest.param(("rst",), APIConnectionError, "connection to shop was lost", id="reset"),
        pytest.param(("eof",), APIConnectionError, "connection to shop was lost", id="closed"),
        pytest.param((b"nonsense\r\n\r\n", "eof"), APIConnectionError, "connection to shop was lost", id="no HTTP"),
        pytest.param(("hang",), APITimeoutError, "did not answer in time", id="silence"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_failure_is_one_of_our_errors(
    server: Counting, script: Script, expected: type[APIError], words: str, stream: bool
) -> None:
    """Whatever comes instead of an answer, it is told in our words after one request, with a clean cause."""
    limit_s = 0.5 if script == ("hang",) else 20
    settings = config(server.add("case", script), timeouts={"first_token_s": limit_s, "total_s": limit_s})
    connection = ProviderTransport(settings)

    with pytest.raises(APIError, match=words) as caught:
        await ask(connection, settings, stream=stream)

    assert type(caught.value) is expected
    assert caught.value.__cause__ is not None
    assert_clean(caught.value)
    assert len(server.seen["case"].paths) == 1
    await connection.aclose()


def assert_clean(error: BaseException) -> None:
    """Neither the key nor the prompt is in an error, in what caused it, or in any field of those."""
    at: BaseException | None = error
    while at is not None:
        assert not hasattr(at, "request_info")
        assert KEY not in f"{at!r} {vars(at)}"
        assert PROMPT not in f"{at!r} {vars(at)}"
        at = at.__cause__ or at.__context__
    assert KEY not in "".join(traceback.format_exception(error))


async def test_nobody_there() -> None:
    """A server that is not running is told as such."""
    settings = config("http://127.0.0.1:9/v1")
    connection = ProviderTransport(settings)

    with pytest.raises(APIConnectionError, match="Could not reach shop"):
        await ask(connection, settings)
    await connection.aclose()


async def test_a_request_that_cannot_be_built(server: Counting) -> None:
    """Messages that cannot be encoded are the caller's mistake; the error names no library and has no prompt."""
    settings = config(server.add("case", answer("Hi")))
    connection = ProviderTransport(settings)
    nonsense = {"messages": [*QUESTION, {"role": "user", "content": object()}]}

    with pytest.raises(BadRequestError, match="could not be built") as caught:
        await connection.send(nonsense, {}, stream=False, deadlines=Deadlines(settings.timeouts, streamed=False))

    assert type(caught.value.__cause__) is TypeError
    assert_clean(caught.value)
    assert server.seen["case"].paths == []
    await connection.aclose()


async def test_cancelling_reaches_the_server(server: Counting) -> None:
    """Cancelling a caller that waits for the head of an answer ends the request."""
    settings = config(server.add("case", ("hang",)))
    connection = ProviderTransport(settings)
    task = asyncio.create_task(ask(connection, settings))
    await until(lambda: server.seen["case"].paths)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await until(lambda: server.seen["case"].gone_at)
    await connection.aclose()


async def test_requests_share_connections(server: Counting) -> None:
    """Turns one after the other need one connection, and requests at once get one each, without a limit."""
    settings = config(server.add("case", (0.2, *reply({"a": 1}))))
    connection = ProviderTransport(settings)

    for _ in range(2):
        await ask(connection, settings)
    assert server.connections == 1
    await asyncio.gather(*(ask(connection, settings) for _ in range(30)))

    assert server.connections == 30
    await connection.aclose()


async def test_first_calls_at_once_share_one_client(server: Counting) -> None:
    """Calls that all find nothing ready make one client, so that closing leaves none behind."""
    settings = config(server.add("case", reply({"a": 1})))
    connection = ProviderTransport(settings)

    answers = await asyncio.gather(*(ask(connection, settings) for _ in range(8)))

    assert answers == [{"a": 1}] * 8
    assert len({id(loop_state.opened) for loop_state in connection._loops.values()}) == 1
    await connection.aclose()


async def test_closing_is_not_the_end(server: Counting) -> None:
    """A closed connection can be closed again, and opens anew with the next request."""
    settings = config(server.add("case", reply({"a": 1})))
    connection = ProviderTransport(settings)

    await connection.aclose()
    for _ in range(2):
        assert await ask(connection, settings) == {"a": 1}
        await connection.aclose()
        await connection.aclose()

    assert server.connections == 2


def test_loops_one_after_the_other(scripted_server: ScriptedServer) -> None:
    """One connection serves one event loop after the other, closed in between or not."""
    settings = config(scripted_server.add("case", reply({"a": 1})))
    connection = ProviderTransport(settings)

    async def turn() -> Any:
        said_by_server = await ask(connection, settings)
        await connection.aclose()
        return said_by_server

    assert [asyncio.run(turn()) for _ in range(3)] == [{"a": 1}] * 3
    assert len(connection._loops) == 1


def test_loops_that_ended(scripted_server: ScriptedServer) -> None:
    """The client of a loop that ended without ``aclose`` is let go when the next loop needs one."""
    settings = config(scripted_server.add("case", reply({"a": 1})))
    connection = ProviderTransport(settings)
    ended = asyncio.new_event_loop()
    ended.close()
    connection._loops[ended] = cast("Any", None)  # it must not be used any more

    async def turn() -> None:
        assert await ask(connection, settings) == {"a": 1}
        assert list(connection._loops) == [asyncio.get_running_loop()]
        await connection.aclose()

    asyncio.run(turn())


def test_loops_in_threads(scripted_server: ScriptedServer) -> None:
    """Threads with loops of their own share one connection object, and each closes its own client alone."""
    settings = config(scripted_server.add("case", (0.05, *reply({"a": 1}))))
    connection = ProviderTransport(settings)
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
    connection = ProviderTransport(settings)

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
    connection = ProviderTransport(settings)

    await connection.prewarm()

    assert server.seen["case"].paths == ["/case/v1/models"]
    await connection.aclose()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("401 Unauthorized", AuthenticationError),
        ("402 Payment Required", PaymentRequiredError),
        ("403 Forbidden", PermissionDeniedError),
        ("429 Too Many Requests", RateLimitError),
        ("503 Service Unavailable", InternalServerError),
    ],
)
async def test_a_probe_takes_no_refusal(server: Counting, status: str, expected: type[APIError]) -> None:
    """A probe raises what a request would raise, and closes its connection."""
    settings = config(server.add("case", (http(b"", status, retry_after="7"),)))
    connection = ProviderTransport(settings)

    with pytest.raises(expected) as caught:
        await connection.prewarm(is_probe=True)

    assert caught.value.retry_after_s == 7
    assert_clean(caught.value)
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
    settings = config(server.add("case", script), timeouts={"first_token_s": 0.3 if script == ("hang",) else 20})
    connection = ProviderTransport(settings)

    with pytest.raises(APIError) as caught:
        await connection.prewarm()

    assert type(caught.value) is expected
    assert_clean(caught.value)
    await connection.aclose()


async def test_prewarm_at_once(server: Counting) -> None:
    """Warming up while the first request is on its way harms neither."""
    settings = config(server.add("case", reply({"a": 1})))
    connection = ProviderTransport(settings)

    await asyncio.gather(connection.prewarm(), connection.prewarm(), ask(connection, settings))

    assert len(server.seen["case"].paths) == 3
    await connection.aclose()


async def test_an_embedded_server_is_started_and_stopped(server: Counting) -> None:
    """The embedded server says where it is, and is stopped with the connection, also if it was never asked."""
    settings = ProviderConfig.create("local")
    embedded = Embedded(server.add("case", reply({"a": 1})))
    connection = ProviderTransport(settings, embedded)

    await connection.aclose()
    assert await ask(connection, settings) == {"a": 1}
    await connection.aclose()

    assert embedded.stops == 2
    assert server.seen["case"].headers[0]["authorization"] == "Bearer not-needed"


async def test_an_embedded_server_that_moved(server: Counting) -> None:
    """One that crashed and was started anew is asked at its new address."""
    settings = ProviderConfig.create("local")
    first, second = server.add("first", reply({"a": 1})), server.add("second", reply({"a": 2}))
    connection = ProviderTransport(settings, Embedded(first, first, second))

    assert [await ask(connection, settings) for _ in range(4)] == [{"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}]
    await connection.aclose()


async def test_a_server_is_stopped_even_if_closing_fails(server: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left behind because a socket could not be closed."""
    settings = ProviderConfig.create("local")
    embedded = Embedded(server.add("case", reply({"a": 1})))
    connection = ProviderTransport(settings, embedded)
    await ask(connection, settings)
    [loop_state] = connection._loops.values()
    assert loop_state.opened is not None
    client, _ = loop_state.opened
    close = client.aclose

    async def fail() -> None:
        await close()
        raise OSError("no")

    monkeypatch.setattr(client, "aclose", fail)

    with pytest.raises(OSError, match="no"):
        await connection.aclose()

    assert embedded.stops == 1


# What is asked past LiteLLM.


async def test_a_document(server: Counting) -> None:
    """It is asked for once, with the key and the configured headers."""
    connection = ProviderTransport(config(server.add("case", reply({"data": []})), headers={"X-Team": "voice"}))

    assert await connection.get("/models?limit=1") == {"data": []}

    assert server.seen["case"].paths == ["/case/v1/models?limit=1"]
    assert server.seen["case"].headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.seen["case"].headers[0]["x-team"] == "voice"
    await connection.aclose()


@pytest.mark.parametrize(
    ("script", "expected", "words"),
    [
        pytest.param(
            reply({"error": {"message": f"Bad key {KEY}"}}, "401 Unauthorized"),
            AuthenticationError,
            "rejected the API key",
            id="401",
        ),
        pytest.param(
            reply({"detail": "Not Found"}, "404 Not Found"), NotFoundError, "no API at this address", id="404"
        ),
        pytest.param(reply({}, "302 Found", location="/login"), NotFoundError, "has moved", id="redirect"),
        pytest.param(reply({}, "503 Service Unavailable"), InternalServerError, "failed", id="503"),
        pytest.param(
            reply({"error": "Unexpected endpoint or method. (GET /models)"}),
            NotFoundError,
            "no API at this address",
            id="LM Studio: an error with status 200",
        ),
        pytest.param((http(b"<html>Log in</html>"),), IncompleteResponseError, "sent no JSON", id="login page"),
        pytest.param((http(b'{"data": ['),), IncompleteResponseError, "sent no JSON", id="cut JSON"),
        pytest.param((http(b""),), IncompleteResponseError, "sent no JSON", id="empty body"),
        pytest.param(raw_stream(event({"a": 1}), DONE), IncompleteResponseError, "sent no JSON", id="a stream"),
        pytest.param(("hang",), APITimeoutError, "did not answer in time", id="silence"),
        pytest.param((http(b"no gzip", content_encoding="gzip"),), APIConnectionError, "was lost", id="no gzip"),
    ],
)
async def test_no_document(server: Counting, script: Script, expected: type[APIError], words: str) -> None:
    """Each failure is told in one sentence that names the server and hides the key, after one request."""
    limit_s = 0.5 if script == ("hang",) else 20
    connection = ProviderTransport(config(server.add("case", script), timeouts={"total_s": limit_s}))

    with pytest.raises(APIError, match=f"shop.*{words}") as caught:
        await connection.get("/models")

    assert type(caught.value) is expected
    assert_clean(caught.value)
    assert len(server.seen["case"].paths) == 1
    await connection.aclose()


async def test_a_document_of_a_server_that_resets(server: Counting) -> None:
    """A broken connection is told as one; what changes nothing may have been asked twice by then, but not more."""
    connection = ProviderTransport(config(server.add("case", ("rst",))))

    with pytest.raises(APIConnectionError, match="connection to shop was lost") as caught:
        await connection.get("/models")

    assert_clean(caught.value)
    assert len(server.seen["case"].paths) <= 2
    await connection.aclose()


# Errors that have no end.


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([http_chunk(b"x" * 50_000)] * 2_000, id="endless and fast"),
        pytest.param([http_chunk(b"."), 0.05] * 400, id="endless and slow"),
        pytest.param(["hang"], id="silent"),
    ],
)
@patient
async def test_an_error_that_never_ends(server: Counting, body: list[Any]) -> None:
    """An error is read up to a limit of bytes and of time, then its connection is closed and it is told."""
    await litellm_bridge.warm_up("openai/")
    head = b"HTTP/1.1 503 Busy\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
    settings = config(server.add("case", (head, http_chunk(b"Busy now. "), *body)))
    connection = ProviderTransport(settings)
    began_s = time.monotonic()

    with pytest.raises(InternalServerError, match="Busy now"):
        await ask(connection, settings)

    took_s = time.monotonic() - began_s
    assert await until(lambda: not server.open_connections)
    await connection.aclose()
    in_time(took_s, 0, 1.5)


async def test_an_error_that_is_much_larger_than_it_looks(server: Counting) -> None:
    """What is compressed counts as it is when it is not."""
    packed = gzip.compress(b"x" * 50_000_000)
    settings = config(server.add("case", (http(packed, "500 Oops", content_encoding="gzip"),)))
    connection = ProviderTransport(settings)

    with pytest.raises(InternalServerError):
        await ask(connection, settings)

    await connection.aclose()


# What is left.


async def test_a_long_list_of_models_is_not_read_to_its_end(server: Counting) -> None:
    """Warming up reads what it was sent, to use its connection again, but not for ever."""
    endless = [http_chunk(b"x" * 500_000)] * 40
    settings = config(server.add("case", (SSE_HEAD, *endless, "hang"), reply({"a": 1})))
    connection = ProviderTransport(settings)

    await connection.prewarm()
    assert await ask(connection, settings) == {"a": 1}

    assert server.connections == 2
    assert await until(lambda: server.open_connections == 1)
    await connection.aclose()


async def test_certificates_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of the environment is told as one of the configuration."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    settings = config("https://model.invalid/v1")

    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        await ask(ProviderTransport(settings), settings)


async def test_early_cancels_leave_nothing(
    server: Counting, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Three hundred questions that are given up at once, or a little later, leave no file, task or thread."""
    script = (0.002, SSE_HEAD, http_chunk(event(said("Hi"))), 0.002, http_chunk(DONE), SSE_END)
    settings = config(server.add("case", script))
    connection = ProviderTransport(settings)
    wait = random.Random(7)  # noqa: S311 - the same at each run

    async def turn() -> None:
        body = await opened(connection, settings, stream=True)
        try:
            while await body.read():
                pass
        finally:
            body.close()

    def now() -> tuple[int, int, int]:
        return len(os.listdir("/dev/fd")), len(asyncio.all_tasks()), threading.active_count()  # noqa: PTH208 - names

    async def storm(number: int) -> tuple[int, int, int]:
        for _ in range(number):
            task = asyncio.create_task(turn())
            await asyncio.sleep(wait.uniform(0, 0.006))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await connection.aclose()
        assert await until(lambda: not server.open_connections)
        await until(lambda: len(asyncio.all_tasks()) == tasks)  # what LiteLLM still builds is not sent
        return now()

    tasks = len(asyncio.all_tasks())
    await turn()
    await asyncio.gather(*(turn() for _ in range(40)))  # as many threads as the loop will ever have for LiteLLM
    before = await storm(20)

    assert await storm(300) == before
    gc.collect()
    assert capfd.readouterr().err == ""
    assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []


def test_a_provider_that_nobody_closed_is_silent(scripted_server: ScriptedServer) -> None:
    """A program that stops in the middle of an answer and closes nothing prints nothing, with all warnings shown."""
    base_url = scripted_server.add("case", (SSE_HEAD, http_chunk(event(said("Hi"))), "hang"))
    code = f"""
import asyncio
from adapters import create_provider
async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    provider = create_provider("openai_compatible", model="m", base_url={base_url!r})
    async for text in provider.chat_stream([dict(role="user", content="Hi")]):
        break
asyncio.run(main())
"""
    options = ["-X", "dev", "-W", "ignore::PendingDeprecationWarning"]  # which packages that LiteLLM imports give
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, check=False, cwd=ROOT, text=True, timeout=100
    )

    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


# Queries and headers.


async def test_the_query_goes_with_every_request(server: Counting) -> None:
    """The query of the configuration is on the request for an answer, for the list of models and for a document."""
    settings = config(server.add("case", ALIVE, reply({"a": 1}), reply({"a": 1})) + "?api-version=1")
    connection = ProviderTransport(settings)

    await connection.prewarm()
    await ask(connection, settings)
    await connection.get("/models?limit=1")

    assert server.seen["case"].paths == [
        "/case/v1/models?api-version=1",
        "/case/v1/chat/completions?api-version=1",
        "/case/v1/models?limit=1&api-version=1",
    ]
    await connection.aclose()


@pytest.mark.parametrize("kind", ["openai_compatible", "openrouter"])
async def test_no_header_is_sent_twice(kind: str) -> None:
    """A header of the configuration or of a request replaces one that LiteLLM wrote, in whatever case."""
    async with raw_server(http(b'{"a": 1}')) as raw:
        settings = config(f"http://127.0.0.1:{raw.port}/v1", kind=kind, headers={"authorization": "Basic x"})
        connection = ProviderTransport(settings)
        deadlines = Deadlines(settings.timeouts, streamed=False)
        extra = {"CONTENT-TYPE": "application/json; charset=utf-8", "x-title": "Me"}
        (await connection.send({"messages": QUESTION}, extra, stream=False, deadlines=deadlines)).close()
        await connection.aclose()

    names = [line.partition(":")[0].lower() for line in raw.heads[0].decode().split("\r\n")[1:]]
    assert len(set(names[:-2])) == len(names[:-2])
    assert b"authorization: Basic x" in raw.heads[0]
    assert b"x-title: Me" in raw.heads[0]
    assert KEY.encode() not in raw.heads[0]


@pytest.mark.parametrize("header", ["api-key", "Ocp-Apim-Subscription-Key"])
async def test_a_key_in_another_header_stands_alone(server: Counting, header: str) -> None:
    """Without ``api_key`` and with another credential no ``Authorization`` is sent, with LiteLLM or without it."""
    settings = config(server.add("case", reply({"a": 1})), api_key=None, headers={header: KEY})
    connection = ProviderTransport(settings)

    await ask(connection, settings)
    await connection.get("/models")

    assert all("authorization" not in headers for headers in server.seen["case"].headers)
    assert all(headers[header.lower()] == KEY for headers in server.seen["case"].headers)
    await connection.aclose()


# Closing.


def _has_requests(server: Counting, number: int) -> bool:
    return len(server.seen["case"].paths) >= number


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("hang", id="stalls"),
        pytest.param("eof", id="breaks"),
        pytest.param(b"zz\r\n", id="is garbled"),
        pytest.param("cancel", id="is cancelled"),
    ],
)
async def test_a_prewarm_that_fails_in_the_list_leaves_no_connection(server: Counting, end: Any) -> None:
    """Each probe of a provider in cooldown is such a request; whatever becomes of the body, its socket is closed."""
    script: list[Any] = [SSE_HEAD, http_chunk(b'{"data": ['), *([] if end == "cancel" else [end]), "hang"]
    settings = config(server.add("case", script), timeouts={"total_s": 0.3 if end == "hang" else 20})
    connection = ProviderTransport(settings)
    await litellm_bridge.warm_up("openai/")

    for number in range(3):
        task = asyncio.create_task(connection.prewarm())
        if end == "cancel":
            await until(functools.partial(_has_requests, server, number + 1))
            await asyncio.sleep(0.05)
            task.cancel()
        with pytest.raises((APIError, asyncio.CancelledError)):
            await task

    assert await until(lambda: not server.open_connections)
    await connection.aclose()


class SlowServer(Embedded):
    """An embedded server that takes its time to start, and counts how often."""

    def __init__(self, *base_urls: str) -> None:
        super().__init__(*base_urls)
        self.starts = 0

    async def start(self) -> str:
        """Start, some time later."""
        self.starts += 1
        await asyncio.sleep(60)
        return await super().start()


_PHASES = [
    pytest.param(("hang",), False, id="before the head"),
    pytest.param((SSE_HEAD, http_chunk(b": ping\n\n"), "hang"), True, id="before the first event"),
    pytest.param((b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\n{", "hang"), True, id="in an error"),
]


@pytest.mark.parametrize("way", ["chat", "stream_events"])
@pytest.mark.parametrize(("script", "has_head"), _PHASES)
async def test_closing_ends_what_waits(server: Counting, script: Script, has_head: bool, way: str) -> None:
    """A call that waits when its provider is closed fails at once with an error of its own, and is not sent again."""
    provider = create_provider(
        "openai_compatible", name="shop", model="m", base_url=server.add("case", script), retry={"initial_wait_s": 0.01}
    )
    stream = provider.stream_events(QUESTION)
    task = asyncio.ensure_future(provider.chat(QUESTION) if way == "chat" else anext(aiter(stream)))
    assert await until(lambda: server.seen["case"].paths)
    await asyncio.sleep(0.05 if has_head else 0)

    await provider.aclose()

    with pytest.raises(APIConnectionError, match=r"^The connection to shop was closed\.$") as caught:
        await asyncio.wait_for(task, 0.9)
    assert caught.value.retryable is False
    assert len(server.seen["case"].paths) == 1
    assert await until(lambda: not server.open_connections)


async def test_closing_ends_an_answer_in_the_middle(server: Counting) -> None:
    """The text that has come stays, then the error says that the provider was closed and not that the server failed."""
    script: Script = (SSE_HEAD, http_chunk(event(said("Hi"))), "hang")
    provider = create_provider("openai_compatible", name="shop", model="m", base_url=server.add("case", script))
    texts = provider.chat_stream(QUESTION)
    assert await anext(aiter(texts)) == "Hi"

    await provider.aclose()

    with pytest.raises(APIConnectionError, match="The connection to shop was closed"):
        await anext(aiter(texts))
    assert await until(lambda: not server.open_connections)


async def test_closing_ends_a_pause_between_attempts(server: Counting) -> None:
    """A call that waits for its next attempt when the provider is closed makes none; its error says so."""
    base_url = server.add("case", reply({}, "503 Busy"))
    provider = create_provider(
        "openai_compatible", name="shop", model="m", base_url=base_url, retry={"initial_wait_s": 0.3, "attempts": 9}
    )
    task = asyncio.create_task(provider.chat(QUESTION))
    assert await until(lambda: server.seen["case"].paths)
    await asyncio.sleep(0.1)

    await provider.aclose()

    with pytest.raises(APIConnectionError, match="The connection to shop was closed"):
        await task
    assert len(server.seen["case"].paths) == 1


async def test_closing_ends_a_call_that_was_not_sent_yet(server: Counting) -> None:
    """A stream that was opened before the close and is iterated after it sends nothing; a new call does."""
    base_url = server.add("case", answer("Hi"))
    provider = create_provider("openai_compatible", name="shop", model="m", base_url=base_url)
    stream = provider.stream_events(QUESTION)

    await provider.aclose()

    with pytest.raises(APIConnectionError, match="The connection to shop was closed"):
        await anext(aiter(stream))
    assert server.seen["case"].paths == []
    assert (await provider.chat(QUESTION)).content == "Hi"
    await provider.aclose()


@pytest.mark.parametrize("is_prewarm", [False, True], ids=["chat", "prewarm"])
async def test_closing_starts_no_embedded_server(server: Counting, is_prewarm: bool) -> None:
    """A provider that is closed while its server starts does not start it again for the calls that waited."""
    embedded = SlowServer(server.add("case", reply({"a": 1})))
    stopped = asyncio.Event()

    async def start() -> str:
        embedded.starts += 1
        await stopped.wait()
        raise APIConnectionError("The local model was stopped.", provider="local", model="m", retryable=True)

    async def stop() -> None:
        stopped.set()

    embedded.start, embedded.stop = start, stop  # type: ignore[method-assign]  # as LocalServer does it
    provider = LiteLLMProvider(ProviderConfig.create("local", retry={"initial_wait_s": 0.01}), server=embedded)
    task = asyncio.ensure_future(provider._prewarm() if is_prewarm else provider.chat(QUESTION))
    assert await until(lambda: embedded.starts)

    await provider.aclose()

    with pytest.raises(APIConnectionError, match="The connection to local was closed"):
        await task
    assert embedded.starts == 1
    assert server.seen["case"].paths == []


async def test_closing_while_a_connection_is_made() -> None:
    """A server that accepts no connection does not hold up the end of a call."""
    with full_listener() as port:
        provider = create_provider(
            "openai_compatible",
            name="shop",
            model="m",
            base_url=f"http://127.0.0.1:{port}/v1",
            timeouts={"connect_s": 60},
        )
        task = asyncio.create_task(provider.chat(QUESTION))
        await asyncio.sleep(0.3)

        await provider.aclose()

        with pytest.raises(APIConnectionError, match="The connection to shop was closed"):
            await asyncio.wait_for(task, 0.9)


async def test_an_embedded_server_is_closed_for_all_loops(server: Counting) -> None:
    """The calls on other event loops that use the stopped server end, too, and do not start it again."""
    embedded = Embedded(server.add("case", ("hang",), reply({"a": 1})))
    settings = ProviderConfig.create("local")
    connection = ProviderTransport(settings, embedded)
    other = asyncio.create_task(asyncio.to_thread(asyncio.run, ask(connection, settings)))
    assert await until(lambda: server.seen["case"].paths)

    await connection.aclose()

    with pytest.raises(APIConnectionError, match="The connection to local was closed"):
        await other
    assert len(server.seen["case"].paths) == 1
    assert await ask(connection, settings) == {"a": 1}
    await connection.aclose()


# Copies.


@pytest.mark.parametrize("kind", ["openai_compatible", "local"])
@pytest.mark.parametrize("is_used", [False, True], ids=["before its first use", "after it"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda provider: pickle.loads(pickle.dumps(provider))])  # noqa: S301 - our own bytes
async def test_copies(server: Counting, kind: KindName, is_used: bool, copied: Callable[[Any], Any]) -> None:
    """A provider can be copied and pickled at any time; the copy has no connections and makes its own."""
    base_url = server.add("case", answer("Hi"))
    options: dict[str, Any] = {"base_url": base_url, "headers": {"X-Team": "voice"}}
    provider: Any = create_provider(kind, model="m", **(options if kind == "openai_compatible" else {}))
    if is_used and kind == "openai_compatible":
        await provider.chat(QUESTION)

    other = copied(provider)

    assert (other.model, other.provider_name) == ("m", kind)
    if kind == "openai_compatible":
        assert (await other.chat(QUESTION)).content == "Hi"
        assert server.connections == 1 + is_used
        assert server.seen["case"].headers[-1]["x-team"] == "voice"
    await provider.aclose()
    await other.aclose()


# What the garbage collector and the end of a loop leave.

_GARBAGE = """
import asyncio, gc, logging, os
logging.basicConfig()
from adapters import create_provider

class Agent:
    def __init__(self):
        self.provider = create_provider("openai_compatible", model="m", base_url={base_url!r})
        self.session = [self]

async def answer(agent):
    async for text in agent.provider.chat_stream([dict(role="user", content="Hi")]):
        print(text)

async def in_a_running_loop():
    agent = Agent()
    await answer(agent)
    del agent
    await asyncio.to_thread(gc.collect)
    await asyncio.sleep(0.2)

async def in_the_middle_of_an_answer():
    agent = Agent()
    texts = agent.provider.chat_stream([dict(role="user", content="Hi")])
    agent.session.append(texts)
    print(await anext(aiter(texts)))
    del agent, texts
    gc.collect()
    await asyncio.sleep(0.2)

def after_its_loop_was_closed():
    loop = asyncio.new_event_loop()
    agent = Agent()
    loop.run_until_complete(answer(agent))
    loop.close()
    del agent
    gc.collect()

def before_its_loop_is_closed(close):
    loop = asyncio.new_event_loop()
    agent = Agent()
    loop.run_until_complete(answer(agent))
    del agent
    gc.collect()
    if close:
        loop.close()

asyncio.run(in_a_running_loop())
asyncio.run(in_the_middle_of_an_answer())
before = len(os.listdir("/dev/fd"))
after_its_loop_was_closed()
gc.collect()  # the first one ended the session, this one frees its sockets
assert len(os.listdir("/dev/fd")) == before
before_its_loop_is_closed(close=True)
before_its_loop_is_closed(close=False)
held_at_the_end = Agent()
asyncio.new_event_loop().run_until_complete(answer(held_at_the_end))
print("over")
"""


def test_a_provider_in_a_cycle_is_closed_in_silence(scripted_server: ScriptedServer) -> None:
    """An agent and its session refer to each other. Dropping both closes the connections, with nothing in the log."""
    base_url = scripted_server.add("case", answer("Hi"))
    done = run(_GARBAGE.format(base_url=base_url), python())

    assert (done.stdout, done.stderr, done.returncode) == ("Hi\n" * 6 + "over\n", "", 0)


async def test_a_provider_in_a_cycle_leaves_no_socket(server: Counting) -> None:
    """The connections of a dropped provider are closed while its event loop goes on."""
    provider: Any = create_provider("openai_compatible", model="m", base_url=server.add("case", answer("Hi")))
    await provider.chat(QUESTION)
    provider.cycle = provider  # as an agent and its session are
    assert server.open_connections == 1

    del provider
    gc.collect()

    assert await until(lambda: not server.open_connections)
