"""``play``: send the requests of a case through a provider, and record the outcome.

For every implementation of ``adapters.provider.LLMProvider``; other clients fill in an ``Outcome`` themselves.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

from adapters.testing.case import TOOLS, Outcome
from adapters.types import TextDelta, ToolCallDone

if TYPE_CHECKING:
    from adapters.provider import LLMProvider
    from adapters.testing.case import WireCase
    from adapters.types import Message, ToolSpec


async def play(provider: LLMProvider, case: WireCase) -> Outcome:
    """Run all turns of a case, with the first of its ways.

    Args:
        provider: A provider with the base URL of the case.
        case: The case.

    Returns:
        The outcome of the last turn, or of the first turn that raised.
    """
    await provider._load()  # noqa: SLF001 - on a slow machine LiteLLM loads for longer than most cases may take
    started_s = time.monotonic()
    outcome = Outcome()
    for _ in range(case.turns):
        outcome = Outcome()
        try:
            await _run(provider, case, outcome)
        except Exception as error:  # noqa: BLE001 - the judge checks every exception
            outcome.error = error
            break
        usage = provider.last_usage
        outcome.usage = (usage.prompt_tokens, usage.completion_tokens) if usage else None
    outcome.took_s = time.monotonic() - started_s
    return outcome


async def _run(provider: LLMProvider, case: WireCase, outcome: Outcome) -> None:
    messages: list[Message] = copy.deepcopy(list(case.messages))
    tools: list[ToolSpec] | None = copy.deepcopy(list(TOOLS)) if case.tools else None
    if case.ways[0] == "chat":
        outcome.response = await provider.chat(messages, tools, **case.kwargs)
        if outcome.response.content:
            outcome.add_text(outcome.response.content)
        outcome.calls = outcome.response.tool_calls
    elif case.ways[0] == "chat_stream":
        async for piece in provider.chat_stream(messages, tools, **case.kwargs):
            outcome.add_text(piece)
    else:
        await _run_events(provider, messages, tools, case, outcome)
    if messages != list(case.messages):
        raise AssertionError("the caller's messages were changed")


async def _run_events(
    provider: LLMProvider, messages: list[Message], tools: list[ToolSpec] | None, case: WireCase, outcome: Outcome
) -> None:
    outcome.calls = []
    async for event in provider.stream_events(messages, tools, **case.kwargs):
        if outcome.response is not None:
            raise AssertionError("an event came after ResponseDone")
        if isinstance(event, TextDelta):
            outcome.add_text(event.text)
        elif isinstance(event, ToolCallDone):
            outcome.calls.append(event.tool_call)
        else:
            outcome.response = event.response
    if outcome.response is None:
        raise AssertionError("the stream ended without ResponseDone")
