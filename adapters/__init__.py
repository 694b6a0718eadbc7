"""LLM providers for voice agents on top of LiteLLM: one contract, typed responses, typed errors.

``create_provider`` creates a provider by kind, ``load_config`` reads a provider entry from YAML, and
``create_provider_from_settings`` takes CAAL's settings. They return a ``LiteLLMProvider``, one implementation of the
contract ``LLMProvider``. The other one is ``FallbackProvider``, over several providers, which an entry with
``fallbacks`` becomes. A call returns an ``LLMResponse``, or a stream of ``TextDelta``, ``ToolCallDone`` and
``ResponseDone``; failures are subclasses of ``AdapterError``. ``run_turn`` answers with the help of tools, as a stream
of ``AgentEvent``: ``Tool`` overrides what is read from a function, ``ToolContext`` passes it context, ``mcp_tools``
lists the tools of an MCP server, and ``McpServers`` opens those of a configuration.

Importing this package loads nothing heavy: pydantic is loaded with the first name that needs it, the HTTP client with
the first provider, LiteLLM by ``prewarm`` or the first request. The modules ``adapters.doctor``, ``adapters.livekit``,
``adapters.models``, ``adapters.pipecat`` and ``adapters.testing`` are loaded when they are accessed.
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
    AgentEvent,
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
    from adapters.tools.mcp_servers import McpServers
    from adapters.tools.tool import Tool, ToolContext

    __version__: str

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AdapterError",
    "AgentEvent",
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
    "McpServers",
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


# Without it, in a program that configures no logging, Python prints warnings to stderr, in the middle of a terminal UI.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if not TYPE_CHECKING:  # pragma: no branch - always true at run time; type checkers would accept any name otherwise

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("caal-llm-adapters")
        if name == "LiteLLMProvider":
            from adapters.client.provider import LiteLLMProvider

            return LiteLLMProvider
        if name in __all__:
            _load_names()
        elif name in _MODULES:
            _load_module(name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]

    def __dir__() -> list[str]:
        private = {"TYPE_CHECKING", "annotations", "logging"}
        return sorted({*globals(), *__all__, *_MODULES, "__version__"} - private)


_MODULES = ("doctor", "livekit", "models", "pipecat", "testing")


def _load_module(name: str) -> None:
    """Import a public module, which makes it an attribute of the package.

    Raises:
        AttributeError: If the library that it needs is not installed. ``hasattr`` and ``inspect`` expect no other
            error; ``from adapters import …`` imports once more and raises the ``ImportError``.
    """
    try:
        if name == "doctor":
            import adapters.doctor
        elif name == "livekit":
            import adapters.livekit
        elif name == "models":
            import adapters.models
        elif name == "pipecat":
            import adapters.pipecat
        else:
            import adapters.testing  # noqa: F401 - the import itself sets the attribute
    except ImportError as error:
        raise AttributeError(str(error)) from error


def _load_names() -> None:
    """Import the names that need pydantic; from then on they are ordinary attributes."""
    from adapters.agent import run_turn
    from adapters.config import ProviderConfig, load_config
    from adapters.factory import create_provider, create_provider_from_settings
    from adapters.fallback import FallbackProvider
    from adapters.provider import LLMProvider
    from adapters.tools.mcp import mcp_tools
    from adapters.tools.mcp_servers import McpServers
    from adapters.tools.tool import Tool, ToolContext

    globals().update(
        ProviderConfig=ProviderConfig,
        load_config=load_config,
        create_provider=create_provider,
        create_provider_from_settings=create_provider_from_settings,
        FallbackProvider=FallbackProvider,
        LLMProvider=LLMProvider,
        McpServers=McpServers,
        Tool=Tool,
        ToolContext=ToolContext,
        mcp_tools=mcp_tools,
        run_turn=run_turn,
    )
