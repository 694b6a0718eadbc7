"""``client.latency``, and ``hedge_after_s: auto``, which is made of it."""

from __future__ import annotations

import asyncio
import copy
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.client.latency import FirstTokenTimes
from adapters.config import ProviderConfig
from adapters.errors import ConfigError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
from adapters.testing import ASK, FakeProvider, ScriptedServer
from adapters.testing.answers import answer
from tests.patience import LateError, patient

if TYPE_CHECKING:
    from typing import Any

pytest_plugins = ["adapters.testing.plugin"]

_SECONDS = st.lists(st.floats(0.001, 60), max_size=120)


@given(answered=_SECONDS, silent=_SECONDS)
def test_the_percentile_of_the_latest_times(answered: list[float], silent: list[float]) -> None:
    """Nineteen of twenty times are not above it, and silence never lowers it."""
    times = FirstTokenTimes()
    for seconds in answered:
        times.append(seconds)
    latest = answered[-100:]
    percentile_s = times.percentile_s

    assert (percentile_s is None) == (len(latest) < 10)
    for seconds in silent:
        times.add_silence(seconds)
    if percentile_s is None:
        assert len(times) == len(latest)
        return
    above = sum(seconds > percentile_s for seconds in latest)
    assert above <= len(latest) // 20
    assert sum(seconds >= percentile_s for seconds in latest) >= math.floor(len(latest) * 0.05) + 1
    assert times.percentile_s is not None
    assert times.percentile_s >= percentile_s or len(times) == 100  # the oldest have left
    assert list(copy.deepcopy(times)) == list(times)


@patient
async def test_a_group_learns_when_to_ask_beside_a_provider(
    scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It knows after ten answers, whoever asked for them; a request that loses keeps the percentile up."""
    quick = answer("Hi.")
    home_url = scripted_server.add("home", *[quick] * 10, ("hang",), quick)
    options: dict[str, Any] = {"model": "m", "retry": {"attempts": 1}}
    async with (
        create_provider("openai_compatible", name="home", base_url=home_url, **options) as home,
        create_provider(
            "openai_compatible", name="other", base_url=scripted_server.add("other", answer("Ho.")), **options
        ) as other,
        FallbackProvider([home, other], hedge_after_s="auto") as group,
        FallbackProvider([group, other], hedge_after_s="auto") as outer,
        FallbackProvider([FakeProvider("Fake."), other], hedge_after_s="auto") as unknown,
    ):
        caplog.set_level("DEBUG", logger="adapters.fallback")
        for number in range(10):
            stream = (home, group)[number % 2].stream_events(list(ASK))
            assert [event async for event in stream]
        assert home.last_response is not None
        assert home.last_response.hedge_after_s is None
        before_s = home._hedge_after_s()
        assert before_s is not None

        response = await group.chat(list(ASK))  # home is mute
        assert (response.content, response.hedge_after_s) == ("Ho.", before_s)
        assert len(scripted_server.seen["other"].bodies) == 1
        after_s = home._hedge_after_s()
        assert after_s is not None
        assert after_s >= before_s
        again = await outer.chat(list(ASK))
        if again.content != "Hi.":
            raise LateError("home was slower than it was before")
        assert again.hedge_after_s == after_s
        assert (await unknown.chat(list(ASK))).hedge_after_s is None

    levels = [record.levelname for record in caplog.records if "as measured" in record.message]
    assert levels == ["INFO", "DEBUG", "INFO"]  # one line at INFO for each group


async def test_a_cancelled_request_says_little(scripted_server: ScriptedServer) -> None:
    """A barge-in comes long before the answer is late, and a failure at once says nothing of the time."""
    base_url = scripted_server.add("home", ("hang",))
    async with create_provider("openai_compatible", name="home", base_url=base_url, model="m") as home:
        home._first_token_times.extend([30.0] * 10)
        task = asyncio.create_task(home.chat(list(ASK), first_token_timeout=20))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert len(home._first_token_times) == 10


def test_values_of_hedge_after_s() -> None:
    """The same in YAML and for a group."""
    for value in ("auto", 0, 1.5, None):
        assert ProviderConfig.create("local", fallbacks=["b"], hedge_after_s=value).hedge_after_s == value
    for wrong in (-1, True, "automatic", math.inf):
        with pytest.raises(ConfigError, match="hedge_after_s must be a number of seconds, 0 or more, or auto"):
            FallbackProvider([FakeProvider()], hedge_after_s=wrong)  # type: ignore[arg-type]  # on purpose
