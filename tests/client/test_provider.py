"""``LiteLLMProvider`` as an agent sees it; what it makes of each server is shown by the wire cases."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest

from adapters.agent import run_turn
from adapters.client.provider import LiteLLMProvider
from adapters.config import ProviderConfig
from adapters.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    IncompleteResponseError,
    InternalServerError,
)
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.provider import whole_answer
from adapters.testing import ASK, KEY, TOOLS
from adapters.testing.answers import SSE_END, SSE_HEAD, answer, call, event, http_chunk, reply, said
from adapters.transport import background
from adapters.types import LLMResponse, ResponseDone, TextDelta, TokenUsage
from tests.patience import LateError, in_time, patient

if TYPE_CHECKING:
    from adapters.config import KindName
    from adapters.config.options import LimitOptions, ProviderOptions, RetryOptions
    from adapters.provider import LLMProvider
    from adapters.testing import ScriptedServer
    from adapters.testing.server import Step
    from adapters.types import ToolSpec

pytest_plugins = ["adapters.testing.plugin"]

_ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}


def test_what_an_agent_looks_for() -> None:
    """CAAL asks for these by name; a key stands in none of them."""
    provider = create_provider("ollama", model="qwen3:8b", think=False, temperature=0.15, num_ctx=8192, api_key=KEY)

    assert (provider.provider_name, provider.model, provider.supports_think) == ("ollama", "qwen3:8b", True)
    assert (provider.think, provider.temperature, provider.num_ctx) == (False, 0.15, 8192)
    assert provider.last_usage is None
    assert repr(provider) == "LiteLLMProvider('ollama', model='qwen3:8b')"


def test_loading_begins_when_the_provider_is_made() -> None:
    """With ``prewarm`` LiteLLM is loaded in a thread, once for the whole process."""
    create_provider("ollama", model="m", prewarm=True)

    assert background._started["loading for openai/"].result(timeout=100) is None
    assert background._started["litellm"].done()


@pytest.mark.parametrize("raw", ['{"city": "Oslo"}', {"city": "Oslo"}, '"{\\"city\\": \\"Oslo\\"}"'], ids=repr)
def test_arguments_in_every_form(raw: object) -> None:
    """Arguments may be a string, an object, or encoded twice."""
    assert create_provider("ollama", model="m").parse_tool_arguments(raw) == {"city": "Oslo"}


@pytest.mark.parametrize("raw", [None, "", "null", "{bad", "[1]", 42], ids=repr)
def test_arguments_that_are_none(raw: object) -> None:
    """Whatever cannot be read is an empty object, and nothing is raised."""
    assert create_provider("ollama", model="m").parse_tool_arguments(raw) == {}


async def test_each_way_gives_the_same_answer(scripted_server: ScriptedServer) -> None:
    """``ResponseDone`` holds what ``chat`` returns, ``chat_stream`` its text; usage is kept after each."""
    base_url = scripted_server.add("same", reply(_ANSWER))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        response = await provider.chat(list(ASK))
        after_chat = provider.last_usage
        text = "".join([piece async for piece in provider.chat_stream(list(ASK), list(TOOLS))])
        after_stream = provider.last_usage
        events = [event async for event in provider.stream_events(list(ASK))]

    assert events[-1] == ResponseDone(response)
    assert text == response.content == "Hi"
    assert after_chat == after_stream == provider.last_usage == TokenUsage(7, 3)
    headers = scripted_server.seen["same"].headers
    assert {each["authorization"] for each in headers} == {"Bearer not-needed"}


async def test_warming_up_in_vain_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is not there yet may be there at the first turn; the turn itself tells if it is not."""
    provider = create_provider("openai_compatible", model="m", base_url="http://127.0.0.1:9/v1")

    with caplog.at_level(logging.WARNING, logger="adapters"):
        await provider.prewarm()

    assert caplog.messages == ["openai_compatible: prewarm failed (APIConnectionError)."]
    await provider.aclose()


async def test_warming_up_in_vain_is_told_to_who_has_another_provider() -> None:
    """The same that is only logged for an agent is raised for a group of providers."""
    provider = create_provider("openai_compatible", model="m", base_url="http://127.0.0.1:9/v1")

    with pytest.raises(APIConnectionError, match="Could not reach"):
        await provider._prewarm()

    await provider.aclose()


@pytest.mark.parametrize(
    ("tools", "sent"), [pytest.param(list(TOOLS), "none", id="tools"), pytest.param(None, None, id="no tools")]
)
@pytest.mark.parametrize("way", ["chat", "stream_events"])
async def test_text_alone_may_be_asked_for_with_a_whole_answer(
    scripted_server: ScriptedServer, way: str, tools: list[ToolSpec] | None, sent: str | None
) -> None:
    """With tool choice "none" the answer is text, its end is known, and without tools nothing is said about them."""
    base_url = scripted_server.add("text", reply(_ANSWER))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        if way == "chat":
            response = await provider.chat(list(ASK), tools, tool_choice="none")
        else:
            events = [event async for event in provider.stream_events(list(ASK), tools, tool_choice="none")]
            assert isinstance(events[-1], ResponseDone)
            response = events[-1].response

    assert (response.content, response.finish_reason, response.model) == ("Hi", "stop", "m")
    assert scripted_server.seen["text"].bodies[0].get("tool_choice") == sent


@pytest.mark.parametrize("way", ["chat", "stream_events"])
async def test_a_call_in_place_of_text_is_not_passed_on(scripted_server: ScriptedServer, way: str) -> None:
    """With tool choice "none" a model that calls all the same is asked once more, without tools."""
    base_url = scripted_server.add("text", answer(calls=[call("get_weather", '{"city": "Oslo"}')]), reply(_ANSWER))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        if way == "chat":
            assert (await provider.chat(list(ASK), list(TOOLS), tool_choice="none")).content == "Hi"
        else:
            events = [event async for event in provider.stream_events(list(ASK), list(TOOLS), tool_choice="none")]
            assert events[0] == TextDelta("Hi")

    assert "tools" not in scripted_server.seen["text"].bodies[1]


async def test_the_end_of_a_text_stream_is_known_afterwards(scripted_server: ScriptedServer) -> None:
    """After ``chat_stream``, which yields text alone, the provider has the finish reason and its own name."""
    base_url = scripted_server.add("end", reply(_ANSWER), reply({"error": "no"}, "400 Bad Request"))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        assert provider.last_response is None
        assert [text async for text in provider.chat_stream(list(ASK))] == ["Hi"]
        known = provider.last_response
        with pytest.raises(BadRequestError):
            await provider.chat(list(ASK))

    assert known == LLMResponse("Hi", usage=TokenUsage(7, 3), finish_reason="stop", model="m")
    assert (provider.last_response, provider.last_usage) == (None, None)


async def test_concurrent_turns_keep_their_own_usage(scripted_server: ScriptedServer) -> None:
    """Of twenty questions at once each answer holds the usage of its own; the provider keeps one of them."""
    usages = [{"prompt_tokens": number, "completion_tokens": number} for number in range(1, 21)]
    base_url = scripted_server.add("many", *[answer(str(usage["prompt_tokens"]), usage=usage) for usage in usages])

    async def ask(provider: LiteLLMProvider) -> tuple[str | None, TokenUsage | None]:
        events = [event async for event in provider.stream_events(list(ASK))]
        assert isinstance(events[-1], ResponseDone)
        return events[-1].response.content, events[-1].response.usage

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        answers = await asyncio.gather(*(ask(provider) for _ in usages))

    assert set(answers) == {(str(number), TokenUsage(number, number)) for number in range(1, 21)}
    assert provider.last_response is not None
    assert (provider.last_response.content, provider.last_usage) in answers


class _Marked(LiteLLMProvider):
    """Marks the tools each time that it prepares them."""

    def prepare_tools(self, tools: list[ToolSpec]) -> list[ToolSpec]:
        """Leave one more mark on each."""
        return [{**tool, "prepared": tool.get("prepared", 0) + 1} for tool in tools]


@pytest.mark.parametrize("group", [pytest.param(False, id="alone"), pytest.param(True, id="in a fallback")])
@pytest.mark.parametrize("way", ["chat", "chat_stream", "stream_events", "run_turn"])
async def test_tools_are_prepared_once(scripted_server: ScriptedServer, way: str, *, group: bool) -> None:
    """The provider that sends the request prepares the tools, once: preparing need not be idempotent."""
    base_url = scripted_server.add("once", reply(_ANSWER))
    marked = _Marked(ProviderConfig.create("openai_compatible", model="m", base_url=base_url))
    ask, tools = list(ASK), list(TOOLS)

    async with FallbackProvider([FallbackProvider([marked])]) if group else marked as provider:
        if way == "chat":
            await provider.chat(ask, tools)
        elif way == "run_turn":
            assert [event async for event in run_turn(provider, ask, tools, _no_tool)]
        else:
            assert [each async for each in getattr(provider, way)(ask, tools)]

    [body] = scripted_server.seen["once"].bodies
    assert body["tools"] == [{**tool, "prepared": 1} for tool in tools]


async def _no_tool(name: str, arguments: dict[str, object]) -> str:
    raise AssertionError  # pragma: no cover - nothing is called


async def test_warming_up_asks_for_no_answer(scripted_server: ScriptedServer) -> None:
    """Prewarming costs no tokens: it only opens the connection."""
    base_url = scripted_server.add("warm", reply({}))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        await provider.prewarm()

    assert all(path.endswith("/models") for path in scripted_server.seen["warm"].paths)


async def test_warming_up_leaves_no_answer(scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """The warmup on every route gives a complete answer, which is not the last answer of the provider."""
    base_url = scripted_server.add("warm", reply({}), reply({}))

    for kind in ("openai_compatible", "openrouter"):
        with caplog.at_level("INFO", logger="adapters"):
            async with create_provider(kind, model="m", base_url=base_url, api_key="key") as provider:
                await provider.prewarm()

        assert provider._last_usage is None
    assert caplog.messages == []


async def test_a_rehearsal_that_fails_is_no_failure(
    scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It only saves time: where the limits allow no answer, the first request tells so, and warming up goes on."""
    base_url = scripted_server.add("warm", reply({}))
    limits: LimitOptions = {"event_bytes": 1, "answer_bytes": 1}

    with caplog.at_level("INFO", logger="adapters"):
        async with create_provider("openai_compatible", model="m", base_url=base_url, limits=limits) as provider:
            await provider.prewarm()

    assert "warmup failed" in caplog.text
    assert scripted_server.seen["warm"].paths == ["/warm/v1/models"]


async def test_an_event_that_is_no_json_is_passed_over(scripted_server: ScriptedServer) -> None:
    """Some gateways send ``data: keep-alive`` between the pieces of an answer."""
    pieces = (b"data: keep-alive\n\n", event(said("Hi")), b"data: [DONE]\n\n")
    base_url = scripted_server.add("alive", (SSE_HEAD, *map(http_chunk, pieces), SSE_END))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        assert [text async for text in provider.chat_stream(list(ASK))] == ["Hi"]


# How often, and for how long, a question is asked.

_OOPS = reply({"error": {"message": "Oops"}}, "500 Oops")
_AT_ONCE: RetryOptions = {"initial_wait_s": 0.0, "max_wait_s": 0.0}


@pytest.mark.parametrize(
    ("retry", "options", "requests"),
    [
        pytest.param({"attempts": 1}, {}, 1, id="one try"),
        pytest.param({"attempts": 3}, {}, 3, id="three tries"),
        pytest.param({"attempts": 3}, {"max_retries": 0}, 1, id="none more in this call"),
        pytest.param({"attempts": 1}, {"max_retries": 2}, 3, id="two more in this call"),
    ],
)
async def test_how_often_a_question_is_asked(
    scripted_server: ScriptedServer, retry: RetryOptions, options: dict[str, Any], requests: int
) -> None:
    """The policy says how often, unless the call says it itself; ``max_retries`` counts as in the SDK."""
    base_url = scripted_server.add("often", _OOPS)

    async with create_provider(
        "openai_compatible", model="m", base_url=base_url, retry={**_AT_ONCE, **retry}
    ) as provider:
        with pytest.raises(InternalServerError):
            await provider.chat(list(ASK), **options)

    assert len(scripted_server.seen["often"].paths) == requests
    assert "max_retries" not in scripted_server.seen["often"].bodies[0]


@pytest.mark.parametrize("end", ["eof", "rst"])
async def test_a_pooled_connection_that_the_server_closed(
    scripted_server: ScriptedServer, end: Literal["eof", "rst"]
) -> None:
    """The request is sent again at once, and that is no retry; llama.cpp closes after each stream."""
    base_url = scripted_server.add("closes", answer("One."), (end,), answer("Two."), (end,), answer("Three."))

    async with create_provider("openai_compatible", model="m", base_url=base_url, retry={"attempts": 1}) as provider:
        texts = [(await provider.chat(list(ASK))).content for _ in range(3)]

    assert texts == ["One.", "Two.", "Three."]
    assert len(scripted_server.seen["closes"].paths) == 5


@pytest.mark.parametrize(
    ("steps", "requests"),
    [
        pytest.param([("eof",)], 1, id="new connection"),
        pytest.param([answer("One."), ("eof",), ("eof",)], 3, id="pooled, then new connection"),
        pytest.param([answer("One."), (SSE_HEAD, "eof")], 2, id="after the head"),
        pytest.param([answer("One."), (b"nonsense\r\n\r\n", "eof")], 2, id="no HTTP"),
    ],
)
async def test_other_lost_connections_count(scripted_server: ScriptedServer, steps: list[Step], requests: int) -> None:
    """A new connection that is lost, or one after the beginning of a response, is a failure of an attempt."""
    base_url = scripted_server.add("loses", *steps)

    async with create_provider("openai_compatible", model="m", base_url=base_url, retry={"attempts": 1}) as provider:
        if requests > 1:
            await provider.chat(list(ASK))
        with pytest.raises(APIConnectionError, match=r"was lost|stopped in the middle"):
            await whole_answer(provider.stream_events(list(ASK)))

    assert len(scripted_server.seen["loses"].paths) == requests


async def _late(
    scripted_server: ScriptedServer, *steps: Step, told: type[APIError] = APITimeoutError, **settings: Any
) -> tuple[float, int]:
    """How long a call takes if no answer is in time, and how many requests it costs."""
    base_url = scripted_server.add("mute", *steps)
    options = settings.pop("options", {})
    async with create_provider("openai_compatible", model="m", base_url=base_url, **settings) as provider:
        began_s = time.monotonic()
        with pytest.raises(told):
            await provider.chat(list(ASK), **options)
        return time.monotonic() - began_s, len(scripted_server.seen["mute"].paths)


@patient
async def test_the_total_is_of_the_whole_call(scripted_server: ScriptedServer) -> None:
    """A mute server that is asked three times at most has no longer for all of them than for one."""
    took_s, _ = await _late(scripted_server, ("hang",), retry={"attempts": 3}, timeouts={"total_s": 1.0})

    in_time(took_s, 0.95, 1.5)


@patient
async def test_the_total_counts_earlier_tries(scripted_server: ScriptedServer) -> None:
    """What a failed try and the wait after it took is not there for the next one."""
    took_s, requests = await _late(
        scripted_server, (0.5, *_OOPS), ("hang",), retry={"attempts": 3, **_AT_ONCE}, timeouts={"total_s": 1.2}
    )

    in_time(took_s, 1.1, 1.7)
    assert requests >= 2


@patient
async def test_a_call_may_have_its_own_total(scripted_server: ScriptedServer) -> None:
    """``timeout`` is in seconds, for the whole call, and no field of the body."""
    took_s, _ = await _late(scripted_server, ("hang",), options={"timeout": 0.7})

    in_time(took_s, 0.65, 1.2)
    assert "timeout" not in scripted_server.seen["mute"].bodies[0]


@patient
async def test_the_deadline_cuts_a_repeated_try(scripted_server: ScriptedServer) -> None:
    """A retry ends with the time for retries; the error is the one that caused the retry."""
    took_s, requests = await _late(
        scripted_server,
        _OOPS,
        ("hang",),
        told=InternalServerError,
        retry={"attempts": 3, "deadline_s": 0.8, **_AT_ONCE},
    )

    in_time(took_s, 0.75, 1.3)
    if requests < 2:
        raise LateError("even the first try took until the deadline")
    assert requests == 2


async def test_the_deadline_leaves_the_first_try_alone(scripted_server: ScriptedServer) -> None:
    """It says when to repeat no more, not how long an answer may take."""
    base_url = scripted_server.add("slow", (0.5, *reply(_ANSWER)))

    async with create_provider(
        "openai_compatible", model="m", base_url=base_url, retry={"deadline_s": 0.1}
    ) as provider:
        assert (await provider.chat(list(ASK))).content == "Hi"


async def test_concurrent_first_refusals(scripted_server: ScriptedServer) -> None:
    """Questions that are refused at the same time for the same thing are all asked again without it."""
    refusal = {"error": {"message": "Unsupported parameter: 'temperature'", "param": "temperature"}}
    refused = (0.2, *reply(refusal, "400 Bad Request"))
    base_url = scripted_server.add("refuse", refused, refused, refused, answer("Hi"))

    async with create_provider("openai_compatible", model="m", base_url=base_url, temperature=0.5) as provider:
        answers = await asyncio.gather(*(provider.chat(list(ASK)) for _ in range(3)))

    assert [each.content for each in answers] == ["Hi"] * 3
    bodies = scripted_server.seen["refuse"].bodies
    assert ["temperature" in body for body in bodies] == [True] * 3 + [False] * 3


async def test_a_call_in_place_of_text_that_comes_again(scripted_server: ScriptedServer) -> None:
    """A model that calls although no tools are offered is told as one that could not."""
    base_url = scripted_server.add("calls", answer(calls=[call("get_weather", "{}")]))

    async with create_provider("openai_compatible", model="m", base_url=base_url, retry={"attempts": 1}) as provider:
        with pytest.raises(IncompleteResponseError, match="Failed to call a function"):
            await provider.chat(list(ASK), list(TOOLS), tool_choice="none")

    assert len(scripted_server.seen["calls"].paths) == 2


async def test_what_a_provider_wants_back_goes_back_with_the_call(scripted_server: ScriptedServer) -> None:
    """The message of a call holds what came beside it, under the name that it came in."""
    details = [{"type": "reasoning.text", "text": "Hm."}]
    step = answer(calls=[call("get_weather", '{"city": "Oslo"}')], reasoning_details=details)
    base_url = scripted_server.add("back", step)

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        response = await provider.chat(list(ASK), list(TOOLS))

    message = provider.format_tool_call_message(response.content, response.tool_calls)
    assert message["reasoning_details"] == details
    assert message["tool_calls"][0]["function"]["name"] == "get_weather"


@pytest.mark.parametrize(
    ("entry", "model", "said", "sent"),
    [
        pytest.param(
            {"supported_parameters": ["max_tokens", "tools"]},
            "maker/model",
            ["shop: the model does not support temperature, which is left out."],
            {"max_tokens"},
            id="a parameter that the model does not support",
        ),
        pytest.param(
            {"supported_parameters": ["max_tokens", "temperature"]},
            "maker/model",
            ["shop: maker/model does not support tool calls."],
            {"max_tokens", "temperature"},
            id="no tools",
        ),
        pytest.param(
            {},
            "maker/modle",
            ["shop does not list maker/modle. Did you mean maker/model?"],
            {"max_tokens", "temperature"},
            id="misspelled",
        ),
        pytest.param({}, "something", [], {"max_tokens", "temperature"}, id="nothing like it"),
        pytest.param({}, "maker/model", [], {"max_tokens", "temperature"}, id="nothing is said of it"),
    ],
)
async def test_warming_up_reads_what_openrouter_says_of_the_model(
    scripted_server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    entry: dict[str, Any],
    model: str,
    said: list[str],
    sent: set[str],
) -> None:
    """Before the first question it is known what the model heeds; more than a warning is left to OpenRouter."""
    listed = reply({"data": [{"id": "maker/model", **entry}]})
    base_url = scripted_server.add("warm", listed, reply(_ANSWER))
    options: ProviderOptions = {"name": "shop", "model": model, "base_url": base_url, "api_key": "k"}

    with caplog.at_level(logging.WARNING, logger="adapters"):
        async with create_provider("openrouter", **options) as provider:
            await provider.prewarm()
            await provider.chat(list(ASK))

    assert caplog.messages == said
    assert {"max_tokens", "temperature"} & scripted_server.seen["warm"].bodies[-1].keys() == sent


async def test_models_in_reserve_are_not_judged(scripted_server: ScriptedServer) -> None:
    """Where OpenRouter may ask another model, what one of them supports decides nothing."""
    listed = reply({"data": [{"id": "m", "supported_parameters": ["tools"]}]})
    base_url = scripted_server.add("warm", listed, reply(_ANSWER))

    async with create_provider("openrouter", model="m", models=["n"], base_url=base_url, api_key="k") as provider:
        await provider.prewarm()
        await provider.prewarm()  # a second time, it rehearses no more
        await provider.chat(list(ASK))

    assert "temperature" in scripted_server.seen["warm"].bodies[-1]


@pytest.mark.parametrize("way", ["chat", "stream_events"])
@pytest.mark.parametrize("kind", ["openai_compatible", "openrouter"])
async def test_a_good_answer_leaves_nothing_to_collect(
    scripted_server: ScriptedServer, kind: KindName, way: str
) -> None:
    """What an answer was made of is gone with it, body and connection included, and waits for no collection."""
    base_url = scripted_server.add("light", *[answer("Hi")] * 4)
    async with create_provider(kind, model="m", base_url=base_url, api_key="key") as provider:
        await whole_of(provider, way)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(3):
                await whole_of(provider, way)
            gc.collect()
            left = {f"{type(each).__module__}.{type(each).__name__}" for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    assert {name for name in left if name.startswith(("adapters", "aiohttp", "litellm"))} == set()


async def whole_of(provider: LLMProvider, way: str) -> None:
    """Ask, and read the answer to its end."""
    messages = [{"role": "user", "content": "Hi"}]
    if way == "chat":
        await provider.chat(messages)
    else:
        await whole_answer(provider.stream_events(messages))
