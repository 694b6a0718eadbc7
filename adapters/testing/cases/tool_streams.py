"""Tool calls that a stream sends in pieces, in an unusual order, or twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from adapters.types import Json

from adapters.testing.answers import (
    CALLED,
    STOP,
    call,
    called,
    chunk,
    completion,
    more,
    reply,
    said,
    stream,
)
from adapters.testing.case import STREAM_EVENTS, Success, WireCase
from adapters.testing.cases.common import GARBLED, LIGHTS, OSLO, WEATHER

_ROME = ("get_weather", {"city": "Rome"})


def _pieces(case_id: str, why: str, *events: Any, **expect: Any) -> WireCase:
    """Make one case of these events and the end of a turn with calls."""
    expect.setdefault("calls", (WEATHER,))
    return WireCase(case_id, why, [stream(*events, CALLED)], Success(**expect), ways=STREAM_EVENTS, tools=True)


def _begin(
    arguments: Json = "", index: object = 0, call_id: object = "call00001", name: object = "get_weather"
) -> Json:
    return called({"index": index, **call(name, arguments, call_id)})


_WHOLE = _begin(OSLO)

CASES: Final = (
    _pieces("openai-call-in-pieces", "arguments in pieces", _begin(), more('{"ci'), more('ty":"Os'), more('lo"}')),
    _pieces(
        "vllm-call-first-without-arguments",
        "the first piece has a name and no arguments",
        called({"index": 0, "id": "chatcmpl-tool-1", "type": "function", "function": {"name": "get_weather"}}),
        more('{"'),
        more('city": "Oslo"}'),
    ),
    _pieces(
        "openai-calls-interleaved",
        "the pieces of two calls are mixed",
        _begin(),
        _begin("", 1, "b", "lights_off"),
        more('{"city":'),
        more("{", 1),
        more(' "Oslo"}'),
        more("}", 1),
        calls=(WEATHER, LIGHTS),
    ),
    _pieces(
        "openai-two-calls-in-one-chunk",
        "both calls come whole in one chunk",
        called({"index": 0, **call("get_weather", OSLO)}, {"index": 1, **call("lights_off", "{}", "b")}),
        calls=(WEATHER, LIGHTS),
    ),
    _pieces(
        "ollama-index-zero",
        "every parallel call has index 0, and a new id",
        _begin(OSLO),
        _begin("{}", 0, "b", "lights_off"),
        _begin('{"city": "Rome"}', 0, "c"),
        calls=(WEATHER, LIGHTS, _ROME),
    ),
    _pieces(
        "gemini-index-null",
        "the index is null",
        _begin(OSLO, None),
        _begin("{}", None, "b", "lights_off"),
        calls=(WEATHER, LIGHTS),
    ),
    _pieces(
        "gemini-index-and-id-missing",
        "two calls have neither index nor id",
        called({"type": "function", "function": {"name": "get_weather", "arguments": OSLO}}),
        called({"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}),
        calls=(WEATHER, _ROME),
    ),
    _pieces(
        "gemini-id-empty-index-zero",
        "the same with empty ids and index 0",
        _begin(OSLO, 0, ""),
        _begin('{"city": "Rome"}', 0, ""),
        calls=(WEATHER, _ROME),
    ),
    _pieces(
        "mistral-index-from-one",
        "indexes start at 1 and have gaps",
        _begin(OSLO, 1),
        _begin("{}", 3, "b", "lights_off"),
        calls=(WEATHER, LIGHTS),
    ),
    _pieces(
        "llamacpp-python-repeats-id-and-name",
        "id and name come with every piece",
        *[_begin(piece) for piece in ('{"ci', 'ty": "Os', 'lo"}')],
    ),
    _pieces(
        "tgi-repeats-id",
        "the id comes with every piece, the name is null after the first",
        _begin(""),
        *[_begin(piece, name=None) for piece in ('{"ci', 'ty": "Os', 'lo"}')],
    ),
    _pieces(
        "clone-id-empty-after-first",
        "id and name are '' after the first piece",
        _begin(""),
        *[_begin(piece, call_id="", name="") for piece in ('{"city":', ' "Oslo"}')],
    ),
    _pieces(
        "deepseek-id-in-second-piece",
        "the id comes after the name",
        called({"index": 0, "function": {"name": "get_weather", "arguments": ""}}),
        called({"index": 0, "id": "late00001", "function": {"arguments": OSLO}}),
    ),
    _pieces(
        "localai-call-twice",
        "a call is sent twice with one id, at two indexes",
        _begin(OSLO, 0, "x"),
        _begin(OSLO, 1, "x"),
    ),
    _pieces(
        "localai-call-repeated-at-end",
        "the whole call comes again after its pieces",
        _begin(""),
        more('{"city":'),
        more(' "Oslo"}'),
        _begin(OSLO),
    ),
    _pieces(
        "oci-new-id-in-each-piece",
        "every piece has a new id, index 0 and the name ''",
        _begin(""),
        *[_begin(piece, 0, f"call{number}", "") for number, piece in enumerate(('{"city": "', 'Oslo"}', ""))],
    ),
    _pieces(
        "oci-new-id-in-each-piece-of-two-calls",
        "the same with two calls",
        *[
            _begin(piece, 0, f"call{place}{number}", "" if number else "get_weather")
            for place, city in enumerate(("Oslo", "Rome"))
            for number, piece in enumerate(("", '{"city": "', f'{city}"}}'))
        ],
        calls=(WEATHER, _ROME),
    ),
    _pieces(
        "deepseek-index-jumps",
        "the second call begins at the index of the first one; its arguments have the next index",
        _begin(OSLO, 0, "a"),
        _begin("", 0, "b"),
        more('{"city": ', 1),
        more('"Rome"}', 1),
        calls=(WEATHER, _ROME),
    ),
    _pieces(
        "clone-index-for-each-piece",
        "the index grows with every piece",
        _begin(""),
        *[more(piece, number) for number, piece in enumerate(('{"city"', ': "Os', 'lo"}'), 1)],
    ),
    _pieces(
        "vercel-name-after-arguments",
        "the name comes after the arguments",
        _begin('{"city": ', 0, name=None),
        more('"Oslo"}'),
        called({"index": 0, "function": {"name": "get_weather"}}),
        _begin("{}", 1, "b", None),
        called({"index": 1, "function": {"name": "lights_off"}}),
        calls=(WEATHER, LIGHTS),
    ),
    _pieces(
        "clone-name-between-arguments",
        "the name comes in the middle of the arguments",
        _begin('{"city": ', 0, name=None),
        called({"index": 0, "function": {"name": "get_weather", "arguments": '"Os'}}),
        more('lo"}'),
    ),
    _pieces(
        "clone-late-id-and-index-zero",
        "the index is always 0, and the id comes behind the name",
        *[
            _begin(piece, 0, call_id, name)
            for city, late in (("Oslo", "a"), ("Rome", "b"))
            for piece, call_id, name in (('{"city": "', None, "get_weather"), (city, late, None), ('"}', None, None))
        ],
        calls=(WEATHER, _ROME),
    ),
    _pieces(
        "clone-all-new-in-each-piece",
        "every piece has a new id, a new index and the name",
        *[
            _begin(piece, number, f"call{number}")
            for number, piece in enumerate(("", '{"city": "', 'Oslo"}', '{"city": ', '"Rome"}'))
        ],
        calls=(WEATHER, _ROME),
    ),
    _pieces(
        "clone-name-in-two-pieces-and-index-jumps",
        "the first half of the name has the index of the call before",
        _begin(OSLO, 0, "a"),
        _begin("", 0, "b", "lights"),
        _begin("", 1, None, "_off"),
        more("{}", 1),
        calls=(WEATHER, LIGHTS),
    ),
    WireCase(
        "clone-pieces-mixed-without-index",
        "the pieces of two calls are mixed, and all have index 0: either call could have either city",
        [stream(_begin('{"city": "Os', 0, "a"), _begin('{"city": "Ro', 0, "b"), more('lo"}'), more('me"}'), CALLED)],
        GARBLED,
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "clone-arguments-without-call",
        "arguments match no call, and a call has none: it must not run without them",
        [stream(_begin("", 0, "a"), _begin(OSLO, 1, "b"), more('{"city": "Rome"}', 2), CALLED)],
        GARBLED,
        ways=STREAM_EVENTS,
        tools=True,
    ),
    _pieces("llamacpp-arguments-object-in-stream", "arguments is an object", _begin({"city": "Oslo"})),
    _pieces("model-text-before-call", "text, then a call", said("Let me "), said("look."), _WHOLE, text="Let me look."),
    _pieces("model-text-after-call", "a call, then text", _WHOLE, said("One moment."), text="One moment."),
    _pieces(
        "model-text-and-call-in-one-chunk",
        "text and call in one chunk",
        chunk({"content": "One moment.", "tool_calls": [{"index": 0, **call("get_weather", OSLO)}]}),
        text="One moment.",
    ),
    WireCase(
        "vllm-named-finish-stop",
        "the finish reason is 'stop' although there is a call",
        [stream(_WHOLE, STOP)],
        Success(calls=(WEATHER,)),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "vllm-call-in-finish-chunk",
        "the last piece comes with the finish reason",
        [stream(_begin(""), {**more(OSLO), "choices": [{**more(OSLO)["choices"][0], "finish_reason": "tool_calls"}]})],
        Success(calls=(WEATHER,)),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "mistral-call-without-done",
        "[DONE] never comes",
        [stream(_WHOLE, CALLED, done=False)],
        Success(calls=(WEATHER,)),
        ways=STREAM_EVENTS,
        tools=True,
    ),
    WireCase(
        "proxy-ignores-stream-with-call",
        "plain JSON with a call instead of a stream",
        [reply(completion({"tool_calls": [call("get_weather", OSLO)]}, "tool_calls"))],
        Success(calls=(WEATHER,)),
        ways=STREAM_EVENTS,
        tools=True,
    ),
)
