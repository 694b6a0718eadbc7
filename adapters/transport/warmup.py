"""A transport without network, so that a provider can run its whole path of an answer once.

Code that runs for the first time is slow: LiteLLM's thread on this event loop is started, Python specialises bytecode,
caches are filled. What remains is the real connection with its first ``POST``: half a millisecond for aiohttp's part,
whose code has run only once. The warm-up leaves it out, because tools that record HTTP in tests would record it. So the
first answer takes 1.4 to 2 times as long as a later one, which takes 1.2 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.transport import litellm_bridge
from adapters.transport.http import HTTPSession, Response
from adapters.transport.provider_transport import ProviderTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.transport.deadlines import Deadlines
    from adapters.transport.endpoint import Endpoint

ROUNDS = 4
"""How often each way to send runs: 4 ms a round, in pieces. Python 3.11 specialises code that has run eight times, and
code of a few lines runs more than once a round."""

_NOWHERE = "http://warm-up.invalid/v1"
_STREAMED = b"".join(
    b'data: {"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % choice
    for choice in (
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
    """Lets LiteLLM build each request, sends nothing, and returns the same short answer."""

    async def _connect(self, deadlines: Deadlines, *, through_litellm: bool) -> tuple[HTTPSession, Endpoint]:  # noqa: ARG002 - the base class has them
        await litellm_bridge.warm_up(self.endpoint.prefix)
        return WarmupSession(), self.endpoint.at(_NOWHERE)


class WarmupSession(HTTPSession):
    """A session without connections."""

    def __init__(self) -> None:
        """Open nothing."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> Response:  # noqa: ARG002 - the base class has them
        """Return the answer that the request asks for."""
        streamed = b'"stream":true' in (content or b"").replace(b" ", b"")
        return WarmupResponse([_STREAMED, b"data: [DONE]\n\n"] if streamed else [_WHOLE])


class WarmupResponse(Response):
    """A response whose body is in memory.

    Args:
        pieces: The body.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self.status = 200
        self._pieces = pieces

    @property
    def headers(self) -> dict[str, str]:
        """No headers."""
        return {}

    @property
    def request_id(self) -> str | None:
        """No id."""
        return None

    async def read(self) -> bytes:
        """Return the next piece."""
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        """Close nothing."""

    def release(self) -> None:
        """Keep nothing."""
