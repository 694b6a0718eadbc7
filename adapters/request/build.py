"""The one place where a request is made: from the question, the configuration and what the server has taught us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.errors import ConfigError
from adapters.request import history
from adapters.request.request import Request

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.request.learned import Learned
    from adapters.request.question import Question
    from adapters.types import Json

_PARAMETERS = ("temperature", "max_tokens", "top_p", "stop", "seed", "reasoning_effort")
"""The settings of a provider that are parameters of each request, under the same names."""

_MESSAGE = '{"role": "user", "content": "Hello"}'
_TOOL = '{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}'


def build_request(question: Question, config: ProviderConfig, learned: Learned) -> Request:
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
    _check(question)
    wants_text, body = question.wants_text, _body(question, config)
    return Request(
        learned.shape_messages(history.mend(question.messages), wants_text=wants_text),
        learned.shape_body(body, wants_text=wants_text),
        question.stream,
        wants_text,
        question.headers,
        learned.dropped_of(body),
    )


def _check(question: Question) -> None:
    messages: Json = question.messages
    tools: Json = question.tools
    if not isinstance(messages, list | tuple) or not all(isinstance(each, dict) for each in messages):
        raise ConfigError(f"messages must be a list of messages, such as [{_MESSAGE}].")
    if not isinstance(tools, list | tuple) or not all(isinstance(each, dict) for each in tools):
        raise ConfigError(f"tools must be a list of tools, such as [{_TOOL}].")


def _body(question: Question, config: ProviderConfig) -> dict[str, Json]:
    """The fields of the body, before the server has its say.

    The caller's options win over the provider's ``extra_body``, both over its defaults, and the caller's
    ``extra_body`` over all of them. A parameter that is None is not sent, except in the caller's ``extra_body``.
    """
    body: dict[str, Json] = {} if config.think is None else _thinking(config.kind, think=config.think)
    if config.kind == "openrouter":
        body |= _openrouter_fields(config, body.get("reasoning", {}))
    body |= {name: value for name in _PARAMETERS if (value := getattr(config, name)) is not None}
    if question.stream:
        body["stream_options"] = {"include_usage": True}
    if question.tools:
        body |= {"tools": question.tools, "tool_choice": question.tool_choice}
    body |= config.extra_body | question.options
    body = {name: value for name, value in body.items() if value is not None} | question.extra_body
    if question.tools and question.wants_text:
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
