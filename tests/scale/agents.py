"""One worker process with several agents: make numbered calls for a while and write the outcomes as JSON.

The demo model has one answer for each hour of the day, so that an answer shows which call it belongs to.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from adapters import IncompleteResponseError, LLMProvider, RateLimitError, create_provider, load_config
from adapters.errors import APIError
from tests.scale.cluster import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 5
"""Requests a minute to the limited model that ``config/litellm-proxy.yaml`` allows."""

_ROOM_S = 30.0  # for the calls at the limit
_TIME_TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Tell the time.",
        "parameters": {"type": "object", "properties": {}},
    },
}


def question(hour: int) -> tuple[list[dict[str, Any]], str]:
    """Return a conversation whose next answer depends on the hour, and that answer."""
    call = {"id": "call00001", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call00001", "name": "get_time", "content": f"It is {hour:02}:30."},
    ]
    return messages, f"It is between {hour} and {hour + 1} o'clock."


async def ask(provider: LLMProvider, hour: int, *, stream: bool) -> str:
    """Make one call and return its outcome."""
    messages, expected = question(hour)
    text = ""
    try:
        if stream:
            async for piece in provider.chat_stream(messages, tools=[_TIME_TOOL]):
                text += piece
        else:
            text = (await provider.chat(messages, tools=[_TIME_TOOL])).content or ""
    except IncompleteResponseError:
        return "cut, with an error" if expected.startswith(text) else "mixed"
    except APIError as error:
        return "cut, with an error" if text else type(error).__name__
    if text == expected:
        return "answered"
    return "lost" if expected.startswith(text) else "mixed"


async def converse(provider: LLMProvider, hours: Iterator[int], until_s: float, counts: Counter[str]) -> None:
    """Make one call after another, as one agent does, until the time is over."""
    for hour in hours:
        if time.monotonic() > until_s:
            return
        counts[await ask(provider, hour % 24, stream=hour % 2 == 0)] += 1


async def at_the_limit(counts: Counter[str]) -> None:
    """Make twice as many calls as the limit allows, through both proxies, and then one that waits for its turn."""
    config = load_config(CONFIG / "agent-behind-proxy.yaml")
    messages, expected = question(7)
    await _next_minute()
    for number in range(2 * LIMIT):
        entry = config.provider("voice-2" if number % 2 else "voice")
        async with create_provider(entry, model="voice-limited", retry={"attempts": 1}, fallbacks=[]) as hasty:
            try:
                await hasty.chat(messages, tools=[_TIME_TOOL])
                counts["limited: answered within a minute"] += 1
            except RateLimitError:
                counts["limited: refused with 429"] += 1
    async with create_provider(config.provider("patient")) as patient:
        response = await patient.chat(messages, tools=[_TIME_TOOL])
        counts["limited: waited for, then answered"] += response.content == expected


async def _next_minute() -> None:
    """Wait for the next minute if this one is nearly over: LiteLLM counts by the minutes of the clock."""
    left_s = 60 - time.time() % 60
    if left_s < _ROOM_S:
        await asyncio.sleep(left_s)


async def work(number: int, seconds: float, agents: int) -> Counter[str]:
    """Run the agents of one process against one of the proxies."""
    counts: Counter[str] = Counter()
    entry = load_config(CONFIG / "agent-behind-proxy.yaml").provider("voice" if number % 2 else "voice-2")
    async with create_provider(entry) as provider:
        await provider.prewarm()
        until_s = time.monotonic() + seconds
        numbers = (iter(range(number * 1000 + agent, 10**9, agents)) for agent in range(agents))
        await asyncio.gather(*(converse(provider, hours, until_s, counts) for hours in numbers))
    return counts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(work(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))))
