"""``adapters.fallback``: what holds for every group, whatever its providers do and however a call is left."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AllProvidersFailedError, APIConnectionError, APIError, BadRequestError
from adapters.fallback import FallbackProvider
from adapters.provider import LLMProvider
from adapters.types import LLMResponse, ResponseDone, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from adapters.types import Message, StreamEvent, ToolSpec

_TICK_S = 0.001
_MESSAGES: list[Message] = [{"role": "user", "content": "Hi"}]

# A pause in ticks, "token" (reasoning), a text, an error of the server or of the request, an end without
# ``ResponseDone``, or silence. What follows the last step is a whole answer.
_STEPS = st.lists(
    st.integers(0, 4) | st.sampled_from(["token", "text", "fails", "rejects", "breaks off", "mute"]), max_size=5
)
_LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "first_token_s": st.integers(1, 6).map(lambda ticks: ticks * _TICK_S),
        "hedge_after_s": st.integers(0, 6).map(lambda ticks: ticks * _TICK_S),
        "cooldown_s": st.sampled_from([0.0, _TICK_S, 60.0]),
    },
)
_LEAVES = st.none() | st.tuples(st.sampled_from(["cancel", "twice", "scope", "close"]), st.integers(0, 12))


class _Scripted(LLMProvider):
    """Plays a script in each of its streams, and counts the streams that are open."""

    model = "m"

    def __init__(self, name: str, script: Sequence[int | str], *, closes_slowly: bool) -> None:
        self._name = name
        self._script = script
        self._closes_slowly = closes_slowly
        self._closed = asyncio.Event()
        self.asked = self.open = 0

    @property
    def provider_name(self) -> str:
        return self._name

    async def chat(self, *_: Any, **__: Any) -> LLMResponse:
        raise NotImplementedError

    def chat_stream(self, *_: Any, **__: Any) -> AsyncIterator[str]:
        raise NotImplementedError

    def _stream_for_group(
        self,
        messages: list[Message],
        tools: list[ToolSpec] | None,
        options: Mapping[str, Any],
        *,
        on_first_token: Callable[[], None],
        first_token_s: float | None,
        **_: Any,
    ) -> AsyncIterator[StreamEvent]:
        del messages, tools, options, first_token_s
        return self._play(on_first_token)

    async def aclose(self) -> None:
        """End all streams that are mute, as a provider does that closes its connections."""
        self._closed.set()

    async def _play(self, on_first_token: Callable[[], None]) -> AsyncIterator[StreamEvent]:
        self.asked, self.open, text = self.asked + 1, self.open + 1, ""
        try:
            for step in self._script:
                if isinstance(step, int):
                    await asyncio.sleep(step * _TICK_S)
                elif step == "token":
                    on_first_token()
                elif step == "text":
                    text += f"{self._name} "
                    yield TextDelta(f"{self._name} ")
                elif step == "breaks off":
                    return
                else:
                    if step == "mute":
                        await self._closed.wait()
                    kind = APIConnectionError if step == "fails" else BadRequestError
                    raise kind("No.", provider=self._name, model="m")
            yield ResponseDone(LLMResponse(f"{text}whole", provider=self._name))
        finally:
            try:
                if self._closes_slowly:
                    await asyncio.sleep(_TICK_S)
            finally:
                self.open -= 1


async def _call(group: FallbackProvider, way: str, texts: list[str]) -> LLMResponse | None:
    if way == "chat":
        return await group.chat(_MESSAGES)
    response: LLMResponse | None = None
    async with aclosing(group.stream_events(_MESSAGES, timeout=0.3)) as events:  # type: ignore[type-var]  # a generator
        async for event in events:
            if isinstance(event, TextDelta):
                texts.append(event.text)
            elif isinstance(event, ResponseDone):
                response = event.response
    return response


async def _run(group: FallbackProvider, way: str, leave: tuple[str, int] | None, texts: list[str]) -> Any:
    """Make a call and leave it in some way after some ticks; return its response or its error."""
    scope = anyio.CancelScope()

    outcome: list[LLMResponse | None] = []

    async def run() -> None:
        with scope:
            outcome.append(await _call(group, way, texts))

    task = asyncio.create_task(run())
    how, ticks = leave or ("close", 400)
    await asyncio.wait([task], timeout=ticks * _TICK_S)
    if how == "scope":
        scope.cancel()
    elif how == "close":
        await group.aclose()
    else:
        task.cancel()
        if how == "twice":
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.done()
    return outcome[0] if outcome else "left" if task.cancelled() else task.exception()


@given(
    scripts=st.lists(_STEPS, min_size=1, max_size=4),
    limits=_LIMITS,
    way=st.sampled_from(["chat", "stream_events"]),
    leave=_LEAVES,
    closes_slowly=st.booleans(),
)
def test_a_group_keeps_its_promises(
    scripts: list[list[int | str]],
    limits: dict[str, float],
    way: str,
    leave: tuple[str, int] | None,
    *,
    closes_slowly: bool,
) -> None:
    """A response is that of one provider and whole, a failure is an error, and nothing is left open."""
    providers = [_Scripted(f"p{at}", script, closes_slowly=closes_slowly) for at, script in enumerate(scripts)]
    group = FallbackProvider(providers, **limits)
    texts: list[str] = []

    async def make() -> Any:
        outcome = await _run(group, way, leave, texts)
        await group.aclose()
        for _ in range(2000):
            if not any(provider.open for provider in providers) and len(asyncio.all_tasks()) == 1:
                break
            await asyncio.sleep(_TICK_S)
        assert [provider.open for provider in providers] == [0] * len(providers)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome

    outcome = asyncio.run(make())

    assert len(set(texts)) <= 1  # never two providers
    assert not group._cooldowns._cooldowns
    assert all(provider.asked <= 3 for provider in providers)  # as a loser, as late, and once more
    if isinstance(outcome, LLMResponse):
        assert outcome.provider is not None
        own = f"{outcome.provider} "
        assert (outcome.content or "").replace(own, "") == "whole"
        if way == "stream_events":
            assert (outcome.content or "") == "".join(texts) + "whole"
        before = scripts[: int(outcome.provider[1:])]
        assert len(outcome.fallback_from) >= len(before)
        assert outcome.provider not in {reason.provider for reason in outcome.fallback_from}
    elif isinstance(outcome, AllProvidersFailedError):
        assert len({error.provider for error in outcome.errors}) == len(outcome.errors)
    else:
        assert outcome in (None, "left") or isinstance(outcome, APIError)
