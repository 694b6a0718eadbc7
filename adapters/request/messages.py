"""One message made fit to send: its role, its content, the arguments of its calls.

Nothing here looks at a second message; what several messages must be to each other lives in ``history``.
"""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any

from adapters._arguments import read_arguments
from adapters._unicode import encodable

if TYPE_CHECKING:
    from adapters.types import Json, Message

_ROLES = {
    "function": "tool",  # OpenAI's word until 2023
    "developer": "system",  # OpenAI's newer word: its own servers take both, no chat template takes this one
}

_CALL_FIELDS = frozenset({"tool_calls", "function_call"})
_PLAIN_ROLES = ("user", "assistant", "system", "tool")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)[;,]")
_TEXT_PARTS = ("text", "input_text", "output_text")


def _no_constant(name: str) -> Json:
    raise ValueError(name)  # NaN and its like are no JSON


_STRICT = json.JSONDecoder(parse_constant=_no_constant)


def tidy(message: Message) -> Message:
    """Return a message that any server can read: the same object if it is one already, else a copy.

    Args:
        message: A message in OpenAI format, of any age, as an agent or a model wrote it; it is not changed.

    Returns:
        The message without keys that are None (strict servers reject ``"refusal": null``), with today's role, with
        content as this role may have it, with ``tool_calls`` in place of ``function_call`` and only beside an
        assistant's role, and with arguments that are a JSON object. Keys that are not known here stay: a provider may
        need them back.
    """
    if _is_plain(message):
        return message
    tidied = {name: value for name, value in message.items() if value is not None and name not in _CALL_FIELDS}
    role = tidied.get("role")
    if isinstance(role, str):
        role = tidied["role"] = _ROLES.get(role, role)
    content: Json = _content(message.get("content"), role)
    if role == "assistant":
        calls = _tidy_calls(message)
        if calls:
            tidied["tool_calls"] = calls
        # With calls and no text: text-generation-inference drops the calls of a message whose content is "".
        # Without calls: Ollama rejects a content of null.
        content = content or (None if calls else "")
    tidied["content"] = content
    return message if _is_same(tidied, message) else tidied


def _is_plain(message: Message) -> bool:
    """Whether a message is fit to send at first sight, as most are: a text and no call."""
    content = message.get("content")
    return (
        isinstance(content, str)
        and message.get("role") in _PLAIN_ROLES
        and "tool_calls" not in message
        and "function_call" not in message
        and None not in message.values()
        and (content.isascii() or encodable(content) is content)
    )


def _is_same(tidied: Message, message: Message) -> bool:
    if tidied.keys() != message.keys():
        return False
    for name, value in message.items():  # noqa: SIM110 - as a generator it costs as much as all the rest of `tidy`
        if tidied[name] is not value:
            return False
    return True


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


def _joined(texts: list[str]) -> str:
    """Put a line break between parts that have no white space there: they are paragraphs, or pieces of one text."""
    joined = ""
    for text in texts:
        touches = joined and text and not joined[-1].isspace() and not text[0].isspace()
        joined += f"\n{text}" if touches else text
    return joined


def object_of(arguments: Json) -> str:
    """Write a call's arguments as servers want them back.

    Args:
        arguments: A JSON string, an object, None, or anything else.

    Returns:
        A JSON object as a string: the same string if it is one, because other bytes would cost the server its prompt
        cache, else what ``read_arguments`` makes of it. An empty string, ``null`` or a list fails the request on
        Ollama, and on vLLM in the model's template.
    """
    if isinstance(arguments, str) and _is_object(arguments):
        return arguments
    text = arguments if isinstance(arguments, str) else _to_json(arguments)
    return json.dumps(read_arguments(text)[0], ensure_ascii=False)


def _is_object(text: str) -> bool:
    """Whether a text is a JSON object by the book, and one that can be written in UTF-8 after it was read too."""
    try:
        value = _STRICT.decode(text)
        text.encode()
        if "\\u" in text:  # half a pair may hide behind an escape
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _tidy_calls(message: Message) -> list[Any]:
    """The calls of an assistant message; the same list if nothing changes in it."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        calls = [{"function": message.get("function_call")}]
    tidied = [_tidy_call(call) for call in calls if _is_call(call)]
    return calls if len(tidied) == len(calls) and all(map(operator.is_, tidied, calls)) else tidied


def _tidy_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = object_of(function.get("arguments"))
    if arguments is function.get("arguments") and call.get("type") == "function":
        return call
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}


def _is_call(call: Json) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return isinstance(name, str) and bool(name.strip())


def without_images(message: Message) -> Message:
    """Return a message with the names of its images in their place; the same object if there is none."""
    content = message.get("content")
    if not isinstance(content, list) or not any(map(_is_image, content)):
        return message
    return {**message, "content": text_of([_named(part) if _is_image(part) else part for part in content])}


def _named(part: dict[str, Any]) -> str:
    """Return the name of an image, such as ``[image, image/png]``."""
    source = part["image_url"]
    url = source.get("url") if isinstance(source, dict) else source
    match = _DATA_URL.match(url) if isinstance(url, str) else None
    return f"[image, {match.group(1)}]" if match else "[image]"


def _is_image(part: Json) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url" and "image_url" in part


def _content(content: Json, role: Json) -> str | list[Any]:
    """Return content as this role may have it: text, or parts that text cannot replace, such as images."""
    if isinstance(content, list) and role == "tool":
        has_images = any(map(_is_image, content)) and all(_is_text(part) or _is_image(part) for part in content)
        return _encodable_parts(content) if has_images else text_of(content)
    if isinstance(content, list):
        # Pictures, and texts with a mark such as cache_control. A user's list is common and understood.
        needs_parts = content and (role == "user" or not all(_is_bare_text(part) for part in content))
        return _encodable_parts(content) if needs_parts else text_of(content)
    return text_of(content)


def _encodable_parts(parts: list[Any]) -> list[Any]:
    """The parts with texts that can be sent; the same list if they can be sent already."""
    sendable = [
        {**part, "text": encodable(part["text"])}
        if isinstance(part, dict) and isinstance(part.get("text"), str) and encodable(part["text"]) is not part["text"]
        else part
        for part in parts
    ]
    return parts if all(map(operator.is_, sendable, parts)) else sendable


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
        return str(value)  # a key that is not a string, an object that holds itself
