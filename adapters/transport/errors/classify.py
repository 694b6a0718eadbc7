"""What sort of failure a server's answer is: its class, and whether asking again may help.

The status and the machine-readable code decide; the wording of a server decides only what no status can tell (a
conversation that is too long, a model without tools). How it is told to a person is ``failures``' business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from adapters.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextWindowExceededError,
    IncompleteResponseError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.errors import UpstreamError

_BY_STATUS: Mapping[int, type[APIError]] = {
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: NotFoundError,
    410: NotFoundError,
    429: RateLimitError,
} | dict.fromkeys((408, 409, 424, 425, 498, 499), InternalServerError)

_BAD_KEY = re.compile(r"invalid_api_key|api_key_invalid|no_db_connection|api key not valid", re.IGNORECASE)  # with 400
_GARBLED_CALL = re.compile(r"\btool_error\b")
_BY_CODE: tuple[tuple[str, type[APIError]], ...] = (
    (r"insufficient_quota|insufficient_credit|billing|payment", PaymentRequiredError),
    (r"rate_?limit|too_many_requests", RateLimitError),
    (r"invalid_api_key|authentication|unauthorized", AuthenticationError),
    (r"permission|forbidden", PermissionDeniedError),
    (r"not_?found", NotFoundError),
    (r"invalid_request|bad_?request|validation|tool_use_failed|unsupported", BadRequestError),
)

_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|contextwindow|maximum context|prompt is too long|too many tokens"
    r"|max_new_tokens` must be|reduce the length of the (?:messages|input|prompt)",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content[ _](?:filter|policy|management)|moderation|flagged", re.IGNORECASE)
_NO_TOOLS = re.compile(
    r"support(?:s)? (?:tool|function)|does not support tools|tools? (?:is|are) not supported"
    r"|requires --enable-auto-tool-choice|tools param requires|unsupported param: tools",
    re.IGNORECASE,
)
_STARTED_WITHOUT_TOOLS = re.compile(r"--enable-auto-tool-choice|--tool-call-parser|--jinja", re.IGNORECASE)
_OVER_BUDGET = re.compile(r"budget_exceeded|exceeded ?budget|budget has been exceeded|crossed budget", re.IGNORECASE)
_NO_FORMAT = re.compile(
    r"\b(?:response_format|json_schema|structured[ _]outputs?|json mode)\b[^.]*"
    r"(?:\bnot |unsupported|unknown|unrecognized|unavailable)"
    r"|(?:\bnot (?:support|take|allow|permit)|unsupported|unknown|unrecognized|no endpoints found that support)[^.]*"
    r"\b(?:response_format|json_schema|structured[ _]outputs?|json mode)\b",
    re.IGNORECASE,
)
_NO_ENDPOINT = re.compile(r"\bno endpoints found\b", re.IGNORECASE)  # OpenRouter, with 404
_NOT_ALL = re.compile(r"\bno endpoints found that can handle\b", re.IGNORECASE)
_FORMAT_REFUSED = (400, 404, 422, 500, 501)  # llama.cpp refuses parameters with 500, OpenRouter with 404
_WRONG_PATH = re.compile(r"unexpected endpoint|file not found|no route", re.IGNORECASE)


def class_of(failure: UpstreamError) -> type[APIError]:
    """The class of the error that a server's answer amounts to."""
    kind = _class_by_status(failure.status) or _class_by_code(failure.codes)
    if lacks_format(failure) or lacks_parameters(failure):
        kind = BadRequestError  # whatever the status: asked again, it will refuse again
    said = f"{failure.codes} {failure.message}"
    if kind is BadRequestError and _BAD_KEY.search(said):
        return AuthenticationError
    no_money = kind is RateLimitError and re.search(r"insufficient_quota|billing", failure.codes)
    if no_money or (issubclass(kind, BadRequestError | RateLimitError) and is_over_budget(failure)):
        return PaymentRequiredError  # a LiteLLM proxy says that its budget is spent with 400, 422 or 429
    if issubclass(kind, BadRequestError | InternalServerError) and _TOO_LONG.search(said):
        return ContextWindowExceededError
    if issubclass(kind, BadRequestError | PermissionDeniedError) and (failure.is_flagged or _FILTERED.search(said)):
        return ContentFilterError
    if _GARBLED_CALL.search(failure.codes):
        return IncompleteResponseError  # text-generation-inference could not read what the model wrote as a call
    return NotFoundError if _WRONG_PATH.search(failure.message) else kind


def _class_by_status(status: int | None) -> type[APIError] | None:
    if status is None:
        return None
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:  # noqa: PLR2004 - redirects: the answer is somewhere else
        return NotFoundError
    return InternalServerError if status >= 500 else BadRequestError  # noqa: PLR2004 - the classes of HTTP


def _class_by_code(codes: str) -> type[APIError]:
    """A server that failed in the middle of a 200 without a word we know failed for reasons of its own."""
    return next((kind for pattern, kind in _BY_CODE if re.search(pattern, codes)), InternalServerError)


def is_retryable(kind: type[APIError], failure: UpstreamError, wait_s: float | None) -> bool:
    """Whether the same request may succeed later.

    Args:
        kind: The class of the error.
        failure: What the server said.
        wait_s: When it wants to be asked again, or None.
    """
    if kind is PaymentRequiredError:
        # OpenRouter: the money is only held by requests in flight, and comes back.
        return wait_s is not None and "in_flight" in str(failure.metadata.get("reason", ""))
    return issubclass(kind, RateLimitError | InternalServerError | IncompleteResponseError)


def lacks_tools(failure: UpstreamError) -> bool:
    """Whether the server says that this model, or this server, cannot use tools at all."""
    return _NO_TOOLS.search(failure.message) is not None


def is_started_without_tools(failure: UpstreamError) -> bool:
    """Whether the server names the option that it should have been started with; it says so better than we could."""
    return _STARTED_WITHOUT_TOOLS.search(failure.message) is not None


def is_over_budget(failure: UpstreamError) -> bool:
    """Whether what the operator allows to be spent has been spent."""
    return _OVER_BUDGET.search(f"{failure.codes} {failure.message}") is not None


def lacks_format(failure: UpstreamError) -> bool:
    """Whether the server says that it cannot answer in the form that was asked for (``response_format``)."""
    return failure.status in _FORMAT_REFUSED and _NO_FORMAT.search(failure.message) is not None


def lacks_parameters(failure: UpstreamError) -> bool:
    """Whether nobody who runs this model can do all that was asked for together (OpenRouter)."""
    return _NOT_ALL.search(failure.message) is not None


def lacks_endpoint(failure: UpstreamError) -> bool:
    """Whether nobody who runs this model may be, or can be, asked (OpenRouter)."""
    return _NO_ENDPOINT.search(failure.message) is not None


def is_wrong_path(failure: UpstreamError) -> bool:
    """Whether the server says that nothing stands at this address, in words of its own."""
    return _WRONG_PATH.search(failure.message) is not None
