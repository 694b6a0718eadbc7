"""The one place where a request is made: from the question, the configuration and what the server has taught us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.errors import ConfigError
from adapters.request import history
from adapters.request.chat_request import ChatRequest

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.request.capabilities import ServerCapabilities
    from adapters.request.params import RequestParams
    from adapters.types import Json

_PARAMETERS = ("temperature", "max_tokens", "top_p", "stop", "seed", "reasoning_effort")
"""The settings of a provider that are parameters of each request, under the same names."""

_MESSAGE = '{"role": "user", "content": "Hello"}'
_TOOL = '{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}'


def build_request(params: RequestParams, config: ProviderConfig, capabilities: ServerCapabilities) -> ChatRequest:
    """Make the request that asks a question.

    It is a function of its arguments alone: asked again after something was learned, the request differs exactly if
    what was learned touches it. A provider asks again for as long as it does.

    Args:
        question: What is asked; it is not changed.
        config: The provider: its defaults.
        learned: What its server does not take.

    Raises:
        ConfigError: If the messages or the tools are no messages or tools.
    """
    _check(params)
    wants_text, body = params.wants_text, _body(params, config)
    return ChatRequest(
        capabilities.shape_messages(history.mend(params.messages), wants_text=wants_text),
        capabilities.shape_body(body, wants_text=wants_text),
        params.stream,
        wants_text,
        params.headers,
        capabilities.dropped_of(body),
    )


def _check(params: RequestParams) -> None:
    messages: Json = params.messages
    tools: Json = params.tools
    if not isinstance(messages, list | tuple) or not all(isinstance(each, dict) for each in messages):
        raise ConfigError(f"messages must be a list of messages, such as [{_MESSAGE}].")
    if not isinstance(tools, list | tuple) or not all(isinstance(each, dict) for each in tools):
        raise ConfigError(f"tools must be a list of tools, such as [{_TOOL}].")


def _body(params: RequestParams, config: ProviderConfig) -> dict[str, Json]:
    """The fields of the body, before the server has its say.

    The caller's options win over the provider's ``extra_body``, both over its defaults, and the caller's
    ``extra_body`` over all of them. A parameter that is None is not sent, except in the caller's ``extra_body``.
    """
    body: dict[str, Json] = {} if config.think is None else _thinking(config.kind, think=config.think)
    if config.kind == "openrouter":
        body |= _openrouter_fields(config, body.get("reasoning", {}))
    body |= {name: value for name in _PARAMETERS if (value := getattr(config, name)) is not None}
    if params.stream:
        body["stream_options"] = {"include_usage": True}
    if params.tools:
        body |= {"tools": params.tools, "tool_choice": params.tool_choice}
    body |= config.extra_body | params.options
    body = {name: value for name, value in body.items() if value is not None} | params.extra_body
    if params.tools and params.wants_text:
        body["tool_choice"] = "none"
    return body


def _openrouter_fields(config: ProviderConfig, reasoning: dict[str, Json]) -> dict[str, Json]:
    """What OpenRouter alone knows: ``reasoning`` says more than ``think``, and wins over it."""
    if config.reasoning is not None:
        reasoning = reasoning | config.reasoning.model_dump(exclude_none=True)
    routing = None if config.routing is None else config.routing.model_dump(exclude_none=True)
    return {"models": config.models, "provider": routing or None, "reasoning": reasoning or None}


def _thinking(kind: str, *, think: bool) -> dict[str, Json]:
    """The fields that switch thinking on or off: each service has its own."""
    if kind == "openrouter":
        return {"reasoning": {"enabled": think}}
    if kind in ("ollama", "groq"):
        return {} if think else {"reasoning_effort": "none"}  # models that can think do so by default
    return {"chat_template_kwargs": {"enable_thinking": think}}  # vLLM, SGLang, llama.cpp
