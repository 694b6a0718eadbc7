"""Which server answers: rows of what each one shows of itself, in its list of models or at an address of its own.

Nothing in the package does one thing or another for a server's name; it is told to people, who then know where to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.transport.errors.redact import plain, shorten

if TYPE_CHECKING:
    from adapters.doctor.address import Place
    from adapters.doctor.probe import Probe, Reply
    from adapters.types import Json

_LONGEST_VERSION_CHARS = 40
_VLLM_TOOLS = "Start vLLM with --enable-auto-tool-choice and the --tool-call-parser of the model."


@dataclass(frozen=True, slots=True)
class Server:
    """One server, and how it is known; a row with several signs is known by any of them.

    Attributes:
        name: Its name.
        headers: Response headers, with how their value begins.
        owner: What it puts into ``owned_by`` of its models, or "".
        entry: Fields that an entry of its list of models has; empty if they tell nothing.
        path: An address of its own at the root of the host, or "".
        document: Fields that the JSON there has; of a list, its first entry.
        says: The JSON there, where it is a text; or "".
        version: The field of it with the version, or "".
        any_model: Whether it answers whatever name is asked for.
        tools_advice: What makes it call tools.
        warm_advice: What keeps its model in memory.
    """

    name: str
    headers: tuple[tuple[str, str], ...] = ()
    owner: str = ""
    entry: tuple[str, ...] = ()
    path: str = ""
    document: tuple[str, ...] = ()
    says: str = ""
    version: str = ""
    any_model: bool = False
    tools_advice: str = "Choose a model that can call tools, and turn its server's tool parser on."
    warm_advice: str = "Ask it once, or await prewarm(), before the first conversation."


# Those that are surely known stand first: several others answer at /version too.
SERVERS = (
    Server(
        "LiteLLM proxy",
        path="/health/liveliness",
        says="I'm alive!",
        tools_advice="Look at the model behind the proxy: it, or its server, does not take tools.",
    ),
    Server("OpenRouter", entry=("pricing", "architecture"), tools_advice="Choose one of: adapters models --tools"),
    Server("Groq", entry=("active", "context_window", "public_apps")),
    Server(
        "llama.cpp",
        headers=(("server", "llama.cpp"),),
        owner="llamacpp",
        path="/props",
        document=("default_generation_settings",),
        version="build_info",
        any_model=True,
        tools_advice="Start llama-server with --jinja, and a model whose chat template knows tools.",
    ),
    Server(
        "LM Studio",
        path="/api/v0/models",
        document=("compatibility_type", "state"),
        tools_advice="Choose a model that LM Studio marks as trained for tool use.",
        warm_advice="Load the model before, or raise its idle TTL, so that it is not loaded at the first question.",
    ),
    Server(
        "Ollama",
        owner="library",
        path="/api/version",
        document=("version",),
        version="version",
        tools_advice="Choose a model with the tag tools in Ollama's library.",
        warm_advice="Set OLLAMA_KEEP_ALIVE=-1 for the server, so that the model stays in memory.",
    ),
    Server(
        "LocalAI",
        path="/.well-known/localai.json",
        document=("endpoints", "version"),
        version="version",
        tools_advice="Choose a model whose LocalAI configuration has function calling set up.",
    ),
    Server("LocalAI", path="/system", document=("backends", "loaded_models")),
    Server("text-generation-inference", path="/info", document=("model_id", "max_total_tokens"), version="version"),
    Server("SGLang", owner="sglang", path="/get_server_info", document=("model_path",), version="version"),
    Server("vLLM", owner="vllm", path="/version", document=("version",), version="version", tools_advice=_VLLM_TOOLS),
)

UNKNOWN = Server("an OpenAI-compatible server")
"""What stands for a server that shows nothing of its own."""


async def recognise(probe: Probe, place: Place) -> tuple[Server, str]:
    """Find out which server answers.

    Returns:
        Its row, or ``UNKNOWN``, and what is known of its version, or "".
    """
    url = urlsplit(place.base_url)
    root = f"{url.scheme}://{url.netloc}"
    for server in SERVERS:
        if _shows_itself(server, place):
            document = (await probe.get(f"{root}{server.path}")).document if server.version else None
            return server, _version_in(server, document)
    for server in SERVERS:
        if server.path and _is_its_own(server, reply := await probe.get(f"{root}{server.path}")):
            return server, _version_in(server, reply.document)
    return UNKNOWN, _shown(place.reply.headers.get("server", ""))


def _shows_itself(server: Server, place: Place) -> bool:
    """Whether its list of models gives it away, before anything else is asked."""
    if any(place.reply.headers.get(name, "").startswith(start) for name, start in server.headers):
        return True
    first = place.models[0] if place.models else {}
    if server.owner and first.get("owned_by") == server.owner:
        return True
    return bool(server.entry) and all(name in first for name in server.entry)


def _is_its_own(server: Server, reply: Reply) -> bool:
    if server.says:
        return bool(reply.document == server.says)
    document = _object(reply.document)
    return reply.is_good and all(name in document for name in server.document)


def _version_in(server: Server, document: Json) -> str:
    found = _object(document).get(server.version)
    return _shown(found) if isinstance(found, str) else ""


def _shown(text: str) -> str:
    return shorten(plain(text), _LONGEST_VERSION_CHARS)


def _object(document: Json) -> dict[str, Json]:
    """The object that a document is, or the first one in it: LM Studio sends a list in ``data``."""
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]
    if isinstance(document, list):
        document = document[0] if document else None
    return document if isinstance(document, dict) else {}
