"""Groq rejects what its own model generated, with HTTP 400 and the text in ``failed_generation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import Answer, answer, event, reply, said, stream
from adapters.testing.case import CALLING, CHAT, CHAT_STREAM, STREAM_EVENTS, Failure, Success, WireCase
from adapters.testing.cases.common import HISTORY, SUNNY, WEATHER

if TYPE_CHECKING:
    from adapters.testing.answers import JsonObject, Script
    from adapters.testing.server import Seen, Step

_CALL = Success(calls=(WEATHER,))
_FUNCTION_TAG = '<function=get_weather>{"city": "Oslo"}</function>'


def _failed(
    generation: str | None, message: str = "Failed to call a function. Please adjust your prompt."
) -> JsonObject:
    extra = {} if generation is None else {"failed_generation": generation}
    return {"error": {"message": message, "type": "invalid_request_error", "code": "tool_use_failed", **extra}}


def _refused(body: JsonObject, status: str = "400 Bad Request") -> Script:
    return reply(body, status)


def _event(body: JsonObject) -> bytes:
    return b"event: error\n" + event({"error": {**body["error"], "status_code": 400}})


def _groq(case_id: str, why: str, generation: str | None, expect: Success | Failure, **fields: Any) -> WireCase:
    """Make one case of Groq's 400."""
    body = _failed(generation)
    steps: list[Step] = [_refused(body), answer(SUNNY)]
    return WireCase(case_id, why, steps, expect, **{"kind": "groq", "ways": CALLING, "tools": True, **fields})


def _no_tools(seen: Seen) -> bool:
    first, second = seen.bodies
    return "tools" in first and not {"tools", "tool_choice"} & set(second) and "'role': 'tool'" not in str(second)


_GARBLED = Failure("BadRequestError", status_code=400, says=("tool_use_failed",))

CASES: Final = (
    _groq(
        "groq-failed-generation-function-tag",
        "the call is in failed_generation, as <function=…>",
        _FUNCTION_TAG,
        _CALL,
    ),
    _groq(
        "groq-failed-generation-sloppy-tag",
        "the same without the closing angle",
        '<function=get_weather{"city": "Oslo"}</function>',
        _CALL,
    ),
    _groq(
        "groq-failed-generation-json",
        "the call is JSON",
        '{"name": "get_weather", "arguments": {"city": "Oslo"}}',
        _CALL,
    ),
    _groq(
        "groq-failed-generation-tool-call",
        "the call is <tool_call>",
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
        _CALL,
    ),
    _groq(
        "groq-failed-generation-raw-newline",
        "its JSON holds raw line ends",
        '{"name": "get_weather",\n "arguments": {"city": "Os\nlo"}}',
        Success(calls=(("get_weather", {"city": "Os\nlo"}),)),
    ),
    _groq(
        "groq-failed-generation-prefix",
        "the name has the prefix of harmony",
        '{"name": "functions.get_weather", "arguments": {"city": "Oslo"}}',
        _CALL,
    ),
    _groq("groq-failed-generation-text", "plain text in failed_generation is the answer", SUNNY, Success(text=SUNNY)),
    _groq(
        "groq-failed-generation-unknown-tool",
        "the call is of a tool that was not offered",
        '{"name": "repo_browser.open_file", "arguments": {"path": "x"}}',
        _GARBLED,
    ),
    _groq("groq-failed-generation-garbled", "the call is unreadable", '<function=get_weather>{"city": "Os', _GARBLED),
    _groq("groq-failed-generation-missing", "there is no failed_generation", None, _GARBLED),
    _groq("groq-failed-generation-empty", "failed_generation is ''", "", _GARBLED),
    _groq(
        "groq-failed-generation-in-chat-stream",
        "with tools forbidden: sent once more without tools",
        _FUNCTION_TAG,
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        requests=2,
        saw=_no_tools,
    ),
    _groq(
        "groq-failed-text-in-chat-stream",
        "plain text in failed_generation is the answer",
        "It is warm.",
        Success(text="It is warm."),
        ways=CHAT_STREAM,
    ),
    WireCase(
        "groq-tool-choice-none-but-called",
        "'Tool choice is none, but model called a tool' in HTTP 400",
        [
            _refused(
                _failed('{"name": "get_weather", "arguments": {}}', "Tool choice is none, but model called a tool")
            ),
            answer(SUNNY),
        ],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        kind="groq",
        tools=True,
        messages=HISTORY,
        requests=2,
        saw=_no_tools,
    ),
    WireCase(
        "groq-schema-mismatch",
        "Groq checks arguments against the schema and refuses the call: a garbled call, not a call",
        [
            _refused(
                {
                    "error": {
                        "message": "parameters for tool get_weather did not match schema: errors: "
                        "[`/days`: expected integer, but got string]",
                        "type": "invalid_request_error",
                        "code": "tool_use_failed",
                        "failed_generation": '{"name": "get_weather", "arguments": {"city": 7, "days": "5',
                    }
                }
            )
        ],
        _GARBLED,
        ways=CHAT,
        kind="groq",
        tools=True,
    ),
    WireCase(
        "groq-failed-generation-event",
        "the same 400 as an event of the stream",
        [stream(_event(_failed(_FUNCTION_TAG)), done=False)],
        _CALL,
        ways=STREAM_EVENTS,
        kind="groq",
        tools=True,
    ),
    WireCase(
        "groq-failed-generation-event-after-text",
        "the event after text: the text stays and the call is returned",
        [stream(said("Let me look."), _event(_failed(_FUNCTION_TAG)), done=False)],
        Success(text="Let me look.", calls=(WEATHER,)),
        ways=STREAM_EVENTS,
        kind="groq",
        tools=True,
    ),
    WireCase(
        "groq-failed-generation-event-after-text-in-chat-stream",
        "the event after text: the text is the answer",
        [stream(said("It is sunny."), _event(_failed(_FUNCTION_TAG)), done=False)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        kind="groq",
        tools=True,
    ),
    WireCase(
        "groq-failed-generation-event-in-chat-stream",
        "the event and no text: sent once more without tools",
        [stream(_event(_failed(_FUNCTION_TAG)), done=False), answer(SUNNY)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        kind="groq",
        tools=True,
        requests=2,
        saw=_no_tools,
    ),
    WireCase(
        "groq-failed-generation-in-200",
        "the same error inside HTTP 200, through a gateway",
        [Answer(reply(_failed(_FUNCTION_TAG)), stream(_failed(_FUNCTION_TAG)))],
        _CALL,
        ways=CALLING,
        kind="openrouter",
        tools=True,
    ),
)
