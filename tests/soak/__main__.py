"""Ask for minutes on end, in every way and with every fault at once, and see that nothing is lost, mixed or leaked.

``python -m tests.soak --minutes 10``; it ends with 1 if something was.
"""

from __future__ import annotations

import argparse
import sys

from tests.soak.load import Load, servers
from tests.soak.report import Held, Memory, Report, kept_stderr

_WORKERS = 8
_PAUSE_S = 0.02


def soak(minutes: float, *, workers: int = _WORKERS, pause_s: float = _PAUSE_S) -> Report:
    """Ask for so long, and tell what was found.

    Args:
        minutes: How long; the start and the end come on top.
        workers: How many questions each event loop has under way.
        pause_s: How long each of them waits before the next.
    """
    memory = Memory()
    with kept_stderr() as stderr, servers() as providers:
        load = Load(providers, workers=workers, pause_s=pause_s)
        load.warm_up()
        before = Held.now()
        with memory.watched():
            load.run(60 * minutes)
        after = Held.settled(before)
    return Report(minutes, load.tally, before, after, memory, stderr)


def main() -> None:
    """Read the arguments, soak, and print what was found."""
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; 0.5 is enough to see that it works")
    report = soak(parser.parse_args().minutes)
    print(report)  # noqa: T201 - the report is what was asked for
    sys.exit(bool(report.faults))


if __name__ == "__main__":
    main()
