"""What is asked: one question to a provider, read from what the caller wrote.

How it becomes a request is the business of ``build``.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from adapters.config.values import WRITTEN_BY_US
from adapters.errors import ConfigError
from adapters.request.response_format import response_format_of
from adapters.types import CallOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.request.response_format import ResponseFormat
    from adapters.types import Json, Message, ToolSpec

_logger = logging.getLogger(__name__)

_OF_THE_PROVIDER = (
    *("kind", "name", "model", "base_url", "api_key", "think", "num_ctx", "model_path"),
    *("organization", "project", "default_headers", "limits", "prewarm", "routing"),
)
_TAKEN: Mapping[str, str] = {
    **dict.fromkeys(_OF_THE_PROVIDER, "set it where the provider is made"),
    **dict.fromkeys(("api_base", "api_version", "azure_endpoint"), "set base_url where the provider is made"),
    **dict.fromkeys(("messages", "tools"), "it is an argument of its own, before the options"),
    **dict.fromkeys(("extra_query", "query"), "write it into base_url where the provider is made"),
    **dict.fromkeys(("client", "http_client"), "the provider makes its own connections"),
    **dict.fromkeys(("fallbacks", "context_window_fallbacks"), "put providers into a FallbackProvider"),
    **dict.fromkeys(("hedge_after_s", "cooldown_s"), "set it where the FallbackProvider is made"),
    "first_token_s": "use first_token_timeout",
    "custom_llm_provider": "choose a kind where the provider is made",
    "headers": "use extra_headers for one request, or set headers where the provider is made",
    "retry": "use max_retries for one request, or set retry where the provider is made",
    "num_retries": "use max_retries",
    "retries": "use max_retries",
    "timeouts": "use timeout for one request, or set timeouts where the provider is made",
    "request_timeout": "use timeout",
    "stream_timeout": "use first_token_timeout, or timeout for the whole call",
    "stream": "chat waits for the whole answer, chat_stream and stream_events stream it",
}

_KNOWN = CallOptions.__optional_keys__
_RESEMBLING_BUT_KNOWN = frozenset(
    {"logit_bias_mode", "max_new_tokens", "min_tokens", "reasoning_format", "repeat_penalty", "top_a"}
)
"""Parameters of servers whose names are near those of other parameters."""

_MIN_SIMILARITY = 0.84  # "retrys" has 0.86 to "retries"; "min_tokens", which vLLM has, 0.80 to "max_tokens"
_MAX_LOGGED = 100  # names for each provider; their number is the caller's


@dataclass(frozen=True, slots=True)
class RequestParams:
    """One question to a provider. Its ``repr`` shows nothing that the caller wrote.

    Attributes:
        messages: The conversation.
        tools: The tools that are offered, or mentioned; empty if there are none.
        stream: Whether the answer is streamed.
        tool_choice: ``none`` if the answer must be text.
        options: Sampling parameters of this request alone.
        extra_body: Fields that are put into the body last, over all others.
        headers: Headers of this request alone.
        timeout_s: Seconds for the whole call with all its tries, or None.
        max_retries: How often a failed try may be repeated, or None if the provider's policy decides.
        first_token_s: Seconds that each try has until the first useful piece of a stream, or None if the provider's
            timeouts decide.
        response_format: The form that the answer must have, or None; ``options`` holds its field.
    """

    messages: list[Message] = field(repr=False)
    tools: list[ToolSpec] = field(repr=False)
    stream: bool
    tool_choice: Literal["auto", "none"] = "auto"
    options: dict[str, Json] = field(default_factory=dict, repr=False)
    extra_body: dict[str, Json] = field(default_factory=dict, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float | None = None
    max_retries: int | None = None
    first_token_s: float | None = None
    response_format: ResponseFormat | None = field(default=None, repr=False)

    @property
    def wants_text(self) -> bool:
        """Whether tool calls are forbidden, by the way of asking or by the caller's own ``tool_choice``."""
        return self.tool_choice == "none" or self.options.get("tool_choice") == "none"

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Name of each tool -> JSON schema of each of its parameters."""
        schemas = {}
        for tool in self.tools:
            function = tool.get("function")
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                parameters = function.get("parameters")
                properties = parameters.get("properties") if isinstance(parameters, dict) else None
                schemas[function["name"]] = properties if isinstance(properties, dict) else {}
        return schemas


def parse_params(
    messages: list[Message],
    tools: list[ToolSpec] | None,
    *,
    tool_choice: Literal["auto", "none"],
    stream: bool,
    options: Mapping[str, Json],
) -> RequestParams:
    """Read a question from the arguments of a call.

    Args:
        messages: The conversation.
        tools: The tools that are offered, or mentioned.
        tool_choice: ``none`` if the way of asking wants text.
        stream: Whether the answer is streamed.
        options: The caller's keywords. ``timeout``, ``max_retries``, ``extra_headers`` and ``extra_body`` mean what
            they mean in OpenAI's SDK, ``first_token_timeout`` is ours, ``response_format`` may be a class of pydantic;
            all others are fields of the body.

    Raises:
        ConfigError: If a keyword belongs to the provider or to the call, or its value is of no use.
    """
    own = dict(options)
    for name in own:
        if name in _TAKEN:
            raise ConfigError(f"{name} is not an option of a single request: {_TAKEN[name]}.")
        if name not in _KNOWN:
            _check_spelling(name)
    timeout_s = seconds_of("timeout", own.pop("timeout", None))
    first_token_s = seconds_of("first_token_timeout", own.pop("first_token_timeout", None))
    if first_token_s is not None and not stream:
        raise ConfigError("first_token_timeout is for streams; use timeout with chat, which waits for a whole answer.")
    max_retries = _max_retries(own.pop("max_retries", None))
    headers = _headers(own.pop("extra_headers", None))
    extra_body = _extra_body(own.pop("extra_body", None))
    wanted = own.pop("response_format", None)
    form = None if wanted is None else response_format_of(wanted)
    if form is not None:
        own["response_format"] = form.body
    for name, value in (own | extra_body).items():
        _check_json(name, value)
    limits = (timeout_s, max_retries, first_token_s)
    return RequestParams(messages, tools or [], stream, tool_choice, own, extra_body, headers, *limits, form)


def log_unknown_options(provider: str, options: Iterable[str], logged: set[str]) -> None:
    """Log keywords that no provider knows by name, each once: they are sent as they are.

    Args:
        provider: Name of the provider, for the log.
        options: The keywords of a call.
        logged: Names that were logged for this provider before; it grows.
    """
    for name in options:
        if name not in _KNOWN and name not in logged and len(logged) < _MAX_LOGGED:
            logged.add(name)
            _logger.info("%s: %s is not a known option; it is sent as a field of the request's body", provider, name)


def _check_spelling(name: str) -> None:
    """Refuse a keyword that resembles a known one.

    Raises:
        ConfigError: If it does.
    """
    if name in _RESEMBLING_BUT_KNOWN:
        return
    written = _plain(name)
    for known in (_KNOWN, _TAKEN):
        spellings = {_plain(each): each for each in known}
        near = get_close_matches(written, spellings, n=1, cutoff=_MIN_SIMILARITY)
        near = near or [each for each in spellings if sorted(each) == sorted(written)]  # modle: 0.80 to model
        if near:
            raise ConfigError(
                f"{name} is not a known option. Did you mean {spellings[near[0]]}? Else write it into extra_body."
            )


def _plain(name: str) -> str:
    """Leave out what spellings of one name differ in: ``maxTokens`` is ``max_tokens``."""
    return name.lower().replace("_", "").replace("-", "")


def seconds_of(name: str, value: Json) -> float | None:
    """Read a limit on time, or None if there is none.

    Args:
        name: What the caller calls it.
        value: What the caller wrote.

    Raises:
        ConfigError: If it is no number above 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name} must be a number of seconds above 0.")
    return float(value)


def _max_retries(value: Json) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigError("max_retries must be a whole number, 0 or more.")
    number: int | None = value
    return number


def _headers(value: Json) -> dict[str, str]:
    headers = {} if value is None else value
    if not isinstance(headers, dict) or not all(
        isinstance(text, str) and text.isprintable() and text.isascii() for pair in headers.items() for text in pair
    ):
        raise ConfigError('extra_headers must be an object of plain texts, such as {"X-Request-Id": "7"}.')
    return dict(headers)


def _extra_body(value: Json) -> dict[str, Json]:
    body = {} if value is None else value
    if not isinstance(body, dict):
        raise ConfigError('extra_body must be an object of fields, such as {"top_k": 5}.')
    if taken := sorted(WRITTEN_BY_US & body.keys()):
        raise ConfigError(f"{taken[0]} cannot stand in extra_body: the provider writes it.")
    return dict(body)


def _check_json(name: Json, value: Json) -> None:
    """Refuse what cannot be written into a body."""
    try:
        json.dumps({name: value}, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        writable = False
    else:
        writable = isinstance(name, str)
    if not writable:
        kind = "class" if isinstance(value, type) else type(value).__name__
        raise ConfigError(f"{name} holds a {kind}, which is no JSON.")
