"""``transport.slots``: never more requests than slots, no slot lost, and the order of arrival."""

from __future__ import annotations

import asyncio
import copy
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import APIConnectionError, APIError, APITimeoutError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.testing import ASK, ScriptedServer
from adapters.testing.answers import SSE_HEAD, answer, event, http_chunk, reply, said
from adapters.transport.slots import Slots
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.client.provider import LiteLLMProvider
    from adapters.provider import LLMProvider
    from adapters.testing.answers import Script

_TICK_S = 0.001
_TICKS = st.integers(0, 6)
_REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "arrives": _TICKS,
            "takes": _TICKS,
            "leaves": st.none() | st.tuples(st.sampled_from(["cancel", "twice", "scope"]), _TICKS),
            "is_prefill": st.booleans(),
        }
    ),
    max_size=12,
)


class _Arrivals:
    """Requests that use slots, and what must hold while they do."""

    def __init__(self, size: int) -> None:
        self.slots = Slots(size)
        self._waiting: list[tuple[bool, int]] = []  # in order of arrival
        self._running: set[int] = set()

    async def make(self, number: int, request: dict[str, Any]) -> None:
        """Make one request, and leave it as it says."""
        scope = anyio.CancelScope()

        async def within() -> None:
            with scope:
                await self._use(number, request)

        task = asyncio.create_task(within())
        how, ticks = request["leaves"] or ("not", 0)
        await asyncio.wait([task], timeout=ticks * _TICK_S)
        if how == "scope":
            scope.cancel()
        for _ in range({"cancel": 1, "twice": 2}.get(how, 0)):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def _use(self, number: int, request: dict[str, Any]) -> None:
        owner, is_prefill = object(), request["is_prefill"]
        await asyncio.sleep(request["arrives"] * _TICK_S)
        try:
            waiter = self.slots.enter(owner, is_prefill=is_prefill)
            if waiter is not None:
                assert self._running or self._waiting
                await self._wait((is_prefill, number), waiter)
            self._running.add(number)
            assert len(self._running) <= self.slots.size
            await asyncio.sleep(request["takes"] * _TICK_S)
        finally:
            self._running.discard(number)
            self.slots.release(owner)
            self.slots.release(owner)  # changes nothing

    async def _wait(self, key: tuple[bool, int], waiter: asyncio.Future[None]) -> None:
        self._waiting.append(key)
        try:
            await waiter
            assert not [other for other in self._waiting[: self._waiting.index(key)] if other[0] <= key[0]]
        finally:
            self._waiting.remove(key)


@given(requests=_REQUESTS, size=st.integers(1, 3))
def test_no_slot_is_lost_and_the_order_is_kept(requests: list[dict[str, Any]], size: int) -> None:
    """However requests arrive, end or are cancelled. A prefill waits for all questions that wait."""

    async def main() -> None:
        arrivals = _Arrivals(size)
        async with asyncio.timeout(10):
            await asyncio.gather(*(arrivals.make(number, request) for number, request in enumerate(requests)))
        assert [arrivals.slots.enter(object()) is None for _ in range(size + 1)] == [True] * size + [False]

    asyncio.run(main())


async def test_a_question_goes_before_the_prefills_that_wait() -> None:
    """Also one that comes after them; among themselves they keep their order."""
    slots, holder = Slots(1), object()
    assert slots.enter(holder) is None
    owners = [object() for _ in range(4)]
    waiters = [slots.enter(owner, is_prefill=at < 2) for at, owner in enumerate(owners)]

    order: list[int] = []
    for _ in owners:
        slots.release(holder)
        await asyncio.sleep(0)
        (at,) = (at for at, waiter in enumerate(waiters) if waiter and waiter.done() and at not in order)
        order.append(at)
        holder = owners[at]
    assert order == [2, 3, 0, 1]


def test_slots_of_event_loops_that_have_ended_are_free() -> None:
    """A program may end a loop without closing what ran there; copies of a provider have slots of their own."""
    slots = Slots(1)
    first, second, third = object(), object(), object()

    async def enter(*owners: object) -> list[object]:
        return [slots.enter(owner) is None for owner in owners]

    assert asyncio.run(enter(first, second)) == [True, False]  # one runs and one waits, for ever
    assert asyncio.run(enter(third)) == [True]
    assert asyncio.run(enter(first)) == [True]
    copied = copy.deepcopy(slots)
    assert copied.size == 1


class _CountingServer(ScriptedServer):
    """Counts the requests whose client has not gone."""

    peak = 0
    _playing: set[Any]

    async def _play(self, script: Any, writer: Any, seen: Any) -> bool:
        self._playing = {each for each in getattr(self, "_playing", ()) if not each.gone.is_set()}
        connection = writer.transport.get_protocol()
        self._playing.add(connection)
        self.peak = max(self.peak, len(self._playing))
        try:
            return await super()._play(script, writer, seen)
        finally:
            self._playing.discard(connection)


@pytest.fixture
async def server() -> AsyncIterator[_CountingServer]:
    """A server that counts."""
    async with _CountingServer() as running:
        yield running


def _provider(base_url: str, name: str = "home", **options: Any) -> LiteLLMProvider:
    return create_provider("openai_compatible", name=name, model="m", base_url=base_url, **options)


async def _use(provider: LLMProvider, number: int) -> None:
    """Make a call and leave it in one of five ways."""
    async with asyncio.timeout(30):
        if number % 5 == 0:
            await provider.chat(list(ASK))
        elif number % 5 == 1:
            assert "".join([text async for text in provider.chat_stream(list(ASK))])
        elif number % 5 == 2:
            async with aclosing(provider.stream_events(list(ASK))) as events:  # type: ignore[type-var]  # a generator
                await anext(events)
        elif number % 5 == 3:
            task = asyncio.create_task(provider.chat(list(ASK)))
            await asyncio.wait([task], timeout=number * 0.005)
            task.cancel()
            await asyncio.wait([task])
        else:
            with anyio.move_on_after(number * 0.005):
                await provider.chat(list(ASK))


@pytest.mark.usefixtures("litellm_is_loaded")
async def test_a_server_gets_no_more_requests_than_it_has_slots(server: _CountingServer) -> None:
    """With each method, and however a call is left; a cancelled call leaves its place in the queue as well."""
    slow = answer("Hi ", "there.")
    slow = type(slow)((0.03, *slow.plain), (0.03, *slow.stream))
    failing = reply({"error": {"message": "Oops"}}, "500 Oops")
    base_url = server.add("slots", slow, slow, failing, slow, slow)

    async with _provider(base_url, max_concurrent=2, retry={"initial_wait_s": 0}) as provider:
        group = FallbackProvider([provider])  # its requests wait as well
        await asyncio.gather(*(_use((provider, group)[number % 2], number) for number in range(25)))
        assert server.peak == 2
        response = await provider.chat(list(ASK))
        assert response.wait is not None
        assert response.wait.queue_s is not None
        slots = provider._transport.slots
        assert slots is not None
        assert not slots._owners
        assert not slots._questions


@pytest.mark.usefixtures("litellm_is_loaded")
async def test_a_full_provider_is_late(server: _CountingServer, caplog: pytest.LogCaptureFixture) -> None:
    """The limits on silence go on in the queue; a group asks its next provider, without a cooldown of the full one."""
    talking: Script = (SSE_HEAD, http_chunk(event(said("Well, "))), "hang")
    timeouts = {"first_token_s": 0.2}

    async with (
        _provider(server.add("full", talking), max_concurrent=1, timeouts=timeouts) as full,
        _provider(server.add("other", answer("Hi.")), "other") as other,
        aclosing(full.stream_events(list(ASK))) as events,  # type: ignore[type-var]  # a generator
    ):
        await anext(events)
        caplog.set_level("INFO", logger="adapters.transport")
        with pytest.raises(APITimeoutError, match=r"^home is busy with other requests"):
            await full.chat(list(ASK), first_token_timeout=0.2)
        assert "no slot was free for 0.2 s (max_concurrent is 1)" in caplog.text
        assert len(server.seen["full"].bodies) == 1
        groups = [
            FallbackProvider([full, other], first_token_s=0.1),  # gives up before the provider does
            FallbackProvider([full, other]),
            FallbackProvider([full, other], hedge_after_s=0.05),
        ]
        for group in groups:
            response = await group.chat(list(ASK))
            assert response.provider == "other"
            assert not group._cooldowns.has(0)

        waiting = asyncio.create_task(full.chat(list(ASK), first_token_timeout=30))
        assert await until(lambda: full._transport.slots and full._transport.slots._questions)
        await full.aclose()
        with pytest.raises(APIConnectionError, match="closed"):
            await waiting
        with pytest.raises(APIError):
            await anext(events)


@pytest.mark.usefixtures("litellm_is_loaded")
async def test_a_prefill_gives_its_slot_to_a_question(server: _CountingServer) -> None:
    """It gives way to the question, and gives the slot back as well if it fails."""
    failing = reply({"error": {"message": "Oops"}}, "500 Oops")
    models = reply({"data": []})
    base_url = server.add("prefill", models, failing, models, ("hang",), answer("Hi."))

    async with _provider(base_url, max_concurrent=1, retry={"attempts": 1}) as provider, asyncio.timeout(30):
        await provider.prewarm(list(ASK))
        prefill = asyncio.create_task(provider.prewarm(list(ASK)))
        assert await until(lambda: len(server.seen["prefill"].bodies) == 4)
        assert (await provider.chat(list(ASK))).content == "Hi."
        await prefill
    assert server.peak == 1
