"""Several conversations on one provider: a call is sent back with its own provider fields and no others.

vLLM, SGLang and Kimi use the id ``functions.get_weather:0`` in every conversation, so an id does not identify a call.
Most tests compare the requests that reached the server.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import FallbackProvider, LLMProvider, ToolCall, ToolCallDone, create_provider, run_turn
from adapters.response.assembler import ResponseAssembler
from adapters.response.chunks import parse_chunk
from adapters.testing.answers import (
    DONE,
    SSE_END,
    SSE_HEAD,
    STOP,
    answer,
    call,
    completion,
    event,
    http_chunk,
    reply,
    said,
)
from adapters.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

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


def call_with_fields(person: str, *, calls: int = 1) -> Step:
    """Script a response with fields of its message, of each call and of each function."""
    made = []
    for number in range(calls):
        extra = {"google": {"signature": person}}
        one = call("get_weather", '{"city": "Oslo"}', f"functions.get_weather:{number}", extra_content=extra)
        one["function"]["mark"] = person
        made.append(one)
    return answer(calls=made, reasoning_content=f"{person} has a secret.")


OTHERS = [call_with_fields(f"caller {number}", calls=CALLS_OF_OTHERS) for number in range(ANSWERS_OF_OTHERS)]


def question(person: str) -> list[Message]:
    """Return the first message of a conversation; only the name differs."""
    return [{"role": "user", "content": f"It is {person}. How warm is it in Oslo?"}]


def assert_sent_back(message: Message, person: str, arguments: str = '{"city": "Oslo"}') -> None:
    """Check that the assistant message has the call of this person, and its fields."""
    assert message["reasoning_content"] == f"{person} has a secret."
    function = {"name": "get_weather", "arguments": arguments, "mark": person}
    extra = {"google": {"signature": person}}
    assert message["tool_calls"] == [
        {"id": COUNTED_ID, "type": "function", "function": function, "extra_content": extra}
    ]


@pytest.fixture
async def open_provider(scripted_server: ScriptedServer) -> AsyncIterator[Callable[..., LLMProvider]]:
    """Open a provider, or a group of one, whose server plays these steps."""
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
    """Make 500 calls in other conversations."""
    for number in range(ANSWERS_OF_OTHERS):
        response = await provider.chat(question(f"caller {number}"), TOOLS)
        assert len(response.tool_calls) == CALLS_OF_OTHERS


async def use_chat(provider: LLMProvider, messages: list[Message]) -> list[ToolCall]:
    """Use ``chat``, as CAAL does."""
    return (await provider.chat(messages=messages, tools=TOOLS)).tool_calls


async def use_events(provider: LLMProvider, messages: list[Message]) -> list[ToolCall]:
    """Use ``stream_events``."""
    events = provider.stream_events(messages, TOOLS)
    return [event.tool_call async for event in events if isinstance(event, ToolCallDone)]


def written(provider: LLMProvider, calls: list[ToolCall]) -> list[Message]:
    """Return the messages of calls and results, written by the provider from ``ToolCall`` values."""
    results = [provider.format_tool_result("12 C", tool_call.id, tool_call.name) for tool_call in calls]
    return [provider.format_tool_call_message(None, calls), *results]


@EVERY_PROVIDER
@pytest.mark.parametrize("ask", [use_chat, use_events], ids=["chat", "stream_events"])
async def test_fields_travel_with_the_values(
    way: str, ask: Any, open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """Two conversations with equal calls, and 500 other calls in between, each send their own fields back."""
    provider = open_provider(way, call_with_fields("Anna"), call_with_fields("Bob"), *OTHERS, answer("12 C."))
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
    """A turn whose tool waits for other turns sends the fields of its own call back."""
    provider = open_provider(way, call_with_fields("Anna"), call_with_fields("Bob"), *OTHERS, answer("12 C."))
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
    """After a failover the next provider gets the fields of this conversation, not those that it remembers."""
    home = open_provider("provider", call_with_fields("Anna"), reply({"error": "down"}, "503 Down"), case="home")
    away = open_provider("provider", call_with_fields("Bob"), answer("12 C."), case="away")
    group, anna = FallbackProvider([home, away]), question("Anna")
    calls = await use_chat(group, anna)
    await use_chat(away, question("Bob"))
    anna += written(group, calls)

    await group.chat(anna, TOOLS)

    assert_sent_back(scripted_server.seen["away"].bodies[-1]["messages"][1], "Anna")


async def test_a_call_without_fields_gets_none(
    open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """A call without fields is sent back without, even if an equal call of another conversation has some."""
    alone = answer(calls=[call("get_weather", '{"city": "Oslo"}', COUNTED_ID)])
    provider = open_provider("provider", alone, call_with_fields("Bob"), answer("12 C."))
    anna = question("the same")
    calls = await use_chat(provider, anna)
    await use_chat(provider, question("the same"))
    anna += written(provider, calls)

    await provider.chat(anna, TOOLS)

    assert anna[1].keys() == {"role", "content", "tool_calls"}
    assert scripted_server.seen["state"].bodies[-1]["messages"] == anna


async def test_fields_of_a_message_ride_on_its_first_call(open_provider: Callable[..., LLMProvider]) -> None:
    """Fields of the message are kept by the first call, and fields do not count for equality and ``repr``."""
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
    """A stored ``ToolCall`` keeps its fields."""
    provider = open_provider("provider", call_with_fields("Anna"), case="first")
    calls = await use_chat(provider, question("Anna"))
    another = open_provider("provider", answer("12 C."))

    await another.chat([*question("Anna"), *written(another, [copied(tool_call) for tool_call in calls])], TOOLS)

    assert_sent_back(scripted_server.seen["state"].bodies[-1]["messages"][1], "Anna")


async def test_half_a_character_in_a_field(
    open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """A cut emoji in a field is replaced, for it would fail this and every later request of the conversation."""
    made = call("get_weather", '{"city": "Oslo"}', COUNTED_ID, extra_content={"google": "\ud83d"})
    message = {"content": None, "tool_calls": [made], "reasoning_content": "Hm \ud83d"}
    provider = open_provider("provider", reply(completion(message, "tool_calls")), answer("12 C."))
    anna = question("Anna")
    anna += written(provider, await use_chat(provider, anna))

    response = await provider.chat(anna, TOOLS)

    sent = scripted_server.seen["state"].bodies[-1]["messages"][1]
    assert response.content == "12 C."
    assert (sent["reasoning_content"], sent["tool_calls"][0]["extra_content"]) == ("Hm \ufffd", {"google": "\ufffd"})


def written_by_hand(calls: list[ToolCall], arguments: str = '{"city": "Oslo"}') -> list[Message]:
    """Return the messages of calls and results with id, name and arguments only."""
    plain = [
        {"id": made.id, "type": "function", "function": {"name": made.name, "arguments": arguments}} for made in calls
    ]
    results = [{"role": "tool", "tool_call_id": made.id, "name": made.name, "content": "12 C"} for made in calls]
    return [{"role": "assistant", "content": None, "tool_calls": plain}, *results]


@EVERY_PROVIDER
async def test_plain_messages_get_their_fields_from_memory(
    way: str, open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """Messages without fields get them from the provider's memory."""
    provider = open_provider(way, call_with_fields("Anna"), call_with_fields("Bob"), *OTHERS, answer("12 C."))
    anna, bob = question("Anna"), question("Bob")
    anna += written_by_hand(await use_chat(provider, anna), '{ "city":"Oslo" }')
    bob += written_by_hand(await use_chat(provider, bob), '{ "city":"Oslo" }')
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
    """Two conversations with equal texts and calls cannot be distinguished, so neither gets fields."""
    provider = open_provider(way, call_with_fields("Anna"), call_with_fields("Bob"), answer("12 C."))
    anna, bob = question("the same"), question("the same")
    anna += written_by_hand(await use_chat(provider, anna))
    bob += written_by_hand(await use_chat(provider, bob))

    await provider.chat(anna, TOOLS)

    assert scripted_server.seen["state"].bodies[-1]["messages"] == anna


async def test_memory_knows_only_its_own_conversation(
    open_provider: Callable[..., LLMProvider], scripted_server: ScriptedServer
) -> None:
    """After a failover a message without fields gets none of an equal call of another conversation."""
    home = open_provider("provider", call_with_fields("Anna"), reply({"error": "down"}, "503 Down"), case="home")
    away = open_provider("provider", call_with_fields("Bob"), answer("12 C."), case="away")
    group, anna, bob = FallbackProvider([home, away]), question("Anna"), question("Bob")
    anna += written_by_hand(await use_chat(group, anna))
    bob += written_by_hand(await use_chat(away, bob))

    await group.chat(anna, TOOLS)

    assert scripted_server.seen["away"].bodies[-1]["messages"] == anna


async def test_a_stray_closing_mark_delays_no_other_answer(open_provider: Callable[..., LLMProvider]) -> None:
    """After one response with a stray ``</think>`` the next response is still streamed in pieces."""
    events = [event(each) for each in (said("One "), said("two."), STOP)]
    paused = (SSE_HEAD, http_chunk(events[0]), 0.1, http_chunk(events[1] + events[2] + DONE), SSE_END)
    provider = open_provider("provider", answer("Well.\n", "</think>\n\n", "Yes."), paused)

    first, second = [[text async for text in provider.chat_stream(question("Anna"))] for _ in range(2)]

    assert "".join(first).endswith("Yes.")
    assert second == ["One ", "two."]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_VALUES = _JSON.filter(lambda value: value is not None)
_NAMES = st.text("abcxyz_", min_size=2, max_size=6)
_FIELDS = st.dictionaries(_NAMES, _VALUES, max_size=3)


@given(st.lists(st.tuples(_FIELDS, _FIELDS), min_size=1, max_size=3), st.lists(_FIELDS, max_size=2), st.booleans())
def test_fields_survive_json(
    calls: list[tuple[dict[str, Any], dict[str, Any]]], details: list[dict[str, Any]], whole: bool
) -> None:
    """Whatever a server sends beside calls is in the message for the next request, after a round trip through JSON."""
    sent = [
        {"id": f"f:{number}", "type": "function", "function": {"name": "f", "arguments": "{}", **inner}, **beside}
        for number, (beside, inner) in enumerate(calls)
    ]
    message = {"content": "Hm.", "tool_calls": sent, **({"reasoning_details": details} if details else {})}
    assembler = ResponseAssembler(Endpoint("The server", "m"), {"f": {}}, wants_text=False, reasoning_first=False)
    assembler.feed(parse_chunk({"choices": [{"message": message, "finish_reason": "tool_calls"}]}), whole=whole)
    assembler.flush()
    response = assembler.build().response

    stored = json.loads(json.dumps([dataclasses.asdict(tool_call) for tool_call in response.tool_calls]))
    restored = [ToolCall(**fields) for fields in stored]

    formatted = LLMProvider.format_tool_call_message(None, "Hm.", restored)  # type: ignore[arg-type]  # it is not used
    assert formatted == {"role": "assistant", **message}
