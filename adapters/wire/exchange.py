"""The HTTP client of one provider, and the witness of one try.

LiteLLM builds the request and sends it over our client. What really went over the wire is kept here, in the
``Exchange`` of the running try, and the answer stops here: LiteLLM gets a receipt, a tiny answer without fault. It
would read the real one for its own books, which costs more than all our reading, fails on what is not OpenAI's to
the letter, and stalls the event loop for seconds over a long error. Reading the body is ``reader``'s job; turning a
bad exchange into an error is ``failures``'.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpx

from adapters.errors import ConfigError
from adapters.wire.reader import BrokenBody

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Iterator

DRAIN_S = 1.0
"""How long the rest of a finished stream may take. A body that is read to its end leaves a connection that the
next turn can use again, and the last HTTP chunk often comes a few milliseconds after ``[DONE]``."""

_WRITE_S = 30.0  # sending a prompt is quick; a peer that takes no bytes for this long is gone
_BAD_PROXY = (
    "The proxy that the environment names (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) cannot be used. Write it as"
    " http://host:port, add the server to NO_PROXY, or for SOCKS install httpx[socks]."
)
_KEEPALIVE_S = 60.0  # a conversation pauses for longer than httpx's 5 s between turns


@dataclass(slots=True)
class Exchange:
    """What went over the wire in one try.

    Attributes:
        stream: Whether a stream was asked for.
        request: The request, once it has left.
        response: The response, once its headers have come.
        error: What kept the response from coming, if anything did.
    """

    stream: bool
    request: httpx.Request | None = None
    response: httpx.Response | None = None
    error: httpx.TransportError | None = None

    def drain(self, rest: AsyncGenerator[Any, None]) -> None:
        """Read what is left of a finished body in the background, so that the connection can be used again.

        Args:
            rest: Who has read the body so far; another reader, or closing this one, would close the connection.
        """
        if self.response is not None and not self.response.is_closed:
            task = asyncio.get_running_loop().create_task(_read_out(self.response, rest))
            _draining.add(task)  # the loop itself keeps only a weak reference
            task.add_done_callback(_draining.discard)

    async def aclose(self) -> None:
        """Close the response; the server sees at once that nobody listens any more."""
        if self.response is not None:
            await self.response.aclose()


_current: ContextVar[Exchange | None] = ContextVar("adapters_exchange", default=None)
_draining: set[asyncio.Task[None]] = set()


@contextlib.contextmanager
def watch(*, stream: bool) -> Iterator[Exchange]:
    """Keep what the request that is sent inside the block exchanges with the server.

    Args:
        stream: Whether it asks for a stream.
    """
    exchange = Exchange(stream)
    token = _current.set(exchange)
    try:
        yield exchange
    finally:
        _current.reset(token)


def create_client(base_url: str, connect_s: float) -> httpx.AsyncClient:
    """Make the client of one provider, for the running event loop alone.

    Args:
        base_url: Where the provider is; decides over a proxy of the environment (never for loopback).
        connect_s: Seconds that a new connection may take. All other waiting is limited by ``deadlines``.

    Raises:
        ConfigError: If the environment names a proxy that cannot be used.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEPALIVE_S)
    try:
        inner = httpx.AsyncHTTPTransport(verify=_ssl_context(), limits=limits, proxy=_proxy_for(base_url))
    except (ImportError, ValueError, httpx.InvalidURL):  # its text repeats the address, which may hold a password
        raise ConfigError(_BAD_PROXY) from None
    return httpx.AsyncClient(transport=WitnessTransport(inner, connect_s))


class WitnessTransport(httpx.AsyncBaseTransport):
    """Sends requests and shows each exchange to whoever watches it."""

    def __init__(self, inner: httpx.AsyncBaseTransport, connect_s: float) -> None:
        self._inner = inner
        # LiteLLM flattens an httpx.Timeout on one of its routes, so the limits are set where nobody can.
        self._timeouts = {"connect": connect_s, "pool": connect_s, "write": _WRITE_S, "read": None}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; a second one within the same try is refused, so that a try costs one request.

        Returns:
            A receipt if somebody watches, else the response.
        """
        request.extensions = {**request.extensions, "timeout": self._timeouts}
        exchange = _current.get()
        if exchange is None:
            return await self._inner.handle_async_request(request)
        if exchange.request is not None:
            raise httpx.NetworkError("The request was already sent.", request=request)
        exchange.request = request
        try:
            exchange.response = await self._inner.handle_async_request(request)
        except httpx.TransportError as error:
            exchange.error = error
            # LiteLLM sends the request again when it sees certain kinds, through a client of its own; never this one.
            raise httpx.NetworkError(str(error), request=request) from error
        return receipt(stream=exchange.stream)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


def receipt(*, stream: bool) -> httpx.Response:
    """A small answer that LiteLLM reads without complaint.

    Args:
        stream: Whether a stream was asked for.
    """
    if stream:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"data: [DONE]\n\n")
    message = {"role": "assistant", "content": "-"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {"id": "receipt", "object": "chat.completion", "created": 1, "model": "receipt", "choices": choices}
    return httpx.Response(200, json=answer)


async def _read_out(response: httpx.Response, rest: AsyncGenerator[Any, None]) -> None:
    """Read a body whose content no longer matters; closing it is right whatever happens."""
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in rest:
                pass
    except (TimeoutError, BrokenBody):
        pass  # the answer was complete before; only the connection is lost for the next turn
    finally:
        await rest.aclose()
        await response.aclose()


@cache
def _ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _proxy_for(base_url: str) -> str | None:
    url = httpx.URL(base_url)
    if _is_loopback(url.host) or urllib.request.proxy_bypass(url.netloc.decode("ascii")):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified  # people write 0.0.0.0, as servers do when they start
