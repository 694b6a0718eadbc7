"""Tools of a real MCP server in this process, through the client of the package mcp."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client, types
from mcp.server import Server
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from adapters.agent import run_turn
from adapters.factory import create_provider
from adapters.testing.answers import answer, call
from adapters.tools.mcp import mcp_tools

if TYPE_CHECKING:
    from mcp.server import ServerRequestContext

    from adapters.testing import ScriptedServer
    from adapters.types import Message

pytest_plugins = ["adapters.testing.plugin"]

server = MCPServer("home")


@server.tool()
def get_weather(city: str, unit: str = "c") -> str:
    """Current weather in a city."""
    if city == "Atlantis":
        raise ToolError("no such city")
    return f"sunny in {city}, in {unit}"


@server.tool(name="lights.off", structured_output=False)
def lights_off() -> list[Any]:
    """Switch the lights off."""
    link = types.ResourceLink(name="log", uri="file:///log")
    resource = types.TextResourceContents(uri="file:///note", text="a note")
    blob = types.BlobResourceContents(uri="file:///blob", blob="")
    return [
        "off",
        Image(data=b"", format="png"),
        link,
        types.EmbeddedResource(resource=resource),
        types.EmbeddedResource(resource=blob),
    ]


@server.tool()
async def sleeps() -> str:
    """Take a minute."""
    await asyncio.sleep(60)
    raise AssertionError  # pragma: no cover - nobody waits that long


@pytest.mark.parametrize("as_session", [False, True], ids=["client", "session"])
async def test_turn(scripted_server: ScriptedServer, *, as_session: bool) -> None:
    """The model is told of the server's tools, and reads what they say; a failed or late one is told as any other."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Atlantis"}),
        ("lights_off", {}),
        ("sleeps", {}),
    ]
    asked = [call(name, json.dumps(each), f"call0000{index}") for index, (name, each) in enumerate(calls)]
    base_url = scripted_server.add("mcp", answer(calls=asked), answer("Fine."))
    messages: list[Message] = [{"role": "user", "content": "do it"}]

    async with Client(server) as client, create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        tools = await mcp_tools(client.session if as_session else client, timeout_s=0.2)
        async for _ in run_turn(provider, messages, tools):
            pass

    functions = [tool["function"] for tool in scripted_server.seen["mcp"].bodies[0]["tools"]]
    assert [function["name"] for function in functions] == ["get_weather", "lights_off", "sleeps"]
    assert functions[0]["description"] == "Current weather in a city."
    assert functions[0]["parameters"]["required"] == ["city"]
    weather, atlantis, lights, late = [message["content"] for message in messages if message["role"] == "tool"]
    assert weather == "sunny in Paris, in c"
    assert atlantis.startswith("The tool get_weather failed: ")
    assert "no such city" in atlantis
    assert lights == "off\n[image, image/png]\nfile:///log\na note\n[file:///blob]"
    assert late.startswith("The tool sleeps took longer than 0.2 seconds")


async def test_pages() -> None:
    """A server that tells its tools page by page is asked for all of them; what has no text is told as JSON."""

    async def list_tools(
        _context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        page = int((params and params.cursor) or 0)
        tool = types.Tool(name=f"tool{page}", input_schema={"type": "object"})
        return types.ListToolsResult(tools=[tool], next_cursor=str(page + 1) if page < last else None)

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return types.CallToolResult(content=[], structured_content={"called": params.name, "with": params.arguments})

    paged: Server[Any] = Server("paged", on_list_tools=list_tools, on_call_tool=call_tool)
    last = 2
    async with Client(paged) as client:
        tools = await mcp_tools(client)
        found = await tools[2].function(zone="UTC")
        last = 1000
        endless = await mcp_tools(client)

    assert [(tool.name, tool.description, tool.timeout_s) for tool in tools] == [
        ("tool0", "", None),
        ("tool1", "", None),
        ("tool2", "", None),
    ]
    assert json.loads(found) == {"called": "tool2", "with": {"zone": "UTC"}}
    assert len(endless) == 100
