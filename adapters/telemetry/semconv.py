"""Attribute names and message formats of OpenTelemetry's GenAI semantic conventions.

``spans`` records them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.types import Json, LLMResponse, Message, ToolCall, WaitTimes

_KNOWN_SERVERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
"""Servers for which the conventions have a provider name, by host name."""

_PARAMETERS: Mapping[str, tuple[str, type[int | float]]] = {
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_k": ("gen_ai.request.top_k", float),
    "top_p": ("gen_ai.request.top_p", float),
}


def of_target(kind: str, model: str, base_url: str) -> dict[str, Any]:
    """Describe the target of a call, for spans and metrics.

    Args:
        kind: Kind of the provider.
        model: Name of the model.
        base_url: Address of the server; "" for the embedded one, whose port changes with every start.
    """
    server = urlsplit(base_url)
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _KNOWN_SERVERS.get(server.hostname or "", kind),
        "gen_ai.request.model": model,
    }
    if server.hostname:
        attributes["server.address"] = server.hostname
        attributes["server.port"] = server.port or (443 if server.scheme == "https" else 80)
    return attributes


def of_body(body: Mapping[str, Json]) -> dict[str, Any]:
    """Describe the sampling parameters of a request; one of an unexpected type is left out."""
    attributes: dict[str, Any] = {}
    for name, (attribute, number) in _PARAMETERS.items():
        value = body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            attributes[attribute] = number(value)
    stop = body.get("stop")
    if isinstance(stop, str | list):
        attributes["gen_ai.request.stop_sequences"] = [
            str(text) for text in ([stop] if isinstance(stop, str) else stop)
        ]
    wanted = body.get("response_format")
    if isinstance(wanted, dict):
        attributes["gen_ai.output.type"] = "text" if wanted.get("type") == "text" else "json"
    return attributes


def of_response(response: LLMResponse) -> dict[str, Any]:
    """Describe a response without its text; unknown attributes are None."""
    usage = response.usage
    return {
        "gen_ai.response.finish_reasons": None if response.finish_reason is None else [response.finish_reason],
        "gen_ai.response.id": response.id,
        "gen_ai.response.model": response.model,
        "gen_ai.usage.input_tokens": None if usage is None else usage.prompt_tokens,
        "gen_ai.usage.output_tokens": None if usage is None else usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": None if usage is None else usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": None if usage is None else usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": None if usage is None else usage.reasoning_tokens,
        "adapters.cost": None if usage is None or usage.cost is None else float(usage.cost),
        **({} if response.wait is None else _of_wait(response.wait)),
    }


def _of_wait(wait: WaitTimes) -> dict[str, Any]:
    """Describe the parts of the wait, apart from those that have names in the conventions."""
    names = ("loading_s", "queue_s", "connect_s", "time_to_head_s", "time_to_first_token_s", "reasoning_s")
    return {f"adapters.wait.{name}": getattr(wait, name) for name in names}


def of_call(call: ToolCall) -> dict[str, Any]:
    """Describe a tool call without its arguments."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
        "gen_ai.tool.type": "function",
    }


def input_messages(messages: list[Message]) -> str:
    """Return a conversation in the format of the conventions, as JSON; of images and audio only the type."""
    return to_json([{"role": message.get("role"), "parts": _parts_of(message)} for message in messages])


def output_messages(response: LLMResponse) -> str:
    """Return a response in the format of the conventions, as JSON."""
    parts: list[Json] = []
    if response.reasoning:
        parts.append({"type": "reasoning", "content": response.reasoning})
    if response.content:
        parts.append({"type": "text", "content": response.content})
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in response.tool_calls
    ]
    return to_json([{"role": "assistant", "parts": parts, "finish_reason": response.finish_reason}])


def to_json(value: Json) -> str:
    """Encode a value that has no attribute type of its own."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _parts_of(message: Message) -> list[Json]:
    """Return the parts of a repaired message."""
    content: Json = message.get("content")
    if message.get("role") == "tool":
        return [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}]
    pieces: list[Json] = [{"text": content}] if isinstance(content, str) else content or []
    parts: list[Json] = [
        {"type": "text", "content": piece["text"]} if "text" in piece else {"type": piece.get("type")}
        for piece in pieces
        if isinstance(piece, dict)
    ]
    for call in message.get("tool_calls") or []:
        function = call["function"]
        parts.append(
            {"type": "tool_call", "id": call.get("id"), "name": function["name"], "arguments": function["arguments"]}
        )
    return parts
