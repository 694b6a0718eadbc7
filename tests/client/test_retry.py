"""``client.retry``: whether a failed attempt is repeated, and after which pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.client.retry import pause_before_retry_s
from adapters.config import RetryConfig
from adapters.errors import APIError, APITimeoutError, InternalServerError, RateLimitError

if TYPE_CHECKING:
    import pytest

_AT_ONCE = RetryConfig(attempts=3, initial_wait_s=0.0, max_wait_s=0.0)


def _error(kind: type[APIError] = InternalServerError, **fields: Any) -> APIError:
    return kind("Failed.", **{"provider": "p", "model": "m", "retryable": True, **fields})


def _pause_s(policy: RetryConfig, error: APIError | None = None, attempt: int = 1, **options: Any) -> float | None:
    return pause_before_retry_s(policy, error or _error(), attempt, **{"elapsed_s": 0.0, **options})


def test_attempts_are_counted() -> None:
    """There is a retry after each attempt but the last one of the policy."""
    assert [_pause_s(_AT_ONCE, attempt=attempt) for attempt in (1, 2, 3)] == [0.0, 0.0, None]
    assert _pause_s(RetryConfig(attempts=1)) is None


def test_error_that_is_not_retryable() -> None:
    """There is no retry if the same request would fail again."""
    assert _pause_s(_AT_ONCE, _error(retryable=False)) is None


def test_timeout_in_a_group() -> None:
    """Where another provider can be asked, an attempt that timed out is not repeated; other failures are."""
    assert _pause_s(_AT_ONCE, _error(APITimeoutError)) == 0.0
    assert _pause_s(_AT_ONCE, _error(APITimeoutError), retry_timeouts=False) is None
    assert _pause_s(_AT_ONCE, retry_timeouts=False) == 0.0


def test_retry_after() -> None:
    """A server that asks for a pause gets it; one longer than the longest pause ends the call."""
    policy = RetryConfig(initial_wait_s=0.0, max_wait_s=0.2)

    assert _pause_s(policy, _error(RateLimitError, retry_after_s=0.15)) == 0.15
    assert _pause_s(policy, _error(RateLimitError, retry_after_s=0.21)) is None


def test_pauses_grow_with_jitter() -> None:
    """Pauses double, plus a random part, up to the longest; agents that failed together do not retry together."""
    policy = RetryConfig(attempts=9, initial_wait_s=0.02, max_wait_s=0.07)

    firsts, seconds, thirds = (
        [pause_s for _ in range(50) if (pause_s := _pause_s(policy, attempt=attempt)) is not None]
        for attempt in (1, 2, 3)
    )

    assert all(0.02 <= pause_s <= 0.04 for pause_s in firsts)
    assert all(0.04 <= pause_s <= 0.06 for pause_s in seconds)
    assert thirds == [0.07] * 50
    assert len(set(firsts)) > 25


def test_deadline() -> None:
    """A pause that would end at the deadline or later is not begun."""
    policy = RetryConfig(initial_wait_s=0.0, deadline_s=0.5)
    error = _error(RateLimitError, retry_after_s=0.2)

    assert _pause_s(policy, error, elapsed_s=0.29) == 0.2
    assert _pause_s(policy, error, elapsed_s=0.31) is None


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each retry is logged with the class of the error, without its message, which may quote the server."""
    with caplog.at_level("INFO", logger="adapters.client.retry"):
        _pause_s(_AT_ONCE)
        _pause_s(_AT_ONCE, _error(RateLimitError, status_code=429), attempt=2)

    assert caplog.messages == [
        "Attempt 1 failed, next in 0.00 s: p (InternalServerError)",
        "Attempt 2 failed, next in 0.00 s: p (RateLimitError, status 429)",
    ]
