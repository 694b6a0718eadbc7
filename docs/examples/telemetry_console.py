"""Spans of a turn with a tool, printed on the console (extra ``otel`` and ``pip install opentelemetry-sdk``).

In production, replace ``ConsoleSpanExporter`` by the exporter of OTLP, and ``SimpleSpanProcessor`` by
``BatchSpanProcessor``.
"""

import asyncio

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from adapters import create_provider, run_turn


def get_weather(city: str) -> str:
    """Current weather in a city."""
    return f"It is sunny in {city}."


async def main() -> None:
    """Run one turn, which prints the spans chat, execute_tool, chat and invoke_agent."""
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(tracing)
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    async with create_provider("openai_compatible", model="qwen3-8b", base_url="http://gpu-box:8000/v1") as llm:
        async for _ in run_turn(llm, messages, [get_weather]):
            pass
    print(messages[-1]["content"])


if __name__ == "__main__":
    asyncio.run(main())
