"""Decide the class of a failure that a server reports, and whether a retry may help.

The status and the machine-readable codes decide. The wording of the server counts only where neither can tell: a
conversation that is too long, a model without tools, an empty account behind a status for something else. Every
pattern names the servers it was written for. The sentence for a person is made in ``failures``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

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
from adapters.transport.errors.retry_after import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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

_BY_CODE: tuple[tuple[str, type[APIError]], ...] = (
    (r"insufficient_quota|insufficient_credit|billing|payment", PaymentRequiredError),
    (r"rate_?limit|too_many_requests", RateLimitError),
    (r"invalid_api_key|authentication|unauthorized", AuthenticationError),
    (r"permission|forbidden", PermissionDeniedError),
    (r"not_?found", NotFoundError),
    (r"invalid_request|bad_?request|validation|tool_use_failed|unsupported", BadRequestError),
)

_MODALITIES: Final[Mapping[str, str]] = {
    "image": r"images?|image_url|input_image|vision|multi-?modal",
    "audio": r"audio|audio_url|input_audio|sound|speech",
    "video": r"videos?|video_url|input_video",
    "file": r"input_file|file inputs?|pdf inputs?",
}
"""What a message may hold beside text -> how servers call it."""

_NOT = r"\b(?:do(?:es)?|is|are|can)(?: ?not|n.t)\b"
_NOT_THE_INPUT = r"(?!,? (?:formats?|types?|sizes?|generation|outputs?|details?)\b)"
_CANNOT_READ = (
    rf"{_NOT}[^.]{{0,30}}?\b(?:support|accept|allow|see|hear)\w*\b[^.]{{0,30}}?\bINPUT\b{_NOT_THE_INPUT}",  # Ollama
    r"\bno endpoints found that support (?:input )?INPUT\b",  # OpenRouter
    r"\bINPUT\b(?: inputs?| content| parts?)?['\"`]? (?:is|are) (?:un|not |only )(?:supported|enabled)\b",  # llama.cpp
    r"\bmissing data required for INPUT\b",  # Ollama
    r"\bat most 0 INPUT\b",  # vLLM
    r"\bunknown variant ['\"`]INPUT['\"`], expected ['\"`]text\b",  # DeepSeek
)
_LACKS_MODALITY = tuple(
    (modality, re.compile("|".join(_CANNOT_READ).replace("INPUT", f"(?:{words})"), re.IGNORECASE))
    for modality, words in _MODALITIES.items()
)
_TEXT_ONLY = re.compile(
    r"\bnot (?:a )?(?:multi-?modal|vision)\b"  # vLLM, SGLang
    r"|\bonly ['\"`]?text['\"`]? content type|\bunsupported content(?:\[\])?\.?type",  # mlx-lm, older llama.cpp
    re.IGNORECASE,
)

_TEMPLATE_ERROR = re.compile(r"\bjinja\b|\braise_exception\b|\bTemplateError\b|\bchat template\b", re.IGNORECASE)
_BAD_KEY = re.compile(
    r"invalid_api_key|api_key_invalid|no_db_connection|api key not valid|(?:invalid|incorrect|expired) api[ _]key",
    re.IGNORECASE,
)
_GARBLED_CALL = re.compile(
    r"\btool_error\b"  # text-generation-inference
    r"|\berror parsing tool call\b|\bXML syntax error on line\b"  # Ollama
    r"|\bfailed to parse input at pos"  # llama.cpp
    r"|\bunexpected tokens remaining in message header\b|\bwhile expecting start token\b"  # vLLM with gpt-oss
    r"|\b(?:failed|unable|could not|cannot) (?:to )?parse (?:the )?(?:generated |model )?(?:tool|function)[ _]calls?\b"
    r"(?! arguments as json)"  # of the history (llama.cpp)
    r"|\bmalformed_function_call\b|\bfailed to parse fc related\b",  # Gemini, SGLang
    re.IGNORECASE,
)
_NO_MONEY = re.compile(
    r"\binsufficient[ _](?:account[ _])?(?:balance|credits?|funds?)\b|\bnot[ _]enough[ _](?:balance|credits?|funds?)\b"
    r"|\b(?:balance|credits?)\b[^.]{0,40}\b(?:insufficient|too low|exhausted|depleted|used up)\b"
    r"|\b(?:out of|used (?:up )?all (?:available |your |of your )*|no (?:remaining |more )?|have any) ?credits\b"
    r"|\b(?:monthly |account )?spending limit\b|\boverdue balance\b|\baccountoverdue|\barrearage\b|\bcreditserror\b"
    r"|\bplease (?:recharge|top[ -]?up|purchase more credits)\b"
    r"|余额不足|欠费|请充值|可用资源包",
    re.IGNORECASE,
)
_NO_MONEY_CODES = re.compile(r"insufficient_quota|billing|\b1113\b|\b1008\b")  # the numbers: Z.ai, MiniMax
_NO_QUOTA = re.compile(r"exceeded your current quota", re.IGNORECASE)  # OpenAI; Gemini says it of a minute, too
_SPENT_LIMIT = re.compile(
    r"out of call volume quota|\bquota (?:will be replenished|exceeded)|\brate ?limit|\btoo many requests\b",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|size|window|limit|budget|overflow)|contextwindow|maximum (?:context|prompt|input)\b"
    r"|\b(?:prompt|input|conversation)(?: is)? too (?:long|large)|too many (?:input |prompt )?tokens"
    r"|reduce the length of the (?:messages|input|prompt|conversation)|max_new_tokens` must be|model token limit"
    r"|\b(?:input|prompt|conversation|messages?)\b[^.]{0,60}\b(?:exceeds?|exceeded|longer than|larger than)\b[^.]{0,60}"
    r"\b(?:tokens?|length|context|window)\b"
    r"|\bprompt exceeds max length\b|\brange of input length\b|上下文|超长",
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
_NO_SUCH_MODEL = re.compile(
    r"\bmodel\b[^.]{0,80}?\b(?:not found|(?:does|do)(?: not|n.t) exist|not exist|is not (?:a )?valid\b|is unknown"
    r"|not recognized|not registered)"
    r"|\b(?:invalid|unknown|unrecognized|nonexistent|no such|not found the|could not find|not a valid)"
    r"(?: the| real)? model ?(?:id|name|identifier)?\b(?! (?:output|response|parameter|config\w*|type|format|argument))"
    r"|\ballowed now, your model\b|\brepository not found for url\b"  # FastChat, mlx-lm and mlx-vlm
    r"|\bmodel_?not_?found\b|\b40301\b|模型不存在",
    re.IGNORECASE,
)
_NO_DEPLOYMENT = re.compile(r"\bdeployment_?not_?found\b|\bAPI deployment\b", re.IGNORECASE)  # Azure
_ABOUT_TOOLS = re.compile(r"\b(?:tool|function)s?\b", re.IGNORECASE)
_ABOUT_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)


def class_of(failure: UpstreamError) -> type[APIError]:
    """Return the class of error that a failure is.

    Args:
        failure: What the server reported.
    """
    kind = _class_by_status(failure.status) or _class_by_code(failure.codes)
    for meant, classes, is_meant in _BY_WORDS:
        if issubclass(kind, classes) and is_meant(failure):
            return meant
    return kind


def _class_by_status(status: int | None) -> type[APIError] | None:
    if status is None:
        return None
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:  # noqa: PLR2004 - redirects: the API is somewhere else
        return NotFoundError
    return InternalServerError if status >= 500 else BadRequestError  # noqa: PLR2004 - the classes of HTTP


def _class_by_code(codes: str) -> type[APIError]:
    """Return the class for a failure inside a 200; without a known code it is the server's own."""
    return next((kind for pattern, kind in _BY_CODE if re.search(pattern, codes)), InternalServerError)


def is_retryable(kind: type[APIError], failure: UpstreamError, wait_s: float | None) -> bool:
    """Return whether the same request may succeed later.

    Args:
        kind: The class of the error.
        failure: What the server reported.
        wait_s: Seconds that the server asks to wait, or None.
    """
    if kind is PaymentRequiredError:
        # OpenRouter: the money is only reserved by requests in flight, and is released.
        return wait_s is not None and "in_flight" in str(failure.metadata.get("reason", ""))
    return issubclass(kind, RateLimitError | InternalServerError | IncompleteResponseError)


def lacks_tools(failure: UpstreamError) -> bool:
    """Return whether the model, or the server, does not support tools at all."""
    return _NO_TOOLS.search(failure.message) is not None


def is_started_without_tools(failure: UpstreamError) -> bool:
    """Return whether the server names the option that it must be started with to support tools."""
    return _STARTED_WITHOUT_TOOLS.search(failure.message) is not None


def lacks_modality(failure: UpstreamError) -> str | None:
    """Return the kind of input that the model cannot read: ``image``, ``audio``, ``video`` or ``file``; or None."""
    modalities = (modality for modality, pattern in _LACKS_MODALITY if pattern.search(failure.message))
    return next(modalities, "image" if _TEXT_ONLY.search(failure.message) else None)


def is_over_budget(failure: UpstreamError) -> bool:
    """Return whether the budget that the operator of a proxy has set is spent."""
    return _OVER_BUDGET.search(_all_words(failure)) is not None


def lacks_format(failure: UpstreamError) -> bool:
    """Return whether the server does not support structured output with this model (``response_format``)."""
    return failure.status in _FORMAT_REFUSED and _NO_FORMAT.search(failure.message) is not None


def lacks_parameters(failure: UpstreamError) -> bool:
    """Return whether no endpoint of this model supports all parameters of the request together (OpenRouter)."""
    return _NOT_ALL.search(failure.message) is not None


def lacks_endpoint(failure: UpstreamError) -> bool:
    """Return whether no endpoint of this model is available to the account (OpenRouter)."""
    return _NO_ENDPOINT.search(failure.message) is not None


def lacks_model(failure: UpstreamError) -> bool:
    """Return whether a failure of class ``NotFoundError`` is about the name of the model."""
    words = _all_words(failure)
    about_model = _ABOUT_MODEL.search(failure.message) or _NO_DEPLOYMENT.search(words) or _NO_SUCH_MODEL.search(words)
    return bool(about_model) and not is_wrong_path(failure)


def is_wrong_path(failure: UpstreamError) -> bool:
    """Return whether the server reports in its own words that it has no API at this address."""
    return _WRONG_PATH.search(failure.message) is not None


def is_garbled_call(failure: UpstreamError) -> bool:
    """Return whether the server could not parse the call that its model generated."""
    return _GARBLED_CALL.search(_all_words(failure)) is not None


def _is_unsupported(failure: UpstreamError) -> bool:
    return lacks_modality(failure) is not None or lacks_format(failure) or lacks_parameters(failure)


def _breaks_template(failure: UpstreamError) -> bool:
    """Return whether the request is to blame for a 500: the chat template refuses it, or there are no tools."""
    return _TEMPLATE_ERROR.search(failure.message) is not None or lacks_tools(failure)


def _has_bad_key(failure: UpstreamError) -> bool:
    return _BAD_KEY.search(_all_words(failure)) is not None


def _has_no_money(failure: UpstreamError) -> bool:
    if _NO_MONEY_CODES.search(failure.codes) or _NO_MONEY.search(_all_words(failure)):
        return True
    # Gemini reports a limit for each minute in the same words, and adds how long to wait.
    return _NO_QUOTA.search(failure.message) is not None and retry_after_s(failure, 0.0) is None


def _is_rate_limited(failure: UpstreamError) -> bool:
    return _SPENT_LIMIT.search(failure.message) is not None


def _is_too_long(failure: UpstreamError) -> bool:
    return _TOO_LONG.search(_all_words(failure)) is not None


def _is_filtered(failure: UpstreamError) -> bool:
    return failure.is_flagged or _FILTERED.search(_all_words(failure)) is not None


def _is_unknown_model(failure: UpstreamError) -> bool:
    is_about_tools = _ABOUT_TOOLS.search(failure.message) is not None
    return not is_about_tools and _NO_SUCH_MODEL.search(_all_words(failure)) is not None


def _all_words(failure: UpstreamError) -> str:
    return f"{failure.codes} {failure.message}"


_Classes: TypeAlias = tuple[type[APIError], ...]
_REFUSED: _Classes = (BadRequestError, InternalServerError)

_BY_WORDS: tuple[tuple[type[APIError], _Classes, Callable[[UpstreamError], bool]], ...] = (
    (NotFoundError, (APIError,), is_wrong_path),
    (BadRequestError, (NotFoundError, *_REFUSED), _is_unsupported),
    (IncompleteResponseError, _REFUSED, is_garbled_call),
    (AuthenticationError, (BadRequestError, PermissionDeniedError), _has_bad_key),
    (PaymentRequiredError, (RateLimitError, PermissionDeniedError, AuthenticationError, *_REFUSED), _has_no_money),
    (PaymentRequiredError, (RateLimitError, BadRequestError), is_over_budget),  # a LiteLLM proxy: 400, 422 or 429
    (RateLimitError, (PermissionDeniedError,), _is_rate_limited),  # Azure API Management
    (ContextWindowExceededError, _REFUSED, _is_too_long),
    (ContentFilterError, (BadRequestError, PermissionDeniedError), _is_filtered),
    (NotFoundError, _REFUSED, _is_unknown_model),
    (BadRequestError, (InternalServerError,), _breaks_template),
)
"""What a failure is, if it has one of these classes and its words say so; the first row that fits counts."""
