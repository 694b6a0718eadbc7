"""A memory of what must go back with tool calls, for agents that keep nothing but id, name and arguments of them.

It is the last resort: ``ToolCall.provider_fields`` travels with a conversation and needs no memory.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from adapters.provider import add_provider_fields
from adapters.request.messages import object_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.types import Json, Message, ToolCall

_MOST_CALLS = 4096
_MOST_BYTES = 16_000_000  # of JSON: a long thought has 100,000, a signature a few thousand
_ENTRY_BYTES = 200  # of an entry without its fields
_AMBIGUOUS: Mapping[str, Json] = {}
_PLAIN_MESSAGE = frozenset({"role", "content", "tool_calls", "name", "refusal"})
_PLAIN_CALL = frozenset({"id", "type", "index", "function"})
_PLAIN_FUNCTION = frozenset({"name", "arguments"})


@dataclass(frozen=True, slots=True)
class _Entry:
    fields: Mapping[str, Json]
    size_bytes: int


_EMPTY_ENTRY = _Entry({}, _ENTRY_BYTES)
"""The entry of every call with which nothing came: most servers send no such fields."""


class ProviderFieldsMemory:
    """Provider fields of calls, found again by the call and by the conversation in front of it.

    An id alone does not identify a call: vLLM, SGLang and Kimi use ``functions.get_weather:0`` in every conversation.
    So fields are attached only to a call with the same id, name and arguments, behind the same messages, word for
    word. Where two calls are equal in all of this and different fields came with them, neither gets any.

    It cannot serve a conversation whose earlier messages were trimmed, summarized or rewritten since the call was
    made, nor one that was continued in another process or on another provider, nor one whose calls are older than
    the last 4096 calls or 16 MB of fields: these calls go back without fields. A message that has any field beyond
    OpenAI's format is left as it is, because its fields travel with it.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bytes = 0
        self._filled = 0  # entries that hold fields

    def remember(self, messages: Sequence[Message], tool_calls: Sequence[ToolCall]) -> None:
        """Keep what came with the calls of one answer, also that nothing came; the oldest entries are forgotten.

        Args:
            messages: The conversation that was answered.
            tool_calls: The calls of the answer.
        """
        if not tool_calls:
            return
        prefix = _Prefix()
        for message in messages:
            prefix.add(message)
        for call in tool_calls:
            key = prefix.key(call.id, call.name, call.arguments)
            known = self._forget(key)
            self._keep(key, _AMBIGUOUS if known not in (None, call.provider_fields) else call.provider_fields)
        while len(self._entries) > _MOST_CALLS or self._bytes > _MOST_BYTES:
            self._forget(next(iter(self._entries)))

    def restore(self, messages: list[Message]) -> list[Message]:
        """Put back what came with the calls of a conversation.

        Args:
            messages: The conversation; it is not changed.

        Returns:
            A new list, in which a message to which nothing is attached is the same object.
        """
        restored = list(messages)
        if not self._filled:
            return restored
        prefix = _Prefix()
        for position, message in enumerate(messages):
            if _is_plain(message):
                restored[position] = self._with_fields(message, prefix)
            prefix.add(message)
        return restored

    def _with_fields(self, message: Message, prefix: _Prefix) -> Message:
        calls = message["tool_calls"]
        keys = [
            prefix.key(call.get("id"), call["function"].get("name"), call["function"].get("arguments"))
            for call in calls
        ]
        fields = [self._entries[key].fields if key in self._entries else {} for key in keys]
        if not any(fields):
            return message
        copies = [{**call, "function": {**call["function"]}} for call in calls]
        return add_provider_fields({**message, "tool_calls": copies}, fields)

    def _keep(self, key: bytes, fields: Mapping[str, Json]) -> None:
        entry = _Entry(fields, _ENTRY_BYTES + len(json.dumps(fields, default=str))) if fields else _EMPTY_ENTRY
        self._entries[key] = entry
        self._bytes += entry.size_bytes
        self._filled += bool(fields)

    def _forget(self, key: bytes) -> Mapping[str, Json] | None:
        if (entry := self._entries.pop(key, None)) is None:
            return None
        self._bytes -= entry.size_bytes
        self._filled -= bool(entry.fields)
        return entry.fields


class _Prefix:
    """The messages in front of a call, as a digest of their roles and texts.

    An assistant's words count only when a message of another role follows them: what was said in the answer that
    made a call, agents write as a message of its own, with the call, or not at all.
    """

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=16)
        self._said: list[str] = []

    def add(self, message: Message) -> None:
        """Take the next message."""
        text = text_of(message.get("content"))
        self._said.append(f"{message.get('role')} {len(text)} {text}")
        if message.get("role") != "assistant":
            self._digest.update("".join(self._said).encode("utf-8", "surrogatepass"))
            self._said.clear()

    def key(self, call_id: Json, name: Json, arguments: Json) -> bytes:
        """Return the key of a call behind the messages so far; white space in its arguments does not count."""
        digest = self._digest.copy()
        digest.update(
            json.dumps([call_id, name, json.loads(object_of(arguments))], sort_keys=True, default=str).encode()
        )
        return digest.digest()


def provider_field_names(messages: Sequence[Message]) -> set[str]:
    """Return the names of all fields of assistant messages and of their calls that are not in OpenAI's format."""
    names: set[str] = set()
    for message in messages:
        if message.get("role") == "assistant":
            names |= message.keys() - _PLAIN_MESSAGE
            for call in message.get("tool_calls", []):
                names |= (call.keys() - _PLAIN_CALL) | (call["function"].keys() - _PLAIN_FUNCTION)
    return names


def _is_plain(message: Message) -> bool:
    """Whether a message has calls, and no field that is not in OpenAI's format."""
    calls = message.get("tool_calls")
    return (
        isinstance(calls, list)
        and message.keys() <= _PLAIN_MESSAGE
        and all(isinstance(call, dict) and call.keys() <= _PLAIN_CALL for call in calls)
        and all(isinstance(call.get("function"), dict) and call["function"].keys() <= _PLAIN_FUNCTION for call in calls)
    )
