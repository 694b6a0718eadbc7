"""Every code block of README and docs runs as printed."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adapters.cli.commands import group
from adapters.config import load_config
from tests.docs.model_server import model_server
from tests.docs.pages import BLOCKS, ROOT, Block
from tests.forks.processes import python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["pytester"]

_NOT_CODE = ("", "nginx")
_KEYS = (
    *("ANTHROPIC_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_API_KEY", "GEMINI_API_KEY"),
    *("ADAPTERS_GGUF", "GROQ_API_KEY", "OPENROUTER_API_KEY", "PROXY_KEY"),
)
_NEEDS_THE_INTERNET = ("openrouter",)
_HOME = "default: home\nproviders: {home: {kind: openai_compatible, model: m, base_url: 'http://gpu-box:8000/v1'}}"


def _params(*languages: str) -> list[Any]:
    return [pytest.param(block, id=block.id) for block in BLOCKS if block.language in languages]


_PROGRAMS = [block for block in BLOCKS if block.language == "python" and not block.file_name]
_FILES = [block for block in BLOCKS if block.language == "python" and block.file_name]


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Run a model server behind every address, in an empty folder with keys in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in _KEYS:
        monkeypatch.setenv(name, "k")
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ADAPTERS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with model_server() as (address, received):
        monkeypatch.setenv("HTTP_PROXY", address)
        yield received


def _write_config(config: str, path: Path) -> None:
    """Write a configuration, and the files of API keys that it names."""
    if config:
        path.parent.mkdir(exist_ok=True)
        for file in re.findall(r"file:///run/secrets/([\w-]+)", config):
            (path.parent / file).write_text("k", encoding="utf-8")
        path.write_text(config.replace("/run/secrets", str(path.parent)), encoding="utf-8")


def test_each_block_is_tested() -> None:
    """Each block has a language for which there is a test; drawings and a configuration of nginx are not code."""
    tested = {"python", "yaml", "diff", "sh"}

    assert {block.language for block in BLOCKS} <= {*tested, *_NOT_CODE}


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.id) for block in _PROGRAMS if "pipecat" not in block.code]
)
def test_program(
    block: Block, tmp_path: Path, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A Python program runs with the YAML before it as its configuration, and prints an answer."""
    _write_config(block.config, tmp_path / "config" / "providers.yaml")
    _run(block)

    if "asyncio.run" in block.code and 'create_provider("local")' not in block.code:
        assert requests
    if "print(" in block.code:
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", [pytest.param(block, id=block.id) for block in _PROGRAMS if "pipecat" in block.code])
def test_pipecat_program(block: Block, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """A pipecat program runs in its own environment: ``nox -s pipecat``."""
    pytest.importorskip("pipecat")
    _run(block)

    assert requests
    assert "It is sunny in Paris." in capsys.readouterr().out


def _run(block: Block) -> None:
    code = compile("\n" * (block.line - 1) + block.code, block.page, "exec")
    logger = logging.getLogger("adapters")
    handlers, level = list(logger.handlers), logger.level
    try:
        exec(code, {"__name__": "__main__"})  # noqa: S102 - our own documentation
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("page", sorted({block.page for block in _FILES}))
def test_files(page: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that name their file are a project whose tests pass, and so does the example of a test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for block in _FILES:
        if block.page == page:
            (pytester.path / block.file_name).write_text(block.code, encoding="utf-8")
    example = (ROOT / "docs" / "examples" / "test_agent.py").read_text(encoding="utf-8")
    (pytester.path / "test_example.py").write_text(example, encoding="utf-8")

    result = pytester.run(*python(), "-m", "pytest", "-p", "no:cacheprovider", "-q", "--strict-markers")

    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") > 1
    assert outcomes.keys() <= {"warnings"}  # of packages that LiteLLM imports


@pytest.mark.parametrize("block", _params("yaml"))
def test_configuration(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration is valid, with keys in the environment."""
    for name in _KEYS:
        monkeypatch.setenv(name, "k")
    path = tmp_path / "providers.yaml"
    _write_config(block.code, path)
    config = load_config(path)

    assert all(entry.resolved() for entry in config.providers.values())
    assert config.provider().chain()


@pytest.mark.parametrize("block", _params("diff"))
def test_patch(block: Block) -> None:
    """The lines that a patch adds are valid: imports can be imported, and its line counts are right."""
    head, *lines = block.code.partition("@@ ")[2].splitlines()
    removed, added = ([line[1:] for line in lines if line.startswith(sign)] for sign in "-+")

    assert re.match(r"-\d+ \+\d+ @@", head)
    assert len(removed) == len(added) == len(lines) / 2
    for line in added:
        if line.startswith("from "):
            exec(line, {})  # noqa: S102 - our own documentation


def _commands() -> list[Any]:
    return [
        pytest.param(block, line, id=f"{block.id}:{line[:40]}")
        for block in BLOCKS
        if block.language == "sh" and block.page != "README.md"
        for line in block.code.splitlines()
    ]


@pytest.mark.parametrize(("block", "line"), _commands())
def test_command(block: Block, line: str, tmp_path: Path, requests: list[dict[str, Any]]) -> None:
    """A command line runs; one that needs the internet is parsed."""
    _write_config(_HOME, tmp_path / "config" / "providers.yaml")
    (tmp_path / "notes.txt").write_text("some notes", encoding="utf-8")
    if "_ADAPTERS_COMPLETE" in line:
        shell = line.partition("_ADAPTERS_COMPLETE=")[2].split()[0]
        environment = {**_environment(), "_ADAPTERS_COMPLETE": shell}
        done = subprocess.run([sys.executable, "-m", "adapters"], env=environment, check=True, capture_output=True)
        assert b"_ADAPTERS_COMPLETE" in done.stdout
        return
    piped, _, command = line.rpartition("| ")
    program, name, *args = shlex.split(command, comments=True)
    stdin = subprocess.run(piped, shell=True, check=False, capture_output=True).stdout if piped else b""  # noqa: S602 - our own documentation
    assert program == "adapters"
    if any(word in args for word in _NEEDS_THE_INTERNET):
        group.commands[name].make_context(name, args)
        return

    result = CliRunner().invoke(group, [name, *args], input=stdin)

    assert result.exit_code == 0, result.output
