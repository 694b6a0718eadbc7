"""How responses end: whole, broken off, empty. A response that breaks off or is empty is an error."""

from __future__ import annotations

import json
from typing import Final

from adapters.testing.answers import (
    DONE,
    SSE_END,
    SSE_HEAD,
    STOP,
    Answer,
    answer,
    chunk,
    completion,
    event,
    http,
    http_chunk,
    raw_stream,
    reply,
    said,
    stream,
)
from adapters.testing.case import CHAT, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import HI

_NOTHING = Failure("IncompleteResponseError", retryable=True)
_LOGIN = b"<!DOCTYPE html><html><head><title>Guest network</title></head><body>Please sign in</body></html>"


def _empty(content: object, finish: str | None = "stop", **message: object) -> Answer:
    """Script a response with this content and nothing else."""
    fields = {"content": content, **message}
    return Answer(reply(completion(fields, finish)), stream(chunk(fields), chunk({}, finish)))


CASES: Final = (
    WireCase(
        "transformers-no-done",
        "[DONE] never comes; the finish reason did",
        [stream(said("Hi there"), STOP, done=False)],
        Success(text="Hi there", finish_reason="stop"),
        ways=STREAMS,
    ),
    WireCase(
        "proxy-open-after-finish",
        "neither [DONE] nor the end of the body comes after the finish reason",
        [[SSE_HEAD, http_chunk(event(said("Hi there"))), http_chunk(event(STOP)), "hang"]],
        HI,
        ways=STREAMS,
        within_s=2.0,
    ),
    WireCase(
        "proxy-open-after-done",
        "the body stays open after [DONE]",
        [[SSE_HEAD, http_chunk(event(said("Hi there")) + event(STOP) + DONE), "hang"]],
        HI,
        ways=STREAMS,
        within_s=2.0,
    ),
    WireCase(
        "clone-done-without-finish",
        "[DONE] alone says that the answer is whole",
        [stream(said("Hi there"))],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "balancer-cut-clean",
        "the body ends with neither a finish reason nor [DONE]",
        [stream(said("Hello wor"), done=False)],
        Failure("IncompleteResponseError", after="Hello wor", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "balancer-cut-in-event",
        "the body ends in the middle of an event",
        [raw_stream(event(said("Hello")), event(said(" world"))[:50])],
        Failure("IncompleteResponseError", after="Hello", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "ollama-empty-chunk-on-failure",
        "a crashed runner sends an empty chunk and ends the body",
        [stream(said("Hel"), {**said(""), "model": ""}, done=False)],
        Failure("IncompleteResponseError", after="Hel", retryable=True),
        ways=STREAMS,
        kind="ollama",
    ),
    WireCase(
        "proxy-interleaved-writers",
        "two writers garble an event: what follows cannot be trusted",
        [stream(said("Hel"), b'data: {"id":"c1","choices":[{"delta":{"role":"adata: {"id":\n\n', said("lo"), STOP)],
        Failure("IncompleteResponseError", after="Hel", retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "portal-login-page",
        "a captive portal answers its login page with 200",
        [[http(_LOGIN, content_type="text/html; charset=utf-8")]],
        Failure("IncompleteResponseError", retryable=True, hides=("<",)),
    ),
    WireCase("server-empty-body", "200 and a body of no bytes", [[http(b"")]], _NOTHING),
    WireCase("server-empty-stream", "a stream of no events", [[SSE_HEAD, SSE_END]], _NOTHING, ways=STREAMS),
    WireCase("clone-done-only", "[DONE] and nothing else", [raw_stream(DONE)], _NOTHING, ways=STREAMS),
    WireCase(
        "openrouter-comments-only",
        "comments and then the end",
        [raw_stream(b": PROCESSING\n\n" * 3)],
        _NOTHING,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase("clone-role-only", "a role, [DONE] and nothing else", [stream()], _NOTHING, ways=STREAMS),
    WireCase("omlx-white-space-only", "200 and white space", [[http(b"  \n \n  ")]], _NOTHING),
    WireCase(
        "proxy-half-json",
        "JSON that is cut",
        [[http(json.dumps(completion({"content": "Hi"})).encode()[:-30])]],
        _NOTHING,
    ),
    WireCase("proxy-json-array", "JSON that is no object", [reply([1, 2])], _NOTHING),
    WireCase("proxy-json-null", "the JSON null", [reply(None)], _NOTHING),
    WireCase("proxy-json-of-something-else", "JSON that is no completion", [reply({"status": "ok"})], _NOTHING),
    *[
        WireCase(
            f"model-says-{name}",
            f"content is {content!r} and there is no call: the response is empty",
            [_empty(content)],
            _NOTHING,
        )
        for name, content in (("nothing", ""), ("null", None), ("blank", "  \n\n "))
    ],
    WireCase("model-cut-before-first-word", "finish reason length and no text", [_empty("", "length")], _NOTHING),
    WireCase(
        "clone-no-content-at-all",
        "the message has only a role",
        [Answer(reply(completion({})), stream(chunk({}), STOP))],
        _NOTHING,
    ),
    WireCase(
        "model-cut-by-max-tokens",
        "text that was cut by max_tokens is valid; the finish reason says that it is cut",
        [answer("Once upon", " a", finish="length")],
        Success(text="Once upon a", finish_reason="length"),
    ),
    WireCase(
        "azure-content-filter-empty",
        "a content filter removed the whole response",
        [_empty("", "content_filter")],
        Failure("ContentFilterError", retryable=False),
    ),
    WireCase(
        "azure-content-filter-after-text",
        "a content filter stopped the response after some text",
        [answer("Well,", finish="content_filter")],
        Success(text="Well,", finish_reason="content_filter"),
    ),
    WireCase(
        "openai-refusal",
        "a refusal is content",
        [answer(refusal="I can't help with that.")],
        Success(text="I can't help with that."),
    ),
    WireCase(
        "openai-refusal-in-pieces",
        "a refusal is streamed like text",
        [stream(chunk({"content": None, "refusal": "I can't"}), chunk({"refusal": " help."}), STOP)],
        Success(text="I can't help."),
        ways=STREAMS,
    ),
    *[
        WireCase(
            f"{server}-finish-{finish.replace('_', '-')}",
            f"the finish reason is {finish!r}",
            [answer("Hi there", finish=finish)],
            HI,
        )
        for server, finish in (("tgi", "eos_token"), ("tgi", "stop_sequence"), ("mistral", "model_length"))
    ],
    WireCase(
        "ollama-finish-null",
        "the finish reason of a response in plain JSON is null",
        [reply(completion({"content": "Hi there"}, None))],
        HI,
        ways=CHAT,
    ),
    WireCase(
        "empty-then-answer",
        "an empty response is retried",
        [_empty(""), answer("Hi there")],
        HI,
        options={"retry": {"attempts": 2, "initial_wait_s": 0.01}},
        requests=2,
    ),
    WireCase(
        "cut-is-not-repeated",
        "nothing is retried after the first text, which must not be spoken twice",
        [stream(said("Hel"), done=False), answer("Hello")],
        Failure("IncompleteResponseError", after="Hel", retryable=True),
        ways=STREAMS,
        options={"retry": {"attempts": 3, "initial_wait_s": 0.01}},
    ),
)
