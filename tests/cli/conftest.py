"""A configuration over the scripted server, and real processes of the command line."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import tracing
from tests.cli.processes import KEY, SUNNY
from tests.forks import client
from tests.forks.processes import ForkedProcess, ForkServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adapters.testing import ScriptedServer
    from tests.cli.processes import Start


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Undo what ``-v`` does to the logger: in a test, the process outlives the command."""
    logger = logging.getLogger("adapters")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture
def server(scripted_server: ScriptedServer) -> ScriptedServer:
    """Return the scripted server, which runs on a loop of its own: the commands under test run loops themselves."""
    return scripted_server


@pytest.fixture
def config(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a configuration whose default uses the scripted server, and name it in the environment."""
    path = tmp_path / "providers.yaml"
    path.write_text(
        f"""
default: scripted
providers:
  scripted:
    kind: openai_compatible
    model: small
    base_url: {server.add("cli", SUNNY)}
    api_key: {KEY}
    retry: {{attempts: 1}}
    prefill: false  # the scripts of the tests are for questions
  open:
    kind: ollama
    model: qwen3:8b
  cloud:
    kind: openrouter
    model: some/model
    api_key: os.environ/CLOUD_KEY
  groq:
    kind: groq
    model: llama
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("ADAPTERS_CONFIG", str(path))
    return path


@pytest.fixture
def broken_config(tmp_path: Path) -> Path:
    """Write a configuration whose embedded server lacks its model file."""
    path = tmp_path / "broken.yaml"
    path.write_text("default: mine\nproviders: {mine: {kind: local, model_path: gone.gguf}}", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def _fork_server() -> Iterator[None]:
    """Run a server that starts processes of the command line, unless this run of tests has one."""
    if client.ADDRESS in os.environ:
        yield
        return
    server = ForkServer()
    yield
    server.close()


@pytest.fixture
def start(_fork_server: None) -> Iterator[Start]:
    """Start real processes of the command line, and kill those that are left."""
    with contextlib.ExitStack() as stack:

        def start_one(*args: str, **streams: Any) -> ForkedProcess:
            streams = {"stdin": None, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}  # in this order
            env = os.environ | tracing.VARIABLES
            process = ForkedProcess(["-m", "adapters", *args], env, [*streams.values()])
            stack.callback(process.close)
            return process

        yield start_one
