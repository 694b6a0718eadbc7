"""Errors as events of a stream, most of them after some text, and which of them are retried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import Answer, answer, chunk, event, reply, said, stream
from adapters.testing.case import CHAT, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import TWO_TRIES, coded, server_broke

if TYPE_CHECKING:
    from adapters.testing.answers import JsonObject

_GROQ_EVENT = (
    b'event: error\ndata: {"error":{"message":"Over capacity","type":"internal_server_error","code":"503"}}\n\n'
)


def _late(case_id: str, why: str, bad: JsonObject | bytes, expect: Failure, **fields: Any) -> WireCase:
    """Make one case of an error event after the text "Hel"."""
    return WireCase(case_id, why, [stream(said("Hel"), bad)], expect, ways=STREAMS, **fields)


CASES: Final = (
    _late(
        "openrouter-finish-error-after-text",
        "the finish reason 'error' after some text",
        chunk({}, "error"),
        Failure(("InternalServerError", "IncompleteResponseError"), after="Hel", retryable=True),
        kind="openrouter",
    ),
    _late(
        "openrouter-error-after-text",
        "an error chunk after some text",
        {**chunk({"content": ""}, "error"), **coded(502, "Provider disconnected")},
        server_broke("Provider disconnected", 502, "Hel"),
        kind="openrouter",
    ),
    _late(
        "openrouter-error-after-text-word",
        "its code is a word",
        {**chunk({"content": ""}, "error"), **coded("server_error", "Provider overloaded")},
        server_broke("Provider overloaded", None, "Hel"),
        kind="openrouter",
    ),
    _late(
        "vllm-error-after-text",
        "an error object, then [DONE]",
        {"error": {"message": "CUDA out of memory", "type": "InternalServerError", "param": None, "code": 500}},
        server_broke("CUDA out of memory", 500, "Hel"),
    ),
    _late(
        "vllm-flat-error-after-text",
        "a flat error object after some text",
        {"object": "error", "message": "oops", "type": "InternalServerError", "param": None, "code": 500},
        server_broke("oops", 500, "Hel"),
    ),
    _late(
        "litellm-proxy-error-after-text",
        "the code is a number in a string",
        {"error": {"message": "Connection lost", "type": "None", "param": "None", "code": "500"}},
        server_broke("Connection lost", 500, "Hel"),
    ),
    _late(
        "tgi-error-after-text",
        "the status is in http_status_code",
        {"error": {"message": "Request failed during generation", "http_status_code": 424}},
        server_broke("Request failed during generation", 424, "Hel"),
    ),
    _late(
        "tgi-error-string-after-text",
        "the error is a string",
        {"error": "Request failed during generation", "error_type": "generation"},
        Failure("APIError", after="Hel", says=("Request failed during generation",)),
    ),
    _late(
        "groq-error-event-after-text",
        "an event of type error",
        _GROQ_EVENT,
        server_broke("Over capacity", 503, "Hel"),
        kind="groq",
    ),
    _late(
        "proxy-error-event-of-text",
        "an event of type error whose data is no JSON",
        b"event: error\ndata: upstream exploded\n\n",
        Failure("APIError", after="Hel", says=("upstream exploded",)),
    ),
    _late(
        "openrouter-moderation-after-text",
        "moderation stops the stream",
        {**chunk({}, "error"), **coded(403, "The output was flagged")},
        Failure(
            ("ContentFilterError", "PermissionDeniedError"),
            after="Hel",
            status_code=403,
            retryable=False,
            says=("flagged",),
        ),
        kind="openrouter",
    ),
    WireCase(
        "sse-error-without-data-prefix",
        "a framework writes the error as bare JSON into the stream",
        [stream(said("Hel"), b'{"error": {"message": "worker died", "code": 500}}\n\n', done=False)],
        Failure("APIError", after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "openrouter-length-then-error",
        "all tokens went into reasoning, and an error reports it",
        [
            stream(
                chunk({"content": "", "reasoning": "hmm"}),
                chunk({"content": ""}, "length"),
                {**chunk({"content": ""}, "error"), **coded(400, "Token limit reached")},
            )
        ],
        Failure(("BadRequestError", "IncompleteResponseError"), says=("limit",)),
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "error-before-text-is-retried",
        "an error before the first text is retried",
        [stream(coded(503, "overloaded")), answer("Hi there")],
        Success(text="Hi there"),
        ways=STREAMS,
        kind="openrouter",
        options=TWO_TRIES,
        requests=2,
    ),
    WireCase(
        "error-in-200-is-retried",
        "a retryable error inside a 200 is retried",
        [reply(coded(502)), answer("Hi there")],
        Success(text="Hi there"),
        ways=CHAT,
        kind="openrouter",
        options=TWO_TRIES,
        requests=2,
    ),
    WireCase(
        "error-after-text-is-not-retried",
        "nothing is retried after the first text",
        [stream(said("Hel"), coded(503, "overloaded")), answer("Hello")],
        server_broke("overloaded", 503, "Hel"),
        ways=STREAMS,
        kind="openrouter",
        options=TWO_TRIES,
    ),
    WireCase(
        "error-400-in-stream-is-not-retried",
        "an error that is not retryable is not retried",
        [Answer(reply(coded(400)), stream(coded(400))), answer("Hello")],
        Failure("BadRequestError", status_code=400, retryable=False),
        options=TWO_TRIES,
    ),
    WireCase(
        "sse-error-with-crlf",
        "an error event with CR LF",
        [stream(said("Hel"), event(coded(500, "It broke"), newline="\r\n"))],
        server_broke("It broke", 500, "Hel"),
        ways=STREAMS,
    ),
)
