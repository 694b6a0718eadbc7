"""``adapters chat --mcp`` with a real MCP server, started by its command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.cli.conversation import Conversation
from adapters.config import load_config
from adapters.config.mcp import McpServerConfig
from adapters.errors import ConfigError
from adapters.factory import create_provider
from adapters.testing.answers import answer, call
from adapters.tools.mcp_servers import McpServers
from tests.cli.processes import SUNNY, bodies, run
from tests.forks.processes import python

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_COMMAND = shlex.join([*python(), str(Path(__file__).parent.parent / "servers" / "mcp_server.py")])


def test_tools_of_a_server(config: Path, server: ScriptedServer) -> None:
    """The tools of the server are offered in place of the demo tools, and called."""
    server.add("cli", answer(calls=[call("add", '{"a": 1, "b": 2}')]), SUNNY)

    result = run("chat", "--mcp", _COMMAND, "1 + 2?")

    assert result.exit_code == 0
    assert "← 3" in result.stderr
    assert [tool["function"]["name"] for tool in bodies(server)[0]["tools"]] == ["add", "who", "sleep", "fail", "die"]


def test_servers_of_the_configuration(config: Path, server: ScriptedServer) -> None:
    """The servers of the configuration are offered as well, unless there is another one, or no tools are wanted."""
    server.add("cli", SUNNY)
    command = f"mcp_servers: {{home: {{command: {_COMMAND}, prefix: home}}}}\n"
    config.write_text(config.read_text(encoding="utf-8") + command, encoding="utf-8")

    assert run("chat", "hi").exit_code == 0
    assert run("chat", "hi", "--no-tools").exit_code == 0
    offered, none = bodies(server)
    assert {tool["function"]["name"].partition("_")[0] for tool in offered["tools"]} == {"home"}
    assert "tools" not in none


def test_variables_of_servers_are_checked(config: Path) -> None:
    """``config check`` reports a variable that is not set, as creating a provider does."""
    header = "{Authorization: os.environ/HOME_BEARER}"
    servers = f"mcp_servers: {{home: {{url: 'http://127.0.0.1:9/mcp', headers: {header}}}}}\n"
    config.write_text(config.read_text(encoding="utf-8") + servers, encoding="utf-8")
    problem = "home: headers.Authorization names the environment variable HOME_BEARER, which is not set; export it"

    assert f"mcp_servers.{problem}" in run("config", "check").stderr
    with pytest.raises(ConfigError, match="HOME_BEARER"):
        create_provider(load_config().provider())


def test_list_of_the_tools(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ``/tools`` of a conversation lists them."""
    servers = McpServers({"home": McpServerConfig.of(_COMMAND)})

    with Conversation(
        load_config().provider().resolved(),
        system=None,
        with_tools=True,
        mcp_servers=servers,
        as_json=False,
    ) as conversation:
        conversation.converse(["/tools", "/tools off"])

    assert capsys.readouterr().err.splitlines() == [
        "add, who, sleep, fail, die (on)",
        "add, who, sleep, fail, die (off)",
    ]


def test_tools_of_several_servers(config: Path, server: ScriptedServer) -> None:
    """Prefixes tell them apart; a server that cannot be started is left out."""
    run("chat", "hi", "--mcp", _COMMAND, "--mcp", "no-such-program")

    assert {tool["function"]["name"].partition("_")[0] for tool in bodies(server)[0]["tools"]} == {"mcp1"}


@pytest.mark.parametrize("text", ["", "uvx 'server"])
def test_command_that_cannot_be_read(config: Path, text: str) -> None:
    """It is an error before anything is started."""
    result = run("chat", "hi", "--mcp", text)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: MCP server: command ")
