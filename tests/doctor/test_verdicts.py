"""What is made of lists of models and of seconds; the rest of the verdicts is seen in whole examinations."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.config import ProviderConfig
from adapters.doctor.conversation import CallOutcome
from adapters.doctor.servers import UNKNOWN, Server
from adapters.doctor.verdicts import first_words, model_offered
from adapters.types import LLMResponse

MODELS: list[dict[str, Any]] = [{"id": "qwen3:latest"}, {"id": "meta/llama-3"}, {"id": "openai/*"}, {"name": "named"}]


@pytest.mark.parametrize(
    ("kind", "model", "verdict", "words"),
    [
        pytest.param("openai_compatible", "meta/llama-3", "ok", "meta/llama-3 is offered", id="offered"),
        pytest.param("openai_compatible", "named", "ok", "named is offered", id="by name"),
        pytest.param("openai_compatible", "openai/gpt-5", "ok", "openai/gpt-5 is offered", id="a wildcard of a proxy"),
        pytest.param("ollama", "qwen3", "ok", "qwen3 is offered", id="Ollama's full name"),
        pytest.param("openrouter", "meta/llama-3:nitro", "ok", "meta/llama-3:nitro is offered", id="a way of routing"),
        pytest.param("openai_compatible", "meta/lama-3", "failed", "one of them: meta/llama-3", id="misspelled"),
        pytest.param("openai_compatible", "zzz", "failed", "qwen3:latest, meta/llama-3, openai/*", id="another"),
    ],
)
def test_model(kind: str, model: str, verdict: str, words: str) -> None:
    """A model is offered under each of its names; one that is not is shown its neighbours."""
    options = {"base_url": "http://127.0.0.1/v1"} if kind == "openai_compatible" else {}
    config = ProviderConfig.create(kind, model=model, **options)
    finding = model_offered(config, UNKNOWN, MODELS)

    assert finding.verdict == verdict
    assert words in f"{finding.detail} {finding.advice}"


def test_model_of_a_server_with_one() -> None:
    """A server that answers whatever the name has no wrong one."""
    config = ProviderConfig.create("openai_compatible", model="x", base_url="http://127.0.0.1/v1")

    assert model_offered(config, Server("one", any_model=True), MODELS).verdict == "warning"


@pytest.mark.parametrize(
    ("cold_s", "warm_s", "reasoning", "verdict", "advice"),
    [
        pytest.param(0.4, 0.1, None, "ok", "", id="fast"),
        pytest.param(1.1, 0.9, None, "ok", "", id="as slow as it gets"),
        pytest.param(6.0, 0.2, None, "warning", "keep it", id="loaded first"),
        pytest.param(3.0, 1.2, None, "warning", "smaller model", id="slow"),
        pytest.param(3.0, 1.2, "Hm.", "warning", "think: false", id="thinks first"),
    ],
)
def test_first_words(cold_s: float, warm_s: float, reasoning: str | None, verdict: str, advice: str) -> None:
    """What to do depends on whether it is always slow, and why."""
    server = Server("s", warm_advice="keep it")
    finding = first_words(
        CallOutcome(first_s=cold_s), CallOutcome(LLMResponse("Hi.", reasoning=reasoning), first_s=warm_s), server
    )

    assert (finding.verdict, advice in finding.advice) == (verdict, True)
    assert finding.detail == f"{cold_s * 1000:.0f} ms cold, {warm_s * 1000:.0f} ms warm"
