"""Questions as an agent asks them, to a server that answers by script: what is sent, told and learned."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import ConfigError, ContentFilterError
from adapters.factory import create_provider
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import answer, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.client.provider import LiteLLMProvider
    from adapters.config import KindName
    from adapters.testing import ScriptedServer
    from adapters.types import Json

pytest_plugins = ["adapters.testing.plugin"]

_SAID = "my secret plan"


def _provider(base_url: str) -> LiteLLMProvider:
    return create_provider("openai_compatible", model="m", base_url=base_url, api_key=KEY)


def _refusal(message: str, status: str = "400 Bad Request", **fields: Json) -> Any:
    return reply({"error": {"message": message, **fields}}, status)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("temperature is not supported by this model", id="parameter"),
        pytest.param("Unknown parameter: 'max_tokens'.", id="parameter-with-a-twin"),
        pytest.param("max_tokens is too large: at most 100 are allowed", id="limit"),
        pytest.param("System role not supported", id="messages"),
    ],
)
async def test_two_questions_that_are_refused_at_the_same_time(scripted_server: ScriptedServer, message: str) -> None:
    """Each of them is asked again, although the second refusal teaches nothing that the first one did not."""
    slowly = [0.5, *_refusal(message)]
    base_url = scripted_server.add("both", slowly, slowly, answer("Hi there"))

    async with _provider(base_url) as provider:
        responses = await asyncio.gather(provider.chat(list(ASK)), provider.chat(list(ASK)))

    assert [response.content for response in responses] == ["Hi there", "Hi there"]
    first, second, *others = scripted_server.seen["both"].bodies
    assert first == second
    assert len(others) == 2
    assert first != others[0] == others[1]


@pytest.mark.parametrize(
    ("messages", "tools", "options", "hint"),
    [
        pytest.param(None, None, {}, 'messages must be a list of messages, such as [{"role": "user"', id="nothing"),
        pytest.param(["Hi"], None, {}, 'messages must be a list of messages, such as [{"role": "user"', id="texts"),
        pytest.param(
            ASK, ["get_weather"], {}, 'tools must be a list of tools, such as [{"type": "function"', id="names"
        ),
        pytest.param(ASK, None, {"response_format": dict}, "response_format is the class dict", id="class"),
        pytest.param(
            ASK, None, {"api_base": "http://x"}, "api_base is not an option of a single request", id="api_base"
        ),
        pytest.param(ASK, None, {"timeout": 0}, "timeout must be a number of seconds above 0", id="no-time"),
    ],
)
async def test_question_that_cannot_be_meant(
    scripted_server: ScriptedServer, messages: Json, tools: Json, options: dict[str, Json], hint: str
) -> None:
    """A mistake in the call is told in each way of asking, and nothing is sent."""
    base_url = scripted_server.add("mistake", answer("Hi there"))

    async with _provider(base_url) as provider:
        with pytest.raises(ConfigError) as of_chat:
            await provider.chat(messages, tools, **options)
        with pytest.raises(ConfigError) as of_text:
            _ = [text async for text in provider.chat_stream(messages, tools, **options)]
        with pytest.raises(ConfigError) as of_events:
            _ = [event async for event in provider.stream_events(messages, tools, **options)]

    assert {str(each.value)[: len(hint)] for each in (of_chat, of_text, of_events)} == {hint}
    assert scripted_server.seen["mistake"].bodies == []


def _all_that_hangs_on(thing: object, seen: dict[int, object]) -> Iterator[str]:
    """All texts on an error: its arguments, its attributes, its causes, and what hangs on those."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    yield repr(thing)
    parts: list[object] = [*vars(thing).values()] if hasattr(thing, "__dict__") and not isinstance(thing, type) else []
    if isinstance(thing, dict):
        parts += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set):
        parts += [*thing]
    elif isinstance(thing, BaseException):
        parts += [str(thing), thing.args, thing.__cause__, thing.__context__]
    for part in parts:
        yield from _all_that_hangs_on(part, seen)


async def test_nothing_of_the_prompt_hangs_on_an_error(scripted_server: ScriptedServer) -> None:
    """What was said is on no error, on no cause, and on nothing that these hold, although the server repeats it."""
    metadata = {"flagged_input": _SAID, "raw": _SAID, "reasons": ["violence"]}
    base_url = scripted_server.add("flagged", _refusal(f"Flagged: {_SAID}", "403 Forbidden", metadata=metadata))

    async with _provider(base_url) as provider:
        with pytest.raises(ContentFilterError) as caught:
            await provider.chat([{"role": "user", "content": _SAID}], list(TOOLS))

    texts = list(_all_that_hangs_on(caught.value, {}))
    assert caught.value.__cause__ is not None
    assert [text for text in texts if _SAID in text or KEY in text] == []


@pytest.mark.parametrize("kind", ["openai_compatible", "openrouter"])
async def test_what_an_agent_gave_stays_its_own(scripted_server: ScriptedServer, kind: KindName) -> None:
    """Messages and tools are the same after they were sent: an agent keeps them for the next turn."""
    base_url = scripted_server.add("own", answer("Hi there"))
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "call_1", "name": "get_weather", "content": "12 C"},
        {"role": "assistant", "content": "It is 12 C."},
        {"role": "user", "content": "Thanks."},
    ]
    tools = list(TOOLS)
    before = copy.deepcopy((messages, tools))

    async with create_provider(kind, model="m", base_url=base_url, api_key=KEY) as provider:
        await provider.chat(messages, tools)

    assert (messages, tools) == before
    assert len(scripted_server.seen["own"].bodies[0]["messages"]) == len(messages)


async def test_a_keyword_that_only_the_server_knows(
    scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a field of the body of each request, and logged once for each provider; a misspelling is not sent."""
    own: dict[str, Any] = {"guided_choice": ["yes", "no"]}
    base_url = scripted_server.add("own", *[answer("Hi")] * 3)

    with caplog.at_level("INFO", logger="adapters.request"):
        for kind in ("openai_compatible", "openrouter"):
            async with create_provider(kind, model="m", base_url=base_url, api_key=KEY) as provider:
                for _ in range(2 if kind == "openrouter" else 1):
                    await provider.chat(list(ASK), **own)
                with pytest.raises(
                    ConfigError, match=r"^temprature is not a known option\. Did you mean temperature\?"
                ):
                    await provider.chat(list(ASK), temprature=0.2)  # type: ignore[call-arg]  # the mistake

    assert [body["guided_choice"] for body in scripted_server.seen["own"].bodies] == [["yes", "no"]] * 3
    assert [message.partition(" is ")[0] for message in caplog.messages] == [
        "openai_compatible: guided_choice",
        "openrouter: guided_choice",
    ]
