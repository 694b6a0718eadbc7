"""``FakeProvider``: a provider for unit tests that returns given texts and tool calls, without a server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.provider import LLMProvider
from adapters.types import LLMResponse, ResponseDone, TextDelta, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from adapters.types import Message, StreamEvent, ToolCall, ToolSpec

_WORD = re.compile(r"\s*\S+\s*\Z|\s*\S+")


@dataclass(frozen=True, slots=True)
class FakeRequest:
    """One request that a ``FakeProvider`` received.

    Attributes:
        messages: Copies of the messages.
        tools: The tools.
        options: The keywords of the call.
    """

    messages: list[Message]
    tools: list[ToolSpec]
    options: Mapping[str, Any] = field(default_factory=dict)


class FakeProvider(LLMProvider):
    """Returns given texts, one per request; the last one repeats.

    ::

        provider = FakeProvider("It is sunny.", calls=[ToolCall("call1", "get_weather", {"city": "Paris"})])

    Args:
        *texts: The responses. An exception among them is raised.
        calls: Tool calls, which are the response to the first request that offers tools, before the first text.
        provider_name: Name of the provider.
        model: Name of the model.

    Attributes:
        requests: The requests, in order.
    """

    def __init__(
        self,
        *texts: str | Exception,
        calls: Sequence[ToolCall] = (),
        provider_name: str = "fake",
        model: str = "fake",
    ) -> None:
        self.requests: list[FakeRequest] = []
        self._texts = list(texts) or [""]
        self._calls = list(calls)
        self._provider_name = provider_name
        self._model = model

    @property
    def provider_name(self) -> str:
        """Name of the provider."""
        return self._provider_name

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    async def chat(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> LLMResponse[Any]:
        """Return the next response."""
        return self._respond(messages, tools, kwargs)

    async def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Stream the next text, word by word."""
        for word in _words(self._respond(messages, tools, {**kwargs, "tool_choice": "none"})):
            yield word

    async def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        """Stream the next response, its text word by word."""
        response = self._respond(messages, tools, kwargs)
        for word in _words(response):
            yield TextDelta(word)
        for call in response.tool_calls:
            yield ToolCallDone(call)
        yield ResponseDone(response)

    def _respond(
        self, messages: list[Message], tools: list[ToolSpec] | None, options: Mapping[str, Any]
    ) -> LLMResponse[Any]:
        self.requests.append(FakeRequest([dict(message) for message in messages], list(tools or []), options))
        if self._calls and tools and options.get("tool_choice") != "none":
            calls, self._calls = self._calls, []
            response: LLMResponse[Any] = LLMResponse(
                None, calls, finish_reason="tool_calls", provider=self._provider_name
            )
        else:
            text = self._texts.pop(0) if len(self._texts) > 1 else self._texts[0]
            if isinstance(text, Exception):
                raise text
            response = LLMResponse(text or None, finish_reason="stop", provider=self._provider_name)
        self._last_response = response
        return response


def _words(response: LLMResponse[Any]) -> list[str]:
    return _WORD.findall(response.content or "")
