"""``adapters.request.build``: the one request, made from question, configuration and what was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.config import ProviderConfig
from adapters.request.build import build_request
from adapters.request.capabilities import ServerCapabilities
from adapters.request.params import RequestParams

if TYPE_CHECKING:
    from adapters.request.chat_request import ChatRequest

_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}}}]
_DEFAULTS = {"temperature": 0.7, "max_tokens": 4096}


def _config(**fields: Any) -> ProviderConfig:
    return ProviderConfig(**{"kind": "openai_compatible", "model": "m", "base_url": "http://localhost/v1", **fields})


def _question(**fields: Any) -> RequestParams:
    return RequestParams(**{"messages": [], "tools": [], "stream": False, **fields})


def _build(question: RequestParams, config: ProviderConfig | None = None) -> ChatRequest:
    return build_request(question, config or _config(), ServerCapabilities())


@pytest.mark.parametrize(
    ("config", "asked", "body"),
    [
        pytest.param({}, {}, _DEFAULTS, id="defaults"),
        pytest.param({"temperature": None, "max_tokens": None}, {}, {}, id="nothing-that-is-null"),
        pytest.param({}, {"stream": True}, _DEFAULTS | {"stream_options": {"include_usage": True}}, id="stream"),
        pytest.param({}, {"tools": _TOOLS}, _DEFAULTS | {"tools": _TOOLS, "tool_choice": "auto"}, id="tools"),
        pytest.param(
            {},
            {"tools": _TOOLS, "tool_choice": "none"},
            _DEFAULTS | {"tools": _TOOLS, "tool_choice": "none"},
            id="tools-forbidden",
        ),
        pytest.param({}, {"tool_choice": "none"}, _DEFAULTS, id="no-choice-without-tools"),
        pytest.param({"extra_body": {"top_k": 5}}, {}, _DEFAULTS | {"top_k": 5}, id="extra-body"),
        pytest.param(
            {"extra_body": {"max_tokens": 9}}, {}, _DEFAULTS | {"max_tokens": 9}, id="extra-body-over-defaults"
        ),
        pytest.param(
            {"extra_body": {"max_tokens": 9}},
            {"options": {"max_tokens": 5, "seed": 1}},
            _DEFAULTS | {"max_tokens": 5, "seed": 1},
            id="options-over-extra-body",
        ),
        pytest.param(
            {}, {"options": {"temperature": None}}, {"max_tokens": 4096}, id="option-that-takes-a-default-away"
        ),
        pytest.param(
            {},
            {"tools": _TOOLS, "options": {"tool_choice": "required"}},
            _DEFAULTS | {"tools": _TOOLS, "tool_choice": "required"},
            id="other-choice",
        ),
        pytest.param(
            {},
            {"tools": _TOOLS, "tool_choice": "none", "options": {"tool_choice": "required"}},
            _DEFAULTS | {"tools": _TOOLS, "tool_choice": "none"},
            id="text-is-wanted-whatever-the-choice",
        ),
        pytest.param(
            {"extra_body": {"max_tokens": 9}},
            {"options": {"max_tokens": 5}, "extra_body": {"max_tokens": 1, "seed": None}},
            {"temperature": 0.7, "max_tokens": 1, "seed": None},
            id="the-caller's-extra-body-over-everything",
        ),
        pytest.param(
            {},
            {"tools": _TOOLS, "options": {"tool_choice": "none"}},
            _DEFAULTS | {"tools": _TOOLS, "tool_choice": "none"},
            id="text-wanted-by-option",
        ),
        pytest.param(
            {"think": False},
            {},
            _DEFAULTS | {"chat_template_kwargs": {"enable_thinking": False}},
            id="no-thinking-on-vllm",
        ),
        pytest.param(
            {"think": True}, {}, _DEFAULTS | {"chat_template_kwargs": {"enable_thinking": True}}, id="thinking-on-vllm"
        ),
        pytest.param(
            {"kind": "openrouter", "api_key": "k", "think": True},
            {},
            _DEFAULTS | {"reasoning": {"enabled": True}},
            id="thinking-on-openrouter",
        ),
        pytest.param(
            {"top_p": 0.9, "stop": "END", "seed": 7, "reasoning_effort": "low"},
            {"options": {"seed": 8}},
            _DEFAULTS | {"top_p": 0.9, "stop": ["END"], "seed": 8, "reasoning_effort": "low"},
            id="parameters-of-every-server",
        ),
        pytest.param(
            {"kind": "groq", "api_key": "k", "think": False, "reasoning_effort": "low"},
            {},
            _DEFAULTS | {"reasoning_effort": "low"},
            id="the-effort-says-more-than-think",
        ),
        pytest.param(
            {
                "kind": "openrouter",
                "api_key": "k",
                "models": ["a/b", "c/d"],
                "routing": {"sort": "latency", "zdr": True, "max_price": {"prompt": 1}},
                "think": True,
                "reasoning": {"effort": "low"},
            },
            {},
            _DEFAULTS
            | {
                "models": ["a/b", "c/d"],
                "provider": {"sort": "latency", "zdr": True, "max_price": {"prompt": 1.0}},
                "reasoning": {"enabled": True, "effort": "low"},
            },
            id="openrouter-in-full",
        ),
        pytest.param({"kind": "openrouter", "api_key": "k", "routing": {}}, {}, _DEFAULTS, id="empty-routing"),
        pytest.param(
            {"kind": "ollama", "think": False}, {}, _DEFAULTS | {"reasoning_effort": "none"}, id="no-thinking-on-ollama"
        ),
        pytest.param({"kind": "ollama", "think": True}, {}, _DEFAULTS, id="thinking-on-ollama-is-its-default"),
        pytest.param(
            {"kind": "groq", "api_key": "k", "think": False},
            {},
            _DEFAULTS | {"reasoning_effort": "none"},
            id="no-thinking-on-groq",
        ),
    ],
)
def test_body(config: dict[str, Any], asked: dict[str, Any], body: dict[str, Any]) -> None:
    """A request holds the least that is needed; options win over the row's extra body, and that over its defaults."""
    assert _build(_question(**asked), _config(**config)).body == body


def test_nothing_is_changed() -> None:
    """The row's extra body and the caller's options stay as they were."""
    config, question = _config(extra_body={"a": 1}), _question(options={"b": 2}, extra_body={"c": 3})

    _build(question, config).body["d"] = 4

    assert (config.extra_body, question.options, question.extra_body) == ({"a": 1}, {"b": 2}, {"c": 3})


def test_the_whole_request() -> None:
    """A request holds the mended conversation, and how the answer is wanted; made twice, it is the same."""
    question = _question(
        messages=[{"role": "user", "content": None}], stream=True, tool_choice="none", headers={"X-Turn": "7"}
    )

    request = _build(question)

    assert request == _build(question)
    assert request.messages == [{"role": "user", "content": ""}]
    assert (request.stream, request.wants_text, request.headers) == (True, True, {"X-Turn": "7"})


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        pytest.param({"type": "object"}, {"type": "object", "properties": {}}, id="object"),
        pytest.param({}, {"type": "object", "properties": {}}, id="empty"),
        pytest.param(
            {"type": "object", "additionalProperties": False},
            {"type": "object", "additionalProperties": False, "properties": {}},
            id="closed",
        ),
        pytest.param(
            {"type": "object", "properties": {"x": {}}}, {"type": "object", "properties": {"x": {}}}, id="some"
        ),
        pytest.param({"anyOf": [{"type": "object"}]}, {"anyOf": [{"type": "object"}]}, id="another schema"),
        pytest.param(None, None, id="no schema"),
    ],
)
def test_tools_without_parameters(parameters: Any, sent: Any) -> None:
    """The schema of a tool without parameters has empty properties; other tools, and the caller's own, stay."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}, {"type": "web_search"}]

    body = _build(_question(tools=tools)).body

    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": sent}},
        {"type": "web_search"},
    ]
    assert tools[0] == {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert (body["tools"] is tools) is (parameters == sent)


def test_thinking_is_switched_off_in_every_field() -> None:
    """As the kind does it, and wherever the request or its extra fields decide about it; nothing else changes."""
    switched: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ({}, {}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"kind": "ollama"}, {}, {"reasoning_effort": "none"}),
        ({"kind": "groq", "api_key": "k"}, {}, {"reasoning_effort": "none"}),
        (
            {"kind": "openrouter", "api_key": "k", "reasoning": {"effort": "high"}},
            {},
            {"reasoning": {"enabled": False}},
        ),
        ({"kind": "litellm", "model": "gemini/m"}, {}, {"reasoning_effort": "none"}),
        (
            {
                "kind": "litellm",
                "model": "anthropic/m",
                "base_url": "",
                "extra_body": {"thinking": {"type": "enabled"}},
            },
            {},
            {"reasoning_effort": "none", "thinking": {"type": "disabled"}},
        ),
        (
            {"think": True, "extra_body": {"enable_thinking": True, "think": True}},
            {"extra_body": {"reasoning": {"effort": "low"}}},
            {
                "enable_thinking": False,
                "think": False,
                "reasoning": {"enabled": False},
                "chat_template_kwargs": {"enable_thinking": False},
            },
        ),
        (
            {"extra_body": {"chat_template_kwargs": {"thinking": True, "date": "today"}}},
            {"options": {"reasoning_effort": "high"}},
            {"chat_template_kwargs": {"thinking": False, "date": "today"}, "reasoning_effort": "none"},
        ),
        (
            {"extra_body": {"chat_template_kwargs": {"date": "today"}}},
            {},
            {"chat_template_kwargs": {"enable_thinking": False, "date": "today"}},
        ),
    ]
    for config, asked, expected in switched:
        settings = _config(**{name: value for name, value in config.items() if value is not None})
        before = _build(_question(**asked), settings).body
        assert _build(_question(without_thinking=True, **asked), settings).body == before | expected, config
