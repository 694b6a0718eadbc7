"""The conversation that is sent: mended until every server accepts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import answer, reply
from adapters.testing.case import Success, WireCase
from adapters.testing.cases.common import HISTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adapters.testing.answers import JsonObject
    from adapters.testing.server import Seen
    from adapters.types import Message

_USER, _CALL, _RESULT = HISTORY
_SYSTEM = {"role": "system", "content": "Be brief."}
_YES = {"role": "assistant", "content": "Yes?"}


def _history(
    case_id: str, why: str, messages: Sequence[Message], saw: Callable[[list[JsonObject]], object], **fields: Any
) -> WireCase:
    """Make one case about the messages of the only request."""
    return WireCase(
        case_id,
        why,
        [answer("Hi there")],
        Success(text="Hi there"),
        messages=messages,
        saw=lambda seen: _valid(seen.bodies[0]["messages"]) and saw(seen.bodies[0]["messages"]),
        **{"ways": ("chat", "chat_stream"), "tools": True, **fields},
    )


def _valid(messages: list[JsonObject]) -> bool:
    """Tell whether a strict server takes this conversation: each call has one result, right after it, in strings."""
    fine, rest = True, messages
    while rest:
        message, *rest = rest
        calls = message.get("tool_calls") or []
        results, rest = rest[: len(calls)], rest[len(calls) :]
        fine = (
            fine
            and message["role"] != "tool"
            and (calls != [] or isinstance(message.get("content"), (str, list)))
            and sorted(call["id"] for call in calls) == sorted(result.get("tool_call_id", "") for result in results)
            and all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
            and all(isinstance(result["content"], str) for result in results)
        )
    return fine


def _without_system(allowed: int) -> Callable[[Seen], bool]:
    """Make the condition that all requests but the first have at most so many system messages, and lose no word."""
    return lambda seen: all(
        "Be brief." in str(body)
        and "The door opened." in body["messages"][-1]["content"]
        and _roles(body["messages"]).count("system") <= allowed
        for body in seen.bodies[1:]
    )


def _roles(messages: list[JsonObject]) -> list[str]:
    return [message["role"] for message in messages]


def _called(*calls: tuple[object, str, object], content: object = None) -> Message:
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ],
    }


def _result(call_id: object, content: object, name: str = "get_weather") -> Message:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


CASES: Final = (
    _history(
        "history-plain",
        "a good history is sent as it is",
        [_SYSTEM, *HISTORY],
        lambda messages: (
            _roles(messages) == ["system", "user", "assistant", "tool"]
            and messages[2]["tool_calls"][0]["id"] == messages[3]["tool_call_id"]
        ),
    ),
    _history(
        "tgi-history-content-null",
        "the content of a message with calls is not '': TGI would drop the calls",
        [_USER, {**_CALL, "content": ""}, _RESULT],
        lambda messages: messages[1].get("content") is None,
    ),
    _history(
        "ollama-history-content-not-null",
        "the content of a message without calls is not null",
        [_USER, {"role": "assistant", "content": None}, _USER],
        lambda _: True,
        tools=False,
    ),
    _history(
        "history-call-without-result",
        "a call that was interrupted gets a result that says so",
        [_USER, _called(("a", "get_weather", "{}"), ("b", "lights_off", "{}")), _result("a", "12"), _USER],
        lambda messages: _roles(messages) == ["user", "assistant", "tool", "tool", "user"],
    ),
    _history(
        "history-call-at-end-without-result",
        "the same at the end of the history",
        [_USER, _called(("a", "get_weather", "{}"))],
        lambda messages: "tool" in _roles(messages),
    ),
    _history(
        "history-result-without-call",
        "a result whose call fell out of the window is no tool message",
        [_result("gone", "12"), _USER],
        lambda messages: "tool" not in _roles(messages),
    ),
    _history(
        "history-result-late",
        "a result that comes after another message moves to its call",
        [_USER, _called(("a", "get_weather", "{}")), _USER, _result("a", "12 degrees")],
        lambda messages: _roles(messages)[1:3] == ["assistant", "tool"] and "12 degrees" in str(messages),
    ),
    _history(
        "history-result-twice",
        "of two results of one call one is sent",
        [_USER, _called(("a", "get_weather", "{}")), _result("a", "12"), _result("a", "12"), _USER],
        lambda messages: _roles(messages).count("tool") == 1,
    ),
    _history(
        "vllm-history-arguments-object",
        "arguments are sent as a string",
        [_USER, _called(("a", "get_weather", {"city": "Oslo"})), _result("a", "12")],
        lambda messages: json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"},
    ),
    *[
        _history(
            f"ollama-history-arguments-{name}",
            "arguments are sent as a JSON object",
            [_USER, _called(("a", "lights_off", arguments)), _result("a", "off")],
            lambda messages: messages[1]["tool_calls"][0]["function"]["arguments"] == "{}",
        )
        for name, arguments in (("empty", ""), ("null", None), ("broken", "{bad"), ("list", "[1]"))
    ],
    _history(
        "history-ids-missing",
        "a call and its result without id are given one",
        [_USER, _called((None, "get_weather", "{}")), _result(None, "12")],
        lambda messages: messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"],
    ),
    _history(
        "tgi-history-result-parts",
        "the content of a result is a string",
        [_USER, _CALL, _result("call00001", [{"type": "text", "text": "12 "}, {"type": "text", "text": "degrees"}])],
        lambda messages: messages[2]["content"] == "12 degrees",
    ),
    _history(
        "history-result-object",
        "an object as the content of a result is sent as JSON",
        [_USER, _CALL, _result("call00001", {"degrees": 12})],
        lambda messages: json.loads(messages[2]["content"]) == {"degrees": 12},
    ),
    _history(
        "history-result-null",
        "nothing as the content of a result is a string, too",
        [_USER, _CALL, _result("call00001", None)],
        lambda messages: isinstance(messages[2]["content"], str),
    ),
    _history(
        "litellm-history-two-systems",
        "two system messages in front become one",
        [_SYSTEM, {"role": "system", "content": "Be kind."}, *HISTORY],
        lambda messages: (
            _roles(messages).count("system") == 1
            and "Be brief." in messages[0]["content"]
            and "Be kind." in messages[0]["content"]
        ),
    ),
    *[
        WireCase(
            case_id,
            "the model refuses a role: asked once more with the user's words in its place",
            [reply({"error": {"message": message, "code": 400}}, "400 Bad Request"), answer("Hi there")],
            Success(text="Hi there"),
            ways=("chat", "chat_stream"),
            messages=[_SYSTEM, _USER, _YES, {**_SYSTEM, "content": "The door opened."}],
            turns=2,
            requests=3,
            saw=_without_system(allowed),
        )
        for case_id, message, allowed in (
            ("qwen-late-system", "System message must be at the beginning.", 1),
            ("gemma-no-system", "System role not supported", 0),
            ("openai-o1-no-system", "'messages[0].role' does not support 'system' with this model", 0),
        )
    ],
    _history(
        "history-image-parts",
        "parts of a user's message are sent as they are",
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                ],
            }
        ],
        lambda messages: messages[0]["content"][1]["image_url"]["url"] == "data:image/png;base64,AA==",
    ),
)
