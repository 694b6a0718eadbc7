"""Finish reasons: which of them end a whole answer, and what a client does with the others."""

from __future__ import annotations

from typing import Final

from adapters.testing.answers import Answer, answer, call, called, chunk, completion, reply, said, stream
from adapters.testing.case import CALLING, CHAT, CHAT_STREAM, STREAM_EVENTS, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import GARBLED, HI, LIGHTS, OSLO, SUNNY, TWO_TRIES, WEATHER

_HALF = "I will turn off the"
_FAILED: Final = (
    ("vllm", "abort"),
    ("sglang", "ABORT"),
    ("deepseek", "insufficient_system_resource"),
    ("zai", "network_error"),
    ("cohere", "TIMEOUT"),
    ("mistral", "error"),
    ("bedrock", "malformed_model_output"),
)
_CUT: Final = (
    ("zai", "model_context_window_exceeded"),
    ("mistral", "model_length"),
    ("gemini", "MAX_TOKENS"),
    ("vercel", "max-tokens"),
)
_FILTERED: Final = (
    ("zai", "sensitive"),
    ("gemini", "content_filter: PROHIBITED_CONTENT"),
    ("vercel", "content-filter"),
    ("bedrock", "guardrail_intervened"),
)
_MALFORMED: Final = (
    ("gemini", "function_call_filter: MALFORMED_FUNCTION_CALL"),
    ("gemini-native", "MALFORMED_FUNCTION_CALL"),
    ("bedrock", "malformed_tool_use"),
)


def _case_id(server: str, word: str, end: str) -> str:
    return f"{server}-{word.lower().replace(': ', '-').replace('_', '-')}-{end}"


CASES: Final = (
    *[
        case
        for server, word in _FAILED
        for case in (
            WireCase(
                _case_id(server, word, "after-text"),
                f"the server gave up with {word!r}: the text that came is cut",
                [stream(said(_HALF), chunk({"content": ""}, word))],
                Failure("IncompleteResponseError", after=_HALF, retryable=True),
                ways=STREAMS,
            ),
            WireCase(
                _case_id(server, word, "in-json"),
                f"the server gave up with {word!r}; no text was returned yet, so the request is retried",
                [reply(completion({"content": _HALF}, word)), answer("Hi there")],
                HI,
                ways=CHAT,
                options=TWO_TRIES,
                requests=2,
            ),
            WireCase(
                _case_id(server, word, "after-call"),
                f"the server gave up with {word!r}: no call of such an answer runs",
                [answer(calls=[call("lights_off", "{}")], finish=word)],
                Failure("IncompleteResponseError", retryable=True),
                ways=CALLING,
                tools=True,
            ),
        )
    ],
    *[
        case
        for server, word in _CUT
        for case in (
            WireCase(
                _case_id(server, word, "after-text"),
                f"{word!r} is a length limit like 'length': the text is valid",
                [answer("Once upon", " a", finish=word)],
                Success(text="Once upon a", finish_reason=word),
            ),
            WireCase(
                _case_id(server, word, "before-text"),
                f"{word!r} before the first text is an error that is retried",
                [answer(finish=word, reasoning="Hm."), answer("Hi there")],
                HI,
                options=TWO_TRIES,
                requests=2,
            ),
            WireCase(
                _case_id(server, word, "in-call"),
                f"{word!r} in a call: it is not whole and never runs",
                [answer(calls=[call("get_weather", "")], finish=word)],
                GARBLED,
                ways=CALLING,
                tools=True,
            ),
        )
    ],
    *[
        WireCase(
            _case_id(server, word, "without-text"),
            f"{word!r} is a content filter; the same request will not succeed",
            [answer(finish=word)],
            Failure("ContentFilterError", retryable=False),
        )
        for server, word in _FILTERED
    ],
    WireCase(
        "zai-sensitive-in-call",
        "a content filter cuts a call: the error names the filter, and the call does not run",
        [answer("Well,", calls=[call("get_weather", '{"city": "Os')], finish="sensitive")],
        Failure("ContentFilterError", after="Well,", retryable=False),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    *[
        WireCase(
            _case_id(server, word, "in-json"),
            f"{word!r}: the call that the text announces is lost",
            [answer("Let me look.", finish=word), answer(calls=[call("get_weather", OSLO)])],
            Success(calls=(WEATHER,)),
            ways=CHAT,
            tools=True,
            options=TWO_TRIES,
            requests=2,
        )
        for server, word in _MALFORMED
    ],
    WireCase(
        "openrouter-native-malformed-call",
        "OpenRouter maps a reason that it does not know to 'stop'; the native one counts",
        [
            stream(
                said("Let me look."),
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {},
                            "finish_reason": "stop",
                            "native_finish_reason": "MALFORMED_FUNCTION_CALL",
                        }
                    ]
                },
            )
        ],
        Failure("IncompleteResponseError", after="Let me look.", retryable=True, says=("Failed to call a function",)),
        ways=STREAM_EVENTS,
        tools=True,
        kind="openrouter",
    ),
    WireCase(
        "openrouter-native-safety",
        "OpenRouter says 'stop', the provider behind it that its filter left nothing of the answer",
        [stream({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "SAFETY"}]})],
        Failure("ContentFilterError", retryable=False),
        ways=STREAMS,
        kind="openrouter",
    ),
    WireCase(
        "openrouter-native-max-tokens-in-call",
        "OpenRouter says 'tool_calls', the provider behind it that the answer was cut in its call",
        [
            stream(
                called({"index": 0, **call("get_weather", "{}")}),
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {},
                            "finish_reason": "tool_calls",
                            "native_finish_reason": "MAX_TOKENS",
                        }
                    ]
                },
            )
        ],
        GARBLED,
        ways=STREAM_EVENTS,
        tools=True,
        kind="openrouter",
    ),
    WireCase(
        "litellm-proxy-native-malformed-call",
        "a LiteLLM proxy maps Gemini's failure to 'stop', and names it in provider_specific_fields",
        [
            reply(
                {
                    **completion({}),
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": "Let me look."},
                            "finish_reason": "stop",
                            "provider_specific_fields": {"native_finish_reason": "MALFORMED_FUNCTION_CALL"},
                        }
                    ],
                }
            )
        ],
        GARBLED,
        ways=CHAT,
        tools=True,
    ),
    *[
        WireCase(
            f"glm-{word.replace('_', '-')}-without-call",
            f"the finish reason is {word!r}, and not one call came: it is lost",
            [stream(said("I switch it on now."), chunk({}, word))],
            Failure(
                "IncompleteResponseError",
                after="I switch it on now.",
                retryable=True,
                says=("Failed to call a function",),
            ),
            ways=STREAM_EVENTS,
            tools=True,
        )
        for word in ("tool_calls", "function_call", "tool_use")
    ],
    WireCase(
        "glm-tool-calls-without-call-or-tools",
        "the finish reason is 'tool_calls' although no tool was offered: no call can be lost",
        [answer(SUNNY, finish="tool_calls")],
        Success(text=SUNNY),
    ),
    WireCase(
        "glm-tool-calls-without-call-where-text-was-wanted",
        "the finish reason is 'tool_calls' although calls are forbidden: the text is valid",
        [answer(SUNNY, finish="tool_calls")],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=True,
    ),
    WireCase(
        "clone-finish-unknown",
        "a finish reason that is not known keeps the text",
        [answer("Hi there", finish="done_reason_42")],
        Success(text="Hi there", finish_reason="done_reason_42"),
    ),
    WireCase(
        "clone-finish-unknown-whole-call",
        "a finish reason that is not known: a call that is whole is valid",
        [answer(calls=[call("get_weather", OSLO), call("lights_off", "{}", "b")], finish="done_reason_42")],
        Success(calls=(WEATHER, LIGHTS)),
        ways=CALLING,
        tools=True,
    ),
    *[
        WireCase(
            f"clone-finish-unknown-half-call-{number}",
            f"a finish reason that is not known: a call with the arguments {arguments!r} may be cut",
            [answer(calls=[call("get_weather", arguments)], finish="done_reason_42")],
            GARBLED,
            ways=CALLING,
            tools=True,
        )
        for number, arguments in enumerate(("", "{}", '{"city": "Os'))
    ],
    *[
        WireCase(
            f"dashscope-finish-{word.lower()}-text",
            f"the finish reason of every chunk is the text {word!r}, which means null",
            [stream(chunk({"content": "Hi"}, word), chunk({"content": " there"}, word), chunk({}, "stop"))],
            Success(text="Hi there", finish_reason="stop"),
            ways=STREAMS,
        )
        for word in ("null", "None")
    ],
    WireCase(
        "dashscope-finish-null-text-cut",
        "the finish reason 'null' is no end: the body ends in the middle of the answer",
        [stream(chunk({"content": _HALF}, "null"), done=False)],
        Failure("IncompleteResponseError", after=_HALF, retryable=True),
        ways=STREAMS,
    ),
    WireCase(
        "vllm-abort-after-call-name",
        "aborted behind the name of a call",
        [
            Answer(
                reply(completion({"tool_calls": [call("lights_off", "")]}, "abort")),
                stream(called({"index": 0, **call("lights_off", "")}), chunk({}, "abort")),
            )
        ],
        Failure("IncompleteResponseError", retryable=True),
        ways=CALLING,
        tools=True,
    ),
)
