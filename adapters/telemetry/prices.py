"""What a response costs by LiteLLM's bundled price list, where the address says whose prices apply.

A private server may serve a model under the name of a famous one, so a price is only looked up for the hosts below and
for routes of kind ``litellm``. OpenRouter is not among them: it reports the cost itself.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adapters.types import TokenUsage

PROVIDERS_BY_HOST: Mapping[str, str] = {
    "api.openai.com": "openai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "api.cerebras.ai": "cerebras",
    "api.together.xyz": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
    "api.perplexity.ai": "perplexity",
}
"""LiteLLM's names of providers whose models it prices, by host."""
_PROVIDER_DOMAINS = (".amazonaws.com", ".anthropic.com", ".azure.com", ".cohere.com", ".googleapis.com", ".mistral.ai")
"""Domains under which services of kind ``litellm`` have addresses of their own, such as one for each region."""

_SMALLEST = Decimal("1e-10")  # US dollars; the list's prices per token have fewer digits


@lru_cache(maxsize=256)
def cost_estimator(route: str, base_url: str, model: str) -> Callable[[TokenUsage], Decimal | None] | None:
    """Return a function that estimates the cost of a response, or None if it is unknown whose prices apply.

    Args:
        route: LiteLLM's prefix that is not part of ``model``, such as ``openai/``; "" if ``model`` begins with one.
        base_url: Address of the server, or "".
        model: Name of the model.
    """
    host = urlsplit(base_url).hostname or ""
    if route:
        provider = PROVIDERS_BY_HOST.get(host, "")
    else:
        provider, _, model = model.partition("/")
        model = model.removeprefix("converse/")  # Bedrock's newer API; the list names the model alone
        if host and host not in PROVIDERS_BY_HOST and not host.endswith(_PROVIDER_DOMAINS):
            return None
    return partial(estimate_cost, provider, model) if provider and model else None


def estimate_cost(provider: str, model: str, usage: TokenUsage) -> Decimal | None:
    """Return the cost in US dollars, or None if the list has no price for the model.

    Args:
        provider: LiteLLM's name of the provider.
        model: Name of the model at this provider.
        usage: The tokens; cached ones are priced as such.
    """
    litellm: Any = sys.modules.get("litellm")
    if litellm is None or not _has_price(provider, model):
        return None
    counted: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens:
        counted["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.cache_write_tokens:
        counted["cache_creation_input_tokens"] = usage.cache_write_tokens
    try:
        costs = litellm.cost_per_token(model=model, custom_llm_provider=provider, usage_object=litellm.Usage(**counted))
        return Decimal(str(sum(costs))).quantize(_SMALLEST).normalize()
    except Exception:  # noqa: BLE001 - LiteLLM raises anything, and an estimate is not worth an error
        return None


@lru_cache(maxsize=256)
def _has_price(provider: str, model: str) -> bool:
    """Return whether the list has a price for a model of a provider. A price of 0 means unknown, not free."""
    prices: Mapping[str, Mapping[str, Any]] = sys.modules["litellm"].model_cost
    entries = [prices.get(name, {}) for name in (f"{provider}/{model}", model)]
    return any(
        entry.get("litellm_provider", "").startswith(provider)
        and (entry.get("input_cost_per_token") or entry.get("output_cost_per_token"))
        for entry in entries
    )
