"""Language models for voice agents: one contract, every failure an honest error.

``create_provider`` makes a provider by kind, ``load_config`` reads a row of YAML for it, and
``create_provider_from_settings`` takes CAAL's settings. What they return is a ``LiteLLMProvider``, one form of the
contract ``LLMProvider``; ``FallbackProvider`` is the other, over several of them. Its answers are ``LLMResponse``, or
a stream of ``TextDelta``, ``ToolCallDone`` and ``ResponseDone``; its failures are ``AdapterError``.

Importing this loads nothing that is slow to load: what checks a configuration comes with the first name that needs it,
the HTTP client with the first provider, LiteLLM with ``prewarm`` or else the first request. ``adapters.agent``,
``adapters.doctor``, ``adapters.livekit``, ``adapters.models`` and ``adapters.testing`` are imported by their own names.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from adapters.errors import (
    AdapterError,
    AllProvidersFailedError,
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContentFilterError,
    ContextWindowExceededError,
    IncompleteResponseError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
)
from adapters.types import LLMResponse, ResponseDone, StreamEvent, TextDelta, TokenUsage, ToolCall, ToolCallDone

if TYPE_CHECKING:
    from adapters.config import ProviderConfig, load_config
    from adapters.factory import create_provider, create_provider_from_settings
    from adapters.fallback import FallbackProvider
    from adapters.litellm_provider import LiteLLMProvider
    from adapters.provider import LLMProvider

    __version__: str

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AdapterError",
    "AllProvidersFailedError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigError",
    "ContentFilterError",
    "ContextWindowExceededError",
    "FallbackProvider",
    "IncompleteResponseError",
    "InternalServerError",
    "LLMProvider",
    "LLMResponse",
    "LiteLLMProvider",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProviderConfig",
    "RateLimitError",
    "ResponseDone",
    "StreamEvent",
    "TextDelta",
    "TokenUsage",
    "ToolCall",
    "ToolCallDone",
    "create_provider",
    "create_provider_from_settings",
    "load_config",
]


# Who configures no logging gets none: Python would print our warnings to stderr, in the middle of a terminal's page.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if not TYPE_CHECKING:  # pragma: no branch - type checkers alone go past it, or they would believe in any name

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("caal-llm-adapters")
        if name == "LiteLLMProvider":
            from adapters.litellm_provider import LiteLLMProvider

            return LiteLLMProvider
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _load()
        return globals()[name]


def _load() -> None:
    """Load what needs pydantic; from then on Python finds the names by itself."""
    from adapters.config import ProviderConfig, load_config
    from adapters.factory import create_provider, create_provider_from_settings
    from adapters.fallback import FallbackProvider
    from adapters.provider import LLMProvider

    globals().update(
        ProviderConfig=ProviderConfig,
        load_config=load_config,
        create_provider=create_provider,
        create_provider_from_settings=create_provider_from_settings,
        FallbackProvider=FallbackProvider,
        LLMProvider=LLMProvider,
    )
