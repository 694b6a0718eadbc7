"""Which models a server offers: ``list_models``, for OpenRouter and for every other server with ``GET /models``.

OpenRouter's list is worth reading: hundreds of models, with prices, windows and abilities. The others say less, and
what they do not say is None here, never a guess. Asking for the document is ``wire.connection``'s job.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from adapters.wire.connection import Connection
from adapters.wire.errors.failures import incomplete

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from adapters.config import ProviderConfig
    from adapters.types import Json
    from adapters.wire.origin import Origin

_MOST_PAGES = 20  # OpenRouter pages by 500; a server that never ends its list must not hold us
_NO_LIST = "sent something else than a list of models. Please check base_url."
_TOKENS_PER_MTOK = 1_000_000
_CONTEXT_FIELDS = (
    "context_length",  # OpenRouter
    "max_model_len",  # vLLM
    "context_window",  # Groq
    "max_context_length",  # LM Studio, Mistral
    "max_input_tokens",  # the LiteLLM proxy
    "n_ctx",  # llama.cpp, in ``meta``: what it was started with
    "n_ctx_train",  # the same: what the model was made for
)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model as its server describes it; None is "the server does not say".

    Attributes:
        id: The name to put into ``model``.
        name: Name for people; the id if there is none.
        context_tokens: Length of the context window.
        supports_tools: Whether it can call tools.
        prompt_usd_per_mtok: Price of a million tokens of the prompt, in US dollars.
        completion_usd_per_mtok: Price of a million tokens of the answer, in US dollars.
    """

    id: str
    name: str
    context_tokens: int | None = None
    supports_tools: bool | None = None
    prompt_usd_per_mtok: Decimal | None = None
    completion_usd_per_mtok: Decimal | None = None

    @property
    def is_free(self) -> bool:
        """Whether both prices are known to be zero."""
        return self.prompt_usd_per_mtok == 0 and self.completion_usd_per_mtok == 0


async def list_models(
    config: ProviderConfig, *, supports_tools: bool | None = None, free: bool | None = None
) -> list[ModelInfo]:
    """Ask a server for its models.

    Args:
        config: The provider, of any kind; its model is not used.
        supports_tools: Leave out models that are known to be otherwise. One of which the server does not say stays.
        free: True for models that are known to cost nothing, False for all others.

    Returns:
        The models in the server's order.

    Raises:
        ConfigError: If the key is missing.
        APIError: If the server could not be asked, refused, or sent something else than a list of models.
    """
    config = config.resolved()
    connection = Connection(config)
    try:
        found = [model for page in [each async for each in _pages(connection)] for model in _models_of(page)]
    finally:
        await connection.aclose()
    return [
        model
        for model in found
        if (supports_tools is None or model.supports_tools in (None, supports_tools))
        and (free is None or model.is_free is free)
    ]


async def _pages(connection: Connection) -> AsyncIterator[list[Any]]:
    path = "/models"
    for _ in range(_MOST_PAGES):
        document = await connection.get(path)
        yield _entries_of(document, connection.origin)
        links = document.get("links") if isinstance(document, dict) else None
        following = links.get("next") if isinstance(links, dict) else None
        _, found, query = following.partition("?") if isinstance(following, str) else ("", "", "")
        if not found:
            return
        path = f"/models?{query}"  # never the address itself: the key goes to the configured server alone


def _entries_of(document: Json, origin: Origin) -> list[Json]:
    """Find the list: in ``data``, in ``models`` (llama.cpp sends both), or bare; null is an empty one (Ollama)."""
    entries = document
    if isinstance(document, dict):
        known = [name for name in ("data", "models") if name in document]
        if not known:
            raise incomplete(_NO_LIST, origin)
        entries = next((document[name] for name in known if document[name]), None) or []
    if not isinstance(entries, list):
        raise incomplete(_NO_LIST, origin)
    return entries


def _models_of(entries: list[Any]) -> Iterator[ModelInfo]:
    for entry in entries:
        facts = entry if isinstance(entry, dict) else {"id": entry}
        names = [name for field in ("id", "model", "name") if isinstance(name := facts.get(field), str) and name]
        if names:
            pricing = _object(facts.get("pricing"))
            yield ModelInfo(
                id=names[0],
                name=names[-1],
                context_tokens=_context_tokens(facts),
                supports_tools=_supports_tools(facts),
                prompt_usd_per_mtok=_usd_per_mtok(pricing.get("prompt")),
                completion_usd_per_mtok=_usd_per_mtok(pricing.get("completion")),
            )


def _context_tokens(facts: dict[str, Any]) -> int | None:
    places = (facts, _object(facts.get("top_provider")), _object(facts.get("meta")))
    values = (place.get(field) for field in _CONTEXT_FIELDS for place in places)
    return next((int(value) for value in values if isinstance(value, int | float) and value > 0), None)


def _supports_tools(facts: dict[str, Any]) -> bool | None:
    """Read it where a server says it outright; a list of something else, or an empty one, says nothing."""
    parameters, capabilities = facts.get("supported_parameters"), facts.get("capabilities")
    if isinstance(parameters, list) and parameters:
        return "tools" in parameters
    if isinstance(capabilities, dict):  # Mistral
        says = capabilities.get("function_calling")
        return says if isinstance(says, bool) else None
    if isinstance(capabilities, list) and {"tools", "tool_use"} & {str(each) for each in capabilities}:
        return True  # Ollama, LM Studio
    return None


def _usd_per_mtok(price: Json) -> Decimal | None:
    """Read a price per token: a string, as OpenRouter writes it, or a number; a negative one is unknown."""
    try:
        usd = Decimal(str(price)) * _TOKENS_PER_MTOK
    except InvalidOperation:
        return None
    if not usd.is_finite() or usd < 0:
        return None
    return usd.quantize(Decimal(1)) if usd == usd.to_integral_value() else usd.normalize()


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
