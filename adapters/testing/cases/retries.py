"""What is asked again, after what time, and when to give up at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import answer, reply
from adapters.testing.case import ANY, Failure, Success, WireCase
from adapters.testing.cases.common import HI, TWO_TRIES

if TYPE_CHECKING:
    from adapters.testing.server import Seen

_SLOW = "429 Too Many Requests"
_WAIT_S = 0.3


def _again(case_id: str, status: str, **headers: str) -> WireCase:
    """Make one case of a status that is tried again, and then there is an answer."""
    bad = reply({"error": {"message": "It broke"}}, status, **headers)
    return WireCase(case_id, f"{status} is tried again", [bad, answer("Hi there")], HI, options=TWO_TRIES, requests=2)


def _waited_s(seen: Seen) -> float:
    return seen.started[1] - seen.started[0]


def _wait(case_id: str, why: str, **fields: Any) -> WireCase:
    bad = reply({"error": {"message": "slow down"}}, _SLOW, retry_after_ms=str(int(_WAIT_S * 1000)))
    return WireCase(case_id, why, [bad, answer("Hi there")], HI, options=TWO_TRIES, requests=2, **fields)


def _too_long(case_id: str, why: str, seconds: str, **retry: float) -> WireCase:
    bad = reply({"error": {"message": "slow down"}}, _SLOW, retry_after=seconds)
    return WireCase(
        case_id,
        why,
        [bad, answer("Hi there")],
        Failure("RateLimitError", status_code=429, retryable=True, retry_after_s=float(seconds)),
        options={"retry": {"attempts": 3, "initial_wait_s": 0.01, **retry}},
        within_s=2.0,
    )


CASES: Final = (
    *[
        _again(f"retry-{status[:3]}", status)
        for status in (
            "408 Request Timeout",
            "409 Conflict",
            "425 Too Early",
            "429 Too Many Requests",
            "500 Internal Server Error",
            "502 Bad Gateway",
            "503 Service Unavailable",
            "529 Overloaded",
        )
    ],
    *[
        WireCase(
            f"no-retry-{status[:3]}",
            f"{status} is not tried again",
            [reply({"error": {"message": "It broke"}}, status), answer("Hi there")],
            Failure("APIError", status_code=int(status[:3]), retryable=False),
            options=TWO_TRIES,
        )
        for status in (
            "400 Bad Request",
            "401 Unauthorized",
            "402 Payment Required",
            "403 Forbidden",
            "404 Not Found",
            "422 Unprocessable Entity",
        )
    ],
    _wait(
        "retry-waits-as-told",
        "the wait is at least what the server asked for",
        saw=lambda seen: _waited_s(seen) >= _WAIT_S,
    ),
    _too_long(
        "retry-after-beyond-max-wait", "a wait that is longer than max_wait_s fails at once", "3", max_wait_s=1.0
    ),
    _too_long(
        "retry-after-beyond-deadline",
        "a wait that is longer than the deadline fails at once",
        "2",
        max_wait_s=5.0,
        deadline_s=1.0,
    ),
    WireCase(
        "retry-gives-up-at-deadline",
        "the deadline ends the tries, however many are left",
        [reply({"error": {"message": "It broke"}}, "503 Service Unavailable")],
        Failure("InternalServerError", status_code=503, retryable=True),
        options={"retry": {"attempts": 50, "initial_wait_s": 0.1, "max_wait_s": 0.1, "deadline_s": 0.4}},
        requests=20,
        within_s=2.5,
        saw=lambda seen: len(seen.paths) > 1,
    ),
    WireCase(
        "retry-gives-up-after-attempts",
        "three tries are three requests",
        [reply({"error": {"message": "It broke"}}, "500 Internal Server Error")],
        Failure("InternalServerError", status_code=500, retryable=True),
        options={"retry": {"attempts": 3, "initial_wait_s": 0.01, "max_wait_s": 0.02}},
        requests=3,
        saw=lambda seen: len(seen.paths) == 3,  # noqa: PLR2004 - the three of the line above
    ),
    WireCase(
        "retry-on-openrouter-route",
        "three tries are three requests on this route too",
        [reply({"error": {"message": "It broke", "code": 502}}, "502 Bad Gateway")],
        Failure("InternalServerError", status_code=502, retryable=True),
        kind="openrouter",
        options={"retry": {"attempts": 3, "initial_wait_s": 0.01, "max_wait_s": 0.02}},
        requests=3,
        saw=lambda seen: len(seen.paths) == 3,  # noqa: PLR2004 - the three of the line above
    ),
    WireCase(
        "openrouter-in-flight-budget",
        "a 402 that only waits for other requests to end, and says how long",
        [
            reply(
                {
                    "error": {
                        "code": 402,
                        "message": "Insufficient credits",
                        "metadata": {
                            "reason": "in_flight_budget_exhausted",
                            "limit_source": "openrouter_in_flight_budget",
                        },
                    }
                },
                "402 Payment Required",
                retry_after="5",
            )
        ],
        Failure("PaymentRequiredError", status_code=402, retryable=True, retry_after_s=5.0),
        kind="openrouter",
    ),
    WireCase(
        "openrouter-no-credits",
        "a 402 that only money can change",
        [reply({"error": {"code": 402, "message": "Insufficient credits"}}, "402 Payment Required")],
        Failure("PaymentRequiredError", status_code=402, retryable=False, says=("Insufficient credits",)),
        kind="openrouter",
        options=TWO_TRIES,
    ),
    WireCase(
        "retry-after-on-success-is-ignored",
        "a good answer may carry rate-limit headers",
        [
            reply(
                {"choices": [{"message": {"content": "Hi there"}, "finish_reason": "stop"}]},
                retry_after="9",
                x_ratelimit_reset_tokens="1.57s",
            )
        ],
        Success(text="Hi there", usage=ANY),
    ),
)
