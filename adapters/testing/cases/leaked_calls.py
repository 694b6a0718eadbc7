"""Tool calls that arrive as text beside other things, unknown, garbled or cut; remembered once seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import answer, said, stream
from adapters.testing.case import CALLING, CHAT_STREAM, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import CALL_TEXT, GARBLED, HISTORY, LIGHTS, SUNNY, WEATHER, asked_in_plain_words

if TYPE_CHECKING:
    from collections.abc import Mapping


_LIGHTS_CALL = '{"name": "lights_off", "arguments": {}}'


def _leak(case_id: str, why: str, pieces: tuple[str, ...], expect: Success | Failure, **fields: Any) -> WireCase:
    return WireCase(case_id, why, [answer(*pieces), answer(SUNNY)], expect, **{"tools": True, **fields})


def _two(*calls: tuple[str, Mapping[str, Any]], text: str = "") -> Success:
    return Success(text=text, calls=calls)


_MARKED = f"<tool_call>{CALL_TEXT}</tool_call>"
_UNKNOWN = '<tool_call>{"name": "open_door", "arguments": {}}</tool_call>'

CASES: Final = (
    _leak(
        "hermes-two-leaked-calls",
        "two calls as text",
        (f"<tool_call>{CALL_TEXT}</tool_call>\n<tool_call>{_LIGHTS_CALL}</tool_call>",),
        _two(WEATHER, LIGHTS),
        ways=CALLING,
    ),
    _leak(
        "mistral-two-leaked-calls",
        "two calls in one list",
        (f"[TOOL_CALLS][{CALL_TEXT}, {_LIGHTS_CALL}]",),
        _two(WEATHER, LIGHTS),
        ways=CALLING,
    ),
    _leak(
        "hermes-text-then-leaked-call",
        "text before the call is spoken",
        ("Let me look.", "<tool", f"_call>{CALL_TEXT}", "</tool_call>"),
        _two(WEATHER, text="Let me look."),
        ways=CALLING,
    ),
    _leak(
        "hermes-text-then-leak-in-chat-stream",
        "there is text: the call is dropped and nothing is asked again",
        ("Let me look.", "<tool", f"_call>{CALL_TEXT}", "</tool_call>"),
        Success(text="Let me look."),
        ways=CHAT_STREAM,
    ),
    _leak(
        "hermes-leaked-call-then-text",
        "text after the call is spoken",
        (_MARKED, "One moment."),
        _two(WEATHER, text="One moment."),
        ways=CALLING,
    ),
    _leak(
        "qwen-think-then-leaked-call",
        "reasoning, then the call",
        ("<think>hmm</think>\n\n", _MARKED),
        Success(calls=(WEATHER,), reasoning="hmm"),
        ways=CALLING,
    ),
    _leak(
        "hermes-unknown-leaked-call",
        "a call of a tool that was not offered is not run and not spoken",
        (_UNKNOWN,),
        GARBLED,
        ways=CALLING,
    ),
    _leak(
        "hermes-unknown-leak-in-chat-stream",
        "the same with tools forbidden: asked once more",
        (_UNKNOWN,),
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        requests=2,
    ),
    _leak(
        "hermes-leak-without-tools",
        "no tools were offered: never spoken",
        (_MARKED,),
        GARBLED,
        ways=CALLING,
        tools=False,
    ),
    _leak(
        "hermes-leak-in-chat-stream-without-tools",
        "the same with tools only in the history: asked once more",
        (_MARKED,),
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=False,
        messages=HISTORY,
        requests=2,
        saw=asked_in_plain_words,
    ),
    _leak(
        "hermes-leak-after-text-without-tools",
        "no tools were offered: the text is spoken, the markup is not",
        ("Fine. ", _MARKED),
        Success(text="Fine. "),
        tools=False,
    ),
    _leak(
        "hermes-garbled-leak",
        "markup that nobody can read is not spoken",
        ("<tool_call>get weather, Oslo</tool_call>",),
        GARBLED,
        ways=CALLING,
    ),
    _leak(
        "hermes-garbled-leak-in-chat-stream",
        "the same with tools forbidden: asked once more",
        ("<tool_call>get weather, Oslo</tool_call>",),
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        requests=2,
    ),
    _leak(
        "hermes-truncated-leak",
        "half a call as text is never handed on",
        ('<tool_call>{"name": "get_weather", "arguments": {"city": "Os',),
        GARBLED,
        ways=CALLING,
    ),
    WireCase(
        "llamacpp-truncated-leak",
        "the same, cut by max_tokens",
        [answer('<tool_call>\n{"name": "get_weather", "arguments": {"', finish="length")],
        GARBLED,
        ways=CALLING,
        tools=True,
    ),
    WireCase(
        "hermes-leak-remembered",
        "the second turn does not pay for it again",
        [answer(_MARKED), answer(SUNNY)],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        tools=True,
        messages=HISTORY,
        turns=2,
        requests=3,
        saw=lambda seen: "tools" not in seen.bodies[2],
    ),
    WireCase(
        "hermes-leak-then-cut",
        "the body ends in the middle of the markup",
        [stream(said("Fine. "), said("<tool_call>{"), done=False)],
        Failure("IncompleteResponseError", after="Fine. ", retryable=True),
        ways=STREAMS,
        tools=True,
    ),
)
