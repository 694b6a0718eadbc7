"""Where the count of tokens hides, and what is no count."""

from __future__ import annotations

from typing import Final

from adapters.testing.answers import STOP, answer, chunk, said, stream
from adapters.testing.case import STREAMS, Success, WireCase

_ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_NINE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def _usage(case_id: str, why: str, usage: object, expected: tuple[int, int] | None) -> WireCase:
    return WireCase(case_id, why, [answer("Hi there", usage=usage)], Success(text="Hi there", usage=expected))


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
        "usage stands in x_groq",
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
    WireCase(
        "turn-without-usage-forgets",
        "the count of an earlier turn is not the count of this one",
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
