"""HTTP errors that are easily misread, rejections with a class of their own, and secrets in error messages."""

from __future__ import annotations

import json
from typing import Final

from adapters.testing.answers import http
from adapters.testing.case import KEY, Failure, WireCase
from adapters.testing.cases.common import http_error, refused

_FLAGGED = "the very words that were said"


CASES: Final = (
    http_error(
        "misread-rate-limit",
        "a 400 that mentions a rate limit stays a 400",
        "400 Bad Request",
        {"error": {"message": "tool `set_rate_limit` has an invalid schema", "code": 400}},
        refused("BadRequestError", 400, "set_rate_limit"),
    ),
    http_error(
        "misread-413-rate-limit",
        "a request that is too large for the plan",
        "413 Payload Too Large",
        {
            "error": {
                "message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
        Failure(("BadRequestError", "RateLimitError"), status_code=413, says=("Request too large",)),
        kind="groq",
    ),
    http_error(
        "misread-401-in-text",
        "a 500 that mentions a 401 stays a 500",
        "500 Internal Server Error",
        {"error": {"message": "upstream said 401 invalid api key", "code": 500}},
        refused("InternalServerError", 500, "upstream said", retryable=True),
    ),
    http_error(
        "status-beats-body-code",
        "status and code disagree: the status counts",
        "503 Service Unavailable",
        {"error": {"message": "It broke", "code": 400}},
        refused("InternalServerError", 503, "It broke", retryable=True),
    ),
    http_error(
        "ollama-model-not-pulled",
        "the model is missing; an agent would read 'not found' as a missing tool",
        "404 Not Found",
        {"error": {"message": 'model "m" not found, try pulling it first', "type": "api_error"}},
        refused("NotFoundError", 404, "m"),
        kind="ollama",
    ),
    http_error(
        "vllm-unknown-model",
        "the model is missing",
        "404 Not Found",
        {"error": {"message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404}},
        refused("NotFoundError", 404, "m"),
    ),
    *[
        http_error(
            case_id,
            "the conversation is too long for the model",
            status,
            body,
            refused("ContextWindowExceededError", int(status[:3])),
        )
        for case_id, status, body in (
            (
                "openai-context-length",
                "400 Bad Request",
                {"error": {"message": "Your messages resulted in 9001 tokens.", "code": "context_length_exceeded"}},
            ),
            (
                "vllm-context-length",
                "400 Bad Request",
                {
                    "error": {
                        "message": "This model's maximum context length is 1024 tokens. However, you asked for 2000.",
                        "type": "BadRequestError",
                        "code": 400,
                    }
                },
            ),
            (
                "llamacpp-context-length",
                "400 Bad Request",
                {
                    "error": {
                        "code": 400,
                        "message": "request (6014 tokens) exceeds the available context size (1024 tokens)",
                        "type": "exceed_context_size_error",
                        "n_prompt_tokens": 6014,
                        "n_ctx": 1024,
                    }
                },
            ),
            (
                "tgi-context-length",
                "422 Unprocessable Entity",
                {
                    "error_type": "validation",
                    "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
                },
            ),
            (
                "openrouter-context-length",
                "400 Bad Request",
                {
                    "error": {
                        "code": 400,
                        "message": "This endpoint's maximum context length is 4096 tokens. However, you want 9000.",
                    }
                },
            ),
        )
    ],
    *[
        http_error(
            case_id,
            "moderation refused the request",
            status,
            {"error": error},
            refused("ContentFilterError", int(status[:3]), hides=(_FLAGGED,)),
        )
        for case_id, status, error in (
            (
                "azure-content-filter",
                "400 Bad Request",
                {
                    "message": "The response was filtered due to the prompt triggering content management policy.",
                    "code": "content_filter",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                },
            ),
            (
                "openai-content-policy",
                "400 Bad Request",
                {"message": "Your request was rejected by our safety system.", "code": "content_policy_violation"},
            ),
            (
                "openrouter-moderation",
                "403 Forbidden",
                {
                    "code": 403,
                    "message": "m requires moderation. Your input was flagged.",
                    "metadata": {"reasons": ["violence"], "flagged_input": _FLAGGED, "provider_name": "OpenAI"},
                },
            ),
        )
    ],
    http_error(
        "server-quotes-key",
        "the configured key is in the message",
        "401 Unauthorized",
        {"error": {"message": f"Incorrect API key provided: {KEY}. You can find your key at …"}},
        refused("AuthenticationError", 401, "Incorrect API key provided"),
    ),
    *[
        http_error(
            f"server-quotes-{name}",
            "a secret is in the message",
            "400 Bad Request",
            {"error": {"message": f"Upstream refused {secret} again"}},
            refused("BadRequestError", 400, "Upstream refused", hides=("abcdef",)),
        )
        for name, secret in (
            ("openai-key", "sk-proj-abcdef0123456789abcdef"),
            ("openrouter-key", "sk-or-v1-abcdef0123456789abcdef"),
            ("groq-key", "gsk_abcdef0123456789abcdef"),
            ("bearer", "Authorization: Bearer abcdef0123456789"),
            ("url-credentials", "https://user:abcdef0123456789@example.com/v1"),
        )
    ],
    WireCase(
        "html-title-quotes-key",
        "a secret is in the title of a page",
        [[http(f"<html><title>{json.dumps(KEY)} is wrong</title></html>".encode(), "401 Unauthorized", "text/html")]],
        refused("AuthenticationError", 401),
    ),
)
