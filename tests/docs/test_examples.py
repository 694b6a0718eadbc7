"""The programs of docs/examples run as they are, against a model server behind every address."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.docs.model_server import model_server
from tests.docs.pages import ROOT
from tests.forks.processes import python

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = ROOT / "docs" / "examples"
ANSWER = "It is sunny in Paris."
QUESTION = "What is the weather in Paris?"
ELSEWHERE = {"test_agent.py": "test_blocks.py", "failover.yaml": "failover.py"}
"""Files that another test, or another example, uses."""


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Run a model server behind every address."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with model_server() as (address, received):
        monkeypatch.setenv("HTTP_PROXY", address)
        yield received


def test_each_example_is_tested() -> None:
    """Each file of the folder is named in this module, and on the page of the examples."""
    source = inspect.getsource(sys.modules[__name__])
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        if path.is_file():
            assert f'"{path.name}"' in source
            assert f"(examples/{path.name})" in page


def test_livekit_agent(
    requests: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In text mode the agent calls its tool and answers."""
    monkeypatch.setattr(sys, "argv", ["livekit_agent.py", "text", QUESTION])
    runpy.run_path(str(EXAMPLES / "livekit_agent.py"), run_name="__main__")

    assert capsys.readouterr().out.strip() == ANSWER
    assert [message["role"] for message in requests[-1]["messages"]][-1] == "tool"


def test_pipecat_pipeline(requests: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The pipeline calls its function and prints the answer; it runs in its own environment: ``nox -s pipecat``."""
    pytest.importorskip("pipecat")
    runpy.run_path(str(EXAMPLES / "pipecat_pipeline.py"), run_name="__main__")

    assert ANSWER in capsys.readouterr().out
    assert len([request for request in requests if request["max_tokens"] > 1]) == 2  # the others are prefills


async def test_web_streaming(requests: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The service streams events, and is ready as soon as it has started."""
    monkeypatch.setenv("ADAPTERS_CONFIG", str(EXAMPLES / "failover.yaml"))
    app = runpy.run_path(str(EXAMPLES / "web_streaming.py"))["app"]
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        assert (await client.get("/ready")).json() == {"ready": True}
        response = await client.post("/ask", json={"question": QUESTION})

    *texts, end = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert "".join(json.loads(text)["text"] for text in texts) == ANSWER
    assert end == "[DONE]"
    assert len(requests) == 1


def test_failover(requests: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The first provider of failover.yaml answers if it is up, else the second one."""
    runpy.run_path(str(EXAMPLES / "failover.py"), run_name="__main__")
    assert capsys.readouterr().out == f"home: {ANSWER}\n"
    assert len(requests) == 1

    with model_server(down=["gpu-box"]) as (address, answered):
        monkeypatch.setenv("HTTP_PROXY", address)
        runpy.run_path(str(EXAMPLES / "failover.py"), run_name="__main__")
    assert capsys.readouterr().out == f"spare: {ANSWER} home (InternalServerError)\n"
    assert [body["model"] for body in answered] == ["qwen3-4b"]


def test_telemetry_console(requests: list[Any]) -> None:
    """The spans of the turn are printed; a process of its own, because its tracer provider is that of the process."""
    command = [*python(), str(EXAMPLES / "telemetry_console.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)

    for span in ("chat qwen3-8b", "execute_tool get_weather", "invoke_agent"):
        assert f'"name": "{span}"' in done.stdout
    assert done.stdout.endswith(f"{ANSWER}\n")
    assert len(requests) == 2


async def test_notebook(requests: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The cells run in order, in one namespace, with ``await`` at their top level, as in Jupyter."""
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            code = compile("".join(cell["source"]), cell["id"], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, names)  # noqa: S307 - our own documentation
            if asyncio.iscoroutine(result):
                await result

    assert capsys.readouterr().out.count(ANSWER) == 4
    assert len(requests) == 3
