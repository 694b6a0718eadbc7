"""Tests of an agent, with the pytest plugin of ``adapters.testing``: ``pytest docs/examples/test_agent.py``.

The first tests use a fake provider, the last one servers that play the exact bytes of real ones.
"""

import asyncio

import pytest

from adapters import LLMProvider, RateLimitError, ToolCall, create_provider, run_turn
from adapters.testing import KEY, FakeProvider, Outcome, check

pytest_plugins = ["adapters.testing.plugin"]  # in a project, put this line into the top conftest.py


def get_weather(city: str) -> str:
    """Current weather in a city."""
    return f"sunny in {city}"


async def reply_to(question: str, provider: LLMProvider) -> str:
    """Answer a question: the agent that is tested."""
    messages = [{"role": "user", "content": question}]
    try:
        async for _ in run_turn(provider, messages, [get_weather]):
            pass
    except RateLimitError:
        return "One moment, please."
    return messages[-1]["content"]


def test_answer_with_a_tool() -> None:
    """The result of the tool reaches the model."""
    provider = FakeProvider("It is sunny.", calls=[ToolCall("call1", "get_weather", {"city": "Paris"})])

    assert asyncio.run(reply_to("What is the weather in Paris?", provider)) == "It is sunny."
    assert provider.requests[1].messages[-1]["content"] == "sunny in Paris"


def test_busy_server() -> None:
    """A rate limit becomes a sentence."""
    busy = RateLimitError("fake is busy.", provider="fake", model="fake")

    assert asyncio.run(reply_to("Hello", FakeProvider(busy))) == "One moment, please."


@pytest.mark.wire_cases(topics=("endings",), ways=("chat_stream",))
def test_real_servers(wire_case, scripted_server) -> None:  # noqa: ANN001 - fixtures of the plugin
    """Cut and odd streams are either whole answers or errors."""
    base_url = scripted_server.add(wire_case.id, *wire_case.steps)
    outcome = Outcome()

    async def stream() -> None:
        options = wire_case.provider_options
        async with create_provider("openai_compatible", model="m", base_url=base_url, api_key=KEY, **options) as llm:
            async for text in llm.chat_stream(wire_case.messages):
                outcome.add_text(text)

    try:
        asyncio.run(stream())
    except Exception as error:  # noqa: BLE001 - the outcome is judged below
        outcome.error = error
    assert check(wire_case, outcome, strict=False) == []
