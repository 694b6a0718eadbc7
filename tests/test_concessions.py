"""``adapters.concessions``: what a server refuses is left out of the next request, once and for all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.concessions import Concessions
from adapters.request import Ask
from adapters.wire.upstream import UpstreamError, upstream_error

_TOOLS = [{"type": "function", "function": {"name": "f"}}]
_BODY: dict[str, Any] = {
    "temperature": 0.7,
    "max_tokens": 4096,
    "stream_options": {"include_usage": True},
    "tools": _TOOLS,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning_effort": "none",
}
_HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "system", "content": "Be brief."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "name": "f", "content": "ok"},
]


def _ask(*, wants_text: bool = False) -> Ask:
    return Ask(_HISTORY, _TOOLS, "none" if wants_text else "auto", stream=True)


def _refusal(message: str, status: int = 400, **fields: Any) -> UpstreamError:
    return upstream_error({"error": {"message": message, **fields}}, status=status)


def _learned(*refusals: UpstreamError, wants_text: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Refuse the request again and again; return what is sent in the end."""
    concessions, ask = Concessions(), _ask(wants_text=wants_text)
    for refusal in refusals:
        _, sent = concessions.apply(ask, _BODY)
        assert concessions.learn(refusal, ask, sent)
    return concessions.apply(ask, _BODY)


def _without(*names: str, **added: Any) -> dict[str, Any]:
    return {name: value for name, value in _BODY.items() if name not in names} | added


_NO_MAX_TOKENS = _refusal(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    param="max_tokens",
    code="unsupported_parameter",
)


@pytest.mark.parametrize(
    ("refusal", "body"),
    [
        pytest.param(
            _refusal(
                "Unsupported value: 'temperature' does not support 0.7 with this model.",
                param="temperature",
                code="unsupported_value",
            ),
            _without("temperature"),
            id="openai-temperature",
        ),
        pytest.param(_NO_MAX_TOKENS, _without("max_tokens", max_completion_tokens=4096), id="openai-max-tokens"),
        pytest.param(
            upstream_error(
                {"detail": [{"loc": ["body", "stream_options"], "msg": "stream_options: extra fields not permitted"}]},
                status=422,
            ),
            _without("stream_options"),
            id="fastapi-stream-options",
        ),
        pytest.param(
            _refusal("Unrecognized request argument supplied: parallel_tool_calls"),
            _without("parallel_tool_calls"),
            id="azure-parallel-tool-calls",
        ),
        pytest.param(
            _refusal("No endpoints found that support the provided 'tool_choice' value.", 404),
            _without("tool_choice"),
            id="openrouter-tool-choice",
        ),
        pytest.param(
            _refusal("Unsupported param: parallel_tool_calls", 500),
            _without("parallel_tool_calls"),
            id="llamacpp-refuses-with-500",
        ),
        pytest.param(
            _refusal('"m" does not support thinking'), _without("reasoning_effort"), id="ollama-calls-it-thinking"
        ),
        pytest.param(
            _refusal("Invalid param", param="body.stream_options"), _without("stream_options"), id="path-of-a-parameter"
        ),
    ],
)
def test_refused_parameter(refusal: UpstreamError, body: dict[str, Any]) -> None:
    """A parameter that is refused by name is left out, or renamed if the server knows its twin."""
    assert _learned(refusal)[1] == body


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(_refusal("temperature is not supported", 401), id="another-status"),
        pytest.param(_refusal("temperature is not supported", 429), id="busy"),
        pytest.param(_refusal("temperature must be at most 2"), id="about-its-value"),
        pytest.param(_refusal("top_p is not supported"), id="parameter-that-was-not-sent"),
        pytest.param(_refusal("tools are unexpected here"), id="tools-are-never-left-out-silently"),
        pytest.param(_refusal("Unknown error"), id="no-name"),
        pytest.param(_refusal("temperature and all are not supported", param="top_p"), id="other-parameter-named"),
        pytest.param(_refusal("my_temperature_2 is not supported"), id="part-of-another-name"),
    ],
)
def test_refusal_that_teaches_nothing(refusal: UpstreamError) -> None:
    """A refusal that names no parameter of ours is not asked about again."""
    concessions = Concessions()

    assert not concessions.learn(refusal, _ask(), _BODY)
    assert concessions.apply(_ask(), _BODY)[1] == _BODY


def test_twin_that_is_refused_too() -> None:
    """A server that takes neither name of a parameter gets none."""
    other = _refusal("max_completion_tokens is not supported", param="max_completion_tokens")

    assert _learned(_NO_MAX_TOKENS, other)[1] == _without("max_tokens")


def test_twin_of_a_caller() -> None:
    """A caller's max_completion_tokens becomes max_tokens where only that is known."""
    concessions, body = Concessions(), {"max_completion_tokens": 5}

    assert concessions.learn(_refusal("Unknown field max_completion_tokens"), _ask(), body)
    assert concessions.apply(_ask(), body)[1] == {"max_tokens": 5}


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(_refusal('"m" does not support tools'), id="ollama"),
        pytest.param(_refusal("tools param requires --jinja flag", 500), id="llamacpp"),
        pytest.param(_refusal("No endpoints found that support tool use.", 404), id="openrouter"),
        pytest.param(_refusal("tool_choice 'none' is not supported"), id="choice"),
    ],
)
def test_tools_refused_where_text_is_wanted(refusal: UpstreamError) -> None:
    """Where text is wanted, tools are left out and the history is told in plain words."""
    messages, body = _learned(refusal, wants_text=True)

    assert body == _without("tools", "tool_choice")
    assert [message["role"] for message in messages] == ["user", "system", "user"]


def test_tools_refused_where_calls_are_wanted() -> None:
    """Where calls are wanted, a server without tools is not asked again: the caller must know."""
    concessions = Concessions()

    assert not concessions.learn(_refusal('"m" does not support tools'), _ask(), _BODY)


def test_tools_left_out_of_text_are_offered_for_calls() -> None:
    """What is learned for requests that want text does not touch those that want calls."""
    concessions = Concessions()

    assert [concessions.forbid_tools_in_text(), concessions.forbid_tools_in_text()] == [True, False]
    assert concessions.apply(_ask(), _BODY)[1] == _BODY
    assert "tools" not in concessions.apply(_ask(wants_text=True), _BODY)[1]


@pytest.mark.parametrize(
    ("message", "roles"),
    [
        pytest.param("System message must be at the beginning.", ["user", "assistant", "tool"], id="systems-first"),
        pytest.param("System role not supported", ["user", "assistant", "tool"], id="gemma"),
        pytest.param(
            "'messages[0].role' does not support 'system' with this model.", ["user", "assistant", "tool"], id="o1"
        ),
    ],
)
def test_system_messages(message: str, roles: list[str]) -> None:
    """A server that is strict about system messages gets them as the user's words."""
    messages, _ = _learned(_refusal(message))

    assert [each["role"] for each in messages] == roles
    assert messages[0]["content"] == "Hi\n\nSystem: Be brief."


def test_first_system_message() -> None:
    """Only a server that knows no system role loses the first one."""
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    ask = Ask(history, [], "auto", stream=False)
    strict, without = Concessions(), Concessions()
    strict.learn(_refusal("System message must be at the beginning."), ask, {})
    without.learn(_refusal("System role not supported"), ask, {})

    assert strict.apply(ask, {})[0] == history
    assert without.apply(ask, {})[0] == [{"role": "user", "content": "System: Be brief.\n\nHi"}]


def test_short_ids() -> None:
    """A server that wants ids of nine letters or digits gets them, the same in call and result."""
    messages, _ = _learned(
        _refusal("Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", type="invalid_function_call")
    )

    (call_id,) = {messages[2]["tool_calls"][0]["id"], messages[3]["tool_call_id"]}
    assert len(call_id) == 9
    assert call_id.isalnum()


def test_the_same_refusal_twice() -> None:
    """What was given in to once and is refused again is not asked a third time."""
    concessions, ask, refusal = Concessions(), _ask(), _refusal("System role not supported")
    sent = concessions.apply(ask, _BODY)[1]

    assert [concessions.learn(refusal, ask, sent), concessions.learn(refusal, ask, sent)] == [True, False]


def test_nothing_is_changed() -> None:
    """The question and the body stay as the caller gave them."""
    concessions, ask, body = Concessions(), _ask(wants_text=True), dict(_BODY)
    concessions.forbid_tools_in_text()

    concessions.apply(ask, body)[1].clear()

    assert body == _BODY
    assert ask.messages is _HISTORY


_WORDS = [
    *_BODY,
    "max_completion_tokens",
    "System role not supported",
    "tool call id must be a-z, A-Z, 0-9",
    "thinking",
]


@given(
    st.lists(
        st.builds(
            lambda words, param, status: _refusal(f"not supported: {' '.join(words)}", status, param=param),
            st.lists(st.sampled_from(_WORDS), max_size=3),
            st.none() | st.sampled_from(_WORDS),
            st.sampled_from([400, 404, 422, 500]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_refusals_come_to_an_end(refusals: list[UpstreamError], wants_text: bool) -> None:
    """A server that refuses everything is asked a bounded number of times, each time another request."""
    concessions, ask, seen = Concessions(), _ask(wants_text=wants_text), []

    for _ in range(len(_BODY) + 10):
        messages, sent = concessions.apply(ask, _BODY)
        assert (messages, sent) not in seen
        seen.append((messages, sent))
        if not any(concessions.learn(refusal, ask, sent) for refusal in refusals):
            break
    else:
        pytest.fail("it never ends")
