"""``adapters.provider``: the defaults of the contract in a subclass with the two abstract methods only."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import APIConnectionError
from adapters.provider import LLMProvider, closing
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage, ToolCall, ToolCallDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CALL = ToolCall("abcDEF123", "weather", {"city": "Zürich"})


class Minimal(LLMProvider):
    """A provider with the abstract members only."""

    provider_name = "minimal"
    model = "tiny"

    def __init__(self, answer: LLMResponse | Exception | None = None) -> None:
        self.answer = answer
        self.asked: tuple[Any, ...] = ()
        self.closed = 0

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Record the request and return the response."""
        self.asked = (messages, tools, kwargs)
        if not isinstance(self.answer, LLMResponse):
            raise self.answer or NotImplementedError
        self._last_response, self._last_usage = self.answer, self.answer.usage
        return self.answer

    def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Not used here."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Count the calls."""
        await super().aclose()
        self.closed += 1


def test_the_contract_cannot_be_used_by_itself() -> None:
    """The abstract class cannot be instantiated."""
    with pytest.raises(TypeError, match="abstract"):
        LLMProvider()  # type: ignore[abstract]  # the point of the test


class Talker(Minimal):
    """Streams some texts and records the request, the close, and the given part of its response."""

    def __init__(self, *texts: str, noted: LLMResponse | TokenUsage | None = None) -> None:
        super().__init__(LLMResponse("An older answer.", usage=TokenUsage(99, 99)))
        self.texts = texts
        self.noted = noted
        self.stopped = False

    async def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Stream the texts."""
        self.asked = (messages, tools, kwargs)
        try:
            for text in self.texts:
                yield text
            if isinstance(self.noted, TokenUsage):
                self._last_usage = self.noted
            elif self.noted is not None:
                self._last_response = self.noted
        finally:
            self.stopped = True


async def test_a_stream_is_closed_when_its_listener_leaves_early() -> None:
    """Leaving the block closes a generator that is not read to its end."""
    provider = Talker("one", "two")

    async with closing(provider.chat_stream([])) as texts:
        assert await anext(texts) == "one"
        assert not provider.stopped

    assert provider.stopped


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
    ("texts", "noted", "whole"),
    [
        pytest.param(
            ["It is ", "12 C."],
            TokenUsage(3, 4),
            LLMResponse("It is 12 C.", usage=TokenUsage(3, 4)),
            id="the usage was noted",
        ),
        pytest.param(
            ["It is ", "12 C."],
            LLMResponse("as sent", [_CALL], TokenUsage(3, 4), "It is cold.", "length", "tiny-2"),
            LLMResponse("It is 12 C.", [], TokenUsage(3, 4), "It is cold.", "length", "tiny-2"),
            id="the answer was noted",
        ),
        pytest.param(["Hi."], None, LLMResponse("Hi."), id="nothing was noted"),
        pytest.param([], None, LLMResponse(None), id="nothing was said"),
    ],
)
async def test_text_alone_is_asked_for_by_tool_choice(texts: list[str], noted: Any, whole: LLMResponse) -> None:
    """With tool choice "none" ``chat_stream`` is emitted as events, and the last one has the recorded response."""
    provider = Talker(*texts, noted=noted)
    await provider.chat([])

    events = [event async for event in provider.stream_events([], [{"type": "function"}], tool_choice="none", seed=1)]

    assert events == [*(TextDelta(text) for text in texts), ResponseDone(whole)]
    assert provider.asked == ([], [{"type": "function"}], {"seed": 1})


async def test_closing_the_events_closes_the_text_below() -> None:
    """Closing the events closes the stream of text."""
    provider = Talker("one", "two")

    async with closing(provider.stream_events([], tool_choice="none")) as events:
        await anext(events)

    assert provider.stopped


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        pytest.param(LLMResponse("It is 12 C."), [TextDelta("It is 12 C.")], id="text"),
        pytest.param(LLMResponse(None, [_CALL]), [ToolCallDone(_CALL)], id="call"),
        pytest.param(LLMResponse("", [_CALL]), [ToolCallDone(_CALL)], id="empty text"),
        pytest.param(
            LLMResponse("Let me see.", [_CALL, _CALL], TokenUsage(3, 4)),
            [TextDelta("Let me see."), ToolCallDone(_CALL), ToolCallDone(_CALL)],
            id="text and calls",
        ),
    ],
)
async def test_events_are_made_from_the_whole_answer(response: LLMResponse, parts: list[Any]) -> None:
    """By default, the response of ``chat`` is emitted as events: text, calls, then the response."""
    provider = Minimal(response)

    events = [event async for event in provider.stream_events([{"role": "user"}], [{"type": "function"}], seed=1)]

    assert events == [*parts, ResponseDone(response)]
    assert provider.asked == ([{"role": "user"}], [{"type": "function"}], {"seed": 1})


async def test_events_fail_as_the_request_does() -> None:
    """An error of ``chat`` is raised from the events."""
    error = APIConnectionError("No connection.", provider="minimal", model="tiny")

    with pytest.raises(APIConnectionError) as caught:
        await anext(aiter(Minimal(error).stream_events([])))

    assert caught.value is error


async def test_usage_is_that_of_the_latest_request() -> None:
    """Usage is None before the first response, then the value under the name that CAAL reads."""
    provider = Minimal(LLMResponse("Hi.", usage=TokenUsage(3, 4)))
    assert provider.last_usage is None

    await provider.chat([])

    assert provider.last_usage == provider._last_usage == TokenUsage(3, 4)
    assert provider.last_response is provider.answer
    assert (Minimal().last_usage, Minimal().last_response) == (None, None)


async def test_optional_parts_have_quiet_defaults() -> None:
    """The optional members have defaults, and the provider is closed at the end of its block."""
    provider, tools = Minimal(), [{"type": "function"}]

    async with provider as entered:
        await provider.prewarm()
        await provider._prewarm()
        assert entered is provider
        assert provider.supports_think is False
        assert provider.prepare_tools(tools) == tools
        assert provider.closed == 0

    assert provider.closed == 1


@pytest.mark.usefixtures("thawed")
async def test_freezing_is_offered_by_every_provider() -> None:
    """A provider of the program exempts the objects of the process from garbage collection, if it is asked to."""
    await Minimal().prewarm(freeze_gc=True)

    assert gc.get_freeze_count() > 0


async def test_a_block_that_fails_closes_the_provider_too() -> None:
    """An error inside the block is not swallowed, and the provider is closed."""
    provider = Minimal()

    with pytest.raises(LookupError):
        async with provider:
            raise LookupError

    assert provider.closed == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param('{"city": "Paris"}', {"city": "Paris"}, id="object as string"),
        pytest.param({"city": "Paris"}, {"city": "Paris"}, id="object"),
        pytest.param('"{\\"city\\": \\"Paris\\"}"', {"city": "Paris"}, id="encoded twice"),
        pytest.param("{'city': 'Paris'}", {"city": "Paris"}, id="as Python writes it"),
        pytest.param("", {}, id="empty"),
        pytest.param(None, {}, id="None"),
        pytest.param("null", {}, id="null"),
        pytest.param("[1]", {}, id="list as string"),
        pytest.param([1], {}, id="list"),
        pytest.param("false", {}, id="scalar"),
        pytest.param('{"city": "Par', {}, id="cut off"),
        pytest.param("[" * 100_000, {}, id="deeply nested"),
        pytest.param('{"n": ' + "9" * 5000 + "}", {}, id="a number too long"),
    ],
)
def test_arguments_are_read_as_an_object(arguments: Any, expected: dict[str, Any]) -> None:
    """Arguments are an object or nothing."""
    assert Minimal().parse_tool_arguments(arguments) == expected


@given(
    st.text(st.characters())
    | st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
)
def test_reading_arguments_never_raises(arguments: Any) -> None:
    """Any arguments of a server become an object."""
    assert isinstance(Minimal().parse_tool_arguments(arguments), dict)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_formatted_arguments_are_read_back(arguments: dict[str, Any]) -> None:
    """The arguments of a formatted call are a JSON object that reads as what the model meant."""
    provider = Minimal()

    message = provider.format_tool_call_message(None, [ToolCall("abcDEF123", "weather", arguments)])

    assert provider.parse_tool_arguments(message["tool_calls"][0]["function"]["arguments"]) == arguments


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        pytest.param("Let me see.", "Let me see.", id="text"),
        pytest.param("", None, id="tgi-Q65-empty"),
        pytest.param(None, None, id="None"),
    ],
)
def test_calls_are_sent_in_openai_format(content: str | None, sent: str | None) -> None:
    """Calls have JSON arguments and, without text, a content of None: with "" a server drops them."""
    message = Minimal().format_tool_call_message(content, [_CALL])

    function = {"name": "weather", "arguments": json.dumps({"city": "Zürich"}, ensure_ascii=False)}
    calls = [{"id": "abcDEF123", "type": "function", "function": function}]
    assert message == {"role": "assistant", "content": sent, "tool_calls": calls}


def test_a_result_is_sent_with_the_name_of_its_tool() -> None:
    """A result has the id of its call and the name of its tool, by which Ollama matches it."""
    assert Minimal().format_tool_result("12 C", "abcDEF123", "weather") == {
        "role": "tool",
        "tool_call_id": "abcDEF123",
        "name": "weather",
        "content": "12 C",
    }
