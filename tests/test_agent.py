"""``run_turn`` over a scripted provider: order of events, history, failures, interruption.

What a real provider makes of a server's bytes is tested with that provider; here the script is the wire.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from adapters.agent import run_turn, tool_specs
from adapters.errors import APIConnectionError, IncompleteResponseError
from adapters.provider import LLMProvider
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage, ToolCall, ToolCallDone, ToolResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from adapters.agent import AgentEvent
    from adapters.types import Message, StreamEvent, ToolSpec

TOOLS: list[ToolSpec] = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
WEATHER = ToolCall(id="call00001", name="weather", arguments={"city": "Paris"})
CLOCK = ToolCall(id="call00002", name="clock", arguments={})

WEATHER_MESSAGE = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}
CLOCK_MESSAGE = {"id": "call00002", "type": "function", "function": {"name": "clock", "arguments": "{}"}}


@dataclass(frozen=True)
class Finish:
    """The finish reason of a response."""

    reason: str


Step = str | ToolCall | TokenUsage | Finish | BaseException | float


class ScriptedProvider(LLMProvider):
    """Responds to each request with the next script; the last one repeats.

    In a script a ``str`` is text, a ``float`` a pause in seconds, an exception is raised, and the rest are the calls,
    the usage and the end of the answer.
    """

    provider_name = "scripted"
    model = "script"

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.scripts = list(scripts)
        self.requests: list[dict[str, Any]] = []
        self.closed = 0

    async def chat(self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any) -> LLMResponse:
        """Not used by ``run_turn``, which streams."""
        raise NotImplementedError

    async def stream_events(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[StreamEvent]:
        """Play the next script as events."""
        script = self._next(messages, tools, kwargs)
        try:
            async for text in self._play(script):
                yield TextDelta(text)
            response = LLMResponse(
                content="".join(step for step in script if isinstance(step, str)) or None,
                tool_calls=[step for step in script if isinstance(step, ToolCall)],
                usage=next((step for step in script if isinstance(step, TokenUsage)), None),
                finish_reason=next((step.reason for step in script if isinstance(step, Finish)), None),
            )
            for call in response.tool_calls:
                yield ToolCallDone(call)
            yield ResponseDone(response)
        finally:
            self.closed += 1

    def chat_stream(
        self, messages: list[Message], tools: list[ToolSpec] | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Not used by ``run_turn``, which needs the response at the end."""
        raise NotImplementedError

    def _next(self, messages: list[Message], tools: list[ToolSpec] | None, kwargs: dict[str, Any]) -> Sequence[Step]:
        self.requests.append({"messages": list(messages), "tools": tools, "kwargs": kwargs})
        return self.scripts[min(len(self.requests), len(self.scripts)) - 1]

    async def _play(self, script: Sequence[Step]) -> AsyncIterator[str]:
        for step in script:
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            elif isinstance(step, str):
                yield step


async def fixed_tool(name: str, arguments: dict[str, Any]) -> str:
    """A tool that returns its name and argument at once."""
    return f"{name} says {arguments.get('city', 'noon')}"


async def collect(
    provider: LLMProvider,
    messages: list[Message],
    call_tool: Callable[..., Any] = fixed_tool,
    **options: Any,
) -> list[AgentEvent]:
    """Run a turn to its end."""
    return [event async for event in run_turn(provider, messages, TOOLS, call_tool, **options)]


def ask() -> list[Message]:
    """A conversation whose last message is the user's."""
    return [{"role": "user", "content": "weather?"}]


def result(call_id: str, name: str, content: str) -> Message:
    """The message that carries a tool's result."""
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


async def test_plain_answer() -> None:
    """Without calls a turn is one request, its text, one ResponseDone and one assistant message."""
    provider, messages = ScriptedProvider(["Hel", "lo", TokenUsage(3, 2)]), ask()

    events = await collect(provider, messages, temperature=0.1)

    assert events == [TextDelta("Hel"), TextDelta("lo"), ResponseDone(LLMResponse("Hello", usage=TokenUsage(3, 2)))]
    assert messages == [*ask(), {"role": "assistant", "content": "Hello"}]
    assert provider.requests == [{"messages": ask(), "tools": TOOLS, "kwargs": {"temperature": 0.1}}]


async def test_definitions_of_tools() -> None:
    """They are what a turn sends, for functions and for definitions."""

    def get_time() -> str:
        """Tell the time."""
        return "noon"

    tools: list[Any] = [get_time, {"type": "function", "function": {"name": "get_weather"}}]
    provider = ScriptedProvider(["Hi."])

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return "12 C"

    async with aclosing(run_turn(provider, [{"role": "user", "content": "Hi"}], tools, call_tool)) as events:
        assert [event async for event in events]

    assert provider.requests[0]["tools"] == tool_specs(tools)
    assert [tool["function"]["name"] for tool in tool_specs(tools)] == ["get_time", "get_weather"]
    assert tool_specs([]) == []


async def test_tool_turn() -> None:
    """A call is run, its result goes back to the model, and one ResponseDone summarizes the turn."""
    provider = ScriptedProvider(["One moment.", WEATHER, TokenUsage(10, 4)], ["Sunny.", TokenUsage(20, 3)])
    messages = ask()

    events = await collect(provider, messages)

    assert events == [
        TextDelta("One moment."),
        ToolCallDone(WEATHER),
        ToolResult(WEATHER, "weather says Paris", failed=False),
        TextDelta("\n"),
        TextDelta("Sunny."),
        ResponseDone(LLMResponse("One moment.\nSunny.", tool_calls=[], usage=TokenUsage(30, 7))),
    ]
    assert messages == [
        *ask(),
        {"role": "assistant", "content": "One moment.", "tool_calls": [WEATHER_MESSAGE]},
        result("call00001", "weather", "weather says Paris"),
        {"role": "assistant", "content": "Sunny."},
    ]
    assert provider.requests[1]["messages"] == messages[:3]


async def test_content_of_the_turn_is_what_was_yielded() -> None:
    """The content of the last event is the concatenation of every text of the turn."""
    provider = ScriptedProvider(["a", "b", WEATHER], [CLOCK], ["c", WEATHER], ["d"])

    events = await collect(provider, ask())

    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert events[-1] == ResponseDone(LLMResponse("".join(texts)))
    assert "".join(texts) == "ab\nc\nd"


async def test_usage_is_unknown_if_one_round_was_not_counted() -> None:
    """If one response was not counted, the sum is None."""
    events = await collect(ScriptedProvider([WEATHER, TokenUsage(10, 4)], ["Sunny."]), ask())

    assert events[-1] == ResponseDone(LLMResponse("Sunny.", usage=None))


async def test_parallel_calls_run_at_once_and_stay_in_order() -> None:
    """The calls of a round overlap in time; results and history keep the model's order."""
    running, most = 0, 0

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05 if name == "weather" else 0)
        running -= 1
        return name

    messages = ask()

    events = await collect(ScriptedProvider([WEATHER, CLOCK], ["ok"]), messages, tool)

    assert most == 2
    assert [event.content for event in events if isinstance(event, ToolResult)] == ["weather", "clock"]
    assert messages[1:4] == [
        {"role": "assistant", "content": None, "tool_calls": [WEATHER_MESSAGE, CLOCK_MESSAGE]},
        result("call00001", "weather", "weather"),
        result("call00002", "clock", "clock"),
    ]


async def test_equal_calls_run_once() -> None:
    """Calls of a round that differ in nothing but their id are run once, and each of them gets the result."""
    asked: list[Any] = []

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        asked.append(arguments["city"])
        return str(len(asked))

    cities = ["Paris", "Paris", 1, True]
    calls = [ToolCall(f"call0000{index}", "weather", {"city": city}) for index, city in enumerate(cities)]
    messages = ask()

    events = await collect(ScriptedProvider(calls, [calls[0]], ["ok"]), messages, tool)

    assert asked == ["Paris", 1, True, "Paris"]
    assert [event for event in events if isinstance(event, ToolResult)] == [
        ToolResult(call, content, failed=False)
        for call, content in zip([*calls, calls[0]], ["1", "1", "2", "3", "4"], strict=True)
    ]
    assert messages[2:6] == [
        result(call.id, "weather", content) for call, content in zip(calls, ["1", "1", "2", "3"], strict=True)
    ]


async def test_unreadable_call_is_not_run() -> None:
    """A call with an error reaches no tool; the model reads why."""
    asked: list[str] = []

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        asked.append(name)
        return "ok"

    broken = ToolCall(id="call00003", name="weather", arguments={}, error="its arguments are not JSON")

    events = await collect(ScriptedProvider([broken, CLOCK], ["ok"]), ask(), tool)

    assert asked == ["clock"]
    assert ToolResult(broken, "The tool weather was not run: its arguments are not JSON", failed=True) in events


class SpeechlessError(Exception):
    """An error whose own text raises another one."""

    def __init__(self, *, raises: type[BaseException] = AttributeError) -> None:
        super().__init__()
        self.raises = raises

    def __str__(self) -> str:
        raise self.raises


@pytest.mark.parametrize(
    ("error", "content"),
    [
        pytest.param(ValueError("no city\n  of that name"), "The tool weather failed: no city of that name", id="text"),
        pytest.param(TimeoutError(), "The tool weather failed: TimeoutError", id="no text"),
        pytest.param(ValueError("x" * 1000), "The tool weather failed: " + "x" * 275, id="long"),
        pytest.param(SpeechlessError(), "The tool weather failed.", id="an error that cannot be told"),
        pytest.param(GeneratorExit(), "The tool weather failed: GeneratorExit", id="no error at all"),
        pytest.param(
            asyncio.CancelledError(),
            "The turn was interrupted before this tool finished; it may or may not have taken effect.",
            id="cancelled from within",
        ),
    ],
)
async def test_failing_tool(error: BaseException, content: str) -> None:
    """A tool that raises gives the model one short line, and the turn goes on."""

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        raise error

    messages = ask()

    events = await collect(ScriptedProvider([WEATHER], ["Sorry."]), messages, tool)

    assert events[1] == ToolResult(WEATHER, content, failed=True)
    assert messages[2:] == [result("call00001", "weather", content), {"role": "assistant", "content": "Sorry."}]


@pytest.mark.parametrize(
    ("error", "raised", "content"),
    [
        pytest.param(SystemExit(3), SystemExit, "The tool weather failed: 3", id="SystemExit"),
        pytest.param(
            KeyboardInterrupt(),
            KeyboardInterrupt,
            "The tool weather failed: KeyboardInterrupt",
            id="KeyboardInterrupt",
        ),
        pytest.param(
            SpeechlessError(raises=SystemExit),
            SystemExit,
            "The tool weather failed.",
            id="SystemExit while the error is told",
        ),
    ],
)
@pytest.mark.parametrize("late", [pytest.param(False, id="at once"), pytest.param(True, id="when it is cancelled")])
def test_a_tool_that_ends_the_program(
    error: BaseException, raised: type[BaseException], content: str, *, late: bool
) -> None:
    """The program ends as the tool demands, after the history is complete."""
    messages = ask()
    outcomes: list[BaseException] = []
    limits: list[asyncio.Timeout] = []

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        if name == "clock":
            return "noon"
        try:
            if late:
                limits[0].reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(60 if late else 0)
        finally:
            raise error

    async def turn() -> None:
        """Record what the turn raises, and check that the history is complete by then."""
        try:
            async with asyncio.timeout(None) as limit:
                limits.append(limit)
                await collect(ScriptedProvider([WEATHER, CLOCK]), messages, tool)
        except BaseException as caught:
            outcomes.append(caught)
            assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
            raise

    with pytest.raises(raised):
        asyncio.run(turn())

    assert [type(outcome) for outcome in outcomes] == [raised]
    assert messages[2] == result("call00001", "weather", content)
    assert messages[3] == result("call00002", "clock", "noon")


async def test_what_a_tool_does_to_its_arguments() -> None:
    """The history repeats the model's arguments, also if the tool changes its own."""

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        arguments["city"] = object()
        return "ok"

    messages = ask()

    await collect(ScriptedProvider([WEATHER], ["Sunny."]), messages, tool)

    assert messages[1]["tool_calls"] == [WEATHER_MESSAGE]


async def test_a_provider_that_cannot_format_a_result() -> None:
    """Calls without results are never written to the history, also if the provider fails to format one."""

    class Broken(ScriptedProvider):
        def format_tool_result(self, *_args: Any, **_kwargs: Any) -> Message:
            raise LookupError

    messages = ask()

    with pytest.raises(LookupError):
        await collect(Broken([WEATHER]), messages)

    assert messages == ask()


async def test_result_that_is_not_text() -> None:
    """A result that is not a string goes to the model as JSON."""

    async def tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"sky": "klar, 21 °C"}

    events = await collect(ScriptedProvider([WEATHER], ["ok"]), ask(), tool)

    assert events[1] == ToolResult(WEATHER, '{"sky": "klar, 21 °C"}', failed=False)


@pytest.mark.parametrize(
    ("choice", "later"),
    [
        pytest.param("required", None, id="required"),
        pytest.param({"type": "function", "function": {"name": "weather"}}, None, id="a function"),
        pytest.param("auto", "auto", id="auto"),
        pytest.param("none", "none", id="none"),
    ],
)
async def test_a_call_is_demanded_once(choice: object, later: object) -> None:
    """A choice that forces a call holds for the first request only; any other holds for all."""
    provider = ScriptedProvider([WEATHER], [CLOCK], ["Sunny."])

    await collect(provider, ask(), tool_choice=choice, seed=7)

    asked = [request["kwargs"] for request in provider.requests]
    assert [options.get("tool_choice") for options in asked] == [choice, later, later]
    assert {options["seed"] for options in asked} == {7}


async def test_last_round_may_not_call() -> None:
    """After the allowed rounds, calls are forbidden in one more request, which counts in the sums."""
    last: list[Step] = ["Enough.", TokenUsage(5, 1), Finish("length")]
    provider = ScriptedProvider([WEATHER, TokenUsage(1, 1)], [CLOCK, TokenUsage(1, 1)], last)
    messages = ask()

    events = await collect(provider, messages, max_rounds=2, tool_choice="required", temperature=0.0)

    assert [request["kwargs"].get("tool_choice") for request in provider.requests] == ["required", None, "none"]
    assert (provider.requests[2]["tools"], provider.requests[2]["kwargs"]["temperature"]) == (TOOLS, 0.0)
    assert events[-1] == ResponseDone(LLMResponse("Enough.", usage=TokenUsage(7, 3), finish_reason="length"))
    assert messages[-1] == {"role": "assistant", "content": "Enough."}


async def test_a_provider_that_calls_in_the_last_round() -> None:
    """Calls of a provider that cannot forbid them are ignored in the last round, and its text is kept."""
    provider, messages = ScriptedProvider(["Hm.", WEATHER]), ask()

    events = await collect(provider, messages, max_rounds=1)

    assert len(provider.requests) == 2
    assert [type(event) for event in events].count(ToolCallDone) == 1
    assert events[-1] == ResponseDone(LLMResponse("Hm.\nHm."))
    assert messages[-2:] == [
        result("call00001", "weather", "weather says Paris"),
        {"role": "assistant", "content": "Hm."},
    ]


async def test_provider_without_streams_of_its_own() -> None:
    """A provider with the two abstract methods is enough, also if its stream has no ``aclose``."""

    class Texts:
        def __init__(self) -> None:
            self.left = ["All ", "done."]

        def __aiter__(self) -> Texts:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    class Small(LLMProvider):
        provider_name = "small"
        model = "small"

        async def chat(self, *_args: Any, **_kwargs: Any) -> LLMResponse:
            return LLMResponse(content="Wait.", tool_calls=[WEATHER])

        def chat_stream(self, *_args: Any, **_kwargs: Any) -> AsyncIterator[str]:
            return Texts()

    events = await collect(Small(), ask(), max_rounds=1)

    assert events[-1] == ResponseDone(LLMResponse("Wait.\nAll done."))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param([APIConnectionError("scripted is away", provider="scripted", model="script")], [], id="at once"),
        pytest.param(
            ["Half an ", IncompleteResponseError("scripted broke off", provider="scripted", model="script")],
            [{"role": "assistant", "content": "Half an "}],
            id="after text",
        ),
    ],
)
async def test_failed_request_leaves_a_valid_history(script: list[Step], said: list[Message]) -> None:
    """An error passes through; results and text before it stay in the history."""
    messages = ask()

    with pytest.raises((APIConnectionError, IncompleteResponseError)):
        await collect(ScriptedProvider([WEATHER], script), messages)

    assert messages == [
        *ask(),
        {"role": "assistant", "content": None, "tool_calls": [WEATHER_MESSAGE]},
        result("call00001", "weather", "weather says Paris"),
        *said,
    ]


async def test_closing_during_text() -> None:
    """Closing the turn closes the request and keeps the text that was yielded."""
    provider, messages = ScriptedProvider(["I would ", "say that", WEATHER]), ask()

    async with aclosing(run_turn(provider, messages, TOOLS, fixed_tool)) as turn:
        await anext(turn)

    assert provider.closed == 1
    assert messages == [*ask(), {"role": "assistant", "content": "I would "}]


async def test_closing_before_the_answer_is_whole() -> None:
    """A call that was yielded and not yet run is not in the history."""
    messages = ask()

    async with aclosing(run_turn(ScriptedProvider([WEATHER, CLOCK]), messages, TOOLS, fixed_tool)) as turn:
        assert await anext(turn) == ToolCallDone(WEATHER)

    assert messages == ask()


async def test_cancelling_while_the_model_is_silent() -> None:
    """Cancelling the task closes a waiting request at once."""
    provider, messages = ScriptedProvider([60.0, "late"]), ask()
    task = asyncio.create_task(collect(provider, messages))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)  # the model is silent for a minute

    assert provider.closed == 1
    assert messages == ask()


async def test_cancelling_running_tools() -> None:
    """Running tools are cancelled; finished ones keep their results, and every call has one."""
    stopped: list[str] = []

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        if name == "clock":
            return "noon"
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(name)
        raise AssertionError

    messages = ask()
    task = asyncio.create_task(collect(ScriptedProvider([WEATHER, CLOCK]), messages, tool))
    await asyncio.sleep(0.01)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert stopped == ["weather"]
    assert messages[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [WEATHER_MESSAGE, CLOCK_MESSAGE]},
        result(
            "call00001",
            "weather",
            "The turn was interrupted before this tool finished; it may or may not have taken effect.",
        ),
        result("call00002", "clock", "noon"),
    ]


async def test_cancelling_twice() -> None:
    """A second cancel does not wait for a tool that cleans up slowly, and the history is complete."""
    release = asyncio.Event()

    async def tool(name: str, arguments: dict[str, Any]) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            await release.wait()
        raise AssertionError

    messages = ask()
    task = asyncio.create_task(collect(ScriptedProvider([WEATHER]), messages, tool))
    await asyncio.sleep(0.01)

    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()

    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]


async def test_closing_between_results() -> None:
    """A turn that is closed after its first result still writes all of them."""
    messages = ask()

    async with aclosing(run_turn(ScriptedProvider([WEATHER, CLOCK]), messages, TOOLS, fixed_tool)) as turn:
        async for event in turn:
            if isinstance(event, ToolResult):
                break

    assert [message["content"] for message in messages[2:]] == ["weather says Paris", "clock says noon"]
