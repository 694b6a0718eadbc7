"""Where servers put the usage, and values that are no usage."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from adapters.testing.answers import STOP, answer, chunk, said, stream
from adapters.testing.case import CALLING, STREAMS, Success, WireCase
from adapters.types import TokenUsage

if TYPE_CHECKING:
    from adapters.testing.case import Outcome

_ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_NINE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def _usage(case_id: str, why: str, usage: object, expected: tuple[int, int] | None) -> WireCase:
    return WireCase(case_id, why, [answer("Hi there", usage=usage)], Success(text="Hi there", usage=expected))


def _priced(case_id: str, why: str, details: dict[str, object], expected: TokenUsage) -> WireCase:
    """Make the case of further usage fields. ``chat_stream`` returns no response that has them."""

    def holds(outcome: Outcome) -> bool:
        return outcome.response is not None and outcome.response.usage == expected

    step = answer("Hi there", usage={**_NINE, **details})
    return WireCase(case_id, why, [step], Success(text="Hi there", usage=(9, 2), holds=holds), ways=CALLING)


CASES: Final = (
    WireCase(
        "vllm-usage-in-last-chunk",
        "usage comes in a chunk without choices",
        [stream(said("Hi there"), STOP, {**STOP, "choices": [], "usage": _NINE})],
        Success(text="Hi there", usage=(9, 2)),
        ways=STREAMS,
    ),
    WireCase(
        "localai-usage-zero-on-each-chunk",
        "zeros on each chunk, the count on the last",
        [stream(said("Hi", usage=_ZERO), said(" there", usage=_ZERO), chunk({}, "stop", usage=_NINE))],
        Success(text="Hi there", usage=(9, 2)),
        ways=STREAMS,
    ),
    WireCase(
        "localai-usage-zero-after-count",
        "zeros that come after the count do not erase it",
        [stream(said("Hi there", usage=_NINE), chunk({}, "stop", usage=_ZERO))],
        Success(text="Hi there", usage=(9, 2)),
        ways=STREAMS,
    ),
    WireCase(
        "vllm-usage-cumulative",
        "usage grows from chunk to chunk and is not summed",
        [stream(said("Hi", usage={**_NINE, "completion_tokens": 1}), said(" there", usage=_NINE), STOP)],
        Success(text="Hi there", usage=(9, 2)),
        ways=STREAMS,
    ),
    WireCase(
        "groq-usage-in-x-groq",
        "usage is in x_groq",
        [stream(said("Hi there"), {**STOP, "x_groq": {"id": "req_1", "usage": _NINE}})],
        Success(text="Hi there", usage=(9, 2)),
        ways=STREAMS,
        kind="groq",
    ),
    _usage("clone-usage-null", "usage is null: nothing is claimed", None, None),
    _usage("clone-usage-zero", "usage is zeros: nothing is claimed", _ZERO, None),
    _usage("clone-usage-text", "usage in strings", {"prompt_tokens": "9", "completion_tokens": "2"}, (9, 2)),
    _usage("clone-usage-floats", "usage in floats", {"prompt_tokens": 9.0, "completion_tokens": 2.0}, (9, 2)),
    _usage("clone-usage-garbage", "usage that is no object", "many", None),
    _priced(
        "openai-usage-details",
        "cached and reasoning tokens are in nested objects",
        {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 1}},
        TokenUsage(9, 2, cached_tokens=4, reasoning_tokens=1),
    ),
    _priced(
        "litellm-usage-details-null",
        "the nested objects are empty: nothing is reported",
        {"prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": None, "cost": None},
        TokenUsage(9, 2),
    ),
    _priced(
        "openai-usage-nothing-cached",
        "zero is a value, unlike a missing field",
        {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}},
        TokenUsage(9, 2, cached_tokens=0, reasoning_tokens=0),
    ),
    _priced(
        "deepseek-usage-cache-hits",
        "cached tokens are reported as hits and misses",
        {"prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 3},
        TokenUsage(9, 2, cached_tokens=6),
    ),
    _priced(
        "moonshot-usage-cached-beside",
        "cached tokens are not nested",
        {"cached_tokens": 5},
        TokenUsage(9, 2, cached_tokens=5),
    ),
    _priced(
        "openrouter-usage-cache-write",
        "what was written to the prompt cache is nested",
        {"prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 5}},
        TokenUsage(9, 2, cached_tokens=0, cache_write_tokens=5),
    ),
    _priced(
        "litellm-usage-cache-write",
        "the nested count has another name",
        {"prompt_tokens_details": {"cache_creation_tokens": 5}, "cache_creation_input_tokens": 5},
        TokenUsage(9, 2, cache_write_tokens=5),
    ),
    _priced(
        "anthropic-usage-cache-write",
        "both counts are not nested",
        {"cache_read_input_tokens": 3, "cache_creation_input_tokens": 5},
        TokenUsage(9, 2, cached_tokens=3, cache_write_tokens=5),
    ),
    _priced(
        "openrouter-usage-cost",
        "the cost is no binary fraction",
        {"cost": 0.1, "is_byok": False},
        TokenUsage(9, 2, cost=Decimal("0.1")),
    ),
    _priced(
        "openrouter-usage-cost-tiny",
        "the cost is written with an exponent",
        {"cost": 4.2e-06},
        TokenUsage(9, 2, cost=Decimal("0.0000042")),
    ),
    WireCase(
        "turn-without-usage-forgets",
        "the usage of an earlier turn is not the usage of this one",
        [answer("Hi there"), answer("Hi there", usage=None)],
        Success(text="Hi there", usage=None),
        turns=2,
        requests=2,
    ),
    WireCase(
        "groq-everything-in-one-event",
        "text, finish reason and usage come in one event",
        [stream({**chunk({"content": "Hi there"}, "stop"), "usage": {"prompt_tokens": 9, "completion_tokens": 2}})],
        Success(text="Hi there", usage=(9, 2)),
        ways=STREAMS,
    ),
)
