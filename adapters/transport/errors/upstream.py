"""Read an error body of any server or relay into an ``UpstreamError``.

Which class of error it becomes is decided in ``classify``.
"""

# pyright: reportIndexIssue=false
# The type is checked by a function.

from __future__ import annotations

import html
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from adapters.errors import UpstreamError
from adapters.transport.errors.redact import hide_secrets, is_html, plain, redact, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adapters.types import Json

_MESSAGE_FIELDS = ("message", "msg", "detail", "error", "errors", "error_message", "description", "title", "status_msg")
_STATUS_FIELDS = ("code", "status_code", "http_status_code", "status", "error_code")
_CODE_FIELDS = ("code", "type", "error_type", "status", "reason", "native_error_code", "status_code")
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
_LONGEST_XML_CHARS = 2_000
_DEPTH = 6  # of errors inside errors
_MOST_LAYERS = 12
_MOST_ITEMS = 3  # of a list of errors
_LOWEST_ERROR, _HIGHEST_ERROR = 400, 599
_LOWEST_OWN_CODE = 1_000  # a number above all HTTP statuses is a code of the service, such as Z.ai's 1113
_RELAYED = re.compile(r"^(?:(?:litellm\.)?\w*(?:Error|Exception)\s*(?::|-)\s*)+")
_RELAY_NOTES = re.compile(r"(?:model=\S{1,200} context_window_fallbacks=|LiteLLM: |Received Model Group=).*", re.DOTALL)
_CUT_JSON = re.compile(r"\s*(?:\[\s*)?\{\s*\"")
_QUOTED_ERROR = re.compile(
    r"""\{\s*+\\{0,7}+["'](?:error|errors|message|msg|detail|code|type|object|status|request_id)\\{0,7}+["']\s*+:"""
)
_ESCAPED_QUOTE = re.compile(r'\\++(?=")')
_FIELD = re.compile(
    rf"""(["'])({"|".join({*_MESSAGE_FIELDS, *_CODE_FIELDS, "param"})})\1\s*+:\s*+"""
    rf"""(?:(["'])((?:[^"'\\]|\\.|(?!\3)["']){{0,{_LONGEST_MESSAGE_CHARS}}}+)|(\d{{1,9}}+))""",
    re.DOTALL,
)
_XML = re.compile(r"\s*+<(?:\?xml\b|[A-Za-z][\w.:-]*+[\s>])")
_XML_FIELD = re.compile(
    r"<(?:[\w.-]+:)?(?:error|fault)?(code|message|msg|string|detail|description|reason|status|title|error)\b[^<>]*+>"
    r"\s*+(?:<!\[CDATA\[(.*?)\]\]>|([^<]*+))\s*+</",
    re.IGNORECASE | re.DOTALL,
)
_XML_TAG = re.compile(r"<[^<>]*+>")
_VAGUE = re.compile(
    r"^(?:(?:upstream error|error)[^:]{0,60}:\s*)?(?:provider returned error|(?:unknown |upstream )?error|bad request"
    r"|request failed(?: with status(?: code)? \d+)?)?\.?$",
    re.IGNORECASE,
)
_TEMPLATE_ERROR = "Jinja Exception: "  # llama.cpp puts a piece of the template before it
_GENERATED_CALL = re.compile(
    r"(error parsing tool call|failed to parse input at pos(?:ition)? \d{1,9})\b.*", re.IGNORECASE
)


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the server's id of a request, which its operator can look up; None if it sent none.

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
        body: The parsed JSON, or the text of a body that is not JSON.
        status: HTTP status of the response if it is an error, else None.
        headers: Headers of the response.
        secrets: Values that must not appear in any text.
    """
    body = hide_secrets(body, secrets)
    body = _expand(_parse_body(body) if isinstance(body, str) else body)
    headers = {key.lower(): value for key, value in hide_secrets(dict(headers or {}), secrets).items()}
    layers = list(itertools.islice(_layers(body), _MOST_LAYERS))
    metadata = _metadata_of(layers)
    return UpstreamError(
        shorten(redact(_sentence(body, metadata.get("flagged_input")), secrets), _LONGEST_MESSAGE_CHARS),
        # A failing status of the response is the truth; inside a 200 only the body has one.
        status=status or next(filter(None, map(_status_of, layers)), None),
        codes=" ".join(code for layer in layers for name in _CODE_FIELDS if (code := _code(layer.get(name)))),
        param=next((layer["param"] for layer in layers if _is_word(layer.get("param"))), None) or _location(body),
        headers=headers,
        metadata={name: metadata[name] for name in _KEPT_METADATA if name in metadata},
        is_flagged=bool(metadata.get("flagged_input")),
        failed_generation=next(
            (layer["failed_generation"] for layer in layers if isinstance(layer.get("failed_generation"), str)), None
        ),
        request_id=request_id_of(headers),
    )


def _parse_body(text: str) -> Json:
    """Parse the text of a body; of JSON that is cut off keep the fields, as the rest may be the whole prompt."""
    if not _CUT_JSON.match(text):
        return text[:_LONGEST_BODY_CHARS]
    parsed = _json(text)
    return _fields_in(text) if isinstance(parsed, str) else parsed


def _expand(value: Json, depth: int = _DEPTH) -> Json:
    """Parse the texts that hold an error of another server: JSON, XML, or a sentence that quotes an error object.

    Returns:
        The value with objects in place of these texts; a text without an error in it stays.
    """
    if not depth:
        return value
    if isinstance(value, str):
        parsed = _structure(value)
        if isinstance(parsed, str):
            return value
        expanded = _expand(parsed, depth - 1)
        return expanded if _words(expanded) else value
    if isinstance(value, list):
        return [_expand(item, depth - 1) for item in value[:_MOST_ITEMS]]
    if isinstance(value, dict):
        names = value.keys() & {*_MESSAGE_FIELDS, "metadata", "raw", "base_resp"}
        return value | {name: _expand(value[name], depth - 1) for name in names}
    return value


def _structure(text: str) -> Json:
    if text.lstrip()[:1] in ("{", "["):
        return _json(text)
    if _XML.match(text) and not is_html(text):
        return _xml(text[:_LONGEST_XML_CHARS])
    found = _QUOTED_ERROR.search(text[:_LONGEST_BODY_CHARS])
    return _quoted(text[found.start() : _LONGEST_BODY_CHARS]) if found else text


def _json(text: str) -> Json:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text


def _quoted(text: str) -> Json:
    """Parse an error object at the start of a text: JSON, or the fields of a Python dict or of JSON that is cut."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        return _fields_in(_ESCAPED_QUOTE.sub("", text))


def _fields_in(text: str) -> Json:
    """Read the fields of an error by their names, for a text that cannot be parsed; the first of each name counts."""
    fields: dict[str, Json] = {}
    for found in _FIELD.finditer(text[:_LONGEST_BODY_CHARS]):
        _, name, quote, value, number = found.groups()
        if quote == '"':
            parsed = _json(f'"{value}"')
            value = value if parsed == f'"{value}"' else parsed
        elif quote:
            value = value.replace("\\'", "'").replace("\\n", " ")
        fields.setdefault(name, value if quote else int(number))
    return fields


def _xml(text: str) -> Json:
    """Read the fields of an XML document; one without a message becomes its words."""
    fields: dict[str, Json] = {}
    for found in _XML_FIELD.finditer(text):
        name = found.group(1).lower().replace("string", "message")
        value = found.group(2) or html.unescape(found.group(3) or "")
        if value.strip():
            fields.setdefault(name, value.strip())
    if not fields.keys() & set(_MESSAGE_FIELDS):
        fields["message"] = " ".join(_XML_TAG.sub(" ", text).split())
    return fields


def _layers(value: Json, depth: int = _DEPTH) -> Iterator[dict[str, Json]]:
    """Yield the objects of an expanded body: its error, itself, then the errors of other servers inside it."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict) or not depth:
        return
    own = [inner for name in ("error", "base_resp") if isinstance(inner := value.get(name), dict)]
    own.append(value)
    yield from own
    for layer in own:
        metadata = layer.get("metadata")
        relayed = [layer.get(name) for name in _MESSAGE_FIELDS if name != "error" or layer is not value]
        for inner in (*relayed, metadata.get("raw") if isinstance(metadata, dict) else None):
            yield from _layers(inner, depth - 1)


def _sentence(body: Json, flagged: Json) -> str:
    """Find what an expanded body says, as one line."""
    message = plain(_message_of(body)[:_LONGEST_BODY_CHARS])
    if flagged and plain(str(flagged)[:_QUOTED_CHARS]) in message:
        return ""  # it repeats the prompt; a long quotation is cut in its middle
    template_error = message.rfind(_TEMPLATE_ERROR)
    return _GENERATED_CALL.sub(r"\1", message[max(template_error, 0) :])


def _message_of(value: Json, depth: int = _DEPTH) -> str:
    """Find the message of an error; one that only says "error" is continued by the error that it relays."""
    message = _words(value)[:_LONGEST_BODY_CHARS]
    message = _RELAY_NOTES.sub("", _RELAYED.sub("", message)).strip()
    metadata = _metadata_of(list(itertools.islice(_layers(value, 1), _MOST_LAYERS)))
    if depth and _VAGUE.match(message) and not metadata.get("flagged_input"):
        relayed = _message_of(metadata.get("raw"), depth - 1)
        return f"{message.rstrip('.')}: {relayed}" if message and relayed else message or relayed
    return message


def _words(value: Json, depth: int = _DEPTH) -> str:
    """Find the words of an expanded text, list or object."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and depth:
        return "; ".join(filter(None, (_words(item, depth - 1) for item in value[:_MOST_ITEMS])))
    if isinstance(value, dict) and depth:
        error = value.get("error")
        fields = (error if isinstance(error, dict) else None, *map(value.get, _MESSAGE_FIELDS), value.get("base_resp"))
        return next(filter(None, (_words(field, depth - 1) for field in fields)), "")
    return ""


def _metadata_of(layers: list[dict[str, Json]]) -> dict[str, Any]:
    """Return OpenRouter's ``metadata``, with Google's delay before a retry under its name for that."""
    metadata: dict[str, Any] = next(
        (layer["metadata"] for layer in layers if isinstance(layer.get("metadata"), dict)), {}
    )
    for layer in layers:
        details = layer.get("details")
        for detail in details[:_MOST_LAYERS] if isinstance(details, list) else []:
            if isinstance(detail, dict) and "retryDelay" in detail:
                return {"retry_after": detail["retryDelay"], **metadata}
    return metadata


def _location(body: Json, depth: int = 4) -> str | None:
    """Find the field that a FastAPI server complains about: ``{"detail": [{"loc": ["body", "temperature"], …}]}``."""
    if isinstance(body, dict) and depth:
        places = body.get("loc")
        if isinstance(places, list) and places and isinstance(places[-1], str):
            return places[-1]
        body = [body[name] for name in ("detail", "message", "error") if name in body]
    if isinstance(body, list) and depth:
        return next(filter(None, (_location(item, depth - 1) for item in body)), None)
    return None


def _status_of(layer: dict[str, Any]) -> int | None:
    for name in _STATUS_FIELDS:
        value = layer.get(name)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value.strip()[:9])
        if isinstance(value, int) and _LOWEST_ERROR <= value <= _HIGHEST_ERROR:
            return value
    return None


def _code(value: Json) -> str:
    """Return a code in lower case; a number counts if it is no HTTP status."""
    if isinstance(value, int) and value >= _LOWEST_OWN_CODE:
        return str(value)[:_LONGEST_CODE_CHARS]
    return value[:_LONGEST_CODE_CHARS].lower() if _is_word(value) else ""


def _is_word(value: Json) -> bool:
    return isinstance(value, str) and bool(value.strip())
