"""Whole tool calls: their ids, names and surroundings; the same for streams and plain JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import Answer, answer, call, completion, reply, stream
from adapters.testing.case import CALLING, CHAT, Failure, Success, WireCase
from adapters.testing.cases.common import LIGHTS, OSLO, WEATHER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.testing.answers import JsonObject
    from adapters.testing.case import Outcome
    from adapters.types import Json


def _calls(
    case_id: str, why: str, calls: list[JsonObject], *expected: tuple[str, Mapping[str, Any]], **holds: Any
) -> WireCase:
    """Make one case of these calls."""
    return WireCase(case_id, why, [answer(calls=calls)], Success(calls=expected, **holds), ways=CALLING, tools=True)


def _made_well(outcome: Outcome) -> bool:
    """Whether each id is one that Mistral accepts, too."""
    return all(re.fullmatch("[A-Za-z0-9]{9}", one.id) for one in outcome.calls or [])


def _ids(*expected: str) -> Json:
    return lambda outcome: [one.id for one in outcome.calls] == list(expected)


def _no_arguments() -> JsonObject:
    return {"id": "call00001", "type": "function", "function": {"name": "get_weather"}}


CASES: Final = (
    _calls(
        "openai-call",
        "the plain case",
        [call("get_weather", OSLO)],
        WEATHER,
        holds=_ids("call00001"),
        finish_reason="tool_calls",
        usage=(7, 3),
    ),
    _calls(
        "openai-two-calls",
        "two calls in one answer",
        [call("get_weather", OSLO), call("lights_off", "{}", "b")],
        WEATHER,
        LIGHTS,
        holds=_ids("call00001", "b"),
    ),
    WireCase(
        "openai-call-with-text",
        "text and a call in one answer",
        [answer("Let me look.", calls=[call("get_weather", OSLO)])],
        Success(text="Let me look.", calls=(WEATHER,)),
        ways=CALLING,
        tools=True,
    ),
    _calls(
        "openai-unknown-tool",
        "a call of a tool that was not offered is passed on; the agent refuses it",
        [call("open_door", '{"door": 1}')],
        ("open_door", {"door": 1}),
    ),
    _calls("venice-arguments-missing", "there are no arguments", [_no_arguments()], ("get_weather", {})),
    _calls("gemini-id-empty", "the id is ''", [call("get_weather", OSLO, "")], WEATHER, holds=_made_well),
    _calls("ollama-id-null", "the id is null", [call("get_weather", OSLO, None)], WEATHER, holds=_made_well),
    _calls("clone-id-blank", "the id is white space", [call("get_weather", OSLO, "  ")], WEATHER, holds=_made_well),
    _calls("clone-id-number", "the id is a number", [call("get_weather", OSLO, 0)], WEATHER),
    _calls(
        "clone-id-missing",
        "there is no id, no type and no index",
        [
            {"function": {"name": "get_weather", "arguments": OSLO}},
            {"function": {"name": "lights_off", "arguments": "{}"}},
        ],
        WEATHER,
        LIGHTS,
        holds=_made_well,
    ),
    _calls(
        "localai-duplicate-ids",
        "every call has the id of the completion",
        [call("get_weather", OSLO, "x"), call("lights_off", "{}", "x")],
        WEATHER,
        LIGHTS,
    ),
    _calls(
        "kimi-id-kept",
        "an id that the server recognizes is kept",
        [call("get_weather", OSLO, "functions.get_weather:0")],
        WEATHER,
        holds=_ids("functions.get_weather:0"),
    ),
    _calls("model-name-white-space", "white space around the name", [call(" get_weather\n", OSLO)], WEATHER),
    _calls("harmony-name-prefix", "'functions.' before the name", [call("functions.get_weather", OSLO)], WEATHER),
    _calls("gemini-name-prefix", "'default_api.' before the name", [call("default_api.get_weather", OSLO)], WEATHER),
    _calls(
        "clone-one-name-null",
        "a call without a name is dropped, the other is kept",
        [call(None, "{}", "a"), call("get_weather", OSLO, "b")],
        WEATHER,
    ),
    WireCase(
        "clone-only-name-null",
        "a call without a name is no call, and nothing else came",
        [answer(calls=[call(None, OSLO)])],
        Failure("IncompleteResponseError", retryable=True, says=("Failed to call a function",)),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "tgi-finish-stop",
        "the finish reason is 'stop' although there is a call",
        [answer(calls=[call("get_weather", OSLO)], finish="stop")],
        Success(calls=(WEATHER,)),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "tgi-no-content-key",
        "the message has no content, the function a description of null",
        [
            answer(
                calls=[
                    {
                        "id": "0",
                        "type": "function",
                        "function": {"description": None, "name": "get_weather", "arguments": {"city": "Oslo"}},
                    }
                ]
            )
        ],
        Success(calls=(WEATHER,)),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "mlx-blank-text-between-calls",
        "white space beside the calls is no text",
        [answer("\n", calls=[call("get_weather", OSLO), call("lights_off", "{}", "b")])],
        Success(calls=(WEATHER, LIGHTS)),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "openai-legacy-function-call",
        "function_call of old clones",
        [
            Answer(
                reply(
                    completion(
                        {"content": None, "function_call": {"name": "get_weather", "arguments": OSLO}}, "function_call"
                    )
                ),
                stream(
                    *[
                        {"choices": [{"index": 0, "delta": {"function_call": delta}}]}
                        for delta in (
                            {"name": "get_weather", "arguments": ""},
                            {"arguments": '{"city":'},
                            {"arguments": ' "Oslo"}'},
                        )
                    ],
                    {"choices": [{"index": 0, "delta": {}, "finish_reason": "function_call"}]},
                ),
            )
        ],
        Success(calls=(WEATHER,)),
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "localai-answer-tool",
        "a grammar turns the answer into a call of the tool 'answer'",
        [answer(calls=[call("answer", '{"message": "It is sunny."}')])],
        Success(text="It is sunny."),
        ways=CHAT,
        tools=True,
    ),
    WireCase(
        "tgi-no-tool",
        "a grammar turns the answer into a call of the tool 'no_tool'",
        [answer(calls=[call("no_tool", '{"content": "It is sunny."}')])],
        Success(text="It is sunny."),
        ways=CHAT,
        tools=True,
    ),
)
