"""Turns with functions as tools: a real provider, a scripted server, and the results that the model reads."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import json
import logging
import math
import threading
import time
from collections import Counter
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest

from adapters.agent import run_turn
from adapters.errors import ConfigError
from adapters.factory import create_provider
from adapters.testing.answers import answer, call
from adapters.tools.tool import Tool, ToolContext
from adapters.types import ResponseDone, ToolCallDone, ToolResult, ToolsRunning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from adapters.agent import AgentEvent
    from adapters.testing import ScriptedServer
    from adapters.types import Message, ToolSpec

pytest_plugins = ["adapters.testing.plugin"]

CLOCK: ToolSpec = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
TIMED_OUT = "The tool {} timed out after 0.05 seconds; its effect is unknown."
INTERRUPTED = "The turn was interrupted before this tool finished; it may or may not have taken effect."

user: contextvars.ContextVar[str] = contextvars.ContextVar("user")


def get_weather(city: str, unit: Literal["c", "f"] = "c") -> dict[str, Any]:
    """Current weather in a city.

    Args:
        city: Name of the city.
        unit: Celsius or Fahrenheit.
    """
    return {"city": city, "unit": unit}


async def lights_off(room: str) -> None:
    """Switch the lights off."""


class Turns:
    """Runs turns over a server that responds with some calls, then with "Fine."."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self.messages: list[Message] = [{"role": "user", "content": "do it"}]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the requests."""
        return self._server.seen["turn"].bodies

    @property
    def results(self) -> list[str]:
        """The results in the history."""
        return [message["content"] for message in self.messages if message["role"] == "tool"]

    async def begin(self, calls: list[tuple[str, dict[str, Any]]], *args: Any, **options: Any) -> Any:
        """Yield the events of a turn."""
        asked = [call(name, json.dumps(arguments), f"call0000{index}") for index, (name, arguments) in enumerate(calls)]
        base_url = self._server.add("turn", answer(calls=asked), answer("Fine."))
        async with (
            create_provider("openai_compatible", model="m", base_url=base_url) as provider,
            aclosing(run_turn(provider, self.messages, *args, **options)) as events,
        ):
            async for event in events:
                yield event

    async def run(self, calls: list[tuple[str, dict[str, Any]]], *args: Any, **options: Any) -> list[AgentEvent]:
        """Run a turn to its end."""
        return [event async for event in self.begin(calls, *args, **options)]


@pytest.fixture
def turns(scripted_server: ScriptedServer) -> Turns:
    """Turns with a server of their own."""
    return Turns(scripted_server)


@pytest.fixture
def block() -> Iterator[Callable[[], None]]:
    """A function that returns only when the test is over."""
    release = threading.Event()

    def block() -> None:
        assert release.wait(60)

    yield block
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("tool "):
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
async def stubborn() -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A tool that ignores its cancellation until the test is over."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    yield stubborn
    release.set()


async def test_functions(turns: Turns) -> None:
    """Functions are offered like definitions, and the model reads their results."""
    events = await turns.run(
        [("get_weather", {"city": "Paris"}), ("lights_off", {"room": "hall"})], [get_weather, lights_off]
    )

    assert turns.bodies[0]["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Current weather in a city.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "description": "Name of the city."},
                        "unit": {
                            "type": "string",
                            "enum": ["c", "f"],
                            "default": "c",
                            "description": "Celsius or Fahrenheit.",
                        },
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        },
        {
            "type": "function",
            "function": {
                "name": "lights_off",
                "description": "Switch the lights off.",
                "parameters": {
                    "type": "object",
                    "properties": {"room": {"type": "string"}},
                    "required": ["room"],
                    "additionalProperties": False,
                },
            },
        },
    ]
    assert [type(event) for event in events[:4]] == [ToolCallDone, ToolCallDone, ToolResult, ToolResult]
    assert isinstance(events[-1], ResponseDone)
    assert turns.results == ['{"city": "Paris", "unit": "c"}', "done"]
    assert [message["content"] for message in turns.bodies[1]["messages"] if message["role"] == "tool"] == turns.results


async def test_functions_that_are_not_async_run_at_once(turns: Turns) -> None:
    """They run concurrently, do not block the event loop, and see the context variables of the turn."""
    meeting = threading.Barrier(2, timeout=60)

    def meet(who: str) -> str:
        meeting.wait()
        return f"{who} of {user.get()}"

    user.set("Ada")
    await turns.run([("meet", {"who": "a"}), ("meet", {"who": "b"})], [meet])

    assert turns.results == ["a of Ada", "b of Ada"]


async def test_what_does_not_fit_goes_back(turns: Turns) -> None:
    """Invalid arguments and unknown tools are reported to the model, and nothing is run."""

    def never(count: int) -> None:
        raise AssertionError  # pragma: no cover - it is not run

    events = await turns.run(
        [("never", {"count": "many"}), ("never", {}), ("newer", {}), ("never", {"count": [1] * 9, "x" * 400: 1})],
        [never],
    )

    assert turns.results[:3] == [
        "The tool never was not run: count should be a valid integer, unable to parse string as an integer",
        "The tool never was not run: count is missing",
        "The tool newer was not run: there is no such tool; did you mean never?",
    ]
    assert len(turns.results[3]) == 300
    assert [event.failed for event in events if isinstance(event, ToolResult)] == [True] * 4


class Stream:
    """An object whose call is an asynchronous iterator."""

    def __call__(self) -> AsyncIterator[str]:
        """Stream two texts."""
        return stream()


async def stream() -> AsyncIterator[str]:
    """Stream two texts."""
    for text in ("a", "b"):
        await asyncio.sleep(0)
        yield text


async def endless() -> AsyncIterator[int]:
    """Never end."""
    while True:
        yield 7


def numbers() -> Iterator[bool]:
    """Yield whether the main thread runs the generator."""
    for _ in range(2):
        yield threading.current_thread() is threading.main_thread()


async def lazy() -> Iterator[bool]:
    """Return an iterator."""
    return numbers()


async def test_iterators_are_read_within_the_time_of_the_tool(turns: Turns, block: Callable[[], None]) -> None:
    """An iterator runs in a thread, not on the event loop; one that hangs times out like any tool."""

    def hangs() -> Iterator[int]:
        yield 1
        block()

    tools = [numbers, hangs, lazy, stream, Tool(endless, max_result_chars=5), Tool(Stream(), name="object")]
    names = ["numbers", "hangs", "lazy", "stream", "endless", "object"]
    await turns.run([(name, {}) for name in names], tools, tool_timeout_s=1)

    assert turns.results == [
        "[false, false]",
        "The tool hangs timed out after 1 seconds; its effect is unknown.",
        "[false, false]",
        "a\nb",
        "[7, 7\n[This result was cut: these are the first 5 of 18 characters.]",
        "a\nb",
    ]


async def test_result_that_is_too_long(turns: Turns) -> None:
    """It is cut with a note for the model, also that of a definition; a ``Tool`` may have its own limit."""

    def long() -> str:
        return "x" * 20

    async def call_tool(name: str, arguments: dict[str, Any]) -> Iterator[str]:
        return iter(["y" * 20])

    tools = [long, Tool(long, name="longer", max_result_chars=15), CLOCK]
    await turns.run([("long", {}), ("longer", {}), ("clock", {})], tools, call_tool, max_result_chars=10)

    note = "\n[This result was cut: these are the first {} of 20 characters.]"
    assert turns.results == ["x" * 10 + note.format(10), "x" * 15 + note.format(15), "y" * 10 + note.format(10)]


async def test_null_for_an_argument_that_is_left_out(turns: Turns) -> None:
    """A tool with a schema of its own does not get a null that the schema excludes."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string"}, "note": {"type": ["string", "null"]}},
        "required": ["city"],
    }

    def raw(**arguments: Any) -> dict[str, Any]:
        return arguments

    await turns.run([("raw", {"city": None, "unit": None, "note": None})], [Tool(raw, parameters=schema)])

    assert turns.results == ['{"city": null, "note": null}']


PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(16)
PICTURE_PART = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64," + base64.b64encode(PICTURE).decode()},
}


def camera(room: str) -> list[Any]:
    """Take a picture."""
    return [room, PICTURE]


@pytest.mark.parametrize("where", ["user", "tool", "none"])
async def test_pictures(turns: Turns, where: Literal["user", "tool", "none"]) -> None:
    """A picture is shown behind the results, in the result, or not at all; its text is never the data."""
    calls: list[tuple[str, dict[str, Any]]] = [("camera", {"room": "hall"}), ("lights_off", {"room": "hall"})]
    events = await turns.run([*calls, ("camera", {"room": "hall"})], [camera, lights_off], tool_images=where)

    results = [event for event in events if isinstance(event, ToolResult)]
    assert [result.images for result in results] == [(PICTURE_PART,), (), (PICTURE_PART,)]
    assert results[0].content == "hall\n[image, image/png]"
    contents = [message["content"] for message in turns.messages[2:-1]]
    text = "hall\n[image, image/png]"
    shown = [{"type": "text", "text": text}, PICTURE_PART] if where == "tool" else text
    behind = [[{"type": "text", "text": "These are the images that the tools returned, in order."}, PICTURE_PART]]
    assert contents == [shown, "done", shown, *(behind if where == "user" else [])]
    assert [message["role"] for message in turns.messages[5:]] == ["user", "assistant"][where != "user" :]


async def test_no_tools_at_all(turns: Turns) -> None:
    """A call without any offered tool gets a result that says so."""
    await turns.run([("clock", {})], [])

    assert turns.results == ["The tool clock was not run: there is no such tool; there is none at all"]


async def test_tools_of_every_kind(turns: Turns) -> None:
    """Functions, ``Tool`` values and definitions can be mixed; the context goes to annotated parameters only."""

    async def call_tool(name: str, arguments: dict[str, Any]) -> str:
        return f"dispatched {name} {arguments}"

    def who(greeting: str, ctx: ToolContext[str]) -> str:
        return f"{greeting} {ctx.context}, {ctx.tool_call.id}"

    def raw(**arguments: Any) -> str:
        return f"raw {arguments}"

    class Counter:
        async def __call__(self, step: int) -> int:
            return step + 1

    schema = {"type": "object", "properties": {"self": {"type": "string"}}}
    tools = [
        who,
        Tool(partial(get_weather, unit="f"), name="weather_f", description="Warmth."),
        Tool(raw, parameters=schema),
        Tool(Counter(), name="count"),
        CLOCK,
    ]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("who", {"greeting": "Hello"}),
        ("weather_f", {"city": "Rome"}),
        ("raw", {"self": "me"}),
        ("count", {"step": 1}),
        ("clock", {"zone": "UTC"}),
        ("hidden", {}),
    ]

    await turns.run(calls, tools, call_tool, context="Ada")

    assert turns.results == [
        "Hello Ada, call00000",
        '{"city": "Rome", "unit": "f"}',
        "raw {'self': 'me'}",
        "2",
        "dispatched clock {'zone': 'UTC'}",
        "dispatched hidden {}",
    ]
    functions = [tool["function"] for tool in turns.bodies[0]["tools"]]
    assert [function.get("description") for function in functions] == [None, "Warmth.", None, None, None]
    assert functions[2]["parameters"] == schema
    assert functions[4] == {"name": "clock", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        pytest.param([CLOCK], "The tool clock is only defined: give the function, or call_tool to run it.", id="alone"),
        pytest.param([{"name": "flat"}], "The tool None is only defined", id="no definition"),
        pytest.param(["clock"], "A str is no tool: write functions, Tool values or OpenAI definitions.", id="text"),
        pytest.param([lambda: 1], "'<lambda>' cannot be the name of a tool; write Tool(function, name=…)", id="lambda"),
        pytest.param([partial(get_weather)], "'' cannot be the name of a tool", id="no name"),
        pytest.param(
            [get_weather, Tool(lights_off, name="get_weather")],
            "Two tools are called get_weather; write Tool(function, name=…) for one of them.",
            id="two of a name",
        ),
    ],
)
async def test_tools_that_cannot_be_offered(turns: Turns, tools: list[Any], said: str) -> None:
    """Invalid tools are reported before a request is sent."""
    with pytest.raises(ConfigError) as raised:
        await turns.run([], tools)

    assert str(raised.value).startswith(said)
    assert turns.bodies == []


async def test_two_of_a_name_one_of_them_defined(turns: Turns) -> None:
    """A definition and a function cannot share a name."""

    def clock() -> None: ...

    async def call_tool(name: str, arguments: dict[str, Any]) -> None: ...

    with pytest.raises(ConfigError, match="Two tools are called clock"):
        await turns.run([], [CLOCK, clock], call_tool)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(ValueError("no such city"), "The tool fail failed: no such city", id="error"),
        pytest.param(StopIteration(), "The tool fail failed: coroutine raised StopIteration", id="StopIteration"),
        pytest.param(asyncio.CancelledError(), INTERRUPTED, id="CancelledError"),
        pytest.param(
            ExceptionGroup("unhandled", [ExceptionGroup("x", [ConnectionError("upstream unavailable")]), OSError()]),
            "The tool fail failed: ConnectionError: upstream unavailable; OSError",
            id="ExceptionGroup",
        ),
    ],
)
async def test_errors_of_a_thread(turns: Turns, error: BaseException, said: str) -> None:
    """Exceptions of a function in a thread are reported like those of an async one."""

    def fail() -> None:
        raise error

    await turns.run([("fail", {})], [fail])

    assert turns.results == [said]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(SystemExit(3), "The tool leave failed: 3", id="alone"),
        pytest.param(
            BaseExceptionGroup("", [ValueError("x"), SystemExit(3)]),
            "The tool leave failed: ValueError: x; SystemExit: 3",
            id="in a group",
        ),
    ],
)
async def test_a_thread_that_ends_the_program(turns: Turns, error: BaseException, said: str) -> None:
    """``SystemExit`` ends the turn, after the history is complete."""

    def leave() -> None:
        raise error

    with pytest.raises(SystemExit):
        await turns.run([("leave", {})], [leave])

    assert turns.results == [said]


async def test_a_tool_that_takes_too_long(
    turns: Turns,
    block: Callable[[], None],
    stubborn: Callable[[], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The result is the timeout of the tool; a tool that cannot be stopped is abandoned with a warning."""
    stopped: list[str] = []

    async def sleeps() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append("sleeps")

    async def in_time() -> str:
        await asyncio.sleep(0.1)
        return "in time"

    tools = [sleeps, stubborn, Tool(block), Tool(in_time, timeout_s=math.inf)]
    calls: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ("sleeps", "stubborn", "block", "in_time")]
    with caplog.at_level(logging.WARNING, "adapters"):
        events = await turns.run(calls, tools, tool_timeout_s=0.05)

    assert turns.results == [*map(TIMED_OUT.format, ("sleeps", "stubborn", "block")), "in time"]
    assert [event.failed for event in events if isinstance(event, ToolResult)] == [True, True, True, False]
    assert stopped == ["sleeps"]
    assert sorted(record.getMessage() for record in caplog.records) == [
        "The tool block runs in a thread, which cannot be stopped; it is abandoned",
        "The tool stubborn ignores its cancellation; it is abandoned",
    ]


async def test_a_partial_that_takes_too_long(
    turns: Turns, block: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Its arguments, such as a key, are neither in the log nor in the name of its thread."""

    def fetch(api_key: str) -> None:
        block()

    tool = Tool(partial(fetch, api_key="sk-secret"), name="fetch")
    with caplog.at_level(logging.DEBUG, "adapters"):
        await turns.run([("fetch", {})], [tool], tool_timeout_s=0.05)

    assert "sk-secret" not in caplog.text + repr(tool) + " ".join(thread.name for thread in threading.enumerate())
    assert "tool fetch" in [thread.name for thread in threading.enumerate()]


async def test_a_tool_that_hangs_leaves_few_threads(turns: Turns, block: Callable[[], None]) -> None:
    """Its threads are limited; the model reads that further calls were not run, and other tools still run."""

    def hang(number: int) -> None:
        block()

    def works() -> str:
        return "fine"

    results: list[str] = []
    for _ in range(3):
        turns.messages = [{"role": "user", "content": "do it"}]
        calls: list[tuple[str, dict[str, Any]]] = [("hang", {"number": number}) for number in range(50)]
        await turns.run([*calls, ("works", {})], [hang, works], tool_timeout_s=0.2)
        results += turns.results

    assert len([thread for thread in threading.enumerate() if thread.name == "tool hang"]) == 32
    assert Counter(results) == {
        "fine": 3,
        "The tool hang timed out after 0.2 seconds; its effect is unknown.": 32,
        "The tool hang was not run: 32 other calls of it are still running": 18,
        "The tool hang was not run: 32 earlier calls of it are still running": 100,
    }


@pytest.mark.parametrize("way", ["cancelled", "closed"])
async def test_interrupting_tools_that_do_not_stop(
    turns: Turns, block: Callable[[], None], stubborn: Callable[[], Awaitable[None]], way: str
) -> None:
    """An interruption waits for no tool, and the history is complete."""
    began = asyncio.Event()

    async def begin() -> str:
        began.set()
        return "begun"

    calls: list[tuple[str, dict[str, Any]]] = [("begin", {}), ("stubborn", {}), ("block", {})]
    events = turns.begin(calls, [begin, stubborn, block])
    async with aclosing(events):
        if way == "closed":
            while not isinstance(await anext(events), ToolResult):
                pass
            started_s = time.monotonic()
            await events.aclose()
        else:
            task = asyncio.create_task(_drain(events))
            await began.wait()
            started_s = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert time.monotonic() - started_s < 5  # without a limit the stubborn one would hold it up for ever
    assert turns.results == ["begun", INTERRUPTED, INTERRUPTED]


async def _drain(events: Any) -> None:
    async for _ in events:
        pass


async def test_interrupting_while_a_tool_is_given_up(turns: Turns) -> None:
    """An interruption does not wait for the clean-up of a tool that timed out."""
    late = asyncio.Event()

    async def clears_up() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            late.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(turns.run([("clears_up", {})], [clears_up], tool_timeout_s=0.01))
    await late.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert turns.results == [INTERRUPTED]


def test_a_thread_that_outlives_the_loop(scripted_server: ScriptedServer) -> None:
    """The end of the event loop waits for no thread, and a thread that ends later causes no error."""
    release = threading.Event()
    turns = Turns(scripted_server)

    def block() -> None:
        assert release.wait(60)

    asyncio.run(turns.run([("block", {})], [block], tool_timeout_s=0.01))
    [thread] = [thread for thread in threading.enumerate() if thread.name == "tool block"]
    release.set()
    thread.join(60)

    assert not thread.is_alive()
    assert turns.results[0].startswith("The tool block timed out after 0.01 seconds")


async def test_filler(turns: Turns) -> None:
    """Slow tools are reported once per round, with the names of those that still run, before their results."""
    release = asyncio.Event()

    async def slow(number: int) -> int:
        await release.wait()
        return number

    seen: list[Any] = []
    calls: list[tuple[str, dict[str, Any]]] = [("lights_off", {"room": "hall"}), ("slow", {"number": 1})]
    calls.append(("slow", {"number": 2}))
    async with aclosing(turns.begin(calls, [slow, lights_off], filler_after_s=0.05)) as events:
        async for event in events:
            seen.append(event)
            if isinstance(event, ToolsRunning):
                release.set()

    kinds = [type(event) for event in seen if isinstance(event, ToolResult | ToolsRunning)]
    assert kinds == [ToolResult, ToolsRunning, ToolResult, ToolResult]
    [filler] = [event for event in seen if isinstance(event, ToolsRunning)]
    assert filler.names == ("slow",)
    assert 0.05 <= filler.waited_s < 60
    assert turns.results == ["done", "1", "2"]


async def test_no_filler_for_quick_tools(turns: Turns) -> None:
    """Tools that finish in time are not reported."""
    events = await turns.run([("lights_off", {"room": "hall"})] * 2, [lights_off], filler_after_s=60)

    assert [event for event in events if isinstance(event, ToolsRunning)] == []
