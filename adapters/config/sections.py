"""The base class of all blocks of settings, and the blocks inside a provider, such as ``retry`` and ``timeouts``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.config.values import Seconds, Texts, UserPath

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model thinks; a server knows some of these."""

Usd = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A block of keys: immutable, without unknown keys, and without conversion of texts to numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )


class RetryConfig(Section):
    """How often a failed request is sent again; the defaults suit a spoken conversation, which cannot wait long."""

    attempts: int = Field(default=3, ge=1, description="Requests at most, the first included; 1 never repeats.")
    initial_wait_s: float = Field(default=0.2, ge=0, description="Wait before the second request; then it doubles.")
    max_wait_s: float = Field(default=2.0, ge=0, description="Longest wait between two requests.")
    deadline_s: Seconds = Field(default=10.0, description="After this time no further request is sent.")


class TimeoutConfig(Section):
    """How long each part of one request may take."""

    connect_s: Seconds = Field(default=3.0, description="Until the connection is open.")
    first_token_s: Seconds = Field(default=8.0, description="Until the first useful piece of a stream.")
    stall_s: Seconds = Field(default=8.0, description="Between two useful pieces of a stream.")
    total_s: Seconds = Field(default=60.0, description="Until the whole answer is there.")


class TLSConfig(Section):
    """The certificates of one provider; what is not set comes from the environment."""

    ca_file: UserPath = Field(default=None, description="Trust the authorities in this PEM file, and no others.")
    cert_file: UserPath = Field(default=None, description="Our own certificate, for servers that want one (PEM).")
    key_file: UserPath = Field(default=None, description="Its private key, if cert_file does not hold it (PEM).")

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("has a key_file without a cert_file; add the certificate")
        return self


class LimitConfig(Section):
    """How large one answer may be; beyond a limit the connection is closed, and the error names the limit.

    The defaults are far above real answers and low enough to do no harm: JSON of 2 MB is decoded in less than 50 ms.
    """

    answer_bytes: int = Field(default=64_000_000, ge=1, description="Of the whole answer, after decompression.")
    event_bytes: int = Field(default=2_000_000, ge=1, description="Of one event, or of an answer in one piece.")
    error_bytes: int = Field(default=64_000, ge=1, description="Read of an error; the rest is left.")
    calls: int = Field(default=128, ge=1, description="Tool calls in one answer.")
    reasoning_chars: int = Field(default=1_000_000, ge=0, description="Kept of the reasoning; the rest is dropped.")


class RoutingConfig(Section):
    """Which of its providers OpenRouter may choose; it decides whatever is not set."""

    order: Texts | None = Field(default=None, description="These first, in this order.")
    only: Texts | None = Field(default=None, description="None but these.")
    ignore: Texts | None = Field(default=None, description="Never these.")
    sort: Literal["price", "throughput", "latency"] | None = Field(default=None, description="The best in this first.")
    allow_fallbacks: bool | None = Field(default=None, description="false: none but the first choice.")
    require_parameters: bool | None = Field(default=None, description="true: none that ignores a parameter.")
    data_collection: Literal["allow", "deny"] | None = Field(default=None, description="deny: none that keeps prompts.")
    zdr: bool | None = Field(default=None, description="true: none that retains anything.")
    max_price: dict[Literal["prompt", "completion", "request", "image", "audio"], Usd] | None = Field(
        default=None, description="In US dollars, for a million tokens, or for one request, image or second."
    )


class ReasoningConfig(Section):
    """How OpenRouter lets a model think; it decides whatever is not set."""

    enabled: bool | None = Field(default=None, description="Think at all.")
    effort: Effort | None = Field(default=None, description="How much.")
    max_tokens: int | None = Field(default=None, ge=1, description="How much, in tokens.")
    exclude: bool | None = Field(default=None, description="true: the thoughts are not sent.")
