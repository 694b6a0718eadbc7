"""The servers behind the agents: Redis, two model servers, two LiteLLM proxies with ``config/litellm-proxy.yaml``."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.local import LocalServer
from tests.servers.environments import installed
from tests.servers.runners import free_port, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

CONFIG = Path(__file__).parent.parent.parent / "config"
NO_REDIS = "This needs Redis. Install it with: apt-get install redis-server (or your system's package of that name)"
PROXY = "litellm[proxy]>=1.102.4,<1.110"  # the range of pyproject.toml; not each release has all its parts in an index
_KEY = "sk-scale-0123456789"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running servers.

    Attributes:
        servers: The model servers.
        variables: The environment variables that the agents' configuration names.
    """

    servers: tuple[LocalServer, ...]
    variables: Mapping[str, str]

    def kill_a_server(self) -> None:
        """Kill the first model server in the middle of its answers."""
        pid = self.servers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """Start everything, and stop it at the end of the block.

    Raises:
        FileNotFoundError: If there is no Redis on this machine; the text says how to install it.
    """
    redis = shutil.which("redis-server")
    if redis is None:
        raise FileNotFoundError(NO_REDIS)
    programs = await asyncio.to_thread(installed, "litellm-proxy", PROXY)
    async with AsyncExitStack() as stack:
        redis_port = await stack.enter_async_context(_redis(redis))
        servers = [await stack.enter_async_context(LocalServer()) for _ in range(2)]
        variables = {
            "MODEL_SERVER_1": await servers[0].start(),
            "MODEL_SERVER_2": await servers[1].start(),
            "MODEL_SERVER_KEY": "none",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis_port),
            "LITELLM_MASTER_KEY": _KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        ports = [free_port() for _ in range(2)]
        proxies = (_proxy(programs / "litellm", port, variables) for port in ports)
        await asyncio.gather(*(stack.enter_async_context(proxy) for proxy in proxies))
        addresses = {f"PROXY_{number}": f"http://127.0.0.1:{port}/v1" for number, port in enumerate(ports, 1)}
        yield Cluster(tuple(servers), {**addresses, "PROXY_KEY": _KEY})  # the proxies have no database for virtual keys


@asynccontextmanager
async def _redis(command: str) -> AsyncIterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        process = await asyncio.create_subprocess_exec(command, *options, stdout=asyncio.subprocess.DEVNULL)
        try:
            yield port
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def _proxy(litellm: Path, port: int, variables: Mapping[str, str]) -> AsyncIterator[None]:
    options = ("--config", str(CONFIG / "litellm-proxy.yaml"), "--host", "127.0.0.1", "--port", str(port))
    async with program([str(litellm), *options], f"http://127.0.0.1:{port}/health/liveliness", variables):
        yield
