"""Starts the real servers that conversations are recorded from, one async context manager each.

Their versions are pinned, so that a new recording tells what our change did and not what theirs did; a newer server is
recorded by raising the pin. Replaying needs none of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from adapters.local import LocalServer
from tests.servers import openrouter_stand_in
from tests.servers.environments import installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

PROXY_CONFIG = Path(__file__).with_name("litellm-proxy.yaml")
MLX = ("mlx==0.32.4", 'mlx[cpu]==0.32.4; sys_platform == "linux"', "mlx-lm==0.32.2")

_CONTEXT_TOKENS = 2048  # small, so that a conversation that does not fit still fits into a cassette
_START_S = 300.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that can be asked.

    Attributes:
        base_url: Its address of this moment.
        api_key: The key that it demands, or None.
        description: What it is, with its version; the first line of a cassette tells it.
    """

    base_url: str
    api_key: str | None
    description: str


@asynccontextmanager
async def llama_cpp() -> AsyncIterator[Running]:
    """Run the embedded server with the demo model."""
    key = "llama-key"
    async with LocalServer(api_key=key, context_tokens=_CONTEXT_TOKENS) as server:
        described = f"llama.cpp server of xllamacpp {version('xllamacpp')}, with the scripted demo model"
        yield Running(await server.start(), key, described)


@asynccontextmanager
async def litellm_proxy() -> AsyncIterator[Running]:
    """Run a LiteLLM proxy in front of the embedded server."""
    release, key, port = version("litellm"), "sk-proxy-key", free_port()
    programs = await asyncio.to_thread(installed, "litellm-proxy", f"litellm[proxy]=={release}")
    command = [str(programs / "litellm"), "--config", str(PROXY_CONFIG), "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    async with llama_cpp() as behind:
        variables = {
            "LITELLM_MASTER_KEY": key,
            "LLAMA_CPP_BASE_URL": behind.base_url,
            "LLAMA_CPP_API_KEY": str(behind.api_key),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        async with program(command, f"{address}/health/liveliness", variables):
            yield Running(f"{address}/v1", key, f"LiteLLM proxy {release} in front of the {behind.description}")


@asynccontextmanager
async def mlx_lm() -> AsyncIterator[Running]:
    """Run mlx-lm's server with the demo model, on the CPU where there is no Apple chip."""
    from adapters.local.demo_model import write_demo_model
    from tests.servers.hf_model import write_hf_model

    programs = await asyncio.to_thread(installed, "mlx-lm", *MLX)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        write_demo_model(Path(folder, "demo.gguf"))
        write_hf_model(Path(folder, "demo.gguf"), Path(folder, "demo"))
        command = [str(programs / "mlx_lm.server"), "--model", "demo", "--host", "127.0.0.1", "--port", str(port)]
        # A model that it does not have is looked up in an empty cache, not in the network and not in the user's cache.
        variables = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path(folder, "cache"))}
        async with program(command, f"http://127.0.0.1:{port}/health", variables, folder):
            described = f"{MLX[-1].replace('==', ' ')}, with the scripted demo model"
            yield Running(f"http://127.0.0.1:{port}/v1", None, described)


@asynccontextmanager
async def stand_in() -> AsyncIterator[Running]:
    """Run the OpenRouter stand-in."""
    with openrouter_stand_in.serve() as base_url:
        described = (
            "a stand-in that follows OpenRouter's published API (tests/servers/openrouter_stand_in.py), not OpenRouter"
        )
        yield Running(base_url, openrouter_stand_in.KEY, described)


@asynccontextmanager
async def openrouter() -> AsyncIterator[Running]:
    """Use the real OpenRouter if ``OPENROUTER_API_KEY`` is set, and the stand-in if not."""
    key = os.environ.get("OPENROUTER_API_KEY")
    if key:
        yield Running("https://openrouter.ai/api/v1", key, "OpenRouter")
    else:
        async with stand_in() as running:
            yield running


RUNNERS: Mapping[str, Callable[[], AbstractAsyncContextManager[Running]]] = {
    "llama-cpp": llama_cpp,
    "litellm-proxy": litellm_proxy,
    "mlx-lm": mlx_lm,
    "openrouter": openrouter,
    "stand-in": stand_in,
}
"""By the name of the row in ``rows``."""


@asynccontextmanager
async def program(
    command: Sequence[str], ready_url: str, variables: Mapping[str, str], folder: str | None = None
) -> AsyncIterator[None]:
    """Run a program until the block ends; the block begins when its address answers.

    Args:
        command: The program and its arguments.
        ready_url: An address that answers once it is ready.
        variables: Environment variables beside ours.
        folder: Working directory, or None for ours.

    Raises:
        RuntimeError: If it does not start; with the end of its log.
    """
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **variables}, cwd=folder, stdout=log, stderr=log
        )
        try:
            if not await _answers(ready_url, process):
                log.seek(0)
                raise RuntimeError(f"{command[0]} did not start:\n{log.read().decode(errors='replace')[-2000:]}")
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _answers(url: str, process: asyncio.subprocess.Process) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_S), httpx.AsyncClient(trust_env=False) as client:
            while process.returncode is None:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(url)).is_success:
                        return True
                await asyncio.sleep(0.5)
    return False


def free_port() -> int:
    """A port of this machine without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
