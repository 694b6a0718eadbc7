"""Read what a rejection is about: a parameter, its value, a limit, a field or the shape of the messages.

``capabilities`` remembers what follows from it.
"""

# pyright: reportReturnType=false, reportArgumentType=false
# Names of the table are its own literal keys.

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapters.request.cache_control import has_marks
from adapters.request.history import REWRITES
from adapters.request.messages import has_images
from adapters.request.provider_fields import provider_field_names
from adapters.transport.errors.classify import lacks_modality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.errors import UpstreamError
    from adapters.request.chat_request import ChatRequest
    from adapters.request.history import Rewrite
    from adapters.types import Json

TOKEN_LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""How many tokens an answer may have, by both of its names."""

_REJECTING_STATUSES = (400, 404, 422, 500, 501)  # llama.cpp refuses parameters with 500, OpenRouter with 404
DISPENSABLE: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "top_a", "seed", "stop", "logit_bias", "verbosity"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "logprobs", "top_logprobs", "prediction"),
        *("reasoning", "reasoning_effort", "parallel_tool_calls", "web_search_options"),
    }
)
"""Parameters that a request can lack or have another value of; a limit, tools and a format are what was asked for."""

_KEPT = frozenset(
    {"tools", "model", "messages", "stream", "response_format"}
)  # without them the answer would be another
_MOST_DIGITS = 9
_REJECTED = re.compile(
    r"unsupported|not supported|support|unrecognized|unknown|unexpected|extra (?:inputs|fields)|extra_forbidden"
    r"|not permitted|not allowed|can only be|only be (?:defined|set|used)|cannot be (?:used|set)|not a valid"
    r"|invalid param",
    re.IGNORECASE,
)
_SURELY_REJECTED = re.compile(  # whatever else the message says
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
_ABOUT_CONTEXT = re.compile(  # the room that this prompt leaves, which differs from request to request
    r"context (?:length|size)|context_length|input tokens|prompt|max_model_len|reduce the length", re.IGNORECASE
)
_NUMBER = r"\D{0,3}?(\d[\d,_]*)"
_LIMIT = re.compile(
    rf"(?:at most|up to|no more than|less than or equal to|not (?:be )?(?:exceed|greater than|larger than|more than)"
    rf"|<=|≤|\bmaximum(?: allowed| supported)?(?: value| number)?(?: of output tokens)? (?:is|of)){_NUMBER}"
    rf"|\d > (\d[\d,_]*), which is the maximum"  # Anthropic
    rf"|\brange\b[^\d\[(]{{0,40}}[\[(]?\s*\d+\s*,{_NUMBER}\s*[\])]"  # DeepSeek, Qwen: [1, 8192]
    rf"|\b(?:between|from) \d+ (?:\(inclusive\) )?(?:and|to){_NUMBER}"
    rf"|\blimit(?: of| is)?{_NUMBER}",
    re.IGNORECASE,
)
_SPELLINGS = {
    "reasoning_effort": r"reasoning_effort|thinking|think",
    "max_tokens": r"max_tokens|maxOutputTokens|max_output_tokens",
}
_ABOUT_CACHE_MARKS = re.compile(r"cache[_ ]?control|cache[_ ]?point|prompt caching", re.IGNORECASE)
_WANTED_VALUE = re.compile(
    r"(?:\b(?:set|use|specify) (?:the )?['\"`]?(?P<set>[a-z_]{4,40})['\"`]?(?: parameter)?(?: to|=| =) ?"
    r"|\b(?P<named>[a-z_]{4,40})['\"`]? (?:must|should|has to|needs to) be (?:set to )?)"
    r"['\"`]?(?P<value>none|minimal|low|medium|high|auto|true|false|\d{1,3}(?:\.\d{1,3})?)\b"
    r"(?!['\"`]?(?:,? or\b| to\b|, ?['\"`]| ?-\d))",  # one of several
    re.IGNORECASE,
)
_ABOUT_TOOLS = re.compile(r"\b(?:tool|function)s?\b", re.IGNORECASE)
_WANTS_REASONING = (
    r"\breasoning_content\b.{0,60}\b(?:missing|required|must be (?:passed|provided|included|set|present))\b",
    r"\b(?:missing|must include|requires?)\b.{0,40}\breasoning_content\b",
)
_REASONING_MISSING = re.compile("|".join(_WANTS_REASONING), re.IGNORECASE)
_REWRITE_PATTERNS: tuple[tuple[Rewrite, tuple[str, ...]], ...] = (
    (
        "systems_first",
        (
            r"system (?:message|role|prompt)s? must be (?:at the beginning|first|the first)",  # Qwen
            r"role 'system' after",  # Mistral
        ),
    ),
    ("no_system", (r"system role (?:is )?not supported", r"does not support ['\"`]system['\"`]")),  # Gemma, OpenAI's o1
    ("short_ids", (r"tool call id .*\b(?:length of|must be) 9\b", r"tool call id .*a-z, A-Z, 0-9")),  # Mistral
    ("reasoning_beside_calls", _WANTS_REASONING),  # Kimi, DeepSeek
    ("reasoning_everywhere", _WANTS_REASONING),
    ("assistant_after_tools", (r"role '?user'? after role '?tool'?",)),  # Mistral
    (
        "user_first",
        (
            r"\b(?:must|should) start with (?:a |an )?(?:['\"`]?system['\"`]? or (?:a )?)?['\"`]?user",  # Bedrock
            r"\bfirst message (?:must|should)\b.{0,40}\buser\b",  # Anthropic
            r"\bno user (?:query|message)",  # Qwen
            r"\bat least one (?:user )?message\b",  # Anthropic
            r"\bcontents (?:is|are) (?:required|not specified)",  # Gemini
        ),
    ),
    (
        "user_last",
        (
            r"\bprefill\b",  # Anthropic, llama.cpp
            r"\bends? with (?:a |an |the )?['\"`]?user\b",  # Anthropic, Bedrock, Gemini
            r"\bfinal assistant content\b",  # Anthropic
            r"\b(?:last|final) (?:message|role|turn)\b.{0,60}\b(?:user|tool)\b",  # Mistral, Perplexity
            r"\bassistant messages at the end\b",  # llama.cpp
        ),
    ),
    (
        "alternating_roles",
        (
            r"\balternat(?:e|es|ing)\b",  # Gemma, Ministral, Bedrock, Perplexity
            r"\bunexpected role\b",  # Mistral
            r"\binterleave\b",  # DeepSeek
            r"\b(?:successive|consecutive|multiple) ['\"`]?(?:user|assistant|messages?)\b",  # DeepSeek, Anthropic
            r"\bfunction call turn comes immediately after\b",  # Gemini
        ),
    ),
    (
        "text_content",
        (
            r"\bcontent\b.{0,60}\b(?:must|should|to)\b.{0,30}\bstrings?\b",  # Groq
            r"\bexpected (?:a )?string\b",  # DeepSeek
            r"\bvalid string\b",  # FastAPI
            r"\bcontain string content\b",
            r"\bbut got null\b|\bnone is not an allowed value\b",  # OpenAI, FastChat
            r"\bonly allowed for messages with role 'user'",  # OpenAI: images of tools
        ),
    ),
    (
        "no_empty_messages",
        (
            r"\b(?:content|text|messages?)\b.{0,60}\b(?:is|are|be|have) (?:non-?)?(?:empty|blank)",  # Anthropic, Kimi
            r"\bmust have either content or tool_calls\b",  # Mistral
            r"\bat least one content (?:element|block)\b",  # xAI
        ),
    ),
)
_REWRITES = tuple((name, re.compile("|".join(patterns), re.IGNORECASE)) for name, patterns in _REWRITE_PATTERNS)


@dataclass(frozen=True, slots=True)
class WantedValue:
    """A value that a server asks for instead of the one that was sent.

    Attributes:
        name: The parameter.
        value: Its value.
        with_tools: Whether it applies to requests with tools alone, and to those without the parameter as well.
    """

    name: str
    value: Json
    with_tools: bool


def is_rejection(failure: UpstreamError) -> bool:
    """Return whether a failure may be about how the request is written; that of a busy server is not."""
    return failure.status is None or failure.status in _REJECTING_STATUSES


def wanted_rewrite(rejection: UpstreamError, request: ChatRequest) -> Rewrite | None:
    """Return the shape of the history that a server asks for.

    Args:
        rejection: What the server reported.
        request: What it rejected; a shape that it has already is not wanted.
    """
    wanted = [name for name, pattern in _REWRITES if pattern.search(rejection.message)]
    messages = request.messages
    if lacks_modality(rejection) == "image" and not any(map(has_images, REWRITES["no_images"](messages))):
        wanted.insert(0, "no_images")  # with an image of the user's own, the request would be rejected again
    return next((name for name in wanted if messages and REWRITES[name](messages) != messages), None)


def wanted_value(rejection: UpstreamError, request: ChatRequest) -> WantedValue | None:
    """Return the value that a server asks for by name, such as "set reasoning_effort to 'none'"."""
    for found in _WANTED_VALUE.finditer(rejection.message):
        name, value = found["set"] or found["named"], _parse_value(found["value"].lower())
        with_tools = "tools" in request.body and _ABOUT_TOOLS.search(rejection.message) is not None
        if name in DISPENSABLE and (name in request.body or with_tools) and request.body.get(name) != value:
            return WantedValue(name, value, with_tools)
    return None


def _parse_value(word: str) -> Json:
    if word in ("true", "false"):
        return word == "true"
    return float(word) if word[0].isdecimal() else word


def rejects_cache_marks(rejection: UpstreamError, request: ChatRequest) -> bool:
    """Return whether a rejection names the marks of the request for the server's prompt cache, whatever is wrong."""
    words = f"{rejection.param or ''} {rejection.message}"
    return _ABOUT_CACHE_MARKS.search(words) is not None and has_marks(request.messages, request.body)


def rejects(name: str, rejection: UpstreamError) -> bool:
    """Return whether a rejection is about this parameter, and about its presence rather than its value."""
    return _is_about_presence(rejection) and _names(name, rejection)


def rejected_parameter(rejection: UpstreamError, body: Iterable[str]) -> str | None:
    """Return the field of the body that a server does not accept, if it may be left out."""
    return next((name for name in body if name not in _KEPT and rejects(name, rejection)), None)


def rejected_field(rejection: UpstreamError, request: ChatRequest) -> str | None:
    """Return the field of an assistant message, or of a call, that this server does not accept and others want."""
    if not _is_about_presence(rejection) or _REASONING_MISSING.search(rejection.message):
        return None
    words, place = f"{rejection.param or ''} {rejection.message}", rejection.param or rejection.message
    names = [name for name in sorted(provider_field_names(request.messages)) if _has_word(place, name)]
    if not names or (names[0] in request.body and "messages" not in words):
        return None  # `reasoning` is a parameter too
    return names[0]


def named_token_limit(rejection: UpstreamError, body: Mapping[str, Json]) -> int | None:
    """Return the limit of tokens that a server names for an answer that was to be longer."""
    if not _ABOUT_VALUE.search(f"{rejection.codes} {rejection.message}") or _ABOUT_CONTEXT.search(rejection.message):
        return None
    match = _LIMIT.search(rejection.message)
    asked = next((body[name] for name in TOKEN_LIMITS if name in body and _names(name, rejection)), None)
    if match is None or not isinstance(asked, int):
        return None
    limit = int(next(filter(None, match.groups())).replace(",", "").replace("_", "")[:_MOST_DIGITS])
    if rejection.message.startswith(" (exclusive)", match.end()):  # Gemini
        limit -= 1
    return limit if 0 < limit < asked else None


def _is_about_presence(rejection: UpstreamError) -> bool:
    words = f"{rejection.codes} {rejection.message}"
    if _SURELY_REJECTED.search(words):
        return True
    return _REJECTED.search(words) is not None and not _ABOUT_VALUE.search(words)


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _names(name: str, rejection: UpstreamError) -> bool:
    if rejection.param:
        return rejection.param.rsplit(".", 1)[-1] == name
    return re.search(rf"\b(?:{_SPELLINGS.get(name, re.escape(name))})\b", rejection.message) is not None
