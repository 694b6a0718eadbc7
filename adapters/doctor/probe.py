"""One GET past LiteLLM, whatever comes of it: status, headers and JSON, for whoever has to guess what answers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.transport.http import HTTPSession, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from adapters.config import TimeoutConfig
    from adapters.transport.endpoint import Endpoint
    from adapters.types import Json

_MOST_BYTES = 4_000_000  # OpenRouter's list of models has 1 MB


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status; 0 if nothing came.
        headers: The headers, in lower case.
        document: The JSON of the body; None if it is none.
        trouble: Why nothing came, in plain words, or "".
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    document: Json = None
    trouble: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it is a success with JSON in it."""
        return self.status == 200 and self.document is not None  # noqa: PLR2004 - the one that brings a document


class Probe:
    """Asks one server. Use ``async with probing(…)``.

    Args:
        client: The connections.
        origin: Who is asked; its key goes along.
        wait_s: Seconds that an answer may take.
    """

    def __init__(self, client: HTTPSession, endpoint: Endpoint, wait_s: float) -> None:
        self._client = client
        self._endpoint = endpoint
        self._wait_s = wait_s

    async def get(self, url: str) -> Reply:
        """Ask for a document; a server that does not answer in time did not answer."""
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._reply(url)
        except TimeoutError:
            trouble = f"no answer within {self._wait_s:g} s"
        except TransportError as error:
            trouble = error.cause or "the connection broke"
        return Reply(0, trouble=trouble)

    async def _reply(self, url: str) -> Reply:
        response = await self._client.send("GET", url, self._endpoint.all_headers)
        try:
            body = await response.read_up_to(_MOST_BYTES)
        finally:
            response.close()
        return Reply(response.status, response.headers, _parsed(body))


@asynccontextmanager
async def probing(endpoint: Endpoint, timeouts: TimeoutConfig) -> AsyncIterator[Probe]:
    """Open connections to a server, and close them at the end of the block.

    Raises:
        ConfigError: If the environment names a proxy or certificates that cannot be used.
    """
    client = await HTTPSession.open(endpoint.base_url, timeouts.connect_s)
    try:
        yield Probe(client, endpoint, timeouts.first_token_s)
    finally:
        await client.aclose()


def _parsed(body: bytes) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
