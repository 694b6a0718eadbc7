"""Send chat requests for a diagnosis: a greeting, a tool call, a text while tools are forbidden, a long text.

Each is a ``ProviderCall`` like any other, without retries. What a call repairs silently is reported here: tool calls
that arrive as text, rejected parameters, a ``tool_choice`` that has no effect.
"""

from __future__ import annotations

import time
import uuid
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adapters.client.call import ProviderCall
from adapters.errors import APIError
from adapters.request.params import CallArguments, parse_params
from adapters.request.prefill import prefill_params
from adapters.telemetry import spans
from adapters.telemetry.semconv import of_target
from adapters.types import ResponseDone

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.request.capabilities import ServerCapabilities
    from adapters.transport.provider_transport import ProviderTransport
    from adapters.types import LLMResponse, Message, ToolSpec

GREETING = "Say hello in one short sentence."
WEATHER = "What is the weather in Paris? Use the tool."
LONG_TEXT = "Count to forty in words, separated by commas."
TOOLS: list[ToolSpec] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@dataclass(slots=True)
class CallOutcome:
    """The outcome of one call.

    Attributes:
        response: The whole response, or None if the call failed.
        error: Why the call failed, or None.
        called_instead: Whether the model called a tool although tools were forbidden.
        sent_calls: Whether tool calls arrived as tool calls; calls that arrived as text do not count.
        first_event_s: Seconds from the call to the first text or tool call, or None if there was none.
        last_event_s: Seconds from the call to the last text or tool call, or None if there was none.
        pieces: Number of texts and tool calls.
        total_s: Seconds from the call to its end.
        rejected: Fields of the request that the server rejected.
    """

    response: LLMResponse | None = None
    error: APIError | None = None
    called_instead: bool = False
    sent_calls: bool = False
    first_event_s: float | None = None
    last_event_s: float | None = None
    pieces: int = 0
    total_s: float = 0
    rejected: tuple[str, ...] = ()


async def ask(
    transport: ProviderTransport,
    config: ProviderConfig,
    capabilities: ServerCapabilities,
    prompt: str | list[Message],
    tool_choice: Literal["auto", "none"] | None = None,
) -> CallOutcome:
    """Make one streamed call. Parameters that the server rejects by name are left out, and the request is sent again.

    Args:
        transport: Transport of the provider.
        config: The provider.
        capabilities: What the server accepts; updated by rejections.
        prompt: The user message, or all messages.
        tool_choice: Whether the model may call the tool; None offers no tool.
    """
    tools = None if tool_choice is None else TOOLS
    messages: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    arguments = CallArguments(messages, tools, {"max_retries": 0})
    params = parse_params(arguments, stream=True, wants_text=tool_choice == "none")
    call = ProviderCall(params, config, transport, capabilities, of_target(config.kind, config.model, config.base_url))
    outcome = CallOutcome()
    began_s = time.monotonic()
    try:
        with spans.suppressed():
            async with aclosing(call.events()) as events:
                async for event in events:
                    if isinstance(event, ResponseDone):
                        outcome.response = event.response
                        continue
                    outcome.pieces += 1
                    outcome.last_event_s = time.monotonic() - began_s
                    if outcome.first_event_s is None:
                        outcome.first_event_s = outcome.last_event_s
    except APIError as error:
        outcome.error = error
    outcome.total_s = time.monotonic() - began_s
    outcome.called_instead = call.called_instead_of_text
    outcome.sent_calls = call.assembler is not None and call.assembler.has_structured_calls
    outcome.rejected = call.rejected
    return outcome


async def time_prefill(
    transport: ProviderTransport, config: ProviderConfig, capabilities: ServerCapabilities
) -> tuple[CallOutcome, CallOutcome]:
    """Ask with a prompt of some 600 tokens that no server has in its cache, and with another one after its prefill.

    Returns:
        Both outcomes, the one without a prefill first.
    """
    cold = await ask(transport, config, capabilities, _new_prompt())
    messages = _new_prompt()
    params = parse_params(CallArguments(messages[:1], None, {"max_retries": 0}), stream=True)
    target = of_target(config.kind, config.model, config.base_url)
    with suppress(APIError):  # then the second prompt is as slow as the first
        await ProviderCall(prefill_params(params, config), config, transport, capabilities, target).prefill()
    return cold, await ask(transport, config, capabilities, messages)


def _new_prompt() -> list[Message]:
    notes = " ".join(f"Light {number} is in room {number * 7}." for number in range(60))
    return [{"role": "system", "content": f"{uuid.uuid4().hex}. {notes}"}, {"role": "user", "content": GREETING}]
