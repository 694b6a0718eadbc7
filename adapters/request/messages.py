"""Repair one message: its role, its content, the arguments of its calls.

Nothing here looks at a second message; ``history`` makes messages fit each other.
"""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any, Final

from adapters._arguments import read_arguments
from adapters._unicode import encodable, encodable_json

if TYPE_CHECKING:
    from adapters.types import Json, Message

TOOL_IMAGES: Final = "These are the images that the tools returned, in order."
"""The first text of a user message that holds the images of tools, which distinguishes them from the user's own."""

_ROLES = {
    "function": "tool",  # OpenAI's name until 2023
    "developer": "system",  # OpenAI's newer name: its own servers take both, no chat template takes this one
}

_CALL_FIELDS = frozenset({"tool_calls", "function_call"})
_PLAIN_ROLES = ("user", "assistant", "system", "tool")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)[;,]")
_TEXT_PARTS = ("text", "input_text", "output_text")


def _reject_constant(name: str) -> Json:
    raise ValueError(name)  # NaN and the like are not JSON


_STRICT = json.JSONDecoder(parse_constant=_reject_constant)


def repair_message(message: Message, *, keeps_parts: bool = False) -> Message:
    """Return a message that any server can read: the same object if it is one already, else a copy.

    Args:
        message: A message in OpenAI format, of any age, as an agent or a model wrote it; it is not changed.
        keeps_parts: Whether the server takes a list of parts as the result of a tool.

    Returns:
        The message without fields that are None (strict servers reject ``"refusal": null``), with today's role, with
        content of a type that this role may have, with ``tool_calls`` in place of ``function_call`` and only beside
        an assistant's role, with arguments that are a JSON object, and with texts that can be encoded. Unknown fields
        stay: a provider may need them back.
    """
    if _is_plain(message):
        return message
    repaired = {
        name: value if name == "content" else encodable_json(value)
        for name, value in message.items()
        if value is not None and name not in _CALL_FIELDS
    }
    role = repaired.get("role")
    if isinstance(role, str):
        role = repaired["role"] = _ROLES.get(role, role)
    content: Json = _content(message.get("content"), role, keeps_parts=keeps_parts)
    if role == "assistant":
        calls = _repair_calls(message)
        if calls:
            repaired["tool_calls"] = calls
        # With calls and no text: text-generation-inference drops the calls of a message whose content is "".
        # Without calls: Ollama rejects a content of null.
        content = content or (None if calls else "")
    repaired["content"] = content
    return message if _is_same(repaired, message) else repaired


def text_of(content: Json) -> str:
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
    return encodable(content if isinstance(content, str) else _to_json(content))


def object_of(arguments: Json) -> str:
    """Write a call's arguments as servers want them back.

    Args:
        arguments: A JSON string, an object, None, or anything else.

    Returns:
        A JSON object as a string: the same string if it is one, because other bytes would cost the server its prefix
        cache, else what ``read_arguments`` makes of it. An empty string, ``null`` or a list fails the request on
        Ollama, and on vLLM in the model's template.
    """
    if isinstance(arguments, str) and _is_object(arguments):
        return arguments
    text = arguments if isinstance(arguments, str) else _to_json(arguments)
    return json.dumps(read_arguments(text)[0], ensure_ascii=False)


def name_tool_images(message: Message) -> Message:
    """Replace images that a tool returned by their names, such as ``[image, image/png]``.

    The user's own images stay: an answer that has not seen them would be invented.
    """
    content = message.get("content")
    if not isinstance(content, list) or not has_images(message) or not _is_of_tools(message):
        return message
    return {**message, "content": text_of([_name_of(part) if _is_image(part) else part for part in content])}


def has_images(message: Message) -> bool:
    """Whether a message holds images."""
    content = message.get("content")
    return isinstance(content, list) and any(map(_is_image, content))


def content_as_text(message: Message) -> Message:
    """Write the content as a string, unless it holds the user's own images, which text cannot replace."""
    content = name_tool_images(message)["content"]
    if isinstance(content, str) or (isinstance(content, list) and not all(map(_is_text, content))):
        return message if content is message["content"] else {**message, "content": content}
    return {**message, "content": text_of(content)}


def without_empty_parts(message: Message) -> Message:
    """Leave out text parts that hold no text; a content that has nothing else becomes ""."""
    content = message["content"]
    if not isinstance(content, list):
        return message
    parts = [part for part in content if not (_is_text(part) and not text_of([part]).strip())]
    return message if len(parts) == len(content) else {**message, "content": parts or ""}


def is_empty(message: Message) -> bool:
    """Return whether a message holds neither words nor other parts nor calls."""
    content = message["content"]
    return not (content.strip() if isinstance(content, str) else content) and "tool_calls" not in message


def _is_plain(message: Message) -> bool:
    """Return whether a message needs no repair at first sight, as most: texts that can be encoded, and no call."""
    for value in message.values():
        if not isinstance(value, str) or not (value.isascii() or encodable(value) is value):
            return False
    return "content" in message and message.get("role") in _PLAIN_ROLES and message.keys().isdisjoint(_CALL_FIELDS)


def _is_same(repaired: Message, message: Message) -> bool:
    if repaired.keys() != message.keys():
        return False
    for name, value in message.items():  # noqa: SIM110 - as a generator it costs as much as all the rest of the repair
        if repaired[name] is not value:
            return False
    return True


def _joined(texts: list[str]) -> str:
    """Put a line break between parts that have no white space there: they are paragraphs, or pieces of one text."""
    joined = ""
    for text in texts:
        touches = joined and text and not joined[-1].isspace() and not text[0].isspace()
        joined += f"\n{text}" if touches else text
    return joined


def _is_object(text: str) -> bool:
    """Return whether a text is strictly a JSON object, and one that can be encoded after it was parsed as well."""
    try:
        value = _STRICT.decode(text)
        text.encode()
        if "\\u" in text:  # an escape may hold half a surrogate pair
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _repair_calls(message: Message) -> list[Any]:
    """Return the calls of an assistant message; the same list if nothing changes in it."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        calls = [{"function": message.get("function_call")}]
    repaired = [_repair_call(call) for call in calls if _is_call(call)]
    return calls if len(repaired) == len(calls) and all(map(operator.is_, repaired, calls)) else repaired


def _repair_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = object_of(function.get("arguments"))
    if arguments is not function.get("arguments") or call.get("type") != "function":
        call = {**call, "type": "function", "function": {**function, "arguments": arguments}}
    repaired: dict[str, Any] = encodable_json(call)
    return repaired


def _is_call(call: Json) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return isinstance(name, str) and bool(name.strip())


def _content(content: Json, role: Json, *, keeps_parts: bool) -> str | list[Any]:
    """Return content of a type that this role may have: text, or parts that text cannot replace.

    These are images, and texts with a mark such as ``cache_control``. A user's list of texts is common and understood
    everywhere; that of a tool makes some servers lose the result without a word, so it is sent only to those that are
    known to take it.
    """
    if not isinstance(content, list) or not content:
        return text_of(content)
    if role == "tool":
        are_parts = all(_is_text(part) or _is_image(part) for part in content)
        needs_parts = are_parts and (keeps_parts or not all(_is_bare_text(part) for part in content))
    else:
        needs_parts = role == "user" or not all(_is_bare_text(part) for part in content)
    return encodable_json(content) if needs_parts else text_of(content)


def _is_of_tools(message: Message) -> bool:
    content = message["content"]
    return message.get("role") == "tool" or (_is_text(content[0]) and text_of(content[:1]).startswith(TOOL_IMAGES))


def _name_of(part: dict[str, Any]) -> str:
    """Return the name of an image, such as ``[image, image/png]``."""
    source = part["image_url"]
    url = source.get("url") if isinstance(source, dict) else source
    match = _DATA_URL.match(url) if isinstance(url, str) else None
    return f"[image, {match.group(1)}]" if match else "[image]"


def _is_image(part: Json) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url" and "image_url" in part


def _is_text(part: Json) -> bool:
    if isinstance(part, dict):
        return part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str)
    return isinstance(part, str)


def _is_bare_text(part: Json) -> bool:
    return _is_text(part) and (isinstance(part, str) or part.keys() <= {"type", "text"})


def _to_json(value: Json) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return str(value)  # a key that is not a string, an object that contains itself
