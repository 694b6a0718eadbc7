"""What a server makes of a few calls: a text, a tool call, a text where no tool may be called.

Each is a ``ProviderCall`` like any other, without retries. What it repairs on the way is reported here: calls that come
as text, rejected parameters, a ``tool_choice`` that has no effect.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adapters.client.call import ProviderCall
from adapters.errors import APIConnectionError, APIError
from adapters.request.params import CallArguments, parse_params
from adapters.telemetry import spans
from adapters.telemetry.semconv import of_target
from adapters.types import ResponseDone

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.request.capabilities import ServerCapabilities
    from adapters.transport.provider_transport import ProviderTransport
    from adapters.types import LLMResponse, ToolSpec

HELLO = "Say hello in one short sentence."
WEATHER = "What is the weather in Paris? Use the tool."
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
    """What came of a call.

    Attributes:
        response: The response, or None.
        error: Why there is none, or None.
        called_instead: Whether the model called a tool although calls were forbidden.
        sent_calls: Whether calls came as structured calls; calls that came as text do not count.
        first_s: Seconds from the call to the first text or tool call, or None if there was none.
        total_s: Seconds from the call to the end.
        rejected: Fields of the request that the server did not accept.
    """

    response: LLMResponse | None = None
    error: APIError | None = None
    called_instead: bool = False
    sent_calls: bool = False
    first_s: float | None = None
    total_s: float = 0
    rejected: tuple[str, ...] = ()


async def ask(
    transport: ProviderTransport,
    config: ProviderConfig,
    capabilities: ServerCapabilities,
    text: str,
    tool_choice: Literal["auto", "none"] | None = None,
) -> CallOutcome:
    """Make one streamed call. What the server rejects by name is left out and the request is sent again.

    Args:
        transport: The connections to the server.
        config: The provider.
        capabilities: What the server accepts; updated by rejections.
        text: The user's message.
        tool_choice: Whether the tool may be called; None offers none.
    """
    outcome = await _once(transport, config, capabilities, text, tool_choice)
    if type(outcome.error) is APIConnectionError:  # a kept connection that the server had just closed
        outcome = await _once(transport, config, capabilities, text, tool_choice)
    return outcome


async def _once(
    transport: ProviderTransport,
    config: ProviderConfig,
    capabilities: ServerCapabilities,
    text: str,
    tool_choice: Literal["auto", "none"] | None,
) -> CallOutcome:
    tools = None if tool_choice is None else TOOLS
    arguments = CallArguments([{"role": "user", "content": text}], tools, {"max_retries": 0})
    params = parse_params(arguments, stream=True, wants_text=tool_choice == "none")
    call = ProviderCall(params, config, transport, capabilities, of_target(config.kind, config.model, config.base_url))
    outcome = CallOutcome()
    began_s = time.monotonic()
    try:
        with spans.suppressed():
            async with aclosing(call.events()) as events:
                async for event in events:
                    if outcome.first_s is None:
                        outcome.first_s = time.monotonic() - began_s
                    if isinstance(event, ResponseDone):
                        outcome.response = event.response
    except APIError as error:
        outcome.error = error
    outcome.total_s = time.monotonic() - began_s
    outcome.called_instead = call.called_instead_of_text
    outcome.sent_calls = call.assembler is not None and call.assembler.has_structured_calls
    outcome.rejected = call.rejected
    return outcome
