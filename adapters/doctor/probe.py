"""Send single GET requests past LiteLLM and return status, headers and JSON, whatever the outcome."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.transport.http import HTTPSession, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from adapters.config import TimeoutConfig, TLSConfig
    from adapters.transport.endpoint import Endpoint
    from adapters.types import Json

_MAX_BYTES = 4_000_000  # OpenRouter's list of models has 1 MB


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one GET request.

    Attributes:
        status: HTTP status; 0 if there was no response.
        headers: Response headers, names in lower case.
        document: Parsed body; None if it is not JSON.
        problem: Why there was no response, in plain words, or "".
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    document: Json = None
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the response is a success with a JSON body."""
        return self.status == 200 and self.document is not None  # noqa: PLR2004 - the one success with a document


class Probe:
    """Sends GET requests to one server. Use ``async with probing(…)``.

    Args:
        session: Connections to the server.
        endpoint: The provider's endpoint; its headers, with the key, are sent along.
        timeout_s: Timeout of one request in seconds.
    """

    def __init__(self, session: HTTPSession, endpoint: Endpoint, timeout_s: float) -> None:
        self._session = session
        self._endpoint = endpoint
        self._timeout_s = timeout_s

    async def get(self, url: str) -> Reply:
        """Fetch a document; a timeout or a connection error is a reply with a ``problem``."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._fetch(url)
        except TimeoutError:
            problem = f"no response within {self._timeout_s:g} s"
        except TransportError as error:
            problem = error.cause or "the connection broke"
        return Reply(0, problem=problem)

    async def _fetch(self, url: str) -> Reply:
        response = await self._session.send("GET", self._endpoint.with_query(url), self._endpoint.all_headers)
        try:
            body = await response.read_up_to(_MAX_BYTES)
        finally:
            response.close()
        return Reply(response.status, response.headers, _parsed(body))


@asynccontextmanager
async def probing(endpoint: Endpoint, timeouts: TimeoutConfig, tls: TLSConfig | None = None) -> AsyncIterator[Probe]:
    """Open connections to a server and close them at the end of the block.

    Raises:
        ConfigError: If the environment names a proxy or certificates that cannot be used.
    """
    session = await HTTPSession.open(endpoint.base_url, timeouts.connect_s, tls)
    try:
        yield Probe(session, endpoint, timeouts.first_token_s)
    finally:
        await session.aclose()


def _parsed(body: bytes) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
