"""``run_turn`` over a real provider and a scripted server: sums, times, limits, and responses in a required form."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import time
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from adapters.agent import run_turn
from adapters.errors import (
    APIError,
    APITimeoutError,
    BadRequestError,
    ConfigError,
    ContextWindowExceededError,
    IncompleteResponseError,
    InternalServerError,
)
from adapters.factory import create_provider
from adapters.provider import LLMProvider
from adapters.testing.answers import SSE_HEAD, answer, call, event, http_chunk, reply, said
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage, ToolCall, ToolCallDone, ToolResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from adapters.agent import AgentEvent
    from adapters.client.provider import LiteLLMProvider
    from adapters.testing import ScriptedServer, Step
    from adapters.types import Message, StreamEvent

pytest_plugins = ["adapters.testing.plugin"]

FULL = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 90},
    "completion_tokens_details": {"reasoning_tokens": 4},
    "cost": 0.5,
}
FULL_USAGE = TokenUsage(100, 10, 90, 4, Decimal("0.5"))
CALLED = answer(calls=[call("clock", "{}", "call00001")], usage=FULL)
DOWN = reply({"error": {"message": "overloaded"}}, "503 Service Unavailable")
REFUSED = reply({"error": {"message": "response_format cannot be used with tools"}}, "400 Bad Request")


class Weather(BaseModel):
    """A required form."""

    city: str


async def clock() -> str:
    """Tell the time."""
    return "noon"


async def sleeps() -> None:
    """Take a minute."""
    await asyncio.sleep(60)


def _ask() -> list[Message]:
    return [{"role": "user", "content": "do it"}]


class Turns:
    """Turns of a provider with these answers.

    Attributes:
        messages: The conversation.
        events: The events of the latest turn, also if it failed.
    """

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self.messages: list[Message] = _ask()
        self.events: list[AgentEvent] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests."""
        return self._server.seen["totals"].bodies

    def provider(self, *steps: Step, **options: Any) -> LiteLLMProvider:
        """Make the provider."""
        retry = {"attempts": 2, "initial_wait_s": 0.0, "max_wait_s": 0.0}
        base_url = self._server.add("totals", *steps)
        return create_provider("openai_compatible", model="m", base_url=base_url, **{"retry": retry, **options})

    async def run(self, *steps: Step, tools: Any = (clock,), **options: Any) -> LLMResponse:
        """Run a turn and return the response of its last event."""
        self.events = []
        async with self.provider(*steps) as provider:
            async for event in run_turn(provider, self.messages, tools, **options):
                self.events.append(event)
        assert isinstance(self.events[-1], ResponseDone)
        return self.events[-1].response


@pytest.fixture
def turns(scripted_server: ScriptedServer) -> Turns:
    """Turns with a server of their own."""
    return Turns(scripted_server)


@pytest.mark.parametrize("rounds", [0, 1, 3])
async def test_usage_of_a_turn(turns: Turns, rounds: int) -> None:
    """Every figure is the sum of all requests."""
    response = await turns.run(*[CALLED] * rounds, answer("Noon.", usage=FULL))

    number = rounds + 1
    assert response.usage == TokenUsage(100 * number, 10 * number, 90 * number, 4 * number, Decimal("0.5") * number)
    assert response.attempts == number


async def test_estimated_cost_of_a_turn() -> None:
    """It is the sum of the estimates of all responses, which may be of different models, or None if one is missing."""

    def response(cost: Decimal | None, **fields: Any) -> LLMResponse:
        return LLMResponse(usage=TokenUsage(1, 1), cost_estimator=lambda _usage: cost, **fields)

    for costs, total in (([Decimal(1), Decimal(2)], Decimal(3)), ([Decimal(1), None], None)):
        calling = response(costs[0], content=None, tool_calls=[ToolCall("call00001", "clock", {})])
        provider = Custom(responses=[calling, response(costs[1], content="Noon.")])
        events = [event async for event in run_turn(provider, _ask(), [clock], response_format={"type": "text"})]
        assert isinstance(events[-1], ResponseDone)
        assert events[-1].response.estimated_cost == total


async def test_a_figure_that_one_response_lacks(turns: Turns) -> None:
    """It is None in the sum, and the others are sums."""
    response = await turns.run(CALLED, answer("Noon.", usage={**FULL, "cost": None}))

    assert response.usage == TokenUsage(200, 20, 180, 8, None)


async def test_failed_requests_count(turns: Turns) -> None:
    """Attempts are those of all requests; those that failed cost time and no tokens that are known."""
    response = await turns.run(DOWN, CALLED, DOWN, CALLED, answer("Noon.", usage=FULL))

    assert response.attempts == 5
    assert response.usage == TokenUsage(300, 30, 270, 12, Decimal("1.5"))


async def test_times_of_a_turn(turns: Turns) -> None:
    """They begin with the turn: the first text may come in the last round, the first token in the first."""

    async def slow() -> None:
        await asyncio.sleep(0.1)

    response = await turns.run(
        (SSE_HEAD, 0.05, http_chunk(event(said("Wait.")))[:-2], b"\r\n", *_called("slow")),
        answer("Noon."),
        tools=[slow],
    )
    late = await turns.run((SSE_HEAD, *_called("slow")), answer("Noon."), tools=[slow])

    assert response.time_to_first_token_s is not None
    assert response.time_to_first_text_s is not None
    assert response.total_s is not None
    assert 0.05 <= response.time_to_first_token_s <= response.time_to_first_text_s < response.total_s
    assert response.total_s >= 0.15
    assert late.time_to_first_token_s is not None
    assert late.time_to_first_text_s is not None
    assert late.time_to_first_token_s + 0.1 <= late.time_to_first_text_s
    assert late.first_text_s == late.time_to_first_text_s


def _called(name: str) -> list[Any]:
    """The rest of a stream that calls a tool."""
    done = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    calls = {"choices": [{"index": 0, "delta": {"tool_calls": [call(name, "{}", "call00001")]}}]}
    return [http_chunk(event(calls)), http_chunk(event(done)), http_chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n"]


async def test_the_events_of_a_turn_carry_its_usage(turns: Turns) -> None:
    """A turn that is left at any event after its first response has told what it cost so far."""
    await turns.run(CALLED, CALLED, answer("Noon.", usage=FULL))

    usages = [event.usage for event in turns.events if isinstance(event, ToolCallDone | ToolResult)]
    assert usages == [FULL_USAGE, FULL_USAGE, FULL_USAGE + FULL_USAGE, FULL_USAGE + FULL_USAGE]


async def test_the_error_of_a_turn_carries_its_usage(turns: Turns) -> None:
    """A failed turn tells what the requests before it cost; without one, or without its count, nothing is known."""
    for steps, usage in (
        ([CALLED, CALLED, DOWN], FULL_USAGE + FULL_USAGE),
        ([DOWN], None),
        ([answer(calls=[call("clock", "{}", "call00001")], usage=None), DOWN], None),
    ):
        with pytest.raises(InternalServerError) as caught:
            await turns.run(*steps)
        assert caught.value.usage == usage
        turns.messages = _ask()


async def test_limit_of_a_turn_while_the_model_is_silent(turns: Turns) -> None:
    """The request is closed, the history is valid, and the error tells what the turn cost."""
    with pytest.raises(APITimeoutError, match=r"^openai_compatible did not finish in time \(0\.3 seconds\)") as caught:
        await turns.run(CALLED, (SSE_HEAD, http_chunk(event(said("No"))), "hang"), turn_timeout_s=0.3)

    assert caught.value.usage == FULL_USAGE
    assert (caught.value.provider, caught.value.model, caught.value.retryable) == ("openai_compatible", "m", True)
    assert [message["role"] for message in turns.messages] == ["user", "assistant", "tool", "assistant"]
    assert turns.messages[-1]["content"] == "No"


async def test_limit_of_a_turn_while_a_tool_runs(turns: Turns) -> None:
    """The tool is cancelled, and its call has a result."""
    began_s = time.monotonic()
    with pytest.raises(APITimeoutError):
        await turns.run(
            answer(calls=[call("sleeps", "{}", "call00001")]), tools=[sleeps], tool_timeout_s=60, turn_timeout_s=0.3
        )

    assert time.monotonic() - began_s < 30
    assert turns.messages[-1]["content"].startswith("The turn was interrupted before this tool finished")


async def test_limit_of_a_turn_that_ends_in_time(turns: Turns) -> None:
    """Nothing else changes."""
    response = await turns.run(CALLED, answer("Noon."), turn_timeout_s=60)

    assert response.content == "Noon."


class Custom(LLMProvider):
    """A provider of an agent whose stream does what it is told."""

    provider_name = "own"
    model = "m"

    def __init__(
        self, error: Exception | None = None, responses: Sequence[LLMResponse] = (LLMResponse("Hi."),)
    ) -> None:
        self.error = error
        self.responses = list(responses)

    async def chat(self, *_args: Any, **_options: Any) -> LLMResponse:
        """Return the next response; by default one without a count and without times."""
        return self.responses.pop(0)

    def chat_stream(self, *_args: Any, **_options: Any) -> AsyncIterator[str]:
        """Not used."""
        raise NotImplementedError

    async def stream_events(self, *_args: Any, **_options: Any) -> AsyncIterator[StreamEvent]:
        """Yield a text, then fail, or end without the last event."""
        yield TextDelta("Hi")
        if self.error is not None:
            raise self.error


async def test_a_stream_that_ends_without_a_response() -> None:
    """The stream of a custom provider that does not say how it ended is an error; its text stays in the history."""
    messages = _ask()

    with pytest.raises(IncompleteResponseError, match=r"^own stopped in the middle of its answer"):
        async for _ in run_turn(Custom(), messages):
            pass

    assert messages[1:] == [{"role": "assistant", "content": "Hi"}]


async def test_errors_of_a_custom_provider_pass_through() -> None:
    """Its own ``TimeoutError`` is not the limit of the turn."""
    with pytest.raises(TimeoutError, match=r"^mine$"):
        async for _ in run_turn(Custom(TimeoutError("mine")), _ask(), turn_timeout_s=60):
            pass


async def test_a_custom_provider_in_a_required_form() -> None:
    """Times and attempts that a custom provider does not report are None."""
    events = [event async for event in run_turn(Custom(), _ask(), response_format=Weather)]

    assert events == [TextDelta("Hi."), ResponseDone(LLMResponse("Hi."))]
    assert isinstance(events[1], ResponseDone)
    assert (events[1].response.attempts, events[1].response.time_to_first_token_s) == (None, None)
    assert events[1].response.time_to_first_text_s is not None


@pytest.mark.parametrize("messages", [pytest.param(({"role": "user"},), id="tuple"), pytest.param("Hi", id="text")])
async def test_messages_that_cannot_be_extended(messages: Any) -> None:
    """They are refused before anything is sent or spoken."""
    with pytest.raises(ConfigError, match="messages must be a list, which run_turn extends"):
        async for _ in run_turn(Custom(), messages):
            pass  # pragma: no cover - it fails before


def _in_form(city: str = "Oslo", **extra: Any) -> Step:
    return answer(json.dumps({"city": city}), usage=FULL, **extra)


async def test_a_required_form_with_tools(turns: Turns) -> None:
    """Tools run as ever; the text that ends the turn is validated, and yielded when it is complete."""
    response = await turns.run(CALLED, _in_form(), response_format=Weather)

    assert response.parsed == Weather(city="Oslo")
    assert response.content == '{"city": "Oslo"}'
    assert response.usage == FULL_USAGE + FULL_USAGE
    assert [type(event) for event in turns.events] == [ToolCallDone, ToolResult, TextDelta, ResponseDone]
    assert all("response_format" in body and body["tools"] for body in turns.bodies)
    assert turns.messages[-1] == {"role": "assistant", "content": '{"city": "Oslo"}'}


async def test_a_server_that_ignores_the_form(turns: Turns) -> None:
    """The response is requested once more, and the first one is not spoken; usage and attempts count both."""
    response = await turns.run(CALLED, answer("It is Oslo.", usage=FULL), _in_form(), response_format=Weather)

    assert response.parsed == Weather(city="Oslo")
    assert [event.text for event in turns.events if isinstance(event, TextDelta)] == ['{"city": "Oslo"}']
    assert (response.usage, response.attempts) == (FULL_USAGE + FULL_USAGE + FULL_USAGE, 3)
    assert len(turns.messages) == 4


async def test_a_server_that_never_heeds_the_form(turns: Turns) -> None:
    """After the second response it is an error, and nothing of them was spoken."""
    with pytest.raises(IncompleteResponseError):
        await turns.run(CALLED, answer("Oslo."), response_format=Weather)

    assert len(turns.bodies) == 3
    assert [message["role"] for message in turns.messages] == ["user", "assistant", "tool"]


async def test_a_server_that_refuses_tools_with_a_form(turns: Turns) -> None:
    """Tools are offered without the form, and the final text is requested once more with it."""
    response = await turns.run(REFUSED, CALLED, answer("Oslo.", usage=FULL), _in_form(), response_format=Weather)

    assert response.parsed == Weather(city="Oslo")
    assert [("response_format" in body, body.get("tool_choice")) for body in turns.bodies] == [
        (True, "auto"),
        (False, "auto"),
        (False, "auto"),
        (True, "none"),
    ]
    assert response.usage == FULL_USAGE + FULL_USAGE + FULL_USAGE
    assert [event.text for event in turns.events if isinstance(event, TextDelta)] == ['{"city": "Oslo"}']


@pytest.mark.parametrize(
    ("tools", "options", "step", "error"),
    [
        pytest.param((), {}, REFUSED, BadRequestError, id="without tools"),
        pytest.param([clock], {"tool_choice": "none"}, REFUSED, BadRequestError, id="without calls"),
        pytest.param(
            [clock],
            {},
            reply({"error": {"message": "too long", "code": "context_length_exceeded"}}, "400 Bad Request"),
            ContextWindowExceededError,
            id="another reason",
        ),
    ],
)
async def test_a_refusal_for_another_reason(
    turns: Turns, tools: Any, options: dict[str, Any], step: Step, error: type[APIError]
) -> None:
    """It is the error of the turn."""
    with pytest.raises(error):
        await turns.run(step, tools=tools, response_format=Weather, **options)

    assert all("response_format" in body for body in turns.bodies)


async def test_leaving_at_a_call_keeps_the_text(turns: Turns) -> None:
    """A turn that is closed before its tools start keeps the text, and no call without a result."""
    text_and_call = answer("One moment.", calls=[call("clock", "{}", "call00001")])

    async with (
        turns.provider(text_and_call) as provider,
        aclosing(run_turn(provider, turns.messages, [clock])) as events,
    ):
        async for event in events:
            if isinstance(event, ToolCallDone):
                break

    assert turns.messages[1:] == [{"role": "assistant", "content": "One moment."}]


def test_error_with_usage_can_be_copied() -> None:
    """The usage stays with a copy, for agents in worker processes."""
    error = APIError("no", provider="p", model="m")
    assert error.usage is None
    error.usage = FULL_USAGE
    assert [copy.copy(error).usage, pickle.loads(pickle.dumps(error)).usage] == [FULL_USAGE, FULL_USAGE]  # noqa: S301 - our own bytes
