"""``transport.deadlines``: which limit ends a wait, that only waiting counts, and how exact it is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from adapters import APITimeoutError, TextDelta, create_provider
from adapters.config.sections import TimeoutConfig
from adapters.testing.answers import DONE, SSE_HEAD, STOP, event, http_chunk, said
from adapters.transport import litellm_bridge
from adapters.transport.deadlines import LINGER_S, DeadlineExceeded, Deadlines
from tests.patience import LateError, in_time, patient
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.config.options import TimeoutOptions
    from adapters.testing.answers import Script
    from tests.transport.servers import Counting

SOON_S = 0.02
NEVER_S = 30


def limits(first_token_s: float = NEVER_S, stall_s: float = NEVER_S, total_s: float = NEVER_S) -> TimeoutConfig:
    """Limits of which those that matter are short."""
    return TimeoutConfig(connect_s=NEVER_S, first_token_s=first_token_s, stall_s=stall_s, total_s=total_s)


async def after(wait_s: float) -> str:
    """Bring something, later."""
    await asyncio.sleep(wait_s)
    return "data"


async def pause(wait_s: float, most_s: float) -> None:
    """Sleep for a time that a limit is compared with, and notice if a busy machine made it too long."""
    began_s = time.monotonic()
    await asyncio.sleep(wait_s)
    in_time(time.monotonic() - began_s, 0, most_s)


async def listen(clock: Deadlines, note: Callable[[Deadlines], None], most_s: float = NEVER_S) -> None:
    """Listen to a server that sends something all the time, with no more than ``most_s`` between two pieces."""
    while True:
        began_s = time.monotonic()
        try:
            await clock.wait(after(0.03))
        finally:
            in_time(time.monotonic() - began_s, 0, most_s)
        note(clock)


def nothing(_: Deadlines) -> None:
    """Nothing has come yet."""


def request_sent(clock: Deadlines) -> None:
    """The request has left."""
    clock.request_sent()


def token_received(clock: Deadlines) -> None:
    """Useful data has come."""
    clock.request_sent()
    clock.token_received()


def response_complete(clock: Deadlines) -> None:
    """Useful data and the finish of the answer have come."""
    token_received(clock)
    clock.response_complete()


@pytest.mark.parametrize(
    ("timeouts", "streamed", "before", "exceeded"),
    [
        pytest.param(limits(first_token_s=SOON_S), True, request_sent, "first_token_s", id="no first token"),
        pytest.param(limits(stall_s=SOON_S), True, token_received, "stall_s", id="a pause"),
        pytest.param(limits(total_s=SOON_S), True, nothing, "total_s", id="too long in all, before the request"),
        pytest.param(
            limits(total_s=SOON_S), True, request_sent, "total_s", id="too long in all, before the first token"
        ),
        pytest.param(limits(total_s=SOON_S), True, token_received, "total_s", id="too long in all, after it"),
        pytest.param(limits(total_s=SOON_S), False, request_sent, "total_s", id="not streamed"),
        pytest.param(
            limits(total_s=SOON_S), True, response_complete, "total_s", id="too long in all, after the finish"
        ),
    ],
)
async def test_the_nearest_limit_ends_the_wait(
    timeouts: TimeoutConfig, streamed: bool, before: Callable[[Deadlines], None], exceeded: str
) -> None:
    """Of the limits that apply at this point of the answer, the nearest is named, with its length."""
    clock = Deadlines(timeouts, streamed=streamed)
    before(clock)

    with pytest.raises(DeadlineExceeded, match=f"^{exceeded} of 0.02 s$") as caught:
        await clock.wait(after(NEVER_S))

    assert (caught.value.limit, caught.value.seconds) == (exceeded, SOON_S)
    assert isinstance(caught.value, TimeoutError)


async def test_what_lingers_after_the_finish() -> None:
    """After the finish of an answer neither the first token nor a pause counts, but a limit of its own."""
    clock = Deadlines(limits(), streamed=True)
    response_complete(clock)

    with pytest.raises(DeadlineExceeded) as caught:
        await clock.wait(after(NEVER_S))

    assert (caught.value.limit, caught.value.seconds) == ("linger", LINGER_S)


@pytest.mark.parametrize(
    ("timeouts", "streamed", "before"),
    [
        pytest.param(limits(first_token_s=SOON_S), True, nothing, id="first token, before the request has left"),
        pytest.param(limits(first_token_s=SOON_S), True, token_received, id="first token, once it has come"),
        pytest.param(limits(stall_s=SOON_S), True, request_sent, id="pause, before the first token"),
        pytest.param(
            limits(first_token_s=SOON_S, stall_s=SOON_S), True, response_complete, id="both, after the finish"
        ),
        pytest.param(
            limits(first_token_s=SOON_S, stall_s=SOON_S), False, token_received, id="both, if nothing is streamed"
        ),
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
    clock.request_sent()

    with pytest.raises(DeadlineExceeded) as caught:
        await listen(clock, nothing)

    assert caught.value.limit == "first_token_s"


@patient
async def test_useful_data_moves_the_next_pause() -> None:
    """Each useful piece begins a new pause, but the total goes on."""
    clock = Deadlines(limits(stall_s=0.35, total_s=0.4), streamed=True)
    clock.request_sent()

    with pytest.raises(DeadlineExceeded) as caught:
        await listen(clock, Deadlines.token_received, most_s=0.3)

    assert caught.value.limit == "total_s"


async def test_the_finish_is_noted_once() -> None:
    """A server that repeats its finish does not linger for ever."""
    clock = Deadlines(limits(), streamed=True)

    with pytest.raises(DeadlineExceeded) as caught:
        await listen(clock, Deadlines.response_complete)

    assert caught.value.limit == "linger"


async def test_only_waiting_counts() -> None:
    """A listener that takes its time between two pieces runs into no limit, however often it does."""
    clock = Deadlines(limits(first_token_s=0.2, stall_s=0.2, total_s=0.4), streamed=True)
    clock.request_sent()

    for _ in range(3):
        assert await clock.wait(after(0)) == "data"
        clock.token_received()
        clock.pause()
        await asyncio.sleep(0.25)
        clock.resume()


@patient
async def test_the_time_before_the_request_has_left_may_be_held_too() -> None:
    """Holding does no harm where nothing is waited for, and resuming what was not held changes nothing."""
    began_s = time.monotonic()
    clock = Deadlines(limits(total_s=0.3), streamed=True)
    clock.pause()
    await asyncio.sleep(0.25)
    clock.resume()
    clock.resume()

    try:
        assert await clock.wait(after(0.1)) == "data"
    except DeadlineExceeded:
        in_time(time.monotonic() - began_s, 0, 0.5)
        raise


@pytest.mark.parametrize(
    ("options", "exceeded"),
    [
        pytest.param({"total_s": 0.1}, "total_s of 0.1 s", id="a total of the call's own"),
        pytest.param({"total_s": 5.0, "began_ago_s": 4.9}, "total_s of 5 s", id="earlier tries count"),
        pytest.param({"retry_s": 0.1}, "deadline_s of 0.1 s", id="a try that repeats another one"),
        pytest.param({"retry_s": 5.0, "began_ago_s": 4.9}, "deadline_s of 5 s", id="the same, after earlier tries"),
        pytest.param({"total_s": 0.1, "began_ago_s": 9.0}, "total_s of 0.1 s", id="too late before it begins"),
    ],
)
async def test_limits_of_one_call(options: dict[str, Any], exceeded: str) -> None:
    """A call may have limits of its own, and they hold for all of its tries together."""
    began_s = time.monotonic() - options.pop("began_ago_s", 0.0)
    clock = Deadlines(limits(), streamed=True, began_s=began_s, **options)
    clock.request_sent()

    with pytest.raises(DeadlineExceeded, match=f"^{exceeded}$"):
        await clock.wait(after(NEVER_S))

    assert time.monotonic() - began_s < max(options.values()) + 9.0 + NEVER_S / 2


async def test_a_repeated_try_that_has_brought_something_may_go_on() -> None:
    """The limit on retries holds until the first token, not for the answer."""
    clock = Deadlines(limits(), streamed=True, retry_s=0.05)
    token_received(clock)

    assert await clock.wait(after(0.15)) == "data"


async def test_another_timeout_passes_through() -> None:
    """A timeout that is not ours is not taken for one."""

    async def fail() -> None:
        raise TimeoutError("theirs")

    with pytest.raises(TimeoutError, match="theirs") as caught:
        await Deadlines(limits(), streamed=True).wait(fail())

    assert not isinstance(caught.value, DeadlineExceeded)


async def test_cancelling_passes_through() -> None:
    """A caller that is cancelled while it waits is cancelled, not late."""
    task = asyncio.create_task(Deadlines(limits(), streamed=True).wait(after(NEVER_S)))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


# The guard: one timer for all waits of a body.


class Rung:
    """Notes when it was called."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.after_s: list[float] = []

    def __call__(self) -> None:
        """Note it."""
        self.after_s.append(time.monotonic() - self.began_s)


@patient
async def test_the_guard_rings_once_and_in_time() -> None:
    """What is guarded is ended at the nearest limit, and why is known."""
    clock, rung = Deadlines(limits(first_token_s=0.1), streamed=True), Rung()
    clock.request_sent()
    clock.guard(rung)
    assert clock.exceeded is None

    await asyncio.sleep(0.3)

    [after_s] = rung.after_s
    in_time(after_s, 0.1, 0.2)
    assert clock.exceeded is not None
    assert clock.exceeded.limit == "first_token_s"


@patient
async def test_useful_data_moves_the_guard() -> None:
    """The timer looks again when it rings early, and a pause that is shorter than the first wait is not exceeded."""
    clock, rung = Deadlines(limits(stall_s=0.15), streamed=True), Rung()
    clock.request_sent()
    clock.guard(rung)
    for _ in range(5):
        await pause(0.05, most_s=0.12)
        clock.token_received()
    assert rung.after_s == []

    await asyncio.sleep(0.3)

    [after_s] = rung.after_s
    in_time(after_s, 0.39, 0.55)
    assert clock.exceeded is not None
    assert clock.exceeded.limit == "stall_s"


async def test_the_finish_moves_the_guard() -> None:
    """After the finish the guard waits no longer than it is worth."""
    clock, rung = Deadlines(limits(), streamed=True), Rung()
    clock.request_sent()
    clock.guard(rung)
    clock.response_complete()

    await asyncio.sleep(LINGER_S + 0.2)

    assert len(rung.after_s) == 1
    assert clock.exceeded is not None
    assert clock.exceeded.limit == "linger"


@patient
async def test_the_guard_sleeps_while_the_listener_has_the_floor() -> None:
    """A listener may think as long as it likes; then what is left of the limit still holds."""
    clock, rung = Deadlines(limits(first_token_s=0.2), streamed=True), Rung()
    clock.request_sent()
    clock.guard(rung)
    await pause(0.05, most_s=0.15)
    clock.pause()
    await asyncio.sleep(0.4)
    assert rung.after_s == []
    clock.resume()

    await asyncio.sleep(0.3)

    [after_s] = rung.after_s
    in_time(after_s, 0.59, 0.7)


async def test_a_short_hold_leaves_the_timer_alone() -> None:
    """A listener that answers at once costs no timer."""
    clock, rung = Deadlines(limits(first_token_s=0.1), streamed=True), Rung()
    clock.request_sent()
    clock.guard(rung)
    timer = clock._timer
    clock.pause()
    clock.resume()
    assert clock._timer is timer

    await asyncio.sleep(0.2)

    assert len(rung.after_s) == 1


async def test_a_released_guard_never_rings() -> None:
    """After its end nothing is ended, neither by time nor by what is noted late; a second time is harmless."""
    clock, rung = Deadlines(limits(first_token_s=0.05, stall_s=0.05), streamed=True), Rung()
    clock.request_sent()
    clock.guard(rung)
    clock.release()
    clock.release()
    token_received(clock)
    clock.pause()
    clock.resume()

    await asyncio.sleep(0.15)

    assert rung.after_s == []
    assert clock.exceeded is None


# How exact the limits are, with a real server.

HI = http_chunk(event(said("Hi ")))
LIMIT_S = 0.6
ALLOWED_S = 0.1


async def took(base_url: str, timeouts: dict[str, float], *, stream: bool = True, **options: Any) -> tuple[float, str]:
    """How long a question takes until it fails, or until it ends, and what was heard."""
    heard = ""
    long = {"connect_s": 20, "first_token_s": 20, "stall_s": 20, "total_s": 20}
    all_timeouts = cast("TimeoutOptions", {**long, **timeouts})
    async with create_provider(
        "openai_compatible", model="m", base_url=base_url, timeouts=all_timeouts, retry={"attempts": 1}
    ) as provider:
        began_s = time.monotonic()
        try:
            if stream:
                async for piece in provider.stream_events([{"role": "user", "content": "Hi"}], **options):
                    heard += piece.text if isinstance(piece, TextDelta) else ""
            else:
                await provider.chat([{"role": "user", "content": "Hi"}], **options)
        except APITimeoutError:
            heard += "[late]"
        return time.monotonic() - began_s, heard


def fits(took_s: float, expected_s: float, text: str, expected: str) -> None:
    """Check time and text of one try; on a busy machine a piece of text may be late too."""
    in_time(took_s, expected_s - 0.02, expected_s + ALLOWED_S)
    if text != expected:
        raise LateError(f"heard {text!r} and not {expected!r}")


_PINGS: Script = (SSE_HEAD, *(part for _ in range(60) for part in (http_chunk(b": ping\n\n"), 0.05)))
_PHASES = [
    pytest.param(("hang",), {"first_token_s": LIMIT_S}, LIMIT_S, "[late]", id="no head"),
    pytest.param((SSE_HEAD, "hang"), {"first_token_s": LIMIT_S}, LIMIT_S, "[late]", id="no first token"),
    pytest.param(
        _PINGS,
        {"first_token_s": LIMIT_S},
        LIMIT_S,
        "[late]",
        id="comments alone",
    ),
    pytest.param((SSE_HEAD, HI, "hang"), {"stall_s": LIMIT_S}, LIMIT_S, "Hi [late]", id="a pause"),
    pytest.param((SSE_HEAD, 0.3, HI, "hang"), {"stall_s": LIMIT_S}, LIMIT_S + 0.3, "Hi [late]", id="a later pause"),
    pytest.param(
        (SSE_HEAD, HI, 0.2, HI, "hang"), {"total_s": LIMIT_S}, LIMIT_S, "Hi Hi [late]", id="in all, in the middle"
    ),
    pytest.param(("hang",), {"total_s": LIMIT_S}, LIMIT_S, "[late]", id="in all, before the head"),
    pytest.param(
        (SSE_HEAD, HI, http_chunk(event(STOP)), "hang"), {}, LINGER_S, "Hi ", id="after the finish, which is no failure"
    ),
    pytest.param((SSE_HEAD, HI, http_chunk(event(STOP) + DONE), "hang"), {}, 0, "Hi ", id="after the end"),
]


@pytest.mark.parametrize(("script", "timeouts", "expected_s", "heard"), _PHASES)
@patient
async def test_each_limit_is_exact(
    server: Counting, script: Script, timeouts: dict[str, float], expected_s: float, heard: str
) -> None:
    """In each phase of an answer its limit is kept within 100 ms; LiteLLM is loaded before."""
    await litellm_bridge.warm_up("openai/")

    took_s, text = await took(server.add("case", script), timeouts)

    fits(took_s, expected_s, text, heard)


@pytest.mark.parametrize("script", [("hang",), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "hang")])
@patient
async def test_a_whole_answer_has_its_total(server: Counting, script: Script) -> None:
    """Without a stream there is only the total, also one of the call's own."""
    await litellm_bridge.warm_up("openai/")
    base_url = server.add("case", script)

    for timeouts, options in (({"total_s": LIMIT_S, "first_token_s": 0.1}, {}), ({}, {"timeout": LIMIT_S})):
        took_s, heard = await took(base_url, timeouts, stream=False, **options)
        fits(took_s, LIMIT_S, heard, "[late]")


@patient
async def limit_is_exact(server: Counting, limit: str, script: Script, heard: str) -> None:
    """Check that a limit of a second is kept within 100 ms, in one of several tries."""
    took_s, text = await took(server.add("limited", script), {limit: 1.0})

    fits(took_s, 1.0, text, heard)


async def test_limits_are_exact_on_a_busy_loop(server: Counting) -> None:
    """While the loop reads a hundred other streams, each limit is as exact as on an idle one."""
    await litellm_bridge.warm_up("openai/")
    stop = asyncio.Event()
    noisy = server.add("noise", (SSE_HEAD, *(part for _ in range(200) for part in (HI, 0.1))))

    async def noise(number: int) -> None:
        async with create_provider("openai_compatible", model="m", base_url=noisy) as provider:
            await asyncio.sleep(number / 100)
            async for _ in provider.chat_stream([{"role": "user", "content": "Hi"}]):
                if stop.is_set():
                    break

    others = [asyncio.create_task(noise(number)) for number in range(100)]
    try:
        assert await until(lambda: len(server.seen["noise"].started) == len(others))
        await limit_is_exact(server, "first_token_s", (SSE_HEAD, "hang"), "[late]")
        await limit_is_exact(server, "stall_s", (SSE_HEAD, HI, "hang"), "Hi [late]")
        await limit_is_exact(server, "total_s", (SSE_HEAD, HI, 0.2, HI, "hang"), "Hi Hi [late]")
    finally:
        stop.set()
        await asyncio.gather(*others)
