"""The benchmarks still run: one measurement of each kind, the search, and what is written of the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.testing import ScriptedServer
from tests.benchmarks import measure, report, routes
from tests.benchmarks.measure import MEASUREMENTS, most_streams
from tests.benchmarks.meter import Bench
from tests.benchmarks.peers import CLIENTS
from tests.benchmarks.results import Results
from tests.benchmarks.rows import GROUPS, ROWS
from tests.benchmarks.server import serve
from tests.benchmarks.turn import QUESTIONS, ChatThenSpeak, RunTurn, Way, one_turn

README = Path(__file__).parent.parent.parent / "README.md"


@pytest.mark.parametrize("client", ["adapters", "aiohttp"])
async def test_a_client_is_measured(client: str) -> None:
    """Answers at once, at a pace and whole give figures, and the server saw the whole question each time."""
    async with serve() as port:
        bench = Bench(CLIENTS[client], port)
        burst = await measure.burst(bench, tokens=20)
        paced = await measure.paced(bench, streams=3, tokens=5)
        plain = await measure.plain(bench, calls=2)
        first_text = await measure.first_text(messages=4, tools=2, asks=2)(bench)
        routes = [
            await measure.route(name, tokens=20)(bench) for name in ("openai", "anthropic") if client != "aiohttp"
        ]

    assert burst["cpu_us"] > 0
    assert paced["open_share"] == 1
    assert 0 < paced["p99_ms"] < 60_000
    assert plain["cpu_ms"] > 0
    assert first_text["ms"] > 0
    assert all(figures["cpu_us"] > 0 for figures in routes)


@pytest.mark.parametrize("way", [ChatThenSpeak, RunTurn])
@pytest.mark.parametrize(
    ("question", "said"),
    [
        pytest.param("no tool call", "word0 word1 word2", id="no-tool-call"),
        pytest.param("one tool call", "told0 told1 told2", id="one-tool-call"),
    ],
)
async def test_a_turn_is_measured(way: type[Way], question: str, said: str) -> None:
    """Each way makes the turn that is meant: with one call of the tool, or with none."""
    async with serve() as port:
        made = way(f"http://127.0.0.1:{port}/v1", "turn-1000-3")
        turn = await one_turn(made, QUESTIONS[question])
        await made.aclose()

    assert turn.text == said
    assert 0 < turn.first_s <= turn.last_s


@pytest.mark.parametrize("guess", [1, 64, 2000])
@pytest.mark.parametrize("held", [0, 1, 7, 100, 1999, 2000])
async def test_the_most_streams_are_found(held: int, guess: int) -> None:
    """The search ends within a ninth of the truth, and asks 30 times at most."""
    asked = []

    async def holds(streams: int) -> bool:
        asked.append(streams)
        return streams <= held

    found = await most_streams(holds, guess)

    assert held - max(1, held / 9) <= found <= held
    assert len(asked) <= 30


async def test_responses_of_routes() -> None:
    """Each response of the comparison with plain LiteLLM is read right."""
    wrong = []
    async with ScriptedServer() as server:
        for number, case in enumerate(routes.cases()):
            address = server.add(f"case{number}", case.script).removesuffix("/v1")
            if not case.is_right(outcome := await routes.ask_adapters(case, address)):
                wrong.append((case, outcome))

    assert wrong == []


def test_each_measurement_has_a_row_and_a_process() -> None:
    """What can be measured is shown, and is in one group."""
    assert {row.measurement for row in ROWS} == {*MEASUREMENTS}
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(MEASUREMENTS)


@pytest.fixture
def results() -> Results:
    """Two rounds of two clients, one of which has failed once and has no prewarming."""
    results = Results(
        {"rounds": "2"}, {"adapters": "adapters", "openai": "openai SDK"}, {"adapters": "1", "openai": "2"}
    )
    for cpu_us in (10, 20):
        results.add("adapters", {"measurement": "burst", "figures": {"cpu_us": cpu_us, "server_share": 0.25}})
        results.add("openai", {"measurement": "burst", "figures": {"cpu_us": 30, "server_share": 0.5}})
    results.add("adapters", {"measurement": "memory", "figures": {"mb": 3, "open_share": 0.5}})
    results.add("openai", {"measurement": "memory", "failure": "OSError: too many files"})
    results.add("openai", {"measurement": "prewarm", "not_offered": True})
    return results


def test_results_are_told(results: Results, tmp_path: Path) -> None:
    """A cell holds ratio, median and spread; a failure, a missing call and a small pool are said."""
    results.save(tmp_path / "results.json")

    text = report.document(Results.load(tmp_path / "results.json"))

    assert "| **0.50** 15.0 (10.0..20.0) | **1.00** 30.0 (30.0..30.0) | 50% |" in text
    assert "3.0 (3.0..3.0) † | failed |" in text
    assert "openai SDK failed in memory: OSError: too many files" in text
    assert "longest stall of the loop during `prewarm()` (ms) | - | - |" in text


def test_the_readme_quotes_ratios(results: Results, tmp_path: Path) -> None:
    """What stands between the marks of the README is replaced by ratios, and nothing else of it changes."""
    readme = tmp_path / "README.md"
    readme.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")

    report.quote(report.quotation(results), readme)
    report.quote(report.quotation(results), readme)

    before, _, after = README.read_text(encoding="utf-8").partition("<!-- bench -->")
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert text.endswith(after.partition("<!-- /bench -->")[2])
    assert "| CPU per token, burst | 0.50 |" in text
    assert text.count("openai SDK = 1") == 1


def test_a_readme_without_marks_is_refused(tmp_path: Path) -> None:
    """Without the marks there is no place for the ratios."""
    readme = tmp_path / "README.md"
    readme.write_text("# Nothing\n", encoding="utf-8")

    with pytest.raises(ValueError, match="README"):
        report.quote("ratios", readme)
