"""Read the token counts and the cost of a response, under the names that each server gives them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from adapters.types import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.types import Json

_PROMPT = ("prompt_tokens_details", "input_tokens_details")
_COMPLETION = ("completion_tokens_details", "output_tokens_details")
_WRITTEN = (
    "cache_write_tokens",
    "cache_creation_tokens",
    "cache_creation_input_tokens",
)  # OpenRouter, LiteLLM, Anthropic
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")  # Moonshot, DeepSeek, Anthropic


def usage_of(payload: Mapping[str, Json], choice: Mapping[str, Json]) -> TokenUsage | None:
    """Return the usage, or None if the payload has none. Zeros count as none.

    Args:
        payload: A payload. Groq puts the usage into ``x_groq``.
        choice: Its choice. Moonshot puts the usage there.
    """
    groq = payload.get("x_groq")
    for usage in (payload.get("usage"), choice.get("usage"), groq.get("usage") if isinstance(groq, dict) else None):
        if isinstance(usage, dict):
            prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens"))) or 0
            completion = _count(usage.get("completion_tokens", usage.get("output_tokens"))) or 0
            if prompt or completion:
                cached, timings = _cached(usage), payload.get("timings")
                if cached is None and isinstance(timings, dict):
                    cached = _count(timings.get("cache_n"))  # older llama.cpp
                reasoning = _detail(usage, _COMPLETION, "reasoning_tokens")
                return TokenUsage(prompt, completion, cached, reasoning, _cost(usage.get("cost")), _written(usage))
    return None


def _cached(usage: Mapping[str, Json]) -> int | None:
    count = _detail(usage, _PROMPT, "cached_tokens")
    for name in _CACHED:
        if count is None:
            count = _count(usage.get(name))
    return count


def _written(usage: Mapping[str, Json]) -> int | None:
    counts = (_detail(usage, _PROMPT, name) for name in _WRITTEN)
    nested = next((count for count in counts if count is not None), None)
    return _count(usage.get(_WRITTEN[-1])) if nested is None else nested


def _detail(usage: Mapping[str, Json], groups: tuple[str, ...], name: str) -> int | None:
    for group in groups:
        if isinstance(details := usage.get(group), dict):
            return _count(details.get(name))
    return None


def _count(value: Json) -> int | None:
    if value is None:
        return None
    try:
        return max(int(float(value)), 0)
    except (TypeError, ValueError, OverflowError):
        return None


def _cost(value: Json) -> Decimal | None:
    """Return an amount of money, exactly as the server wrote it.

    The JSON reader makes a float of it, whose shortest spelling is the server's number up to 15 significant digits. No
    price has more.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost >= 0 else None
