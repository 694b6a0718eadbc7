"""Tools of a real MCP server in this process, through the client of the package mcp."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import mcp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, types
from mcp.server import Server
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from adapters.agent import run_turn
from adapters.errors import ConfigError
from adapters.factory import create_provider
from adapters.testing.answers import answer, call
from adapters.tools.mcp import mcp_tools, tools_of

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
    link = types.ResourceLink(name="log", uri="file:///log", description="What happened.")
    bare = types.ResourceLink(name="plan", uri="file:///plan")
    resource = types.TextResourceContents(uri="file:///note", text="a note")
    blob = types.BlobResourceContents(uri="file:///blob", blob="")
    photo = types.BlobResourceContents(uri="file:///photo", blob="cGhvdG8=", mime_type="image/jpeg")
    return [
        "off",
        Image(data=b"png", format="png"),
        types.AudioContent(data="", mime_type="audio/wav"),
        link,
        bare,
        types.EmbeddedResource(resource=resource),
        types.EmbeddedResource(resource=blob),
        types.EmbeddedResource(resource=photo),
    ]


@server.tool()
async def sleeps() -> str:
    """Take a minute."""
    await asyncio.sleep(60)
    raise AssertionError  # pragma: no cover - the test ends before


@pytest.mark.parametrize("as_session", [False, True], ids=["client", "session"])
async def test_turn(scripted_server: ScriptedServer, *, as_session: bool) -> None:
    """The tools of the server are offered, and the model reads their results, failures and timeouts."""
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
        tools = await mcp_tools(client.session if as_session else client, timeout_s=3)
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
    assert lights.splitlines() == [
        *("off", "[image, image/png]", "[audio, audio/wav]"),
        *("log (What happened.): file:///log", "plan: file:///plan", "a note", "[file:///blob]", "[image, image/jpeg]"),
    ]
    assert late.startswith("The tool sleeps timed out after 3 seconds")
    images = [part["image_url"]["url"] for part in messages[-2]["content"][1:]]
    assert images == ["data:image/png;base64,cG5n", "data:image/jpeg;base64,cGhvdG8="]


async def test_pages() -> None:
    """All pages of a list of tools are read; a result without text becomes JSON."""

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


def _server_with(*names: str) -> Server[Any]:
    """Make a server whose tools have these names and return the arguments that they get."""
    schema = {"type": "object", "properties": {"room": {"type": "string"}}}

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=schema) for name in names])

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        text = types.TextContent(text=f"{params.name} {params.arguments}")
        return types.CallToolResult(content=[text] if params.arguments else [])

    return Server("named", on_list_tools=list_tools, on_call_tool=call_tool)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["lights.off"], [r"lights_off"], id="one"),
        pytest.param(["lights.on", "lights/on"], [r"lights_on_[0-9a-f]{8}"] * 2, id="equal"),
        pytest.param(["lights_on", "lights/on"], [r"lights_on", r"lights_on_[0-9a-f]{8}"], id="one is as it should be"),
        pytest.param(["查询天气", "发送邮件"], [r"_____[0-9a-f]{8}"] * 2, id="no letters"),
        pytest.param(["x" * 65, "x" * 66, "x" * 64], [r"x{55}_[0-9a-f]{8}"] * 2 + [r"x{64}"], id="long"),
        pytest.param(["a", "b", "a"], [r"a", r"b"], id="listed twice"),
    ],
)
async def test_names(names: list[str], expected: list[str]) -> None:
    """Names that models can write differ, are the same each time, and call the tool of the server."""
    async with Client(_server_with(*names)) as client:
        tools, again = await mcp_tools(client), await mcp_tools(client)
        results = [await tool.function(room="hall") for tool in tools]

    assert [tool.name for tool in tools] == [tool.name for tool in again]
    assert len({tool.name for tool in tools}) == len(expected)
    for tool, pattern in zip(tools, expected, strict=True):
        assert re.fullmatch(pattern, tool.name or "")
    assert results == [f"{name} {{'room': 'hall'}}" for name in dict.fromkeys(names)]


async def test_two_servers_with_the_same_tools(scripted_server: ScriptedServer) -> None:
    """A prefix tells them apart; null for an argument that is left out does not reach the server."""
    asked = [call("home_lights", '{"room": "hall"}', "call00000"), call("work_lights", '{"room": null}', "call00001")]
    base_url = scripted_server.add("two", answer(calls=asked), answer("Fine."))
    messages: list[Message] = [{"role": "user", "content": "do it"}]

    async with (
        Client(_server_with("lights")) as home,
        Client(_server_with("lights")) as work,
        create_provider("openai_compatible", model="m", base_url=base_url) as provider,
    ):
        tools = [*await mcp_tools(home, prefix="home"), *await mcp_tools(work, prefix="work")]
        async for _ in run_turn(provider, messages, tools):
            pass
        with pytest.raises(ConfigError, match="The prefix of mcp_tools may have"):
            await mcp_tools(home, prefix="my home")

    assert [tool.name for tool in tools] == ["home_lights", "work_lights"]
    assert [message["content"] for message in messages if message["role"] == "tool"] == [
        "lights {'room': 'hall'}",
        "done",
    ]


async def test_long_result_of_a_server(scripted_server: ScriptedServer) -> None:
    """Megabytes from a server do not go into every later request."""
    large = MCPServer("large")

    @large.tool()
    def dump() -> str:
        """Return far too much."""
        return "x" * 5_000_000

    base_url = scripted_server.add("large", answer(calls=[call("dump", "{}", "call00000")]), answer("Fine."))
    messages: list[Message] = [{"role": "user", "content": "do it"}]
    async with Client(large) as client, create_provider("openai_compatible", model="m", base_url=base_url) as provider:
        async for _ in run_turn(provider, messages, await mcp_tools(client)):
            pass

    assert len(messages[2]["content"]) < 100_200
    assert messages[2]["content"].endswith("these are the first 100000 of 5000000 characters.]")


@given(st.lists(st.text(max_size=70) | st.text("a._/", max_size=4), unique=True), st.text("ab_-", max_size=20))
def test_any_names(names: list[str], prefix: str) -> None:
    """Whatever the names of a server are, those for the model differ, and are names that it can write."""
    tools = tools_of(
        [types.Tool(name=name, input_schema={}) for name in names],
        mcp.ClientSession.__new__(mcp.ClientSession),
        timeout_s=None,
        prefix=prefix,
    )

    assert len({tool.name for tool in tools}) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,64}", tool.name or "") for tool in tools)
