"""``adapters.response.assembler``: chunks become one answer; nothing empty, cut or garbled passes for a good one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import APIError, ContentFilterError, IncompleteResponseError, UpstreamError
from adapters.response.assembler import AssembledResponse, CallInsteadOfTextError, ResponseAssembler
from adapters.response.chunks import parse_chunk
from adapters.transport.endpoint import Endpoint
from adapters.transport.errors.upstream import upstream_error
from adapters.types import LLMResponse, TokenUsage
from tests.property.strategies import ANYTHING, MARKED_TEXTS, TOOLS

_ORIGIN = Endpoint("The server", "m")
_CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>'
_OSLO = ("get_weather", {"city": "Oslo"})


def _answer(**options: bool) -> ResponseAssembler:
    return ResponseAssembler(_ORIGIN, TOOLS, **{"wants_text": False, "reasoning_first": False, **options})


def _delta(content: Any = None, finish: str | None = None, **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content, **message}, "finish_reason": finish}]}


def _choice(delta: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **fields}]}


def _tool_call(arguments: str, name: str = "get_weather", **fields: Any) -> dict[str, Any]:
    return {"index": 0, "id": "a", "function": {"name": name, "arguments": arguments}, **fields}


def _fed(answer: ResponseAssembler, *payloads: dict[str, Any], whole: bool = False) -> str:
    """Feed payloads and flush; return what was said."""
    return "".join([answer.feed(parse_chunk(payload), whole=whole) for payload in payloads]) + answer.flush()


def _outcome(*payloads: dict[str, Any], **options: bool) -> AssembledResponse:
    answer = _answer(**options)
    said = _fed(answer, *payloads)
    outcome = answer.build()
    assert said == (outcome.response.content or "")
    return outcome


def _calls(response: LLMResponse) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in response.tool_calls]


def test_thinking_is_seen_until_the_first_text() -> None:
    """Who waits can be told that the model thinks, and no longer when it speaks."""
    answer = _answer()
    states = [answer.is_reasoning]
    for payload in (_delta(reasoning_content="Hm."), _delta("Hello "), _delta("there.")):
        answer.feed(parse_chunk(payload))
        states.append(answer.is_reasoning)

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
    """Text, calls and reasoning are all there, and the content is what was said."""
    response = _outcome(*payloads).response

    assert (response.content, _calls(response), response.reasoning) == (content, calls, reasoning)


def test_what_else_an_answer_tells() -> None:
    """Model, finish reason and the last token count that is one are kept, and what must come back with a call."""
    details = [{"type": "reasoning.text", "index": 0, "text": "a"}, {"type": "reasoning.text", "index": 0, "text": "b"}]
    call = _tool_call("{}", "get_time", extra_content={"signature": "x"})

    outcome = _outcome(
        {"model": "m-1", "usage": {"prompt_tokens": 1, "completion_tokens": 1}} | _delta(reasoning_details=details[:1]),
        _delta(tool_calls=[call], reasoning_details=details[1:]),
        _delta(finish="tool_calls") | {"usage": {"prompt_tokens": 5, "completion_tokens": 7}},
        {"model": "m-2", "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}},
    )

    assert outcome.response.usage == TokenUsage(5, 7)
    assert (outcome.response.model, outcome.response.finish_reason) == ("m-1", "tool_calls")
    assert outcome.response.tool_calls[0].provider_fields == {
        "message": {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "ab"}]},
        "call": {"extra_content": {"signature": "x"}},
    }


def test_names_and_refusal_of_an_answer() -> None:
    """The first id counts; the words of a refusal are spoken and marked; logprobs of all chunks are one list."""
    first, second = [{"token": "No"}], [{"token": "."}]

    response = _outcome(
        {"id": "", "provider": "Azure", "choices": []},
        {"id": "gen-1"} | _choice({"refusal": "No"}, logprobs={"content": first}),
        {"id": "gen-2"} | _choice({"refusal": "."}, logprobs={"content": second}),
        _choice({}, finish_reason="stop", native_finish_reason="STOP"),
        wants_logprobs=True,
    ).response

    assert (response.id, response.provider, response.upstream_provider) == ("gen-1", _ORIGIN.provider, "Azure")
    assert response.content == response.refusal == "No."
    assert response.logprobs == [*first, *second]
    assert response.native_finish_reason == "STOP"
    assert response.request_id is None


def test_logprobs_that_were_not_requested() -> None:
    """Logprobs are kept only if the caller requested them, for they take much memory."""
    assert (
        _outcome(_choice({"content": "Hi"}, logprobs={"content": [{}]}, finish_reason="stop")).response.logprobs is None
    )


def test_logprobs_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logprobs are kept up to a limit."""
    monkeypatch.setattr("adapters.response.assembler._MAX_LOGPROBS_CHARS", 20)
    entry = {"token": "Hi"}

    response = _outcome(
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
    """Text that a server sends again is new once; what a model repeats itself is kept."""
    assert _outcome(*map(_delta, pieces), _delta(finish="stop")).response.content == text


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
def test_whole_message_behind_deltas(deltas: list[dict[str, Any]], message: dict[str, Any], content: str) -> None:
    """A message behind deltas repeats them, and brings only what they have not."""
    message = {"role": "assistant", **message, "reasoning": "hm", "tool_calls": [_tool_call("{}", "get_time")]}
    last = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    calls: list[dict[str, Any]] = [{"reasoning": "hm"}, {"tool_calls": [_tool_call("{}", "get_time")]}]

    for before in (deltas, [*deltas, *calls], [*calls, *deltas]):
        response = _outcome(*map(_choice, before), last).response

        assert (response.content, _calls(response), response.reasoning) == (content, [("get_time", {})], "hm")


def test_messages_in_the_place_of_deltas() -> None:
    """A stream of messages, without any delta, is read like deltas."""
    messages = [{"choices": [{"message": {"content": text}}]} for text in ("Hi ", "there", ".")]

    assert _outcome(*messages, _delta(finish="stop")).response.content == "Hi there."


def test_halves_of_characters() -> None:
    """Halves of characters are joined or replaced in everything that goes back to a server."""
    half, other = "\ud83d", "\ude00"
    details = [{"type": "t", "index": 0, "text": f"a{half}"}, {"type": "t", "index": 0, "text": f"{other}b{half}"}]
    first = _tool_call("", f"f{half}", extra_content={f"k{half}": [half]}) | {"id": f"i{half}"}
    second = _tool_call(f'{{"x{half}": "{half}', other) | {"id": f"i{half}"}
    third = {"index": 0, "function": {"arguments": f'{other}"}}'}}

    response = _outcome(
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


def test_names_that_are_no_text() -> None:
    """An id, model or provider that is blank or of another type is None."""
    response = _outcome({"id": " ", "model": 7, "provider": {"name": "Azure"}}, _delta("Hi", "stop")).response

    assert (response.id, response.model, response.upstream_provider) == (None, None, None)


@pytest.mark.parametrize(
    ("payloads", "says"),
    [
        pytest.param([], "sent an empty answer", id="nothing"),
        pytest.param([_delta("Hi")], "broke off in the middle of its answer", id="text"),
        pytest.param([_delta(tool_calls=[_tool_call("{}")])], "broke off and could not use a tool", id="call"),
        pytest.param([_delta("<tool_call>{")], "broke off and could not use a tool", id="leaked-call"),
        pytest.param([_delta(reasoning="hm")], "stopped before giving an answer", id="reasoning"),
    ],
)
def test_answer_that_breaks_off(payloads: list[dict[str, Any]], says: str) -> None:
    """An answer that never said that it is finished is an error, whatever it brought."""
    answer = _answer()
    _fed(answer, *payloads)

    with pytest.raises(IncompleteResponseError, match=f"^The server {says}"):
        answer.build()


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
    """If the caller allows it, an empty answer with a good end is one; any other empty answer stays an error."""
    answer = _answer(wants_text=wants_text, allow_empty=True)
    _fed(answer, payload)
    answer.end()

    if is_silent:
        assert answer.build().response.content is None
    else:
        with pytest.raises((APIError, CallInsteadOfTextError)):
            answer.build()


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        pytest.param(_delta(finish="stop"), "sent an empty answer", id="nothing"),
        pytest.param(_delta(" \n", "stop"), "sent an empty answer", id="blank"),
        pytest.param({"choices": []}, "sent nothing that is an answer", id="no-choices"),
        pytest.param(_delta(finish="length"), "used up max_tokens before its answer began", id="cut"),
        pytest.param(_delta("<think>hm", "stop"), "produced reasoning but no answer. Please try again", id="thought"),
        pytest.param(_delta("<think>hm", "length"), "produced reasoning but no answer. Please raise", id="cut-thought"),
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
def test_answer_without_use(payload: dict[str, Any], says: str) -> None:
    """An answer that ends with neither text nor call is an error that says what came instead."""
    answer = _answer()
    _fed(answer, payload)
    answer.end()

    with pytest.raises(IncompleteResponseError, match=f"^The server {says}") as raised:
        answer.build()
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("finish", "native", "says"),
    [
        pytest.param("error", None, "failed in the middle of its answer", id="error"),
        pytest.param("abort", None, "failed in the middle of its answer", id="abort"),
        pytest.param("error", "MALFORMED_FUNCTION_CALL", "could not use a tool", id="native"),
        pytest.param("stop", "MALFORMED_FUNCTION_CALL", "could not use a tool", id="native-beside-stop"),
        pytest.param("function_call_filter: UNEXPECTED_TOOL_CALL", None, "could not use a tool", id="Gemini"),
    ],
)
def test_failed_answer(finish: str, native: str | None, says: str) -> None:
    """A finish reason of failure makes an error of whatever came."""
    answer = _answer()
    answer.feed(parse_chunk(_choice({"content": "Hi"}, finish_reason=finish, native_finish_reason=native)))

    assert answer.has_failed
    assert str(answer.failed()).startswith(f"The server {says}")


@pytest.mark.parametrize("native", ["STOP", "MAX_TOKENS", "anything", None])
def test_native_finish_reason_that_is_no_failure(native: str | None) -> None:
    """Only failures among native finish reasons count."""
    response = _outcome(_choice({"content": "Hi"}, finish_reason="stop", native_finish_reason=native)).response

    assert (response.content, response.finish_reason) == ("Hi", "stop")


def test_unknown_finish_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A finish reason that is not known keeps the text and is logged once, without its tail."""
    word = f"surprise {'x' * 200}"

    for _ in range(3):
        assert _outcome(_delta("Hi", word)).response.finish_reason == word

    (record,) = caplog.records
    assert "'surprise xxx" in record.message
    assert len(record.message) < 150


def test_filtered_answer() -> None:
    """An answer that a content filter took away whole says so, and is not asked for again."""
    answer = _answer()
    _fed(answer, _delta(finish="content_filter"))

    with pytest.raises(ContentFilterError) as raised:
        answer.build()
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
def test_call_where_text_was_wanted(payloads: list[dict[str, Any]]) -> None:
    """Where text was wanted, nothing but a call is a signal to ask in another way."""
    answer = _answer(wants_text=True)
    _fed(answer, *payloads)

    with pytest.raises(CallInsteadOfTextError):
        answer.build()


def test_call_beside_the_text_that_was_wanted() -> None:
    """Where text was wanted and came, a call beside it is dropped."""
    response = _outcome(_delta(f"Hi {_CALL}"), _delta(finish="stop"), wants_text=True).response

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
    """A call in the text that cannot be read is an error, unless only text was requested."""
    answer, text_answer = _answer(), _answer(wants_text=True)

    assert [_fed(each, _delta(text, finish)) for each in (answer, text_answer)] == ["Fine.\n", "Fine.\n"]
    with pytest.raises(IncompleteResponseError, match="Failed to call a function"):
        answer.build()
    assert text_answer.build().response.content == "Fine.\n"


def test_text_in_the_chunk_of_a_call() -> None:
    """Text in a chunk precedes the calls in it, so that half a mark before them is dropped."""
    chunks = [
        _delta("Hi <", tool_calls=[_tool_call('{"city": "Oslo"}')]),
        _delta(" there"),
        _delta(finish="tool_calls"),
    ]

    response = _outcome(*chunks).response

    assert (response.content, _calls(response)) == ("Hi  there", [_OSLO])


def test_turn_that_was_over_before_the_cut() -> None:
    """An answer that went on with an invented turn is whole, although that turn was cut."""
    response = _outcome(_delta(f"Hi\n{_CALL}<|im_end|><|im_start|>user\nSo", "length")).response

    assert (response.content, _calls(response)) == ("Hi\n", [_OSLO])


def test_server_whose_answers_begin_with_reasoning() -> None:
    """Unmarked reasoning is held back where it is expected, and the answer tells whether it came."""
    answer = _answer(reasoning_first=True)

    said = [answer.feed(parse_chunk(_delta(text))) for text in ("hm", "</think>", "Hi")]
    answer.feed(parse_chunk(_delta(finish="stop")))

    assert [*said, answer.flush()] == ["", "", "Hi", ""]
    assert answer.build().began_with_reasoning
    assert answer.build().response.reasoning == "hm"


def test_server_that_now_keeps_reasoning_apart() -> None:
    """Reasoning in a field of its own frees text that was held back for fear of more."""
    answer = _answer(reasoning_first=True)

    said = [answer.feed(parse_chunk(_delta(text, reasoning="hm"))) for text in ("Hi", " there")]
    answer.end()

    assert [*said, answer.flush()] == ["Hi", " there", ""]
    assert not answer.build().began_with_reasoning


def test_state_of_an_answer() -> None:
    """It is over with a finish reason or the server's end mark, and spoke once it gave out text."""
    finished, ended = _answer(), _answer()
    before = (finished.is_over, finished.has_text)

    finished.feed(parse_chunk(_delta("Hi", "stop")))
    ended.end()

    assert before == (False, False)
    assert (finished.is_over, finished.has_ended, finished.has_text) == (True, False, True)
    assert (ended.is_over, ended.has_ended, ended.has_text) == (True, True, False)


def _failed(generation: str | None, code: str | None = "tool_use_failed") -> UpstreamError:
    return upstream_error({"error": {"message": "Failed.", "code": code, "failed_generation": generation}}, status=400)


@pytest.mark.parametrize(
    ("generation", "content", "calls"),
    [
        pytest.param(_CALL, None, [_OSLO], id="call"),
        pytest.param("maybe", "maybe", [], id="text"),
    ],
)
def test_rescued_answer(generation: str, content: str | None, calls: list[Any]) -> None:
    """What a server could not read as a call is the answer, if it can be read as a call or is plain text."""
    answer = _answer()

    assert answer.recover(_failed(generation, None))
    assert answer.flush() == (content or "")
    assert (answer.build().response.content, _calls(answer.build().response)) == (content, calls)


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(_failed(None, "rate_limit"), id="another-failure"),
        pytest.param(_failed(None), id="nothing-to-read"),
        pytest.param(_failed('{"name": "open_door"}'), id="tool-that-was-not-offered"),
        pytest.param(_failed("<tool_call>x y"), id="garbled"),
    ],
)
def test_failure_without_an_answer(failure: UpstreamError) -> None:
    """Where a failure holds no answer, it stays one."""
    assert not _answer().recover(failure)


def test_rescue_behind_text() -> None:
    """Behind text that was spoken, a call is rescued and more text is not."""
    with_call, with_text = _answer(), _answer()
    for answer in (with_call, with_text):
        answer.feed(parse_chunk(_delta("Hm. ")))

    assert with_call.recover(_failed(_CALL))
    assert not with_text.recover(_failed("maybe"))
    assert (with_call.flush(), _calls(with_call.build().response)) == ("", [_OSLO])


@pytest.mark.parametrize("generation", [_CALL, None, '{"name": "open_door"}'])
def test_rescue_where_text_was_wanted(generation: str | None) -> None:
    """Where text was wanted and the model insisted on a call, it is asked in another way; spoken text is enough."""
    silent, has_text = _answer(wants_text=True), _answer(wants_text=True)
    has_text.feed(parse_chunk(_delta("Hm.")))

    with pytest.raises(CallInsteadOfTextError):
        silent.recover(_failed(generation))
    assert has_text.recover(_failed(generation))
    assert has_text.flush() == ""
    assert has_text.build().response.content == "Hm."


def test_rescued_text_where_text_was_wanted() -> None:
    """A server that took plain text for a call is overruled."""
    answer = _answer(wants_text=True)

    assert answer.recover(_failed("maybe"))
    assert answer.flush() == "maybe"


@pytest.mark.parametrize(
    ("native", "says"),
    [
        pytest.param("MALFORMED_FUNCTION_CALL", "could not use a tool: Failed to call a function", id="gemini"),
        pytest.param("ERROR", "failed in the middle of its answer", id="any-other"),
        pytest.param(None, "failed in the middle of its answer", id="none"),
    ],
)
def test_finish_reason_error(native: str | None, says: str) -> None:
    """The word of the provider behind the server tells a call that failed from any other failure."""
    answer = _answer()
    answer.feed(parse_chunk({"choices": [{"delta": {}, "finish_reason": "error", "native_finish_reason": native}]}))

    assert str(answer.failed()).startswith(f"The server {says}")


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
    """Any chunks make a useful answer, whose content is what was said, or an error of ours."""
    answer = _answer(wants_text=wants_text, reasoning_first=reasoning_first)
    said = _fed(answer, *payloads, whole=whole)
    if ends:
        answer.end()

    try:
        response = answer.build().response
    except CallInsteadOfTextError:
        good = wants_text and not said
    except APIError:
        good = True
    else:
        good = (response.content or "") == said and bool(said or response.tool_calls) and answer.is_over
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
    """More calls than an answer may hold are refused, however they come; error and log say which limit it was."""
    answer = ResponseAssembler(_ORIGIN, TOOLS, wants_text=False, reasoning_first=False, max_calls=2)

    with pytest.raises(IncompleteResponseError, match=r"more than 2 tool calls in one answer \(limit calls\)"):
        _fed(answer, *payloads, _delta(finish="tool_calls"))

    told = [record.getMessage() for record in caplog.records if record.name == "adapters.response.assembler"]
    assert told == [f"{_ORIGIN.provider} made more tool calls than limits.calls (2)."]


def test_rescue_of_too_many_calls() -> None:
    """What a server could not read has the same limit."""
    with pytest.raises(IncompleteResponseError, match="limit calls"):
        _answer().recover(_failed(_TIME * 129))


def test_reasoning_that_nobody_can_read() -> None:
    """Encrypted reasoning has no words, and comes back with the calls all the same."""
    secret = {"type": "reasoning.encrypted", "data": "x"}

    outcome = _outcome(
        _delta(reasoning_details=[secret], tool_calls=[_tool_call('{"city": "Oslo"}')]), _delta(finish="tool_calls")
    )

    assert outcome.response.reasoning is None
    assert outcome.response.tool_calls[0].provider_fields == {"message": {"reasoning_details": [secret]}}
