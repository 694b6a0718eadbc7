"""What the OpenRouter stand-in answers: a greeting, tool calls for cities, a result read out, or a thought.

How the server speaks HTTP, and how it fails, is told in ``openrouter_stand_in``.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESSING = ": OPENROUTER PROCESSING"
_CITIES = ("Paris", "London")
_THOUGHT = "The user greets me. I greet back."


def generation_id() -> str:
    """Make an id as OpenRouter's look."""
    return f"gen-{int(time.time())}-{secrets.token_urlsafe(15)}"


def _count(messages: list[dict[str, Any]]) -> int:
    return len(re.findall(r"\w+|[^\w\s]", json.dumps(messages)))


def _message(body: dict[str, Any]) -> dict[str, Any]:
    """What the model says: calls for the cities of the last question, a result read out, or a greeting."""
    last = body["messages"][-1]
    message: dict[str, Any] = {"role": "assistant", "content": "Hello! How can I help you today?", "refusal": None}
    if last["role"] == "tool":
        return {**message, "content": f"Here is what I found: {last['content']}"}
    cities = [city for city in _CITIES if city in last["content"]]
    if cities and "tools" in body and body.get("tool_choice") != "none":
        name = body["tools"][0]["function"]["name"]
        return {**message, "content": None, "tool_calls": [_call(i, name, city) for i, city in enumerate(cities)]}
    if "deepseek" in body["model"]:
        details = {"type": "reasoning.text", "text": _THOUGHT, "format": "unknown", "index": 0}
        return {**message, "reasoning": _THOUGHT, "reasoning_details": [details]}
    return message


def _call(index: int, name: str, city: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps({"city": city})}
    return {"index": index, "id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _envelope(body: dict[str, Any], kind: str) -> dict[str, Any]:
    served = {"provider": "Azure", "model": body["model"], "object": kind, "created": int(time.time())}
    return {"id": generation_id(), **served}


def _usage(body: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    prompt, completion = _count(body["messages"]), _count([message])
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**counts, "cost": 0.0000042, "is_byok": False, "prompt_tokens_details": {"cached_tokens": 0}}


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """Answer a request in one piece."""
    message = _message(body)
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "logprobs": None, "finish_reason": reason, "native_finish_reason": reason, "message": message}
    return {**_envelope(body, "chat.completion"), "choices": [choice], "usage": _usage(body, message)}


def events(body: dict[str, Any]) -> Iterator[str]:
    """Answer a request as a stream.

    Yields:
        Comments and events, without the blank line that ends each.
    """
    message, envelope = _message(body), _envelope(body, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "native_finish_reason": reason, "logprobs": None}
        return "data: " + json.dumps({**envelope, **more, "choices": [choice]})

    yield _PROCESSING
    yield _PROCESSING
    for delta in _deltas(message):
        yield chunk({"role": "assistant", **delta})
    if body["model"] == "faults/disconnect":
        error = {"code": "server_error", "message": "Provider disconnected unexpectedly"}
        yield chunk({"content": ""}, "error", error=error)
        return
    yield chunk({"role": "assistant", "content": ""}, "tool_calls" if "tool_calls" in message else "stop")
    yield chunk({"role": "assistant", "content": ""}, usage=_usage(body, message))
    yield "data: [DONE]"


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for call in message.get("tool_calls", []):
        function, arguments = call["function"], call["function"]["arguments"]
        yield {"content": None, "tool_calls": [{**call, "function": {**function, "arguments": ""}}]}
        for piece in re.findall(r".{1,8}", arguments):
            yield {"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]}
    for word in re.findall(r"\S+\s*", message.get("reasoning", "")):
        details = {"type": "reasoning.text", "text": word, "format": "unknown", "index": 0}
        yield {"content": "", "reasoning": word, "reasoning_details": [details]}
    for word in re.findall(r"\S+\s*", message["content"] or ""):
        yield {"content": word}
