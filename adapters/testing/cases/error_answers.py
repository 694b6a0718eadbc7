"""Errors inside HTTP 200, as a whole answer and as the first event of a stream, in every shape that servers use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.testing.answers import STOP, Answer, completion, reply, stream
from adapters.testing.case import ANY, Failure, WireCase
from adapters.testing.cases.common import coded, server_broke

if TYPE_CHECKING:
    from adapters.testing.answers import JsonObject


def _shape(case_id: str, why: str, body: JsonObject, expect: Failure, kind: str = "openai_compatible") -> WireCase:
    """Make one case of an error body that comes as the whole answer, or as the first event."""
    return WireCase(case_id, why, [Answer(reply(body), stream(body))], expect, kind=kind)


_BY_CODE = (
    (400, "BadRequestError", False),
    (401, "AuthenticationError", False),
    (402, "PaymentRequiredError", False),
    (403, "PermissionDeniedError", False),
    (404, "NotFoundError", False),
    (408, "InternalServerError", True),
    (429, "RateLimitError", True),
    (502, "InternalServerError", True),
    (524, "InternalServerError", True),
)

_BY_WORD = (
    ("server_error", "InternalServerError", True),
    ("rate_limit_exceeded", "RateLimitError", True),
    ("overloaded_error", "InternalServerError", True),
    ("invalid_api_key", "AuthenticationError", False),
    ("context_length_exceeded", "ContextWindowExceededError", False),
    ("insufficient_quota", ("RateLimitError", "PaymentRequiredError"), ANY),
)

CASES: Final = (
    *[
        _shape(
            f"openrouter-200-error-{code}",
            f"HTTP 200 with the error code {code}",
            coded(code),
            Failure(kind, status_code=code, retryable=retryable, says=("It broke",)),
            "openrouter",
        )
        for code, kind, retryable in _BY_CODE
    ],
    *[
        _shape(
            f"openrouter-200-error-{word.replace('_', '-')}",
            f"HTTP 200 with the error code {word!r}",
            coded(word),
            Failure(kind, status_code=None, retryable=retryable, says=("It broke",)),
            "openrouter",
        )
        for word, kind, retryable in _BY_WORD
    ],
    _shape(
        "litellm-proxy-200-code-string",
        "the code is a number in a string",
        {"error": {"message": "It broke", "type": "None", "param": "None", "code": "500"}},
        server_broke("It broke", 500),
    ),
    _shape(
        "lmstudio-200-error-string",
        "the error is a string",
        {"error": "Unexpected endpoint or method. (POST /chat/completions)"},
        Failure("APIError", status_code=None, says=("Unexpected endpoint or method",)),
    ),
    _shape(
        "tgi-200-overloaded",
        "the error is a string with a type beside it",
        {"error": "Model is overloaded", "error_type": "overloaded"},
        Failure(
            ("RateLimitError", "InternalServerError"), status_code=None, retryable=True, says=("Model is overloaded",)
        ),
    ),
    _shape(
        "tgi-200-http-status-code",
        "the status is in http_status_code",
        {"error": {"message": "Input validation error", "http_status_code": 422}},
        Failure("BadRequestError", status_code=422, retryable=False, says=("Input validation error",)),
    ),
    _shape(
        "groq-200-status-code",
        "the status is in status_code",
        {"error": {"message": "Bad tool", "type": "invalid_request_error", "code": "bad_thing", "status_code": 400}},
        Failure("BadRequestError", status_code=400, retryable=False, says=("Bad tool",)),
        "groq",
    ),
    _shape(
        "vllm-200-flat",
        "the error object is flat",
        {"object": "error", "message": "oops", "type": "BadRequestError", "param": None, "code": 400},
        Failure("BadRequestError", status_code=400, retryable=False, says=("oops",)),
    ),
    _shape(
        "openrouter-200-error-in-choice",
        "the error is in the choice",
        {
            "id": "gen-1",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "error",
                    "message": {"content": ""},
                    "delta": {"content": ""},
                    "error": {"code": 502, "message": "It broke"},
                }
            ],
        },
        server_broke("It broke", 502),
        "openrouter",
    ),
    _shape(
        "openrouter-200-provider-error-raw",
        "'Provider returned error' is completed from metadata.raw",
        {
            "error": {
                "message": "Provider returned error",
                "code": 429,
                "metadata": {"raw": "m is temporarily rate-limited upstream", "provider_name": "Chutes"},
            }
        },
        Failure("RateLimitError", status_code=429, retryable=True, says=("rate-limited upstream",)),
        "openrouter",
    ),
    _shape(
        "openrouter-200-provider-error-raw-json",
        "metadata.raw is JSON in a string",
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": '{"error":{"message":"Invalid schema for function","type":"invalid_request_error"}}'
                },
            }
        },
        Failure(
            "BadRequestError",
            status_code=400,
            retryable=False,
            says=("Invalid schema for function",),
            hides=("{", '\\"'),
        ),
        "openrouter",
    ),
    _shape(
        "clone-200-error-without-message",
        "the error object is empty but for a code",
        coded(503, ""),
        Failure("InternalServerError", status_code=503, retryable=True),
    ),
    WireCase(
        "openrouter-finish-error",
        "the finish reason is 'error', with the upstream's own word",
        [
            Answer(
                reply(
                    {
                        **completion({"content": None}),
                        "choices": [
                            {
                                "index": 0,
                                "message": {"content": None},
                                "finish_reason": "error",
                                "native_finish_reason": "MALFORMED_FUNCTION_CALL",
                            }
                        ],
                    }
                ),
                stream(
                    {
                        **STOP,
                        "choices": [
                            {
                                "index": 0,
                                "delta": {"content": ""},
                                "finish_reason": "error",
                                "native_finish_reason": "MALFORMED_FUNCTION_CALL",
                            }
                        ],
                    }
                ),
            )
        ],
        Failure(("InternalServerError", "IncompleteResponseError"), retryable=True),
        kind="openrouter",
        tools=True,
    ),
)
