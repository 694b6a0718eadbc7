"""A connection to nowhere, so that a provider can go once through all that an answer goes through.

What is used for the first time is slow: LiteLLM's thread on this event loop is started, Python specialises the code
that it runs, caches are filled. What is left is the true connection, which carries its first ``POST``: half a
millisecond for aiohttp's part of it, whose code has run only once. No rehearsal goes through that, because whoever
records HTTP in tests would find it there. So the first answer takes 1.4 to 2 of a later one, which is 1.2 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.transport.http import HTTPSession, Response
from adapters.transport.provider_transport import ProviderTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.transport.endpoint import Endpoint

ROUNDS = 4
"""How often each way to ask is rehearsed: 4 ms a round, in pieces. Python 3.11 specialises code when it has run eight
times, and one of a few lines runs more than once a round."""

_NOWHERE = "http://rehearsal.invalid/v1"
_STREAMED = b"".join(
    b'data: {"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % each
    for each in (
        (b'{"role":"assistant","content":""}', b"null"),
        (b'{"content":"Good "}', b"null"),
        (b'{"content":"morning."}', b"null"),
        (b"{}", b'"stop"'),
    )
)
_WHOLE = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Good morning."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
)


class WarmupTransport(ProviderTransport):
    """Sends nothing: LiteLLM builds each request, and the same short answer comes back."""

    async def _ready(self) -> tuple[HTTPSession, Endpoint]:
        return WarmupSession(), self.endpoint.at(_NOWHERE)


class WarmupSession(HTTPSession):
    """A client without a session."""

    def __init__(self) -> None:
        """There is nothing to open."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> Response:  # noqa: ARG002 - as a client has them
        """Answer as the request asks, from memory."""
        streamed = b'"stream":true' in (content or b"").replace(b" ", b"")
        return WarmupResponse([_STREAMED, b"data: [DONE]\n\n"] if streamed else [_WHOLE])


class WarmupResponse(Response):
    """An answer that is there already.

    Args:
        pieces: The body.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self.status = 200
        self._pieces = pieces

    @property
    def headers(self) -> dict[str, str]:
        """None are needed."""
        return {}

    async def read(self) -> bytes:
        """Hand out the next piece."""
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        """There is nothing to close."""

    def release(self) -> None:
        """There is nothing to use again."""
