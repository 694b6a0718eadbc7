"""HTTP errors: every status and every shape of body, none of which is spoken unchanged."""

from __future__ import annotations

import gzip
from typing import Final

from adapters.testing.answers import http, http_chunk, reply
from adapters.testing.case import Failure, WireCase
from adapters.testing.cases.common import http_error, refused

_LONG = "x " * 200_000
_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title><style>p{}</style></head>"
    b"<body><h1>502 Bad Gateway</h1>" + b"<p>cloudflare</p>" * 500 + b"</body></html>"
)


_STATUSES = (
    ("400 Bad Request", "BadRequestError", False),
    ("401 Unauthorized", "AuthenticationError", False),
    ("402 Payment Required", "PaymentRequiredError", False),
    ("403 Forbidden", "PermissionDeniedError", False),
    ("404 Not Found", "NotFoundError", False),
    ("405 Method Not Allowed", "NotFoundError", False),
    ("408 Request Timeout", "InternalServerError", True),
    ("409 Conflict", "InternalServerError", True),
    ("413 Payload Too Large", "BadRequestError", False),
    ("422 Unprocessable Entity", "BadRequestError", False),
    ("424 Failed Dependency", "InternalServerError", True),
    ("425 Too Early", "InternalServerError", True),
    ("429 Too Many Requests", "RateLimitError", True),
    ("500 Internal Server Error", "InternalServerError", True),
    ("502 Bad Gateway", "InternalServerError", True),
    ("503 Service Unavailable", "InternalServerError", True),
    ("504 Gateway Timeout", "InternalServerError", True),
    ("524 A Timeout Occurred", "InternalServerError", True),
    ("529 Overloaded", "InternalServerError", True),
)

_SHAPES: tuple[tuple[str, str, bytes], ...] = (
    ("openai-error-object", "{'error': {'message': …}}", b'{"error":{"message":"It broke","type":"x","code":null}}'),
    ("tgi-error-string", "{'error': '…'}", b'{"error":"It broke","error_type":"generation"}'),
    ("fastapi-detail-string", "{'detail': '…'}", b'{"detail":"It broke"}'),
    (
        "fastapi-detail-list",
        "{'detail': [{'msg': …}]}",
        b'{"detail":[{"loc":["body","x"],"msg":"It broke","type":"y"}]}',
    ),
    ("mistral-detail-object", "{'detail': {'message': …}}", b'{"detail":{"message":"It broke"}}'),
    ("vllm-flat", "{'object': 'error', 'message': …}", b'{"object":"error","message":"It broke","code":500}'),
    ("aws-message", "{'message': …}", b'{"message":"It broke"}'),
    ("graphql-errors", "{'errors': [{'message': …}]}", b'{"errors":[{"message":"It broke"}]}'),
    ("google-error-list", "[{'error': {'message': …}}]", b'[{"error":{"code":500,"message":"It broke"}}]'),
    ("express-plain-text", "text", b"It broke"),
    (
        "vllm-error-as-event",
        "an error event although the status is no 200",
        b'data: {"error":{"message":"It broke"}}\n\n',
    ),
    ("proxy-bom-before-error", "JSON after a byte order mark", b'\xef\xbb\xbf{"error":{"message":"It broke"}}'),
    ("gateway-error-in-error", "{'error': {'error': {'message': …}}}", b'{"error":{"error":{"message":"It broke"}}}'),
    (
        "gateway-json-in-message",
        "the message is JSON itself",
        b'{"error":{"message":"{\\"error\\":{\\"message\\":\\"It broke\\"}}"}}',
    ),
)

_EMPTY_SHAPES = (
    ("nothing", b""),
    ("null", b"null"),
    ("empty-object", b"{}"),
    ("null-message", b'{"error":{"message":null,"code":null}}'),
    ("half-json", b'{"error":{"mess'),
    ("binary", b"\x00\xff\xfe\x01"),
)

CASES: Final = (
    *[
        http_error(
            f"status-{status[:3]}",
            f"HTTP {status}",
            status,
            {"error": {"message": "It broke"}},
            refused(kind, int(status[:3]), "It broke", retryable=retryable),
        )
        for status, kind, retryable in _STATUSES
    ],
    http_error(
        "status-418",
        "an unusual status",
        "418 I'm a teapot",
        {"error": {"message": "short and stout"}},
        refused("APIError", 418, "short and stout"),
    ),
    http_error(
        "openrouter-500-one-request",
        "one try is one request on this route too",
        "500 Internal Server Error",
        {"error": {"message": "It broke", "code": 500}},
        refused("InternalServerError", 500, "It broke", retryable=True),
        kind="openrouter",
    ),
    *[
        WireCase(
            f"{name}-500",
            f"the body is {why}",
            [[http(body, "500 Internal Server Error", "application/json")]],
            refused("InternalServerError", 500, "It broke", retryable=True, hides=("{", "data:")),
        )
        for name, why, body in _SHAPES
    ],
    *[
        WireCase(
            f"error-body-{name}",
            f"the body is {body!r}",
            [[http(body, "500 Internal Server Error")]],
            refused("InternalServerError", 500, retryable=True, hides=("none", "null")),
        )
        for name, body in _EMPTY_SHAPES
    ],
    WireCase(
        "cloudflare-502-page",
        "the title of an HTML page is the message",
        [[http(_PAGE, "502 Bad Gateway", "text/html; charset=UTF-8")]],
        refused("InternalServerError", 502, "Bad Gateway", retryable=True, hides=("<", "cloudflare")),
    ),
    WireCase(
        "nginx-404-page",
        "a wrong base URL",
        [
            [
                http(
                    b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>",
                    "404 Not Found",
                    "text/html",
                )
            ]
        ],
        refused("NotFoundError", 404, hides=("<",)),
    ),
    WireCase(
        "azure-gzip-error",
        "a compressed error body",
        [[http(gzip.compress(b'{"error":{"message":"It broke"}}'), "500 Oops", content_encoding="gzip")]],
        refused("InternalServerError", 500, "It broke", retryable=True),
    ),
    http_error(
        "proxy-400-kilobyte-error",
        "a message that is the whole prompt",
        "400 Bad Request",
        {"error": {"message": f"Invalid prompt: {_LONG}"}},
        refused("BadRequestError", 400, "Invalid prompt"),
        within_s=2.0,
    ),
    WireCase(
        "proxy-error-body-never-ends",
        "the body never ends",
        [[b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n", http_chunk(b'{"error":'), "hang"]],
        Failure(("InternalServerError", "APITimeoutError"), retryable=True),
        options={"timeouts": {"connect_s": 0.4, "first_token_s": 0.4, "stall_s": 0.4, "total_s": 0.6}},
        within_s=2.5,
    ),
    *[
        WireCase(
            f"redirect-{status[:3]}",
            "a redirect would lose the body of the POST: the base URL is wrong",
            [[http(b"", status, location="https://example.com/login")]],
            Failure("APIError", status_code=int(status[:3]), retryable=False, says=("base",)),
        )
        for status in ("301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect")
    ],
    WireCase(
        "request-id-is-kept",
        "the server's id of the request is kept for its operator",
        [reply({"error": {"message": "It broke"}}, "500 Oops", x_request_id="req_abc123")],
        Failure("InternalServerError", holds=lambda error: error.request_id == "req_abc123"),
    ),
    WireCase(
        "no-hidden-retries-with-attempts",
        "a rejected request is not retried",
        [reply({"error": {"message": "It broke"}}, "400 Bad Request")],
        refused("BadRequestError", 400),
        options={"retry": {"attempts": 3, "initial_wait_s": 0.01}},
    ),
)
