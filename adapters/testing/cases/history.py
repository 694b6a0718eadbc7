"""The conversation that is sent: repaired for every server, and rewritten for one that insists on a shape."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import answer, reply
from adapters.testing.case import Failure, Success, WireCase
from adapters.testing.cases.common import HISTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adapters.testing.answers import JsonObject
    from adapters.testing.server import Seen
    from adapters.types import Message

_USER, _CALL, _RESULT = HISTORY
_SYSTEM = {"role": "system", "content": "Be brief."}
_YES = {"role": "assistant", "content": "Yes?"}
_STOP = {"role": "user", "content": "Stop."}
_PART = {"type": "text", "text": "12 degrees"}
_CACHED = {"type": "text", "text": "Rules.", "cache_control": {"type": "ephemeral"}}


def _history(
    case_id: str,
    why: str,
    messages: Sequence[Message],
    saw: Callable[[list[JsonObject]], object],
    *,
    parts: bool = False,
    **fields: Any,
) -> WireCase:
    """Make one case about the messages of the only request; the result of a tool may be parts in it, or only text."""
    return WireCase(
        case_id,
        why,
        [answer("Hi there")],
        Success(text="Hi there"),
        messages=messages,
        saw=lambda seen: (
            _valid(seen.bodies[0]["messages"], (str, list) if parts else str) and saw(seen.bodies[0]["messages"])
        ),
        **{"ways": ("chat", "chat_stream"), "tools": True, **fields},
    )


def _valid(messages: list[JsonObject], result_type: type | tuple[type, ...]) -> bool:
    """Return whether a strict server takes this conversation: each call has one result of this type behind it."""
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
            and all(isinstance(result["content"], result_type) for result in results)
        )
    return fine


def _without_system(allowed: int) -> Callable[[Seen], bool]:
    """Make the condition that all requests but the first have so many system messages at most, and all words."""
    return lambda seen: all(
        "Be brief." in str(body)
        and "The door opened." in body["messages"][-1]["content"]
        and _roles(body["messages"]).count("system") <= allowed
        for body in seen.bodies[1:]
    )


def _rewritten(
    case_id: str,
    why: str,
    messages: Sequence[Message],
    rejection: JsonObject,
    fits: Callable[[list[JsonObject]], object],
    status: str = "400 Bad Request",
    **fields: Any,
) -> WireCase:
    """Make one case of a server that rejects the shape of a history: rewritten once, and from then on."""
    return WireCase(
        case_id,
        why,
        [reply(rejection, status), answer("Hi there")],
        Success(text="Hi there"),
        messages=messages,
        turns=2,
        requests=3,
        saw=lambda seen: (
            not fits(seen.bodies[0]["messages"])
            and all(fits(body["messages"]) and _keeps_words(messages, body["messages"]) for body in seen.bodies[1:])
        ),
        **{"ways": ("chat", "chat_stream"), "tools": True, **fields},
    )


def _keeps_words(given: Sequence[Message], sent: list[JsonObject]) -> bool:
    """Return whether every text of a conversation is still in it."""
    texts = [message["content"] for message in given if isinstance(message["content"], str)]
    return all(text in json.dumps(sent, ensure_ascii=False) for text in texts)


def _alternates(messages: list[JsonObject]) -> bool:
    """Return whether users and assistants alternate from a user on, with results behind their calls."""
    roles = [role for role in _roles(messages) if role != "system"]
    pairs = {*itertools.pairwise(roles)}
    return roles[0] == "user" and not pairs & {("user", "user"), ("assistant", "assistant"), ("tool", "user")}


def _is_bridged(messages: list[JsonObject]) -> bool:
    """Return whether no user message follows a tool's result."""
    return ("tool", "user") not in {*itertools.pairwise(_roles(messages))}


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
        "a valid history is sent unchanged",
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
        "a call without a result gets a placeholder",
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
        "a result whose call fell out of the window is dropped",
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
        "a result of null becomes a string",
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
            "the model rejects a role: sent once more with user messages in its place",
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
    _rewritten(
        "mistral-user-after-tool",
        "a user who interrupts while a tool runs makes every later turn fail (avante-corp/avante.nvim#2562)",
        [_SYSTEM, *HISTORY, _STOP],
        {
            "object": "error",
            "message": "Unexpected role 'user' after role 'tool'",
            "type": "invalid_request_message_order",
            "param": None,
            "code": "3230",
        },
        _is_bridged,
    ),
    _rewritten(
        "mistral-user-after-tool-through-openrouter",
        "the same in metadata.raw",
        [_SYSTEM, *HISTORY, _STOP],
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": '{"object":"error","message":"Unexpected role \'user\' after role \'tool\'","code":"3230"}',
                    "provider_name": "Mistral",
                },
            }
        },
        _is_bridged,
        kind="openrouter",
    ),
    _rewritten(
        "ministral-two-users",
        "500 for two user messages, with a trace of the template (lmstudio-ai/lmstudio-bug-tracker#2218)",
        [_SYSTEM, _USER, _STOP],
        {
            "error": {
                "message": 'Engine protocol predict request returned 500: {"error":{"message":"\\n----\\nWhile'
                " executing CallExpression at line 46:\\n...raise_exception('After the optional system message, con..."
                "\\nError: Jinja Exception: After the optional system message, conversation roles must alternate user"
                ' and assistant roles except for tool calls and results."}}'
            }
        },
        _alternates,
        "500 Internal Server Error",
    ),
    _rewritten(
        "gemma-greeting",
        "a template that wants a user first gets one before the greeting of a voice agent",
        [_SYSTEM, _YES, _USER],
        {"error": {"message": "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/..."}},
        _alternates,
        "500 Internal Server Error",
    ),
    _rewritten(
        "gemma-everything-at-once",
        "a late system message, a user who interrupts, and an assistant that speaks twice",
        [
            _SYSTEM,
            _YES,
            *HISTORY,
            {**_SYSTEM, "content": "The door opened."},
            _STOP,
            _YES,
            {**_YES, "content": "So?"},
            _USER,
        ],
        {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/...", "code": 400}},
        _alternates,
    ),
    *[
        _rewritten(
            case_id,
            "an assistant message at the end",
            [_SYSTEM, _USER, _YES, {**_YES, "content": "I was saying"}],
            {"error": {"message": message, "type": "invalid_request_error"}},
            lambda messages: messages[-1]["role"] == "user",
            status,
        )
        for case_id, message, status in (
            (
                "claude-no-prefill",
                "This model does not support assistant message prefill. The conversation must end with a user message.",
                "400 Bad Request",
            ),
            (
                "llamacpp-two-assistants-at-the-end",
                "Cannot have 2 or more assistant messages at the end of the list.",
                "500 Internal Server Error",
            ),
            (
                "llamacpp-prefill-with-thinking",
                "Assistant response prefill is incompatible with enable_thinking.",
                "400 Bad Request",
            ),
            (
                "mistral-assistant-last",
                "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
                "400 Bad Request",
            ),
        )
    ],
    *[
        _rewritten(
            case_id,
            "no user message at all",
            messages,
            {"error": {"message": message}},
            lambda messages: "user" in _roles(messages),
        )
        for case_id, message, messages in (
            ("qwen-no-user", "Jinja Exception: No user query found in messages.", (_SYSTEM, *HISTORY[1:])),
            ("anthropic-no-message", "messages: at least one message is required", (_SYSTEM,)),
        )
    ],
    *[
        _rewritten(
            case_id,
            "a call that another model made has no reasoning",
            [_SYSTEM, *HISTORY],
            {"error": {"message": message, "type": "invalid_request_error"}},
            lambda messages: all("reasoning_content" in message for message in messages if "tool_calls" in message),
            ways=("chat",),
        )
        for case_id, message in (
            (
                "kimi-no-reasoning",
                "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
            ),
            ("deepseek-no-reasoning", "The `reasoning_content` in the thinking mode must be passed back to the API."),
        )
    ],
    WireCase(
        "history-that-is-refused-forever",
        "one rejection is one more request, and a server that goes on gets its error reported",
        [reply({"error": {"message": "Conversation roles must alternate user/assistant"}}, "500 Oops")],
        Failure("InternalServerError", status_code=500, says=("must alternate",)),
        messages=[_USER, _STOP],
        requests=2,
    ),
    WireCase(
        "history-that-has-the-shape",
        "a rejection that no rewrite can help is not sent again",
        [reply({"error": {"message": "This model does not support assistant message prefill."}}, "400 Bad Request")],
        Failure("BadRequestError", status_code=400, retryable=False, says=("prefill",)),
    ),
    _history(
        "history-result-with-cache-control",
        "a mark on the result of a tool survives",
        [_USER, _CALL, _result("call00001", [_CACHED])],
        lambda messages: messages[2]["content"] == [_CACHED],
        parts=True,
    ),
    _history(
        "openrouter-history-result-parts",
        "a server that takes parts as the result of a tool gets them as they are",
        [_USER, _CALL, _result("call00001", [_PART, _PART])],
        lambda messages: messages[2]["content"] == [_PART, _PART],
        kind="openrouter",
        parts=True,
    ),
    _rewritten(
        "deepseek-result-parts",
        "a server that refuses parts as the result of a tool gets text",
        [_USER, _CALL, _result("call00001", [_CACHED, _PART])],
        {
            "error": {
                "message": "Failed to deserialize the JSON body: messages[2]: invalid type: sequence, expected a string"
            }
        },
        lambda messages: messages[2]["content"] == "Rules.\n12 degrees",
        "422 Unprocessable Entity",
        ways=("chat",),
    ),
    _rewritten(
        "strict-server-cache-control",
        "a server that refuses the mark for a prompt cache gets the same words without it",
        [{"role": "system", "content": [_CACHED]}, _USER],
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "messages", 0, "content", 0, "cache_control"],
                    "msg": "Extra inputs are not permitted",
                }
            ]
        },
        lambda messages: messages == [{"role": "system", "content": "Rules."}, _USER],
        "422 Unprocessable Entity",
    ),
    _history(
        "history-image-parts",
        "the parts of a user message are sent unchanged",
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
