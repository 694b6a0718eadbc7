"""Language models for voice agents: one contract, every failure an honest error.

``create_provider`` makes a provider by kind, ``load_config`` reads a row of YAML for it, and
``create_provider_from_settings`` takes CAAL's settings. What they return is a ``LiteLLMProvider``, one form of the
contract ``LLMProvider``; ``FallbackProvider``, over several of them, is the other, and what a row with ``fallbacks``
becomes. Its answers are ``LLMResponse``, or a stream of ``TextDelta``, ``ToolCallDone`` and ``ResponseDone``; its
failures are ``AdapterError``. ``run_turn`` answers with the help of functions, and adds ``ToolResult`` and
``ToolsRunning`` to the stream: ``Tool`` says more of a function, ``ToolContext`` tells it more, and ``mcp_tools``
brings those of an MCP server.

Importing this loads nothing that is slow to load: what checks a configuration comes with the first name that needs it,
the HTTP client with the first provider, LiteLLM with ``prewarm`` or else the first request. ``adapters.doctor``,
``adapters.livekit``, ``adapters.models``, ``adapters.pipecat`` and ``adapters.testing`` have names of their own.
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
from adapters.types import (
    LLMResponse,
    ResponseDone,
    StreamEvent,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolCallDone,
    ToolResult,
    ToolsRunning,
)

if TYPE_CHECKING:
    from adapters.agent import run_turn
    from adapters.client.provider import LiteLLMProvider
    from adapters.config import ProviderConfig, load_config
    from adapters.factory import create_provider, create_provider_from_settings
    from adapters.fallback import FallbackProvider
    from adapters.provider import LLMProvider
    from adapters.tools.mcp import mcp_tools
    from adapters.tools.tool import Tool, ToolContext

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
    "Tool",
    "ToolCall",
    "ToolCallDone",
    "ToolContext",
    "ToolResult",
    "ToolsRunning",
    "create_provider",
    "create_provider_from_settings",
    "load_config",
    "mcp_tools",
    "run_turn",
]


# Who configures no logging gets none: Python would print our warnings to stderr, in the middle of a terminal's page.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if not TYPE_CHECKING:  # pragma: no branch - type checkers alone go past it, or they would believe in any name

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("caal-llm-adapters")
        if name == "LiteLLMProvider":
            from adapters.client.provider import LiteLLMProvider

            return LiteLLMProvider
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _load()
        return globals()[name]


def _load() -> None:
    """Load what needs pydantic; from then on Python finds the names by itself."""
    from adapters.agent import run_turn
    from adapters.config import ProviderConfig, load_config
    from adapters.factory import create_provider, create_provider_from_settings
    from adapters.fallback import FallbackProvider
    from adapters.provider import LLMProvider
    from adapters.tools.mcp import mcp_tools
    from adapters.tools.tool import Tool, ToolContext

    globals().update(
        ProviderConfig=ProviderConfig,
        load_config=load_config,
        create_provider=create_provider,
        create_provider_from_settings=create_provider_from_settings,
        FallbackProvider=FallbackProvider,
        LLMProvider=LLMProvider,
        Tool=Tool,
        ToolContext=ToolContext,
        mcp_tools=mcp_tools,
        run_turn=run_turn,
    )
