"""What goes out to a server: matching has proved that the cassette's requests are ours, so they are read from it.

Recorded as ``test_recorded``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from adapters import IncompleteResponseError
from adapters.models import ModelInfo, list_models
from tests.servers.cassettes import HIDDEN_KEY, NO_KEY, sent
from tests.servers.questions import HELLO, ONE_CITY, TOOLS
from tests.servers.rows import LITELLM_PROXY, LLAMA_CPP, MLX_LM, OPENROUTER, STAND_IN, Row, servers

if TYPE_CHECKING:
    from vcr.cassette import Cassette  # type: ignore[import-untyped]  # vcrpy carries no types

pytestmark = pytest.mark.vcr


@servers(LLAMA_CPP, OPENROUTER)
async def test_body(server: Row, vcr: Cassette) -> None:
    """A request holds the settings of its provider and of its call, and no more."""
    async with server.provider(temperature=0.5, extra_body={"seed": 7}) as provider:
        await provider.chat(ONE_CITY, TOOLS, top_p=0.9)

    [body] = sent(vcr)
    unexpected = {"stream", "usage"} if server is OPENROUTER else set()  # LiteLLM adds them on this route
    assert {name: value for name, value in body.items() if name not in unexpected} == {
        "model": server.model,
        "messages": ONE_CITY,
        "tools": TOOLS,
        "tool_choice": "auto",
        "max_tokens": 256,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
    }


@servers(LLAMA_CPP, MLX_LM, OPENROUTER)
async def test_headers(server: Row, vcr: Cassette) -> None:
    """The key is sent if there is one, a placeholder otherwise; OpenRouter gets the attribution headers."""
    async with server.provider() as provider:
        await provider.chat(HELLO)

    headers = {name.lower(): value for name, value in vcr.requests[0].headers.items()}
    attribution = {name: headers.get(name) for name in ("http-referer", "x-title")}
    assert headers["authorization"] == (HIDDEN_KEY if server.needs_key else NO_KEY)
    assert all(attribution.values()) is (server is OPENROUTER)
    assert "litellm" not in str(headers).lower()


@servers(LLAMA_CPP, LITELLM_PROXY, MLX_LM)
async def test_prewarm(server: Row, vcr: Cassette) -> None:
    """Warming up asks the server for no answer, so it costs nothing."""
    async with server.provider() as provider:
        await provider.prewarm()
        await provider.chat(HELLO)

    assert [request.path for request in vcr.requests][-1] == "/v1/chat/completions"
    assert "/v1/chat/completions" not in [request.path for request in vcr.requests][:-1]


@servers(LLAMA_CPP, LITELLM_PROXY)
async def test_models(server: Row) -> None:
    """Every server lists the model that it was asked for, and claims no price for it."""
    models = await list_models(server.config())

    [demo] = [model for model in models if model.id == server.model]
    assert demo.prompt_usd_per_mtok is None
    assert not demo.is_free


@servers(MLX_LM)
async def test_models_of_a_server_that_breaks(server: Row) -> None:
    """mlx-lm without a Hugging Face cache breaks off after a status of 200; that is no empty list."""
    with pytest.raises(IncompleteResponseError, match="mlx-lm sent no JSON"):
        await list_models(server.config())


@servers(STAND_IN)
async def test_models_with_prices(server: Row) -> None:
    """OpenRouter says of each model what it costs and whether it can call tools."""
    models = {model.id: model for model in await list_models(server.config(), supports_tools=True)}

    assert models[server.model] == ModelInfo(
        id="openai/gpt-4o-mini",
        name="OpenAI: GPT-4o-mini",
        context_tokens=128_000,
        supports_tools=True,
        supported_parameters=("max_tokens", "temperature", "tool_choice", "tools"),
        prompt_usd_per_mtok=Decimal("0.15"),
        completion_usd_per_mtok=Decimal("0.6"),
        request_usd=Decimal(0),
    )
