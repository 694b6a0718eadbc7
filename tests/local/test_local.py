"""``LocalServer`` with real processes: start, refusals, and cleanup in every case."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adapters.errors import APIConnectionError, APITimeoutError, ConfigError
from adapters.local import LocalServer
from adapters.local import __main__ as child
from adapters.local.demo_model import write_demo_model
from adapters.local.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent.parent
HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}

STARTED = """
import asyncio, os, signal, sys
from adapters.local import LocalServer
server = LocalServer()
async def main():
    await server.start()
    print(server.pid, flush=True)
    ENDING
asyncio.run(main())
"""
STARTING = """
import asyncio
from adapters.local import LocalServer
server = LocalServer()
async def main():
    starting = asyncio.create_task(server.start())
    while server.pid is None:
        await asyncio.sleep(0)
    print(server.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
FORKING = """
import asyncio, os, sys
from adapters.local import LocalServer
server = LocalServer()
asyncio.run(server.start())
copy = os.fork()
if copy == 0:
    sys.exit()
os.waitpid(copy, 0)
print(server.pid, flush=True)
"""
INTERRUPTED = """
import asyncio, os, signal, time
from adapters.local import LocalServer
server = LocalServer()
asyncio.run(server.start())
signal.signal(signal.SIGINT, lambda *_: None)
os.killpg(0, signal.SIGINT)
time.sleep(0.2)
print(server.pid, flush=True)
"""


pytestmark = pytest.mark.usefixtures("traced_children")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty cache folder: the first server builds the demo model, the others find it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """Return a server that is stopped after the test."""
    server = LocalServer()
    yield server
    asyncio.run(server.stop())


def _is_running(pid: int) -> bool:
    """Whether a process runs. In a container without an init, a dead one may stay in the table as a zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # ended meanwhile, or a system without /proc
        return not Path("/proc/self").exists()


def _wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> bool:
    give_up_at = time.monotonic() + timeout_s
    while time.monotonic() < give_up_at:
        if condition():
            return True
        time.sleep(0.01)
    return False


def _open_once_it_is_read(pipe: Path) -> int:
    """Open a named pipe for writing, as soon as a reader waits."""
    writer: list[int] = []

    def is_open() -> bool:
        with contextlib.suppress(OSError):  # there is no reader yet
            writer.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writer)

    assert _wait_until(is_open)
    return writer[0]


def _pid(server: LocalServer) -> int:
    assert server.pid is not None
    return server.pid


async def _ask(base_url: str, body: dict[str, Any], api_key: str = "") -> httpx.Response:
    headers = {"Origin": "http://page.example"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(f"{base_url}/chat/completions", json=body, headers=headers)


@pytest.mark.integration
async def test_serves_the_demo_model_until_it_is_stopped() -> None:
    """Inside ``async with`` the demo model responds on loopback; afterwards the port is closed."""
    async with LocalServer() as server:
        base_url = await server.start()
        answer = await _ask(base_url, HELLO)
        pid = _pid(server)

    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v1")
    assert answer.json()["model"] == server.model == "demo"
    assert "demo model" in answer.json()["choices"][0]["message"]["content"]
    assert server.pid is None
    assert not _is_running(pid)
    with pytest.raises(httpx.ConnectError):
        await _ask(base_url, HELLO)


@pytest.mark.integration
async def test_web_pages_may_not_read_answers(server: LocalServer) -> None:
    """The response allows no origin, so that no page in the user's browser can use the server."""
    answer = await _ask(await server.start(), HELLO)

    assert not answer.headers.get("access-control-allow-origin")


@pytest.mark.integration
async def test_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the server nor llama.cpp writes to the terminal of the agent."""
    async with LocalServer(context_tokens=512) as server:
        await _ask(await server.start(), {"messages": [{"role": "user", "content": "x" * 600}]})

    assert capfd.readouterr() == ("", "")


@pytest.mark.integration
async def test_start_is_shared_by_tasks(server: LocalServer) -> None:
    """Tasks that start the server at the same time, and later ones, share one server."""
    first = await asyncio.gather(*(server.start() for _ in range(5)))
    pid = server.pid
    second = await server.start()

    assert {*first, second} == {first[0]}
    assert server.pid == pid


@pytest.mark.integration
def test_start_is_shared_by_event_loops(server: LocalServer) -> None:
    """Event loops in several threads, and in turn, share one server."""
    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(lambda _: asyncio.run(server.start()), range(4)))
    afterwards = asyncio.run(server.start())
    answer = asyncio.run(_ask(afterwards, HELLO))

    assert {*at_once, afterwards} == {afterwards}
    assert answer.status_code == 200


@pytest.mark.integration
async def test_start_leaves_the_event_loop_free(server: LocalServer) -> None:
    """Other tasks run while the server starts."""
    start = asyncio.create_task(server.start())
    turns = 0
    while not start.done():
        await asyncio.sleep(0.002)
        turns += 1

    assert turns > 10


@pytest.mark.integration
async def test_cancelled_start_does_not_disturb_another(server: LocalServer) -> None:
    """Cancelling one task that waits for the server does not affect the others."""
    impatient, patient = asyncio.create_task(server.start()), asyncio.create_task(server.start())
    await asyncio.sleep(0.01)
    impatient.cancel()
    answer = await _ask(await patient, HELLO)

    assert impatient.cancelled()
    assert answer.status_code == 200


@pytest.mark.integration
async def test_stop_may_be_called_at_any_time(server: LocalServer) -> None:
    """A server may be stopped before its start, twice, and before a second start."""
    await server.stop()
    await server.start()
    await asyncio.gather(server.stop(), server.stop())
    await server.stop()
    answer = await _ask(await server.start(), HELLO)

    assert answer.status_code == 200


@pytest.mark.integration
async def test_stop_ends_a_start(server: LocalServer) -> None:
    """A start that is interrupted by a stop raises an error."""
    starting = asyncio.create_task(server.start())
    await asyncio.to_thread(_wait_until, lambda: server.pid is not None)
    await server.stop()

    with pytest.raises(APIConnectionError, match=r"^The local model demo was stopped while it was starting\.$"):
        await starting
    assert server.pid is None


async def test_stop_prevents_a_start(tmp_path: Path) -> None:
    """A server that is stopped before its process exists, here while its model file is checked, starts none."""
    model = tmp_path / "slow.gguf"
    os.mkfifo(model)
    server = LocalServer(model)
    starting = asyncio.create_task(server.start())
    writer = await asyncio.to_thread(_open_once_it_is_read, model)
    await server.stop()
    os.write(writer, b"GGUF")
    os.close(writer)

    with pytest.raises(APIConnectionError, match=r"^The local model slow was stopped while it was starting\.$"):
        await starting
    assert server.pid is None


@pytest.mark.integration
async def test_crashed_server_is_started_again(server: LocalServer) -> None:
    """The next start after a crash provides a server that responds."""
    await server.start()
    pid = _pid(server)
    os.kill(pid, signal.SIGKILL)
    _wait_until(lambda: server.pid is None)
    answer = await _ask(await server.start(), HELLO)

    assert answer.status_code == 200
    assert server.pid != pid


@pytest.mark.integration
async def test_stop_ends_a_suspended_server(server: LocalServer) -> None:
    """A suspended child, which does not react to SIGTERM, is killed."""
    await server.start()
    pid = _pid(server)
    os.kill(pid, signal.SIGSTOP)
    await server.stop()

    assert not _is_running(pid)


@pytest.mark.integration
def test_garbage_leaves_no_process() -> None:
    """The process of a garbage-collected server ends without ``stop``."""
    server = LocalServer()
    asyncio.run(server.start())
    pid = _pid(server)
    del server
    gc.collect()

    assert _wait_until(lambda: not _is_running(pid))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "signal_number"),
    [
        pytest.param(STARTED.replace("ENDING", "await server.stop()"), None, id="stop"),
        pytest.param(STARTED.replace("ENDING", "pass"), None, id="forgotten"),
        pytest.param(STARTED.replace("ENDING", "raise RuntimeError"), None, id="exception"),
        pytest.param(STARTED.replace("ENDING", "os.execvp('true', ['true'])"), None, id="exec"),
        pytest.param(STARTED.replace("ENDING", "await asyncio.sleep(60)"), signal.SIGINT, id="ctrl-c"),
        pytest.param(STARTED.replace("ENDING", "await asyncio.sleep(60)"), signal.SIGTERM, id="sigterm"),
        pytest.param(STARTED.replace("ENDING", "await asyncio.sleep(60)"), signal.SIGKILL, id="sigkill"),
        pytest.param(STARTING, signal.SIGINT, id="ctrl-c-while-starting"),
        pytest.param(STARTING, signal.SIGKILL, id="sigkill-while-starting"),
    ],
)
def test_no_process_outlives_its_parent(script: str, signal_number: int | None) -> None:
    """The server ends with its parent, however the parent ends."""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if signal_number is not None:
            assert _is_running(pid)
            os.killpg(parent.pid, signal_number)  # to the whole group, as a terminal does
        parent.wait(timeout=60)

    assert _wait_until(lambda: not _is_running(pid))


@pytest.mark.integration
@pytest.mark.parametrize(
    "script", [pytest.param(FORKING, id="forked-copy-ends"), pytest.param(INTERRUPTED, id="ctrl-c-is-handled")]
)
def test_server_survives_events_of_its_parent(script: str) -> None:
    """The server survives the end of a forked copy of its parent, and a Ctrl-C that its parent handles."""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True, start_new_session=True
    )

    assert int(result.stdout)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the child ends once the model is loaded")
def test_no_process_outlives_its_parent_while_it_loads(tmp_path: Path) -> None:
    """A child that is stuck in loading a model ends when its standard input closes."""
    model = tmp_path / "slow.gguf"
    os.mkfifo(model)
    settings = {"model_path": str(model), "alias": "slow", "context_tokens": 512, "sse_ping_s": None}
    with subprocess.Popen(
        [sys.executable, "-m", "adapters.local", json.dumps(settings)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        writer = _open_once_it_is_read(model)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)
        os.close(writer)

    assert process.returncode == -signal.SIGIO


@pytest.mark.integration
async def test_serves_a_model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GGUF file is served under the name of its stem; ``~`` is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_demo_model(tmp_path / "my-model.Q4_K_M.gguf")
    async with LocalServer(Path("~/my-model.Q4_K_M.gguf")) as server:
        answer = await _ask(await server.start(), HELLO)

    assert answer.json()["model"] == server.model == "my-model.Q4_K_M"


@pytest.mark.integration
def test_working_directory_cannot_replace_the_program(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child runs no module of the working directory, whatever its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("adapters", "xllamacpp", "json"):
        Path(f"{name}.py").write_text("raise SystemExit('the wrong module')", encoding="utf-8")

    assert asyncio.run(server.start())


@pytest.mark.integration
async def test_requires_the_key() -> None:
    """With a key, the server rejects requests without it."""
    async with LocalServer(api_key="sk-local-secret") as server:
        base_url = await server.start()
        refused, answered = await _ask(base_url, HELLO), await _ask(base_url, HELLO, "sk-local-secret")

    assert (refused.status_code, answered.status_code) == (401, 200)


def test_hides_the_key() -> None:
    """The key is neither among the child's arguments, which other users can read, nor in a ``repr``."""
    settings = ServerSettings(None, context_tokens=512, sse_ping_s=None, start_timeout_s=1, api_key="sk-local-secret")

    assert "sk-local-secret" not in settings.as_argument()
    assert "sk-local-secret" not in repr(settings)


@pytest.mark.integration
async def test_context_has_the_configured_size() -> None:
    """A request longer than ``context_tokens`` fails."""
    async with LocalServer(context_tokens=512) as server:
        answer = await _ask(await server.start(), {"messages": [{"role": "user", "content": "x" * 600}]})

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "exceed_context_size_error"
    assert answer.json()["error"]["n_ctx"] == 512


def test_ping_reaches_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting ``sse_ping_s`` is passed on; no demo response pauses long enough to show it on the wire."""
    monkeypatch.setattr(child, "Server", lambda params: params)
    settings = {"model_path": "model.gguf", "alias": "model", "context_tokens": 512}
    default, configured = (child.open_server(settings | {"sse_ping_s": seconds}) for seconds in (None, 5))

    assert (default.sse_ping_interval, configured.sse_ping_interval) == (30, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file or directory. Set model_path to a GGUF file.", id="missing"),
        pytest.param(b"", "is not a GGUF file. Set model_path to one that is.", id="empty"),
        pytest.param(b"PK\x03\x04", "is not a GGUF file. Set model_path to one that is.", id="another-format"),
    ],
)
async def test_rejects_an_invalid_model_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A file that is not a model is a ``ConfigError`` that names it."""
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        await LocalServer(path).start()
    assert str(caught.value) == f"The model file {path} {message}"


@pytest.mark.parametrize("library", ["xllamacpp", "gguf"])
async def test_names_the_missing_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says how to install it."""
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(ConfigError, match=r"Run: pip install -e '.*\[local\]'$"):
        await LocalServer().start()


@pytest.mark.integration
async def test_damaged_model_is_a_speakable_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that crashes while loading is a short error with llama.cpp's reason; the debug log has the rest."""
    caplog.set_level(logging.DEBUG, logger="adapters")
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF" + bytes(100))

    with pytest.raises(APIConnectionError) as caught:
        await LocalServer(path).start()
    assert str(caught.value) == "The local model damaged could not be started: bad GGUF version: 0."
    assert (caught.value.provider, caught.value.model, caught.value.retryable) == ("local", "damaged", False)
    assert "Failed to init server" in caplog.text


async def test_missing_interpreter_is_a_speakable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without an interpreter for the child, such as a frozen one, gets an ``APIConnectionError``."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")

    with pytest.raises(APIConnectionError, match=r"^The local model demo could not be started;"):
        await LocalServer().start()


@pytest.mark.integration
async def test_slow_start_times_out() -> None:
    """A server that is not ready in time is stopped."""
    server = LocalServer(start_timeout_s=0.01)

    with pytest.raises(APITimeoutError, match=r"^The local model demo was not ready after 0\.01 seconds\.") as caught:
        await server.start()
    assert not caught.value.retryable
    assert server.pid is None
