"""What several topics share: the usual call, the usual history, the usual errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from adapters.testing.answers import DONE, STOP, completion, event, reply, said
from adapters.testing.case import Failure, Success, WireCase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.testing.answers import JsonObject
    from adapters.testing.server import Seen

OSLO: Final = '{"city": "Oslo"}'
"""Arguments of the usual call."""

CALL_TEXT: Final = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
"""The usual call as a model writes it."""

WEATHER: Final[tuple[str, Mapping[str, Any]]] = ("get_weather", {"city": "Oslo"})
"""What a client makes of the usual call."""

LIGHTS: Final[tuple[str, Mapping[str, Any]]] = ("lights_off", {})
"""What a client makes of a second call, which has no arguments."""

SUNNY: Final = "It is sunny."
"""An answer without calls."""

HI: Final = Success(text="Hi there")
"""What a client makes of ``HI_EVENTS`` and ``HI_JSON``."""

HI_EVENTS: Final = (said("Hi"), said(" there"), STOP)
"""The chunks of a short stream."""

HI_SSE: Final = b"".join(map(event, HI_EVENTS)) + DONE
"""The same as a body."""

HI_JSON: Final = json.dumps(completion({"content": "Hi there"})).encode()
"""The body of the same answer in one piece."""

BROKEN: Final = ("APIConnectionError", "IncompleteResponseError")
"""What a broken body is: of the connection, or of the answer."""

GARBLED: Final = Failure("IncompleteResponseError", retryable=True, says=("Failed to call a function",))
"""Nothing came but a call that cannot be handed on; agents know the words and ask again."""

TWO_TRIES: Final = {"retry": {"attempts": 2, "initial_wait_s": 0.01, "max_wait_s": 1.0}}
"""Options of a provider that tries twice."""

HISTORY: Final = (
    {"role": "user", "content": "How is the weather in Oslo?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": OSLO}}],
    },
    {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "12 degrees"},
)
"""A conversation whose last message is the result of a tool."""


def head(*lines: str, version: str = "1.1") -> bytes:
    """Write the head of a success, with these header lines."""
    return "\r\n".join([f"HTTP/{version} 200 OK", *lines, "", ""]).encode()


def asked_in_plain_words(seen: Seen) -> bool:
    """Tell whether the second request holds the result of ``HISTORY`` as plain text, and no tools."""
    body = seen.bodies[1]
    roles = {message["role"] for message in body["messages"]}
    calls = any("tool_calls" in message for message in body["messages"])
    return not {"tools", "tool_choice"} & set(body) and "tool" not in roles and not calls and "12 degrees" in str(body)


def coded(code: object, message: str = "It broke") -> JsonObject:
    """Build an error body with a code."""
    return {"error": {"code": code, "message": message}}


def server_broke(message: str, status_code: int | None, after: str = "") -> Failure:
    """Expect that the server failed."""
    return Failure("InternalServerError", after=after, status_code=status_code, retryable=True, says=(message,))


def refused(
    kinds: str | tuple[str, ...], status_code: int, *says: str, retryable: bool = False, **fields: Any
) -> Failure:
    """Expect an HTTP error."""
    return Failure(kinds, status_code=status_code, retryable=retryable, says=says, **fields)


def http_error(case_id: str, why: str, status: str, body: object, expect: Failure, **fields: Any) -> WireCase:
    """Make one case of an HTTP error with a JSON body."""
    return WireCase(case_id, why, [reply(body, status)], expect, **fields)
