"""The way to a server, below HTTP: its name, its port, its certificate.

A proxy that the environment names is what a connection goes to, so it is what is looked at.
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
    from adapters.doctor.finding import Tell

_PORTS = {"http": 80, "https": 443}


async def reach(base_url: str, connect_s: float, tell: Tell) -> bool:
    """Go to a server, as far as it will let us.

    Args:
        base_url: Its address.
        connect_s: Seconds that each step may take.
        tell: Is given DNS, TCP and TLS; after one that failed nothing more.

    Returns:
        Whether none failed.

    Raises:
        ConfigError: If the environment names a proxy or certificates that cannot be used.
    """
    url = urlsplit(base_url)
    proxy = proxy_for(base_url)
    target = urlsplit(proxy) if proxy else url
    host, port = target.hostname or "", target.port or _PORTS[target.scheme]
    for step in (_look_up, _connect):
        finding = await step(host, port, connect_s)
        tell(_through_proxy(finding) if proxy else finding)
        if finding.verdict == "failed":
            return False
    if url.scheme == "http":
        finding = Finding("TLS", "skipped", "the address says http://")
    elif proxy:
        finding = Finding("TLS", "skipped", "it goes through the proxy; the next step shows it")
    else:
        finding = await _shake_hands(host, port, connect_s, base_url)
    tell(finding)
    return finding.verdict != "failed"


async def _look_up(host: str, port: int, connect_s: float) -> Finding:
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return Finding("DNS", "ok", f"{host} is an address, no name")
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(connect_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        advice = "Check the network and its DNS server."
        return Finding("DNS", "failed", f"no answer about {host} within {connect_s:g} s", advice)
    except (OSError, UnicodeError):  # a label that is too long is no valid text, to Python
        advice = "Check the spelling of base_url, and the network (VPN, hosts file)."
        return Finding("DNS", "failed", f"the name {host} is unknown", advice)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    return Finding("DNS", "ok", f"{host} is {', '.join(addresses)}", seconds=time.monotonic() - began_s)


async def _connect(host: str, port: int, connect_s: float) -> Finding:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(connect_s):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        advice = (
            "Start the server, or correct the port. One in a container or on another machine must listen on 0.0.0.0."
        )
        return Finding("TCP", "failed", f"nothing listens on {host}:{port}", advice)
    except TimeoutError:
        advice = "A firewall may drop it, or the machine is off. Check host, port and network."
        return Finding("TCP", "failed", f"{host}:{port} did not answer within {connect_s:g} s", advice)
    except OSError as error:
        advice = "Check host, port and network."
        return Finding("TCP", "failed", f"no way to {host}:{port} ({error.strerror or 'no address works'})", advice)
    writer.close()
    return Finding("TCP", "ok", f"{host}:{port} is open", seconds=time.monotonic() - began_s)


async def _shake_hands(host: str, port: int, connect_s: float, base_url: str) -> Finding:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(connect_s):
            _, writer = await asyncio.open_connection(host, port, ssl=tls_of(base_url), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        advice = "Name the authority that signed it in SSL_CERT_FILE, or have the certificate renewed."
        return Finding("TLS", "failed", f"its certificate is not trusted: {error.verify_message}", advice)
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError, and a server that speaks plain HTTP may just hang up
        advice = "If the server has no certificate, write http:// in base_url."
        return Finding("TLS", "failed", f"{host}:{port} does not speak TLS as we do", advice)
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    return Finding("TLS", "ok", f"{version}, the certificate is trusted", seconds=time.monotonic() - began_s)


def _through_proxy(finding: Finding) -> Finding:
    advice = f"{finding.advice} It is the proxy of the environment." if finding.advice else ""
    return Finding(finding.step, finding.verdict, f"proxy: {finding.detail}", advice, finding.seconds)
