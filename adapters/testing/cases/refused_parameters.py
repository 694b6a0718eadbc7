"""Servers that reject a parameter by name: the request is sent again without it, as are all later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.testing.answers import answer, reply
from adapters.testing.case import ALL, CALLING, CHAT, STREAMS, Failure, WireCase
from adapters.testing.cases.common import HI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.testing.answers import JsonObject
    from adapters.testing.server import Seen
    from adapters.types import Json


def _refusal(message: str, status: str = "400 Bad Request", param: str | None = None, code: str | None = None) -> Json:
    return reply({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}, status)


def _without(name: str, instead: str | None = None) -> Json:
    """Make the condition that all requests but the first lack a parameter, and hold another with its value instead."""

    def holds(seen: Seen) -> bool:
        first, *others = seen.bodies
        swapped = instead is None or all(body[instead] == first[name] for body in others)
        return name in first and swapped and others != [] and all(name not in body for body in others)

    return holds


def _drops(name: str, case_id: str, refusal: Json, instead: str | None = None, **fields: Json) -> Sequence[WireCase]:
    """Make the cases of one refused parameter: dropped once, and remembered in the next turn."""
    steps = [refusal, answer("Hi there")]
    why = f"{name} is refused by name"
    saw = _without(name, instead)
    return (
        WireCase(case_id, why, steps, HI, requests=2, saw=saw, **fields),
        WireCase(
            f"{case_id}-remembered",
            why,
            steps,
            HI,
            turns=2,
            requests=3,
            saw=saw,
            **{**fields, "ways": CHAT} if CHAT[0] in fields.get("ways", ALL) else {**fields, "ways": STREAMS},
        ),
    )


def _forbidden(name: str) -> JsonObject:
    """Build the rejection of a strict pydantic server."""
    loc = ["body", name]
    return {"detail": [{"type": "extra_forbidden", "loc": loc, "msg": "Extra inputs are not permitted", "input": 1}]}


CASES: Final = (
    *_drops(
        "temperature",
        "openai-o1-temperature",
        _refusal(
            "Unsupported value: 'temperature' does not support 0.7. Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        ),
    ),
    *_drops(
        "temperature",
        "openrouter-temperature",
        _refusal("temperature is not supported by this model"),
        kind="openrouter",
    ),
    *_drops(
        "max_tokens",
        "openai-o1-max-tokens",
        _refusal(
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        ),
        "max_completion_tokens",
    ),
    *_drops(
        "max_completion_tokens",
        "mistral-max-completion-tokens",
        reply(_forbidden("max_completion_tokens"), "422 Unprocessable Entity"),
        "max_tokens",
        kwargs={"max_completion_tokens": 50},
    ),
    *_drops(
        "stream_options",
        "mistral-stream-options",
        reply(_forbidden("stream_options"), "422 Unprocessable Entity"),
        ways=STREAMS,
    ),
    *_drops(
        "stream_options",
        "azure-old-stream-options",
        _refusal("Unrecognized request argument supplied: stream_options"),
        ways=STREAMS,
    ),
    *_drops(
        "parallel_tool_calls",
        "openai-o1-parallel-tool-calls",
        _refusal(
            "Unsupported parameter: 'parallel_tool_calls' is not supported with this model.",
            param="parallel_tool_calls",
            code="unsupported_parameter",
        ),
        tools=True,
        kwargs={"parallel_tool_calls": False},
    ),
    *_drops(
        "tool_choice",
        "tgi-tool-choice",
        _refusal("Unknown parameter: 'tool_choice'.", param="tool_choice", code="unknown_parameter"),
        tools=True,
        ways=CALLING,
    ),
    *_drops(
        "temperature",
        "fastapi-temperature-with-flat-body",
        reply(
            {
                "object": "error",
                "message": "Unexpected keyword argument 'temperature'",
                "type": "BadRequestError",
                "code": 400,
            },
            "400 Bad Request",
        ),
    ),
    WireCase(
        "two-refused-parameters",
        "first one parameter is refused, then the other",
        [
            _refusal(
                "Unsupported parameter: 'max_tokens' is not supported with this model.",
                param="max_tokens",
                code="unsupported_parameter",
            ),
            _refusal(
                "Unsupported value: 'temperature' does not support 0.7 with this model.",
                param="temperature",
                code="unsupported_value",
            ),
            answer("Hi there"),
        ],
        HI,
        requests=3,
        saw=lambda seen: not {"temperature", "max_tokens"} & set(seen.bodies[2]),
    ),
    WireCase(
        "refused-parameter-forever",
        "a server that rejects the next request as well: its error is reported",
        [
            _refusal(
                "Unsupported parameter: 'temperature' is not supported with this model.",
                param="temperature",
                code="unsupported_parameter",
            )
        ],
        Failure("BadRequestError", status_code=400, retryable=False, says=("temperature",)),
        requests=2,
    ),
    WireCase(
        "vllm-auto-tool-choice-not-enabled",
        "the server was started without a parser for calls",
        [_refusal('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')],
        Failure("BadRequestError", status_code=400, retryable=False, says=("--enable-auto-tool-choice",)),
        ways=CALLING,
        tools=True,
        requests=2,
    ),
    WireCase(
        "refused-message-is-no-parameter",
        "a rejection that names no parameter is not sent again",
        [_refusal("messages.1.content: field required", param="messages.1.content")],
        Failure("BadRequestError", status_code=400, retryable=False, says=("field required",)),
        ways=ALL,
    ),
    WireCase(
        "refused-tool-names-a-parameter",
        "the word temperature in the schema of a tool is not the parameter",
        [
            _refusal(
                "Invalid schema for function 'set_temperature': 'temperatur' is not valid", param="tools[0].function"
            )
        ],
        Failure("BadRequestError", status_code=400, retryable=False, says=("set_temperature",)),
        tools=True,
    ),
)
