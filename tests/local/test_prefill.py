"""Prefill on the real llama.cpp: what the first question still has to evaluate. A byte is a token of the demo model."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from adapters import create_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.client.provider import LiteLLMProvider
    from adapters.types import Message, TokenUsage, ToolSpec

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs the extra `local`"),
]

RULES = "You are the voice of a home. Answer in one short sentence. " * 20
SYSTEM: list[Message] = [{"role": "system", "content": RULES}]
TOOLS: list[ToolSpec] = [
    {
        "type": "function",
        "function": {
            "name": f"set_light_{room}",
            "description": f"Switch the light of the {room} on or off.",
            "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
        },
    }
    for room in ("kitchen", "hall", "bath", "attic")
]


@pytest.fixture
async def provider(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiteLLMProvider]:
    """Run an embedded server with the demo model."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))
        async with create_provider("local") as provider:
            yield provider


def _evaluated(usage: TokenUsage | None) -> float:
    """Return the share of the prompt that did not come from the server's cache."""
    assert usage is not None
    assert usage.cached_tokens is not None
    return 1 - usage.cached_tokens / usage.prompt_tokens


async def test_the_first_question_after_a_prefill(provider: LiteLLMProvider) -> None:
    """It evaluates less than a tenth of its prompt; behind a time of day in front, everything is evaluated anew."""
    await provider.prewarm(SYSTEM, TOOLS)
    ready = await provider.chat([*SYSTEM, {"role": "user", "content": "Good evening!"}], TOOLS)
    later: list[Message] = [{"role": "system", "content": f"It is 12:01. {RULES}"}]
    cold = await provider.chat([*later, {"role": "user", "content": "Good evening!"}], TOOLS)

    assert _evaluated(ready.usage) < 0.1
    assert _evaluated(cold.usage) > 0.5  # the demo model's template has the tools in front


async def test_the_first_question_of_a_livekit_session(provider: LiteLLMProvider) -> None:
    """A session prefills its agent's instructions and tools when it starts."""
    from livekit import agents
    from livekit.agents.llm import function_tool

    from adapters.livekit import LLM

    await provider.prewarm()
    model = LLM(provider)
    metrics: list[Any] = []
    model.on("metrics_collected", metrics.append)
    tools: list[Any] = [function_tool(_switch, raw_schema=tool["function"]) for tool in TOOLS]
    async with agents.AgentSession(llm=model) as session:
        await session.start(agents.Agent(instructions=RULES, tools=tools))
        for prefill in list(model._prefills.values()):
            await prefill  # the greeting takes longer
        await session.run(user_input="Good evening!")

    [first] = metrics
    assert first.prompt_cached_tokens > 0.9 * first.prompt_tokens > 1000


async def _switch(raw_arguments: dict[str, object]) -> str:
    return "done"
