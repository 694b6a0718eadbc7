"""The errors that this library raises, and what they carry. ``transport.errors`` makes them from failed exchanges.

::

    AdapterError
    ├── ConfigError (also ValueError)        a bad configuration, an unknown provider, a missing key
    └── APIError                             a request to a provider failed             usual status  retryable
        ├── AuthenticationError              the key is missing or wrong                401           no
        ├── PaymentRequiredError             no credits left                            402 429 500   no (1)
        ├── PermissionDeniedError            the key does not permit the request        403           no
        ├── BadRequestError                  the server refused the request             400 413 422   no
        │   ├── ContextWindowExceededError   the conversation is too long               400 413 422   no
        │   └── ContentFilterError           moderation blocked it                      400 403 200   no
        ├── NotFoundError                    no such model, or no API at this address   404 405 400   no
        ├── RateLimitError                   too many requests                          429           yes
        ├── InternalServerError              the server failed                          5xx 408 409 … yes
        ├── APIConnectionError               no connection, or it was lost              none          yes
        │   └── APITimeoutError              no answer in time                          none          yes
        ├── IncompleteResponseError          the answer is empty, cut or unreadable     none 200 500  yes
        └── AllProvidersFailedError          every provider of a FallbackProvider       the last's    (2)

(1) unless the server reports that the money is only reserved by requests in flight, and when it is released.
(2) if one of them is.

``str(error)`` is spoken to a person: one or two short sentences that name the provider and what to do, never a
key, a prompt, HTML, or the name of a library.
"""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from adapters.types import TokenUsage

_Limit = Literal["first_token_s", "first_text_s", "thinking", "stall_s", "total_s", "deadline_s", "linger"]
Reason = _Limit | Literal["queue", "schema_mismatch", "closed", "stale_connection"]
"""Why a failure happened, where the class does not tell: an exceeded limit, no free slot, a wrong schema, a closed
provider, or a pooled connection that the server had closed."""


class UpstreamError(Exception):
    """A failure as the server reported it; the text is short and redacted.

    It is the cause of an ``APIError``, and holds neither the request nor the key nor the prompt.

    Attributes:
        message: The server's message in one line, redacted; "" if there was none.
        status: HTTP status: of the response if it is an error, else of the error body; None inside a 200 without one.
        codes: Machine-readable words (code, type …), joined and in lower case.
        param: The parameter that the message is about, or None.
        headers: Response headers, with names in lower case.
        metadata: From OpenRouter's ``metadata``, the fields about when and why to retry; never the prompt.
        is_flagged: Whether moderation quoted what it found; the quotation itself is not kept.
        failed_generation: What the model generated when its tool call could not be read (Groq), or None.
        request_id: The server's id of the request, or None.
    """

    def __init__(  # noqa: PLR0913 - as many as servers report
        self,
        message: str,
        *,
        status: int | None = None,
        codes: str = "",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        is_flagged: bool = False,
        failed_generation: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"status {status}: {message}" if status else message)
        self.message = message
        self.status = status
        self.codes = codes
        self.param = param
        self.headers = dict(headers or {})
        self.metadata = dict(metadata or {})
        self.is_flagged = is_flagged
        self.failed_generation = failed_generation
        self.request_id = request_id


class AdapterError(Exception):
    """The base class of all errors of this library.

    Errors can be copied and pickled with all public fields, for agents that run in worker processes. The cause is left
    out, as with any Python exception.
    """

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        # Python's default calls the class with ``args`` alone, without the keyword arguments.
        state = {name: value for name, value in vars(self).items() if name != "_upstream"}
        return copyreg.__newobj__, (type(self), *self.args), state  # type: ignore[attr-defined]  # not in typeshed


class ConfigError(AdapterError, ValueError):
    """The configuration, or an argument of a call, is invalid; the text names every problem and its fix, one a line."""


class APIError(AdapterError):
    """A request to a provider failed.

    Attributes:
        provider: Name of the provider that failed.
        model: The requested model.
        status_code: HTTP status, from the response or from an error body inside a 200; None if there was none.
        retryable: Whether the same request may succeed later.
        retry_after_s: Seconds that the server asks to wait before a retry, or None if it named none.
        request_id: The server's id of the request, which its operator can look up, or None.
        usage: Usage of the requests that were answered before this one failed, from ``run_turn``; None if there were
            none, or one of them was not counted.
    """

    usage: TokenUsage | None = None

    # For the package alone: what decides whether, and how, a request is sent again.
    _upstream: UpstreamError | None = None
    _reason: Reason | None = None

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        model: str,
        status_code: int | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status_code = status_code
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.request_id = request_id


def kind_of(error: APIError) -> str:
    """Describe an error for the log, without its sentence, in which a server may have repeated the prompt.

    Args:
        error: The error.

    Returns:
        ``RateLimitError, status 429``, or the class alone.
    """
    kind = type(error).__name__
    return kind if error.status_code is None else f"{kind}, status {error.status_code}"


class AuthenticationError(APIError):
    """The key is missing or wrong (401)."""


class PaymentRequiredError(APIError):
    """The account has no credits left (402; some servers send 429 or 500)."""


class PermissionDeniedError(APIError):
    """The key is valid but does not permit the request (403)."""


class BadRequestError(APIError):
    """The server refused the request (400, 413, 422)."""


class ContextWindowExceededError(BadRequestError):
    """The conversation does not fit the model's context window."""


class ContentFilterError(BadRequestError):
    """Moderation blocked the request or the whole answer."""


class NotFoundError(APIError):
    """The server has no such model, or no API at this address (404, 405)."""


class RateLimitError(APIError):
    """Too many requests (429)."""


class InternalServerError(APIError):
    """The server failed (5xx, and 408, 409, 424, 425)."""


class APIConnectionError(APIError):
    """No connection could be opened, or it was lost before the answer was complete."""


class APITimeoutError(APIConnectionError):
    """The answer did not arrive in time."""


class IncompleteResponseError(APIError):
    """The answer is empty, cut off or unreadable; text that was already streamed stays valid."""


class AllProvidersFailedError(APIError):
    """Every provider of a ``FallbackProvider`` failed.

    Provider, model, status and request id are those of the last one. It is retryable if one of the errors is, after
    the shortest wait that one of these names.

    Attributes:
        errors: The error of each provider, in the order in which they were first tried.
    """

    def __init__(self, errors: Sequence[APIError]) -> None:
        last = errors[-1]
        retryable = [error for error in errors if error.retryable]
        super().__init__(
            str(last) if isinstance(last, AllProvidersFailedError) else f"No language model could answer. {last}",
            provider=last.provider,
            model=last.model,
            status_code=last.status_code,
            retryable=bool(retryable),
            retry_after_s=min(
                (error.retry_after_s for error in retryable if error.retry_after_s is not None), default=None
            ),
            request_id=last.request_id,
        )
        self.errors = tuple(errors)
