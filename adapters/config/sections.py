"""The base of all blocks of settings, and the small ones inside a provider: ``retry``, ``timeouts``, ``limits``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from adapters.config.values import Seconds


class Section(BaseModel):
    """A block of keys: none but its own, none changed later, and no text taken for a number."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )


class RetryConfig(Section):
    """How often a failed request is sent again; the defaults are those of a conversation, where nobody waits long."""

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


class LimitConfig(Section):
    """How much one answer may be; beyond a limit the connection is closed, and the error names it.

    The defaults are far above what models say and far below what hurts: JSON of 2 MB is read in less than 50 ms.
    """

    answer_bytes: int = Field(default=64_000_000, ge=1, description="Of the whole answer, after decompression.")
    event_bytes: int = Field(default=2_000_000, ge=1, description="Of one event, or of an answer in one piece.")
    error_bytes: int = Field(default=64_000, ge=1, description="Read of an error; the rest is left.")
    calls: int = Field(default=128, ge=1, description="Tool calls in one answer.")
    reasoning_chars: int = Field(default=1_000_000, ge=0, description="Kept of the reasoning; the rest is dropped.")
