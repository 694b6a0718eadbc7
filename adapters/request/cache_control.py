"""Mark what a service is to keep in its prompt cache: Anthropic's ``cache_control``, which other services took over.

Most services cache by themselves. Anthropic caches only up to a mark, of which a request may have four: here the last
tool, the system message, and the latest two user messages, so that each turn finds what the one before it has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.config import ProviderConfig
    from adapters.types import Json, Message, ToolSpec

FIELD = "cache_control"
_MARK = {"type": "ephemeral"}
_USER_MARKS = 2
_OPENROUTER_VENDORS = ("anthropic/", "google/", "qwen/", "~anthropic/")
_ROUTES = ("anthropic/", "bedrock/", "databricks/", "openrouter/")
"""Routes of LiteLLM that pass the mark on. Gemini's own are not among them: there a mark makes LiteLLM create a cache
with a lifetime and a price, by requests of its own, and Gemini caches without it."""
_MIXED_ROUTES = ("azure_ai/", "vertex_ai/")  # for these only Claude takes it


def takes_marks(config: ProviderConfig) -> bool:
    """Return whether a provider with ``cache_control: auto`` is asked to cache by marks, as far as its model shows."""
    model = config.model.lower()
    if config.kind == "litellm":
        if model.startswith("openrouter/"):
            return model.removeprefix("openrouter/").startswith(_OPENROUTER_VENDORS)
        return model.startswith(_ROUTES) or (model.startswith(_MIXED_ROUTES) and "claude" in model)
    return config.kind != "openrouter" or model.startswith(_OPENROUTER_VENDORS)


def has_marks(messages: Sequence[Message], body: dict[str, Json]) -> bool:
    """Return whether a request has marks."""
    return any(map(_is_marked, messages)) or any(map(_is_marked, body.get("tools", ())))


def with_marks(messages: list[Message], body: dict[str, Json]) -> tuple[list[Message], dict[str, Json]]:
    """Return a repaired history and a body with marks; those with marks of the caller's are left as they are."""
    if has_marks(messages, body):
        return messages, body
    users = [index for index, message in enumerate(messages) if message.get("role") == "user"][-_USER_MARKS:]
    marked = list(messages)
    for index in [*users, *([0] if messages and messages[0].get("role") == "system" else [])]:
        marked[index] = _with_mark(messages[index])
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        body = {**body, "tools": [*tools[:-1], {**tools[-1], FIELD: _MARK}]}
    return marked, body


def without_marks(messages: list[Message], body: dict[str, Json]) -> tuple[list[Message], dict[str, Json]]:
    """Return a history and a body without any marks, for a server that refuses them."""
    tools: list[ToolSpec] = body.get("tools", [])
    if any(map(_is_marked, tools)):
        body = {**body, "tools": [_without_mark(tool) for tool in tools]}
    return [_without_mark(message) if _is_marked(message) else message for message in messages], body


def _is_marked(item: Json) -> bool:
    """Whether a message or a tool has a mark, itself or in a part of it."""
    if not isinstance(item, dict):
        return False
    content, function = item.get("content"), item.get("function")
    return (
        FIELD in item
        or (isinstance(function, dict) and FIELD in function)
        or (isinstance(content, list) and any(isinstance(part, dict) and FIELD in part for part in content))
    )


def _with_mark(message: Message) -> Message:
    """Return a message whose last part has a mark; an empty one is left as it is, because services refuse that."""
    content = message.get("content")
    if isinstance(content, str) and content:
        return {**message, "content": [{"type": "text", "text": content, FIELD: _MARK}]}
    if isinstance(content, list) and content and isinstance(content[-1], dict):
        return {**message, "content": [*content[:-1], {**content[-1], FIELD: _MARK}]}
    return message


def _without_mark(item: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in item.items() if name != FIELD}
    if isinstance(function := plain.get("function"), dict):
        plain["function"] = {name: value for name, value in function.items() if name != FIELD}
    if isinstance(content := plain.get("content"), list):
        parts = [{k: v for k, v in part.items() if k != FIELD} if isinstance(part, dict) else part for part in content]
        is_text = len(parts) == 1 and isinstance(parts[0], dict) and parts[0].keys() == {"type", "text"}
        plain["content"] = parts[0]["text"] if is_text and parts[0]["type"] == "text" else parts
    return plain
