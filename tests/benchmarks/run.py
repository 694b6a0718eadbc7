"""Measures this package and its peers in turn: ``nox -s bench``, or ``nox -s bench -- --rounds 2 --rows burst,plain``.

Each measurement is a process of its own (``measure``) on one core; the server is one on another. The rounds are
interleaved, so that a machine that slows down slows all of them down. Peers get an environment each, with the newest
version that installs. A run of everything with five rounds or more writes ``RESULTS.md``, ``results.json`` and
``results.svg`` beside this file, and the ratios into the README; a part of it prints its table alone, unless
``--output`` names a folder for them. Linux only.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import plot, report
from tests.benchmarks.clients import OURS
from tests.benchmarks.measure import MEASUREMENTS
from tests.benchmarks.peers import CLIENTS, REQUIREMENTS
from tests.benchmarks.results import Results
from tests.benchmarks.rows import GROUPS
from tests.servers.environments import installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parent.parent
_FULL_ROUNDS = 5
_PROCESS_TIMEOUT_S = 180
_FIRST_GUESS_STREAMS = 64


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a run takes long, and shows its progress


def _interpreters(clients: list[str], results: Results) -> dict[str, str]:
    """Find or make an interpreter for each client; one that cannot be installed is left out, and the results say so."""
    found = {}
    for name in clients:
        distribution = CLIENTS[name].distribution
        results.titles[name] = CLIENTS[name].title
        if name in OURS:
            found[name], results.versions[name] = sys.executable, version(distribution)
            continue
        try:
            python = str(installed(f"bench-{name}", "--upgrade", REQUIREMENTS[name]) / "python")
        except subprocess.CalledProcessError:
            results.versions[name] = "cannot be installed here"
            continue
        ask = f"from importlib.metadata import version; print(version({distribution!r}))"
        told = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
        found[name], results.versions[name] = python, told.stdout.strip()
    return found


@contextmanager
def _server(core: int) -> Iterator[int]:
    """Run the server on a core; the value is its port."""
    command = [sys.executable, "-m", "tests.benchmarks.server", str(core)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _measure(command: list[str], measurements: tuple[str, ...], *options: str) -> list[dict[str, Any]]:
    """Run the process of one group; a measurement that it does not come to has failed, and its outcome says how."""
    hidden = ("OPENAI_", "LANGSMITH_", "LANGCHAIN_", "LITELLM_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    variables["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it downloads its price list while it is imported
    try:
        process = subprocess.run(
            [*command, *measurements, *options],
            check=False,
            capture_output=True,
            text=True,
            cwd=_ROOT,
            env=variables,
            timeout=_PROCESS_TIMEOUT_S,
        )
        output, problem = process.stdout, process.stderr.strip().rpartition("\n")[2] or "ended without a word"
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else ""
        problem = f"not done after {_PROCESS_TIMEOUT_S} s"
    outcomes = [json.loads(line) for line in output.splitlines() if line.startswith('{"measurement"')]
    missing = [name for name in measurements if name not in {outcome["measurement"] for outcome in outcomes}]
    return outcomes + [{"measurement": name, "failure": problem[:200]} for name in missing]


def _round(commands: Mapping[str, list[str]], asked: list[str], results: Results) -> None:
    """Measure everything once: group by group, client by client."""
    for group in GROUPS.values():
        measurements = tuple(name for name in group if name in asked)
        for client, command in commands.items() if measurements else ():
            held = results.figures.get("capacity.streams", {}).get(client)
            guess = int(statistics.median(held)) if held else _FIRST_GUESS_STREAMS
            for outcome in _measure(command, measurements, "--guess", str(max(1, guess))):
                results.add(client, outcome)


def _about(rounds: int, load: float, started_s: float) -> dict[str, str]:
    """Tell what ran where and when."""
    processor = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "command": "nox -s bench" + " --" * (len(sys.argv) > 1) + "".join(f" {argument}" for argument in sys.argv[1:]),
        "rounds": str(rounds),
        "machine": f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load before it began": f"{load:.2f} (a busy machine measures the others)",
        "minutes": f"{(time.monotonic() - started_s) / 60:.0f}",
    }


def run(clients: list[str], asked: list[str], rounds: int) -> Results:
    """Measure clients in turn.

    Args:
        clients: Keys of ``CLIENTS``.
        asked: Keys of ``MEASUREMENTS``.
        rounds: How often.

    Returns:
        All figures.
    """
    client_core, server_core, *_ = sorted(os.sched_getaffinity(0))
    load, started_s, results = os.getloadavg()[0], time.monotonic(), Results()
    interpreters = _interpreters(clients, results)
    with _server(server_core) as port:
        commands = {
            name: [python, "-m", "tests.benchmarks.measure", name, str(port), str(client_core)]
            for name, python in interpreters.items()
        }
        for command in commands.values():
            _measure(command, ("start",))  # compiles its modules, so that the first round imports as the others do
        for number in range(1, rounds + 1):
            _round(commands, asked, results)
            _say(f"round {number} of {rounds} done after {(time.monotonic() - started_s) / 60:.1f} minutes")
    results.about = _about(rounds, load, started_s)
    return results


def _names(known: Mapping[str, object], text: str) -> list[str]:
    """Read names with commas between them."""
    names = text.split(",")
    if unknown := sorted({*names} - {*known}):
        sys.exit(f"No such name: {', '.join(unknown)}. There are: {', '.join(known)}.")
    return [name for name in known if name in names]


def main() -> None:
    """Measure what the command line asks for, print the table, and write the results down if they are whole."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_FULL_ROUNDS)
    parser.add_argument("--rows", default=",".join(MEASUREMENTS), help="measurements, with commas")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="clients, with commas")
    parser.add_argument("--output", type=Path, help="a folder for the results of a part")
    asked = parser.parse_args()
    clients, rows = _names(CLIENTS, asked.clients), _names(MEASUREMENTS, asked.rows)

    results = run(clients, rows, asked.rounds)

    _say(report.document(results))
    whole = len(clients) == len(CLIENTS) and len(rows) == len(MEASUREMENTS) and asked.rounds >= _FULL_ROUNDS
    folder = asked.output or (_FOLDER if whole else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        results.save(folder / "results.json")
        (folder / "RESULTS.md").write_text(report.document(results), encoding="utf-8")
        plot.draw(results, folder / "results.svg")
    if folder == _FOLDER:
        report.quote(report.quotation(results), _ROOT / "README.md")


if __name__ == "__main__":
    main()
