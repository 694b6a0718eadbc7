"""How long a server asks to wait: ``Retry-After`` and everything that servers send in its place."""

from __future__ import annotations

import email.utils
import time
from typing import Final

from adapters.testing.answers import reply
from adapters.testing.case import Failure, WireCase

_SLOW = "429 Too Many Requests"
_SOON_S = 36_000
_NOW_S = time.time()
_SOON = (_SOON_S - 3_600.0, _SOON_S + 5.0)  # tables are built once; a slow test run may come much later
_SOON_DATE = email.utils.formatdate(_NOW_S + _SOON_S, usegmt=True)
_SOON_MS = str(int((_NOW_S + _SOON_S) * 1000))


def _limited(
    case_id: str, why: str, retry_after_s: object, message: str = "slow down", metadata: object = None, **headers: str
) -> WireCase:
    """Make one case of a 429 with this ``retry_after_s``; one attempt, so nothing waits."""
    error = {"message": message, "code": 429, **({"metadata": metadata} if metadata else {})}
    expect = Failure("RateLimitError", status_code=429, retryable=True, retry_after_s=retry_after_s)  # type: ignore[arg-type]  # None, a number or two
    return WireCase(case_id, why, [reply({"error": error}, _SLOW, **headers)], expect)


CASES: Final = (
    _limited("retry-after-seconds", "Retry-After in seconds", 7.0, retry_after="7"),
    _limited("retry-after-fraction", "Retry-After in a fraction of a second", 0.5, retry_after="0.5"),
    _limited("retry-after-date", "Retry-After as a date", _SOON, retry_after=_SOON_DATE),
    _limited("retry-after-ms", "retry-after-ms", 1.5, retry_after_ms="1500"),
    _limited("retry-after-missing", "without a wait", None),
    _limited("retry-after-garbage", "Retry-After that cannot be read", None, retry_after="soon"),
    _limited("retry-after-infinite", "Retry-After that is infinite", None, retry_after="inf"),
    _limited("retry-after-zero", "Retry-After: at once", 0.0, retry_after="0"),
    _limited(
        "litellm-proxy-retry-after",
        "a LiteLLM proxy passes the upstream's headers with a prefix",
        6.0,
        **{"llm_provider-retry-after": "6"},
    ),
    _limited(
        "groq-reset-tokens",
        "Groq counts in '1.57s'",
        1.57,
        x_ratelimit_remaining_tokens="0",
        x_ratelimit_reset_tokens="1.57s",
    ),
    _limited(
        "groq-reset-requests",
        "Groq counts in '2m59.56s'",
        (179.5, 179.6),
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="2m59.56s",
    ),
    _limited(
        "groq-retry-after-beats-reset",
        "Retry-After counts before the resets",
        2.0,
        retry_after="2",
        x_ratelimit_reset_requests="2m59.56s",
    ),
    _limited(
        "openrouter-reset-header",
        "OpenRouter's reset is an epoch in milliseconds",
        _SOON,
        x_ratelimit_limit="20",
        x_ratelimit_remaining="0",
        x_ratelimit_reset=_SOON_MS,
    ),
    _limited(
        "openrouter-reset-in-metadata",
        "the headers are in the body",
        _SOON,
        metadata={"headers": {"X-RateLimit-Limit": "20", "X-RateLimit-Reset": _SOON_MS}},
    ),
    _limited(
        "openrouter-retry-after-in-metadata",
        "the seconds are in the body",
        11.0,
        metadata={"retry_after_seconds": 11, "raw": "slow down"},
    ),
    WireCase(
        "openrouter-retry-after-in-200",
        "the wait of an error inside HTTP 200",
        [reply({"error": {"message": "slow down", "code": 429, "metadata": {"retry_after_seconds": 11}}})],
        Failure("RateLimitError", status_code=429, retryable=True, retry_after_s=11.0),
        kind="openrouter",
    ),
    WireCase(
        "localai-loading-retry-after",
        "503 while a model is being loaded, with a wait",
        [reply({"error": {"message": "model is loading"}}, "503 Service Unavailable", retry_after="20")],
        Failure("InternalServerError", status_code=503, retryable=True, retry_after_s=20.0, says=("loading",)),
    ),
)
