"""``adapters.streams``: what consumers of a provider's streams share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.provider import LLMProvider
from adapters.streams import closing, stream_text_events
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Talker(LLMProvider):
    """Says some texts and notes how it was asked and that it was closed."""

    provider_name = "talker"
    model = "tiny"

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.asked: tuple[Any, ...] = ()
        self.closed = False

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Not asked here."""
        raise NotImplementedError

    async def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Say the texts."""
        self.asked = (messages, tools, kwargs)
        try:
            for text in self.texts:
                yield text
            self._last_usage = TokenUsage(3, 4)
        finally:
            self.closed = True


async def test_a_stream_is_closed_when_its_listener_leaves_early() -> None:
    """Leaving the block closes a generator that is not read to its end."""
    provider = Talker("one", "two")

    async with closing(provider.chat_stream([])) as texts:
        assert await anext(texts) == "one"
        assert not provider.closed

    assert provider.closed


async def test_an_iterator_that_cannot_be_closed_is_left_alone() -> None:
    """An iterator without ``aclose`` works like a generator."""

    class Countdown:
        left = 2

        def __aiter__(self) -> AsyncIterator[str]:
            return self

        async def __anext__(self) -> str:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return str(self.left)

    async with closing(Countdown()) as texts:
        assert [text async for text in texts] == ["1", "0"]


@pytest.mark.parametrize(
    ("texts", "content"),
    [pytest.param(["It is ", "12 C."], "It is 12 C.", id="texts"), pytest.param([], None, id="nothing said")],
)
async def test_text_becomes_events_that_end_with_the_whole_answer(texts: list[str], content: str | None) -> None:
    """Each text is a ``TextDelta``, and the last event holds them all with the usage."""
    events = [event async for event in stream_text_events(Talker(*texts), [])]

    done = ResponseDone(LLMResponse(content, usage=TokenUsage(3, 4)))
    assert events == [*(TextDelta(text) for text in texts), done]


async def test_the_request_is_passed_on_as_it_is() -> None:
    """Messages, tools and sampling parameters reach ``chat_stream``."""
    provider = Talker("hi")
    messages, tools = [{"role": "user", "content": "hi"}], [{"type": "function"}]

    async with closing(stream_text_events(provider, messages, tools, temperature=0)) as events:
        await anext(events)

    assert provider.asked == (messages, tools, {"temperature": 0})


async def test_closing_the_events_closes_the_text_below() -> None:
    """A listener that walks away ends the request behind the text."""
    provider = Talker("one", "two")

    async with closing(stream_text_events(provider, [])) as events:
        await anext(events)

    assert provider.closed
