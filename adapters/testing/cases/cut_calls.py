"""Calls that are cut off, calls in a response that breaks off, and calls although they are forbidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from adapters.types import Json

from adapters.testing.answers import CALLED, Answer, answer, call, called, completion, more, reply, said, stream
from adapters.testing.case import CALLING, CHAT_STREAM, STREAM_EVENTS, Failure, Success, WireCase
from adapters.testing.cases.common import GARBLED, LIGHTS, OSLO, SUNNY, WEATHER

_HALF = '{"city": "Os'


def _begin(
    arguments: Json = "", index: object = 0, call_id: object = "call00001", name: object = "get_weather"
) -> Json:
    return called({"index": index, **call(name, arguments, call_id)})


def _length(case_id: str, why: str, calls: list[Any], expect: Success | Failure) -> WireCase:
    """Make one case of calls in a response that was cut by max_tokens."""
    return WireCase(case_id, why, [answer(calls=calls, finish="length")], expect, ways=CALLING, tools=True)


_WHOLE = _begin(OSLO)

CASES: Final = (
    _length("length-cuts-arguments", "a call that is cut never runs", [call("get_weather", _HALF)], GARBLED),
    _length(
        "length-cuts-before-arguments",
        "a call without its arguments is cut",
        [call("get_weather", "")],
        GARBLED,
    ),
    _length(
        "length-after-whole-call",
        "the call was whole when the response was cut",
        [call("get_weather", OSLO)],
        Success(calls=(WEATHER,), finish_reason="length"),
    ),
    _length(
        "length-cuts-second-call",
        "the first of two calls was whole",
        [call("get_weather", OSLO), call("get_weather", _HALF, "b")],
        Success(calls=(WEATHER,)),
    ),
    _length(
        "vllm-length-empties-arguments",
        "vLLM makes '{}' of arguments that were cut; what the tool requires is missing",
        [call("get_weather", "{}")],
        GARBLED,
    ),
    _length(
        "vllm-length-after-no-arguments",
        "'{}' is whole where the tool requires nothing",
        [call("lights_off", "{}")],
        Success(calls=(LIGHTS,)),
    ),
    WireCase(
        "length-cuts-call-after-text",
        "the call after the text is lost: the text alone is no good response",
        [answer("Let me look.", calls=[call("get_weather", _HALF)], finish="length")],
        Failure(
            "IncompleteResponseError",
            after="Let me look.",
            retryable=True,
            says=("Failed to call a function", "max_tokens"),
        ),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "balancer-cuts-call",
        "the body ends in the middle of a call",
        [stream(_begin(), more(_HALF), done=False)],
        GARBLED,
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "balancer-cuts-after-call",
        "the body ends after a whole call, but the turn may not be whole",
        [stream(_WHOLE, done=False)],
        Failure("IncompleteResponseError", retryable=True),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "balancer-cuts-call-after-text",
        "text, a part of a call, and the end of the body",
        [stream(said("Let me look."), _begin(_HALF), done=False)],
        Failure("IncompleteResponseError", after="Let me look.", retryable=True),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "llamacpp-error-in-call",
        "an error ends the stream in the middle of a call",
        [
            stream(
                _begin(),
                more('{"'),
                {
                    "error": {
                        "code": 500,
                        "message": "Invalid diff: now finding less tool calls!",
                        "type": "server_error",
                    }
                },
                done=False,
            )
        ],
        Failure("InternalServerError", status_code=500, retryable=True, says=("Invalid diff",)),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "tgi-truncated-call-422",
        "a call that TGI could not read is a garbled call and no bad request",
        [
            reply(
                {
                    "error": 'Tool error: Failed to parse generated text: EOF while parsing "{\\"function\\"',
                    "error_type": "tool_error",
                },
                "422 Unprocessable Entity",
            )
        ],
        Failure("APIError", status_code=422, retryable=True, says=("Failed to call a function",)),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "vllm-calls-despite-none",
        "tool_choice 'none', and nothing but a call: the request is sent again without tools",
        [stream(_WHOLE, CALLED), answer(SUNNY)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=True,
        requests=2,
        saw=lambda seen: seen.bodies[0]["tool_choice"] == "none" and "tools" not in seen.bodies[1],
    ),
    WireCase(
        "vllm-calls-despite-none-remembered",
        "the second turn is sent without tools at once",
        [stream(_WHOLE, CALLED), answer(SUNNY)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=True,
        turns=2,
        requests=3,
        saw=lambda seen: "tools" not in seen.bodies[2] and "tool_choice" not in seen.bodies[2],
    ),
    WireCase(
        "vllm-calls-despite-none-after-text",
        "there is text: the call is dropped, and nothing is sent again",
        [stream(said(SUNNY), _WHOLE, CALLED)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=True,
    ),
    WireCase(
        "mlx-calls-despite-none-in-json",
        "the same in plain JSON",
        [reply(completion({"tool_calls": [call("get_weather", OSLO)]}, "tool_calls")), answer(SUNNY)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=True,
        requests=2,
    ),
    WireCase(
        "model-only-ever-calls",
        "the model calls a tool although the request has none: an error",
        [Answer(reply({}), stream(_WHOLE, CALLED))],
        Failure("IncompleteResponseError", says=("Failed to call a function",)),
        ways=CHAT_STREAM,
        tools=True,
        requests=2,
    ),
)
