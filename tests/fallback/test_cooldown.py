"""``adapters.fallback.cooldown``: who rests is looked for in the background, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from adapters.errors import AuthenticationError, ConfigError, RateLimitError
from adapters.factory import create_provider
from adapters.fallback import FallbackProvider
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
    """Plays all servers of a test, each a case of its own."""
    async with ScriptedServer() as running:
        yield running


def _provider(name: str, base_url: str) -> LLMProvider:
    return create_provider("openai_compatible", model="m", name=name, base_url=base_url, retry={"attempts": 1})


@pytest.mark.usefixtures("litellm_is_loaded")
async def test_a_resting_provider_is_looked_for_and_comes_back(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One cheap request in the background finds it again, and the log tells each step."""
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


@pytest.mark.usefixtures("litellm_is_loaded")
async def test_one_that_cannot_be_found_rests_on(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """It is looked for again and again, and no person waits for it meanwhile."""
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


@pytest.mark.usefixtures("litellm_is_loaded")
async def test_closing_ends_a_search(server: ScriptedServer) -> None:
    """A request in the background ends with the group, which leaves no task."""
    first = _provider("first", server.add("first", reply({}, "503 Service Unavailable"), ("hang",)))
    second = _provider("second", server.add("second", answer("It is warm.")))

    async with FallbackProvider([first, second], cooldown_s=0.05) as provider:
        await provider.chat(_MESSAGES)
        assert await until(lambda: len(server.seen["first"].paths) == 2)

    assert await until(lambda: server.seen["first"].gone_at)
    assert asyncio.all_tasks() - server._tasks == {asyncio.current_task()}


class _Plain(LLMProvider):
    """A provider that fails with a wrong key, or answers; its ``prewarm`` waits until it may go on."""

    model = "plain"

    def __init__(self, name: str = "plain", *, fails: bool = False, held: bool = False) -> None:
        self._name = name
        self.fails = fails
        self.looked_for = 0
        self.prewarm_error: Exception | None = None
        self._may_go_on = asyncio.Event()
        if not held:
            self._may_go_on.set()

    @property
    def provider_name(self) -> str:
        """The name that was given."""
        return self._name

    async def chat(self, messages: Any, tools: Any = None, **kwargs: Any) -> LLMResponse:
        """Fail or answer."""
        if self.fails:
            raise AuthenticationError("No.", provider=self._name, model="plain", status_code=401)
        return LLMResponse(f"{self._name} got {len(messages)}, {tools}, {kwargs}")

    def chat_stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[str]:
        """Not asked here."""
        raise NotImplementedError

    async def prewarm(self) -> None:
        """Note it."""
        self.looked_for += 1
        await self._may_go_on.wait()
        if self.prewarm_error is not None:
            raise self.prewarm_error


async def _answered_by(provider: LLMProvider) -> str:
    return ((await provider.chat(_MESSAGES)).content or "").partition(" ")[0]


async def test_a_provider_that_answers_needs_no_search() -> None:
    """When the others fail the resting one is asked after all; its answer ends its rest and the search for it."""
    first, second = _Plain("first", fails=True, held=True), _Plain("second")
    async with FallbackProvider([first, second], cooldown_s=0.01) as provider:
        assert await _answered_by(provider) == "second"
        assert await until(lambda: first.looked_for)
        first.fails, second.fails = False, True

        assert await _answered_by(provider) == "first"
        assert await until(lambda: len(asyncio.all_tasks()) == 1)
        assert await _answered_by(provider) == "first"

    assert first.looked_for == 1


async def test_nothing_is_left_of_a_group_that_nobody_closes(capfd: pytest.CaptureFixture[str]) -> None:
    """A rest is a timer that holds nobody: the group goes when its owner does, and nothing is asked any more."""
    first = _Plain("first", fails=True)
    group = FallbackProvider([first, _Plain("second")], cooldown_s=0.05)
    assert await _answered_by(group) == "second"
    gone = weakref.ref(group)

    del group
    gc.collect()
    await asyncio.sleep(0.1)

    assert gone() is None
    assert first.looked_for == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert capfd.readouterr() == ("", "")


def test_without_its_event_loop_time_alone_decides(capfd: pytest.CaptureFixture[str]) -> None:
    """An agent may run one loop after the other; nobody looks for a provider on one that has ended."""
    first, second = _Plain("first", fails=True), _Plain("second")
    provider = FallbackProvider([first, second], cooldown_s=0.5)

    async def look_for_it() -> None:
        await provider.chat(_MESSAGES)
        await until(lambda: first.looked_for)

    assert asyncio.run(_answered_by(provider)) == "second"
    first.fails = False
    assert asyncio.run(_answered_by(provider)) == "second"
    assert first.looked_for == 0
    asyncio.run(asyncio.sleep(0.55))
    assert asyncio.run(_answered_by(provider)) == "first"

    first.fails = True
    first._may_go_on = asyncio.Event()
    asyncio.run(look_for_it())
    asyncio.run(provider.aclose())
    assert first.looked_for == 1
    assert capfd.readouterr() == ("", "")


async def test_a_cooldown_may_be_ended_from_another_loop() -> None:
    """Groups are used in several threads; a cooldown is cancelled on the event loop that it began on."""
    first = _Plain("first", held=True)
    cooldowns = Cooldowns([first], 0.01)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    loop.call_soon_threadsafe(cooldowns.begin, 0, _ERROR)
    assert await until(lambda: first.looked_for)

    cooldowns.end(0)

    assert not cooldowns.has(0)
    assert await until(lambda: not asyncio.all_tasks(loop))
    loop.call_soon_threadsafe(cooldowns.begin_probe, 0)  # a timer that fired in the last moment
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()
    assert first.looked_for == 1


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
    assert await until(lambda: first.looked_for)

    first.prewarm_error = RateLimitError("No.", provider="first", model="m", retry_after_s=90)
    first._may_go_on.set()

    timer = cooldowns._cooldowns[0].timer
    assert await until(lambda: cooldowns._cooldowns[0].timer is not timer)
    assert cooldowns._cooldowns[0].timer.when() - asyncio.get_running_loop().time() > 80
    cooldowns.close()


async def test_a_cooldown_ends_although_all_probes_fail(caplog: pytest.LogCaptureFixture) -> None:
    """A probe may be wrong: a key that may not list models can still chat. So a request is tried at last."""
    first = _Plain("first")
    first.prewarm_error = ValueError("secret")
    cooldowns = Cooldowns([first], 0.01, longest_s=0.05)
    with caplog.at_level("INFO", logger="adapters"):
        cooldowns.begin(0, _ERROR)
        assert cooldowns.has(0)
        assert await until(lambda: not cooldowns.has(0))

    assert first.looked_for >= 1
    assert caplog.messages[-1] == "first is asked in its place again, though it failed its last probe (ValueError)."


@pytest.mark.parametrize("cooldown_s", [-1, float("nan"), float("inf")])
def test_a_cooldown_is_a_number_of_seconds(cooldown_s: float) -> None:
    """A time that means nothing is an error where the group is created."""
    with pytest.raises(ConfigError, match="cooldown_s must be a number of seconds, 0 or more"):
        FallbackProvider([_Plain()], cooldown_s=cooldown_s)
