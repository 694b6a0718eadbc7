"""What a server makes of questions: one answer, a tool call, a text where no call is wanted.

A question goes the way that every question goes (``attempt``), but only once, and what an ordinary call mends in
silence is noted here: calls that come as text, parameters that are refused, ``tool_choice`` that is not heeded.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adapters.client.attempt import attempt
from adapters.errors import APIConnectionError, APIError, UpstreamError
from adapters.request.build import build_request
from adapters.request.params import parse_params
from adapters.response.assembler import CallInsteadOfTextError, ResponseAssembler
from adapters.transport.deadlines import Deadlines
from adapters.types import ResponseDone

if TYPE_CHECKING:
    from adapters.config import ProviderConfig
    from adapters.request.capabilities import ServerCapabilities
    from adapters.request.chat_request import ChatRequest
    from adapters.response.chunks import Chunk
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
class Heard:
    """What came of a question.

    Attributes:
        response: The whole answer, or None.
        error: Why there is none, or None.
        called_instead: Whether there was a call where none was allowed.
        sent_calls: Whether calls came as calls; those that came as text do not count.
        first_s: Seconds from the question to the first text or call, or None if there was none.
        total_s: Seconds from the question to the end.
        refused: Parameters that the server did not take.
    """

    response: LLMResponse | None = None
    error: APIError | None = None
    called_instead: bool = False
    sent_calls: bool = False
    first_s: float | None = None
    total_s: float = 0
    refused: tuple[str, ...] = ()


class _Watched(ResponseAssembler):
    """An answer that also notes what came for calls."""

    sent_calls = False

    def feed(self, chunk: Chunk, *, whole: bool = False) -> str:
        """Take one chunk and return what may be spoken now."""
        self.sent_calls |= bool(chunk.calls)
        return super().feed(chunk, whole=whole)


async def ask(
    connection: ProviderTransport,
    config: ProviderConfig,
    capabilities: ServerCapabilities,
    text: str,
    tool_choice: Literal["auto", "none"] | None = None,
) -> Heard:
    """Ask one streamed question; without what the server refuses by name it is asked again.

    Args:
        connection: The way to the server.
        config: The provider.
        learned: What the server does not take; more is learned.
        text: The question.
        tool_choice: Whether the tool may be called; None offers none.
    """
    tools = None if tool_choice is None else TOOLS
    message = {"role": "user", "content": text}
    question = parse_params([message], tools, tool_choice=tool_choice or "auto", stream=True, options={})
    first = request = build_request(question, config, capabilities)
    may_repeat = True
    while True:
        answer = _Watched(
            connection.endpoint,
            question.schemas,
            wants_text=question.wants_text,
            reasoning_first=capabilities.reasoning_first,
        )
        heard = await _hear(connection, config, request, answer)
        if type(heard.error) is APIConnectionError and may_repeat:
            may_repeat = False  # a kept connection that the server had just closed; every call is sent again then
            continue
        heard.refused = tuple(name for name in first.body if name not in request.body)
        cause = heard.error.__cause__ if heard.error is not None else None
        if not isinstance(cause, UpstreamError):
            return heard
        capabilities.learn_from_refusal(cause, request)
        refused, request = request, build_request(question, config, capabilities)
        if request == refused:
            return heard


async def _hear(connection: ProviderTransport, config: ProviderConfig, request: ChatRequest, answer: _Watched) -> Heard:
    heard = Heard()
    began_s = time.monotonic()
    try:
        deadlines = Deadlines(config.timeouts, streamed=True)
        async with aclosing(attempt(connection, request, answer, deadlines)) as events:
            async for event in events:
                if heard.first_s is None:
                    heard.first_s = time.monotonic() - began_s
                if isinstance(event, ResponseDone):
                    heard.response = event.response
    except CallInsteadOfTextError:
        heard.called_instead = True
    except APIError as error:
        heard.error = error
    heard.total_s = time.monotonic() - began_s
    heard.sent_calls = answer.sent_calls
    return heard
