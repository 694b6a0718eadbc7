"""``wire.fetch``: one document, or one of our errors; never a hang, a retry or a key in a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    IncompleteResponseError,
    InternalServerError,
    NotFoundError,
    ProviderConfig,
)
from adapters.testing.answers import http, reply
from adapters.testing.server import ScriptedServer
from adapters.wire.fetch import fetch_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.answers import Script

KEY = "the-secret-key"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server that plays whatever a test gives it."""
    async with ScriptedServer() as running:
        yield running


def config(base_url: str, **options: Any) -> ProviderConfig:
    """Settings of a server that demands a key."""
    settings = {"name": "shop", "model": "m", "base_url": base_url, "api_key": KEY, **options}
    return ProviderConfig.create("openai_compatible", **settings)


async def test_document(server: ScriptedServer) -> None:
    """The document is asked for once, with the key and the configured headers."""
    base_url = server.add("case", reply({"data": []}))

    document = await fetch_json(config(base_url, headers={"X-Team": "voice"}), "/models")

    assert document == {"data": []}
    assert server.seen["case"].paths == ["/case/v1/models"]
    assert server.seen["case"].headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.seen["case"].headers[0]["x-team"] == "voice"


@pytest.mark.parametrize(
    ("script", "expected", "words"),
    [
        pytest.param(
            reply({"error": {"message": f"Bad key {KEY}"}}, "401 Unauthorized"),
            AuthenticationError,
            "refused the API key",
            id="401",
        ),
        pytest.param(
            reply({"detail": "Not Found"}, "404 Not Found"), NotFoundError, "nothing at this address", id="404"
        ),
        pytest.param(reply({}, "302 Found", location="/login"), NotFoundError, "has moved", id="redirect"),
        pytest.param(reply({}, "503 Service Unavailable"), InternalServerError, "failed", id="503"),
        pytest.param(
            reply({"error": "Unexpected endpoint or method. (GET /models)"}),
            NotFoundError,
            "nothing at this address",
            id="LM Studio: an error with status 200",
        ),
        pytest.param((http(b"<html>Log in</html>"),), IncompleteResponseError, "sent no JSON", id="login page"),
        pytest.param((http(b'{"data": ['),), IncompleteResponseError, "sent no JSON", id="cut JSON"),
        pytest.param((http(b""),), IncompleteResponseError, "sent no JSON", id="empty body"),
        pytest.param(("rst",), APIConnectionError, "broke", id="reset"),
        pytest.param(("hang",), APITimeoutError, "did not answer in time", id="silence"),
        pytest.param(
            (http(b"no gzip at all", content_encoding="gzip"),), APIConnectionError, "broke", id="broken compression"
        ),
    ],
)
async def test_failure(server: ScriptedServer, script: Script, expected: type[APIError], words: str) -> None:
    """Each failure is told in one sentence that names the server and hides the key, after one request."""
    base_url = server.add("case", script)

    with pytest.raises(APIError, match=f"shop.*{words}") as caught:
        await fetch_json(config(base_url, timeouts={"total_s": 0.5}), "/models")

    assert type(caught.value) is expected
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert len(server.seen["case"].paths) == 1


async def test_nobody_there() -> None:
    """A server that is not running is told as such."""
    with pytest.raises(APIConnectionError, match="shop could not be reached"):
        await fetch_json(config("http://127.0.0.1:9/v1"), "/models")
