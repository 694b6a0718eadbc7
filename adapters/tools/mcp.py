"""Tools of an MCP server, through a client session of the package mcp (extra ``mcp``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from adapters.request.messages import text_of
from adapters.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import mcp
    from mcp.types import ContentBlock

    from adapters.types import Json

_MAX_PAGES = 100  # of a list of tools; a server that never ends it is no reason not to begin


async def mcp_tools(client: mcp.Client | mcp.ClientSession, *, timeout_s: float | None = None) -> list[Tool]:
    """Ask an MCP server what it offers, once: a turn takes the tools as they are.

    Args:
        client: A connected client, or its session; it stays the caller's to close.
        timeout_s: How long each of the tools may take, ``math.inf`` for as long as it wants; None for what the turn
            says.

    Returns:
        The tools, in the server's order, for ``run_turn``. In their names ``_`` stands for what no model may write.

    Raises:
        mcp.MCPError: If the server cannot tell.
    """
    from mcp import ClientSession
    from mcp.types import PaginatedRequestParams

    session = client if isinstance(client, ClientSession) else client.session
    tools: list[Tool] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        tools += [
            Tool(
                _caller(client, each.name),
                name=re.sub(r"[^A-Za-z0-9_-]", "_", each.name)[:64],
                description=each.description or "",
                parameters=each.input_schema,
                timeout_s=timeout_s,
            )
            for each in page.tools
        ]
        cursor = page.next_cursor
        if not cursor:
            break
    return tools


def _caller(client: mcp.Client | mcp.ClientSession, name: str) -> Callable[..., Awaitable[str]]:
    """Make a function that calls the server's tool of this name."""

    async def call(**arguments: Json) -> str:
        result = await client.call_tool(name, arguments)
        said = "\n".join(map(_text_of, result.content))
        if not said and result.structured_content is not None:
            said = text_of(result.structured_content)
        if result.is_error:
            raise RuntimeError(said)
        return said

    return call


def _text_of(part: ContentBlock) -> str:
    """Write a part of a result as text: what is none, such as an image, is only named."""
    if part.type == "text":
        return part.text
    if part.type == "resource_link":
        return part.uri
    if part.type == "resource":
        return str(getattr(part.resource, "text", f"[{part.resource.uri}]"))
    return f"[{part.type}, {part.mime_type}]"
