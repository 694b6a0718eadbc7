"""Tests of ``adapters.livekit``: a provider as the language model of a LiveKit agent.

LiveKit's classes are the real ones, up to a whole ``AgentSession``. The provider behind them is scripted, or a real one
with a scripted server.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents")

from livekit import agents, rtc
from livekit.agents import llm
from livekit.agents.voice.agent_session import SessionConnectOptions
from pydantic import BaseModel

from adapters.errors import (
    AllProvidersFailedError,
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    ConfigError,
    IncompleteResponseError,
    InternalServerError,
    RateLimitError,
)
from adapters.factory import create_provider
from adapters.livekit import LLM
from adapters.provider import LLMProvider
from adapters.testing.answers import SSE_HEAD, Answer, answer, call, event, http_chunk, said
from adapters.testing.server import ScriptedServer, Step
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage, ToolCall, ToolCallDone
from tests.patience import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from adapters.types import Message, StreamEvent, ToolSpec

_HI = answer("Hi.")
_CALL = ToolCall("abcDEF123", "get_weather", {"city": "Zürich"})


@llm.function_tool
async def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"12 C in {city}"


class Scripted(LLMProvider):
    """Plays one script per request: a list of texts and calls, with at most one error at its end."""

    provider_name = "scripted"
    model = "tiny"

    def __init__(
        self, *scripts: Sequence[str | ToolCall | Exception], usage: TokenUsage | None = None, plain: bool = False
    ) -> None:
        self._scripts = list(scripts)
        self._plain = plain
        self._usage = usage
        self.requests: list[tuple[list[Message], list[ToolSpec] | None, dict[str, Any]]] = []
        self.stopped = self.closed = False
        self.hangs, self.prewarmed = asyncio.Event(), asyncio.Event()

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Not used by LiveKit."""
        raise NotImplementedError

    def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Not used by LiveKit."""
        raise NotImplementedError

    async def stream_events(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[StreamEvent]:
        """Play a script."""
        self.requests.append((messages, tools, kwargs))
        try:
            for step in self._scripts.pop(0):
                if isinstance(step, Exception):
                    raise step
                if step == "…":
                    self.hangs.set()
                    await asyncio.sleep(60)
                yield TextDelta(step) if isinstance(step, str) else ToolCallDone(step)
            yield ResponseDone(LLMResponse(None, usage=self._usage))
        finally:
            self.stopped = True

    async def prewarm(self, *_: Any, **__: Any) -> None:
        """Record the call."""
        self.prewarmed.set()

    async def aclose(self) -> None:
        """Record the call."""
        self.closed = True

    def prepare_tools(self, tools: list[ToolSpec]) -> list[ToolSpec]:
        """Fail: the provider calls this, not the plug-in."""
        raise NotImplementedError

    def format_tool_call_message(self, content: str | None, tool_calls: Sequence[ToolCall]) -> Message:
        """Add fields that this provider wants back with its calls."""
        message = super().format_tool_call_message(content, tool_calls)
        if self._plain:
            return message
        message["reasoning_details"] = [{"type": "reasoning.encrypted"}]
        message["tool_calls"][0]["signature"] = "c2ln"
        return message


@pytest.fixture
async def server(litellm_is_loaded: None) -> AsyncIterator[ScriptedServer]:
    """A scripted server that plays each server of a test as a case of its own."""
    async with ScriptedServer() as running:
        yield running


def _context(text: str = "How warm is it?") -> llm.ChatContext:
    context = llm.ChatContext()
    context.add_message(role="system", content="Be brief.")
    context.add_message(role="user", content=text)
    return context


async def _chunks(provider: LLMProvider, **options: Any) -> list[llm.ChatChunk]:
    async with LLM(provider).chat(chat_ctx=_context(), **options) as stream:
        return [chunk async for chunk in stream]


def _error(kind: type[APIError], status_code: int | None = None, *, retryable: bool = False) -> APIError:
    return kind(
        "Scripted did not answer.",
        provider="scripted",
        model="tiny",
        status_code=status_code,
        retryable=retryable,
        request_id="req_1",
    )


async def test_text_calls_and_usage() -> None:
    """Each event becomes one chunk, in order, and all chunks of a response have the same id."""
    chunks = await _chunks(Scripted(["It is ", "12 C.", _CALL], usage=TokenUsage(3, 4)), tools=[get_weather])

    calls = [llm.FunctionToolCall(name="get_weather", arguments='{"city": "Zürich"}', call_id="abcDEF123")]
    assert [chunk.delta for chunk in chunks] == [
        llm.ChoiceDelta(role="assistant", content="It is "),
        llm.ChoiceDelta(role="assistant", content="12 C."),
        llm.ChoiceDelta(role="assistant", tool_calls=calls),
        None,
    ]
    assert chunks[-1].usage == llm.CompletionUsage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_cached_and_reasoning_tokens() -> None:
    """Cached and reasoning tokens are in LiveKit's usage."""
    usage = TokenUsage(30, 4, cached_tokens=24, reasoning_tokens=3)

    chunks = await _chunks(Scripted(["Hi."], usage=usage))

    assert chunks[-1].usage == llm.CompletionUsage(
        prompt_tokens=30, completion_tokens=4, prompt_cached_tokens=24, reasoning_tokens=3, total_tokens=34
    )


async def test_usage_that_the_server_did_not_report() -> None:
    """If the provider reports no usage, LiveKit gets none."""
    assert [chunk.usage for chunk in await _chunks(Scripted(["Hi."]))] == [None, None]


async def test_request_in_openai_format() -> None:
    """Messages, tools and the sampling parameters of the request reach the provider in OpenAI format."""
    provider = Scripted(["Hi."])

    await _chunks(
        provider,
        tools=[get_weather],
        tool_choice="required",
        parallel_tool_calls=False,
        extra_kwargs={"temperature": 0},
    )

    [(messages, tools, kwargs)] = provider.requests
    assert messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How warm is it?"}]
    assert tools is not None
    assert tools[0]["function"]["name"] == "get_weather"
    assert tools[0]["function"]["description"] == "Tell the weather of a city."
    assert list(tools[0]["function"]["parameters"]["properties"]) == ["city"]
    assert "strict" not in tools[0]["function"]
    assert kwargs == {"temperature": 0, "tool_choice": "required", "parallel_tool_calls": False}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="default"),
        pytest.param({"tool_choice": "none"}, id="none"),
        pytest.param({"tool_choice": "auto", "parallel_tool_calls": True}, id="auto, parallel"),
    ],
)
async def test_no_tool_options_without_tools(options: dict[str, Any]) -> None:
    """``tool_choice`` and ``parallel_tool_calls`` are left out without tools, because servers reject them then."""
    provider = Scripted(["Hi."])

    await _chunks(provider, **options)

    assert [(tools, kwargs) for _, tools, kwargs in provider.requests] == [(None, {})]


async def test_tool_choice_auto_is_not_passed_on() -> None:
    """Tool choice "auto" is not passed on, because it is the default of every provider."""
    provider = Scripted(["Hi."])

    await _chunks(provider, tools=[get_weather], tool_choice="auto")

    assert provider.requests[0][2] == {}


async def test_tool_choice_none_is_passed_on() -> None:
    """Tool choice "none" is passed on together with the tools that the history mentions."""
    provider = Scripted(["It is ", "12 C."], usage=TokenUsage(3, 4))

    chunks = await _chunks(provider, tools=[get_weather], tool_choice="none", extra_kwargs={"temperature": 0})

    assert [chunk.delta.content for chunk in chunks if chunk.delta] == ["It is ", "12 C."]
    assert chunks[-1].usage == llm.CompletionUsage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    [(_, tools, kwargs)] = provider.requests
    assert kwargs == {"temperature": 0, "tool_choice": "none"}
    assert tools


class _Weather(BaseModel):
    """A response format."""

    city: str


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        pytest.param({"tools": []}, "tools is not an option of extra_kwargs: it is an argument of chat", id="tools"),
        pytest.param(
            {"messages": []},
            "messages is not an option of extra_kwargs: it is an argument of chat (chat_ctx)",
            id="messages",
        ),
        pytest.param(
            {"response_format": _Weather},
            "response_format in extra_kwargs is the class _Weather, which is not JSON. Write it in OpenAI format",
            id="a class",
        ),
        pytest.param(
            {"temperature": 0, "stop": {"."}},
            "stop in extra_kwargs is a set, which is not JSON. Write it in OpenAI format",
            id="a set",
        ),
        pytest.param({"user": lambda: "me"}, "user in extra_kwargs is a function, which is not JSON.", id="a function"),
    ],
)
async def test_extra_kwargs_that_cannot_be_sent(extra: dict[str, Any], message: str) -> None:
    """An option that cannot be sent raises in ``chat``, before any request."""
    provider = Scripted(["Hi."])

    with pytest.raises(ConfigError) as caught:
        LLM(provider).chat(chat_ctx=_context(), extra_kwargs=extra)

    assert str(caught.value).startswith(message)
    assert provider.requests == []


async def test_provider_adds_its_fields_to_calls() -> None:
    """The provider adds its fields to the calls, and fields that LiveKit has kept for another provider stay."""
    provider, context = Scripted(["Hi."]), _context()
    extra = {"google": {"thought_signature": "Zm9v"}}
    context.insert(
        [
            llm.FunctionCall(call_id="abcDEF123", name="get_weather", arguments='{"city": "Rome"}', extra=extra),
            llm.FunctionCallOutput(call_id="abcDEF123", name="get_weather", output="20 C", is_error=False),
        ]
    )

    await LLM(provider).chat(chat_ctx=context).collect()

    function = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    call = {"id": "abcDEF123", "type": "function", "function": function, "extra_content": extra, "signature": "c2ln"}
    assert provider.requests[0][0][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call],
            "reasoning_details": [{"type": "reasoning.encrypted"}],
        },
        {"role": "tool", "tool_call_id": "abcDEF123", "content": "20 C"},
    ]


async def test_video_frame() -> None:
    """A ``VideoFrame`` is encoded and sent as a data URL."""
    provider, context = Scripted(["Red."]), _context()
    frame = rtc.VideoFrame(2, 2, rtc.VideoBufferType.RGBA, bytes([255, 0, 0, 255] * 4))
    context.add_message(role="user", content=["What is this?", llm.ImageContent(image=frame)])

    await LLM(provider).chat(chat_ctx=context).collect()

    picture, question = provider.requests[0][0][-1]["content"]
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert question == {"type": "text", "text": "What is this?"}


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        pytest.param('{"city":"Rome"}', '{"city":"Rome"}', id="written tightly"),
        pytest.param('{ "city": "Rome"\n}', '{ "city": "Rome"\n}', id="written widely"),
        pytest.param('["it was cut off"]', "{}", id="no object"),
        pytest.param('{"city": "Ro', "{}", id="cut off"),
    ],
)
async def test_arguments_of_the_history_are_kept(arguments: str, sent: str) -> None:
    """White space in arguments is kept, because a change would invalidate the server's prefix cache."""
    provider, context = Scripted(["Hi."]), _context()
    context.insert(
        [
            llm.FunctionCall(call_id="abcDEF123", name="get_weather", arguments=arguments),
            llm.FunctionCallOutput(call_id="abcDEF123", name="get_weather", output="20 C", is_error=False),
        ]
    )

    await LLM(provider).chat(chat_ctx=context).collect()

    assert provider.requests[0][0][2]["tool_calls"][0]["function"]["arguments"] == sent


@pytest.mark.parametrize(
    ("error", "expected", "status_code", "retryable"),
    [
        pytest.param(_error(APITimeoutError, retryable=True), agents.APITimeoutError, None, True, id="timeout"),
        pytest.param(
            _error(APIConnectionError, retryable=True), agents.APIConnectionError, None, True, id="no connection"
        ),
        pytest.param(_error(RateLimitError, 429, retryable=True), agents.APIStatusError, 429, True, id="429"),
        pytest.param(_error(InternalServerError, 503, retryable=True), agents.APIStatusError, 503, True, id="503"),
        pytest.param(_error(AuthenticationError, 401), agents.APIStatusError, 401, False, id="401"),
        pytest.param(_error(InternalServerError, 499), agents.APIError, None, False, id="499"),
        pytest.param(_error(APIError, 200), agents.APIError, None, False, id="error in a 200"),
        pytest.param(
            _error(IncompleteResponseError, retryable=True), agents.APIError, None, True, id="incomplete answer"
        ),
        pytest.param(
            AllProvidersFailedError([_error(RateLimitError, 429, retryable=True), _error(AuthenticationError, 401)]),
            agents.APIError,
            None,
            True,
            id="all failed, one may recover",
        ),
        pytest.param(
            AllProvidersFailedError([_error(AuthenticationError, 401)]), agents.APIError, None, False, id="all failed"
        ),
    ],
)
async def test_errors_are_converted(
    error: Exception, expected: type[Exception], status_code: int | None, retryable: bool
) -> None:
    """An error gets LiveKit's class and keeps its message, its status and whether it is retryable."""
    with pytest.raises(agents.APIError) as caught:
        await _chunks(Scripted([error]))

    assert type(caught.value) is expected
    assert caught.value.message == str(error)
    assert getattr(caught.value, "status_code", None) == status_code
    assert getattr(caught.value, "request_id", "req_1") == "req_1"
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(_error(APIConnectionError, retryable=True), id="connection"),
        pytest.param(AllProvidersFailedError([_error(APIConnectionError, retryable=True)]), id="all failed"),
    ],
)
async def test_error_after_the_first_text_is_not_retryable(error: Exception) -> None:
    """An error after some text is not retryable, or the user would hear the beginning twice."""
    with pytest.raises(agents.APIError) as caught:
        await _chunks(Scripted(["It is", error]))

    assert caught.value.retryable is False


async def test_a_stream_that_ends_early_is_an_error() -> None:
    """A provider whose stream has no ``ResponseDone`` has broken off; a text without its end is no success."""

    class Endless(Scripted):
        """A provider whose streams have no end."""

        async def stream_events(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
            """Send a text and stop."""
            yield TextDelta("It is")

    sentence = r"^scripted stopped in the middle of its answer\. Please try again\."
    with pytest.raises(agents.APIError, match=sentence) as caught:
        await _chunks(Endless(), conn_options=agents.APIConnectOptions(max_retry=0))

    assert not caught.value.retryable


async def test_message_of_a_connection_error() -> None:
    """LiveKit does not append the cause to the message."""
    with pytest.raises(agents.APIConnectionError) as caught:
        await _chunks(Scripted([_error(APIConnectionError)]))

    assert str(caught.value) == "Scripted did not answer."


async def test_config_error_is_raised_unchanged() -> None:
    """A ``ConfigError`` is raised unchanged."""
    with pytest.raises(ConfigError, match="No key"):
        await _chunks(Scripted([ConfigError("No key.")]))


@pytest.mark.parametrize(
    ("conn_options", "limits"),
    [
        pytest.param(agents.DEFAULT_API_CONNECT_OPTIONS, {}, id="default"),
        pytest.param(agents.APIConnectOptions(max_retry=3, retry_interval=0, timeout=10), {}, id="equal to it"),
        pytest.param(agents.APIConnectOptions(timeout=2), {"first_token_timeout": 2}, id="timeout"),
        pytest.param(agents.APIConnectOptions(timeout=30), {"first_token_timeout": 30}, id="longer timeout"),
        pytest.param(agents.APIConnectOptions(max_retry=0), {"max_retries": 0}, id="retries"),
    ],
)
async def test_changed_limits_are_passed_on(conn_options: agents.APIConnectOptions, limits: dict[str, Any]) -> None:
    """A changed limit reaches the provider; LiveKit's default does not, because it is too short for slow models."""
    provider = Scripted(["Hi."])

    await _chunks(provider, conn_options=conn_options)

    assert provider.requests[0][2] == limits


async def test_livekits_fallback_adapter_and_a_silent_server(server: ScriptedServer) -> None:
    """LiveKit's ``FallbackAdapter`` moves on after its ``attempt_timeout``, and the silent server got one request."""
    mute, warm = server.add("mute", ("hang",)), server.add("warm", answer("It is ", "12 C."))
    models = [LLM(create_provider("openai_compatible", model="m", base_url=url)) for url in (mute, warm)]
    adapter = llm.FallbackAdapter(list(models), attempt_timeout=0.3)
    recovered: list[Any] = []
    adapter.on("llm_availability_changed", recovered.append)
    began_s = time.monotonic()

    async with agents.AgentSession(llm=adapter) as session:
        await session.start(agents.Agent(instructions="Be brief."))
        turn: Any = await session.run(user_input="How warm is it?")
        took_s = time.monotonic() - began_s
        spoken = turn.expect.next_event().is_message(role="assistant").event().item.text_content
    for model in models:
        await model.aclose()

    assert spoken == "It is 12 C."
    assert 0.3 <= took_s < 8.0  # the provider's own patience, which two tries would exceed
    assert [(event.llm, event.available) for event in recovered] == [(models[0], False)]
    chats = [path for path in server.seen["mute"].paths if path.endswith("/chat/completions")]
    assert len(chats) <= 2  # the second is LiveKit's own, in the background: it looks whether the server is back
    assert len(server.seen["warm"].bodies) - server.seen["warm"].paths.count("/warm/v1/models") == 1


async def test_connect_options_of_a_session(server: ScriptedServer) -> None:
    """The timeout and the retries of an ``AgentSession`` apply to each of its turns."""
    url = server.add("mute", ("hang",))
    model = LLM(create_provider("openai_compatible", model="m", base_url=url, retry={"initial_wait_s": 0}))
    limits = agents.APIConnectOptions(timeout=0.2, max_retry=1)
    options = SessionConnectOptions(llm_conn_options=limits)
    failed: list[llm.LLMError] = []
    model.on("error", failed.append)

    async with agents.AgentSession(llm=model, conn_options=options) as session:
        await session.start(agents.Agent(instructions="Be brief."))
        with pytest.raises(agents.APITimeoutError, match=r"did not answer in time \(0.2 seconds\)"):
            await session.run(user_input="How warm is it?")
    await model.aclose()

    assert len(failed) == 1
    assert len([path for path in server.seen["mute"].paths if path.endswith("/chat/completions")]) == 2


async def test_only_the_provider_retries() -> None:
    """LiveKit does not retry; its number of retries is passed to the provider."""
    provider = Scripted([_error(APIConnectionError, retryable=True)])

    with pytest.raises(agents.APIConnectionError):
        await _chunks(provider, conn_options=agents.APIConnectOptions(max_retry=5, retry_interval=0))

    assert provider.requests[0][2] == {"max_retries": 5}

    assert len(provider.requests) == 1


async def test_interruption_closes_the_request() -> None:
    """Closing LiveKit's stream closes the provider's stream at once."""
    provider = Scripted(["It is", "…"])

    async with LLM(provider).chat(chat_ctx=_context()) as stream:
        await anext(stream)
        await provider.hangs.wait()
        assert not provider.stopped

    assert provider.stopped


async def test_usage_of_an_interrupted_response(server: ScriptedServer) -> None:
    """If the server sends usage with each piece, LiveKit's metrics have it for an interrupted response."""
    piece = event({**said("Once upon a time "), "usage": {"prompt_tokens": 9, "completion_tokens": 5}})
    model = await _warm(server, "endless", (SSE_HEAD, http_chunk(piece), "hang"))
    metrics: list[Any] = []
    model.on("metrics_collected", metrics.append)

    async with model.chat(chat_ctx=_context()) as stream:
        await anext(stream)
    await model.aclose()

    assert [(metric.prompt_tokens, metric.completion_tokens) for metric in metrics] == [(9, 5)]


async def test_prewarm_and_close() -> None:
    """LiveKit prewarms the provider in the background, and closing the model closes the provider."""
    provider = Scripted()
    model = LLM(provider)

    model.prewarm()
    await asyncio.wait_for(provider.prewarmed.wait(), timeout=60)
    await model.aclose()

    assert provider.closed


async def test_prefill_when_a_session_starts_and_when_the_agent_changes(server: ScriptedServer) -> None:
    """The provider gets instructions, history and tools of the agent as its first request will have them."""
    model = LLM(create_provider("openai_compatible", model="m", base_url=server.add("ahead", (SSE_HEAD, "hang"))))

    async with agents.AgentSession(llm=model) as session:
        await session.start(_Guide())
        await until(lambda: len(_chats(server, "ahead")) == 1)
        session.update_agent(agents.Agent(instructions="Be long."))
        await until(lambda: len(_chats(server, "ahead")) == 2)
        assert server.seen["ahead"].gone_at, "the prefill of the former agent was cancelled"
    await model.aclose()

    assert [body["messages"][0]["content"] for body in _chats(server, "ahead")] == ["Be brief.", "Be long."]


async def test_prefill_has_the_fields_of_the_question(server: ScriptedServer) -> None:
    """All but the user's words and the limit on tokens are equal."""
    model = LLM(create_provider("openai_compatible", model="m", base_url=server.add("equal", answer("Hello."))))
    async with agents.AgentSession(llm=model) as session:
        await session.start(_Guide())
        await until(lambda: _chats(server, "equal"))
        await session.run(user_input="Good evening!")
    await model.aclose()

    ahead, question = _chats(server, "equal")
    assert (ahead["messages"].pop()["content"], question["messages"].pop()["content"]) == (".", "Good evening!")
    assert (ahead.pop("max_tokens"), question.pop("max_tokens")) == (1, 4096)
    assert json.dumps(ahead) == json.dumps(question)
    assert ahead["tools"]


async def test_metrics() -> None:
    """LiveKit's metrics have the provider's name and model."""
    model = LLM(Scripted(["Hi."], usage=TokenUsage(3, 4)))
    metrics: list[Any] = []
    model.on("metrics_collected", metrics.append)

    async with model.chat(chat_ctx=_context()) as stream:
        assert [chunk async for chunk in stream]

    assert (model.provider, model.model, model.label) == ("scripted", "tiny", "adapters.livekit.LLM")
    assert [(metric.prompt_tokens, metric.completion_tokens) for metric in metrics] == [(3, 4)]
    assert metrics[0].metadata.model_provider == "scripted"


class _Guide(agents.Agent):
    """An agent with one tool."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.ran_with: list[str] = []

    @llm.function_tool
    async def get_weather(self, city: str = "here") -> str:
        """Tell the weather of a city."""
        self.ran_with.append(city)
        return f"12 C in {city}"


_COUNT = {
    "prompt_tokens": 30,
    "completion_tokens": 4,
    "total_tokens": 34,
    "prompt_tokens_details": {"cached_tokens": 24},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


async def test_metrics_of_a_session(server: ScriptedServer) -> None:
    """The metrics of a session have the server's response id, cached tokens and reasoning tokens."""
    step = answer("It is ", "12 C.", usage=_COUNT)
    model = await _warm(server, "counted", step)
    metrics: list[Any] = []
    model.on("metrics_collected", metrics.append)

    async with agents.AgentSession(llm=model) as session:
        await session.start(agents.Agent(instructions="Be brief."))
        await session.run(user_input="How warm is it?")
        spent: list[Any] = list(session.usage.model_usage)
    async with model.chat(chat_ctx=_context()) as stream:
        chunks = [chunk async for chunk in stream]
    await model.aclose()

    [of_session, _] = metrics
    assert (of_session.prompt_tokens, of_session.prompt_cached_tokens, of_session.completion_tokens) == (30, 24, 4)
    assert {of_session.request_id} == {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    assert [(used.type, used.input_tokens, used.input_cached_tokens) for used in spent] == [("llm_usage", 30, 24)]


async def _warm(server: ScriptedServer, name: str, *steps: Step, **options: Any) -> LLM:
    """Return a model that is warm already, so that closing it interrupts no import of LiteLLM."""
    provider = create_provider("openai_compatible", model="m", base_url=server.add(name, *steps), prefill=False)
    await provider.prewarm()
    server.add(name, *steps)  # the list of models took the first step
    return LLM(provider, **options)


def _chats(server: ScriptedServer, name: str) -> list[dict[str, Any]]:
    """Return the chat requests that a server got; a prewarm request is none."""
    return [body for body in server.seen[name].bodies if "messages" in body]


class _Reporter(agents.Agent):
    """An agent that uses ``response_format``."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    async def llm_node(self, chat_ctx: Any, tools: Any, model_settings: Any) -> Any:  # noqa: ARG002 - LiveKit's names
        """Do what LiveKit's own node does, with a response format."""
        model: Any = self.session.llm
        async with model.chat(chat_ctx=chat_ctx, tools=tools, response_format=_Weather) as stream:
            async for chunk in stream:
                yield chunk


async def _reported(server: ScriptedServer, *pieces: str) -> tuple[Any, dict[str, Any]]:
    """Run a session with a response format; return its text or error, and the request body."""
    model = await _warm(server, "formed", answer(*pieces))
    failed: list[llm.LLMError] = []
    model.on("error", failed.append)

    async with agents.AgentSession(llm=model) as session:
        await session.start(_Reporter())
        try:
            turn: Any = await session.run(user_input="How warm is it?")
        except agents.APIError as error:
            outcome: Any = error
        else:
            outcome = turn.expect.next_event().is_message(role="assistant").event().item.text_content
    await model.aclose()
    assert [error.error for error in failed] == ([outcome] if failed else [])
    [body] = _chats(server, "formed")
    return outcome, body


async def test_session_with_a_response_format(server: ScriptedServer) -> None:
    """The server gets the schema of the class, and the agent gets the text."""
    text, body = await _reported(server, '{"city": ', '"Oslo"}')

    assert _Weather.model_validate_json(text) == _Weather(city="Oslo")
    assert body["response_format"]["type"] == "json_schema"
    schema = body["response_format"]["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["city"], False)


async def test_session_and_a_response_that_does_not_match(server: ScriptedServer) -> None:
    """A response that does not match is an error that LiveKit does not retry."""
    error, _ = await _reported(server, "It is ", "12 C.")

    assert isinstance(error, agents.APIError)
    assert not error.retryable
    assert "does not match response_format" in str(error)


@pytest.mark.parametrize("strict", [False, True])
async def test_strict_tool_schema(server: ScriptedServer, *, strict: bool) -> None:
    """In strict schemas objects are closed and all arguments required; otherwise the schema is sent unchanged."""
    model = await _warm(server, "strict", answer("Hi."), strict_tool_schema=strict)

    async with agents.AgentSession(llm=model) as session:
        await session.start(_Guide())
        await session.run(user_input="How warm is it?")
    await model.aclose()

    [body] = _chats(server, "strict")
    [function] = [tool["function"] for tool in body["tools"]]
    parameters = function["parameters"]
    assert function.get("strict", False) is strict
    assert (parameters.get("required"), parameters.get("additionalProperties")) == (
        (["city"], False) if strict else (None, None)
    )


async def test_turn_of_a_session() -> None:
    """A session runs the tool and speaks the response; the second request has the whole history."""
    provider, agent = Scripted(["Let me see.", _CALL], ["It is 12 C."]), _Guide()

    async with agents.AgentSession(llm=LLM(provider)) as session:
        await session.start(agent)
        turn: Any = await session.run(user_input="How warm is it?")

    assert agent.ran_with == ["Zürich"]
    turn.expect.next_event().is_message(role="assistant")
    turn.expect.next_event().is_function_call(name="get_weather")
    turn.expect.next_event().is_function_call_output(output="12 C in Zürich")
    turn.expect.next_event().is_message(role="assistant")
    history = provider.requests[1][0]
    assert [message["role"] for message in history] == ["system", "user", "assistant", "tool"]
    assert history[2]["content"] == "Let me see."


async def test_call_with_invalid_arguments() -> None:
    """LiveKit does not run a call whose arguments could not be parsed, and sends the model the reason."""
    broken = ToolCall("abcDEF123", "get_weather", {}, error='arguments were cut off: {"city": "Zü')
    provider, agent = Scripted([broken], ["Sorry."]), _Guide()

    async with agents.AgentSession(llm=LLM(provider)) as session:
        await session.start(agent)
        await session.run(user_input="How warm is it?")

    assert agent.ran_with == []
    result = provider.requests[1][0][-1]
    assert result["role"] == "tool"
    assert "cut off" in result["content"]


def _calls_with_fields(person: str, *, calls: int = 1) -> Answer:
    """Script a response whose calls have ids that repeat in every conversation, and provider fields."""
    signed = {"google": {"thought_signature": person}, "other": person}
    made = [
        call("get_weather", '{"city": "Oslo"}', f"functions.get_weather:{number}", extra_content=signed)
        for number in range(calls)
    ]
    return answer(calls=made, reasoning_content=f"{person} has a secret.")


def _sent_fields(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return reasoning and signatures of each message with calls."""
    return [
        (message.get("reasoning_content"), *(made.get("extra_content") for made in message["tool_calls"]))
        for message in body["messages"]
        if "tool_calls" in message
    ]


def _fields_of(person: str) -> tuple[Any, ...]:
    return (f"{person} has a secret.", {"google": {"thought_signature": person}, "other": person})


async def _call_tools(model: LLM, context: llm.ChatContext) -> list[llm.FunctionToolCall]:
    """Send one request, run its calls and write both into the context, as LiveKit does."""
    response = await model.chat(chat_ctx=context, tools=[get_weather]).collect()
    for tool_call in response.tool_calls:
        result = await llm.execute_function_call(tool_call, llm.ToolContext([get_weather]))
        assert result.fnc_call_out is not None
        context.insert([result.fnc_call, result.fnc_call_out])
    return response.tool_calls


async def test_two_conversations_on_one_model(server: ScriptedServer) -> None:
    """Two conversations with equal calls, and 500 other calls in between, each send their own fields back."""
    others = [_calls_with_fields(f"caller {number}", calls=50) for number in range(10)]
    model = await _warm(server, "state", _calls_with_fields("Anna"), _calls_with_fields("Bob"), *others, _HI)
    anna, bob = _context(), _context()
    await _call_tools(model, anna)
    await _call_tools(model, bob)
    for _ in others:
        assert len(await _call_tools(model, _context())) == 50

    await model.chat(chat_ctx=bob).collect()
    await model.chat(chat_ctx=anna).collect()
    await model.aclose()

    for_bob, for_anna = _chats(server, "state")[-2:]
    assert _sent_fields(for_bob) == [_fields_of("Bob")]
    assert _sent_fields(for_anna) == [_fields_of("Anna")]


async def test_stored_context_and_another_model(server: ScriptedServer) -> None:
    """Provider fields are in the chat context, so they survive JSON and a handoff."""
    model, another = await _warm(server, "first", _calls_with_fields("Anna")), await _warm(server, "second", _HI)
    context = _context()
    [tool_call] = await _call_tools(model, context)
    restored = llm.ChatContext.from_dict(json.loads(json.dumps(context.to_dict())))

    await another.chat(chat_ctx=restored).collect()
    await model.aclose()
    await another.aclose()

    assert _sent_fields(_chats(server, "second")[0]) == [_fields_of("Anna")]
    assert tool_call.extra is not None
    assert tool_call.extra["google"] == {"thought_signature": "Anna"}  # where LiveKit's own plug-ins look for it
    assert tool_call.extra.keys() == {"google", "adapters"}


async def test_session_sends_provider_fields_back() -> None:
    """Provider fields pass through LiveKit's own tool loop into the next request."""
    fields = {"message": {"reasoning": "Hm."}, "call": {"signature": "s"}}
    thoughtful = ToolCall("functions.get_weather:0", "get_weather", {"city": "Zürich"}, provider_fields=fields)
    provider = Scripted([thoughtful], ["It is 12 C."], plain=True)

    async with agents.AgentSession(llm=LLM(provider)) as session:
        await session.start(_Guide())
        await session.run(user_input="How warm is it?")

    message = provider.requests[1][0][2]
    assert (message["reasoning"], message["tool_calls"][0]["signature"]) == ("Hm.", "s")


async def test_ids_that_repeat_in_a_conversation(server: ScriptedServer) -> None:
    """A second call with the same id gets a new id, because LiveKit keeps only the latest call with an id."""
    model = await _warm(server, "again", _calls_with_fields("first"), _calls_with_fields("second"), _HI)
    context = _context()
    [first] = await _call_tools(model, context)
    [second] = await _call_tools(model, context)

    await model.chat(chat_ctx=context).collect()
    await model.aclose()

    assert first.call_id == "functions.get_weather:0"
    assert second.call_id != first.call_id
    assert _sent_fields(_chats(server, "again")[-1]) == [_fields_of("first"), _fields_of("second")]


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("x", id="no object"),
        pytest.param({"message": "x", "call": ["x"], "function": None}, id="no objects inside"),
        pytest.param({"message": {"role": "user", "content": "x"}, "call": {"id": "x"}}, id="fields of ours"),
    ],
)
async def test_stored_extra_that_is_invalid(stored: Any) -> None:
    """A stored context may hold anything in ``extra``; what is not a provider field is not sent."""
    provider, context = Scripted(["Hi."], plain=True), _context()
    made = llm.FunctionCall(call_id="abcDEF123", name="get_weather", arguments="{}", extra={"adapters": stored})
    context.insert([made, llm.FunctionCallOutput(call_id=made.call_id, output="20 C", is_error=False)])

    await LLM(provider).chat(chat_ctx=context).collect()

    function = {"name": "get_weather", "arguments": "{}"}
    assert provider.requests[0][0][2] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "abcDEF123", "type": "function", "function": function}],
    }


@pytest.mark.parametrize("allowed", [True, False])
async def test_silent_turn(server: ScriptedServer, *, allowed: bool) -> None:
    """With ``allow_silence`` an empty response is no error and is not retried."""
    model = await _warm(server, "silent", answer(), allow_silence=allowed)
    failed: list[llm.LLMError] = []
    metrics: list[Any] = []
    model.on("error", failed.append)
    model.on("metrics_collected", metrics.append)

    async with agents.AgentSession(llm=model) as session:
        await session.start(agents.Agent(instructions="Be brief."))
        if allowed:
            turn: Any = await session.run(user_input="Thank you.")
            turn.expect.no_more_events()
        else:
            with pytest.raises(agents.APIError, match="sent an empty answer"):
                await session.run(user_input="Thank you.")
    await model.aclose()

    assert len(_chats(server, "silent")) == (1 if allowed else 3)
    assert (len(failed), [metric.completion_tokens for metric in metrics]) == ((0, [3]) if allowed else (1, []))


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LiveKit the import fails and names the command that installs it."""
    monkeypatch.delitem(sys.modules, "adapters.livekit")
    monkeypatch.setitem(sys.modules, "livekit", None)

    with pytest.raises(ImportError, match=r"Install it with: pip install -e '.*\[livekit\]'"):
        importlib.import_module("adapters.livekit")
