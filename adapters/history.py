"""What we send: a conversation mended so that every server accepts it.

Agents are interrupted, cut their history and merge those of others; servers then answer 400 to each later turn.
``mend`` runs before every request; the other functions rewrite a mended history for a server that said it needs that.
One message by itself is the business of ``adapters.messages``. Nothing here changes what the caller gave.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.call_ids import derive_call_id, is_short_id
from adapters.messages import text_of, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.types import Message

_NO_RESULT = "No result: the call was interrupted."


def mend(messages: Sequence[Message]) -> list[Message]:
    """Make a history that every server accepts; a mended one comes back as it is.

    Each call gets exactly one result, right behind its message: results are moved there, a call without one gets a
    stub, a result without a call is dropped. Ids are made where they are missing, blank or used before. System
    messages at the start become one. ``adapters.messages.tidy`` tells what happens to each message.

    Args:
        messages: The conversation, in OpenAI format.

    Returns:
        New messages; the given ones are not changed.
    """
    turns: list[tuple[Message, list[_Call]]] = []
    for message in map(tidy, messages):
        if message.get("role") == "tool":
            # The latest turn first, because there are servers that use the same ids in every turn.
            _hand_over(message, [call for _, calls in reversed(turns) for call in calls])
        else:
            turns.append((message, [_Call(call) for call in message.get("tool_calls", [])]))
    _give_ids([call.call for _, calls in turns for call in calls])
    mended: list[Message] = []
    for message, calls in turns:
        mended += [message, *(call.answer() for call in calls)]
    return _merge_leading_systems(mended)


def without_tools(messages: Sequence[Message]) -> list[Message]:
    """Tell a mended history as plain talk, for a request without tools.

    Some servers reject tool messages in such a request, and a model that reads calls goes on to write calls as text.

    Args:
        messages: A history as ``mend`` returns it.

    Returns:
        The assistant's words without its calls, and each result as a user's words: "Result of get_weather (city:
        Paris): 12 C". User messages that follow each other are one.
    """
    plain: list[Message] = []
    calls: dict[Any, str] = {}
    for message in messages:
        if message.get("role") == "tool":
            called = calls.get(message.get("tool_call_id"), message.get("name"))
            plain.append({"role": "user", "content": f"Result of {called}: {message['content']}"})
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


@dataclass(slots=True)
class _Call:
    """A call of the history, a copy of ours, and the result that was found for it."""

    call: dict[str, Any]
    result: Message | None = None

    def answer(self) -> Message:
        result = self.result or {"role": "tool", "content": _NO_RESULT}
        return {**result, "tool_call_id": self.call["id"], "name": self.call["function"]["name"]}


def _hand_over(result: Message, calls: Sequence[_Call]) -> None:
    """Give a result to the first call that it fits best; one that fits none is dropped."""
    given_id, name = result.get("tool_call_id"), result.get("name")
    waiting = [call for call in calls if call.result is None]
    fitting = [call for call in waiting if call.call["function"]["name"] == name]
    if _is_missing(given_id):
        fitting += waiting
    else:
        same_id = [call for call in calls if call.call.get("id") == given_id]
        # A call that has a result gets the newer one: an agent that stored "still running" stores the outcome later.
        fitting = sorted(same_id, key=lambda call: call.result is not None) + fitting
    if fitting:
        fitting[0].result = result


def _give_ids(calls: Sequence[dict[str, Any]]) -> None:
    """Give an id to each call that has none of its own; derived, so that the next request repeats the same bytes."""
    taken: set[str] = set()
    without_id = []
    for call in calls:
        call_id = call.get("id")
        if isinstance(call_id, str) and call_id.strip() and call_id not in taken:
            taken.add(call_id)
        else:
            without_id.append(call)
    for call in without_id:
        call["id"] = derive_call_id(f"{call['function']['name']} {call['function']['arguments']}", taken)
        taken.add(call["id"])


def _merge_leading_systems(messages: list[Message]) -> list[Message]:
    systems = list(itertools.takewhile(_is_system, messages))
    if not all(isinstance(message["content"], str) for message in systems):
        return messages  # parts with marks, which joining would lose
    text = "\n\n".join(message["content"] for message in systems if message["content"])
    return [{**systems[0], "content": text}, *messages[len(systems) :]] if systems else messages


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


def _is_missing(call_id: Any) -> bool:  # noqa: ANN401 - agents put anything in there
    return call_id is None or (isinstance(call_id, str) and not call_id.strip())
