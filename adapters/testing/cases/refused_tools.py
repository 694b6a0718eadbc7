"""Models and servers without tools: an error, or an answer where the request wants text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.testing.answers import answer, reply
from adapters.testing.case import CALLING, CHAT, CHAT_STREAM, STREAMS, Failure, Success, WireCase
from adapters.testing.cases.common import HISTORY, SUNNY

if TYPE_CHECKING:
    from adapters.testing.answers import JsonObject, Script
    from adapters.testing.server import Seen


def _refused(body: JsonObject, status: str = "400 Bad Request") -> Script:
    return reply(body, status)


def _no_tools(seen: Seen) -> bool:
    first, second = seen.bodies
    return "tools" in first and not {"tools", "tool_choice"} & set(second) and "'role': 'tool'" not in str(second)


def _unable(case_id: str, why: str, status: str, body: JsonObject, kind: str) -> tuple[WireCase, WireCase]:
    """Make the cases of a model without tools: an error, or an answer where the request wants text."""
    failure = Failure(
        ("NotFoundError", "BadRequestError"), status_code=int(status[:3]), retryable=False, says=("tool",)
    )
    return (
        WireCase(
            case_id,
            why,
            [_refused(body, status)],
            failure,
            ways=CALLING,
            tools=True,
            kind=kind,
            options={"retry": {"attempts": 3, "initial_wait_s": 0.01}},
        ),
        WireCase(
            f"{case_id}-in-chat-stream",
            why,
            [_refused(body, status), answer(SUNNY)],
            Success(text=SUNNY),
            ways=CHAT_STREAM,
            tools=True,
            kind=kind,
            messages=HISTORY,
            requests=2,
            saw=_no_tools,
        ),
    )


CASES: Final = (
    *_unable(
        "openrouter-no-endpoint-with-tools",
        "no endpoint of this model can use tools",
        "404 Not Found",
        {"error": {"message": 'No endpoints found that support tool use. Try disabling "get_weather".', "code": 404}},
        "openrouter",
    ),
    *_unable(
        "openrouter-no-endpoint-with-tool-choice",
        "no endpoint of this model knows this tool_choice",
        "404 Not Found",
        {"error": {"message": "No endpoints found that support the provided 'tool_choice' value.", "code": 404}},
        "openrouter",
    )[1:],
    *_unable(
        "ollama-model-without-tools",
        "the template of this model knows no tools",
        "400 Bad Request",
        {"error": {"message": "registry.ollama.ai/library/m does not support tools", "type": "api_error"}},
        "ollama",
    ),
    *_unable(
        "llamacpp-needs-jinja",
        "the server was started without its template engine",
        "500 Internal Server Error",
        {"error": {"code": 500, "message": "tools param requires --jinja flag", "type": "server_error"}},
        "openai_compatible",
    )[1:],
    WireCase(
        "openrouter-no-endpoint-with-tools-remembered",
        "the second turn needs no further request",
        [
            _refused({"error": {"message": "No endpoints found that support tool use.", "code": 404}}, "404 Not Found"),
            answer(SUNNY),
        ],
        Success(text=SUNNY),
        ways=CHAT_STREAM,
        kind="openrouter",
        tools=True,
        turns=2,
        requests=3,
        saw=lambda seen: "tools" not in seen.bodies[2],
    ),
    WireCase(
        "openrouter-no-endpoint-for-data-policy",
        "the account's privacy settings exclude every endpoint",
        [
            _refused(
                {"error": {"message": "No endpoints found matching your data policy.", "code": 404}}, "404 Not Found"
            )
        ],
        Failure("NotFoundError", status_code=404, retryable=False, says=("data policy",)),
        ways=(*CHAT, *STREAMS),
        kind="openrouter",
        tools=True,
    ),
    WireCase(
        "openrouter-no-endpoint-for-parameters",
        "no endpoint of this model supports all parameters; the address is right",
        [
            _refused(
                {"error": {"message": "No endpoints found that can handle the requested parameters.", "code": 404}},
                "404 Not Found",
            )
        ],
        Failure(
            "BadRequestError", status_code=404, retryable=False, says=("Drop response_format",), hides=("base_url",)
        ),
        kind="openrouter",
        kwargs={"response_format": {"type": "json_object"}},
    ),
)
