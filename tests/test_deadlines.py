"""``wire.deadlines``: which limit ends a wait, and that only waiting counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from adapters.config.sections import TimeoutConfig
from adapters.wire import deadlines
from adapters.wire.deadlines import DeadlineMissed, Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

SOON_S = 0.02
NEVER_S = 30


def limits(first_token_s: float = NEVER_S, stall_s: float = NEVER_S, total_s: float = NEVER_S) -> TimeoutConfig:
    """Limits of which those that matter are short."""
    return TimeoutConfig(connect_s=NEVER_S, first_token_s=first_token_s, stall_s=stall_s, total_s=total_s)


async def after(wait_s: float) -> str:
    """Bring something, later."""
    await asyncio.sleep(wait_s)
    return "data"


async def listen(clock: Deadlines, note: Callable[[Deadlines], None]) -> None:
    """Listen to a server that sends something all the time."""
    while True:
        await clock.wait(after(0.03))
        note(clock)


def nothing(_: Deadlines) -> None:
    """Nothing has come yet."""


def useful(clock: Deadlines) -> None:
    """Useful data has come."""
    clock.useful()


def finished(clock: Deadlines) -> None:
    """Useful data and the finish of the answer have come."""
    clock.useful()
    clock.finished()


@pytest.mark.parametrize(
    ("timeouts", "streamed", "before", "missed"),
    [
        pytest.param(limits(first_token_s=SOON_S), True, nothing, "first_token_s", id="no first token"),
        pytest.param(limits(stall_s=SOON_S), True, useful, "stall_s", id="a pause"),
        pytest.param(limits(total_s=SOON_S), True, nothing, "total_s", id="too long in all, before the first token"),
        pytest.param(limits(total_s=SOON_S), True, useful, "total_s", id="too long in all, after it"),
        pytest.param(limits(total_s=SOON_S), False, nothing, "total_s", id="not streamed"),
        pytest.param(limits(total_s=SOON_S), True, finished, "total_s", id="too long in all, after the finish"),
    ],
)
async def test_the_nearest_limit_ends_the_wait(
    timeouts: TimeoutConfig, streamed: bool, before: Callable[[Deadlines], None], missed: str
) -> None:
    """Of the limits that apply at this point of the answer, the nearest is named, with its length."""
    clock = Deadlines(timeouts, streamed=streamed)
    before(clock)

    with pytest.raises(DeadlineMissed, match=f"^{missed} of 0.02 s$") as caught:
        await clock.wait(after(NEVER_S))

    assert (caught.value.limit, caught.value.seconds) == (missed, SOON_S)
    assert isinstance(caught.value, TimeoutError)


async def test_what_lingers_after_the_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the finish of an answer neither the first token nor a pause counts, but a limit of its own."""
    monkeypatch.setattr(deadlines, "LINGER_S", SOON_S)
    clock = Deadlines(limits(), streamed=True)
    finished(clock)

    with pytest.raises(DeadlineMissed) as caught:
        await clock.wait(after(NEVER_S))

    assert caught.value.limit == "linger"


@pytest.mark.parametrize(
    ("timeouts", "streamed", "before"),
    [
        pytest.param(limits(first_token_s=SOON_S), True, useful, id="first token, once it has come"),
        pytest.param(limits(stall_s=SOON_S), True, nothing, id="pause, before the first token"),
        pytest.param(limits(first_token_s=SOON_S, stall_s=SOON_S), True, finished, id="both, after the finish"),
        pytest.param(limits(first_token_s=SOON_S, stall_s=SOON_S), False, nothing, id="both, if nothing is streamed"),
    ],
)
async def test_limits_that_do_not_apply(
    timeouts: TimeoutConfig, streamed: bool, before: Callable[[Deadlines], None]
) -> None:
    """A limit for another part of the answer ends no wait."""
    clock = Deadlines(timeouts, streamed=streamed)
    before(clock)

    assert await clock.wait(after(5 * SOON_S)) == "data"


async def test_noise_does_not_move_the_first_token() -> None:
    """Data that brings the answer no further, such as comments, does not buy more time."""
    clock = Deadlines(limits(first_token_s=0.1), streamed=True)

    with pytest.raises(DeadlineMissed) as caught:
        await listen(clock, nothing)

    assert caught.value.limit == "first_token_s"


async def test_useful_data_moves_the_next_pause() -> None:
    """Each useful piece begins a new pause, but the total goes on."""
    clock = Deadlines(limits(stall_s=0.35, total_s=0.4), streamed=True)

    with pytest.raises(DeadlineMissed) as caught:
        await listen(clock, Deadlines.useful)

    assert caught.value.limit == "total_s"


async def test_the_finish_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that repeats its finish does not linger for ever."""
    monkeypatch.setattr(deadlines, "LINGER_S", 0.1)
    clock = Deadlines(limits(), streamed=True)

    with pytest.raises(DeadlineMissed) as caught:
        await listen(clock, Deadlines.finished)

    assert caught.value.limit == "linger"


async def test_only_waiting_counts() -> None:
    """A listener that takes its time between two pieces runs into no limit."""
    clock = Deadlines(limits(first_token_s=0.2, stall_s=0.2, total_s=0.4), streamed=True)

    for _ in range(3):
        assert await clock.wait(after(0)) == "data"
        clock.useful()
        await asyncio.sleep(0.25)


async def test_another_timeout_passes_through() -> None:
    """A timeout that is not ours is not taken for one."""

    async def fail() -> None:
        raise TimeoutError("theirs")

    with pytest.raises(TimeoutError, match="theirs") as caught:
        await Deadlines(limits(), streamed=True).wait(fail())

    assert not isinstance(caught.value, DeadlineMissed)


async def test_cancelling_passes_through() -> None:
    """Whoever is cancelled while waiting is cancelled, not late."""
    task = asyncio.create_task(Deadlines(limits(), streamed=True).wait(after(NEVER_S)))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
