"""The typed keywords of ``create_provider``, for type checkers and editors; ``ProviderConfig`` validates the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import SecretStr

    from adapters.config.sections import Effort


class RetryOptions(TypedDict, total=False):
    """See ``RetryConfig``."""

    attempts: int
    initial_wait_s: float
    max_wait_s: float
    deadline_s: float


class TimeoutOptions(TypedDict, total=False):
    """See ``TimeoutConfig``."""

    connect_s: float
    first_token_s: float
    first_text_s: float | None
    stall_s: float
    total_s: float


class LimitOptions(TypedDict, total=False):
    """See ``LimitConfig``."""

    answer_bytes: int
    event_bytes: int
    error_bytes: int
    calls: int
    reasoning_chars: int


class TLSOptions(TypedDict, total=False):
    """See ``TLSConfig``."""

    ca_file: str | Path | None
    cert_file: str | Path | None
    key_file: str | Path | None


class RoutingOptions(TypedDict, total=False):
    """See ``RoutingConfig``."""

    order: str | list[str] | None
    only: str | list[str] | None
    ignore: str | list[str] | None
    sort: str | None
    allow_fallbacks: bool | None
    require_parameters: bool | None
    data_collection: str | None
    zdr: bool | None
    max_price: Mapping[str, float] | None


class ReasoningOptions(TypedDict, total=False):
    """See ``ReasoningConfig``."""

    enabled: bool | None
    effort: Effort | None
    max_tokens: int | None
    exclude: bool | None


class ProviderOptions(TypedDict, total=False):
    """The fields of ``ProviderConfig`` except ``kind``. None is the default where it has no other meaning.

    ``retry``, ``timeouts`` and ``limits`` accept None at run time, but not here: mypy reports an unknown key of a dict
    only if its type is not a union.
    """

    name: str | None
    model: str | None
    base_url: str | None
    api_key: str | SecretStr | None
    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    stop: str | list[str] | None
    seed: int | None
    reasoning_effort: Effort | None
    headers: Mapping[str, str | SecretStr] | None
    extra_query: Mapping[str, str | SecretStr] | None
    extra_body: Mapping[str, Any] | None
    litellm: Mapping[str, Any] | None
    retry: RetryOptions
    timeouts: TimeoutOptions
    limits: LimitOptions
    tls: TLSOptions | None
    prewarm: bool
    prefill: bool | None
    keep_warm_s: float | None
    cache_control: Literal["auto"] | None
    think: bool | None
    on_long_thinking: Literal["fail", "answer"]
    num_ctx: int | None
    max_concurrent: int | None
    model_path: str | Path | None
    models: list[str] | None
    routing: RoutingOptions | None
    reasoning: ReasoningOptions | None
    fallbacks: list[str] | None
    first_token_s: float | None
    first_text_s: float | None
    hedge_after_s: float | Literal["auto"] | None
    cooldown_s: float | None
