"""Kind ``litellm``: routes with an API of their own, over our wire and through LiteLLM's translation."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import re
import socket
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from adapters.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContentFilterError,
    ContextWindowExceededError,
    IncompleteResponseError,
    InternalServerError,
    RateLimitError,
)
from adapters.factory import create_provider
from adapters.testing import ASK, TOOLS
from adapters.testing.answers import http
from adapters.transport import litellm_bridge, translation
from adapters.transport.endpoint import Endpoint
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage
from tests.patience import patient
from tests.servers import routes
from tests.servers.routes import SSE_HEAD, Turn, anthropic_event
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from adapters.client.provider import LiteLLMProvider
    from adapters.testing import ScriptedServer
    from adapters.testing.answers import Script
    from adapters.types import Json

pytest_plugins = ["adapters.testing.plugin"]

_KEY = "sk-ant-SECRET-0123456789"
_OSLO = '{"city": "Oslo"}'
_TEXT = Turn(text=("Hel", "lo."))
_CALLS = Turn(text=("Let me look. ",), calls=(("toolu_1", "get_weather", _OSLO), ("toolu_2", "lights_off", "{}")))
_AWS = {
    "aws_access_key_id": "AKIA-SECRET-0123",
    "aws_secret_access_key": "aws-SECRET-0123456789",
    "aws_region_name": "us-east-1",
}


class _Route:
    """One route: its model, its responses, and how a provider of it is created."""

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model
        self.stream: Callable[..., Script] = getattr(routes, f"{name}_stream")
        self.reply: Callable[..., Script] = getattr(routes, f"{name}_reply")
        self.error: Callable[..., Script] = getattr(routes, f"{name}_error")

    def provider(self, server: ScriptedServer, *steps: Script, **options: Any) -> LiteLLMProvider:
        """Create a provider whose server plays these steps."""
        address = server.add(self.name, *steps).removesuffix("/v1")
        settings: dict[str, Any] = {"base_url": address, "api_key": _KEY}
        if self.name == "bedrock":
            settings = {"litellm": {**_AWS, "aws_bedrock_runtime_endpoint": address}}
        return create_provider("litellm", model=self.model, **{"retry": {"attempts": 1}, **settings, **options})

    def __repr__(self) -> str:
        return self.name


_ANTHROPIC = _Route("anthropic", "anthropic/claude-sonnet-4-5")
_GEMINI = _Route("gemini", "gemini/gemini-2.5-flash")
_BEDROCK = _Route("bedrock", "bedrock/converse/anthropic.claude-3-5-sonnet-20240620-v1:0")
_ROUTES = [
    pytest.param(_ANTHROPIC, id="anthropic"),
    pytest.param(_GEMINI, id="gemini"),
    pytest.param(_BEDROCK, id="bedrock"),
]


@pytest.fixture
async def _closed_clients() -> AsyncIterator[None]:
    """Close the clients that LiteLLM made for itself, and drop what it forgot."""
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    yield
    await close_litellm_async_clients()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def _ask(provider: LiteLLMProvider, *, stream: bool, **options: Any) -> tuple[str, LLMResponse]:
    """Make one call and return the text of its events and its response."""
    if not stream:
        response = await provider.chat(list(ASK), list(TOOLS), **options)
        return response.content or "", response
    text = ""
    async for event in provider.stream_events(list(ASK), list(TOOLS), **options):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ResponseDone):
            done = event.response
    return text, done


def _script(route: _Route, turn: Turn, *, stream: bool) -> Script:
    return route.stream(turn) if stream else route.reply(turn)


async def test_prefill_and_marks_for_the_prompt_cache(scripted_server: ScriptedServer) -> None:
    """A prefill differs from its question in the limit alone; Anthropic gets the marks."""
    for route in (_ANTHROPIC, _GEMINI, _BEDROCK):
        script = _script(route, _TEXT, stream=True)
        async with route.provider(scripted_server, script, cache_control="auto", max_tokens=300) as provider:
            await provider.prewarm(list(ASK), list(TOOLS))
            text, _ = await _ask(provider, stream=True)

        ahead, question = map(json.dumps, scripted_server.seen[route.name].bodies)
        assert text == "Hello."
        assert ahead != question
        assert re.sub('"(max.{0,16})": 1([,}])', r'"\1": 300\2', ahead) == question
        assert question.count('"cache_control"') == (3 if route is _ANTHROPIC else 0)  # this old Claude caches nothing


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("route", _ROUTES)
async def test_text(scripted_server: ScriptedServer, route: _Route, stream: bool) -> None:
    """Text, usage and finish reason arrive, from one request."""
    async with route.provider(scripted_server, _script(route, _TEXT, stream=stream)) as provider:
        text, response = await _ask(provider, stream=stream)

    assert text == response.content == "Hello."
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (5, 9)
    assert (response.finish_reason, response.tool_calls) == ("stop", [])
    assert len(scripted_server.seen[route.name].bodies) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("route", _ROUTES)
async def test_tool_calls(scripted_server: ScriptedServer, route: _Route, stream: bool) -> None:
    """Calls arrive whole and in order, beside text."""
    async with route.provider(scripted_server, _script(route, _CALLS, stream=stream)) as provider:
        text, response = await _ask(provider, stream=stream)

    assert text == "Let me look. "
    calls = [(call.name, call.arguments, call.error) for call in response.tool_calls]
    assert calls == [("get_weather", {"city": "Oslo"}, None), ("lights_off", {}, None)]


@pytest.mark.parametrize("route", [_ROUTES[0], _ROUTES[2]])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_thinking_goes_back_with_the_calls(scripted_server: ScriptedServer, route: _Route, stream: bool) -> None:
    """Thinking blocks are reasoning, and the next request has them with their signature."""
    turn = Turn(thinking="The user wants weather.", signature="SIG==", calls=(("toolu_1", "get_weather", _OSLO),))
    steps = _script(route, turn, stream=stream), route.reply(_TEXT)
    async with route.provider(scripted_server, *steps, reasoning_effort="low", max_tokens=4096) as provider:
        _, response = await _ask(provider, stream=stream)
        history = [
            *ASK,
            provider.format_tool_call_message(response.content, response.tool_calls),
            provider.format_tool_result("12 C", response.tool_calls[0].id, "get_weather"),
        ]
        await provider.chat(history, list(TOOLS))

    assert response.reasoning == "The user wants weather."
    sent = scripted_server.seen[route.name].bodies[1]["messages"][1]["content"]
    block: dict[str, Any] = {"type": "thinking", "thinking": "The user wants weather.", "signature": "SIG=="}
    if route is _BEDROCK:
        block = {"reasoningContent": {"reasoningText": {"text": block["thinking"], "signature": "SIG=="}}}
    assert block in sent


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_signatures_of_gemini_go_back(scripted_server: ScriptedServer, stream: bool) -> None:
    """Gemini rejects a history whose calls have lost their thought signature."""
    turn = Turn(calls=(("", "get_weather", _OSLO),), signature="c2ln")
    steps = _script(_GEMINI, turn, stream=stream), _script(_GEMINI, _TEXT, stream=stream)
    async with _GEMINI.provider(scripted_server, *steps) as provider:
        _, response = await _ask(provider, stream=stream)
        history = [
            *ASK,
            provider.format_tool_call_message(response.content, response.tool_calls),
            provider.format_tool_result("12 C", response.tool_calls[0].id, "get_weather"),
        ]
        await provider.chat(history, list(TOOLS)) if not stream else [
            event async for event in provider.stream_events(history, list(TOOLS))
        ]

    assert '"thoughtSignature":"c2ln"' in json.dumps(scripted_server.seen["gemini"].bodies[1], separators=(",", ":"))


async def test_tools_that_the_provider_runs(scripted_server: ScriptedServer) -> None:
    """Calls of Anthropic's own tools are no calls for the agent."""
    turn = Turn(calls=(("srvtoolu_1", "web_search", '{"query": "x"}'),), text=("It is warm.",), stop="end_turn")
    async with _ANTHROPIC.provider(scripted_server, _ANTHROPIC.stream(turn)) as provider:
        text, response = await _ask(provider, stream=True)

    assert (text, response.tool_calls) == ("It is warm.", [])


_FAILURES = [
    pytest.param("429 Too Many Requests", RateLimitError, {"retry-after": "7"}, id="429"),
    pytest.param("529 Overloaded", InternalServerError, {}, id="529"),
    pytest.param("401 Unauthorized", AuthenticationError, {}, id="401"),
    pytest.param("500 Internal Server Error", InternalServerError, {}, id="500"),
]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("status", "kind", "headers"), _FAILURES)
@pytest.mark.parametrize("route", _ROUTES)
async def test_failures(
    scripted_server: ScriptedServer,
    route: _Route,
    status: str,
    kind: type[APIError],
    headers: dict[str, str],
    stream: bool,
) -> None:
    """Status, headers and body decide, as for every other provider; the key is in no text."""
    step = route.error(status, "some_error", f"No, {_KEY}", **headers)
    async with route.provider(scripted_server, step) as provider:
        with pytest.raises(kind) as caught:
            await _ask(provider, stream=stream)

    assert type(caught.value) is kind
    assert caught.value.retry_after_s == (7.0 if headers else None)
    assert _KEY not in f"{caught.value} {caught.value.__cause__}"
    assert len(scripted_server.seen[route.name].bodies) == 1


async def test_retries_are_the_providers(scripted_server: ScriptedServer) -> None:
    """A failed attempt is repeated by the provider's policy, and by nothing else."""
    busy = _ANTHROPIC.error("429 Too Many Requests", "rate_limit_error", "Slow", **{"retry-after": "0"})
    steps = busy, _ANTHROPIC.stream(_TEXT)
    async with _ANTHROPIC.provider(scripted_server, *steps, retry={"attempts": 2, "initial_wait_s": 0}) as provider:
        text, response = await _ask(provider, stream=True)

    assert (text, response.attempts) == ("Hello.", 2)


async def test_context_window(scripted_server: ScriptedServer) -> None:
    """Anthropic's words for a prompt that is too long are understood."""
    message = "prompt is too long: 218849 tokens > 200000 maximum"
    step = _ANTHROPIC.error("400 Bad Request", "invalid_request_error", message)
    async with _ANTHROPIC.provider(scripted_server, step) as provider:
        with pytest.raises(ContextWindowExceededError):
            await _ask(provider, stream=False)


@pytest.mark.parametrize("route", _ROUTES)
async def test_cut_text(scripted_server: ScriptedServer, route: _Route) -> None:
    """A stream without its end is an error, although LiteLLM ends it as a good one; its text stays."""
    async with route.provider(scripted_server, route.stream(_TEXT, ends=False)) as provider:
        text = ""
        with pytest.raises((IncompleteResponseError, APIConnectionError)):  # noqa: PT012 - a loop is one
            async for event in provider.stream_events(list(ASK)):
                text += event.text if isinstance(event, TextDelta) else ""

    assert text.strip() == "Hello."


@pytest.mark.parametrize("route", [_ROUTES[0], _ROUTES[2]])
async def test_cut_call(scripted_server: ScriptedServer, route: _Route) -> None:
    """Half a call never runs."""
    whole = route.stream(Turn(calls=(("toolu_1", "get_weather", _OSLO),)))
    cut = (*whole[:-6], routes.END) if route is _ANTHROPIC else (*whole[:-5], routes.END)
    async with route.provider(scripted_server, cut) as provider:
        with pytest.raises((IncompleteResponseError, APIConnectionError)):
            await _ask(provider, stream=True)


@pytest.mark.parametrize("position", ["first", "middle"])
async def test_error_event(scripted_server: ScriptedServer, position: str) -> None:
    """An error event is the server's error, not a cut response, and keeps the text before it."""
    error = anthropic_event({"type": "error", "error": {"type": "overloaded_error", "message": f"Overloaded {_KEY}"}})
    whole = _ANTHROPIC.stream(_TEXT)
    script = (SSE_HEAD, error, routes.END) if position == "first" else (*whole[:6], error, routes.END)
    async with _ANTHROPIC.provider(scripted_server, script) as provider:
        with pytest.raises(APIError) as caught:
            await _ask(provider, stream=True)

    assert "Overloaded" in str(caught.value)
    assert _KEY not in str(caught.value)


async def test_broken_connection(scripted_server: ScriptedServer) -> None:
    """A connection that breaks in the middle is a connection error."""
    script = (*_ANTHROPIC.stream(_TEXT)[:6], "rst")
    async with _ANTHROPIC.provider(scripted_server, script) as provider:
        with pytest.raises(APIConnectionError):
            await _ask(provider, stream=True)


async def test_refusal(scripted_server: ScriptedServer) -> None:
    """A response that the provider's moderation stopped before any text is a content filter error."""
    async with _ANTHROPIC.provider(scripted_server, _ANTHROPIC.stream(Turn(stop="refusal"))) as provider:
        with pytest.raises(ContentFilterError):
            await _ask(provider, stream=True)


async def test_text_with_markup(scripted_server: ScriptedServer) -> None:
    """The markup of reasoning is not spoken, whichever route brought it."""
    turn = Turn(text=("<think>Hm", "m.</think>", "Hello."))
    async with _ANTHROPIC.provider(scripted_server, _ANTHROPIC.stream(turn)) as provider:
        text, response = await _ask(provider, stream=True)

    assert (text, response.reasoning) == ("Hello.", "Hmm.")


async def test_equal_pieces(scripted_server: ScriptedServer) -> None:
    """A hundred equal pieces are a laugh; LiteLLM's wrapper would end the stream there."""
    async with _ANTHROPIC.provider(scripted_server, _ANTHROPIC.stream(Turn(text=["ha "] * 150))) as provider:
        text, _ = await _ask(provider, stream=True)

    assert text == "ha " * 150


@pytest.mark.parametrize(
    ("script", "timeouts"),
    [
        pytest.param(("hang",), {"first_token_s": 0.5}, id="no head"),
        pytest.param((*_ANTHROPIC.stream(_TEXT)[:5], "hang"), {"stall_s": 0.5}, id="a pause"),
        pytest.param(
            (SSE_HEAD, *[part for _ in range(40) for part in (anthropic_event({"type": "ping"}), 0.1)]),
            {"first_token_s": 0.7},
            id="pings are no tokens",
        ),
    ],
)
async def test_deadlines(scripted_server: ScriptedServer, script: Script, timeouts: dict[str, float]) -> None:
    """The limits are those of every other provider."""
    async with _ANTHROPIC.provider(scripted_server, script, timeouts=timeouts) as provider:
        await provider.prewarm()
        with pytest.raises(APITimeoutError):
            await _ask(provider, stream=True)


@patient
async def test_cancelling_closes_the_connection(scripted_server: ScriptedServer) -> None:
    """A caller that leaves ends the request at the server."""
    async with _ANTHROPIC.provider(scripted_server, (*_ANTHROPIC.stream(_TEXT)[:5], "hang")) as provider:
        async with aclosing(provider.stream_events(list(ASK))) as events:  # type: ignore[type-var]  # a generator
            await anext(events)
        assert await until(lambda: scripted_server.seen["anthropic"].gone_at)


@pytest.mark.usefixtures("_closed_clients")
async def test_cancelling_a_client_of_litellms_own(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where LiteLLM sends the request itself, it may still build it; the request ends a moment after the call."""
    monkeypatch.setattr(litellm_bridge, "_BUILDING_S", 0.1)
    address = scripted_server.add("cohere", ("hang",)).removesuffix("/v1")
    model = "cohere_chat/command-r"
    async with create_provider("litellm", model=model, api_key=_KEY, base_url=f"{address}/v2/chat") as provider:
        await provider.prewarm()
        call = asyncio.create_task(provider.chat(list(ASK)))

        assert await until(lambda: scripted_server.seen["cohere"].bodies)
        call.cancel()
        assert await until(lambda: scripted_server.seen["cohere"].gone_at)

    assert call.cancelled()


def test_end_of_the_loop_while_litellm_builds() -> None:
    """A loop that ends and cancels all leaves no coroutine behind that is never awaited."""
    is_built = threading.Event()

    class LateExecutor(ThreadPoolExecutor):
        """Threads whose results arrive a moment after they exist."""

        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            def call() -> Any:
                result = function(*arguments, **options)
                is_built.set()
                time.sleep(0.1)
                return result

            return super().submit(call)

    async def program(*, is_cancelled: bool) -> None:
        await provider.prewarm()
        asyncio.get_running_loop().set_default_executor(LateExecutor())
        is_built.clear()
        call = asyncio.ensure_future(provider.chat(list(ASK)))
        while not is_built.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0)
        if is_cancelled:
            call.cancel()
            await asyncio.wait({call})

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for is_cancelled in (True, False):
            provider = create_provider("litellm", model="anthropic/claude-x", api_key=_KEY, base_url="http://localhost")
            asyncio.run(program(is_cancelled=is_cancelled))
            gc.collect()

    assert [str(warning.message) for warning in caught if "never awaited" in str(warning.message)] == []


@pytest.mark.parametrize("route", _ROUTES)
async def test_text_alone(scripted_server: ScriptedServer, route: _Route) -> None:
    """``tool_choice`` "none" reaches routes that can say it; the others get no tools."""
    async with route.provider(scripted_server, route.stream(_TEXT)) as provider:
        assert "".join([text async for text in provider.chat_stream(list(ASK), list(TOOLS))]) == "Hello."

    body = scripted_server.seen[route.name].bodies[0]
    if route is _ANTHROPIC:
        assert body["tool_choice"] == {"type": "none"}
    elif route is _GEMINI:
        assert body["toolConfig"]["functionCallingConfig"]["mode"] == "NONE"
    else:
        assert "toolConfig" not in body


async def test_chat_completions_route_is_read_here(scripted_server: ScriptedServer) -> None:
    """A route that speaks OpenAI's chat completions has the reader of every other provider."""
    from adapters.testing.answers import answer

    base_url = scripted_server.add("mistral", answer("Hi ", "there"))
    async with create_provider("litellm", model="mistral/mistral-small", base_url=base_url, api_key=_KEY) as provider:
        text, response = await _ask(provider, stream=True)

    assert (text, response.usage) == ("Hi there", TokenUsage(7, 3))
    assert scripted_server.seen["mistral"].paths[0].endswith("/chat/completions")
    assert scripted_server.seen["mistral"].headers[0]["authorization"] == f"Bearer {_KEY}"


async def test_context_window_of_ollama(scripted_server: ScriptedServer) -> None:
    """Ollama's own API gets ``num_ctx`` and ``think`` of ``litellm:``, which its OpenAI-compatible one ignores."""
    words = [{"message": {"role": "assistant", "content": word}, "done": False} for word in ("Hel", "lo.")]
    end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    lines = [json.dumps({"model": "m", **line}) + "\n" for line in (*words, {**end, "prompt_eval_count": 7})]
    script = [http("".join(lines).encode(), content_type="application/x-ndjson")]
    address = scripted_server.add("ollama", script).removesuffix("/v1")
    settings = {"num_ctx": 16384, "think": False}

    async with create_provider("litellm", model="ollama_chat/m", base_url=address, litellm=settings) as provider:
        texts = [text async for text in provider.chat_stream(list(ASK))]

    seen = scripted_server.seen["ollama"]
    assert "".join(texts) == "Hello."
    assert seen.paths == ["/ollama/api/chat"]
    assert (seen.bodies[0]["options"]["num_ctx"], seen.bodies[0]["think"]) == (16384, False)


async def test_limit_of_bytes(scripted_server: ScriptedServer) -> None:
    """A response beyond the limit ends."""
    turn = Turn(text=["x" * 1000] * 20)
    async with _ANTHROPIC.provider(
        scripted_server, _ANTHROPIC.stream(turn), limits={"answer_bytes": 5000, "event_bytes": 5000}
    ) as provider:
        with pytest.raises(APIError, match="answer_bytes"):
            await _ask(provider, stream=True)


async def test_garbled_response(scripted_server: ScriptedServer) -> None:
    """A body that LiteLLM cannot parse is an incomplete response."""
    async with _ANTHROPIC.provider(scripted_server, routes.json_reply({"nonsense": True})) as provider:
        with pytest.raises(APIError):
            await _ask(provider, stream=False)


async def test_missing_package() -> None:
    """A package that LiteLLM needs for a route is named with the command that installs it."""
    async with create_provider("litellm", model="vertex_ai/gemini-2.5-flash", retry={"attempts": 1}) as provider:
        with pytest.raises(BadRequestError, match="pip install google-auth"):
            await provider.chat(list(ASK))


async def test_route_with_a_client_of_its_own(
    scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Routes that ignore our client work through LiteLLM's, with one line in the log."""
    settings = {"mock_response": "Hello there."}
    with caplog.at_level(logging.INFO, "adapters"):
        async with create_provider("litellm", model="anthropic/claude-x", api_key=_KEY, litellm=settings) as provider:
            first = await _ask(provider, stream=False)
            second = await _ask(provider, stream=True)

    assert first[0] == second[0] == "Hello there."
    assert len([message for message in caplog.messages if "client of its own" in message]) == 1


def test_settings() -> None:
    """The model names the route; secrets of ``litellm`` are hidden, and what the provider does is not its business."""
    provider = create_provider("litellm", model="bedrock/x", litellm=_AWS)

    assert "SECRET" not in repr(provider._config)
    with pytest.raises(ConfigError, match="must not hold api_key; set it beside litellm"):
        create_provider("litellm", model="bedrock/x", litellm={"api_key": "k"})
    with pytest.raises(ConfigError, match="litellm is for kind litellm only"):
        create_provider("ollama", model="m", litellm={"a": 1})


@pytest.mark.usefixtures("_closed_clients")
@pytest.mark.parametrize("model", ["anthropic/claude-x", "cohere_chat/command-r", "text-completion-openai/m"])
async def test_connection_refused(model: str) -> None:
    """A server that cannot be reached is a connection error, as for every other provider, whose client it may be."""
    settings: dict[str, Any] = {"base_url": "http://127.0.0.1:9", "api_key": _KEY, "retry": {"attempts": 1}}
    async with create_provider("litellm", model=model, **settings) as provider:
        with pytest.raises(APIConnectionError, match=r"^Could not reach litellm at"):
            await provider.chat(list(ASK))


@pytest.mark.parametrize("model", ["openai/m", "deepinfra/m", "perplexity/m", "groq/m", "hosted_vllm/m", "lm_studio/m"])
async def test_routes_of_chat_completions(scripted_server: ScriptedServer, model: str) -> None:
    """Routes of OpenAI's form send the model without the route to the configured address, whatever client they want."""
    from adapters.testing.answers import answer

    base_url = scripted_server.add("route", answer("Hi"))
    async with create_provider("litellm", model=model, base_url=base_url, api_key=_KEY) as provider:
        text, _ = await _ask(provider, stream=True)

    [seen] = [scripted_server.seen["route"]]
    assert (text, seen.bodies[0]["model"]) == ("Hi", "m")
    assert seen.paths[0].endswith("/v1/chat/completions")
    assert seen.headers[0]["authorization"] == f"Bearer {_KEY}"


async def test_azure(scripted_server: ScriptedServer) -> None:
    """A deployment is asked at its own address, with the key in Azure's header."""
    from adapters.testing.answers import answer

    address = scripted_server.add("azure", answer("Hi")).removesuffix("/v1")
    async with create_provider("litellm", model="azure/m", base_url=address, api_key=_KEY) as provider:
        text, _ = await _ask(provider, stream=True)

    [seen] = [scripted_server.seen["azure"]]
    assert text == "Hi"
    assert seen.paths == ["/azure/openai/deployments/m/chat/completions?api-version=2024-10-21"]
    assert seen.headers[0]["api-key"] == _KEY
    assert "authorization" not in seen.headers[0]


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("openai/m", "https://api.openai.com/v1"),
        ("gpt-4o", "https://api.openai.com/v1"),
        ("perplexity/m", "https://api.perplexity.ai"),
        ("deepinfra/m", "https://api.deepinfra.com/v1/openai"),
    ],
)
def test_addresses_that_litellm_knows(model: str, base_url: str) -> None:
    """Without base_url a route of the SDK goes to its provider."""
    endpoint = Endpoint("shop", model, "", api_key=_KEY)

    assert translation._sdk_endpoint(endpoint).base_url == base_url
    assert translation._sdk_endpoint(endpoint).api_key == _KEY


@pytest.mark.parametrize("model", ["lm_studio/m", "hosted_vllm/m"])
async def test_address_that_nothing_names(model: str) -> None:
    """A route of servers that people run has no address of its own; the key does not go to OpenAI, as with LiteLLM."""
    async with create_provider("litellm", model=model, api_key=_KEY, retry={"attempts": 1}) as provider:
        with pytest.raises(
            APIConnectionError, match=r"^Could not reach litellm: its address is not configured\. Set base_url\.$"
        ):
            await provider.chat(list(ASK))


async def test_leaving_a_stream_of_litellms_own_client() -> None:
    """Where the connection is LiteLLM's, its stream is closed in place of it."""
    settings = {"mock_response": "Hello there, my friend."}
    async with create_provider("litellm", model="anthropic/claude-x", api_key=_KEY, litellm=settings) as provider:
        async with aclosing(provider.stream_events(list(ASK))) as events:  # type: ignore[type-var]  # a generator
            assert isinstance(await anext(events), TextDelta)
        await asyncio.sleep(0.01)

    assert translation._closing == set()


async def test_redacted_thinking(scripted_server: ScriptedServer) -> None:
    """A thinking block that Anthropic has encrypted goes back as it is."""
    whole = list(_ANTHROPIC.stream(Turn(calls=(("toolu_1", "get_weather", _OSLO),))))
    block = {"type": "redacted_thinking", "data": "c2VjcmV0"}
    start = anthropic_event({"type": "content_block_start", "index": 7, "content_block": block})
    stop = anthropic_event({"type": "content_block_stop", "index": 7})
    async with _ANTHROPIC.provider(scripted_server, (*whole[:3], start, stop, *whole[3:])) as provider:
        _, response = await _ask(provider, stream=True)

    assert response.tool_calls[0].provider_fields["message"]["thinking_blocks"] == [block]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_custom_provider(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """A provider that the program has registered with LiteLLM is a route like any other, with its own connection."""
    import litellm
    from litellm.types.utils import GenericStreamingChunk

    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}

    class Own(litellm.CustomLLM):  # type: ignore[misc]  # mypy skips LiteLLM
        """Answers without a server."""

        async def acompletion(self, *_: Any, **__: Any) -> Any:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}
            return litellm.ModelResponse(choices=[choice], usage=litellm.Usage(**usage))

        async def astreaming(self, *_: Any, **__: Any) -> Any:
            for text, reason in ("Hel", ""), ("lo.", ""), ("", "stop"):
                yield GenericStreamingChunk(
                    text=text,
                    is_finished=bool(reason),
                    finish_reason=reason,
                    index=0,
                    tool_use=None,
                    usage=usage if reason else None,
                )

    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "own", "custom_handler": Own()}])
    async with create_provider("litellm", model="own/m") as provider:
        text, response = await _ask(provider, stream=stream)

    assert text == "Hello."
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (7, 3)


@pytest.mark.parametrize("route", ["gigachat", "huggingface", "ollama", "replicate", "sagemaker"])
async def test_warm_up_sends_nothing(monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    """Routes on which LiteLLM would send a request of its own are loaded at the first request."""
    hosts: list[object] = []

    def look_up(host: object, *_: object, **__: object) -> NoReturn:
        hosts.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    endpoint = Endpoint("shop", f"{route}/m", "", "", _KEY)
    await translation.first_call(endpoint, _AWS, endpoint.route)

    assert hosts == []


async def test_arguments_that_litellm_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What LiteLLM or a custom provider changes in place is a copy; the failure is one request, and no other differs.

    LiteLLM 1.102 does so with the tools on Gemini's route, and with cache marks on those of Cohere, Mistral and xAI.
    """
    import litellm

    seen: list[tuple[int, dict[str, Json]]] = []

    class Careless(litellm.CustomLLM):  # type: ignore[misc]  # mypy skips LiteLLM
        """Changes what it gets, and fails."""

        async def acompletion(self, *_: Any, messages: list[Any], optional_params: dict[str, Any], **__: Any) -> Any:
            seen.append((len(messages), dict(messages[0])))
            messages[0]["content"] = "changed"
            messages.append({"role": "user", "content": "added"})
            optional_params["tools"][0]["function"].clear()
            raise litellm.InternalServerError("No.", "own", "own/m")

    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "own", "custom_handler": Careless()}])
    messages, tools = copy.deepcopy(list(ASK)), copy.deepcopy(list(TOOLS))
    async with create_provider("litellm", model="own/m", retry={"attempts": 2, "initial_wait_s": 0}) as provider:
        with pytest.raises(InternalServerError):
            await provider.chat(messages, tools)

    assert seen == [(len(ASK), ASK[0])] * 2
    assert (messages, tools) == (list(ASK), list(TOOLS))


@pytest.mark.parametrize("model", ["anthropic/claude-x", "openai/m"])
async def test_model_fallbacks_of_the_program(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """What the program has set for its own calls of LiteLLM sends no request elsewhere."""
    import litellm

    from adapters.testing.answers import answer

    monkeypatch.setattr(litellm, "model_fallbacks", ["gpt-4o"])
    step = _ANTHROPIC.stream(_TEXT) if model.startswith("anthropic") else answer("Hello.")
    base_url = scripted_server.add("case", step)
    settings: dict[str, Any] = {"base_url": base_url.removesuffix("/v1") if model.startswith("anthropic") else base_url}
    async with create_provider("litellm", model=model, api_key=_KEY, **settings) as provider:
        text, _ = await _ask(provider, stream=True)

    assert text == "Hello."
    assert litellm.model_fallbacks == ["gpt-4o"]
    assert len(scripted_server.seen["case"].bodies) == 1


def test_error_that_is_not_litellms() -> None:
    """An exception of another library is a response that could not be read; nothing of its text is kept."""
    endpoint = Endpoint("shop", "anthropic/claude-x", "")

    error = translation.read_failure(KeyError("secret"), endpoint)

    assert isinstance(error, IncompleteResponseError)
    assert "secret" not in f"{error} {error.__cause__!r}"


def test_older_form_of_a_chunk() -> None:
    """LiteLLM's generic chunk is read as OpenAI's."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "index": 0}
    chunk = {"text": "", "tool_use": call, "is_finished": True, "finish_reason": "tool_calls", "usage": {"a": 1}}

    assert translation._from_generic(chunk) == {
        "choices": [{"index": 0, "delta": {"content": "", "tool_calls": [call]}, "finish_reason": "tool_calls"}],
        "usage": {"a": 1},
    }
    assert translation._from_generic({"text": "Hi"}) == {
        "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}],
        "usage": None,
    }


def test_halves_of_usage() -> None:
    """The later figure counts, unless it is 0 or missing."""
    first = {"prompt_tokens": 5, "completion_tokens": 1, "details": {"cached": 3}}
    second = {"prompt_tokens": 0, "completion_tokens": 9, "details": {"cached": None}, "total": None}

    assert translation._merged(first, second) == {"prompt_tokens": 5, "completion_tokens": 9, "details": {"cached": 3}}


def test_client_of_older_versions() -> None:
    """LiteLLM up to 1.106 asks for the SDK's resource."""
    endpoint = Endpoint("shop", "openai/m", "", "http://shop.invalid/v1", _KEY)
    client: Any = translation.handler_class()(translation.TranslatedExchange(None, endpoint, None), endpoint)  # type: ignore[arg-type]  # nothing is sent

    assert callable(client.chat.completions.create)
