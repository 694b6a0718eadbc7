"""``play``: ask a provider as a case says, and note what comes of it.

For anything that implements ``adapters.provider.LLMProvider``; another client fills in an ``Outcome`` itself.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

from adapters.testing.case import TOOLS, Outcome
from adapters.types import ResponseDone, TextDelta, ToolCallDone

if TYPE_CHECKING:
    from adapters.provider import LLMProvider
    from adapters.testing.case import Way, WireCase
    from adapters.types import Message, TokenUsage, ToolSpec


async def play(provider: LLMProvider, case: WireCase, way: Way) -> Outcome:
    """Ask ``provider`` as often as the case says.

    Args:
        provider: A provider whose base URL is the case's.
        case: The case.
        way: Method to call.

    Returns:
        The outcome of the last turn, or of the first that raised.
    """
    started = time.monotonic()
    outcome = Outcome()
    for _ in range(case.turns):
        outcome = Outcome()
        try:
            await _ask(provider, case, way, outcome)
        except Exception as error:  # noqa: BLE001 - whatever it is, the judge wants to see it
            outcome.error = error
            break
        outcome.usage = _counted(provider.last_usage)
    outcome.took_s = time.monotonic() - started
    return outcome


async def _ask(provider: LLMProvider, case: WireCase, way: Way, outcome: Outcome) -> None:
    messages: list[Message] = copy.deepcopy(list(case.messages))
    tools: list[ToolSpec] | None = copy.deepcopy(list(TOOLS)) if case.tools else None
    kwargs: dict[str, Any] = dict(case.kwargs)
    if way == "chat":
        outcome.response = await provider.chat(messages, tools, **kwargs)
        outcome.text = outcome.response.content or ""
        outcome.calls = outcome.response.tool_calls
    elif way == "chat_stream":
        async for piece in provider.chat_stream(messages, tools, **kwargs):
            _hear(outcome, piece)
    else:
        outcome.calls = []
        async for event in provider.stream_events(messages, tools, **kwargs):
            if outcome.response is not None:
                raise AssertionError("an event came after ResponseDone")
            if isinstance(event, TextDelta):
                _hear(outcome, event.text)
            elif isinstance(event, ToolCallDone):
                outcome.calls.append(event.tool_call)
            elif isinstance(event, ResponseDone):
                outcome.response = event.response
        if outcome.response is None:
            raise AssertionError("the stream ended without ResponseDone")
    if messages != list(case.messages):
        raise AssertionError("the caller's messages were changed")


def _hear(outcome: Outcome, piece: str) -> None:
    outcome.pieces.append(piece)
    outcome.text += piece


def _counted(usage: TokenUsage | None) -> tuple[int, int] | None:
    return (usage.prompt_tokens, usage.completion_tokens) if usage else None
