"""Records the conversations anew: ``python -m tests.servers.record [server …]`` starts each server and asks it.

``nox -s record -- openrouter`` records OpenRouter itself if ``OPENROUTER_API_KEY`` is set; without a key, its rows come
from the stand-in. What was recorded when, and from what, is kept in ``cassettes/servers.yaml``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import yaml

from tests.servers.cassettes import RECORDING_VARIABLE
from tests.servers.runners import RUNNERS

ROOT = Path(__file__).parent.parent.parent
CASSETTES = ROOT / "cassettes"
MODULES = ("tests/test_recorded.py", "tests/test_recorded_failures.py", "tests/test_recorded_requests.py")
MANIFEST = CASSETTES / "servers.yaml"

_MANIFEST_HEADER = "# What each server's cassettes were recorded from. Written by `nox -s record`.\n"


async def record(name: str) -> int:
    """Record all conversations with one server; a cassette that no test has any more stays, and fails a test.

    Args:
        name: A row of ``RUNNERS``.

    Returns:
        Exit code of pytest.
    """
    async with RUNNERS[name]() as running:
        command = ["-m", "pytest", *MODULES, "-k", name, "--record-mode=rewrite"]
        variables = {**os.environ, RECORDING_VARIABLE: json.dumps({name: asdict(running)})}
        process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, env=variables)
        code = await process.wait()
        if code == 0:
            _note(name, running.description)
    return code


def _note(name: str, description: str) -> None:
    known = yaml.safe_load(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else {}
    known[name] = {"server": description, "recorded": dt.datetime.now(dt.UTC).date().isoformat()}
    text = yaml.safe_dump({each: known[each] for each in RUNNERS if each in known}, sort_keys=False, width=120)
    MANIFEST.write_text(_MANIFEST_HEADER + text, encoding="utf-8")


def main(names: list[str]) -> int:
    """Record from the named servers, or from all."""
    unknown = [name for name in names if name not in RUNNERS]
    if unknown:
        sys.exit(f"No such server: {', '.join(unknown)}. There are: {', '.join(RUNNERS)}.")
    return max(asyncio.run(record(name)) for name in names or RUNNERS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
