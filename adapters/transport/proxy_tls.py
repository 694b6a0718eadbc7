"""Proxies and certificates: of the environment, or of one provider; the only module that imports certifi."""

from __future__ import annotations

import os
import ssl
import urllib.request
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.errors import ConfigError

if TYPE_CHECKING:
    from adapters.config import TLSConfig

_BAD_PROXY = (
    "The proxy that the environment names (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be used. Write it as"
    " http://host:port, or add the server to NO_PROXY."
)
_BAD_CERTIFICATES = (
    "The certificates that SSL_CERT_FILE, SSL_CERT_DIR or REQUESTS_CA_BUNDLE name cannot be read. Correct it, or"
    " unset it."
)


def tls_of(base_url: str, tls: TLSConfig | None = None) -> ssl.SSLContext | bool:
    """Return the TLS settings of a connection; True for an address without TLS.

    Args:
        base_url: The address.
        tls: The provider's own certificates, or None.

    Raises:
        ConfigError: If certificates cannot be used.
    """
    if not base_url.startswith("https:"):
        return True
    trusted = _trusted_by_environment()
    if tls is None:
        try:
            return _context(*trusted)
        except OSError:  # ssl.SSLError is one
            raise ConfigError(_BAD_CERTIFICATES) from None
    return _own_context(tls, *trusted)


def _trusted_by_environment() -> tuple[str | None, str | None]:
    """The file and the folder of the authorities to trust; neither: those of certifi."""
    file, folder = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle and not file and not folder:
        return (None, bundle) if Path(bundle).is_dir() else (bundle, None)
    return file, folder


@cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Trust these authorities, or those of certifi, which are the same on every system."""
    import certifi

    if not file and not folder:
        file = certifi.where()
    context = ssl.create_default_context(cafile=file, capath=folder)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _own_context(tls: TLSConfig, file: str | None, folder: str | None) -> ssl.SSLContext:
    """Make the context of one provider, anew each time: its files may have been renewed."""
    if tls.ca_file is not None:
        file, folder = str(tls.ca_file), None
    try:
        context = _context.__wrapped__(file, folder)
    except OSError:
        raise ConfigError(_unreadable("ca_file", tls.ca_file) if tls.ca_file else _BAD_CERTIFICATES) from None
    if tls.cert_file is not None:
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_refuse_password)
        except (OSError, ValueError):
            raise ConfigError(_unreadable("cert_file or tls.key_file", tls.cert_file)) from None
    return context


def _refuse_password() -> str:
    """Without this OpenSSL would ask for the password of a key on the terminal, and wait."""
    raise ValueError("The key is encrypted.")


def _unreadable(names: str, path: Path | None) -> str:
    return f"The certificate in tls.{names} cannot be used ({path}). It must be a PEM file, its key without a password."


def proxy_for(base_url: str) -> str | None:
    """Return the proxy that the environment names for this address, or None.

    Raises:
        ConfigError: If it cannot be used.
    """
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
    return address.is_loopback or address.is_unspecified  # 0.0.0.0 is copied from the output of servers
