"""The calls of CAAL's agent over real HTTP: an upgrade must not break the behavior that it relies on.

The node below behaves as CAAL's does and knows nothing of this library's own types of errors: it asks ``chat`` for
up to five rounds, streams the rest, tells errors apart by words in their text, speaks every other one, reads the
private ``_last_usage``, and looks for options with ``hasattr``. It does the same with one provider and with a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters import FallbackProvider, TokenUsage, create_provider, create_provider_from_settings
from adapters.testing.answers import answer, call, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters import LLMProvider, LLMResponse, ToolCall
    from adapters.testing import ScriptedServer, Step
    from adapters.types import Message, ToolSpec

pytest_plugins = ["adapters.testing.plugin"]

ASK_AGAIN_WORDS = ("tool_use_failed", "Failed to call a function")
KEY = "sk-contract-0123456789"

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
CALL = answer(calls=[call("get_weather", '{"city": "Paris"}')])
ASKED = {"role": "user", "content": "Weather in Paris?"}


class Node:
    """One conversation of the agent.

    Attributes:
        usages: What ``_last_usage`` held after each request.
        options: The options that the provider showed.
    """

    def __init__(self, provider: LLMProvider) -> None:
        self.provider = provider
        self.messages: list[Message] = [dict(ASKED)]
        self.usages: list[TokenUsage | None] = []
        self.options = {
            name: getattr(provider, name) for name in ("think", "temperature", "num_ctx") if hasattr(provider, name)
        }

    async def speak(self, tools: list[ToolSpec] | None = None) -> str:
        """Return the answer or the text of the error, which CAAL speaks."""
        try:
            return "".join([text async for text in self._answer(tools)])
        except Exception as error:  # noqa: BLE001 - CAAL speaks whatever it is
            return f"I encountered an error: {error}"

    async def _answer(self, tools: list[ToolSpec] | None) -> AsyncIterator[str]:
        called = False
        for _ in range(5 if tools else 0):
            try:
                response = await self._chat(tools)
            except Exception as error:
                if "not found" in str(error):  # the model made a tool up: go on without
                    break
                raise
            if not response.tool_calls:
                if response.content:
                    yield response.content
                    return
                break
            called = True
            self._run_tools(response)
        async for text in self.provider.chat_stream(self.messages, tools=tools if called else None):
            yield text
        self.usages.append(self.provider._last_usage)

    async def _chat(self, tools: list[ToolSpec] | None) -> LLMResponse:
        try:
            response = await self.provider.chat(messages=self.messages, tools=tools)
        except Exception as error:
            if not any(word in str(error) for word in ASK_AGAIN_WORDS):
                raise
            response = await self.provider.chat(messages=self.messages, tools=tools)
        self.usages.append(self.provider._last_usage)
        return response

    def _run_tools(self, response: LLMResponse) -> None:
        """Write the calls, then run equal calls once."""
        self.messages.append(self.provider.format_tool_call_message(response.content, response.tool_calls))
        once: dict[str, ToolCall] = {f"{tool.name}{tool.arguments}": tool for tool in reversed(response.tool_calls)}
        for tool in once.values():
            self.messages.append(
                self.provider.format_tool_result(f"21 C in {tool.arguments['city']}", tool.id, tool.name)
            )


@pytest.fixture
async def open_node(scripted_server: ScriptedServer) -> AsyncIterator[Any]:
    """Makes a node whose provider comes from CAAL's settings and talks to these steps."""
    providers: list[LLMProvider] = []

    def make(*steps: Step, **settings: Any) -> Node:
        provider = create_provider_from_settings(
            {
                "llm_provider": "openai_compatible",
                "openai_model": "small",
                "openai_base_url": scripted_server.add("contract", *steps),
                "openai_api_key": KEY,
                "temperature": 0.15,
                **settings,
            }
        )
        providers.append(provider)
        return Node(provider)

    yield make

    for provider in providers:
        await provider.aclose()


async def test_tool_turn(open_node: Any, scripted_server: ScriptedServer) -> None:
    """A call is run, its result is sent with id and name, and the text of the next ``chat`` is spoken."""
    node = open_node(CALL, answer("It is sunny.", usage={"prompt_tokens": 20, "completion_tokens": 4}))

    spoken = await node.speak(TOOLS)

    first, second = scripted_server.seen["contract"].bodies
    assert spoken == "It is sunny."
    assert node.usages == [TokenUsage(7, 3), TokenUsage(20, 4)]
    assert (first["tools"], first["tool_choice"], first["messages"]) == (TOOLS, "auto", [ASKED])
    assert second["messages"][1]["tool_calls"] == [call("get_weather", '{"city": "Paris"}')]
    assert second["messages"][2] == {
        "role": "tool",
        "tool_call_id": "call00001",
        "name": "get_weather",
        "content": "21 C in Paris",
    }


async def test_stream_after_five_rounds(open_node: Any, scripted_server: ScriptedServer) -> None:
    """After five rounds of calls the answer is streamed with calls forbidden, and has usage."""
    last = answer("It ", "is sunny.", usage={"prompt_tokens": 99, "completion_tokens": 4})
    node = open_node(*[CALL] * 5, last)

    spoken = await node.speak(TOOLS)

    body = scripted_server.seen["contract"].bodies[-1]
    assert spoken == "It is sunny."
    assert node.usages[-1] == TokenUsage(99, 4)
    assert len(node.usages) == 6
    assert (body["stream"], body["tools"], body["tool_choice"]) == (True, TOOLS, "none")


async def test_stream_without_tools(open_node: Any, scripted_server: ScriptedServer) -> None:
    """Without tools the answer is streamed by a request without tools."""
    node = open_node(answer("Hel", "lo."))

    spoken = await node.speak()

    assert spoken == "Hello."
    assert node.usages == [TokenUsage(7, 3)]
    assert {"tools", "tool_choice"} & set(scripted_server.seen["contract"].bodies[0]) == set()


async def test_usage_that_was_not_sent(open_node: Any) -> None:
    """After a response without usage, the usage of the request before is gone."""
    node = open_node(CALL, answer("Sunny.", usage=None))

    await node.speak(TOOLS)

    assert node.usages == [TokenUsage(7, 3), None]


async def test_equal_calls(open_node: Any, scripted_server: ScriptedServer) -> None:
    """The agent runs equal calls once; the server gets a result for each of them."""
    arguments = '{"city": "Paris"}'
    twins = answer(calls=[call("get_weather", arguments, "call00001"), call("get_weather", arguments, "call00002")])
    node = open_node(twins, answer("Sunny."))

    await node.speak(TOOLS)

    messages = scripted_server.seen["contract"].bodies[1]["messages"]
    called = [tool_call["id"] for tool_call in messages[1]["tool_calls"]]
    assert called == [message["tool_call_id"] for message in messages[2:]]
    assert "21 C in Paris" in [message["content"] for message in messages[2:]]


def groq_failure(**extra: object) -> dict[str, Any]:
    """Groq's words for a call that its parser could not read."""
    message = "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details."
    return {"error": {"message": message, "type": "invalid_request_error", "code": "tool_use_failed", **extra}}


async def test_failed_call_is_asked_for_again(open_node: Any, scripted_server: ScriptedServer) -> None:
    """The error of a failed call keeps the words by which the agent decides to retry."""
    failure = reply(groq_failure(failed_generation='<function=get_weather{"city": <|'), "400 Bad Request")
    node = open_node(failure, answer("Sunny."))

    spoken = await node.speak(TOOLS)

    assert spoken == "Sunny."
    assert len(scripted_server.seen["contract"].bodies) == 2


async def test_made_up_tool_is_passed_over(open_node: Any, scripted_server: ScriptedServer) -> None:
    """The error for an unknown tool keeps the words by which the agent answers without tools."""
    node = open_node(reply({"error": {"message": "Tool lookup not found"}}, "400 Bad Request"), answer("Sorry."))

    spoken = await node.speak(TOOLS)

    assert spoken == "Sorry."
    assert [body.get("stream", False) for body in scripted_server.seen["contract"].bodies] == [False, True]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(
            reply(
                {"error": {"message": "The model `small` was not found", "code": "model_not_found"}}, "404 Not Found"
            ),
            id="OpenAI's words",
        ),
        pytest.param(reply({"error": {"message": "model 'small' not found"}}, "404 Not Found"), id="Ollama's words"),
        pytest.param(reply({"detail": "Not Found"}, "404 Not Found"), id="a wrong path"),
        pytest.param(
            reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, "401 Unauthorized"),
            id="a wrong key",
        ),
        pytest.param(
            reply({"error": {"message": "Service not found in region"}}, "503 Service Unavailable", retry_after="60"),
            id="not found in another error",
        ),
    ],
)
async def test_error_is_spoken_once(open_node: Any, scripted_server: ScriptedServer, step: Step) -> None:
    """Other errors do not contain these words: no second request, a short sentence, and never the key."""
    node = open_node(step)

    spoken = await node.speak(TOOLS)

    assert spoken.startswith("I encountered an error: ")
    assert "not found" not in spoken
    assert KEY not in spoken
    assert len(spoken) < 330
    assert [body.get("stream", False) for body in scripted_server.seen["contract"].bodies] == [False]


async def test_options_that_the_agent_looks_for(open_node: Any) -> None:
    """The provider shows ``think``, ``temperature`` and ``num_ctx`` as the settings have them."""
    node = open_node(answer("Hi."))
    ollama = open_node(answer("Hi."), llm_provider="ollama", think=False, num_ctx=8192)

    assert node.options == {"think": None, "temperature": 0.15, "num_ctx": None}
    assert ollama.options == {"think": False, "temperature": 0.15, "num_ctx": 8192}


@pytest.fixture
async def open_group(scripted_server: ScriptedServer, litellm_is_loaded: None) -> AsyncIterator[Any]:
    """Makes a node whose provider comes from CAAL's settings, with another server as its fallback."""
    groups: list[LLMProvider] = []

    def make(first: list[Step], second: list[Step], **limits: float) -> Node:
        settings = {
            "llm_provider": "openai_compatible",
            "openai_model": "small",
            "openai_base_url": scripted_server.add("first", *first),
            "openai_api_key": KEY,
        }
        behind = create_provider(
            "openai_compatible",
            name="backup",
            model="large",
            base_url=scripted_server.add("second", *second),
            retry={"attempts": 1},
        )
        group = FallbackProvider([create_provider_from_settings(settings), behind], **limits)
        groups.append(group)
        return Node(group)

    yield make

    for group in groups:
        await group.aclose()


@pytest.mark.parametrize("limits", [{"first_token_s": 0.3}, {"hedge_after_s": 0.3}], ids=lambda each: next(iter(each)))
async def test_a_mute_server_costs_one_budget(
    open_group: Any, scripted_server: ScriptedServer, limits: dict[str, float]
) -> None:
    """The other server handles the whole turn: the call, the result and the text."""
    node = open_group([("hang",)], [CALL, answer("It is sunny.")], **limits)

    spoken = await node.speak(TOOLS)

    first, second = scripted_server.seen["first"], scripted_server.seen["second"]
    assert spoken == "It is sunny."
    assert node.usages == [TokenUsage(7, 3), TokenUsage(7, 3)]
    assert len(first.bodies) == (1 if "first_token_s" in limits else 2)  # the slower one is not in cooldown
    assert [body["tool_choice"] for body in second.bodies] == ["auto", "auto"]
    assert [message["role"] for message in second.bodies[1]["messages"]] == ["user", "assistant", "tool"]


async def test_a_server_that_dies_within_a_turn(open_group: Any, scripted_server: ScriptedServer) -> None:
    """The call of the first server goes to the other one with its result, and the turn succeeds."""
    node = open_group([CALL, reply({"detail": "no"}, "401 Unauthorized")], [answer("It is ", "sunny.")])

    spoken = await node.speak(TOOLS)

    [body] = scripted_server.seen["second"].bodies
    assert spoken == "It is sunny."
    assert body["messages"][1]["tool_calls"] == [call("get_weather", '{"city": "Paris"}')]
    assert body["messages"][2]["content"] == "21 C in Paris"
    assert node.provider.provider_name == "backup"


async def test_streaming_moves_on_before_the_first_word(open_group: Any) -> None:
    """Without tools the answer is streamed by the server that is reachable."""
    node = open_group([reply({"detail": "no"}, "401 Unauthorized")], [answer("Hel", "lo.")])

    assert await node.speak() == "Hello."
    assert node.usages == [TokenUsage(7, 3)]


async def test_a_failed_call_of_a_group_is_asked_for_again(open_group: Any, scripted_server: ScriptedServer) -> None:
    """If both servers could not parse a call, the error keeps the words by which the agent decides to retry."""
    failure = reply(groq_failure(failed_generation='<function=get_weather{"city": <|'), "400 Bad Request")
    node = open_group([failure, answer("Sunny.")], [failure])

    assert await node.speak(TOOLS) == "Sunny."
    assert len(scripted_server.seen["first"].bodies) == 2


async def test_when_nobody_answers_it_is_spoken_once(open_group: Any) -> None:
    """One short sentence about the last server, without a key and without words that mean something else."""
    missing = reply({"error": {"message": f"The model `large` was not found for {KEY}"}}, "404 Not Found")
    node = open_group([(0.4, "eof")], [missing], first_token_s=0.2)

    spoken = await node.speak(TOOLS)

    assert spoken.startswith("I encountered an error: No language model could answer. backup does not offer the model")
    assert "not found" not in spoken
    assert KEY not in spoken
    assert len(spoken) < 400


async def test_options_that_the_agent_looks_for_in_a_group(open_group: Any) -> None:
    """A group shows the options of the provider that responded."""
    assert open_group([answer("Hi.")], []).options == {"think": None, "temperature": 0.7, "num_ctx": None}
