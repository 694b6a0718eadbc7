"""Read how many seconds a server asks to wait, in every form that servers use."""

from __future__ import annotations

import functools
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.errors import UpstreamError
    from adapters.types import Json

_RELAY = "llm_provider-"  # a LiteLLM proxy relays the headers of its upstream under this prefix
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_DURATION_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_IN_WORDS = re.compile(
    r"(?:(?P<wait>wait)(?: for)?"
    r"|(?:try again|retry(?:ing)?|replenished|renewed|resets?|available(?: again)?) (?:in|after))"
    r" (?:about |at least )?(?P<amount>\d{1,9}(?::\d\d){1,2}|\d[\d.dhms]*)"
    r"\s*(?P<unit>(?:milli)?seconds?\b|ms\b|minutes?\b|hours?\b|days?\b)?",
    re.IGNORECASE,
)
_WORDS_S = (("ms", 0.001), ("milli", 0.001), ("min", 60.0), ("hour", 3_600.0), ("day", 86_400.0))
_EPOCH_S = 1e9  # numbers above it are points in time …
_EPOCH_MS = 1e11  # … and above this one in milliseconds
_LONGEST_WAIT_S = 31 * 86_400.0  # a month: quotas are renewed monthly; anything longer is a mistake of the server


def retry_after_s(failure: UpstreamError, now_s: float) -> float | None:
    """Read how long a server asks to wait before the next request.

    Args:
        failure: What the server reported, with its headers.
        now_s: Seconds since the epoch, to read points in time against.

    Returns:
        Seconds, never negative and at most a month; None if the server did not say.
    """
    wait_s = _named_wait_s(failure, now_s)
    return wait_s if wait_s is not None and wait_s <= _LONGEST_WAIT_S else None


def _named_wait_s(failure: UpstreamError, now_s: float) -> float | None:
    metadata = failure.metadata
    inner = metadata.get("headers")
    for headers in (failure.headers, _lower(inner) if isinstance(inner, dict) else {}):
        if (wait_s := _from_headers(headers, now_s)) is not None:
            return wait_s
    for name in ("retry_after_seconds", "retry_after"):
        if (wait_s := _seconds(metadata.get(name), now_s)) is not None:
            return wait_s
    return _from_words(failure.message, now_s)


def _from_headers(headers: Mapping[str, str], now_s: float) -> float | None:
    for prefix in ("", _RELAY):
        milliseconds = headers.get(f"{prefix}retry-after-ms")
        if milliseconds is not None and (wait_s := _seconds(f"{milliseconds}ms", now_s)) is not None:
            return wait_s
        if (wait_s := _from_retry_after(headers.get(f"{prefix}retry-after"), headers, now_s)) is not None:
            return wait_s
    return _from_resets(headers, now_s)


def _from_retry_after(value: str | None, headers: Mapping[str, str], now_s: float) -> float | None:
    wait_s = _seconds(value, now_s)
    if wait_s is not None or not value:
        return wait_s
    at_s = _date_s(value)
    if at_s is None:
        return None
    server_now_s = _date_s(headers.get("date", ""))  # its clock may differ from ours
    return max(at_s - (server_now_s if server_now_s is not None else now_s), 0.0)


def _from_resets(headers: Mapping[str, str], now_s: float) -> float | None:
    """Read ``x-ratelimit-reset…``: of the limits that are used up, the one that lasts longest."""
    waits_s = []
    for name, value in headers.items():
        if not name.removeprefix(_RELAY).startswith("x-ratelimit-reset"):
            continue
        remaining = headers.get(name.replace("-reset", "-remaining"), "0").strip()
        wait_s = _seconds(value, now_s)
        if wait_s is not None and remaining in ("0", ""):
            waits_s.append(wait_s)
    return max(waits_s, default=None)


def _from_words(message: str, now_s: float) -> float | None:
    """Read a sentence such as "Please try again in 20s", "… after 22 seconds" or "… replenished in 02:15:33"."""
    words = _IN_WORDS.search(message)
    if words is None or (words["wait"] and not words["unit"]):
        return None
    if ":" in words["amount"]:
        return functools.reduce(lambda wait_s, part: wait_s * 60 + int(part), words["amount"].split(":"), 0.0)
    wait_s = _seconds(words["amount"].rstrip("."), now_s)
    unit = (words["unit"] or "").lower()
    return wait_s and wait_s * next((unit_s for word, unit_s in _WORDS_S if unit.startswith(word)), 1.0)


def _seconds(value: Json, now_s: float) -> float | None:
    """Read a number, a duration such as ``2m59.5s``, or a point in time in seconds or milliseconds."""
    text = str(value).strip().lower() if isinstance(value, (str, int, float)) else ""
    try:
        number = float(text)
    except ValueError:
        match = _DURATION.fullmatch(text)
        if not text or match is None:
            return None
        return sum(float(part or 0) * unit_s for part, unit_s in zip(match.groups(), _DURATION_UNITS_S, strict=True))
    if not 0 <= number < _EPOCH_MS * 1e3:  # negative, NaN, infinite
        return None
    if number > _EPOCH_MS:
        number = number / 1e3 - now_s
    elif number > _EPOCH_S:
        number -= now_s
    return max(number, 0.0)


def _date_s(value: str) -> float | None:
    try:
        at = parsedate_to_datetime(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()  # HTTP dates without a zone are in UTC
    except (ValueError, TypeError, OverflowError):
        return None


def _lower(headers: Mapping[Any, Any]) -> dict[str, str]:
    return {str(key).lower(): str(value) for key, value in headers.items()}
