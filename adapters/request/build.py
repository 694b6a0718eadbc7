"""Build the request of a call from its parameters, the configuration and the capabilities of the server."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from adapters.request import cache_control
from adapters.request.chat_request import ChatRequest
from adapters.request.history import repair

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.request.capabilities import ServerCapabilities
    from adapters.request.params import RequestParams
    from adapters.types import Json, ToolSpec

_PARAMETERS = ("temperature", "max_tokens", "top_p", "stop", "seed", "reasoning_effort")
"""Settings of a provider that every request carries as fields of the same name."""

_THINKING_OFF: dict[str, Json] = {
    "reasoning_effort": "none",
    "reasoning": {"enabled": False},  # OpenRouter
    "thinking": {"type": "disabled"},  # Anthropic, DeepSeek, GLM, Kimi
    "enable_thinking": False,  # DashScope, SiliconFlow
    "think": False,  # Ollama's own API
}
"""Fields that decide whether a model thinks, with the value that switches it off."""

_TEMPLATE_SWITCHES = ("enable_thinking", "thinking")  # Qwen, GLM; DeepSeek, Kimi, Granite


def build_request(params: RequestParams, config: ProviderConfig, capabilities: ServerCapabilities) -> ChatRequest:
    """Build the request for a call.

    The result depends on the arguments alone. After the capabilities have changed, the request differs exactly if the
    change affects it, and the call is sent again for as long as it differs.

    Args:
        params: The parameters of the call.
        config: The provider, for its defaults.
        capabilities: What the server accepts.
    """
    wants_text, body = params.wants_text, body_of(params, config)
    messages = repair(params.messages, keeps_parts=config.kind == "openrouter")
    if capabilities.rejects_cache_marks:
        messages, body = cache_control.without_marks(messages, body)
    elif config.cache_control is not None and cache_control.takes_marks(config):
        messages, body = cache_control.with_marks(messages, body)
    return ChatRequest(
        capabilities.shape_messages(messages, wants_text=wants_text),
        capabilities.shape_body(body, wants_text=wants_text),
        params.stream,
        wants_text,
        params.headers,
        capabilities.dropped_of(body, wants_text=wants_text),
    )


def body_of(params: RequestParams, config: ProviderConfig) -> dict[str, Json]:
    """Return the fields of the body before the capabilities of the server are applied.

    Precedence, lowest first: the defaults of the provider, its ``extra_body``, the options of the call, the
    ``extra_body`` of the call. None removes a field, except in the ``extra_body`` of the call.
    """
    body: dict[str, Json] = {} if config.think is None else _thinking(config.kind, think=config.think)
    if config.kind == "openrouter":
        body |= _openrouter_fields(config, body.get("reasoning", {}))
    body |= {name: value for name in _PARAMETERS if (value := getattr(config, name)) is not None}
    if params.stream:
        body["stream_options"] = {"include_usage": True}
    if params.tools:
        body |= {"tools": _with_properties(params.tools), "tool_choice": params.tool_choice}
    body |= config.extra_body | params.options
    body = {name: value for name, value in body.items() if value is not None} | params.extra_body
    if params.tools and params.wants_text:
        body["tool_choice"] = "none"
    return _without_thinking(body, config.kind) if params.without_thinking else body


def _with_properties(tools: list[ToolSpec]) -> list[ToolSpec]:
    """Add the empty ``properties`` of tools without parameters: OpenAI and LM Studio refuse the request otherwise."""
    completed = [_with_own_properties(tool) for tool in tools]
    return tools if all(map(operator.is_, completed, tools)) else completed


def _with_own_properties(tool: ToolSpec) -> ToolSpec:
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool
    schema: Json = function.get("parameters")
    if not isinstance(schema, dict) or "properties" in schema or (schema and schema.get("type") != "object"):
        return tool
    return {**tool, "function": {**function, "parameters": {"type": "object", **schema, "properties": {}}}}


def _openrouter_fields(config: ProviderConfig, reasoning: dict[str, Json]) -> dict[str, Json]:
    """Return the fields that only OpenRouter has; ``reasoning`` overrides ``think``."""
    if config.reasoning is not None:
        reasoning = reasoning | config.reasoning.model_dump(exclude_none=True)
    routing = None if config.routing is None else config.routing.model_dump(exclude_none=True)
    return {"models": config.models, "provider": routing or None, "reasoning": reasoning or None}


def _without_thinking(body: dict[str, Json], kind: str) -> dict[str, Json]:
    """Return the body with thinking switched off: as the kind does it, and in each field that the body has for it."""
    off: dict[str, Json] = _thinking(kind, think=False) if kind != "litellm" else {"reasoning_effort": "none"}
    off |= {name: value for name, value in _THINKING_OFF.items() if name in body}
    if isinstance(template := body.get("chat_template_kwargs"), dict):
        switches = {name: False for name in _TEMPLATE_SWITCHES if name in template} or {"enable_thinking": False}
        off["chat_template_kwargs"] = template | switches
    return body | off


def _thinking(kind: str, *, think: bool) -> dict[str, Json]:
    """Return the fields that switch thinking on or off, by kind of service."""
    if kind == "openrouter":
        return {"reasoning": {"enabled": think}}
    if kind in ("ollama", "groq"):
        return {} if think else {"reasoning_effort": "none"}  # these models think by default
    return {"chat_template_kwargs": {"enable_thinking": think}}  # vLLM, SGLang, llama.cpp
