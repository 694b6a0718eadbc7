"""Create providers: by kind, from a provider entry of a YAML file, or from CAAL's settings.

``adapters.config`` defines the options, ``adapters.client.provider`` implements the provider.
"""

from __future__ import annotations

import functools
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

from adapters.config import KindName, ProviderConfig
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Unpack

    import typing_extensions

    from adapters.client.provider import LiteLLMProvider
    from adapters.config.options import ProviderOptions
    from adapters.fallback import FallbackProvider
    from adapters.local import LocalServer
    from adapters.provider import LLMProvider
    from adapters.types import Json

    _MadeT = typing_extensions.TypeVar("_MadeT", bound=LLMProvider, default=LiteLLMProvider)
else:
    _MadeT = TypeVar("_MadeT")

_MadeT_co = TypeVar("_MadeT_co", bound="LLMProvider", covariant=True)
_FunctionT = TypeVar("_FunctionT", bound="Callable[..., Any]")
_ProviderT = TypeVar("_ProviderT", bound="LiteLLMProvider")

_log = logging.getLogger(__name__)

# For each kind: option -> (CAAL's name for it, CAAL's default).
_SETTINGS: Mapping[str, Mapping[str, tuple[str, Any]]] = {
    "ollama": {
        "model": ("ollama_model", "qwen3:8b"),
        "base_url": ("ollama_host", None),
        "think": ("think", False),
        "num_ctx": ("num_ctx", None),
        "temperature": ("temperature", 0.15),
    },
    "groq": {
        "model": ("groq_model", "llama-3.3-70b-versatile"),
        "api_key": ("groq_api_key", None),
        "temperature": ("temperature", 0.15),
    },
    "openai_compatible": {
        "model": ("openai_model", "gpt-3.5-turbo"),
        "base_url": ("openai_base_url", "http://localhost:8000/v1"),
        "api_key": ("openai_api_key", None),
        "temperature": ("temperature", 0.7),
    },
    "openrouter": {
        "model": ("openrouter_model", "openai/gpt-4"),
        "api_key": ("openrouter_api_key", None),
        "temperature": ("temperature", 0.7),
    },
    "local": {"temperature": ("temperature", 0.7)},
}

_CAAL_HEADERS = {"HTTP-Referer": "https://github.com/CoreWorxLab/CAAL", "X-Title": "CAAL"}  # that CAAL sends itself


class _Entry(Protocol[_MadeT_co]):
    """A provider entry, from which type checkers read what ``create_provider`` returns for it.

    Overloads would do the same, but mypy then reports every mistake in a call as "no overload variant matches".
    """

    def _makes(self) -> _MadeT_co: ...


def _with_former_keyword(create: _FunctionT) -> _FunctionT:
    """Accept ``provider_name``, which was the name of ``kind``."""

    @functools.wraps(create)
    def create_with_former_keyword(*args: Any, **options: Any) -> object:
        if "provider_name" in options:
            warnings.warn("provider_name is now called kind", DeprecationWarning, stacklevel=2)
            options["kind"] = options.pop("provider_name")
        return create(*args, **options)

    return create_with_former_keyword  # type: ignore[return-value]  # the same signature, for type checkers


@_with_former_keyword
def create_provider(kind: KindName | _Entry[_MadeT], **options: Unpack[ProviderOptions]) -> _MadeT:
    """Create a provider.

    Args:
        kind: ``openai_compatible``, ``openrouter``, ``groq``, ``ollama``, ``local`` or ``litellm``, in any case; or a
            provider entry of ``load_config``.
        **options: Fields of ``ProviderConfig``: ``model``, ``base_url``, ``api_key``, ``temperature`` … They replace
            those of the entry.

    Returns:
        The provider; for an entry with ``fallbacks`` a ``FallbackProvider`` of the entry and all its fallbacks. No
        request is sent, and no server is started, before the first call. The MCP servers of the entry's file are its
        ``mcp_servers``.

    Raises:
        ConfigError: If the kind or an option is unknown, or something is missing; lists all problems, one per line.

    Example:
        >>> provider = create_provider("ollama", model="qwen3:8b", temperature=0.15)
    """
    if isinstance(kind, ProviderConfig):
        config = kind.with_options(**options)
    else:
        config = ProviderConfig.create(_kind_of(kind), **options)
    provider = with_fallbacks(config, _provider_of)
    if config.mcp_servers:
        from adapters.tools.mcp_servers import McpServers

        provider.mcp_servers = McpServers(config.mcp_servers)
    return provider  # type: ignore[return-value]  # _Entry promises it for both


def with_fallbacks(
    config: ProviderConfig, make: Callable[[ProviderConfig], _ProviderT]
) -> _ProviderT | FallbackProvider:
    """Create the provider of an entry, or a group of it and all its fallbacks.

    Args:
        config: The provider entry.
        make: Creates one provider from an entry whose secrets are resolved.

    Raises:
        ConfigError: If something is missing.
    """
    providers = [make(entry) for entry in _resolved(config.chain())]
    if len(providers) == 1:
        return providers[0]
    from adapters.fallback import FallbackProvider

    return FallbackProvider(
        providers,
        cooldown_s=config.cooldown_s,
        first_token_s=config.first_token_s,
        first_text_s=config.first_text_s,
        hedge_after_s=config.hedge_after_s,
    )


def _resolved(entries: Iterable[ProviderConfig]) -> list[ProviderConfig]:
    """Resolve the secrets of several entries; report all that are missing at once."""
    resolved, problems = [], []
    for entry in entries:
        try:
            resolved.append(entry.resolved())
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return resolved


def _provider_of(config: ProviderConfig) -> LiteLLMProvider:
    from adapters.client.provider import LiteLLMProvider

    for sentence in config.ineffective():
        _log.warning("%s", sentence)
    return LiteLLMProvider(config, server=server_of(config))


def create_provider_from_settings(settings: Mapping[str, Any]) -> LiteLLMProvider:
    """Create a provider from CAAL's settings.

    Args:
        settings: CAAL's dict: ``llm_provider`` (default ``ollama``) and for each provider its own keys, such as
            ``ollama_model``, ``ollama_host``, ``think``, ``num_ctx``, ``groq_model``, ``groq_api_key``,
            ``openai_model``, ``openai_base_url``, ``openai_api_key``, ``openrouter_model``, ``openrouter_api_key``,
            and for all ``temperature``. Settings that are missing, None or empty have CAAL's defaults; keys fall back
            to ``GROQ_API_KEY``, ``OPENAI_API_KEY`` and ``OPENROUTER_API_KEY``. All other settings are ignored.

    Returns:
        The provider.

    Raises:
        ConfigError: If the provider is unknown, a required key is missing, or a value is invalid.
    """
    kind = _kind_of(_setting(settings, "llm_provider", "ollama"))
    options = {option: _setting(settings, key, default) for option, (key, default) in _SETTINGS[kind].items()}
    if kind == "openai_compatible" and options["api_key"] is None:
        # Only here, as CAAL does it: create_provider must not send an OpenAI key to any server that it is pointed at.
        options["api_key"] = os.environ.get("OPENAI_API_KEY")
    if kind == "openrouter":
        options["headers"] = _CAAL_HEADERS
    return _provider_of(ProviderConfig.create(kind, **options).resolved())


def _setting(settings: Mapping[str, Json], key: str, default: Json) -> Json:
    value = settings.get(key)
    return default if value is None or (isinstance(value, str) and not value.strip()) else value


def _kind_of(name: object) -> str:
    kinds = get_args(KindName)
    kind = str(name).strip().lower()
    if kind not in kinds:
        raise ConfigError(f"Unknown LLM provider {name!r}. Supported providers: {', '.join(kinds)}.")
    return kind


def server_of(config: ProviderConfig) -> LocalServer | None:
    """Return the server that a provider of kind ``local`` will start; None for any other kind."""
    if config.kind != "local":
        return None
    from adapters.local import LocalServer

    key = config.api_key.get_secret_value() if config.api_key else None
    if config.num_ctx is None:
        return LocalServer(config.model_path, api_key=key)
    return LocalServer(config.model_path, api_key=key, context_tokens=config.num_ctx)
