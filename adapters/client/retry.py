"""Decide whether a failed attempt is repeated, and after which pause. The only import of tenacity.

Retries have one owner: LiteLLM and the HTTP client below it are configured for a single try, so one attempt is one
request on the wire. Whether an error is worth another attempt is part of the error (``APIError.retryable``).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import tenacity

from adapters.errors import APITimeoutError, kind_of

if TYPE_CHECKING:
    from adapters.config import RetryConfig
    from adapters.errors import APIError

_logger = logging.getLogger(__name__)


def pause_before_retry_s(
    policy: RetryConfig, error: APIError, attempt: int, elapsed_s: float, *, retry_timeouts: bool = True
) -> float | None:
    """Return how long to wait before the next attempt, in seconds, or None if there must be none.

    The pause grows exponentially, with jitter so that agents that failed together do not retry together. A
    ``Retry-After`` of the server is obeyed. If it exceeds ``max_wait_s``, or if the pause would end after
    ``deadline_s``, there is no retry: an earlier request would fail, and a listener does not wait that long.

    Args:
        policy: Number of attempts, pauses, and the time after which no attempt may begin.
        error: Why the last attempt failed.
        attempt: Number of the last attempt, from 1.
        elapsed_s: Seconds since the call began.
        retry_timeouts: Whether to repeat an attempt that timed out.
    """
    asked_s = error.retry_after_s or 0.0
    if (
        not error.retryable
        or asked_s > policy.max_wait_s
        or (isinstance(error, APITimeoutError) and not retry_timeouts)
    ):
        return None
    state = tenacity.RetryCallState(tenacity.AsyncRetrying(), None, (), {})
    state.attempt_number = attempt
    backoff = tenacity.wait_exponential(multiplier=policy.initial_wait_s, max=policy.max_wait_s)
    jitter = tenacity.wait_random(0, policy.initial_wait_s)
    pause_s = max(min(backoff(state) + jitter(state), policy.max_wait_s), asked_s)
    if tenacity.stop_after_attempt(policy.attempts)(state) or elapsed_s + pause_s >= policy.deadline_s:
        return None
    _logger.info("Attempt %d failed, next in %.2f s: %s (%s)", attempt, pause_s, error.provider, kind_of(error))
    return pause_s
