"""Put load on the cluster from four processes, kill a model server in the middle, and count the outcomes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

from tests.scale import agents
from tests.scale.agents import LIMIT
from tests.scale.cluster import cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORKERS = 4
_MAY_HAPPEN = {"answered", "cut, with an error"}  # an answer may break off in the middle, but not without an error
_AT_THE_LIMIT = {
    "limited: answered within a minute": LIMIT,
    "limited: refused with 429": LIMIT,
    "limited: waited for, then answered": 1,
}


async def measure(seconds: float, agents_each: int) -> tuple[Counter[str], Counter[str]]:
    """Start everything, put load on it and break it; return the outcomes under load, and at a limit."""
    at_the_limit = Counter[str]()
    async with cluster() as running:
        workers = [_worker(number, seconds, agents_each, running.variables) for number in range(_WORKERS)]
        at_work = asyncio.gather(*workers)
        await asyncio.sleep(seconds / 2)
        running.kill_a_server()
        under_load = sum(await at_work, Counter[str]())
        os.environ.update(running.variables)
        await agents.at_the_limit(at_the_limit)
    return under_load, at_the_limit


async def _worker(number: int, seconds: float, agents_each: int, variables: Mapping[str, str]) -> Counter[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.scale.agents", str(number), str(seconds), str(agents_each)),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
    )
    written, _ = await process.communicate()
    return Counter(json.loads(written))


def main() -> int:
    """Measure and print.

    Returns:
        1 if an answer was lost, mixed up, or failed although a server was available, or if the proxies did not share
        the limit.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long the load lasts [default: 30]")
    parser.add_argument(
        "--agents", type=int, default=4, help="agents in each of four processes; fewer on a slow machine [default: 4]"
    )
    options = parser.parse_args()
    try:
        under_load, at_the_limit = asyncio.run(measure(options.seconds, options.agents))
    except FileNotFoundError as error:
        sys.exit(str(error))
    for what, number in sorted((under_load + at_the_limit).items()):
        print(f"{number:6} {what}")  # noqa: T201 - a program that prints
    is_right = under_load["answered"] > 0 and under_load.keys() <= _MAY_HAPPEN and at_the_limit == _AT_THE_LIMIT
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
