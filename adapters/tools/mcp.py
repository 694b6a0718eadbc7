"""The tools of an MCP server, through a client session of the package mcp (extra ``mcp``)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from adapters.errors import ConfigError
from adapters.request.messages import text_of
from adapters.tools.results import ImagePart, image_part
from adapters.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    import mcp
    from mcp.types import CallToolResult, ContentBlock

    from adapters.types import Json

_MAX_PAGES = 100  # of a list of tools; a server may never end it
_MAX_NAME_CHARS = 64
_DIGEST_CHARS = 8
_NO_NAME_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")


class Caller(Protocol):
    """What calls a tool of a server: a client, a session, or a connection that comes back."""

    async def call_tool(self, name: str, arguments: dict[str, Json]) -> CallToolResult:
        """Call a tool and return its result."""
        ...


async def mcp_tools(
    client: mcp.Client | mcp.ClientSession, *, timeout_s: float | None = None, prefix: str = ""
) -> list[Tool]:
    """List the tools of an MCP server, once: a turn takes the tools as they are.

    In their names, characters that models cannot write become ``_``. Names that would be equal then, or longer than 64
    characters, end with a digest of the server's name, which is the same each time.

    Args:
        client: A connected client, or its session; the caller closes it.
        timeout_s: Time limit of each tool, ``math.inf`` for none; None for the limit of the turn.
        prefix: Goes before each name, as in ``home_lights_off``, to tell the tools of several servers apart.

    Returns:
        The tools, in the server's order, for ``run_turn``. A tool that the server lists twice is there once.

    Raises:
        mcp.MCPError: If the server cannot list them.
        ConfigError: If the prefix has other characters than letters, digits, ``_`` and ``-``.
    """
    if _NO_NAME_CHARACTER.search(prefix):
        raise ConfigError("The prefix of mcp_tools may have letters, digits, _ and - only.")
    return tools_of(await list_tools(client), client, timeout_s=timeout_s, prefix=prefix)


async def list_tools(client: mcp.Client | mcp.ClientSession) -> list[mcp.Tool]:
    """Return all pages of a server's list of tools."""
    from mcp import ClientSession
    from mcp.types import PaginatedRequestParams

    session = client if isinstance(client, ClientSession) else client.session
    listed: list[mcp.Tool] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        listed += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return listed


def tools_of(listed: Iterable[mcp.Tool], caller: Caller, *, timeout_s: float | None, prefix: str) -> list[Tool]:
    """Make the tools of a turn from those that a server lists; the arguments are those of ``mcp_tools``."""
    by_name: dict[str, mcp.Tool] = {}
    for tool in listed:
        by_name.setdefault(tool.name, tool)
    names = _names_for_models(by_name, prefix)
    return [
        Tool(
            _function(caller, name),
            name=names[name],
            description=by_name[name].description or "",
            parameters=by_name[name].input_schema,
            timeout_s=timeout_s,
        )
        for name in names
    ]


def _names_for_models(names: Iterable[str], prefix: str) -> dict[str, str]:
    """Return a name that models can write for each name of a server, no two of them equal."""
    lead = f"{prefix}_" if prefix else ""
    plain = {name: lead + _NO_NAME_CHARACTER.sub("_", name) for name in names}
    uses = Counter(plain.values())
    return {
        name: short
        if name and len(short) <= _MAX_NAME_CHARS and (uses[short] == 1 or short == lead + name)
        else _marked(short, name)
        for name, short in plain.items()
    }


def _marked(short: str, name: str) -> str:
    """Return a name with a digest of the original, which makes it unique."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{short[: _MAX_NAME_CHARS - _DIGEST_CHARS - 1]}_{digest}"


def _function(caller: Caller, name: str) -> Callable[..., Awaitable[Json]]:
    """Make a function that calls the server's tool with this name."""

    async def call(**arguments: Json) -> Json:
        result = await caller.call_tool(name, arguments)
        parts = [_part_of(block) for block in result.content]
        texts = [part for part in parts if isinstance(part, str)]
        if not parts and result.structured_content is not None:
            texts = [text_of(result.structured_content)]
        if result.is_error:
            raise RuntimeError("\n".join(texts))
        if len(texts) < len(parts):
            return parts
        return "\n".join(texts) or None

    return call


def _part_of(block: ContentBlock) -> str | ImagePart:
    """Return a part of a result as text or as an image; of other kinds, such as audio, only the name."""
    if block.type == "text":
        return block.text
    if block.type == "image":
        return image_part(block.data, block.mime_type)
    if block.type == "resource_link":
        about = f" ({block.description})" if block.description else ""
        return f"{block.name}{about}: {block.uri}"
    if block.type == "resource":
        resource, mime_type = block.resource, block.resource.mime_type or ""
        blob = getattr(resource, "blob", None)
        if blob is not None and mime_type.startswith("image/"):
            return image_part(blob, mime_type)
        return str(getattr(resource, "text", f"[{resource.uri}]"))
    return f"[{block.type}, {block.mime_type}]"
