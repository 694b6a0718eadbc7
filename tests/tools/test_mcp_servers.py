"""``McpServers`` with real servers: a command and an address, killed in the middle, restarted, and never there."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mcp
import pytest

from adapters.agent import run_turn
from adapters.config import load_config
from adapters.config.mcp import McpServerConfig
from adapters.errors import ConfigError
from adapters.factory import create_provider
from adapters.testing.answers import answer, call
from adapters.tools import mcp_servers
from adapters.tools.mcp_servers import McpServers
from tests.forks.processes import python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from adapters.testing import ScriptedServer
    from adapters.tools.tool import Tool
    from adapters.types import Message

pytest_plugins = ["adapters.testing.plugin"]

_SERVER = str(Path(__file__).parent.parent / "servers" / "mcp_server.py")


def _config(**options: Any) -> McpServerConfig:
    """Read the options as a file's are read."""
    return McpServerConfig.model_validate(options)


def _command(**options: Any) -> McpServerConfig:
    return _config(command=[*python(), _SERVER], **options)


def _function(tools: list[Tool], name: str) -> Any:
    return next(tool.function for tool in tools if tool.name == name)


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Opens servers, and closes them after the test."""
    opened: list[McpServers] = []

    async def open_servers(**servers: McpServerConfig) -> McpServers:
        opened.append(await McpServers(servers).__aenter__())
        return opened[-1]

    yield open_servers
    for servers in opened:
        await servers.aclose()


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Starts the server on a port, the same each time, in place of the one before."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    processes: list[subprocess.Popen[bytes]] = []

    async def start(*key: str) -> str:
        stop()
        processes.append(subprocess.Popen([sys.executable, _SERVER, str(port), *key]))  # noqa: ASYNC220 - it is quick
        for _ in range(600):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                break
        return f"http://127.0.0.1:{port}/mcp"

    def stop() -> None:
        for process in processes:
            process.kill()
            process.wait()

    start.stop = stop  # type: ignore[attr-defined]  # for the test
    yield start
    stop()


async def test_turn_with_the_tools_of_a_command(opened: Any, scripted_server: ScriptedServer) -> None:
    """Its tools are those of a turn, under their prefix, and its variables reach it."""
    asked = [call("home_add", '{"a": 1, "b": 2}', "call00000"), call("home_who", "{}", "call00001")]
    base_url = scripted_server.add("mcp", answer(calls=asked), answer("Three."))
    messages: list[Message] = [{"role": "user", "content": "1 + 2?"}]
    servers = await opened(home=_command(prefix="home", env={"MCP_TEST_NAME": "Ada"}, timeout_s=60))

    async with create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        async for _ in run_turn(provider, messages, await servers.tools()):
            pass

    results = [message["content"] for message in messages if message["role"] == "tool"]
    assert results[0] == "3"
    assert results[1].endswith(" Ada")
    assert {tool.timeout_s for tool in await servers.tools()} == {60}


async def test_servers_of_a_provider(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    """A provider of a file has the file's MCP servers, alone and in a group: it connects and closes them."""
    path = tmp_path / "providers.yaml"
    base_url = scripted_server.add("own", answer("Hi."))
    path.write_text(
        f"default: alone\nproviders:\n  alone: {{kind: openai_compatible, model: m, base_url: '{base_url}'}}\n"
        f"  group: {{kind: openai_compatible, model: m, base_url: '{base_url}', fallbacks: [alone]}}\n"
        f"mcp_servers:\n  home: {{command: {json.dumps([*python(), _SERVER])}, prefix: home}}\n",
        encoding="utf-8",
    )
    for name in ("alone", "group"):
        async with create_provider(load_config(path).provider(name), temperature=0) as provider:
            await provider.prewarm()
            assert provider.mcp_servers is not None
            tools = await provider.mcp_servers.tools()
            assert await _function(tools, "home_add")(a=1, b=2) == "3"
            process = int((await _function(tools, "home_who")()).split()[0])
            os.kill(process, 0)
        with pytest.raises(ProcessLookupError):
            await _until_gone(process)
    assert create_provider("ollama", model="m").mcp_servers is None


async def _until_gone(process: int) -> None:
    """Look for a process until there is none.

    Raises:
        ProcessLookupError: If it has ended.
    """
    for _ in range(600):
        os.kill(process, 0)
        await asyncio.sleep(0.1)


async def test_a_command_that_dies_during_calls(opened: Any) -> None:
    """The calls fail with a reason for the model, nothing is cancelled, and the next call finds a new process."""
    servers = await opened(home=_command())
    tools = await servers.tools()
    first = await _function(tools, "who")()

    failed = await asyncio.gather(
        _function(tools, "die")(), _function(tools, "sleep")(seconds=60), return_exceptions=True
    )
    second = await _function(tools, "who")()

    assert [str(error) for error in failed] == ["the MCP server home went away; the effect is unknown"] * 2
    assert first != second
    assert await _function(await servers.tools(), "add")(a=1, b=2) == "3"


async def test_a_command_that_dies_between_calls(opened: Any) -> None:
    """A call finds the connection gone; the one after it finds a new process."""
    tools = await (await opened(home=_command())).tools()
    process = int((await _function(tools, "who")()).split()[0])

    os.kill(process, signal.SIGKILL)
    await asyncio.sleep(0.1)
    with pytest.raises(ConnectionError, match="went away"):
        await _function(tools, "who")()

    assert int((await _function(tools, "who")()).split()[0]) != process


async def test_errors_of_a_tool_are_its_own() -> None:
    """A call that the server refuses is no lost connection."""
    async with McpServers({"home": _command()}) as servers:
        tools = await servers.tools()
        process = await _function(tools, "who")()

        with pytest.raises(RuntimeError, match="validation error"):
            await _function(tools, "add")(a="x", b=2)
        with pytest.raises(mcp.MCPError):
            await _function(tools, "fail")()

        assert await _function(tools, "who")() == process


async def test_a_server_at_an_address(opened: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its headers may come from variables. After a restart calls go on; while it is away, they fail with a reason."""
    monkeypatch.setenv("MCP_TEST_KEY", "Bearer sk-secret")
    url = await serve("sk-secret")
    servers = await opened(home=_config(url=url, headers={"Authorization": "os.environ/MCP_TEST_KEY"}))
    tools = await servers.tools()

    assert await _function(tools, "add")(a=1, b=2) == "3"
    await serve("sk-secret")
    assert await _function(tools, "add")(a=1, b=2) == "3"
    serve.stop()
    with pytest.raises(ConnectionError, match=r"the MCP server home (went away|cannot be reached)") as caught:
        await _function(tools, "add")(a=1, b=2)
    with pytest.raises(ConnectionError, match="the MCP server home cannot be reached") as caught:
        await _function(tools, "add")(a=1, b=2)
    assert [tool.name for tool in await servers.tools()] == [tool.name for tool in tools]
    await serve("sk-secret")
    assert await _function(tools, "add")(a=1, b=2) == "3"
    assert "sk-secret" not in str(caught.value)


async def test_a_server_that_forgot_the_session(opened: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call to a restarted server of an older protocol is repeated in a new session: it was not run."""

    def legacy(server: Any) -> Any:
        return client(server, mode="legacy")

    client = mcp.Client
    monkeypatch.setattr(mcp, "Client", legacy)
    url = await serve()
    tools = await (await opened(home=_config(url=url))).tools()

    await serve()

    assert await _function(tools, "add")(a=1, b=2) == "3"


async def test_servers_that_are_not_there(opened: Any, serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They are logged, and their tools are missing until they are there; the others work."""
    url = await serve("sk-secret")
    with caplog.at_level(logging.WARNING, "adapters"):
        servers = await opened(
            home=_command(),
            missing=_config(command="no-such-program --now"),
            refused=_config(url=url),
        )

    assert {tool.name for tool in await servers.tools()} == {"add", "who", "sleep", "die", "fail"}
    logged = [record.getMessage() for record in caplog.records if record.name == mcp_servers.__name__]
    assert {line.partition(": ")[0] for line in logged} == {"MCP server missing", "MCP server refused"}


async def test_a_server_that_is_slow_to_start(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a limit; a caller that does not wait that long cancels nothing for the others."""
    monkeypatch.setattr(mcp_servers, "CONNECT_S", 0.3)
    sleeper = _config(command=[sys.executable, "-c", "import time; time.sleep(60)"])
    servers = McpServers({"slow": sleeper})

    waiting = asyncio.create_task(servers.tools())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(servers.tools(), 0.05)

    assert await waiting == []
    await servers.aclose()


async def test_closing_while_a_server_starts() -> None:
    """Whatever waits for the server gets no tools, and nothing hangs."""
    servers = McpServers({"slow": _config(command=[sys.executable, "-c", "import time; time.sleep(60)"])})

    waiting = asyncio.create_task(servers.tools())
    await asyncio.sleep(0.1)
    await servers.aclose()

    assert await waiting == []
    await servers.aclose()


def test_variable_that_is_not_set() -> None:
    """It is a mistake of the configuration, found before anything is started."""
    config = _config(url="http://h/mcp", headers={"Authorization": "os.environ/NO_SUCH_VARIABLE"})

    with pytest.raises(ConfigError, match=r"^home: headers\.Authorization names the environment variable NO_SUCH"):
        McpServers({"home": config})


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error says how to install it."""
    monkeypatch.setitem(sys.modules, "mcp", None)

    with pytest.raises(ConfigError, match=r"^MCP servers need the package mcp\. Run: pip install"):
        McpServers({})
