"""When a failed request is sent again; the only import of tenacity.

One owner of retries: LiteLLM and the client below it are told to try once, so one try here is one request on the
wire. Whether an error is worth a retry is the error's own knowledge (``APIError.retryable``).
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING, TypeVar

import tenacity

from adapters.errors import APIError, APITimeoutError, kind_of
from adapters.transport.deadlines import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from adapters.config import RetryConfig

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def with_retries(
    policy: RetryConfig, attempt: Callable[[int], Awaitable[T]], *, after_timeouts: bool = True
) -> T:
    """Call until it succeeds, the policy is used up, or the error says that trying again is of no use.

    A wait that the server asks for (``Retry-After``) is kept. If it is longer than ``max_wait_s`` or than what is
    left of ``deadline_s``, the error is raised at once: asking earlier would fail, and nobody waits that long.

    Args:
        policy: How often, how long between, and until when a new try may begin.
        attempt: Makes one try; it is told which, from 1.
        after_timeouts: Whether a server that did not answer in time is asked again; who has another one to ask does
            not wait twice.

    Returns:
        What the first successful try returned.

    Raises:
        APIError: What the last try raised that was not cut off by ``deadline_s``.
    """
    began_s = time.monotonic()
    try:
        return await attempt(1)  # nearly always there is no other, and preparing for one costs a tenth of a call
    except APIError as error:
        failed = error
    left_s = policy.deadline_s - (time.monotonic() - began_s)
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: _is_worth_it(error, policy, after_timeouts=after_timeouts)),
        stop=tenacity.stop_after_attempt(policy.attempts) | tenacity.stop_before_delay(left_s),
        wait=_wait_for(policy),
        before_sleep=_log,
        reraise=True,
    )
    numbers = itertools.count(1)

    async def numbered() -> T:
        nonlocal failed
        number = next(numbers)
        if number == 1:
            raise failed from failed.__cause__
        try:
            return await attempt(number)
        except APIError as error:
            if _was_cut_off(error):
                raise failed from failed.__cause__  # what went wrong is told by the try before
            failed = error
            raise

    return await retrying(numbered)


def _was_cut_off(error: APIError) -> bool:
    """Whether a try ended because the time for repeating was over."""
    return isinstance(error.__cause__, DeadlineExceeded) and error.__cause__.limit == "deadline_s"


def _is_worth_it(error: BaseException, policy: RetryConfig, *, after_timeouts: bool) -> bool:
    if isinstance(error, APITimeoutError) and not after_timeouts:
        return False
    return isinstance(error, APIError) and error.retryable and (error.retry_after_s or 0) <= policy.max_wait_s


def _wait_for(policy: RetryConfig) -> Callable[[tenacity.RetryCallState], float]:
    """Exponential with jitter, so that agents that failed together do not come back together."""
    backoff = tenacity.wait_exponential(multiplier=policy.initial_wait_s, max=policy.max_wait_s)
    jitter = tenacity.wait_random(0, policy.initial_wait_s)

    def wait_s(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, APIError) else None
        return max(min(backoff(state) + jitter(state), policy.max_wait_s), asked_s or 0.0)

    return wait_s


def _log(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    who = f"{error.provider} ({kind_of(error)})" if isinstance(error, APIError) else ""
    logger.info("Try %d failed, next in %.2f s: %s", state.attempt_number, state.upcoming_sleep, who)
