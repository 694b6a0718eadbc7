"""``adapters.fallback``: a call that is left, and a group that is closed, leave no request, task, cooldown or probe."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from adapters import run_turn
from adapters.errors import AllProvidersFailedError, APIConnectionError, APIError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.provider import LLMProvider, closing
from adapters.testing.answers import SSE_HEAD, answer, chunk, event, http_chunk, reply
from adapters.testing.server import ScriptedServer
from adapters.types import LLMResponse, ResponseDone, TextDelta
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from adapters.testing.answers import Script
    from adapters.types import Message, StreamEvent

_MESSAGES: list[Message] = [{"role": "user", "content": "How warm is it?"}]
_MUTE: Script = ("hang",)
_THINKING: Script = (SSE_HEAD, http_chunk(event(chunk({"reasoning_content": "Hm."}))), "hang")
_SPEAKING: Script = (SSE_HEAD, http_chunk(event(chunk({"content": "Hot."}))), "hang")
_CALLS = 5

_real = pytest.mark.usefixtures("litellm_is_loaded")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Plays all servers of a test, one case each."""
    async with ScriptedServer() as running:
        yield running


def _provider(name: str, base_url: str) -> LLMProvider:
    return create_provider("openai_compatible", model="m", name=name, base_url=base_url, retry={"attempts": 1})


async def _chat(provider: LLMProvider) -> None:
    await provider.chat(list(_MESSAGES))


async def _stream(provider: LLMProvider) -> None:
    _ = [piece async for piece in provider.stream_events(list(_MESSAGES))]


async def _turn(provider: LLMProvider) -> None:
    _ = [piece async for piece in run_turn(provider, list(_MESSAGES))]


async def _leave_scope(ask: Awaitable[None], may_leave: Callable[[], Awaitable[bool]]) -> None:
    """Leave through a cancelled scope, as Starlette, FastMCP and mcp do: each wait inside is cancelled again."""
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await ask

        group.start_soon(run)
        assert await may_leave()
        group.cancel_scope.cancel()


async def _cancel_twice(ask: Awaitable[None], may_leave: Callable[[], Awaitable[bool]]) -> None:
    async def run() -> None:
        await ask

    task = asyncio.create_task(run())
    assert await may_leave()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@_real
@pytest.mark.parametrize("leave", [_leave_scope, _cancel_twice])
@pytest.mark.parametrize("ask", [_chat, _stream, _turn])
@pytest.mark.parametrize("script", [_MUTE, _THINKING, _SPEAKING], ids=["mute", "thinking", "speaking"])
@pytest.mark.parametrize("hedge_after_s", [None, 0.0], ids=["one request", "hedged"])
async def test_leaving_closes_all_requests(
    server: ScriptedServer, script: Script, ask: Any, leave: Any, hedge_after_s: float | None
) -> None:
    """Whatever cancels a call, and however often, the servers see each request close, and no task is left."""
    providers = [_provider("first", server.add("first", script)), _provider("second", server.add("second", _MUTE))]
    is_hedged = hedge_after_s is not None
    sent = _CALLS * (2 if is_hedged and script is _MUTE else 1)

    async with FallbackProvider(providers, hedge_after_s=hedge_after_s) as group:

        async def all_are_sent() -> bool:
            return bool(await until(lambda: sum(len(seen.bodies) for seen in server.seen.values()) >= sent))

        await asyncio.gather(*(leave(ask(group), all_are_sent) for _ in range(_CALLS)))

        assert await until(lambda: all(len(seen.bodies) == len(seen.gone_at) for seen in server.seen.values()))
        assert await until(lambda: asyncio.all_tasks() - server._tasks == {asyncio.current_task()})


@_real
async def test_a_group_that_is_left_through_a_scope_closes_its_providers(server: ScriptedServer) -> None:
    """``async with FallbackProvider(…)`` inside a cancelled scope closes every connection of every provider."""
    providers = [_provider(name, server.add(name, answer("Hi."))) for name in ("first", "second")]
    with anyio.CancelScope() as scope:
        async with FallbackProvider(providers) as group:
            await group.prewarm()
            assert len(server._tasks) == len(providers)  # one for each open connection
            scope.cancel()

    assert await until(lambda: not server._tasks)
    assert await until(lambda: asyncio.all_tasks() - server._tasks == {asyncio.current_task()})


class _Slow(LLMProvider):
    """A provider whose streams take time to close, and of which it is known how many are open."""

    model = "slow"
    provider_name = "slow"

    def __init__(self, *, speaks: bool, is_stuck: bool = False) -> None:
        self._speaks = speaks
        self.is_stuck = is_stuck
        self.opened = self.open = 0

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Not used here."""
        raise NotImplementedError

    def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Not used here."""
        raise NotImplementedError

    async def stream_events(self, *_: Any, **__: Any) -> AsyncIterator[StreamEvent]:
        """Say something or nothing, and take time to close."""
        self.opened, self.open = self.opened + 1, self.open + 1
        try:
            if self._speaks:
                yield TextDelta("Hi.")
                yield ResponseDone(LLMResponse("Hi."))
            await asyncio.Event().wait()
        finally:
            while self.is_stuck:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            self.open -= 1


@pytest.mark.parametrize("leave", [_leave_scope, _cancel_twice])
@pytest.mark.parametrize("speaks", [False, True])
async def test_closing_goes_on_after_a_second_cancel(leave: Any, *, speaks: bool) -> None:
    """A stream that waits while it closes is closed to its end, although its caller waits no more."""
    providers = [_Slow(speaks=speaks), _Slow(speaks=speaks)]
    group = FallbackProvider(providers, hedge_after_s=0.0)

    async def is_open() -> bool:
        return bool(await until(lambda: sum(provider.opened for provider in providers) > (not speaks)))

    async def ask() -> None:
        async with closing(group.stream_events(_MESSAGES)) as events:
            async for _ in events:
                await asyncio.Event().wait()

    await leave(ask(), is_open)

    assert await until(lambda: not any(provider.open for provider in providers))
    assert await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_an_answer_does_not_wait_for_a_stuck_loser() -> None:
    """A provider that ignores its cancellation holds up nothing but itself."""
    stuck, quick = _Slow(speaks=False, is_stuck=True), _Slow(speaks=True)
    group = FallbackProvider([stuck, quick], hedge_after_s=0.0)

    async with closing(group.stream_events(_MESSAGES)) as events:
        assert await anext(events) == TextDelta("Hi.")
    assert stuck.open == 1

    stuck.is_stuck = False
    assert await until(lambda: not stuck.open)


class _Iterator:
    """A stream that is no generator: only ``aclose`` ends it."""

    def __init__(self, *events: StreamEvent | Exception) -> None:
        self._events = list(events)
        self.closed = 0

    def __aiter__(self) -> _Iterator:
        return self

    async def __anext__(self) -> StreamEvent:
        if not self._events:
            raise StopAsyncIteration
        event = self._events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("is_failing", [False, True])
async def test_a_stream_that_is_no_generator_is_closed_once(*, is_failing: bool) -> None:
    """The contract allows any iterator, and only its ``aclose`` frees what it holds."""
    failure = APIConnectionError("No.", provider="slow", model="slow")
    stream = _Iterator(failure) if is_failing else _Iterator(TextDelta("Hi."), ResponseDone(LLMResponse("Hi.")))
    provider = _Slow(speaks=True)
    provider.stream_events = lambda *_, **__: stream  # type: ignore[method-assign]  # in place of a generator

    with suppress(AllProvidersFailedError):
        await _chat(FallbackProvider([provider]))

    assert stream.closed == 1


async def test_a_stream_may_have_nothing_to_close() -> None:
    """The contract allows an iterator without ``aclose``."""

    class Bare:
        """A stream of one event."""

        def __aiter__(self) -> Bare:
            return self

        async def __anext__(self) -> StreamEvent:
            return ResponseDone(LLMResponse("Hi."))

    provider = _Slow(speaks=True)
    provider.stream_events = lambda *_, **__: Bare()  # type: ignore[method-assign]  # in place of a generator

    async with closing(FallbackProvider([provider]).stream_events(_MESSAGES)) as events:
        assert await anext(events) == ResponseDone(LLMResponse("Hi."))


@_real
@pytest.mark.parametrize("ask", [_chat, _stream, _turn])
@pytest.mark.parametrize("script", [_MUTE, _THINKING, _SPEAKING], ids=["mute", "thinking", "speaking"])
@pytest.mark.parametrize("hedge_after_s", [None, 0.0], ids=["one request", "hedged"])
async def test_closing_the_group_ends_its_calls(
    server: ScriptedServer, script: Script, ask: Any, hedge_after_s: float | None
) -> None:
    """A waiting call raises at once; nothing is sent again, no other provider is asked, and none is probed."""
    providers = [_provider(name, server.add(name, script, answer("Again."))) for name in ("first", "second")]
    group = FallbackProvider(providers, cooldown_s=0.01, hedge_after_s=hedge_after_s)
    task = asyncio.create_task(ask(group))
    hedged = hedge_after_s is not None
    requests = 2 if hedged and script is _MUTE else 1  # the first text ends the race, perhaps before the other request
    assert await until(lambda: sum(len(seen.bodies) for seen in server.seen.values()) >= requests)
    await asyncio.sleep(0.05)  # so that a text is there

    await group.aclose()

    with pytest.raises(APIError) as caught:
        await task
    assert not isinstance(caught.value, AllProvidersFailedError)
    await asyncio.sleep(0.1)
    sent = [len(seen.paths) for seen in server.seen.values()]
    assert max(sent) == 1 if hedged else sent == [1, 0]
    assert asyncio.all_tasks() - server._tasks == {asyncio.current_task()}


@_real
async def test_a_closed_group_can_be_used_again(server: ScriptedServer) -> None:
    """A later call opens the connections anew, and cooldowns work as before."""
    first = _provider("first", server.add("first", answer("One."), reply({}, "503 Service Unavailable")))
    group = FallbackProvider([first, _provider("second", server.add("second", answer("Two.")))])
    await _chat(group)
    await group.aclose()

    assert (await group.chat(_MESSAGES)).content == "Two."
    assert group._cooldowns.has(0)
    await group.aclose()
    assert not group._cooldowns.has(0)


async def test_a_prewarm_that_fails_after_the_close_starts_no_cooldown(caplog: pytest.LogCaptureFixture) -> None:
    """What begins before a close does not outlive it."""
    may_fail = asyncio.Event()

    class Failing(_Slow):
        """A provider whose ``prewarm`` fails later."""

        async def prewarm(self, *_: Any, **__: Any) -> None:
            """Wait, then fail."""
            await may_fail.wait()
            raise APIConnectionError("No.", provider="slow", model="slow")

    group = FallbackProvider([Failing(speaks=True)], cooldown_s=60)
    task = asyncio.create_task(group.prewarm())
    await asyncio.sleep(0)
    await group.aclose()
    may_fail.set()
    await task

    assert not group._cooldowns.has(0)
    assert caplog.messages == ["slow is not ready: prewarm failed (APIConnectionError)."]


async def test_a_call_on_another_loop_is_left_alone() -> None:
    """``aclose`` closes what belongs to its event loop, as every provider does."""
    group = FallbackProvider([_Slow(speaks=True)])
    async with closing(group.stream_events(_MESSAGES)) as events:
        await anext(events)

        await asyncio.to_thread(asyncio.run, group.aclose())

        assert await anext(events) == ResponseDone(LLMResponse("Hi."))
