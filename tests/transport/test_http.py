"""``transport.http``: one request and its response, through proxies and TLS, and what is left of the connection."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import random
import socket
import ssl
import sys
import threading
import time
import traceback
import weakref
import zlib
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adapters.config import TLSConfig
from adapters.errors import ConfigError
from adapters.testing.answers import DONE, SSE_END, SSE_HEAD, event, http, http_chunk, reply, said
from adapters.transport.http import DRAIN_S, HTTPSession, Response, TransportError
from tests.patience import in_time, patient
from tests.transport.servers import Counting, full_listener, raw_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from adapters.testing.answers import Script

CONNECT_S = 5.0
ROOT = Path(__file__).parent.parent.parent
CERTIFICATE = Path(__file__).parent / "certificates" / "loopback.pem"  # for 127.0.0.1 alone; its key opens nothing
HASHED_NAME = "2c8b2e4f.0"  # as OpenSSL looks for it in a folder
KEY = "wire-KEY-0123456789"
HI = http_chunk(event(said("Hi")))


@asynccontextmanager
async def client_for(
    base_url: str, connect_s: float = CONNECT_S, tls: TLSConfig | None = None
) -> AsyncIterator[HTTPSession]:
    """The session of a provider at this address."""
    client = await HTTPSession.open(base_url, connect_s, tls)
    try:
        yield client
    finally:
        await client.aclose()


async def whole(response: Response) -> bytes:
    """Read a body to its end."""
    content = b""
    while data := await response.read():
        content += data
    return content


async def turn(client: HTTPSession, base_url: str) -> None:
    """Listen to a stream until it says that it is finished, and leave the rest."""
    response = await client.send("GET", f"{base_url}/models", {})
    content = b""
    while b"[DONE]" not in content:
        content += await response.read()
    response.release()


async def test_a_request_and_its_response(server: Counting) -> None:
    """What is given is sent and no more than HTTP needs; the head of the answer is there before its body."""
    script: Script = (b"HTTP/1.1 418 Teapot\r\nX-Id: 7\r\ncontent-length: 2\r\n\r\n", 0.05, b"Hi")
    base_url = server.add("case", script)

    async with client_for(base_url) as client:
        response = await client.send("POST", f"{base_url}/chat/completions", {"X-Team": "Käse"}, b'{"n": 1}')
        assert (response.status, response.headers["x-id"]) == (418, "7")
        assert await whole(response) == b"Hi"

    [headers] = server.seen["case"].headers
    assert server.seen["case"].bodies == [{"n": 1}]
    assert headers.pop("x-team").encode("latin-1").decode() == "Käse"
    assert headers.pop("host") == f"127.0.0.1:{server.port}"
    assert headers.pop("content-type") == "application/octet-stream"
    assert {name: value for name, value in headers.items() if name} == {
        "user-agent": "caal-llm-adapters",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "content-length": "8",
    }


async def test_redirects_are_not_followed(server: Counting) -> None:
    """The key goes where the configuration says, and nowhere else; cookies are not kept."""
    base_url = server.add("case", reply({}, "302 Found", location="/case/v1/elsewhere", set_cookie="a=b"))

    async with client_for(base_url) as client:
        for _ in range(2):
            response = await client.send("GET", f"{base_url}/models", {})
            assert response.status == 302
            await whole(response)

    assert server.seen["case"].paths == ["/case/v1/models"] * 2
    assert all("cookie" not in headers for headers in server.seen["case"].headers)


async def test_long_headers(server: Counting) -> None:
    """Proxies and gateways send header lines of many kilobytes."""
    base_url = server.add("case", (http(b"Hi", x_report="r" * 60_000),))

    async with client_for(base_url) as client:
        response = await client.send("GET", f"{base_url}/models", {"X-Long": "l" * 60_000})
        assert len(response.headers["x-report"]) == 60_000
        assert await whole(response) == b"Hi"

    assert len(server.seen["case"].headers[0]["x-long"]) == 60_000


@pytest.mark.parametrize("size", [999_999, 1_000_001, 5_000_000])
async def test_large_requests(server: Counting, size: int, recwarn: pytest.WarningsRecorder) -> None:
    """A history of some megabytes is sent whole, with its length and without a warning."""
    base_url = server.add("case", (http(b"Hi"),))

    async with client_for(base_url) as client:
        assert await whole(await client.send("POST", base_url, {}, b"x" * size)) == b"Hi"

    assert len(server.seen["case"].bodies[0]["raw"]) == size
    assert server.seen["case"].headers[0]["content-length"] == str(size)
    assert not recwarn.list


STREAM = b"".join(event(said(str(number))) for number in range(2_000)) + DONE


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        pytest.param("gzip", gzip.compress(STREAM), id="gzip"),
        pytest.param("deflate", zlib.compress(STREAM), id="deflate"),
        pytest.param("identity", STREAM, id="identity"),
    ],
)
async def test_compressed_streams(server: Counting, encoding: str, compressed: bytes) -> None:
    """A compressed stream says the same, cut anywhere."""
    head = SSE_HEAD.replace(b"\r\n\r\n", f"\r\ncontent-encoding: {encoding}\r\n\r\n".encode())
    pieces = (compressed[:10], compressed[10:11], compressed[11:-3], compressed[-3:])
    script = [each for piece in pieces for each in (http_chunk(piece), 0.01)]
    base_url = server.add("case", (head, *script, SSE_END))

    async with client_for(base_url) as client:
        assert await whole(await client.send("GET", base_url, {})) == STREAM


# What fails.


async def asked(client: HTTPSession, url: str) -> None:
    """Ask with a key, and read to the end."""
    response = await client.send("POST", url, {"Authorization": f"Bearer {KEY}"}, b"{}")
    try:
        await whole(response)
    finally:
        response.close()


async def troubled(url: str, connect_s: float = CONNECT_S, tls: TLSConfig | None = None) -> TransportError:
    """Send, read, and return what went wrong."""
    async with client_for(url, connect_s, tls) as client:
        with pytest.raises(TransportError) as caught:
            await asked(client, url)
    assert caught.value.__context__ is None
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(("rst",), id="reset"),
        pytest.param(("eof",), id="closed"),
        pytest.param((b"nonsense\r\n\r\n", "eof"), id="no HTTP"),
        pytest.param((SSE_HEAD[:30], "eof"), id="half a head"),
        pytest.param((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 99_999,), id="an endless header line"),
        pytest.param((SSE_HEAD, HI, "eof"), id="chunks without an end"),
        pytest.param((SSE_HEAD, HI, 0.05, "rst"), id="reset in the body"),
        pytest.param((b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\nHi", "eof"), id="less than promised"),
        pytest.param((SSE_HEAD, HI, 0.05, b"zz\r\n", "eof"), id="no chunk"),
        pytest.param((http(b"no gzip", content_encoding="gzip"),), id="no gzip"),
        pytest.param((http(zlib.compress(STREAM)[:99], content_encoding="deflate"),), id="half a deflate"),
    ],
)
async def test_a_connection_that_breaks(server: Counting, script: Script) -> None:
    """The break is told as one, after one request, and neither key nor request hangs on it."""
    trouble = await troubled(server.add("case", script))

    assert (trouble.connecting, trouble.timed_out, trouble.cause) == (False, False, "")
    assert len(server.seen["case"].paths) == 1


async def test_an_old_server_that_only_closes(server: Counting) -> None:
    """The end of the connection is the end of a body without a length, and no break."""
    base_url = server.add("case", (b"HTTP/1.0 200 OK\r\n\r\nHi", "eof"))

    async with client_for(base_url) as client:
        assert await whole(await client.send("GET", base_url, {})) == b"Hi"


@pytest.mark.parametrize(
    "end",
    [pytest.param("rst", id="reset"), pytest.param("eof", id="closed"), pytest.param(b"zz\r\n", id="garbled")],
)
async def test_what_came_before_a_break_is_told_first(server: Counting, end: Any) -> None:
    """A reader that was busy while data and a break came gets the data, then the error, then the error again."""
    ending: tuple[Any, ...] = (HI + end,) if isinstance(end, bytes) else (HI, 0.02, end)
    base_url = server.add("case", (SSE_HEAD, HI, 0.05, *ending))

    async with client_for(base_url) as client:
        response = await client.send("GET", base_url, {})
        assert await response.read() == event(said("Hi"))
        await asyncio.sleep(0.2)
        assert await response.read() == event(said("Hi"))
        for _ in range(2):
            with pytest.raises(TransportError):
                await response.read()
        response.release()


async def test_who_reads_just_after_a_break_is_told_of_it(server: Counting) -> None:
    """Between the loss of a connection and the callbacks that tell of it there is a moment in which one may read."""
    base_url = server.add("case", (SSE_HEAD, HI, 0.05, b"zz\r\n", "hang"))

    async with client_for(base_url) as client:
        response = await client.send("GET", base_url, {})
        connection = response._response.connection
        assert connection is not None
        protocol = connection.protocol
        assert protocol is not None
        assert await response.read()
        while protocol.connected:  # noqa: ASYNC110 - an event would be told of too late
            await asyncio.sleep(0)

        with pytest.raises(TransportError):
            await response.read()
        response.close()


async def test_an_answer_that_was_closed_leaves_nothing(server: Counting) -> None:
    """The library raises one object for all answers that were closed; nothing of ours may hang on it."""
    base_url = server.add("case", (SSE_HEAD, HI, "hang"))

    async with client_for(base_url) as client:
        response = await client.send("GET", base_url, {})
        response.close()
        told = []
        for _ in range(2):
            try:
                await response.read()
            except TransportError as trouble:
                told.append(weakref.ref(trouble))
        gc.collect()

    assert [each() for each in told if each() is not None] == []
    assert told


async def test_a_name_that_nobody_knows() -> None:
    """A host that does not exist is told as such."""
    trouble = await troubled("http://model.invalid/v1")

    assert (trouble.connecting, trouble.timed_out, trouble.cause) == (True, False, "its host name is unknown")


async def test_nobody_there() -> None:
    """A server that is not running is told as such."""
    trouble = await troubled("http://127.0.0.1:9/v1")

    assert (trouble.connecting, trouble.timed_out) == (True, False)
    assert trouble.cause.startswith("connection refused")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
@patient
async def test_a_connection_that_takes_too_long() -> None:
    """A server that does not accept is given up in time."""
    with full_listener() as port:
        began_s = time.monotonic()
        trouble = await troubled(f"http://127.0.0.1:{port}/v1", connect_s=0.3)

    in_time(time.monotonic() - began_s, 0.29, 0.8)
    assert (trouble.connecting, trouble.timed_out, trouble.cause) == (True, True, "no connection in time")


# TLS.


@pytest.fixture(name="tls")
def _tls() -> ssl.SSLContext:
    """TLS with a self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture(name="trusted")
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is trusted, as users of a gateway in their own house do it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


async def test_a_certificate_that_the_user_trusts(tls: ssl.SSLContext, trusted: None) -> None:
    """What ``SSL_CERT_FILE`` names is trusted."""
    async with raw_server(http(b"Hi"), tls) as raw, client_for(f"https://127.0.0.1:{raw.port}") as client:
        assert await whole(await client.send("GET", f"https://127.0.0.1:{raw.port}", {})) == b"Hi"


async def test_a_folder_of_certificates(tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in ``SSL_CERT_DIR`` is trusted."""
    (tmp_path / HASHED_NAME).write_bytes(CERTIFICATE.read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    async with raw_server(http(b"Hi"), tls) as raw, client_for(f"https://127.0.0.1:{raw.port}") as client:
        assert await whole(await client.send("GET", f"https://127.0.0.1:{raw.port}", {})) == b"Hi"


async def test_a_certificate_that_nobody_trusts(tls: ssl.SSLContext) -> None:
    """A self-signed certificate is rejected, and nothing is sent."""
    async with raw_server(http(b"Hi"), tls) as raw:
        trouble = await troubled(f"https://127.0.0.1:{raw.port}/v1")

    assert (trouble.connecting, trouble.cause) == (True, "its certificate is not trusted")
    assert raw.heads == []


async def test_a_certificate_of_another_host(tls: ssl.SSLContext, trusted: None) -> None:
    """A certificate is good for its own name alone."""
    async with raw_server(http(b"Hi"), tls) as raw:
        trouble = await troubled(f"https://localhost:{raw.port}/v1")

    assert (trouble.connecting, trouble.cause) == (True, "its certificate is not trusted")
    assert raw.heads == []


async def test_a_server_without_tls() -> None:
    """``https`` where the server speaks ``http`` is told as such."""
    async with raw_server(http(b"Bad request", "400 Bad Request"), separator=b"\x16") as raw:
        trouble = await troubled(f"https://127.0.0.1:{raw.port}/v1")

    assert (trouble.connecting, trouble.cause) == (True, "TLS handshake failed")


@contextmanager
def server_that_wants_a_certificate(version: ssl.TLSVersion) -> Iterator[int]:
    """A server that takes the client certificate ``loopback.pem`` alone; asyncio's own would not send the TLS alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.load_verify_locations(CERTIFICATE)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version

    def answer(connection: socket.socket) -> None:
        # wrap_socket would close the connection after a handshake that fails.
        stream = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with suppress(OSError), stream:
            try:
                stream.do_handshake()
                stream.recv(9_999)
                stream.sendall(http(b"Hi"))
            except ssl.SSLError:
                stream.shutdown(socket.SHUT_WR)  # from here on, bytes are read as they are
                while stream.recv(9_999):
                    pass  # a close with unread bytes would be a reset, which overtakes the alert

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
TRUSTED = {"ca_file": str(CERTIFICATE)}


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
async def test_a_client_certificate(version: ssl.TLSVersion) -> None:
    """The configured authority is trusted and the configured certificate is shown."""
    tls = TLSConfig.model_validate({**TRUSTED, "cert_file": str(CERTIFICATE)})

    with server_that_wants_a_certificate(version) as port:
        url = f"https://127.0.0.1:{port}"
        async with client_for(url, tls=tls) as client:
            assert await whole(await client.send("GET", url, {})) == b"Hi"


@pytest.mark.parametrize(
    ("version", "files", "cause", "advice"),
    [
        pytest.param(TLS_1_3, {}, "it requires a client certificate", "Set tls.cert_file and tls.key_file", id="none"),
        pytest.param(TLS_1_2, {}, "TLS handshake failed", "It may want a client certificate", id="none, TLS 1.2"),
        *(
            pytest.param(
                version,
                {"cert_file": str(CERTIFICATE.with_name("stranger.pem"))},
                "it rejected the client certificate",
                "Check tls.cert_file",
                id=f"a stranger's, {version.name}",
            )
            for version in (TLS_1_2, TLS_1_3)
        ),
    ],
)
async def test_a_missing_client_certificate(
    version: ssl.TLSVersion, files: dict[str, str], cause: str, advice: str
) -> None:
    """A server that wants a certificate, or refuses the one that it got, is reported as such, with the key to set."""
    tls = TLSConfig.model_validate(TRUSTED | files)

    with server_that_wants_a_certificate(version) as port:
        trouble = await troubled(f"https://127.0.0.1:{port}/v1", tls=tls)

    assert (trouble.connecting, trouble.cause) == (True, cause)
    assert advice in trouble.advice


async def test_the_authority_of_a_provider_comes_first(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """``tls.ca_file`` replaces what the environment trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE.with_name("stranger.pem")))
    own = TLSConfig.model_validate(TRUSTED)

    async with raw_server(http(b"Hi"), tls) as raw:
        url = f"https://127.0.0.1:{raw.port}"
        assert (await troubled(url)).advice == "Add its authority to tls.ca_file or SSL_CERT_FILE."
        async with client_for(url, tls=own) as client:
            assert await whole(await client.send("GET", url, {})) == b"Hi"


@pytest.mark.parametrize("is_folder", [False, True], ids=["file", "folder"])
async def test_the_bundle_of_requests(
    tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    """``REQUESTS_CA_BUNDLE`` is trusted unless ``SSL_CERT_FILE`` is set."""
    (tmp_path / HASHED_NAME).write_bytes(CERTIFICATE.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path if is_folder else CERTIFICATE))

    async with raw_server(http(b"Hi"), tls) as raw:
        url = f"https://127.0.0.1:{raw.port}"
        async with client_for(url) as client:
            assert await whole(await client.send("GET", url, {})) == b"Hi"
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE.with_name("stranger.pem")))
        assert (await troubled(url)).cause == "its certificate is not trusted"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        pytest.param({"ca_file": "/nowhere.pem"}, "tls.ca_file", id="no authority"),
        pytest.param({"cert_file": "/nowhere.pem"}, "tls.cert_file", id="no certificate"),
        pytest.param({"cert_file": str(CERTIFICATE), "key_file": "/nowhere.key"}, "tls.key_file", id="no key"),
        pytest.param(
            {"cert_file": str(CERTIFICATE), "key_file": str(CERTIFICATE.with_name("locked.key"))},
            "without a password",
            id="an encrypted key",
        ),
        pytest.param(
            {"cert_file": str(CERTIFICATE), "key_file": str(CERTIFICATE.with_name("stranger.pem"))},
            "tls.key_file",
            id="the key of another certificate",
        ),
    ],
)
async def test_own_certificates_that_cannot_be_used(files: dict[str, str], name: str) -> None:
    """A file that cannot be used is a mistake of the configuration; no password is asked for on the terminal."""
    with pytest.raises(ConfigError, match=name) as caught:
        await HTTPSession.open("https://model.invalid/v1", CONNECT_S, TLSConfig.model_validate(files))

    assert caught.value.__suppress_context__


async def test_the_authorities_of_the_environment_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider with a certificate of its own still trusts what the environment names, or reports that it cannot."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        await HTTPSession.open(
            "https://h.invalid", CONNECT_S, TLSConfig.model_validate({"cert_file": str(CERTIFICATE)})
        )


@pytest.mark.parametrize("content", [pytest.param(None, id="no file"), pytest.param("Hi", id="no certificates")])
async def test_certificates_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """A wrong ``SSL_CERT_FILE`` is told as a mistake of the configuration, and no matter without TLS."""
    path = tmp_path / "certificates.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE, SSL_CERT_DIR or REQUESTS_CA_BUNDLE"):
        await HTTPSession.open("https://model.invalid/v1", CONNECT_S)
    await (await HTTPSession.open("http://model.invalid/v1", CONNECT_S)).aclose()


# Proxies.


@pytest.fixture(name="proxy")
async def _proxy(server: Counting, monkeypatch: pytest.MonkeyPatch) -> str:
    """A proxy that answers everything by itself; it is asked for whole URLs, whose first segment is empty."""
    server.add("", reply({"from": "proxy"}))
    address = f"127.0.0.1:{server.port}"
    monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
    return address


async def said_by(base_url: str) -> bytes:
    """The server at this address."""
    async with client_for(base_url) as client:
        return await whole(await client.send("GET", f"{base_url}/models", {}))


@pytest.mark.parametrize("form", ["http://{}", "{}", "http://{}/", "http://me:secret@{}"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_of_the_environment_is_used(
    server: Counting, proxy: str, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    """A server elsewhere is asked through the proxy, however it is written; its password is for the proxy."""
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv(name, form.format(proxy))

    assert await said_by("http://model.invalid/v1") == b'{"from": "proxy"}'

    assert server.seen[""].paths == ["http://model.invalid/v1/models"]
    assert ("proxy-authorization" in server.seen[""].headers[0]) is ("secret" in form)


async def test_this_machine_is_asked_past_the_proxy(server: Counting, proxy: str) -> None:
    """A proxy of the environment is never asked for a server on loopback."""
    assert await said_by(server.add("case", reply({"from": "server"}))) == b'{"from": "server"}'

    assert server.seen[""].paths == []


@pytest.mark.parametrize("no_proxy", ["model.invalid", ".invalid", "*", "other, model.invalid:8000"])
async def test_servers_that_need_no_proxy(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    """``NO_PROXY`` is heeded in all its forms."""
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    await (await HTTPSession.open("http://model.invalid:8000/v1", CONNECT_S)).aclose()


@pytest.mark.parametrize(
    "host",
    ["localhost", "voice.localhost", "127.0.0.1", "127.8.9.1", "0.0.0.0", "[::1]"],  # noqa: S104 - asked, not bound
)
async def test_names_of_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Every way to write this machine is known: no proxy is even looked at."""
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")

    await (await HTTPSession.open(f"http://{host}:8000/v1", CONNECT_S)).aclose()


@pytest.mark.parametrize(
    "proxy", ["socks5://me:SECRET@x:1", "nonsense://SECRET", "http://SECRET:port", "http://SECRET:0", "http://"]
)
@pytest.mark.parametrize("host", ["model.invalid", "10.0.0.7", "localhost.invalid"])
async def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, proxy: str, host: str) -> None:
    """A proxy that we cannot speak to is told as a mistake of the configuration, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(ConfigError, match=r"proxy.*HTTPS_PROXY.*NO_PROXY") as caught:
        await HTTPSession.open(f"https://{host}/v1", CONNECT_S)

    assert "SECRET" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway", "403 Forbidden"])
async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """A proxy that does not let us through to a server with TLS is told, with its status."""
    async with raw_server(http(b"No.", status)) as raw:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{raw.port}")
        trouble = await troubled("https://model.invalid/v1")

    assert (trouble.connecting, trouble.cause) == (True, f"the proxy answered with status {status[:3]}")
    assert raw.heads[0].startswith(b"CONNECT model.invalid:443 ")
    assert KEY.encode() not in b"".join(raw.heads)


async def test_a_proxy_that_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that ends while it is made is new; a stale one would be replaced again and again."""
    async with raw_server(b"") as raw:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{raw.port}")
        trouble = await troubled("https://model.invalid/v1")

    assert not trouble.stale
    assert len(raw.heads) == 1


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is not running is told apart from a server that is not."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    trouble = await troubled("http://model.invalid/v1")

    assert (trouble.connecting, trouble.cause) == (True, "the proxy cannot be reached")


# What is left of a connection.


@pytest.mark.parametrize(
    "end",
    [
        pytest.param((SSE_END,), id="at once"),
        pytest.param((0.05, SSE_END), id="50 ms late"),
        pytest.param((0.02, http_chunk(b": bye\n\n"), SSE_END), id="after a comment"),
    ],
)
async def test_a_finished_stream_leaves_its_connection_usable(server: Counting, end: Script) -> None:
    """Five turns need one connection, also if the last bytes come after the answer was complete."""
    base_url = server.add("case", (SSE_HEAD, HI, http_chunk(DONE), *end))

    async with client_for(base_url) as client:
        for _ in range(5):
            await turn(client, base_url)
            assert await until(lambda: not client._draining)

    assert server.connections == 1
    assert len(server.seen["case"].paths) == 5


@pytest.mark.parametrize(
    ("end", "most_s"),
    [
        pytest.param("hang", DRAIN_S + 0.5, id="never ends"),
        pytest.param("rst", 0.5, id="breaks"),
        pytest.param(b"no chunk\r\n", 0.5, id="is garbled"),
    ],
)
@patient
async def test_a_stream_that_does_not_end_is_given_up(
    server: Counting, caplog: pytest.LogCaptureFixture, end: Any, most_s: float
) -> None:
    """The rest of a finished stream is worth a moment, not more; then its connection is closed, without a word."""
    base_url = server.add("case", (SSE_HEAD, HI, http_chunk(DONE), 0.02, end))
    earlier = server.connections

    async with client_for(base_url) as client:
        await turn(client, base_url)
        began_s = time.monotonic()
        assert await until(lambda: not server.open_connections)
        in_time(time.monotonic() - began_s, 0, most_s)
        assert await until(lambda: not client._draining)
        await turn(client, base_url)

    assert server.connections - earlier == 2
    assert await until(lambda: not server.open_connections)
    assert caplog.messages == []


async def test_closing_reaches_the_server(server: Counting) -> None:
    """Closing a response in the middle of the answer ends the request; a second time does nothing."""
    base_url = server.add("case", (SSE_HEAD, HI, "hang"))

    async with client_for(base_url) as client:
        response = await client.send("GET", base_url, {})
        response.close()
        assert await until(lambda: server.seen["case"].gone_at)
        response.close()


@pytest.mark.parametrize(("pause_s", "connections"), [(55, 1), (65, 2)])
async def test_a_connection_is_kept_for_a_pause_in_a_conversation(
    server: Counting, monkeypatch: pytest.MonkeyPatch, pause_s: float, connections: int
) -> None:
    """A connection that is idle for less than a minute is used again; aiohttp alone would keep it for 15 seconds."""
    base_url = server.add("case", (http(b"Hi"),))

    async with client_for(base_url) as client:
        await whole(await client.send("GET", base_url, {}))
        monkeypatch.setattr("aiohttp.connector.monotonic", lambda: time.monotonic() + pause_s)
        await whole(await client.send("GET", base_url, {}))

    assert server.connections == connections


async def test_a_closed_session_sends_nothing(server: Counting) -> None:
    """A request that was still being built when its session was closed fails as one that lost its connection."""
    base_url = server.add("case", (http(b"Hi"),))
    client = await HTTPSession.open(base_url, CONNECT_S)
    await client.aclose()

    with pytest.raises(TransportError):
        await client.send("GET", base_url, {})
    assert server.connections == 0


def left() -> tuple[int, int, int]:
    """How many file descriptors, tasks and threads there are."""
    files = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a list of names
    return files, len(asyncio.all_tasks()), threading.active_count()


async def test_early_cancels_leave_nothing(
    server: Counting, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Three hundred requests that are given up at once, or a little later, leave no file, task or thread."""
    base_url = server.add("case", (0.002, SSE_HEAD, HI, 0.002, http_chunk(DONE), SSE_END))
    wait = random.Random(7)  # noqa: S311 - the same at each run

    async def storm(number: int) -> tuple[int, int, int]:
        async with client_for(base_url) as client:
            for _ in range(number):
                task = asyncio.create_task(turn(client, base_url))
                await asyncio.sleep(wait.uniform(0, 0.006))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        assert await until(lambda: not server.open_connections)
        return left()

    before = await storm(5)

    assert await storm(300) == before
    gc.collect()
    assert capfd.readouterr().err == ""
    assert caplog.messages == []


_MIDDLE = "response = await client.send('GET', URL, {}); await response.read()"
_DEV = ["-X", "dev", "-W", "error"]


@pytest.mark.parametrize(
    ("flags", "way"),
    [
        pytest.param([], _MIDDLE, id="in the middle of an answer"),
        pytest.param([], f"{_MIDDLE}; client = response = None; gc.collect(); await asyncio.sleep(0.05)", id="dropped"),
        pytest.param([], f"{_MIDDLE}; response.release()", id="with an answer that goes on"),
        pytest.param(_DEV, f"{_MIDDLE}; response.release()", id="with an answer that goes on, all warnings"),
        pytest.param(_DEV, f"{_MIDDLE}; response.close()", id="with an answer that was closed, all warnings"),
        pytest.param(_DEV, "pass", id="unused, all warnings"),
    ],
)
async def test_a_client_that_nobody_closed_is_silent(server: Counting, flags: list[str], way: str) -> None:
    """A program that ends without closing its client prints nothing."""
    base_url = server.add("case", (SSE_HEAD, HI, "hang"))
    code = f"""
import asyncio, gc, aiohttp
from adapters.transport.http import HTTPSession
URL = {base_url!r}
async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    client = await HTTPSession.open(URL, 5)
    {way}
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *flags, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()

    assert (printed, process.returncode) == (b"", 0)


@pytest.mark.parametrize("script", [(SSE_HEAD, HI, "hang"), (http(b"Hi"),)], ids=["in the middle", "kept alive"])
async def test_sockets_go_when_their_loop_ends(server: Counting, script: Script) -> None:
    """A loop that ends without closing its client leaves no socket, although the client is still held."""
    base_url = server.add("case", script)
    clients = []

    async def ask() -> None:
        client = await HTTPSession.open(base_url, CONNECT_S)
        clients.append(client)
        response = await client.send("GET", base_url, {})
        await response.read()
        response.release()

    await asyncio.to_thread(asyncio.run, ask())

    assert await until(lambda: not server.open_connections)
    assert server.connections == len(clients) == 1


def test_session_that_is_dropped_after_its_loop_was_closed() -> None:
    """A loop that was closed without shutting down its generators leaves no open session."""
    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(HTTPSession.open("http://127.0.0.1:9", 5))
    client = session._session
    loop.close()
    assert not client.closed

    del session
    gc.collect()

    assert client.closed


async def test_session_that_is_dropped_while_its_loop_runs(server: Counting) -> None:
    """The loop closes what nothing refers to any more."""
    session = await HTTPSession.open(server.add("case", (SSE_HEAD, HI, "hang")), 5)
    client = session._session
    del session
    gc.collect()

    assert await until(lambda: client.closed)
