"""``transport.endpoint``: the address, key and headers of a request, and which values are secret."""

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
        pytest.param({"headers": {"HTTP-Referer": "https://example.org", "x-title": "My agent"}}, (), id="attribution"),
        pytest.param({"extra_query": {"api-version": "2024-10-21", "key": "abcdefgh"}}, ("abcdefgh",), id="query"),
    ],
)
def test_secrets(options: dict[str, Any], secrets: tuple[str, ...]) -> None:
    """The key and the values that may be one are secrets; attribution, versions and short words are not."""
    endpoint = endpoint_for(config(**options))

    assert endpoint.secrets == secrets
    assert not [secret for secret in secrets if secret in repr(endpoint)]


def test_headers_without_litellm() -> None:
    """Key and headers are sent as they were written; without a key a placeholder is sent."""
    with_both = endpoint_for(config(api_key=KEY, headers={"X-Team": "voice"}))

    assert (with_both.provider, with_both.model, with_both.prefix) == ("shop", "m", "openai/")
    assert with_both.all_headers == {"Authorization": f"Bearer {KEY}", "X-Team": "voice"}
    assert endpoint_for(config()).all_headers == {"Authorization": f"Bearer {NO_KEY}"}


@pytest.mark.parametrize(
    ("options", "base_url", "headers"),
    [
        pytest.param(
            {"base_url": "https://shop.openai.azure.com/", "api_key": KEY},
            "https://shop.openai.azure.com/openai/deployments/my%20m/chat/completions?api-version=2024-10-21",
            {"api-key": KEY},
            id="key",
        ),
        pytest.param(
            {
                "base_url": "https://shop.openai.azure.com/openai",
                "litellm": {"azure_ad_token": KEY, "api_version": "2025-01-01-preview"},
                "extra_query": {"team": "v"},
            },
            "https://shop.openai.azure.com/openai/deployments/my%20m/chat/completions?team=v&api-version=2025-01-01-preview",
            {"Authorization": f"Bearer {KEY}"},
            id="token, version and query",
        ),
        pytest.param(
            {
                "base_url": "https://gateway.example/azure",
                "extra_query": {"api-version": "1"},
                "headers": {"Authorization": "Basic x"},
                "api_key": KEY,
            },
            "https://gateway.example/azure/openai/deployments/my%20m/chat/completions?api-version=1",
            {"Authorization": "Basic x"},
            id="gateway with credentials of its own",
        ),
        pytest.param(
            {"base_url": "https://shop.openai.azure.com/openai/v1", "api_key": KEY},
            "https://shop.openai.azure.com/openai/v1/chat/completions",
            {"api-key": KEY},
            id="newer address",
        ),
    ],
)
def test_azure(options: dict[str, Any], base_url: str, headers: dict[str, str]) -> None:
    """A deployment of Azure is a server of chat completions, with the version in the query and the key in a header."""
    made = endpoint_for(ProviderConfig.create("litellm", model="azure/my m", **options))

    assert made.with_query(f"{made.base_url}/chat/completions") == base_url
    assert made.all_headers == headers
    assert (made.model, made.route) == ("my m", "openai/")


def test_azure_with_other_credentials() -> None:
    """Credentials that LiteLLM must exchange for a token leave the route to LiteLLM."""
    options: dict[str, Any] = {"base_url": "https://shop.openai.azure.com", "litellm": {"tenant_id": "t"}}

    assert endpoint_for(ProviderConfig.create("litellm", model="azure/m", **options)).route == "azure/"


@pytest.mark.parametrize(
    ("options", "extra", "headers"),
    [
        pytest.param({"headers": {"api-key": KEY}}, {}, {"api-key": KEY}, id="Azure"),
        pytest.param(
            {"headers": {"Ocp-Apim-Subscription-Key": KEY, "X-Team": "v"}},
            {},
            {"Ocp-Apim-Subscription-Key": KEY, "X-Team": "v"},
            id="Azure API Management",
        ),
        pytest.param({"headers": {"cf-aig-authorization": KEY}}, {}, {"cf-aig-authorization": KEY}, id="Cloudflare"),
        pytest.param({}, {"x-api-key": KEY}, {"x-api-key": KEY}, id="of one request"),
        pytest.param(
            {"api_key": "k", "headers": {"api-key": KEY}},
            {},
            {"Authorization": "Bearer k", "api-key": KEY},
            id="beside a key",
        ),
        pytest.param({"headers": {"X-Team": "v"}}, {}, {"Authorization": f"Bearer {NO_KEY}", "X-Team": "v"}, id="none"),
        pytest.param(
            {"headers": {"authorization": "Basic x", "api-key": KEY}},
            {},
            {"authorization": "Basic x", "api-key": KEY},
            id="configured, beside another",
        ),
        pytest.param(
            {"api_key": "k", "headers": {"authorization": "Basic x", "X-Team": "a"}},
            {"AUTHORIZATION": "Basic y", "x-team": "b"},
            {"AUTHORIZATION": "Basic y", "x-team": "b"},
            id="a request overrides the configuration, which overrides the key",
        ),
    ],
)
def test_merged_headers(options: dict[str, Any], extra: dict[str, str], headers: dict[str, str]) -> None:
    """One name is one header in whatever case, the most specific wins, and a credential replaces the placeholder."""
    endpoint = endpoint_for(config(**options))

    assert endpoint.headers_over({"Authorization": f"Bearer {endpoint.api_key}"}, extra) == headers


@pytest.mark.parametrize(
    ("query", "path", "url"),
    [
        pytest.param({}, "/models?limit=1", "/models?limit=1", id="none"),
        pytest.param({"a": "1 2", "b": "&"}, "/models", "/models?a=1%202&b=%26", id="encoded"),
        pytest.param({"a": "1"}, "/models?limit=1", "/models?limit=1&a=1", id="beside another"),
    ],
)
def test_query(query: dict[str, str], path: str, url: str) -> None:
    """The configured query is added to each path."""
    assert endpoint_for(config(extra_query=query)).with_query(path) == url


def test_secrets_of_one_request() -> None:
    """The headers of one request are secrets of that request alone."""
    endpoint = endpoint_for(config(api_key=KEY))

    assert endpoint.with_secrets_of({"X-Session": "abcdefgh", "X-Room": "1"}).secrets == (KEY, "abcdefgh")
    assert endpoint.secrets == (KEY,)


def test_the_route_of_openrouter() -> None:
    """LiteLLM's route follows the kind of provider."""
    assert endpoint_for(ProviderConfig.create("openrouter", model="m", api_key=KEY)).prefix == "openrouter/"


def test_another_address() -> None:
    """A server that moved keeps everything but its address; one that did not move is the same value."""
    endpoint = Endpoint("shop", "m", base_url="http://localhost:1/v1", api_key=KEY)

    moved = endpoint.at("http://localhost:2/v1")

    assert (endpoint.address, moved.address) == ("localhost:1", "localhost:2")
    assert moved.api_key == KEY
    assert endpoint.at("http://localhost:1/v1") is endpoint
