"""``transport.endpoint``: whom a request goes to, what is sent of it, and what must stay secret."""

from __future__ import annotations

from typing import Any

import pytest

from adapters import ProviderConfig
from adapters.transport.endpoint import NO_KEY, Endpoint, endpoint_for

KEY = "wire-KEY-0123456789"


def config(**options: Any) -> ProviderConfig:
    """Settings of a server of one's own."""
    settings = {"name": "shop", "model": "m", "base_url": "http://localhost:1/v1", **options}
    return ProviderConfig.create("openai_compatible", **settings)


@pytest.mark.parametrize(
    ("options", "secrets"),
    [
        pytest.param({}, (), id="no key"),
        pytest.param({"api_key": KEY}, (KEY,), id="key"),
        pytest.param({"api_key": NO_KEY}, (), id="the word that stands for no key"),
        pytest.param({"headers": {"X-Token": "abcdefgh"}}, ("abcdefgh",), id="header"),
        pytest.param({"api_key": KEY, "headers": {"X-Token": "abcdefgh"}}, (KEY, "abcdefgh"), id="key and header"),
        pytest.param({"headers": {"X-Team": "voice"}}, (), id="a header too short for a secret"),
        pytest.param(
            {"headers": {"HTTP-Referer": "https://example.org", "x-title": "My agent"}}, (), id="who asks is no secret"
        ),
    ],
)
def test_secrets(options: dict[str, Any], secrets: tuple[str, ...]) -> None:
    """The key and every header that may hold one are secrets; who asks, and words that everybody knows, are not."""
    endpoint = endpoint_for(config(**options))

    assert endpoint.secrets == secrets
    assert not [secret for secret in secrets if secret in repr(endpoint)]


def test_what_is_sent() -> None:
    """Key and headers are sent as they were written, and a server that wants no key gets a word in its place."""
    with_both = endpoint_for(config(api_key=KEY, headers={"X-Team": "voice"}))

    assert (with_both.provider, with_both.model, with_both.prefix) == ("shop", "m", "openai/")
    assert with_both.all_headers == {"Authorization": f"Bearer {KEY}", "X-Team": "voice"}
    assert endpoint_for(config()).all_headers == {"Authorization": f"Bearer {NO_KEY}"}


def test_the_route_of_openrouter() -> None:
    """LiteLLM's route follows the kind of provider."""
    assert endpoint_for(ProviderConfig.create("openrouter", model="m", api_key=KEY)).prefix == "openrouter/"


def test_another_address() -> None:
    """A server that moved is the same provider elsewhere, and one that did not is the same value."""
    endpoint = Endpoint("shop", "m", base_url="http://localhost:1/v1", api_key=KEY)

    moved = endpoint.at("http://localhost:2/v1")

    assert (endpoint.address, moved.address) == ("localhost:1", "localhost:2")
    assert moved.api_key == KEY
    assert endpoint.at("http://localhost:1/v1") is endpoint
