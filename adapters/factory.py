"""Makes providers: by kind, from a row of YAML, or from CAAL's settings.

What may be set is told by ``adapters.config``; what a provider does lives in ``adapters.client.provider``.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload

from adapters.config import KindName, ProviderConfig
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from adapters.client.provider import LiteLLMProvider
    from adapters.fallback import FallbackProvider
    from adapters.local import LocalServer
    from adapters.types import Json

_ProviderT = TypeVar("_ProviderT", bound="LiteLLMProvider")

_log = logging.getLogger(__name__)

# For each kind: option -> (CAAL's name for it, what CAAL takes if it is not set).
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

_CAAL = {"HTTP-Referer": "https://github.com/CoreWorxLab/CAAL", "X-Title": "CAAL"}  # as CAAL introduces itself there


@overload
def create_provider(provider_name: str, **options: Any) -> LiteLLMProvider: ...
@overload
def create_provider(provider_name: ProviderConfig, **options: Any) -> LiteLLMProvider | FallbackProvider: ...
def create_provider(provider_name: str | ProviderConfig, **options: Any) -> LiteLLMProvider | FallbackProvider:
    """Make a provider.

    Args:
        provider_name: ``openai_compatible``, ``openrouter``, ``groq``, ``ollama`` or ``local``, in any case; or a row
            of ``load_config``.
        **options: Fields of ``ProviderConfig``: ``model``, ``base_url``, ``api_key``, ``temperature`` … They replace
            those of a row.

    Returns:
        The provider; for a row with ``fallbacks`` a ``FallbackProvider`` of the row and all that are behind it. No
        request is made, and nothing is started, before it is first asked.

    Raises:
        ConfigError: If the name or an option is unknown, or something is missing; all problems, one a line.

    Example:
        >>> provider = create_provider("ollama", model="qwen3:8b", temperature=0.15)
    """
    if isinstance(provider_name, ProviderConfig):
        config = provider_name.with_options(**options)
    else:
        config = ProviderConfig.create(_kind_of(provider_name), **options)
    return with_fallbacks(config, _provider_of)


def with_fallbacks(
    config: ProviderConfig, make: Callable[[ProviderConfig], _ProviderT]
) -> _ProviderT | FallbackProvider:
    """Make the provider of a row, or a group of it and all that are behind it.

    Args:
        config: The row.
        make: Makes one provider, of a row whose secrets are looked up.

    Raises:
        ConfigError: If something is missing.
    """
    providers = [make(row) for row in _resolved(config.chain())]
    if len(providers) == 1:
        return providers[0]
    from adapters.fallback import FallbackProvider

    return FallbackProvider(
        providers,
        cooldown_s=config.cooldown_s,
        first_token_s=config.first_token_s,
        hedge_after_s=config.hedge_after_s,
    )


def _resolved(rows: Iterable[ProviderConfig]) -> list[ProviderConfig]:
    """Look up the secrets of several providers; what is missing is told of all of them at once."""
    resolved, problems = [], []
    for row in rows:
        try:
            resolved.append(row.resolved())
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return resolved


def _provider_of(config: ProviderConfig) -> LiteLLMProvider:
    from adapters.client.provider import LiteLLMProvider

    if config.kind == "ollama" and config.num_ctx is not None:
        _log.warning(
            "%s: num_ctx has no effect, because Ollama takes none at its OpenAI address."
            " Set OLLAMA_CONTEXT_LENGTH for the server, or num_ctx in the model's Modelfile.",
            config.name,
        )
    return LiteLLMProvider(config, server=server_of(config))


def create_provider_from_settings(settings: Mapping[str, Any]) -> LiteLLMProvider:
    """Make a provider from CAAL's settings.

    Args:
        settings: CAAL's dict: ``llm_provider`` (default ``ollama``) and for each provider its own keys, such as
            ``ollama_model``, ``ollama_host``, ``think``, ``num_ctx``, ``groq_model``, ``groq_api_key``,
            ``openai_model``, ``openai_base_url``, ``openai_api_key``, ``openrouter_model``, ``openrouter_api_key``,
            and for all ``temperature``. What is missing, None or empty has CAAL's default, keys come from
            ``GROQ_API_KEY``, ``OPENAI_API_KEY`` and ``OPENROUTER_API_KEY``; all other settings are left alone.

    Returns:
        The provider.

    Raises:
        ConfigError: If the provider is unknown, a required key is missing, or a value is of no use.
    """
    kind = _kind_of(_setting(settings, "llm_provider", "ollama"))
    options = {option: _setting(settings, key, default) for option, (key, default) in _SETTINGS[kind].items()}
    if kind == "openai_compatible" and options["api_key"] is None:
        # As CAAL does. create_provider does not: it would hand an OpenAI key to whatever server it is pointed at.
        options["api_key"] = os.environ.get("OPENAI_API_KEY")
    return create_provider(kind, headers=_CAAL if kind == "openrouter" else None, **options)


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
    """The server that a provider of kind ``local`` will start; None for any other kind."""
    if config.kind != "local":
        return None
    from adapters.local import LocalServer

    key = config.api_key.get_secret_value() if config.api_key else None
    if config.num_ctx is None:
        return LocalServer(config.model_path, api_key=key)
    return LocalServer(config.model_path, api_key=key, context_tokens=config.num_ctx)
