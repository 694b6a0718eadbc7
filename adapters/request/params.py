"""The validated parameters of one call, parsed from the arguments that the caller passed.

``build`` makes a request of them.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from adapters.config.values import WRITTEN_BY_US, read_extra_headers
from adapters.errors import ConfigError
from adapters.request.response_format import parse_response_format
from adapters.transport.endpoint import RedactedDict
from adapters.types import CallOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.request.response_format import ResponseSchema
    from adapters.types import Json, Message, ToolSpec

_logger = logging.getLogger(__name__)

_MESSAGE = '{"role": "user", "content": "Hello"}'
_TOOL = '{"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}'
_PROVIDER_SETTINGS = (
    *("kind", "name", "model", "base_url", "api_key", "think", "num_ctx", "model_path"),
    *("organization", "project", "default_headers", "limits", "prewarm", "routing", "tls", "litellm"),
    *("max_concurrent", "on_long_thinking", "prefill", "keep_warm_s", "cache_control"),
)
_NOT_PER_CALL: Mapping[str, str] = {
    **dict.fromkeys(_PROVIDER_SETTINGS, "set it where the provider is created"),
    **dict.fromkeys(("api_base", "api_version", "azure_endpoint"), "set base_url where the provider is created"),
    **dict.fromkeys(("messages", "tools"), "pass it as a positional argument"),
    **dict.fromkeys(("extra_query", "query"), "set extra_query where the provider is created"),
    **dict.fromkeys(("client", "http_client"), "the provider opens its own connections"),
    **dict.fromkeys(("fallbacks", "context_window_fallbacks"), "use a FallbackProvider"),
    **dict.fromkeys(("hedge_after_s", "cooldown_s"), "set it where the FallbackProvider is created"),
    "first_token_s": "use first_token_timeout",
    "first_text_s": "use first_text_timeout",
    "custom_llm_provider": "choose a kind where the provider is created",
    "headers": "use extra_headers for one request, or set headers where the provider is created",
    "retry": "use max_retries for one request, or set retry where the provider is created",
    "num_retries": "use max_retries",
    "retries": "use max_retries",
    "timeouts": "use timeout for one request, or set timeouts where the provider is created",
    "request_timeout": "use timeout",
    "stream_timeout": "use first_token_timeout, or timeout for the whole call",
    "stream": "chat is not streamed, chat_stream and stream_events are",
}


_KNOWN = CallOptions.__optional_keys__
_RESEMBLING_BUT_KNOWN = frozenset(
    {"logit_bias_mode", "max_new_tokens", "min_tokens", "reasoning_format", "repeat_penalty", "top_a"}
)
"""Parameters of servers whose names are near those of other parameters."""

_MIN_SIMILARITY = 0.84  # "retrys" has 0.86 to "retries"; "min_tokens", which vLLM has, 0.80 to "max_tokens"
_MAX_LOGGED = 100  # names for each provider; their number is the caller's


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The arguments of one call, as the caller passed them. The ``repr`` hides them.

    An error in an argument is raised while frames of the package hold it; packed, none of the values is a variable of
    a frame, and error trackers that record variables do not see the conversation.

    Attributes:
        messages: The conversation.
        tools: The tools, or None.
        options: The keyword arguments.
    """

    messages: list[Message] = field(repr=False)
    tools: list[ToolSpec] | None = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestParams:
    """The validated parameters of one call. The ``repr`` hides everything that the caller wrote.

    Attributes:
        messages: The conversation.
        tools: The tools that are offered, or that the history mentions; empty if there are none.
        stream: Whether the response is streamed.
        tool_choice: ``none`` if the response must be text.
        options: Fields of the body for this call alone, such as sampling parameters.
        extra_body: Fields that are merged into the body last and override all others.
        headers: Headers of this call alone.
        timeout_s: Seconds for the whole call with all attempts, or None for the provider's setting.
        max_retries: Number of retries after the first attempt, or None for the provider's setting.
        first_token_s: Seconds per attempt until the first useful token, or None for the provider's setting.
        first_text_s: Seconds per attempt until the first text or call, or None for the provider's setting.
        without_thinking: Whether thinking is switched off for this request, whatever else the parameters say.
        allow_empty: Whether the response may have neither text nor calls.
        response_format: The schema of the response, or None; ``options`` holds the field of the body.
        metadata: The caller's own data for LiteLLM's callbacks; it is not sent.
        is_prefill: Whether the request only fills the server's prefix cache. No person waits for it.
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
    first_text_s: float | None = None
    without_thinking: bool = False
    allow_empty: bool = False
    response_format: ResponseSchema | None = field(default=None, repr=False)
    metadata: dict[str, Json] = field(default_factory=dict, repr=False)
    is_prefill: bool = False

    @property
    def wants_text(self) -> bool:
        """Whether tool calls are forbidden, by the method or by the caller's ``tool_choice``."""
        return self.tool_choice == "none" or self.options.get("tool_choice") == "none"

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Map the name of each tool to the JSON schemas of its parameters."""
        schemas = {}
        for tool in self.tools:
            function = tool.get("function")
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                parameters = function.get("parameters")
                properties = parameters.get("properties") if isinstance(parameters, dict) else None
                schemas[function["name"]] = properties if isinstance(properties, dict) else {}
        return schemas


def parse_params(arguments: CallArguments, *, stream: bool, wants_text: bool = False) -> RequestParams:
    """Validate the arguments of a call.

    Args:
        arguments: What the caller passed. Among the options, ``timeout``, ``max_retries``, ``extra_headers`` and
            ``extra_body`` mean what they mean in OpenAI's SDK, ``first_token_timeout``, ``first_text_timeout`` and
            ``allow_empty`` are this library's own, ``response_format`` may be a type, ``metadata`` is for LiteLLM's
            callbacks; all others become fields of the body.
        stream: Whether the response is streamed.
        wants_text: Whether the method forbids tool calls.

    Raises:
        ConfigError: If an argument has the wrong type, an option belongs to the provider, or a value cannot be sent.
    """
    _check_list("messages", arguments.messages, _MESSAGE)
    _check_list("tools", arguments.tools or (), _TOOL)
    parsed: dict[str, Any] = {"tool_choice": "none"} if wants_text else {}
    if not arguments.options:
        return RequestParams(arguments.messages, arguments.tools or [], stream, **parsed)
    own = RedactedDict(arguments.options)
    for name in own:
        if name in _NOT_PER_CALL:
            raise ConfigError(f"{name} is not an option of a single request: {_NOT_PER_CALL[name]}.")
        if name not in _KNOWN:
            _check_spelling(name)
    if own.get("tool_choice") == "none" or wants_text:
        own.pop("tool_choice", None)
        parsed["tool_choice"] = "none"
    parsed["timeout_s"] = parse_seconds("timeout", own.pop("timeout", None))
    parsed["first_token_s"] = parse_seconds("first_token_timeout", own.pop("first_token_timeout", None))
    parsed["first_text_s"] = parse_seconds("first_text_timeout", own.pop("first_text_timeout", None))
    parsed["max_retries"] = _max_retries(own.pop("max_retries", None))
    parsed["allow_empty"] = _allow_empty(own.pop("allow_empty", None))
    parsed["metadata"] = _metadata(own.pop("metadata", None))
    parsed["headers"] = RedactedDict(read_extra_headers(own.pop("extra_headers", None)))
    extra_body = _extra_body(own.pop("extra_body", None))
    wanted = own.pop("response_format", None)
    if wanted is not None:
        schema = parse_response_format(wanted)
        parsed["response_format"], own["response_format"] = schema, schema.body
    fields = RedactedDict(own | extra_body)
    for name in fields:
        _check_json(name, fields)
    return RequestParams(
        arguments.messages, arguments.tools or [], stream, options=own, extra_body=extra_body, **parsed
    )


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
    for known in (_KNOWN, _NOT_PER_CALL):
        spellings = {_plain(option): option for option in known}
        near = get_close_matches(written, spellings, n=1, cutoff=_MIN_SIMILARITY)
        near = near or [
            spelling for spelling in spellings if sorted(spelling) == sorted(written)
        ]  # modle: 0.80 to model
        if near:
            raise ConfigError(
                f"{name} is not a known option. Did you mean {spellings[near[0]]}? Else write it into extra_body."
            )


def _plain(name: str) -> str:
    """Leave out what spellings of one name differ in: ``maxTokens`` is ``max_tokens``."""
    return name.lower().replace("_", "").replace("-", "")


def parse_seconds(name: str, value: Json) -> float | None:
    """Validate a limit on time; None means no limit.

    Args:
        name: Name of the argument.
        value: What the caller passed.

    Raises:
        ConfigError: If it is not a finite number above 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name} must be a number of seconds above 0.")
    return float(value)


def _check_list(name: str, value: Json, example: str) -> None:
    if not isinstance(value, list | tuple) or not all(map(_is_dict, value)):
        hint = " Functions are for run_turn." if name == "tools" else ""
        raise ConfigError(f"{name} must be a list of {name}, such as [{example}].{hint}")
    if name == "messages" and not all(map(_has_role, value)):
        raise ConfigError(f'Each message must have a "role", as in {example}.')


def _has_role(message: Message) -> bool:
    return "role" in message


def _is_dict(item: Json) -> bool:
    return isinstance(item, dict)


def _max_retries(value: Json) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigError("max_retries must be a whole number, 0 or more.")
    number: int | None = value
    return number


def _allow_empty(value: Json) -> bool:
    if value is not None and not isinstance(value, bool):
        raise ConfigError("allow_empty must be True or False.")
    return value is True


def _metadata(value: Json) -> dict[str, Json]:
    metadata = {} if value is None else value
    if not isinstance(metadata, dict) or not all(isinstance(name, str) for name in metadata):
        raise ConfigError('metadata must be an object, such as {"user_id": "7", "tags": ["home"]}.')
    return RedactedDict(metadata)


def _extra_body(value: Json) -> dict[str, Json]:
    body = {} if value is None else value
    if not isinstance(body, dict):
        raise ConfigError('extra_body must be an object of fields, such as {"top_k": 5}.')
    if taken := sorted(WRITTEN_BY_US & body.keys()):
        raise ConfigError(f"{taken[0]} cannot be set in extra_body: the provider writes it.")
    return RedactedDict(body)


def _check_json(name: Json, fields: Mapping[str, Json]) -> None:
    """Raise ``ConfigError`` if a field cannot be encoded as JSON."""
    try:
        json.dumps({name: fields[name]}, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        is_json = False
    else:
        is_json = isinstance(name, str)
    if not is_json:
        kind = "class" if isinstance(fields[name], type) else type(fields[name]).__name__
        raise ConfigError(f"{name} holds a {kind}, which is not JSON.")
