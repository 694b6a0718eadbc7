"""``adapters.retry``: when a failed request is sent again, and how long after."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from adapters.client.retry import with_retries
from adapters.config import RetryConfig
from adapters.errors import APIError, APITimeoutError, AuthenticationError, InternalServerError, RateLimitError
from tests.patience import LateError, patient

_AT_ONCE = RetryConfig(attempts=3, initial_wait_s=0.0, max_wait_s=0.0)


class _Server:
    """Fails with each error in turn, then answers; notes when it was asked."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.asked_at_s: list[float] = []
        self.numbers: list[int] = []

    async def ask(self, number: int) -> str:
        self.numbers.append(number)
        self.asked_at_s.append(time.monotonic())
        if self._errors:
            raise self._errors.pop(0)
        return "answer"

    @property
    def pauses_s(self) -> list[float]:
        return [after - before for before, after in itertools.pairwise(self.asked_at_s)]


def _error(kind: type[APIError] = InternalServerError, **fields: Any) -> APIError:
    return kind("Failed.", **{"provider": "p", "model": "m", "retryable": True, **fields})


async def test_first_try_succeeds() -> None:
    """An answer is returned and asked for once."""
    server = _Server()

    assert await with_retries(_AT_ONCE, server.ask) == "answer"
    assert len(server.asked_at_s) == 1


async def test_passing_failures() -> None:
    """Failures that may pass are asked about again until there is an answer."""
    server = _Server(_error(), _error(RateLimitError))

    assert await with_retries(_AT_ONCE, server.ask) == "answer"
    assert server.numbers == [1, 2, 3]


async def test_timeouts_are_left_to_who_has_another_to_ask() -> None:
    """Then a server that is late is not asked again, and one that fails in another way still is."""
    late = _Server(_error(APITimeoutError))
    unwell = _Server(_error())

    with pytest.raises(APITimeoutError):
        await with_retries(_AT_ONCE, late.ask, after_timeouts=False)

    assert await with_retries(_AT_ONCE, unwell.ask, after_timeouts=False) == "answer"
    assert (late.numbers, unwell.numbers) == ([1], [1, 2])


async def test_last_failure_is_raised() -> None:
    """When the tries are used up, the last error itself is raised."""
    last = _error()
    server = _Server(_error(), _error(), last, _error())

    with pytest.raises(InternalServerError) as raised:
        await with_retries(_AT_ONCE, server.ask)

    assert raised.value is last
    assert len(server.asked_at_s) == 3


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(_error(AuthenticationError, retryable=False), id="not-retryable"),
        pytest.param(
            _error(RateLimitError, retryable=True, retry_after_s=0.1), id="asks-for-longer-than-anybody-waits"
        ),
        pytest.param(ValueError("bug"), id="no-error-of-ours"),
        pytest.param(asyncio.CancelledError(), id="cancelled"),
    ],
)
async def test_failure_that_does_not_pass(error: BaseException) -> None:
    """Where asking again is of no use, the first error is raised at once."""
    server = _Server(error)

    with pytest.raises(type(error)):
        await with_retries(_AT_ONCE, server.ask)

    assert len(server.asked_at_s) == 1


async def test_wait_that_the_server_asks_for() -> None:
    """A server that names a time is left alone for so long."""
    policy = RetryConfig(initial_wait_s=0.0, max_wait_s=0.2)
    server = _Server(_error(RateLimitError, retry_after_s=0.15))

    await with_retries(policy, server.ask)

    assert server.pauses_s[0] >= 0.15


async def test_waits_grow_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    """Without a word of the server, waits double, with a part left to chance, up to the longest."""
    policy = RetryConfig(attempts=4, initial_wait_s=0.02, max_wait_s=0.07)

    with caplog.at_level("INFO", logger="adapters.client.retry"):
        await with_retries(policy, _Server(_error(), _error(), _error()).ask)

    first, second, third = (float(message.split()[5]) for message in caplog.messages)
    assert 0.02 <= first <= 0.04
    assert 0.04 <= second <= 0.06
    assert third == 0.07


async def test_single_try() -> None:
    """A policy of one try never asks again."""
    server = _Server(_error())

    with pytest.raises(InternalServerError):
        await with_retries(RetryConfig(attempts=1), server.ask)

    assert len(server.asked_at_s) == 1


@patient
async def test_deadline() -> None:
    """A wait that would end behind the deadline is not begun."""
    policy = RetryConfig(attempts=9, initial_wait_s=0.0, max_wait_s=2.0, deadline_s=0.5)
    server = _Server(*[_error(RateLimitError, retry_after_s=0.2) for _ in range(9)])

    with pytest.raises(RateLimitError):
        await with_retries(policy, server.ask)

    if len(server.asked_at_s) < 2:
        raise LateError("the wait ended behind the deadline")
    assert len(server.asked_at_s) <= 3


async def test_log_of_a_failed_try(caplog: pytest.LogCaptureFixture) -> None:
    """Each repetition is told in the log, with its kind and without the words, which may be a server's."""
    with caplog.at_level("INFO", logger="adapters.client.retry"):
        await with_retries(_AT_ONCE, _Server(_error(), _error(RateLimitError, status_code=429)).ask)

    assert caplog.messages == [
        "Try 1 failed, next in 0.00 s: p (InternalServerError)",
        "Try 2 failed, next in 0.00 s: p (RateLimitError, status 429)",
    ]
