"""``list_models``: the models that a server offers, from OpenRouter or any other server with ``GET /models``.

OpenRouter lists hundreds of models with prices, context windows and abilities. Other servers report less. A field that
the server does not report is None, never a guess, and so is a value that cannot be true.

The fields of OpenRouter were checked against ``components.Model`` of its own package.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from difflib import get_close_matches
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard

from adapters.config.kinds import KINDS
from adapters.errors import ConfigError
from adapters.transport.errors.failures import incomplete
from adapters.transport.provider_transport import ProviderTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from adapters.config import ProviderConfig
    from adapters.transport.endpoint import Endpoint
    from adapters.types import Json

_MOST_PAGES = 20  # OpenRouter pages by 500; a list without an end must end here
_MOST_LISTS = 16
_NO_LIST = "sent no list of models. Check base_url."
_TOKENS_PER_MTOK = Decimal(1_000_000)
_MOST_TOKENS = 10**9  # longer context windows, and higher prices, are no facts
_MOST_USD = Decimal(1_000_000)
_LEAST_USD = Decimal("1e-18")
_LONGEST_PRICE_CHARS = 100
_ARITHMETIC = Context(prec=28, traps=[])  # that of the program may raise anything
_CONTEXT_FIELDS = (
    "context_length",  # OpenRouter
    "max_model_len",  # vLLM
    "context_window",  # Groq
    "max_context_length",  # LM Studio, Mistral
    "max_input_tokens",  # the LiteLLM proxy
    "n_ctx",  # llama.cpp, in ``meta``: the window that it was started with
    "n_ctx_train",  # llama.cpp, in ``meta``: the window of the model
)
_COMPLETION_FIELDS = (
    "max_completion_tokens",  # OpenRouter, in ``top_provider``; Groq
    "max_output_tokens",  # the LiteLLM proxy
)
_NEAREST_NAMES = 3
_COMPARED_NAMES = 200  # comparing two names takes a tenth of a millisecond
_LONGEST_NAME_CHARS = 120
_GRAM_CHARS = 3

SortKey: TypeAlias = Literal["id", "price", "context"]
"""The orders in which models can be sorted."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model as its server describes it. Fields that the server does not report are None.

    Attributes:
        id: The name to use as ``model``.
        name: Name for people; the id if there is none.
        context_tokens: Length of the context window.
        completion_tokens: Length of the longest response.
        supports_tools: Whether it can call tools.
        supported_parameters: The request parameters that it supports.
        input_modalities: Kinds of input: ``text``, ``image``, ``audio``, ``file``, ``video``.
        output_modalities: Kinds of output.
        prompt_usd_per_mtok: Price of a million prompt tokens, in US dollars.
        completion_usd_per_mtok: Price of a million completion tokens, in US dollars.
        reasoning_usd_per_mtok: Price of a million reasoning tokens, if it differs from that of the completion.
        cache_read_usd_per_mtok: Price of a million prompt tokens that the server had cached.
        cache_write_usd_per_mtok: Price of a million prompt tokens that the server caches.
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
        """Whether both prices are known to be zero, and there is no price of the request."""
        return self.prompt_usd_per_mtok == 0 and self.completion_usd_per_mtok == 0 and not self.request_usd

    def costs_at_most(self, usd_per_mtok: Decimal) -> bool:
        """Whether prompt and completion are both known to cost no more than this for a million tokens."""
        prices = (self.prompt_usd_per_mtok, self.completion_usd_per_mtok)
        return all(price is not None and price <= usd_per_mtok for price in prices)


async def list_models(
    config: ProviderConfig, *, supports_tools: bool | None = None, free: bool | None = None, max_age_s: float = 0
) -> list[ModelInfo]:
    """Request a server's list of models.

    Args:
        config: A provider of any kind; its model is not used.
        supports_tools: Leave out models that are known to be otherwise; a model of which it is unknown stays.
        free: True for models that are known to cost nothing, False for all others.
        max_age_s: Return a list that this process received from the same server, with the same key, less than so many
            seconds ago. 0 always sends a request.

    Returns:
        The models in the server's order.

    Raises:
        ConfigError: If the key is missing, or the kind is ``litellm``, whose routes have no list.
        APIError: If the request failed, or the response is no list of models.
    """
    if KINDS[config.kind].routed:
        raise ConfigError(
            f"{config.name} has no list of models: it uses a route of LiteLLM. Look the name of the model up at"
            " https://docs.litellm.ai/docs/providers, and write it behind the route, as in anthropic/claude-sonnet-4-5."
        )
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
    """Filter and sort models.

    Args:
        models: The models.
        text: Words that must all occur in the id or the name, in any case.
        supports_tools: Leave out models that are known to be otherwise; a model of which it is unknown stays.
        free: True for models that are known to cost nothing, False for all others.
        max_usd_per_mtok: Highest price of a million tokens; a model whose price is unknown is left out.
        sort: ``price`` puts the cheapest first, ``context`` the longest window; unknown values come last. None keeps
            the order.

    Returns:
        The models that match.
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
    """Look a model up in a list as its server sent it. A long list takes a second: call it in a thread.

    Args:
        body: Body of ``GET /models``; one that is no list holds no models.
        name: Name of the model. A suffix of OpenRouter (``:nitro``, ``:floor`` …) is no part of it unless it is listed.

    Returns:
        The model, or None with similar names.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    entries = {names[0]: entry for entry in _entries_in(document) or [] if (names := _names_of(entry))}
    base_name = name.rpartition(":")[0]
    found = name if name in entries else base_name
    if found in entries:
        return _model_of(entries[found]), []
    return None, nearest_names(name, entries)


def nearest_names(name: str, offered: Iterable[str]) -> list[str]:
    """Return the ids of models that resemble a name, the nearest first; at most three."""
    ids = {offer.lower(): offer for offer in offered if len(offer) <= _LONGEST_NAME_CHARS}
    short = {offer.rpartition("/")[2]: offer for offer in ids}  # people leave the maker out
    wanted = name.lower()[:_LONGEST_NAME_CHARS]
    candidates = [*ids, *short]
    if len(candidates) > _COMPARED_NAMES:
        grams = {wanted[at : at + _GRAM_CHARS] for at in range(max(len(wanted) - _GRAM_CHARS + 1, 1))}
        candidates = nlargest(_COMPARED_NAMES, candidates, key=lambda offer: sum(gram in offer for gram in grams))
    found = get_close_matches(wanted, candidates, n=2 * _NEAREST_NAMES)
    return list(dict.fromkeys(ids[short.get(offer, offer)] for offer in found))[:_NEAREST_NAMES]


def _price_key(model: ModelInfo) -> tuple[bool, Decimal]:
    prompt, completion = model.prompt_usd_per_mtok, model.completion_usd_per_mtok
    if prompt is None or completion is None:
        return True, Decimal(0)
    return False, _ARITHMETIC.add(prompt, completion)


_lists: dict[tuple[str, int], tuple[float, list[ModelInfo]]] = {}
"""When the latest list of each server and key (its hash: no global holds the key) came, and its models."""


async def _all_models(config: ProviderConfig, max_age_s: float) -> list[ModelInfo]:
    transport = ProviderTransport(config)
    source = (transport.endpoint.base_url, hash(transport.endpoint.api_key))
    if max_age_s > 0 and (kept := _lists.get(source)) is not None and time.monotonic() - kept[0] <= max_age_s:
        return kept[1]
    try:
        pages = [page async for page in _pages(transport)]
    finally:
        await transport.aclose()
    models = await asyncio.to_thread(_models_of, pages)  # the list may be long
    if max_age_s > 0:
        _lists.pop(source, None)
        _lists[source] = (time.monotonic(), models)
        for oldest in list(_lists)[:-_MOST_LISTS]:
            _lists.pop(oldest, None)
    return models


async def _pages(transport: ProviderTransport) -> AsyncIterator[list[Any]]:
    path = "/models"
    for _ in range(_MOST_PAGES):
        document = await transport.get(path)
        yield _entries_of(document, transport.endpoint)
        links = document.get("links") if isinstance(document, dict) else None
        following = links.get("next") if isinstance(links, dict) else None
        _, found, query = following.partition("?") if isinstance(following, str) else ("", "", "")
        if not found:
            return
        path = f"/models?{query}"  # never the whole address: the key is for the configured server alone


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


def _models_of(pages: list[list[Any]]) -> list[ModelInfo]:
    return [_model_of(entry) for page in pages for entry in page if _names_of(entry)]


def _names_of(entry: Json) -> list[str]:
    """Return the id and the other names of an entry; an entry without any is useless."""
    facts = entry if isinstance(entry, dict) else {"id": entry}
    return [name for field in ("id", "model", "name") if isinstance(name := facts.get(field), str) and name]


def _model_of(entry: Json) -> ModelInfo:
    names, facts = _names_of(entry), _object(entry)
    pricing, architecture = _object(facts.get("pricing")), _object(facts.get("architecture"))
    return ModelInfo(
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
    return next((int(value) for value in values if _is_number(value) and 1 <= value <= _MOST_TOKENS), None)


def _is_number(value: Json) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(value: Json) -> tuple[str, ...] | None:
    """Return the strings of a list; an empty list says nothing."""
    return tuple(word for word in value if isinstance(word, str)) or None if isinstance(value, list) else None


def _supports_tools(facts: dict[str, Any]) -> bool | None:
    """Return what a server states; a list of other things, or an empty one, states nothing."""
    parameters, capabilities = facts.get("supported_parameters"), facts.get("capabilities")
    if isinstance(parameters, list) and parameters:
        return "tools" in parameters
    if isinstance(capabilities, dict):  # Mistral
        stated = capabilities.get("function_calling")
        return stated if isinstance(stated, bool) else None
    if isinstance(capabilities, list) and ("tools" in capabilities or "tool_use" in capabilities):
        return True  # Ollama, LM Studio
    return None


def _usd_per_mtok(price: Json) -> Decimal | None:
    usd = _usd(price)
    return None if usd is None else _plain(_ARITHMETIC.multiply(usd, _TOKENS_PER_MTOK))


def _usd(price: Json) -> Decimal | None:
    """Read a price: a string, as OpenRouter writes it, or a number. A negative or absurd price is unknown."""
    if not (isinstance(price, str) or _is_number(price)):
        return None
    try:
        text = str(price)
        usd = Decimal(text) if len(text) <= _LONGEST_PRICE_CHARS else Decimal("NaN")
    except (InvalidOperation, ValueError):  # the second is of a number with too many digits for Python
        return None
    is_sane = usd.is_finite() and (usd == 0 or _LEAST_USD <= usd <= _MOST_USD)
    return _plain(usd) if is_sane else None


def _plain(usd: Decimal) -> Decimal:
    """Return the number without sign, exponent and trailing zeros."""
    usd = usd.copy_abs()  # there is a negative zero
    if usd == usd.to_integral_value():
        return usd.quantize(Decimal(1), context=_ARITHMETIC)
    return usd.normalize(_ARITHMETIC)


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
