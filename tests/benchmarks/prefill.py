"""What a prefill is worth: ``nox -s bench -- prefill`` measures the first word of the first turn on llama.cpp.

The prompt has 4,000 tokens: a system message and ten tools. The model has random weights, because its size and not its
sense decides how long the prompt takes. Each round has a system message of its own, so that nothing is in the cache of
the server; the median of the rounds counts. Writes the table into ``docs/voice-latency.md``, or only prints it
(``nox -s bench -- prefill --print``). With ``--proxy``, a LiteLLM proxy stands in front of llama.cpp.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import ResponseDone, TextDelta, create_provider
from adapters.local import LocalServer
from tests.benchmarks import report
from tests.benchmarks.prefill_model import write_random_model
from tests.scale.cluster import PROXY
from tests.servers.environments import installed
from tests.servers.runners import PROXY_CONFIG, free_port, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.client.provider import LiteLLMProvider

_ROOT = Path(__file__).parent.parent.parent
_ROUNDS = 3
_RULES = "Answer in one short sentence, and use a tool where one fits. " * 30
_TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": f"set_{thing}",
            "description": f"Switch the {thing} of a room on or off.",
            "parameters": {"type": "object", "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}}},
        },
    }
    for thing in ("light", "heater", "fan", "radio", "blind", "lock", "alarm", "lamp", "oven", "pump")
]
_PROXY_KEY = "sk-bench"


@dataclass(frozen=True, slots=True)
class First:
    """The first word of one turn.

    Attributes:
        first_s: Seconds from the question to it.
        prompt_tokens: Length of the prompt.
        evaluated_tokens: How much of that was not in the cache.
        prewarm_s: How long the prefill took.
    """

    first_s: float
    prompt_tokens: int
    evaluated_tokens: int
    prewarm_s: float = 0.0


async def _first_turn(provider: LiteLLMProvider, *, ahead: str | None) -> First:
    """Ask the first question of a conversation.

    Args:
        provider: The provider.
        ahead: What the system message of the prefill begins with, "" for the same, None for no prefill.
    """
    rules = f"This is the home {uuid.uuid4().hex}. {_RULES}"
    tools = [{**_TOOLS[0], "function": {**_TOOLS[0]["function"], "description": uuid.uuid4().hex}}, *_TOOLS[1:]]
    system, began_s = {"role": "system", "content": rules}, time.perf_counter()
    if ahead is not None:
        await provider.prewarm([{**system, "content": f"{ahead}{rules}"}], tools)
    asked_s, first_s, cached, prompt = time.perf_counter(), 0.0, 0, 0
    async for event in provider.stream_events([system, {"role": "user", "content": "Good evening!"}], tools):
        if isinstance(event, TextDelta) and not first_s:
            first_s = time.perf_counter() - asked_s
        if isinstance(event, ResponseDone) and (usage := event.response.usage) is not None:
            prompt, cached = usage.prompt_tokens, usage.cached_tokens or 0
    return First(first_s, prompt, prompt - cached, asked_s - began_s)


@asynccontextmanager
async def _through_proxy(base_url: str) -> AsyncIterator[str]:
    """Run a LiteLLM proxy in front of a server."""
    programs, port = await asyncio.to_thread(installed, "litellm-proxy", PROXY), free_port()
    command = [str(programs / "litellm"), "--config", str(PROXY_CONFIG), "--host", "127.0.0.1", "--port", str(port)]
    variables = {"LITELLM_MASTER_KEY": _PROXY_KEY, "LLAMA_CPP_BASE_URL": base_url, "LLAMA_CPP_API_KEY": "none"}
    async with program(command, f"http://127.0.0.1:{port}/health/liveliness", variables):
        yield f"http://127.0.0.1:{port}/v1"


async def measure(*, with_proxy: bool) -> dict[str, First]:
    """Measure the first turn without a prefill, with one, and with one that begins differently.

    Args:
        with_proxy: Whether a LiteLLM proxy stands between.

    Returns:
        The medians.
    """
    cases = {"without": None, "after `prewarm(messages, tools)`": "", "the same, but a time of day changed": "12:01 "}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "demo.gguf")
        write_random_model(path)
        async with LocalServer(path, context_tokens=8192) as llama:
            base_url = await llama.start()
            if not with_proxy:
                return await _rounds(cases, base_url, None)
            async with _through_proxy(base_url) as proxy_url:
                return await _rounds(cases, proxy_url, _PROXY_KEY)


async def _rounds(cases: dict[str, str | None], base_url: str, key: str | None) -> dict[str, First]:
    found: dict[str, list[First]] = {case: [] for case in cases}
    timeouts = {"first_token_s": 120.0, "total_s": 200.0}
    options: dict[str, Any] = {"model": "demo", "api_key": key, "max_tokens": 8, "timeouts": timeouts}
    async with create_provider("openai_compatible", base_url=base_url, **options) as provider:
        await provider.prewarm()
        for _ in range(_ROUNDS):
            for case, ahead in cases.items():
                found[case].append(await _first_turn(provider, ahead=ahead))
    return {case: _median(firsts) for case, firsts in found.items()}


def _median(firsts: list[First]) -> First:
    return sorted(firsts, key=lambda first: first.first_s)[len(firsts) // 2]


def document(found: dict[str, First]) -> str:
    """Write the figures out as a table.

    Args:
        found: What ``measure`` returns.

    Returns:
        Markdown.
    """
    tokens = round(statistics.median(first.prompt_tokens for first in found.values()), -2)
    lines = [
        f"| first word of the first turn, prompt of {tokens:,} tokens | seconds | tokens evaluated |",
        "| --- | --- | --- |",
        *(f"| {case} | {first.first_s:.2f} | {first.evaluated_tokens:,} |" for case, first in found.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table and write it into the page on latency."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", dest="only_print")
    parser.add_argument("--proxy", action="store_true")
    asked = parser.parse_args()
    found = asyncio.run(measure(with_proxy=asked.proxy))
    print(document(found), {case: round(first.prewarm_s, 2) for case, first in found.items()})  # noqa: T201 - for whoever started it
    if not (asked.only_print or asked.proxy):
        report.quote(document(found), _ROOT / "docs" / "voice-latency.md", "prefill")


if __name__ == "__main__":
    main()
