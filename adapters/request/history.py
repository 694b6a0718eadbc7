"""Repair a conversation before it is sent, and rewrite it for servers that insist on a shape.

Agents are interrupted, cut their history and merge those of others; servers then answer 400 to each later turn.
``repair`` runs before every request. The other functions rewrite a repaired history for a server whose rejection
asked for it; ``REWRITES`` lists them. One message by itself is repaired in ``messages``. Nothing here changes what the
caller gave.
"""

from __future__ import annotations

import functools
import itertools
import json
import operator
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from adapters._call_ids import derive_call_id, derived_call_ids, is_short_id
from adapters.request.messages import (
    content_as_text,
    is_empty,
    name_tool_images,
    repair_message,
    text_of,
    without_empty_parts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from adapters.types import Json, Message

ECHOED: Final = ("reasoning_details", "reasoning_content", "reasoning")
"""Fields of an assistant message that some servers want back, and others refuse."""

_NO_RESULT = "No result: the call was interrupted."
_NO_OUTPUT = "(no output)"
_BEFORE_USER = "OK."  # between a tool's result and the user who interrupted
OPENING: Final = "."
"""A user message where none was written, such as before an assistant that speaks first; it suits every language."""

_CONTINUE = "Continue."

Rewrite: TypeAlias = Literal[
    "no_images",
    "without_tools",
    "text_content",
    "no_empty_messages",
    "systems_first",
    "no_system",
    "assistant_after_tools",
    "alternating_roles",
    "user_first",
    "user_last",
    "short_ids",
    "reasoning_beside_calls",
    "reasoning_everywhere",
]
"""A shape of the history that a server insists on."""


def repair(messages: Sequence[Message], *, keeps_parts: bool = False) -> list[Message]:
    """Make a history that every server accepts; a repaired one comes back as it is.

    Each call gets exactly one result, right after its message: results are moved there, a call without one gets a
    placeholder, a result without a call is dropped. Ids are made where they are missing, blank or used before. System
    messages at the start become one. ``messages.repair_message`` describes what happens to each message.

    Args:
        messages: The conversation, in OpenAI format.
        keeps_parts: Whether the server takes a list of parts as the result of a tool.

    Returns:
        A new list; a message that needs no change is the same object in it. The given messages are not changed.
    """
    repaired: list[Message | _CallingMessage] = []  # most messages call nothing, and stay as they are
    pending = _PendingCalls()
    for message in map(functools.partial(repair_message, keeps_parts=keeps_parts), messages):
        if message.get("role") == "tool":
            if call := pending.for_result(message):
                call.result = message
        elif "tool_calls" in message:
            calling = _CallingMessage(message, [_PendingCall(call) for call in message["tool_calls"]])
            repaired.append(calling)
            pending.add(calling.calls)
        else:
            repaired.append(message)
    _give_ids([call for entry in repaired if isinstance(entry, _CallingMessage) for call in entry.calls])
    flat: list[Message] = []
    for entry in repaired:
        if isinstance(entry, _CallingMessage):
            flat += entry.messages()
        else:
            flat.append(entry)
    return _merge_leading_systems(flat)


def without_fields(messages: Sequence[Message], names: set[str]) -> list[Message]:
    """Leave provider fields out, for a server that rejects what another one wants back.

    Args:
        messages: A history as ``repair`` returns it.
        names: The fields, of messages, of calls or of their functions.

    Returns:
        The history without them; a message that has none of them is the same object.
    """
    return [_without(message, names) for message in messages] if names else list(messages)


def _systems_first(messages: Sequence[Message]) -> list[Message]:
    """Turn system messages that are not at the start into user messages."""
    return [*messages[:1], *_systems_as_users(messages[1:])] if _is_system(messages[0]) else _systems_as_users(messages)


def _no_system(messages: Sequence[Message]) -> list[Message]:
    """Turn all system messages into user messages, for a model without a system role."""
    return _systems_as_users(messages)


def _assistant_after_tools(messages: Sequence[Message]) -> list[Message]:
    """Put an assistant message between a tool's result and a user who interrupted (Mistral)."""
    rewritten: list[Message] = []
    for message in messages:
        if rewritten and rewritten[-1].get("role") == "tool" and message.get("role") not in ("tool", "assistant"):
            rewritten.append({"role": "assistant", "content": _BEFORE_USER})
        rewritten.append(message)
    return rewritten


def _alternating_roles(messages: Sequence[Message]) -> list[Message]:
    """Let users and assistants alternate, from a user on: what many chat templates insist on."""
    rewritten = _user_first(_assistant_after_tools(_systems_first(messages)))
    return _merge(rewritten, ("user", "assistant"))


def _user_first(messages: Sequence[Message]) -> list[Message]:
    """Let a user message be the first one after the system messages."""
    systems = list(itertools.takewhile(_is_system, messages))
    if len(systems) < len(messages) and messages[len(systems)].get("role") == "user":
        return list(messages)
    return [*systems, _user(OPENING), *messages[len(systems) :]]


def _user_last(messages: Sequence[Message]) -> list[Message]:
    """Let a user or a tool message be the last one: newer models continue no assistant message."""
    if messages[-1].get("role") in ("user", "tool"):
        return list(messages)
    if not all(map(_is_system, messages)) and _is_system(messages[-1]):
        return [*messages[:-1], _system_as_user(messages[-1])]
    return [*messages, _user(_CONTINUE)]


def _no_images(messages: Sequence[Message]) -> list[Message]:
    """Name the images that tools returned, for a model without vision."""
    return [name_tool_images(message) for message in messages]


def _without_tools(messages: Sequence[Message]) -> list[Message]:
    """Write calls and results as plain text, for a request without tools.

    Some servers reject tool messages in such a request, and a model that reads calls goes on to write calls as text.
    The assistant's words stay without its calls, and each result becomes a user message: "Result of get_weather (city:
    Paris): 12 C".
    """
    if not any(message.get("tool_calls") for message in messages):
        return list(messages)
    plain: list[Message] = []
    calls: dict[Any, str] = {}
    for message in messages:
        if message.get("role") == "tool":
            called = calls.get(message.get("tool_call_id"), message.get("name"))
            plain.append({"role": "user", "content": _describe_result(called, message["content"])})
        elif tool_calls := message.get("tool_calls"):
            calls |= {call["id"]: _describe(call["function"]) for call in tool_calls}
            if message["content"]:
                plain.append({"role": "assistant", "content": message["content"]})
        else:
            plain.append(message)
    return _merge(plain, ("user",))


def _text_content(messages: Sequence[Message]) -> list[Message]:
    """Write each content as a string, also that of a message with calls."""
    return [content_as_text(message) for message in messages]


def _no_empty_messages(messages: Sequence[Message]) -> list[Message]:
    """Leave out messages and parts that hold nothing; an empty result of a tool says so."""
    rewritten: list[Message] = []
    for message in map(without_empty_parts, messages):
        if not is_empty(message):
            rewritten.append(message)
        elif message.get("role") == "tool":
            rewritten.append({**message, "content": _NO_OUTPUT})
    return rewritten or [_user(OPENING)]


def _short_ids(messages: Sequence[Message]) -> list[Message]:
    """Give every call an id of nine letters or digits, the same in call and result, for Mistral's API.

    An old id always becomes the same new one, whatever else the history holds.
    """
    old_ids = [call["id"] for message in messages for call in message.get("tool_calls", [])]
    taken = {old_id for old_id in old_ids if is_short_id(old_id)}
    short_ids: dict[str, str] = {}
    for old_id in old_ids:
        short_ids[old_id] = old_id if is_short_id(old_id) else derive_call_id(old_id, taken)
        taken.add(short_ids[old_id])
    return [_with_ids(message, short_ids) for message in messages]


def _reasoning_beside_calls(messages: Sequence[Message]) -> list[Message]:
    """Give each message with calls ``reasoning_content``: "" if the reasoning is unknown (Kimi)."""
    return [_with_reasoning(message) if "tool_calls" in message else message for message in messages]


def _reasoning_everywhere(messages: Sequence[Message]) -> list[Message]:
    """Give each assistant message ``reasoning_content``: "" if the reasoning is unknown (DeepSeek)."""
    return [_with_reasoning(message) if message.get("role") == "assistant" else message for message in messages]


REWRITES: Final[Mapping[Rewrite, Callable[[Sequence[Message]], list[Message]]]] = {
    "no_images": _no_images,
    "without_tools": _without_tools,
    "text_content": _text_content,
    "no_empty_messages": _no_empty_messages,
    "systems_first": _systems_first,
    "no_system": _no_system,
    "assistant_after_tools": _assistant_after_tools,
    "alternating_roles": _alternating_roles,
    "user_first": _user_first,
    "user_last": _user_last,
    "short_ids": _short_ids,
    "reasoning_beside_calls": _reasoning_beside_calls,
    "reasoning_everywhere": _reasoning_everywhere,
}
"""What each rewrite does to a repaired history, in the order in which several are applied.

None loses a word, all keep the results beside their calls, and none changes a history that has its shape already, also
after the others were applied.
"""


def rewrite_history(messages: Sequence[Message], rewrites: Iterable[Rewrite]) -> list[Message]:
    """Apply rewrites to a repaired history.

    Args:
        messages: A history as ``repair`` returns it.
        rewrites: Which ones.
    """
    wanted = set(rewrites)
    rewritten = list(messages)
    if rewritten:
        for name, rewrite in REWRITES.items():
            if name in wanted:
                rewritten = rewrite(rewritten)
    return rewritten


@dataclass(slots=True)
class _PendingCall:
    """A call of the history, and the result that was found for it."""

    call: dict[str, Any]
    result: Message | None = None

    def result_message(self) -> Message:
        result = self.result or {"role": "tool", "content": _NO_RESULT}
        call_id, name = self.call["id"], self.call["function"]["name"]
        if result.get("tool_call_id") == call_id and result.get("name") == name:
            return result
        return {**result, "tool_call_id": call_id, "name": name}


@dataclass(slots=True)
class _CallingMessage:
    """A message that calls tools, and its calls."""

    message: Message
    calls: list[_PendingCall]

    def messages(self) -> list[Message]:
        """Return the message and the result of each of its calls."""
        calls = [pending.call for pending in self.calls]
        unchanged = all(map(operator.is_, calls, self.message["tool_calls"]))
        message = self.message if unchanged else {**self.message, "tool_calls": calls}
        return [message, *(pending.result_message() for pending in self.calls)]


class _PendingCalls:
    """The calls that results may belong to; each is looked at a few times, however long the history is."""

    def __init__(self) -> None:
        # The next call is the last item: the latest message's first call, because some servers use the same ids in
        # every turn. A call that has a result is removed when it is met.
        self._all: list[_PendingCall] = []
        self._by_name: defaultdict[Any, list[_PendingCall]] = defaultdict(list)
        self._by_id: defaultdict[str, list[_PendingCall]] = defaultdict(list)
        self._latest_by_id: dict[str, _PendingCall] = {}

    def add(self, calls: Sequence[_PendingCall]) -> None:
        """Add the calls of one message."""
        for pending in reversed(calls):
            call_id = repr(pending.call.get("id"))
            self._all.append(pending)
            self._by_name[pending.call["function"]["name"]].append(pending)
            self._by_id[call_id].append(pending)
            self._latest_by_id[call_id] = pending

    def for_result(self, result: Message) -> _PendingCall | None:
        """Return the call that a result fits best: by id, by name, by order; None if it fits none."""
        given_id, name = result.get("tool_call_id"), result.get("name")
        same_name = self._by_name.get(name, []) if isinstance(name, str) else []
        if _is_missing(given_id):
            return _next(same_name) or _next(self._all)
        call_id = repr(given_id)
        # A call that has a result gets the newer one: an agent that stored "still running" stores the outcome later.
        return _next(self._by_id.get(call_id, [])) or self._latest_by_id.get(call_id) or _next(same_name)


def _next(pending: list[_PendingCall]) -> _PendingCall | None:
    while pending and pending[-1].result is not None:
        pending.pop()
    return pending[-1] if pending else None


def _give_ids(calls: Sequence[_PendingCall]) -> None:
    """Give an id to each call without one of its own; derived, so that the next request repeats the same bytes."""
    taken: set[str] = set()
    without_id = []
    for pending in calls:
        call_id = pending.call.get("id")
        if isinstance(call_id, str) and call_id.strip() and call_id not in taken:
            taken.add(call_id)
        else:
            without_id.append(pending)
    sources: dict[str, Iterator[str]] = {}  # one for all equal calls, so that none counts from the start again
    for pending in without_id:
        function = pending.call["function"]
        source = f"{function['name']} {function['arguments']}"
        candidates = sources.setdefault(source, derived_call_ids(source))
        call_id = next(candidate for candidate in candidates if candidate not in taken)
        pending.call = {**pending.call, "id": call_id}
        taken.add(call_id)


def _merge_leading_systems(messages: list[Message]) -> list[Message]:
    systems = list(itertools.takewhile(_is_system, messages))
    if len(systems) < 2 or not all(isinstance(message["content"], str) for message in systems):  # noqa: PLR2004 - two merge
        return messages  # also parts with marks, which joining would lose
    text = "\n\n".join(message["content"] for message in systems if message["content"])
    return [{**systems[0], "content": text}, *messages[len(systems) :]]


def _systems_as_users(messages: Sequence[Message]) -> list[Message]:
    """Turn system messages into user messages; servers that ask for it want roles to alternate as well."""
    return _merge([_system_as_user(message) if _is_system(message) else message for message in messages], ("user",))


def _system_as_user(message: Message) -> Message:
    return _user(f"System: {text_of(message['content'])}")


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _merge(messages: Sequence[Message], roles: tuple[str, ...]) -> list[Message]:
    """Merge messages of the same role that follow each other."""
    merged: list[Message] = []
    for message in messages:
        if merged and message.get("role") in roles and message["role"] == merged[-1].get("role"):
            merged[-1] = _merge_two(merged[-1], message)
        else:
            merged.append(message)
    return merged


def _merge_two(first: Message, second: Message) -> Message:
    merged = {**first, **second}
    for name in ("content", *(name for name in ECHOED if name in first and name in second)):
        merged[name] = _joined(first[name], second[name])
    if first.get("name") != second.get("name"):
        merged.pop("name", None)
    return merged


def _joined(first: Json, second: Json) -> Json:
    if not (first and second):
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    parts = [[{"type": "text", "text": side}] if isinstance(side, str) else side for side in (first, second)]
    return [*parts[0], *parts[1]]


def _describe_result(called: str | None, content: Json) -> str | list[Any]:
    if isinstance(content, str):
        return f"Result of {called}: {content}"
    return [{"type": "text", "text": f"Result of {called}:"}, *content]


def _describe(function: dict[str, Any]) -> str:
    arguments = json.loads(function["arguments"])
    words = [
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in arguments.items()
    ]
    return f"{function['name']} ({', '.join(words)})" if words else str(function["name"])


def _without(message: Message, names: set[str]) -> Message:
    kept = _less(message, names)
    calls: list[dict[str, Any]] = message.get("tool_calls", [])
    kept_calls = [_less(_replaced(call, "function", _less(call["function"], names)), names) for call in calls]
    if all(map(operator.is_, kept_calls, calls)):
        return kept
    return {**kept, "tool_calls": kept_calls}


def _less(fields: dict[str, Any], names: set[str]) -> dict[str, Any]:
    if names.isdisjoint(fields):
        return fields
    return {name: value for name, value in fields.items() if name not in names}


def _replaced(fields: dict[str, Any], name: str, value: Json) -> dict[str, Any]:
    return fields if fields[name] is value else {**fields, name: value}


def _with_reasoning(message: Message) -> Message:
    if isinstance(message.get("reasoning_content"), str):
        return message
    reasoning = message.get("reasoning")
    return {**message, "reasoning_content": reasoning if isinstance(reasoning, str) else ""}


def _with_ids(message: Message, new_ids: Mapping[str, str]) -> Message:
    if message.get("role") == "tool":
        return {**message, "tool_call_id": new_ids[message["tool_call_id"]]}
    if "tool_calls" in message:
        return {**message, "tool_calls": [{**call, "id": new_ids[call["id"]]} for call in message["tool_calls"]]}
    return message


def _is_system(message: Message) -> bool:
    return message.get("role") == "system"


def _is_missing(call_id: Json) -> bool:
    return call_id is None or (isinstance(call_id, str) and not call_id.strip())
