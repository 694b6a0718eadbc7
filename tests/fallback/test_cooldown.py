"""``adapters.fallback.cooldown``: failed providers are probed in the background, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import AuthenticationError, ConfigError, RateLimitError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider, cooldown
from adapters.fallback.cooldown import Cooldowns
from adapters.provider import LLMProvider
from adapters.testing.answers import answer, reply
from adapters.testing.server import ScriptedServer
from adapters.types import LLMResponse
from tests.transport.servers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.types import Message

_MESSAGES: list[Message] = [{"role": "user", "content": "How warm is it?"}]
_ERROR = AuthenticationError("No.", provider="first", model="plain", status_code=401)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Plays all servers of a test, one case each."""
    async with ScriptedServer() as running:
        yield running


def _provider(name: str, base_url: str) -> LLMProvider:
    return create_provider("openai_compatible", model="m", name=name, base_url=base_url, retry={"attempts": 1})


_real = pytest.mark.usefixtures("litellm_is_loaded")


@_real
async def test_a_provider_comes_back_after_a_good_probe(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One cheap request in the background ends the cooldown, and the log shows each step."""
    models = reply({"data": []})
    first = _provider("first", server.add("first", reply({}, "503 Service Unavailable"), models, answer("Back.")))
    second = _provider("second", server.add("second", answer("It is warm.")))

    async with FallbackProvider([first, second], cooldown_s=0.2) as provider:
        with caplog.at_level("INFO", logger="adapters"):
            assert (await provider.chat(_MESSAGES)).content == "It is warm."
            assert await until(lambda: "first is available again." in caplog.messages)
            assert (await provider.chat(_MESSAGES)).content == "Back."

    seen = server.seen["first"]
    assert [path.rpartition("/")[2] for path in seen.paths] == ["completions", "models", "completions"]
    assert caplog.messages == [
        "first (InternalServerError, status 503) failed; second answers.",
        "first is available again.",
        "first answers again, in place of second.",
    ]


@_real
async def test_an_unreachable_provider_stays_in_cooldown(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is probed again and again, and no user's request waits for it meanwhile."""
    away = _provider("away", "http://127.0.0.1:9/v1")
    second = _provider("second", server.add("second", answer("It is warm.")))

    async with FallbackProvider([away, second], cooldown_s=0.05) as provider:
        with caplog.at_level("INFO", logger="adapters"):
            await provider.chat(_MESSAGES)
            assert await until(lambda: caplog.messages.count("away stays in cooldown (APIConnectionError).") >= 2)
            await provider.chat(_MESSAGES)

    assert provider.provider_name == "second"
    assert [text for text in caplog.messages if "stays" not in text and "no connection to" not in text] == [
        "away (APIConnectionError) failed; second answers."
    ]


@_real
@pytest.mark.parametrize(
    ("status", "is_available"),
    [
        pytest.param("200 OK", True, id="200"),
        pytest.param("404 Not Found", True, id="404: it lists no models"),
        pytest.param("405 Method Not Allowed", True, id="405: as above"),
        pytest.param("401 Unauthorized", False, id="401"),
        pytest.param("402 Payment Required", False, id="402"),
        pytest.param("403 Forbidden", False, id="403"),
        pytest.param("429 Too Many Requests", False, id="429"),
        pytest.param("500 Internal Server Error", False, id="500"),
        pytest.param("502 Bad Gateway", False, id="502"),
        pytest.param("503 Service Unavailable", False, id="503"),
        pytest.param("529 Overloaded", False, id="529"),
    ],
)
@pytest.mark.parametrize("nested", [False, True], ids=["provider", "group"])
async def test_the_status_of_a_probe_counts(
    server: ScriptedServer, status: str, *, is_available: bool, nested: bool
) -> None:
    """A server that would refuse any request is not available; otherwise a user's request would find that out."""
    broken, models = reply({}, "503 Service Unavailable"), reply({"error": {"message": "secret"}}, status)
    first = _provider("first", server.add("first", broken, models))
    second = _provider("second", server.add("second", answer("It is warm.")))

    async with FallbackProvider([FallbackProvider([first]) if nested else first, second], cooldown_s=0.02) as provider:
        await provider.chat(_MESSAGES)
        assert await until(lambda: len(server.seen["first"].paths) >= (2 if is_available else 3))
        if is_available:
            assert await until(lambda: not provider._cooldowns.has(0))
        assert provider._cooldowns.has(0) is not is_available


@_real
@pytest.mark.parametrize("nested", [False, True], ids=["provider", "group"])
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "503 Service Unavailable"])
async def test_the_status_of_a_prewarm_does_not_count(server: ScriptedServer, status: str, *, nested: bool) -> None:
    """Not every key may list the models, so the first request is not kept from the preferred provider."""
    first = _provider("first", server.add("first", reply({}, status), answer("Hi.")))
    second = _provider("second", server.add("second", answer("It is warm.")))

    async with FallbackProvider([FallbackProvider([first]) if nested else first, second]) as provider:
        await provider.prewarm()
        assert (await provider.chat(_MESSAGES)).content == "Hi."


@_real
async def test_closing_the_group_cancels_a_probe(server: ScriptedServer) -> None:
    """The request in the background ends with the group, which leaves no task."""
    first = _provider("first", server.add("first", reply({}, "503 Service Unavailable"), ("hang",)))
    second = _provider("second", server.add("second", answer("It is warm.")))

    async with FallbackProvider([first, second], cooldown_s=0.05) as provider:
        await provider.chat(_MESSAGES)
        assert await until(lambda: len(server.seen["first"].paths) == 2)

    assert await until(lambda: server.seen["first"].gone_at)
    assert asyncio.all_tasks() - server._tasks == {asyncio.current_task()}


class _Plain(LLMProvider):
    """A provider that fails with a wrong key, or answers; its ``prewarm`` waits until it is released."""

    model = "plain"

    def __init__(self, name: str = "plain", *, fails: bool = False, held: bool = False) -> None:
        self._name = name
        self.fails = fails
        self.probes = 0
        self.probe_error: Exception | None = None
        self.released = asyncio.Event()
        if not held:
            self.released.set()

    @property
    def provider_name(self) -> str:
        """The given name."""
        return self._name

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Fail or answer."""
        if self.fails:
            raise AuthenticationError("No.", provider=self._name, model="plain", status_code=401)
        return LLMResponse(f"{self._name} got {len(messages)}, {tools}, {kwargs}")

    def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Not used here."""
        raise NotImplementedError

    async def prewarm(self, *_: Any, **__: Any) -> None:
        """Count the probe, wait, and fail if there is an error."""
        self.probes += 1
        await self.released.wait()
        if self.probe_error is not None:
            raise self.probe_error


async def _answered_by(provider: LLMProvider) -> str:
    return ((await provider.chat(_MESSAGES)).content or "").partition(" ")[0]


async def test_a_response_ends_the_cooldown_and_its_probe() -> None:
    """If the other providers fail, one in cooldown is asked after all; when it answers, no probe is needed."""
    first, second = _Plain("first", fails=True, held=True), _Plain("second")
    async with FallbackProvider([first, second], cooldown_s=0.01) as provider:
        assert await _answered_by(provider) == "second"
        assert await until(lambda: first.probes)
        first.fails, second.fails = False, True

        assert await _answered_by(provider) == "first"
        assert await until(lambda: len(asyncio.all_tasks()) == 1)
        assert await _answered_by(provider) == "first"

    assert first.probes == 1


async def test_a_group_that_is_dropped_leaves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A cooldown is a timer that keeps nothing alive: without its group nothing is probed."""
    first = _Plain("first", fails=True)
    group = FallbackProvider([first, _Plain("second")], cooldown_s=0.05)
    assert await _answered_by(group) == "second"
    dropped = weakref.ref(group)

    del group
    gc.collect()
    await asyncio.sleep(0.1)

    assert dropped() is None
    assert first.probes == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert capfd.readouterr() == ("", "")


def test_without_its_event_loop_a_cooldown_ends_with_time(capfd: pytest.CaptureFixture[str]) -> None:
    """An agent may run one event loop after another; nothing is probed on one that is closed."""
    first, second = _Plain("first", fails=True), _Plain("second")
    provider = FallbackProvider([first, second], cooldown_s=0.5)

    async def wait_for_a_probe() -> None:
        await provider.chat(_MESSAGES)
        await until(lambda: first.probes)

    assert asyncio.run(_answered_by(provider)) == "second"
    first.fails = False
    assert asyncio.run(_answered_by(provider)) == "second"
    assert first.probes == 0
    asyncio.run(asyncio.sleep(0.55))
    assert asyncio.run(_answered_by(provider)) == "first"

    first.fails = True
    first.released = asyncio.Event()
    asyncio.run(wait_for_a_probe())
    asyncio.run(provider.aclose())
    assert first.probes == 1
    assert capfd.readouterr() == ("", "")


async def test_a_cooldown_may_be_ended_from_another_loop() -> None:
    """Groups are used in several threads; a cooldown is cancelled on the event loop that it began on."""
    first = _Plain("first", held=True)
    cooldowns = Cooldowns([first], 0.01)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    loop.call_soon_threadsafe(cooldowns.begin, 0, _ERROR)
    assert await until(lambda: first.probes)

    cooldowns.end(0)

    assert not cooldowns.has(0)
    assert await until(lambda: not asyncio.all_tasks(loop))
    loop.call_soon_threadsafe(cooldowns.begin_probe, 0)  # a timer that fired in the last moment
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()
    assert first.probes == 1


async def test_a_probe_that_was_overtaken_changes_nothing() -> None:
    """Its provider answered, or failed again, before the probe was cancelled."""
    first = _Plain("first")
    cooldowns = Cooldowns([first], 60)
    cooldowns.begin(0, _ERROR)
    cooldowns.begin_probe(0)
    overtaken = cooldowns._cooldowns.pop(0)
    cooldowns.begin(0, _ERROR)

    assert overtaken.probe is not None
    await overtaken.probe

    assert cooldowns.has(0)
    overtaken.cancel()
    cooldowns.close()


@pytest.mark.parametrize(
    ("named_s", "least_s", "most_s"),
    [
        pytest.param(None, 29, 30, id="no time"),
        pytest.param(0.0, 29, 30, id="zero is no time"),
        pytest.param(7.0, 6, 7, id="shorter"),
        pytest.param(90.0, 89, 90, id="longer"),
        pytest.param(86_400.0, 3599, 3600, id="a day becomes an hour"),
        pytest.param(8.2e9, 3599, 3600, id="centuries become an hour"),
    ],
)
async def test_the_server_names_the_cooldown_within_bounds(
    named_s: float | None, least_s: float, most_s: float
) -> None:
    """``Retry-After`` replaces ``cooldown_s``, an hour at most."""
    cooldowns = Cooldowns([_Plain()], 30)
    cooldowns.begin(0, RateLimitError("No.", provider="plain", model="m", retry_after_s=named_s))

    timer = cooldowns._cooldowns[0].timer
    assert least_s < timer.when() - asyncio.get_running_loop().time() <= most_s
    cooldowns.close()


async def test_a_failed_probe_waits_for_what_the_server_names() -> None:
    """The next probe comes no sooner than ``cooldown_s``, however soon the server wants it."""
    first = _Plain("first", held=True)
    cooldowns = Cooldowns([first], 0.01)
    cooldowns.begin(0, _ERROR)
    assert await until(lambda: first.probes)

    first.probe_error = RateLimitError("No.", provider="first", model="m", retry_after_s=90)
    first.released.set()

    timer = cooldowns._cooldowns[0].timer
    assert await until(lambda: cooldowns._cooldowns[0].timer is not timer)
    assert cooldowns._cooldowns[0].timer.when() - asyncio.get_running_loop().time() > 80
    cooldowns.close()


async def test_a_probe_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that is never answered fails after a limit, and the next one is made."""
    monkeypatch.setattr(cooldown, "_LONGEST_PROBE_S", 0.05)
    first = _Plain("first", held=True)
    cooldowns = Cooldowns([first], 0.01)
    cooldowns.begin(0, _ERROR)

    assert await until(lambda: first.probes == 2)
    assert cooldowns.has(0)
    cooldowns.close()


async def test_a_cooldown_ends_although_all_probes_fail(caplog: pytest.LogCaptureFixture) -> None:
    """A probe may be wrong: a key that may not list models can still chat. So a request is tried at last."""
    first = _Plain("first")
    first.probe_error = ValueError("secret")
    cooldowns = Cooldowns([first], 0.01, longest_s=0.05)
    with caplog.at_level("INFO", logger="adapters"):
        cooldowns.begin(0, _ERROR)
        assert cooldowns.has(0)
        assert await until(lambda: not cooldowns.has(0))

    assert first.probes >= 1
    assert caplog.messages[-1] == "first is asked in its place again, though it failed its last probe (ValueError)."


@pytest.mark.parametrize("cooldown_s", [-1, float("nan"), float("inf")])
def test_a_cooldown_is_a_number_of_seconds(cooldown_s: float) -> None:
    """A time that means nothing is an error where the group is created."""
    with pytest.raises(ConfigError, match="cooldown_s must be a number of seconds, 0 or more"):
        FallbackProvider([_Plain()], cooldown_s=cooldown_s)
