"""Which models a server offers: ``list_models``, for OpenRouter and for every other server with ``GET /models``.

OpenRouter's list is worth reading: hundreds of models, with prices, windows and abilities. The others say less, and
what they do not say is None here, never a guess. Asking for the document is ``transport.connection``'s job.

The fields of OpenRouter were checked against ``components.Model`` of its own package.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from adapters.transport.errors.failures import incomplete
from adapters.transport.provider_transport import ProviderTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from adapters.config import ProviderConfig
    from adapters.transport.endpoint import Endpoint
    from adapters.types import Json

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
_COMPLETION_FIELDS = (
    "max_completion_tokens",  # OpenRouter, in ``top_provider``; Groq
    "max_output_tokens",  # the LiteLLM proxy
)
_NEAREST_NAMES = 3

SortKey: TypeAlias = Literal["id", "price", "context"]
"""What a list of models can be sorted by."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model as its server describes it; None is "the server does not say".

    Attributes:
        id: The name to put into ``model``.
        name: Name for people; the id if there is none.
        context_tokens: Length of the context window.
        completion_tokens: Length of the longest answer.
        supports_tools: Whether it can call tools.
        supported_parameters: The request parameters that it heeds.
        input_modalities: What it reads: ``text``, ``image``, ``audio``, ``file``, ``video``.
        output_modalities: What it writes.
        prompt_usd_per_mtok: Price of a million tokens of the prompt, in US dollars.
        completion_usd_per_mtok: Price of a million tokens of the answer, in US dollars.
        reasoning_usd_per_mtok: Price of a million tokens of reasoning, where it is not that of the answer.
        cache_read_usd_per_mtok: Price of a million tokens of the prompt that the server had cached.
        cache_write_usd_per_mtok: Price of a million tokens of the prompt that it caches.
        request_usd: Price of a request, whatever its length.
    """

    id: str
    name: str
    context_tokens: int | None = None
    completion_tokens: int | None = None
    supports_tools: bool | None = None
    supported_parameters: tuple[str, ...] | None = None
    input_modalities: tuple[str, ...] | None = None
    output_modalities: tuple[str, ...] | None = None
    prompt_usd_per_mtok: Decimal | None = None
    completion_usd_per_mtok: Decimal | None = None
    reasoning_usd_per_mtok: Decimal | None = None
    cache_read_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    request_usd: Decimal | None = None

    @property
    def is_free(self) -> bool:
        """Whether both prices are known to be zero, and a request has none of its own."""
        return self.prompt_usd_per_mtok == 0 and self.completion_usd_per_mtok == 0 and not self.request_usd

    def costs_at_most(self, usd_per_mtok: Decimal) -> bool:
        """Whether a million tokens are known to cost no more than this, those of the prompt and those of the answer."""
        prices = (self.prompt_usd_per_mtok, self.completion_usd_per_mtok)
        return all(price is not None and price <= usd_per_mtok for price in prices)


async def list_models(
    config: ProviderConfig, *, supports_tools: bool | None = None, free: bool | None = None, max_age_s: float = 0
) -> list[ModelInfo]:
    """Ask a server for its models.

    Args:
        config: The provider, of any kind; its model is not used.
        supports_tools: Leave out models that are known to be otherwise. One of which the server does not say stays.
        free: True for models that are known to cost nothing, False for all others.
        max_age_s: A list that this process got from the same server, with the same key, is good for so long.

    Returns:
        The models in the server's order.

    Raises:
        ConfigError: If the key is missing.
        APIError: If the server could not be asked, refused, or sent something else than a list of models.
    """
    models = await _all_models(config.resolved(), max_age_s)
    return search_models(models, supports_tools=supports_tools, free=free)


def search_models(
    models: Iterable[ModelInfo],
    text: str = "",
    *,
    supports_tools: bool | None = None,
    free: bool | None = None,
    max_usd_per_mtok: Decimal | None = None,
    sort: SortKey | None = None,
) -> list[ModelInfo]:
    """Choose among models.

    Args:
        models: Where to look.
        text: Words that its id or its name must hold, each of them, in any case.
        supports_tools: Leave out models that are known to be otherwise. One of which the server does not say stays.
        free: True for models that are known to cost nothing, False for all others.
        max_usd_per_mtok: The most that a million tokens may cost; a model whose price is unknown is left out.
        sort: ``price`` puts the cheapest first, ``context`` the longest; what is unknown comes last. None keeps the
            order.

    Returns:
        Those that fit.
    """
    words = text.lower().split()
    found = [
        model
        for model in models
        if all(word in f"{model.id} {model.name}".lower() for word in words)
        and (supports_tools is None or model.supports_tools in (None, supports_tools))
        and (free is None or model.is_free is free)
        and (max_usd_per_mtok is None or model.costs_at_most(max_usd_per_mtok))
    ]
    if sort == "id":
        return sorted(found, key=lambda model: model.id)
    if sort == "price":
        return sorted(found, key=_price_key)
    if sort == "context":
        return sorted(found, key=lambda model: -(model.context_tokens or 0))
    return found


def find_model(body: bytes, name: str) -> tuple[ModelInfo | None, list[str]]:
    """Look a model up in a list as its server sent it.

    Args:
        body: Of ``GET /models``; what is no list holds no models.
        name: The name that is asked for. What OpenRouter lets one add to it (``:nitro``, ``:floor`` …) is no part of it
            unless the list says so.

    Returns:
        The model, or None with the names that may have been meant.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    models = {model.id: model for model in _models_of(_entries_in(document) or [])}
    found = models.get(name) or models.get(name.rpartition(":")[0])
    return found, [] if found else nearest_names(name, models)


def nearest_names(name: str, offered: Iterable[str]) -> list[str]:
    """The ids of models that a misspelled name may have meant, the nearest first; at most three."""
    ids = {each.lower(): each for each in offered}
    short = {each.rpartition("/")[2]: each for each in ids}  # people leave out who made it
    found = get_close_matches(name.lower(), [*ids, *short], n=2 * _NEAREST_NAMES)
    return list(dict.fromkeys(ids[short.get(each, each)] for each in found))[:_NEAREST_NAMES]


def _price_key(model: ModelInfo) -> tuple[bool, Decimal]:
    prompt, completion = model.prompt_usd_per_mtok, model.completion_usd_per_mtok
    if prompt is None or completion is None:
        return True, Decimal(0)
    return False, prompt + completion


_lists: dict[tuple[str, int], tuple[float, list[ModelInfo]]] = {}
"""The last list of each server and key (its hash: the key itself has no place in a global), and when it came."""


async def _all_models(config: ProviderConfig, max_age_s: float) -> list[ModelInfo]:
    connection = ProviderTransport(config)
    source = (connection.endpoint.base_url, hash(connection.endpoint.api_key))
    came_at_s, models = _lists.get(source, (-math.inf, []))
    if time.monotonic() - came_at_s <= max_age_s:
        return models
    try:
        models = [model for page in [each async for each in _pages(connection)] for model in _models_of(page)]
    finally:
        await connection.aclose()
    _lists[source] = (time.monotonic(), models)
    return models


async def _pages(connection: ProviderTransport) -> AsyncIterator[list[Any]]:
    path = "/models"
    for _ in range(_MOST_PAGES):
        document = await connection.get(path)
        yield _entries_of(document, connection.endpoint)
        links = document.get("links") if isinstance(document, dict) else None
        following = links.get("next") if isinstance(links, dict) else None
        _, found, query = following.partition("?") if isinstance(following, str) else ("", "", "")
        if not found:
            return
        path = f"/models?{query}"  # never the address itself: the key goes to the configured server alone


def _entries_of(document: Json, endpoint: Endpoint) -> list[Json]:
    entries = _entries_in(document)
    if entries is None:
        raise incomplete(_NO_LIST, endpoint)
    return entries


def _entries_in(document: Json) -> list[Json] | None:
    """Find the list: in ``data``, in ``models`` (llama.cpp sends both), or bare; null is an empty one (Ollama)."""
    entries = document
    if isinstance(document, dict):
        known = [name for name in ("data", "models") if name in document]
        entries = next((document[name] for name in known if document[name]), []) if known else None
    return entries if isinstance(entries, list) else None


def _models_of(entries: list[Any]) -> Iterator[ModelInfo]:
    for entry in entries:
        facts = entry if isinstance(entry, dict) else {"id": entry}
        names = [name for field in ("id", "model", "name") if isinstance(name := facts.get(field), str) and name]
        if names:
            pricing, architecture = _object(facts.get("pricing")), _object(facts.get("architecture"))
            yield ModelInfo(
                id=names[0],
                name=names[-1],
                context_tokens=_tokens(facts, _CONTEXT_FIELDS),
                completion_tokens=_tokens(facts, _COMPLETION_FIELDS),
                supports_tools=_supports_tools(facts),
                supported_parameters=_words(facts.get("supported_parameters")),
                input_modalities=_words(architecture.get("input_modalities")),
                output_modalities=_words(architecture.get("output_modalities")),
                prompt_usd_per_mtok=_usd_per_mtok(pricing.get("prompt")),
                completion_usd_per_mtok=_usd_per_mtok(pricing.get("completion")),
                reasoning_usd_per_mtok=_usd_per_mtok(pricing.get("internal_reasoning")),
                cache_read_usd_per_mtok=_usd_per_mtok(pricing.get("input_cache_read")),
                cache_write_usd_per_mtok=_usd_per_mtok(pricing.get("input_cache_write")),
                request_usd=_usd(pricing.get("request")),
            )


def _tokens(facts: dict[str, Any], fields: tuple[str, ...]) -> int | None:
    places = (facts, _object(facts.get("top_provider")), _object(facts.get("meta")))
    values = (place.get(field) for field in fields for place in places)
    return next((int(value) for value in values if isinstance(value, int | float) and value > 0), None)


def _words(value: Json) -> tuple[str, ...] | None:
    """A list of words; an empty one says nothing."""
    return tuple(each for each in value if isinstance(each, str)) or None if isinstance(value, list) else None


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
    usd = _usd(price)
    return None if usd is None else _plain(usd * _TOKENS_PER_MTOK)


def _usd(price: Json) -> Decimal | None:
    """Read a price: a string, as OpenRouter writes it, or a number; a negative one is unknown."""
    try:
        usd = Decimal(str(price))
    except InvalidOperation:
        return None
    return _plain(usd) if usd.is_finite() and usd >= 0 else None


def _plain(usd: Decimal) -> Decimal:
    """The same number without exponent and without zeros at its end."""
    return usd.quantize(Decimal(1)) if usd == usd.to_integral_value() else usd.normalize()


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
