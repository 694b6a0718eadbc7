"""What a refusal is about: one parameter, one field of the messages, a limit, or the order of the messages.

Only reading: what follows from it is remembered in ``capabilities``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from adapters.request.provider_fields import provider_field_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.errors import UpstreamError
    from adapters.request.chat_request import ChatRequest
    from adapters.types import Json

Rewrite: TypeAlias = Literal["systems_first", "no_system", "short_ids", "no_images"]
"""A way of telling the same conversation that a server insists on."""

TOKEN_LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""How many tokens an answer may have, by both of its names."""

_REFUSING_STATUSES = (400, 404, 422, 500, 501)  # llama.cpp refuses parameters with 500, OpenRouter with 404
_KEPT = frozenset({"tools", "model", "messages", "stream", "response_format"})  # without it another answer comes
_MOST_DIGITS = 9
_REFUSED = re.compile(
    r"unsupported|not supported|support|unrecognized|unknown|unexpected|extra (?:inputs|fields)|extra_forbidden"
    r"|not permitted|not allowed|can only be|only be (?:defined|set|used)|cannot be (?:used|set)|not a valid"
    r"|invalid param",
    re.IGNORECASE,
)
_SURELY_REFUSED = re.compile(  # whatever else is said beside it
    r"(?:unsupported|unknown|unrecognized|unexpected)[ _](?:parameter|param|argument|request argument|keyword|field)"
    r"|extra_forbidden|extra (?:inputs|fields)|only the default",
    re.IGNORECASE,
)
_ABOUT_VALUE = re.compile(
    r"too (?:large|big|high|long|small|low|many)|\bat (?:most|least)\b|<=|>=|≤|\d > \d"
    r"|(?:less|lower|smaller|greater|larger|higher|more) than|\bexceed|\brange\b|\bbetween\b|\bup to\b"
    r"|(?:maximum|minimum) (?:allowed )?(?:value|number)|(?:above|below) (?:the )?(?:maximum|minimum)"
    r"|\bone of\b|(?:supported|valid|allowed|possible) (?:string )?values|invalid_value",
    re.IGNORECASE,
)
_ABOUT_CONTEXT = re.compile(  # room that is left beside this prompt: another one for each request
    r"context (?:length|size)|context_length|input tokens|prompt|max_model_len|reduce the length", re.IGNORECASE
)
_NUMBER = r"\D{0,3}?(\d[\d,_]*)"
_LIMIT = re.compile(
    rf"(?:at most|up to|no more than|less than or equal to|not (?:be )?(?:exceed|greater than|larger than|more than)"
    rf"|<=|≤|\bmaximum(?: allowed| supported)?(?: value| number)?(?: of output tokens)? (?:is|of)){_NUMBER}"
    rf"|\d > (\d[\d,_]*), which is the maximum"  # Anthropic
    rf"|\brange\b[^\d\[(]{{0,40}}[\[(]?\s*\d+\s*,{_NUMBER}\s*[\])]"  # DeepSeek, Qwen: [1, 8192]
    rf"|\b(?:between|from) \d+ (?:\(inclusive\) )?(?:and|to){_NUMBER}",
    re.IGNORECASE,
)
_SPELLINGS = {
    "reasoning_effort": r"reasoning_effort|thinking|think",
    "max_tokens": r"max_tokens|maxOutputTokens|max_output_tokens",
}
_REWRITES: tuple[tuple[Rewrite, re.Pattern[str]], ...] = (
    (
        "systems_first",
        re.compile(r"system (?:message|role|prompt)s? must be (?:at the beginning|first|the first)", re.IGNORECASE),
    ),
    ("no_system", re.compile(r"system role (?:is )?not supported|does not support ['\"`]system['\"`]", re.IGNORECASE)),
    (
        "short_ids",
        re.compile(r"tool call id .*\b(?:length of|must be) 9\b|tool call id .*a-z, A-Z, 0-9", re.IGNORECASE),
    ),
    (
        "no_images",
        re.compile(
            r"(?:image|vision|multi-?modal)(?: inputs?|s)? (?:is|are) not (?:supported|enabled)"  # llama.cpp, Mistral
            r"|support image inputs?\b"  # OpenRouter: no endpoints found that …
            r"|(?:does not|doesn't|not) support (?:image|vision|multi-?modal)"  # LM Studio, SGLang
            r"|is not a (?:multi-?modal|vision)|at most 0 image"  # vLLM
            r"|missing data required for image input"  # Ollama
            r"|unknown variant `?image_url`?"  # DeepSeek
            r"|image_url is only supported by certain models"  # OpenAI
            r"|only '?text'? content type|unsupported content(?:\[\])?\.?type"  # mlx-lm, older llama.cpp
            r"|content\b.{0,20} must be a string",  # Groq
            re.IGNORECASE,
        ),
    ),
)


def is_rejection(refusal: UpstreamError) -> bool:
    """Whether an error may be about how the request is written; a server that is busy teaches nothing."""
    return refusal.status in _REFUSING_STATUSES


def wanted_rewrite(refusal: UpstreamError) -> Rewrite | None:
    """How a server wants the conversation told, if that is what it complains about."""
    return next((rewrite for rewrite, pattern in _REWRITES if pattern.search(refusal.message)), None)


def rejects(name: str, refusal: UpstreamError) -> bool:
    """Whether a refusal is about this parameter: about its presence, not its value."""
    return _is_about_presence(refusal) and _names(name, refusal)


def rejected_parameter(refusal: UpstreamError, body: Iterable[str]) -> str | None:
    """The field of the body that a server does not take, if it names one that may be left out."""
    return next((name for name in body if name not in _KEPT and rejects(name, refusal)), None)


def rejected_field(refusal: UpstreamError, request: ChatRequest) -> str | None:
    """The field of an assistant message, or of a call in it, that a server does not accept and another one wants."""
    if not _is_about_presence(refusal):
        return None
    said, at = f"{refusal.param or ''} {refusal.message}", refusal.param or refusal.message
    names = [name for name in sorted(provider_field_names(request.messages)) if _has_word(at, name)]
    if not names or (names[0] in request.body and "messages" not in said):
        return None  # `reasoning` is a parameter too
    return names[0]


def named_token_limit(refusal: UpstreamError, body: Mapping[str, Json]) -> int | None:
    """The number of tokens that a server would take, if it says that an answer may not be as long as was asked."""
    if not _ABOUT_VALUE.search(f"{refusal.codes} {refusal.message}") or _ABOUT_CONTEXT.search(refusal.message):
        return None
    match = _LIMIT.search(refusal.message)
    asked = next((body[name] for name in TOKEN_LIMITS if name in body and _names(name, refusal)), None)
    if match is None or not isinstance(asked, int):
        return None
    limit = int(next(filter(None, match.groups())).replace(",", "").replace("_", "")[:_MOST_DIGITS])
    limit -= refusal.message.startswith(" (exclusive)", match.end())  # Gemini
    return limit if 0 < limit < asked else None


def _is_about_presence(refusal: UpstreamError) -> bool:
    said = f"{refusal.codes} {refusal.message}"
    if _SURELY_REFUSED.search(said):
        return True
    return _REFUSED.search(said) is not None and not _ABOUT_VALUE.search(said)


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _names(name: str, refusal: UpstreamError) -> bool:
    if refusal.param:
        return refusal.param.rsplit(".", 1)[-1] == name
    return re.search(rf"\b(?:{_SPELLINGS.get(name, re.escape(name))})\b", refusal.message) is not None
