"""The contract of ``LLMProvider``, for one provider, a group, and a group in a group: all behave in the same way.

What differs stands in the tests by name: a group wraps the error of its provider in ``AllProvidersFailedError``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from adapters import AllProvidersFailedError, ConfigError, FallbackProvider, LLMProvider, create_provider
from adapters.errors import APIConnectionError, APIError, APITimeoutError, BadRequestError, IncompleteResponseError
from adapters.testing.answers import (
    DONE,
    SSE_END,
    SSE_HEAD,
    STOP,
    Answer,
    answer,
    call,
    chunk,
    event,
    http_chunk,
    reply,
)
from adapters.testing.server import ScriptedServer
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage, ToolCallDone
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.server import Step
    from adapters.types import Message, ToolSpec

pytestmark = pytest.mark.usefixtures("litellm_is_loaded")

_MESSAGES: list[Message] = [{"role": "user", "content": "How warm is it?"}]
_TOOLS: list[ToolSpec] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
]
_WAYS = ("chat", "chat_stream", "stream_events")
_REFUSED = reply({"error": {"message": "no"}}, "400 Bad Request")


def _pieces(*pieces: object) -> Step:
    """Stream chunks, with seconds between them."""
    return (
        SSE_HEAD,
        *[piece if isinstance(piece, float) else http_chunk(event(piece)) for piece in pieces],
        http_chunk(event(STOP)),
        http_chunk(DONE),
        SSE_END,
    )


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Plays the server of a test."""
    async with ScriptedServer() as running:
        yield running


class Contract:
    """Makes the providers of a test, all of the same kind, and reads what they answer."""

    def __init__(self, server: ScriptedServer, kind: str) -> None:
        self._server = server
        self.kind = kind

    @property
    def sent(self) -> int:
        """How many requests the server got."""
        return len(self._server.seen["case"].bodies)

    @property
    def seen(self) -> Any:
        """What the server got."""
        return self._server.seen["case"]

    def provider(self, *steps: Step, **options: Any) -> LLMProvider:
        """Make a provider whose server plays these steps."""
        base_url = self._server.add("case", *steps)
        options = {"retry": {"attempts": 1}, **options}
        provider: LLMProvider = create_provider(
            "openai_compatible", model="m", name="home", base_url=base_url, **options
        )
        for _ in range(("provider", "group", "nested").index(self.kind)):
            provider = FallbackProvider([provider])
        return provider

    def error_of(self, error: APIError) -> APIError:
        """The provider's own error, which a group wraps."""
        while isinstance(error, AllProvidersFailedError):
            (error,) = error.errors
        return error


@pytest.fixture(params=["provider", "group", "nested"])
def contract(request: pytest.FixtureRequest, server: ScriptedServer) -> Contract:
    """The kind of provider that a test is about."""
    return Contract(server, request.param)


async def _ask(provider: LLMProvider, way: str, *arguments: Any, **options: Any) -> str:
    """Make a call in one of the ways, to its end, and return its text."""
    arguments = arguments or (_MESSAGES,)
    if way == "chat":
        return (await provider.chat(*arguments, **options)).content or ""
    if way == "chat_stream":
        return "".join([text async for text in provider.chat_stream(*arguments, **options)])
    events = [each async for each in provider.stream_events(*arguments, **options)]
    assert isinstance(events[-1], ResponseDone)
    assert not any(isinstance(each, ResponseDone) for each in events[:-1])
    text = "".join(each.text for each in events if isinstance(each, TextDelta))
    assert (events[-1].response.content or "") == text
    return text


@pytest.mark.parametrize("way", _WAYS)
async def test_an_answer(contract: Contract, way: str) -> None:
    """Text, usage and response are the same however the call is made."""
    async with contract.provider(answer("It is ", "warm.")) as provider:
        assert (provider.provider_name, provider.model) == ("home", "m")
        assert await _ask(provider, way) == "It is warm."

        assert provider.last_usage == provider._last_usage == TokenUsage(7, 3)
        response = provider.last_response

    assert response == LLMResponse("It is warm.", usage=TokenUsage(7, 3), finish_reason="stop", model="m")
    assert (response.provider, response.attempts, response.fallback_from) == ("home", 1, ())


async def test_tool_calls(contract: Contract) -> None:
    """A call stands in the response of ``chat``, and is an event of its own in a stream."""
    script = answer(calls=[call("get_weather", '{"city": "Oslo"}')])
    async with contract.provider(script) as provider:
        response = await provider.chat(_MESSAGES, _TOOLS)
        events = [each async for each in provider.stream_events(_MESSAGES, _TOOLS)]

    (made,) = response.tool_calls
    assert (made.name, made.arguments) == ("get_weather", {"city": "Oslo"})
    assert [type(each) for each in events] == [ToolCallDone, ResponseDone]
    assert events[0].tool_call.arguments == made.arguments  # type: ignore[union-attr]  # the first


async def test_a_required_form(contract: Contract) -> None:
    """``response_format`` reaches the server, and ``parsed`` the caller."""

    class Weather(BaseModel):
        """What is asked for."""

        degrees: int

    async with contract.provider(answer('{"degrees": 5}')) as provider:
        response = await provider.chat(_MESSAGES, response_format=Weather)

    assert response.parsed == Weather(degrees=5)
    assert contract.seen.bodies[0]["response_format"]["type"] == "json_schema"


_MISTAKES = [
    pytest.param((_MESSAGES,), {"headers": {}}, "headers is not an option of a single request", id="of the provider"),
    pytest.param((_MESSAGES,), {"stream": True}, "stream is not an option of a single request", id="stream"),
    pytest.param((_MESSAGES,), {"temprature": 1}, "temperature", id="misspelled"),
    pytest.param((_MESSAGES,), {"timeout": 0}, "timeout must be a number of seconds above 0", id="timeout"),
    pytest.param((_MESSAGES,), {"timeout": "soon"}, "timeout must be a number", id="timeout that is no number"),
    pytest.param((_MESSAGES,), {"first_token_timeout": -1}, "first_token_timeout must be", id="first token"),
    pytest.param((_MESSAGES,), {"max_retries": -1}, "max_retries must be a whole number", id="retries"),
    pytest.param((_MESSAGES,), {"extra_headers": {"X": "\n"}}, "extra_headers holds", id="headers"),
    pytest.param((_MESSAGES,), {"extra_body": []}, "extra_body must be", id="body"),
    pytest.param((_MESSAGES,), {"seed": {1}}, "seed holds a set", id="no JSON"),
    pytest.param(("Hi",), {}, "messages must be a list", id="text"),
    pytest.param((_MESSAGES, "get_weather"), {}, "tools must be a list", id="tools"),
]


@pytest.mark.parametrize(("arguments", "options", "problem"), _MISTAKES)
@pytest.mark.parametrize("way", _WAYS)
async def test_a_wrong_argument_is_raised_by_the_call(
    contract: Contract, way: str, arguments: tuple[Any, ...], options: dict[str, Any], problem: str
) -> None:
    """It is raised where the call is made and not at the first event, and nothing is sent."""
    async with contract.provider(answer("Hi.")) as provider:
        if way == "chat":
            made: Any = provider.chat(*arguments, **options)
            assert inspect.iscoroutine(made)
            with pytest.raises(ConfigError, match=problem):
                await made
        else:
            with pytest.raises(ConfigError, match=problem):
                getattr(provider, way)(*arguments, **options)

    assert contract.sent == 0


@pytest.mark.parametrize("way", _WAYS)
async def test_the_time_of_a_call_is_limited(contract: Contract, way: str) -> None:
    """``timeout`` ends a call whose server is silent, and the error names it."""
    async with contract.provider(("hang",)) as provider:
        with pytest.raises(APIError) as caught:
            await _ask(provider, way, timeout=0.2)

    assert type(contract.error_of(caught.value)) is APITimeoutError
    # A group on a busy machine has less left for its member.
    assert re.search(r"home did not answer in time \(0\.[12]\d* seconds\)\. Please try again\.$", str(caught.value))
    assert contract.sent == 1


@pytest.mark.parametrize("way", ["chat_stream", "stream_events"])
async def test_the_time_of_a_call_starts_when_it_is_made(contract: Contract, way: str) -> None:
    """A stream that is opened and read later has used up its ``timeout`` by then; nothing is sent."""
    async with contract.provider(answer("Hi.")) as provider:
        stream = getattr(provider, way)(_MESSAGES, timeout=0.2)
        await asyncio.sleep(0.3)
        with pytest.raises(APIError) as caught:
            await anext(stream)

    assert type(contract.error_of(caught.value)) is APITimeoutError
    assert str(caught.value).endswith("home did not answer in time (0.2 seconds). Please try again.")
    assert contract.sent == 0


@pytest.mark.parametrize("way", _WAYS)
async def test_the_first_token_is_limited(contract: Contract, way: str) -> None:
    """``first_token_timeout`` ends a call that is silent, and none that has begun, however long it takes."""
    slow = _pieces(chunk({"reasoning_content": "Hm."}), 0.6, chunk({"content": "Hot."}))
    async with contract.provider(slow, ("hang",)) as provider:
        assert await _ask(provider, way, first_token_timeout=0.3) == "Hot."
        with pytest.raises(APIError) as caught:
            await _ask(provider, way, first_token_timeout=0.3)

    assert type(contract.error_of(caught.value)) is APITimeoutError
    assert str(caught.value).endswith("home did not answer in time (0.3 seconds). Please try again.")


@pytest.mark.parametrize("way", _WAYS)
async def test_a_failure(contract: Contract, way: str) -> None:
    """The error of the provider has the same class, text and fields; nothing of the call before is left."""
    async with contract.provider(answer("Hi."), _REFUSED) as provider:
        await _ask(provider, way)
        with pytest.raises(APIError) as caught:
            await _ask(provider, way)

        assert (provider.last_response, provider.last_usage) == (None, None)

    error = contract.error_of(caught.value)
    assert type(error) is BadRequestError
    assert str(caught.value).endswith("home refused the request. It said: no")
    assert (caught.value.provider, caught.value.model, caught.value.status_code) == ("home", "m", 400)
    assert caught.value.retryable is error.retryable is False


@pytest.mark.parametrize("way", ["chat_stream", "stream_events"])
async def test_a_failure_after_the_first_text(contract: Contract, way: str) -> None:
    """It is the provider's own error, and nothing is sent again."""
    broken: Step = (SSE_HEAD, http_chunk(event(chunk({"content": "It is"}))), "rst")
    async with contract.provider(broken, answer("Hi."), retry={"attempts": 3}) as provider:
        stream = getattr(provider, way)(_MESSAGES)
        await anext(stream)
        with pytest.raises(APIConnectionError):
            await anext(stream)

    assert contract.sent == 1


@pytest.mark.parametrize("way", _WAYS)
async def test_a_cut_answer_is_an_error(contract: Contract, way: str) -> None:
    """An answer that ends in the middle is incomplete, whatever was streamed of it."""
    cut = (SSE_HEAD, http_chunk(event(chunk({"content": "It is"}))), SSE_END)
    async with contract.provider(Answer(reply({"choices": []}), cut)) as provider:
        with pytest.raises(APIError) as caught:
            await _ask(provider, way)

    assert type(contract.error_of(caught.value)) is IncompleteResponseError


@pytest.mark.parametrize("way", ["chat_stream", "stream_events"])
async def test_a_stream_can_be_closed(contract: Contract, way: str) -> None:
    """Before it is read, in the middle, and at its end; the request ends with it."""
    script: Step = (SSE_HEAD, http_chunk(event(chunk({"content": "It is"}))), "hang")
    async with contract.provider(script) as provider:
        async with aclosing(getattr(provider, way)(_MESSAGES)):
            pass
        assert contract.sent == 0

        async with aclosing(getattr(provider, way)(_MESSAGES)) as stream:
            await anext(stream)
        assert await until(lambda: contract.seen.gone_at)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


@pytest.mark.parametrize("way", _WAYS)
async def test_a_call_can_be_cancelled(contract: Contract, way: str) -> None:
    """The request ends, and the next call is answered."""
    async with contract.provider(("hang",), answer("Hi.")) as provider:
        task = asyncio.create_task(_ask(provider, way))
        assert await until(lambda: contract.sent)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: contract.seen.gone_at)

        assert await _ask(provider, way) == "Hi."


@pytest.mark.parametrize("way", ["chat_stream", "stream_events"])
async def test_an_opened_stream_forgets_the_call_before(contract: Contract, way: str) -> None:
    """The response of a call is not taken for that of the next, also before that is read."""
    async with contract.provider(answer("Hi.")) as provider:
        await _ask(provider, way)
        async with aclosing(getattr(provider, way)(_MESSAGES)):
            assert (provider.last_response, provider.last_usage) == (None, None)


async def test_calls_at_the_same_time(contract: Contract) -> None:
    """Each call has its own response."""
    async with contract.provider(answer("One."), answer("Two."), answer("Three.")) as provider:
        responses = await asyncio.gather(*(provider.chat(_MESSAGES) for _ in range(3)))

    assert sorted(response.content or "" for response in responses) == ["One.", "Three.", "Two."]


@pytest.mark.parametrize("way", _WAYS)
async def test_a_closed_provider_can_be_used_again(contract: Contract, way: str) -> None:
    """Closing twice is harmless, and a call opens the connections anew."""
    async with contract.provider(answer("Hi.")) as provider:
        for _ in range(2):
            assert await _ask(provider, way) == "Hi."
            await provider.aclose()
            await provider.aclose()


@pytest.mark.parametrize("way", _WAYS)
async def test_closing_ends_a_waiting_call(contract: Contract, way: str) -> None:
    """The call raises at once, and nothing is sent again."""
    async with contract.provider(("hang",), answer("Hi."), retry={"attempts": 3, "initial_wait_s": 0}) as provider:
        task = asyncio.create_task(_ask(provider, way))
        assert await until(lambda: contract.sent)
        await provider.aclose()
        with pytest.raises(APIError) as caught:
            await task

    assert type(caught.value) is APIConnectionError
    assert contract.sent == 1


async def test_prewarm_needs_no_server(contract: Contract) -> None:
    """A server that is away is no error yet."""
    async with contract.provider(("rst",)) as provider:
        await provider.prewarm()


async def test_values_have_the_same_fields(contract: Contract) -> None:
    """Every field of a response is filled alike; only what is measured, and ids, may differ."""
    async with contract.provider(answer("Hi.")) as provider:
        response = await provider.chat(_MESSAGES)

    empty = {item.name for item in dataclasses.fields(response) if getattr(response, item.name) in (None, (), [])}
    assert "provider" not in empty
    assert {"fallback_from", "dropped", "reasoning", "refusal", "parsed", "logprobs"} <= empty
