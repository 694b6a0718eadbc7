"""``telemetry.prices``: an estimate where the prices are known, and None everywhere else."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from adapters.factory import create_provider
from adapters.telemetry.prices import cost_estimator, estimate_cost
from adapters.testing import ASK
from adapters.testing.answers import completion, reply
from adapters.types import LLMResponse, TokenUsage

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_USAGE = TokenUsage(1000, 100, cached_tokens=200)


def _estimate(route: str, base_url: str, model: str, usage: TokenUsage = _USAGE) -> Decimal | None:
    estimator = cost_estimator(route, base_url, model)
    return estimator(usage) if estimator is not None else None


@pytest.mark.parametrize(
    ("route", "base_url", "model", "cost"),
    [
        pytest.param("openai/", "https://api.openai.com/v1", "gpt-4o-mini", "0.000195", id="OpenAI, cached tokens"),
        pytest.param("", "", "anthropic/claude-sonnet-4-5", "0.00396", id="a route"),
        pytest.param("", "", "bedrock/converse/anthropic.claude-3-5-sonnet-20240620-v1:0", "0.00396", id="Bedrock"),
        pytest.param("", "https://x.openai.azure.com", "azure/gpt-4o", "0.00325", id="an address of the service"),
        pytest.param("openai/", "http://127.0.0.1:8000/v1", "gpt-4o-mini", None, id="a private server"),
        pytest.param("", "http://127.0.0.1:8000", "anthropic/claude-sonnet-4-5", None, id="a private gateway"),
        pytest.param("openrouter/", "https://openrouter.ai/api/v1", "openai/gpt-4o", None, id="OpenRouter reports it"),
        pytest.param("openai/", "https://api.openai.com/v1", "gpt-99", None, id="unknown model"),
        pytest.param("", "", "ollama_chat/qwen3:8b", None, id="no price"),
        pytest.param("", "", "anthropic", None, id="no model"),
        pytest.param("", "", "/x", None, id="no provider"),
    ],
)
def test_estimates(route: str, base_url: str, model: str, cost: str | None) -> None:
    """The address or the route decides whose prices apply; without a price there is no estimate."""
    assert _estimate(route, base_url, model) == (None if cost is None else Decimal(cost))


def test_tokens_that_were_not_cached() -> None:
    """Without cached tokens all of the prompt has its full price."""
    assert _estimate("openai/", "https://api.openai.com/v1", "gpt-4o-mini", TokenUsage(1000, 100)) == Decimal("0.00021")


def test_tokens_that_were_written_to_the_cache() -> None:
    """Anthropic charges a quarter more for them."""
    usage = TokenUsage(1000, 100, cache_write_tokens=400)
    assert _estimate("", "", "anthropic/claude-sonnet-4-5", usage) == Decimal("0.0048")


def test_price_of_zero_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM's list has 0 where it does not know a price."""
    entry = {"litellm_provider": "xai", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    monkeypatch.setitem(litellm.model_cost, "xai/free-test", entry)

    assert _estimate("", "", "xai/free-test") is None


def test_error_of_litellm_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate that LiteLLM cannot compute is None."""

    def broken(**_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(litellm, "cost_per_token", broken)

    assert estimate_cost("openai", "gpt-4o-mini", _USAGE) is None


def test_without_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not loaded LiteLLM, such as one that unpickled a response, does not load it for this."""
    monkeypatch.setattr("sys.modules", {})

    assert estimate_cost("openai", "gpt-4o-mini", _USAGE) is None


async def test_response(scripted_server: ScriptedServer) -> None:
    """The response of a private server has no estimate; one with known prices has, also after pickling."""
    base_url = scripted_server.add("private", reply(completion({"content": "Hi"})))
    async with create_provider("openai_compatible", model="gpt-4o-mini", base_url=base_url) as provider:
        response = await provider.chat(list(ASK))
    priced = LLMResponse("Hi", usage=_USAGE, cost_estimator=cost_estimator("", "", "anthropic/claude-sonnet-4-5"))

    assert response.estimated_cost is None
    assert LLMResponse("Hi", cost_estimator=priced.cost_estimator).estimated_cost is None
    assert priced.estimated_cost == pickle.loads(pickle.dumps(priced)).estimated_cost == Decimal("0.00396")  # noqa: S301 - ours
