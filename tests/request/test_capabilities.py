"""``adapters.request.capabilities``: one rejection teaches one thing, and all later requests follow it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.config import ProviderConfig
from adapters.request.build import build_request
from adapters.request.capabilities import ServerCapabilities
from adapters.request.chat_request import ChatRequest
from adapters.request.history import REWRITES, rewrite_history
from adapters.request.params import RequestParams
from adapters.transport.errors.upstream import upstream_error

if TYPE_CHECKING:
    from adapters.errors import UpstreamError

_CONFIG = ProviderConfig(kind="openai_compatible", model="m", base_url="http://localhost/v1")
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


def _params(*, wants_text: bool = False, **fields: Any) -> RequestParams:
    options = {"parallel_tool_calls": True, "reasoning_effort": "none"}
    params = {"messages": _HISTORY, "tools": _TOOLS, "stream": True, "options": options, **fields}
    return RequestParams(**params, tool_choice="none" if wants_text else "auto")


def _rejection(message: str, status: int = 400, **fields: Any) -> UpstreamError:
    return upstream_error({"error": {"message": message, **fields}}, status=status)


def _reject(params: RequestParams, *rejections: UpstreamError) -> ChatRequest:
    """Reject one request after the other, each of which must differ; return the last."""
    capabilities = ServerCapabilities()
    request = build_request(params, _CONFIG, capabilities)
    for rejection in rejections:
        capabilities.learn_from_rejection(rejection, request)
        refused, request = request, build_request(params, _CONFIG, capabilities)
        assert request != refused
    return request


def _without(*names: str, **added: Any) -> dict[str, Any]:
    return {name: value for name, value in _BODY.items() if name not in names} | added


_NO_MAX_TOKENS = _rejection(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    param="max_tokens",
    code="unsupported_parameter",
)


@pytest.mark.parametrize(
    ("rejection", "body"),
    [
        pytest.param(
            _rejection(
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
            _rejection("Unrecognized request argument supplied: parallel_tool_calls"),
            _without("parallel_tool_calls"),
            id="azure-parallel-tool-calls",
        ),
        pytest.param(
            _rejection("No endpoints found that support the provided 'tool_choice' value.", 404),
            _without("tool_choice"),
            id="openrouter-tool-choice",
        ),
        pytest.param(
            _rejection("Unsupported param: parallel_tool_calls", 500),
            _without("parallel_tool_calls"),
            id="llamacpp-refuses-with-500",
        ),
        pytest.param(
            _rejection('"m" does not support thinking'), _without("reasoning_effort"), id="ollama-calls-it-thinking"
        ),
        pytest.param(
            _rejection("Invalid param", param="body.stream_options"),
            _without("stream_options"),
            id="path-of-a-parameter",
        ),
    ],
)
def test_rejected_parameter(rejection: UpstreamError, body: dict[str, Any]) -> None:
    """A parameter that is rejected by name is left out, or renamed if it has another name."""
    assert _reject(_params(), rejection).body == body


@pytest.mark.parametrize(
    "rejection",
    [
        pytest.param(_rejection("temperature is not supported", 401), id="another-status"),
        pytest.param(_rejection("temperature is not supported", 429), id="busy"),
        pytest.param(_rejection("temperature must be at most 2"), id="about-its-value"),
        pytest.param(_rejection("top_p is not supported"), id="parameter-that-was-not-sent"),
        pytest.param(_rejection("tools are unexpected here"), id="tools-are-never-left-out-silently"),
        pytest.param(_rejection("Unknown error"), id="no-name"),
        pytest.param(_rejection("temperature and all are not supported", param="top_p"), id="other-parameter-named"),
        pytest.param(_rejection("my_temperature_2 is not supported"), id="part-of-another-name"),
    ],
)
def test_rejection_that_teaches_nothing(rejection: UpstreamError) -> None:
    """A rejection that names no parameter of the request changes nothing."""
    capabilities = ServerCapabilities()
    request = build_request(_params(), _CONFIG, capabilities)

    capabilities.learn_from_rejection(rejection, request)

    assert build_request(_params(), _CONFIG, capabilities) == request


_TOO_LARGE = (
    "max_tokens is too large: 4096. This model supports at most {} completion tokens, whereas you provided 4096."
)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(_TOO_LARGE.format(1000), id="openai"),
        pytest.param(_TOO_LARGE.format("1,000"), id="with-a-comma"),
        pytest.param(
            "`max_tokens` must be less than or equal to `1000`, the maximum value for `max_tokens` is less than the "
            "`context_window` for this model",
            id="groq",
        ),
        pytest.param(
            "max_tokens: 4096 > 1000, which is the maximum allowed number of output tokens for m", id="claude"
        ),
        pytest.param("Invalid max_tokens value, the valid range of max_tokens is [1, 1000]", id="deepseek"),
        pytest.param("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 1000]", id="qwen"),
        pytest.param(
            "Unable to submit request because it has a maxOutputTokens value of 4096 but the supported range is from 1 "
            "(inclusive) to 1001 (exclusive). Update the value and try again.",
            id="gemini",
        ),
        pytest.param("max_tokens must be between 1 and 1000", id="between"),
        pytest.param("Input should be <= 1000: max_tokens", id="sign"),
        pytest.param("max_tokens 4096 exceeds server limit (1000)", id="server-limit"),
        pytest.param("Requested max_tokens of 4096 exceeds the limit of 1,000", id="limit-of"),
    ],
)
def test_limit_that_is_named(message: str) -> None:
    """The limit is requested from then on, and a shorter limit of the caller stays."""
    capabilities = ServerCapabilities()
    capabilities.learn_from_rejection(_rejection(message), build_request(_params(), _CONFIG, capabilities))
    shorter = _params(options={"max_tokens": 5, "max_completion_tokens": 2_000, "x": 9_999})

    assert build_request(_params(), _CONFIG, capabilities).body == _without("max_tokens", max_tokens=1_000)
    body = build_request(shorter, _CONFIG, capabilities).body
    assert (body["max_tokens"], body["max_completion_tokens"], body["x"]) == (5, 1_000, 9_999)


def test_limit_under_another_name() -> None:
    """A limit holds for both names of the parameter."""
    limit = _rejection(_TOO_LARGE.format(1_000).replace("max_tokens", "max_completion_tokens"))

    assert _reject(_params(), _NO_MAX_TOKENS, limit).body == _without("max_tokens", max_completion_tokens=1_000)


_LONG = "This model's maximum context length is 1000 tokens. However, you requested"


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        pytest.param("max_tokens is too large", {}, id="no-limit"),
        pytest.param("max_tokens must be at least 5000", {}, id="lowest-value"),
        pytest.param("max_tokens may be at most 9000", {}, id="limit-above-what-was-asked"),
        pytest.param("max_tokens may be at most 0", {}, id="nothing"),
        pytest.param("temperature must be between 0 and 1, max_tokens is fine", {"param": "temperature"}, id="another"),
        pytest.param("temperature is too large: at most 1 is supported", {}, id="no-number-of-tokens"),
        pytest.param(f"max_tokens is too large: 4096. {_LONG} 4096 tokens", {}, id="room-beside-this-prompt"),
        pytest.param(
            "max_tokens=4096 cannot be greater than max_model_len=1000. Please request fewer output tokens.",
            {},
            id="room-of-the-whole-model",
        ),
        pytest.param(
            "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: "
            "'low', 'medium', and 'high'.",
            {"param": "reasoning_effort", "code": "unsupported_value"},
            id="openai-list-of-values",
        ),
        pytest.param("`reasoning_effort` must be one of `low` or `high`; none is not supported", {}, id="groq-values"),
        pytest.param(
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
            {"param": "temperature", "code": "decimal_above_max_value"},
            id="openai-decimal",
        ),
    ],
)
def test_complaint_about_a_value(message: str, fields: dict[str, Any]) -> None:
    """A wrong value is the caller's mistake: nothing is left out and nothing is learned."""
    capabilities = ServerCapabilities()
    request = build_request(_params(), _CONFIG, capabilities)

    capabilities.learn_from_rejection(_rejection(message, **fields), request)

    assert build_request(_params(), _CONFIG, capabilities) == request


def test_second_limit() -> None:
    """The first limit stays."""
    capabilities = ServerCapabilities()
    for limit in (1_000, 100):
        capabilities.learn_from_rejection(
            _rejection(_TOO_LARGE.format(limit)), build_request(_params(), _CONFIG, capabilities)
        )

    assert build_request(_params(), _CONFIG, capabilities).body["max_tokens"] == 1_000


_THOUGHTS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello.", "reasoning": "a", "reasoning_content": "b", "reasoning_details": []},
]


@pytest.mark.parametrize(
    ("rejection", "field"),
    [
        pytest.param(
            _rejection("'messages.1' : property 'reasoning_content' is unsupported"), "reasoning_content", id="groq"
        ),
        pytest.param(
            upstream_error(
                {
                    "detail": [
                        {
                            "type": "extra_forbidden",
                            "loc": ["body", "messages", 1, "assistant", "reasoning_content"],
                            "msg": "Extra inputs are not permitted",
                        }
                    ]
                },
                status=422,
            ),
            "reasoning_content",
            id="fastapi",
        ),
        pytest.param(
            _rejection("Unknown parameter: 'messages[1].reasoning'.", param="messages[1].reasoning"),
            "reasoning",
            id="openai",
        ),
        pytest.param(_rejection("reasoning_details: unknown field"), "reasoning_details", id="bare"),
        pytest.param(
            _rejection("Unknown field `reasoning` in messages[1]"), "reasoning", id="a-parameter-of-that-name"
        ),
    ],
)
def test_rejected_field_of_a_message(rejection: UpstreamError, field: str) -> None:
    """A field that this server rejects and others want back is left out of all messages; the rest stays."""
    params = _params(messages=_THOUGHTS, options={"reasoning": {"enabled": True}})
    before = build_request(params, _CONFIG, ServerCapabilities())

    request = _reject(params, rejection)

    assert request.messages[0] is before.messages[0]
    assert request.messages[1] == {name: value for name, value in _THOUGHTS[1].items() if name != field}
    assert request.body == before.body


@pytest.mark.parametrize(
    ("rejection", "left"),
    [
        pytest.param(
            _rejection("('messages.1.tool_calls.0' : property 'extra_content' is unsupported)"),
            {"mark": 1},
            id="of-a-call",
        ),
        pytest.param(
            _rejection("Unknown parameter: 'messages[1].tool_calls[0].function.mark'."),
            {"extra_content": {"google": {}}},
            id="of-a-function",
        ),
    ],
)
def test_rejected_field_of_a_call(rejection: UpstreamError, left: dict[str, Any]) -> None:
    """A thought signature is left out of calls for a server that rejects it."""
    function = {"name": "get_weather", "arguments": "{}"}
    plain: dict[str, Any] = {"id": "a", "type": "function"}
    extra: dict[str, Any] = {"extra_content": {"google": {}}}
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{**plain, "function": {**function, "mark": 1}, **extra}],
    }
    alone = {"role": "assistant", "content": None, "tool_calls": [{**plain, "id": "b", "function": function}]}
    params = _params(messages=[{"role": "user", "content": "Hi"}, called, alone], options={})
    before = build_request(params, _CONFIG, ServerCapabilities())

    request = _reject(params, rejection)

    [call] = request.messages[1]["tool_calls"]
    assert {**call, **call["function"]} == {**plain, "function": call["function"], **function, **left}
    assert request.messages[3] is before.messages[3]


@pytest.mark.parametrize(
    ("message", "messages"),
    [
        pytest.param(
            "The `reasoning_content` in the thinking mode must be passed back to the API.", _THOUGHTS, id="wanted-back"
        ),
        pytest.param("Missing `reasoning_content` field in the assistant message at index 1", _THOUGHTS, id="missing"),
        pytest.param("reasoning_content is not supported", _HISTORY, id="field-that-was-not-sent"),
    ],
)
def test_field_that_stays(message: str, messages: list[dict[str, Any]]) -> None:
    """A demand for a field, or a complaint about one that was not sent, changes nothing."""
    capabilities, params = ServerCapabilities(), _params(messages=messages, options={})
    request = build_request(params, _CONFIG, capabilities)

    capabilities.learn_from_rejection(_rejection(message), request)

    assert build_request(params, _CONFIG, capabilities) == request


def test_parameter_with_the_name_of_a_field() -> None:
    """OpenRouter's parameter ``reasoning`` is dropped, and the field of the messages stays."""
    params = _params(messages=_THOUGHTS, options={"reasoning": {"enabled": True}})

    request = _reject(params, _rejection("reasoning is not supported by this model"))

    assert "reasoning" not in request.body
    assert request.messages == _THOUGHTS


def test_both_names_rejected() -> None:
    """A parameter whose two names are rejected is left out."""
    other = _rejection("max_completion_tokens is not supported", param="max_completion_tokens")

    assert _reject(_params(), _NO_MAX_TOKENS, other).body == _without("max_tokens")


def test_other_name_of_the_caller() -> None:
    """The caller's max_completion_tokens becomes max_tokens for a server that only knows that."""
    params = _params(options={"max_completion_tokens": 5, "max_tokens": None})

    body = _reject(params, _rejection("Unknown field max_completion_tokens")).body

    assert body["max_tokens"] == 5
    assert "max_completion_tokens" not in body


@pytest.mark.parametrize(
    "rejection",
    [
        pytest.param(_rejection('"m" does not support tools'), id="ollama"),
        pytest.param(_rejection("tools param requires --jinja flag", 500), id="llamacpp"),
        pytest.param(_rejection("No endpoints found that support tool use.", 404), id="openrouter"),
        pytest.param(_rejection("tool_choice 'none' is not supported"), id="choice"),
    ],
)
def test_tools_rejected_in_a_text_request(rejection: UpstreamError) -> None:
    """If text is wanted, tools are left out and the history becomes plain text."""
    request = _reject(_params(wants_text=True), rejection)

    assert request.body == _without("tools", "tool_choice")
    assert [message["role"] for message in request.messages] == ["user", "system", "user"]


def test_tools_rejected_in_a_request_for_calls() -> None:
    """If calls are wanted, the rejection of tools is the caller's to handle."""
    capabilities = ServerCapabilities()
    request = build_request(_params(), _CONFIG, capabilities)

    capabilities.learn_from_rejection(_rejection('"m" does not support tools'), request)

    assert build_request(_params(), _CONFIG, capabilities) == request


def test_call_instead_of_text() -> None:
    """After a call in place of text, requests for text have no tools, and requests for calls keep them."""
    capabilities, before = ServerCapabilities(), ServerCapabilities()

    capabilities.learn_from_unwanted_call()

    assert build_request(_params(), _CONFIG, capabilities) == build_request(_params(), _CONFIG, before)
    assert "tools" not in build_request(_params(wants_text=True), _CONFIG, capabilities).body


def test_call_instead_of_text_without_tools() -> None:
    """A request without tools has no other form."""
    capabilities = ServerCapabilities()
    talk = [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hello?"}]
    params = _params(wants_text=True, messages=talk, tools=[])
    request = build_request(params, _CONFIG, capabilities)

    capabilities.learn_from_unwanted_call()

    assert build_request(params, _CONFIG, capabilities) == request


def test_reasoning_first() -> None:
    """It takes two answers in a row; one that begins otherwise resets it, one without text does not count."""
    capabilities = ServerCapabilities()
    known = []
    for first in (True, None, True, None, False, True, False, True, True):
        capabilities.learn_reasoning(first=first)
        known.append(capabilities.reasoning_first)

    assert known == [False, False, True, True, False, False, False, False, True]
    assert not ServerCapabilities().reasoning_first


@pytest.mark.parametrize("wants_text", [False, True], ids=["calls", "text"])
@pytest.mark.parametrize(
    "message",
    [
        "temperature is not supported",
        "Unknown parameter: 'max_tokens'.",
        "System role not supported",
        "'tool_choice' is not supported",
    ],
)
def test_two_rejections_at_the_same_time(message: str, wants_text: bool) -> None:
    """Both requests are sent again, the second with what the first has taught."""
    capabilities, params, rejection = ServerCapabilities(), _params(wants_text=wants_text), _rejection(message)
    first, second = build_request(params, _CONFIG, capabilities), build_request(params, _CONFIG, capabilities)

    again = []
    for refused in (first, second):
        capabilities.learn_from_rejection(rejection, refused)
        again.append(build_request(params, _CONFIG, capabilities))

    assert first == second != again[0] == again[1]


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
    """For a server that is strict about system messages they become user messages."""
    messages = _reject(_params(), _rejection(message)).messages

    assert [message["role"] for message in messages] == roles
    assert messages[0]["content"] == "Hi\n\nSystem: Be brief."


def test_first_system_message() -> None:
    """The first system message stays, unless the model has no system role."""
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    params = _params(messages=history)
    capabilities = ServerCapabilities()
    request = build_request(params, _CONFIG, capabilities)
    capabilities.learn_from_rejection(_rejection("System message must be at the beginning."), request)
    without = _reject(params, _rejection("System role not supported"))

    assert build_request(params, _CONFIG, capabilities).messages == history
    assert without.messages == [{"role": "user", "content": "System: Be brief.\n\nHi"}]


def test_short_ids() -> None:
    """Ids become nine letters or digits, the same in call and result."""
    message = "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."
    messages = _reject(_params(), _rejection(message, type="invalid_function_call")).messages

    (call_id,) = {messages[2]["tool_calls"][0]["id"], messages[3]["tool_call_id"]}
    assert len(call_id) == 9
    assert call_id.isalnum()


def test_same_rejection_twice() -> None:
    """A rejection that was obeyed and comes again changes nothing more."""
    capabilities, params, rejection = ServerCapabilities(), _params(), _rejection("System role not supported")
    requests = []
    for _ in range(3):
        requests.append(build_request(params, _CONFIG, capabilities))
        capabilities.learn_from_rejection(rejection, requests[-1])

    assert requests[0] != requests[1] == requests[2]


def test_params_stay() -> None:
    """The caller's parameters are not changed."""
    before = copy.deepcopy(_params(wants_text=True))
    params = _params(wants_text=True)

    _reject(params, _rejection("temperature is not supported"), _rejection("does not support tools")).body.clear()

    assert params == before


_WORDS = [
    *_BODY,
    "max_completion_tokens",
    "System role not supported",
    "tool call id must be a-z, A-Z, 0-9",
    "thinking",
    "roles must alternate",
    "prefill",
    "reasoning_content is missing",
    "content must be a string",
    "content is empty",
    "must start with a user",
    "image input is not supported",
    "set reasoning_effort to high",
]


@given(
    st.lists(
        st.builds(
            lambda words, param, status: _rejection(f"not supported: {' '.join(words)}", status, param=param),
            st.lists(st.sampled_from(_WORDS), max_size=3),
            st.none() | st.sampled_from(_WORDS),
            st.sampled_from([400, 404, 422, 500]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_rejections_come_to_an_end(rejections: list[UpstreamError], wants_text: bool) -> None:
    """A server that rejects everything gets a bounded number of requests, and none twice."""
    capabilities, params, seen = ServerCapabilities(), _params(wants_text=wants_text), list[ChatRequest]()

    for _ in range(len(_BODY) + len(REWRITES) + 10):
        request = build_request(params, _CONFIG, capabilities)
        if request in seen:
            assert request == seen[-1]
            break
        seen.append(request)
        for rejection in rejections:
            capabilities.learn_from_rejection(rejection, request)
    else:
        pytest.fail("it never ends")


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Two requests in flight that are rejected for one reason log it once."""
    capabilities = ServerCapabilities("Groq")
    request = build_request(_params(), _CONFIG, capabilities)
    for _ in range(2):
        capabilities._leave_out("temperature")
    limit = _rejection("max_tokens is too large: 4096. This model supports at most 1024 completion tokens.")
    for _ in range(2):
        capabilities.learn_from_rejection(limit, request)

    assert caplog.messages == [
        "Groq: temperature is rejected, and left out from now on.",
        "Groq: answers are limited to 1024 tokens from now on.",
    ]


def test_unsupported_parameters(caplog: pytest.LogCaptureFixture) -> None:
    """Dispensable parameters are left out, with one warning each; a limit, tools and a format stay."""
    capabilities = ServerCapabilities("shop")
    capabilities.learn_supported_parameters(["temperature", "reasoning"])
    body = {
        "temperature": 1,
        "seed": 7,
        "top_p": 0.5,
        "reasoning_effort": "low",
        "max_tokens": 9,
        "response_format": {},
    }

    shaped = [capabilities.shape_body({**body, "tools": []}, wants_text=False) for _ in range(2)]

    kept = {"temperature": 1, "reasoning_effort": "low", "max_tokens": 9, "response_format": {}, "tools": []}
    assert shaped == [kept, kept]
    assert caplog.messages == [
        "shop: the model does not support seed, which is left out.",
        "shop: the model does not support top_p, which is left out.",
    ]


def test_both_names_of_reasoning() -> None:
    """A model without reasoning gets neither parameter for it."""
    capabilities = ServerCapabilities("shop")
    capabilities.learn_supported_parameters(["temperature"])

    assert capabilities.shape_body({"reasoning": {}, "reasoning_effort": "low"}, wants_text=True) == {}


_SHAPES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Hi."},
    {"role": "user", "content": [{"type": "text", "text": "Warm?"}]},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "name": "f", "content": ""},
    {"role": "user", "content": "Stop."},
    {"role": "assistant", "content": "I was saying"},
]
"""A conversation that fits no server that is strict about anything."""


@pytest.mark.parametrize(
    ("message", "rewrite"),
    [
        ("Unexpected role 'user' after role 'tool'", "assistant_after_tools"),
        ("Unexpected role 'user' after role 'user'", "alternating_roles"),
        ("Unexpected role 'assistant' after role 'system'", "alternating_roles"),
        ("Conversation roles must alternate user/assistant/user/assistant/...", "alternating_roles"),
        (
            "Jinja Exception: After the optional system message, conversation roles must alternate user and assistant.",
            "alternating_roles",
        ),
        ("A conversation must alternate between user and assistant roles.", "alternating_roles"),
        (
            'messages: roles must alternate between "user" and "assistant", but found multiple "user" roles in a row',
            "alternating_roles",
        ),
        ("deepseek-reasoner does not support successive user or assistant messages", "alternating_roles"),
        ("Please ensure that function call turn comes immediately after a user turn.", "alternating_roles"),
        ("A conversation must start with a user message.", "user_first"),
        ("Conversation must start with a user message or a system message, got assistant", "user_first"),
        ('messages: first message must use the "user" role', "user_first"),
        ("Jinja Exception: No user query found in messages.", "user_first"),
        (
            "This model does not support assistant message prefill. The conversation must end with a user message.",
            "user_last",
        ),
        ("Assistant response prefill is incompatible with enable_thinking.", "user_last"),
        ("Cannot have 2 or more assistant messages at the end of the list.", "user_last"),
        ("Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant", "user_last"),
        ("Last message must have role `user` or `tool`", "user_last"),
        ("messages: final assistant content cannot end with trailing whitespace", "user_last"),
        ("Please ensure that multiturn requests end with a user turn or a function response.", "user_last"),
        (
            "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
            "reasoning_beside_calls",
        ),
        ("The `reasoning_content` in the thinking mode must be passed back to the API.", "reasoning_beside_calls"),
        ("messages[4]: assistant message with tool_calls must include reasoning_content.", "reasoning_beside_calls"),
        ("Missing `reasoning_content` field in the assistant message at message index 2.", "reasoning_beside_calls"),
        ("messages[3].content must be a string", "text_content"),
        ("messages[3]: invalid type: sequence, expected a string", "text_content"),
        ("messages: text content blocks must be non-empty", "no_empty_messages"),
        ("the message at position 5 with role 'tool' must not be empty", "no_empty_messages"),
        ("Assistant message must have either content or tool_calls, but not none.", "no_empty_messages"),
    ],
)
@pytest.mark.parametrize("status", [400, 422, 500, None])
def test_shape_that_a_server_demands(message: str, rewrite: Any, status: int | None) -> None:
    """The shape of the history is learned from the words of the rejection, whatever its status."""
    params = _params(messages=_SHAPES)
    before = build_request(params, _CONFIG, ServerCapabilities()).messages
    rejection = upstream_error({"error": {"message": message}}, status=status)

    assert _reject(params, rejection).messages == rewrite_history(before, [rewrite])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": {"message": 'Error: {"message": "roles must alternate"}'}}, id="inside-a-sentence"),
        pytest.param(
            {
                "error": {
                    "message": "Provider returned error",
                    "metadata": {"raw": '{"message": "roles must alternate"}'},
                }
            },
            id="metadata-of-openrouter",
        ),
    ],
)
def test_shape_in_a_relayed_rejection(body: dict[str, Any]) -> None:
    """The rejection of another server is read wherever a relay puts it."""
    request = _reject(_params(messages=_SHAPES), upstream_error(body, status=400))

    assert [message["role"] for message in request.messages[:3]] == ["system", "user", "assistant"]


def test_shape_is_learned_in_steps() -> None:
    """A server that still lacks reasoning after the calls have it gets it everywhere, and then no more."""
    capabilities, params = ServerCapabilities(), _params(messages=_SHAPES)
    rejection = _rejection("Missing `reasoning_content` field in the assistant message")
    requests = []
    for _ in range(4):
        requests.append(build_request(params, _CONFIG, capabilities))
        capabilities.learn_from_rejection(rejection, requests[-1])

    counts = [sum("reasoning_content" in message for message in request.messages) for request in requests]
    assert counts == [0, 1, 3, 3]


def test_shape_that_another_request_has_taught() -> None:
    """A request in flight that is rejected for a shape learned meanwhile teaches nothing more."""
    capabilities, params = ServerCapabilities(), _params(messages=_SHAPES)
    rejection = _rejection("Missing `reasoning_content` field in the assistant message")
    first = build_request(params, _CONFIG, capabilities)

    capabilities.learn_from_rejection(rejection, first)
    capabilities.learn_from_rejection(rejection, first)

    assert sum("reasoning_content" in m for m in build_request(params, _CONFIG, capabilities).messages) == 1


def test_shape_of_an_empty_conversation() -> None:
    """A conversation without a message is the caller's mistake and stays."""
    capabilities, params = ServerCapabilities(), _params(messages=[])
    request = build_request(params, _CONFIG, capabilities)

    capabilities.learn_from_rejection(_rejection("messages: at least one message is required"), request)

    assert build_request(params, _CONFIG, capabilities) == request


def test_images_of_tools_for_a_model_without_vision() -> None:
    """Images that tools returned are named from then on; the user's own stay, and their rejection teaches nothing."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    capabilities, rejection = ServerCapabilities(), _rejection("image input is not supported", 500)
    tool = {**_HISTORY[3], "content": [{"type": "text", "text": "Hall"}, image]}
    params = _params(messages=[*_HISTORY[:3], tool])
    capabilities.learn_from_rejection(rejection, build_request(params, _CONFIG, capabilities))
    assert build_request(params, _CONFIG, capabilities).messages[-1]["content"] == "Hall\n[image, image/png]"

    own = _params(messages=[*_HISTORY[:3], tool, {"role": "user", "content": [image]}])
    request = build_request(own, _CONFIG, capabilities)
    capabilities.learn_from_rejection(rejection, request)

    assert request.messages[-1]["content"] == [image]
    assert build_request(own, _CONFIG, capabilities) == request


_EFFORT = (
    "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function "
    "tools, use /v1/responses or set reasoning_effort to 'none'."
)


@pytest.mark.parametrize(
    ("message", "options", "tools", "expected"),
    [
        pytest.param(_EFFORT, {"reasoning_effort": "low"}, _TOOLS, {"reasoning_effort": "none"}, id="openai"),
        pytest.param(_EFFORT, {}, _TOOLS, {"reasoning_effort": "none"}, id="openai-default-effort"),
        pytest.param(
            _EFFORT, {"reasoning": {"effort": "low"}}, _TOOLS, {"reasoning": {"effort": "none"}}, id="openrouter"
        ),
        pytest.param(
            "`temperature` must be 1 if you think", {"temperature": 0.7}, [], {"temperature": 1.0}, id="number"
        ),
        pytest.param(
            "Please set `parallel_tool_calls` to false.",
            {"parallel_tool_calls": True},
            _TOOLS,
            {"parallel_tool_calls": False},
            id="no",
        ),
        pytest.param("Use verbosity=medium", {"verbosity": "low"}, [], {"verbosity": "medium"}, id="equals"),
    ],
)
def test_value_that_is_demanded(
    message: str, options: dict[str, Any], tools: list[Any], expected: dict[str, Any]
) -> None:
    """A value that the server names is sent from then on."""
    config = _CONFIG.model_copy(update={"temperature": None})
    params, capabilities = _params(options=options, tools=tools), ServerCapabilities()
    before = build_request(params, config, capabilities)

    capabilities.learn_from_rejection(_rejection(message), before)

    assert build_request(params, config, capabilities).body == before.body | expected


@pytest.mark.parametrize(
    ("message", "options"),
    [
        pytest.param(_EFFORT, {"reasoning_effort": "none"}, id="value-that-was-sent"),
        pytest.param("reasoning_effort must be low or high", {"reasoning_effort": "none"}, id="one-of-several"),
        pytest.param("set reasoning_effort to 'low', 'high'", {"reasoning_effort": "none"}, id="list"),
        pytest.param("temperature must be 0 to 1", {}, id="range"),
        pytest.param("temperature must be between 0 and 1", {}, id="words"),
        pytest.param("top_p must be 1 with this model", {}, id="parameter-that-was-not-sent"),
        pytest.param("stream must be true", {"stream": False}, id="what-was-asked-for"),
    ],
)
def test_value_that_is_not_demanded(message: str, options: dict[str, Any]) -> None:
    """One of several values is the caller's choice."""
    capabilities, params = ServerCapabilities(), _params(options=options, tools=[])
    request = build_request(params, _CONFIG, capabilities)

    capabilities.learn_from_rejection(_rejection(message, param="none-of-ours"), request)

    assert build_request(params, _CONFIG, capabilities) == request


def test_value_for_tools_alone() -> None:
    """What holds for requests with tools changes no request without."""
    capabilities = ServerCapabilities()
    params = _params(options={"reasoning_effort": "low"})
    capabilities.learn_from_rejection(_rejection(_EFFORT), build_request(params, _CONFIG, capabilities))
    without = _params(options={"reasoning_effort": "low"}, tools=[])

    assert build_request(params, _CONFIG, capabilities).body["reasoning_effort"] == "none"
    assert build_request(without, _CONFIG, capabilities).body["reasoning_effort"] == "low"


def test_dropped_for_every_reason() -> None:
    """Left out are what the server has rejected, what its list lacks, and tools where only text is wanted."""
    capabilities = ServerCapabilities()
    capabilities.learn_supported_parameters(["temperature", "max_tokens", "reasoning_effort"])
    capabilities._leave_out("stream_options")
    capabilities._leave_out("max_tokens")
    capabilities.learn_from_unwanted_call()
    params = _params(wants_text=True, options={"seed": 7, "reasoning_effort": "low"})

    request = build_request(params, _CONFIG, capabilities)

    assert set(request.dropped) == {"seed", "stream_options", "tools", "tool_choice"}
    assert not set(request.dropped) & request.body.keys()
    assert request.body["max_completion_tokens"] == 4096
