"""Records the conversations anew: ``python -m tests.servers.record [server …]`` starts each server and asks it.

``nox -s record -- openrouter`` records OpenRouter itself if ``OPENROUTER_API_KEY`` is set; without a key, its rows come
from the stand-in. The first line of each cassette tells which it was.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from tests.servers.cassettes import RECORDING_VARIABLE
from tests.servers.runners import RUNNERS

ROOT = Path(__file__).parent.parent.parent
MODULES = tuple(f"tests/recorded/test_recorded{part}.py" for part in ("", "_failures", "_requests"))


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
        return await process.wait()


def main(names: list[str]) -> int:
    """Record from the named servers, or from all.

    Returns:
        0, or the exit code of a pytest that failed.
    """
    unknown = [name for name in names if name not in RUNNERS]
    if unknown:
        sys.exit(f"No such server: {', '.join(unknown)}. There are: {', '.join(RUNNERS)}.")
    return max(asyncio.run(record(name)) for name in names or RUNNERS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
