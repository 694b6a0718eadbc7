"""Recognize server software by its list of models, its headers or an endpoint that only it has.

The name is information for people. Nothing in the package depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.transport.errors.redact import plain, shorten

if TYPE_CHECKING:
    from adapters.doctor.address import Location
    from adapters.doctor.probe import Probe, Reply
    from adapters.types import Json

_MAX_VERSION_CHARS = 40
_VLLM_TOOLS = "Start the server with --enable-auto-tool-choice and the --tool-call-parser of the model."


@dataclass(frozen=True, slots=True)
class Server:
    """One server software and its signs; any one of them identifies it.

    Attributes:
        name: Its name.
        headers: Response headers, with the beginning of their values.
        owners: Values of ``owned_by`` in its list of models.
        entry: Fields of an entry in its list of models; empty if they identify nothing.
        path: An endpoint of its own at the root of the host, or "".
        document: Fields of the JSON at ``path``; if that is a list, of its first entry.
        text: The JSON at ``path`` if it is a string, or "".
        version: Field of the JSON at ``path`` that holds the version, or "".
        any_model: Whether it accepts any model name.
        tools_advice: How to make its models call tools.
        warm_advice: How to keep its model in memory.
    """

    name: str
    headers: tuple[tuple[str, str], ...] = ()
    owners: tuple[str, ...] = ()
    entry: tuple[str, ...] = ()
    path: str = ""
    document: tuple[str, ...] = ()
    text: str = ""
    version: str = ""
    any_model: bool = False
    tools_advice: str = "Choose a model that supports tool calls, and enable the tool parser of its server."
    warm_advice: str = "Send one request, or await prewarm(), before the first conversation."


# Unambiguous signs come first: several servers respond at /version, and Open WebUI responds where Ollama does.
SERVERS = (
    Server(
        "LiteLLM proxy",
        path="/health/liveliness",
        text="I'm alive!",
        tools_advice="Check the model behind the proxy: it, or its server, does not support tools.",
    ),
    Server(
        "OpenRouter", entry=("pricing", "architecture"), tools_advice="Choose a model from: adapters models --tools"
    ),
    Server("Groq", entry=("active", "context_window", "public_apps")),
    Server(
        "llama.cpp",
        headers=(("server", "llama.cpp"),),
        owners=("llamacpp",),
        path="/props",
        document=("default_generation_settings",),
        version="build_info",
        any_model=True,
        tools_advice="Start llama-server with --jinja and a model whose chat template supports tools.",
    ),
    Server(
        "LM Studio",
        owners=("organization_owner",),
        path="/api/v0/models",
        document=("compatibility_type", "state"),
        tools_advice="Choose a model that LM Studio marks as trained for tool use.",
        warm_advice="Load the model in advance, or raise its idle TTL, so that the first request need not load it.",
    ),
    Server(
        "Open WebUI",
        path="/api/config",
        document=("name", "version", "features"),
        version="version",
        tools_advice="Check the model behind Open WebUI, or set base_url to the model server itself.",
    ),
    Server(
        "Ollama",
        owners=("library",),
        path="/api/version",
        document=("version",),
        version="version",
        tools_advice='Choose a model tagged "tools" in Ollama\'s library.',
        warm_advice="Set OLLAMA_KEEP_ALIVE=-1 for the server, so that the model stays in memory.",
    ),
    Server(
        "LocalAI",
        path="/.well-known/localai.json",
        document=("endpoints", "version"),
        version="version",
        tools_advice="Choose a model whose LocalAI configuration enables function calling.",
    ),
    Server("LocalAI", path="/system", document=("backends", "loaded_models")),
    Server("text-generation-inference", path="/info", document=("model_id", "max_total_tokens"), version="version"),
    Server("MLflow AI Gateway", owners=("mlflow",), tools_advice="Check the model behind the gateway's endpoint."),
    Server(
        "SMG",
        path="/readiness",
        document=("healthy_workers", "total_workers"),
        tools_advice="Start SMG and its workers with the tool parser of the model.",
    ),
    Server("SGLang", owners=("sglang",), path="/get_server_info", document=("model_path",), version="version"),
    Server("FastChat", owners=("fastchat",)),
    Server("Xinference", owners=("xinference",)),
    Server("Rapid-MLX", owners=("rapid-mlx",)),
    Server("vllm-mlx", owners=("vllm-mlx",), tools_advice=_VLLM_TOOLS),
    Server(
        "vLLM", owners=("vllm",), path="/version", document=("version",), version="version", tools_advice=_VLLM_TOOLS
    ),
)

UNKNOWN = Server("an OpenAI-compatible server")
"""A server without a known sign."""

ROUTED = Server("a route of LiteLLM", tools_advice="Choose a model that supports tool calls.")
"""The server behind a route of LiteLLM; it has no list of models that could identify it."""


async def recognize(probe: Probe, location: Location) -> tuple[Server, str]:
    """Recognize the server software.

    Returns:
        The entry of ``SERVERS``, or ``UNKNOWN``, and its version, or "" if that is unknown.
    """
    url = urlsplit(location.base_url)
    root = f"{url.scheme}://{url.netloc}"
    for server in SERVERS:
        if _matches_list(server, location):
            document = (await probe.get(f"{root}{server.path}")).document if server.version else None
            return server, _version_in(server, document)
    for server in SERVERS:
        if server.path and _matches_endpoint(server, reply := await probe.get(f"{root}{server.path}")):
            return server, _version_in(server, reply.document)
    return UNKNOWN, _cleaned(location.reply.headers.get("server", ""))


def _matches_list(server: Server, location: Location) -> bool:
    """Whether the list of models identifies the server, without another request."""
    if any(location.reply.headers.get(name, "").startswith(start) for name, start in server.headers):
        return True
    first = location.models[0] if location.models else {}
    if first.get("owned_by") in server.owners:
        return True
    return bool(server.entry) and all(name in first for name in server.entry)


def _matches_endpoint(server: Server, reply: Reply) -> bool:
    if server.text:
        return bool(reply.document == server.text)
    document = _object(reply.document)
    return reply.is_good and all(name in document for name in server.document)


def _version_in(server: Server, document: Json) -> str:
    found = _object(document).get(server.version)
    return _cleaned(found) if isinstance(found, str) else ""


def _cleaned(text: str) -> str:
    return shorten(plain(text), _MAX_VERSION_CHARS)


def _object(document: Json) -> dict[str, Json]:
    """Return the document if it is an object, or the first object in it: LM Studio sends a list in ``data``."""
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]
    if isinstance(document, list):
        document = document[0] if document else None
    return document if isinstance(document, dict) else {}
