"""``wire.engine``: LiteLLM is loaded once, late and silently, and sends what it is told, once."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adapters.testing.answers import SSE_HEAD, answer, event, http_chunk, reply, said
from adapters.testing.server import ScriptedServer
from adapters.wire import engine
from adapters.wire.exchange import create_client, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from adapters.testing.server import Step

ROOT = Path(__file__).parent.parent
KEY = "wire-KEY-0123456789"
PROMPT = "wire-PROMPT-0123456789"
PREFIXES = ("openai/", "openrouter/")
HEAVY = ("litellm", "openai", "aiohttp")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server that plays whatever a test gives it."""
    async with ScriptedServer() as running:
        yield running


async def ask(
    prefix: str, base_url: str, *, stream: bool, model: str = "m", body: dict[str, Any] | None = None
) -> httpx.Response | None:
    """Send one request through LiteLLM, and give the answer that came over the wire."""
    await engine.rehearsed(prefix)
    async with create_client(base_url, 5) as http:
        route = engine.create_route(prefix, http, base_url=base_url, api_key=KEY, headers={"X-Team": "voice"})
        with watch(stream=stream) as exchange:
            try:
                await engine.acompletion(route, model, [{"role": "user", "content": PROMPT}], body or {}, stream=stream)
            except Exception:
                if exchange.error is None:
                    raise
        await exchange.aclose()
    return exchange.response


class Observer(logging.Handler):
    """Notes in a fresh process what LiteLLM does that nobody asked it for."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.logged: list[str] = []
        self.reached: list[str] = []
        self.rehearsals = 0
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.DEBUG)
        sys.addaudithook(self.hear)
        send = httpx.MockTransport.handle_async_request

        async def counted(transport: httpx.MockTransport, request: httpx.Request) -> httpx.Response:
            self.rehearsals += 1
            return await send(transport, request)

        httpx.MockTransport.handle_async_request = counted  # type: ignore[assignment, method-assign]  # a process of its own

    def emit(self, record: logging.LogRecord) -> None:
        """Note what is logged."""
        self.logged.append(f"{record.name} {record.getMessage()} {record.args}")

    def hear(self, name: str, args: tuple[Any, ...]) -> None:
        """Note which addresses are looked up or connected to."""
        if name in ("socket.connect", "socket.getaddrinfo"):
            self.reached.append(str(args))


async def observe() -> dict[str, Any]:
    """Load LiteLLM as two agents would do at once, of which one gives up, and ask one question on each route."""
    observer = Observer()
    report: dict[str, Any] = {"heavy before": [name for name in HEAVY if name in sys.modules]}
    began_s = time.monotonic()
    pauses_s: list[float] = []
    pulse = asyncio.create_task(beat(pauses_s))
    first = asyncio.create_task(engine.loaded())
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.gather(*(engine.rehearsed(prefix) for prefix in PREFIXES * 3))
    report["seconds"] = time.monotonic() - began_s
    pulse.cancel()
    report["pause"] = max(pauses_s)
    report |= {"cancelled": first.cancelled(), "rehearsals": observer.rehearsals, "reached": list(observer.reached)}
    async with ScriptedServer() as server:
        statuses = []
        for prefix in PREFIXES:
            for stream in (False, True):
                base_url = server.add("case", answer("Hi"))
                response = await ask(prefix, base_url, stream=stream)
                statuses.append(response.status_code if response is not None else None)
        report["reached later"] = [each for each in observer.reached if str(server._port) not in each]
    report["statuses"] = statuses
    report["environment"] = {name: os.environ[name] for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_MODE")}
    report["collecting"] = gc.isenabled()
    report["leaks"] = [each for each in observer.logged if KEY in each or PROMPT in each]
    return report


async def beat(pauses_s: list[float]) -> None:
    """Note the time between two beats, until cancelled."""
    while True:
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
    unset = ("LITELLM_LOCAL_MODEL_COST_MAP", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"LITELLM_MODE": "TEST"}
    code = f"from tests.test_engine import child; child({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment, timeout=110
    )
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report | {"printed": done.stdout + done.stderr}


def test_litellm_is_loaded_late(report: dict[str, Any]) -> None:
    """Nothing heavy is there before the first call."""
    assert report["heavy before"] == []


def test_a_first_caller_who_gives_up_spoils_nothing(report: dict[str, Any]) -> None:
    """Whoever waits for the same import gets it, although the caller who began it was cancelled."""
    assert report["cancelled"] is True
    assert report["statuses"] == [200, 200, 200, 200]


def test_loading_does_not_stop_the_loop(report: dict[str, Any]) -> None:
    """While LiteLLM is loaded and rehearsed everything else goes on."""
    assert report["pause"] < report["seconds"] / 2


def test_rehearsal_is_held_once(report: dict[str, Any]) -> None:
    """Each route is rehearsed once in a process, with one plain and one streamed call."""
    assert report["rehearsals"] == 2 * len(PREFIXES)


def test_nothing_leaves_but_the_requests(report: dict[str, Any]) -> None:
    """Neither loading nor rehearsing nor asking looks up or reaches any address but the server's."""
    assert report["reached"] == []
    assert report["reached later"] == []


def test_nothing_is_printed(report: dict[str, Any]) -> None:
    """With the root logger at DEBUG nothing comes out of the process, not even from the libraries below."""
    assert report["printed"] == ""


def test_nothing_secret_is_logged(report: dict[str, Any]) -> None:
    """With the root logger at DEBUG neither the key nor the prompt is in any record of any library."""
    assert report["leaks"] == []


def test_the_environment(report: dict[str, Any]) -> None:
    """LiteLLM is told not to fetch its price list, and what the user chose stays."""
    assert report["environment"] == {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "TEST"}


def test_the_garbage_collector_runs_again(report: dict[str, Any]) -> None:
    """It pauses while LiteLLM is imported, and only then."""
    assert report["collecting"] is True


async def test_a_garbage_collector_that_was_off_stays_off() -> None:
    """Whoever switched it off finds it off."""
    await engine.loaded()
    gc.disable()
    try:
        engine._import_litellm()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_every_thread_gets_the_same_module() -> None:
    """Threads with loops of their own share one import."""
    modules = []
    threads = [threading.Thread(target=lambda: modules.append(asyncio.run(engine.loaded()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(modules) == 4
    assert len(set(map(id, modules))) == 1


async def test_slow_work_that_fails_is_tried_again() -> None:
    """Whoever waits for it gets the error, and the next caller a new chance."""
    outcomes: Iterator[Any] = iter([ImportError("broken"), "loaded"])

    def work() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, ImportError):
            raise outcome
        return str(outcome)

    with pytest.raises(ImportError, match="broken"):
        await asyncio.wrap_future(engine._once("test", work))
    try:
        assert await asyncio.wrap_future(engine._once("test", work)) == "loaded"
        assert await asyncio.wrap_future(engine._once("test", work)) == "loaded"
    finally:
        del engine._done["test"]


async def test_a_rehearsal_that_fails_is_no_failure() -> None:
    """It only saves time: a route that cannot be rehearsed is asked all the same, and tells itself what is wrong."""
    await engine.rehearsed("nonsense/")

    assert "nonsense/" not in engine._done


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_what_is_sent(server: ScriptedServer, prefix: str, stream: bool) -> None:
    """The body is ours to the letter, and beside it only what LiteLLM always adds; the key and headers are sent."""
    base_url = server.add("case", answer("Hi"))
    body = {"temperature": 0.5, "tools": [{"type": "function"}], "tool_choice": "none", "made_up": {"x": [1]}}

    response = await ask(prefix, base_url, stream=stream, model="org/gpt-5:free", body=body)

    seen = server.seen["case"]
    added: dict[str, Any] = {"stream": stream} if stream else {}
    added |= {"usage": {"include": True}} if prefix == "openrouter/" else {}
    sent = {name: value for name, value in seen.bodies[0].items() if name != "stream" or value}
    assert response is not None
    assert seen.paths == ["/case/v1/chat/completions"]
    assert sent == {"model": "org/gpt-5:free", "messages": [{"role": "user", "content": PROMPT}], **body, **added}
    assert seen.headers[0]["authorization"] == f"Bearer {KEY}"
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
        pytest.param(reply({"error": {"message": "x"}}, "429 Too Many Requests", retry_after="0"), id="429"),
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
        pytest.param("add_function_to_prompt", True, id="add_function_to_prompt"),
        pytest.param("cache", "Cache", id="cache"),
    ],
)
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_globals_of_litellm_do_no_harm(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, prefix: str, name: str, value: Any
) -> None:
    """What another part of the program set for all of LiteLLM changes no request, and a 422 is sent once."""
    litellm = await engine.loaded()
    monkeypatch.setattr(litellm, name, litellm.Cache() if value == "Cache" else value)
    base_url = server.add("case", answer("Hi"), answer("Hi"), reply({"error": {"message": "x"}}, "422 Unprocessable"))

    statuses = []
    for _ in range(3):
        response = await ask(prefix, base_url, stream=False, body={"temperature": 0.5, "tools": [{"type": "function"}]})
        statuses.append(response.status_code if response is not None else None)

    assert statuses == [200, 200, 422]
    assert len(server.seen["case"].paths) == 3
    for body, headers in zip(server.seen["case"].bodies, server.seen["case"].headers, strict=True):
        assert (body["model"], body["temperature"], body["tools"]) == ("m", 0.5, [{"type": "function"}])
        assert headers["authorization"] == f"Bearer {KEY}"


async def test_loggers_of_litellm_are_silent() -> None:
    """Its loggers, which print prompts at DEBUG, are shut, and so are its banners and its telemetry."""
    litellm = await engine.loaded()

    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        assert logging.getLogger(name).level == logging.CRITICAL
    assert litellm.suppress_debug_info is True
    assert litellm.telemetry is False


def test_headers_of_a_request_past_litellm() -> None:
    """What is asked without LiteLLM is asked with the same key and headers."""
    route = engine.Route("openai/", "http://x/v1", KEY, {"X-Team": "voice"}, httpx.AsyncClient(), None)

    assert route.all_headers == {"Authorization": f"Bearer {KEY}", "X-Team": "voice"}
