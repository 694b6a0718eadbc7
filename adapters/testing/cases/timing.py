"""Servers that are slow, silent, or never end. Waits are short here: the limits are set to fit."""

from __future__ import annotations

from typing import Any, Final

from adapters.testing.answers import (
    CALLED,
    DONE,
    SSE_HEAD,
    STOP,
    answer,
    call,
    called,
    chunk,
    completion,
    event,
    http,
    http_chunk,
    more,
    reply,
    said,
)
from adapters.testing.case import ANY, CHAT, STREAM_EVENTS, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import HI, WEATHER

_LATE = Failure("APITimeoutError", retryable=True, status_code=None)
_TICK_S = 0.1


def _drip(*parts: bytes, times: int = 1) -> list[bytes | float]:
    """Script parts with a little time between them."""
    return [SSE_HEAD, *[action for part in parts * times for action in (http_chunk(part), _TICK_S)]]


def _limits(**limits_s: float) -> dict[str, Any]:
    return {"timeouts": {"connect_s": 1.0, **limits_s}}


CASES: Final = (
    WireCase(
        "openrouter-comments-forever",
        "comments are no progress towards the first word",
        [[*_drip(b": OPENROUTER PROCESSING\n\n", times=30), "hang"]],
        _LATE,
        ways=STREAMS,
        kind="openrouter",
        options=_limits(first_token_s=0.35),
        within_s=2.5,
    ),
    WireCase(
        "clone-role-forever",
        "chunks without content are no progress",
        [[*_drip(event(chunk({"role": "assistant", "content": ""})), times=30), "hang"]],
        _LATE,
        ways=STREAMS,
        options=_limits(first_token_s=0.35),
        within_s=2.5,
    ),
    WireCase(
        "server-silent-after-head",
        "the head, and then nothing",
        [[SSE_HEAD, "hang"]],
        _LATE,
        ways=STREAMS,
        options=_limits(first_token_s=0.3),
        within_s=2.5,
    ),
    WireCase(
        "server-silent",
        "not even a head",
        [["hang"]],
        _LATE,
        ways=STREAMS,
        options=_limits(first_token_s=0.3),
        within_s=2.5,
    ),
    WireCase(
        "qwen-thinks-for-too-long",
        "reasoning is progress, but no text: first_text_s ends it, and no word of it is text",
        [[*_drip(event(chunk({"reasoning_content": "Hm. "})), times=30), "hang"]],
        Failure("APITimeoutError", retryable=True, status_code=None, says=("still thinking",)),
        options=_limits(first_text_s=0.5),
        within_s=2.5,
    ),
    WireCase(
        "qwen-thinks-for-too-long-in-text",
        "the same in tags, after which the model is asked once more with thinking off",
        [[*_drip(event(said("<think>")), event(said("Hm. ")), times=15), "hang"], answer("Hi ", "there.")],
        Success(text="Hi there."),
        options=_limits(first_text_s=0.5) | {"on_long_thinking": "answer", "retry": {"attempts": 2}},
        requests=2,
        within_s=2.5,
    ),
    WireCase(
        "server-silent-in-chat",
        "not even a head",
        [["hang"]],
        _LATE,
        ways=CHAT,
        options=_limits(total_s=0.3),
        within_s=2.5,
    ),
    WireCase(
        "openrouter-silent-in-chat",
        "not even a head",
        [["hang"]],
        _LATE,
        ways=CHAT,
        kind="openrouter",
        options=_limits(total_s=0.3),
        within_s=2.5,
    ),
    WireCase(
        "omlx-spaces-forever-in-chat",
        "white space keeps the connection alive for ever",
        [
            [
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                *[a for _ in range(30) for a in (http_chunk(b" "), 0.1)],
                "hang",
            ]
        ],
        _LATE,
        ways=CHAT,
        options=_limits(total_s=0.35),
        within_s=2.5,
    ),
    WireCase(
        "model-stalls",
        "the stream stops in the middle and stays open",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), "hang"]],
        Failure("APITimeoutError", after="Hel", retryable=True),
        ways=STREAMS,
        options=_limits(stall_s=0.3),
        within_s=2.5,
    ),
    WireCase(
        "model-stalls-with-comments",
        "comments are no progress in the middle, too",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), *_drip(b": ping\n\n", times=30)[1:], "hang"]],
        Failure("APITimeoutError", after="Hel", retryable=True),
        ways=STREAMS,
        options=_limits(stall_s=0.35),
        within_s=2.5,
    ),
    WireCase(
        "model-never-ends",
        "text for ever: the limit of the whole answer ends it",
        [[*_drip(event(said("la")), times=30), "hang"]],
        Failure("APITimeoutError", after=ANY, retryable=True),
        ways=STREAMS,
        options=_limits(total_s=0.35),
        within_s=2.5,
    ),
    WireCase(
        "model-slow-but-steady",
        "each piece comes in time, all of them take longer than that",
        [[*_drip(*[event(said(text)) for text in ("Hi", " ", "th", "er", "e")], event(STOP), DONE), b"0\r\n\r\n"]],
        HI,
        ways=STREAMS,
        options=_limits(first_token_s=0.5, stall_s=0.5),
    ),
    WireCase(
        "model-thinks-long",
        "reasoning is progress: it may take longer than the first word may",
        [
            [
                *_drip(event(chunk({"reasoning": "hm"})), times=8),
                http_chunk(event(said("Hi there"))),
                http_chunk(event(STOP) + DONE),
                b"0\r\n\r\n",
            ]
        ],
        HI,
        ways=STREAMS,
        kind="openrouter",
        options=_limits(first_token_s=0.5, stall_s=0.5),
    ),
    WireCase(
        "model-writes-long-call",
        "pieces of a call are progress, too",
        [
            [
                *_drip(
                    event(called({"index": 0, **call("get_weather", "")})),
                    *[event(more(part)) for part in ('{"city"', ": ", '"Os', "lo", '"}')],
                    event(CALLED) + DONE,
                ),
                b"0\r\n\r\n",
            ]
        ],
        Success(calls=(WEATHER,)),
        ways=STREAM_EVENTS,
        tools=True,
        options=_limits(first_token_s=0.5, stall_s=0.5),
    ),
    WireCase(
        "model-slow-first-word-in-chat",
        "a plain answer may take as long as the whole limit allows",
        [[0.3, *reply(completion({"content": "Hi there"}))]],
        HI,
        ways=CHAT,
        options=_limits(first_token_s=0.1, stall_s=0.1),
    ),
    WireCase(
        "timeout-then-answer",
        "a silent server is asked again",
        [["hang"], answer("Hi there")],
        HI,
        ways=STREAMS,
        requests=2,
        within_s=2.5,
        options={**_limits(first_token_s=0.4), "retry": {"attempts": 2, "initial_wait_s": 0.01}},
    ),
    WireCase(
        "stall-after-text-is-not-retried",
        "after the first text nothing is asked again",
        [[SSE_HEAD, http_chunk(event(said("Hel"))), "hang"], answer("Hello")],
        Failure("APITimeoutError", after="Hel"),
        ways=STREAMS,
        within_s=2.5,
        options={**_limits(stall_s=0.2), "retry": {"attempts": 2, "initial_wait_s": 0.01}},
    ),
    WireCase(
        "server-body-stalls-in-chat",
        "half of a plain answer, and then nothing",
        [[http(b"x" * 200)[:-150], "hang"]],
        _LATE,
        ways=CHAT,
        options=_limits(total_s=0.3),
        within_s=2.5,
    ),
)
