"""What the environment says of the way to a server: its proxies, and whom TLS trusts; the one door to certifi."""

from __future__ import annotations

import os
import ssl
import urllib.request
from functools import cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from adapters.errors import ConfigError

_BAD_PROXY = (
    "The proxy that the environment names (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be used. Write it as"
    " http://host:port, or add the server to NO_PROXY."
)
_BAD_CERTIFICATES = "The certificates that SSL_CERT_FILE or SSL_CERT_DIR name cannot be read. Correct it, or unset it."


def tls_of(base_url: str) -> ssl.SSLContext | bool:
    """Whom a connection to this address trusts; raises ``ConfigError`` for certificates that cannot be used."""
    if not base_url.startswith("https:"):
        return True
    try:
        return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError:  # ssl.SSLError is one
        raise ConfigError(_BAD_CERTIFICATES) from None


@cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Trust what the user named, else the certificates of certifi, which are the same on every system."""
    import certifi

    named = file or folder
    context = ssl.create_default_context(cafile=file or (None if named else certifi.where()), capath=folder)
    context.set_alpn_protocols(["http/1.1"])
    return context


def proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for this address; raises ``ConfigError`` for one that cannot be used."""
    url = urlsplit(base_url)
    if _is_loopback(url.hostname or "") or urllib.request.proxy_bypass(url.netloc):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text repeats the address, which may hold a password
        usable = False
    if not usable:
        raise ConfigError(_BAD_PROXY)
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified  # people write 0.0.0.0, as servers do when they start
