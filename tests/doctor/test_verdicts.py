"""Verdicts on lists of models and on durations; whole examinations cover the others."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.config import ProviderConfig
from adapters.doctor.conversation import CallOutcome
from adapters.doctor.servers import UNKNOWN, Server
from adapters.doctor.verdicts import first_text, model_offered, prefix_cache, streamed
from adapters.types import LLMResponse, TokenUsage, WaitTimes

MODELS: list[dict[str, Any]] = [{"id": "qwen3:latest"}, {"id": "meta/llama-3"}, {"id": "openai/*"}, {"name": "named"}]


@pytest.mark.parametrize(
    ("kind", "model", "verdict", "words"),
    [
        pytest.param("openai_compatible", "meta/llama-3", "passed", "meta/llama-3 is offered", id="offered"),
        pytest.param("openai_compatible", "named", "passed", "named is offered", id="by name"),
        pytest.param(
            "openai_compatible", "openai/gpt-5", "passed", "openai/gpt-5 is offered", id="a wildcard of a proxy"
        ),
        pytest.param("ollama", "qwen3", "passed", "qwen3 is offered", id="Ollama's full name"),
        pytest.param(
            "openrouter", "meta/llama-3:nitro", "passed", "meta/llama-3:nitro is offered", id="a routing variant"
        ),
        pytest.param("openai_compatible", "meta/lama-3", "failed", "one of: meta/llama-3", id="misspelled"),
        pytest.param("openai_compatible", "zzz", "failed", "qwen3:latest, meta/llama-3, openai/*", id="another"),
    ],
)
def test_model(kind: str, model: str, verdict: str, words: str) -> None:
    """A model is offered under each of its names; for another one the nearest names are suggested."""
    options = {"base_url": "http://127.0.0.1/v1"} if kind == "openai_compatible" else {}
    config = ProviderConfig.create(kind, model=model, **options)
    finding = model_offered(config, UNKNOWN, MODELS)

    assert finding.verdict == verdict
    assert words in f"{finding.detail} {finding.advice}"


def test_model_of_a_server_that_accepts_any_name() -> None:
    """A server that accepts any name makes an unknown one a warning."""
    config = ProviderConfig.create("openai_compatible", model="x", base_url="http://127.0.0.1/v1")

    assert model_offered(config, Server("one", any_model=True), MODELS).verdict == "warning"


@pytest.mark.parametrize(
    ("cold_s", "warm_s", "reasoning", "verdict", "advice"),
    [
        pytest.param(0.4, 0.1, None, "passed", "", id="fast"),
        pytest.param(1.1, 0.9, None, "passed", "", id="barely fast"),
        pytest.param(6.0, 0.2, None, "warning", "keep it", id="loads the model first"),
        pytest.param(3.0, 1.2, None, "warning", "smaller model", id="slow"),
        pytest.param(3.0, 1.2, "Hm.", "warning", "think: false", id="reasons first"),
    ],
)
def test_first_text(cold_s: float, warm_s: float, reasoning: str | None, verdict: str, advice: str) -> None:
    """The advice depends on whether the server is always slow, and why."""
    server = Server("s", warm_advice="keep it")
    cold = CallOutcome(first_event_s=cold_s)
    response = LLMResponse("Hi.", reasoning=reasoning, wait=WaitTimes(loading_s=0.0, time_to_head_s=0.04))
    warm = CallOutcome(response, first_event_s=warm_s)
    failed = CallOutcome()
    finding = first_text(cold, warm, server, (warm, failed))

    assert (finding.verdict, advice in finding.advice) == (verdict, True)
    assert finding.detail == f"{cold_s * 1000:.0f} ms cold, {warm_s * 1000:.0f} ms warm; warm: head 40 ms"
    prefilled = first_text(cold, warm, server, (cold, warm)).detail.removeprefix(finding.detail)
    assert prefilled == f"; a new long prompt: {cold_s * 1000:.0f} ms, {warm_s * 1000:.0f} ms prefilled"


@pytest.mark.parametrize(
    ("first_s", "last_s", "pieces", "reasoning", "verdict"),
    [
        pytest.param(0.2, 1.4, 40, None, "passed", id="streamed"),
        pytest.param(2.0, 2.01, 40, None, "warning", id="buffered"),
        pytest.param(0.8, 1.7, 2, None, "warning", id="a buffer that was full once"),
        pytest.param(0.4, 0.4, 1, None, "passed", id="too fast to tell"),
        pytest.param(2.0, 2.01, 40, "Hm.", "passed", id="reasoned before"),
        pytest.param(2.0, 2.5, 40, None, "passed", id="slow at first"),
    ],
)
def test_streaming(first_s: float, last_s: float, pieces: int, reasoning: str | None, verdict: str) -> None:
    """A long text that arrives at once, later than a short one, is buffered on its way."""
    long = CallOutcome(LLMResponse("…", reasoning=reasoning), first_event_s=first_s, last_event_s=last_s)
    long.total_s, long.pieces = last_s, pieces
    finding = streamed(long, CallOutcome(LLMResponse("Hi."), first_event_s=0.2))

    assert finding.verdict == verdict
    assert ("proxy_buffering" in finding.advice) == (verdict == "warning")
    assert ("in one piece" in finding.detail) == (pieces == 1)


@pytest.mark.parametrize(
    ("cached", "new_s", "known_s", "verdict", "words"),
    [
        pytest.param(500, 0.1, 0.1, "passed", "500 of 600 tokens", id="cached tokens"),
        pytest.param(16, 2.0, 0.1, "warning", "16 of 600 tokens", id="none to speak of"),
        pytest.param(None, 2.0, 0.1, "passed", "2000 ms for a new prompt, 100 ms for a known one", id="faster"),
        pytest.param(None, 0.09, 0.01, "skipped", "unknown", id="too fast to tell"),
        pytest.param(None, 2.0, 1.9, "skipped", "unknown", id="as slow"),
        pytest.param(None, None, 1.9, "skipped", "a longer prompt failed", id="failed"),
    ],
)
def test_prefix_cache(cached: int | None, new_s: float | None, known_s: float, verdict: str, words: str) -> None:
    """The server's count decides, or else the time to first text."""
    response = LLMResponse("Hi", usage=TokenUsage(600, 3, cached))
    finding = prefix_cache((CallOutcome(first_event_s=new_s), CallOutcome(response, first_event_s=known_s)))

    assert finding.verdict == verdict
    assert words in finding.detail
