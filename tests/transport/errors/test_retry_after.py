"""``transport.retry_after``: seconds from every form in which servers say when they want to be asked again."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import UpstreamError
from adapters.transport.errors.retry_after import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_S = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
DATE = "Mon, 21 Sep 2026 14:13:30 GMT"  # ten seconds later


def wait_s(headers: dict[str, str] | None = None, message: str = "", metadata: dict[str, Any] | None = None) -> Any:
    """Read the wait from a failure."""
    return retry_after_s(UpstreamError(message, headers=headers, metadata=metadata), NOW_S)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("2", 2.0, id="seconds"),
        pytest.param(" 1.5 ", 1.5, id="fraction"),
        pytest.param("0", 0.0, id="at once"),
        pytest.param(DATE, 10.0, id="date"),
        pytest.param("Monday, 21-Sep-26 14:13:30 GMT", 10.0, id="date of RFC 850"),
        pytest.param("Mon Sep 21 14:13:30 2026", 10.0, id="date of asctime, which has no zone"),
        pytest.param("Mon, 21 Sep 2026 16:13:30 +0200", 10.0, id="date of another zone"),
        pytest.param("Mon, 21 Sep 2020 14:13:30 GMT", 0.0, id="date in the past"),
        pytest.param("1.57s", 1.57, id="Groq's seconds"),
        pytest.param("2m59.5s", 179.5, id="Groq's minutes"),
        pytest.param("1h2m3s", 3723.0, id="hours"),
        pytest.param("2d", 172_800.0, id="days"),
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("1S", 1.0, id="capital unit"),
        pytest.param(str(NOW_S + 7), 7.0, id="point in time in seconds"),
        pytest.param(str(int(NOW_S + 7) * 1000), 7.0, id="point in time in milliseconds"),
        pytest.param(str(NOW_S - 7), 0.0, id="point in time in the past"),
        pytest.param("", None, id="empty"),
        pytest.param("-1", None, id="negative"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("1e300", None, id="longer than the world"),
        pytest.param("1e10", None, id="point in time in 260 years"),
        pytest.param("Mon, 21 Sep 2099 14:13:30 GMT", None, id="date in 70 years"),
        pytest.param("31d", 2_678_400.0, id="a month"),
        pytest.param(f"{'9' * 400}s", None, id="more seconds than there are"),
        pytest.param("soon", None, id="a word"),
        pytest.param("5 minutes", None, id="a unit in words"),
        pytest.param("Mon, 99 Sep 2026 14:13:30 GMT", None, id="no date of the calendar"),
    ],
)
def test_retry_after_header(value: str, expected: float | None) -> None:
    """``Retry-After`` is read in the standard forms and in those of single vendors."""
    assert wait_s({"retry-after": value}) == (expected if expected is None else pytest.approx(expected))


@pytest.fixture
def _somewhere_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone of the process to Auckland."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_somewhere_else")
@pytest.mark.parametrize("value", ["Mon Sep 21 14:13:30 2026", "Mon, 21 Sep 2026 14:13:30 -0000"])
def test_date_without_a_zone(value: str) -> None:
    """HTTP dates are in UTC, whatever the local time zone is."""
    assert wait_s({"retry-after": value}) == 10.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, id="milliseconds come first"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "9"}, 9.0, id="unless they are unreadable"),
        pytest.param({"retry-after": DATE, "date": "Mon, 21 Sep 2026 14:13:28 GMT"}, 2.0, id="by the server's clock"),
        pytest.param({"retry-after": DATE, "date": "today"}, 10.0, id="a server without a clock"),
        pytest.param({"llm_provider-retry-after": "4"}, 4.0, id="LiteLLM proxy: the server behind it"),
        pytest.param({"llm_provider-retry-after-ms": "40"}, 0.04, id="LiteLLM proxy: milliseconds"),
        pytest.param({"retry-after": "3", "llm_provider-retry-after": "4"}, 3.0, id="the nearer server"),
        pytest.param(
            {"x-ratelimit-reset-requests": "2m59s", "x-ratelimit-remaining-requests": "0"}, 179.0, id="Groq: used up"
        ),
        pytest.param(
            {"x-ratelimit-reset-requests": "2m59s", "x-ratelimit-remaining-requests": "5"}, None, id="Groq: not used up"
        ),
        pytest.param(
            {
                "x-ratelimit-reset-requests": "2m59s",
                "x-ratelimit-remaining-requests": "5",
                "x-ratelimit-reset-tokens": "7.6s",
                "x-ratelimit-remaining-tokens": "0",
            },
            7.6,
            id="Groq: the limit that is used up",
        ),
        pytest.param(
            {"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "2s"},
            2.0,
            id="two without a remaining number",
        ),
        pytest.param(
            {"x-ratelimit-reset": str(int(NOW_S + 30) * 1000), "x-ratelimit-remaining": "0"}, 30.0, id="OpenRouter"
        ),
        pytest.param({"x-ratelimit-reset": "tomorrow"}, None, id="unreadable reset"),
        pytest.param({"x-ratelimit-limit": "9", "content-type": "text/html"}, None, id="other headers"),
        pytest.param({}, None, id="none"),
    ],
)
def test_order_of_headers(headers: dict[str, str], expected: float | None) -> None:
    """The most exact header of the nearest server counts; a limit that is not used up is ignored."""
    assert wait_s(headers) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param({"headers": {"Retry-After": "5"}}, 5.0, id="headers in the body"),
        pytest.param({"headers": {"X-RateLimit-Reset": (NOW_S + 30) * 1000}}, 30.0, id="OpenRouter: free models"),
        pytest.param({"headers": ["Retry-After"]}, None, id="headers that are a list"),
        pytest.param({"retry_after_seconds": 3}, 3.0, id="seconds"),
        pytest.param({"retry_after": "3s"}, 3.0, id="duration"),
        pytest.param({"retry_after_seconds": None, "retry_after": True}, None, id="no number"),
        pytest.param({"retry_after": {"seconds": 3}}, None, id="object"),
        pytest.param({}, None, id="none"),
    ],
)
def test_wait_in_the_body(metadata: dict[str, Any], expected: float | None) -> None:
    """OpenRouter and Google name the wait in the body."""
    assert wait_s(metadata=metadata) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("Rate limit reached. Please try again in 1m26.4s. Upgrade.", 86.4, id="Groq"),
        pytest.param("Please try again in 20ms.", 0.02, id="OpenAI: milliseconds"),
        pytest.param("Please try again in 20s", 20.0, id="OpenAI: seconds"),
        pytest.param("Please retry after 22 seconds.", 22.0, id="Azure"),
        pytest.param("Please retry in 16.3s.", 16.3, id="Gemini"),
        pytest.param("Try again in 300 milliseconds", 0.3, id="unit in words"),
        pytest.param("Try again in 300 ms", 0.3, id="unit after a space"),
        pytest.param("Try again in 5.", 5.0, id="end of a sentence"),
        pytest.param("Try again in 1.2.3 s", None, id="no number"),
        pytest.param("Try again in a minute", None, id="words"),
        pytest.param("Quota will be replenished in 02:15:33.", 8_133.0, id="Azure API Management: clock time"),
        pytest.param("Your limit resets in 12:30", 750.0, id="minutes and seconds"),
        pytest.param("Please try again in 2 minutes", 120.0, id="minutes in words"),
        pytest.param("Retry after about 1 hour", 3_600.0, id="hours in words"),
        pytest.param("available again in 3 days", 259_200.0, id="days in words"),
        pytest.param("Please wait 10 seconds before the next request", 10.0, id="wait"),
        pytest.param("Please wait for 0.5 minutes", 30.0, id="fraction of a unit"),
        pytest.param("wait 3 times", None, id="no time"),
        pytest.param("Try again in 40 days", None, id="longer than a month"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_wait_in_the_message(message: str, expected: float | None) -> None:
    """Without a field for it, the wait is read from the message."""
    assert wait_s(message=message) == expected


def test_order_of_sources() -> None:
    """A header counts before the body, and the body before the message."""
    message = "Try again in 3s"

    assert wait_s({"retry-after": "1"}, message, {"retry_after": 2}) == 1.0
    assert wait_s({}, message, {"retry_after": 2}) == 2.0


_NAMES = st.sampled_from(["retry-after", "retry-after-ms", "llm_provider-retry-after", "x-ratelimit-reset", "date"])
_VALUES = st.text() | st.from_regex(r"[0-9a-z., :+-]{0,30}") | st.floats().map(str) | st.integers().map(str)


@given(
    st.dictionaries(_NAMES, _VALUES),
    st.dictionaries(st.sampled_from(["retry_after", "headers"]), st.floats() | st.dictionaries(_NAMES, _VALUES)),
    st.text(alphabet="try again in0123456789.msh "),
)
def test_any_wait_is_finite(headers: dict[str, str], metadata: dict[str, Any], message: str) -> None:
    """Any text is read as a finite wait that is not negative, or as None."""
    seconds = wait_s(headers, message, metadata)

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
