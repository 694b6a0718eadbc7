"""Parse JSON payloads into ``Chunk``: one type for a delta of a stream and for the message of a whole response.

A field may be missing, null or of another type than OpenAI's reference says. What cannot be used is left out here;
``assembler`` decides whether the response as a whole is good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters._unicode import encodable
from adapters.response.usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.types import Json, TokenUsage

_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
_REASONING_TYPES = ("thinking", "reasoning")  # of a part of the content
_INSTEAD_OF_TEXT = frozenset({"refusal", "audio"})
_BESIDE_TEXT = frozenset(
    {*_REASONING_FIELDS, "reasoning_details", "thinking_blocks", "tool_calls", "function_call", "images"}
)
_CALL_FIELDS = frozenset({"id", "type", "index", "function", "name", "arguments"})
_FUNCTION_FIELDS = frozenset({"name", "arguments", "description", "parameters"})  # TGI repeats the tool's own
_NO_FINISH_REASON = ("null", "None")  # DashScope and its relays write the null of their language as text
_MAX_INDEX_DIGITS = 9
_NOTHING: dict[str, Any] = {}


@dataclass(slots=True)
class CallFragment:
    """A tool call, or a part of one, as it came.

    Attributes:
        index: Its index among the calls of the response, or None.
        id: Its id, or None if there is no usable one.
        name: Its name, a part or a repetition of it, or None. It may hold half a character.
        arguments: A piece of JSON, an object, or None.
        provider_fields: The provider's own fields of the call, as ``call``, and of its function, as ``function``.
    """

    index: int | None
    id: str | None
    name: str | None
    arguments: Any
    provider_fields: dict[str, dict[str, Any]]


class Chunk:
    """What one payload adds to the response.

    A stream has thousands of them. The defaults stand in the class, so that a field that did not come costs nothing.

    Attributes:
        envelope: The object around the choice.
        text: Text, with its markup.
        refusal: The same text, if the server marks it as a refusal of the model.
        reasoning: Reasoning that came in a field of its own.
        reasoning_field: The field of the message that holds nothing but this reasoning, or "".
        calls: Calls or parts of them.
        details: OpenRouter's ``reasoning_details``, to be sent back.
        blocks: LiteLLM's ``thinking_blocks``, to be sent back.
        images: Addresses of images, which may be data URLs.
        finish_reason: The finish reason, or None.
        native_finish_reason: The finish reason of the provider behind the server, or None.
        logprobs: What the server says of the tokens of the text; see ``logprobs_of``.
        usage: The count of tokens, or None.
        has_choices: Whether the payload had any choice.
        is_delta: Whether the message is a part of the whole one.
        is_only_text: Whether there is nothing in the message but text.
    """

    envelope: Mapping[str, Json] = _NOTHING
    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    reasoning_field: str = ""
    calls: Sequence[CallFragment] = ()
    details: Sequence[dict[str, Any]] = ()
    blocks: Sequence[dict[str, Any]] = ()
    images: Sequence[str] = ()
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: Json = None
    usage: TokenUsage | None = None
    has_choices: bool = False
    is_delta: bool = False
    is_only_text: bool = True

    @property
    def is_useful(self) -> bool:
        """Whether it adds text, reasoning, an image or a part of a call; a role or a count of tokens does not count."""
        return bool(self.text or self.reasoning or self.calls or self.details or self.images)


def parse_chunk(payload: Json) -> Chunk:
    """Parse one payload.

    Args:
        payload: A JSON value that is no error.
    """
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Google wraps its responses in a list
    chunk = Chunk()
    if not isinstance(payload, dict):
        return chunk
    chunk.envelope = payload
    choice = _first_choice(payload.get("choices"))
    if payload.get("usage") or payload.get("x_groq") or (choice and choice.get("usage")):
        chunk.usage = usage_of(payload, choice or _NOTHING)
    if choice is not None:
        chunk.has_choices = True
        _read_choice(chunk, choice)
    return chunk


def text_of(content: Json, depth: int = 4) -> str:
    """Join the text of a message's content: a string, or a list of parts. Parts that are no text are left out.

    Args:
        content: What a server put where text belongs.
        depth: How many levels of nesting are read; servers use two.
    """
    if isinstance(content, str):
        return content
    if depth == 0:
        return ""
    if isinstance(content, list):
        return "".join(text_of(part, depth - 1) for part in content)
    if isinstance(content, dict) and content.get("type") not in _REASONING_TYPES:
        return text_of(content.get("text") or content.get("content") or content.get("refusal"), depth - 1)
    return ""


def text_or_none(value: Json) -> str | None:
    """Return a text that is not blank, or None."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value if value.isascii() else encodable(value)


def logprobs_of(logprobs: Json) -> list[dict[str, Any]]:
    """Return OpenAI's entries for the tokens of the text, and for those of a refusal."""
    parts = [logprobs.get("content"), logprobs.get("refusal")] if isinstance(logprobs, dict) else []
    return [entry for part in parts if isinstance(part, list) for entry in part if isinstance(entry, dict)]


def _first_choice(choices: Json) -> dict[str, Json] | None:
    """Return the choice with index 0. Others are alternative responses and must not be mixed in."""
    for choice in choices if isinstance(choices, list) else [choices]:
        if isinstance(choice, dict) and choice.get("index") in (0, None, "0"):
            return choice
    return None


def _read_choice(chunk: Chunk, choice: dict[str, Any]) -> None:
    if choice.get("finish_reason") is not None or choice.get("logprobs"):
        _read_beside_message(chunk, choice)
    message = choice.get("delta")
    if message and isinstance(message, dict):
        chunk.is_delta = True
    else:
        message = choice.get("message")
    if not isinstance(message, dict):
        if "text" in choice:  # the legacy completions API
            chunk.text = text_of(choice["text"])
        return
    content = message.get("content")
    if content is not None:
        chunk.text = content if isinstance(content, str) else text_of(content)
    if not chunk.text and not _INSTEAD_OF_TEXT.isdisjoint(message):
        _read_instead_of_text(chunk, message)
    if isinstance(content, list) or not _BESIDE_TEXT.isdisjoint(message):
        _read_beside_text(chunk, message, content)


def _read_beside_message(chunk: Chunk, choice: dict[str, Any]) -> None:
    if choice.get("finish_reason") not in _NO_FINISH_REASON:
        chunk.finish_reason = text_or_none(choice.get("finish_reason"))
    fields = choice.get("provider_specific_fields")  # of LiteLLM and its proxy
    native = fields.get("native_finish_reason") if isinstance(fields, dict) else None
    chunk.native_finish_reason = text_or_none(choice.get("native_finish_reason") or native)
    if choice.get("logprobs"):
        chunk.logprobs = choice["logprobs"]
        chunk.is_only_text = False


def _read_instead_of_text(chunk: Chunk, message: dict[str, Any]) -> None:
    chunk.is_only_text = False
    chunk.text = chunk.refusal = text_of(message.get("refusal"))
    audio = message.get("audio")
    if not chunk.text and isinstance(audio, dict):
        chunk.text = text_of(audio.get("transcript"))


def _read_beside_text(chunk: Chunk, message: dict[str, Any], content: Json) -> None:
    chunk.is_only_text = False
    details = message.get("reasoning_details")
    if isinstance(details, list):
        chunk.details = [detail for detail in details if isinstance(detail, dict)]
    blocks = message.get("thinking_blocks")
    if isinstance(blocks, list):
        chunk.blocks = [block for block in blocks if isinstance(block, dict)]
    chunk.reasoning, chunk.reasoning_field = _reasoning_of(message, content, chunk.details)
    if calls := message.get("tool_calls") or message.get("function_call"):
        calls = calls if isinstance(calls, list) else [calls]
        chunk.calls = [_call_fragment(call) for call in calls if isinstance(call, dict)]
    if images := message.get("images") or content:
        chunk.images = [url for part in images if (url := _image_url(part))] if isinstance(images, list) else ()


def _image_url(part: Json) -> str | None:
    """Return the address of an image, from OpenRouter's form of it or one of its relays'."""
    source = part.get("image_url") if isinstance(part, dict) else None
    return text_or_none(source.get("url") if isinstance(source, dict) else source)


def _reasoning_of(message: dict[str, Json], content: Json, details: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return the reasoning, and the field that holds nothing else."""
    for name in _REASONING_FIELDS:  # servers that fill two of them repeat the same words
        if (value := message.get(name)) and (text := text_of(value)):
            return text, name if isinstance(value, str) else ""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") in _REASONING_TYPES]
        if parts:
            return "".join(text_of(part.get("thinking") or part.get("text")) for part in parts), ""
    return "".join(text_of(detail.get("text") or detail.get("summary")) for detail in details), ""


def _call_fragment(call: dict[str, Any]) -> CallFragment:
    function = call.get("function")
    source = function if isinstance(function, dict) else call  # the legacy function_call has no wrapping
    name = source.get("name")
    fields = {
        "call": _other_fields(call, _CALL_FIELDS),
        "function": _other_fields(source, _FUNCTION_FIELDS) if source is function else {},
    }
    return CallFragment(
        index=_index_of(call.get("index")),
        id=text_or_none(call.get("id")),
        name=name if isinstance(name, str) and name.strip() else None,
        arguments=source.get("arguments"),
        provider_fields={part: values for part, values in fields.items() if values},
    )


def _index_of(value: Json) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) <= _MAX_INDEX_DIGITS:
        return int(value)
    return value if isinstance(value, int) else None


def _other_fields(source: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name not in known and value is not None}
