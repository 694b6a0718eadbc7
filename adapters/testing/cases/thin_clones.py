"""Chunks and completions with fields that are missing, null, unusual or repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import (
    STOP,
    Answer,
    answer,
    call,
    called,
    chunk,
    completion,
    event,
    raw_stream,
    reply,
    said,
    stream,
)
from adapters.testing.case import ALL, CHAT, STREAM_EVENTS, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import HI, OSLO, WEATHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.testing.answers import JsonObject

_KINDS = ("openai_compatible", "openrouter")


def _thin(choice: dict[str, Any] | None = None, **envelope: object) -> Answer:
    """Script "Hi there" in envelopes with only these fields."""
    choice = choice or {}
    plain = {**envelope, "choices": [{**choice, "message": {"content": "Hi there"}, "finish_reason": "stop"}]}
    deltas: Sequence[dict[str, Any]] = ({"content": "Hi"}, {"content": " there"})
    events = [{**envelope, "choices": [{**choice, "delta": delta}]} for delta in deltas]
    end = {**envelope, "choices": [{**choice, "delta": {}, "finish_reason": "stop"}]}
    return Answer(reply(plain), raw_stream(*map(event, [*events, end]), b"data: [DONE]\n\n"))


_LONG = "The light in the kitchen is on now, and the one in the hall is not."


def _message(message: Mapping[str, object], **choice: object) -> JsonObject:
    """Build a last chunk that holds the whole message."""
    return {**STOP, "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


CASES: Final = (
    *[
        WireCase(
            f"clone-bare-chunks-{kind.replace('_', '-')}",
            "no id, model, object, created, index",
            [_thin()],
            HI,
            kind=kind,
        )
        for kind in _KINDS
    ],
    *[
        WireCase(
            f"clone-null-envelope-{kind.replace('_', '-')}",
            "id, model, object, created and index are null",
            [_thin({"index": None, "logprobs": None}, id=None, model=None, object=None, created=None, usage=None)],
            HI,
            kind=kind,
        )
        for kind in _KINDS
    ],
    *[
        WireCase(
            f"clone-error-null-{kind.replace('_', '-')}",
            "'error': null is no error",
            [_thin(error=None)],
            HI,
            kind=kind,
        )
        for kind in _KINDS
    ],
    *[
        WireCase(
            f"{name}-{kind.replace('_', '-')}",
            f"a chunk {why} does not end the response",
            [stream(said("Hi"), odd, said(" there"), STOP)],
            HI,
            ways=STREAMS,
            kind=kind,
        )
        for kind in _KINDS
        for name, why, odd in (
            ("azure-no-choices", "without choices", {"id": "x", "prompt_filter_results": []}),
            ("clone-choices-null", "whose choices are null", {**STOP, "choices": None}),
            ("clone-delta-null", "whose delta is null", chunk(None)),
            ("clone-no-delta", "without delta", {**STOP, "choices": [{"index": 0, "finish_reason": None}]}),
            ("clone-content-null", "whose content is null", said(None)),
            ("clone-tool-calls-null", "whose tool_calls are null", chunk({"tool_calls": None, "content": ""})),
            ("clone-choice-null", "whose only choice is null", {**STOP, "choices": [None]}),
        )
    ],
    WireCase("clone-role-model", "the role is 'model'", [answer("Hi there", role="model")], HI),
    WireCase(
        "vllm-tool-calls-empty",
        "'tool_calls': [] beside a text is no call",
        [answer("Hi there", tool_calls=[])],
        HI,
        tools=True,
    ),
    WireCase(
        "gateway-two-choices",
        "a gateway sends two choices although one was requested: only the first is the response",
        [
            Answer(
                reply(
                    {
                        **completion({"content": "Hi there"}),
                        "choices": [
                            {"index": 1, "message": {"content": "OTHER"}, "finish_reason": "stop"},
                            {"index": 0, "message": {"content": "Hi there"}, "finish_reason": "stop"},
                        ],
                    }
                ),
                stream(
                    {
                        **STOP,
                        "choices": [
                            {"index": 1, "delta": {"content": "OTHER"}},
                            {"index": 0, "delta": {"content": "Hi"}},
                        ],
                    },
                    {**STOP, "choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
                    said(" there"),
                    STOP,
                ),
            )
        ],
        HI,
    ),
    WireCase(
        "openrouter-text-beside-finish",
        "the last text comes in the chunk of the finish reason",
        [stream(said("Hi"), chunk({"content": " there"}, "stop"))],
        Success(text="Hi there", finish_reason="stop"),
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "openrouter-text-after-finish",
        "text and a second finish come after the finish reason",
        [stream(said("Hi"), STOP, said(" there"), STOP)],
        HI,
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "mistral-content-parts",
        "content is a list of parts; a thinking part is reasoning",
        [
            answer(
                content=[
                    {"type": "thinking", "thinking": [{"type": "text", "text": "secret"}]},
                    {"type": "text", "text": "Hi "},
                    {"type": "text", "text": "there"},
                ]
            )
        ],
        Success(text="Hi there", reasoning="secret"),
    ),
    WireCase(
        "proxy-content-parts-of-strings",
        "content is a list of strings",
        [answer(content=["Hi ", "there"])],
        HI,
    ),
    *[
        WireCase(
            f"{server}-special-token", f"{token} at the end of the text is removed", [answer("Hi there", token)], HI
        )
        for server, token in (("qwen", "<|im_end|>"), ("mistral", "</s>"), ("llama", "<|eot_id|>"))
    ],
    WireCase(
        "deepseek-leading-white-space",
        "white space before the first word is removed, white space after the last one is kept",
        [answer("\n\n", "  ", "Hi there", "\n")],
        Success(text="Hi there\n"),
    ),
    WireCase(
        "openai-audio-transcript",
        "an audio model: the text is in audio.transcript, and content is null",
        [
            Answer(
                reply(completion({"content": None, "audio": {"id": "a", "data": "", "transcript": "Hi there"}})),
                stream(*[chunk({"audio": {"transcript": text}}) for text in ("Hi", " there")], STOP),
            )
        ],
        HI,
    ),
    WireCase(
        "clone-whole-message-last",
        "the last chunk holds the whole message, and no delta: it adds nothing",
        [stream(said("Hi"), said(" there"), _message({"content": "Hi there"}))],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "clone-whole-message-beside-empty-delta",
        "the same beside an empty delta",
        [stream(said("Hi"), said(" there"), _message({"content": "Hi there"}, delta={}))],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "clone-whole-message-alone",
        "deltas without text, and then the whole message",
        [stream(chunk({"content": ""}), _message({"content": "Hi there"}, delta={}))],
        HI,
        ways=STREAMS,
    ),
    WireCase(
        "clone-whole-message-with-call",
        "the whole message repeats the call of the deltas, without an id",
        [
            stream(
                called({"index": 0, **call("get_weather", OSLO)}),
                _message({"tool_calls": [{"function": {"name": "get_weather", "arguments": OSLO}}]}),
            )
        ],
        Success(calls=(WEATHER,)),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "dashscope-cumulative",
        "each delta is all of the text so far",
        [stream(*map(said, ("Hi", "Hi there", "Hi there, how", "Hi there, how are you?")), STOP)],
        Success(text="Hi there, how are you?"),
        ways=STREAMS,
    ),
    WireCase(
        "gemini-relay-repeats-all",
        "the last delta repeats the whole answer",
        [stream(said(_LONG[:30]), said(_LONG[30:]), chunk({"content": _LONG}, "stop"))],
        Success(text=_LONG),
        ways=STREAMS,
    ),
    WireCase(
        "model-says-it-twice",
        "a short delta that repeats all of the text is a repetition of the model",
        [stream(said("No. "), said("No. "), said("No. No. Never."), STOP)],
        Success(text="No. No. No. No. Never."),
        ways=STREAMS,
    ),
    *[
        WireCase(
            f"{case_id}",
            why,
            [reply(body)],
            Failure("IncompleteResponseError", retryable=True, hides=("'choices'",)),
            ways=ways,
            kind="openrouter",
        )
        for case_id, why, body, ways in (
            ("openrouter-choices-null", "choices is null", {**completion({}), "choices": None}, ALL),
            ("openrouter-choices-empty", "choices is empty", {**completion({}), "choices": []}, ALL),
            ("openrouter-choices-missing", "choices is missing", {"id": "x", "object": "chat.completion"}, ALL),
            (
                "openrouter-message-null",
                "the message is null",
                {**completion({}), "choices": [{"index": 0, "message": None, "finish_reason": "stop"}]},
                CHAT,
            ),
        )
    ],
    WireCase(
        "openrouter-completion-nested-in-provider",
        "the whole completion is in 'provider', and choices is null",
        [
            reply(
                {
                    "id": None,
                    "choices": None,
                    "provider": {"id": "gen-1", "provider": "Google", **completion({"content": "Hi there"})},
                }
            )
        ],
        Failure("IncompleteResponseError", retryable=True),
        kind="openrouter",
    ),
)
