"""Tool calls that arrive as text: beside other text or structured calls, unknown, garbled or cut."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import CALLED, STOP, answer, call, called, said, stream
from adapters.testing.case import (
    CALLING,
    CHAT,
    CHAT_STREAM,
    STREAM_EVENTS,
    STREAMS,
    Failure,
    Success,
    WireCase,
)
from adapters.testing.cases.common import (
    CALL_TEXT,
    GARBLED,
    HISTORY,
    LIGHTS,
    OSLO,
    SUNNY,
    WEATHER,
    asked_in_plain_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


_LIGHTS_CALL = '{"name": "lights_off", "arguments": {}}'


def _leak(case_id: str, why: str, pieces: tuple[str, ...], expect: Success | Failure, **fields: Any) -> WireCase:
    return WireCase(case_id, why, [answer(*pieces), answer(SUNNY)], expect, **{"tools": True, **fields})


def _two(*calls: tuple[str, Mapping[str, Any]], text: str = "") -> Success:
    return Success(text=text, calls=calls)


_WEATHER = call("get_weather", OSLO)
_LIGHTS = call("lights_off", "{}", "call00002")
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
        "text before the call is emitted",
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
        "text after the call is emitted",
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
        "a call of a tool that was not offered is neither run nor emitted",
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
        "no tools were offered: never emitted",
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
        "no tools were offered: the call is lost, and that is an error",
        ("Fine. ", _MARKED),
        GARBLED,
        ways=CHAT,
        tools=False,
    ),
    _leak(
        "hermes-leak-after-streamed-text-without-tools",
        "the same behind text that was emitted",
        ("Fine. ", _MARKED),
        replace(GARBLED, after="Fine. "),
        ways=STREAM_EVENTS,
        tools=False,
    ),
    _leak(
        "hermes-leak-after-text-in-chat-stream-without-tools",
        "with tools forbidden, the text is all that was wanted",
        ("Fine. ", _MARKED),
        Success(text="Fine. "),
        ways=CHAT_STREAM,
        tools=False,
    ),
    _leak(
        "hermes-garbled-leak-after-text",
        "a call that cannot be read is not dropped in silence",
        ("Fine. ", "<tool_call>", '{"name": "get_weather", "argu</tool_call>'),
        replace(GARBLED, after="Fine. "),
        ways=STREAM_EVENTS,
    ),
    _leak(
        "hermes-garbled-leak-beside-a-good-one",
        "one of two calls cannot be read: neither is run",
        (f'{_MARKED}\n<tool_call>{{"name": "open_door", "arguments": {{}}}}</tool_call>',),
        GARBLED,
        ways=CALLING,
    ),
    _leak(
        "hermes-leak-that-lost-its-arguments",
        "keys beside the name are arguments that the tool lacks: it must not run without them",
        ('<tool_call>{"name": "lights_off", "room": "kitchen"}</tool_call>',),
        GARBLED,
        ways=CALLING,
    ),
    _leak(
        "mistral-leaked-call-then-text",
        "text behind a call that nothing closes is text",
        (f"[TOOL_CALLS][{CALL_TEXT}]", "\nOne moment."),
        _two(WEATHER, text="One moment."),
        ways=CALLING,
    ),
    *[
        WireCase(
            f"{name}-around-structured-calls",
            "the parts of a mark that the server left around a call are no text",
            [
                stream(
                    *before,
                    called({"index": 0, **_WEATHER}),
                    *between,
                    called({"index": 1, **_LIGHTS}),
                    *behind,
                    CALLED,
                )
            ],
            _two(WEATHER, LIGHTS, text=text),
            ways=STREAM_EVENTS,
            tools=True,
        )
        for name, before, between, behind, text in (
            ("half-a-mark", [said("\n<tool_call")], [said("<")], [], ""),
            ("middle-of-a-mark", [], [said("tool_call")], [said(">"), said("\n")], ""),
            (
                "whole-marks",
                [said("Hi.\n<tool_call>")],
                [said("</tool_call>\n<tool_call>")],
                [said("</tool_call>")],
                "Hi.\n",
            ),
            ("text", [said("One <")], [said(" two <tool")], [said("box>"), said(" three")], "One  two box> three"),
        )
    ],
    WireCase(
        "text-behind-half-a-mark",
        "what could have been a mark is text if text follows",
        [stream(said("1 <"), said("tool_ 2"), said(" <"), STOP)],
        Success(text="1 <tool_ 2 <"),
        ways=STREAMS,
        tools=True,
    ),
    _leak(
        "hermes-garbled-leak",
        "markup in which no call can be read is not emitted",
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
