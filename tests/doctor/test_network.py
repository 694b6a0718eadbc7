"""The path to a server below HTTP: names, ports, certificates and proxies."""

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


async def steps_to(base_url: str, connect_s: float = CONNECT_S) -> list[tuple[str, str, str]]:
    """Return step, verdict and detail of each step; a failure has advice, and nothing else has."""
    found: list[Finding] = []
    is_reached = await reach(base_url, connect_s, found.append)
    assert is_reached == all(finding.verdict != "failed" for finding in found)
    assert all(bool(finding.advice) == (finding.verdict == "failed") for finding in found)
    return [(finding.step, finding.verdict, finding.detail) for finding in found]


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def tls() -> ssl.SSLContext:
    """Return a TLS context with a self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_ip_address(port: int) -> None:
    """An IP address needs no DNS, and ``http`` no certificate."""
    assert await steps_to(f"http://127.0.0.1:{port}/v1") == [
        ("DNS", "passed", "127.0.0.1 is an IP address"),
        ("TCP", "passed", f"127.0.0.1:{port} is open"),
        ("TLS", "skipped", "the address says http://"),
    ]


async def test_host_name(port: int) -> None:
    """A host name is resolved, and its addresses are reported."""
    (step, verdict, detail), *_ = await steps_to(f"http://localhost:{port}/v1")

    assert (step, verdict) == ("DNS", "passed")
    assert "127.0.0.1" in detail


async def test_unknown_host_name() -> None:
    """A name that does not resolve, or has a label that is too long, is a failure."""
    for host in ("model.invalid", f"{'x' * 70}.invalid"):
        assert await steps_to(f"http://{host}/v1") == [("DNS", "failed", f"the host name {host} does not resolve")]


async def test_slow_dns() -> None:
    """DNS has the timeout of a connection."""
    assert await steps_to("http://localhost:1/v1", 1e-9) == [
        ("DNS", "failed", "DNS did not answer for localhost within 1e-09 s")
    ]


async def test_closed_port() -> None:
    """A port without a server refuses the connection."""
    assert (await steps_to("http://127.0.0.1:1/v1"))[1:] == [("TCP", "failed", "127.0.0.1:1 refused the connection")]


@pytest.mark.block_network(allowed_hosts=["255.255.255.255"])
async def test_unreachable_host() -> None:
    """A host without a route is a failure with the reason of the system."""
    (_, (step, verdict, detail)) = await steps_to("http://255.255.255.255:9/v1")

    assert (step, verdict) == ("TCP", "failed")
    assert detail.startswith("255.255.255.255:9 is unreachable (")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_connection_timeout() -> None:
    """A port that never accepts, as behind a firewall, is a failure after the timeout."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex(("127.0.0.1", port))

        assert (await steps_to(f"http://127.0.0.1:{port}/v1", 0.3))[1:] == [
            ("TCP", "failed", f"127.0.0.1:{port} did not answer within 0.3 s")
        ]


async def test_certificate(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a certificate that the environment trusts passes."""
    async with raw_server(http(b"Hi"), tls) as raw:
        untrusted = await steps_to(f"https://127.0.0.1:{raw.port}/v1")
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        trusted = await steps_to(f"https://127.0.0.1:{raw.port}/v1")

    assert untrusted[2][:2] == ("TLS", "failed")
    assert untrusted[2][2].startswith("its certificate is not trusted: self")
    assert trusted[2] == ("TLS", "passed", "TLSv1.3, the certificate is trusted")


async def test_server_without_tls() -> None:
    """An ``https`` address of a server without TLS is a failed handshake."""
    async with raw_server(http(b"Bad request", "400 Bad Request"), separator=b"\x16") as raw:
        found = await steps_to(f"https://127.0.0.1:{raw.port}/v1")

    assert found[2] == ("TLS", "failed", f"the TLS handshake with 127.0.0.1:{raw.port} failed")


async def test_proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy, the proxy is checked, and its password is not reported."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret-word@127.0.0.1:{port}")
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret-word@127.0.0.1:1")

    through, unreachable = await steps_to("https://model.invalid/v1"), await steps_to("http://model.invalid/v1")

    assert through == [
        ("DNS", "passed", "proxy: 127.0.0.1 is an IP address"),
        ("TCP", "passed", f"proxy: 127.0.0.1:{port} is open"),
        ("TLS", "skipped", "it goes through the proxy; the next step shows it"),
    ]
    assert unreachable[1] == ("TCP", "failed", "proxy: 127.0.0.1:1 refused the connection")
