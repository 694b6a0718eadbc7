"""HTTP: the connections of one provider on one event loop; the only module that imports aiohttp.

``HTTPSession.send`` sends one request and returns a ``Response`` whose body is still unread. Failures are
``TransportError``. ``deadlines`` limits how long a wait may take, ``body`` decodes the bytes.
"""

from __future__ import annotations

import asyncio
import io
import time
import weakref
from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from adapters.transport.errors.upstream import REQUEST_ID_HEADERS
from adapters.transport.proxy_tls import proxy_for, tls_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import aiohttp

    from adapters.config import TLSConfig

DRAIN_S = 1.0
"""How long the rest of a finished stream may take. A body that is read to its end leaves a connection that the
next turn can use again, and the last HTTP chunk often comes a few milliseconds after ``[DONE]``."""

_KEEPALIVE_S = 60.0  # a conversation pauses between turns
_READ_BYTES = 65_536  # what is read ahead of us; also the largest piece that decompression makes at once
_LONGEST_HEADER_BYTES = 65_536  # proxies and gateways send long cookies and reports
_LARGE_BODY_BYTES = 1_000_000  # aiohttp warns of a larger one unless it may send it in pieces
_NO_ROUNDING_S = 1e9  # aiohttp rounds limits above 5 s up to whole seconds unless told otherwise
_connect_s: ContextVar[float | None] = ContextVar("connect_s", default=None)
"""Seconds until the request of this context had opened a connection, or failed to; None if it used an open one."""

_HEADERS = {"User-Agent": "caal-llm-adapters", "Accept-Encoding": "gzip, deflate"}
_TLS_ALERTS = (
    ("CERTIFICATE_REQUIRED", "it requires a client certificate", "Set tls.cert_file and tls.key_file."),
    # TLS 1.2 has one alert for a missing client certificate and for other incompatibilities.
    ("HANDSHAKE_FAILURE", "TLS handshake failed", "It may want a client certificate; then set tls.cert_file."),
    ("CERTIFICATE", "it rejected the client certificate", "Check tls.cert_file."),
    ("UNKNOWN_CA", "it rejected the client certificate", "Check tls.cert_file."),
    ("ACCESS_DENIED", "it rejected the client certificate", "Check tls.cert_file."),
)
"""A word in OpenSSL's name of an alert that the server sent, what happened, and what to do; the first match counts."""


class TransportError(Exception):
    """No response came, or its body broke off. The exception holds no request, key or prompt.

    Attributes:
        connecting: Whether the connection could not even be made.
        timed_out: Whether making it took too long.
        stale: Whether an earlier request had used the connection, and no response came.
        cause: What happened, in plain words, or "".
        advice: What to do about it, in one or two sentences; "" if the cause does not say.
    """

    def __init__(
        self,
        cause: str = "",
        *,
        connecting: bool = False,
        timed_out: bool = False,
        stale: bool = False,
        advice: str = "",
    ) -> None:
        super().__init__(cause)
        self.connecting = connecting
        self.timed_out = timed_out
        self.stale = stale
        self.cause = cause
        self.advice = advice


class Response:
    """The head of a response, and its body as it arrives.

    Args:
        response: aiohttp's response.
        draining: The finished responses whose rest is still read.

    Attributes:
        status: The HTTP status.
        connect_s: Seconds until the connection was open, or None if an open one was used.
    """

    connect_s: float | None = None

    def __init__(self, response: aiohttp.ClientResponse, draining: set[aiohttp.ClientResponse]) -> None:
        self._response = response
        self._content = response.content
        self._draining = draining
        self.status = response.status
        self.connect_s = _connect_s.get()
        # aiohttp does not end a read when a garbled chunk makes it drop the connection, so the future that tells of
        # the end of the connection does. None: the connection is gone already.
        connection = response.connection
        self._closed = (
            connection.protocol.closed if connection is not None and connection.protocol is not None else None
        )
        if self._closed is not None:
            self._closed.remove_done_callback(_retrieve)
            self._closed.add_done_callback(_retrieve)
            self._closed.add_done_callback(self._connection_lost)
            self._content.on_eof(self._forget_connection)

    def _forget_connection(self) -> None:
        assert self._closed is not None  # noqa: S101 - else this is not called
        self._closed.remove_done_callback(self._connection_lost)

    def _connection_lost(self, _: asyncio.Future[None] | None) -> None:
        import aiohttp

        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError())

    @property
    def headers(self) -> dict[str, str]:
        """The headers, their names in lower case."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, or None."""
        for name in REQUEST_ID_HEADERS:
            if value := self._response.headers.get(name):
                return value
        return None

    async def read(self) -> bytes:
        """Wait for more of the body, decompressed; b"" at its end.

        Raises:
            TransportError: If the body broke off, or its compression is broken.
        """
        # The callback may not have run yet, and without it aiohttp would raise a RuntimeError.
        if (self._closed is None or self._closed.done()) and not self._content.is_eof():
            self._connection_lost(self._closed)
        try:
            return await self._content.readany()
        except _error_types() as error:
            data, failure = self._take_unread(error), _transport_error(error)
            # aiohttp raises one object for all responses that were closed; with a traceback it would keep all frames.
            error.__traceback__ = error.__context__ = None
        if data:
            return data
        raise failure  # out here: aiohttp's error holds the request with the key, and would be the context

    async def read_up_to(self, most_bytes: int) -> bytes:
        """Wait for the rest of the body, or for its first ``most_bytes`` and at most one piece more.

        Raises:
            TransportError: As ``read``.
        """
        body = bytearray()
        while len(body) < most_bytes and (data := await self.read()):
            body += data
        return bytes(body)

    def _take_unread(self, error: Exception) -> bytes:
        """Return what arrived before the connection broke: aiohttp keeps it, but would not return it any more."""
        self._content.set_exception(None)  # type: ignore[arg-type]  # as it was before; there is no other public way
        data = self._content.read_nowait()
        self._content.set_exception(error)
        return data

    def close(self) -> None:
        """Close the connection, which the server notices at once. A second call does nothing."""
        self._response.close()

    def release(self) -> None:
        """Leave a finished response: its connection is used again if the body ends soon, and closed otherwise."""
        if self._content.is_eof() or self._content.exception() is not None:
            self._response.close()
            return
        self._draining.add(self._response)
        timer = asyncio.get_running_loop().call_later(DRAIN_S, self._stop_draining)
        self._content.on_eof(lambda: self._drained(timer))

    def _stop_draining(self) -> None:
        self._draining.discard(self._response)
        self._response.close()

    def _drained(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._draining.discard(self._response)


class HTTPSession:
    """The connections of one provider, for the event loop that runs while it is made.

    Use ``await HTTPSession.open(…)``. It is closed by ``aclose``; by its event loop, when that shuts down its
    asynchronous generators, as ``asyncio.run`` does; or when it is garbage, also as a part of a reference cycle.

    Args:
        session: aiohttp's session.
        draining: The finished responses whose rest is still read.
        closer: Closes both when it is closed itself.
        proxy: Address of the proxy, or None.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        draining: set[aiohttp.ClientResponse],
        closer: AsyncGenerator[None, None],
        proxy: str | None,
    ) -> None:
        self._session = session
        self._draining = draining
        self._closer = closer
        self._proxy = proxy
        # What it refers to is not garbage together with this object. Otherwise the garbage collector would finalize
        # aiohttp's session first, which logs an error for a session that is still open.
        weakref.finalize(self, _close_garbage, session, closer, asyncio.get_running_loop())

    @classmethod
    async def open(cls, base_url: str, connect_s: float, tls: TLSConfig | None = None) -> HTTPSession:
        """Make a session. No connection is opened yet, and the coroutine never yields to the event loop.

        Args:
            base_url: Where the provider is; decides whether a proxy of the environment is used (never for loopback).
            connect_s: Seconds that a new connection may take, looking up its name included.
            tls: The provider's own certificates, or None.

        Raises:
            ConfigError: If the proxy or the certificates cannot be used.
        """
        import aiohttp

        proxy = proxy_for(base_url)
        session = aiohttp.ClientSession(
            connector=_connector_class()(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=tls_of(base_url, tls)),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_s, ceil_threshold=_NO_ROUNDING_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            read_bufsize=_READ_BYTES,
            max_line_size=_LONGEST_HEADER_BYTES,
            max_field_size=_LONGEST_HEADER_BYTES,
        )
        draining: set[aiohttp.ClientResponse] = set()
        closer = _closer(session, draining)
        await anext(closer)
        return cls(session, draining, closer, proxy)

    async def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> Response:
        """Send one request and wait for the head of the response; redirects are not followed.

        Raises:
            TransportError: If there is none.
        """
        if self._session.closed:
            raise TransportError
        data = io.BytesIO(content) if content is not None and len(content) > _LARGE_BODY_BYTES else content
        _connect_s.set(None)
        try:
            response = await self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy
            )
        except _error_types() as error:
            failure = _transport_error(error, reused=_connect_s.get() is None)
        else:
            return Response(response, self._draining)
        del content, data  # tracebacks with the values of variables would show them
        raise failure  # out here, for the same reason as in ``Response.read``

    async def aclose(self) -> None:
        """Close all connections."""
        await self._closer.aclose()


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Retrieve the exception, so that asyncio does not log it."""
    closed.exception()


async def _closer(session: aiohttp.ClientSession, draining: set[aiohttp.ClientResponse]) -> AsyncGenerator[None, None]:
    """Close a session when this generator is closed, which an event loop does when it ends."""
    try:
        yield
    finally:
        for response in draining:
            response.close()
        await session.close()


def _close_garbage(
    session: aiohttp.ClientSession, closer: AsyncGenerator[None, None], loop: asyncio.AbstractEventLoop
) -> None:
    """Close a session that was dropped, in whatever thread the garbage collector runs.

    Args:
        session: The session, which may be closed already.
        closer: Closes it.
        loop: Its event loop, which may have stopped or ended.
    """
    if loop.is_running():
        loop.call_soon_threadsafe(_start_closing, closer)
        return
    # Nothing can be awaited, and ``close`` would leave a task to the loop. This is the part of it that does not wait.
    if session.connector is not None:
        session.connector.__exit__(None, None, None)
    with suppress(StopIteration):
        closer.aclose().__await__().send(None)


def _start_closing(closer: AsyncGenerator[None, None]) -> None:
    task = asyncio.ensure_future(closer.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()  # the event loop keeps only a weak reference


@cache
def _connector_class() -> type[aiohttp.TCPConnector]:
    """Return aiohttp's connector with a clock; aiohttp's own tracing would cost a tenth of each request."""
    import aiohttp

    class TimedConnector(aiohttp.TCPConnector):
        """Measures how long a new connection takes."""

        async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed on as they are
            began_s = time.monotonic()
            try:
                return await super()._create_connection(*args, **kwargs)
            finally:  # one that fails is new as well
                _connect_s.set(time.monotonic() - began_s)

    return TimedConnector


@cache
def _error_types() -> tuple[type[Exception], ...]:
    import aiohttp

    return (aiohttp.ClientError, OSError, TimeoutError)


def _transport_error(error: Exception, *, reused: bool = False) -> TransportError:
    """Say in plain words what happened; aiohttp's own text may hold the address with everything in it.

    Args:
        error: The exception of aiohttp.
        reused: Whether the request went over a connection of the pool.
    """
    import aiohttp

    if isinstance(error, aiohttp.ServerTimeoutError):
        return TransportError("no connection in time", connecting=True, timed_out=True)
    reason = getattr(error.__cause__, "reason", None) or ""
    for word, cause, advice in _TLS_ALERTS:
        if "ALERT" in reason and word in reason:
            return TransportError(cause, connecting=True, advice=advice)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return TransportError(f"the proxy answered with status {error.status}", connecting=True)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        advice = "Add its authority to tls.ca_file or SSL_CERT_FILE."
        return TransportError("its certificate is not trusted", connecting=True, advice=advice)
    causes: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "its host name is unknown"),
        (aiohttp.ClientSSLError, "TLS handshake failed"),
        (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached"),
        (aiohttp.ClientConnectorError, "connection refused or blocked"),
    )
    for kind, cause in causes:
        if isinstance(error, kind):
            return TransportError(cause, connecting=True)
    lost = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)
    return TransportError(stale=reused and isinstance(error, lost))
