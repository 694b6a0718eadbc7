"""``adapters.livekit``: a provider as the language model of a LiveKit agent.

LiveKit's classes are the real ones, up to a whole ``AgentSession``; the provider behind them is a scripted one.
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
    """Answers with one script after the other, each a list of texts, calls and at most one error at its end."""

    provider_name = "scripted"
    model = "tiny"

    def __init__(
        self, *scripts: Sequence[str | ToolCall | Exception], usage: TokenUsage | None = None, plain: bool = False
    ) -> None:
        self._scripts = list(scripts)
        self._plain = plain
        self._usage = usage
        self.asked: list[tuple[list[Message], list[ToolSpec] | None, dict[str, Any]]] = []
        self.stopped = self.closed = False
        self.hangs, self.prewarmed = asyncio.Event(), asyncio.Event()

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Not asked here."""
        raise NotImplementedError

    def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Not asked here."""
        raise NotImplementedError

    async def stream_events(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[StreamEvent]:
        """Play a script."""
        self.asked.append((messages, tools, kwargs))
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

    async def prewarm(self) -> None:
        """Note it."""
        self.prewarmed.set()

    async def aclose(self) -> None:
        """Note it."""
        self.closed = True

    def prepare_tools(self, tools: list[ToolSpec]) -> list[ToolSpec]:
        """Not asked by LiveKit's side: the provider itself does it."""
        raise NotImplementedError

    def format_tool_call_message(self, content: str | None, tool_calls: Sequence[ToolCall]) -> Message:
        """Add what this provider wants back with its calls."""
        message = super().format_tool_call_message(content, tool_calls)
        if self._plain:
            return message
        message["reasoning_details"] = [{"type": "reasoning.encrypted"}]
        message["tool_calls"][0]["signature"] = "c2ln"
        return message


@pytest.fixture
async def server(litellm_is_loaded: None) -> AsyncIterator[ScriptedServer]:
    """Plays all servers of a test, each a case of its own."""
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


async def test_text_calls_and_usage_arrive_as_chunks() -> None:
    """Each event is one chunk, in order, and all chunks of an answer have one id."""
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


async def test_tokens_that_livekit_counts_apart() -> None:
    """What was cached, and what was thought, reaches LiveKit's usage."""
    usage = TokenUsage(30, 4, cached_tokens=24, reasoning_tokens=3)

    chunks = await _chunks(Scripted(["Hi."], usage=usage))

    assert chunks[-1].usage == llm.CompletionUsage(
        prompt_tokens=30, completion_tokens=4, prompt_cached_tokens=24, reasoning_tokens=3, total_tokens=34
    )


async def test_usage_that_the_server_did_not_count_stays_unknown() -> None:
    """No usage is invented."""
    assert [chunk.usage for chunk in await _chunks(Scripted(["Hi."]))] == [None, None]


async def test_the_request_is_made_in_openai_format() -> None:
    """Messages and tools reach the provider in OpenAI format, with the sampling parameters of this request."""
    provider = Scripted(["Hi."])

    await _chunks(
        provider,
        tools=[get_weather],
        tool_choice="required",
        parallel_tool_calls=False,
        extra_kwargs={"temperature": 0},
    )

    [(messages, tools, kwargs)] = provider.asked
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
        pytest.param({}, id="nothing said"),
        pytest.param({"tool_choice": "none"}, id="none"),
        pytest.param({"tool_choice": "auto", "parallel_tool_calls": True}, id="auto, parallel"),
    ],
)
async def test_without_tools_nothing_is_said_about_them(options: dict[str, Any]) -> None:
    """Servers reject ``tool_choice`` and ``parallel_tool_calls`` in a request without tools."""
    provider = Scripted(["Hi."])

    await _chunks(provider, **options)

    assert [(tools, kwargs) for _, tools, kwargs in provider.asked] == [(None, {})]


async def test_auto_is_left_to_the_provider() -> None:
    """The default of every provider is not sent a second time."""
    provider = Scripted(["Hi."])

    await _chunks(provider, tools=[get_weather], tool_choice="auto")

    assert provider.asked[0][2] == {}


async def test_forbidden_calls_are_forbidden_by_the_provider() -> None:
    """With tool choice "none" the provider is asked for text alone, and the tools of the history go with it."""
    provider = Scripted(["It is ", "12 C."], usage=TokenUsage(3, 4))

    chunks = await _chunks(provider, tools=[get_weather], tool_choice="none", extra_kwargs={"temperature": 0})

    assert [chunk.delta.content for chunk in chunks if chunk.delta] == ["It is ", "12 C."]
    assert chunks[-1].usage == llm.CompletionUsage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    [(_, tools, kwargs)] = provider.asked
    assert kwargs == {"temperature": 0, "tool_choice": "none"}
    assert tools


class _Weather(BaseModel):
    """What an agent's author would like to get."""

    city: str


@pytest.mark.parametrize(
    ("extra", "told"),
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
async def test_extra_kwargs_that_cannot_be_sent(extra: dict[str, Any], told: str) -> None:
    """What no request can carry is refused where it was written, and nothing is asked."""
    provider = Scripted(["Hi."])

    with pytest.raises(ConfigError) as caught:
        LLM(provider).chat(chat_ctx=_context(), extra_kwargs=extra)

    assert str(caught.value).startswith(told)
    assert provider.asked == []


async def test_calls_of_the_history_get_their_extras_back() -> None:
    """The provider adds what must go with its calls, and what LiveKit kept for another provider stays."""
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
    assert provider.asked[0][0][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call],
            "reasoning_details": [{"type": "reasoning.encrypted"}],
        },
        {"role": "tool", "tool_call_id": "abcDEF123", "content": "20 C"},
    ]


async def test_a_video_frame_is_sent_as_a_picture() -> None:
    """What a camera shows needs an encoder, which the extra brings along."""
    provider, context = Scripted(["Red."]), _context()
    frame = rtc.VideoFrame(2, 2, rtc.VideoBufferType.RGBA, bytes([255, 0, 0, 255] * 4))
    context.add_message(role="user", content=["What is this?", llm.ImageContent(image=frame)])

    await LLM(provider).chat(chat_ctx=context).collect()

    picture, question = provider.asked[0][0][-1]["content"]
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
async def test_arguments_of_the_history_stay_as_they_were(arguments: str, sent: str) -> None:
    """Other white space would be another text to the server, which would then read the whole history anew."""
    provider, context = Scripted(["Hi."]), _context()
    context.insert(
        [
            llm.FunctionCall(call_id="abcDEF123", name="get_weather", arguments=arguments),
            llm.FunctionCallOutput(call_id="abcDEF123", name="get_weather", output="20 C", is_error=False),
        ]
    )

    await LLM(provider).chat(chat_ctx=context).collect()

    assert provider.asked[0][0][2]["tool_calls"][0]["function"]["arguments"] == sent


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
async def test_errors_become_livekits(
    error: Exception, expected: type[Exception], status_code: int | None, retryable: bool
) -> None:
    """An error has LiveKit's class, our words, the true status, and says whether it is worth another try."""
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
async def test_nothing_is_worth_another_try_once_it_started(error: Exception) -> None:
    """An error after some text may not be tried again: the person would hear the beginning twice."""
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

    with pytest.raises(agents.APIError, match=r"^scripted broke off its answer\. Please try again\.") as caught:
        await _chunks(Endless(), conn_options=agents.APIConnectOptions(max_retry=0))

    assert not caught.value.retryable


async def test_the_words_of_a_connection_error_can_be_spoken() -> None:
    """LiveKit adds nothing to the text of the error."""
    with pytest.raises(agents.APIConnectionError) as caught:
        await _chunks(Scripted([_error(APIConnectionError)]))

    assert str(caught.value) == "Scripted did not answer."


async def test_a_bad_configuration_is_raised_as_it_is() -> None:
    """What the user must repair is not taken for a failed request."""
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
async def test_limits_that_differ_from_livekits_default_count(
    conn_options: agents.APIConnectOptions, limits: dict[str, Any]
) -> None:
    """What the caller set reaches the provider; LiveKit's default does not, for it would tighten a slow model."""
    provider = Scripted(["Hi."])

    await _chunks(provider, conn_options=conn_options)

    assert provider.asked[0][2] == limits


async def test_a_mute_server_costs_livekits_own_fallback_one_attempt(server: ScriptedServer) -> None:
    """LiveKit's adapter moves on after its ``attempt_timeout``, and the mute server was asked once."""
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
        said = turn.expect.next_event().is_message(role="assistant").event().item.text_content
    for model in models:
        await model.aclose()

    assert said == "It is 12 C."
    assert 0.3 <= took_s < 8.0  # the provider's own patience, which two tries would exceed
    assert [(event.llm, event.available) for event in recovered] == [(models[0], False)]
    chats = [path for path in server.seen["mute"].paths if path.endswith("/chat/completions")]
    assert len(chats) <= 2  # the second is LiveKit's own, in the background: it looks whether the server is back
    assert len(server.seen["warm"].bodies) - server.seen["warm"].paths.count("/warm/v1/models") == 1


async def test_a_session_keeps_its_connect_options(server: ScriptedServer) -> None:
    """``AgentSession`` hands its options to each turn: so many tries, each of so many seconds."""
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


async def test_the_provider_alone_retries() -> None:
    """A failed request is not repeated by LiveKit: how often it may be is told to the provider."""
    provider = Scripted([_error(APIConnectionError, retryable=True)])

    with pytest.raises(agents.APIConnectionError):
        await _chunks(provider, conn_options=agents.APIConnectOptions(max_retry=5, retry_interval=0))

    assert provider.asked[0][2] == {"max_retries": 5}

    assert len(provider.asked) == 1


async def test_an_interruption_closes_the_request() -> None:
    """Closing LiveKit's stream ends the provider's at once."""
    provider = Scripted(["It is", "…"])

    async with LLM(provider).chat(chat_ctx=_context()) as stream:
        await anext(stream)
        await provider.hangs.wait()
        assert not provider.stopped

    assert provider.stopped


async def test_usage_of_an_interrupted_answer(server: ScriptedServer) -> None:
    """Where the server counts with each piece, LiveKit's metrics have the count of what was interrupted."""
    piece = event({**said("Once upon a time "), "usage": {"prompt_tokens": 9, "completion_tokens": 5}})
    model = await _warm(server, "endless", (SSE_HEAD, http_chunk(piece), "hang"))
    spent: list[Any] = []
    model.on("metrics_collected", spent.append)

    async with model.chat(chat_ctx=_context()) as stream:
        await anext(stream)
    await model.aclose()

    assert [(each.prompt_tokens, each.completion_tokens) for each in spent] == [(9, 5)]


async def test_prewarm_and_close_reach_the_provider() -> None:
    """LiveKit prewarms the provider in the background, and closing the model closes the provider."""
    provider = Scripted()
    model = LLM(provider)

    model.prewarm()
    await asyncio.wait_for(provider.prewarmed.wait(), timeout=60)
    await model.aclose()

    assert provider.closed


async def test_metrics_name_the_provider() -> None:
    """Model and provider of LiveKit's metrics are the provider's own."""
    model = LLM(Scripted(["Hi."], usage=TokenUsage(3, 4)))
    metrics: list[Any] = []
    model.on("metrics_collected", metrics.append)

    async with model.chat(chat_ctx=_context()) as stream:
        assert [chunk async for chunk in stream]

    assert (model.provider, model.model, model.label) == ("scripted", "tiny", "adapters.livekit.LLM")
    assert [(each.prompt_tokens, each.completion_tokens) for each in metrics] == [(3, 4)]
    assert metrics[0].metadata.model_provider == "scripted"


class _Guide(agents.Agent):
    """An agent with a tool that needs no arguments to run."""

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


async def test_metrics_of_a_session_are_the_servers_own(server: ScriptedServer) -> None:
    """In a session, too: the server's id of the answer, its cached tokens, its reasoning; nothing that it left out."""
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

    [each, _] = metrics
    assert (each.prompt_tokens, each.prompt_cached_tokens, each.completion_tokens) == (30, 24, 4)
    assert {each.request_id} == {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    assert [(used.type, used.input_tokens, used.input_cached_tokens) for used in spent] == [("llm_usage", 30, 24)]


async def _warm(server: ScriptedServer, name: str, *steps: Step, **options: Any) -> LLM:
    """A model that is warm before its session warms it up, so that closing it breaks off nothing of LiteLLM's."""
    provider = create_provider("openai_compatible", model="m", base_url=server.add(name, *steps))
    await provider.prewarm()
    server.add(name, *steps)  # the list of models took the first step
    return LLM(provider, **options)


def _chats(server: ScriptedServer, name: str) -> list[dict[str, Any]]:
    """The questions that a server was asked; a session also warms its model up."""
    return [body for body in server.seen[name].bodies if "messages" in body]


class _Reporter(agents.Agent):
    """An agent that asks for its answers in a form."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    async def llm_node(self, chat_ctx: Any, tools: Any, model_settings: Any) -> Any:  # noqa: ARG002 - LiveKit's names
        """Ask as LiveKit's own node does, with a form."""
        model: Any = self.session.llm
        async with model.chat(chat_ctx=chat_ctx, tools=tools, response_format=_Weather) as stream:
            async for chunk in stream:
                yield chunk


async def _reported(server: ScriptedServer, *pieces: str) -> tuple[Any, dict[str, Any]]:
    """What a session with a form makes of an answer: a text or an error; and what was sent."""
    model = await _warm(server, "formed", answer(*pieces))
    failed: list[llm.LLMError] = []
    model.on("error", failed.append)

    async with agents.AgentSession(llm=model) as session:
        await session.start(_Reporter())
        try:
            turn: Any = await session.run(user_input="How warm is it?")
        except agents.APIError as error:
            told: Any = error
        else:
            told = turn.expect.next_event().is_message(role="assistant").event().item.text_content
    await model.aclose()
    assert [each.error for each in failed] == ([told] if failed else [])
    [body] = _chats(server, "formed")
    return told, body


async def test_a_session_gets_answers_in_a_form(server: ScriptedServer) -> None:
    """``response_format`` may be a class: the server is sent its schema, and the agent gets the text."""
    told, body = await _reported(server, '{"city": ', '"Oslo"}')

    assert _Weather.model_validate_json(told) == _Weather(city="Oslo")
    assert body["response_format"]["type"] == "json_schema"
    schema = body["response_format"]["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["city"], False)


async def test_a_session_is_told_of_an_answer_in_another_form(server: ScriptedServer) -> None:
    """What was said is not said again: the error is final, and LiveKit asks no second time."""
    told, _ = await _reported(server, "It is ", "12 C.")

    assert isinstance(told, agents.APIError)
    assert not told.retryable
    assert "did not answer in the form that was asked for" in str(told)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_session_sends_strict_tools_if_asked(server: ScriptedServer, *, strict: bool) -> None:
    """Then objects are closed and all arguments are required; without, tools are sent as they were written."""
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


async def test_a_real_session_runs_a_whole_turn() -> None:
    """A LiveKit session asks, runs the tool, and speaks the answer; the history of the second request is whole."""
    provider, agent = Scripted(["Let me see.", _CALL], ["It is 12 C."]), _Guide()

    async with agents.AgentSession(llm=LLM(provider)) as session:
        await session.start(agent)
        turn: Any = await session.run(user_input="How warm is it?")

    assert agent.ran_with == ["Zürich"]
    turn.expect.next_event().is_message(role="assistant")
    turn.expect.next_event().is_function_call(name="get_weather")
    turn.expect.next_event().is_function_call_output(output="12 C in Zürich")
    turn.expect.next_event().is_message(role="assistant")
    history = provider.asked[1][0]
    assert [message["role"] for message in history] == ["system", "user", "assistant", "tool"]
    assert history[2]["content"] == "Let me see."


async def test_a_call_that_could_not_be_read_is_not_run() -> None:
    """LiveKit refuses a call whose arguments were unreadable and tells the model why."""
    broken = ToolCall("abcDEF123", "get_weather", {}, error='arguments were cut off: {"city": "Zü')
    provider, agent = Scripted([broken], ["Sorry."]), _Guide()

    async with agents.AgentSession(llm=LLM(provider)) as session:
        await session.start(agent)
        await session.run(user_input="How warm is it?")

    assert agent.ran_with == []
    result = provider.asked[1][0][-1]
    assert result["role"] == "tool"
    assert "cut off" in result["content"]


def _thoughtful(person: str, *, calls: int = 1) -> Answer:
    """Calls with ids that every conversation has, and what must go back with them."""
    signed = {"google": {"thought_signature": person}, "other": person}
    made = [
        call("get_weather", '{"city": "Oslo"}', f"functions.get_weather:{number}", extra_content=signed)
        for number in range(calls)
    ]
    return answer(calls=made, reasoning_content=f"{person} has a secret.")


def _came_back(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The thoughts and signatures of each message with calls."""
    return [
        (message.get("reasoning_content"), *(made.get("extra_content") for made in message["tool_calls"]))
        for message in body["messages"]
        if "tool_calls" in message
    ]


def _from(person: str) -> tuple[Any, ...]:
    return (f"{person} has a secret.", {"google": {"thought_signature": person}, "other": person})


async def _call_tools(model: LLM, context: llm.ChatContext) -> list[llm.FunctionToolCall]:
    """One request of a session, its calls run and written as LiveKit does both."""
    response = await model.chat(chat_ctx=context, tools=[get_weather]).collect()
    for tool_call in response.tool_calls:
        result = await llm.execute_function_call(tool_call, llm.ToolContext([get_weather]))
        assert result.fnc_call_out is not None
        context.insert([result.fnc_call, result.fnc_call_out])
    return response.tool_calls


async def test_conversations_on_one_model_keep_their_state_apart(server: ScriptedServer) -> None:
    """Two conversations with equal calls, and 500 calls of others in between: each gets its own thought back."""
    others = [_thoughtful(f"caller {number}", calls=50) for number in range(10)]
    model = await _warm(server, "state", _thoughtful("Anna"), _thoughtful("Bob"), *others, _HI)
    anna, bob = _context(), _context()
    await _call_tools(model, anna)
    await _call_tools(model, bob)
    for _ in others:
        assert len(await _call_tools(model, _context())) == 50

    await model.chat(chat_ctx=bob).collect()
    await model.chat(chat_ctx=anna).collect()
    await model.aclose()

    for_bob, for_anna = _chats(server, "state")[-2:]
    assert _came_back(for_bob) == [_from("Bob")]
    assert _came_back(for_anna) == [_from("Anna")]


async def test_a_stored_conversation_goes_on_with_another_model(server: ScriptedServer) -> None:
    """What came with a call is in the chat context, so that it survives JSON and a handoff."""
    model, another = await _warm(server, "first", _thoughtful("Anna")), await _warm(server, "second", _HI)
    context = _context()
    [tool_call] = await _call_tools(model, context)
    restored = llm.ChatContext.from_dict(json.loads(json.dumps(context.to_dict())))

    await another.chat(chat_ctx=restored).collect()
    await model.aclose()
    await another.aclose()

    assert _came_back(_chats(server, "second")[0]) == [_from("Anna")]
    assert tool_call.extra is not None
    assert tool_call.extra["google"] == {"thought_signature": "Anna"}  # where LiveKit's own plug-ins look for it
    assert tool_call.extra.keys() == {"google", "adapters"}


async def test_a_real_session_sends_thoughts_back() -> None:
    """The request with the result holds what came with the call, on the way through LiveKit's own loop."""
    fields = {"message": {"reasoning": "Hm."}, "call": {"signature": "s"}}
    thoughtful = ToolCall("functions.get_weather:0", "get_weather", {"city": "Zürich"}, provider_fields=fields)
    provider = Scripted([thoughtful], ["It is 12 C."], plain=True)

    async with agents.AgentSession(llm=LLM(provider)) as session:
        await session.start(_Guide())
        await session.run(user_input="How warm is it?")

    message = provider.asked[1][0][2]
    assert (message["reasoning"], message["tool_calls"][0]["signature"]) == ("Hm.", "s")


async def test_ids_that_come_again_in_a_conversation(server: ScriptedServer) -> None:
    """LiveKit keeps only the latest of two calls with one id, so the second gets an id of its own."""
    model = await _warm(server, "again", _thoughtful("first"), _thoughtful("second"), _HI)
    context = _context()
    [first] = await _call_tools(model, context)
    [second] = await _call_tools(model, context)

    await model.chat(chat_ctx=context).collect()
    await model.aclose()

    assert first.call_id == "functions.get_weather:0"
    assert second.call_id != first.call_id
    assert _came_back(_chats(server, "again")[-1]) == [_from("first"), _from("second")]


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("x", id="no object"),
        pytest.param({"message": "x", "call": ["x"], "function": None}, id="no objects inside"),
        pytest.param({"message": {"role": "user", "content": "x"}, "call": {"id": "x"}}, id="fields of ours"),
    ],
)
async def test_a_stored_extra_that_makes_no_sense(stored: Any) -> None:
    """A context comes from a store that others write; what is no provider field is not sent."""
    provider, context = Scripted(["Hi."], plain=True), _context()
    made = llm.FunctionCall(call_id="abcDEF123", name="get_weather", arguments="{}", extra={"adapters": stored})
    context.insert([made, llm.FunctionCallOutput(call_id=made.call_id, output="20 C", is_error=False)])

    await LLM(provider).chat(chat_ctx=context).collect()

    function = {"name": "get_weather", "arguments": "{}"}
    assert provider.asked[0][0][2] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "abcDEF123", "type": "function", "function": function}],
    }


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_turn_in_which_the_agent_says_nothing(server: ScriptedServer, *, allowed: bool) -> None:
    """With ``allow_silence`` an empty answer is one request and no error, and the session goes on."""
    model = await _warm(server, "silent", answer(), allow_silence=allowed)
    failed: list[llm.LLMError] = []
    spent: list[Any] = []
    model.on("error", failed.append)
    model.on("metrics_collected", spent.append)

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
    assert (len(failed), [each.completion_tokens for each in spent]) == ((0, [3]) if allowed else (1, []))


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LiveKit the import fails with the command that helps."""
    monkeypatch.delitem(sys.modules, "adapters.livekit")
    monkeypatch.setitem(sys.modules, "livekit", None)

    with pytest.raises(ImportError, match=r"Install it with: pip install -e '.*\[livekit\]'"):
        importlib.import_module("adapters.livekit")
