"""Every error that this library raises, and nothing else: no HTTP, no translation (see ``transport.errors``).

::

    AdapterError
    ├── ConfigError (also ValueError)        a bad configuration, an unknown provider, a missing key
    └── APIError                             a request to a provider failed            status        retryable
        ├── AuthenticationError              the key is missing or wrong               401           no
        ├── PaymentRequiredError             no credits left                           402           no (1)
        ├── PermissionDeniedError            the key may not do this                   403           no
        ├── BadRequestError                  the server refused the request            400 413 422   no
        │   ├── ContextWindowExceededError   the conversation is too long              400 413 422   no
        │   └── ContentFilterError           moderation stopped it                     400 403 200   no
        ├── NotFoundError                    no such model, or no such address         404 405       no
        ├── RateLimitError                   too many requests                         429           yes
        ├── InternalServerError              the server failed                         5xx 408 409 … yes
        ├── APIConnectionError               no connection, or it broke                none          yes
        │   └── APITimeoutError              no answer in time                         none          yes
        ├── IncompleteResponseError          an answer that is empty, cut or garbled   none or 200   yes
        └── AllProvidersFailedError          each provider of a FallbackProvider       the last's    (2)

(1) unless the server says that the money is only held by requests in flight and names a time to come back.
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

Reason = Literal["first_token_s", "stall_s", "total_s", "deadline_s", "linger", "schema_mismatch", "closed"]
"""What the client must know of a failure beyond its class: the time limit that was exceeded, a schema that does not
match, or that the provider was closed."""


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
    """Anything that this library raises on purpose.

    It can be copied and pickled with all its public fields, for agents that run in worker processes. Its cause is left
    out, as with any Python exception.
    """

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        # Python's default calls the class with ``args`` alone, without the keyword arguments.
        state = {name: value for name, value in vars(self).items() if name != "_upstream"}
        return copyreg.__newobj__, (type(self), *self.args), state  # type: ignore[attr-defined]  # not in typeshed


class ConfigError(AdapterError, ValueError):
    """The configuration cannot be used; the text names every problem and its fix, one a line."""


class APIError(AdapterError):
    """A request to a provider failed.

    Attributes:
        provider: Name of the provider that failed.
        model: Model that was asked.
        status_code: HTTP status, from the response or from an error body inside a 200; None if there was none.
        retryable: Whether the same request may succeed later.
        retry_after_s: Seconds after which the server wants to be asked again, or None if it did not say.
        request_id: The server's own name for the request, for its operator, or None.
        usage: Usage of the requests that were answered before this one failed, from ``run_turn``; None if there were
            none, or one of them was not counted.
    """

    usage: TokenUsage | None = None

    # For the client alone: the failure that the server reported, and what else decides about another request.
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
    """What went wrong, for the log: class and status, and no sentence, in which a server may have repeated the prompt.

    Args:
        error: What was raised.

    Returns:
        ``RateLimitError, status 429``, or the class alone.
    """
    kind = type(error).__name__
    return kind if error.status_code is None else f"{kind}, status {error.status_code}"


class AuthenticationError(APIError):
    """The key is missing or wrong (401)."""


class PaymentRequiredError(APIError):
    """The account has no credits left (402)."""


class PermissionDeniedError(APIError):
    """The key is valid but may not do this (403)."""


class BadRequestError(APIError):
    """The server refused the request as it stands (400, 413, 422)."""


class ContextWindowExceededError(BadRequestError):
    """The conversation does not fit the model's context window."""


class ContentFilterError(BadRequestError):
    """Moderation stopped the request or the whole answer."""


class NotFoundError(APIError):
    """The server has no such model, or nothing at this address (404, 405)."""


class RateLimitError(APIError):
    """Too many requests (429)."""


class InternalServerError(APIError):
    """The server failed (5xx, and 408, 409, 424, 425)."""


class APIConnectionError(APIError):
    """No connection could be made, or it broke before the answer was whole."""


class APITimeoutError(APIConnectionError):
    """The answer did not come in time."""


class IncompleteResponseError(APIError):
    """The answer is empty, cut off or cannot be read; what was already streamed stays valid."""


class AllProvidersFailedError(APIError):
    """Each provider of a ``FallbackProvider`` failed.

    Provider, model, status and request id are those of the last one asked. It is retryable if one of the errors is,
    after the shortest wait that one of these names.

    Attributes:
        errors: What each provider raised, in the order in which they were asked.
    """

    def __init__(self, errors: Sequence[APIError]) -> None:
        last = errors[-1]
        passing = [error for error in errors if error.retryable]
        super().__init__(
            str(last) if isinstance(last, AllProvidersFailedError) else f"No language model could answer. {last}",
            provider=last.provider,
            model=last.model,
            status_code=last.status_code,
            retryable=bool(passing),
            retry_after_s=min((wait for each in passing if (wait := each.retry_after_s) is not None), default=None),
            request_id=last.request_id,
        )
        self.errors = tuple(errors)
