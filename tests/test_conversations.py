"""Several conversations on one provider: what goes back with a call is what came with it, never another's.

vLLM, SGLang and Kimi use the id ``functions.get_weather:0`` in every conversation, so an id says nothing about whose
call it is. Each test reads the requests that reached the server.
"""

from __future__ import annotations

import copy
import json
import pickle
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from adapters import FallbackProvider, ToolCall, ToolCallDone, create_provider, run_turn
from adapters.testing.answers import DONE, SSE_END, SSE_HEAD, STOP, answer, call, event, http_chunk, reply, said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from adapters import LLMProvider
    from adapters.testing import ScriptedServer, Step
    from adapters.types import Message, ToolSpec

pytest_plugins = ["adapters.testing.plugin"]

COUNTED_ID = "functions.get_weather:0"
ANSWERS_OF_OTHERS, CALLS_OF_OTHERS = 10, 50
TOOLS: list[ToolSpec] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def thoughtful(person: str, *, calls: int = 1) -> Step:
    """Calls with a thought of their own: beside the message, beside each call and inside its function."""
    made = []
    for number in range(calls):
        extra = {"google": {"signature": person}}
        one = call("get_weather", '{"city": "Oslo"}', f"functions.get_weather:{number}", extra_content=extra)
        one["function"]["mark"] = person
        made.append(one)
    return answer(calls=made, reasoning_content=f"{person} has a secret.")


OTHERS = [thoughtful(f"caller {number}", calls=CALLS_OF_OTHERS) for number in range(ANSWERS_OF_OTHERS)]


def question(person: str) -> list[Message]:
    """The beginning of a conversation; all begin alike but for the person's name."""
    return [{"role": "user", "content": f"It is {person}. How warm is it in Oslo?"}]


def assert_sent_back(message: Message, person: str, arguments: str = '{"city": "Oslo"}') -> None:
    """The assistant message holds what came with this person's call, and its call is as it was made."""
    assert message["reasoning_content"] == f"{person} has a secret."
    function = {"name": "get_weather", "arguments": arguments, "mark": person}
    extra = {"google": {"signature": person}}
    assert message["tool_calls"] == [
        {"id": COUNTED_ID, "type": "function", "function": function, "extra_content": extra}
    ]


@pytest.fixture
async def open_provider(scripted_server: ScriptedServer) -> AsyncIterator[Callable[..., LLMProvider]]:
    """Opens a provider, or a group of one, that talks to these steps."""
    async with AsyncExitStack() as stack:

        def make(way: str, *steps: Step, case: str = "state") -> LLMProvider:
            url = scripted_server.add(case, *steps)
            provider: LLMProvider = create_provider("openai_compatible", model="m", base_url=url, retry={"attempts": 1})
            if way == "group":
                provider = FallbackProvider([provider])
            stack.push_async_callback(provider.aclose)
            return provider

        yield make


EVERY_PROVIDER = pytest.mark.parametrize("way", ["provider", "group"])


async def ask_for_others(provider: LLMProvider) -> None:
    """Have 500 calls made in other conversations."""
    for number in range(ANSWERS_OF_OTHERS):
        response = await provider.chat(question(f"caller {number}"), TOOLS)
        assert len(response.tool_calls) == CALLS_OF_OTHERS


async def calls_of_chat(provider: LLMProvider, messages: list[Message]) -> list[ToolCall]:
    """Ask as CAAL does."""
    return (await provider.chat(messages=messages, tools=TOOLS)).tool_calls


async def calls_of_events(provider: LLMProvider, messages: list[Message]) -> list[ToolCall]:
    """Ask for events."""
    events = provider.stream_events(messages, TOOLS)
    return [event.tool_call async for event in events if isinstance(event, ToolCallDone)]


def written(provider: LLMProvider, calls: list[ToolCall]) -> list[Message]:
    """The messages of calls and results, as an agent has them written that keeps our values."""
    results = [provider.format_tool_result("12 C", tool_call.id, tool_call.name) for tool_call in calls]
    return [provider.format_tool_call_message(None, calls), *results]


@EVERY_PROVIDER
@pytest.mark.parametrize("ask", [calls_of_chat, calls_of_events], ids=["chat", "stream_events"])
async def test_fields_travel_with_the_values(
    way: str, ask: Any, open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """Two conversations with equal calls and 500 calls of others in between each get their own fields back."""
    provider = open_provider(way, thoughtful("Anna"), thoughtful("Bob"), *OTHERS, answer("12 C."))
    anna, bob = question("Anna"), question("Bob")
    calls_for_anna = await ask(provider, anna)
    calls_for_bob = await ask(provider, bob)
    await ask_for_others(provider)
    anna += written(provider, calls_for_anna)
    bob += written(provider, calls_for_bob)

    await provider.chat(bob, TOOLS)
    await provider.chat(anna, TOOLS)

    for_bob, for_anna = scripted_server.seen["state"].bodies[-2:]
    assert_sent_back(for_bob["messages"][1], "Bob")
    assert_sent_back(for_anna["messages"][1], "Anna")


@EVERY_PROVIDER
async def test_fields_travel_through_a_turn(
    way: str, open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """A turn that waits for its tool while others call sends back what came with its own call."""
    provider = open_provider(way, thoughtful("Anna"), thoughtful("Bob"), *OTHERS, answer("12 C."))
    busy = False

    async def get_weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Name of the city.
        """
        nonlocal busy
        if not busy:
            busy = True
            async for _ in run_turn(provider, question("Bob"), [get_weather]):
                pass
        else:
            await ask_for_others(provider)
        return f"12 C in {city}"

    async for _ in run_turn(provider, question("Anna"), [get_weather], tool_timeout_s=60):
        pass

    for_bob, for_anna = scripted_server.seen["state"].bodies[-2:]
    assert_sent_back(for_bob["messages"][1], "Bob")
    assert_sent_back(for_anna["messages"][1], "Anna")


async def test_fields_travel_to_another_provider(
    open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """When another provider of a group goes on, it gets what came with this call, and not what it remembers."""
    home = open_provider("provider", thoughtful("Anna"), reply({"error": "down"}, "503 Down"), case="home")
    away = open_provider("provider", thoughtful("Bob"), answer("12 C."), case="away")
    group, anna = FallbackProvider([home, away]), question("Anna")
    calls = await calls_of_chat(group, anna)
    await calls_of_chat(away, question("Bob"))
    anna += written(group, calls)

    await group.chat(anna, TOOLS)

    assert_sent_back(scripted_server.seen["away"].bodies[-1]["messages"][1], "Anna")


async def test_a_call_without_fields_gets_none(
    open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """A call that came alone goes back alone, also if an equal one of another conversation came with a thought."""
    alone = answer(calls=[call("get_weather", '{"city": "Oslo"}', COUNTED_ID)])
    provider = open_provider("provider", alone, thoughtful("Bob"), answer("12 C."))
    anna = question("the same")
    calls = await calls_of_chat(provider, anna)
    await calls_of_chat(provider, question("the same"))
    anna += written(provider, calls)

    await provider.chat(anna, TOOLS)

    assert anna[1].keys() == {"role", "content", "tool_calls"}
    assert scripted_server.seen["state"].bodies[-1]["messages"] == anna


async def test_fields_of_a_message_ride_on_its_first_call(open_provider: Callable[..., LLMProvider]) -> None:
    """What belongs to the whole message is kept once; calls are equal whatever came with them."""
    pair = [call("get_weather", '{"city": "Oslo"}', "a"), call("get_weather", '{"city": "Rome"}', "b", signature="s")]
    provider = open_provider("provider", answer(calls=pair, reasoning="Two cities."))

    response = await provider.chat(question("Anna"), TOOLS)

    first, second = response.tool_calls
    assert first.provider_fields == {"message": {"reasoning": "Two cities."}}
    assert second.provider_fields == {"call": {"signature": "s"}}
    assert [first, second] == [
        ToolCall("a", "get_weather", {"city": "Oslo"}),
        ToolCall("b", "get_weather", {"city": "Rome"}),
    ]
    assert "Two cities" not in repr(first)


@pytest.mark.parametrize(
    "copied",
    [
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda value: pickle.loads(pickle.dumps(value)), id="pickle"),  # noqa: S301 - our own bytes
        pytest.param(
            lambda value: ToolCall(
                value.id, value.name, value.arguments, provider_fields=json.loads(json.dumps(value.provider_fields))
            ),
            id="json",
        ),
    ],
)
async def test_fields_survive_storage(
    copied: Callable[[ToolCall], ToolCall],
    open_provider: Callable[..., LLMProvider],
    scripted_server: ScriptedServer,
) -> None:
    """A call that was stored and read by another process still has what must go back with it."""
    provider = open_provider("provider", thoughtful("Anna"), case="first")
    calls = await calls_of_chat(provider, question("Anna"))
    another = open_provider("provider", answer("12 C."))

    await another.chat([*question("Anna"), *written(another, [copied(tool_call) for tool_call in calls])], TOOLS)

    assert_sent_back(scripted_server.seen["state"].bodies[-1]["messages"][1], "Anna")


def written_by_hand(calls: list[ToolCall], arguments: str = '{"city": "Oslo"}') -> list[Message]:
    """The messages of calls and results as an agent writes them that keeps id, name and arguments alone."""
    plain = [
        {"id": made.id, "type": "function", "function": {"name": made.name, "arguments": arguments}} for made in calls
    ]
    results = [{"role": "tool", "tool_call_id": made.id, "name": made.name, "content": "12 C"} for made in calls]
    return [{"role": "assistant", "content": None, "tool_calls": plain}, *results]


@EVERY_PROVIDER
async def test_plain_messages_get_their_fields_from_memory(
    way: str, open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """A provider remembers what came with a call for an agent that writes its messages itself."""
    provider = open_provider(way, thoughtful("Anna"), thoughtful("Bob"), *OTHERS, answer("12 C."))
    anna, bob = question("Anna"), question("Bob")
    anna += written_by_hand(await calls_of_chat(provider, anna), '{ "city":"Oslo" }')
    bob += written_by_hand(await calls_of_chat(provider, bob), '{ "city":"Oslo" }')
    await ask_for_others(provider)

    await provider.chat(bob, TOOLS)
    await provider.chat(anna, TOOLS)

    for_bob, for_anna = scripted_server.seen["state"].bodies[-2:]
    assert_sent_back(for_bob["messages"][1], "Bob", '{ "city":"Oslo" }')
    assert_sent_back(for_anna["messages"][1], "Anna", '{ "city":"Oslo" }')


@EVERY_PROVIDER
async def test_memory_attaches_nothing_that_is_ambiguous(
    way: str, open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """Two conversations that are equal word for word cannot be told apart, so neither gets a thought."""
    provider = open_provider(way, thoughtful("Anna"), thoughtful("Bob"), answer("12 C."))
    anna, bob = question("the same"), question("the same")
    anna += written_by_hand(await calls_of_chat(provider, anna))
    bob += written_by_hand(await calls_of_chat(provider, bob))

    await provider.chat(anna, TOOLS)

    assert scripted_server.seen["state"].bodies[-1]["messages"] == anna


async def test_memory_knows_only_its_own_conversation(
    open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """A call that another provider made gets nothing from one that remembers an equal call of another conversation."""
    home = open_provider("provider", thoughtful("Anna"), reply({"error": "down"}, "503 Down"), case="home")
    away = open_provider("provider", thoughtful("Bob"), answer("12 C."), case="away")
    group, anna, bob = FallbackProvider([home, away]), question("Anna"), question("Bob")
    anna += written_by_hand(await calls_of_chat(group, anna))
    bob += written_by_hand(await calls_of_chat(away, bob))

    await group.chat(anna, TOOLS)

    assert scripted_server.seen["away"].bodies[-1]["messages"] == anna


async def test_a_stray_closing_mark_delays_no_other_answer(open_provider: Callable[..., LLMProvider]) -> None:
    """One answer with a ``</think>`` that was never opened leaves the next one its pieces."""
    events = [event(each) for each in (said("One "), said("two."), STOP)]
    paused = (SSE_HEAD, http_chunk(events[0]), 0.1, http_chunk(events[1] + events[2] + DONE), SSE_END)
    provider = open_provider("provider", answer("Well.\n", "</think>\n\n", "Yes."), paused)

    first, second = [[text async for text in provider.chat_stream(question("Anna"))] for _ in range(2)]

    assert "".join(first).endswith("Yes.")
    assert second == ["One ", "two."]
