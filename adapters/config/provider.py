"""The settings of one provider: defaults, and validation that involves more than one value.

``adapters.config.values`` validates single values; ``adapters.config.file`` reads several providers from a file.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adapters.client.provider import LiteLLMProvider
    from adapters.config.mcp import McpServerConfig
    from adapters.fallback import FallbackProvider
    from adapters.types import Json

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from adapters.config.kinds import KINDS, Kind, KindName, clean_base_url, is_nearby, split_query
from adapters.config.problems import KeyPath, Problem, Source, read_problems
from adapters.config.sections import (
    Effort,
    LimitConfig,
    ReasoningConfig,
    RetryConfig,
    RoutingConfig,
    Section,
    TimeoutConfig,
    TLSConfig,
)
from adapters.config.values import (
    ExtraBody,
    Headers,
    HedgeAfter,
    LiteLLMArguments,
    Query,
    Seconds,
    Secret,
    Texts,
    UserPath,
    file_of,
    is_reference,
    look_up_all,
    no_shell_variable,
    read_key_file,
    variable_of,
)
from adapters.errors import ConfigError

_SECTIONS: dict[str, type[Section]] = {
    "retry": RetryConfig,
    "timeouts": TimeoutConfig,
    "limits": LimitConfig,
    "tls": TLSConfig,
    "routing": RoutingConfig,
    "reasoning": ReasoningConfig,
}
_ONLY_FOR = {
    "num_ctx": ("ollama", "local"),
    "model_path": ("local",),
    "models": ("openrouter",),
    "routing": ("openrouter",),
    "reasoning": ("openrouter",),
    "litellm": ("litellm",),
    "cache_control": ("openai_compatible", "openrouter", "litellm"),
}
_CLOUD_SUFFIXES = ("-cloud", ":cloud")  # models that Ollama forwards to its own service
_KIND_AS_OPTION = Problem(("kind",), "is not an option; it is the first argument when the provider is created")
_NONE_IS_DEFAULT = {
    *("name", "model", "base_url", "headers", "extra_query", "extra_body", "litellm", "retry", "timeouts", "limits"),
    *("fallbacks", "cooldown_s", "on_long_thinking"),
}
WITH_FALLBACKS = ("first_token_s", "first_text_s", "hedge_after_s", "cooldown_s")


class ProviderConfig(Section):
    """The settings of one provider.

    ``load_config`` and ``create_provider`` create it, and report mistakes as ``ConfigError``.
    """

    kind: KindName = Field(description="The kind of server.")
    name: str = Field(default="", description="Name in errors and logs: the key of the entry, or else the kind.")
    model: str = Field(default="", description="The model, as the server names it.")
    base_url: str = Field(default="", description="Address of the server, up to and with /v1.")
    api_key: Secret | None = Field(
        default=None,
        description="Write os.environ/NAME or file:///run/secrets/NAME to read it from a variable or a file.",
    )
    temperature: float | None = Field(default=0.7, ge=0, le=2, description="null: not sent.")
    max_tokens: int | None = Field(
        default=4096, ge=1, description="Maximum length of an answer in tokens; null: not sent."
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="Nucleus sampling: the most likely tokens up to this probability."
    )
    stop: Texts | None = Field(default=None, description="Stop sequences, before which an answer ends.")
    seed: int | None = Field(default=None, description="With the same seed, most servers repeat the same answer.")
    reasoning_effort: Effort | None = Field(default=None, description="How much a reasoning model reasons.")
    headers: Headers = Field(default_factory=dict, description="Sent with each request.")
    extra_query: Query = Field(
        default_factory=dict, description="Query parameters, added to the address of each request."
    )
    extra_body: ExtraBody = Field(default_factory=dict, description="Fields added to the body of each request.")
    retry: RetryConfig = Field(default_factory=RetryConfig)
    timeouts: TimeoutConfig = Field(default_factory=TimeoutConfig)
    limits: LimitConfig = Field(default_factory=LimitConfig)
    tls: TLSConfig | None = Field(
        default=None, description="Certificates. Those that are not set come from the environment."
    )
    prewarm: bool = Field(default=False, description="Start loading in the background when the provider is created.")
    prefill: bool | None = Field(
        default=None, description="Prefill prompts without being asked; null: only if the server is local."
    )
    cache_control: Literal["auto"] | None = Field(
        default=None,
        description="auto: mark what the service is to cache (kinds openai_compatible, openrouter, litellm).",
    )
    keep_warm_s: Seconds | None = Field(
        default=None, description="Repeat the latest prefill after this time without a request."
    )
    think: bool | None = Field(default=None, description="Turn reasoning on or off; null: the model decides.")
    on_long_thinking: Literal["fail", "answer"] = Field(
        default="fail",
        description="answer: if the model still reasons at first_text_s, ask it once more with thinking off.",
    )
    max_concurrent: int | None = Field(
        default=None, ge=1, description="Concurrent requests; further ones wait in order, within their time limits."
    )
    num_ctx: int | None = Field(
        default=None,
        ge=1,
        description="Context window in tokens (kind local). Ollama ignores it at /v1: set OLLAMA_CONTEXT_LENGTH.",
    )
    model_path: UserPath = Field(
        default=None, description="GGUF file (kind local); without it, the scripted demo runs."
    )
    models: list[str] | None = Field(
        default=None, description="Models that OpenRouter tries in turn if the first fails (kind openrouter)."
    )
    routing: RoutingConfig | None = Field(
        default=None, description="Which providers OpenRouter may choose (kind openrouter)."
    )
    reasoning: ReasoningConfig | None = Field(default=None, description="Reasoning of the model (kind openrouter).")
    litellm: LiteLLMArguments = Field(
        default_factory=dict, repr=False, description="Arguments of LiteLLM, such as aws_region_name (kind litellm)."
    )

    fallbacks: list[str] = Field(
        default_factory=list, description="Providers to try, in this order, if this one fails."
    )
    first_token_s: Seconds | None = Field(
        default=None, description="With fallbacks: time to first token, after which the next provider is tried."
    )
    first_text_s: Seconds | None = Field(
        default=None,
        description="With fallbacks: time to the first text or tool call, after which the next provider is tried.",
    )
    hedge_after_s: HedgeAfter = Field(
        default=None,
        description="With fallbacks: time without a token after which a second request is sent to the next one.",
    )
    cooldown_s: float = Field(
        default=30.0, ge=0, description="With fallbacks: how long a failed provider is tried last."
    )

    _source: Source = PrivateAttr()
    _key_variable: str = PrivateAttr(default="")
    _key_file: Path | None = PrivateAttr(default=None)
    _others: tuple[ProviderConfig, ...] = PrivateAttr(default=())
    _mcp_servers: Mapping[str, McpServerConfig] = PrivateAttr(default_factory=dict)

    if TYPE_CHECKING:

        def _makes(self) -> LiteLLMProvider | FallbackProvider:
            """Declare for type checkers what ``create_provider`` returns for an entry."""
            raise NotImplementedError

    def model_post_init(self, context: Source | None, /) -> None:
        """Store the source of the settings, which is the context of the validation."""
        source = context or Source(self.name)
        self._source = replace(source, above=("providers", self.name)) if source.lines and not source.above else source

    @property
    def key_name(self) -> str:
        """What to correct if the key is rejected: the file or variable that it was read from, or the setting."""
        return str(self._key_file or self._key_variable or "api_key")

    @property
    def key_file(self) -> Path | None:
        """The file from which the key was read, or None; set by ``resolved``."""
        return self._key_file

    @property
    def is_local(self) -> bool:
        """Whether a prompt costs nothing there but the time of the user's own machine, as far as the address shows.

        A proxy on a private address may forward to a paid service; ``prefill: false`` is for those.
        """
        if self.kind == "ollama" and self.model.endswith(_CLOUD_SUFFIXES):
            return False
        host = urlsplit(self.base_url).hostname
        return self.kind == "local" or (host is not None and is_nearby(host))

    @classmethod
    def create(cls, kind: str, /, **options: Any) -> Self:
        """Create the settings of one provider.

        Args:
            kind: The kind of server.
            **options: The other fields. None is the default where it has no other meaning.

        Raises:
            ConfigError: If options are unknown, missing or invalid; lists all problems, one per line.
        """
        source = Source(str(options.get("name") or kind))
        if "kind" in options:
            raise source.error([_KIND_AS_OPTION])
        return cls._checked({**options, "kind": kind}, source, source)

    def with_options(self, **options: Any) -> Self:
        """Return a copy with some fields replaced.

        Args:
            **options: The fields to replace, except ``kind``. ``retry``, ``timeouts``, ``limits`` and ``tls`` may be
                dicts of the values that change.

        Raises:
            ConfigError: As ``create``.
        """
        if "kind" in options:
            raise Source(self.name).error([_KIND_AS_OPTION])
        return self._changed(options, Source(self.name))

    def resolved(self) -> Self:
        """Return a copy with the value of the variable in place of each ``os.environ/NAME``, and the key of a file.

        Raises:
            ConfigError: If a variable is not set or its value is invalid, or a required key is missing.
        """
        names = ("model", "base_url", "api_key", "model_path", "headers", "extra_query", "litellm")
        values = {name: getattr(self, name) for name in names} | {"tls": dict(self.tls or {})}
        found, problems = look_up_all(values)
        if problems:
            raise self._source.error(problems)
        resolved = self._changed(found, self._source)
        key_from, variable = self._key_variable or variable_of(self.api_key), KINDS[self.kind].key_variable
        if variable and not resolved.api_key:
            key_from = variable
            resolved = self._changed(found | {"api_key": os.environ.get(variable)}, self._source)
        if variable and not resolved.api_key:
            raise self._no_key(variable)
        resolved._key_variable = key_from  # noqa: SLF001 - it is of this class
        return resolved._with_key_of_file()  # noqa: SLF001 - as above

    def _with_key_of_file(self) -> Self:
        """Return a copy with the key in the file that ``api_key`` names, if it names one."""
        if (path := file_of(self.api_key)) is None:
            return self
        try:
            key = read_key_file(path)
        except ValueError as error:
            problem = Problem(("api_key",), f"names a file that {error}; correct the path or the file")
            raise self._source.error([problem]) from None
        copy = self.model_copy(update={"api_key": SecretStr(key)})
        copy._key_file = path  # noqa: SLF001 - it is of this class
        return copy

    def ineffective(self) -> list[str]:
        """Return a sentence for each setting that has no effect with this kind of server."""
        if self.kind != "ollama" or self.num_ctx is None:
            return []
        sentence = (
            f"{self.name}: num_ctx has no effect, because Ollama's OpenAI-compatible API ignores it. Set"
            f" OLLAMA_CONTEXT_LENGTH={self.num_ctx} on the server, or use kind: litellm with model:"
            f" ollama_chat/{self.model} and litellm: {{num_ctx: {self.num_ctx}}}."
        )
        return [sentence]

    def chain(self) -> list[ProviderConfig]:
        """Return this provider and its fallbacks, each followed by its own fallbacks, and each once.

        Raises:
            ConfigError: If a fallback is unknown: only ``load_config`` and ``Config`` know several providers.
        """
        found: dict[str, ProviderConfig] = {}
        self._add_chain(found)
        return list(found.values())

    def _add_chain(self, found: dict[str, ProviderConfig]) -> None:
        if len(self._others) < len(self.fallbacks):
            text = "names providers of a file that was not loaded; use load_config, or a FallbackProvider"
            raise self._source.error([Problem(("fallbacks",), text)])
        found[self.name] = self
        for other in self._others:
            if other.name not in found:
                other._add_chain(found)  # noqa: SLF001 - of the same class

    @property
    def mcp_servers(self) -> Mapping[str, McpServerConfig]:
        """The MCP servers of the same file, by name."""
        return self._mcp_servers

    def with_others(
        self, entries: Mapping[str, ProviderConfig], mcp_servers: Mapping[str, McpServerConfig] | None = None
    ) -> None:
        """Store the providers that ``fallbacks`` names; ``chain`` reports those that are missing.

        Args:
            entries: The providers of the same file.
            mcp_servers: The MCP servers of the same file.
        """
        self._mcp_servers = mcp_servers or {}
        self._others = tuple(entries[name] for name in self.fallbacks if name in entries)

    def _no_key(self, variable: str) -> ConfigError:
        text = f"{self.name} needs an API key. Set api_key, or {variable}."
        if not self._source.lines:
            return ConfigError(text)
        return self._source.error([Problem(("api_key",), f"is missing: {text}")])

    def _changed(self, options: dict[str, Any], blamed: Source) -> Self:
        """Return a copy with other values; errors in them name ``blamed`` as their source."""
        options = _without_empty(options)
        fields = {**dict(self), **options}
        for name in _SECTIONS:
            if isinstance(options.get(name), dict):
                former: Section | None = getattr(self, name)
                fields[name] = (former.model_dump() if former else {}) | options[name]
        changed = self._checked(fields, self._source, blamed)
        changed.with_others({entry.name: entry for entry in self._others}, self._mcp_servers)
        if "api_key" not in options:
            changed._key_file, changed._key_variable = self._key_file, self._key_variable  # noqa: SLF001 - of this class
        # An address is normalized once: a second time, one whose pasted endpoint was removed would get /v1.
        return changed if "base_url" in options else changed.model_copy(update={"base_url": self.base_url})

    @classmethod
    def _checked(cls, fields: dict[str, Any], source: Source, blamed: Source) -> Self:
        try:
            return cls.model_validate(fields, context=source)
        except ValidationError as error:
            raise blamed.error(read_problems(error, keys_beside)) from None  # pydantic's error contains all values

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, fields: Json) -> Json:
        """Drop unset fields, and move the query of ``base_url`` to ``extra_query``, where its values are hidden."""
        if not isinstance(fields, dict):
            return fields
        fields = _without_empty(fields)
        base_url, extra = fields.get("base_url"), fields.get("extra_query", {})
        if isinstance(base_url, str) and "?" in base_url and not is_reference(base_url) and isinstance(extra, dict):
            fields["base_url"], query = split_query(base_url)
            fields["extra_query"] = query | extra
        return fields

    @field_validator("name")
    @classmethod
    def _name_it(cls, name: str, info: ValidationInfo) -> str:
        return name.strip() or str(info.data.get("kind", ""))

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str, info: ValidationInfo) -> str:
        kind = _kind_of(info)
        no_shell_variable(model)
        if kind and not (model.strip() or kind.model):
            raise ValueError("is missing; add the model's name, as the server knows it")
        return model.strip() or (kind.model if kind else "")

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, base_url: str, info: ValidationInfo) -> str:
        kind = _kind_of(info)
        no_shell_variable(base_url)
        if kind is None or is_reference(base_url):
            return base_url.strip()
        return clean_base_url(base_url, kind)

    @field_validator("api_key")
    @classmethod
    def _drop_empty_key(cls, api_key: SecretStr | None) -> SecretStr | None:
        file_of(api_key)  # raises if it is not a file of this machine
        return api_key or None

    @field_validator("headers")
    @classmethod
    def _add_headers(cls, headers: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        """Add the headers of the kind that are not set."""
        kind = _kind_of(info)
        own = {name.lower() for name in headers}
        defaults = {name: SecretStr(text) for name, text in kind.headers.items()} if kind else {}
        return {name: value for name, value in defaults.items() if name.lower() not in own} | headers

    @field_validator("tls")
    @classmethod
    def _check_tls(cls, tls: TLSConfig | None, info: ValidationInfo) -> TLSConfig | None:
        base_url = info.data.get("base_url", "https:")
        if tls is not None and not base_url.startswith("https:") and not is_reference(base_url):
            raise ValueError("is for https:// only; correct base_url, or remove it")
        return tls

    @field_validator(*_ONLY_FOR)
    @classmethod
    def _check_use(cls, value: Json, info: ValidationInfo) -> Json:
        kinds = _ONLY_FOR[str(info.field_name)]
        if value is not None and value != {} and info.data.get("kind", kinds[0]) not in kinds:
            raise ValueError(f"is for kind {' or '.join(kinds)} only; remove it")
        return value

    @field_validator(*WITH_FALLBACKS)
    @classmethod
    def _check_company(cls, value: Json, info: ValidationInfo) -> Json:
        default = cls.model_fields[str(info.field_name)].default
        if value != default and not info.data.get("fallbacks", True):
            alone = info.field_name in ("first_token_s", "first_text_s")
            hint = f"set timeouts.{info.field_name}" if alone else "remove it"
            raise ValueError(f"is for providers with fallbacks; add fallbacks, or {hint}")
        return value


def keys_beside(path: KeyPath) -> list[str]:
    """Return the valid keys at the place of the last key of a path inside a provider entry."""
    model = _SECTIONS[path[0]] if len(path) > 1 else ProviderConfig
    return list(model.model_fields)


def _kind_of(info: ValidationInfo) -> Kind | None:
    """Return the kind, or None if it is invalid, which is reported elsewhere."""
    return KINDS.get(info.data.get("kind", ""))


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Drop the fields that are None, where None has no other meaning."""
    return {name: value for name, value in fields.items() if value is not None or name not in _NONE_IS_DEFAULT}
