"""One message made fit to send: its role, its content, the arguments of its calls.

Nothing here looks at a second message; what several messages must be to each other lives in ``adapters.history``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.types import Message

_ROLES = {
    "function": "tool",  # OpenAI's word until 2023
    "developer": "system",  # OpenAI's newer word: its own servers take both, no chat template takes this one
}

_TEXT_PARTS = ("text", "input_text", "output_text")


def tidy(message: Message) -> Message:
    """Return a copy that any server can read.

    Args:
        message: A message in OpenAI format, of any age, as an agent or a model wrote it.

    Returns:
        The message without keys that are None (strict servers reject ``"refusal": null``), with today's role, with
        content as this role may have it, with ``tool_calls`` in place of ``function_call``, and with arguments that
        are a JSON object. Keys that are not known here stay: a provider may need them back.
    """
    tidied = {key: value for key, value in message.items() if value is not None}
    role = tidied.get("role")
    if isinstance(role, str):
        tidied["role"] = _ROLES.get(role, role)
    if tidied.get("role") == "assistant":
        return _tidy_assistant(tidied)
    tidied["content"] = _content(tidied)
    return tidied


def text_of(content: Any) -> str:  # noqa: ANN401 - agents put anything in there
    """Write any content as text.

    Args:
        content: A string, a list of content parts, None, or what a tool returned.

    Returns:
        The text; of a list of text parts their texts, one a line; of anything else its JSON.
    """
    if content is None:
        return ""
    if isinstance(content, list) and all(_is_text(part) for part in content):
        content = _joined([part if isinstance(part, str) else part["text"] for part in content])
    return _encodable(content if isinstance(content, str) else _to_json(content))


def _joined(texts: list[str]) -> str:
    """Put a line break between parts that have no white space there: they are paragraphs, or pieces of one text."""
    joined = ""
    for text in texts:
        touches = joined and text and not joined[-1].isspace() and not text[0].isspace()
        joined += f"\n{text}" if touches else text
    return joined


def object_of(arguments: Any) -> str:  # noqa: ANN401 - agents put anything in there
    """Write a call's arguments as servers want them back.

    Args:
        arguments: A JSON string, an object, None, or anything else.

    Returns:
        A JSON object as a string; ``{}`` if the arguments are empty or unreadable. An empty string, ``null`` or a
        list fails the request on Ollama, and on vLLM in the model's template.
    """
    try:
        text = arguments if isinstance(arguments, str) else _to_json(arguments)
        parsed = json.loads(text, strict=False, parse_constant=lambda _: None)
        return _encodable(json.dumps(parsed if isinstance(parsed, dict) else {}, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return "{}"


def _tidy_assistant(message: Message) -> Message:
    calls = message.pop("tool_calls", None)
    legacy = message.pop("function_call", None)
    if not isinstance(calls, list) or not calls:
        calls = [{"function": legacy}]
    if calls := [_tidy_call(call) for call in calls if _is_call(call)]:
        message["tool_calls"] = calls
    # With calls and no text: text-generation-inference drops the calls of a message whose content is "".
    # Without calls: Ollama rejects a content of null.
    message["content"] = _content(message) or (None if calls else "")
    return message


def _tidy_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        **call,
        "type": "function",
        "function": {**function, "arguments": object_of(function.get("arguments"))},
    }


def _is_call(call: Any) -> bool:  # noqa: ANN401 - agents put anything in there
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return isinstance(name, str) and bool(name.strip())


def _content(message: Message) -> str | list[Any]:
    """Return the content as this role may have it: text for a tool, else text or parts that text cannot replace."""
    content = message.get("content")
    if isinstance(content, list) and message.get("role") != "tool":
        # Pictures, and texts with a mark such as cache_control. A user's list is common and understood.
        needs_parts = content and (message.get("role") == "user" or not all(_is_bare_text(part) for part in content))
        return content if needs_parts else text_of(content)
    return text_of(content)


def _is_text(part: Any) -> bool:  # noqa: ANN401 - agents put anything in there
    if isinstance(part, dict):
        return part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str)
    return isinstance(part, str)


def _is_bare_text(part: Any) -> bool:  # noqa: ANN401 - agents put anything in there
    return _is_text(part) and (isinstance(part, str) or part.keys() <= {"type", "text"})


def _to_json(value: Any) -> str:  # noqa: ANN401 - agents put anything in there
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return str(value)  # a key that is not a string, an object that holds itself


def _encodable(text: str) -> str:
    """Join surrogate pairs and replace halves.

    A cut emoji leaves half a pair, which has no bytes in UTF-8: it would fail this request and every later one.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
