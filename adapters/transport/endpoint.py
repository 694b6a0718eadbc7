"""Whom requests go to: the address, the key, the headers, and what of it must stay secret."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.config.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.config import ProviderConfig
    from adapters.types import Json

NO_KEY = "not-needed"
"""The key on the wire for servers that want none: LiteLLM and some servers refuse an empty one."""

_SHORTEST_SECRET_CHARS = 8  # a shorter header value ("CAAL") is no secret, and hiding it would garble sentences
_ATTRIBUTION = ("http-referer", "x-title")


class RedactedDict(dict[str, "Json"]):
    """Headers, or the body of a request: a ``dict`` that tracebacks with the values of variables do not show."""

    def __repr__(self) -> str:
        return f"<{len(self)} hidden>"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom a request goes to, and an error is about. Its ``repr`` holds no secret.

    Attributes:
        provider: The provider's name, as a person knows it.
        model: The model that is asked.
        prefix: LiteLLM's route, ``openai/`` or ``openrouter/``.
        base_url: The server; "" as long as an embedded one is not running.
        api_key: The key as it is sent.
        key_name: What a person checks if it is refused: the variable it was read from, or the setting.
        headers: The configured headers as they are sent.
        secrets: Values that no text may contain.
    """

    provider: str
    model: str
    prefix: str = "openai/"
    base_url: str = ""
    api_key: str = field(default=NO_KEY, repr=False)
    key_name: str = "api_key"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def all_headers(self) -> RedactedDict:
        """The headers of a request that goes past LiteLLM."""
        return RedactedDict({"Authorization": f"Bearer {self.api_key}", **self.headers})

    @property
    def address(self) -> str:
        """Host and port, as a person would check them."""
        return urlsplit(self.base_url).netloc

    def at(self, base_url: str) -> Endpoint:
        """The same provider at another address."""
        return self if base_url == self.base_url else replace(self, base_url=base_url)


def endpoint_for(config: ProviderConfig) -> Endpoint:
    """Describe a provider whose secrets are looked up."""
    key = config.api_key.get_secret_value() if config.api_key is not None else NO_KEY
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    secrets = [
        value
        for name, value in headers.items()
        if name.lower() not in _ATTRIBUTION and len(value) >= _SHORTEST_SECRET_CHARS
    ]
    return Endpoint(
        provider=config.name,
        model=config.model,
        prefix=KINDS[config.kind].prefix,
        base_url=config.base_url,
        api_key=key,
        key_name=config.key_name,
        headers=headers,
        secrets=tuple(secrets if key == NO_KEY else [key, *secrets]),
    )
