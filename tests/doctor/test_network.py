"""The way to a server below HTTP: names, ports, certificates and proxies."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.doctor.network import reach
from adapters.testing.answers import http
from tests.transport.servers import raw_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.doctor.finding import Finding

CERTIFICATE = Path(__file__).parent.parent / "transport" / "certificates" / "loopback.pem"
CONNECT_S = 5.0


async def walked(base_url: str, connect_s: float = CONNECT_S) -> list[tuple[str, str, str]]:
    """How far one gets: step, verdict and detail; there is advice wherever something failed."""
    found: list[Finding] = []
    is_reached = await reach(base_url, connect_s, found.append)
    assert is_reached == all(finding.verdict != "failed" for finding in found)
    assert all(bool(finding.advice) == (finding.verdict == "failed") for finding in found)
    return [(finding.step, finding.verdict, finding.detail) for finding in found]


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which somebody listens, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def tls() -> ssl.SSLContext:
    """TLS with a certificate that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_an_address(port: int) -> None:
    """An address needs no name service, and ``http`` no certificate."""
    assert await walked(f"http://127.0.0.1:{port}/v1") == [
        ("DNS", "ok", "127.0.0.1 is an address, no name"),
        ("TCP", "ok", f"127.0.0.1:{port} is open"),
        ("TLS", "skipped", "the address says http://"),
    ]


async def test_a_name(port: int) -> None:
    """A name is looked up, and the addresses are told."""
    (step, verdict, detail), *_ = await walked(f"http://localhost:{port}/v1")

    assert (step, verdict) == ("DNS", "ok")
    assert "127.0.0.1" in detail


async def test_a_name_that_is_unknown() -> None:
    """A name of which nobody knows; one with a label that is too long is no name."""
    for host in ("model.invalid", f"{'x' * 70}.invalid"):
        assert await walked(f"http://{host}/v1") == [("DNS", "failed", f"the name {host} is unknown")]


async def test_a_name_service_that_is_slow() -> None:
    """A name is not waited for longer than a connection may take."""
    assert await walked("http://localhost:1/v1", 1e-9) == [
        ("DNS", "failed", "no answer about localhost within 1e-09 s")
    ]


async def test_a_closed_port() -> None:
    """Nothing listens."""
    assert (await walked("http://127.0.0.1:1/v1"))[1:] == [("TCP", "failed", "nothing listens on 127.0.0.1:1")]


@pytest.mark.block_network(allowed_hosts=["255.255.255.255"])
async def test_no_way() -> None:
    """A machine that cannot be reached at all."""
    (_, (step, verdict, detail)) = await walked("http://255.255.255.255:9/v1")

    assert (step, verdict) == ("TCP", "failed")
    assert detail.startswith("no way to 255.255.255.255:9 (")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_a_server_that_does_not_accept() -> None:
    """A port that lets nobody in, as behind a firewall, is given up in time."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(4):
            each = stack.enter_context(socket.socket())
            each.settimeout(0)
            each.connect_ex(("127.0.0.1", port))

        assert (await walked(f"http://127.0.0.1:{port}/v1", 0.3))[1:] == [
            ("TCP", "failed", f"127.0.0.1:{port} did not answer within 0.3 s")
        ]


async def test_a_certificate(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the user trusts is good, and no other."""
    async with raw_server(http(b"Hi"), tls) as raw:
        untrusted = await walked(f"https://127.0.0.1:{raw.port}/v1")
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        trusted = await walked(f"https://127.0.0.1:{raw.port}/v1")

    assert untrusted[2][:2] == ("TLS", "failed")
    assert untrusted[2][2].startswith("its certificate is not trusted: self")
    assert trusted[2] == ("TLS", "ok", "TLSv1.3, the certificate is trusted")


async def test_a_server_without_tls() -> None:
    """``https`` where the server speaks ``http``."""
    async with raw_server(http(b"Bad request", "400 Bad Request"), separator=b"\x16") as raw:
        found = await walked(f"https://127.0.0.1:{raw.port}/v1")

    assert found[2] == ("TLS", "failed", f"127.0.0.1:{raw.port} does not speak TLS as we do")


async def test_a_proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy it is the proxy that is looked at, and its password is not told."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret-word@127.0.0.1:{port}")
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret-word@127.0.0.1:1")

    through, to_nobody = await walked("https://model.invalid/v1"), await walked("http://model.invalid/v1")

    assert through == [
        ("DNS", "ok", "proxy: 127.0.0.1 is an address, no name"),
        ("TCP", "ok", f"proxy: 127.0.0.1:{port} is open"),
        ("TLS", "skipped", "it goes through the proxy; the next step shows it"),
    ]
    assert to_nobody[1] == ("TCP", "failed", "proxy: nothing listens on 127.0.0.1:1")
