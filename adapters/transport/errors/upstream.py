"""What a server says when it fails, whatever shape it says it in.

Which of our errors it becomes is decided in ``classify``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from adapters.errors import UpstreamError
from adapters.transport.errors.redact import hide_secrets, plain, redact, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adapters.types import Json

_MESSAGE_FIELDS = ("message", "msg", "detail", "error", "errors", "error_message", "description", "title")
_STATUS_FIELDS = ("code", "status_code", "http_status_code", "status", "error_code")
_CODE_FIELDS = ("code", "type", "error_type", "status", "reason", "native_error_code")
_KEPT_METADATA = ("headers", "retry_after_seconds", "retry_after", "reason")
REQUEST_ID_HEADERS = (
    "x-request-id",
    "x-litellm-call-id",
    "request-id",
    "apim-request-id",
)  # the last: Anthropic, Azure
_QUOTED_CHARS = 40
_LONGEST_CODE_CHARS = 200
_LONGEST_MESSAGE_CHARS = 1_000
_LONGEST_BODY_CHARS = 5_000  # of a text that may be a whole page, or the whole prompt; patterns are slow on more
_LOWEST_ERROR, _HIGHEST_ERROR = 400, 599
_RELAYED = re.compile(r"^(?:(?:litellm\.)?\w*(?:Error|Exception)\s*(?::|-)\s*)+")
_RELAY_NOTES = re.compile(r"(?:model=\S{1,200} context_window_fallbacks=|LiteLLM: |Received Model Group=).*", re.DOTALL)
_CUT_JSON = re.compile(r"\s*(?:\[\s*)?\{\s*\"")
_SENTENCE = re.compile(rf'"(?:{"|".join(_MESSAGE_FIELDS)})"\s*+:\s*+"((?:[^"\\]|\\.){{1,{_LONGEST_MESSAGE_CHARS}}})')
_VAGUE = re.compile(r"^(?:provider returned error|error|unknown error|bad request)?\.?$", re.IGNORECASE)


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The server's name for a request, for its operator.

    Args:
        headers: The headers of the response, in lower case.
    """
    return next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), None)


def upstream_error(
    body: Json,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> UpstreamError:
    """Read an error body.

    Args:
        body: The parsed JSON, or the text of a body that is none.
        status: HTTP status of the response if it is an error, else None.
        headers: Headers of the response.
        secrets: Values that must not appear in any text.
    """
    body, headers = hide_secrets(body, secrets), hide_secrets(dict(headers or {}), secrets)
    if isinstance(body, str):
        body = _said_in(body) if _CUT_JSON.match(body) else body[:_LONGEST_BODY_CHARS]
    layers = list(_layers(body))
    metadata: dict[str, Any] = next((each["metadata"] for each in layers if isinstance(each.get("metadata"), dict)), {})
    message = plain(_message_of(body, layers, metadata)[:_LONGEST_BODY_CHARS])
    flagged = metadata.get("flagged_input")
    if flagged and plain(str(flagged)[:_QUOTED_CHARS]) in message:
        message = ""  # it repeats what the person said; a long quotation is cut in its middle
    headers = {key.lower(): value for key, value in (headers or {}).items()}
    return UpstreamError(
        shorten(redact(message, secrets), _LONGEST_MESSAGE_CHARS),
        # A failing status of the response is the truth; inside a 200 the body is all there is.
        status=status or next(filter(None, (_status_of(each) for each in layers)), None),
        codes=" ".join(_code(each[name]) for each in layers for name in _CODE_FIELDS if _is_word(each.get(name))),
        param=next((each["param"] for each in layers if _is_word(each.get("param"))), None) or _location(body),
        headers=headers,
        metadata={name: metadata[name] for name in _KEPT_METADATA if name in metadata},
        is_flagged=bool(flagged),
        failed_generation=next(
            (each["failed_generation"] for each in layers if isinstance(each.get("failed_generation"), str)), None
        ),
        request_id=request_id_of(headers),
    )


def _said_in(text: str) -> Json:
    """The sentence in JSON that is cut off, as a long one is; the rest of it may be the whole prompt."""
    parsed = _parsed(text)
    if not isinstance(parsed, str):
        return parsed
    found = _SENTENCE.search(text)
    return _words(_parsed(f'"{found.group(1)}"')) if found else ""


def _location(body: Json, depth: int = 4) -> str | None:
    """The field that a FastAPI server complains about: ``{"detail": [{"loc": ["body", "temperature"], …}]}``."""
    if isinstance(body, dict) and depth:
        places = body.get("loc")
        if isinstance(places, list) and places and isinstance(places[-1], str):
            return places[-1]
        body = [body[name] for name in ("detail", "message", "error") if name in body]
    if isinstance(body, list) and depth:
        return next(filter(None, (_location(each, depth - 1) for each in body)), None)
    return None


def _layers(body: Json) -> Iterator[dict[str, Json]]:
    """The objects of an error body, the innermost error first: ``{"error": {…}}``, flat ones, lists of one."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, dict):
        inner = body.get("error")
        if isinstance(inner, dict):
            yield inner
        yield body


def _message_of(body: Json, layers: list[dict[str, Json]], metadata: Mapping[str, Json]) -> str:
    message = next(filter(None, (_words_of(each) for each in layers)), "") if layers else _words(body)
    message = _RELAY_NOTES.sub("", _RELAYED.sub("", message.strip()[:_LONGEST_BODY_CHARS])).strip()
    if _VAGUE.match(message) and not metadata.get("flagged_input"):
        raw = _words(_parsed(metadata.get("raw")))
        return f"{message.rstrip('.')}: {raw}" if message and raw else message or raw
    return message


def _words_of(layer: dict[str, Any]) -> str:
    return next(filter(None, (_words(layer.get(name)) for name in _MESSAGE_FIELDS)), "")


def _words(value: Json, depth: int = 4) -> str:
    """The sentence in a string, or in a list or object that holds one."""
    if isinstance(value, str):
        parsed = _parsed(value) if depth and value.lstrip().startswith(("{", "[")) else value
        return value.strip() if isinstance(parsed, str) else _words(parsed, depth - 1) or value.strip()
    if isinstance(value, list) and depth:
        return "; ".join(filter(None, (_words(each, depth - 1) for each in value[:3])))
    if isinstance(value, dict) and depth:
        return next(filter(None, (_words(value.get(name), depth - 1) for name in _MESSAGE_FIELDS)), "")
    return ""


def _parsed(raw: Json) -> Json:
    """OpenRouter's ``metadata.raw`` is the provider's own error body, often as a string."""
    if isinstance(raw, str):
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return raw
    return raw


def _status_of(layer: dict[str, Any]) -> int | None:
    for name in _STATUS_FIELDS:
        value = layer.get(name)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value.strip()[:9])
        if isinstance(value, int) and _LOWEST_ERROR <= value <= _HIGHEST_ERROR:
            return value
    return None


def _code(value: str) -> str:
    return value[:_LONGEST_CODE_CHARS].lower()


def _is_word(value: Json) -> bool:
    return isinstance(value, str) and bool(value.strip())
