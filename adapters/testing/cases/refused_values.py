"""Servers that reject a value rather than a parameter, and servers that do not accept reasoning in the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.testing.answers import answer, call, reply
from adapters.testing.case import CHAT, Failure, WireCase
from adapters.testing.cases.common import HI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.testing.server import Seen
    from adapters.types import Json


def _refusal(message: str, param: str | None = None, code: str | None = None) -> Json:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return reply({"error": error}, "400 Bad Request")


def _limits(case_id: str, refusal: Json, limit: int) -> Sequence[WireCase]:
    """Make the cases of a server that limits answers: the limit is obeyed once, and remembered."""

    def holds(seen: Seen) -> bool:
        first, *others = seen.bodies
        return first["max_tokens"] > limit and others != [] and all(body["max_tokens"] == limit for body in others)

    why = f"max_tokens may be {limit} at most, and the server says so"
    steps = [refusal, answer("Hi there")]
    fields: dict[str, Json] = {"saw": holds, "options": {"max_tokens": 50_000}}
    return (
        WireCase(case_id, why, steps, HI, requests=2, **fields),
        WireCase(f"{case_id}-remembered", why, steps, HI, turns=2, requests=3, ways=CHAT, **fields),
    )


def _refuses_field(name: str, case_id: str, refusal: Json) -> WireCase:
    """Make the case of a server that does not accept reasoning in the history."""
    return WireCase(
        case_id,
        f"{name} of an assistant's message is refused by name",
        [refusal, answer("Hi there")],
        HI,
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello.", name: "They greet."},
            {"role": "user", "content": "How are you?"},
        ],
        turns=2,
        requests=3,
        ways=CHAT,
        saw=lambda seen: name in str(seen.bodies[0]) and not any(name in str(body) for body in seen.bodies[1:]),
    )


_SIGNED: Final = {"google": {"thought_signature": "c2ln"}}
_TOO_LARGE: Final = "This model supports at most 16384 completion tokens, whereas you provided 50000."

CASES: Final = (
    *_limits(
        "openai-max-tokens-too-large",
        _refusal(f"max_tokens is too large: 50000. {_TOO_LARGE}", param="max_tokens", code="invalid_value"),
        16_384,
    ),
    *_limits(
        "groq-max-tokens-too-large",
        _refusal(
            "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the "
            "`context_window` for this model",
            param="max_tokens",
        ),
        8_192,
    ),
    *_limits(
        "deepseek-max-tokens-too-large",
        _refusal("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", code="invalid_request_error"),
        8_192,
    ),
    *_limits(
        "mlx-max-tokens-above-the-limit",
        _refusal("max_tokens 50000 exceeds server limit (4096)"),
        4_096,
    ),
    WireCase(
        "openai-effort-beside-tools",
        "to leave reasoning_effort out does not help: its own words name the value (danny-avila/LibreChat#14231)",
        [
            _refusal(
                "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use "
                "function tools, use /v1/responses or set reasoning_effort to 'none'.",
                param="reasoning_effort",
            ),
            answer("Hi there"),
        ],
        HI,
        tools=True,
        turns=2,
        requests=3,
        ways=CHAT,
        kwargs={"reasoning_effort": "low"},
        saw=lambda seen: [body["reasoning_effort"] for body in seen.bodies] == ["low", "none", "none"],
    ),
    WireCase(
        "limit-that-is-refused-too",
        "a server that names another limit each time: its error is reported",
        [
            _refusal(f"max_tokens is too large: 50000. {_TOO_LARGE}", param="max_tokens", code="invalid_value"),
            _refusal("max_tokens is too large: it supports at most 100 tokens.", param="max_tokens"),
        ],
        Failure("BadRequestError", status_code=400, retryable=False, says=("at most 100",)),
        requests=2,
        options={"max_tokens": 50_000},
    ),
    WireCase(
        "value-that-is-not-supported",
        "a parameter with a wrong value is not left out: it is the caller's mistake",
        [
            _refusal(
                "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values "
                "are: 'low', 'medium', and 'high'.",
                param="reasoning_effort",
                code="unsupported_value",
            )
        ],
        Failure("BadRequestError", status_code=400, retryable=False, says=("Supported values are",)),
        kwargs={"reasoning_effort": "minimal"},
    ),
    _refuses_field(
        "reasoning_content",
        "groq-reasoning-content",
        _refusal(
            "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property "
            "'reasoning_content' is unsupported)]"
        ),
    ),
    WireCase(
        "groq-extra-content",
        "what another provider wants back with a call is refused by name",
        [
            _refusal(
                "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1.tool_calls.0' : "
                "property 'extra_content' is unsupported)]"
            ),
            answer("Hi there"),
        ],
        HI,
        messages=[
            {"role": "user", "content": "Lights off."},
            {"role": "assistant", "content": None, "tool_calls": [call("lights_off", "{}", extra_content=_SIGNED)]},
            {"role": "tool", "tool_call_id": "call00001", "name": "lights_off", "content": "done"},
        ],
        tools=True,
        turns=2,
        requests=3,
        saw=lambda seen: (
            [str(body["messages"]).count("lights_off") for body in seen.bodies] == [2, 2, 2]
            and ["extra_content" in str(body) for body in seen.bodies] == [True, False, False]
        ),
    ),
    _refuses_field(
        "reasoning",
        "mistral-reasoning",
        reply(
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "messages", 1, "assistant", "reasoning"],
                        "msg": "Extra inputs are not permitted",
                        "input": "They greet.",
                    }
                ]
            },
            "422 Unprocessable Entity",
        ),
    ),
)
