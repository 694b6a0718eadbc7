"""A real MCP server in a process of its own: on standard input and output, or on a port of this machine.

Usage: ``python tests/servers/mcp_server.py [PORT [KEY]]``; with a key, requests need it as their bearer token.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import MCPServer

server = MCPServer("home")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def who() -> str:
    """Tell the process and a variable of its environment."""
    return f"{os.getpid()} {os.environ.get('MCP_TEST_NAME')}"


@server.tool()
async def sleep(seconds: float) -> str:
    """Take a while."""
    await asyncio.sleep(seconds)
    return "slept"


@server.tool()
def fail() -> None:
    """Answer with an error of the protocol."""
    raise MCPError(-32603, "broken")


@server.tool()
def die() -> None:
    """End the process at once."""
    os._exit(1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import uvicorn

        app = server.streamable_http_app()
        key = sys.argv[2] if len(sys.argv) > 2 else None

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            """Refuse requests without the key."""
            headers = dict(scope.get("headers") or ())
            if scope["type"] == "http" and key and headers.get(b"authorization") != f"Bearer {key}".encode():
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            await app(scope, receive, send)

        uvicorn.run(guarded, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
    else:
        server.run()
