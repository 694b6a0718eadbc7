"""``adapters.request``: the fields of one chat completion request."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.config import ProviderConfig
from adapters.errors import ConfigError
from adapters.request import Ask, body_of

_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}}}]
_DEFAULTS = {"temperature": 0.7, "max_tokens": 4096}


def _config(**fields: Any) -> ProviderConfig:
    return ProviderConfig(**{"kind": "openai_compatible", "model": "m", "base_url": "http://localhost/v1", **fields})


def _ask(**fields: Any) -> Ask:
    return Ask(**{"messages": [], "tools": [], "tool_choice": "auto", "stream": False, **fields})


@pytest.mark.parametrize(
    ("config", "ask", "body"),
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
def test_body(config: dict[str, Any], ask: dict[str, Any], body: dict[str, Any]) -> None:
    """A request holds the least that is needed; options win over the row's extra body, and that over its defaults."""
    assert body_of(_ask(**ask), _config(**config)) == body


@pytest.mark.parametrize("name", ["model", "messages", "stream", "tools"])
def test_option_that_is_not_the_callers(name: str) -> None:
    """What the provider sets itself is refused by name."""
    with pytest.raises(ConfigError, match=f"^{name} is not an option of a single request"):
        body_of(_ask(options={"seed": 1, name: 1}), _config())


def test_nothing_is_changed() -> None:
    """The row's extra body and the caller's options stay as they were."""
    config, ask = _config(extra_body={"a": 1}), _ask(options={"b": 2})

    body_of(ask, config)["c"] = 3

    assert (config.extra_body, ask.options) == ({"a": 1}, {"b": 2})


@pytest.mark.parametrize(
    ("tool", "schemas"),
    [
        pytest.param(_TOOLS[0], {"f": {"x": {"type": "string"}}}, id="parameters"),
        pytest.param({"function": {"name": "f"}}, {"f": {}}, id="no-parameters"),
        pytest.param({"function": {"name": "f", "parameters": None}}, {"f": {}}, id="null-parameters"),
        pytest.param({"function": {"name": "f", "parameters": {"properties": []}}}, {"f": {}}, id="list-of-properties"),
        pytest.param({"function": {"name": None}}, {}, id="no-name"),
        pytest.param({"type": "web_search"}, {}, id="tool-of-the-server"),
        pytest.param({"function": "f"}, {}, id="no-object"),
    ],
)
def test_schemas(tool: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Each function is known by name with its parameters; other tools are the server's own business."""
    assert _ask(tools=[tool]).schemas == schemas


def test_what_is_wanted() -> None:
    """Text is wanted if calls are forbidden."""
    assert _ask(tool_choice="none").wants_text
    assert not _ask().wants_text
