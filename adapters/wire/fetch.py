"""One JSON document of a provider, asked for without LiteLLM: the list of its models.

What is in the document is the business of whoever asks; chat requests go through ``engine``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from adapters.wire.chunks import chunk_of
from adapters.wire.deadlines import DeadlineMissed, Deadlines
from adapters.wire.exchange import create_client
from adapters.wire.failures import disconnected, incomplete, late, rejected, without_request
from adapters.wire.origin import headers_of, key_of, origin_of
from adapters.wire.reader import read_whole
from adapters.wire.upstream import upstream_error

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.errors import IncompleteResponseError


async def fetch_json(config: ProviderConfig, path: str) -> Any:  # noqa: ANN401 - whatever JSON a server sends
    """Get a JSON document, once: nobody waits for it in the middle of a conversation, so it is not asked for again.

    Args:
        config: The provider, with its secrets looked up.
        path: Path below the provider's base URL, with a query or without.

    Returns:
        The parsed document.

    Raises:
        APIError: If the server could not be asked, refused, or sent no JSON.
    """
    origin = origin_of(config)
    try:
        async with create_client(config.base_url, config.timeouts.connect_s) as client:
            asking = client.get(f"{config.base_url}{path}", headers=_headers(config))
            response = await Deadlines(config.timeouts, streamed=False).wait(asking)
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise disconnected(error, origin) from without_request(error)
    except DeadlineMissed as missed:
        raise late(missed, origin) from missed
    payload = read_whole(response.content)
    refused = None if response.is_success else response.status_code
    if refused is not None or chunk_of(payload.value).error is not None:
        failure = upstream_error(payload.value, status=refused, headers=dict(response.headers), secrets=origin.secrets)
        raise rejected(failure, origin) from failure
    if payload.kind != "json":
        raise unreadable(config, "sent no JSON. Please check base_url.")
    return payload.value


def unreadable(config: ProviderConfig, reason: str) -> IncompleteResponseError:
    """Make the error for a document that is not what was asked for.

    Args:
        config: The provider that sent it.
        reason: What is wrong and what to do, to be put after the provider's name.
    """
    return incomplete(reason, origin_of(config))


def _headers(config: ProviderConfig) -> dict[str, str]:
    return {"Authorization": f"Bearer {key_of(config)}", **headers_of(config)}
