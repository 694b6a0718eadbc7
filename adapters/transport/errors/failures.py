"""Make the errors of a failed exchange, each with a sentence that can be spoken to a person.

``classify`` decides which class a reported failure belongs to; the wording of LiteLLM decides nothing.
"""

# pyright: reportAttributeAccessIssue=false
# The reasons of a deadline are a part of those of an error.

from __future__ import annotations

import logging
import math
import re
import time
from http import HTTPStatus
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
    is_garbled_call,
    is_over_budget,
    is_retryable,
    is_started_without_tools,
    lacks_endpoint,
    lacks_format,
    lacks_modality,
    lacks_model,
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

FAILED_CALL = "could not use a tool: Failed to call a function. Please try again."
"""For a call that cannot be read; agents look for "Failed to call a function" and ask again when they see it."""

MAX_TEXT_CHARS = 300
"""The longest ``str(error)``, because it is spoken."""

_SHORT_WAIT_S = 10  # a wait that is not worth naming
_UNITS_S = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
_SAYS_NOT_FOUND = re.compile(r"\b(?:was |is |were )?not found\b", re.IGNORECASE)
_NO_WORDS = re.compile(r"(?:\d{3}\b|page\b|file\b|url\b|[\W_])+", re.IGNORECASE)
_STATUS_WORDS = frozenset(status.phrase.lower() for status in HTTPStatus)
_ABOUT_TOOLS = re.compile(r"\b(?:tool|function)\b", re.IGNORECASE)
_KEY_HEADER = re.compile(r"auth|key|token|secret", re.IGNORECASE)
_CANNOT_READ = {"image": "see images", "audio": "hear audio", "video": "watch videos", "file": "read files"}


def upstream_failure(failure: UpstreamError, endpoint: Endpoint) -> APIError:
    """Make the error for a failure that the server reported, in a status, in a 200 or in the middle of a stream."""
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


def connection_failure(endpoint: Endpoint, error: TransportError) -> APIError:
    """Make the error for a connection that could not be opened, or was lost.

    Args:
        endpoint: The other end of the connection.
        error: Why it failed.
    """
    # LiteLLM's routes know their own addresses, which no setting of the user corrects.
    where, advice = (
        (f" at {endpoint.address}", "Is it running? Is base_url right?")
        if endpoint.address
        else ("", "Check the network connection.")
    )
    if error.timed_out:
        _logger.info("%s: no connection to %s in time", endpoint.provider, endpoint.base_url or "its address")
        question = "Is it running?" if endpoint.address else advice
        return _error(APITimeoutError, f"Could not reach {endpoint.provider}{where} in time. {question}", endpoint)
    if error.connecting:
        _logger.info("%s: no connection to %s: %s", endpoint.provider, endpoint.base_url or "its address", error.cause)
        why = f": {error.cause}" if error.cause else ""
        text = f"Could not reach {endpoint.provider}{where}{why}. {error.advice or advice}"
        return _error(APIConnectionError, text, endpoint)
    lost = _error(APIConnectionError, f"The connection to {endpoint.provider} was lost. Please try again.", endpoint)
    lost._reason = "stale_connection" if error.stale else None
    return lost


def closed(endpoint: Endpoint) -> APIConnectionError:
    """Make the error for a call whose provider was closed before its end; nothing is sent again."""
    text = f"The connection to {endpoint.provider} was closed."
    error = _error(APIConnectionError, text, endpoint, retryable=False)
    error._reason = "closed"
    return error


def above_limit(limit: str, most: int, endpoint: Endpoint) -> IncompleteResponseError:
    """Make the error for an answer above one of the configured ``limits``, which the log names as well."""
    _logger.warning("%s sent an answer above limits.%s (%d); it was cut off.", endpoint.provider, limit, most)
    reason = f"sent an answer that is too long. Ask for less, or raise limits.{limit} ({most})."
    return _error(IncompleteResponseError, f"{endpoint.provider} {reason}", endpoint, retryable=False)


def deadline_exceeded(exceeded: DeadlineExceeded, endpoint: Endpoint) -> APIError:
    """Make the error for an answer that did not start, or did not go on, in time."""
    advice = "Please try again."
    if exceeded.limit == "stall_s":
        what = f"stopped responding: no data for {exceeded.seconds:g} seconds"
    elif exceeded.limit == "thinking":
        what, advice = (
            f"is still thinking after {exceeded.seconds:g} seconds",
            "Please try again, or turn thinking off.",
        )
    else:
        what = f"did not answer in time ({exceeded.seconds:g} seconds)"
    error = _error(APITimeoutError, f"{endpoint.provider} {what}. {advice}", endpoint)
    error._reason = exceeded.limit
    return error


def full(endpoint: Endpoint) -> APITimeoutError:
    """Make the error for a request that waited for a free slot (``max_concurrent``) until its time was over."""
    text = f"{endpoint.provider} is busy with other requests. Please try again in a moment."
    error = _error(APITimeoutError, text, endpoint)
    error._reason = "queue"
    return error


def incomplete(reason: str, endpoint: Endpoint) -> IncompleteResponseError:
    """Make the error for an answer that is empty, cut or cannot be read.

    Args:
        reason: What is wrong and what to do; it follows the name of the provider.
        endpoint: The provider.
    """
    return _error(IncompleteResponseError, f"{endpoint.provider} {reason}", endpoint)


def schema_mismatch(endpoint: Endpoint, *, cut: bool) -> IncompleteResponseError:
    """Make the error for an answer that does not match ``response_format``.

    Args:
        endpoint: The provider.
        cut: Whether ``max_tokens`` ended the answer; then it would end the next one as well.
    """
    if cut:
        text = f"{endpoint.provider} reached max_tokens before its answer was complete. Raise max_tokens."
    else:
        text = f"The answer of {endpoint.provider} does not match response_format. Please try again."
    error = _error(IncompleteResponseError, text, endpoint, retryable=not cut)
    error._reason = "schema_mismatch"
    return error


def not_an_answer(failure: UpstreamError, endpoint: Endpoint) -> IncompleteResponseError:
    """Make the error for a success whose body is a sentence instead of an answer."""
    words = _server_words(failure, IncompleteResponseError)
    error = incomplete(f"sent no answer. It said: {words}" if words else "sent no answer. Please try again.", endpoint)
    error._upstream = failure
    return error


def content_filtered(endpoint: Endpoint) -> ContentFilterError:
    """Make the error for an answer that a content filter has removed."""
    text = f"The content filter of {endpoint.provider} blocked the answer. Please rephrase the request."
    return _error(ContentFilterError, text, endpoint, retryable=False)


def request_not_built(reason: str, endpoint: Endpoint) -> BadRequestError:
    """Make the error for a request that could not be sent."""
    text = f"The request to {endpoint.provider} could not be built: {reason}"
    return _error(BadRequestError, text, endpoint, retryable=False)


def with_cause(error: ErrorT, cause: BaseException | None) -> ErrorT:
    """Set the cause of an error that is made in one place and raised in another."""
    error.__cause__ = cause
    return error


def _error(kind: type[ErrorT], text: str, endpoint: Endpoint, *, retryable: bool = True) -> ErrorT:
    return kind(shorten(text, MAX_TEXT_CHARS), provider=endpoint.provider, model=endpoint.model, retryable=retryable)


def _sentence(kind: type[APIError], failure: UpstreamError, endpoint: Endpoint, wait_s: float | None) -> str:
    text = _headline(kind, failure, endpoint, wait_s)
    if words := _server_words(failure, kind):
        text = f"{text} It said: {words}"
    if "tool_use_failed" in failure.codes and "tool_use_failed" not in text:
        # Agents look for this word and ask again when they see it.
        text = f"{shorten(text, MAX_TEXT_CHARS - len(' (tool_use_failed)'))} (tool_use_failed)"
    return shorten(text, MAX_TEXT_CHARS)


def _headline(kind: type[APIError], failure: UpstreamError, endpoint: Endpoint, wait_s: float | None) -> str:
    name = endpoint.provider
    if kind is NotFoundError and not lacks_tools(failure):
        return _missing(failure, endpoint)
    if is_started_without_tools(failure):
        return f"{name} was started without tool support. Enable it, or turn tools off."
    if lacks_tools(failure):
        return f"This model on {name} does not support tools. Use another model, or turn tools off."
    if kind is BadRequestError:
        return _refused(failure, endpoint)
    return {
        AuthenticationError: _unauthorized(endpoint),
        PaymentRequiredError: _unpaid(failure, endpoint),
        PermissionDeniedError: f"{name} denied access. Check what the API key is allowed to do.",
        ContextWindowExceededError: f"The conversation is too long for {endpoint.model} on {name}. Start a new one.",
        ContentFilterError: f"The content filter of {name} blocked the request. Please rephrase it.",
        RateLimitError: f"{name} is busy, or its rate limit is reached. Please {_later(wait_s)}.",
        InternalServerError: f"{name} failed. Please try again.",
        IncompleteResponseError: f"{name} {FAILED_CALL}",
    }[kind]


def _refused(failure: UpstreamError, endpoint: Endpoint) -> str:
    name = endpoint.provider
    if modality := lacks_modality(failure):
        return f"On {name}, the model cannot {_CANNOT_READ[modality]}. Use another model, or send text only."
    if lacks_format(failure):
        return f"{name} does not support response_format with this model. Use another model, or remove it."
    if lacks_parameters(failure):
        return (
            f"No provider behind {name} supports all parameters of this request. Drop response_format or some others."
        )
    return f"{name} refused the request."


def _unauthorized(endpoint: Endpoint) -> str:
    headers = [header for header in endpoint.headers if _KEY_HEADER.search(header)]
    if headers and (endpoint.api_key == NO_KEY or "authorization" in map(str.lower, headers)):
        return f"{endpoint.provider} rejected the key in the {headers[0]} header. Check headers."
    if endpoint.api_key == NO_KEY:
        return f"{endpoint.provider} requires an API key. Set api_key."
    return f"{endpoint.provider} rejected the API key. Check {endpoint.key_name}."


def _unpaid(failure: UpstreamError, endpoint: Endpoint) -> str:
    if is_over_budget(failure):
        return f"The budget at {endpoint.provider} is used up. Raise it, or wait until it resets."
    return f"{endpoint.provider} has no credits left. Top up the account, or lower max_tokens."


def _later(wait_s: float | None) -> str:
    """Write when to try again as a person would say it."""
    if wait_s is None or wait_s < _SHORT_WAIT_S:
        return "wait a moment"
    for unit, seconds in _UNITS_S:
        if wait_s > 1.5 * seconds:
            return f"try again in {math.ceil(wait_s / seconds)} {unit}"
    return f"try again in {math.ceil(wait_s)} seconds"


def _missing(failure: UpstreamError, endpoint: Endpoint) -> str:
    status = failure.status or 0
    if 300 <= status < 400:  # noqa: PLR2004 - the redirects of HTTP
        return f"{endpoint.provider} has moved. Check base_url (http or https, host, path)."
    if lacks_endpoint(failure):
        return f"{endpoint.model} is not available on {endpoint.provider} for your account. Check both."
    if lacks_model(failure):
        return f"{endpoint.provider} does not offer the model {endpoint.model}. Check its name."
    return f"{endpoint.provider} has no API at this address. Check base_url (most servers want /v1) and model."


def _server_words(failure: UpstreamError, kind: type[APIError]) -> str:
    """Return the server's own words, unless they add nothing.

    An agent takes "not found" for an unknown tool, so an error about anything else says it in other words.
    """
    words = failure.message
    bare = _NO_WORDS.sub(" ", words).strip().lower()
    if kind is not InternalServerError and (not bare or bare in _STATUS_WORDS):
        return ""
    if kind is IncompleteResponseError and is_garbled_call(failure):
        return ""  # it may quote what the model generated
    if not _ABOUT_TOOLS.search(words) or kind is NotFoundError:
        return _SAYS_NOT_FOUND.sub("is not available", words)
    return words
