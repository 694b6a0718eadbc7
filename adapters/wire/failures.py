"""A bad exchange -> one of our errors, with a sentence that a person can hear.

The status and the machine-readable code decide the class; the wording of a server decides only what no status can
tell (a conversation that is too long, a model without tools). LiteLLM's wording decides nothing.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, TypeVar

import httpx

from adapters.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
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
from adapters.wire.redact import shorten
from adapters.wire.retry_after import retry_after_s

if TYPE_CHECKING:
    from adapters.wire.deadlines import DeadlineMissed
    from adapters.wire.origin import Origin
    from adapters.wire.upstream import UpstreamError

ErrorT = TypeVar("ErrorT", bound=APIError)

NO_CALL = "could not use a tool: Failed to call a function. Please ask again."
"""What is said of a call that nobody can read; agents look for these words, and ask again when they see them."""

LONGEST_TEXT_CHARS = 300
"""``str(error)`` is spoken; nobody listens to more."""

_BY_STATUS: dict[int, type[APIError]] = {
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: NotFoundError,
    410: NotFoundError,
    429: RateLimitError,
} | dict.fromkeys((408, 409, 424, 425, 498, 499), InternalServerError)

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
_NO_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
_WRONG_PATH = re.compile(r"unexpected endpoint|file not found|no route", re.IGNORECASE)
_BARE_NOT_FOUND = re.compile(r"^(?:404\b)?[\s:]*(?:page |file |url )?not found\.?$", re.IGNORECASE)
_SAYS_NOT_FOUND = re.compile(r"\b(?:was |is |were )?not found\b", re.IGNORECASE)
_ABOUT_TOOLS = re.compile(r"\b(?:tool|function)\b", re.IGNORECASE)


def rejected(failure: UpstreamError, origin: Origin) -> APIError:
    """The error for what a server said itself, in a status, in a 200, or in the middle of a stream."""
    kind = _class_of(failure)
    wait_s = retry_after_s(failure, time.time())
    return kind(
        _sentence(kind, failure, origin),
        provider=origin.provider,
        model=origin.model,
        status_code=failure.status,
        retryable=_is_retryable(kind, failure, wait_s),
        retry_after_s=wait_s,
        request_id=failure.headers.get("x-request-id") or failure.headers.get("x-litellm-call-id"),
    )


def lacks_tools(failure: UpstreamError) -> bool:
    """Whether the server says that this model, or this server, cannot use tools at all."""
    return _NO_TOOLS.search(failure.message) is not None


def disconnected(error: httpx.TransportError | httpx.DecodingError | None, origin: Origin) -> APIError:
    """The error for a connection that could not be made, or broke."""
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout | httpx.WriteTimeout):
        return _error(APITimeoutError, f"{origin.provider} could not be reached in time. Is it running?", origin)
    if isinstance(error, httpx.ConnectError):
        text = f"{origin.provider} could not be reached. Is it running, and is its base_url right?"
        return _error(APIConnectionError, text, origin)
    return _error(APIConnectionError, f"The connection to {origin.provider} broke. Please try again.", origin)


def late(missed: DeadlineMissed, origin: Origin) -> APIError:
    """The error for an answer that did not come, or did not go on, in time."""
    what = "stopped in the middle of its answer" if missed.limit == "stall_s" else "did not answer in time"
    return _error(APITimeoutError, f"{origin.provider} {what} ({missed.seconds:g} seconds). Please try again.", origin)


def incomplete(reason: str, origin: Origin, *, status: int | None = None) -> IncompleteResponseError:
    """The error for an answer that is empty, cut or garbled.

    Args:
        reason: What is wrong and what to do, to be put after the provider's name.
        origin: Whom it is about.
        status: HTTP status, if an error body brought one.
    """
    return _error(IncompleteResponseError, f"{origin.provider} {reason}", origin, status=status)


def filtered(origin: Origin) -> ContentFilterError:
    """The error for an answer that a content filter took away whole."""
    text = f"The content filter of {origin.provider} stopped the answer. Please ask in another way."
    return _error(ContentFilterError, text, origin, retryable=False)


def unbuildable(reason: str, origin: Origin) -> BadRequestError:
    """The error for a request that never left."""
    text = f"The request to {origin.provider} could not be built: {reason}"
    return _error(BadRequestError, text, origin, retryable=False)


def caused(error: ErrorT, cause: BaseException | None) -> ErrorT:
    """Give an error its cause, when it is made in one place and raised in another."""
    error.__cause__ = cause
    return error


def without_request(error: httpx.HTTPError | httpx.StreamError) -> Exception:
    """The same error of httpx, without the request that hangs on it: its headers hold the key."""
    return OSError(f"{type(error).__name__}: {error}") if str(error) else OSError(type(error).__name__)


def _error(
    kind: type[ErrorT], text: str, origin: Origin, *, retryable: bool = True, status: int | None = None
) -> ErrorT:
    return kind(
        shorten(text, LONGEST_TEXT_CHARS),
        provider=origin.provider,
        model=origin.model,
        retryable=retryable,
        status_code=status,
    )


def _class_of(failure: UpstreamError) -> type[APIError]:
    kind = _class_by_status(failure.status) or _class_by_code(failure.codes)
    said = f"{failure.codes} {failure.message}"
    if kind is RateLimitError and re.search(r"insufficient_quota|billing", failure.codes):
        return PaymentRequiredError
    if issubclass(kind, BadRequestError | InternalServerError) and _TOO_LONG.search(said):
        return ContextWindowExceededError
    if issubclass(kind, BadRequestError | PermissionDeniedError) and (
        failure.metadata.get("flagged_input") or _FILTERED.search(said)
    ):
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


def _is_retryable(kind: type[APIError], failure: UpstreamError, wait_s: float | None) -> bool:
    if kind is PaymentRequiredError:
        # OpenRouter: the money is only held by requests in flight, and comes back.
        return wait_s is not None and "in_flight" in str(failure.metadata.get("reason", ""))
    return issubclass(kind, RateLimitError | InternalServerError | IncompleteResponseError)


def _sentence(kind: type[APIError], failure: UpstreamError, origin: Origin) -> str:
    text = _headline(kind, failure, origin)
    said = _speakable(failure, kind)
    if said:
        text = f"{text} It said: {said}"
    if "tool_use_failed" in failure.codes and "tool_use_failed" not in text:
        # Agents look for this word, and ask again when they see it.
        text = f"{shorten(text, LONGEST_TEXT_CHARS - len(' (tool_use_failed)'))} (tool_use_failed)"
    return shorten(text, LONGEST_TEXT_CHARS)


def _headline(kind: type[APIError], failure: UpstreamError, origin: Origin) -> str:
    name = origin.provider
    if lacks_tools(failure):
        return f"This model on {name} cannot use tools. Choose another model or turn tools off."
    if kind is NotFoundError:
        return _missing(failure, origin)
    return {
        AuthenticationError: f"{name} refused the API key. Please check it in the settings.",
        PaymentRequiredError: f"{name} has no credits left. Please top up the account or lower max_tokens.",
        PermissionDeniedError: f"{name} does not allow this. Please check what the API key may do.",
        ContextWindowExceededError: f"The conversation is too long for {origin.model} on {name}. Start a new one.",
        ContentFilterError: f"The content filter of {name} refused this. Please ask in another way.",
        RateLimitError: f"{name} is busy, or its limit is reached. Please wait a moment.",
        InternalServerError: f"{name} failed. Please try again.",
        IncompleteResponseError: f"{name} {NO_CALL}",
    }.get(kind, f"{name} refused the request.")


def _missing(failure: UpstreamError, origin: Origin) -> str:
    status = failure.status or 0
    if 300 <= status < 400:  # noqa: PLR2004 - the redirects of HTTP
        return f"{origin.provider} has moved. Please check base_url (http or https, host, path)."
    if _NO_MODEL.search(failure.message) and not _WRONG_PATH.search(failure.message):
        return f"{origin.provider} does not offer the model {origin.model}. Please check its name."
    return f"{origin.provider} has nothing at this address. Please check base_url (most servers want /v1) and model."


def _speakable(failure: UpstreamError, kind: type[APIError]) -> str:
    """The server's own words, without those that an agent takes for an unknown tool."""
    if kind is ContentFilterError and failure.metadata.get("flagged_input"):
        flagged = str(failure.metadata["flagged_input"])
        if flagged and flagged in failure.message:
            return ""  # it repeats what the person said
    if _BARE_NOT_FOUND.match(failure.message):
        return ""
    if not _ABOUT_TOOLS.search(failure.message) or kind is NotFoundError:
        return _SAYS_NOT_FOUND.sub("is not available", failure.message)
    return failure.message
