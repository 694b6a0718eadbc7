"""``McpServers``: the MCP servers of a configuration, with connections that are renewed when needed (extra ``mcp``)."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from adapters._install import install_command
from adapters.errors import ConfigError
from adapters.tools.mcp import list_tools, tools_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    import mcp
    from mcp.types import CallToolResult

    from adapters.config.mcp import McpServerConfig
    from adapters.tools.tool import Tool
    from adapters.types import Json

_logger = logging.getLogger(__name__)

CONNECT_S: Final = 20.0
"""Seconds until a server must be ready: some commands install a package first."""

_CLOSE_S = 5.0
_CLOSED = "Connection closed"  # the text of MCP's error for a call whose connection is gone
_FORGOTTEN = ("Session not found", "Session terminated")  # the server was restarted; the call was not run


class McpServers:
    """The MCP servers of a configuration. A provider of the same file opens and closes them; ``async with`` does, too.

    ::

        async with create_provider(load_config().provider()) as llm:
            async for event in run_turn(llm, messages, await llm.mcp_servers.tools()):
                ...

    A server that cannot be reached is logged, and its tools are missing until it can be. If it goes away later, its
    calls fail with a reason for the model, and the next one connects again. Each connection has a task of its own, so
    its end never cancels the task of the agent.

    Args:
        servers: Settings of the servers, by name.

    Raises:
        ConfigError: If a variable that they name is not set, or the package ``mcp`` is not installed.
    """

    def __init__(self, servers: Mapping[str, McpServerConfig]) -> None:
        try:
            import mcp  # noqa: F401 - tried here, before anything is started
        except ImportError as error:
            raise ConfigError(f"MCP servers need the package mcp. Run: {install_command('mcp')}") from error
        self._servers = [_Server(name, config.resolved(name)) for name, config in servers.items()]

    async def __aenter__(self) -> Self:
        await self.tools()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def tools(self) -> list[Tool]:
        """Return the tools of all servers that can be reached or have been, for ``run_turn``."""
        lists = await asyncio.gather(*(server.tools() for server in self._servers))
        return [tool for tools in lists for tool in tools]

    async def aclose(self) -> None:
        """Close all connections and end the processes of commands."""
        await asyncio.gather(*(server.aclose() for server in self._servers))


class _Server:
    """One server, with a connection that is made when it is needed."""

    def __init__(self, name: str, config: McpServerConfig) -> None:
        self._name = name
        self._config = config
        self._tools: list[Tool] = []
        self._connection: _Connection | None = None

    async def tools(self) -> list[Tool]:
        """Return the tools; those of an earlier connection if the server cannot be reached."""
        connection: _Connection | None = None
        try:
            connection, client = await self._connected()
            if not connection.is_listed:
                config = self._config
                listed = await list_tools(client)
                self._tools = tools_of(listed, self, timeout_s=config.timeout_s, prefix=config.prefix)
                connection.is_listed = True
        except Exception as error:  # noqa: BLE001 - whatever fails there, the turn goes on without it
            self._drop(connection)
            _logger.warning("MCP server %s: %s", self._name, _reason(error))
        return self._tools

    async def call_tool(self, name: str, arguments: dict[str, Json]) -> CallToolResult:
        """Call a tool; if the server was restarted meanwhile, on a new connection.

        Raises:
            ConnectionError: If the server cannot be reached or goes away; the text is for the model.
        """
        from mcp import MCPError

        while True:
            try:
                connection, client = await self._connected()
            except Exception as error:
                raise ConnectionError(f"the MCP server {self._name} cannot be reached ({_reason(error)})") from error
            try:
                return await client.call_tool(name, arguments)
            except MCPError as error:
                if error.message not in (_CLOSED, *_FORGOTTEN):
                    raise
                self._drop(connection)
                if error.message == _CLOSED:
                    text = f"the MCP server {self._name} went away; the effect is unknown"
                    raise ConnectionError(text) from error

    async def aclose(self) -> None:
        """Close the connection."""
        connection = self._connection
        self._drop(connection)
        if connection is not None:
            await asyncio.wait([connection.task], timeout=_CLOSE_S)

    async def _connected(self) -> tuple[_Connection, mcp.Client]:
        """Return the connection and its client; several callers wait for the same attempt."""
        if self._connection is None or self._connection.task.done():
            self._connection = _Connection(self._name, self._config)
        return self._connection, await asyncio.shield(self._connection.client)

    def _drop(self, connection: _Connection | None) -> None:
        """End a connection in the background; the next call makes a new one."""
        if connection is not None:
            connection.task.cancel()
            if self._connection is connection:
                self._connection = None


class _Connection:
    """One connection, held by a task of its own.

    Attributes:
        task: Ends with the connection; cancel it to close.
        client: The connected client, or why there is none.
        is_listed: Whether the tools were listed.
    """

    def __init__(self, name: str, config: McpServerConfig) -> None:
        self._name = name
        self._config = config
        self.is_listed = False
        self.client: asyncio.Future[mcp.Client] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._hold(), name=f"MCP server {name}")

    async def _hold(self) -> None:
        """Connect, and hold the connection until the task is cancelled."""
        reason: BaseException = ConnectionError("it was closed")
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_S):
                    self.client.set_result(await stack.enter_async_context(await self._open(stack)))
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass  # closed
        except Exception as error:  # noqa: BLE001 - the transports of mcp raise groups of anything
            reason = error
        if not self.client.done():
            self.client.set_exception(reason)
            self.client.exception()  # retrieved, so that asyncio does not log it if no caller is left
        else:
            _logger.info("MCP server %s: the connection has ended (%s)", self._name, _reason(reason))

    async def _open(self, stack: AsyncExitStack) -> mcp.Client:
        """Make the client for a command or an address."""
        from mcp import Client
        from mcp.client.stdio import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        config = self._config
        if config.command is not None:
            command, *arguments = config.command
            env = {name: value.get_secret_value() for name, value in config.env.items()}
            parameters = StdioServerParameters(command=command, args=arguments, env=env)
            return Client(stdio_client(parameters, subprocess.DEVNULL))  # type: ignore[arg-type]  # it becomes stderr
        headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        http_client = await stack.enter_async_context(create_mcp_http_client(headers))
        return Client(streamable_http_client(config.url or "", http_client=http_client))


def _reason(error: BaseException) -> str:
    """Return why a connection failed, from inside the groups that anyio makes."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__
