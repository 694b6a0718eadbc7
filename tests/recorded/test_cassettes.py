"""The recorded conversations as files: readable, small, without secrets, and each of them played by a test."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.forks.processes import python
from tests.servers.cassettes import HEADER, HIDDEN_KEY, HOST_SUFFIX, NO_KEY, REQUEST_HEADERS, RESPONSE_HEADERS
from tests.servers.record import MODULES, ROOT
from tests.servers.runners import RUNNERS

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 50_000

SECRET = re.compile(
    r"\b(sk|gsk|hf|xai)[-_][\w-]{6,}|Bearer (?!REDACTED|not-needed)\S|\buser_\w{10,}|[\w.]+@[\w-]+\.\w+"
)
MACHINE = re.compile(r"/(home|root|tmp|work|Users|opt|usr|nix)/|127\.0\.0\.1|localhost|\d+\.\d+\.\d+-\w+-v\d|glibc")


def cassettes() -> list[Any]:
    """List every cassette, by the name of its test."""
    return [
        pytest.param(path, id=f"{path.parent.name}/{path.stem}")
        for path in sorted((ROOT / "cassettes").glob("*/*.yaml"))
    ]


@cache
def interactions(path: Path) -> list[dict[str, Any]]:
    """Read a cassette as it is written, not as vcrpy sees it."""
    text = path.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = yaml.load(text, Loader=yaml.CSafeLoader)["interactions"]
    return found


@pytest.mark.parametrize("path", cassettes())
def test_no_secret(path: Path) -> None:
    """No key, account or address of a person is in a cassette, nor anything of the machine that recorded it."""
    text = path.read_text(encoding="utf-8")

    assert SECRET.search(text) is None
    assert MACHINE.search(text) is None


@pytest.mark.parametrize("path", cassettes())
def test_headers(path: Path) -> None:
    """Only the headers of the allow-list are kept, and every key is hidden."""
    for interaction in interactions(path):
        request, response = interaction["request"]["headers"], interaction["response"]["headers"]

        assert {name.lower() for name in request} <= REQUEST_HEADERS
        assert response.keys() <= RESPONSE_HEADERS
        assert {HIDDEN_KEY, NO_KEY} >= {*request.get("authorization", request.get("Authorization", []))}


@pytest.mark.parametrize("path", cassettes())
def test_readable(path: Path) -> None:
    """JSON is stored as YAML and a stream as it came, one line a line; nothing is escaped or binary."""
    text = path.read_text(encoding="utf-8")
    bodies = [each[side]["body"] for each in interactions(path) for side in ("request", "response")]

    assert len(text.encode()) <= MAX_BYTES
    assert "!!binary" not in text
    for body in bodies:
        assert set(body) <= {"json", "text"}
        assert not body.get("text", "").lstrip().startswith("{")
    assert text.count("text: |") == sum("text" in body for body in bodies)


@pytest.mark.parametrize("path", cassettes())
def test_known_server(path: Path) -> None:
    """The first line tells which server it was, with its version or as a stand-in, and every request went there."""
    server = re.match(HEADER.format(r"(.+)").partition("\n")[0], path.read_text(encoding="utf-8"))
    hosts = {urlsplit(each["request"]["uri"]).hostname for each in interactions(path)}

    assert server is not None
    assert re.search(r" \d+\.\d+|stand_in|^OpenRouter$", server[1])
    assert len(hosts) == 1
    assert hosts < {f"{name}{HOST_SUFFIX}" for name in RUNNERS}


def test_no_orphan() -> None:
    """Each cassette belongs to a test that exists, and each test that wants one has it."""
    command = [*python(), "-m", "pytest", "--collect-only", "--quiet", *MODULES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tests = {line.replace(".py::", "/").removeprefix("tests/recorded/") for line in listed.splitlines() if "::" in line}

    assert {f"{path.parent.name}/{path.stem}" for path in (ROOT / "cassettes").glob("*/*.yaml")} == tests
