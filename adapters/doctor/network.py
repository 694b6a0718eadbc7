"""Check the path to a server below HTTP: name resolution, TCP port and TLS certificate.

If the environment configures a proxy for the address, the proxy is what connections go to, so the proxy is checked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.doctor.finding import Finding
from adapters.transport.proxy_tls import proxy_for, tls_of

if TYPE_CHECKING:
    from adapters.config import TLSConfig
    from adapters.doctor.finding import Report

_PORTS = {"http": 80, "https": 443}


async def reach(base_url: str, connect_s: float, report: Report, tls: TLSConfig | None = None) -> bool:
    """Check DNS, TCP and TLS of an address, in this order.

    Args:
        base_url: Address of the API.
        connect_s: Timeout of each step in seconds.
        report: Receives the finding of each step; the first failure is the last finding.
        tls: The provider's own certificates, or None.

    Returns:
        Whether no step failed.

    Raises:
        ConfigError: If the environment names a proxy or certificates that cannot be used.
    """
    url = urlsplit(base_url)
    proxy = proxy_for(base_url)
    target = urlsplit(proxy) if proxy else url
    host, port = target.hostname or "", target.port or _PORTS[target.scheme]
    for step in (_look_up, _connect):
        finding = await step(host, port, connect_s)
        report(_through_proxy(finding) if proxy else finding)
        if finding.verdict == "failed":
            return False
    if url.scheme == "http":
        finding = Finding("TLS", "skipped", "the address says http://")
    elif proxy:
        finding = Finding("TLS", "skipped", "it goes through the proxy; the next step shows it")
    else:
        finding = await _shake_hands(host, port, connect_s, tls_of(base_url, tls))
    report(finding)
    return finding.verdict != "failed"


async def _look_up(host: str, port: int, connect_s: float) -> Finding:
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return Finding("DNS", "passed", f"{host} is an IP address")
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(connect_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        advice = "Check the network and its DNS server."
        return Finding("DNS", "failed", f"DNS did not answer for {host} within {connect_s:g} s", advice)
    except (OSError, UnicodeError):  # Python raises UnicodeError for a label that is too long
        advice = "Check the spelling of base_url, and the network (VPN, hosts file)."
        return Finding("DNS", "failed", f"the host name {host} does not resolve", advice)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    return Finding("DNS", "passed", f"{host} is {', '.join(addresses)}", seconds=time.monotonic() - began_s)


async def _connect(host: str, port: int, connect_s: float) -> Finding:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(connect_s):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        advice = (
            "Start the server, or correct the port. A server in a container or on another machine must listen on"
            " 0.0.0.0."
        )
        return Finding("TCP", "failed", f"{host}:{port} refused the connection", advice)
    except TimeoutError:
        advice = "A firewall may drop the packets, or the machine is off. Check host, port and network."
        return Finding("TCP", "failed", f"{host}:{port} did not answer within {connect_s:g} s", advice)
    except OSError as error:
        reason = error.strerror or "every address failed"
        return Finding("TCP", "failed", f"{host}:{port} is unreachable ({reason})", "Check host, port and network.")
    writer.close()
    return Finding("TCP", "passed", f"{host}:{port} is open", seconds=time.monotonic() - began_s)


async def _shake_hands(host: str, port: int, connect_s: float, context: ssl.SSLContext | bool) -> Finding:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(connect_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        advice = "Name the CA that signed it in SSL_CERT_FILE, or renew the certificate."
        return Finding("TLS", "failed", f"its certificate is not trusted: {error.verify_message}", advice)
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError, and a plain HTTP server may close the connection
        advice = "If the server has no certificate, write http:// in base_url."
        return Finding("TLS", "failed", f"the TLS handshake with {host}:{port} failed", advice)
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    return Finding("TLS", "passed", f"{version}, the certificate is trusted", seconds=time.monotonic() - began_s)


def _through_proxy(finding: Finding) -> Finding:
    advice = f"{finding.advice} This is the proxy that the environment names." if finding.advice else ""
    return Finding(finding.step, finding.verdict, f"proxy: {finding.detail}", advice, finding.seconds)
