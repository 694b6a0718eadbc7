"""``transport.litellm_bridge``: LiteLLM is loaded once, late and silently, and sends what it is told, once."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adapters import FallbackProvider, create_provider
from adapters.testing.answers import SSE_HEAD, answer, event, http_chunk, reply, said
from adapters.testing.server import ScriptedServer
from adapters.transport import background, litellm_bridge
from adapters.transport.capture import CapturedExchange
from adapters.transport.endpoint import Endpoint
from adapters.transport.http import HTTPSession
from tests.patience import untraced
from tests.transport.processes import run

if TYPE_CHECKING:
    from adapters.testing.server import Step

KEY = "wire-KEY-0123456789"
PROMPT = "wire-PROMPT-0123456789"
QUESTION = [{"role": "user", "content": PROMPT}]
PREFIXES = ("openai/", "openrouter/")
HEAVY = ("litellm", "openai", "aiohttp")
REFUSED = reply({"error": {"message": "x"}}, "429 Too Many Requests", retry_after="0")


async def ask(
    prefix: str, base_url: str, *, stream: bool, model: str = "m", body: dict[str, Any] | None = None
) -> int | None:
    """Send one request through LiteLLM, and give the status that came over the wire."""
    await litellm_bridge.warm_up(prefix)
    endpoint = Endpoint("shop", model, prefix, base_url, KEY)
    client = await HTTPSession.open(base_url, 5)
    exchange = CapturedExchange(client.send, endpoint, {"X-Team": "voice"})
    body = {"messages": QUESTION, **(body or {})}
    await litellm_bridge.acompletion(exchange, endpoint, body, stream=stream)
    exchange.close()
    await client.aclose()
    return exchange.response.status if exchange.response is not None else None


async def ask_nonsense() -> None:
    """Ask on a route that there is none of: LiteLLM fails by itself, before anything is sent."""

    async def send(*_: object) -> None:
        pytest.fail("something was sent")

    endpoint = Endpoint("shop", "m", "nonsense/", "http://shop.invalid/v1", KEY)
    await litellm_bridge.acompletion(CapturedExchange(send, endpoint), endpoint, {"messages": QUESTION}, stream=False)


class Observer(logging.Handler):
    """Records in a fresh process what LiteLLM does unasked."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.logged: list[str] = []
        self.reached: list[str] = []
        self.warmed_up: list[str] = []
        self.events: list[str] = []
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.DEBUG)
        sys.addaudithook(self.hear)
        first_call = litellm_bridge._first_call

        async def noted(prefix: str) -> None:
            self.warmed_up.append(prefix)
            await first_call(prefix)

        litellm_bridge._first_call = noted  # a process of its own; nothing else tells how often it was held

    def emit(self, record: logging.LogRecord) -> None:
        """Note what is logged."""
        self.logged.append(f"{record.name} {record.getMessage()} {record.args}")

    def hear(self, name: str, args: tuple[Any, ...]) -> None:
        """Note which addresses are looked up or connected to."""
        if name in ("socket.connect", "socket.getaddrinfo"):
            self.reached.append(str(args))

    async def register(self) -> None:
        """Have LiteLLM tell of every beginning, success and failure, in each way that it knows."""
        litellm: Any = await litellm_bridge.load()
        events = self.events

        from litellm.integrations.custom_logger import CustomLogger

        class Logger(CustomLogger):  # type: ignore[misc]  # mypy skips LiteLLM, so its classes are unknown
            """Notes each event."""

            def log_pre_api_call(self, *_: Any, **__: Any) -> None:
                """Note it."""
                events.append("logger: before")

            def log_success_event(self, *_: Any, **__: Any) -> None:
                """Note it."""
                events.append("logger: success")

            def log_failure_event(self, *_: Any, **__: Any) -> None:
                """Note it."""
                events.append("logger: failure")

            async def async_log_success_event(self, *_: Any, **__: Any) -> None:
                """Note it."""
                events.append("logger: async success")

            async def async_log_failure_event(self, *_: Any, **__: Any) -> None:
                """Note it."""
                events.append("logger: async failure")

        litellm.callbacks = [Logger()]
        litellm.input_callback = [lambda *_: events.append("before")]
        litellm.success_callback = [lambda *_: events.append("success")]
        litellm.failure_callback = [lambda *_: events.append("failure")]


async def observe() -> dict[str, Any]:
    """Load LiteLLM as two agents would do at once, of which one gives up, and ask some questions on each route."""
    observer = Observer()
    report: dict[str, Any] = {"heavy before": [name for name in HEAVY if name in sys.modules]}
    collector = Collector()
    level = logging.getLogger("openai").level
    began_s = time.monotonic()
    pauses_s: list[float] = []
    pulse = asyncio.create_task(beat(pauses_s, collector))
    first = asyncio.create_task(litellm_bridge.load())
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await observer.register()
    await asyncio.gather(*(litellm_bridge.warm_up(prefix) for prefix in PREFIXES * 3))
    report["seconds"] = time.monotonic() - began_s
    pulse.cancel()
    report["pause"] = max(pauses_s)
    report |= {"cancelled": first.cancelled(), "warmed up": observer.warmed_up, "reached": list(observer.reached)}
    report |= await asked(observer)
    report["events of others"] = list(observer.events)
    report["logged of others"] = [each for each in observer.logged if each.startswith("LiteLLM ")]
    report["openai"] = [level, logging.getLogger("openai").level]
    report["environment"] = {name: os.environ[name] for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_MODE")}
    report["collector"] = await collector.report()
    report["leaks"] = [each for each in observer.logged if KEY in each or PROMPT in each]
    return report


async def asked(observer: Observer) -> dict[str, Any]:
    """Ask in each way, with a good end and a bad one, and then once as another part of the program would."""
    statuses = []
    async with ScriptedServer() as server:
        for prefix in PREFIXES:
            for stream in (False, True):
                for step in (answer("Hi"), REFUSED):
                    statuses.append(await ask(prefix, server.add("case", step), stream=stream))  # noqa: PERF401 - three loops
        with pytest.raises(Exception, match="LLM Provider NOT provided"):
            await ask_nonsense()
        elsewhere = [each for each in observer.reached if str(server._port) not in each]
    await asyncio.sleep(1)  # LiteLLM tells its callbacks later, in tasks and in threads
    events = list(observer.events)
    litellm = await litellm_bridge.load()
    await litellm.acompletion(model="openai/x", messages=[{"role": "user", "content": "y"}], mock_response="z")
    await asyncio.sleep(1)
    return {"statuses": statuses, "reached later": elsewhere, "events": events}


class Collector:
    """Notes in a fresh process what loading LiteLLM does to the garbage collector."""

    def __init__(self) -> None:
        self._before = gc.get_threshold()
        self._frozen = gc.get_freeze_count()  # Python 3.12 exempts objects of its own
        self._thresholds: set[int] = set()
        self._was_disabled = False
        self._cycles: list[Any] = [self._cycle() for _ in range(50)]

    @staticmethod
    def _cycle() -> Counter[str]:
        cycle: Counter[Any] = Counter()
        cycle["itself"] = cycle  # type: ignore[assignment]  # any object that can be referred to weakly
        return cycle

    def note(self) -> None:
        """Note its state, while LiteLLM is loaded."""
        self._thresholds.add(gc.get_threshold()[0])
        self._was_disabled |= not gc.isenabled()

    async def report(self) -> dict[str, Any]:
        """Tell what has become of the objects of the program, and what the program can ask for."""
        dropped = [weakref.ref(cycle) for cycle in self._cycles]
        self._cycles.clear()
        gc.collect()
        report = {
            "rarest": max(self._thresholds),
            "was disabled": self._was_disabled,
            "is as before": gc.get_threshold() == self._before and gc.isenabled(),
            "frozen": gc.get_freeze_count() - self._frozen,
            "leaked": sum(reference() is not None for reference in dropped),
        }
        async with ScriptedServer() as server:
            provider = create_provider("openai_compatible", model="m", base_url=server.add("case", answer("Hi")))
            for each in (provider, FallbackProvider([provider])):
                gc.unfreeze()
                await each.prewarm(freeze_gc=True)
                report[f"frozen by {type(each).__name__}"] = gc.get_freeze_count()
                await each.aclose()
        gc.unfreeze()
        return report


async def beat(pauses_s: list[float], collector: Collector) -> None:
    """Note the time between two beats, until cancelled."""
    while True:
        collector.note()
        began_s = time.monotonic()
        await asyncio.sleep(0.005)
        pauses_s.append(time.monotonic() - began_s)


def child(path: str) -> None:
    """Write the report of a fresh process."""
    Path(path).write_text(json.dumps(asyncio.run(observe())), encoding="utf-8")


@pytest.fixture(name="report", scope="module")
def _report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process does, and what it prints."""
    path = tmp_path_factory.mktemp("engine") / "report.json"
    done = run(f"from tests.transport.test_litellm_bridge import child; child({str(path)!r})")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report | {"printed": done.stdout + done.stderr}


def test_litellm_is_loaded_late(report: dict[str, Any]) -> None:
    """Nothing heavy is there before the first call."""
    assert report["heavy before"] == []


def test_a_first_caller_who_gives_up_spoils_nothing(report: dict[str, Any]) -> None:
    """Callers that wait for the same import get it, although the one that started it was cancelled."""
    assert report["cancelled"] is True
    assert report["statuses"] == [200, 429] * 4


def test_loading_does_not_stop_the_loop(report: dict[str, Any]) -> None:
    """While LiteLLM is loaded and rehearsed everything else goes on."""
    assert report["pause"] < report["seconds"] / 2


def test_rehearsal_is_held_once(report: dict[str, Any]) -> None:
    """Each route is rehearsed once in a process, however many wait for it."""
    assert sorted(report["warmed up"]) == sorted(PREFIXES)


def test_callbacks_of_litellm_are_told_nothing_false(report: dict[str, Any]) -> None:
    """Of calls of ours, which LiteLLM never sees the answer of, it tells no beginning, no success and no failure."""
    assert report["events"] == []


def test_callbacks_of_litellm_are_told_of_other_calls(report: dict[str, Any]) -> None:
    """What another part of the program asks through LiteLLM is told, and logged, as before."""
    assert report["events of others"]
    assert report["logged of others"]


def test_nothing_leaves_but_the_requests(report: dict[str, Any]) -> None:
    """Neither loading nor rehearsing nor asking looks up or reaches any address but the server's."""
    assert report["reached"] == []
    assert report["reached later"] == []


def test_nothing_secret_is_logged(report: dict[str, Any]) -> None:
    """With the root logger at DEBUG neither the key nor the prompt is in any record of any library."""
    assert report["leaks"] == []


def test_the_logger_of_the_sdk_is_left_alone(report: dict[str, Any]) -> None:
    """Its level is the user's."""
    before, after = report["openai"]
    assert before == after


def test_the_environment(report: dict[str, Any]) -> None:
    """LiteLLM is told not to fetch its price list, and what the user chose stays."""
    assert report["environment"] == {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "TEST"}


def test_the_garbage_collector_is_left_alone(report: dict[str, Any]) -> None:
    """It starts less often while LiteLLM is loaded, and only then; it is never off, and nothing is exempt from it."""
    collector = report["collector"]

    assert collector["rarest"] == 100_000
    assert (collector["was disabled"], collector["is as before"]) == (False, True)
    assert (collector["frozen"], collector["leaked"]) == (0, 0)


@pytest.mark.parametrize("kind", ["LiteLLMProvider", "FallbackProvider"])
def test_objects_are_exempt_if_the_program_asks(report: dict[str, Any], kind: str) -> None:
    """``prewarm(freeze_gc=True)`` takes what LiteLLM brings out of every later collection."""
    assert report["collector"][f"frozen by {kind}"] > 100_000


_QUIET = """
import asyncio, logging
logging.getLogger().addHandler(logging.NullHandler())
logging.getLogger().setLevel(logging.DEBUG)
from adapters.testing.answers import answer
from adapters.testing.server import ScriptedServer
from tests.transport.test_litellm_bridge import PREFIXES, REFUSED, ask
async def main():
    async with ScriptedServer() as server:
        for prefix in PREFIXES:
            for step in (answer("Hi"), REFUSED, ("rst",)):
                for stream in (True, False):
                    await ask(prefix, server.add("case", step), stream=stream)
    print("over")
asyncio.run(main())
"""


def test_nothing_is_printed() -> None:
    """With the root logger at DEBUG nothing comes out of the process, not even from the libraries below."""
    done = run(_QUIET)

    # At its exit LiteLLM tells at DEBUG of its own queue, which is about no call.
    printed = [line for line in (done.stdout + done.stderr).splitlines() if "[LoggingWorker] atexit" not in line]
    assert (printed, done.returncode) == (["over"], 0)


@pytest.mark.parametrize("threshold", [0, 200_000], ids=["off", "rare already"])
async def test_a_threshold_of_the_program_stays(threshold: int) -> None:
    """A program that has switched the collector off, or made it rarer still, finds it so while LiteLLM is loaded."""
    usual = gc.get_threshold()
    gc.set_threshold(threshold, *usual[1:])
    try:
        with litellm_bridge._rare_collections():
            during = gc.get_threshold()[0]
        after = gc.get_threshold()[0]
    finally:
        gc.set_threshold(*usual)

    assert (during, after) == (threshold, threshold)


async def test_a_threshold_that_is_changed_meanwhile_stays() -> None:
    """What the program sets while LiteLLM is loaded is not overwritten."""
    usual = gc.get_threshold()
    try:
        with litellm_bridge._rare_collections():
            gc.set_threshold(1_234)
        after = gc.get_threshold()[0]
    finally:
        gc.set_threshold(*usual)

    assert after == 1_234


def test_every_thread_gets_the_same_module() -> None:
    """Threads with loops of their own share one import."""
    modules = []
    threads = [threading.Thread(target=lambda: modules.append(asyncio.run(litellm_bridge.load()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(modules) == 4
    assert len(set(map(id, modules))) == 1


async def test_a_rehearsal_that_fails_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """It only saves time: a route that cannot be rehearsed is asked all the same; the log knows."""
    with caplog.at_level("INFO", logger="adapters"):
        await litellm_bridge.warm_up("nonsense/")

    assert "nonsense/" not in background._started
    assert "Warming up LiteLLM's route nonsense/ failed" in caplog.text


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_name_of_a_model_leads_nowhere_else(prefix: str) -> None:
    """Whatever LiteLLM knows of a name, one request goes to the provider's own address, with this very name.

    Asked are some names of each provider in its price list, with its name and without, all that it asks by another API,
    and names that it looks into.
    """
    litellm: Any = await litellm_bridge.load()
    some: dict[tuple[str, str], list[str]] = {}
    for name, about in litellm.model_cost.items():
        some.setdefault((about.get("litellm_provider", ""), about.get("mode", "")), []).append(name)
    names = {name for (_, mode), each in some.items() for name in (each if mode == "responses" else each[:2])}
    names |= {name.partition("/")[2] for name in names if "/" in name}
    names |= {"responses/x", "ft:gpt-3.5-turbo:me", "ft:babbage-002", "me/my-replicate", "clarifai/x", "o1-pro"} | {
        "gpt-5"
    }
    asked = sorted(filter(None, names))
    sent: list[tuple[str, str]] = []

    async def send(_method: str, url: str, _headers: object, content: bytes) -> None:
        sent.append((url, json.loads(content)["model"]))

    await litellm_bridge.warm_up(prefix)
    with untraced():
        for name in asked:
            endpoint = Endpoint("shop", name, prefix, "http://shop.invalid/v1", KEY)
            await litellm_bridge.acompletion(
                CapturedExchange(send, endpoint), endpoint, {"messages": QUESTION}, stream=True
            )

    assert len(sent) > 300
    assert sent == [("http://shop.invalid/v1/chat/completions", name) for name in asked]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_what_is_sent(server: ScriptedServer, prefix: str, stream: bool) -> None:
    """The body is ours to the letter, and beside it only what LiteLLM always adds; the key and headers are sent."""
    base_url = server.add("case", answer("Hi"))
    body = {"temperature": 0.5, "tools": [{"type": "function"}], "tool_choice": "none", "made_up": {"x": [1]}}

    status = await ask(prefix, base_url, stream=stream, model="org/gpt-5:free", body=body)

    seen = server.seen["case"]
    added: dict[str, Any] = {"stream": stream} if stream else {}
    added |= {"usage": {"include": True}} if prefix == "openrouter/" else {}
    sent = {name: value for name, value in seen.bodies[0].items() if name != "stream" or value}
    assert status == 200
    assert seen.paths == ["/case/v1/chat/completions"]
    assert sent == {"model": "org/gpt-5:free", "messages": QUESTION, **body, **added}
    assert seen.headers[0]["authorization"] == f"Bearer {KEY}"
    assert seen.headers[0]["content-type"] == "application/json"
    assert seen.headers[0]["x-team"] == "voice"


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(("rst",), id="reset"),
        pytest.param(("eof",), id="closed"),
        pytest.param((SSE_HEAD[:30], "eof"), id="half a head"),
        pytest.param((SSE_HEAD, http_chunk(event(said("Hi"))), "rst"), id="reset in the body"),
        pytest.param(reply({"error": {"message": "x"}}, "400 Bad Request"), id="400"),
        pytest.param(reply({"error": {"message": "x"}}, "408 Request Timeout"), id="408"),
        pytest.param(reply({"error": {"message": "x"}}, "422 Unprocessable"), id="422"),
        pytest.param(REFUSED, id="429"),
        pytest.param(reply({"error": {"message": "x"}}, "500 Oops"), id="500"),
        pytest.param(reply({}, "307 Temporary Redirect", location="/case/v1/elsewhere"), id="redirect"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_one_call_is_one_request(server: ScriptedServer, prefix: str, stream: bool, step: Step) -> None:
    """Whatever comes back, neither LiteLLM nor the client below sends anything again."""
    await ask(prefix, server.add("case", step), stream=stream)
    await asyncio.sleep(0.02)

    assert len(server.seen["case"].paths) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("drop_params", True, id="drop_params"),
        pytest.param("modify_params", True, id="modify_params"),
        pytest.param("num_retries", 3, id="num_retries"),
        pytest.param("request_timeout", 0.001, id="request_timeout"),
        pytest.param("api_key", "other-key", id="api_key"),
        pytest.param("api_base", "http://127.0.0.1:9/v1", id="api_base"),
        pytest.param("model_alias_map", {"m": "other"}, id="model_alias_map"),
        pytest.param("default_fallbacks", ["gpt-4o"], id="default_fallbacks"),
        pytest.param("model_fallbacks", ["gpt-4o"], id="model_fallbacks"),
        pytest.param("fallbacks", [{"m": ["gpt-4o"]}], id="fallbacks"),
        pytest.param("max_tokens", 1, id="max_tokens"),
        pytest.param("use_client", True, id="use_client"),
        pytest.param("disable_add_prefix_to_prompt", True, id="disable_add_prefix_to_prompt"),
        pytest.param("add_function_to_prompt", True, id="add_function_to_prompt"),
        pytest.param("cache", "Cache", id="cache"),
    ],
)
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_globals_of_litellm_do_no_harm(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, prefix: str, name: str, value: Any
) -> None:
    """What another part of the program set for all of LiteLLM changes no request, and a 422 is sent once."""
    litellm = await litellm_bridge.load()
    monkeypatch.setattr(litellm, name, litellm.Cache() if value == "Cache" else value)
    base_url = server.add("case", answer("Hi"), answer("Hi"), reply({"error": {"message": "x"}}, "422 Unprocessable"))

    statuses = [
        await ask(prefix, base_url, stream=False, body={"temperature": 0.5, "tools": [{"type": "function"}]})
        for _ in range(3)
    ]

    assert statuses == [200, 200, 422]
    assert len(server.seen["case"].paths) == 3
    for body, headers in zip(server.seen["case"].bodies, server.seen["case"].headers, strict=True):
        assert (body["model"], body["temperature"], body["tools"]) == ("m", 0.5, [{"type": "function"}])
        assert headers["authorization"] == f"Bearer {KEY}"


async def test_loggers_of_litellm_are_silent_about_our_calls(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Its loggers, which print prompts at DEBUG, say nothing of our calls; banners and telemetry are off."""
    litellm = await litellm_bridge.load()
    base_url = server.add("case", answer("Hi"))

    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="LiteLLM"):
        await ask("openai/", base_url, stream=False)
        assert [record for record in caplog.records if record.name.startswith("LiteLLM")] == []
        logging.getLogger("LiteLLM").debug("of another call")

    assert "of another call" in caplog.messages
    assert litellm.suppress_debug_info is True
    assert litellm.telemetry is False
