"""Where requests go: the address, the key, the headers, and which values must stay secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from adapters.config.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.config import ProviderConfig
    from adapters.types import Json

NO_KEY = "not-needed"
"""The key that is sent if none is configured: LiteLLM and some servers refuse an empty one."""

_SHORTEST_SECRET_CHARS = 8  # a shorter header value ("CAAL") is no secret, and hiding it would garble sentences
_ATTRIBUTION = ("http-referer", "x-title")
_CREDENTIAL = re.compile(r"(?:key|token|auth|authorization|secret|password|signature|sig|code|cookie)\Z", re.IGNORECASE)
"""Names of headers and query parameters whose value gives access."""


_AZURE_ARGUMENTS = frozenset({"api_version", "azure_ad_token"})
_AZURE_API_VERSION = "2024-10-21"
"""The latest version of the API with the deployment in the address; later versions have the address ``/openai/v1``."""


class RedactedDict(dict[str, "Json"]):
    """Headers, or the body of a request: a ``dict`` that tracebacks with the values of variables do not show."""

    def __repr__(self) -> str:
        return f"<{len(self)} hidden>"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The target of a request, and the subject of an error. Its ``repr`` holds no secret.

    Attributes:
        provider: The provider's name, for errors.
        model: The model that is asked for.
        prefix: LiteLLM's route, ``openai/`` or ``openrouter/``; "" if the model names it.
        base_url: The server; "" while an embedded one does not run, and where LiteLLM's route knows it.
        api_key: The key as it is sent.
        key_name: What to check if the key is refused: the variable it was read from, or the setting.
        headers: The configured headers.
        query: The configured query, encoded; "" if there is none.
        key_header: Header that carries the key itself; "" for ``Authorization: Bearer``.
        secrets: Values that no text may contain.
        route: LiteLLM's route: ``prefix``, or the first part of a model that names its own.
    """

    provider: str
    model: str
    prefix: str = "openai/"
    base_url: str = ""
    api_key: str = field(default=NO_KEY, repr=False)
    key_name: str = "api_key"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: str = field(default="", repr=False)
    key_header: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    route: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive the route once; each request asks for it."""
        object.__setattr__(self, "route", self.prefix or f"{self.model.partition('/')[0]}/")

    @property
    def all_headers(self) -> RedactedDict:
        """The headers of a request that is sent without LiteLLM."""
        return self.headers_over({"Authorization": f"Bearer {self.api_key}"})

    @property
    def address(self) -> str:
        """Host and port, for errors."""
        return urlsplit(self.base_url).netloc

    def at(self, base_url: str) -> Endpoint:
        """Return the same provider at another address."""
        return self if base_url == self.base_url else replace(self, base_url=base_url)

    def with_secrets_of(self, headers: Mapping[str, str]) -> Endpoint:
        """Return the same provider with the headers of one request among the secrets."""
        return replace(self, secrets=(*self.secrets, *_secret_values(headers.items())))

    def with_key(self, api_key: str, former: Iterable[str]) -> Endpoint:
        """Return the same provider with a new key; former keys stay secret."""
        return replace(self, api_key=api_key, secrets=tuple(dict.fromkeys((api_key, *former, *self.secrets))))

    def with_query(self, url: str) -> str:
        """Add the configured query to a URL below ``base_url``."""
        return f"{url}{'&' if '?' in url else '?'}{self.query}" if self.query else url

    def headers_over(self, written: Mapping[str, str], extra: Mapping[str, str] | None = None) -> RedactedDict:
        """Merge the headers of one request; names that differ only in case are one header.

        A provider without a key whose other headers hold a credential gets no ``Authorization`` beside it: gateways
        refuse a placeholder there.

        Args:
            written: The headers that go with every request, such as the key.
            extra: The headers of this request alone, which override the configured ones, which override ``written``.
        """
        merged: dict[str, tuple[str, str]] = {}
        for headers in (written, self.headers, extra or {}):
            for name, value in headers.items():
                merged[name.lower()] = name, value
        if self.key_header and merged.get("authorization", ("", ""))[1] == f"Bearer {self.api_key}":
            del merged["authorization"]
            merged.setdefault(self.key_header, (self.key_header, self.api_key))
        placeholder = merged.get("authorization", ("", ""))[1] == f"Bearer {NO_KEY}"
        if placeholder and any(_CREDENTIAL.search(name) for name in merged if name != "authorization"):
            del merged["authorization"]
        return RedactedDict(merged.values())


def endpoint_for(config: ProviderConfig) -> Endpoint:
    """Describe a provider whose secrets are looked up."""
    key = config.api_key.get_secret_value() if config.api_key is not None else NO_KEY
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    query = {name: value.get_secret_value() for name, value in config.extra_query.items()}
    in_query = [(name, text) for name, text in query.items() if _CREDENTIAL.search(name)]
    arguments = [(name, text) for name, text in config.litellm.items() if isinstance(text, str)]
    credentials = [(name, text) for name, text in arguments if _CREDENTIAL.search(name)]
    secrets = _secret_values([*headers.items(), *in_query, *credentials])
    endpoint = Endpoint(
        provider=config.name,
        model=config.model,
        prefix=KINDS[config.kind].prefix,
        base_url=config.base_url,
        api_key=key,
        key_name=config.key_name,
        headers=headers,
        query=urlencode(query, quote_via=quote),
        secrets=tuple(secrets if key == NO_KEY else [key, *secrets]),
    )
    if endpoint.route == "azure/" and config.base_url and config.litellm.keys() <= _AZURE_ARGUMENTS:
        return _azure_endpoint(endpoint, config.litellm)
    return endpoint


def _azure_endpoint(endpoint: Endpoint, arguments: Mapping[str, Json]) -> Endpoint:
    """Return the address of a deployment of Azure OpenAI, where requests are ordinary chat completions.

    LiteLLM's route would send them through the SDK's client for Azure, which takes no other client's place.
    """
    deployment = endpoint.model.partition("/")[2]
    base_url, query, token = endpoint.base_url, endpoint.query, arguments.get("azure_ad_token")
    if not base_url.endswith("/openai/v1"):
        base_url = f"{base_url.removesuffix('/openai')}/openai/deployments/{quote(deployment, safe='')}"
        if "api-version=" not in query:
            version = urlencode({"api-version": arguments.get("api_version") or _AZURE_API_VERSION})
            query = f"{query}&{version}" if query else version
    return replace(
        endpoint,
        model=deployment,
        prefix="openai/",
        base_url=base_url,
        api_key=token or endpoint.api_key,
        query=query,
        key_header="" if token or endpoint.api_key == NO_KEY else "api-key",
    )


def _secret_values(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [text for name, text in pairs if name.lower() not in _ATTRIBUTION and len(text) >= _SHORTEST_SECRET_CHARS]
