"""A bad exchange -> one of our errors, with a sentence that a person can hear.

Which class a server's answer belongs to is decided in ``classify``; LiteLLM's wording decides nothing.
"""

from __future__ import annotations

import logging
import math
import re
import time
from typing import TYPE_CHECKING, TypeVar

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
from adapters.transport.endpoint import NO_KEY
from adapters.transport.errors.classify import (
    class_of,
    is_over_budget,
    is_retryable,
    is_started_without_tools,
    is_wrong_path,
    lacks_endpoint,
    lacks_format,
    lacks_parameters,
    lacks_tools,
)
from adapters.transport.errors.redact import shorten
from adapters.transport.errors.retry_after import retry_after_s

if TYPE_CHECKING:
    from adapters.errors import UpstreamError
    from adapters.transport.deadlines import DeadlineExceeded
    from adapters.transport.endpoint import Endpoint
    from adapters.transport.http import TransportError

_logger = logging.getLogger(__name__)

ErrorT = TypeVar("ErrorT", bound=APIError)

NO_CALL = "could not use a tool: Failed to call a function. Please ask again."
"""What is said of a call that nobody can read; agents look for these words, and ask again when they see them."""

LONGEST_TEXT_CHARS = 300
"""``str(error)`` is spoken; nobody listens to more."""

_MOMENT_S = 10  # a wait that need not be named
_UNITS_S = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
_NO_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
_BARE_NOT_FOUND = re.compile(r"^(?:404\b)?[\s:]*(?:page |file |url )?not found\.?$", re.IGNORECASE)
_SAYS_NOT_FOUND = re.compile(r"\b(?:was |is |were )?not found\b", re.IGNORECASE)
_ABOUT_TOOLS = re.compile(r"\b(?:tool|function)\b", re.IGNORECASE)


def rejected(failure: UpstreamError, endpoint: Endpoint) -> APIError:
    """The error for what a server said itself, in a status, in a 200, or in the middle of a stream."""
    kind = class_of(failure)
    wait_s = retry_after_s(failure, time.time())
    error = kind(
        _sentence(kind, failure, endpoint, wait_s),
        provider=endpoint.provider,
        model=endpoint.model,
        status_code=failure.status,
        retryable=is_retryable(kind, failure, wait_s),
        retry_after_s=wait_s,
        request_id=failure.request_id,
    )
    error._upstream = failure
    return error


def disconnected(endpoint: Endpoint, trouble: TransportError) -> APIError:
    """The error for a connection that could not be made, or broke.

    Args:
        origin: Whom it was to.
        trouble: What happened to it.
    """
    if trouble.timed_out:
        _logger.info("%s: no connection to %s in time", endpoint.provider, endpoint.base_url)
        text = f"{endpoint.provider} could not be reached at {endpoint.address} in time. Is it running?"
        return _error(APITimeoutError, text, endpoint)
    if trouble.connecting:
        _logger.info("%s: no connection to %s: %s", endpoint.provider, endpoint.base_url, trouble.cause)
        why = f": {trouble.cause}" if trouble.cause else ""
        text = f"{endpoint.provider} could not be reached at {endpoint.address}{why}. {trouble.advice}"
        return _error(APIConnectionError, text, endpoint)
    return _error(APIConnectionError, f"The connection to {endpoint.provider} broke. Please try again.", endpoint)


def too_long(limit: str, most: int, endpoint: Endpoint) -> IncompleteResponseError:
    """The error for an answer that is larger than a limit of the configuration; the log names the limit, too."""
    _logger.warning("%s sent an answer above limits.%s (%d); it was cut off.", endpoint.provider, limit, most)
    reason = f"sent an answer that is too long. Please ask for less, or raise limits.{limit} ({most})."
    return _error(IncompleteResponseError, f"{endpoint.provider} {reason}", endpoint, retryable=False)


def late(missed: DeadlineExceeded, endpoint: Endpoint) -> APIError:
    """The error for an answer that did not come, or did not go on, in time."""
    what = "stopped in the middle of its answer" if missed.limit == "stall_s" else "did not answer in time"
    text = f"{endpoint.provider} {what} ({missed.seconds:g} seconds). Please try again."
    error = _error(APITimeoutError, text, endpoint)
    error._reason = missed.limit
    return error


def incomplete(reason: str, endpoint: Endpoint) -> IncompleteResponseError:
    """The error for an answer that is empty, cut or garbled.

    Args:
        reason: What is wrong and what to do, to be put after the provider's name.
        origin: Whom it is about.
    """
    return _error(IncompleteResponseError, f"{endpoint.provider} {reason}", endpoint)


def schema_mismatch(endpoint: Endpoint, *, cut: bool) -> IncompleteResponseError:
    """The error for an answer that is not in the form that was asked for.

    Args:
        origin: Whose answer it is.
        cut: Whether it was cut by ``max_tokens``; another try would be, too.
    """
    if cut:
        text = f"{endpoint.provider} used up max_tokens before its answer was whole. Please raise it."
        error = _error(IncompleteResponseError, text, endpoint, retryable=False)
    else:
        error = incomplete(
            "did not answer in the form that was asked for (response_format). Please ask again.", endpoint
        )
    error._reason = "schema_mismatch"
    return error


def no_answer(failure: UpstreamError, endpoint: Endpoint) -> IncompleteResponseError:
    """The error for a success whose body is a sentence instead of an answer."""
    said = _speakable(failure, IncompleteResponseError)
    error = incomplete(f"sent no answer. It said: {said}" if said else "sent no answer. Please ask again.", endpoint)
    error._upstream = failure
    return error


def filtered(endpoint: Endpoint) -> ContentFilterError:
    """The error for an answer that a content filter took away whole."""
    text = f"The content filter of {endpoint.provider} stopped the answer. Please ask in another way."
    return _error(ContentFilterError, text, endpoint, retryable=False)


def unbuildable(reason: str, endpoint: Endpoint) -> BadRequestError:
    """The error for a request that never left."""
    text = f"The request to {endpoint.provider} could not be built: {reason}"
    return _error(BadRequestError, text, endpoint, retryable=False)


def caused(error: ErrorT, cause: BaseException | None) -> ErrorT:
    """Give an error its cause, when it is made in one place and raised in another."""
    error.__cause__ = cause
    return error


def _error(kind: type[ErrorT], text: str, endpoint: Endpoint, *, retryable: bool = True) -> ErrorT:
    return kind(
        shorten(text, LONGEST_TEXT_CHARS), provider=endpoint.provider, model=endpoint.model, retryable=retryable
    )


def _sentence(kind: type[APIError], failure: UpstreamError, endpoint: Endpoint, wait_s: float | None) -> str:
    text = _headline(kind, failure, endpoint, wait_s)
    said = _speakable(failure, kind)
    if said:
        text = f"{text} It said: {said}"
    if "tool_use_failed" in failure.codes and "tool_use_failed" not in text:
        # Agents look for this word, and ask again when they see it.
        text = f"{shorten(text, LONGEST_TEXT_CHARS - len(' (tool_use_failed)'))} (tool_use_failed)"
    return shorten(text, LONGEST_TEXT_CHARS)


def _headline(kind: type[APIError], failure: UpstreamError, endpoint: Endpoint, wait_s: float | None) -> str:
    name = endpoint.provider
    if is_started_without_tools(failure):
        return f"{name} was started without tools. Start it with them, or turn tools off."
    if lacks_tools(failure):
        return f"This model on {name} cannot use tools. Choose another model or turn tools off."
    if lacks_format(failure):
        return f"{name} cannot answer in the form that was asked for. Choose another model, or no response_format."
    if lacks_parameters(failure):
        return f"{name} has nobody who does all that is asked of this model. Leave out response_format or parameters."
    if kind is NotFoundError:
        return _missing(failure, endpoint)
    return {
        AuthenticationError: _unauthorized(endpoint),
        PaymentRequiredError: _unpaid(failure, endpoint),
        PermissionDeniedError: f"{name} does not allow this. Please check what the API key may do.",
        ContextWindowExceededError: f"The conversation is too long for {endpoint.model} on {name}. Start a new one.",
        ContentFilterError: f"The content filter of {name} refused this. Please ask in another way.",
        RateLimitError: f"{name} is busy, or its limit is reached. Please {_later(wait_s)}.",
        InternalServerError: f"{name} failed. Please try again.",
        IncompleteResponseError: f"{name} {NO_CALL}",
    }.get(kind, f"{name} refused the request.")


def _unauthorized(endpoint: Endpoint) -> str:
    if endpoint.api_key == NO_KEY:
        return f"{endpoint.provider} wants an API key. Please set api_key."
    return f"{endpoint.provider} refused the API key. Please check {endpoint.key_name}."


def _unpaid(failure: UpstreamError, endpoint: Endpoint) -> str:
    if is_over_budget(failure):
        return f"The budget at {endpoint.provider} is used up. Please raise it, or wait until it is renewed."
    return f"{endpoint.provider} has no credits left. Please top up the account or lower max_tokens."


def _later(wait_s: float | None) -> str:
    """When to ask again, as a person would say it."""
    if wait_s is None or wait_s < _MOMENT_S:
        return "wait a moment"
    for unit, seconds in _UNITS_S:
        if wait_s > 1.5 * seconds:
            return f"try again in {math.ceil(wait_s / seconds)} {unit}"
    return f"try again in {math.ceil(wait_s)} seconds"


def _missing(failure: UpstreamError, endpoint: Endpoint) -> str:
    status = failure.status or 0
    if 300 <= status < 400:  # noqa: PLR2004 - the redirects of HTTP
        return f"{endpoint.provider} has moved. Please check base_url (http or https, host, path)."
    if lacks_endpoint(failure):
        return f"{endpoint.provider} has nobody who runs {endpoint.model} for you. Please check model and account."
    if _NO_MODEL.search(failure.message) and not is_wrong_path(failure):
        return f"{endpoint.provider} does not offer the model {endpoint.model}. Please check its name."
    return f"{endpoint.provider} has nothing at this address. Please check base_url (most servers want /v1) and model."


def _speakable(failure: UpstreamError, kind: type[APIError]) -> str:
    """The server's own words, without those that an agent takes for an unknown tool."""
    if _BARE_NOT_FOUND.match(failure.message):
        return ""
    if not _ABOUT_TOOLS.search(failure.message) or kind is NotFoundError:
        return _SAYS_NOT_FOUND.sub("is not available", failure.message)
    return failure.message
