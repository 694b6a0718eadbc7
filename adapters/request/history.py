"""What we send: a conversation mended so that every server accepts it.

Agents are interrupted, cut their history and merge those of others; servers then answer 400 to each later turn.
``mend`` runs before every request; the other functions rewrite a mended history for a server that said it needs that.
One message by itself is the business of ``messages``. Nothing here changes what the caller gave.
"""

from __future__ import annotations

import itertools
import json
import operator
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters._call_ids import derive_call_id, derived_call_ids, is_short_id
from adapters.request.messages import text_of, tidy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adapters.types import Json, Message

_NO_RESULT = "No result: the call was interrupted."


def mend(messages: Sequence[Message]) -> list[Message]:
    """Make a history that every server accepts; a mended one comes back as it is.

    Each call gets exactly one result, right behind its message: results are moved there, a call without one gets a
    stub, a result without a call is dropped. Ids are made where they are missing, blank or used before. System
    messages at the start become one. ``messages.tidy`` tells what happens to each message.

    Args:
        messages: The conversation, in OpenAI format.

    Returns:
        A new list; a message that needs no change is the same object in it. The given messages are not changed.
    """
    told: list[Message | _Turn] = []  # most messages call nothing, and are left as they are
    waiting = _Waiting()
    for message in map(tidy, messages):
        if message.get("role") == "tool":
            if call := waiting.for_result(message):
                call.result = message
        elif "tool_calls" in message:
            turn = _Turn(message, [_Call(call) for call in message["tool_calls"]])
            told.append(turn)
            waiting.add(turn.calls)
        else:
            told.append(message)
    _give_ids([call for each in told if isinstance(each, _Turn) for call in each.calls])
    mended: list[Message] = []
    for each in told:
        if isinstance(each, _Turn):
            mended += each.messages()
        else:
            mended.append(each)
    return _merge_leading_systems(mended)


def without_tools(messages: Sequence[Message]) -> list[Message]:
    """Tell a mended history as plain talk, for a request without tools.

    Some servers reject tool messages in such a request, and a model that reads calls goes on to write calls as text.

    Args:
        messages: A history as ``mend`` returns it.

    Returns:
        The assistant's words without its calls, and each result as a user's words: "Result of get_weather (city:
        Paris): 12 C". User messages that follow each other are one. A history without tools comes back as it is.
    """
    if not any(message.get("tool_calls") for message in messages):
        return list(messages)
    plain: list[Message] = []
    calls: dict[Any, str] = {}
    for message in messages:
        if message.get("role") == "tool":
            called = calls.get(message.get("tool_call_id"), message.get("name"))
            plain.append({"role": "user", "content": _result_in_words(called, message["content"])})
        elif tool_calls := message.get("tool_calls"):
            calls |= {call["id"]: _in_words(call["function"]) for call in tool_calls}
            if message["content"]:
                plain.append({"role": "assistant", "content": message["content"]})
        else:
            plain.append(message)
    return _merge_users(plain)


def systems_first(messages: Sequence[Message], *, keep_first: bool = True) -> list[Message]:
    """Turn system messages that are not at the start into user's words.

    Args:
        messages: A history as ``mend`` returns it.
        keep_first: Whether the first message may stay a system message; some models know no system role at all.

    Returns:
        The history for a server that answers "System message must be at the beginning". User messages that follow
        each other are one, because such servers want roles to alternate too.
    """
    later = [
        {"role": "user", "content": f"System: {text_of(message['content'])}"} if _is_system(message) else message
        for message in messages[keep_first:]
    ]
    return _merge_users([*messages[:keep_first], *later])


def with_short_ids(messages: Sequence[Message]) -> list[Message]:
    """Give every call an id of nine letters or digits, the same in call and result, for Mistral's API.

    Args:
        messages: A history as ``mend`` returns it.

    Returns:
        The history with short ids. An old id always becomes the same new one, whatever else the history holds.
    """
    old_ids = [call["id"] for message in messages for call in message.get("tool_calls", [])]
    taken = {old_id for old_id in old_ids if is_short_id(old_id)}
    short_ids: dict[str, str] = {}
    for old_id in old_ids:
        short_ids[old_id] = old_id if is_short_id(old_id) else derive_call_id(old_id, taken)
        taken.add(short_ids[old_id])
    return [_with_ids(message, short_ids) for message in messages]


def without_fields(messages: Sequence[Message], names: set[str]) -> list[Message]:
    """Leave provider fields out, for a server that rejects what another one wants back.

    Args:
        messages: A history as ``mend`` returns it.
        names: The fields, of messages, of calls or of their functions.

    Returns:
        The history without them; a message that has none of them is the same object.
    """
    return [_without(message, names) for message in messages] if names else list(messages)


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


@dataclass(slots=True)
class _Call:
    """A call of the history, and the result that was found for it."""

    call: dict[str, Any]
    result: Message | None = None

    def answer(self) -> Message:
        result = self.result or {"role": "tool", "content": _NO_RESULT}
        call_id, name = self.call["id"], self.call["function"]["name"]
        if result.get("tool_call_id") == call_id and result.get("name") == name:
            return result
        return {**result, "tool_call_id": call_id, "name": name}


@dataclass(slots=True)
class _Turn:
    """A message that calls tools, and its calls."""

    message: Message
    calls: list[_Call]

    def messages(self) -> list[Message]:
        """The message and the result of each of its calls."""
        calls = [call.call for call in self.calls]
        unchanged = all(map(operator.is_, calls, self.message["tool_calls"]))
        message = self.message if unchanged else {**self.message, "tool_calls": calls}
        return [message, *(call.answer() for call in self.calls)]


class _Waiting:
    """The calls that results may belong to; each is looked at a few times, however long the history is."""

    def __init__(self) -> None:
        # The next call stands last: the latest turn's first, because there are servers that use the same ids in
        # every turn. What has a result is taken away when it is met.
        self._all: list[_Call] = []
        self._by_name: defaultdict[Any, list[_Call]] = defaultdict(list)
        self._by_id: defaultdict[str, list[_Call]] = defaultdict(list)
        self._latest_by_id: dict[str, _Call] = {}

    def add(self, calls: Sequence[_Call]) -> None:
        """Let the calls of one message wait."""
        for call in reversed(calls):
            call_id = repr(call.call.get("id"))
            self._all.append(call)
            self._by_name[call.call["function"]["name"]].append(call)
            self._by_id[call_id].append(call)
            self._latest_by_id[call_id] = call

    def for_result(self, result: Message) -> _Call | None:
        """The call that a result fits best: by id, by name, by order; None if it fits none."""
        given_id, name = result.get("tool_call_id"), result.get("name")
        same_name = self._by_name.get(name, []) if isinstance(name, str) else []
        if _is_missing(given_id):
            return _next(same_name) or _next(self._all)
        call_id = repr(given_id)
        # A call that has a result gets the newer one: an agent that stored "still running" stores the outcome later.
        return _next(self._by_id.get(call_id, [])) or self._latest_by_id.get(call_id) or _next(same_name)


def _next(waiting: list[_Call]) -> _Call | None:
    while waiting and waiting[-1].result is not None:
        waiting.pop()
    return waiting[-1] if waiting else None


def _give_ids(calls: Sequence[_Call]) -> None:
    """Give an id to each call that has none of its own; derived, so that the next request repeats the same bytes."""
    taken: set[str] = set()
    without_id = []
    for call in calls:
        call_id = call.call.get("id")
        if isinstance(call_id, str) and call_id.strip() and call_id not in taken:
            taken.add(call_id)
        else:
            without_id.append(call)
    sources: dict[str, Iterator[str]] = {}  # one for all equal calls: none of them counts from the start again
    for call in without_id:
        function = call.call["function"]
        source = f"{function['name']} {function['arguments']}"
        candidates = sources.setdefault(source, derived_call_ids(source))
        call_id = next(candidate for candidate in candidates if candidate not in taken)
        call.call = {**call.call, "id": call_id}
        taken.add(call_id)


def _merge_leading_systems(messages: list[Message]) -> list[Message]:
    systems = list(itertools.takewhile(_is_system, messages))
    if len(systems) < 2 or not all(isinstance(message["content"], str) for message in systems):  # noqa: PLR2004 - one is one
        return messages  # also parts with marks, which joining would lose
    text = "\n\n".join(message["content"] for message in systems if message["content"])
    return [{**systems[0], "content": text}, *messages[len(systems) :]]


def _merge_users(messages: Sequence[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        if merged and message.get("role") == merged[-1].get("role") == "user":
            content = _joined(merged[-1]["content"], message["content"])
            merged[-1] = {**merged[-1], "content": content}
        else:
            merged.append(message)
    return merged


def _joined(first: str | list[Any], second: str | list[Any]) -> str | list[Any]:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    parts = [[{"type": "text", "text": side}] if isinstance(side, str) else side for side in (first, second)]
    return [*parts[0], *parts[1]]


def _result_in_words(called: str | None, content: str | list[Any]) -> str | list[Any]:
    if isinstance(content, str):
        return f"Result of {called}: {content}"
    return [{"type": "text", "text": f"Result of {called}:"}, *content]


def _in_words(function: dict[str, Any]) -> str:
    arguments = json.loads(function["arguments"])
    words = [
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in arguments.items()
    ]
    return f"{function['name']} ({', '.join(words)})" if words else str(function["name"])


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
