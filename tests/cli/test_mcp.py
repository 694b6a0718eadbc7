"""``adapters chat --mcp`` with a real MCP server, started by its command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.cli.conversation import Conversation
from adapters.config import load_config
from adapters.config.mcp import McpServerConfig
from adapters.testing.answers import answer, call
from adapters.tools.mcp_servers import McpServers
from tests.cli.processes import SUNNY, bodies, run

if TYPE_CHECKING:
    from adapters.testing import ScriptedServer

pytest_plugins = ["adapters.testing.plugin"]

_COMMAND = f"{sys.executable} {Path(__file__).parent.parent / 'servers' / 'mcp_server.py'}"


def test_tools_of_a_server(config: Path, server: ScriptedServer) -> None:
    """The tools of the server are offered in place of the demo tools, and called."""
    server.add("cli", answer(calls=[call("add", '{"a": 1, "b": 2}')]), SUNNY)

    result = run("chat", "--mcp", _COMMAND, "1 + 2?")

    assert result.exit_code == 0
    assert "← 3" in result.stderr
    assert [tool["function"]["name"] for tool in bodies(server)[0]["tools"]] == ["add", "who", "sleep", "fail", "die"]


def test_list_of_the_tools(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ``/tools`` of a conversation lists them."""
    servers = McpServers({"home": McpServerConfig.of(_COMMAND)})

    with Conversation(
        load_config().provider().resolved(),
        system=None,
        with_tools=True,
        mcp_servers=servers,
        as_json=False,
        may_spin=False,
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
