"""``adapters.fallback.hedge``: which provider is asked when, and which one answers; real servers count the requests.

The first server of most tests is slow or mute.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import (
    AllProvidersFailedError,
    APITimeoutError,
    ConfigError,
    InternalServerError,
    NotFoundError,
)
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.provider import LLMProvider, closing
from adapters.testing.answers import (
    DONE,
    SSE_END,
    SSE_HEAD,
    STOP,
    answer,
    call,
    called,
    chunk,
    event,
    http_chunk,
    reply,
)
from adapters.testing.server import ScriptedServer
from adapters.types import FallbackReason, LLMResponse, ResponseDone, TextDelta, TokenUsage
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.testing.answers import Script
    from adapters.types import Message

pytestmark = pytest.mark.usefixtures("litellm_is_loaded")

_MESSAGES: list[Message] = [{"role": "user", "content": "How warm is it?"}]
_MUTE: Script = ("hang",)
_WARM = answer("It is ", "warm.")
_WAYS = ("chat", "chat_stream", "stream_events")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Plays all servers of a test, one case each."""
    async with ScriptedServer() as running:
        yield running


def _parts(*parts: object) -> Script:
    """Stream chunks, with seconds between them."""
    return (SSE_HEAD, *[part if isinstance(part, float) else http_chunk(event(part)) for part in parts])


def _end() -> Script:
    return (http_chunk(event(STOP)), http_chunk(DONE), SSE_END)


_THINKING = chunk({"reasoning_content": "Hm."})
_SPEAKING = chunk({"content": "Hot."})


def _provider(name: str, base_url: str, **options: Any) -> LLMProvider:
    return create_provider("openai_compatible", model="m", name=name, base_url=base_url, **options)


async def _text(provider: LLMProvider, way: str, **options: Any) -> str:
    """Make a call in one of the ways and return its text."""
    if way == "chat":
        return (await provider.chat(_MESSAGES, **options)).content or ""
    if way == "chat_stream":
        return "".join([text async for text in provider.chat_stream(_MESSAGES, **options)])
    events = [item async for item in provider.stream_events(_MESSAGES, **options)]
    return "".join(item.text for item in events if isinstance(item, TextDelta))


@pytest.mark.parametrize("way", _WAYS)
async def test_a_mute_provider_costs_the_limit_once(server: ScriptedServer, way: str) -> None:
    """It is asked once and given up after the group's limit, whatever its own limits are."""
    first = _provider("first", server.add("first", _MUTE))
    second = _provider("second", server.add("second", _WARM))
    began_s = time.monotonic()

    async with FallbackProvider([first, second], first_token_s=0.2) as provider:
        assert await _text(provider, way) == "It is warm."

    took_s = time.monotonic() - began_s
    assert 0.2 <= took_s < 8.0  # its own limit
    assert len(server.seen["first"].bodies) == len(server.seen["second"].bodies) == 1
    assert await until(lambda: server.seen["first"].gone_at)


@pytest.mark.parametrize("way", _WAYS)
async def test_a_timeout_is_not_repeated_in_a_group(server: ScriptedServer, way: str) -> None:
    """Without a limit of the group, a provider's own limit starts the failover; its retries are for other failures."""
    first = _provider("first", server.add("first", _MUTE), timeouts={"first_token_s": 0.2})
    unwell = reply({}, "503 Service Unavailable")
    second = _provider("second", server.add("second", unwell, _WARM), retry={"initial_wait_s": 0})

    async with FallbackProvider([first, second]) as provider:
        assert await _text(provider, way) == "It is warm."

    assert len(server.seen["first"].bodies) == 1
    assert len(server.seen["second"].bodies) == 2


@pytest.mark.parametrize("way", _WAYS)
async def test_the_next_provider_is_asked_beside_a_silent_one(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """The first to send a token answers; the other request is closed at once, without a cooldown."""
    first = _provider("first", server.add("first", _MUTE, _WARM))
    second = _provider("second", server.add("second", answer("It is cold."), _MUTE))

    async with FallbackProvider([first, second], hedge_after_s=0.1) as provider:
        with caplog.at_level("INFO", logger="adapters.fallback"):
            assert await _text(provider, way) == "It is cold."
        assert (provider.provider_name, provider.last_usage) == ("second", TokenUsage(7, 3))
        assert await until(lambda: server.seen["first"].gone_at)
        assert server.seen["first"].started[0] < server.seen["second"].started[0] < server.seen["first"].gone_at[0]
        assert await _text(provider, way) == "It is warm."

    assert caplog.messages == ["second was faster than first, and answers."]


async def test_the_preferred_provider_may_still_win(server: ScriptedServer) -> None:
    """It is slow and not mute, so it answers, and the request beside it is closed."""
    late: Script = (0.5, *_parts(_SPEAKING), *_end())
    first = _provider("first", server.add("first", late))
    second = _provider("second", server.add("second", _MUTE))

    async with FallbackProvider([first, second], hedge_after_s=0.1) as provider:
        assert await _text(provider, "stream_events") == "Hot."
        assert await until(lambda: server.seen["second"].gone_at)

    assert provider.provider_name == "first"


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(_THINKING, id="reasoning"),
        pytest.param(called({"index": 0, **call("get_weather", '{"city":')}), id="a part of a call"),
    ],
)
async def test_a_provider_that_has_begun_is_waited_for(server: ScriptedServer, beginning: object) -> None:
    """A token may arrive long before the first event: from then on nothing is hedged or given up."""
    rest = chunk({"tool_calls": [{"index": 0, "function": {"arguments": ' "Rome"}'}}]})
    script = (*_parts(beginning, 0.8, _SPEAKING if beginning is _THINKING else rest), *_end())
    first = _provider("first", server.add("first", script))
    second = _provider("second", server.add("second", _WARM))

    async with FallbackProvider([first, second], first_token_s=0.5, hedge_after_s=0.5) as provider:
        events = [item async for item in provider.stream_events(_MESSAGES)]

    assert isinstance(events[-1], ResponseDone)
    assert provider.provider_name == "first"
    assert server.seen["second"].bodies == []


async def test_a_loser_is_asked_again_if_the_winner_breaks_off(server: ScriptedServer) -> None:
    """The first sends reasoning, the request beside it is closed, and then the first breaks off before its text."""
    broken: Script = (0.5, *_parts(_THINKING, 0.1), "rst")
    first = _provider("first", server.add("first", broken), retry={"attempts": 1})
    second = _provider("second", server.add("second", _MUTE, _WARM))

    async with FallbackProvider([first, second], hedge_after_s=0.1) as provider:
        assert await _text(provider, "stream_events") == "It is warm."

    assert len(server.seen["first"].bodies) == 1
    assert len(server.seen["second"].bodies) == 2
    assert len(server.seen["second"].gone_at) == 1


async def test_errors_are_in_the_order_of_the_requests(server: ScriptedServer) -> None:
    """The second fails before the first is given up, and comes after it."""
    first = _provider("first", server.add("first", _MUTE))
    failure = reply({}, "500 Internal Server Error")
    second = _provider("second", server.add("second", failure), retry={"attempts": 1})

    async with FallbackProvider([first, second], hedge_after_s=0.1) as provider:
        with pytest.raises(AllProvidersFailedError) as caught:
            await _text(provider, "stream_events", first_token_timeout=0.4)

    assert [(type(error), error.provider) for error in caught.value.errors] == [
        (APITimeoutError, "first"),
        (InternalServerError, "second"),
    ]
    assert str(caught.value.errors[0]) == "first did not answer in time (0.4 seconds). Please try again."


async def test_the_last_provider_has_its_own_limit(server: ScriptedServer) -> None:
    """The limit of the group holds while another provider is left; a slow answer is better than none."""
    first = _provider("first", server.add("first", _MUTE))
    second = _provider("second", server.add("second", (0.6, *_parts(_SPEAKING), *_end())))

    async with FallbackProvider([first, second], first_token_s=0.2) as provider:
        assert await _text(provider, "stream_events") == "Hot."


async def test_no_provider_is_given_up_for_one_in_cooldown(server: ScriptedServer) -> None:
    """A slow provider is better than one that has just failed, which is asked if the slow one fails too."""
    slow: Script = (0.6, *_parts(_SPEAKING), *_end())
    unwell = reply({}, "503 Service Unavailable")
    first = _provider("first", server.add("first", slow, slow, unwell), retry={"attempts": 1})
    second = _provider("second", server.add("second", unwell, _WARM), retry={"attempts": 1})

    async with FallbackProvider([first, second], first_token_s=0.3, hedge_after_s=0.1) as provider:
        assert await _text(provider, "stream_events") == "Hot."  # the second failed beside it
        assert await _text(provider, "stream_events") == "Hot."
        assert len(server.seen["second"].bodies) == 1
        assert await _text(provider, "stream_events") == "It is warm."


async def test_the_limit_holds_if_all_are_in_cooldown(server: ScriptedServer) -> None:
    """No provider is better than the others then."""
    unwell = reply({}, "503 Service Unavailable")
    first = _provider("first", server.add("first", unwell, _MUTE), retry={"attempts": 1})
    second = _provider("second", server.add("second", unwell, _WARM), retry={"attempts": 1})

    async with FallbackProvider([first, second], first_token_s=0.2) as provider:
        with pytest.raises(AllProvidersFailedError):
            await _text(provider, "stream_events")
        assert await _text(provider, "stream_events") == "It is warm."


async def test_providers_are_hedged_one_after_the_other(server: ScriptedServer) -> None:
    """Two mute providers before a third: the requests start in order, and those that lose are closed."""
    providers = [_provider(name, server.add(name, _MUTE)) for name in ("first", "second")]
    providers.append(_provider("third", server.add("third", _WARM)))

    async with FallbackProvider(providers, hedge_after_s=0.1) as provider:
        assert await _text(provider, "stream_events") == "It is warm."
        assert await until(lambda: server.seen["first"].gone_at and server.seen["second"].gone_at)

    assert [server.seen[name].started[0] for name in server.seen] == sorted(
        server.seen[name].started[0] for name in server.seen
    )


async def test_timeout_limits_all_providers_together(server: ScriptedServer) -> None:
    """``timeout`` ends the whole call: no other provider is asked after it."""
    first = _provider("first", server.add("first", _MUTE))
    second = _provider("second", server.add("second", _WARM))

    async with FallbackProvider([first, second]) as provider:
        with pytest.raises(AllProvidersFailedError) as caught:
            await _text(provider, "stream_events", timeout=0.2)

    assert [error.provider for error in caught.value.errors] == ["first"]
    assert server.seen["second"].bodies == []


async def test_the_next_provider_gets_what_is_left_of_the_timeout(server: ScriptedServer) -> None:
    """A provider that fails at once leaves nearly all of it to the next, whose own limits are longer."""
    failure = reply({}, "500 Internal Server Error")
    first = _provider("first", server.add("first", failure), retry={"attempts": 1})
    second = _provider("second", server.add("second", _MUTE))

    async with FallbackProvider([first, second]) as provider:
        with pytest.raises(AllProvidersFailedError) as caught:
            await _text(provider, "chat", timeout=0.6)

    assert [error.provider for error in caught.value.errors] == ["first", "second"]
    assert isinstance(caught.value.errors[1], APITimeoutError)


async def test_first_token_timeout_limits_the_last_provider_too(server: ScriptedServer) -> None:
    """Each provider is given up after it, also the last."""
    providers = [_provider(name, server.add(name, _MUTE)) for name in ("first", "second")]

    async with FallbackProvider(providers, first_token_s=5) as provider:
        with pytest.raises(AllProvidersFailedError) as caught:
            await _text(provider, "chat_stream", first_token_timeout=0.1)

    assert [error.provider for error in caught.value.errors] == ["first", "second"]
    assert [len(server.seen[name].bodies) for name in server.seen] == [1, 1]


async def test_the_limit_may_be_longer_than_the_providers_own(server: ScriptedServer) -> None:
    """The group's ``first_token_s`` replaces ``timeouts.first_token_s``, whichever is longer."""
    slow: Script = (0.4, *_parts(_SPEAKING), *_end())
    first = _provider("first", server.add("first", slow), timeouts={"first_token_s": 0.1})
    second = _provider("second", server.add("second", _WARM))

    async with FallbackProvider([first, second], first_token_s=8) as provider:
        assert await _text(provider, "stream_events") == "Hot."


async def test_a_wrong_argument_starts_no_failover(server: ScriptedServer) -> None:
    """A mistake of the caller is raised and does not move on to the next provider."""
    providers = [_provider(name, server.add(name, _WARM)) for name in ("first", "second")]

    async with FallbackProvider(providers, hedge_after_s=0) as provider:
        with pytest.raises(ConfigError, match="headers is not an option"):
            await _text(provider, "stream_events", headers={})
        with pytest.raises(ConfigError, match="first_token_timeout must be a number of seconds above 0"):
            await _text(provider, "stream_events", first_token_timeout=0)

    assert server.seen["second"].bodies == []


async def test_a_group_in_a_group_reports_its_first_token(server: ScriptedServer) -> None:
    """The outer group neither hedges nor gives up while the inner one receives reasoning."""
    script = (*_parts(_THINKING, 0.8, _SPEAKING), *_end())
    inner = FallbackProvider([_provider("first", server.add("first", script))])
    second = _provider("second", server.add("second", _WARM))

    async with FallbackProvider([inner, second], first_token_s=0.5, hedge_after_s=0.5) as provider:
        assert await _text(provider, "stream_events") == "Hot."

    assert server.seen["second"].bodies == []


@pytest.mark.parametrize("way", _WAYS)
async def test_a_late_provider_is_asked_again_when_the_others_have_failed(server: ScriptedServer, way: str) -> None:
    """A slow answer is better than none; the provider has its own limit then, and is asked once more at most."""
    slow: Script = (0.5, *_parts(_SPEAKING), *_end())
    first = _provider("first", server.add("first", _MUTE, slow))
    second = _provider("second", server.add("second", reply({}, "404 Not Found")))

    async with FallbackProvider([first, second], first_token_s=0.2) as provider:
        assert await _text(provider, way) == "Hot."
        if way != "chat_stream":
            assert provider.last_response is not None
            assert provider.last_response.fallback_from == (FallbackReason("second", "NotFoundError"),)

    assert [len(server.seen[name].bodies) for name in server.seen] == [2, 1]
    assert not provider._cooldowns.has(0)


async def test_all_late_providers_are_asked_again_in_order(server: ScriptedServer) -> None:
    """Each of them has the group's limit again while another one is left, and the last has its own."""
    providers = [_provider(name, server.add(name, _MUTE)) for name in ("first", "second")]
    providers.append(_provider("third", server.add("third", reply({}, "404 Not Found"))))
    server.add("second", _MUTE, (0.5, *_parts(_SPEAKING), *_end()))

    async with FallbackProvider(providers, first_token_s=0.2) as provider:
        assert await _text(provider, "stream_events") == "Hot."

    assert [len(server.seen[name].bodies) for name in ("first", "second", "third")] == [2, 2, 1]


async def test_a_late_provider_that_fails_again_has_one_error(server: ScriptedServer) -> None:
    """The errors are those of the providers, in the order in which they were first asked; the last one is spoken."""
    first = _provider("first", server.add("first", _MUTE, reply({}, "503 Service Unavailable")), retry={"attempts": 1})
    second = _provider("second", server.add("second", reply({}, "404 Not Found")))

    async with FallbackProvider([first, second], first_token_s=0.2) as provider:
        with pytest.raises(AllProvidersFailedError, match="second has no API at this address") as caught:
            await _text(provider, "chat")

    assert [(type(error), error.provider) for error in caught.value.errors] == [
        (InternalServerError, "first"),
        (NotFoundError, "second"),
    ]


async def test_without_time_a_late_provider_is_not_asked_again(server: ScriptedServer) -> None:
    """The caller's ``timeout`` ends everything."""
    first = _provider("first", server.add("first", _MUTE))
    second = _provider("second", server.add("second", (0.4, "eof")), retry={"attempts": 1})

    async with FallbackProvider([first, second], first_token_s=0.2) as provider:
        with pytest.raises(AllProvidersFailedError):
            await _text(provider, "stream_events", timeout=0.5)

    assert len(server.seen["first"].bodies) == 1


async def test_the_response_names_the_providers_that_were_passed_over(server: ScriptedServer) -> None:
    """Failed, in cooldown, or slower than the next one: each with its reason, also in nested groups."""
    unwell = reply({}, "503 Service Unavailable")
    first = _provider("first", server.add("first", unwell, _MUTE), retry={"attempts": 1})
    inner = [_provider(name, server.add(name, unwell), retry={"attempts": 1}) for name in ("second", "third")]
    late = _provider("fourth", server.add("fourth", _MUTE))
    last = _provider("last", server.add("last", _WARM))
    members = [first, FallbackProvider(inner), FallbackProvider([late, last], hedge_after_s=0.05)]

    async with FallbackProvider(members) as provider:
        responses = [await provider.chat(_MESSAGES) for _ in range(2)]

    slower = FallbackReason("fourth", None)
    assert [response.provider for response in responses] == ["last", "last"]
    assert responses[0].fallback_from == (
        FallbackReason("first", "InternalServerError"),
        FallbackReason("second", "InternalServerError"),
        FallbackReason("third", "InternalServerError"),
        slower,
    )
    assert responses[1].fallback_from == (
        FallbackReason("first", "InternalServerError", in_cooldown=True),
        FallbackReason("second", "AllProvidersFailedError", in_cooldown=True),
        slower,
    )
    assert responses[0] == responses[1]


async def test_the_preferred_provider_passes_no_provider_over(server: ScriptedServer) -> None:
    """A provider behind the one that answers has nothing to do with it, even if it failed beside it."""
    slow: Script = (0.4, *_parts(_SPEAKING), *_end())
    first = _provider("first", server.add("first", answer("Hi."), slow))
    second = _provider("second", server.add("second", reply({}, "503 Service Unavailable")), retry={"attempts": 1})

    async with FallbackProvider([first, second], hedge_after_s=0.2) as provider:
        assert (await provider.chat(_MESSAGES)).fallback_from == ()
        assert (await provider.chat(_MESSAGES)).fallback_from == (FallbackReason("second", "InternalServerError"),)
        assert (await provider.chat(_MESSAGES)).fallback_from == ()


class _Loading(LLMProvider):
    """A provider that takes time to load, once, and then answers at once."""

    model = "m"
    provider_name = "loading"

    def __init__(self, load_s: float) -> None:
        self._load_s = load_s
        self.asked = 0

    async def _load(self) -> None:
        load_s, self._load_s = self._load_s, 0.0
        await asyncio.sleep(load_s)

    async def chat(self, *_: Any, **__: Any) -> LLMResponse:
        """Answer."""
        self.asked += 1
        return LLMResponse("Hi.")

    def chat_stream(self, *_: Any, **__: Any) -> AsyncIterator[str]:
        """Not used here."""
        raise NotImplementedError


@pytest.mark.parametrize("nested", [False, True])
async def test_loading_is_no_silence(*, nested: bool) -> None:
    """The clocks of a group start when the code is loaded; nothing is given up or hedged before."""
    for limits in ({"first_token_s": 0.1}, {"hedge_after_s": 0.1}):
        first, second = _Loading(0.3), _Loading(0.3)
        provider = FallbackProvider([FallbackProvider([first]) if nested else first, second], **limits)

        assert (await provider.chat(_MESSAGES)).fallback_from == ()
        assert (first.asked, second.asked) == (1, 0)


async def test_loading_takes_the_callers_time() -> None:
    """``timeout`` starts when the call is made; once it is over, the provider itself decides."""
    provider = FallbackProvider([_Loading(60)])

    assert await asyncio.wait_for(_text(provider, "stream_events", timeout=0.2), 30) == "Hi."


_COLD_START = """
import asyncio, sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "litellm":
            time.sleep(3)

sys.meta_path.insert(0, Slow())

from adapters import FallbackProvider, create_provider
from adapters.testing.answers import answer
from adapters.testing.server import ScriptedServer

async def main():
    async with ScriptedServer() as server:
        members = [
            create_provider("openai_compatible", model="m", name=name, base_url=server.add(name, answer("Hi.")))
            for name in ("first", "second")
        ]
        async with FallbackProvider(members, first_token_s=2.5, hedge_after_s=2.5) as group:
            response = await group.chat([{"role": "user", "content": "Hi"}])
        print(response.provider, response.fallback_from, len(server.seen["second"].bodies))

asyncio.run(main())
"""


def test_a_cold_start_asks_the_preferred_provider() -> None:
    """LiteLLM takes seconds to import; the first turn of a program waits for it once and passes no provider over."""
    done = subprocess.run(
        [sys.executable, "-c", _COLD_START],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
        text=True,
        timeout=120,
    )

    assert (done.stdout, done.stderr) == ("first () 0\n", "")


class _Plain(LLMProvider):
    """A provider of the program, with no more than the contract requires; without a text it is mute."""

    model = "plain"
    provider_name = "plain"

    def __init__(self, text: str | None = None) -> None:
        self._text = text
        self.asked: list[tuple[Any, ...]] = []

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Answer, or hang and fail when it is cancelled."""
        self.asked.append((messages, tools, kwargs))
        try:
            await asyncio.sleep(60 if self._text is None else 0)
        except asyncio.CancelledError:
            raise RuntimeError("no") from None
        return LLMResponse(self._text)

    async def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Stream the same."""
        yield (await self.chat(messages, tools, **kwargs)).content or ""


@pytest.mark.parametrize("way", _WAYS)
async def test_any_provider_may_be_in_a_group(way: str) -> None:
    """A provider that knows nothing of groups is given up and hedged too, and gets no keyword of the group."""
    mute, plain = _Plain(), _Plain("Hello.")

    async with FallbackProvider([mute, mute, plain], first_token_s=0.2, hedge_after_s=0.1) as provider:
        assert await _text(provider, way, seed=7, first_token_timeout=0.2) == "Hello."

    assert mute.asked == [(_MESSAGES, None, {"seed": 7})] * 2
    assert plain.asked == [(_MESSAGES, None, {"seed": 7})]


class _Stubborn(_Plain):
    """A provider whose streams fail when they are closed."""

    async def stream_events(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Send one text."""
        self.asked.append((messages, tools, kwargs))
        try:
            yield TextDelta("Hi.")
            yield ResponseDone(LLMResponse("Hi."))
        finally:
            await asyncio.sleep(0)
            raise RuntimeError("no")


async def test_a_stream_that_cannot_be_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The caller has its answer; how a request was closed is no error of the call."""
    async with FallbackProvider([_Stubborn()]) as provider, closing(provider.stream_events(_MESSAGES)) as events:
        assert await anext(events) == TextDelta("Hi.")

    assert caplog.messages == ["An answer of plain could not be closed: RuntimeError."]


@pytest.mark.parametrize("limits", [{"hedge_after_s": -1}, {"hedge_after_s": float("nan")}, {"first_token_s": 0}])
def test_a_limit_is_a_number_of_seconds(limits: dict[str, float]) -> None:
    """A limit that means nothing is an error where the group is created."""
    with pytest.raises(ConfigError, match=f"{next(iter(limits))} must be a number of seconds"):
        FallbackProvider([_Plain()], **limits)
