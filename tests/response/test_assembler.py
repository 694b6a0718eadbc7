"""``adapters.response.assembler``: chunks become one response; an empty, cut or garbled one is an error."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import APIError, ContentFilterError, IncompleteResponseError, UpstreamError
from adapters.response import finish_reasons
from adapters.response.assembler import AssembledResponse, CallInsteadOfTextError, ResponseAssembler
from adapters.response.chunks import parse_chunk
from adapters.transport.endpoint import Endpoint
from adapters.transport.errors.upstream import upstream_error
from adapters.types import LLMResponse, TokenUsage
from tests.property.strategies import ANYTHING, MARKED_TEXTS, TOOLS

_ENDPOINT = Endpoint("The server", "m")
_CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>'
_OSLO = ("get_weather", {"city": "Oslo"})


def _assembler(**options: bool) -> ResponseAssembler:
    return ResponseAssembler(_ENDPOINT, TOOLS, **{"wants_text": False, "reasoning_first": False, **options})


def _delta(content: Any = None, finish: str | None = None, **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content, **message}, "finish_reason": finish}]}


def _choice(delta: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **fields}]}


def _tool_call(arguments: str, name: str = "get_weather", **fields: Any) -> dict[str, Any]:
    return {"index": 0, "id": "a", "function": {"name": name, "arguments": arguments}, **fields}


def _feed(assembler: ResponseAssembler, *payloads: dict[str, Any], whole: bool = False) -> str:
    """Feed payloads and flush; return the text."""
    return "".join([assembler.feed(parse_chunk(payload), whole=whole) for payload in payloads]) + assembler.flush()


def _assemble(*payloads: dict[str, Any], **options: bool) -> AssembledResponse:
    assembler = _assembler(**options)
    returned = _feed(assembler, *payloads)
    assembled = assembler.build()
    assert returned == (assembled.response.content or "")
    return assembled


def _calls(response: LLMResponse) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in response.tool_calls]


def test_every_word_for_a_cut() -> None:
    """All words for a cut do what ``length`` does: text is valid, and a call runs only if it is surely whole."""
    shapes = (
        [_delta("Once upon")],
        [_delta(reasoning_content="Hm.")],
        [_delta()],
        [_delta("Let me look."), _delta(tool_calls=[_tool_call('{"city": "Os')])],
        [_delta(tool_calls=[_tool_call('{"city": "Oslo"}')])],
        [_delta(tool_calls=[_tool_call("{}")])],
        [_delta(_CALL[:40])],
        [_delta("<|im_st")],
    )
    results: list[list[tuple[Any, ...]]] = []
    for word in sorted(finish_reasons._CUT):
        results.append([])
        for shape in shapes:
            try:
                response = _assemble(*shape, _delta(finish=word)).response
                results[-1].append((response.content, _calls(response), response.finish_reason == word))
            except APIError as error:
                results[-1].append((type(error), error.retryable))

    assert all(result == results[0] for result in results)


def test_is_reasoning() -> None:
    """``is_reasoning`` is true from the first reasoning to the first text."""
    assembler = _assembler()
    states = [assembler.is_reasoning]
    for payload in (_delta(reasoning_content="Hm."), _delta("Hello "), _delta("there.")):
        assembler.feed(parse_chunk(payload))
        states.append(assembler.is_reasoning)

    assert states == [False, True, False, False]


@pytest.mark.parametrize(
    ("payloads", "content", "calls", "reasoning"),
    [
        pytest.param([_delta("Hi "), _delta("there"), _delta(finish="stop")], "Hi there", [], None, id="text"),
        pytest.param([_delta("A", "stop"), _delta("B")], "AB", [], None, id="text-behind-the-finish"),
        pytest.param([_delta("Hi"), _delta(finish="length")], "Hi", [], None, id="text-cut-by-max-tokens"),
        pytest.param([_delta("<think>hm</think>Hi"), _delta(finish="stop")], "Hi", [], "hm", id="marked-reasoning"),
        pytest.param(
            [_delta(reasoning_content="hm "), _delta("<think>so</think>Hi", "stop")],
            "Hi",
            [],
            "hm so",
            id="two-reasonings",
        ),
        pytest.param([_delta(refusal="I can't."), _delta(finish="stop")], "I can't.", [], None, id="refusal"),
        pytest.param(
            [_delta(tool_calls=[_tool_call('{"city": "Oslo"}')]), _delta(finish="tool_calls")],
            None,
            [_OSLO],
            None,
            id="call",
        ),
        pytest.param(
            [_delta("Hm", tool_calls=[_tool_call('{"city": "Oslo"}')], finish="stop")],
            *("Hm", [_OSLO], None),
            id="text-and-call-with-another-finish",
        ),
        pytest.param([_delta(_CALL), _delta(finish="stop")], None, [_OSLO], None, id="leaked-call"),
        pytest.param([_delta(f"Hm {_CALL}"), _delta(finish="stop")], "Hm ", [_OSLO], None, id="text-and-leaked-call"),
        pytest.param(
            [_delta(_CALL, tool_calls=[_tool_call("{}", "get_time")], finish="stop")],
            *(None, [("get_time", {}), _OSLO], None),
            id="call-and-leaked-call",
        ),
        pytest.param(
            [_delta(_CALL, tool_calls=[_tool_call('{"city": "Oslo"}')], finish="stop")],
            *(None, [_OSLO], None),
            id="one-call-both-ways",
        ),
        pytest.param([_delta(_CALL[:-12]), _delta(finish="stop")], None, [_OSLO], None, id="leaked-call-not-closed"),
        pytest.param(
            [_delta(_CALL), _delta(finish="length")], None, [_OSLO], None, id="whole-leaked-call-of-a-cut-answer"
        ),
        pytest.param([_delta("[1"), _delta(finish="stop")], "[1", [], None, id="text-that-was-held-back"),
        pytest.param(
            [_delta(tool_calls=[_tool_call('{"message": "Hi"}', "answer")], finish="stop")],
            "Hi",
            [],
            None,
            id="pseudo-tool",
        ),
        pytest.param(
            [_delta("Oh", tool_calls=[_tool_call('{"message": "Hi"}', "answer")], finish="stop")],
            *("Oh", [], None),
            id="pseudo-tool-beside-text",
        ),
    ],
)
def test_good_answer(
    payloads: list[dict[str, Any]], content: str | None, calls: list[Any], reasoning: str | None
) -> None:
    """Text, calls and reasoning are complete, and the content is the text that was returned."""
    response = _assemble(*payloads).response

    assert (response.content, _calls(response), response.reasoning) == (content, calls, reasoning)


def test_metadata() -> None:
    """Model, finish reason, the last usage that is not zero, and the fields to send back are kept."""
    details = [{"type": "reasoning.text", "index": 0, "text": "a"}, {"type": "reasoning.text", "index": 0, "text": "b"}]
    call = _tool_call("{}", "get_time", extra_content={"signature": "x"})

    assembled = _assemble(
        {"model": "m-1", "usage": {"prompt_tokens": 1, "completion_tokens": 1}} | _delta(reasoning_details=details[:1]),
        _delta(tool_calls=[call], reasoning_details=details[1:]),
        _delta(finish="tool_calls") | {"usage": {"prompt_tokens": 5, "completion_tokens": 7}},
        {"model": "m-2", "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}},
    )

    assert assembled.response.usage == TokenUsage(5, 7)
    assert (assembled.response.model, assembled.response.finish_reason) == ("m-1", "tool_calls")
    assert assembled.response.tool_calls[0].provider_fields == {
        "message": {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "ab"}]},
        "call": {"extra_content": {"signature": "x"}},
    }


def test_ids_refusal_and_logprobs() -> None:
    """The first id counts; a refusal is content and marked; the logprobs of all chunks are one list."""
    first, second = [{"token": "No"}], [{"token": "."}]

    response = _assemble(
        {"id": "", "provider": "Azure", "choices": []},
        {"id": "gen-1"} | _choice({"refusal": "No"}, logprobs={"content": first}),
        {"id": "gen-2"} | _choice({"refusal": "."}, logprobs={"content": second}),
        _choice({}, finish_reason="stop", native_finish_reason="STOP"),
        wants_logprobs=True,
    ).response

    assert (response.id, response.provider, response.upstream_provider) == ("gen-1", _ENDPOINT.provider, "Azure")
    assert response.content == response.refusal == "No."
    assert response.logprobs == [*first, *second]
    assert response.native_finish_reason == "STOP"
    assert response.request_id is None


def test_logprobs_that_were_not_requested() -> None:
    """Logprobs are kept only if the caller requested them, because they take much memory."""
    assert (
        _assemble(_choice({"content": "Hi"}, logprobs={"content": [{}]}, finish_reason="stop")).response.logprobs
        is None
    )


def test_logprobs_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logprobs are kept up to a limit."""
    monkeypatch.setattr("adapters.response.assembler._MAX_LOGPROBS_CHARS", 20)
    entry = {"token": "Hi"}

    response = _assemble(
        _choice({"content": "Hi"}, logprobs={"content": [entry] * 3}, finish_reason="stop"), wants_logprobs=True
    ).response

    assert response.logprobs == [entry]


_LONG = "The light in the kitchen is on, and the one in the hall is not. "


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        pytest.param(["The", "The light", "The light is", "The light is on."], "The light is on.", id="words"),
        pytest.param(["The light", "The light is on."], "The light is on.", id="two-pieces"),
        pytest.param(["The", "The light", "The light"], "The light", id="nothing-new"),
        pytest.param([_LONG, f"{_LONG}Anything else?"], f"{_LONG}Anything else?", id="long"),
        pytest.param([_LONG[:20], _LONG[20:], _LONG], _LONG, id="all-of-it-at-the-end"),
        pytest.param([_LONG[:20], _LONG[20:], f"{_LONG}So.", " Yes."], f"{_LONG}So. Yes.", id="more-behind-it"),
        pytest.param(["No. ", "No. Never."], "No. No. Never.", id="the-model-repeats-itself"),
        pytest.param(["No. ", "No. Never. ", "Ever."], "No. No. Never. Ever.", id="and-goes-on"),
        pytest.param(["ha", "ha", "haha"], "hahahaha", id="laughter"),
        pytest.param(["1", "10", " degrees"], "110 degrees", id="digits"),
        pytest.param(["1", "10", "100 degrees"], "100 degrees", id="digits-of-snapshots"),
        pytest.param(
            ["<think>a</think>Hi", "<think>a</think>Hi you", "<think>a</think>Hi you."], "Hi you.", id="marks"
        ),
    ],
)
def test_text_that_comes_again(pieces: list[str], text: str) -> None:
    """Text that a server sends again is dropped; text that the model repeats is kept."""
    assert _assemble(*map(_delta, pieces), _delta(finish="stop")).response.content == text


@pytest.mark.parametrize(
    ("deltas", "message", "content"),
    [
        pytest.param([{"content": "Hi "}, {"content": "there"}], {"content": "Hi there"}, "Hi there", id="the-same"),
        pytest.param([{"content": "Hi "}], {"content": "Hi there"}, "Hi there", id="more"),
        pytest.param([{"content": "Hi there"}], {"content": "Hello"}, "Hi there", id="another-text"),
        pytest.param([{"role": "assistant"}], {"content": "Hi"}, "Hi", id="no-text-before"),
        pytest.param([{"refusal": "No"}], {"refusal": "No."}, "No.", id="refusal"),
    ],
)
def test_whole_message_after_deltas(deltas: list[dict[str, Any]], message: dict[str, Any], content: str) -> None:
    """A message after deltas repeats them, and adds only what they did not have."""
    message = {"role": "assistant", **message, "reasoning": "hm", "tool_calls": [_tool_call("{}", "get_time")]}
    last = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    calls: list[dict[str, Any]] = [{"reasoning": "hm"}, {"tool_calls": [_tool_call("{}", "get_time")]}]

    for before in (deltas, [*deltas, *calls], [*calls, *deltas]):
        response = _assemble(*map(_choice, before), last).response

        assert (response.content, _calls(response), response.reasoning) == (content, [("get_time", {})], "hm")


def test_messages_in_the_place_of_deltas() -> None:
    """A stream of messages, without any delta, is read like deltas."""
    messages = [{"choices": [{"message": {"content": text}}]} for text in ("Hi ", "there", ".")]

    assert _assemble(*messages, _delta(finish="stop")).response.content == "Hi there."


def test_halves_of_characters() -> None:
    """Halves of characters are joined or replaced in everything that goes back to a server."""
    half, other = "\ud83d", "\ude00"
    details = [{"type": "t", "index": 0, "text": f"a{half}"}, {"type": "t", "index": 0, "text": f"{other}b{half}"}]
    first = _tool_call("", f"f{half}", extra_content={f"k{half}": [half]}) | {"id": f"i{half}"}
    second = _tool_call(f'{{"x{half}": "{half}', other) | {"id": f"i{half}"}
    third = {"index": 0, "function": {"arguments": f'{other}"}}'}}

    response = _assemble(
        {"id": f"r{half}", "model": f"m{half}", "choices": []},
        _delta(tool_calls=[first], reasoning_details=details[:1]),
        _delta(tool_calls=[second], reasoning_details=details[1:]),
        _delta(tool_calls=[third]),
        _delta(finish="tool_calls"),
        _delta(refusal=half),
    ).response

    (tool_call,) = response.tool_calls
    assert json.dumps([asdict(tool_call), asdict(response)], ensure_ascii=False).encode()
    assert tool_call.name == "f\N{GRINNING FACE}"
    assert tool_call.arguments == {"x\N{REPLACEMENT CHARACTER}": "\N{GRINNING FACE}"}
    assert tool_call.provider_fields["message"]["reasoning_details"][0]["text"] == (
        "a\N{GRINNING FACE}b\N{REPLACEMENT CHARACTER}"
    )


def test_ids_that_are_no_text() -> None:
    """An id, model or provider that is blank or of another type is None."""
    response = _assemble({"id": " ", "model": 7, "provider": {"name": "Azure"}}, _delta("Hi", "stop")).response

    assert (response.id, response.model, response.upstream_provider) == (None, None, None)


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        pytest.param([], "sent an empty answer", id="nothing"),
        pytest.param([_delta("Hi")], "stopped in the middle of its answer", id="text"),
        pytest.param([_delta(tool_calls=[_tool_call("{}")])], "stopped early and could not use a tool", id="call"),
        pytest.param([_delta("<tool_call>{")], "stopped early and could not use a tool", id="leaked-call"),
        pytest.param([_delta(reasoning="hm")], "stopped before giving an answer", id="reasoning"),
    ],
)
def test_response_that_breaks_off(payloads: list[dict[str, Any]], message: str) -> None:
    """A response without a finish reason or end mark is an error, whatever it holds."""
    assembler = _assembler()
    _feed(assembler, *payloads)

    with pytest.raises(IncompleteResponseError, match=f"^The server {message}"):
        assembler.build()


@pytest.mark.parametrize(
    ("payload", "is_silent"),
    [
        pytest.param(_delta(finish="stop"), True, id="nothing"),
        pytest.param(_delta(" \n", "end_turn"), True, id="blank"),
        pytest.param(_delta("<think>Nothing to add.</think>", "stop"), True, id="thought"),
        pytest.param(_delta(finish=None), False, id="no-finish-reason"),
        pytest.param({"choices": []}, False, id="no-choices"),
        pytest.param(_delta(finish="length"), False, id="cut"),
        pytest.param(_delta(finish="content_filter"), False, id="filtered"),
        pytest.param(_delta(finish="tool_calls"), False, id="a-call-is-missing"),
        pytest.param(_delta(finish="whatever"), False, id="unknown"),
        pytest.param(_delta(tool_calls=[_tool_call('{"city": ', "")], finish="stop"), False, id="no-name"),
        pytest.param(_delta("<tool_call>{", "stop"), False, id="half-a-call"),
    ],
)
@pytest.mark.parametrize("wants_text", [False, True])
def test_answer_that_may_be_empty(payload: dict[str, Any], *, is_silent: bool, wants_text: bool) -> None:
    """If the caller allows it, an empty response with a good end is valid; any other is an error."""
    assembler = _assembler(wants_text=wants_text, allow_empty=True)
    _feed(assembler, payload)
    assembler.end()

    if is_silent:
        assert assembler.build().response.content is None
    else:
        with pytest.raises((APIError, CallInsteadOfTextError)):
            assembler.build()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        pytest.param(_delta(finish="stop"), "sent an empty answer", id="nothing"),
        pytest.param(_delta(" \n", "stop"), "sent an empty answer", id="blank"),
        pytest.param({"choices": []}, "sent no answer", id="no-choices"),
        pytest.param(_delta(finish="length"), "reached max_tokens before its answer began", id="cut"),
        pytest.param(_delta("<think>hm", "stop"), "produced reasoning but no answer. Please try again", id="thought"),
        pytest.param(_delta("<think>hm", "length"), "produced reasoning but no answer. Raise", id="cut-thought"),
        pytest.param(
            _delta(tool_calls=[_tool_call('{"city": ')], finish="length"),
            "could not use a tool: Failed to call a function. Please try again. Its answer was cut by max_tokens",
            id="cut-call",
        ),
        pytest.param(
            _delta("Hm", "length", tool_calls=[_tool_call('{"city":')]),
            "could not use a tool: .* cut by max_tokens",
            id="text-and-a-cut-call",
        ),
        pytest.param(_delta("Hm", "tool_calls"), "could not use a tool: .* try again.$", id="call-that-never-came"),
        pytest.param(_delta(finish="model_context_window_exceeded"), "had no room for an answer", id="no-room"),
        pytest.param(_delta(_CALL[:40], "length"), "could not use a tool: .* cut by max_tokens", id="cut-leaked-call"),
        pytest.param(_delta("<tool_call>x y", "stop"), "could not use a tool: .* try again.$", id="garbled-call"),
        pytest.param(_delta(tool_calls=[_tool_call("{}", " ")], finish="stop"), "could not use a tool", id="no-name"),
    ],
)
def test_useless_response(payload: dict[str, Any], message: str) -> None:
    """A finished response without text and call is an error that names what came instead."""
    assembler = _assembler()
    _feed(assembler, payload)
    assembler.end()

    with pytest.raises(IncompleteResponseError, match=f"^The server {message}") as raised:
        assembler.build()
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("finish", "native", "message"),
    [
        pytest.param("error", None, "failed in the middle of its answer", id="error"),
        pytest.param("abort", None, "failed in the middle of its answer", id="abort"),
        pytest.param("error", "MALFORMED_FUNCTION_CALL", "could not use a tool", id="native"),
        pytest.param("stop", "MALFORMED_FUNCTION_CALL", "could not use a tool", id="native-beside-stop"),
        pytest.param("function_call_filter: UNEXPECTED_TOOL_CALL", None, "could not use a tool", id="Gemini"),
    ],
)
def test_failed_response(finish: str, native: str | None, message: str) -> None:
    """A finish reason of failure makes the response an error, whatever it holds."""
    assembler = _assembler()
    assembler.feed(parse_chunk(_choice({"content": "Hi"}, finish_reason=finish, native_finish_reason=native)))

    assert assembler.has_failed
    assert str(assembler.failed()).startswith(f"The server {message}")


@pytest.mark.parametrize("native", ["STOP", "MAX_TOKENS", "anything", None])
def test_native_finish_reason_that_is_no_failure(native: str | None) -> None:
    """Only failures among native finish reasons count."""
    response = _assemble(_choice({"content": "Hi"}, finish_reason="stop", native_finish_reason=native)).response

    assert (response.content, response.finish_reason) == ("Hi", "stop")


def test_unknown_finish_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A finish reason that is not known keeps the text and is logged once, without its tail."""
    word = f"surprise {'x' * 200}"

    for _ in range(3):
        assert _assemble(_delta("Hi", word)).response.finish_reason == word

    (record,) = caplog.records
    assert "'surprise xxx" in record.message
    assert len(record.message) < 150


def test_filtered_response() -> None:
    """A response that a content filter removed is an error that is not retryable."""
    assembler = _assembler()
    _feed(assembler, _delta(finish="content_filter"))

    with pytest.raises(ContentFilterError) as raised:
        assembler.build()
    assert not raised.value.retryable


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param([_delta(tool_calls=[_tool_call("{}")], finish="tool_calls")], id="call"),
        pytest.param([_delta(_CALL), _delta(finish="stop")], id="leaked-call"),
        pytest.param([_delta("<tool_call>x y"), _delta(finish="stop")], id="garbled-call"),
        pytest.param([_delta(tool_calls=[_tool_call("{")])], id="call-that-breaks-off"),
    ],
)
def test_call_instead_of_text(payloads: list[dict[str, Any]]) -> None:
    """If calls are forbidden, a response with nothing but a call is an error of its own."""
    assembler = _assembler(wants_text=True)
    _feed(assembler, *payloads)

    with pytest.raises(CallInsteadOfTextError):
        assembler.build()


def test_call_beside_text() -> None:
    """If calls are forbidden, a call beside text is dropped."""
    response = _assemble(_delta(f"Hi {_CALL}"), _delta(finish="stop"), wants_text=True).response

    assert (response.content, response.tool_calls) == ("Hi ", [])


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        pytest.param('Fine.\n<tool_call>{"name": "get_weather", "argu</tool_call>', "stop", id="garbled"),
        pytest.param(f"Fine.\n{_CALL}\n<tool_call>open the door</tool_call>", "stop", id="beside-a-good-one"),
        pytest.param(f"Fine.\n{_CALL.removesuffix('</tool_call>')}", "length", id="cut"),
    ],
)
def test_leaked_call_that_is_lost(text: str, finish: str) -> None:
    """A call in the text that cannot be read is an error, unless calls are forbidden."""
    assembler, text_assembler = _assembler(), _assembler(wants_text=True)

    assert [_feed(one, _delta(text, finish)) for one in (assembler, text_assembler)] == ["Fine.\n", "Fine.\n"]
    with pytest.raises(IncompleteResponseError, match="Failed to call a function"):
        assembler.build()
    assert text_assembler.build().response.content == "Fine.\n"


def test_text_in_the_chunk_of_a_call() -> None:
    """Text in a chunk precedes the calls in it, so that half a mark before them is dropped."""
    chunks = [
        _delta("Hi <", tool_calls=[_tool_call('{"city": "Oslo"}')]),
        _delta(" there"),
        _delta(finish="tool_calls"),
    ]

    response = _assemble(*chunks).response

    assert (response.content, _calls(response)) == ("Hi  there", [_OSLO])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("tool_call", None, id="middle-of-a-mark"),
        pytest.param("\n<tool_call", None, id="half-a-mark"),
        pytest.param("Hi\n<tool_call", "Hi\n", id="text-and-half-a-mark"),
        pytest.param("Hi", "Hi", id="text"),
    ],
)
def test_text_of_a_whole_message_with_calls(content: str, text: str | None) -> None:
    """The rest of a mark beside the calls of a whole message is dropped."""
    message = {"content": content, "tool_calls": [_tool_call('{"city": "Oslo"}')]}

    response = _assemble({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).response

    assert (response.content, _calls(response)) == (text, [_OSLO])


def test_turn_that_was_over_before_the_cut() -> None:
    """A response that went on with an invented turn is whole, although that turn was cut."""
    response = _assemble(_delta(f"Hi\n{_CALL}<|im_end|><|im_start|>user\nSo", "length")).response

    assert (response.content, _calls(response)) == ("Hi\n", [_OSLO])


def test_unmarked_reasoning() -> None:
    """Unmarked reasoning is held back if it is expected, and the result says whether it came."""
    assembler = _assembler(reasoning_first=True)

    returned = [assembler.feed(parse_chunk(_delta(text))) for text in ("hm", "</think>", "Hi")]
    assembler.feed(parse_chunk(_delta(finish="stop")))

    assert [*returned, assembler.flush()] == ["", "", "Hi", ""]
    assert assembler.build().began_with_reasoning
    assert assembler.build().response.reasoning == "hm"


def test_reasoning_in_a_field_instead_of_unmarked() -> None:
    """Reasoning in a field ends the wait for unmarked reasoning."""
    assembler = _assembler(reasoning_first=True)

    returned = [assembler.feed(parse_chunk(_delta(text, reasoning="hm"))) for text in ("Hi", " there")]
    assembler.end()

    assert [*returned, assembler.flush()] == ["Hi", " there", ""]
    assert not assembler.build().began_with_reasoning


def test_state() -> None:
    """A finish reason or an end mark finishes a response; ``has_text`` is true after the first text."""
    finished, ended = _assembler(), _assembler()
    before = (finished.is_over, finished.has_text)

    finished.feed(parse_chunk(_delta("Hi", "stop")))
    ended.end()

    assert before == (False, False)
    assert (finished.is_over, finished.has_ended, finished.has_text) == (True, False, True)
    assert (ended.is_over, ended.has_ended, ended.has_text) == (True, True, False)


def test_has_structured_calls() -> None:
    """Calls in the text are not structured calls."""
    leaked, structured = _assembler(), _assembler()
    _feed(leaked, _delta(_CALL, "stop"))
    _feed(structured, _delta(tool_calls=[_tool_call("{}")]))

    assert (leaked.has_structured_calls, structured.has_structured_calls) == (False, True)


def _failed(generation: str | None, code: str | None = "tool_use_failed") -> UpstreamError:
    return upstream_error({"error": {"message": "Failed.", "code": code, "failed_generation": generation}}, status=400)


@pytest.mark.parametrize(
    ("generation", "content", "calls"),
    [
        pytest.param(_CALL, None, [_OSLO], id="call"),
        pytest.param("maybe", "maybe", [], id="text"),
    ],
)
def test_recovered_response(generation: str, content: str | None, calls: list[Any]) -> None:
    """A failed generation is the response if it can be read as a call, or is plain text."""
    assembler = _assembler()

    assert assembler.recover(_failed(generation, None))
    assert assembler.flush() == (content or "")
    assert (assembler.build().response.content, _calls(assembler.build().response)) == (content, calls)


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(_failed(None, "rate_limit"), id="another-failure"),
        pytest.param(_failed(None), id="nothing-to-read"),
        pytest.param(_failed('{"name": "open_door"}'), id="tool-that-was-not-offered"),
        pytest.param(_failed("<tool_call>x y"), id="garbled"),
    ],
)
def test_failure_without_a_response(failure: UpstreamError) -> None:
    """A failure without a usable generation stays a failure."""
    assert not _assembler().recover(failure)


def test_recovery_after_text() -> None:
    """After text, a call is recovered and more text is not."""
    with_call, with_text = _assembler(), _assembler()
    for assembler in (with_call, with_text):
        assembler.feed(parse_chunk(_delta("Hm. ")))

    assert with_call.recover(_failed(_CALL))
    assert not with_text.recover(_failed("maybe"))
    assert (with_call.flush(), _calls(with_call.build().response)) == ("", [_OSLO])


@pytest.mark.parametrize("generation", [_CALL, None, '{"name": "open_door"}'])
def test_recovery_of_a_forbidden_call(generation: str | None) -> None:
    """If calls are forbidden, a failed call is an error of its own, and harmless after text."""
    without_text, with_text = _assembler(wants_text=True), _assembler(wants_text=True)
    with_text.feed(parse_chunk(_delta("Hm.")))

    with pytest.raises(CallInsteadOfTextError):
        without_text.recover(_failed(generation))
    assert with_text.recover(_failed(generation))
    assert with_text.flush() == ""
    assert with_text.build().response.content == "Hm."


def test_recovery_of_text() -> None:
    """Plain text that the server took for a call is the response."""
    assembler = _assembler(wants_text=True)

    assert assembler.recover(_failed("maybe"))
    assert assembler.flush() == "maybe"


_PAYLOADS = st.one_of(
    st.builds(_delta, MARKED_TEXTS, st.sampled_from([None, None, "stop", "length", "tool_calls", "content_filter"])),
    st.builds(
        lambda arguments, name: _delta(tool_calls=[_tool_call(arguments, name)]), ANYTHING, st.sampled_from(list(TOOLS))
    ),
    st.builds(lambda text: _delta(reasoning=text), MARKED_TEXTS),
    ANYTHING,
)


@given(st.lists(_PAYLOADS, max_size=6), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_any_chunks(payloads: list[Any], wants_text: bool, reasoning_first: bool, whole: bool, ends: bool) -> None:
    """Any chunks make a useful response, whose content is the text that was returned, or an ``APIError``."""
    assembler = _assembler(wants_text=wants_text, reasoning_first=reasoning_first)
    returned = _feed(assembler, *payloads, whole=whole)
    if ends:
        assembler.end()

    try:
        response = assembler.build().response
    except CallInsteadOfTextError:
        good = wants_text and not returned
    except APIError:
        good = True
    else:
        good = (response.content or "") == returned and bool(returned or response.tool_calls) and assembler.is_over
        good &= not (wants_text and response.tool_calls)
        good &= all(json.loads(json.dumps(call.arguments)) == call.arguments for call in response.tool_calls)
        good &= len({call.id for call in response.tool_calls}) == len(response.tool_calls)
    assert good


_TIME = '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>'
_MANY_IN_ONE = "[TOOL_CALLS][" + ", ".join(['{"name": "get_time", "arguments": {}}'] * 129) + "]"


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param([_delta(tool_calls=[_tool_call("{}", id=name, index=None) for name in "abc"])], id="in-one-chunk"),
        pytest.param([_delta(tool_calls=[_tool_call("{}", id=name, index=None)]) for name in "abc"], id="in-three"),
        pytest.param([_delta(_TIME * 3)], id="in-the-text"),
        pytest.param([_delta(_TIME * 2 + _TIME.partition("</")[0])], id="the-last-without-an-end"),
        pytest.param([_delta(_MANY_IN_ONE)], id="very-many-in-one-leak"),
        pytest.param([_delta(_TIME * 2, tool_calls=[_tool_call('{"city": "Oslo"}')])], id="in-the-text-and-beside"),
    ],
)
def test_too_many_calls(payloads: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    """More calls than the limit are an error, however they come; error and log name the limit."""
    assembler = ResponseAssembler(_ENDPOINT, TOOLS, wants_text=False, reasoning_first=False, max_calls=2)

    with pytest.raises(IncompleteResponseError, match=r"more than 2 tool calls in one answer \(limits\.calls\)"):
        _feed(assembler, *payloads, _delta(finish="tool_calls"))

    messages = [record.getMessage() for record in caplog.records if record.name == "adapters.response.assembler"]
    assert messages == [f"{_ENDPOINT.provider} made more tool calls than limits.calls (2)."]


def test_recovery_of_too_many_calls() -> None:
    """A failed generation has the same limit."""
    with pytest.raises(IncompleteResponseError, match=r"limits\.calls"):
        _assembler().recover(_failed(_TIME * 129))


def test_encrypted_reasoning() -> None:
    """Encrypted reasoning has no text, and is sent back with the calls."""
    secret = {"type": "reasoning.encrypted", "data": "x"}

    assembled = _assemble(
        _delta(reasoning_details=[secret], tool_calls=[_tool_call('{"city": "Oslo"}')]), _delta(finish="tool_calls")
    )

    assert assembled.response.reasoning is None
    assert assembled.response.tool_calls[0].provider_fields == {"message": {"reasoning_details": [secret]}}
