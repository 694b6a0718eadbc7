"""The base class of all models, and the blocks of a provider entry, such as ``retry`` and ``timeouts``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.config.values import Seconds, Texts, UserPath

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model reasons. A server accepts some of these."""

Usd = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A block of keys: immutable, without unknown keys, and without conversion of strings to numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )


class RetryConfig(Section):
    """How often a failed request is sent again. The defaults suit a spoken conversation, which cannot wait long."""

    attempts: int = Field(
        default=3, ge=1, description="Maximum number of requests, the first included; 1 disables retries."
    )
    initial_wait_s: float = Field(
        default=0.2, ge=0, description="Wait before the second request; it doubles each time."
    )
    max_wait_s: float = Field(default=2.0, ge=0, description="Longest wait between two requests.")
    deadline_s: Seconds = Field(default=10.0, description="After this time no further request is sent.")


class TimeoutConfig(Section):
    """How long each part of one request may take."""

    connect_s: Seconds = Field(default=3.0, description="Opening the connection.")
    first_token_s: Seconds = Field(
        default=8.0, description="Time to the first useful token of a stream: text, reasoning or a part of a call."
    )
    first_text_s: Seconds | None = Field(
        default=None, description="Time to the first text or tool call of a stream; reasoning does not count."
    )
    stall_s: Seconds = Field(default=8.0, description="Pause between two useful tokens of a stream.")
    total_s: Seconds = Field(default=60.0, description="The whole call, retries and loading included.")


class TLSConfig(Section):
    """The certificates of one provider. Those that are not set come from the environment."""

    ca_file: UserPath = Field(default=None, description="CA bundle (PEM): only these authorities are trusted.")
    cert_file: UserPath = Field(default=None, description="Client certificate (PEM), for mutual TLS.")
    key_file: UserPath = Field(default=None, description="Its private key (PEM), if cert_file does not contain it.")

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("has a key_file without a cert_file; add the certificate")
        return self


class LimitConfig(Section):
    """How large one response may be. Beyond a limit the connection is closed, and the error names the limit.

    The defaults are far above real responses, and low enough to do no harm: 2 MB of JSON take less than 50 ms.
    """

    answer_bytes: int = Field(default=64_000_000, ge=1, description="Size of the whole response, after decompression.")
    event_bytes: int = Field(
        default=2_000_000, ge=1, description="Size of one event, or of a response that is not streamed."
    )
    error_bytes: int = Field(default=64_000, ge=1, description="Bytes of an error response that are read.")
    calls: int = Field(default=128, ge=1, description="Tool calls in one response.")
    reasoning_chars: int = Field(default=1_000_000, ge=0, description="Characters of the reasoning that are kept.")


class RoutingConfig(Section):
    """Which of its providers OpenRouter may choose. OpenRouter decides what is not set."""

    order: Texts | None = Field(default=None, description="Providers to try first, in this order.")
    only: Texts | None = Field(default=None, description="The only providers to use.")
    ignore: Texts | None = Field(default=None, description="Providers never to use.")
    sort: Literal["price", "throughput", "latency"] | None = Field(default=None, description="Prefer the best in this.")
    allow_fallbacks: bool | None = Field(default=None, description="false: use the first choice only.")
    require_parameters: bool | None = Field(
        default=None, description="true: only providers that support every parameter of the request."
    )
    data_collection: Literal["allow", "deny"] | None = Field(
        default=None, description="deny: only providers that do not store prompts."
    )
    zdr: bool | None = Field(default=None, description="true: only providers with zero data retention.")
    max_price: dict[Literal["prompt", "completion", "request", "image", "audio"], Usd] | None = Field(
        default=None, description="Maximum price in US dollars, per million tokens, or per request, image or second."
    )


class ReasoningConfig(Section):
    """Reasoning of models on OpenRouter. OpenRouter decides what is not set."""

    enabled: bool | None = Field(default=None, description="Whether the model reasons.")
    effort: Effort | None = Field(default=None, description="How much the model reasons.")
    max_tokens: int | None = Field(default=None, ge=1, description="Maximum length of the reasoning in tokens.")
    exclude: bool | None = Field(default=None, description="true: the reasoning is not sent.")
