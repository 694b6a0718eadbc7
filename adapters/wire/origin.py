"""Whom a request goes to and what of it must stay secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.config import ProviderConfig

NO_KEY = "not-needed"
"""The key on the wire for servers that want none: LiteLLM and some servers refuse an empty one."""

_SHORTEST_SECRET_CHARS = 8  # a shorter header value ("CAAL") is no secret, and hiding it would garble sentences
_ATTRIBUTION = ("http-referer", "x-title")


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom an error is about.

    Attributes:
        provider: The provider's name, as a person knows it.
        model: The model that was asked.
        secrets: Values that no text may contain.
    """

    provider: str
    model: str
    secrets: tuple[str, ...] = ()


def origin_of(config: ProviderConfig) -> Origin:
    """Describe a provider to the errors that it may cause."""
    secrets = [
        value
        for name, value in headers_of(config).items()
        if name.lower() not in _ATTRIBUTION and len(value) >= _SHORTEST_SECRET_CHARS
    ]
    key = key_of(config)
    return Origin(config.name, config.model, tuple(secrets if key == NO_KEY else [key, *secrets]))


def key_of(config: ProviderConfig) -> str:
    """The key as it is sent."""
    return config.api_key.get_secret_value() if config.api_key is not None else NO_KEY


def headers_of(config: ProviderConfig) -> dict[str, str]:
    """The configured headers as they are sent."""
    return {name: value.get_secret_value() for name, value in config.headers.items()}
