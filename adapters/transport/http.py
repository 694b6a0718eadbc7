"""HTTP: the connections of one provider on one event loop; the one door to aiohttp.

A ``HTTPSession`` sends one request and gives back a ``Response`` whose body is still to come; what fails is ``TransportError``.
Which limits a wait has is told by ``deadlines``, what the bytes mean by ``payloads``.
"""

from __future__ import annotations

import asyncio
import io
from functools import cache
from typing import TYPE_CHECKING

from adapters.transport.proxy_tls import proxy_for, tls_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import aiohttp

DRAIN_S = 1.0
"""How long the rest of a finished stream may take. A body that is read to its end leaves a connection that the
next turn can use again, and the last HTTP chunk often comes a few milliseconds after ``[DONE]``."""

_KEEPALIVE_S = 60.0  # a conversation pauses between turns
_READ_BYTES = 65_536  # what is read ahead of us; also the largest piece that decompression makes at once
_LONGEST_HEADER_BYTES = 65_536  # proxies and gateways send long cookies and reports
_LARGE_BODY_BYTES = 1_000_000  # aiohttp warns of a larger one unless it may send it in pieces
_NO_ROUNDING_S = 1e9  # aiohttp rounds limits above 5 s up to whole seconds unless told otherwise
_HEADERS = {"User-Agent": "caal-llm-adapters", "Accept-Encoding": "gzip, deflate"}


class TransportError(Exception):
    """No answer came, or its body broke off; no request, key or prompt hangs on it.

    Attributes:
        connecting: Whether the connection could not even be made.
        timed_out: Whether making it took too long.
        cause: What happened, in plain words, or "".
    """

    def __init__(self, cause: str = "", *, connecting: bool = False, timed_out: bool = False) -> None:
        super().__init__(cause)
        self.connecting = connecting
        self.timed_out = timed_out
        self.cause = cause


class Response:
    """The head of an answer, and its body as it comes.

    Args:
        answer: What aiohttp has of it.
        draining: The finished answers whose connections are still waited for.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, answer: aiohttp.ClientResponse, draining: set[aiohttp.ClientResponse]) -> None:
        self._answer = answer
        self._content = answer.content
        self._draining = draining
        self.status = answer.status
        self._closed = self._watch()

    def _watch(self) -> asyncio.Future[None] | None:
        """End the wait when the connection is lost, for aiohttp tells nobody of a garbled chunk; None: it is lost."""
        connection = self._answer.connection
        closed = connection.protocol.closed if connection is not None and connection.protocol is not None else None
        if closed is None:
            return None
        closed.remove_done_callback(_retrieved)
        closed.add_done_callback(_retrieved)
        closed.add_done_callback(self._lost)

        def ended() -> None:
            closed.remove_done_callback(self._lost)

        self._content.on_eof(ended)
        return closed

    def _lost(self, _: asyncio.Future[None] | None) -> None:
        import aiohttp

        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError())

    @property
    def headers(self) -> dict[str, str]:
        """The headers, in lower case."""
        return {name.lower(): value for name, value in self._answer.headers.items()}

    async def read(self) -> bytes:
        """Wait for more of the body, decompressed; b"" at its end.

        Raises:
            Trouble: If the body broke off, or its compression is broken.
        """
        if self._closed is None or self._closed.done():  # the callback may not have run: it would be a RuntimeError
            self._lost(self._closed)
        try:
            return await self._content.readany()
        except _failures() as error:
            data, trouble = self._left_behind(error), _trouble(error)
            # For every answer that was closed aiohttp raises the same object, which would keep all frames for ever.
            error.__traceback__ = error.__context__ = None
        if data:
            return data
        raise trouble  # out here: aiohttp's own error holds the request with the key, and would be the context

    async def read_up_to(self, most_bytes: int) -> bytes:
        """Wait for the rest of the body, or for as much of it as is wanted, and one piece more at the most.

        Raises:
            Trouble: As ``read``.
        """
        body = bytearray()
        while len(body) < most_bytes and (data := await self.read()):
            body += data
        return bytes(body)

    def _left_behind(self, error: Exception) -> bytes:
        """What had come before the connection broke: aiohttp keeps it and would not hand it out any more."""
        self._content.set_exception(None)  # type: ignore[arg-type]  # as it was before; there is no other public way
        data = self._content.read_nowait()
        self._content.set_exception(error)
        return data

    def close(self) -> None:
        """Close the connection; the server sees at once that nobody listens any more. A second time is harmless."""
        self._answer.close()

    def release(self) -> None:
        """Leave a finished answer: its connection is used again if the body ends soon, and else closed."""
        if not self._content.is_eof() and self._content.exception() is None:
            self._draining.add(self._answer)
            timer = asyncio.get_running_loop().call_later(DRAIN_S, self._give_up)
            self._content.on_eof(lambda: self._drained(timer))
        else:
            self.close()

    def _give_up(self) -> None:
        self._draining.discard(self._answer)
        self.close()

    def _drained(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._draining.discard(self._answer)


class HTTPSession:
    """The connections of one provider, for the event loop that runs while it is made.

    Use ``await Client.open(…)``. It is closed by ``aclose``, by the end of its event loop, or when nobody holds it.

    Args:
        session: The session.
        draining: The finished answers whose connections are still waited for.
        lifeline: Closes both when it is closed itself.
        proxy: Address of the proxy, or None.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        draining: set[aiohttp.ClientResponse],
        lifeline: AsyncGenerator[None, None],
        proxy: str | None,
    ) -> None:
        self._session = session
        self._draining = draining
        self._lifeline = lifeline
        self._proxy = proxy

    @classmethod
    async def open(cls, base_url: str, connect_s: float) -> HTTPSession:
        """Make the client; nothing is connected yet, and nothing is waited for.

        Args:
            base_url: Where the provider is; decides over a proxy of the environment (never for loopback).
            connect_s: Seconds that a new connection may take, looking up its name included.

        Raises:
            ConfigError: If the environment names a proxy or certificates that cannot be used.
        """
        import aiohttp

        proxy = proxy_for(base_url)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=tls_of(base_url)),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_s, ceil_threshold=_NO_ROUNDING_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            read_bufsize=_READ_BYTES,
            max_line_size=_LONGEST_HEADER_BYTES,
            max_field_size=_LONGEST_HEADER_BYTES,
        )
        draining: set[aiohttp.ClientResponse] = set()
        lifeline = _lifeline(session, draining)
        await anext(lifeline)
        return cls(session, draining, lifeline, proxy)

    async def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> Response:
        """Send one request and wait for the head of the answer; redirects are not followed.

        Raises:
            Trouble: If there is none.
        """
        data = io.BytesIO(content) if content is not None and len(content) > _LARGE_BODY_BYTES else content
        try:
            answer = await self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy
            )
        except _failures() as error:
            trouble = _trouble(error)
        else:
            return Response(answer, self._draining)
        del content, data  # tracebacks with the values of variables would show them
        raise trouble  # out here, for the same reason as in ``Response.read``

    async def aclose(self) -> None:
        """Close all connections."""
        await self._lifeline.aclose()


def _retrieved(closed: asyncio.Future[None]) -> None:
    """Look at how a connection ended, else asyncio complains that nobody did."""
    closed.exception()


async def _lifeline(
    session: aiohttp.ClientSession, draining: set[aiohttp.ClientResponse]
) -> AsyncGenerator[None, None]:
    """Close a session when this generator is closed.

    An event loop closes its open generators when it ends, and those that nobody holds any more: so no socket outlives
    its loop or its provider, and aiohttp has nothing to complain about.
    """
    try:
        yield
    finally:
        for answer in draining:
            answer.close()
        await session.close()


@cache
def _failures() -> tuple[type[Exception], ...]:
    import aiohttp

    return (aiohttp.ClientError, OSError, TimeoutError)


def _trouble(error: Exception) -> TransportError:
    """Say in plain words what aiohttp ran into; its own text may hold the address with everything in it."""
    import aiohttp

    if isinstance(error, aiohttp.ServerTimeoutError):
        return TransportError("no connection in time", connecting=True, timed_out=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return TransportError(f"the proxy answered with status {error.status}", connecting=True)
    reasons: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "its name is unknown"),
        (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
        (aiohttp.ClientSSLError, "it does not speak TLS as we do"),
        (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached"),
        (aiohttp.ClientConnectorError, "nothing listens there, or nothing lets us through"),
    )
    for kind, reason in reasons:
        if isinstance(error, kind):
            return TransportError(reason, connecting=True)
    return TransportError()
