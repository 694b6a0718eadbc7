"""The kinds of provider, and the forms in which users write a server's address.

A kind is data: to add one, add an entry to ``KINDS``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

KindName: TypeAlias = Literal["openai_compatible", "openrouter", "groq", "ollama", "local", "litellm"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Properties that all providers of one kind share.

    Attributes:
        prefix: LiteLLM's prefix of the model name, which selects the route.
        base_url: Address of the service, or "" if each provider has its own.
        key_variable: Environment variable of the required key; None if a key is optional.
        headers: Headers that are sent unless the user sets them.
        model: Default model, or "" if the user must name one.
        native_api: Path of the server's native API beside ``/v1``, which users may paste; "" if it has none.
        embedded: Whether the provider starts its own server, and has no address before that.
        routed: Whether the model names a route of LiteLLM (``anthropic/claude-…``), which knows its address.
    """

    prefix: str
    base_url: str = ""
    key_variable: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    native_api: str = ""
    embedded: bool = False
    routed: bool = False


KINDS: Mapping[KindName, Kind] = {
    "openai_compatible": Kind(prefix="openai/"),
    "openrouter": Kind(
        prefix="openrouter/",
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        # OpenRouter's statistics show this name. The project has no site, so the address is an invalid one. Without
        # these headers, LiteLLM sends its own name.
        headers={"HTTP-Referer": "https://caal-llm-adapters.invalid", "X-Title": "caal-llm-adapters"},
    ),
    # LiteLLM's own route groq/ fails on responses without service_tier.
    "groq": Kind(prefix="openai/", base_url="https://api.groq.com/openai/v1", key_variable="GROQ_API_KEY"),
    # LiteLLM's own route ollama_chat/ makes a blocking call on the event loop.
    "ollama": Kind(prefix="openai/", base_url="http://localhost:11434/v1", native_api="/api"),
    "local": Kind(prefix="openai/", model="local", embedded=True),
    "litellm": Kind(prefix="", routed=True),
}

_ENDPOINTS = ("/chat/completions", "/completions", "/models")
_AROUND = " \t\r\n'\"<>"
_NEARBY_DOMAINS = (".home.arpa", ".internal", ".lan", ".local", ".localhost")


def clean_base_url(text: str, kind: Kind) -> str:
    """Normalize a base URL as users write it.

    White space, quotes, trailing slashes, a fragment and a pasted endpoint are removed. A missing scheme becomes
    ``http`` for this machine and private networks and ``https`` for all others, so that a key is never sent over the
    internet unencrypted by accident. A missing path becomes that of the service, or ``/v1``, which nearly all servers
    use. A pasted endpoint without ``/v1`` (``https://host/chat/completions``) shows that the server has no such path.

    Args:
        text: The address without its query (see ``split_query``); "" for that of the kind.
        kind: The kind of server.

    Returns:
        The address to which ``/chat/completions`` can be appended; "" for an embedded server.

    Raises:
        ValueError: If it is not an address. The message does not repeat it, because it may contain a password.
    """
    text = text.strip(_AROUND)
    if kind.embedded and text:
        raise ValueError("is not for kind local, which starts its own server; use kind openai_compatible")
    if not text:
        if not (kind.base_url or kind.embedded or kind.routed):
            raise ValueError("is missing; add the server's address, such as http://localhost:8000/v1")
        return kind.base_url
    parts = _split(text)
    if parts.query:
        raise ValueError("has a query that holds one name twice; keep one of them")
    if kind.routed:
        path = parts.path.rstrip("/")  # no /v1: LiteLLM's routes append paths of their own
        return f"{parts.scheme}://{_host_and_port(parts)}{path}"
    return f"{parts.scheme}://{_host_and_port(parts)}{_path(parts, kind)}"


def split_query(text: str) -> tuple[str, dict[str, str]]:
    """Split a base URL into address and query. A query with a repeated name is kept: ``clean_base_url`` rejects it."""
    address, _, query = text.strip(_AROUND).partition("#")[0].partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    return (address, values) if len(values) == len(pairs) else (text, {})


def _split(text: str) -> SplitResult:
    if not text.isprintable() or re.search(r"[ \\]", text):
        raise ValueError("must be an address without spaces or backslashes, such as http://localhost:8000/v1")
    text = re.sub(r"(?i)^(https?):?/+", r"\1://", text)
    try:
        if "://" not in text:
            text = f"//{text.lstrip('/')}"
            text = f"{'http' if is_nearby(urlsplit(text).hostname or '') else 'https'}:{text}"
        parts = urlsplit(text)
    except ValueError:  # the message of which repeats the address
        raise ValueError("must be an address, such as http://localhost:8000/v1") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; use api_key, or an Authorization header in headers")
    return parts


def _host_and_port(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", host):
        raise ValueError("must name a server, such as http://localhost:8000/v1")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number from 0 to 65535") from None
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def _path(parts: SplitResult, kind: Kind) -> str:
    pasted = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    path = pasted
    for endpoint in _ENDPOINTS:
        if path.lower().endswith(endpoint):
            path = path[: -len(endpoint)]
            break
    if kind.native_api:
        path = re.sub(rf"{kind.native_api}(/.*)?$", "", path)
        return path if path.endswith("/v1") else f"{path}/v1"
    service = urlsplit(kind.base_url)
    if parts.hostname == service.hostname and service.path.startswith(f"{path}/"):
        return service.path
    return path or ("" if pasted else "/v1")


def is_nearby(host: str) -> bool:
    """Return whether a host is this machine or in a private network, as far as its name or address shows.

    That is an address that is not global (loopback, private, link-local, shared as in Tailscale), a name without a dot,
    and a name that ends as those of home networks do. No name is looked up.
    """
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_NEARBY_DOMAINS)
