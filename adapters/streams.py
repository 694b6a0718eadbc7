"""What consumers of a provider's streams share: closing one for certain, and text alone in the form of events."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.types import LLMResponse, ResponseDone, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.provider import LLMProvider
    from adapters.types import Message, StreamEvent, ToolSpec

_Item = TypeVar("_Item")


@asynccontextmanager
async def closing(stream: AsyncIterator[_Item]) -> AsyncIterator[AsyncIterator[_Item]]:
    """Close a stream at the end of the block: only that ends the request behind it when a listener walks away.

    Unlike ``contextlib.aclosing`` it takes iterators that cannot be closed; the contract allows them.

    Args:
        stream: What ``chat_stream`` or ``stream_events`` returned.

    Yields:
        The same stream.
    """
    try:
        yield stream
    finally:
        if aclose := getattr(stream, "aclose", None):
            await aclose()


async def stream_text_events(
    provider: LLMProvider, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
) -> AsyncIterator[StreamEvent]:
    """Give ``chat_stream``, which forbids tool calls, the form of ``stream_events``.

    Args:
        provider: Who answers.
        messages: The conversation, in OpenAI format.
        tools: Tools that the history mentions.
        **kwargs: Sampling parameters of this request alone.

    Yields:
        ``TextDelta`` as it comes, then one ``ResponseDone``.

    Raises:
        APIError: If the request failed, also after some text: what was yielded stays valid.
    """
    said = []
    async with closing(provider.chat_stream(messages, tools, **kwargs)) as texts:
        async for text in texts:
            said.append(text)
            yield TextDelta(text)
    yield ResponseDone(LLMResponse(content="".join(said) or None, usage=provider.last_usage))
